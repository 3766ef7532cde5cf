from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS

from physlab_mcp.engine.engine import Engine
from physlab_mcp.server import build
from physlab_mcp.server.subscriptions import uris_of
from physlab_mcp.tools.router import TOOLS

JOBS, RUNS = "distributed_collaboration", "experiment_orchestrator"
NODE = {"node": {"tool": "constants_get", "params": {"name": "R_inf"}}}
SPEC = {
    "nodes": [{"id": "p", "tool": "flow", "method": "passthrough", "params": {"value": 3}}],
    "metadata": {"title": "Three"},
}
ERAS = ["auto", "legacy"]


def sleeper(seconds: float) -> dict[str, Any]:
    return {"method": "job_submit", "backend": "local", "job_spec": {"command": ["sleep", str(seconds)]}}


@pytest.mark.parametrize("era", ERAS)
async def test_exactly_two_tools_are_listed_with_truthful_annotations(lab, era):
    async with Client(build(lab), mode=era) as client:
        tools = (await client.list_tools()).tools
    assert [tool.name for tool in tools] == list(TOOLS)
    for tool in tools:
        assert tool.input_schema == TOOLS[tool.name].schema
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is False
        assert tool.annotations.destructive_hint is True  # it cancels
        assert tool.annotations.idempotent_hint is False  # a submission submits again
        assert tool.annotations.open_world_hint is True  # commands reach what they reach


@pytest.mark.parametrize("era", ERAS)
async def test_an_experiment_from_spec_to_report(lab, era):
    heard: list[tuple[float, float | None]] = []

    async def hear(progress: float, total: float | None, _message: str | None) -> None:
        heard.append((progress, total))

    async with Client(build(lab), mode=era) as client:
        arguments = {"method": "run_dag", "spec": SPEC, "wait_s": 25, "session_id": "s1"}
        reply = await client.call_tool(RUNS, arguments, progress_callback=hear)
        body = reply.structured_content or {}
        assert body["state"] == "succeeded", reply
        assert body["nodes"][0]["values"] == {"value": 3}
        run_id = body["run_id"]
        report = await client.call_tool(RUNS, {"method": "publish_report", "run_id": run_id, "authors": ["A. B."]})
        pdf = (await client.read_resource(f"physlab://runs/{run_id}/report.pdf")).contents[0]
        run = (await client.read_resource(f"physlab://runs/{run_id}")).contents[0]
        png = (await client.read_resource(f"physlab://dags/{body['dag_id']}/overview.png")).contents[0]
        listed = await client.call_tool(RUNS, {"method": "run_list", "session_id": "s1"})
    assert heard == sorted(heard)
    assert len(heard) >= 2
    assert (report.structured_content or {})["pages"] >= 1
    assert (pdf.mime_type, png.mime_type, run.mime_type) == ("application/pdf", "image/png", "application/json")
    assert json.loads(run.text)["state"] == "succeeded"
    assert [row["run_id"] for row in (listed.structured_content or {})["rows"]] == [run_id]


async def test_the_newest_report_is_served_and_those_before_it_stay(lab):
    async with Client(build(lab)) as client:
        body = (await client.call_tool(RUNS, {"method": "run_dag", "spec": SPEC, "wait_s": 25})).structured_content
        run_id, made, served = body["run_id"], [], []
        for title in ("one", "two", "one", "one"):
            call = {"method": "publish_report", "run_id": run_id, "title": title}
            made.append((await client.call_tool(RUNS, call)).structured_content["sha256"].removeprefix("sha256:"))
            served.append((await client.read_resource(f"physlab://runs/{run_id}/report.pdf")).contents[0].blob)
        kept = [(await client.read_resource(f"physlab://artifacts/{one}")).contents[0].blob for one in made]
    assert made[0] == made[2] == made[3] != made[1]
    assert served == kept
    assert len(await lab.store.find("report", subject=run_id)) == 3


