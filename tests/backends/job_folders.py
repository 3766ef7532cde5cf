"""Job folders and processes for the tests of the cold side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

RUNNER = Path(__file__).parents[2] / "src" / "physlab_mcp" / "backends" / "runner.py"


def job_folder(place: Path, *, attempt: int = 1, **spec: Any) -> Path:
    """A job folder with a spec such as Commands.prepare writes; no package is needed to run it."""
    folder = place / "jobs" / "ab" / f"job-{os.urandom(6).hex()}"
    folder.mkdir(parents=True)
    body = {"job_id": folder.name, "attempt": attempt, "fence": 7, "artifacts_path": "artifacts/", **spec}
    (folder / "spec.json").write_text(json.dumps(body))
    return folder


def runner_argv(folder: Path, attempt: int = 1) -> list[str]:
    return [sys.executable, "-S", "-P", str(RUNNER), str(folder), str(attempt)]


def run(folder: Path, attempt: int = 1, **more: Any) -> dict[str, Any]:
    """Run an attempt to its end; its result."""
    done = subprocess.run(runner_argv(folder, attempt), timeout=60, capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, done.stderr
    return result(folder, attempt)


def begin(folder: Path, attempt: int = 1) -> subprocess.Popen[bytes]:
    return subprocess.Popen(runner_argv(folder, attempt), start_new_session=True)


def result(folder: Path, attempt: int = 1) -> dict[str, Any]:
    return json.loads((folder / "attempts" / str(attempt) / "result.json").read_text())


def pids_in(path: Path, count: int) -> list[int]:
    """The pids that processes wrote into a file, once there are `count` whole lines."""
    try:
        lines = path.read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    whole = [int(line) for line in lines if line.endswith("\n")]
    return whole if len(whole) >= count else []


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def all_gone(pids: list[int]) -> bool:
    return all(gone(pid) for pid in pids)


# A shell script whose processes leave it in every way there is; each writes its pid into $1.
FAMILY = r"""
echo $$ >> "$1"
sh -c 'echo $$ >> "$1"; sleep 300' sh "$1" &
setsid sh -c 'echo $$ >> "$1"; sleep 300' sh "$1" &
( setsid sh -c 'echo $$ >> "$1"; trap "" TERM HUP; while :; do sleep 300; done' sh "$1" & )
wait
"""
FAMILY_SIZE = 4
