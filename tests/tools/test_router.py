from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import anyio
import pytest

from physlab_mcp.errors import UnavailableError
from physlab_mcp.lab import Lab
from physlab_mcp.schemas import replies
from physlab_mcp.tools.call_log import redact
from physlab_mcp.tools.cursor import make_cursor, read_cursor
from physlab_mcp.tools.reply import Reply
from physlab_mcp.tools.router import Router

JOBS, RUNS = "distributed_collaboration", "experiment_orchestrator"
NODE = {"node": {"tool": "constants_get", "params": {"name": "R_inf"}}}
SUBMIT = {"method": "job_submit", "backend": "local", "job_spec": NODE}
SPEC = {"nodes": [{"id": "a", "tool": "constants_get", "params": {"name": "R_inf"}}]}
STATE = {"state", "reason", "done", "total", "progress", "eta_s", "poll_after_s", "next"}


def error_of(reply: Reply) -> dict[str, Any]:
    assert reply.is_error, reply.text
    error = reply.structured["error"]
    assert {"code", "message", "field", "got", "remedy", "example"} <= error.keys()
    assert error["code"] in reply.text
    assert "Traceback" not in reply.text
    return error


@pytest.mark.parametrize(
    ("tool", "arguments", "code", "field", "remedy"),
    [
        (JOBS, {}, "invalid_request", "method", "job_submit"),
        (JOBS, {"method": "job_sumbit"}, "invalid_request", "method", "Did you mean 'job_submit'"),
        (JOBS, {"method": "run_dag"}, "invalid_request", "method", RUNS),
        (JOBS, {"method": 7}, "invalid_request", "method", "Methods:"),
        (JOBS, {"method": "job_status"}, "invalid_request", "job_id", "Add"),
        (JOBS, {"method": "job_status", "job_id": "x", "wait_s": 99}, "invalid_request", "wait_s", "25"),
        (JOBS, {"method": "job_status", "job": "x"}, "invalid_request", "job_id", "Add"),
        (JOBS, {"method": "job_status", "job_id": "job-unknown00"}, "not_found", "job_id", "job_list"),
        (JOBS, {**SUBMIT, "backend": "slurm"}, "invalid_request", "backend", "local"),
        (JOBS, {**SUBMIT, "prority": 1}, "invalid_request", "prority", "'priority'"),
        (JOBS, {**SUBMIT, "job_spec": {"comand": ["x"]}}, "invalid_request", "job_spec.comand", "'command'"),
        (JOBS, {**SUBMIT, "job_spec": {}}, "invalid_request", "job_spec", "exactly one"),
        (JOBS, {**SUBMIT, "job_spec": {"command": ["x"], "resources": {"memory": "big"}}},
         "invalid_request", "job_spec.resources.memory", "4Gi"),
        (JOBS, {**SUBMIT, "job_spec": {"command": ["x"], "workdir": "/etc"}}, "forbidden", "job_spec.workdir", "--root"),
        (JOBS, {**SUBMIT, "job_spec": {"command": ["x"]}, "artifacts": ["../*"]}, "invalid_request", "artifacts.0", ".."),
        (JOBS, {**SUBMIT, "job_spec": {"node": {"tool": "constants_gt"}}}, "invalid_request", "job_spec.node.tool", "constants_get"),
        (JOBS, {"method": "job_list", "cursor": "nonsense"}, "invalid_request", "cursor", "next_cursor"),
        (JOBS, {"method": "job_list", "since": "yesterday"}, "invalid_request", "since", "2h"),
        (JOBS, {"method": "artifact", "sha256": "0" * 64}, "not_found", "sha256", "again"),
        (RUNS, {"method": "validate_dag"}, "invalid_request", "dag_id", "exactly one"),
        (RUNS, {"method": "run_dag", "dag_id": "dag-unknown00"}, "not_found", "dag_id", "define_dag"),
        (RUNS, {"method": "run_status", "run_id": "job-12345678"}, "invalid_request", "run_id", JOBS),
        (RUNS, {"method": "run_dag", "spec": SPEC, "params": {"b": {"x": 1}}}, "invalid_request", "params.b", "a"),
        (RUNS, {"method": "run_dag", "spec": SPEC, "sweep": {"space": {"a.nme": [1]}}},
         "invalid_request", "sweep.space.a.nme", "a.name"),
        (RUNS, {"method": "catalog", "tool": "quantum", "node_method": "hydrogn_orbital"},
         "invalid_request", "node_method", "hydrogen_orbital"),
        ("no_such_tool", {}, "not_found", "name", JOBS),
        ("experiment_orchestrater", {}, "not_found", "name", f"Did you mean '{RUNS}'"),
        ("run_status", {}, "not_found", "name", f"run_status is a method of the tool {RUNS}"),
        ("job_submt", {}, "not_found", "name", f"job_submit is a method of the tool {JOBS}"),
        ("x" * 5000, {"method": "run_list"}, "not_found", "name", f"run_list is a method of the tool {RUNS}"),
    ],
)  # fmt: skip
async def test_a_wrong_call_says_where_what_came_and_how_to_mend_it(router, tool, arguments, code, field, remedy):
    error = error_of(await router.call(tool, arguments))
    assert (error["code"], error["field"]) == (code, field)
    assert remedy in json.dumps([error["remedy"], error["message"]])
    assert await router.bench.engine.list_jobs(owner="local") == []


