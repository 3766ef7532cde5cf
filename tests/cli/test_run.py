"""`physlab run`, `physlab jobs …` and `physlab report` on real runs."""

import signal
import subprocess
import time
from pathlib import Path

import pytest
from small_graphs import CONSTANT, SLEEP


@pytest.fixture(scope="module")
def done(shared):
    shared.write("constant.json", CONSTANT)
    return shared("--json", "run", "constant.json").json


def test_a_run_leaves_values_and_report(done):
    assert done["state"] == "succeeded"
    assert done["nodes"][0]["values"]["value"] == pytest.approx(10973731.568, rel=1e-9)
    assert Path(done["report"]).is_file()


def test_a_graph_is_read_from_stdin(shared, done):
    del done
    import json

    assert shared("--json", "run", "-", stdin=json.dumps(CONSTANT)).json["nodes"][0]["cached"]


def test_a_detached_run_is_waited_for_shown_and_reported(shared, done):
    del done
    run_id = shared("--json", "run", "constant.json", "--detach").json["run_id"]
    assert "succeeded" in shared("jobs", "wait", run_id).out
    shown = shared("jobs", "show", run_id)
    assert "constants_get" in shown.out
    assert f"physlab report {run_id}" in shown.out
    body = shared("--json", "report", run_id, "--title", "Mine", "--author", "A. Physicist", "--out", "mine").json
    assert body["report"] == str(shared.folder / "mine" / "report.pdf")


def test_a_job_of_a_run_is_shown_with_its_result(shared, done):
    job_id = done["nodes"][0]["job_id"]
    assert shared("--json", "jobs", "show", job_id).json["result"]["values"]["exact"] is False
    assert job_id in shared("jobs", "list", "--all").out


def test_the_list_has_runs_newest_first(shared, done):
    rows = shared("--json", "jobs", "list").json["jobs"]
    assert done["run_id"] in [row["id"] for row in rows]
    assert [row["created_at"] for row in rows] == sorted((row["created_at"] for row in rows), reverse=True)


def test_references_beside_the_file_are_cited(shared, done):
    del done
    shared.write("cited.json", CONSTANT)
    shared.write("cited.bib", "@misc{broken")
    answer = shared("run", "cited.json", code=1)
    assert "bib[0]" in answer.err


def test_every_defect_of_a_graph_is_told(shared):
    name = shared.write("bad.json", {"nodes": [
        {"id": "a", "tool": "constant_get", "params": {"name": "h"}},
        {"id": "b", "tool": "constants_get", "params": {"nam": "h"}},
    ]})  # fmt: skip
    answer = shared("run", name, code=1)
    assert "constants_get" in answer.err
    assert "- b" in answer.err


def test_a_node_that_fails_is_told_with_the_way_out(shared):
    name = shared.write(
        "fails.json",
        {"nodes": [{"id": "u", "tool": "plot", "method": "function_2d", "params": {"f": "sqrt(-1 - x**2)"}}]},
    )
    answer = shared("run", name, code=1)
    assert "- u" in answer.err
    assert "has no finite value" in answer.out + answer.err
    assert "jobs logs" in answer.out


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_file_that_is_no_object_is_told(shared, text):
    assert "bad2.json" in shared("run", shared.write("bad2.json", text), code=1).err


def test_a_missing_file_is_told(shared):
    assert "none.json" in shared("run", "none.json", code=1).err


def test_an_unknown_handle_is_told_as_json_too(shared):
    answer = shared("--json", "jobs", "show", "job-00000000000000000000", code=1)
    assert answer.json["error"]["code"] == "not_found"
    assert "Error (not_found)" in answer.err


def test_a_live_run_is_cancelled_and_its_state_is_the_exit_code(physlab):
    run_id = physlab("--json", "run", physlab.write("long.json", SLEEP), "--detach").json["run_id"]
    physlab("jobs", "cancel", run_id)
    assert "cancelled" in physlab("jobs", "wait", run_id, code=1).out
    physlab("jobs", "cancel", run_id)
    assert "conflict" in physlab("jobs", "pause", run_id, code=1).err


def test_a_paused_run_is_told_as_paused_and_an_empty_list_names_its_state(physlab):
    run_id = physlab("--json", "run", physlab.write("long.json", SLEEP), "--detach").json["run_id"]
    until = time.monotonic() + 30
    while physlab("--json", "jobs", "show", run_id).json["state"] != "running" and time.monotonic() < until:
        time.sleep(0.1)
    assert "it is paused" in physlab("jobs", "pause", run_id).out
    assert "it is running" in physlab("jobs", "resume", run_id).out
    assert "Nothing is held." in physlab("jobs", "list", "--state", "held").out
    physlab("jobs", "cancel", run_id)


def test_waiting_ends_at_its_time_out_and_the_run_goes_on(physlab):
    run_id = physlab("--json", "run", physlab.write("long.json", SLEEP), "--detach").json["run_id"]
    assert "It goes on" in physlab("jobs", "wait", run_id, "--timeout", "0.2", code=1).err
    assert physlab("--json", "jobs", "show", run_id).json["state"] in ("pending", "running")
    physlab("jobs", "cancel", run_id)


def test_an_interrupted_run_leaves_its_id_as_json(physlab):
    import json
    import time

    name = physlab.write("long.json", SLEEP)
    with subprocess.Popen(
        physlab.command("--json", "run", name), cwd=physlab.folder, env=physlab.environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 60
        while not (jobs := physlab("--json", "jobs", "list").json["jobs"]):
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert json.loads(out) == {"run_id": jobs[0]["id"], "interrupted": True}
    physlab("jobs", "cancel", jobs[0]["id"])


@pytest.mark.parametrize("words", [["run", "c.json"], ["demo"]])
def test_a_folder_that_cannot_be_made_is_told_before_anything_is_submitted(physlab, words):
    physlab.write("c.json", CONSTANT)
    answer = physlab("--json", *words, "--out", "c.json/below", code=1)
    assert answer.json["error"]["code"] == "unavailable"
    assert answer.json["error"]["field"] == "--out"
    assert physlab("--json", "jobs", "list").json["jobs"] == []


def test_looking_for_the_output_folder_leaves_nothing(physlab):
    wrong = physlab.write("wrong.json", {"nodes": [{"id": "a", "tool": "nope"}]})
    physlab("run", wrong, "--out", "made/deep", code=1)
    assert not (physlab.folder / "made").exists()


def test_ctrl_c_leaves_the_run_alone(physlab):
    name = physlab.write("long.json", SLEEP)
    with subprocess.Popen(
        physlab.command("run", name), cwd=physlab.folder, env=physlab.environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        run_id = process.stdout.readline().split()[0]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert physlab("--json", "jobs", "show", run_id).json["state"] in ("pending", "running")
    physlab("jobs", "cancel", run_id)
