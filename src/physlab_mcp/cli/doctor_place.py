"""What `physlab doctor` looks at first: the program, the configuration, the data directory, the store, the engine."""

from __future__ import annotations

import itertools
import os
import platform
import re
import shlex
import shutil
import sqlite3
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from physlab_mcp import __version__
from physlab_mcp.cli.doctor_finding import Finding
from physlab_mcp.cli.opened import config_of, data_of
from physlab_mcp.cli.output import age_of, size_of
from physlab_mcp.errors import PhyslabError

if TYPE_CHECKING:
    from physlab_mcp.paths import DataDir

_LITTLE = 1_000_000_000  # bytes; less free space than this is worth a warning
TRIPPED = "the engine failed; it starts again"  # what physlab_mcp/__main__.py logs
_LATELY_S = 600.0
_SEVERAL = 3  # failures in that time; fewer are got over
_HELD_S = 60.0  # an engine that is up for longer is out of the circle, or in a slow one
_TAIL = 1 << 20  # bytes of the log that are read
_STAMP = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_ERROR = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Warning|Interrupt|Exit)\b")


def python(args: Namespace) -> Iterator[Finding]:
    """Versions, and whether what `install` writes into clients can be found."""
    del args
    yield Finding(
        "physlab", "ok", f"{__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}"
    )
    yield Finding("interpreter", "ok", sys.executable)


def config(args: Namespace) -> Iterator[Finding]:
    """The file that counts, and the folders it names."""
    from physlab_mcp.config import locate

    settings = config_of(args)
    found = locate(args.config)
    yield Finding("config", "ok", str(found) if found else "built-in (no server.config.json here)")
    for root in (*settings.limits.allowed_roots, *args.root):
        if not Path(root).is_dir():
            yield Finding("root", "warn", f"{root} is no folder", "Create it, or take it out of limits.allowed_roots.")


def data(args: Namespace) -> Iterator[Finding]:
    """Whether the data directory can be used, who may read it, what it takes."""
    from physlab_mcp.stores.sqlite import NETWORK_FILE_SYSTEMS, file_system_of

    place = data_of(args)
    if not place.root.exists():
        above = next(one for one in place.root.parents if one.exists())
        if above.is_dir() and os.access(above, os.W_OK | os.X_OK):
            yield Finding("data directory", "ok", f"{place.root} (made at first use)")
        else:
            text = f"{place.root} cannot be made: {above} is {'not writable' if above.is_dir() else 'no directory'}"
            yield Finding("data directory", "fail", text, "Name another with --data-dir.")
        return
    if not place.root.is_dir():
        yield Finding("data directory", "fail", f"{place.root} is no directory", "Name another with --data-dir.")
        return
    if not os.access(place.root, os.W_OK | os.X_OK):
        remedy = f"chmod u+rwx {shlex.quote(str(place.root))}, or use --data-dir."
        yield Finding("data directory", "fail", f"{place.root} is not writable", remedy)
        return
    mode = place.root.stat().st_mode & 0o077
    if mode and sys.platform != "win32":
        yield Finding(
            "data directory", "warn", f"{place.root} is open to others", f"chmod 700 {shlex.quote(str(place.root))}"
        )
    kind = file_system_of(place.root)
    if kind in NETWORK_FILE_SYSTEMS:
        remedy = "Use a local disk (--data-dir), or let one host only use it."
        yield Finding("data directory", "warn", f"{place.root} lies on a network file system ({kind})", remedy)
    free = shutil.disk_usage(place.root).free
    state, remedy = ("ok", "") if free > _LITTLE else ("warn", "Make room, or run: physlab clean --dry-run")
    used = ", ".join(f"{name} {size_of(size)}" for name, size in disk_use(place).items() if size)
    yield Finding("data directory", state, f"{place.root}: {used or 'empty'}; {size_of(free)} free", remedy)


