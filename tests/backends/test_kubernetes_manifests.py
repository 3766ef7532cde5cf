"""Everything that is sent to a server is valid there, says who it belongs to, and shows no secret."""

import base64
import gzip
import io
import json
import random
import tarfile
from itertools import pairwise, product
from pathlib import Path

import kubernetes_validate
import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st
from tests.backends.kube_objects import (
    FULL,
    GPU_SPEC,
    PLAIN_SPEC,
    PROGRAM,
    bundle,
    check_metadata,
    check_pod,
    complaints,
    dispatch,
    server,
    settings,
    versions,
)

from physlab_mcp.backends import runner
from physlab_mcp.backends.kubernetes import carriers, manifests, naming
from physlab_mcp.backends.kubernetes.pods import RUNNER_BYTES
from physlab_mcp.backends.kubernetes.ranges import parse_ranges, write_ranges
from physlab_mcp.errors import RejectedError, RequestError
from physlab_mcp.schemas.job import JobSpec, Mount, Resources

PURE = JobSpec(command=("true",), pure=True)
TOGETHER = (0, 1, 2, 5)


def a_job(spec=PLAIN_SPEC, *, version="1.31", chosen=None, suspended=False, secret=False, **of):
    chosen = chosen or settings()
    named = dispatch(**of)
    return manifests.job(
        named, spec, chosen, server(version), bundle(named, chosen, secret=secret), suspended=suspended
    )


def an_array(spec=PURE, *, version="1.31", chosen=None):
    return a_job(spec, version=version, chosen=chosen, job_id="", indexes=TOGETHER)


def a_cron(spec=PLAIN_SPEC, *, version="1.31", chosen=None, **told):
    chosen = chosen or settings()
    told = {"series": "series-01j0", "schedule": "0 22 * * 1-5", **told}
    return manifests.cron_job(dispatch(), spec, chosen, server(version), bundle(dispatch(), chosen), **told)


def everything(spec, chosen, version):
    """One of each kind, as the backend would send them to a server of this version."""
    able = server(version)
    secret = manifests.holds_secrets(spec, chosen)
    one, many = dispatch(), dispatch(job_id="", indexes=TOGETHER)
    found = [carriers.program_of("lab-1", PROGRAM, chosen)]
    held = [] if chosen.kueue_queue or not able.suspend else [True]
    for of in (one, many) if able.limit_per_index or manifests.repeatable(spec) else (one,):
        brought = bundle(of, chosen, secret=secret)
        found += [carriers.owned(files, [carriers.owner("Job", "physlab-x", "uid-1")]) for files in brought.files]
        found += [manifests.job(of, spec, chosen, able, brought, suspended=bool(one)) for one in [False, *held]]
    brought = bundle(one, chosen, secret=secret)
    zone = "Europe/Paris" if able.cron_time_zone else None
    found.append(
        manifests.cron_job(
            one, spec, chosen, able, brought, series="s", schedule="0 * * * *", time_zone=zone, late_s=60
        )
    )
    return found


def pod_of(manifest):
    template = manifest["spec"].get("jobTemplate", manifest)["spec"]["template"]
    return template["spec"]


def container_of(manifest):
    return pod_of(manifest)["containers"][0]


# -- valid everywhere ----------------------------------------------------------------------------------------


def test_what_is_made_for_each_version_fits_its_strict_schema():
    assert versions()[0] == "1.27"
    assert len(versions()) >= 11
    chosen = (settings(), settings(FULL), settings(results="object_store", object_store=FULL["object_store"]))
    specs = (PLAIN_SPEC, PURE, JobSpec(script="echo", env={"KEY": "v"}, image="other:2"))
    for version, some, spec in product(versions(), chosen, specs):
        for manifest in everything(spec, some, version):
            assert complaints(manifest, version) == "", (version, manifest["kind"])
    for version in versions():
        for manifest in everything(GPU_SPEC, settings(FULL), version):
            assert complaints(manifest, version) == "", (version, manifest["kind"])


