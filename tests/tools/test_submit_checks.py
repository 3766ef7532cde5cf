"""What a submission is refused for at once, and what the same key means the second time."""

from __future__ import annotations

import os
import time
from typing import Any

import msgspec
import pytest

from physlab_mcp.errors import ConflictError, RejectedError
from physlab_mcp.lab import Lab
from physlab_mcp.nodes.device import detect_devices
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import Job, JobSpec, Resources
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.stores.base import Change
from physlab_mcp.tools.reply import Reply
from physlab_mcp.tools.router import Router

JOBS, RUNS = "distributed_collaboration", "experiment_orchestrator"
SUBMIT = {"method": "job_submit", "backend": "local", "job_spec": {"command": ["true"]}}


def spec(name: str = "R_inf", **more: Any) -> dict[str, Any]:
    return {"nodes": [{"id": "a", "tool": "constants_get", "params": {"name": name}, **more}]}


def command(**more: Any) -> dict[str, Any]:
    return {**SUBMIT, "job_spec": {"command": ["true"], **more}}


def error_of(reply: Reply) -> dict[str, Any]:
    assert reply.is_error, reply.text
    return reply.structured["error"]


async def nothing_stored(router: Router) -> bool:
    engine = router.bench.engine
    return not await engine.list_jobs(owner="local") and not await engine.list_runs(owner="local")


# -- keys ----------------------------------------------------------------------------------------------------------


async def test_the_key_of_a_job_answers_equal_work_with_the_first_job_and_other_work_with_conflict(router: Router):
    first = await router.call(JOBS, {**SUBMIT, "idempotency_key": "k"})
    again = await router.call(JOBS, {**SUBMIT, "idempotency_key": "k"})
    assert first.structured["job_id"] == again.structured["job_id"]
    other = error_of(await router.call(JOBS, {**command(env={"A": "b"}), "idempotency_key": "k"}))
    assert (other["code"], other["field"]) == ("conflict", "idempotency_key")
    assert first.structured["job_id"] in other["message"]
    assert len(await router.bench.engine.list_jobs(owner="local")) == 1


async def test_another_principal_may_use_the_same_key_for_other_work(router: Router):
    ann = await router.call(JOBS, {**SUBMIT, "idempotency_key": "k"}, principal="ann")
    bob = await router.call(JOBS, {**command(env={"A": "b"}), "idempotency_key": "k"}, principal="bob")
    assert not bob.is_error, bob.text
    assert ann.structured["job_id"] != bob.structured["job_id"]


async def test_one_key_for_different_jobs_of_one_call_is_a_conflict(lab: Lab):
    jobs = [
        Job(id=new_handle("job"), kind="command", spec=JobSpec(command=words), idempotency_key="k")
        for words in (("true",), ("false",))
    ]
    with pytest.raises(ConflictError):
        await lab.engine.submit_jobs(jobs)


@pytest.mark.parametrize(
    "other",
    [
        {"spec": spec("c")},
        {"params": {"a": {"name": "c"}}},
        {"sweep": {"space": {"a.name": ["R_inf", "c"]}}},
    ],
    ids=["spec", "params", "sweep"],
)
async def test_the_key_of_a_run_answers_equal_work_with_the_first_run_and_other_work_with_conflict(
    router: Router, other: dict[str, Any]
):
    call = {"method": "run_dag", "spec": spec(), "idempotency_key": "k"}
    first, again = await router.call(RUNS, call), await router.call(RUNS, call)
    assert first.structured["run_id"] == again.structured["run_id"]
    error = error_of(await router.call(RUNS, {**call, **other}))
    assert (error["code"], error["field"]) == ("conflict", "idempotency_key")
    assert len(await router.bench.engine.list_runs(owner="local")) == 1


# -- what this machine cannot do -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "resources",
    [Resources(cpu=4000), Resources(gpu=64), Resources(nodes=3), Resources(cpu=(os.cpu_count() or 1) + 0.5)],
    ids=["cpu", "gpu", "nodes", "half a core too many"],
)
async def test_a_job_beyond_this_machine_is_rejected_and_not_stored(lab: Lab, resources: Resources):
    job = Job(id=new_handle("job"), kind="command", spec=JobSpec(command=("true",), resources=resources))
    with pytest.raises(RejectedError) as error:
        await lab.engine.submit_jobs([job])
    assert (error.value.field or "").startswith("resources.")
    assert await nothing_stored(lab.router)


@pytest.mark.parametrize("resources", [{"cpu": 1000}, {"gpu": 64}, {"nodes": 3}], ids=["cpu", "gpu", "nodes"])
async def test_agents_are_told_at_once_what_is_beyond_this_machine(router: Router, resources: dict[str, Any]):
    assert error_of(await router.call(JOBS, command(resources=resources)))["code"] == "rejected"
    call = {"method": "run_dag", "spec": spec(resources=resources)}
    assert error_of(await router.call(RUNS, call))["code"] == "rejected"
    swept = {**call, "sweep": {"space": {"a.name": ["R_inf", "c"]}}}
    assert error_of(await router.call(RUNS, swept))["code"] == "rejected"
    assert await nothing_stored(router)


