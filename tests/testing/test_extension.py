"""A sweep is extended: its points keep their numbers and results, the new ones come behind them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from physlab_mcp.dags.extension import Extended, extended, points_of
from physlab_mcp.dags.sweep import read_sweep
from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.run import Plan
from physlab_mcp.testing import ScriptedBackend, VirtualLab

ONE = {"nodes": [{"id": "a", "tool": "flow", "method": "passthrough", "params": {"value": {"$point": "x"}}},
                 {"id": "b", "tool": "flow", "method": "passthrough", "params": {"value": {"$point": "y"}}}]}  # fmt: skip
GRID = {"space": {"x": [1, 2], "y": [1, 2]}}


def plan_of(block: dict[str, Any]) -> Plan:
    spec = read_sweep(block)
    return Plan(id="sweep-00000000", dag_id="dag-00000000", sweep=spec.canonical(), total=points_of(spec).total)


async def extend(lab: VirtualLab, handle: str, block: dict[str, Any]) -> Plan:
    plan = await lab.plan(handle)
    more = extended(plan, block)
    await lab.request("extend", handle, sweep=more.sweep, total=more.total, was=plan.total)
    return more


async def test_an_ended_sweep_goes_on_with_its_new_points_only(
    virtual_lab: VirtualLab, scripted_backend: ScriptedBackend
) -> None:
    handle = await virtual_lab.submit(ONE, sweep=GRID, use_cache=False)
    await virtual_lab.run_to_end(handle)
    before = await virtual_lab.runs(handle)
    ran = len(scripted_backend.ran)
    await extend(virtual_lab, handle, {"space": {"x": [1, 2, 3]}})
    await virtual_lab.settle()
    assert await virtual_lab.run_to_end(handle) == "succeeded"
    after = await virtual_lab.runs(handle)
    assert [one.id for one in after[:4]] == [one.id for one in before]
    assert [one.point for one in after[4:]] == [{"x": 3, "y": 1}, {"x": 3, "y": 2}]
    assert len(scripted_backend.ran) - ran == 1  # a at 3; b is what it was
    await extend(virtual_lab, handle, {"space": {"y": [9]}})
    await virtual_lab.settle()
    await virtual_lab.run_to_end(handle)
    assert [one.point for one in (await virtual_lab.runs(handle))[6:]] == [{"x": 1, "y": 9}, {"x": 2, "y": 9}]


async def test_a_sweep_under_way_is_extended_and_one_of_two_at_once_is_refused(
    virtual_lab: VirtualLab,
) -> None:
    handle = await virtual_lab.submit(ONE, sweep=GRID)
    await virtual_lab.settle()
    plan = await virtual_lab.plan(handle)
    for value in (3, 4):
        more = extended(plan, {"space": {"x": [value]}})
        await virtual_lab.request("extend", handle, sweep=more.sweep, total=more.total, was=plan.total)
    await virtual_lab.run_to_end(handle)
    assert [one.point["x"] for one in await virtual_lab.runs(handle)] == [1, 1, 2, 2, 3, 3]
    said = [one.data.get("text", "") for one in await virtual_lab.store.events(subject=handle, limit=1000)]
    assert any("refused" in one for one in said)


def test_random_points_are_extended_by_more_samples() -> None:
    block = {"space": {"x": {"uniform": [0, 1]}}, "mode": "random", "samples": 5, "seed": 7}
    plan = plan_of(block)
    more = extended(plan, {"samples": 8})
    assert more.total == 8
    whole = points_of(read_sweep({**block, "samples": 8}))
    chained = points_of(read_sweep(more.sweep or {}))
    assert [one.base for one in chained.window(0, 99)] == [one.base for one in whole.window(0, 99)]


def test_explicit_points_are_extended_by_points_or_by_a_grid() -> None:
    plan = plan_of({"mode": "explicit", "points": [{"x": 1, "y": 1}, {"x": 2, "y": 5}]})
    more = extended(plan, {"points": [{"y": 5, "x": 2}, {"x": 3, "y": 3}]})
    assert [one.base for one in points_of(read_sweep(more.sweep or {})).window(0, 9)][2:] == [{"x": 3, "y": 3}]
    grid = extended(plan, {"space": {"x": [1, 2], "y": [1]}})
    assert [one.base for one in points_of(read_sweep(grid.sweep or {})).window(0, 9)][2:] == [{"x": 2, "y": 1}]


def test_windows_lookups_and_digits_of_an_extended_sweep_agree() -> None:
    plan = extended(plan_of(GRID), {"space": {"x": [2, 3, 4]}})
    plan = extended(plan, {"space": {"y": [7]}})
    chained = points_of(read_sweep(plan.sweep or {}), total=plan.total)
    assert isinstance(chained, Extended)
    everything = chained.window(0, 99)
    assert [one.index for one in everything] == list(range(chained.total))
    assert len({one.id for one in everything}) == chained.total == 10
    assert [*chained.window(0, 3), *chained.window(3, 4), *chained.window(7, 9)] == everything
    assert [chained.at(i) for i in range(chained.total)] == everything
    assert {one.base["x"] for one in chained.probes(10)} == {1, 2, 3, 4}
    for column in range(2):
        values = {one.digits[column]: one.values[column] for one in everything}
        assert all(values[one.digits[column]] == one.values[column] for one in everything)
    with pytest.raises(RequestError, match="no point 10"):
        chained.at(10)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"space": {"x": [1, 2]}}, "no new point"),
        ({"space": {"z": [1]}}, "has the parameters"),
        ({"mode": "dance"}, "mode"),
    ],
)
def test_what_extends_nothing_or_fits_not_is_refused(block: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        extended(plan_of(GRID), block)


def test_a_run_and_an_endless_sweep_are_not_extended(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match="only a sweep"):
        extended(msgspec.structs.replace(plan_of(GRID), sweep=None), {"space": {"x": [3]}})
    monkeypatch.setattr("physlab_mcp.dags.extension.MOST_EXTENDED", 3)
    with pytest.raises(RequestError, match="cannot be extended"):
        extended(plan_of(GRID), {"space": {"x": [3]}})
    monkeypatch.setattr("physlab_mcp.dags.extension.MOST_EXTENDED", 100)
    monkeypatch.setattr("physlab_mcp.dags.extension.MOST_POINTS", 5)
    with pytest.raises(RequestError, match="at most 5"):
        extended(plan_of(GRID), {"space": {"x": [3]}})


def test_points_alone_extend_a_grid_or_what_was_drawn() -> None:
    more = extended(plan_of({**GRID, "limit": 3}), {"points": [{"x": 9, "y": 9}, {"x": 1, "y": 1}]})
    chained = points_of(read_sweep(more.sweep or {}))
    assert [one.base for one in chained.window(0, 9)][3:] == [{"x": 9, "y": 9}]
    drawn = plan_of({"space": {"x": {"uniform": [0, 1]}}, "mode": "random", "samples": 2})
    assert extended(drawn, {"points": [{"x": 5}]}).total == 3