def test_the_package_itself_says_the_same_of_the_fullest_job():
    for version in versions():
        manifest = json.loads(json.dumps(a_job(GPU_SPEC, chosen=settings(FULL), version=version)))
        assert kubernetes_validate.validate(manifest, version, strict=True) == version


def test_what_is_made_for_an_old_server_is_valid_on_every_later_one():
    plain = settings(FULL, kueue_queue="")
    made = [a_job(version="1.20"), a_job(GPU_SPEC, version="1.20", chosen=plain), a_cron(version="1.21")]
    made += [one for old in ("1.24", "1.26") for one in everything(PURE, plain, old)]
    for manifest, version in product(made, versions()):
        assert complaints(manifest, version) == ""


def test_the_schemas_can_say_no():
    good = a_job()
    for path, value in {
        ("spec", "backofLimit"): 0,
        ("spec", "parallelism"): "many",
        ("spec", "template", "spec", "nodeSelector"): ["a"],
        ("metadata", "labels"): {"a": 1},
        ("spec", "template", "spec", "containers"): None,
        ("kinds",): "Job",
    }.items():
        bad = json.loads(json.dumps(good))
        place = bad
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        assert complaints(good, "1.31") == ""
        assert complaints(bad, "1.31") != "", path
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(bad, "1.31", strict=True)


def test_a_field_that_is_sent_too_early_is_seen():
    assert "backoffLimitPerIndex" in complaints(an_array(version="1.29"), "1.27")
    assert "podReplacementPolicy" in complaints(a_job(version="1.29"), "1.27")
    assert complaints(an_array(version="1.28"), "1.27") == ""


# -- over generated settings ---------------------------------------------------------------------------------

names = st.from_regex(r"[a-z]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
plain = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
label_values = st.from_regex(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,20}[A-Za-z0-9])?", fullmatch=True)
tolerations = st.one_of(
    st.fixed_dictionaries({"key": names, "value": label_values}, optional={"effect": st.just("NoSchedule")}),
    st.fixed_dictionaries(
        {"operator": st.just("Exists"), "effect": st.just("NoExecute"), "seconds": st.integers(0, 9)}
    ),
)


@st.composite
def volumes(draw):
    found = []
    for name in draw(st.lists(names.filter(lambda name: not name.startswith("physlab-")), unique=True, max_size=4)):
        kind = draw(st.sampled_from(["pvc", "host_path", "config_map", "secret"]))
        one = {"name": name, "target": f"/mnt/{name}", kind: "/srv/x" if kind == "host_path" else draw(names)}
        if kind in ("config_map", "secret"):
            one["items"] = draw(st.dictionaries(names, names, max_size=2))
        else:
            one["readonly"] = draw(st.booleans())
        found.append(one)
    return found


@st.composite
def sections(draw):
    found = {"image": "a/b:1", "volumes": draw(volumes())}
    choices = {
        "namespace": names, "image_pull_secrets": st.lists(names, max_size=2), "service_account": names,
        "service_account_token": st.booleans(), "node_selector": st.dictionaries(names, label_values, max_size=2),
        "tolerations": st.lists(tolerations, max_size=3), "priority_class": names, "runtime_class": names,
        "default_memory": st.sampled_from(["", "512Mi", "1.5G"]), "ephemeral_storage": st.sampled_from(["", "1Gi"]),
        "work_size": st.sampled_from(["", "100M"]), "ttl_s": st.integers(60, 10**6), "backoff_limit": st.integers(0, 10),
        "env": st.dictionaries(names.map(lambda name: "V_" + name.replace("-", "_")), plain, max_size=2),
        "env_from_secrets": st.dictionaries(names.map(lambda name: "S_" + name.replace("-", "_")),
                                            st.fixed_dictionaries({"secret": names, "key": names}), max_size=2),
        "security": st.fixed_dictionaries({"run_as_user": st.integers(1, 2**31 - 1), "read_only_root": st.booleans()}),
        "kueue_queue": names, "array_at_once": st.integers(0, 9), "grace_s": st.integers(1, 3600),
    }  # fmt: skip
    for name in draw(st.sets(st.sampled_from(sorted(choices)))):
        found[name] = draw(choices[name])
    writable = [one["name"] for one in found["volumes"] if not one.get("readonly", True)]
    if writable and draw(st.booleans()):
        found |= {"results_volume": writable[0], "results_path": "/srv/results"}
    return found