@pytest.mark.parametrize("era", ERAS)
async def test_a_command_leaves_log_files_and_artifacts_with_their_own_mime_type(lab, era):
    script = "echo hello; printf 'a,b\\n1,2\\n' > t.csv"
    arguments = {"method": "job_submit", "backend": "local", "artifacts": ["*.csv"], "wait_s": 25, "stream_logs": True}
    async with Client(build(lab), mode=era) as client:
        reply = await client.call_tool(JOBS, {**arguments, "job_spec": {"command": ["bash", "-c", script]}})
        body = reply.structured_content or {}
        assert body["state"] == "succeeded", reply
        assert "hello" in body["log_tail"]
        uri = body["returned_artifacts"][0]["uri"]
        assert uri in [str(one.uri) for one in reply.content if one.type == "resource_link"]
        csv = (await client.read_resource(uri)).contents[0]
        log = (await client.read_resource(body["log_stream_path"])).contents[0]
    assert (csv.mime_type, csv.text) == ("text/csv", "a,b\n1,2\n")
    assert "hello" in log.text


async def test_cancelling_stops_a_live_command_and_twice_is_fine(lab):
    async with Client(build(lab)) as client:
        job_id = (await client.call_tool(JOBS, sleeper(600))).structured_content["job_id"]
        states = []
        for _ in range(2):
            await client.call_tool(JOBS, {"method": "job_cancel", "job_id": job_id})
            status = await client.call_tool(JOBS, {"method": "job_status", "job_id": job_id, "wait_s": 20})
            states.append(status.structured_content["state"])
    assert states[-1] == "cancelled"


@pytest.mark.parametrize("era", ERAS)
async def test_unknown_resources_and_handles_are_errors_of_the_protocol(lab, era):
    async with Client(build(lab), mode=era) as client:
        for uri in ("physlab://jobs/job-00000000", "physlab://nothing/x", "physlab://artifacts/" + "0" * 64):
            with pytest.raises(MCPError):
                await client.read_resource(uri)


@pytest.mark.parametrize("era", ERAS)
async def test_an_unknown_tool_is_answered_with_our_error_that_names_the_nearest(lab, era):
    async with Client(build(lab), mode=era) as client:
        reply = await client.call_tool("distributed_colaboration", {"method": "job_list", "session_id": "s9"})
        by_method = await client.call_tool("run_status", {"run_id": "x"})
    assert reply.is_error
    assert by_method.is_error
    error = reply.structured_content["error"]
    assert error.keys() >= {"code", "message", "field", "got", "remedy", "example"}
    assert (error["code"], error["field"], error["got"]) == ("not_found", "name", "distributed_colaboration")
    assert f"Did you mean '{JOBS}'" in error["remedy"]
    assert error["example"]["name"] == JOBS
    assert error["remedy"] in reply.content[0].text
    assert f"method of the tool {RUNS}" in by_method.structured_content["error"]["remedy"]
    assert len(await lab.engine.store.find("call", subject="s9")) == 1


@pytest.mark.parametrize("era", ERAS)
async def test_an_unknown_prompt_is_an_error_that_names_the_prompts(lab, era):
    async with Client(build(lab), mode=era) as client:
        with pytest.raises(MCPError) as caught:
            await client.get_prompt("diagnose_failures", {})
    assert caught.value.error.code == INVALID_PARAMS
    for name in ("design_experiment", "diagnose_failure", "compare_runs", "Did you mean 'diagnose_failure'"):
        assert name in caught.value.error.message


async def test_legacy_names_work_though_they_are_not_listed(lab):
    async with Client(build(lab)) as client:
        reply = await client.call_tool("validate_dag", {"spec": SPEC})
    assert reply.structured_content["ok"] is True


async def _listening_client_hears_another_clients_change(lab, heard: anyio.Event) -> None:
    async with Client(build(lab)) as client:
        job_id = (await client.call_tool(JOBS, {"method": "job_submit", "backend": "local", "job_spec": NODE})
                  ).structured_content["job_id"]  # fmt: skip
        uri = f"physlab://jobs/{job_id}"
        async with client.listen(resource_subscriptions=[uri]) as stream:
            await lab.engine.store.append([_event(job_id)])
            lab.engine.feed.on_news(-1, -1)
            async for event in stream:
                assert event.uri == uri
                heard.set()
                break


