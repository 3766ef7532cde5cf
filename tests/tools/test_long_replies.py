"""Replies about very much: small, honest about what they leave out, and everything can be reached."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from physlab_mcp.schemas import replies
from physlab_mcp.tools.reply import Reply
from physlab_mcp.tools.router import Router

JOBS, RUNS = "distributed_collaboration", "experiment_orchestrator"
CONCISE = 8_000  # characters, about 2,000 tokens
DETAILED = 62_000


def both(reply: Reply) -> int:
    """Characters of object and text together."""
    return len(json.dumps(reply.structured, ensure_ascii=False, separators=(",", ":"))) + len(reply.text)


async def run_of(live: Router, count: int) -> str:
    nodes = [
        {"id": f"node_{i:04}", "tool": "flow", "method": "passthrough", "params": {"value": i}} for i in range(count)
    ]
    reply = await live.call(RUNS, {"method": "run_dag", "spec": {"nodes": nodes}, "wait_s": 25})
    run_id = reply.structured["run_id"]
    while reply.structured["state"] != "succeeded":
        assert reply.structured["state"] in ("pending", "running"), reply.text
        reply = await live.call(RUNS, {"method": "run_status", "run_id": run_id, "wait_s": 25})
    return run_id


async def pages(live: Router, call: dict[str, Any], most: int) -> list[str]:
    """The nodes of all pages, each of which is small."""
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        reply = await live.call(RUNS, {**call, **cursor})
        assert not reply.is_error, reply.text
        replies.CacheReply(**reply.structured)
        assert both(reply) < most
        assert "characters left out" not in reply.text
        seen += [row["node"] for row in reply.structured["nodes"]]
        if "next_cursor" not in reply.structured:
            return seen
        assert repr(reply.structured["next_cursor"]) in reply.text
        cursor = {"cursor": reply.structured["next_cursor"]}


async def test_explain_cache_of_a_thousand_nodes_answers_in_small_pages_that_reach_every_node(live):
    with anyio.fail_after(240):
        first, second = await run_of(live, 1000), await run_of(live, 1000)
    call = {"method": "explain_cache", "run_id": second, "limit": 200}
    expected = [f"node_{i:04}" for i in range(1000)]
    assert await pages(live, call, CONCISE) == expected
    detailed = {**call, "other_run_id": first, "response_format": "detailed"}
    assert await pages(live, detailed, DETAILED) == expected
    short = await live.call(RUNS, {"method": "explain_cache", "run_id": second, "limit": 3})
    assert len(short.structured["nodes"]) == 3
    assert short.structured["total"] == 1000
    assert "997 more of 1000 nodes" in short.text


async def test_a_cursor_of_another_method_is_refused_by_explain_cache(router):
    spec = {"nodes": [{"id": "a", "tool": "constants_get", "params": {"name": "R_inf"}}]}
    run_id = (await router.call(RUNS, {"method": "run_dag", "spec": spec})).structured["run_id"]
    reply = await router.call(RUNS, {"method": "explain_cache", "run_id": run_id, "cursor": "nonsense"})
    assert reply.structured["error"]["field"] == "cursor"


def defective(count: int) -> dict[str, Any]:
    return {"nodes": [{"id": f"n{i:03}", "tool": "constants_get", "params": {"nam": i}} for i in range(count)]}


@pytest.mark.parametrize("method", ["define_dag", "run_dag"])
async def test_an_error_lists_the_first_defects_and_counts_the_others(router, method):
    reply = await router.call(RUNS, {"method": method, "spec": defective(300)})
    details = reply.structured["error"]["details"]
    *shown, rest = details
    assert 5 <= len(shown) <= 15
    assert all(one.keys() == {"code", "node", "field", "message", "remedy"} for one in details)
    left = int(rest["message"].split()[0])
    whole = await router.call(RUNS, {"method": "validate_dag", "spec": defective(300)})
    assert f"The DAG has {left + len(shown)} errors" in whole.text
    assert rest["code"] == "left_out"
    assert rest["remedy"] == "Mend these, then validate again."
    assert rest["message"] in reply.text
    assert rest["remedy"] in reply.text
    assert both(reply) < CONCISE + 500


async def test_a_few_defects_are_all_listed(router):
    reply = await router.call(RUNS, {"method": "define_dag", "spec": defective(2)})
    details = reply.structured["error"]["details"]
    assert {one["node"] for one in details} == {"n000", "n001"}
    assert "left_out" not in [one["code"] for one in details]


async def test_a_call_with_very_many_wrong_values_lists_the_first(router):
    spec = {"command": ["true"], "inputs": [{"source": "", "target": ""}] * 900}
    reply = await router.call(JOBS, {"method": "job_submit", "backend": "local", "job_spec": spec})
    *shown, rest = reply.structured["error"]["details"]
    assert 5 <= len(shown) <= 15
    assert rest["message"] == f"{1800 - len(shown)} more are not listed."
    assert rest["remedy"] == "Mend these, then try again."
    assert both(reply) < CONCISE + 500


async def test_validate_dag_lists_few_defects_concisely_and_many_in_detail(router):
    call = {"method": "validate_dag", "spec": defective(60)}
    concise = await router.call(RUNS, call)
    replies.ValidationReply(**concise.structured)
    shown = len(concise.structured["errors"])
    assert 5 <= shown <= 15
    (cut,) = concise.structured["truncated"]
    assert "mend these, then validate again" in cut
    assert cut in concise.text
    assert both(concise) < CONCISE
    detailed = await router.call(RUNS, {**call, "response_format": "detailed"})
    errors = detailed.structured["errors"]
    assert {one["node"] for one in errors} == {f"n{i:03}" for i in range(60)}
    assert cut.startswith(f"errors ({len(errors) - shown} more")
    assert both(detailed) < DETAILED
    capped = await router.call(RUNS, {**call, "spec": defective(3000), "response_format": "detailed"})
    assert both(capped) < DETAILED
    assert "more; mend these" in capped.structured["truncated"][0]


async def log_of(live: Router, script: str) -> str:
    """The job that wrote it."""
    call = {"method": "job_submit", "backend": "local", "job_spec": {"command": ["sh", "-c", script]}, "wait_s": 25}
    body = (await live.call(JOBS, call)).structured
    assert body["state"] == "succeeded", body
    return body["job_id"]


@pytest.mark.parametrize("form", ["concise", "detailed"])
async def test_a_long_log_comes_in_pieces_whose_texts_join_to_the_whole(live, form):
    job_id = await log_of(live, "for i in $(seq 3000); do echo line $i; done")
    call: dict[str, Any] = {"method": "job_logs", "job_id": job_id, "response_format": form}
    text = ""
    while True:
        reply = await live.call(JOBS, call)
        body = reply.structured
        replies.LogsReply(**body)
        assert both(reply) < (CONCISE if form == "concise" else DETAILED)
        text += body["text"]
        assert body["next_offset"] == len(text)
        assert f"to byte {len(text)}" in reply.text
        if form == "detailed":
            assert body["text"].rstrip("\n") in reply.text
        else:
            last = body["text"].splitlines()[-20:]
            assert "\n".join(last) in reply.text
            assert body["text"].splitlines()[-21] not in reply.text.splitlines()
        if body["eof"]:
            break
        call = body["next"] | {"response_format": form}
        assert body["next"].get("response_format", "concise") == form
    assert text == "".join(f"line {i}\n" for i in range(1, 3001))


async def test_a_short_log_stands_whole_in_the_text(live):
    job_id = await log_of(live, "echo one; echo two")
    reply = await live.call(JOBS, {"method": "job_logs", "job_id": job_id})
    assert reply.structured["text"] == "one\ntwo\n"
    assert reply.structured["eof"] is True
    assert reply.text == f"stdout of {job_id}, from byte 0 to byte 8, its end:\none\ntwo"
    nothing = await live.call(JOBS, {"method": "job_logs", "job_id": job_id, "stream": "stderr"})
    assert nothing.text == f"stderr of {job_id} has nothing after byte 0."


async def test_a_tail_ends_at_the_end_and_says_when_lines_of_it_are_missing(live):
    job_id = await log_of(live, "for i in $(seq 3000); do echo line $i; done")
    call = {"method": "job_logs", "job_id": job_id, "tail": 50}
    body = (await live.call(JOBS, call)).structured
    assert body["text"].splitlines() == [f"line {i}" for i in range(2951, 3001)]
    assert body["eof"] is True
    assert "truncated" not in body
    body = (await live.call(JOBS, {**call, "tail": 2000})).structured
    assert body["text"].endswith("line 3000\n")
    assert body["eof"] is True
    assert "truncated" in body


async def test_a_log_of_control_characters_and_one_endless_line_stays_small(live):
    job_id = await log_of(live, "head -c 20000 /dev/zero; head -c 20000 /dev/zero | tr '\\0' x >&2")
    for stream in ("stdout", "stderr"):
        reply = await live.call(JOBS, {"method": "job_logs", "job_id": job_id, "stream": stream})
        assert both(reply) < CONCISE
        assert reply.structured["text"]
        assert reply.structured["next_offset"] == len(reply.structured["text"])
