"""Which compute devices this machine has, and which of them a node type gets. Never imports a numeric package."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

DEVICES = ("auto", "cpu", "cuda", "hip", "mps", "xpu")
_BEST_FIRST = ("cuda", "hip", "xpu", "mps", "cpu")


def _has_cuda() -> bool:
    if os.environ.get("CUDA_VISIBLE_DEVICES", "unset").strip() in ("", "-1"):
        return False
    if any(Path("/dev").glob("nvidia[0-9]*")):
        return True
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    try:  # Windows and WSL have no /dev/nvidia*: there the driver's own tool is asked
        answer = subprocess.run([program, "-L"], capture_output=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and b"GPU" in answer.stdout


@lru_cache(maxsize=1)
def detect_devices() -> tuple[str, ...]:
    """The devices of this machine, best first, always ending in `cpu`; asked once a process, in milliseconds."""
    found: list[str] = []
    if _has_cuda():
        found.append("cuda")
    if Path("/dev/kfd").exists():
        found.append("hip")
    if sys.platform == "darwin" and platform.machine() == "arm64":
        found.append("mps")
    if _has_xpu():
        found.append("xpu")
    return (*found, "cpu")


def _has_xpu() -> bool:
    """An Intel GPU with the driver that torch computes on."""
    for card in Path("/sys/class/drm").glob("renderD*/device"):
        try:
            vendor, driver = (card / "vendor").read_text().strip(), (card / "driver").resolve().name
        except OSError:
            continue
        if vendor == "0x8086" and driver in {"xe", "i915"}:
            return True
    return False


def node_devices() -> tuple[str, ...]:
    """The devices that nodes of this installation can compute on: without torch only the CPU."""
    return detect_devices() if find_spec("torch") is not None else ("cpu",)


def choose_device(wanted: str, supported: Sequence[str], available: Collection[str]) -> str | None:
    """The device a node gets: the wanted one, for `auto` the best that both sides have; None if there is none."""
    shared = set(supported) & set(available)
    if wanted != "auto":
        return wanted if wanted in shared else None
    return next((device for device in _BEST_FIRST if device in shared), None)
