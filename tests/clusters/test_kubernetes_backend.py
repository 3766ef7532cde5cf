"""The Kubernetes backend on the fake API server: what it asks, what it leaves behind, and every way to be disturbed."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.backends.object_store_server import KEY, KEY_ID, object_store
from tests.contracts.kubernetes_places import (
    IMAGES,
    KUBERNETES,
    KubernetesSite,
    kubernetes_1_20,
    kubernetes_1_31,
    open_kubernetes,
    pod_of,
    started_cluster,
)
from tests.contracts.stand_in import StandIn
from tests.fakes.kubernetes_api import FakeCluster, Node

from physlab_mcp.backends.kubernetes import naming
from physlab_mcp.backends.kubernetes.backend import KubernetesBackend
from physlab_mcp.errors import RejectedError
from physlab_mcp.schemas.job import Job, JobSpec, NodeCall, Resources
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.result import Failure, NodeResult

__all__ = ["kubernetes_1_20", "kubernetes_1_31"]
S = JobState


@asynccontextmanager
async def standing_in(folder: Path, cluster: FakeCluster, **settings: Any) -> AsyncIterator[StandIn]:
    place = next(one for one in KUBERNETES if one.name.endswith(cluster.version))
    async with open_kubernetes(folder, cluster, **settings) as site:
        one = StandIn(site, dataclasses.replace(place, deadline_s=40.0))
        await one.begin()
        yield one
        await one.close()


@pytest.fixture(params=["1.20", "1.31"])
def cluster(request: pytest.FixtureRequest) -> FakeCluster:
    return request.getfixturevalue(f"kubernetes_{request.param.replace('.', '_')}")


@pytest.fixture
def new(kubernetes_1_31: FakeCluster) -> FakeCluster:
    return kubernetes_1_31


@pytest.fixture(autouse=True)
def healed(request: pytest.FixtureRequest) -> Any:
    yield
    for name in ("kubernetes_1_20", "kubernetes_1_31"):
        if name in request.fixturenames or "cluster" in request.fixturenames or "new" in request.fixturenames:
            request.getfixturevalue(name).heal()


def backend(stand: StandIn) -> KubernetesBackend:
    assert isinstance(stand.backend, KubernetesBackend)
    return stand.backend


def asked(cluster: FakeCluster, since: int, verb: str, plural: str) -> int:
    """How many requests of a kind were answered since the first `since` of all."""
    return sum((one.verb, one.plural) == (verb, plural) for one in cluster.requests()[since:])


async def hand_over_all(stand: StandIn, jobs: list[Job]) -> None:
    batch = [one for job in jobs if (one := stand.intend(job)) is not None]
    assert len(batch) == len(jobs)
    await stand.hand_over(*batch)


def jobs_of(stand: StandIn) -> list[dict[str, Any]]:
    """Jobs of this installation."""
    lab = (stand.site.data.root / "kubernetes.lab").read_text()
    site = stand.site
    assert isinstance(site, KubernetesSite)
    return [one for one in site.cluster.all("jobs") if one["metadata"]["labels"][f"{naming.PREFIX}/lab"] == lab]


def said(stand: StandIn, job: Job, kind: str) -> list[str]:
    return [str(one.data.get("text")) for one in stand.told(job) if one.kind == kind]


# -- what is asked and what is left ------------------------------------------------------------------------------


async def test_nothing_is_left_behind(cluster: FakeCluster, tmp_path: Path) -> None:
    before = cluster.objects()
    async with standing_in(tmp_path, cluster) as stand:
        good, bad = stand.add(command=("echo", "a"), env={"A": "b"}), stand.add(script="exit 3")
        stopped, lost = stand.gated(name="stopped"), stand.gated(name="lost")
        await stand.submit(good, bad, stopped, lost)
        await stand.running(stopped, name="stopped")
        await stand.running(lost, name="lost")
        assert cluster.objects() != before
        cluster.evict(pod_of(cluster, stand.jobs[lost.id])["metadata"]["name"])
        await stand.cancel(stopped)
        await stand.ended(good, bad, stopped, lost)
        left = {"jobs", "pods", "secrets"}
        await stand.until(lambda: not left & (cluster.objects().keys() - before.keys()), what="all Jobs are deleted")
        assert sum(cluster.objects().values()) == sum(before.values()) + 1  # the program, which all jobs share
    assert cluster.objects() == before


async def test_many_jobs_are_one_indexed_job_where_the_server_has_it(cluster: FakeCluster, tmp_path: Path) -> None:
    async with standing_in(tmp_path, cluster) as stand:
        jobs = [stand.add(command=("sh", "-c", f"echo {i}; exit {i % 3}")) for i in range(12)]
        since = len(cluster.requests())
        await hand_over_all(stand, jobs)
        ended = await stand.ended(*jobs)
        codes = [one.exit_code for one in ended]
        assert codes == [i % 3 for i in range(12)]
        assert [(await stand.log(job))[0] for job in jobs] == [f"{i}\n".encode() for i in range(12)]
        made = asked(cluster, since, "create", "jobs")
        assert made == (1 if cluster.version == "1.31" else 12)
        assert asked(cluster, since, "create", "configmaps") <= 2  # the program, and the files of all


async def test_many_jobs_cost_one_request_each_and_few_more(tmp_path: Path) -> None:
    with FakeCluster("1.20", 0, images=IMAGES) as empty:
        async with standing_in(tmp_path, empty) as stand:
            jobs = [stand.add(command=("true",)) for _ in range(120)]
            since = len(empty.requests())
            await hand_over_all(stand, jobs)
            await stand.until(lambda: sum(one.kind == "placed" for one in stand.seen) == 120, what="all are there")
            assert asked(empty, since, "create", "jobs") == 120
            assert asked(empty, since, "create", "configmaps") == 1 + 3  # the program; files of 50 Jobs travel together
            assert len(empty.requests()) - since <= 120 + 4 + 16
            await stand.cancel(*jobs)
            await stand.ended(*jobs)
        assert empty.objects() == {}


async def test_one_element_is_cancelled_and_the_others_go_on(new: FakeCluster, tmp_path: Path) -> None:
    async with standing_in(tmp_path, new, array_at_once=3) as stand:
        jobs = [stand.gated(name=f"g{i}") for i in range(5)]
        await hand_over_all(stand, jobs)
        for i in range(3):
            await stand.running(jobs[i], name=f"g{i}")
        await stand.cancel(jobs[1], jobs[4])
        await stand.ended(jobs[1], jobs[4])
        for i in (0, 2, 3):
            stand.open_gate(f"g{i}")
        await stand.succeeded(jobs[0], jobs[2], jobs[3])
        assert [stand.state(jobs[i]) for i in (1, 4)] == [S.CANCELLED] * 2
        assert [stand.begun(f"g{i}") for i in range(5)] == [["1"]] * 4 + [[]]
        assert len({(stand.jobs[job.id].native_id or "").rsplit(":", 1)[0] for job in jobs}) == 1


async def test_variables_stand_in_secrets_and_nowhere_else(cluster: FakeCluster, tmp_path: Path) -> None:
    async with standing_in(tmp_path, cluster) as stand:
        job = stand.gated(env={"WORD": "dr0wssap"})
        await stand.submit(job)
        await stand.running(job)
        shown = json.dumps([cluster.all(kind) for kind in ("jobs", "pods", "configmaps")])
        assert "dr0wssap" not in shown
        assert len(cluster.all("secrets")) == 1
        stand.open_gate()
        await stand.succeeded(job)


# -- refusals ------------------------------------------------------------------------------------------------------


async def test_a_creation_whose_answer_is_lost_is_not_made_twice(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.drop_answers(verb="create", kind="jobs", count=2)
    cluster.drop_answers(verb="create", kind="configmaps", count=2)
    async with standing_in(tmp_path, cluster) as stand:
        jobs = [stand.gated(name=f"g{i}") for i in range(3)]
        for i in range(3):
            stand.open_gate(f"g{i}")
        await hand_over_all(stand, jobs)
        await stand.succeeded(*jobs)
        assert [stand.begun(f"g{i}") for i in range(3)] == [["1"]] * 3
        assert [stand.jobs[job.id].fence for job in jobs] == [1] * 3


async def test_a_quota_makes_jobs_wait_with_its_message(cluster: FakeCluster, tmp_path: Path) -> None:
    text = 'jobs.batch "x" is forbidden: exceeded quota: few, requested: count/jobs.batch=1, used: 3, limited: 3'
    cluster.refuse(403, "Forbidden", text, verb="create", kind="jobs", count=2)
    async with standing_in(tmp_path, cluster) as stand:
        job = stand.add(command=("true",))
        await stand.submit(job)
        await stand.until(lambda: text in said(stand, job, "queued"), what="why it waits")
        await stand.succeeded(job)


async def test_what_the_server_finds_invalid_or_forbids_fails_with_its_words(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    async with standing_in(tmp_path, cluster) as stand:
        text = 'Job.batch "x" is invalid: spec.template.spec.restartPolicy: Unsupported value: "Always"'
        cluster.refuse(422, "Invalid", text, verb="create", kind="jobs")
        invalid = stand.add(command=("true",))
        (failure,) = await stand.run(invalid)
        assert isinstance(failure, Failure)
        assert (failure.code, failure.retryable, text in failure.message) == ("rejected", False, True)
        cluster.forbid(verb="create", kind="configmaps")
        forbidden = stand.add(command=("true",), env={})
        (failure,) = await stand.run(forbidden)
        assert isinstance(failure, Failure)
        assert failure.code == "rejected"
        assert "cannot create resource" in failure.message
        assert "doctor" in (failure.remedy or "")
        cluster.heal()
        await stand.until(lambda: not jobs_of(stand), what="its Job is taken back")


async def test_a_busy_server_is_asked_again(cluster: FakeCluster, tmp_path: Path) -> None:
    async with standing_in(tmp_path, cluster) as stand:
        for code in (429, 500, 503, 504):
            cluster.fail(code, verb="create", kind="jobs")
        cluster.fail(500, verb="create", kind="configmaps")
        cluster.fail(503, verb="delete", kind="jobs")
        job = stand.gated()
        stand.open_gate()
        await stand.submit(job)
        await stand.succeeded(job)
        assert stand.begun() == ["1"]


# -- watches and logs ----------------------------------------------------------------------------------------------


async def test_what_happened_in_forgotten_history_is_seen_by_a_new_list(cluster: FakeCluster, tmp_path: Path) -> None:
    async with standing_in(tmp_path, cluster) as stand:
        job, ends = stand.gated(name="a"), stand.gated(name="b")
        await stand.submit(job, ends)
        await stand.running(job, name="a")
        await stand.running(ends, name="b")
        watching = backend(stand)._watching
        before = watching.pods.lists
        cluster.compact(break_watches=True)
        stand.open_gate("b")
        await stand.succeeded(ends)
        await stand.until(lambda: watching.pods.lists > before, what="a new list")
        assert stand.state(job) is S.RUNNING
        assert "unreachable" not in stand.kinds(job)
        stand.open_gate("a")
        await stand.succeeded(job)
        assert (stand.begun("a"), stand.begun("b")) == (["1"], ["1"])


async def test_a_log_that_is_cut_off_again_and_again_is_told_once_and_whole(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    async with standing_in(tmp_path, cluster) as stand:
        lines = 'for i in $(seq 1 300); do echo "line $i ψ"; echo "{\\"value\\": $i}" >> "$PHYSLAB_EVENTS"; sleep 0.005; done'
        job = stand.gated(lines, stream_logs=True)
        await stand.submit(job)
        await stand.running(job)
        for least in (20, 80, 150, 220):
            await stand.until(lambda least=least: len(stand.told(job)) > least, what="some more of it")
            assert cluster.cut_connections()
        stand.open_gate()
        await stand.succeeded(job)
        whole = "".join(f"line {i} ψ\n" for i in range(1, 301)) + "went on\n"
        told = [one.data for one in stand.told(job) if one.kind == "event"]
        assert "".join(one["text"] for one in told if one["kind"] == "log") == whole
        assert [one["value"] for one in told if one["kind"] == "metric"] == list(range(1, 301))
        assert (await stand.log(job))[0].decode() == whole
        assert "unreachable" not in stand.kinds(job)


async def test_an_outage_is_told_once_with_its_end(cluster: FakeCluster, tmp_path: Path) -> None:
    async with standing_in(tmp_path, cluster) as stand:
        job = stand.gated()
        await stand.submit(job)
        await stand.running(job)
        cluster.down()
        try:
            await stand.until(lambda: "unreachable" in stand.kinds(job), what="that it cannot be asked")
            assert "cannot be reached" in said(stand, job, "unreachable")[0]
            late = stand.add(command=("echo", "late"))
            await stand.submit(late)
        finally:
            cluster.up()
        await stand.until(lambda: "reachable" in stand.kinds(job), what="that it can be asked again")
        stand.open_gate()
        await stand.succeeded(job, late)
        assert stand.begun() == ["1"]
        assert stand.kinds(job).count("unreachable") == stand.kinds(job).count("reachable") == 1


class Wire:
    """A way to the API server that can be cut without a word: what is open then stays open and dead."""

    def __init__(self, port: int) -> None:
        self._port, self._alive = port, asyncio.Event()
        self._alive.set()
        self._tasks: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        self._alive.clear()
        self._alive = asyncio.Event()  # those that wait for the one before never go on

    def mend(self) -> None:
        self._alive.set()

    async def open(self) -> int:
        self._server = await asyncio.start_server(self._joined, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        alive = self._alive
        await alive.wait()
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        for one in (self._pass(reader, back, alive), self._pass(there, writer, alive)):
            task = asyncio.get_running_loop().create_task(one)
            self._tasks.add(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, alive: asyncio.Event) -> None:
        while data := await reader.read(1 << 16):
            await alive.wait()
            writer.write(data)
        await alive.wait()
        writer.close()


async def test_a_network_that_is_cut_without_a_word_is_noticed_and_made_up_for(
    new: FakeCluster, tmp_path: Path
) -> None:
    wire = Wire(new.port)
    port = await wire.open()
    config = json.loads(new.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = f"http://127.0.0.1:{port}"
    (tmp_path / "kubeconfig").write_text(json.dumps(config))
    fields = {"kubeconfig": str(tmp_path / "kubeconfig"), "request_timeout_s": 1}
    try:
        async with standing_in(tmp_path, new, **fields) as stand:
            words = ("sh", "-c", 'echo 1 >> "$1"; while [ ! -e "$2" ]; do sleep 0.02; done; echo between', "sh")
            paths = [str(stand.path(name)) for name in ("a.trace", "between", "a.gate")]
            waits = '; while [ ! -e "$3" ]; do sleep 0.02; done; echo went on'
            job = stand.add(command=(*words[:2], "echo before; " + words[2] + waits, "sh", *paths), stream_logs=True)
            ends = stand.gated(name="b")
            await stand.submit(job)
            await stand.submit(ends)
            await stand.running(job, name="a")
            await stand.running(ends, name="b")
            await stand.until(lambda: said(stand, job, "event"), what="what it printed")
            wire.cut()
            await stand.until(lambda: "unreachable" in stand.kinds(job), what="that nothing is heard")
            assert [stand.state(one) for one in (job, ends)] == [S.RUNNING] * 2
            stand.open_gate("b")
            wire.mend()
            await stand.until(lambda: "reachable" in stand.kinds(job), what="that it is heard again")
            await stand.succeeded(ends)
            stand.path("between").touch()
            await stand.until(lambda: "between" in "".join(said(stand, job, "event")), what="what it prints now")
            stand.open_gate("a")
            await stand.succeeded(job)
            assert "".join(said(stand, job, "event")) == "before\nbetween\nwent on\n"
            assert (stand.begun("a"), stand.begun("b")) == (["1"], ["1"])
    finally:
        await wire.close()


async def test_a_large_result_comes_home_through_the_log_and_a_too_large_one_says_so(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    async with standing_in(tmp_path, cluster, log_archive_mb=2) as stand:
        make = 'head -c {0} /dev/urandom > "$PHYSLAB_ARTIFACTS/a"; sha256sum < "$PHYSLAB_ARTIFACTS/a" | cut -c-64'
        fits = stand.add(script=make.format(1_500_000))
        larger = stand.add(script=make.format(2_500_000))
        done, failure = await stand.run(fits, larger)
        assert isinstance(done, NodeResult)
        assert done.artifacts[0].sha256 == (await stand.log(fits))[0].decode().strip()
        assert isinstance(failure, Failure)
        assert "log_archive_mb" in (failure.remedy or "")
        assert not failure.retryable


async def test_results_come_home_by_a_volume(cluster: FakeCluster, tmp_path: Path) -> None:
    async with open_kubernetes(tmp_path / "a", cluster) as site:
        shared = str(site.shared)
        volume = {"name": "out", "target": "/data/out", "host_path": shared, "readonly": False}
        fields = {"volumes": [volume], "results_volume": "out", "results_path": shared}
        async with standing_in(tmp_path / "b", cluster, **fields) as stand:
            script = 'echo "$PHYSLAB_ATTEMPT" >> "$PHYSLAB_CHECKPOINT_DIR/c"; cp "$PHYSLAB_CHECKPOINT_DIR/c" "$PHYSLAB_ARTIFACTS/c"'
            job = stand.add(script=script + '; [ "$PHYSLAB_ATTEMPT" = 2 ]', retries=1)
            call = stand.add_node("flow.passthrough", {"value": "x" * 100_000})
            kept, passed = await stand.run(job, call)
            assert isinstance(kept, NodeResult)
            assert isinstance(passed, NodeResult)
            assert [stand.site.blobs.read(one.sha256) for one in kept.artifacts] == [b"1\n2\n"]
            ref = passed.values["value"]["$artifact"]
            assert json.loads(stand.site.blobs.read(ref["sha256"])) == "x" * 100_000
            left = site.shared / "physlab" / "jobs"
            await stand.until(lambda: not list(left.glob("*/job-*")), what="their folders are removed")


# -- what a cluster does to jobs -------------------------------------------------------------------------------------


async def test_what_others_delete_is_lost(cluster: FakeCluster, tmp_path: Path) -> None:
    async with standing_in(tmp_path, cluster) as stand:
        one, other = stand.gated(name="a"), stand.gated(name="b")
        await stand.submit(one)
        await stand.submit(other)
        await stand.running(one, name="a")
        await stand.running(other, name="b")
        api = backend(stand).api
        native = naming.parse_native_id(stand.jobs[one.id].native_id)
        assert native is not None
        await api.delete("Job", native.name)
        # Before 1.23 a pod that is told to leave may be seen as Failed for a moment, which ends its Job: this one goes at once.
        grace_s = 0 if cluster.version == "1.20" else None
        await api.delete("Pod", pod_of(cluster, stand.jobs[other.id])["metadata"]["name"], grace_s=grace_s)
        gone = [one, other] if cluster.version == "1.31" else [one]
        for failure in await stand.ended(*gone):
            assert isinstance(failure, Failure)
            assert failure.code == "lost"
        await stand.all_dead(one)
        if cluster.version == "1.20":  # before pods were tracked, Kubernetes itself makes another
            await stand.until(lambda: len(stand.begun("b")) == 2, what="its second pod")
            await stand.until(lambda: stand.kinds(other).count("started") == 2, what="that it is told")
            assert any("another one" in text for text in said(stand, other, "queued"))
            stand.open_gate("b")
            await stand.succeeded(other)
            assert stand.begun("b") == ["1", "1"]


async def test_images_memory_and_room_are_told_as_what_they_are(cluster: FakeCluster, tmp_path: Path) -> None:
    async with standing_in(tmp_path, cluster, start_patience_s=0.5) as stand:
        nothing = stand.add(command=("true",), image="registry.example.org/none:1")
        waits = stand.add(command=("true",), resources=Resources(cpu=5.5))
        blocks = stand.gated(name="blocks", resources=Resources(cpu=3))
        await stand.submit(blocks)
        await stand.running(blocks, name="blocks")
        await stand.submit(nothing, waits)
        await stand.until(lambda: any("Insufficient cpu" in one for one in said(stand, waits, "queued")))
        (image,) = await stand.ended(nothing)
        assert isinstance(image, Failure)
        assert (image.code, "ImagePullBackOff" in image.message or "ErrImagePull" in image.message) == (
            "invalid_request", True,
        )  # fmt: skip
        stand.open_gate("blocks")
        await stand.succeeded(waits, blocks)


async def test_a_lost_node_is_a_loss_and_repeatable_work_goes_on_elsewhere(tmp_path: Path) -> None:
    with FakeCluster("1.31", [Node("a", cpu="2"), Node("b", cpu="2")], images=IMAGES) as two:
        async with standing_in(tmp_path, two, silence_s=1) as stand:
            job = stand.gated(idempotent=True)
            await stand.submit(job)
            await stand.running(job)
            two.lose_node(pod_of(two, stand.jobs[job.id])["spec"]["nodeName"])
            await stand.until(lambda: len(stand.begun()) == 2, what="its second run")
            stand.open_gate()
            await stand.succeeded(job)
            assert stand.begun() == ["1", "2"]
            assert "lost" in stand.kinds(job)


# -- crashes ---------------------------------------------------------------------------------------------------------


async def test_a_crash_before_the_files_were_brought_runs_nothing_twice(cluster: FakeCluster, tmp_path: Path) -> None:
    async with standing_in(tmp_path, cluster) as stand:
        first = stand.add(command=("true",))
        await stand.run(first)  # the program is there now
        await stand.until(lambda: not jobs_of(stand), what="its Job is deleted")
        cluster.fail(503, verb="create", kind="configmaps", count=None)
        jobs = [stand.gated(name=f"g{i}") for i in range(2)]
        await hand_over_all(stand, jobs)
        await stand.until(lambda: jobs_of(stand), what="the Jobs, without their files")
        await stand.backend.aclose(keep=True)
        cluster.heal()
        await stand.begin()
        for i in range(2):
            stand.open_gate(f"g{i}")
        await stand.succeeded(*jobs)
        assert [stand.begun(f"g{i}") for i in range(2)] == [["1"]] * 2
        assert [[one.kind for one in stand.told(job, fence=1)][-1] for job in jobs] == ["dropped"] * 2


async def test_what_an_engine_left_is_deleted_by_the_next(cluster: FakeCluster, tmp_path: Path) -> None:
    async with standing_in(tmp_path, cluster) as stand:
        cluster.fail(503, verb="delete", kind="jobs", count=None)
        await stand.run(stand.add(command=("true",)))
        await stand.backend.aclose(keep=True)
        assert jobs_of(stand)
        cluster.heal()
        await stand.begin()
        await stand.until(lambda: not jobs_of(stand), what="the Job of a job that is over is deleted")


# -- what it says of itself ------------------------------------------------------------------------------------------


async def test_an_object_that_never_began_describes_checks_and_diagnoses(cluster: FakeCluster, tmp_path: Path) -> None:
    async with open_kubernetes(tmp_path, cluster, image="") as site:
        one = site.make()
        assert isinstance(one, KubernetesBackend)
        info = await one.describe()
        assert info.reachable
        assert info.detail["version"].startswith(f"v{cluster.version}")
        with pytest.raises(RejectedError) as refused:
            one.check(JobSpec(node=NodeCall("flow.passthrough", {"value": 1})), info)
        assert refused.value.field == "backends.kubernetes.image"
        one.check(JobSpec(command=("true",), image="python:3.12"), info)
        rows = {row.what: row for row in await one.diagnose()}
        assert (rows["kubernetes"].state, rows["kubernetes image"].state) == ("ok", "warn")
        assert "1 of 1 take jobs" in rows["kubernetes nodes"].text
        cluster.forbid(verb="create", kind="jobs")
        cluster.forbid(verb="list", kind="nodes")
        rows = {row.what: row for row in await one.diagnose()}
        assert (rows["kubernetes permissions"].state, rows["kubernetes nodes"].state) == ("fail", "warn")
        assert "create jobs" in rows["kubernetes permissions"].text
        cluster.heal()
        assert await one.read(_some_job(), "stdout", offset=0, limit=10) == (b"", 0)


async def test_a_server_that_is_not_there_is_described_as_that(tmp_path: Path) -> None:
    with started_cluster("1.31") as cluster:
        async with open_kubernetes(tmp_path, cluster) as site:
            one = site.make()
            assert isinstance(one, KubernetesBackend)
            cluster.down()
            info = await one.describe()
            assert (info.reachable, info.limits["cpu"]) == (False, None)
            one.check(JobSpec(command=("true",)), info)
            (row,) = await one.diagnose()
            assert (row.state, bool(row.remedy)) == ("fail", True)


def _some_job() -> Job:
    return Job(id="job-none", kind="command", spec=JobSpec(command=("true",)))


async def test_results_come_home_by_an_object_store(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_ID", KEY_ID)
    monkeypatch.setenv("S3_KEY", KEY)
    with object_store() as server:
        store = {
            "endpoint": server.url,
            "bucket": "results",
            "access_key": {"env": "S3_ID"},
            "secret_key": {"env": "S3_KEY"},
        }
        async with standing_in(tmp_path, cluster, object_store=store) as stand:
            make = (
                'head -c 9000000 /dev/urandom > "$PHYSLAB_ARTIFACTS/a"; sha256sum < "$PHYSLAB_ARTIFACTS/a" | cut -c-64'
            )
            job = stand.gated(make)
            await stand.submit(job)
            await stand.running(job)
            assert KEY not in json.dumps([cluster.all(kind) for kind in ("jobs", "pods", "configmaps", "secrets")])
            stand.open_gate()
            (done,) = await stand.succeeded(job)
            assert done.artifacts[0].sha256 == (await stand.log(job))[0].decode().split()[0]
            await stand.until(lambda: not server.objects, what="its object is removed")