def store(args: Namespace) -> Iterator[Finding]:
    """Whether the records are intact and of a schema that is known here."""
    from physlab_mcp.stores.migrate import lacking, newest

    try:
        path = config_of(args).store_path(data_of(args))
    except PhyslabError:  # told already
        path = data_of(args).store
    if not path.exists():
        yield Finding("store", "ok", f"{path} (made at first use)")
        return
    found, check = 0, ""
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)
    try:
        found = int(connection.execute("PRAGMA user_version").fetchone()[0])
        check = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        if check == "ok" and found == newest() and (missing := lacking(connection)):
            check = f"it lacks {', '.join(missing)}"
    except sqlite3.DatabaseError as error:
        check = str(error)
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


def engine(args: Namespace) -> Iterator[Finding]:
    """The running engine and whether it is of this version."""
    from physlab_mcp.cli.engine import ask_engine

    found = ask_engine(args)
    place = data_of(args)
    circle = trips(place.engine_log)
    if circle.count >= _SEVERAL:
        held = found is not None and found["uptime_s"] > _HELD_S
        text = f"it failed and started again {circle.count} times in the last {_LATELY_S // 60:g} minutes"
        text += f", at last with {circle.error}" + (f"; now up {age_of(found['uptime_s'])}" if held and found else "")
        remedy = (
            f"Read physlab engine logs --lines 60 (the file is {shlex.quote(str(place.engine_log))}): mend what its last "
            "error names, or cancel the job it names. It starts again by itself. If it is a defect of physlab, report it "
            "with that log."
        )
        yield Finding("engine", "warn" if held else "fail", text, remedy)
        if not held:
            return
    if found is None:
        yield Finding("engine", "ok", "not running; it starts with the next submission")
        return
    role = "schedules" if found["leads"] else "stands by"
    text = f"pid {found['pid']}, version {found['version']}, up {age_of(found['uptime_s'])}, {role}, {found['live']} live jobs"
    if found["version"] != __version__:
        remedy = "It hands over to this version at the next command that submits; or run: physlab engine stop"
        yield Finding("engine", "warn", f"{text}; this command is {__version__}", remedy)
    else:
        yield Finding("engine", "ok", text)


@dataclass(frozen=True)
class Trips:
    """How often the engine failed and began again lately, and the error it failed with last."""

    count: int = 0
    error: str = ""


def trips(log: Path, now: float | None = None) -> Trips:
    """What the end of an engine's log tells of failures in the last minutes; none where there is no log.

    A failure before the log was set up has no time in it: it counts as of the time the file was written last.
    """
    try:
        with log.open("rb") as file:
            written = os.fstat(file.fileno()).st_mtime
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return Trips()
    since = (time.time() if now is None else now) - _LATELY_S
    starts = [at for at, line in enumerate(lines) if TRIPPED in line and _moment(line, written) >= since]
    if not starts:
        return Trips()
    told = [
        line.strip(" |+-") for line in itertools.takewhile(lambda line: not _STAMP.match(line), lines[starts[-1] + 1 :])
    ]
    errors = [line for line in told if _ERROR.match(line)] or [line for line in told if line] or ["an error not told"]
    return Trips(len(starts), errors[-1][:200])


def _moment(line: str, written: float) -> float:
    found = _STAMP.match(line)
    try:
        return time.mktime(time.strptime(found.group(), "%Y-%m-%d %H:%M:%S")) if found else written
    except (ValueError, OverflowError):
        return written


def disk_use(place: DataDir) -> dict[str, int]:
    """Bytes by part of the data directory."""
    parts = {"records": 0, "artifacts": 0, "job folders": 0, "spools": 0, "logs": 0, "reports": 0}
    rooms = {"blobs": "artifacts", "jobs": "job folders", "spool": "spools", "logs": "logs", "reports": "reports"}
    for folder, _, names in os.walk(place.root):
        top = Path(folder).relative_to(place.root).parts
        part = rooms.get(top[0] if top else "", "records")
        for name in names:
            try:
                parts[part] += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - a Path for each of a million files costs seconds
            except OSError:
                continue
    return parts
