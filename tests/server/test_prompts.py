"""The prompts lead an agent with calls that work as they stand."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from mcp import Client
from mcp.types import PromptReference

from physlab_mcp.dags.validate import validate
from physlab_mcp.server import build
from physlab_mcp.tools.router import TOOLS

JOBS, RUNS = "distributed_collaboration", "experiment_orchestrator"
CALL = re.compile(rf"^({JOBS}|{RUNS}) (.*)$", re.MULTILINE)
GOAL = 'How large is "hydrogen" {2p}?'


def calls_in(text: str) -> list[dict[str, Any]]:
    """The calls that a prompt leads to; these and all in the replies that it quotes are parsed by the strict models."""
    for found in re.finditer(r'\{"method"', text):
        body, _ = json.JSONDecoder().raw_decode(text, found.start())
        home = next((tool for tool in TOOLS.values() if body["method"] in tool.calls), None)
        assert home is not None, body
        home.parse(body, elsewhere={})
    led = [(tool, json.loads(arguments)) for tool, arguments in CALL.findall(text)]
    for tool, body in led:
        TOOLS[tool].parse(body, elsewhere={})
    return [body for _, body in led]


async def prompt(client: Client, name: str, **arguments: str) -> str:
    return (await client.get_prompt(name, arguments)).messages[0].content.text


async def ended(client: Client, spec: dict[str, Any], state: str) -> dict[str, Any]:
    reply = await client.call_tool(RUNS, {"method": "run_dag", "spec": spec, "wait_s": 25})
    while reply.structured_content["state"] in ("pending", "running"):
        again = {"method": "run_status", "run_id": reply.structured_content["run_id"], "wait_s": 25}
        reply = await client.call_tool(RUNS, again)
    assert reply.structured_content["state"] == state, reply
    return reply.structured_content


def passing(value: float) -> dict[str, Any]:
    return {"nodes": [{"id": "p", "tool": "flow", "method": "passthrough", "params": {"value": value}}]}


async def test_design_leads_from_words_to_the_report(lab):
    async with Client(build(lab)) as client:
        text = await prompt(client, "design_experiment", goal=GOAL)
    found = calls_in(text)
    order = ["define_dag", "catalog", "validate_dag", "run_dag", "run_status", "run_result", "publish_report"]
    assert [one["method"] for one in found] == order
    assert found[0]["natural_language"] == GOAL
    assert all(f"\n{name}: " in text for name in lab.registry.names())
    for word in ("needs_spec", "allow_large", "$from", "since_seq", "remedy"):
        assert word in text


async def test_design_on_a_node_type_shows_it_and_a_spec_of_it_that_is_valid(lab):
    async with Client(build(lab)) as client:
        for one in lab.registry:
            text = await prompt(client, "design_experiment", goal="x", node_type=one.name, backend="local")
            spec = next(call for call in calls_in(text) if call["method"] == "run_dag")["spec"]
            checked = validate(spec, lab.registry)
            if "$from" not in json.dumps(one.example):  # those name a node that is not there yet
                assert checked.dag is not None or one.tool == "data", (one.name, checked.errors)
            assert spec["nodes"][0]["backend"] == "local"
        unknown = await prompt(client, "design_experiment", goal="x", node_type="quantum.hydrogen")
    assert "nearest: quantum.hydrogen_orbital" in unknown
    assert calls_in(unknown)


async def test_diagnosis_of_a_run_tells_the_first_failed_job_and_its_log(lab):
    fails = {"command": ["sh", "-c", "echo the cause >&2; exit 3"]}
    spec = {
        "nodes": [
            {"id": "bad", "tool": "command", "params": fails},
            {"id": "later", "tool": "flow", "method": "passthrough", "dependencies": ["bad"], "params": {"value": 1}},
        ]
    }
    async with Client(build(lab)) as client:
        body = await ended(client, spec, "failed")
        text = await prompt(client, "diagnose_failure", job_id=body["run_id"])
    job_id = next(node["job_id"] for node in body["nodes"] if node["node_id"] == "bad")
    found = calls_in(text)
    assert "the cause" in text
    assert {one["job_id"] for one in found if "job_id" in one} == {job_id}
    assert [one["method"] for one in found] == ["job_status", "job_logs", "job_result", "explain_cache"]
    for code in ("invalid_request", "unavailable", "exit", "timeout", "oom", "lost", "allow_large"):
        assert code in text


@pytest.mark.parametrize("handle", ["job-01j0example0000000000000", "run-01j0example0000000000000", "sweep-1", "x"])
async def test_diagnosis_of_what_does_not_exist_says_so(lab, handle):
    async with Client(build(lab)) as client:
        text = await prompt(client, "diagnose_failure", job_id=handle)
    assert calls_in(text)
    assert "job_list" in text or "run_list" in text


async def test_comparison_shows_both_and_what_differs(lab):
    async with Client(build(lab)) as client:
        a, b = [(await ended(client, passing(value), "succeeded")) for value in (3, 4)]
        text = await prompt(client, "compare_runs", run_a=a["run_id"], run_b=b["run_id"])
    found = calls_in(text)
    assert [one["method"] for one in found] == ["run_result", "run_result", "explain_cache", "run_dag"]
    assert found[2]["other_run_id"] == a["run_id"]
    assert found[3]["dag_id"] == b["dag_id"]
    assert "value" in text
    assert "Cache keys of" in text


async def test_every_argument_but_the_goal_is_completed(lab):
    async with Client(build(lab)) as client:
        run_id = (await ended(client, passing(5), "succeeded"))["run_id"]
        listed = (await client.list_prompts()).prompts
        for one in listed:
            for argument in one.arguments or []:
                where = PromptReference(type="ref/prompt", name=one.name)
                values = (await client.complete(where, {"name": argument.name, "value": ""})).completion.values
                assert bool(values) == (argument.name != "goal"), argument.name
                if argument.name in ("job_id", "run_a", "run_b"):
                    assert run_id in values
