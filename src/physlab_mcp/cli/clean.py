"""`physlab clean`: remove what is old and can be made again. Records are never removed.

Removed: folders of jobs that ended before the cut-off; artifacts that only such jobs refer to (reports stay; a node
whose artifacts are gone is computed again, never served from the cache); bytes that were moved aside as corrupted;
leftovers of writers that died; copies of old stores.
"""

from __future__ import annotations

import shutil
import time
from argparse import Namespace
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from physlab_mcp.cli.opened import config_of, data_of, with_lab
from physlab_mcp.cli.output import size_of
from physlab_mcp.config import seconds_of

if TYPE_CHECKING:
    from physlab_mcp.cli.output import Output
    from physlab_mcp.lab import Lab
    from physlab_mcp.schemas.job import Job

_PAGE = 1000
_KEPT_RECORDS = ("report", "environment", "git")  # what they name is small and cannot be made again
_LEFTOVER_S = 86_400.0  # a temporary file this old has no writer any more


class Sweepings:
    """What is to be removed, by kind."""

    def __init__(self) -> None:
        self.paths: dict[str, list[Path]] = {}
        self.sizes: dict[str, int] = {}

    def add(self, kind: str, path: Path) -> None:
        """Note a file or folder."""
        self.paths.setdefault(kind, []).append(path)
        self.sizes[kind] = self.sizes.get(kind, 0) + _size(path)

    def remove(self) -> list[str]:
        """Remove all; what could not be removed and why."""
        problems: list[str] = []
        for path in [path for paths in self.paths.values() for path in paths]:
            try:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
            except OSError as error:
                problems.append(f"{path}: {error.strerror}")
        return problems


def clean(args: Namespace, out: Output) -> int:
    """Remove what ended before --older-than; with --dry-run only tell."""
    age = args.older_than or config_of(args).storage.retention
    before = time.time() - seconds_of(age)
    if not data_of(args).root.is_dir():
        out.say("There is nothing to clean.")
        out.answer({"removed": {}, "problems": [], "dry_run": args.dry_run})
        return 0

    async def work(lab: Lab) -> int:
        found = Sweepings()
        live = await _look(lab, before, found)
        problems = [] if args.dry_run else found.remove()
        _tell(out, found, problems, age=age, dry_run=args.dry_run, live=live)
        return 1 if problems else 0

    return with_lab(args, work, start_engine=False)


async def _look(lab: Lab, before: float, found: Sweepings) -> int:
    """Note everything that may go; how many jobs are live (then no artifact goes)."""
    live = 0
    kept: set[str] = set()
    async for jobs in _pages(lab):
        bodies = await lab.store.results([job.id for job in jobs])
        for job in jobs:
            old = bool(job.ended_at) and job.ended_at < before
            live += not job.ended_at
            folder = lab.data.job_folder(job.id)
            if old and folder.is_dir():
                found.add("job folders", folder)
            if not old:
                kept |= _named_in(bodies.get(job.id, b"")) | _named_in(msgspec.json.encode(job.spec))
    for kind in _KEPT_RECORDS:
        kept |= await _named_in_records(lab, kind)
    now = time.time()
    for path in lab.data.blobs.glob("*/*"):
        kind = _kind(path, path.parent.name + path.name, kept, now=now, before=before)
        if kind and not (kind == "artifacts" and live):
            found.add(kind, path)
    for path in lab.data.root.glob("*.backup"):
        if path.stat().st_mtime < before:
            found.add("old stores", path)
    return live


def _kind(path: Path, sha256: str, kept: set[str], *, now: float, before: float) -> str:
    """Why a file among the artifacts may go; empty if it may not."""
    age_at = path.stat().st_mtime
    if path.name.startswith(".new-"):
        return "leftovers" if age_at < now - _LEFTOVER_S else ""
    if path.name.endswith(".corrupt"):
        return "corrupted artifacts" if age_at < before else ""
    return "artifacts" if age_at < before and sha256 not in kept else ""


async def _pages(lab: Lab) -> AsyncIterator[list[Job]]:
    from physlab_mcp.stores.base import JobQuery

    after: int | None = None
    while True:
        jobs = await lab.store.find_jobs(JobQuery(oldest_first=True, after=after, limit=_PAGE))
        if jobs:
            yield jobs
        if len(jobs) < _PAGE:
            return
        after = jobs[-1].pk


async def _named_in_records(lab: Lab, kind: str) -> set[str]:
    found: set[str] = set()
    after = 0
    while True:
        page = await lab.store.find(kind, after=after, limit=_PAGE)
        for _, _, body in page:
            found |= _named_in(msgspec.json.encode(body))
        if len(page) < _PAGE:
            return found
        after = page[-1][0]


def _named_in(body: bytes) -> set[str]:
    """Every SHA-256 that a JSON text mentions, however it is nested."""
    if not body:
        return set()
    found: set[str] = set()
    stack: list[Any] = [msgspec.json.decode(body)]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
        elif isinstance(value, str) and len(value) in (64, 71):
            found.add(value.removeprefix("sha256:"))
    return found


def _size(path: Path) -> int:
    if not path.is_dir():
        return path.lstat().st_size
    return sum(one.lstat().st_size for one in path.rglob("*") if not one.is_dir())


def _tell(out: Output, found: Sweepings, problems: list[str], *, age: str, dry_run: bool, live: int) -> None:
    rows = {kind: {"count": len(paths), "bytes": found.sizes[kind]} for kind, paths in found.paths.items()}
    out.answer({"removed": rows, "problems": problems, "dry_run": dry_run, "live_jobs": live})
    verb = "Would remove" if dry_run else "Removed"
    for kind, row in rows.items():
        out.say(f"{verb} {row['count']} {kind}, {size_of(row['bytes'])}")
    if not rows:
        out.say(f"Nothing is older than {age}.")
    if live:
        out.say(f"{live} jobs are live, so no artifact is removed now; run it again when they have ended.")
    for problem in problems:
        out.note(f"Could not remove {problem}")