specs = st.builds(
    JobSpec,
    command=st.just(("true",)),
    title=plain,
    env=st.dictionaries(st.just("A"), plain),
    pure=st.booleans(),
    image=st.sampled_from([None, "x:2"]),
    timeout_s=st.one_of(st.none(), st.floats(0.001, 1e12)),
    resources=st.builds(
        Resources,
        cpu=st.floats(0.001, 512),
        memory_bytes=st.one_of(st.none(), st.integers(1, 2**45)),
        gpu=st.integers(0, 16),
    ),
)


@given(sections(), specs, st.integers(0, 100), plain, plain)
@budget(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_whatever_is_set_every_manifest_is_valid(section, spec, at, lab, job_id):
    chosen = settings(section)
    version = versions()[at % len(versions())]
    for manifest in everything(spec, chosen, version):
        assert complaints(manifest, version) == ""
        check_metadata(manifest["metadata"])
        if manifest["kind"] in ("Job", "CronJob"):
            check_pod(pod_of(manifest))
    odd = naming.Dispatch(lab=lab, submission=job_id + lab, job_id=job_id or "j", attempt=3, fence=2**40)
    for kind in ("job", "files"):
        metadata = {
            "name": naming.job_name(odd),
            "labels": naming.labels(odd, kind=kind),
            "annotations": naming.notes(odd),
        }
        check_metadata(metadata)
        assert naming.dispatch_of(metadata) == odd


# -- names ---------------------------------------------------------------------------------------------------


def test_the_same_dispatch_has_the_same_name_and_another_one_another():
    base = dispatch()
    others = [
        dispatch(**{field: value})
        for field, value in {"lab": "lab-2", "submission": "sub-2", "job_id": "job-2", "attempt": 3, "fence": 8}.items()
    ]
    assert naming.job_name(base) == naming.job_name(dispatch())
    assert len({naming.job_name(one) for one in [base, *others]}) == 6
    assert naming.job_name(base).startswith("physlab-job-01j0abc-")


def test_what_the_server_has_already_is_known_as_ours_only_if_it_is_the_same_dispatch():
    sent = a_job()
    stored = {**json.loads(json.dumps(sent)), "status": {}}
    stored["metadata"]["uid"] = "u"
    assert naming.same_dispatch(sent, stored)
    assert not naming.same_dispatch(a_job(fence=8), stored)
    assert not naming.same_dispatch(sent, {"metadata": {"name": sent["metadata"]["name"]}})
    for odd in ({"physlab-mcp/fence": "many"}, {"physlab-mcp/index": None}, {"physlab-mcp/indexes": "0-999999999"}):
        assert naming.dispatch_of({"annotations": {"physlab-mcp/token": "physlab:x", **odd}}) is None
    assert naming.dispatch_of({"annotations": "none"}) is None


def test_the_elements_of_an_array_are_told_in_few_characters():
    array = an_array()
    assert array["metadata"]["annotations"]["physlab-mcp/indexes"] == "0-2,5"
    assert naming.dispatch_of(array["metadata"]).indexes == TOGETHER
    assert array["spec"]["completions"] == 4


@given(st.sets(st.integers(0, 300)))
@budget(max_examples=60)
def test_ranges_are_read_as_they_are_written(numbers):
    read = parse_ranges(write_ranges(numbers))
    assert (list(read), len(read)) == (sorted(numbers), len(numbers))
    assert all((number in read) == (number in numbers) for number in range(302))


def test_ranges_that_cannot_be_read_are_left_out():
    assert list(parse_ranges("1,x,3-2,5-6,,4,9-")) == [1, 5, 6]
    assert list(parse_ranges(None)) == []


def test_native_ids_are_read_as_they_are_written():
    for index in (None, 7):
        text = naming.native_id("ns", "physlab-a", "0-1-2", index)
        assert naming.parse_native_id(text) == naming.NativeId("ns", "physlab-a", "0-1-2", index)
    for foreign in (None, "", "proc:1:2", "kubernetes:a:b", "kubernetes:a:b:c:d"):
        assert naming.parse_native_id(foreign) is None


def test_what_a_cron_job_made_says_for_which_time():
    name = a_cron()["metadata"]["name"]
    assert naming.occurrence_of(name, {"name": f"{name}-28000000"}) == 28_000_000 * 60
    assert naming.occurrence_of(name, {"name": "another-28000000"}) is None
    assert naming.occurrence_of(name, {"name": f"{name}-soon"}) is None


def test_a_selector_finds_only_the_own_installation():
    assert naming.selector("lab-1", kind="job", submissions=["a", "b c"]) == (
        "app.kubernetes.io/managed-by=physlab,physlab-mcp/lab=lab-1,physlab-mcp/kind=job,"
        f"physlab-mcp/submission in (a,{naming.label_value('b c')})"
    )


def test_no_words_of_a_user_stand_in_a_job():
    spec = JobSpec(
        command=("echo", "SENTINEL"), title="SENTINEL title", env={"A": "SENTINEL"}, script=None, workdir="SENTINEL"
    )
    assert "SENTINEL" not in json.dumps(a_job(spec))


# -- what pods get -------------------------------------------------------------------------------------------


def test_requests_and_limits_hold_what_was_asked_for():
    amounts = container_of(a_job(GPU_SPEC, chosen=settings(FULL)))["resources"]["limits"]
    assert amounts == {
        "cpu": "1500m", "memory": str((1 << 30) + RUNNER_BYTES), "ephemeral-storage": "10Gi", "amd.com/gpu": "2",
    }  # fmt: skip
    assert container_of(a_job())["resources"]["limits"]["memory"] == str((1 << 30) + RUNNER_BYTES)
    assert "memory" not in container_of(a_job(chosen=settings(default_memory="")))["resources"]["limits"]


def test_nodes_are_chosen_for_gpus_only_where_there_are_some():
    assert pod_of(a_job(GPU_SPEC, chosen=settings(FULL)))["nodeSelector"]["accelerator"] == "a100"
    assert pod_of(a_job(chosen=settings(FULL)))["nodeSelector"] == {"kubernetes.io/arch": "amd64"}


def test_a_pod_is_confined_unless_the_settings_say_otherwise():
    pod = pod_of(a_job())
    check_pod(pod)
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["automountServiceAccountToken"] is False
    assert {"/physlab/work", "/tmp"} <= {
        mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"] if not mount.get("readOnly")
    }


def test_only_a_folder_of_a_node_is_a_volume_that_the_restricted_policy_forbids():
    allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
    used = {kind for volume in pod_of(a_job(chosen=settings(FULL)))["volumes"] for kind in volume if kind != "name"}
    assert used - allowed == {"hostPath"}


def test_the_time_limit_is_the_pods_so_that_waiting_does_not_count():
    manifest = a_job(GPU_SPEC, chosen=settings(FULL))
    assert pod_of(manifest)["activeDeadlineSeconds"] == 31 + 30 + 900
    assert "activeDeadlineSeconds" not in manifest["spec"]
    assert "activeDeadlineSeconds" not in pod_of(a_job())
    assert pod_of(a_job(JobSpec(command=("a",), timeout_s=1e15)))["activeDeadlineSeconds"] == 2**31 - 1


def test_secrets_of_the_cluster_come_as_references():
    env = {one["name"]: one for one in container_of(a_job(chosen=settings(FULL)))["env"]}
    assert env["DB_PASSWORD"] == {
        "name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}},
    }  # fmt: skip
    assert env["LICENCE_TOKEN"]["valueFrom"]["secretKeyRef"]["optional"] is True
    assert env["PRICE"]["value"] == "$$(not a reference)"


def test_variables_of_a_job_travel_in_a_secret_and_nowhere_else():
    spec, chosen = JobSpec(command=("a",), env={"DB": "hunter2"}), settings()
    assert manifests.holds_secrets(spec, chosen)
    assert not manifests.holds_secrets(PLAIN_SPEC, chosen)
    brought = bundle(dispatch(), chosen, secret=True, elements={0: {"spec.json": b"hunter2"}})
    assert [files["kind"] for files in brought.files] == ["Secret"]
    made = manifests.job(dispatch(), spec, chosen, server("1.31"), brought)
    encoded = base64.b64encode(b"hunter2").decode().rstrip("=")
    assert "hunter2" not in json.dumps(made)
    assert encoded not in json.dumps(made)
    (source,) = next(one for one in pod_of(made)["volumes"] if one["name"] == "physlab-files")["projected"]["sources"]
    assert source["secret"]["name"] == brought.files[0]["metadata"]["name"]


def test_signed_addresses_travel_in_a_secret_too():
    assert manifests.holds_secrets(PLAIN_SPEC, settings(object_store=FULL["object_store"]))


def test_how_results_come_home_is_told_to_the_pod():
    def told(chosen):
        args = container_of(a_job(chosen=chosen))["args"]
        return args[args.index("--results") + 1]

    assert told(settings()) == "log:8000000"
    assert told(settings(FULL)) == "volume:/data/home"
    assert told(settings(object_store=FULL["object_store"])) == "object_store"


def test_a_single_job_is_told_its_element_and_an_array_finds_it_itself():
    assert container_of(a_job(index=3))["args"][:2] == ["--element", "3"]
    assert "--element" not in container_of(an_array())["args"]


def test_a_job_may_mount_a_folder_of_a_volume():
    mounts = container_of(a_job(GPU_SPEC, chosen=settings(FULL)))["volumeMounts"]
    assert {"name": "home", "mountPath": "/mnt/run", "subPath": "ada/run 1"} in mounts
    assert {"name": "sets", "mountPath": "/mnt/sets", "readOnly": True} in mounts


@pytest.mark.parametrize(
    ("mount", "field"),
    [
        (Mount("/home", "/mnt/a"), "mounts.source"),
        (Mount("volume:none", "/mnt/a"), "mounts.source"),
        (Mount("volume:home/../x", "/mnt/a"), "mounts.source"),
        (Mount("volume:sets", "/mnt/a", readonly=False), "mounts.readonly"),
        (Mount("volume:home", "/etc"), "mounts.target"),
        (Mount("volume:home", "/physlab/program"), "mounts.target"),
        (Mount("volume:home", "/data/sets"), "mounts.target"),
    ],
)
def test_other_mounts_are_refused(mount, field):
    with pytest.raises((RejectedError, RequestError)) as refused:
        manifests.check(JobSpec(command=("a",), mounts=(mount,)), settings(FULL), server("1.31"))
    assert refused.value.field == field
    assert refused.value.remedy


def test_a_job_without_an_image_is_refused_naming_the_setting():
    with pytest.raises(RejectedError, match=r"backends\.kubernetes\.image") as refused:
        manifests.check(PLAIN_SPEC, settings({}), server("1.31"))
    assert refused.value.field == "backends.kubernetes.image"
    manifests.check(JobSpec(command=("a",), image="x:1"), settings({}), server("1.31"))
    with pytest.raises(RequestError) as refused:
        manifests.check(JobSpec(command=("a",), image="x; rm"), settings({}), server("1.31"))
    assert refused.value.field == "job_spec.image"


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (JobSpec(command=("a",), resources=Resources(nodes=2)), "resources.nodes"),
        (JobSpec(command=("a",), resources=Resources(cpu=0)), "resources.cpu"),
    ],
)
def test_what_no_pod_can_do_is_refused(spec, field):
    with pytest.raises(RejectedError) as refused:
        a_job(spec)
    assert refused.value.field == field


