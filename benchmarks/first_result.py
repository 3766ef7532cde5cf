"""The first result of a one-node run: with the engine up (its workers not), and from nothing."""

from __future__ import annotations

import subprocess
import tempfile
import time

import anyio

from benchmarks.laboratory import settings_in, stop_engine
from benchmarks.lives import live
from benchmarks.measure import Options, Row
from physlab_mcp.engine.link import ask
from physlab_mcp.lab import engine_command
from physlab_mcp.paths import DataDir


def run(options: Options) -> list[Row]:
    """Each value from a fresh client process and a fresh data directory."""
    up: list[dict[str, float]] = []
    nothing: list[dict[str, float]] = []
    for turn in range(options.rounds + 1):
        figures = live("physlab", {}), _with_engine()
        if turn:
            nothing.append(figures[0])
            up.append(figures[1])
    rows: list[Row] = []
    for what, lives, limit in (("engine up, workers not", up, 1.0), ("no engine, no data directory", nothing, 2.0)):
        rows += [
            Row(
                f"first result, {what}, from the start of a client's process",
                "s",
                _of(lives, "first_from_start"),
                limit=limit,
            ),
            Row(f"first result, {what}, from the submission", "s", _of(lives, "first"), limit=limit),
        ]
    return rows


def _of(lives: list[dict[str, float]], name: str) -> list[float]:
    return [one[name] for one in lives]


def _with_engine() -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="bench-first-", ignore_cleanup_errors=True) as folder:
        data = DataDir(folder).create()
        engine = subprocess.Popen(
            engine_command(data, settings_in(folder), ()), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            deadline = time.monotonic() + 30
            while not (anyio.run(ask, data, "status") or {}).get("status", {}).get("leads"):
                if time.monotonic() > deadline:
                    raise TimeoutError("The engine does not come up.")
                time.sleep(0.05)
            return live("physlab", {}, data_dir=folder)
        finally:
            anyio.run(stop_engine, data)
            engine.wait(30)
