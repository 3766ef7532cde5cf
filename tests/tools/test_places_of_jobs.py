"""Several backends over MCP: which there are and how they are, what is refused, when a job would start, and where it went."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from physlab_mcp.backends.base import BackendInfo
from physlab_mcp.config import parse
from physlab_mcp.engine.engine import Engine
from physlab_mcp.errors import RejectedError, UnavailableError
from physlab_mcp.lab import Lab, registry
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.job import JobSpec, Reason
from physlab_mcp.schemas.job_state import JobState, ReasonCode
from physlab_mcp.stores.base import Change
from physlab_mcp.stores.migrate import newest
from physlab_mcp.stores.sqlite import SQLiteStore
from physlab_mcp.testing import Outcome, ScriptedBackend, VirtualClock
from physlab_mcp.tools import views
from physlab_mcp.tools.router import Router
from physlab_mcp.wiring import local_backend

JOBS, RUNS = "distributed_collaboration", "experiment_orchestrator"
SUBMIT = {"method": "job_submit", "backend": "slurm", "job_spec": {"command": ["true"]}}
NODE = {"id": "a", "tool": "constants_get", "params": {"name": "R_inf"}}
BOTH = '{"backends": {"slurm": {"root": "/shared/ada"}}}'
FORETOLD = {
    "starts_at": 1_900_000_000.0, "wait_s": 90.04, "cpu_hours": 4.0, "partition": "batch", "time_s": None, "nodes": "n[1-2]",
    "warnings": [],
}  # fmt: skip
ALL = '{"backends": {"slurm": {"root": "/shared/ada"}, "kubernetes": {"image": "lab:1"}}}'


class Cluster(ScriptedBackend):
    """A scripted place that also foretells; `answer`: what, an error to raise, or None for silence."""

    def __init__(self, name: str = "slurm") -> None:
        self.answer: Any = FORETOLD
        self.info: dict[str, Any] = {}
        super().__init__(VirtualClock(), lambda _: Outcome(), name=name, slots=8)

    async def describe(self) -> BackendInfo:
        if self.info.get("silent"):
            await anyio.sleep_forever()
        return msgspec.structs.replace(await super().describe(), **self.info)

    async def estimate(self, spec: JobSpec) -> dict[str, Any]:
        self.asked = spec
        if self.answer is None:
            await anyio.sleep_forever()
        if isinstance(self.answer, Exception):
            raise self.answer
        return dict(self.answer)

    asked: JobSpec


@asynccontextmanager
async def door(
    folder: Path, *clusters: ScriptedBackend, text: str = BOTH, registry_of: Any = registry
) -> AsyncGenerator[Router, None]:
    """The tools of a lab with these places beside this machine; no engine runs."""
    data = DataDir(folder / "data").create()
    store = SQLiteStore(data.store)
    readers: dict[str, Any] = {"local": local_backend(data), **{one.name: one for one in clusters}}
    engine = Engine(store, data, schema=newest(), command=["false"], readers=readers, registry=registry_of, start=False)
    try:
        async with engine.running():
            yield Lab(parse(text), data, store, engine, [folder]).router
    finally:
        await store.aclose()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever does not answer is waited for only shortly."""
    from physlab_mcp.engine import inquiries

    for name in ("described", "foretold"):
        monkeypatch.setitem(getattr(inquiries, name).__kwdefaults__, "wait_s", 0.05)


# -- which places there are ----------------------------------------------------------------------------------------