# -- by version ----------------------------------------------------------------------------------------------


def test_before_1_24_every_job_is_alone_and_cannot_be_held():
    jobs = [(index, PURE) for index in range(3)]
    assert manifests.arrays(jobs, settings(), server("1.23")) == [(0,), (1,), (2,)]
    assert manifests.arrays(jobs, settings(), server("1.24")) == [(0, 1, 2)]
    with pytest.raises(RejectedError, match=r"1\.23 .*suspend"):
        a_job(version="1.23", suspended=True)
    assert a_job(version="1.24", suspended=True)["spec"]["suspend"] is True
    with pytest.raises(RejectedError, match="Indexed Job"):
        an_array(version="1.23")


def test_jobs_that_may_not_be_repeated_go_together_only_where_each_has_its_own_limit():
    jobs = [(0, PLAIN_SPEC), (1, PLAIN_SPEC)]
    assert manifests.arrays(jobs, settings(), server("1.28")) == [(0,), (1,)]
    assert manifests.arrays(jobs, settings(), server("1.29")) == [(0, 1)]
    with pytest.raises(RejectedError):
        an_array(PLAIN_SPEC, version="1.28")


def test_only_jobs_alike_go_together_in_arrays_of_the_size_that_is_set():
    big = msgspec.structs.replace(PURE, resources=Resources(cpu=2))
    jobs = [(index, big if index % 2 else PURE) for index in range(6)]
    assert manifests.arrays(jobs, settings(array_size=2), server("1.31")) == [(0, 2), (1, 3), (4,), (5,)]


