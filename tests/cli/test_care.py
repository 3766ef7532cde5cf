"""`physlab engine …`, `doctor`, `clean` and `config …`."""

import json
import os
import socket
import sys
import time
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import pytest
from small_graphs import CONSTANT

from physlab_mcp.cli import doctor_place


def test_an_engine_is_started_by_need_told_of_and_stopped(physlab):
    assert physlab("--json", "engine", "status").json["running"] is False
    assert "No engine runs" in physlab("engine", "stop").out
    physlab("run", physlab.write("c.json", CONSTANT))
    status = physlab("--json", "engine", "status").json
    assert status["running"]
    assert str(status["pid"]) in physlab("engine", "status").out
    assert physlab("--json", "engine", "stop").json["stopped"]
    assert physlab("--json", "engine", "status").json["running"] is False
    assert "leads" in physlab("engine", "logs").out


def test_the_log_of_an_engine_that_never_ran_is_a_told_error(physlab):
    assert "no engine ran here" in physlab("engine", "logs", code=1).err


def test_doctor_finds_a_fresh_place_well_and_makes_nothing(physlab):
    before = sorted(physlab.data.iterdir())
    found = physlab("--json", "doctor").json
    assert found["ok"]
    assert {"config", "store", "engine", "node types", "devices"} <= {one["what"] for one in found["findings"]}
    assert sorted(physlab.data.iterdir()) == before


def test_doctor_tells_of_a_used_place(physlab):
    physlab("run", physlab.write("c.json", CONSTANT))
    out = physlab("doctor").out
    assert "intact" in out
    assert "artifacts" in out


def test_doctor_tells_what_is_wrong_and_how_to_mend_it(physlab):
    physlab.write("server.config.json", {"limit": {}})
    (physlab.data / "physlab.db").write_text("this is no database, but long enough to be read as one" * 20)
    answer = physlab("doctor", code=1)
    assert "'limits'" in answer.out
    states = {one["what"]: one["state"] for one in physlab("--json", "doctor", code=1).json["findings"]}
    assert states["config"] == "fail"
    assert states["store"] == "fail"
    assert states["node types"] == "ok"


def test_clean_removes_what_is_old_and_the_run_can_be_computed_again(physlab):
    name = physlab.write("run.json", {"nodes": [{"id": "c", "tool": "command", "params": {"command": ["echo", "hi"]}},
        {"id": "o", "tool": "quantum", "method": "spectral_line", "params": {"upper_n": 3, "lower_n": 2}}]})  # fmt: skip
    physlab("run", name)
    physlab("engine", "stop")
    assert "Nothing is older" in physlab("clean").out
    for path in physlab.data.rglob("*"):
        os.utime(path, (1, 1))
    told = physlab("--json", "clean", "--older-than", "0s", "--dry-run").json
    assert told["removed"]["artifacts"]["count"] > 0
    figures = [p for p in (physlab.data / "blobs").glob("*/*") if p.is_file()]
    assert figures
    assert physlab("--json", "clean", "--older-than", "0s").json["removed"] == told["removed"]
    left = [p for p in (physlab.data / "blobs").glob("*/*") if p.is_file()]
    assert len(left) < len(figures)
    again = physlab("--json", "run", name).json
    assert again["state"] == "succeeded"
    assert all(Path(path).stat().st_size for path in again["figures"])


@pytest.mark.parametrize("age", ["soon", "-1d", "3"])
def test_an_age_needs_a_unit(physlab, age):
    assert "is not an age" in physlab("clean", f"--older-than={age}", code=1).err


def test_the_configuration_is_shown_checked_and_described(physlab):
    assert physlab("--json", "config", "show").json["source"] == "built-in"
    name = physlab.write("other.json", {"engine": {"lease_s": 20}})
    shown = physlab("--json", "--config", name, "config", "show").json
    assert shown["config"]["engine"]["lease_s"] == 20
    assert "is valid" in physlab("--config", name, "config", "check").out
    jsonschema.validate(shown["config"], json.loads(physlab("config", "schema").out))


def test_a_wrong_configuration_stops_every_command(physlab):
    physlab.write("server.config.json", {"storage": {"retension": "1d"}})
    for words in (["config", "check"], ["jobs", "list"], ["install", "cursor"]):
        answer = physlab(*words, code=1)
        assert "'retention'" in answer.err


