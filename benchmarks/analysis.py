"""What comes after a sweep of 1,000 points and 4 parameters: its figures and dashboard, its package, the check of that."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio

from benchmarks.laboratory import settings_in, stop_engine
from benchmarks.measure import Options, Row
from physlab_mcp.library.engine import Engine
from physlab_mcp.library.workflow import ExperimentalWorkflow
from physlab_mcp.paths import DataDir

_DEADLINE_S = 600.0


def run(options: Options) -> list[Row]:
    """One real sweep; then the commands on it, each a fresh process, in turns."""
    took: dict[str, list[float]] = {"figures": [], "package": [], "check": []}
    with tempfile.TemporaryDirectory(prefix="bench-analysis-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with Engine(data_dir=folder, config_file=settings_in(folder), progress=False) as engine:
            results = engine.execute_parameter_sweep(workflow(2 if options.quick else 5))
        if results.state != "succeeded":
            raise RuntimeError(f"{results} is {results.state}: {results.failures[:1]}")
        points = len(results)
        for turn in range(1 if options.quick else options.rounds):
            out, package = folder / f"figures-{turn}", folder / f"package-{turn}.zip"
            took["figures"].append(_physlab(folder, "analyze", results.id, "--metric", "accuracy", "--out", str(out)))
            took["package"].append(_physlab(folder, "bundle", "create", results.id, "--out", str(package)))
            took["check"].append(_physlab(folder, "bundle", "verify", str(package)))
        figures = sorted(one.name for one in out.rglob("*") if one.suffix in (".png", ".pdf", ".svg"))
        anyio.run(stop_engine, DataDir(folder))
    told = f"the whole command; {len(figures)} files: {', '.join(figures)}"
    return [
        Row(
            f"analyze: all figures, tables and dashboard of {points:,} points",
            "s",
            took["figures"],
            limit=30.0,
            note=told,
        ),
        Row(f"bundle create: the package of {points:,} points", "s", took["package"], limit=60.0, note="aim: 5 s"),
        Row("bundle verify: the check of that package", "s", took["check"], limit=10.0),
    ]


def workflow(steps: int) -> ExperimentalWorkflow:
    """8 * `steps` ** 3 points of a function with a top; one of its parameters is in words."""

    def train(rate: float, decay: float, width: int, kind: str) -> dict[str, float]:
        import math

        lift = {"a": 0.0, "b": 0.01, "c": 0.02, "d": 0.03, "e": 0.04, "f": 0.05, "g": 0.06, "h": 0.07}[kind]
        error = (math.log10(rate) + 2.5) ** 2 / 8 + (decay - 0.4) ** 2 + 1 / width
        return {"accuracy": 0.95 * math.exp(-error) + lift, "cost": width * (1 + lift)}

    flow = ExperimentalWorkflow("analysis")
    flow.add_task("train", train)
    flow.add_parameter_space(
        {
            "rate": {"log": [1e-4, 1e-1, steps]},
            "decay": [index / steps for index in range(steps)],
            "width": [8 * 2**index for index in range(steps)],
            "kind": list("abcdefgh"),
        }
    )
    return flow


def _physlab(folder: Path, *words: str) -> float:
    begun = time.perf_counter()
    done = subprocess.run(
        [str(Path(sys.executable).with_name("physlab")), *words, "--data-dir", str(folder)],
        cwd=folder, capture_output=True, text=True, check=False, timeout=_DEADLINE_S,
    )  # fmt: skip
    took = time.perf_counter() - begun
    if done.returncode:
        raise RuntimeError(f"physlab {' '.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return took