async def test_a_command_that_requires_a_device_this_machine_has_not_is_rejected(router: Router):
    device = next(one for one in ("cuda", "hip", "mps", "xpu") if one not in detect_devices())
    error = error_of(await router.call(JOBS, command(device=device, require_device=True)))
    assert (error["code"], error["got"]) == ("rejected", device)
    assert await nothing_stored(router)
    assert not (await router.call(JOBS, command(device=device))).is_error


@pytest.mark.parametrize(
    "bad",
    [
        {"env": {"A=B": "x"}},
        {"env": {"A\0B": "x"}},
        {"env": {"": "x"}},
        {"env": {"A": "x\0"}},
        {"env": {"PHYSLAB_EVENTS": "/tmp/x"}},
        {"command": ["tr\0ue"]},
        {"env": {"A": "\ud800"}},
        {"command": ["echo", "\ud800"]},
    ],
    ids=["equals sign", "NUL in a name", "no name", "NUL in a value", "ours", "NUL in a word", "half a pair", "word"],
)
async def test_words_that_no_process_can_take_are_refused_at_submission(router: Router, bad: dict[str, Any]):
    assert error_of(await router.call(JOBS, command(**bad)))["code"] == "invalid_request"
    assert await nothing_stored(router)


@pytest.mark.parametrize("env", [{"A=B": "x"}, {"A\0B": "x"}], ids=["equals sign", "NUL"])
async def test_command_nodes_with_such_words_are_refused_at_submission_too(router: Router, env: dict[str, str]):
    nodes = [{"id": "c", "tool": "command", "params": {"command": ["true"], "env": env}}]
    reply = await router.call(RUNS, {"method": "run_dag", "spec": {"nodes": nodes}})
    assert error_of(reply)["code"] == "invalid_request"
    assert await nothing_stored(router)


# -- what is told ------------------------------------------------------------------------------------------------


async def test_a_list_tells_a_success_only_once_it_survives_a_power_loss(lab: Lab):
    job = Job(id=new_handle("job"), kind="command", spec=JobSpec(command=("true",)), created_at=time.time())
    await lab.store.add_jobs([job])
    (stored,) = await lab.store.get_jobs([job.id])
    path = (JobState.SUBMITTING, JobState.QUEUED, JobState.RUNNING, JobState.COLLECTING, JobState.SUCCEEDED)
    new = msgspec.structs.replace(stored, state=JobState.SUCCEEDED, ended_at=time.time())
    assert not await lab.store.update_jobs([Change(old=stored, new=new, path=path, body=b"{}")], durable=False)
    seq, durable = await lab.store.seqs()
    assert durable < seq, "the end is not synced yet, or this shows nothing"
    (listed,) = await lab.engine.list_jobs(owner="local", states=["succeeded"])
    assert listed.job is not None
    assert (await lab.store.seqs())[1] >= listed.job.last_seq > durable


@pytest.mark.parametrize("path", ["a\0b", "~nobody-has-this-name/x", "x" * 5000])
async def test_what_is_no_path_is_refused_as_one(router: Router, path: str):
    error = error_of(await router.call(JOBS, command(workdir=path)))
    assert error["code"] in {"forbidden", "invalid_request"}
    assert "workdir" in error["field"]
    assert error["remedy"]
    assert await nothing_stored(router)


@pytest.mark.parametrize(
    ("tool", "arguments", "field"),
    [
        (RUNS, {"method": "run_dag", "spec": spec(), "parallelism": 10**30}, "parallelism"),
        (RUNS, {"method": "run_status", "run_id": "run-01j0example0000000000000", "since_seq": 2**80}, "since_seq"),
        (JOBS, {"method": "job_reorder", "job_id": "job-01j0example0000000000000", "position": 2**63}, "position"),
        (JOBS, {"method": "job_logs", "job_id": "job-01j0example0000000000000", "offset": 10**30}, "offset"),
    ],
)
async def test_numbers_that_no_store_can_hold_are_refused(router: Router, tool: str, arguments: Any, field: str):
    error = error_of(await router.call(tool, arguments))
    assert (error["code"], error["field"]) == ("invalid_request", field)
    assert await nothing_stored(router)


async def test_what_a_caller_sent_comes_back_cut(router: Router):
    long = "x" * 300_000
    calls: list[dict[str, Any]] = [
        {"method": "validate_dag", "spec": {"nodes": [{"id": long, "tool": long}]}},
        {"method": "define_dag", "spec": {"nodes": [{"id": long, "tool": "constants_get"}]}},
        {"method": long},
        {"method": "run_list", long: 1},
        {"method": "run_status", "run_id": long},
    ]
    for call in calls:
        reply = await router.call(RUNS, call)
        assert len(reply.text) + len(str(reply.structured)) < 20_000, str(call)[:60]


@pytest.mark.parametrize("unit", ["m^(9^9^9)", "m**9**9**9", "m^9^9", "(m^(9^9))"])
async def test_a_tower_of_powers_is_no_unit_and_is_refused_at_once(router: Router, unit: str):
    params = {"quantity": {"value": 1, "unit": unit}, "to": "m"}
    nodes = [{"id": "n", "tool": "units_convert", "params": params}]
    body = (await router.call(RUNS, {"method": "validate_dag", "spec": {"nodes": nodes}})).structured
    assert not body["ok"]
    assert "is not a unit" in body["errors"][0]["message"]
