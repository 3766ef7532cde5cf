"""What a node call is said to have taken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from physlab_mcp.nodes import usage
from physlab_mcp.nodes.usage import Usage, hash_seed, peak_memory
from physlab_mcp.nodes.worker import Calls

LARGE = 64 << 20


def burn(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_processor_time_counts_what_this_process_and_its_children_computed() -> None:
    measured = Usage()
    burn(0.03)
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.1: pass"], check=True, timeout=60)
    told = measured.told()
    assert told["cpu_s"] >= 0.1  # the child's is counted in steps of 10 ms
    assert told["duration_ms"] >= 30
    assert told["max_rss_bytes"] > 1 << 20


def test_a_short_call_is_not_asked_for_its_memory() -> None:
    assert set(Usage().told()) == {"duration_ms", "cpu_s"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a peak")
def test_the_peak_is_that_of_this_call_not_of_one_before() -> None:
    def peak(size: int) -> int:
        measured = Usage()
        held = bytearray(os.urandom(1) * size)
        burn(0.02)
        assert len(held) == size
        return measured.told()["max_rss_bytes"]

    small, large, again = peak(1), peak(LARGE), peak(1)
    assert large - small > LARGE // 2
    assert large - again > LARGE // 2


def test_where_a_peak_cannot_be_forgotten_it_says_since_when(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(usage, "_FORGET", tmp_path / "none")
    measured = Usage()
    burn(0.02)
    assert measured.told()["max_rss_since"] == "worker"


@pytest.mark.parametrize("status", [None, "Name:\tpython\n"])
def test_without_the_status_file_the_peak_is_that_of_the_process(
    monkeypatch: Any, tmp_path: Path, status: str | None
) -> None:
    place = tmp_path / "status"
    if status is not None:
        place.write_text(status)
    monkeypatch.setattr(usage, "_STATUS", place)
    assert 1 << 20 < peak_memory() < 1 << 42
    monkeypatch.setattr(sys, "platform", "darwin")  # tells bytes where Linux tells kilobytes
    assert peak_memory() < 1 << 32


def test_where_the_system_has_no_status_file_the_peak_since_the_start_is_told(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(usage, "_STATUS", tmp_path / "none")
    assert 1 << 20 < peak_memory() < 1 << 42


def test_the_seed_of_hashes_is_told(monkeypatch: Any) -> None:
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    assert hash_seed() == "random"
    monkeypatch.setenv("PYTHONHASHSEED", "3")
    assert hash_seed() == "3"


@pytest.mark.parametrize("capture", ["full", "off"])
def test_a_worker_measures_unless_it_is_switched_off(tmp_path: Path, capture: str) -> None:
    calls = Calls({"blobs": str(tmp_path), "environment": "env-1", "capture": capture})
    call = {
        "id": "job-1", "attempt": 1, "type": "flow.passthrough", "module": "physlab_mcp.nodes.flow",
        "params": {"value": 1}, "folder": str(tmp_path), "code": "1:abc:",
    }  # fmt: skip
    meta = json.loads(bytes(calls.run(call, lambda _event: None)["result"]))["meta"]
    measured = {"duration_ms", "cpu_s", "hash_seed"}
    assert {"device", "dtype", "code_version", "environment"} <= set(meta)
    assert meta.keys() & measured == (measured if capture == "full" else set())
