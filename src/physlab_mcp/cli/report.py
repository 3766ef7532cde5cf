"""`physlab report`, and the outputs that `run` and `demo` leave as well."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physlab_mcp.cli.gallery import Gallery, folder_of, near, show, try_folder
from physlab_mcp.cli.opened import OWNER, with_lab
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.extras import install_command, missing_of

if TYPE_CHECKING:
    from physlab_mcp.cli.output import Output
    from physlab_mcp.lab import Lab
    from physlab_mcp.schemas.status import NodeView, Status


def report(args: Namespace, out: Output) -> int:
    """Write a finished run up, and copy what it left into a folder."""
    try_folder(args.out)

    async def work(lab: Lab) -> int:
        status = await lab.engine.status(args.run, owner=OWNER, limit=0)
        about = {"title": args.title, "authors": args.author, "abstract": args.abstract, "bib": read_bib(args.bib)}
        left = await leave_outputs(lab, status, args, out, about=about, must_report=True)
        out.answer(left)
        out.next(f"physlab jobs show {args.run}")
        return 0

    return with_lab(args, work, start_engine=False)


async def leave_outputs(
    lab: Lab, status: Status, args: Namespace, out: Output, *, about: dict[str, Any], must_report: bool = False
) -> dict[str, Any]:
    """Figures, values and report into a folder; says where they are and tells the same as JSON.

    Where no report can be made that is a warning, unless it `must_report`.
    """
    can = must_report or not missing_of("science")
    pdf, pages, warnings = await publish(lab, status.id, about) if can else (None, 0, [])
    gallery = Gallery(lab.blobs, folder_of(about.get("title") or status.title, status.id, args.out))
    gallery.add(await all_nodes(lab, status.id))
    place = gallery.add_report(pdf) if pdf is not None else None
    say_figures(out, gallery)
    if place is not None:
        out.say(f"  {place.name} ({pages} pages)")
    else:
        warnings.append(f"No report: it needs the extra 'science'. Install it with: {install_command('science')}")
    out.say("  values.json")
    for warning in (*warnings, *gallery.missing):
        out.note(f"Warning: {warning}")
    if args.open and place is not None and not show(place):
        out.note("There is no program here that opens files (xdg-open).")
    return {
        "run_id": status.id,
        "folder": str(gallery.folder),
        "figures": [str(path) for path in gallery.figures],
        "report": str(place) if place is not None else None,
        "pages": pages,
        "warnings": [*warnings, *gallery.missing],
    }


def say_figures(out: Output, gallery: Gallery) -> None:
    """The figures, one a line; a figure that is there as PNG is not told again as SVG."""
    stems = {path.stem for path in gallery.figures if path.suffix == ".png"}
    out.say(f"In {near(gallery.folder)}:")
    for path in gallery.figures:
        if path.suffix != ".svg" or path.stem not in stems:
            out.say(f"  {path.name}")


async def publish(lab: Lab, run_id: str, about: dict[str, Any]) -> tuple[Path, int, list[str]]:
    """The report of a run: its file, its pages, its warnings."""
    wanted = {key: value for key, value in about.items() if value}
    reply = await lab.router.call(
        "experiment_orchestrator", {"method": "publish_report", "run_id": run_id, **wanted}, principal=OWNER
    )
    if reply.error is not None:
        raise reply.error
    body = reply.structured
    return Path(body["pdf_path"]), int(body["pages"]), list(body.get("warnings") or [])


async def all_nodes(lab: Lab, run_id: str) -> list[NodeView]:
    """Every node of a run with its result."""
    found: list[NodeView] = []
    while True:
        last = await lab.store.get_jobs([found[-1].job_id]) if found else []
        page = await lab.engine.nodes(run_id, owner=OWNER, after=last[0].pk if last else None, limit=500)
        found += page
        if len(page) < 500:
            return found


def read_bib(path: str | Path | None) -> Sequence[str]:
    """The BibTeX text of a file as the report takes it."""
    if path is None:
        return []
    try:
        return [Path(path).expanduser().read_text(encoding="utf-8")]
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            f"The references {path} cannot be read: {error}.",
            field="--bib",
            got=str(path),
            remedy="Name a BibTeX file.",
        ) from None
