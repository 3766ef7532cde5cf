"""Record what a real Kubernetes API server answers to requests that it refuses, for the fake one to be measured by.

    python scripts/record-kubernetes-errors.py --kubeconfig PATH [--context NAME] [--folder DIR]
                                               [--compact COMMAND] [--restart COMMAND]

Makes the namespace `physlab-record`, sends the requests below, deletes the namespace, and writes
`<folder>/<server version>.json`. `--compact` is a command that compacts the server's etcd to the revision that is put
in the place of `{revision}` (such as `etcdctl --endpoints http://127.0.0.1:12379 compact {revision}`); without it the
410 of an old `continue` token is not recorded. `--restart` is a command that starts the API server anew, after which it
answers a watch from an old revision with 410. No credential is written: headers are left out.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SPACE = "physlab-record"
JOBS = f"/apis/batch/v1/namespaces/{SPACE}/jobs"
MAPS = f"/api/v1/namespaces/{SPACE}/configmaps"
PODS = f"/api/v1/namespaces/{SPACE}/pods"
MERGE = "application/merge-patch+json"
FOLDER = Path(__file__).resolve().parent.parent / "tests" / "fakes" / "kubernetes_api" / "recorded"
DEADLINE_S = 60.0


def container(**change: Any) -> dict[str, Any]:
    return {"name": "m", "image": "x:1", "command": ["true"], **change}


def job(name: str, pod: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    inner = {"restartPolicy": "Never", "containers": [container()], **(pod or {})}
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"parallelism": 0, "template": {"spec": inner}, **spec},
    }  # fmt: skip


def configmap(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


# What is there before: a Job and a configMap, of which the refusals below speak.
BEFORE = [("POST", JOBS, job("kept")), ("POST", MAPS, configmap("kept", a="1"))]

# (name, method, path, content type, body): each is refused.
REFUSED: list[tuple[str, str, str, str, Any]] = [
    ("job-already-exists", "POST", JOBS, "", job("kept")),
    ("configmap-already-exists", "POST", MAPS, "", configmap("kept")),
    ("job-not-found", "GET", f"{JOBS}/none", "", None),
    ("namespace-not-found", "POST", "/apis/batch/v1/namespaces/physlab-none/jobs", "", job("a")),
    ("job-bad-name", "POST", JOBS, "", job("Bad_Name")),
    ("job-long-name", "POST", JOBS, "", job("a" * 70)),
    ("job-restart-always", "POST", JOBS, "", job("a", {"restartPolicy": "Always"})),
    ("job-restart-sometimes", "POST", JOBS, "", job("a", {"restartPolicy": "Sometimes"})),
    ("job-no-containers", "POST", JOBS, "", job("a", {"containers": []})),
    ("job-no-image", "POST", JOBS, "", job("a", {"containers": [container(image="")]})),
    ("job-same-volume-twice", "POST", JOBS, "", job("a", {"volumes": [{"name": "v", "emptyDir": {}}] * 2})),
    (
        "job-volume-of-two-types", "POST", JOBS, "",
        job("a", {"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/a"}}]}),
    ),
    (
        "job-unknown-mount", "POST", JOBS, "",
        job("a", {"containers": [container(volumeMounts=[{"name": "no", "mountPath": "/a"}])]}),
    ),
    (
        "job-request-over-limit", "POST", JOBS, "",
        job("a", {"containers": [container(resources={"limits": {"cpu": "1"}, "requests": {"cpu": "2"}})]}),
    ),
    (
        "job-part-of-a-gpu", "POST", JOBS, "",
        job("a", {"containers": [container(resources={"limits": {"nvidia.com/gpu": "500m"}})]}),
    ),
    (
        "job-no-quantity", "POST", JOBS, "",
        job("a", {"containers": [container(resources={"limits": {"memory": "lots"}})]}),
    ),
    ("job-negative-parallelism", "POST", JOBS, "", job("a", parallelism=-1)),
    ("job-wrong-type", "POST", JOBS, "", job("a", parallelism="two")),
    ("job-own-selector", "POST", JOBS, "", job("a", selector={"matchLabels": {"a": "b"}})),
    (
        "job-template-immutable", "PATCH", f"{JOBS}/kept", MERGE,
        {"spec": {"template": {"spec": {"containers": [container(image="y:1")]}}}},
    ),
    ("job-selector-immutable", "PATCH", f"{JOBS}/kept", MERGE, {"spec": {"selector": {"matchLabels": {"a": "b"}}}}),
    ("job-old-revision", "PATCH", f"{JOBS}/kept", MERGE, {"metadata": {"resourceVersion": "1", "labels": {"a": "b"}}}),
    ("job-other-uid", "DELETE", f"{JOBS}/kept", "", {"preconditions": {"uid": "11111111-2222-3333-4444-555555555555"}}),
    ("job-unknown-policy", "DELETE", f"{JOBS}/kept", "", {"propagationPolicy": "Sometimes"}),
    ("job-other-namespace", "POST", JOBS, "", {**job("a"), "metadata": {"name": "a", "namespace": "default"}}),
    ("job-bad-label", "POST", JOBS, "", {**job("a"), "metadata": {"name": "a", "labels": {"a b": "c d"}}}),
    ("configmap-bad-key", "POST", MAPS, "", configmap("a", **{"a/b": "c"})),
    ("configmap-too-large", "POST", MAPS, "", configmap("a", a="x" * ((1 << 20) + 1))),
    ("unknown-field-selector", "GET", f"{JOBS}?fieldSelector=spec.parallelism%3D1", "", None),
    ("unknown-field-selector-of-maps", "GET", f"{MAPS}?fieldSelector=data.a%3D1", "", None),
    ("unknown-field-selector-of-pods", "GET", f"{PODS}?fieldSelector=spec.priority%3D1", "", None),
    ("bad-label-selector", "GET", f"{JOBS}?labelSelector=a+b+c", "", None),
    ("bad-continue", "GET", f"{JOBS}?limit=1&continue=nonsense", "", None),
    ("future-revision", "GET", f"{JOBS}?resourceVersion=999999999", "", None),
    ("log-of-no-pod", "GET", f"{PODS}/none/log", "", None),
]  # fmt: skip
OLD_PAGE = "old-continue"
OLD_WATCH = "old-watch"


class Recorder:
    """Plain requests with the credentials of a kubeconfig."""

    def __init__(self, kubeconfig: str, context: str | None) -> None:
        from kubernetes import client, config

        settings = client.Configuration()
        config.load_kube_config(kubeconfig, context, client_configuration=settings)
        self._api = client.ApiClient(settings)
        self._host = settings.host

    def send(self, method: str, path: str, body: Any = None, sort: str = "") -> tuple[int, Any]:
        """Status and body of one request."""
        headers = {"Content-Type": sort or "application/json", "Accept": "application/json"}
        query: list[tuple[str, str]] = []
        self._api.update_params_for_auth(headers, query, ["BearerToken"], path, method, body)
        pool = self._api.rest_client.pool_manager
        data = None if body is None else json.dumps(body)
        answer = pool.request(method, self._host + path, body=data, headers=headers, retries=False, timeout=30.0)
        try:
            return answer.status, json.loads(answer.data)
        except ValueError:
            return answer.status, answer.data.decode(errors="replace")


def cases(recorder: Recorder, compact: str | None, restart: str | None = None) -> Iterator[dict[str, Any]]:
    """Every case with the server's answer."""
    for method, path, body in BEFORE:
        code, answer = recorder.send(method, path, body)
        if code != 201:
            raise SystemExit(f"{method} {path}: {code} {answer}")
    for name, method, path, sort, body in REFUSED:
        code, answer = recorder.send(method, path, body, sort)
        yield case((name, method, path, sort, body), code, answer)
    if compact:
        yield old_page(recorder, compact)
    if restart:
        subprocess.run(shlex.split(restart), check=True, timeout=300)
    yield old_watch(recorder)


