"""Sweeps of every mode through `run_dag`, on a real engine."""

from __future__ import annotations

from typing import Any

import pytest

from physlab_mcp.tools.router import Router

RUNS = "experiment_orchestrator"
SPEC = {
    "nodes": [{"id": f"the_{name}", "tool": "flow.passthrough", "params": {"value": {"$point": name}}} for name in "ab"]
}
MODES: list[tuple[dict[str, Any], int]] = [
    ({"space": {"a": [1, 2, 3], "b": {"log": [1, 100, 3]}}, "where": "a < 3 or b < 2"}, 7),
    ({"mode": "zip", "space": {"a": [1, 2], "b": {"range": [5, 6, 1]}}}, 2),
    ({"mode": "random", "samples": 5, "seed": 3, "space": {"a": {"uniform": [0, 1]}, "b": {"int": [1, 9]}}}, 5),
    ({"mode": "latin_hypercube", "samples": 5, "space": {"a": {"loguniform": [1, 9]}, "b": {"choice": [2, 4]}}}, 5),
    ({"mode": "explicit", "points": [{"a": 1, "b": 2}, {"a": 3, "b": 4}, {"a": 1, "b": 2.0}]}, 2),
    ({"space": {"a": {"range": [1, 4, 1]}}, "derived": {"b": "2 * a"}, "on_failure": "retry", "limit": 3}, 3),
]  # fmt: skip


@pytest.mark.parametrize(("block", "total"), MODES, ids=[block.get("mode", "grid") for block, _ in MODES])
async def test_every_mode_runs_its_points(live: Router, block: dict[str, Any], total: int) -> None:
    reply = await live.call(RUNS, {"method": "run_dag", "spec": SPEC, "sweep": block, "wait_s": 25})
    assert not reply.is_error, reply.text
    assert reply.structured["state"] == "succeeded", reply.text
    rows = reply.structured["points"]
    assert len(rows) == total
    for row in rows:
        assert {name: row["values"][f"the_{name}.value"] for name in "ab"} == row["point"]


@pytest.mark.parametrize(
    ("block", "field"),
    [
        ({"mode": "explicit", "points": [{"c.workdir": "/etc"}]}, "sweep.space.c.workdir"),
        ({"space": {"n": ["/etc"]}, "derived": {"workdir": "n"}}, "sweep.space.workdir"),
        ({"space": {"c.timeout_s": {"uniform": [1, 2]}}}, "sweep.space.c.timeout_s"),
        ({"space": {"n": [1]}, "where": "n <"}, "sweep.where"),
        ({"space": {"n": [1]}, "where": "__import__('os')"}, "sweep.where"),
    ],
)
async def test_a_sweep_that_may_not_run_is_refused_by_field(live: Router, block: dict[str, Any], field: str) -> None:
    spec = {"nodes": [{"id": "c", "tool": "command", "params": {"command": ["true"]}}]}
    reply = await live.call(RUNS, {"method": "run_dag", "spec": spec, "sweep": block})
    assert reply.is_error
    assert reply.structured["error"]["field"] == field
    assert reply.structured["error"]["remedy"]
