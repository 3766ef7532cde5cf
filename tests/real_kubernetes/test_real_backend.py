"""What the backend does on a real API server beyond the contract: nothing twice, nothing left, fast enough."""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections import Counter, defaultdict

import anyio
import anyio.to_thread
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from tests.backends import test_kubernetes_manifests as generated
from tests.backends.kube_objects import FULL, GPU_SPEC, PLAIN_SPEC, PROGRAM, bundle, dispatch, server, settings
from tests.clusters.kubernetes_cluster import KubernetesCluster, start
from tests.contracts.stand_in import StandIn
from tests.real_kubernetes.objects import Desk, desk
from tests.real_kubernetes.place import REAL, open_real

from physlab_mcp.backends.kubernetes import carriers, manifests
from physlab_mcp.schemas.job_state import JobState

pytestmark = [pytest.mark.services, pytest.mark.timeout(400)]
MANY = 500
ROUNDS = 3
LEAST = 0.5  # of the rate of the official client alone
_PATHS = {
    "Job": "/apis/batch/v1/namespaces/{}/jobs", "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Secret": "/api/v1/namespaces/{}/secrets",
}  # fmt: skip


@contextlib.asynccontextmanager
async def engine(folder, cluster, **fields):
    """An engine's part over a fresh site with these settings."""
    async with open_real(folder, cluster, **fields) as site:
        one = StandIn(site, REAL)
        await one.begin()
        yield one
        await one.close()


def left(k: Desk) -> Counter:
    """How many objects of each kind there are in the namespace, the cluster's own not counted."""
    mine = {
        "jobs": k.batch.list_namespaced_job, "pods": k.core.list_namespaced_pod,
        "configmaps": k.core.list_namespaced_config_map, "secrets": k.core.list_namespaced_secret,
    }  # fmt: skip
    count: Counter = Counter()
    for kind, ask in mine.items():
        for one in ask(k.space).items:
            own = one.metadata.name == "kube-root-ca.crt" or getattr(one, "type", "").startswith("kubernetes.io/")
            count[kind] += not own
    return +count


async def test_nothing_is_left_behind(kubernetes_real, tmp_path):
    with desk(kubernetes_real) as k:
        before = left(k)
        async with engine(tmp_path, kubernetes_real) as stand:
            done = [stand.add(command=("sh", "-c", f"echo {i}"), env={"A": "b"} if i % 2 else {}) for i in range(6)]
            ended = [stand.add(script="exit 3"), stand.add(command=("sleep", "600"))]
            await stand.submit(*done, *ended)
            await stand.until(lambda: left(k)["jobs"] >= 1, what="a Job")
            await stand.succeeded(*done)
            await stand.until(lambda: stand.state(ended[1]) is JobState.RUNNING, what="the long one")
            await stand.cancel(ended[1])
            await stand.ended(*ended)
        with anyio.fail_after(60):
            while left(k) != before:  # noqa: ASYNC110 - the server tells nobody that it has cleaned up
                await anyio.sleep(0.1)


async def test_a_server_that_is_killed_within_a_submission_gets_no_job_twice(kubernetes_real, tmp_path):
    with desk(kubernetes_real) as k:
        async with engine(tmp_path, kubernetes_real) as stand:
            jobs = [
                stand.add(script=f'echo {i} >> "{stand.path("ran")}"\n', roots=(str(stand.site.shared),))
                for i in range(60)
            ]
            await stand.submit(*jobs)
            await stand.until(lambda: k.batch.list_namespaced_job(k.space, limit=1).items, what="the first")
            await anyio.to_thread.run_sync(kubernetes_real.do, "stop-server")
            await stand.until(lambda: any("unreachable" in stand.kinds(job) for job in jobs), what="that it is told")
            assert {stand.state(job) for job in jobs} <= {JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED}
            await anyio.to_thread.run_sync(kubernetes_real.do, "start-server")
            await stand.succeeded(*jobs)
            assert sorted(map(int, stand.lines("ran"))) == list(range(60))


async def test_the_doctor_finds_all_that_is_needed_with_the_rights_that_are_asked_for(kubernetes_real, tmp_path):
    async with open_real(tmp_path, kubernetes_real) as site:
        found = {one.what: one for one in await site.make().diagnose()}
    assert {what: one.state for what, one in found.items()} == dict.fromkeys(found, "ok")
    assert "version v1.20.2" in found["kubernetes"].text
    assert found["kubernetes nodes"].text.startswith("1 of 2 take jobs")  # the other has a taint


def refused(k: Desk, objects) -> list[str]:
    """What the server says against manifests, without keeping any."""
    found = []
    for one in objects:
        path = f"{k.api.configuration.host}{_PATHS[one['kind']].format(k.space)}?dryRun=All"
        answer = k.api.rest_client.pool_manager.request("POST", path, json=one)
        if answer.status != 201:
            found.append(f"{answer.status} {answer.data.decode()[:600]}")
    return found