@pytest.mark.parametrize("words", [["jobs", "list"], ["run", "c.json"], ["engine", "run"]])
def test_a_data_directory_that_is_none_is_told(physlab, words):
    name = physlab.write("c.json", CONSTANT)
    error = physlab("--json", "--data-dir", name, *words, code=1).json["error"]
    assert error["code"] == "unavailable"
    assert error["got"] == name
    assert "no directory" in error["message"]
    assert "--data-dir" in error["remedy"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_directory_that_is_read_only_is_told(physlab):
    physlab("jobs", "list")
    physlab.data.chmod(0o500)
    try:
        assert "not writable" in physlab("jobs", "list", code=1).err
    finally:
        physlab.data.chmod(0o700)


def test_doctor_looks_whether_the_data_directory_is_one(physlab):
    name = physlab.write("a file", "")
    for where, text in ((name, "no directory"), (f"{name}/below", "cannot be made")):
        answer = physlab("--data-dir", where, "doctor", code=1)
        assert text in answer.out
        assert "chmod" not in answer.out


@pytest.mark.skipif(os.name != "posix", reason="POSIX modes")
def test_doctor_quotes_paths_in_what_to_type(physlab):
    place = physlab.folder / "my data"
    place.mkdir(mode=0o755)
    assert f"chmod 700 '{place}'" in physlab("--data-dir", str(place), "doctor").out


def findings(physlab, *words, code=0, **environment):
    physlab.environment |= environment
    rows = physlab("--json", *words, "doctor", code=code).json["findings"]
    return {what: [one for one in rows if one["what"] == what] for what in {one["what"] for one in rows}}


def test_doctor_tells_of_node_types_that_cannot_be_imported(physlab):
    physlab.write("nodes_here.py", "import no_such_package\n")
    where = {"PHYSLAB_NODES": "nodes_here", "PYTHONPATH": str(physlab.folder)}
    good, bad = findings(physlab, code=1, **where)["node types"]
    assert good["state"] == "ok"
    assert bad["state"] == "fail"
    assert "no_such_package" in bad["text"]
    assert "nodes_here" in bad["remedy"]
    assert "quantum (" in good["text"]


def test_doctor_names_one_defect_of_a_configuration_once_and_all_of_them(physlab):
    physlab.write("server.config.json", {"limit": {}, "engine": {"lease": 3}})
    told = findings(physlab, code=1)
    assert sorted(one["text"] for one in told["config"]) == [
        "The key 'engine.lease' is not known.",
        "The key 'limit' is not known.",
    ]
    assert {"planner", "commands"}.isdisjoint(told)


TRIP = """{when},123 ERROR physlab_mcp.__main__: the engine failed; it starts again
  + Exception Group Traceback (most recent call last):
  |   File "loop.py", line 9, in run
  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "steps.py", line 7, in step
    | KeyError: 'the {number}. time'
    +------------------------------------
{when},456 INFO physlab_mcp.engine.daemon: engine x leads (fence 3)
"""


def tripped(physlab, *ages_s):
    """An engine's log that tells of failures so long ago."""
    log = physlab.data / "logs" / "engine.log"
    log.parent.mkdir(exist_ok=True)
    moments = [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() - age)) for age in ages_s]
    log.write_text("".join(TRIP.format(when=when, number=k) for k, when in enumerate(moments, 1)))
    return log


def test_doctor_names_an_engine_that_trips_in_a_circle(physlab):
    log = tripped(physlab, 300, 200, 30)
    found = findings(physlab, code=1)["engine"]
    assert [one["state"] for one in found] == ["fail"]
    assert "started again 3 times in the last 10 minutes" in found[0]["text"]
    assert "KeyError: 'the 3. time'" in found[0]["text"]
    assert str(log) in found[0]["remedy"]
    assert "All is well" not in physlab("doctor", code=1).out


def test_doctor_takes_an_engine_that_got_over_its_failures_for_well(physlab):
    tripped(physlab, 90_000, 3_000, 1_200, 700, 200, 30)
    assert [one["state"] for one in findings(physlab)["engine"]] == ["ok"]


def test_an_engine_that_failed_before_its_log_was_set_up_is_counted_at_the_time_of_the_file(tmp_path):
    log = tmp_path / "engine.log"
    plain = f"{doctor_place.TRIPPED}\nTraceback (most recent call last):\nImportError: no x\n"
    log.write_text(4 * plain)
    now = log.stat().st_mtime
    assert doctor_place.trips(log, now + 60) == doctor_place.Trips(4, "ImportError: no x")
    assert doctor_place.trips(log, now + 6000) == doctor_place.Trips()
    assert doctor_place.trips(tmp_path / "none") == doctor_place.Trips()