async def test_every_defect_of_a_spec_is_listed_at_once(router):
    spec = {"nodes": [{"id": "a", "tool": "nope"}, {"id": "b", "tool": "constants_get", "params": {"nam": 1}}]}
    error = error_of(await router.call(RUNS, {"method": "define_dag", "spec": spec}))
    assert {one["node"] for one in error["details"]} == {"a", "b"}
    reply = await router.call(RUNS, {"method": "validate_dag", "spec": spec})
    assert not reply.is_error
    assert reply.structured["ok"] is False
    assert all(one.keys() == {"code", "node", "field", "message", "remedy"} for one in reply.structured["errors"])


async def test_a_submission_answers_with_state_and_a_next_call_that_works(router):
    reply = await router.call(JOBS, SUBMIT)
    body = reply.structured
    assert body.keys() >= STATE | {"job_id", "backend", "log_stream_path", "meta"}
    replies.JobReply(**body)
    following = await router.call(JOBS, {**body["next"], "wait_s": 0})
    assert following.structured["job_id"] == body["job_id"]
    replies.StatusReply(**following.structured)


async def test_the_same_idempotency_key_gives_the_same_job(router):
    first = await router.call(JOBS, {**SUBMIT, "idempotency_key": "k"})
    second = await router.call(JOBS, {**SUBMIT, "idempotency_key": "k"})
    assert first.structured["job_id"] == second.structured["job_id"]


async def test_another_principals_job_answers_as_if_unknown(router):
    job_id = (await router.call(JOBS, SUBMIT, principal="ann")).structured["job_id"]
    theirs = error_of(await router.call(JOBS, {"method": "job_status", "job_id": job_id}, principal="bob"))
    unknown = error_of(await router.call(JOBS, {"method": "job_status", "job_id": "job-unknown00"}, principal="bob"))
    assert theirs["code"] == unknown["code"] == "not_found"
    assert theirs["message"].replace(job_id, "") == unknown["message"].replace("job-unknown00", "")


async def test_a_result_asked_too_early_is_a_conflict_with_poll_after_s(router):
    job_id = (await router.call(JOBS, SUBMIT)).structured["job_id"]
    error = error_of(await router.call(JOBS, {"method": "job_result", "job_id": job_id}))
    assert error["code"] == "conflict"
    assert error["details"][0]["poll_after_s"] > 0


async def test_lists_page_with_opaque_cursors_and_reach_every_row_once(router):
    made = {(await router.call(JOBS, SUBMIT)).structured["job_id"] for _ in range(7)}
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        body = (await router.call(JOBS, {"method": "job_list", "limit": 3, **cursor})).structured
        seen += [row["job_id"] for row in body["rows"]]
        if "next_cursor" not in body:
            break
        cursor = {"cursor": body["next_cursor"]}
    assert sorted(seen) == sorted(made)


def test_a_cursor_of_one_method_is_refused_by_another():
    with pytest.raises(Exception, match="not a cursor of run_list"):
        read_cursor("run_list", make_cursor("job_list", 3))


async def test_legacy_names_work_without_method(router):
    reply = await router.call("job_submit", {"backend": "local", "job_spec": NODE})
    assert reply.structured["job_id"].startswith("job-")
    reply = await router.call("define_dag", {"spec": SPEC})
    assert reply.structured["validated"] is True
    error_of(await router.call("job_cancel", {}))