def sent(spec, chosen) -> list:
    """The program, the files and the Job of one dispatch, as this server is sent them."""
    of, secret = dispatch(), manifests.holds_secrets(spec, chosen)
    brought = bundle(of, chosen, secret=secret)
    owner = [carriers.owner("Job", "physlab-x", "uid-1")]
    return [
        carriers.program_of("lab-1", PROGRAM, chosen), *(carriers.owned(files, owner) for files in brought.files),
        manifests.job(of, spec, chosen, server("1.20"), brought),
    ]  # fmt: skip


def test_the_server_takes_the_fullest_objects(kubernetes_real):
    with desk(kubernetes_real) as k:
        full, plain = settings(FULL, namespace=k.space, kueue_queue=""), settings(namespace=k.space)
        for chosen, spec in ((full, GPU_SPEC), (full, PLAIN_SPEC), (plain, PLAIN_SPEC)):
            assert refused(k, sent(spec, chosen)) == []
        (bad,) = (one for one in sent(PLAIN_SPEC, plain) if one["kind"] == "Job")
        bad["spec"]["template"]["spec"]["restartPolicy"] = "Sometimes"
        assert "Sometimes" in str(refused(k, [bad]))


@given(generated.sections(), generated.specs)
@budget(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_set_the_server_takes_every_object(kubernetes_real, section, spec):
    k = Desk(kubernetes_real)
    with contextlib.closing(k.api):
        path = {"results_path": "/srv/results"} if "results_volume" in section else {}
        chosen = settings({**section, **path, "namespace": k.space, "kueue_queue": ""})
        assert refused(k, sent(spec, chosen)) == []


def alone(k: Desk, name: str, *, pods: int) -> float:
    """Seconds in which the official client alone makes MANY Jobs of `pods` pods each, one after the other."""
    begun = time.perf_counter()
    for i in range(MANY):
        one = {"name": "main", "image": "x:1", "command": ["true"]}
        spec = {"parallelism": pods, "template": {"spec": {"restartPolicy": "Never", "containers": [one]}}}
        k.batch.create_namespaced_job(k.space, {"metadata": {"name": f"{name}-{i}"}, "spec": spec})
    return time.perf_counter() - begun


@contextlib.contextmanager
def held(cluster: KubernetesCluster, *, hold: bool):
    """Controllers and scheduler stand still, where that is asked for."""
    if hold:
        cluster.do("hold")
    try:
        yield
    finally:
        if hold:
            cluster.do("release")


async def ours(stand: StandIn, *, hold: bool) -> float:
    """Seconds in which the backend has MANY jobs on the cluster, with their files, and has told so."""
    jobs = [stand.add(command=("true",)) for _ in range(MANY)]
    batch = [one for job in jobs if (one := stand.intend(job)) is not None]
    assert len(batch) == MANY
    with held(stand.site.cluster, hold=hold):
        begun = time.perf_counter()
        await stand.hand_over(*batch)
        await stand.until(lambda: sum(one.kind == "placed" for one in stand.seen) >= MANY, what="all to be there")
        took = time.perf_counter() - begun
    await stand.cancel(*jobs)
    await stand.ended(*jobs)
    return took


@pytest.mark.timeout(900)
async def test_submission_reaches_half_the_rate_of_the_server_alone(kubernetes_real, tmp_path, capsys):
    """Without the controllers, which on one machine take the processor from the server that is measured; with them is told."""
    took: dict[tuple[str, bool], list[float]] = defaultdict(list)
    cluster = start(nodes=())
    try:
        k = Desk(cluster)
        for turn, hold in [*((turn, True) for turn in range(ROUNDS)), (ROUNDS, False)]:
            with held(cluster, hold=hold):
                took["alone", hold].append(alone(k, f"round-{turn}", pods=0 if hold else 1))
            k.clear()
            folder = tmp_path / f"{turn}-{hold}"
            folder.mkdir()
            async with engine(folder, cluster) as stand:
                took["ours", hold].append(await ours(stand, hold=hold))
        k.api.close()
    finally:
        cluster.down()
    rates = {key: MANY / statistics.median(values) for key, values in took.items()}
    with capsys.disabled():
        for hold, word in ((True, "the server without controllers"), (False, "with controllers at work")):
            plain, submission = rates["alone", hold], rates["ours", hold]
            sys.stdout.write(
                f"\n{MANY} Jobs, {word}: client alone {plain:.0f}/s, submission {submission:.0f}/s "
                f"({submission / plain:.2f}); seconds {took['alone', hold]} {took['ours', hold]}\n"
            )
    assert rates["ours", True] >= LEAST * rates["alone", True]
