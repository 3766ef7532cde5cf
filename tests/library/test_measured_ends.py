"""What a real worker took is known of calls that failed, were killed or were cancelled too; jobs have GPUs of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import until

from physlab_mcp.library.engine import Engine
from physlab_mcp.library.workflow import ExperimentalWorkflow

DEADLINE_S = 60


@pytest.fixture(scope="module")
def two_gpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine of a machine with four cores and two GPUs, as its configuration says."""
    data = tmp_path_factory.mktemp("data")
    config = data / "config.json"
    config.write_text(json.dumps({"backends": {"local": {"cpus": 4, "gpus": 2}}}))
    with Engine(data_dir=data, config_file=config, progress=False) as made:
        yield made
    subprocess.run(
        [sys.executable, "-m", "physlab_mcp", "--data-dir", str(data), "engine", "stop"],
        check=False, timeout=60, capture_output=True,
    )  # fmt: skip


def task(engine: Engine, handle: str, name: str) -> dict[str, Any]:
    return next(one for one in engine.results(handle).metadata()["tasks"] if one["task"] == name)


def fails() -> None:
    size = bytearray(b"x") * (64 << 20)
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    raise ValueError(f"{len(size)} is too much")


def is_killed() -> None:
    until = time.process_time() + 1.5
    while time.process_time() < until:
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_fails_or_is_killed_tells_what_it_took(engine: Engine) -> None:
    workflow = ExperimentalWorkflow("ends").add_task("fails", fails).add_task("killed", is_killed, cache=False)
    handle = engine.submit(workflow)
    engine.wait(handle, timeout_s=DEADLINE_S)
    failed = task(engine, handle, "fails")
    assert failed["state"] == "failed"
    assert failed["cpu_s"] >= 0.2
    assert failed["duration_ms"] >= 200
    assert failed["max_rss_bytes"] > 64 << 20
    assert failed["environment"].startswith("env-")
    assert failed["code_version"]
    killed = task(engine, handle, "killed")
    assert (killed["state"], killed["reason"]) == ("failed", "lost")
    assert killed["duration_ms"] >= 1500
    assert 0.5 <= killed["cpu_s"] <= 3
    assert (killed["environment"], killed["code_version"] != "") == (failed["environment"], True)


def test_what_is_cancelled_or_runs_too_long_tells_what_it_took(engine: Engine, tmp_path: Path) -> None:
    begun = tmp_path / "begun"

    def rest() -> None:
        begun.touch()
        time.sleep(60)

    handle = engine.submit(ExperimentalWorkflow("stopped").add_task("sleeps", rest))
    until(begun.exists, 30)
    since = time.monotonic()
    time.sleep(0.5)
    least_ms = 1000 * (time.monotonic() - since)
    engine.cancel(handle)
    engine.wait(handle, timeout_s=DEADLINE_S)
    found = task(engine, handle, "sleeps")
    assert found["state"] == "cancelled"
    assert least_ms <= found["duration_ms"] < 60_000
    assert found["max_rss_bytes"] > 1 << 20
    assert found["code_version"]

    limited = ExperimentalWorkflow("limited")
    limited.add_task("sleeps", lambda: time.sleep(61), resources={"max_runtime_hours": 1 / 3600})
    handle = engine.submit(limited)
    engine.wait(handle, timeout_s=DEADLINE_S)
    found = task(engine, handle, "sleeps")
    assert (found["state"], found["reason"]) == ("failed", "timeout")
    assert found["duration_ms"] >= 1000


def test_a_command_that_fails_tells_what_it_took(engine: Engine) -> None:
    workflow = ExperimentalWorkflow("command").add_task("ends", [sys.executable, "-c", "raise SystemExit(3)"])
    handle = engine.submit(workflow)
    engine.wait(handle, timeout_s=DEADLINE_S)
    found = task(engine, handle, "ends")
    assert found["state"] == "failed"
    assert found["duration_ms"] > 0
    assert found["max_rss_bytes"] > 0


def seen(n: int) -> dict[str, Any]:
    begun = time.time()
    time.sleep(0.5)
    return {"gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "begun": begun, "ended": time.time(), "n": n}


def test_calls_that_run_together_see_a_gpu_each(two_gpus: Engine) -> None:
    workflow = ExperimentalWorkflow("gpus").add_task("seen", seen, resources={"gpu": 1, "require": True})
    workflow.add_parameter_space({"n": [1, 2, 3, 4]})
    found = [one.tasks["seen"].values for one in two_gpus.execute_parameter_sweep(workflow)]
    assert {one["gpu"] for one in found} == {"0", "1"}
    for one in found:
        for other in found:
            if one is not other and one["begun"] < other["ended"] and other["begun"] < one["ended"]:
                assert one["gpu"] != other["gpu"]
    both = ExperimentalWorkflow("both").add_task("seen", seen, resources={"gpu": 2}, params={"n": 11})
    (point,) = two_gpus.execute_parameter_sweep(both)
    assert point.tasks["seen"].values["gpu"] == "0,1"
    none = ExperimentalWorkflow("none").add_task("seen", seen, params={"n": 12})
    (point,) = two_gpus.execute_parameter_sweep(none)
    assert point.tasks["seen"].values["gpu"] == os.environ.get("CUDA_VISIBLE_DEVICES")


def test_a_command_sees_its_gpus_alone(two_gpus: Engine, tmp_path: Path) -> None:
    workflow = ExperimentalWorkflow("commands")
    program = "import os, sys, time; time.sleep(0.5); open(sys.argv[1], 'w').write(os.environ['HIP_VISIBLE_DEVICES'])"
    for name in ("a", "b"):
        words = [sys.executable, "-c", program, str(tmp_path / name)]
        workflow.add_task(name, words, resources={"gpu": 1, "require": True})
    two_gpus.execute_parameter_sweep(workflow)
    assert {(tmp_path / name).read_text() for name in ("a", "b")} == {"0", "1"}