async def test_every_call_is_recorded_in_its_session_without_secrets(router):
    spec = {"command": ["true"], "env": {"PASSPHRASE": "hunter2", "PLAIN": "also hidden"}}
    arguments = {"method": "job_submit", "backend": "local", "job_spec": spec, "session_id": "mine"}
    reply = await router.call(JOBS, arguments, session_id="connection")
    await router.call(JOBS, {"method": "job_status", "job_id": "job-unknown00"}, session_id="connection")
    mine = await router.bench.engine.store.find("call", subject="mine")
    other = await router.bench.engine.store.find("call", subject="connection")
    assert [one[2]["handle"] for one in mine] == [reply.structured["job_id"]]
    assert [one[2]["error"] for one in other] == ["not_found"]
    kept = mine[0][2]
    assert kept.keys() >= {"method", "arguments", "arguments_sha256", "handle", "principal", "at"}
    assert "hunter2" not in json.dumps(kept)
    assert "also hidden" not in json.dumps(kept)


def test_redaction_hides_whatever_is_named_like_a_secret():
    shown = redact({"api_key": "s1", "deep": [{"Authorization": "s2"}], "env": {"A": "s3"}, "plain": 1})
    assert "s1" not in str(shown)
    assert "s2" not in str(shown)
    assert "s3" not in str(shown)
    assert shown["plain"] == 1


