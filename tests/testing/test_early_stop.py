"""A sweep with success criteria ends at the first point that meets them."""

from __future__ import annotations

from typing import Any

import pytest

from physlab_mcp.testing import Outcome, ScriptedBackend, VirtualLab

ONE = {"nodes": [{"id": "fit", "tool": "flow", "method": "passthrough", "params": {"value": 0}}]}


def sweep(**more: Any) -> dict[str, Any]:
    return {"space": {"fit.value": {"range": [1, 1000, 1]}}, **more}


@pytest.fixture
def scripted_backend(scripted_backend: ScriptedBackend) -> ScriptedBackend:
    scripted_backend.script = lambda one: Outcome(values={"loss": 10 - one.params["value"], "name": "x"})
    scripted_backend.slots = 2
    return scripted_backend


@pytest.mark.parametrize("criteria", ["loss < 1", "fit.loss < 1"])
async def test_it_ends_as_succeeded_and_the_rest_is_cancelled(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend, criteria: str
) -> None:
    handle = await virtual_lab.submit(ONE, sweep=sweep(success=criteria))
    assert await virtual_lab.run_to_end(handle) == "succeeded"
    counts = await virtual_lab.counts(handle)
    assert counts["succeeded"] in (10, 11)
    assert counts["cancelled"] == sum(counts.values()) - counts["succeeded"]
    assert len(scripted_backend.ran) <= 14
    (said,) = [one.data for one in await virtual_lab.store.events(subject=handle, limit=10_000) if "point" in one.data]
    assert said["point"] == {"fit.value": 10}


async def test_told_to_continue_it_does(virtual_lab: VirtualLab) -> None:
    block = sweep(success="loss < 1", on_success="continue", limit=30)
    handle = await virtual_lab.submit(ONE, sweep=block)
    assert await virtual_lab.run_to_end(handle) == "succeeded"
    assert await virtual_lab.counts(handle) == {"succeeded": 30}


async def test_a_goal_that_is_never_reached_or_has_no_value_ends_nothing(virtual_lab: VirtualLab) -> None:
    never = await virtual_lab.submit(ONE, sweep=sweep(success="loss < -1e9", limit=20))
    nameless = await virtual_lab.submit(ONE, sweep=sweep(success="no_such_number < 1", limit=20))
    for handle in (never, nameless):
        assert await virtual_lab.run_to_end(handle) == "succeeded"
        assert await virtual_lab.counts(handle) == {"succeeded": 20}


async def test_what_an_engine_before_had_not_looked_at_is_found(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend
) -> None:
    handle = await virtual_lab.submit(ONE, sweep=sweep(success="loss < 1"))
    await virtual_lab.pass_until(virtual_lab.clock() + 2)
    looked = virtual_lab._loop._goals._reached
    virtual_lab._loop._goals._plans[handle] = None  # an engine that dies after the commit and before its look
    await virtual_lab.pass_until(virtual_lab.clock() + 8)
    assert not looked
    virtual_lab._loop._goals._plans.clear()  # the next engine knows of nothing
    assert await virtual_lab.run_to_end(handle) == "succeeded"
    assert len(scripted_backend.ran) < 40
