"""What is known of runs and sweeps afterwards: complete ones, and those that ended before their time."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from physlab_mcp.analysis.metadata import metadata_of, missing, tasks_of
from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.artifacts.cache_key import value_hash
from physlab_mcp.backends.base import Assignment, Observation
from physlab_mcp.errors import NotFoundError
from physlab_mcp.schemas.artifact import ArtifactRef
from physlab_mcp.schemas.result import Failure, NodeResult
from physlab_mcp.testing import Outcome, ScriptedBackend, VirtualClock, VirtualLab

START = 1_800_000_000.0
CHAIN = {
    "metadata": {"title": "Two steps"},
    "nodes": [
        {"id": "make", "tool": "flow", "method": "passthrough", "params": {"value": {"seed": 7, "list": [{"rng": 1}]}}},
        {
            "id": "use", "tool": "flow", "method": "passthrough",
            "params": {"value": [{"$from": "make", "key": "values.value.x"}, {"$from": "make", "key": "values.value.f"}]},
            "dependencies": ["make"],
        },
    ],
}  # fmt: skip
ONE = {"nodes": [{"id": "a", "tool": "flow", "method": "passthrough", "params": {"value": 0}}]}
COMMAND = {"nodes": [{"id": "c", "tool": "command", "params": {"command": ["true"]}}]}
META = {
    "duration_ms": 1500.0, "cpu_s": 1.25, "max_rss_bytes": 10_000, "device": "cpu", "dtype": "float64",
    "code_version": "1:abc:", "environment": "env-1", "hash_seed": "random",
}  # fmt: skip
FIELD = ArtifactRef(sha256="f" * 64, name="field.npy", media_type="application/x-npy", size=80)
VALUE = {"x": 5, "f": {"$artifact": msgspec.to_builtins(FIELD)}}


class Told(ScriptedBackend):
    """A scripted backend whose results say what a worker says."""

    arrays = {"field": FIELD}  # noqa: RUF012 - a constant that one test replaces

    def _observed(self, job: Any, outcome: Outcome, now: float) -> Observation:
        seen = super()._observed(job, outcome, now)
        if seen.result is None:
            return seen
        body = NodeResult(values=outcome.values, arrays=self.arrays, meta=META)
        return msgspec.structs.replace(seen, result=msgspec.json.encode(body))

    def say(self, job: Any, data: dict[str, Any]) -> None:
        self._say(job, "event", data=data)


@pytest.fixture
def scripted_backend(virtual_clock: VirtualClock) -> ScriptedBackend:
    return Told(virtual_clock, lambda _one: Outcome(seconds=2, values={"value": VALUE}))


def task_of(metadata: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in metadata["tasks"] if one["task"] == name)


async def test_a_run_tells_what_went_in_what_came_out_when_and_at_what_cost(
    virtual_lab: VirtualLab, tmp_path: Path
) -> None:
    blobs = Blobs(tmp_path / "environments")
    ref = blobs.put(b'{"python":{"version":"3.13"},"memory_bytes":8}', name="e.json", media_type="application/json")
    await virtual_lab.store.put("environment", "env-1", ref)
    run = await virtual_lab.submit(CHAIN, use_cache=False)
    assert await virtual_lab.run_to_end(run) == "succeeded"
    found = await metadata_of(virtual_lab.store, run, blobs=blobs)

    assert (found["title"], found["complete"], found["points"]) == ("Two steps", True, 1)
    assert (found["started_at"], found["ended_at"]) == (START, START + 4)
    assert found["environments"] == {"env-1": {"python": {"version": "3.13"}, "memory_bytes": 8}}
    make, use = task_of(found, "make"), task_of(found, "use")
    assert found["order"] == [make["job_id"], use["job_id"]]
    assert (use["created_at"], use["queued_at"], use["started_at"], use["ended_at"]) == (
        START, START + 2, START + 2, START + 4,
    )  # fmt: skip
    assert (use["wait_s"], use["took_s"]) == (2, 2)
    assert {name: use[name] for name in META} == META
    assert use["inputs"] == [
        {"from": "make", "key": "values.value.x", "job_id": make["job_id"], "sha256": hashlib.sha256(b"5").hexdigest()},
        {"from": "make", "key": "values.value.f", "job_id": make["job_id"], "sha256": "f" * 64},
    ]
    assert make["inputs"] == []
    assert make["outputs"] == [{"name": "field.npy", "media_type": "application/x-npy", "size": 80, "sha256": "f" * 64}]
    assert make["values_sha256"] == value_hash({"value": VALUE})
    assert make["seeds"] == {"value.seed": 7, "value.list.0.rng": 1}
    assert found["seeds"] == {
        "sweep": None, "hash_seed": ["random"], "parameters": {"make": {"value.seed": [7], "value.list.0.rng": [1]}},
    }  # fmt: skip
    assert found["tasks_left_out"] == 0
    assert json.loads(json.dumps(found)) == found  # plain JSON


async def test_a_sweep_tells_its_seed_and_each_point_its_own_tasks(virtual_lab: VirtualLab) -> None:
    block = {"space": {"a.value": {"uniform": [0, 1]}}, "mode": "random", "samples": 3, "seed": 11}
    sweep = await virtual_lab.submit(ONE, sweep=block, use_cache=False)
    await virtual_lab.run_to_end(sweep)
    found = await metadata_of(virtual_lab.store, sweep, most_tasks=2)
    assert (found["points"], found["points_begun"], found["seeds"]["sweep"]) == (3, 3, 11)
    assert [one["point_index"] for one in found["tasks"]] == [0, 1]
    assert found["tasks_left_out"] == 1
    assert found["environments"] == {"env-1": None}  # nobody captured it here

    assert found["seeds"]["parameters"] == {}
    runs = await virtual_lab.runs(sweep)
    point = await metadata_of(virtual_lab.store, runs[2].id)
    assert (point["sweep_id"], point["point_index"], point["point"]) == (sweep, 2, runs[2].point)
    assert [one["run_id"] for one in point["tasks"]] == [runs[2].id]

    unseeded = await virtual_lab.submit(ONE, sweep=block | {"seed": 0}, use_cache=False)
    assert (await metadata_of(virtual_lab.store, unseeded))["seeds"]["sweep"] == 0  # the default, which drew them
    assert point["complete"]


async def test_each_seed_is_told_once(virtual_lab: VirtualLab) -> None:
    seeded = {"nodes": [{**ONE["nodes"][0], "params": {"value": {"random_state": 3, "n": 0}}}]}
    sweep = await virtual_lab.submit(
        seeded, sweep={"space": {"a.value": [{"seed": 3}, {"seed": 4}, {"seed": 3, "n": 1}]}}
    )
    await virtual_lab.run_to_end(sweep)
    found = await metadata_of(virtual_lab.store, sweep)
    assert found["seeds"]["parameters"] == {"a": {"value.seed": [3, 4]}}


async def test_tasks_come_in_pages_with_the_events_of_each(virtual_lab: VirtualLab, monkeypatch: Any) -> None:
    monkeypatch.setattr("physlab_mcp.analysis.metadata._PAGE", 2)
    monkeypatch.setattr("physlab_mcp.analysis.metadata._EVENTS", 3)
    sweep = await virtual_lab.submit(ONE, sweep={"space": {"a.value": [1, 2, 3, 4, 5]}}, use_cache=False)
    await virtual_lab.run_to_end(sweep)
    tasks = [one async for one in tasks_of(virtual_lab.store, sweep)]
    assert [one["point_index"] for one in tasks] == [0, 1, 2, 3, 4]
    assert [one["queued_at"] for one in tasks] == [START, START + 2, START + 4, START + 6, START + 8]
    assert len([one async for one in tasks_of(virtual_lab.store, sweep, most=4)]) == 4


async def test_what_failed_tells_why_and_what_never_ran_that_it_did_not(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend
) -> None:
    scripted_backend.script = lambda _one: Outcome(seconds=3, error="it blew up")
    run = await virtual_lab.submit(CHAIN, use_cache=False)
    assert await virtual_lab.run_to_end(run) == "failed"
    found = await metadata_of(virtual_lab.store, run)
    make, use = task_of(found, "make"), task_of(found, "use")
    assert not found["complete"]
    assert (make["partial"]["ran"], make["took_s"], make["partial"]["failure"]["message"]) == (True, 3, "it blew up")
    assert make["partial"]["last_events"][-1]["to"] == "failed"
    assert (use["state"], use["partial"]["ran"], use["partial"]["failure"]) == ("skipped", False, None)
    assert (use["started_at"], use["took_s"], use["inputs"]) == (None, None, [])
    assert found["order"] == [make["job_id"]]


async def test_what_was_cancelled_tells_how_far_it_was_and_who_asked(
    virtual_lab: VirtualLab, virtual_clock: VirtualClock, scripted_backend: Told
) -> None:
    begun: list[Assignment] = []

    def script(one: Assignment) -> Outcome:
        begun.append(one)
        return Outcome(seconds=100)

    scripted_backend.script = script
    run = await virtual_lab.submit(ONE, use_cache=False)
    await virtual_lab.pass_until(virtual_clock() + 5)
    for number in range(7):
        scripted_backend.say(begun[0].job, {"kind": "progress", "fraction": number / 10, "text": "steps"})
        await virtual_lab.settle()
    (running,) = (await metadata_of(virtual_lab.store, run))["tasks"]  # as after a kill: it never said how it ended
    assert (running["state"], running["partial"]["ended"], running["ended_at"]) == ("running", False, None)
    await virtual_lab.request("cancel", run)
    await virtual_lab.settle()
    found = await metadata_of(virtual_lab.store, run)
    (task,) = found["tasks"]
    assert (task["state"], task["took_s"], task["partial"]["ended"]) == ("cancelled", 5, True)
    assert task["partial"]["progress"] == {"at": START + 5, "fraction": 0.6, "text": "steps"}
    assert len(task["partial"]["last_events"]) == 5
    assert [(one["verb"], one["subject"]) for one in found["requests"]] == [("cancel", run)]
    assert not found["complete"]


async def test_a_command_tells_its_words(virtual_lab: VirtualLab) -> None:
    run = await virtual_lab.submit(COMMAND)
    await virtual_lab.run_to_end(run)
    (task,) = (await metadata_of(virtual_lab.store, run))["tasks"]
    assert (task["type"], task["params"]) == (None, {"command": ["true"], "script": None})
    assert task["inputs"] == []


async def test_an_environment_whose_artifact_is_gone_is_told_by_its_hash(
    virtual_lab: VirtualLab, tmp_path: Path
) -> None:
    await virtual_lab.store.put("environment", "env-1", FIELD)
    run = await virtual_lab.submit(ONE, use_cache=False)
    await virtual_lab.run_to_end(run)
    found = await metadata_of(virtual_lab.store, run, blobs=Blobs(tmp_path / "none"))
    assert found["environments"]["env-1"]["sha256"] == "f" * 64


async def test_what_is_required_and_not_there_is_named_in_order(
    virtual_lab: VirtualLab, scripted_backend: Told, tmp_path: Path
) -> None:
    scripted_backend.arrays = {}
    scripted_backend.script = lambda _one: Outcome(values={"value": {"x": 1, "f": 2}})
    blobs = Blobs(tmp_path / "environments")
    ref = blobs.put(b'{"python":{},"memory_bytes":8}', name="e.json", media_type="application/json")
    await virtual_lab.store.put("environment", "env-1", ref)
    run = await virtual_lab.submit(CHAIN)
    await virtual_lab.store.put("workflow", run, {"metadata": {"operator": "Ada", "sample": ""}})
    await virtual_lab.run_to_end(run)
    found = await metadata_of(virtual_lab.store, run, blobs=blobs)
    there = ["python", "memory", "code", "parameters", "inputs", "outputs", "timing", "usage", "seeds", "operator"]
    assert missing(found, [*there, "gpu", "git", "sample", "licence"]) == ["gpu", "git", "sample", "licence"]
    assert missing({**found, "tasks": []}, ["timing"]) == ["timing"]
    assert missing({**found, "environments": {}, "workflow": None}, ["python", "operator"]) == ["python", "operator"]
    slower = {**found, "tasks": [*found["tasks"], {**found["tasks"][0], "cpu_s": None}]}
    assert missing(slower, ["usage", "timing"]) == ["usage"]

    again = await virtual_lab.submit(CHAIN)
    await virtual_lab.run_to_end(again)
    cached = await metadata_of(virtual_lab.store, again, blobs=blobs)
    assert {one["cached"]["job"] for one in cached["tasks"]} == {one["job_id"] for one in found["tasks"]}
    assert missing(cached, ["timing", "usage"]) == []


async def test_an_unknown_handle_is_refused_by_name(virtual_lab: VirtualLab) -> None:
    with pytest.raises(NotFoundError, match="run-nowhere"):
        await metadata_of(virtual_lab.store, "run-nowhere")


async def test_what_failed_keeps_what_it_took(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    observed = scripted_backend._observed

    def failing(job: Any, outcome: Outcome, now: float) -> Observation:
        seen = observed(job, outcome, now)
        failure = Failure(code="error", message="it blew up", meta=META, retryable=False)
        return msgspec.structs.replace(seen, result=None, failure=failure)

    monkeypatch.setattr(scripted_backend, "_observed", failing)
    run = await virtual_lab.submit(ONE)
    await virtual_lab.run_to_end(run)
    task = task_of(await metadata_of(virtual_lab.store, run), "a")
    assert {name: task[name] for name in META} == META
    assert "meta" not in task["partial"]["failure"]
    assert task["resources_asked"] == task["resources"]


@pytest.mark.parametrize("kind", ["cancelled", "lost"])
async def test_what_was_ended_keeps_what_was_seen_of_it(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    used = {"duration_ms": 1800.0, "cpu_s": 1.5, "environment": "env-1", "code_version": "1:abc:"}

    def ended(job: Any, _outcome: Outcome, now: float) -> Observation:
        data = {"usage": used, "status": -9}
        return Observation(job_id=job.id, fence=job.fence, kind=kind, at=now + 2, data=data)

    monkeypatch.setattr(scripted_backend, "_observed", ended)
    run = await virtual_lab.submit(COMMAND)
    await virtual_lab.run_to_end(run)
    task = task_of(await metadata_of(virtual_lab.store, run), "c")
    assert task["state"] == {"cancelled": "cancelled", "lost": "failed"}[kind]
    assert {name: task[name] for name in used} == used


async def test_of_what_nobody_measured_the_time_is_known(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend, virtual_clock: VirtualClock
) -> None:
    scripted_backend.script = lambda _one: Outcome(seconds=50)
    run = await virtual_lab.submit(ONE)
    await virtual_lab.pass_until(virtual_clock() + 5)
    await virtual_lab.request("cancel", run)
    await virtual_lab.run_to_end(run)
    task = task_of(await metadata_of(virtual_lab.store, run), "a")
    assert (task["duration_ms"], "cpu_s" in task) == (5000, False)


async def test_what_was_asked_for_stands_beside_what_was_given(virtual_lab: VirtualLab) -> None:
    node = {**ONE["nodes"][0], "resources": {"cpu": 4, "require": False}}
    run = await virtual_lab.submit({"nodes": [node]})
    await virtual_lab.run_to_end(run)
    task = task_of(await metadata_of(virtual_lab.store, run), "a")
    assert task["resources_asked"] == {"cpu": 4.0, "degrade": True}
    assert task["resources"].get("cpu", 1) == 1


async def test_a_list_of_seeds_is_a_seed(virtual_lab: VirtualLab) -> None:
    node = {**ONE["nodes"][0], "params": {"value": {"seeds": [1, 2], "seed": [{"rng": 3}]}}}
    run = await virtual_lab.submit({"nodes": [node]})
    await virtual_lab.run_to_end(run)
    found = await metadata_of(virtual_lab.store, run)
    assert found["seeds"]["parameters"]["a"] == {"value.seeds": [[1, 2]], "value.seed.0.rng": [3]}
    task = task_of(found, "a")
    assert task["created_at"] <= task["queued_at"] <= task["started_at"]


async def test_where_a_task_ran_and_why_there_is_recorded(virtual_lab: VirtualLab) -> None:
    run = await virtual_lab.submit(ONE)
    await virtual_lab.run_to_end(run)
    task = task_of(await metadata_of(virtual_lab.store, run), "a")
    assert (task["backend"], task["why_here"]) == ("local", None)  # there was nothing to choose