async def test_an_unexpected_failure_is_logged_and_answers_without_a_traceback(router, monkeypatch, caplog):
    async def fail(*_arguments: object, **_named: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(router.bench.engine.store, "find_jobs", fail)
    error = error_of(await router.call(JOBS, {"method": "job_list"}))
    assert error["code"] == UnavailableError.code
    assert "secret detail" not in json.dumps(error)
    assert "secret detail" in caplog.text


async def test_commands_can_be_switched_off(lab, tmp_path: Path):
    strict = Router(
        engine=lab.engine, registry=lab.registry, blobs=lab.blobs, roots=[tmp_path], policies={"local": "deny"}
    )
    command = {**SUBMIT, "job_spec": {"command": ["true"]}}
    assert error_of(await strict.call(JOBS, command))["code"] == "rejected"
    spec = {"nodes": [{"id": "c", "tool": "command", "params": {"command": ["true"]}}]}
    assert error_of(await strict.call(RUNS, {"method": "run_dag", "spec": spec}))["code"] == "rejected"
    assert not (await strict.call(JOBS, SUBMIT)).is_error


@pytest.mark.parametrize("where", ["workdir", "inputs"])
async def test_command_nodes_of_a_dag_keep_to_the_allowed_roots(router, where):
    params = {
        "command": ["true"],
        where: "/etc" if where == "workdir" else [{"source": "/etc/hostname", "target": "x"}],
    }
    spec = {"nodes": [{"id": "c", "tool": "command", "params": params}]}
    error = error_of(await router.call(RUNS, {"method": "run_dag", "spec": spec}))
    assert error["code"] == "forbidden"
    harmless = {"nodes": [{"id": "c", "tool": "command", "params": {"command": ["true"]}}]}
    swept = {"method": "run_dag", "spec": harmless, "sweep": {"space": {"c.workdir": ["/etc"]}}}
    assert error_of(await router.call(RUNS, swept))["field"] == "sweep.space.c.workdir"


async def test_concise_replies_stay_small(router):
    for _ in range(60):
        await router.call(JOBS, {**SUBMIT, "name": "n" * 200})
    reply = await router.call(JOBS, {"method": "job_list", "limit": 200})
    assert len(reply.text) <= 7200
    assert len(json.dumps(reply.structured)) < 12_000
    assert "next_cursor" in reply.structured
    catalog = await router.call(RUNS, {"method": "catalog", "limit": 200})
    assert len(catalog.text) <= 7200


async def test_an_image_is_scaled_down_until_it_fits(lab, router):
    import io

    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 255, (600, 800, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG")
    ref = lab.blobs.put(out.getvalue(), name="noise.png", media_type="image/png")
    reply = await router.call(JOBS, {"method": "artifact", "sha256": ref.sha256, "max_kb": 64})
    assert reply.structured["as"] == "image"
    assert len(reply.pictures[0].data) <= 64 * 1024


async def test_a_csv_is_shown_as_a_cut_table(lab, router):
    text = "x,y\n" + "".join(f"{i},{i * i}\n" for i in range(1000))
    ref = lab.blobs.put(text.encode(), name="t.csv", media_type="text/csv")
    body = (await router.call(JOBS, {"method": "artifact", "sha256": f"sha256:{ref.sha256}"})).structured
    assert (body["columns"], body["total_rows"], body["cut"]) == (["x", "y"], 1000, True)


def both(reply: Reply) -> int:
    """Characters of object and text together."""
    return len(json.dumps(reply.structured, ensure_ascii=False, separators=(",", ":"))) + len(reply.text)


async def result_of_run(router: Router, spec: dict[str, Any], **more: Any) -> Reply:
    """The reply of a run that has ended, at the latest after two minutes."""
    call = {"method": "run_dag", "spec": spec, "wait_s": 25, "idempotency_key": secrets.token_hex(8), **more}
    reply = await router.call(RUNS, call)
    for _ in range(4):
        if reply.structured["state"] in ("pending", "running"):
            reply = await router.call(RUNS, call)  # the same key: the same run
    assert reply.structured["state"] == "succeeded", reply.text
    return reply


def writing(count: int) -> dict[str, Any]:
    script = f"mkdir -p artifacts; for i in $(seq {count}); do echo $i > artifacts/a_file_$i.csv; done"
    return {"tool": "command", "params": {"command": ["sh", "-c", script]}}


async def test_a_run_with_many_files_answers_shortly_and_says_what_is_left_out(live):
    reply = await result_of_run(live, {"nodes": [{"id": "c", **writing(120)}]})
    body = reply.structured
    replies.RunReply(**body)
    assert both(reply) < 8_000
    assert len(body["artifacts"]) == 8
    assert body["meta"]["more_artifacts"] == 112
    assert "112 more" in body["truncated"][0]
    assert "112 more" in reply.text
    assert len(reply.links) <= 12
    named = {one["sha256"].removeprefix("sha256:") for one in body["artifacts"]}
    assert named <= {link.uri.rpartition("/")[2] for link in reply.links}
    job = {"method": "job_result", "job_id": body["nodes"][0]["job_id"]}
    assert both(await live.call(JOBS, job)) < 8_000
    assert len((await live.call(JOBS, {**job, "response_format": "detailed"})).structured["artifacts"]) == 120


async def test_pages_of_a_run_with_figures_stay_small_and_reach_every_node(live):
    node = {"tool": "quantum", "method": "hydrogen_orbital", "visual_outputs": {"static": True}}
    nodes = [{"id": f"o{n}", **node, "params": {"n": n, "l": 0, "m": 0, "grid_points": 17}} for n in (1, 2, 3, 4)]
    reply = await result_of_run(live, {"nodes": nodes})
    run_id, seen = reply.structured["run_id"], []
    call: dict[str, Any] = {"method": "run_result", "run_id": run_id}
    while True:
        reply = await live.call(RUNS, call)
        assert both(reply) < 8_500
        assert "characters left out" not in reply.text
        seen += [row["node_id"] for row in reply.structured["nodes"]]
        for row in reply.structured["nodes"]:
            assert all(len({"png", "svg", "csv_path", "mp4_path"} & one.keys()) == 1 for one in row["figures"])
        if "next_cursor" not in reply.structured:
            break
        call = reply.structured["next"]
    assert sorted(seen) == ["o1", "o2", "o3", "o4"]
    detailed = await live.call(RUNS, {"method": "run_result", "run_id": run_id, "response_format": "detailed"})
    rows = detailed.structured["nodes"]
    assert len(rows) == 4
    pictures = [len(one["png_b64"]) for row in rows for one in row["figures"] if "png_b64" in one]
    assert pictures
    assert sum(pictures) <= 400_000


async def test_a_sweeps_table_shows_whole_values_and_counts_its_points(live):
    node = {"id": "c", "tool": "flow", "method": "passthrough", "params": {"value": 1}}
    sweep = {"space": {"c.value": {"linspace": [0, 1, 7]}}}
    reply = await result_of_run(live, {"nodes": [node]}, sweep=sweep)
    assert "7 of 7" in reply.text
    assert reply.structured["meta"]["points"] == {"done": 7, "total": 7}
    assert "c.value=0.5 " in reply.text
    assert "left out" not in reply.text


async def test_explain_cache_tells_differences_first_and_knows_its_nodes(live):
    def spec(value: int) -> dict[str, Any]:
        node = {"tool": "flow", "method": "passthrough"}
        return {"nodes": [{"id": f"n{i:03}", **node, "params": {"value": i}} for i in range(60)]
                + [{"id": "z", **node, "params": {"value": value}}]}  # fmt: skip

    first = (await result_of_run(live, spec(1000))).structured["run_id"]
    second = (await result_of_run(live, spec(2000))).structured["run_id"]
    call = {"method": "explain_cache", "run_id": second, "other_run_id": first}
    reply = await live.call(RUNS, call)
    assert reply.structured["nodes"][0]["node"] == "z"
    assert reply.structured["counts"] == {"different": 1, "equal": 60, "not_compared": 0}
    replies.CacheReply(**reply.structured)
    assert both(reply) < 8_000
    assert "more of 61 nodes" in reply.text
    assert "{'" not in reply.text
    error = error_of(await live.call(RUNS, {**call, "node_id": "n00"}))
    assert (error["code"], error["field"]) == ("not_found", "node_id")
    assert "Nearest: n0" in error["remedy"]
    unknown = error_of(await live.call(RUNS, {**call, "other_run_id": "run-unknown00"}))
    assert unknown["field"] == "other_run_id"


async def test_an_error_names_the_callers_own_parameter_and_its_example_is_a_valid_call(router):
    error = error_of(await router.call(RUNS, {"method": "run_status", "run_id": "run-unknown00"}))
    assert error["field"] == "run_id"
    run_id = (await router.call(RUNS, {"method": "run_dag", "spec": SPEC})).structured["run_id"]
    error = error_of(await router.call(RUNS, {"method": "run_status", "run_id": run_id, "cursor": "x"}))
    assert error["field"] == "cursor"
    assert error["example"].keys() >= {"method", "run_id"}


async def test_a_defect_in_the_text_names_its_node(router):
    spec = {"nodes": [{"id": "c", "tool": "constants_get", "params": {"name": "R_inf", "zz": 1}}]}
    assert "node c: params.zz: " in (await router.call(RUNS, {"method": "define_dag", "spec": spec})).text
    assert "node c: params.zz: " in (await router.call(RUNS, {"method": "validate_dag", "spec": spec})).text


async def test_next_of_a_checked_dag_names_it_instead_of_repeating_it(router):
    dag_id = (await router.call(RUNS, {"method": "define_dag", "spec": SPEC})).structured["dag_id"]
    stored = (await router.call(RUNS, {"method": "validate_dag", "dag_id": dag_id})).structured
    assert stored["next"]["dag_id"] == dag_id
    assert "next" not in (await router.call(RUNS, {"method": "validate_dag", "spec": SPEC})).structured


async def test_an_unknown_tool_is_answered_with_the_nearest_names(router):
    reply = await router.call(RUNS, {"method": "catalog", "tool": "constant_get"})
    replies.CatalogReply(**reply.structured)
    assert "constants_get" in reply.structured["nearest"]
    assert "constants_get" in reply.text


@pytest.mark.parametrize("data", [b"<svg>" + b'<path d="M 0 1"/>' * 2000, b"\x01\x02" * 5000, "é".encode() * 9000])
async def test_a_long_text_is_cut_to_a_concise_reply(lab, router, data):
    ref = lab.blobs.put(data, name="a.svg", media_type="image/svg+xml")
    reply = await router.call(JOBS, {"method": "artifact", "sha256": ref.sha256, "max_kb": 64, "as": "text"})
    assert both(reply) < 8_500
    assert reply.structured["cut"] is True


async def test_a_wide_table_is_cut_to_a_concise_reply(lab, router):
    text = "\n".join(",".join(f"column {i} {j}" for j in range(400)) for i in range(100))
    ref = lab.blobs.put(text.encode(), name="t.csv", media_type="text/csv")
    reply = await router.call(JOBS, {"method": "artifact", "sha256": ref.sha256, "max_kb": 64})
    assert reply.structured["cut"] is True
    assert both(reply) < 8_500


async def test_who_waits_without_counting_is_answered_at_the_next_change_not_in_a_circle(router: Router, lab: Lab):
    spec = {"nodes": [{"id": "a", "tool": "constants_get", "params": {"name": "c"}}]}
    run = (await router.call(RUNS, {"method": "run_dag", "spec": spec})).structured["run_id"]
    ask = {"method": "run_status", "run_id": run}
    assert (await router.call(RUNS, ask)).structured["events"]  # nobody waits: everything so far
    with anyio.fail_after(30):
        started = anyio.current_time()
        answer = await router.call(RUNS, {**ask, "wait_s": 0.3})
        assert answer.structured["events"] == []  # no engine runs: nothing changed
        assert anyio.current_time() - started >= 0.29
        counted = await router.call(RUNS, {**ask, "wait_s": 20, "since_seq": 0})
        assert counted.structured["events"]  # who counts is told at once what is new to him
        replies: list[dict[str, Any]] = []

        waiting = anyio.Event()

        async def told(*_progress: Any) -> None:
            waiting.set()

        async def wait() -> None:
            replies.append((await router.call(RUNS, {**ask, "wait_s": 20}, notify=told)).structured)

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await waiting.wait()
            await lab.engine.request("cancel", run, owner="local")
    assert [event["kind"] for event in replies[0]["events"]] == ["request"]
