"""What would run when, asked of a workflow; what the machine has not."""

from __future__ import annotations

import pytest

from physlab_mcp.errors import RejectedError
from physlab_mcp.library.workflow import ExperimentalWorkflow


def twice(x):
    return {"y": 2 * x}


def swept(**resources):
    made = ExperimentalWorkflow("twice").add_task("twice", twice, resources=resources)
    return made.add_parameter_space({"x": [1, 2, 3]})


def test_a_plan_says_when_and_why_and_stores_nothing(engine):
    made = swept()
    made.set_scheduling_policy("off_peak", {"preferred_hours": "22:00-08:00", "timezone": "Europe/Paris"})
    said = engine.plan(made)
    assert said["points"] == {"total": 3, "first": {"x": 1}, "last": {"x": 3}}
    assert [row["node"] for row in said["rows"]] == ["twice"] * 3
    assert len(said["windows"]) == 3
    assert said["known"] == 0

    async def stored(lab):
        return await lab.store.find_plans(owner=None)

    assert engine._bridge.call(stored) == []
    assert engine._bridge.call(_blobs) == []


async def _blobs(lab):
    return [path for path in lab.blobs.root.rglob("*") if path.is_file()]


def test_what_the_machine_has_not_is_left_out_by_the_engine_and_told_once(engine):
    made = swept(gpu=64, cpu_cores=1)
    assert any("64 GPUs" in one for one in engine.plan(made)["warnings"])
    results = engine.execute_parameter_sweep(made)
    assert results.state == "succeeded"
    (warning,) = results.warnings
    assert warning.startswith("twice: 64 GPUs asked for; there are ")


def test_what_is_required_and_not_there_is_refused(engine):
    with pytest.raises(RejectedError, match="'twice': 64 GPUs asked for; there are ") as told:
        engine.submit(swept(gpu=64, require=True))
    assert told.value.field == "resources.twice"
    assert "leave out `require`" in str(told.value)