async def test_the_catalog_says_of_each_place_how_it_is(tmp_path: Path, soon: None):
    far, mute = Cluster(), Cluster("kubernetes")
    partitions = [f"partition_{i}" for i in range(300)]
    far.info = {
        "can_pause": "queued_only",
        "detail": {"partitions": partitions, "cluster": "lab", "version": "22.05.8"},
    }
    mute.info = {"silent": True}
    async with door(tmp_path, far, mute, text=ALL) as router:
        reply = await router.call(RUNS, {"method": "catalog", "kind": "backends"})
        rows = {one["name"]: one for one in reply.structured["backends"]}
        assert list(rows) == ["auto", "local", "slurm", "kubernetes"]
        assert (rows["local"]["reachable"], rows["local"]["can_pause"]) == (True, "freeze")
        assert (rows["slurm"]["reachable"], rows["slurm"]["can_pause"]) == (True, "queued_only")
        assert rows["slurm"]["limits"]["cpu"] == 8
        assert rows["slurm"]["partitions"][0] == "partition_0"
        assert rows["kubernetes"]["reachable"] is False
        assert "did not answer" in rows["kubernetes"]["why"]
        assert "Not reachable" in reply.text
        assert "partition_0" in reply.text
        assert views.size(reply.structured) + views.cost(reply.text) < 5_600
        whole = await router.call(RUNS, {"method": "catalog", "kind": "backends", "response_format": "detailed"})
        assert whole.structured["backends"][2]["partitions"] == partitions


async def test_a_place_that_is_not_reachable_says_since_when(tmp_path: Path):
    far = Cluster()
    far.info = {"reachable": False, "detail": {"why": "no route to host", "since": 1_800_000_000.0}}
    async with door(tmp_path, far) as router:
        reply = await router.call(RUNS, {"method": "catalog", "kind": "backends"})
        row = reply.structured["backends"][2]
        assert (row["why"], row["since"]) == ("no route to host", "2027-01-15T08:00:00.000Z")
        assert "since 2027-01-15" in reply.text


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("named", "told"), [("slurm", "slurm"), ("kubernetes", "kubernetes"), ("k8s", "kubernetes")])
async def test_a_place_that_is_not_configured_is_refused_with_the_way_out(router: Router, named: str, told: str):
    job = await router.call(JOBS, {**SUBMIT, "backend": named})
    dag = await router.call(RUNS, {"method": "run_dag", "spec": {"nodes": [{**NODE, "backend": named}]}})
    checked = await router.call(RUNS, {"method": "validate_dag", "spec": {"nodes": [{**NODE, "backend": named}]}})
    for error in (job.structured["error"], dag.structured["error"], checked.structured["errors"][0]):
        assert repr(told) in error["message"]
        assert "server.config.json" in error["remedy"]
    assert (job.structured["error"]["code"], job.structured["error"]["field"]) == ("invalid_request", "backend")
    assert not await router.bench.engine.list_jobs(owner="local")
    assert not await router.bench.engine.list_runs(owner="local")


async def test_k8s_is_kubernetes(tmp_path: Path):
    async with door(tmp_path, Cluster(), Cluster("kubernetes"), text=ALL) as router:
        sent = await router.call(JOBS, {**SUBMIT, "backend": "k8s"})
        assert sent.structured["backend"] == "kubernetes"
        for named in ("k8s", "kubernetes"):
            listed = await router.call(JOBS, {"method": "job_list", "backend": named})
            assert [one["job_id"] for one in listed.structured["rows"]] == [sent.structured["job_id"]]
        one, other = [
            (await router.call(RUNS, {"method": "define_dag", "spec": {"nodes": [{**NODE, "backend": named}]}})).structured
            for named in ("k8s", "kubernetes")
        ]  # fmt: skip
        assert one["dag_id"] == other["dag_id"]


async def test_what_no_node_of_a_place_can_hold_is_refused_at_once(tmp_path: Path):
    async with door(tmp_path, Cluster()) as router:
        spec = {"command": ["true"], "resources": {"cpu": 64}}
        error = (await router.call(JOBS, {**SUBMIT, "job_spec": spec})).structured["error"]
        assert error["code"] == "rejected"
        assert "64" in error["message"]


# -- when it would start -------------------------------------------------------------------------------------------


