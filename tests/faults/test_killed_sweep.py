"""A sweep of functions of which everything is killed at half: what was done is not done again, and nothing is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from physlab_mcp.library.engine import Engine
from waiting import until

SIZES = (1_000, 10_000, 100_000) if os.environ.get("SOAK") == "full" else (1_000,)
WORKERS = 2
DEADLINE_S = 600 if os.environ.get("SOAK") == "full" else 120
PROGRAM = """
import os, sys
import physlab_mcp as sciflow

def trial(x):
    place = os.open(os.environ["CALLS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(place, b"%d\\n" % x)
    os.close(place)
    return {"square": x * x}

if __name__ == "__main__":
    workflow = sciflow.ExperimentalWorkflow("killed")
    workflow.add_task("trial", trial, cache=False)
    workflow.add_parameter_space({"x": {"range": [1, int(sys.argv[1]), 1]}})
    print(sciflow.Engine(progress=False).submit(workflow), flush=True)
"""


def kill_all(mark: str) -> int:
    """Kill -9 every process of this test but the test itself; how many there were."""
    killed = 0
    for process in psutil.process_iter(["environ"]):
        if process.pid != os.getpid() and (process.info["environ"] or {}).get("CALLS") == mark:
            process.kill()
            killed += 1
    return killed


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("CALLS", str(tmp_path / "calls.txt"))
    monkeypatch.setenv("PHYSLAB_DATA_DIR", str(tmp_path / "data"))
    settings = {"backends": {"local": {"workers": WORKERS}}}
    (tmp_path / "server.config.json").write_text(json.dumps(settings))
    monkeypatch.setenv("PHYSLAB_CONFIG", str(tmp_path / "server.config.json"))
    yield tmp_path
    kill_all(str(tmp_path / "calls.txt"))


def calls(place: Path) -> Counter[int]:
    file = place / "calls.txt"
    return Counter(int(line) for line in file.read_text().splitlines()) if file.exists() else Counter()


@pytest.mark.soak
@pytest.mark.parametrize("points", SIZES)
def test_no_completed_point_runs_again_and_none_is_missing(place: Path, points: int) -> None:
    program = place / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, program, str(points)],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
        cwd=place,
    )
    handle = done.stdout.strip()
    until(lambda: sum(calls(place).values()) >= points // 2, DEADLINE_S, what="half of the points")
    assert kill_all(str(place / "calls.txt")) >= 1 + WORKERS  # engine and workers
    at_kill = calls(place)
    assert len(at_kill) < points
    with Engine(progress=False) as engine:
        results = engine.wait(handle, timeout_s=DEADLINE_S)
        table = results.to_dataframe()
    assert list(table["x"]) == list(range(1, points + 1))
    assert set(table["state"]) == {"succeeded"}
    assert list(table["square"]) == [x * x for x in range(1, points + 1)]
    again = {x for x, count in calls(place).items() if count > 1}
    assert len(again) <= WORKERS  # those in the middle of which a worker was killed
    assert again <= at_kill.keys()