def test_doctor_looks_for_the_words_that_the_engine_logs():
    assert f'"{doctor_place.TRIPPED}"' in (files("physlab_mcp") / "__main__.py").read_text()


def planner(physlab, **section):
    return physlab.write(
        "server.config.json", {"planner": {"base_url": "http://127.0.0.1:9/v1", "model": "m", **section}}
    )


def test_doctor_reads_the_key_of_the_planner_and_never_shows_it(physlab):
    assert "built-in" in findings(physlab)["planner"][0]["text"]
    planner(physlab, api_key={"env": "MY_KEY"})
    broken = findings(physlab, code=1)["planner.api_key"][0]
    assert broken["state"] == "fail"
    assert "$MY_KEY" in broken["remedy"]
    physlab.environment |= {"MY_KEY": "sk-very-secret", "no_proxy": "*"}
    answer = physlab("doctor")
    assert "sk-very-secret" not in answer.out + answer.err
    assert "its key is readable; it cannot be reached: Connection refused" in answer.out
    planner(physlab, base_url="deepseek")
    assert findings(physlab, code=1)["planner"][0]["state"] == "fail"


def test_doctor_tries_the_host_of_the_planner(physlab):
    with socket.create_server(("127.0.0.1", 0)) as door:
        planner(physlab, base_url=f"http://127.0.0.1:{door.getsockname()[1]}/v1")
        found = findings(physlab, no_proxy="*")["planner"][0]
    assert (found["state"], found["text"].endswith("without a key, reachable")) == ("ok", True)


TORCH = """
class version:
    hip = None
class _Tensor:
    def sum(self): return self
    def item(self): return 2.0
__version__ = "9.9"
def ones(count, device):
    if {fails!r}: raise RuntimeError({fails!r})
    return _Tensor()
"""


@pytest.mark.parametrize("fails", ["", "no kernel image is available"])
def test_doctor_tries_what_torch_can_use(physlab, fails):
    physlab.write("fake/torch.py", TORCH.format(fails=fails))
    program = Path(physlab.write("bin/nvidia-smi", "#!/bin/sh\necho GPU 0: of this test\n"))
    program.chmod(0o755)
    told = findings(
        physlab, PYTHONPATH=str(physlab.folder / "fake"), PATH=f"{program.parent}:{os.environ['PATH']}",
        CUDA_VISIBLE_DEVICES="0",
    )["devices"]  # fmt: skip
    assert "torch 9.9" in told[0]["text"]
    assert ("cuda" in told[0]["text"]) == (not fails)
    assert [one["state"] for one in told] == (["ok", "warn"] if fails else ["ok"])
    assert not fails or fails in told[1]["text"]


def test_doctor_tells_of_a_gpu_that_nothing_can_use_for_want_of_torch(physlab):
    program = Path(physlab.write("bin/nvidia-smi", "#!/bin/sh\necho GPU 0: of this test\n"))
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    found = findings(physlab, PATH=path, CUDA_VISIBLE_DEVICES="0")["devices"][0]
    if find_spec("torch") is None:
        assert found["state"] == "warn"
        assert found["remedy"].endswith(" torch")


def test_doctor_tells_of_bubblewrap(physlab):
    physlab.environment["PATH"] = str(physlab.folder)
    found = findings(physlab)["commands"][0]
    assert found["state"] == "warn"
    assert "bubblewrap" in found["remedy"] if sys.platform == "linux" else found["remedy"]
    physlab.write("server.config.json", {"backends": {"local": {"commands": "deny"}}})
    assert findings(physlab)["commands"][0]["state"] == "ok"


def test_a_node_without_its_package_names_the_extra_and_what_to_type(physlab):
    physlab.write("shim/scipy/__init__.py", "raise ModuleNotFoundError(\"No module named 'scipy'\", name='scipy')")
    physlab.environment["PYTHONPATH"] = f"{physlab.folder / 'shim'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    answer = physlab("run", physlab.write("c.json", CONSTANT), code=1)
    assert "unavailable: The node needs the package 'scipy' of the extra 'science'" in answer.err
    assert "[science]" in answer.err