async def test_a_job_for_a_cluster_says_when_it_would_start_and_what_it_would_cost(tmp_path: Path):
    far = Cluster()
    async with door(tmp_path, far) as router:
        reply = await router.call(JOBS, {**SUBMIT, "job_spec": {"command": ["true"], "resources": {"cpu": 4}}})
        assert reply.structured["estimate"] == {
            "starts_at": "2030-03-17T17:46:40.000Z", "wait_s": 90.0, "cpu_hours": 4.0, "partition": "batch",
            "on": "n[1-2]",
        }  # fmt: skip
        assert "in batch" in reply.text
        assert far.asked.resources.cpu == 4
        here = await router.call(JOBS, {**SUBMIT, "backend": "local"})
        assert "estimate" not in here.structured


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "did not answer"),
        (UnavailableError("The controller is away."), "The controller is away."),
        (RejectedError("It is full."), "It is full."),
        (ValueError("nonsense"), "nonsense"),
    ],
    ids=["silent", "away", "refused", "broken"],
)
async def test_without_an_estimate_the_job_is_submitted_all_the_same_and_the_reply_says_why(
    tmp_path: Path, soon: None, answer: Any, why: str
):
    far = Cluster()
    far.answer = answer
    async with door(tmp_path, far) as router:
        reply = await router.call(JOBS, SUBMIT)
        assert not reply.is_error
        assert "estimate" not in reply.structured
        assert why in " ".join(reply.structured["warnings"])
        assert (await router.call(JOBS, {"method": "job_status", "job_id": reply.structured["job_id"]})).structured[
            "backend"
        ] == "slurm"
        checked = await router.call(RUNS, {"method": "validate_dag", "spec": {"nodes": [{**NODE, "backend": "slurm"}]}})
        assert checked.structured["ok"]
        assert why in json.dumps(checked.structured["outlook"]["estimate_notes"])


async def test_a_place_that_foretells_nothing_has_no_estimate_and_no_warning(tmp_path: Path):
    plain = ScriptedBackend(VirtualClock(), lambda _: Outcome(), name="slurm", slots=8)
    async with door(tmp_path, plain) as router:
        reply = await router.call(JOBS, SUBMIT)
        assert "estimate" not in reply.structured
        assert "warnings" not in reply.structured


@pytest.mark.parametrize("more", [{}, {"sweep": {"space": {"a.name": ["R_inf", "c"]}}}], ids=["once", "swept"])
async def test_the_outlook_of_a_graph_has_one_estimate_for_nodes_that_ask_for_the_same(
    tmp_path: Path, more: dict[str, Any]
):
    far = Cluster()
    nodes = [
        {**NODE, "backend": "slurm"}, {**NODE, "id": "b", "backend": "slurm"}, {**NODE, "id": "c"},
        {**NODE, "id": "d", "backend": "slurm", "resources": {"cpu": 2}},
    ]  # fmt: skip
    async with door(tmp_path, far) as router:
        reply = await router.call(RUNS, {"method": "validate_dag", "spec": {"nodes": nodes}, **more})
        assert reply.structured["ok"], reply.text
        told = reply.structured["outlook"]["estimate"]
        assert [one["nodes"] for one in told] == [["a", "b"], ["d"]]
        assert {one["partition"] for one in told} == {"batch"}
        assert "a, b: it would start at 2030-03-17" in reply.text


# -- where it went -------------------------------------------------------------------------------------------------


