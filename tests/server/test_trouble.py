"""An engine whose turns fail says why to everybody who waits, and goes on once it can."""

from __future__ import annotations

import sqlite3

import anyio

RUNS = "experiment_orchestrator"
SPEC = {"nodes": [{"id": "a", "tool": "flow", "method": "passthrough", "params": {"value": 1}}]}


def change(lab, statement):
    connection = sqlite3.connect(lab.data.store, timeout=20, isolation_level=None)
    connection.execute(statement)
    connection.close()


async def test_a_run_tells_why_the_engine_cannot_go_on_and_ends_once_it_can(lab):
    first = await lab.router.call(RUNS, {"method": "run_dag", "spec": SPEC, "wait_s": 25})
    assert first.structured["state"] == "succeeded"
    change(lab, "ALTER TABLE leaders RENAME TO led")
    call = {"method": "run_dag", "spec": SPEC, "use_cache": False}
    asked = {"method": "run_status", "run_id": (await lab.router.call(RUNS, call)).structured["run_id"]}
    with anyio.fail_after(30):
        while "no such table: leaders" not in str((reply := await lab.router.call(RUNS, asked)).structured["reason"]):
            assert reply.structured["state"] == "pending"
            await anyio.sleep(0.02)
    assert "the engine cannot go on and tries again" in reply.text
    change(lab, "ALTER TABLE led RENAME TO leaders")
    with anyio.fail_after(30):
        while (reply := await lab.router.call(RUNS, {**asked, "wait_s": 20})).structured["state"] != "succeeded":
            assert reply.structured["state"] in ("pending", "running")
    assert not lab.engine.link.trouble
