"""What a benchmark gives back, and what is told of the machine it ran on."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
QUIET_LOAD = 0.5


@dataclass(frozen=True)
class Options:
    """How much is measured."""

    rounds: int = 5
    quick: bool = False
    peers: bool = True


@dataclass(frozen=True)
class Row:
    """One line of the table: values in `unit`, smaller is better.

    `limit` bounds the median; `ratio_limit` bounds the ratio of the median to that of `reference`, measured in the same
    run. Without a bound the row is there to be looked at.
    """

    what: str
    unit: str
    values: Sequence[float]
    limit: float | None = None
    reference: tuple[str, Sequence[float]] | None = None
    ratio_limit: float | None = None
    note: str = ""

    @property
    def median(self) -> float:
        """The figure that counts."""
        return median(self.values)

    @property
    def ratio(self) -> float | None:
        """How many times the reference it is."""
        if self.reference is None or not median(self.reference[1]):
            return None
        return self.median / median(self.reference[1])

    @property
    def met(self) -> bool | None:
        """Whether all bounds hold; None where there is none."""
        bounds: list[bool] = []
        if self.limit is not None:
            bounds.append(self.median <= self.limit)
        if self.ratio_limit is not None:
            bounds.append(self.ratio is not None and self.ratio <= self.ratio_limit)
        return all(bounds) if bounds else None

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "what": self.what, "unit": self.unit, "median": self.median, "min": min(self.values),
            "max": max(self.values), "values": list(self.values), "limit": self.limit,
            "reference": self.reference[0] if self.reference else None,
            "reference_values": list(self.reference[1]) if self.reference else None,
            "ratio": self.ratio, "ratio_limit": self.ratio_limit, "met": self.met, "note": self.note,
        }  # fmt: skip

    def cells(self) -> list[str]:
        """As cells of the table."""
        target = []
        if self.limit is not None:
            target.append(f"≤ {figure(self.limit)} {self.unit}")
        if self.ratio_limit is not None:
            target.append(f"≤ {figure(self.ratio_limit)}×")
        measured = f"**{figure(self.median)}** [{figure(min(self.values))}–{figure(max(self.values))}] {self.unit}"
        against = f"{self.reference[0]}: {figure(median(self.reference[1]))}" if self.reference else ""
        ratio = f"{figure(self.ratio)}×" if self.ratio is not None else ""
        met = {None: "", True: "yes", False: "**no**"}[self.met]
        return [self.what, ", ".join(target) or "–", measured, against, ratio, met, self.note]

    def __str__(self) -> str:
        what, target, measured, against, ratio, met, note = self.cells()
        end = "  ".join(one for one in (against, ratio, note) if one)
        verdict = {"yes": "met", "**no**": "MISSED", "": ""}[met]
        return f"  {what:<58} {measured.replace('**', ''):<30} {target:<14} {verdict:<7} {end}"


def figure(value: float) -> str:
    """Three significant digits, never in powers of ten."""
    if value >= 1000:
        return f"{value:,.0f}"
    text = f"{value:.3g}"
    return f"{value:.4f}".rstrip("0") if "e" in text else text


def timed(run: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def tell_load(name: str) -> float:
    """Say how busy the machine is at the start of a benchmark; a busy one spoils the figures."""
    load = os.getloadavg()[0]
    warning = "  WARNING: not quiet, the figures are upper bounds" if load > QUIET_LOAD else ""
    print(f"== {name}: load average {load:.2f}{warning}", flush=True)
    return load


def cpu_s(pids: Sequence[int]) -> float:
    """CPU time that processes have used so far: the kernel's own account, as in rusage, in steps of 10 ms."""
    total = 0.0
    for pid in pids:
        times = psutil.Process(pid).cpu_times()
        total += times.user + times.system
    return total


def memory_mb(pid: int) -> tuple[float, float]:
    """(RSS, PSS) of a process in MB."""
    info = psutil.Process(pid).memory_full_info()
    return info.rss / 1e6, getattr(info, "pss", 0) / 1e6


def machine() -> dict[str, str]:
    """Where and of what this was measured."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "machine": f"{os.cpu_count()} × {model}, {psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": _git("rev-parse", "--short", "HEAD") + ("-dirty" if _git("status", "--porcelain", "src") else ""),
        "command": f"{Path(sys.executable).name} -m benchmarks {' '.join(sys.argv[1:])}".strip(),
    }


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=False)
    return done.stdout.strip()
