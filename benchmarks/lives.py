"""Lives of subjects: each in a process of its own, so that an idle one never disturbs the one that is measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measure import ROOT

_LONGEST_S = 300.0


def live(
    subject: str, sizes: Mapping[str, int], *, python: str = sys.executable, data_dir: str | None = None
) -> dict[str, float]:
    """Run one life; seconds by name.

    Raises:
        RuntimeError: it failed; the message ends with what it said last.

    """
    bin_dir = str(Path(python).parent)
    environment = {**os.environ, "PATH": f"{bin_dir}{os.pathsep}{os.environ['PATH']}"}
    if python != sys.executable:
        environment["PYTHONPATH"] = str(ROOT)  # Parsl's workers start elsewhere and must find the no-op
    if data_dir is not None:
        environment["BENCH_DATA_DIR"] = data_dir
    with tempfile.TemporaryDirectory(prefix="bench-life-") as folder:
        answer = Path(folder) / "answer.json"
        order = {"sizes": dict(sizes), "answer": str(answer), "started": time.monotonic()}
        done = subprocess.run(
            [python, "-m", "benchmarks.subjects", subject, json.dumps(order)],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=_LONGEST_S,
        )  # fmt: skip
        if done.returncode or not answer.is_file():
            raise RuntimeError(f"{subject} ended with {done.returncode}: {done.stderr[-2000:]}")
        return json.loads(answer.read_text())
