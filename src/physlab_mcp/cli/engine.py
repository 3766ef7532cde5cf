"""`physlab engine …`: the process that schedules."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physlab_mcp.cli.opened import config_of, data_of, roots_of
from physlab_mcp.cli.output import age_of, clock_of
from physlab_mcp.errors import ConflictError, RequestError, UnavailableError

if TYPE_CHECKING:
    from physlab_mcp.cli.output import Output


def run(args: Namespace, out: Output) -> int:
    """Be the engine until it is stopped or idle."""
    from physlab_mcp.lab import run_engine

    config_of(args)  # a broken configuration is told here, on the terminal, not in the engine's log
    data = data_of(args).create()
    out.note(f"The engine of {data.root} writes to {data.engine_log}; Ctrl-C stops it.")
    config_file = Path(args.config) if args.config else None
    reason = run_engine(data.root, config_file=config_file, roots=roots_of(args))
    out.say(f"The engine ended: {reason}.")
    out.answer({"ended": reason})
    return 0


def status(args: Namespace, out: Output) -> int:
    """Whether an engine runs; exit code 0 either way."""
    data = data_of(args)
    found = ask_engine(args)
    out.answer({"running": found is not None, "data_dir": str(data.root), **(found or {})})
    if found is None:
        out.say(f"No engine runs for {data.root}. One starts by itself with the next submission.")
        return 0
    backends = found.get("backends", {})
    out.fields({
        "pid": found["pid"], "version": found["version"], "up": age_of(found["uptime_s"]),
        "schedules": "yes" if found["leads"] else "no, it stands by", "live jobs": found["live"],
        "clients": found["clients"], "data directory": data.root, "log": data.engine_log,
    })  # fmt: skip
    for name, one in backends.items():
        out.say(f"backend {name}: {_standing(one)}")
    for name in _configured(args):
        if name not in backends:
            out.say(f"backend {name}: it is not asked yet, or has not answered; `physlab doctor` asks it itself")
    return 0


def _configured(args: Namespace) -> tuple[str, ...]:
    try:
        return config_of(args).backends.names
    except RequestError:  # `physlab doctor` tells what is wrong with it
        return ()


def _standing(one: Mapping[str, Any]) -> str:
    """What a backend said of itself, in one line."""
    detail: Mapping[str, Any] = one.get("detail", {})
    there = f"{detail['abroad']} jobs there" if "abroad" in detail else f"{detail.get('busy', 0)} busy"
    if not one.get("reachable", True):
        since = f" since {clock_of(detail['since'])}" if detail.get("since") else ""
        return f"not reachable{since}: {detail.get('why') or 'it does not say why'}; {there}"
    if "abroad" not in detail:
        return f"{one.get('slots')} slots, {there}, {detail.get('workers', 0)} workers"
    named = detail.get("cluster") or detail.get("server")
    whose = f", {named} {detail.get('version', '')}".rstrip() if named else ""
    since = f" since {clock_of(detail['since'])}" if detail.get("since") else ""
    return f"reachable{since}, {one.get('slots')} slots, {there}{whose}"


def stop(args: Namespace, out: Output) -> int:
    """Ask the engine to leave and wait until it is gone."""
    import anyio

    from physlab_mcp.engine.link import ask

    data = data_of(args)
    answer = anyio.run(ask, data, "stop") if data.root.is_dir() else None
    if answer is None:
        out.say("No engine runs.")
        out.answer({"stopped": False})
        return 0
    deadline = time.monotonic() + 15
    while _held(args):
        if time.monotonic() > deadline:
            raise UnavailableError("The engine does not end.", remedy=f"Look into {data.engine_log}.")
        time.sleep(0.05)
    out.say("The engine has ended. Running jobs go on; the next engine takes them up.")
    out.answer({"stopped": True})
    return 0


def logs(args: Namespace, out: Output) -> int:
    """The last lines of the engine's log."""
    data = data_of(args)
    try:
        text = data.engine_log.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        raise ConflictError(
            f"There is no engine log in {data.logs}: no engine ran here yet.", got=str(data.engine_log),
            remedy="Submit something, or name the right --data-dir.",
        ) from None  # fmt: skip
    lines = text.splitlines()[-args.lines :] if args.lines else []
    out.answer({"path": str(data.engine_log), "lines": lines})
    out.say("\n".join(lines))
    return 0


def ask_engine(args: Namespace) -> dict[str, Any] | None:
    """The status of the running engine, or None."""
    import anyio

    from physlab_mcp.engine.link import ask

    data = data_of(args)
    if not data.root.is_dir():
        return None
    answer = anyio.run(ask, data, "status")
    return answer.get("status") if answer else None


def _held(args: Namespace) -> bool:
    """Whether some engine still holds this data directory's lock."""
    from physlab_mcp.backends.process import FileLock

    lock = FileLock(data_of(args).engine_lock)
    if lock.try_acquire():
        lock.release()
        return False
    return True
