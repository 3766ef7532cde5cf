"""The real API server, its controllers and the stand-in for kubelets work together as a cluster does."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from kubernetes import client, watch
from kubernetes.client import ApiException
from tests.clusters.kubernetes_cluster import REPOSITORY, processes_below, start
from tests.real_kubernetes.objects import WAIT_S, Desk, desk, job
from tests.waiting import until

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]


@pytest.fixture
def k(kubernetes_real) -> Iterator[Desk]:
    with desk(kubernetes_real) as one:
        yield one


def condition(one, sort: str):
    return next((found for found in one.status.conditions or [] if found.type == sort), None)


def test_a_job_runs_and_its_log_is_read(k):
    k.make(job("plain", "echo out; echo err >&2; id -u"))
    done = k.ended("plain")
    assert (done.status.succeeded, condition(done, "Complete").status) == (1, "True")
    assert k.terminated("plain").reason == "Completed"
    assert sorted(k.log("plain").split()) == ["0", "err", "out"]
    pod = k.pod("plain")
    assert pod.status.start_time <= pod.status.container_statuses[0].state.terminated.finished_at
    assert condition(pod, "PodScheduled").status == "True"
    assert pod.status.qos_class == "BestEffort"


def test_failures_are_told_with_their_reasons(k):
    k.make(job("exits", "echo last words >/dev/termination-log; exit 3"))
    k.make(
        job("grows", "python3 -c 'x = bytearray(200 << 20)'", container={"resources": {"limits": {"memory": "64Mi"}}})
    )
    k.make(job("absent", "", container={"command": ["no-such-program"]}))
    k.make(job("late", "sleep 300", activeDeadlineSeconds=1, terminationGracePeriodSeconds=0))
    exited, grown, absent = map(k.terminated, ("exits", "grows", "absent"))
    assert (exited.exit_code, exited.reason, exited.message) == (3, "Error", "last words\n")
    assert (grown.exit_code, grown.reason) == (137, "OOMKilled")
    assert (absent.exit_code, absent.reason) == (127, "ContainerCannotRun")
    assert "no-such-program" in absent.message
    k.ended("late")
    assert k.pod("late").status.reason == "DeadlineExceeded"
    assert condition(k.ended("exits"), "Failed").reason == "BackoffLimitExceeded"


def test_volumes_and_variables_come_from_the_server(k):
    folder = k.cluster.root / "volumes" / "home"
    volume = {
        "metadata": {"name": "home"},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"], "storageClassName": "none",
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": str(folder)},
        },
    }  # fmt: skip
    claim = {
        "metadata": {"name": "home"},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "none",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    k.core.create_persistent_volume(volume)
    k.core.create_namespaced_persistent_volume_claim(k.space, claim)
    k.core.create_namespaced_config_map(k.space, {"metadata": {"name": "c"}, "data": {"a": "of the map"}})
    k.core.create_namespaced_secret(k.space, {"metadata": {"name": "s"}, "stringData": {"b": "of the secret"}})
    mounts = {"c": "/c", "s": "/s", "home": "/kept-home", "scratch": "/scratch"}
    script = (
        "cat /c/a /s/b > /scratch/both; cp /scratch/both /kept-home/kept; echo $PLAIN $FROM; ls -d /repository 2>&1"
    )
    container = {
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in mounts.items()],
        "env": [{"name": "PLAIN", "value": "v"},
                {"name": "FROM", "valueFrom": {"secretKeyRef": {"name": "s", "key": "b"}}}],
    }  # fmt: skip
    volumes = [
        {"name": "c", "configMap": {"name": "c"}}, {"name": "s", "secret": {"secretName": "s"}},
        {"name": "home", "persistentVolumeClaim": {"claimName": "home"}}, {"name": "scratch", "emptyDir": {}},
    ]  # fmt: skip
    try:
        k.make(job("mounts", script, container=container, volumes=volumes))
        k.ended("mounts")
        assert k.log("mounts").splitlines()[0] == "v of the secret"
        assert (folder / "kept").read_text() == "of the mapof the secret"
    finally:
        k.batch.delete_namespaced_job("mounts", k.space, propagation_policy="Background")
        k.core.delete_namespaced_config_map("c", k.space)
        k.core.delete_namespaced_secret("s", k.space)
        k.core.delete_namespaced_persistent_volume_claim("home", k.space)
        k.core.delete_persistent_volume("home")


def test_a_log_is_followed_cut_and_dated(k):
    k.make(job("talks", "for i in 1 2 3; do echo line $i; done; while [ ! -e /scratch/go ]; do sleep 0.1; done; echo end",
               container={"volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]},
               volumes=[{"name": "scratch", "hostPath": {"path": str(k.cluster.root / "scratch")}}]))  # fmt: skip
    k.in_phase("talks", "Running")
    until(lambda: "line 3" in k.log("talks"), WAIT_S)
    assert k.log("talks", tail_lines=1) == "line 3\n"
    stamps = [line.split(" ", 1) for line in k.log("talks", timestamps=True).splitlines()]
    assert [text for _, text in stamps] == ["line 1", "line 2", "line 3"]
    heard: list[str] = []
    name = k.pod("talks").metadata.name

    def follow() -> None:
        heard.extend(watch.Watch().stream(k.core.read_namespaced_pod_log, name, k.space))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    until(lambda: len(heard) == 3, WAIT_S)
    (k.cluster.root / "scratch" / "go").touch()
    thread.join(WAIT_S)
    assert heard == ["line 1", "line 2", "line 3", "end"]
    everything = b"line 1\nline 2\nline 3\nend\n"
    assert k.raw(f"pods/{name}/log?sinceTime={stamps[0][0]}") == everything
    # The server hands whole seconds on to the kubelet, so that lines of the same second come again.
    assert k.raw(f"pods/{name}/log?sinceTime={stamps[2][0]}").endswith(b"line 3\nend\n")
    assert k.raw(f"pods/{name}/log?sinceTime={stamps[0][0][:19]}Z") == everything
    assert k.raw(f"pods/{name}/log?sinceTime=2100-01-01T00:00:00Z") == b""


def test_what_cannot_start_says_why_and_starts_once_it_can(k):
    k.make(job("huge", "true", container={"resources": {"limits": {"cpu": "100"}}}))
    k.make(job("two-gpus", "true", container={"resources": {"limits": {"nvidia.com/gpu": "2"}}}))
    k.make(job("one-gpu", "echo $NVIDIA_VISIBLE_DEVICES", container={"resources": {"limits": {"nvidia.com/gpu": "1"}}},
               tolerations=[{"key": "lab/gpu", "operator": "Exists"}]))  # fmt: skip
    k.make(job("no-image", "true", container={"image": "registry.example.org/none:1"}))
    k.make(job("no-secret", "true", container={"envFrom": [{"secretRef": {"name": "later"}}]}))

    def unschedulable(name: str) -> str:
        found = until(lambda: condition(k.pod(name), "PodScheduled"), WAIT_S)
        return f"{found.reason}: {found.message}"

    def waits(name: str) -> str:
        found = k.in_phase(name, "Pending").status.container_statuses
        waiting = found[0].state.waiting if found else None
        return waiting.reason if waiting else ""

    assert unschedulable("huge") == (
        "Unschedulable: 0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had taint {lab/gpu: fake}, that the pod "
        "didn't tolerate."
    )
    assert "Insufficient nvidia.com/gpu" in unschedulable("two-gpus")
    k.ended("one-gpu")
    assert (k.pod("one-gpu").spec.node_name, k.log("one-gpu")) == ("node-gpu", "0\n")
    until(lambda: waits("no-image") == "ImagePullBackOff", WAIT_S)
    until(lambda: waits("no-secret") == "CreateContainerConfigError", WAIT_S)
    k.core.create_namespaced_secret(k.space, {"metadata": {"name": "later"}, "stringData": {"A": "b"}})
    try:
        assert k.ended("no-secret").status.succeeded == 1
    finally:
        k.core.delete_namespaced_secret("later", k.space)


def test_a_deleted_pod_gets_term_and_then_kill(k):
    k.make(job("polite", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done"))
    k.make(job("deaf", "trap '' TERM; echo up; while :; do sleep 0.1; done", terminationGracePeriodSeconds=1))
    for name in ("polite", "deaf"):
        until(lambda name=name: "up" in (k.log(name) if k.in_phase(name, "Running") else ""), WAIT_S)
    uids = {k.pod(name).metadata.uid for name in ("polite", "deaf")}
    assert len(processes_below(k.cluster.root / "nodes")) >= 2
    seen: dict[str, str] = {}

    def heard() -> None:
        for event in watch.Watch().stream(k.core.list_namespaced_pod, k.space, timeout_seconds=30):
            if event["type"] == "DELETED":
                ended = event["object"].status.container_statuses[0].state.terminated
                seen[event["object"].metadata.labels["job-name"]] = f"{ended.exit_code} {ended.reason}"
            if len(seen) == 2:
                return

    thread = threading.Thread(target=heard, daemon=True)
    thread.start()
    k.batch.delete_collection_namespaced_job(k.space, propagation_policy="Background")
    thread.join(WAIT_S)
    assert seen == {"polite": "0 Completed", "deaf": "137 Error"}
    assert not [uid for uid in uids if (k.cluster.root / "nodes" / "node-0" / "pods" / uid).exists()]


def test_the_pods_of_a_node_that_is_switched_off_are_put_out(k):
    k.cluster.add(name="frail", cpu="2", memory="4Gi", labels={"lab/frail": "yes"}).wait()
    try:
        k.make(job("on-frail", "echo up; sleep 600", nodeSelector={"lab/frail": "yes"}))
        k.in_phase("on-frail", "Running")
        frail = k.cluster.nodes["frail"]
        frail.kill()
        until(
            lambda: processes_below(k.cluster.root / "nodes" / "frail") == [], WAIT_S, what="its processes to be gone"
        )
        until(lambda: condition(k.core.read_node("frail"), "Ready").status == "Unknown", WAIT_S)
        marked = until(lambda: p if (p := k.pod("on-frail")).metadata.deletion_timestamp else None, WAIT_S)
        assert (marked.status.phase, condition(marked, "Ready").status) == ("Running", "False")
        with pytest.raises(ApiException) as told:
            k.core.read_namespaced_pod_log(marked.metadata.name, k.space)
        assert "connection refused" in told.value.body
        frail.start()
        frail.wait()
        until(lambda: condition(k.core.read_node("frail"), "Ready").status == "True", WAIT_S)
        # The pod is gone with the node's return, and 1.20 has the Job make it again.
        until(lambda: k.pod("on-frail").metadata.uid != marked.metadata.uid, WAIT_S)
    finally:
        k.clear()
        k.cluster.nodes.pop("frail").end()
        k.core.delete_node("frail")


def test_the_account_may_do_what_the_documentation_asks_for_and_no_more(kubernetes_real):
    with contextlib.closing(kubernetes_real.client()) as api:
        core, batch = client.CoreV1Api(api), client.BatchV1Api(api)
        space = kubernetes_real.namespace
        assert batch.list_namespaced_job(space).items == []
        assert {node.metadata.name for node in core.list_node().items} == {"node-0", "node-gpu"}
        for forbidden in (
            lambda: batch.list_namespaced_job("default"),
            lambda: core.list_namespaced_pod("kube-system"),
            lambda: core.list_namespaced_secret(space),
            lambda: core.delete_namespaced_secret("any", space),
            lambda: core.create_namespaced_pod(space, {"metadata": {"name": "p"}, "spec": {"containers": []}}),
            lambda: client.RbacAuthorizationV1Api(api).list_namespaced_role(space),
        ):
            with pytest.raises(ApiException) as told:
                forbidden()
            assert told.value.status == 403
        assert client.VersionApi(api).get_code().git_version == "v1.20.2"


def test_a_server_that_was_away_has_forgotten_old_revisions(k):
    before = k.batch.list_namespaced_job(k.space).metadata.resource_version
    for i in range(3):
        k.make(job(f"more-{i}", "true"))
    k.cluster.do("stop-server")
    with pytest.raises(Exception, match="refused"):
        k.batch.list_namespaced_job(k.space, _request_timeout=5)
    k.cluster.do("start-server")
    assert {one.metadata.name for one in k.batch.list_namespaced_job(k.space).items} >= {"more-0", "more-1", "more-2"}
    for i in range(3):
        k.ended(f"more-{i}")
    with pytest.raises(ApiException) as told:
        list(watch.Watch().stream(k.batch.list_namespaced_job, k.space, resource_version=before, timeout_seconds=5))
    assert told.value.status == 410


def test_a_cluster_that_is_ended_leaves_no_process_and_no_folder(kubernetes_real):
    other = start()
    try:
        with desk(other) as k:
            k.make(job("runs", "sleep 600"))
            k.in_phase("runs", "Running")
        found = processes_below(other.root)
        assert len(found) >= 4
    finally:
        other.down()
    assert not other.root.exists()
    until(lambda: processes_below(other.root) == [], WAIT_S)


def test_a_cluster_ends_with_the_process_that_started_it(kubernetes_real):
    program = """
        import json, os, time
        from tests.clusters.kubernetes_cluster import start
        from tests.real_kubernetes.objects import Desk, job
        cluster = start()
        k = Desk(cluster)
        k.make(job("runs", "sleep 600"))
        k.in_phase("runs", "Running")
        print(json.dumps({"root": str(cluster.root)}), flush=True)
        time.sleep(600)
    """
    starter = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert starter.stdout is not None
    with starter.stdout:
        root = Path(json.loads(starter.stdout.readline())["root"])
        starter.kill()
        starter.wait(10)
    until(lambda: not psutil.pid_exists(starter.pid), WAIT_S)
    until(lambda: processes_below(root) == [] and not root.exists(), WAIT_S)
