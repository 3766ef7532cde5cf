"""`physlab sweep --plan`, and how busy the cores were."""

from __future__ import annotations

SWEEP = {
    "nodes": [{"id": "a", "tool": "flow", "method": "passthrough", "params": {"value": 0}}],
    "sweep": {"space": {"a.value": {"range": [1, 12, 1]}}},
    "schedule": {"policy": "at", "at": "2099-01-01T00:00:00+00:00", "timezone": "UTC"},
}


def test_a_plan_says_what_would_run_when_and_submits_nothing(physlab):
    name = physlab.write("sweep.json", SWEEP)
    answer = physlab("sweep", name, "--plan")
    assert "2099-01-01T00:00:00+00:00" in answer.out
    assert "it was asked to start at Thu 2099-01-01 00:00 UTC" in answer.out
    at_once = physlab("--json", "sweep", name, "--plan", "--now").json
    assert (at_once["points"]["total"], at_once["jobs"]) == (12, 12)
    assert all(row["starts_at"] < "2099" for row in at_once["rows"])
    assert physlab("--json", "jobs", "list").json["jobs"] == []


def test_a_waiting_sweep_says_until_when_and_one_that_ran_how_busy_the_cores_were(physlab):
    name = physlab.write("sweep.json", SWEEP)
    waiting = physlab("--json", "sweep", name, "--detach").json["sweep_id"]
    physlab("sweep", name, "--now", "--no-cache", "--metric", "a.value")
    handle = next(one["id"] for one in physlab("--json", "jobs", "list").json["jobs"] if one["id"] != waiting)
    used = physlab("--json", "jobs", "show", handle).json["utilisation"]
    assert 0 < used["share"] <= 1
    assert used["peak"] >= 1
    assert "cores busy" in physlab("jobs", "show", handle).out
    listed = physlab("jobs", "list").out
    assert "it was asked to start at Thu 2099-01-01 00:00 UTC" in listed
    assert any("utilisation" in path.name for path in physlab.folder.rglob("*.png"))
