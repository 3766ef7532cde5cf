"""A full disk: nothing is acknowledged, nothing is corrupted, and work goes on by itself once there is room."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def run(place: Path, *body: str) -> subprocess.CompletedProcess[str]:
    """disk_full_program.py in its own mount namespace, on a small tmpfs at `place`."""
    place.mkdir()
    script = f"mount -t tmpfs -o size={body[1]},mode=700 tmpfs {place} && exec {sys.executable} {HERE / 'disk_full_program.py'} {body[0]} {place}"
    return subprocess.run(
        ["unshare", "-Urnm", "sh", "-c", script], capture_output=True, text=True, timeout=100, check=False,
        env={**os.environ, "PHYSLAB_NODES": "fault_nodes"},
    )  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _namespaces() -> None:
    if subprocess.run(["unshare", "-Urnm", "true"], check=False).returncode:
        pytest.skip("this machine allows no user namespaces")


@pytest.mark.parametrize("body", ["submitting", "running", "restarting"])
def test_a_full_disk(tmp_path: Path, body: str) -> None:
    done = run(tmp_path / "disk", body, "6m")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all well" in done.stdout
