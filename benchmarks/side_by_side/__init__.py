"""The same sweep of 1,000 points in four libraries: lines of code, cost of a point, and what `kill -9` at half costs.

Each script takes (folder, points along x, points along y) and is as short as its own documentation would write it;
`model.py` is what they all compute. A whole measurement also writes docs/side-by-side.md.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from benchmarks.laboratory import settings_in
from benchmarks.measure import ROOT, Options, Row, figure, machine
from benchmarks.peers import peers_python

HERE = Path(__file__).parent
_DEADLINE_S = 900.0
_WORK_S = 0.01  # of one point, where the sweep is killed at half
_OURS = "physlab-mcp"


@dataclass(frozen=True)
class Library:
    """One script and how many points it is given: fewer where it is slow."""

    name: str
    script: str
    points: tuple[int, int]
    remembers: str  # what is on the disk while it runs
    resume: str  # what the user does after a crash

    @property
    def lines(self) -> int:
        """Lines of code."""
        text = (HERE / self.script).read_text().splitlines()
        return sum(bool(line.strip()) and not line.strip().startswith("#") for line in text)


LIBRARIES = (
    Library(_OURS, "physlab_sweep.py", (25, 40), "every point, job and event (SQLite)", "nothing, or the same script"),
    Library("joblib", "joblib_sweep.py", (25, 40), "results (`Memory`, files)", "the same script"),
    Library("Optuna", "optuna_sweep.py", (25, 40), "trials (SQLite)", "the same script; killed trials stay `RUNNING`"),
    Library("Hydra", "hydra_sweep.py", (10, 20), "a folder for each point", "none: a new multirun"),
)


@dataclass(frozen=True)
class Killed:
    """What came of a sweep whose every process was killed at half, and the same script started again."""

    before: int  # points computed before the kill
    calls: int  # of the function, in all
    points: int
    complete: bool  # the second script told of every point

    @property
    def again(self) -> int:
        """Points that were computed more than once, or begun and lost."""
        return self.calls - self.points


class Life:
    """A script in a folder of its own."""

    def __init__(self, library: Library, folder: str, points: tuple[int, int], *, work_s: float = 0.0) -> None:
        self.calls_file = Path(folder) / "calls.txt"
        python = sys.executable if library.name == _OURS else peers_python()
        self._command = [python, str(HERE / library.script), folder, *map(str, points)]
        self._environment = {
            **os.environ,
            "SIDE_CALLS": str(self.calls_file),
            "SIDE_WORK_S": str(work_s),
            "PHYSLAB_DATA_DIR": str(Path(folder) / "data"),
            "PHYSLAB_CONFIG": str(settings_in(folder)),
        }
        self._folder = folder

    def start(self) -> subprocess.Popen[str]:
        """Start the script in a session of its own."""
        return subprocess.Popen(
            self._command, env=self._environment, cwd=self._folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, start_new_session=True,
        )  # fmt: skip

    def calls(self) -> int:
        """How often the function was called so far."""
        return self.calls_file.read_text().count("\n") if self.calls_file.exists() else 0

    def kill(self) -> None:
        """Kill -9 everything that works in the folder: script, children, engine, workers."""
        for process in psutil.process_iter(["environ"]):
            if (process.info["environ"] or {}).get("SIDE_CALLS") == str(self.calls_file):
                try:
                    process.send_signal(signal.SIGKILL)
                except psutil.NoSuchProcess:
                    continue


def _timed(library: Library, points: tuple[int, int]) -> float:
    with tempfile.TemporaryDirectory(prefix="bench-side-", ignore_cleanup_errors=True) as folder:
        life = Life(library, folder, points)
        begun = time.monotonic()
        said = life.start().communicate(timeout=_DEADLINE_S)[0]
        took = time.monotonic() - begun
        life.kill()
        _check(library, said, points)
        return took


def _check(library: Library, said: str, points: tuple[int, int]) -> None:
    wanted = points[0] * points[1]
    if not said.strip() or said.strip().splitlines()[-1].split(" ", 1)[0] != str(wanted):
        raise RuntimeError(f"{library.name} did not tell of {wanted} points: {said[-300:]!r}")


def _killed(library: Library, points: tuple[int, int]) -> Killed:
    total = points[0] * points[1]
    with tempfile.TemporaryDirectory(prefix="bench-side-", ignore_cleanup_errors=True) as folder:
        life = Life(library, folder, points, work_s=_WORK_S)
        first = life.start()
        deadline = time.monotonic() + _DEADLINE_S
        while life.calls() < total // 2 and time.monotonic() < deadline:
            time.sleep(0.005)
        life.kill()
        first.communicate(timeout=60)
        before = life.calls()
        said = life.start().communicate(timeout=_DEADLINE_S)[0]
        life.kill()
        told = said.strip().splitlines()[-1].split(" ", 1)[0] if said.strip() else ""
        return Killed(before, life.calls(), total, told == str(total))


def run(options: Options) -> list[Row]:
    """Time each script, beside ours; then kill each at half and start it again."""
    rounds = 1 if options.quick else min(3, options.rounds)
    libraries = [one for one in LIBRARIES if options.peers or one.name == _OURS]
    points = {one.name: (5, 8) if options.quick else one.points for one in libraries}
    took = {one.name: [_timed(one, points[one.name]) for _ in range(rounds)] for one in libraries}
    killed = {one.name: _killed(one, points[one.name]) for one in libraries}
    costs = {name: [1000 * one / (points[name][0] * points[name][1]) for one in took[name]] for name in took}
    rows = [
        Row(
            f"{one.name}: a point, start of the program included",
            "ms",
            costs[one.name],
            reference=None if one.name == _OURS else (_OURS, costs[_OURS]),
            note=f"{one.lines} lines; after kill -9 at half {killed[one.name].again} of {killed[one.name].points} computed again",
        )
        for one in libraries
    ]
    if options.peers and not options.quick:
        _write(libraries, costs, killed)
    return rows


def _write(libraries: list[Library], costs: dict[str, list[float]], killed: dict[str, Killed]) -> None:
    where = machine()
    lines = [
        "# Side by side",
        "",
        "The same sweep (Rosenbrock's valley on a grid) in four libraries, two workers each, written as briefly as each",
        "library's own documentation would; the scripts stand in `benchmarks/side_by_side/`. Written by",
        "`python -m benchmarks side_by_side`; do not edit.",
        "",
        *[f"- {name}: {where[name]}" for name in ("machine", "system", "python", "date", "commit")],
        "",
        "| | Lines of code | ms a point | Points | On the disk while it runs | After `kill -9` of everything at half | Computed again | All results |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in libraries:
        end = killed[one.name]
        lines.append(
            f"| {one.name} | {one.lines} | {figure(median(costs[one.name]))} | {one.points[0] * one.points[1]:,} | {one.remembers}"
            f" | {one.resume} | {end.again} | {'yes' if end.complete else 'no'} |"
        )
    lines += [
        "",
        "*ms a point* is the wall time of the whole program, its start and its imports included, divided by the points; the",
        "function itself does nothing but append a line to a file. *Computed again* counts calls beyond one for each point",
        f"when every process was killed with `kill -9` at half (points of {1000 * _WORK_S:g} ms) and the same script was started again:",
        "two workers were each in the middle of a point, so one or two are inevitable.",
        "",
    ]
    (ROOT / "docs" / "side-by-side.md").write_text("\n".join(lines))
