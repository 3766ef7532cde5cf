"""The circumstances of a result: interpreter, packages, machine, and the state of a git checkout."""

from __future__ import annotations

import hashlib
import io
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import msgspec

MOST_DIFF_BYTES = 5_000_000
CPU_INFO = Path("/proc/cpuinfo")
_URL = re.compile(r"^([a-z][a-z0-9+.\-]*://)(?:[^/\s]*@)?([^?#\s]*).*$", re.IGNORECASE)


class GitState(msgspec.Struct, frozen=True, omit_defaults=True):
    """A checkout at one moment. `diff` are the uncommitted changes against the commit, cut at 5 MB."""

    commit: str | None
    branch: str | None = None  # None when no branch is checked out
    remote: str | None = None  # without credentials
    dirty: bool = False
    diff: bytes = b""
    diff_cut: bool = False


def environment_id() -> str:
    """`env-` + 24 hex digits: equal interpreter, platform and installed packages give the equal id.

    Reads folder listings only (installed distributions carry their version in the name of their .dist-info).
    """
    names: set[str] = set()
    for place in sys.path:
        try:
            with os.scandir(place or ".") as entries:
                names.update(e.name.lower() for e in entries if e.name.endswith((".dist-info", ".egg-info")))
        except OSError:
            continue
    head = [sys.implementation.name, platform.python_version(), sys.platform, platform.machine()]
    return f"env-{hashlib.sha256(chr(10).join([*head, *sorted(names)]).encode()).hexdigest()[:24]}"


def capture_environment() -> dict[str, Any]:
    """What a reader needs to set up the same again. Environment variables are left out: they hold secrets."""
    import psutil

    packages: dict[str, str] = {}
    for one in distributions():
        name = one.metadata["Name"]
        if name:
            packages.setdefault(name.lower().replace("_", "-"), one.version)
    return {
        "id": environment_id(),
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "compiler": platform.python_compiler(),
        },
        "packages": dict(sorted(packages.items())),
        "os": {"system": platform.system(), "release": platform.release(), "machine": platform.machine()},
        "cpu": {
            "model": _cpu_model(),
            "logical": psutil.cpu_count(logical=True),
            "physical": psutil.cpu_count(logical=False),
        },
        "memory_bytes": psutil.virtual_memory().total,
        "gpu": _gpus(),
        "hostname": socket.gethostname(),
    }


def _cpu_model() -> str:
    try:
        for line in CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model", "Processor"):
                return value.strip()
    except OSError:
        pass
    if sys.platform == "darwin":
        found = _run(["sysctl", "-n", "machdep.cpu.brand_string"], timeout_s=5)
        if found:
            return found.decode(errors="replace").strip()
    return platform.processor() or platform.machine()


def _gpus() -> list[dict[str, str]]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = "--query-gpu=name,driver_version,memory.total"
    answer = _run([program, query, "--format=csv,noheader"], timeout_s=10)
    rows = [line.split(",") for line in (answer or b"").decode(errors="replace").splitlines() if line.count(",") == 2]
    return [{"name": a.strip(), "driver": b.strip(), "memory": c.strip()} for a, b, c in rows]


def capture_git(folder: Path | str) -> GitState | None:
    """The checkout that holds `folder`, or None where there is none, no git, or no answer in time; never raises."""
    git = shutil.which("git")
    if git is None:
        return None
    # No prompt, no lock, no monitor or hook of the repository's own: looking must not change or start anything.
    head = [
        git, "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C", str(folder),
    ]  # fmt: skip
    if _run([*head, "rev-parse", "--is-inside-work-tree"]) != b"true\n":
        return None
    commit = _text(_run([*head, "rev-parse", "--verify", "--quiet", "HEAD"]))
    status = _run([*head, "status", "--porcelain", "--untracked-files=normal"], timeout_s=20)
    diff, cut = b"", False
    if status and commit:
        diff, cut = _read_some([*head, "diff", "--no-ext-diff", "--no-textconv", "--binary", "HEAD"])
    remote = _text(_run([*head, "config", "--get", "remote.origin.url"]))
    return GitState(
        commit=commit,
        branch=_text(_run([*head, "symbolic-ref", "--quiet", "--short", "HEAD"])),
        remote=without_credentials(remote) if remote else None,
        dirty=bool(status),
        diff=diff,
        diff_cut=cut,
    )


def without_credentials(url: str) -> str:
    """The URL without user, password, query and fragment; `user@host:path` and plain paths stay as they are."""
    found = _URL.match(url)
    return found.group(1) + found.group(2) if found else url


def _text(answer: bytes | None) -> str | None:
    return (answer or b"").decode(errors="replace").strip() or None


def _environment() -> dict[str, str]:
    """What git needs, without variables that point it elsewhere or make it ask."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    return {**kept, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}


def _run(command: list[str], *, timeout_s: float = 5.0) -> bytes | None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
            env=_environment(),
        )
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None
    return done.stdout if done.returncode == 0 else None


def _read_some(command: list[str], *, timeout_s: float = 20.0) -> tuple[bytes, bool]:
    """At most 5 MB of a command's output, and whether there was more."""
    import threading

    try:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            env=_environment(),
        )
    except (OSError, ValueError):
        return b"", False
    clock = threading.Timer(timeout_s, process.kill)
    clock.start()
    said = process.stdout or io.BytesIO()
    try:
        data = said.read(MOST_DIFF_BYTES + 1)
    finally:
        clock.cancel()
        process.kill()
        process.wait()
        said.close()
    return data[:MOST_DIFF_BYTES], len(data) > MOST_DIFF_BYTES