async def test_a_job_says_where_it_is_its_name_there_why_and_what_it_waits_for(tmp_path: Path):
    async with door(tmp_path, Cluster()) as router:
        job_id = (await router.call(JOBS, {**SUBMIT, "backend": "auto"})).structured["job_id"]
        await moved(
            router, job_id, JobState.QUEUED, backend="slurm", native_id="slurm:lab:17:1800000000", why_here="slurm: it is large",
            reason=Reason(ReasonCode.BACKEND_UNREACHABLE, "no route to host", 1_800_000_000.0),
        )  # fmt: skip
        told = (await router.call(JOBS, {"method": "job_status", "job_id": job_id})).structured
        assert (told["backend"], told["native_id"], told["why_here"]) == (
            "slurm", "slurm:lab:17:1800000000", "slurm: it is large",
        )  # fmt: skip
        assert told["reason"] == {
            "code": "backend_unreachable", "text": "no route to host", "since": "2027-01-15T08:00:00.000Z",
        }  # fmt: skip
        await moved(router, job_id, JobState.CANCELLED)
        left = (await router.call(JOBS, {"method": "job_result", "job_id": job_id})).structured
        assert (left["backend"], left["native_id"], left["why_here"]) == (
            "slurm", "slurm:lab:17:1800000000", "slurm: it is large",
        )  # fmt: skip


async def moved(router: Router, job_id: str, state: JobState, **changed: Any) -> None:
    """Write what an engine would have written."""
    store = router.bench.engine.store
    (old,) = await store.get_jobs([job_id])
    path = {JobState.QUEUED: (JobState.SUBMITTING, JobState.QUEUED), JobState.CANCELLED: (JobState.CANCELLED,)}[state]
    ended = 1_800_000_100.0 if state is JobState.CANCELLED else 0.0
    new = msgspec.structs.replace(old, state=state, ended_at=ended, **changed)
    assert not await store.update_jobs([Change(old=old, new=new, path=path)], durable=True)


async def test_the_nodes_of_a_finished_run_say_where_they_ran_in_detail(live: Router):
    run = (await live.call(RUNS, {"method": "run_dag", "spec": {"nodes": [NODE]}, "wait_s": 20})).structured["run_id"]
    with anyio.fail_after(120):
        while (await live.call(RUNS, {"method": "run_status", "run_id": run, "wait_s": 20})).structured["done"] < 1:
            pass
    (short,) = (await live.call(RUNS, {"method": "run_result", "run_id": run})).structured["nodes"]
    whole = await live.call(RUNS, {"method": "run_result", "run_id": run, "response_format": "detailed"})
    (node,) = whole.structured["nodes"]
    assert "backend" not in short
    assert node["backend"] == "local"
    assert node["native_id"]


async def test_the_policies_of_placement_are_told_and_one_run_may_name_its_own(tmp_path: Path):
    async with door(tmp_path, Cluster()) as router:
        told = (await router.call(RUNS, {"method": "catalog", "kind": "policies"})).structured["policies"]
        assert [one["name"] for one in told] == ["local_first", "remote_first", "auto"]
        spec = {"nodes": [{"id": "n", "tool": "flow", "method": "passthrough", "params": {"value": 1}}]}
        run = await router.call(RUNS, {"method": "run_dag", "spec": spec, "offload_policy": "remote_first"})
        plan = await router.bench.engine.store.get_plan(run.structured["run_id"])
        assert plan is not None
        assert plan.plan.offload_policy == "remote_first"
        wrong = await router.call(RUNS, {"method": "run_dag", "spec": spec, "offload_policy": "moon_first"})
        assert wrong.structured["error"]["field"] == "offload_policy"


async def test_a_job_may_say_at_which_signal_it_keeps_its_progress(tmp_path: Path):
    async with door(tmp_path, Cluster()) as router:
        work = {"command": ["true"], "checkpoint_signal": "USR1"}
        made = await router.call(JOBS, {"method": "job_submit", "backend": "slurm", "job_spec": work})
        job = (await router.bench.engine.store.get_jobs([made.structured["job_id"]]))[0]
        assert job.spec.checkpoint_signal == "USR1"
        work["checkpoint_signal"] = "KILL"
        wrong = await router.call(JOBS, {"method": "job_submit", "backend": "slurm", "job_spec": work})
        assert wrong.structured["error"]["field"] == "job_spec.checkpoint_signal"
        assert "USR1" in wrong.text
