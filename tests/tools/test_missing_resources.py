"""What a machine has not is told of runs and sweeps over the tools, once for each distinct text, or refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from physlab_mcp.lab import Lab
from physlab_mcp.tools import resource_view
from physlab_mcp.tools.router import Router

RUNS = "experiment_orchestrator"
MANY = {"cpu": 1000, "gpu": 60, "require": False}


def spec(**resources: Any) -> dict[str, Any]:
    node = {"id": "a", "tool": "flow", "method": "passthrough", "params": {"value": 0}}
    return {"nodes": [{**node, "resources": resources} if resources else node]}


async def answer(router: Router, **arguments: Any) -> dict[str, Any]:
    reply = await router.call(RUNS, arguments)
    assert not reply.is_error, reply.text
    return reply.structured


def told(reply: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["node"], one["message"].partition(" asked")[0]) for one in reply.get("warnings") or []]


BOTH = [("a", "1000 cores"), ("a", "60 GPUs")]


async def test_a_run_says_before_during_and_after_what_it_goes_without(live: Router) -> None:
    assert told(await answer(live, method="validate_dag", spec=spec(**MANY))) == BOTH
    started = await answer(live, method="run_dag", spec=spec(**MANY))
    assert told(started) == BOTH
    name = started["run_id"]
    state = started
    while state["state"] not in ("succeeded", "failed"):
        state = await answer(live, method="run_status", run_id=name, since_seq=state["last_seq"], wait_s=20)
        assert told(state) == BOTH
    assert state["state"] == "succeeded"
    result = await live.call(RUNS, {"method": "run_result", "run_id": name})
    assert told(result.structured) == BOTH
    assert result.text.count("1000 cores asked for") == 1


async def test_a_sweep_says_it_once_and_its_points_too(live: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource_view, "_LOOKED_AT", 2)
    monkeypatch.setattr(resource_view, "_KNOWN", 0)
    sweep = {"space": {"a.value": [1, 2, 3]}}
    reply = await answer(live, method="run_dag", spec=spec(**MANY), sweep=sweep, wait_s=20)
    assert (reply["state"], told(reply)) == ("succeeded", BOTH)
    point = reply["points"][0]["run_id"]
    assert told(await answer(live, method="run_result", run_id=point)) == BOTH
    assert told(await answer(live, method="run_status", run_id=reply["sweep_id"])) == BOTH


async def test_what_must_be_there_is_refused_by_the_name_of_its_node(lab: Lab, router: Router) -> None:
    checked = await answer(router, method="validate_dag", spec=spec(memory="100000Ti"))
    assert (checked["ok"], checked.get("warnings") or []) == (False, [])
    assert "102400000 GiB" in checked["errors"][0]["message"]
    reply = await router.call(RUNS, {"method": "run_dag", "spec": spec(memory="100000Ti")})
    error = reply.structured["error"]
    assert error["message"].startswith("a: The local backend does not have what the job asks for: 102400000 GiB")
    assert (error["field"], error["got"]) == ("nodes.a.resources.memory", "102400000 GiB")
    assert "at most" in error["remedy"]
    assert lab.engine.capacity().cpus >= 1


async def test_where_all_is_there_nothing_is_told(live: Router) -> None:
    reply = await answer(live, method="run_dag", spec=spec(), wait_s=20)
    assert reply.get("warnings") in (None, [])
