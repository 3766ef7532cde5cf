"""`physlab doctor`: one line a finding, each with the way to mend it. Looks only; starts and changes nothing."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sqlite3
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from physlab_mcp import __version__
from physlab_mcp.cli.opened import config_of, data_of
from physlab_mcp.cli.output import age_of, size_of
from physlab_mcp.errors import PhyslabError

if TYPE_CHECKING:
    from physlab_mcp.cli.output import Output
    from physlab_mcp.config import Config
    from physlab_mcp.paths import DataDir

_EXTRAS = {
    "science": (("numpy", "scipy", "matplotlib", "pint", "reportlab"), "numeric nodes, figures and reports"),
    "video": (("av",), "animations as mp4 where no ffmpeg is installed"),
}
_LITTLE = 1_000_000_000  # bytes; less free space than this is worth a warning


@dataclass(frozen=True)
class Finding:
    """One thing looked at. state: ok, warn (something is missing), fail (it cannot work like this)."""

    what: str
    state: str
    text: str
    remedy: str = ""


def doctor(args: Namespace, out: Output) -> int:
    """Exit code 1 if something cannot work."""
    found = [
        one
        for check in (_python, _config, _data, _store, _engine, _nodes, _extras, _programs)
        for one in _safe(check, args)
    ]
    out.answer({"ok": not any(one.state == "fail" for one in found), "findings": [asdict(one) for one in found]})
    out.table(("what", "state", "finding"), [(one.what, one.state, one.text) for one in found])
    remedies = [one for one in found if one.remedy]
    if remedies:
        out.say()
        out.say("To mend it:")
        for one in remedies:
            out.say(f"  {one.what}: {one.remedy}")
    return 1 if any(one.state == "fail" for one in found) else 0


def _safe(check: Callable[[Namespace], Iterator[Finding]], args: Namespace) -> list[Finding]:
    """What a check found; a check that fails is a finding, so that the others are still told."""
    found: list[Finding] = []
    name = check.__name__.strip("_")
    try:
        found.extend(check(args))
    except PhyslabError as error:
        found.append(Finding(name, "fail", error.message, error.remedy or ""))
    except Exception as error:
        found.append(Finding(name, "fail", f"{type(error).__name__}: {error}"))
    return found


def _python(args: Namespace) -> Iterator[Finding]:
    del args
    yield Finding(
        "physlab", "ok", f"{__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}"
    )
    yield Finding("interpreter", "ok", sys.executable)


def _config(args: Namespace) -> Iterator[Finding]:
    from physlab_mcp.config import locate

    config = config_of(args)
    found = locate(args.config)
    yield Finding("config", "ok", str(found) if found else "built-in (no server.config.json here)")
    for root in (*config.limits.allowed_roots, *args.root):
        if not Path(root).is_dir():
            yield Finding("root", "warn", f"{root} is no folder", "Create it, or take it out of limits.allowed_roots.")


def _data(args: Namespace) -> Iterator[Finding]:
    from physlab_mcp.stores.sqlite import NETWORK_FILE_SYSTEMS, file_system_of

    data = data_of(args)
    if not data.root.exists():
        above = next(one for one in data.root.parents if one.exists())
        if above.is_dir() and os.access(above, os.W_OK | os.X_OK):
            yield Finding("data directory", "ok", f"{data.root} (made at first use)")
        else:
            text = f"{data.root} cannot be made: {above} is {'not writable' if above.is_dir() else 'no directory'}"
            yield Finding("data directory", "fail", text, "Name another with --data-dir.")
        return
    if not data.root.is_dir():
        yield Finding("data directory", "fail", f"{data.root} is no directory", "Name another with --data-dir.")
        return
    if not os.access(data.root, os.W_OK | os.X_OK):
        remedy = f"chmod u+rwx {shlex.quote(str(data.root))}, or use --data-dir."
        yield Finding("data directory", "fail", f"{data.root} is not writable", remedy)
        return
    mode = data.root.stat().st_mode & 0o077
    if mode and sys.platform != "win32":
        yield Finding(
            "data directory", "warn", f"{data.root} is open to others", f"chmod 700 {shlex.quote(str(data.root))}"
        )
    kind = file_system_of(data.root)
    if kind in NETWORK_FILE_SYSTEMS:
        remedy = "Use a local disk (--data-dir), or let one host only use it."
        yield Finding("data directory", "warn", f"{data.root} lies on a network file system ({kind})", remedy)
    free = shutil.disk_usage(data.root).free
    state, remedy = ("ok", "") if free > _LITTLE else ("warn", "Make room, or run: physlab clean --dry-run")
    used = ", ".join(f"{name} {size_of(size)}" for name, size in disk_use(data).items() if size)
    yield Finding("data directory", state, f"{data.root}: {used or 'empty'}; {size_of(free)} free", remedy)


def _store(args: Namespace) -> Iterator[Finding]:
    from physlab_mcp.stores.migrate import newest

    config: Config = config_of(args)
    path = config.store_path(data_of(args))
    if not path.exists():
        yield Finding("store", "ok", f"{path} (made at first use)")
        return
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)
    try:
        found = int(connection.execute("PRAGMA user_version").fetchone()[0])
        check = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    finally:
        connection.close()
    if found > newest():
        remedy = "Install the physlab that wrote it, or use another --data-dir."
        yield Finding("store", "fail", f"{path} has schema {found}; this physlab knows up to {newest()}", remedy)
    elif check != "ok":
        remedy = (
            f"Stop the engine and put a backup in its place: {shlex.quote(str(path))}.schema-*.backup, or your own."
        )
        yield Finding("store", "fail", f"{path} is damaged: {check}", remedy)
    else:
        yield Finding("store", "ok", f"{path}: SQLite {sqlite3.sqlite_version}, schema {found}, intact")


def _engine(args: Namespace) -> Iterator[Finding]:
    from physlab_mcp.cli.engine import ask_engine

    found = ask_engine(args)
    if found is None:
        yield Finding("engine", "ok", "not running; it starts with the next submission")
        return
    role = "schedules" if found["leads"] else "stands by"
    text = f"pid {found['pid']}, version {found['version']}, up {age_of(found['uptime_s'])}, {role}, {found['live']} live jobs"
    if found["version"] != __version__:
        remedy = "It hands over to this version at the next command that submits."
        yield Finding("engine", "warn", f"{text}; this command is {__version__}", remedy)
    else:
        yield Finding("engine", "ok", text)


def _nodes(args: Namespace) -> Iterator[Finding]:
    del args
    from physlab_mcp.nodes.device import detect_devices
    from physlab_mcp.nodes.registry import Registry

    yield Finding("node types", "ok", ", ".join(Registry.load().names()))
    yield Finding("devices", "ok", ", ".join(detect_devices()))


def _extras(args: Namespace) -> Iterator[Finding]:
    del args
    for extra, (packages, what) in _EXTRAS.items():
        missing = [package for package in packages if _version(package) is None]
        if missing:
            remedy = f"uv pip install 'physlab-mcp[{extra}]'"
            yield Finding(extra, "warn", f"{', '.join(missing)} not installed: {what} do not work", remedy)
        else:
            yield Finding(extra, "ok", ", ".join(f"{package} {_version(package)}" for package in packages))


def _programs(args: Namespace) -> Iterator[Finding]:
    from physlab_mcp.backends import sandbox

    policy = config_of(args).backends.local.commands
    reason = sandbox.available() if policy != "deny" else None
    if reason is None:
        yield Finding(
            "commands", "ok", f"commands from agents: {policy}" + (", in a sandbox" if policy != "deny" else "")
        )
    else:
        text = f"commands from agents cannot run: {reason}"
        yield Finding(
            "commands", "warn", text, "Or set backends.local.commands to deny; commands of yours are not concerned."
        )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def disk_use(data: DataDir) -> dict[str, int]:
    """Bytes by part of the data directory."""
    parts = {"records": 0, "artifacts": 0, "job folders": 0, "spools": 0, "logs": 0, "reports": 0}
    rooms = {"blobs": "artifacts", "jobs": "job folders", "spool": "spools", "logs": "logs", "reports": "reports"}
    for folder, _, names in os.walk(data.root):
        top = Path(folder).relative_to(data.root).parts
        part = rooms.get(top[0] if top else "", "records")
        for name in names:
            try:
                parts[part] += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - a Path for each of a million files costs seconds
            except OSError:
                continue
    return parts