def test_a_failed_element_never_ends_the_others():
    assert an_array(version="1.29")["spec"]["backoffLimitPerIndex"] == 0
    assert "backoffLimit" not in an_array(version="1.29")["spec"]
    old = an_array(version="1.26")["spec"]
    assert old["backoffLimit"] == 4
    assert old["podFailurePolicy"]["rules"][0]["action"] == "Ignore"
    assert "podFailurePolicy" not in an_array(version="1.25")["spec"]


def test_kubernetes_repeats_nothing_that_may_not_be_repeated():
    many = settings(backoff_limit=3)
    assert a_job(PLAIN_SPEC, chosen=many)["spec"]["backoffLimit"] == 0
    assert a_job(PURE, chosen=many)["spec"]["backoffLimit"] == 3
    assert a_job(PURE)["spec"]["backoffLimit"] == 0
    assert an_array(PLAIN_SPEC, chosen=many)["spec"]["backoffLimitPerIndex"] == 0


def test_the_throttle_of_an_array_is_kept():
    assert an_array()["spec"]["parallelism"] == 4
    assert an_array(chosen=settings(array_at_once=3))["spec"]["parallelism"] == 3
    assert an_array(chosen=settings(array_at_once=9))["spec"]["parallelism"] == 4


def test_a_finished_job_goes_by_itself_where_the_server_can():
    assert a_job(version="1.23")["spec"]["ttlSecondsAfterFinished"] == 86_400
    assert "ttlSecondsAfterFinished" not in a_job(version="1.22")["spec"]


