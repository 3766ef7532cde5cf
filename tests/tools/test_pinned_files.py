"""Files that nodes read: confined and pinned at submission, cached by content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from physlab_mcp.tools.router import Router

JOBS, RUNS = "distributed_collaboration", "experiment_orchestrator"


def spec(path: Any = "m.csv") -> dict[str, Any]:
    fit = {"x": {"$from": "imp", "key": "arrays.x"}, "y": {"$from": "imp", "key": "arrays.y"}, "emit_plots": False}
    return {
        "nodes": [
            {"id": "imp", "tool": "data", "method": "import", "params": {"path": path, "emit_plots": False}},
            {"id": "fit", "tool": "data", "method": "fit", "params": fit},
        ]
    }


def job(path: str) -> dict[str, Any]:
    node = {"tool": "data", "method": "import", "params": {"path": path, "emit_plots": False}}
    return {"method": "job_submit", "backend": "local", "job_spec": {"node": node}}


async def run(router: Router, **call: Any) -> tuple[float, list[bool]]:
    """The slope, and which of import and fit came from the cache."""
    reply = await router.call(RUNS, {"method": "run_dag", "wait_s": 25, **call})
    assert not reply.is_error, reply.text
    assert reply.structured["state"] == "succeeded", reply.text
    nodes = await router.bench.engine.nodes(reply.structured["run_id"], owner="local")
    by_id = {one.node_id: one for one in nodes}
    return by_id["fit"].result.values["parameters"]["slope"], [bool(by_id[name].cached) for name in ("imp", "fit")]


async def test_a_changed_file_gives_a_new_result_and_an_unchanged_one_the_cached(live: Router, tmp_path: Path):
    file = tmp_path / "m.csv"
    file.write_text("t,v\n0,0\n1,2\n2,4\n")
    assert await run(live, spec=spec()) == (pytest.approx(2), [False, False])
    assert await run(live, spec=spec()) == (pytest.approx(2), [True, True])
    defined = await live.call(RUNS, {"method": "define_dag", "spec": spec()})
    file.write_text("t,v\n0,0\n1,3\n2,6\n")
    again = await live.call(RUNS, {"method": "define_dag", "spec": spec()})
    assert again.structured["dag_id"] == defined.structured["dag_id"]
    assert await run(live, dag_id=again.structured["dag_id"]) == (pytest.approx(3), [False, False])
    file.write_text("t,v\n0,0\n1,2\n2,4\n")
    assert await run(live, spec=spec()) == (pytest.approx(2), [True, True])
    (tmp_path / "other.csv").write_text("t,v\n0,0\n1,5\n2,10\n")
    slope, _ = await run(live, spec=spec(), params={"imp": {"path": "other.csv"}})
    assert slope == pytest.approx(5)


async def test_a_file_that_is_gone_after_submission_does_not_matter(live: Router, tmp_path: Path):
    file = tmp_path / "m.csv"
    file.write_text("t,v\n0,0\n1,2\n2,4\n")
    reply = await live.call(JOBS, job("m.csv"))
    file.unlink()
    for _ in range(20):
        if reply.structured["state"] in {"succeeded", "failed"}:
            break
        last = {"since_seq": reply.structured["last_seq"]} if "last_seq" in reply.structured else {}
        ask = {"method": "job_status", "job_id": reply.structured["job_id"], "wait_s": 5, **last}
        reply = await live.call(JOBS, ask)
    assert reply.structured["state"] == "succeeded", reply.text


@pytest.mark.parametrize("path", ["/etc/passwd", "../m.csv", "data/physlab.db", "link.csv", "missing.csv", "folder"])
async def test_files_that_may_not_be_read_are_refused_and_nothing_is_stored(router: Router, tmp_path: Path, path: str):
    (tmp_path / "link.csv").symlink_to("/etc/passwd")
    (tmp_path / "folder").mkdir()
    error = (await router.call(RUNS, {"method": "run_dag", "spec": spec(path)})).structured["error"]
    assert error["code"] in {"forbidden", "invalid_request"}
    assert error["field"].endswith("imp.params.path") or error["field"] == "params.imp.path"
    error = (await router.call(JOBS, job(path))).structured["error"]
    assert (error["code"], error["field"]) == ("forbidden", "job_spec.node.params.path")
    engine = router.bench.engine
    assert not await engine.list_jobs(owner="local")
    assert not await engine.list_runs(owner="local")


async def test_a_path_that_only_an_override_names_is_confined_too(router: Router, tmp_path: Path):
    (tmp_path / "m.csv").write_text("1,2\n")
    call = {"method": "run_dag", "spec": spec(), "params": {"imp": {"path": "/etc/passwd"}}}
    error = (await router.call(RUNS, call)).structured["error"]
    assert (error["code"], error["field"]) == ("forbidden", "params.imp.path")


async def test_validation_refuses_a_path_outside_and_warns_of_one_that_is_not_there_yet(router: Router):
    told = (await router.call(RUNS, {"method": "validate_dag", "spec": spec("/etc/passwd")})).structured
    assert [(one["code"], one["field"]) for one in told["errors"]] == [("forbidden_path", "params.path")]
    told = (await router.call(RUNS, {"method": "validate_dag", "spec": spec("later.csv")})).structured
    assert told["ok"] is True
    assert ("missing_file", "params.path") in [(one["code"], one["field"]) for one in told["warnings"]]


@pytest.mark.parametrize(
    ("path", "space"),
    [("m.csv", {"imp.path": ["m.csv", "/etc/passwd"]}), ({"$point": "file"}, {"file": ["/etc/passwd"]})],
)
async def test_a_sweep_cannot_choose_a_file(router: Router, tmp_path: Path, path: Any, space: dict[str, Any]):
    (tmp_path / "m.csv").write_text("1,2\n")
    reply = await router.call(RUNS, {"method": "run_dag", "spec": spec(path), "sweep": {"space": space}})
    assert reply.is_error
    assert "cannot be swept" in reply.structured["error"]["message"]
