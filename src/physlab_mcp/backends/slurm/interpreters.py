"""The interpreter of node calls on a cluster: what it is, and whether it would compute what this physlab computes."""

from __future__ import annotations

import json
import re
import secrets
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec

import physlab_mcp
from physlab_mcp.backends.hosts.host import Done, Host
from physlab_mcp.backends.slurm import interpreter_probe
from physlab_mcp.backends.slurm.settings import SlurmSettings
from physlab_mcp.errors import RejectedError, UnavailableError

OLDEST = (3, 11)  # what physlab_mcp itself needs
_LOOK_S = 120.0  # a cold Python on a shared file system
_PYTHON = re.compile(r"^(\d+)\.(\d+)")
_PACKAGES = re.compile(r"^\d+:(?:[0-9a-f]+|unknown):(.*)\Z", re.DOTALL)


class Interpreter(msgspec.Struct, frozen=True, kw_only=True):
    """What an interpreter told of itself.

    `physlab` is the version that it would run ("" for none, and `trouble` says why), `sources` the digits of its files.
    """

    executable: str
    python: str
    implementation: str = ""
    machine: str = ""
    system: str = ""
    libc: str = ""
    physlab: str = ""
    sources: str = ""
    packages: dict[str, str] = {}
    trouble: str = ""
    sources_here: str = ""  # of this machine's physlab, at the moment when that was told
    made: bool = False  # by us, just now


def own_sources() -> str:
    """The digits of this physlab's files as they are now, which is what workers here run."""
    return interpreter_probe.sources_of(str(Path(physlab_mcp.__file__).parent))


def text_of(program: Any, call: str) -> bytes:
    """The source of a module that runs elsewhere, with the call that begins it."""
    return (Path(program.__file__).read_text(encoding="utf-8") + f"\n\n{call}\n").encode()


def asked(mark: str) -> bytes:
    """The probe, as an interpreter's standard input."""
    return text_of(interpreter_probe, f"main({mark!r})")


def new_mark() -> str:
    """A line that no login script prints."""
    return f"physlab {secrets.token_hex(8)}"


def told_after(mark: str, done: Done, *, what: str) -> dict[str, Any]:
    """The JSON object in an answer.

    Raises:
        UnavailableError: there is none; the message ends with what was said instead.

    """
    text = done.out.decode("utf-8", "replace").rpartition(mark + "\n")[2] if mark.encode() in done.out else ""
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        said = (done.err or done.out).decode("utf-8", "replace").strip()[-500:] or "nothing"
        raise UnavailableError(
            f"{what} ended with {done.code} and said: {said}.", field="backends.slurm.python", got=done.code,
            remedy="Name a Python there as backends.slurm.python (and its `modules`, if it needs any).",
        )  # fmt: skip
    return body


def as_a_job(settings: SlurmSettings, argv: Sequence[str]) -> list[str]:
    """Words that run a command where a job's script would: with its modules and its own variables."""
    words = [*argv]
    if settings.env:
        words = ["env", *(f"{name}={value}" for name, value in sorted(settings.env.items())), *words]
    if not settings.modules and not settings.login_shell:
        return words
    loads = [f"module load {shlex.quote(module)} || exit 1" for module in settings.modules]
    return ["/bin/bash", "-l", "-c", "\n".join([*loads, 'exec "$@"']), "bash", *words]


async def ask(host: Host, settings: SlurmSettings, python: str) -> Interpreter:
    """What the interpreter of this name is.

    Raises:
        RejectedError: there is no such interpreter.
        UnavailableError: the host cannot be reached, or it does not answer.

    """
    mark = new_mark()
    clean = ["env", "-u", "PYTHONPATH", "-u", "PYTHONHOME", "-u", "VIRTUAL_ENV", *as_a_job(settings, [python, "-"])]
    before = await anyio.to_thread.run_sync(own_sources)
    done = await host.run(clean, stdin=asked(mark), timeout_s=_LOOK_S)
    if done.code in (126, 127):
        said = done.err.decode("utf-8", "replace").strip()[-300:]
        raise RejectedError(
            f"There is no {python!r} on {host.name}: {said}.", field="backends.slurm.python", got=python,
            remedy="Name a Python there as backends.slurm.python (and its `modules`, if it needs any).",
        )  # fmt: skip
    told = told_after(mark, done, what=f"{python!r} on {host.name}")
    after = await anyio.to_thread.run_sync(own_sources)
    here = before if told.get("sources") == before else after  # this physlab may be changed meanwhile
    return msgspec.convert({**told, "sources_here": here}, Interpreter)


def version_of(python: str) -> tuple[int, int]:
    """(3, 12) of "3.12.1"; (0, 0) of what is no version."""
    found = _PYTHON.match(python)
    return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def too_old(one: Interpreter, python: str, host: str) -> RejectedError | None:
    """Why no node call can run with it; None where its version is new enough."""
    if version_of(one.python) >= OLDEST:
        return None
    return RejectedError(
        f"{python!r} on {host} is Python {one.python}, and node calls need {'.'.join(map(str, OLDEST))} or newer.",
        field="backends.slurm.python", got=one.python,
        remedy="Name a newer one as backends.slurm.python (and its `modules`). Commands and scripts run with 3.8 too.",
    )  # fmt: skip


def mismatch(one: Interpreter, python: str, host: str) -> RejectedError | None:
    """Why results of this interpreter would not be those of this physlab; None where they would be."""
    old = too_old(one, python, host)
    if old is not None:
        return old
    ours, theirs = physlab_mcp.__version__, one.physlab
    if theirs == ours and one.sources == one.sources_here:
        return None
    if not theirs:
        why = f" ({one.trouble})" if one.trouble else ""
        message = f"{python!r} on {host} (Python {one.python}) has no physlab_mcp{why}; here it is {ours}."
    elif theirs == ours:
        message = (
            f"{python!r} on {host} has other files of physlab_mcp {theirs} ({one.sources}) than there are here "
            f"({ours}, {one.sources_here})."
        )
    else:
        message = f"{python!r} on {host} has physlab_mcp {theirs}, and here it is {ours}."
    return RejectedError(
        message, field="backends.slurm.python", got=theirs or "none",
        remedy=f"Install physlab-mcp {ours} for that interpreter, or set backends.slurm.bootstrap to uv.",
        details=[{"here": ours, "there": theirs, "files_here": one.sources_here, "files_there": one.sources}],
    )  # fmt: skip


def other_packages(one: Interpreter, code: str, type_: str, host: str) -> RejectedError | None:
    """Why a node call's result would stand under a wrong name: packages in `code` (see artifacts.cache_key) differ there."""
    found = _PACKAGES.match(code)
    pairs = [part.partition("=") for part in (found.group(1) if found else "").split(",") if "=" in part]
    differ = [
        (name, here, there)
        for name, _, here in pairs
        if (there := one.packages.get(re.sub(r"[-_.]+", "-", name).lower(), "absent")) != here
    ]
    if not differ:
        return None
    told = ", ".join(f"{name} {there} instead of {here}" for name, here, there in differ)
    return RejectedError(
        f"{type_} would compute with other packages on {host} than its result is filed under: {told}.",
        field="backends.slurm.python", got=differ[0][2],
        remedy="Install the same versions there, or set backends.slurm.bootstrap to uv.",
        details=[{"package": name, "here": here, "there": there} for name, here, there in differ],
    )  # fmt: skip
