"""`physlab bundle …`: reproducibility packages, made, verified, and run again."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physlab_mcp.cli.gallery import near
from physlab_mcp.cli.opened import OWNER, data_of, with_lab
from physlab_mcp.cli.output import size_of

if TYPE_CHECKING:
    from physlab_mcp.bundles.rerun import Report
    from physlab_mcp.bundles.shapes import Verification
    from physlab_mcp.cli.output import Output
    from physlab_mcp.lab import Lab

OUT = Path("physlab-out")
ENDS = {"exact": 0, "within_tolerance": 0, "environment_differs": 3}


def create(args: Namespace, out: Output) -> int:
    """Write the package of a run or sweep."""
    import msgspec

    from physlab_mcp.bundles.make import make_package
    from physlab_mcp.bundles.wishes import Wishes, tolerances_of

    wishes = Wishes(
        name=args.name,
        tolerances=tolerances_of(args.tolerance, args.ignore, args.pixels, field="--tolerance"),
        wheelhouse=args.wheelhouse,
        everything=args.everything,
        license=args.license,
        folders=(Path.cwd(),),
    )
    target = (
        Path(args.out).expanduser().absolute() if args.out else OUT.absolute() / (args.name or f"package-{args.run}")
    )

    async def work(lab: Lab) -> int:
        made = await make_package(lab.engine, lab.registry, lab.blobs, args.run, target, owner=OWNER, wishes=wishes)
        out.answer(msgspec.to_builtins(made))
        out.say(f"{near(target)}: {made.files} files, {size_of(made.bytes)}, {made.points} points, {made.jobs} jobs.")
        out.say(f"Signed by {made.fingerprint}")
        for warning in made.warnings:
            out.note(f"Warning: {warning}")
        out.next(f"physlab bundle verify {near(target)}", f"physlab bundle reproduce {near(target)}")
        return 0

    return with_lab(args, work, start_engine=False)


def verify(args: Namespace, out: Output) -> int:
    """Check a package; exit code 0 only if nothing is wrong."""
    import msgspec

    from physlab_mcp.bundles.verify import verify_package

    found = verify_package(Path(args.path), trusted=args.trust, own_key=data_of(args).signing_key)
    out.answer(msgspec.to_builtins(found))
    say_checks(found, out)
    return 0 if found.ok else 1


def say_checks(found: Verification, out: Output) -> None:
    """The checks as a table, and below it what is wrong."""
    rows = [(check.verdict, check.name, check.text) for check in found.checks]
    out.table(("verdict", "check", "found"), rows)
    for check in found.checks:
        for one in check.found:
            out.note(f"- {check.name}: {one}")
    whole = "The package is whole" if found.ok else "The package is NOT as it was made, or not complete"
    out.say(f"{whole}: {found.files} files, {size_of(found.bytes)}.")
    if found.ok and not found.trusted:
        out.say("Its key is not known here: compare the fingerprint with one that its maker told you.")


def reproduce(args: Namespace, out: Output) -> int:
    """Run a package again and compare; exit code 0 exact or within tolerance, 3 another environment, 1 failed."""
    import msgspec

    from physlab_mcp.bundles.entry_point import told
    from physlab_mcp.bundles.reproduce import reproduce_package

    out.note("This runs the code in the package.")
    with _submitters_environment(Path(args.path)):
        report = reproduce_package(
            Path(args.path),
            work=Path(args.work).expanduser() if args.work else None,
            here=args.here,
            trusted=args.trust,
            own_key=data_of(args).signing_key,
        )
    body: dict[str, Any] = msgspec.to_builtins(report)
    out.answer(body)
    out.say(told(body))
    if _tell_job(report):
        return 0
    return ENDS.get(report.verdict, 1)


@contextmanager
def _submitters_environment(package: Path) -> Generator[None]:
    """As a job it takes the variables that its submitter left for it, and removes them at its end."""
    from physlab_mcp.bundles import job_environment

    job_id = os.environ.get("PHYSLAB_JOB_ID")
    if not job_id:
        yield
        return
    place = job_environment.place_of(package.absolute(), job_id)
    job_environment.take(place, os.environ)
    try:
        yield
    finally:
        place.unlink(missing_ok=True)


def _tell_job(report: Report) -> bool:
    """As a job its verdict is a value, and a verdict of any kind is no failure of the job."""
    place = os.environ.get("PHYSLAB_VALUES")
    if not place:
        return False
    body = {
        "verdict": report.verdict,
        "values": report.values,
        "counts": report.counts,
        "differences": report.differences[:20],
        "environment": report.environment[:50],
        "message": report.message,
    }
    Path(place).write_text(json.dumps(body, default=str)[:60_000], encoding="utf-8")
    return True