def test_kueue_gets_its_label_and_decides_alone():
    queued = settings(kueue_queue="user-queue")
    made = a_job(chosen=queued)
    assert made["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "user-queue"
    assert "suspend" not in made["spec"]
    with pytest.raises(RejectedError, match="Kueue decides"):
        a_job(chosen=queued, suspended=True)
    with pytest.raises(RejectedError) as refused:
        a_job(chosen=queued, version="1.23")
    assert refused.value.field == "backends.kubernetes.kueue_queue"


def test_recurring_work_is_a_cron_job_from_1_21_with_a_time_zone_from_1_25():
    made = a_cron(time_zone="Europe/Paris", late_s=300, paused=True)
    assert (made["spec"]["timeZone"], made["spec"]["startingDeadlineSeconds"]) == ("Europe/Paris", 300)
    assert (made["spec"]["suspend"], made["spec"]["concurrencyPolicy"]) == (True, "Forbid")
    assert a_cron(version="1.21")["apiVersion"] == "batch/v1"
    for told in (
        {"version": "1.20"},
        {"version": "1.24", "time_zone": "Europe/Paris"},
        {"schedule": "CRON_TZ=UTC 0 * * * *"},
    ):
        with pytest.raises(RejectedError):
            a_cron(**told)


# -- what travels --------------------------------------------------------------------------------------------


def unpack(files):
    key = "data" if files[0]["kind"] == "Secret" else "binaryData"
    archive = b"".join(base64.b64decode(one[key]["piece"]) for one in files)
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as stream:
        held = {entry.name: stream.extractfile(entry).read() for entry in stream}
    listed = json.loads(held["elements.json"])
    return {int(n): {path: held[f"blobs/{sha}"] for path, sha in paths.items()} for n, paths in listed.items()}


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("secret", [False, True])
def test_files_of_any_size_arrive_whole_in_pieces_that_the_server_takes(secret):
    elements = {0: {"spec.json": b"{}", "work/deep/α.bin": noise(2_500_000)}, 4: {"spec.json": b"{}"}}
    files = carriers.files_of(dispatch(), elements, settings(), secret=secret)
    assert len(files) == 3
    assert unpack(files) == elements
    for one, following in pairwise([*files, None]):
        held = base64.b64decode((one.get("data") or one.get("binaryData"))["piece"])
        assert len(held) <= 1024 * 1024
        assert one["immutable"] is True
        assert following is None or one["metadata"]["name"] != following["metadata"]["name"]
        assert all(complaints(one, version) == "" for version in (versions()[0], versions()[-1]))
    sources = carriers.files_volume(dispatch(), files)["projected"]["sources"]
    assert [next(iter(one.values()))["items"][0]["path"] for one in sources] == ["0000", "0001", "0002"]


def test_what_elements_share_travels_once():
    shared = noise(500_000)
    archive = carriers.pack({n: {"input": shared, "spec.json": str(n).encode()} for n in range(50)})
    assert len(archive) < 600_000


def test_the_same_files_make_the_same_objects():
    elements = {1: {"b": b"2", "a": b"1"}, 0: {"a": b"1"}}
    again = {0: {"a": b"1"}, 1: {"a": b"1", "b": b"2"}}
    assert carriers.files_of(dispatch(), elements, settings(), secret=False) == carriers.files_of(
        dispatch(), again, settings(), secret=False
    )
    assert gzip.decompress(carriers.pack(elements)) == gzip.decompress(carriers.pack(again))


def test_too_much_for_config_maps_is_refused_naming_the_setting():
    with pytest.raises(RejectedError) as refused:
        carriers.files_of(dispatch(), {0: {"a": noise(1_100_000)}}, settings(inline_mb=1), secret=False)
    assert refused.value.field == "backends.kubernetes.inline_mb"


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", "a\0b"])
def test_a_file_outside_of_the_job_folder_is_refused(path):
    with pytest.raises(RequestError):
        carriers.pack({0: {path: b""}})


def test_the_program_is_named_by_its_bytes_and_shown_in_its_folders():
    made = carriers.program_of("lab-1", PROGRAM, settings())
    volume = carriers.program_volume("lab-1", PROGRAM)
    assert volume["configMap"]["name"] == made["metadata"]["name"]
    assert {item["path"]: made["data"][item["key"]].encode() for item in volume["configMap"]["items"]} == PROGRAM
    changed = {**PROGRAM, "pod.py": b"print(1)\n"}
    assert carriers.program_of("lab-1", changed, settings())["metadata"]["name"] != made["metadata"]["name"]
    assert carriers.program_digest(PROGRAM) == carriers.program_digest(dict(reversed(PROGRAM.items())))


def test_the_real_runner_fits_into_its_config_map():
    place = Path(runner.__file__).parent
    program = {
        str(path.relative_to(place)): path.read_bytes()
        for path in [place / "runner.py", *place.glob("runner_parts/*.py")]
    }
    made = carriers.program_of("lab-1", program, settings())
    assert complaints(made, versions()[-1]) == ""
    assert sum(map(len, made["data"].values())) < carriers.PIECE_BYTES / 2


def test_what_brings_the_files_goes_with_the_jobs():
    (files,) = carriers.files_of(dispatch(), {0: {"a": b""}}, settings(), secret=False)
    owned = carriers.owned(
        files, [carriers.owner("Job", "physlab-a", "uid-1"), carriers.owner("Job", "physlab-b", "uid-2")]
    )
    assert [one["uid"] for one in owned["metadata"]["ownerReferences"]] == ["uid-1", "uid-2"]
    assert "ownerReferences" not in files["metadata"]
    assert complaints(owned, versions()[0]) == ""
