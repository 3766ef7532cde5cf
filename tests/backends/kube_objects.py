"""What the tests of the Kubernetes room share: full settings, specs, and the published schemas, each read once."""

import functools
import json
import re
from pathlib import Path

from physlab_mcp.backends.kubernetes import carriers, naming
from physlab_mcp.backends.kubernetes.capabilities import capabilities_of
from physlab_mcp.backends.kubernetes.naming import Dispatch
from physlab_mcp.backends.kubernetes.pods import Bundle
from physlab_mcp.backends.kubernetes.settings import read_settings
from physlab_mcp.schemas.job import JobSpec, Mount, Resources

PROGRAM = {
    "pod.py": b"print()\n",
    "runner.py": b"print()\n",
    "runner_parts/__init__.py": b"",
    "runner_parts/x.py": b"1\n",
}
FULL = {
    "context": "lab", "namespace": "physlab-jobs", "image": "registry.example.org:5000/physlab@sha256:" + "0" * 64,
    "image_pull_policy": "Always", "image_pull_secrets": ["registry"], "python": "/opt/python/bin/python3",
    "service_account": "physlab-runner", "service_account_token": True,
    "node_selector": {"kubernetes.io/arch": "amd64"}, "gpu_node_selector": {"accelerator": "a100"},
    "tolerations": [
        {"key": "dedicated", "value": "physics", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "seconds": 30},
        {"operator": "Exists"},
    ],
    "priority_class": "batch-low", "runtime_class": "gvisor", "gpu_resource": "amd.com/gpu", "default_memory": "2Gi",
    "ephemeral_storage": "10Gi", "work_size": "5Gi",
    "volumes": [
        {"name": "home", "target": "/data/home", "pvc": "lab-home", "readonly": False},
        {"name": "sets", "target": "/data/sets", "host_path": "/srv/sets"},
        {"name": "tables", "target": "/opt/tables", "config_map": "tables", "items": {"a.csv": "deep/a.csv"}},
        {"name": "licence", "target": "/opt/licence", "secret": "licence", "items": {"key": "licence.key"}},
        {"name": "claims", "target": "/data/claims", "pvc": "claims"},
    ],
    "env": {"OMP_NUM_THREADS": "2", "PRICE": "$(not a reference)"},
    "env_from_secrets": {"DB_PASSWORD": {"secret": "db", "key": "password"},
                         "LICENCE_TOKEN": {"secret": "licence", "key": "token", "optional": True}},
    "security": {"run_as_user": 2000, "run_as_group": 2001, "fs_group": 2002, "read_only_root": False},
    "ttl_s": 600, "backoff_limit": 2, "kueue_queue": "user-queue", "results": "volume", "results_volume": "home",
    "results_path": "/srv/home",
    "array_at_once": 4,
    "object_store": {"endpoint": "https://s3.example.org", "bucket": "physlab", "access_key": {"env": "S3_ID"},
                     "secret_key": {"file": "/run/keys/s3"}},
}  # fmt: skip
PLAIN = {"image": "physlab:1"}
GPU_SPEC = JobSpec(
    command=("true",), pure=True, timeout_s=30.5, resources=Resources(cpu=1.5, memory_bytes=1 << 30, gpu=2),
    mounts=(Mount("volume:home/ada/run 1", "/mnt/run", readonly=False), Mount("volume:sets", "/mnt/sets")),
)  # fmt: skip
PLAIN_SPEC = JobSpec(command=("true",))


def server(version):
    major, minor = version.split(".")
    return capabilities_of({"major": major, "minor": minor})


def settings(raw=None, **changed):
    return read_settings({**(PLAIN if raw is None else raw), **changed})


def dispatch(**changed):
    return Dispatch(
        **{"lab": "lab-1", "submission": "sub-01j0", "job_id": "job-01j0abc", "attempt": 2, "fence": 7, **changed}
    )


def bundle(of, chosen, *, secret=False, elements=None):
    files = carriers.files_of(of, elements or {of.index: {"spec.json": b"{}"}}, chosen, secret=secret)
    return Bundle(files=tuple(files), program=PROGRAM)


@functools.cache
def versions():
    """Every version from 1.27 that kubernetes-validate has schemas of, oldest first."""
    import kubernetes_validate

    minors = sorted(int(one.split(".")[1]) for one in kubernetes_validate.utils.all_versions())
    return [f"1.{minor}" for minor in minors if minor >= 27]


def _read(version, name):
    import kubernetes_validate

    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    return json.loads((folder / name).read_text())


@functools.cache
def _definitions(version):
    from referencing import Registry, Resource

    return Resource.from_contents(_read(version, "_definitions.json")) @ Registry()


@functools.cache
def _schema(version, kind, api):
    import jsonschema

    schema = _read(version, f"{kind}-{api}.json")
    return jsonschema.validators.Draft202012Validator(schema, registry=_definitions(version))


def complaints(manifest, version):
    """What the strict schema of a version says against a manifest, as it would travel: "" where nothing."""
    body = json.loads(json.dumps(manifest))
    api = body["apiVersion"].replace("/", "-")
    error = next(_schema(version, body["kind"].lower(), api).iter_errors(body), None)
    return "" if error is None else f"{error.json_path}: {error.message[:300]}"


LABEL = re.compile(r"(?=.{1,63}\Z)[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?\Z")
KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")


def check_metadata(metadata):
    """What no schema says and the server checks: names, labels, sizes."""
    if "name" in metadata:
        assert NAME.match(metadata["name"])
        assert len(metadata["name"]) <= naming.NAME_LENGTH
    for key, value in metadata["labels"].items():
        assert KEY.match(key)
        assert LABEL.match(value)
    assert all(KEY.match(key) for key in metadata["annotations"])
    assert sum(len(k) + len(v.encode()) for k, v in metadata["annotations"].items()) < 256 * 1024


def check_pod(spec):
    """What no schema says of a pod: every mount has its volume, no two share a place, nothing privileged."""
    (container,) = spec["containers"]
    volumes = [volume["name"] for volume in spec["volumes"]]
    mounts = container["volumeMounts"]
    assert len(set(volumes)) == len(volumes)
    assert {mount["name"] for mount in mounts} <= set(volumes)
    assert len({mount["mountPath"] for mount in mounts}) == len(mounts)
    assert all(NAME.match(name) and len(name) <= 63 for name in volumes)
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert spec["restartPolicy"] == "Never"
    security = container["securityContext"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] > 0
    assert (security["allowPrivilegeEscalation"], security["capabilities"]) == (False, {"drop": ["ALL"]})
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
