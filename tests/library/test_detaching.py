"""A program may be interrupted, or end without a word: the sweep goes on and is found by its id."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from physlab_mcp.library.engine import Engine

DEADLINE_S = 120

INTERRUPTED = """
import os, signal, sys, threading, time, traceback
import physlab_mcp as sciflow

def slow(x):
    import pathlib, time
    until = time.monotonic() + 60
    while not pathlib.Path("go").exists() and time.monotonic() < until:
        time.sleep(0.02)
    return {"y": x}

def interrupt(main):
    while "_opened" in (stack := str([f.name for f in traceback.extract_stack(sys._current_frames()[main])])) or "'wait', '_changes'" not in stack:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

workflow = sciflow.ExperimentalWorkflow("slow").add_task("slow", slow).add_parameter_space({"x": [1, 2]})
engine = sciflow.Engine(data_dir=sys.argv[1])
threading.Thread(target=interrupt, args=[threading.get_ident()], daemon=True).start()
engine.execute_parameter_sweep(workflow)
"""

FORGETFUL = """
import sys
import physlab_mcp as sciflow

workflow = sciflow.ExperimentalWorkflow("short").add_task("f", lambda x: {"y": x}).add_parameter_space({"x": [1, 2]})
print(sciflow.Engine(data_dir=sys.argv[1]).submit(workflow))
"""


def program(text: str, folder: Path, data: Path) -> subprocess.CompletedProcess[str]:
    path = folder / "program.py"
    path.write_text(text)
    return subprocess.run(
        [sys.executable, str(path), str(data)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_an_interrupted_wait_tells_the_id_and_the_sweep_goes_on(engine: Engine, tmp_path: Path):
    done = program(INTERRUPTED, tmp_path, engine._bridge._options["data_dir"])
    found = re.match(r"KeyboardInterrupt: (sweep-\w+) goes on\. Wait again: .*", done.stderr.splitlines()[-1])
    assert "portal" not in done.stderr
    assert found is not None, done.stderr
    (tmp_path / "go").touch()
    assert engine.wait(found.group(1), timeout_s=DEADLINE_S).to_dataframe()["y"].tolist() == [1, 2]


def test_a_program_that_never_closes_the_engine_ends(engine: Engine, tmp_path: Path):
    done = program(FORGETFUL, tmp_path, engine._bridge._options["data_dir"])
    assert done.returncode == 0, done.stderr
    assert engine.wait(done.stdout.strip(), timeout_s=DEADLINE_S).state == "succeeded"
