"""The test kit refuses, limits and answers as the real engine does, and runs workflows of the library."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from physlab_mcp.errors import ConflictError, NotFoundError, RejectedError, RequestError
from physlab_mcp.library.workflow import ExperimentalWorkflow
from physlab_mcp.schemas.capacity import Amount
from physlab_mcp.schemas.job_state import ReasonCode
from physlab_mcp.testing import Outcome, ScriptedBackend, StuckError, VirtualClock, VirtualLab, calling, samples

pytestmark = pytest.mark.anyio
NIGHTLY = {"policy": "cron", "cron": "0 0 * * *", "timezone": "UTC"}


def spec(**resources: Any) -> dict[str, Any]:
    node = {"id": "a", "tool": "flow", "method": "passthrough", "params": {"value": 0}, "resources": resources or None}
    return {"nodes": [node]}


SIX = {"space": {"a.value": [1, 2, 3, 4, 5, 6]}}


@pytest.mark.parametrize("at_once", [1, 2, 3])
async def test_parallelism_bounds_how_many_run_at_once(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend, virtual_clock: VirtualClock, at_once: int
) -> None:
    scripted_backend.slots, began = 4, virtual_clock()
    sweep = await virtual_lab.submit(spec(), sweep=SIX, parallelism=at_once)
    await virtual_lab.run_to_end(sweep)
    assert [at - began for at, _ in scripted_backend.ran] == [float(i // at_once) for i in range(6)]


async def test_what_takes_longer_than_its_time_limit_is_ended_by_it(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend, virtual_clock: VirtualClock
) -> None:
    scripted_backend.script = lambda _one: Outcome(seconds=3600)
    began = virtual_clock()
    run = await virtual_lab.submit(spec(time_limit="0:01:00"))
    assert await virtual_lab.run_to_end(run) == "failed"
    (job,) = await virtual_lab.jobs(run)
    assert (virtual_clock() - began, job.reason.code) == (60.0, ReasonCode.TIMEOUT)
    assert "longer than 60 s" in job.reason.text


@pytest.mark.parametrize(
    ("resources", "told"),
    [
        ({"gpu": 1}, "1 GPU asked for; there are 0"),
        ({"cpu": 4}, "4 cores asked for; there is 1"),
        ({"memory": "1Ti"}, "1024 GiB of memory asked for; there is 16 GiB"),
        ({"memory": "1000G"}, "1000 GB (931 GiB) of memory asked for"),
        ({"nodes": 2}, "2 machines asked for; there is 1"),
    ],
)
async def test_what_it_has_not_is_refused_with_the_name_of_the_node(
    virtual_lab: VirtualLab, resources: dict[str, Any], told: str
) -> None:
    with pytest.raises(RejectedError) as refused:
        await virtual_lab.submit(spec(**resources))
    assert refused.value.message.startswith("a: ")
    assert told in refused.value.message
    assert refused.value.field == f"nodes.a.resources.{next(iter(resources))}"
    with pytest.raises(RejectedError):
        await virtual_lab.submit_series(spec(**resources), NIGHTLY)


async def test_what_may_do_with_less_runs_with_that_and_says_so(virtual_lab: VirtualLab) -> None:
    run = await virtual_lab.submit(spec(cpu=4, gpu=1, nodes=2, require=False))
    assert await virtual_lab.run_to_end(run) == "succeeded"
    (job,) = await virtual_lab.jobs(run)
    assert len(job.spec.degraded) == 3
    assert job.spec.asked is not None
    assert (job.spec.asked.cpu, job.spec.asked.gpu, job.spec.asked.nodes) == (4, 1, 2)
    assert (job.spec.resources.cpu, job.spec.resources.gpu, job.spec.resources.nodes) == (1, 0, 1)


async def test_what_must_have_more_than_there_is_by_now_waits_and_says_so(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend
) -> None:
    scripted_backend.slots = 4
    run = await virtual_lab.submit(spec(cpu=4))
    scripted_backend.slots = 2
    with pytest.raises(StuckError, match="it needs 4 cores; there are 2 cores"):
        await virtual_lab.run_to_end(run)
    scripted_backend.slots = 4
    assert await virtual_lab.run_to_end(run) == "succeeded"


async def test_what_may_do_with_less_runs_with_what_is_left_of_the_machine(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend
) -> None:
    scripted_backend.gpus = 1
    scripted_backend.script = lambda _one: Outcome(seconds=10)
    sweep = await virtual_lab.submit(spec(gpu=1, require=False), sweep=SIX)
    await virtual_lab.settle()
    scripted_backend.gpus = 0
    assert await virtual_lab.run_to_end(sweep) == "succeeded"
    events = await virtual_lab.store.events(subject=sweep, limit=1000)
    assert sum("1 GPU asked for; there are 0" in one.data.get("text", "") for one in events) == 5


async def test_a_cron_schedule_makes_a_series_and_no_other_schedule_does(virtual_lab: VirtualLab) -> None:
    series = await virtual_lab.submit(spec(), schedule=NIGHTLY)
    assert series.startswith("series-")
    assert await virtual_lab.state(series) == "pending"
    with pytest.raises(RequestError, match="does not recur"):
        await virtual_lab.submit_series(spec(), {"policy": "now"})
    with pytest.raises(ConflictError, match="recurring work"):
        await virtual_lab.request("pause", series)
    with pytest.raises(NotFoundError, match="is a series"):
        await virtual_lab.run_to_end(series)


async def test_requests_are_checked(virtual_lab: VirtualLab) -> None:
    run = await virtual_lab.submit(spec())
    with pytest.raises(RequestError, match="cancle"):
        await virtual_lab.request("cancle", run)
    with pytest.raises(NotFoundError, match="run-nope"):
        await virtual_lab.request("cancel", "run-nope")
    await virtual_lab.run_to_end(run)
    await virtual_lab.request("cancel", run)
    with pytest.raises(ConflictError, match="succeeded"):
        await virtual_lab.request("pause", run)


@pytest.mark.parametrize("ask", ["state", "counts", "jobs", "runs", "values", "plan", "run_to_end"])
async def test_what_is_unknown_is_not_found(virtual_lab: VirtualLab, ask: str) -> None:
    for name in ("sweep-nope", None):
        with pytest.raises(NotFoundError, match=str(name)):
            await getattr(virtual_lab, ask)(name)


async def test_points_and_jobs_have_states_and_only_what_was_submitted_a_plan(virtual_lab: VirtualLab) -> None:
    sweep = await virtual_lab.submit(spec(), sweep=SIX)
    await virtual_lab.run_to_end(sweep)
    first = (await virtual_lab.runs(sweep))[0]
    assert await virtual_lab.state(first.id) == "succeeded"
    assert await virtual_lab.counts(first.id) == {"succeeded": 1}
    assert await virtual_lab.state((await virtual_lab.jobs(first.id))[0].id) == "succeeded"
    assert (await virtual_lab.plan(sweep)).total == 6
    with pytest.raises(NotFoundError, match="point of a sweep"):
        await virtual_lab.plan(first.id)


@pytest.mark.parametrize(
    ("script", "kind", "told"),
    [
        (lambda _one: Outcome(seconds=float("inf")), ValueError, "finite number"),
        (lambda _one: Outcome(seconds=-5), ValueError, "finite number"),
        (lambda _one: None, TypeError, "must answer an Outcome"),
        (lambda _one: Outcome(values={"x": object()}), TypeError, "values of a cannot be stored"),
        (lambda _one: 1 / 0, ZeroDivisionError, "division"),
    ],
)
async def test_a_script_that_is_wrong_is_told_and_the_lab_goes_on(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend, script: Callable[[Any], Any], kind: type, told: str
) -> None:
    scripted_backend.script = script
    run = await virtual_lab.submit(spec())
    with pytest.raises(kind, match=told):
        await virtual_lab.run_to_end(run)
    scripted_backend.script = lambda _one: Outcome()
    other = await virtual_lab.submit({"nodes": [{**spec()["nodes"][0], "params": {"value": 1}}]})
    assert await virtual_lab.run_to_end(other) == "succeeded"
    assert await virtual_lab.state(run) == "failed"


async def test_numbers_of_numpy_are_numbers(virtual_lab: VirtualLab, scripted_backend: ScriptedBackend) -> None:
    import numpy as np

    scripted_backend.script = lambda _one: Outcome(values={"x": np.float64(1.5), "n": np.int64(2)})
    run = await virtual_lab.submit(spec())
    await virtual_lab.run_to_end(run)
    assert await virtual_lab.values(run) == {"a": {"x": 1.5, "n": 2}}


async def test_what_is_paused_leaves_its_core_to_others(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend, virtual_clock: VirtualClock
) -> None:
    scripted_backend.script = lambda _one: Outcome(seconds=100)
    run = await virtual_lab.submit(spec())
    await virtual_lab.settle()
    await virtual_lab.request("pause", run)
    await virtual_lab.settle()
    assert scripted_backend.capacity() == Amount(1, 16 << 30, 0)
    assert scripted_backend.occupied() == []
    await virtual_lab.pass_until(datetime.fromtimestamp(virtual_clock() + 500, UTC))
    await virtual_lab.request("resume", run)
    await virtual_lab.settle()
    assert len(scripted_backend.occupied()) == 1
    assert await virtual_lab.run_to_end(run) == "succeeded"


# -- workflows of the library ------------------------------------------------------------------------------------


async def test_the_functions_of_a_workflow_are_called_here(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend
) -> None:
    sample = samples.training()
    scripted_backend.script = calling(sample.workflow)
    sweep = await virtual_lab.submit(sample.workflow)
    assert await virtual_lab.run_to_end(sweep) == "succeeded"
    found = {run.id: await virtual_lab.values(run.id) for run in await virtual_lab.runs(sweep)}
    assert len(scripted_backend.ran) == sum(sample.calls.values())
    assert max(values["score"]["accuracy"] for values in found.values()) == sample.best_value


async def test_a_point_fails_as_its_function_does(virtual_lab: VirtualLab, scripted_backend: ScriptedBackend) -> None:
    sample = samples.flaky()
    scripted_backend.script = calling(sample.workflow)
    sweep = await virtual_lab.submit(sample.workflow)
    assert await virtual_lab.run_to_end(sweep) == "failed"
    assert await virtual_lab.counts(sweep) == {"succeeded": 11, "failed": 1}
    failed = [job for job in await virtual_lab.jobs(sweep) if job.state.value == "failed"]
    assert failed[0].reason.text == f"measure: ValueError: {sample.error}"


async def test_a_workflow_is_scripted_without_calling_anything(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend
) -> None:
    workflow = ExperimentalWorkflow("three")
    workflow.add_task("number", lambda: 1 / 0).add_task("other", lambda: 1 / 0)
    workflow.add_task("said", ["echo", "1"]).add_task("nothing", lambda: None)
    workflow.set_scheduling_policy("priority", {"priority": 3})
    run = await virtual_lab.submit(workflow)
    assert await virtual_lab.run_to_end(run) == "succeeded"
    assert len(scripted_backend.ran) == 4
    assert (await virtual_lab.plan(run)).title == "three"
    series = await virtual_lab.submit_series(workflow, NIGHTLY)
    assert series.startswith("series-")
    scripted_backend.script = calling(workflow, seconds=2)
    again = await virtual_lab.submit(workflow, use_cache=False)
    assert await virtual_lab.run_to_end(again) == "failed"
    assert await virtual_lab.values(again) == {"said": {}, "nothing": {}}
    with pytest.raises(RequestError, match="5 is no experiment"):
        await virtual_lab.submit(5)  # type: ignore[arg-type]


async def test_a_value_that_is_no_dict_is_named_value(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend
) -> None:
    workflow = ExperimentalWorkflow("one").add_task("one", lambda: 7)
    scripted_backend.script = calling(workflow)
    run = await virtual_lab.submit(workflow)
    await virtual_lab.run_to_end(run)
    assert await virtual_lab.values(run) == {"one": {"value": 7}}
