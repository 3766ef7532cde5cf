"""A device that is not there, and a memory that is too small: the numbers are the same, and meta says what happened."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from node_runs import Bench

from physlab_mcp.nodes import accelerate
from physlab_mcp.nodes.io import NodeIO
from physlab_mcp.nodes.worker import Calls

FRAMES = {"frames": 300, "grid_points": 160, "emit_plots": False}

UNDER_A_LIMIT = """
import json, resource, sys
from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.nodes.io import NodeIO
from physlab_mcp.nodes.quantum_time import TimeEvolutionParams, time_evolution
import psutil
import numpy, scipy.special, scipy.linalg, matplotlib.figure  # loaded before the limit: it is about the arrays
place, room = sys.argv[1], int(sys.argv[2])
blobs = Blobs(place)
time_evolution(TimeEvolutionParams(frames=2, grid_points=16, emit_plots=False), NodeIO(job_id="job-warm", blobs=blobs))
if room:
    limit = psutil.Process().memory_info().vms + room * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
io = NodeIO(job_id="job-limited", blobs=blobs)
result = time_evolution(TimeEvolutionParams(**json.loads(sys.argv[3])), io)
print(json.dumps({"frames": result.arrays["frames"].sha256, "values": result.values, "warnings": io.warnings}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS binds on Linux")
def test_under_a_memory_limit_batches_are_halved_until_they_fit_and_the_numbers_are_the_same(tmp_path: Path) -> None:
    def run(room_mb: int) -> dict:
        done = subprocess.run(
            [sys.executable, "-c", UNDER_A_LIMIT, str(tmp_path), str(room_mb), json.dumps(FRAMES)],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    free, bound = run(0), run(120)
    assert free["warnings"] == []
    halved = [one for one in bound["warnings"] if "halved" in one]
    assert halved[0].endswith("batches of frames halved from 300 to 150.")
    assert len(halved) >= 2
    assert bound["frames"] == free["frames"]  # the same bytes
    assert bound["values"] == free["values"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_device_that_cannot_be_used_after_all_is_a_warning_and_the_cpu_computes(bench: Bench) -> None:
    wanted = NodeIO(job_id="job-1", blobs=bench.blobs, device="cuda")
    assert accelerate.accelerator(wanted) is None
    assert wanted.device == "cpu"
    assert len(wanted.warnings) == 1
    assert "cuda could not be used" in wanted.warnings[0]


def test_the_cpu_needs_no_accelerator(bench: Bench) -> None:
    plain = NodeIO(job_id="job-1", blobs=bench.blobs)
    assert accelerate.accelerator(plain) is None
    assert plain.warnings == []


def test_a_warning_stands_once_in_meta(tmp_path: Path) -> None:
    calls = Calls({"blobs": str(tmp_path)})
    params = {"f": "sqrt(x)", "x_min": -1, "x_max": 1}
    call = {"id": "job-1", "type": "plot.function_2d", "module": "physlab_mcp.nodes.plot", "params": params,
            "attempt": 1, "folder": str(tmp_path / "job")}  # fmt: skip
    answer = calls.run(call, lambda _event: None)
    assert answer["ok"], answer
    warnings = json.loads(bytes(answer["result"]))["meta"]["warnings"]
    assert warnings
    assert len(set(warnings)) == len(warnings)