def case(request: tuple[str, str, str, str, Any], code: int, answer: Any) -> dict[str, Any]:
    name, method, path, sort, body = request
    if code < 400:
        sys.stderr.write(f"{name}: not refused ({code})\n")
    found = {"name": name, "method": method, "path": path, "content_type": sort, "body": body}
    if len(json.dumps(body)) > 1 << 16:
        found["body"] = {"made_by": "the script, too large to keep"}
    return {**found, "code": code, "answer": answer}


def old_watch(recorder: Recorder) -> dict[str, Any]:
    """A watch from revision 1: an ERROR event, or a refusal."""
    path = f"{JOBS}?watch=true&resourceVersion=1&timeoutSeconds=1"
    code, answer = recorder.send("GET", path)
    return {"name": OLD_WATCH, "method": "GET", "path": path, "body": None, "code": code, "answer": answer}


def old_page(recorder: Recorder, compact: str) -> dict[str, Any]:
    """The second page of a list whose revision was compacted meanwhile."""
    recorder.send("POST", JOBS, job("more"))
    _, page = recorder.send("GET", f"{JOBS}?limit=1")
    recorder.send("PATCH", f"{JOBS}/kept", {"metadata": {"labels": {"a": "b"}}}, MERGE)
    _, now = recorder.send("GET", f"{JOBS}?limit=1")
    words = shlex.split(compact.replace("{revision}", now["metadata"]["resourceVersion"]))
    subprocess.run(words, check=True, timeout=60)
    path = f"{JOBS}?limit=1&continue={page['metadata']['continue']}"
    code, answer = recorder.send("GET", path)
    return case((OLD_PAGE, "GET", path, "", None), code, answer)


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--kubeconfig", required=True)
    arguments.add_argument("--context")
    arguments.add_argument("--folder", type=Path, default=FOLDER)
    arguments.add_argument("--compact")
    arguments.add_argument("--restart")
    given = arguments.parse_args()
    recorder = Recorder(given.kubeconfig, given.context)
    _, version = recorder.send("GET", "/version")
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
    code, answer = recorder.send("POST", "/api/v1/namespaces", space)
    if code != 201:
        raise SystemExit(f"cannot make the namespace {SPACE}: {answer}")
    try:
        # The service account controller needs a moment before pods and their Jobs are admitted.
        wait_for_account(recorder)
        found = list(cases(recorder, given.compact, given.restart))
    finally:
        recorder.send("DELETE", f"/api/v1/namespaces/{SPACE}")
    server = version["gitVersion"]
    given.folder.mkdir(parents=True, exist_ok=True)
    path = given.folder / f"{server}.json"
    whole = {"server": server, "recorded": datetime.now(UTC).isoformat(timespec="seconds"), "cases": found}
    path.write_text(json.dumps(whole, indent=1) + "\n")
    sys.stdout.write(f"{len(found)} answers of {server} in {path}\n")


def wait_for_account(recorder: Recorder) -> None:
    end = time.monotonic() + DEADLINE_S
    while recorder.send("GET", f"/api/v1/namespaces/{SPACE}/serviceaccounts/default")[0] != 200:
        if time.monotonic() > end:
            return
        time.sleep(0.1)


if __name__ == "__main__":
    main()