def _event(job_id: str) -> Any:
    from physlab_mcp.schemas.event import Event

    return Event("progress", job_id, 1.0, {"fraction": 0.5})


async def test_subscriptions_of_the_2026_era_fire_on_changes_of_another_process(lab):
    heard = anyio.Event()
    with anyio.fail_after(30):
        await _listening_client_hears_another_clients_change(lab, heard)
    assert heard.is_set()


async def test_subscriptions_of_the_legacy_era_fire_on_changes_of_another_process(lab):
    updates: list[str] = []
    heard = anyio.Event()

    async def hear(message: Any) -> None:
        if getattr(message, "method", "") == "notifications/resources/updated":
            updates.append(str(message.params.uri))
            heard.set()

    async with Client(build(lab), mode="legacy", message_handler=hear) as client:
        assert client.server_capabilities.resources.subscribe is True
        submitted = await client.call_tool(JOBS, sleeper(600))
        job_id = submitted.structured_content["job_id"]
        uri = f"physlab://jobs/{job_id}"
        await client.session.subscribe_resource(uri)
        # Another client of the same data directory cancels it.
        await Engine.request(lab.engine, "cancel", job_id, owner="local")
        with anyio.fail_after(30):
            await heard.wait()
        await client.session.unsubscribe_resource(uri)
        with pytest.raises(MCPError):
            await client.session.subscribe_resource("physlab://jobs/job-00000000")
    assert set(updates) == {uri}


def test_events_name_the_resources_they_change():
    from physlab_mcp.schemas.event import Event

    assert uris_of(Event("state", "job-a", 0, run_id="run-b")) == ["physlab://jobs/job-a", "physlab://runs/run-b"]
    assert uris_of(Event("log", "job-a", 0)) == ["physlab://jobs/job-a/log"]
    assert uris_of(Event("run", "sweep-a", 0)) == ["physlab://runs/sweep-a"]


@pytest.mark.parametrize("era", ERAS)
async def test_prompts_and_completions(lab, era):
    async with Client(build(lab), mode=era) as client:
        names = [one.name for one in (await client.list_prompts()).prompts]
        job = await client.call_tool(JOBS, {"method": "job_submit", "backend": "local", "job_spec": NODE, "wait_s": 20})
        job_id = job.structured_content["job_id"]
        shown = await client.get_prompt("diagnose_failure", {"job_id": job_id})
        design = await client.get_prompt("design_experiment", {"goal": "How large is hydrogen?"})
        from mcp.types import PromptReference, ResourceTemplateReference

        ids = await client.complete(
            ResourceTemplateReference(type="ref/resource", uri="physlab://jobs/{job_id}"),
            {"name": "job_id", "value": job_id[:8]},
        )
        types = await client.complete(
            PromptReference(type="ref/prompt", name="design_experiment"), {"name": "node_type", "value": "quant"}
        )
        backends = await client.complete(
            PromptReference(type="ref/prompt", name="design_experiment"), {"name": "backend", "value": "l"}
        )
    assert names == ["design_experiment", "diagnose_failure", "compare_runs"]
    assert job_id in shown.messages[0].content.text
    assert "quantum.hydrogen_orbital" in design.messages[0].content.text
    assert job_id in ids.completion.values
    assert "quantum.hydrogen_orbital" in types.completion.values
    assert backends.completion.values == ["local"]


@pytest.mark.parametrize("era", ERAS)
async def test_resources_and_templates_are_listed(lab, era):
    async with Client(build(lab), mode=era) as client:
        templates = {one.uri_template for one in (await client.list_resource_templates()).resource_templates}
        resources = [str(one.uri) for one in (await client.list_resources()).resources]
        catalog = json.loads((await client.read_resource("physlab://catalog")).contents[0].text)
    assert templates >= {
        "physlab://jobs/{job_id}", "physlab://jobs/{job_id}/log", "physlab://runs/{run_id}",
        "physlab://runs/{run_id}/report.pdf", "physlab://artifacts/{sha256}", "physlab://dags/{dag_id}/overview.png",
    }  # fmt: skip
    assert resources == ["physlab://catalog"]
    assert "constants_get" in [one["type"] for one in catalog["node_types"]]
