"""`physlab sweep`: an experiment over the points of a parameter space, from a JSON file; ends with table, figures and best point."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physlab_mcp.cli.gallery import folder_of, near, show, try_folder
from physlab_mcp.cli.opened import OWNER, with_lab
from physlab_mcp.cli.run import ASIDE, planned, read_spec, submit
from physlab_mcp.cli.watch import follow
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.extras import install_command, missing_of
from physlab_mcp.schemas.wall_clock import span

if TYPE_CHECKING:
    from physlab_mcp.cli.output import Output
    from physlab_mcp.lab import Lab
    from physlab_mcp.schemas.status import Status


def sweep(args: Namespace, out: Output) -> int:
    """Submit the file's graph over its points; follow it to the end unless --detach, then analyse it."""
    body = read_spec(args.file)
    if not isinstance(body.get("sweep"), dict):
        raise RequestError(
            f"{args.file} has no sweep block.", field="sweep", got=type(body.get("sweep")).__name__,
            remedy='Add "sweep": {"space": {"node.param": [1, 2, 3]}}, or use `physlab run`.',
        )  # fmt: skip
    spec = {name: value for name, value in body.items() if name not in ASIDE}
    if args.plan:
        return tell_plan(args, out, spec, body)
    if not args.detach:
        try_folder(args.out)

    async def work(lab: Lab) -> int:
        handle = await submit(
            lab, spec, sweep=body["sweep"], schedule={"policy": "now"} if args.now else body.get("schedule"),
            use_cache=not args.no_cache, parallelism=args.parallelism, allow_large=args.allow_large,
            backend=args.backend, out=out,
        )  # fmt: skip
        out.say(f"{handle} is submitted; it goes on whatever happens to this command.")
        if handle.startswith("series-"):
            out.answer({"series_id": handle})
            out.next(f"physlab jobs show {handle}", f"physlab jobs cancel {handle}")
            return 0
        if args.detach:
            out.answer({"sweep_id": handle})
            out.next(f"physlab jobs wait {handle}", f"physlab jobs show {handle}", f"physlab analyze {handle}")
            return 0
        status = await follow(lab, handle, out, each_node=False)
        left = await leave(lab, status, args, out, plots=body.get("visualizations"))
        out.answer({"sweep_id": handle, "state": status.state, **left})
        out.next(f"physlab jobs show {handle}", f"physlab bundle create {handle}")
        return 0 if status.state == "succeeded" else 1

    return with_lab(args, work)


def tell_plan(args: Namespace, out: Output, spec: Mapping[str, Any], body: Mapping[str, Any]) -> int:
    """Say what would run when, and why it waits; nothing is submitted."""

    async def work(lab: Lab) -> int:
        from physlab_mcp.dags.outlook import outlook

        plan, dag = planned(
            lab, spec, sweep=body["sweep"], schedule=None if args.now else body.get("schedule"),
            use_cache=not args.no_cache, parallelism=args.parallelism, allow_large=args.allow_large,
            backend=args.backend, out=out,
        )  # fmt: skip
        found = await outlook(
            lab.store, plan, dag, lab.registry, lab.engine.capacity(), now=time.time(), alone=lab.engine.alone
        )
        out.answer(found)
        out.fields({
            "points": found["points"]["total"], "jobs": found["jobs"], "starts at": found["starts_at"],
            "ends at": found["ends_at"], "work": span(found["work_s"]), "known": f"{found['known']:.0%}",
            "cores": f"{found['cores']:g}, busy {found['utilisation']:.0%}",
            **{f"window {number + 1}": " to ".join(one) for number, one in enumerate(found.get("windows", ()))},
        })  # fmt: skip
        columns = ("point", "node", "starts at", "seconds", "why")
        out.say()
        out.table(columns, [tuple("" if cell is None else str(cell) for cell in row.values()) for row in found["rows"]])
        for one in found.get("never", {}).get("first", ()):
            out.note(f"Never: point {one['point']}, {one['node']}: {one['why']}")
        for note in found.get("notes", ()):
            out.note(note)
        out.next(f"physlab sweep {args.file}")
        return 0

    return with_lab(args, work, start_engine=False)


def analyze(args: Namespace, out: Output) -> int:
    """Table, figures and best point of a sweep, whether it has ended or not."""
    try_folder(args.out)

    async def work(lab: Lab) -> int:
        status = await lab.engine.status(args.sweep, owner=OWNER, limit=0)
        left = await leave(lab, status, args, out)
        out.answer({"sweep_id": args.sweep, "state": status.state, **left})
        out.next(f"physlab jobs show {args.sweep}")
        return 0

    return with_lab(args, work, start_engine=False)


def _asked(args: Namespace, compared: list[str]) -> list[dict[str, Any]]:
    """The figures that --pareto and --compare ask for."""
    fronts: list[dict[str, Any]] = []
    for text in getattr(args, "pareto", None) or ():
        pairs = [one.rpartition(":") for one in text.split(",")]
        if not all(name and sense for name, _, sense in pairs):
            raise RequestError(
                f"--pareto {text!r} cannot be read.", field="--pareto", got=text, remedy="Say --pareto loss:min,accuracy:max"
            )  # fmt: skip
        fronts.append({"type": "pareto", "objectives": {name.strip(): sense.strip() for name, _, sense in pairs}})
    return [*fronts, *({"type": "comparison", "with": handle} for handle in compared)]


async def leave(
    lab: Lab, status: Status, args: Namespace, out: Output, *, plots: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write table, figures and page into a folder and say what they tell; the same as JSON.

    Raises:
        RequestError: the handle is no sweep's, or the metric is unknown.

    """
    from physlab_mcp.analysis.sweeps import others_of, table_of, timeline_of

    if status.kind != "sweep":
        raise RequestError(
            f"{status.id} is a {status.kind}, not a sweep.", field="SWEEP", got=status.id,
            remedy="`physlab report` writes a single run up; `physlab jobs list` names sweeps.",
        )  # fmt: skip
    missing = [*missing_of("library"), *missing_of("science")]
    if missing:
        out.note(f"No table and no figures: they need {', '.join(missing)}. Install: {install_command('library')}")
        return {}
    from physlab_mcp.analysis.analysis import analyse
    from physlab_mcp.analysis.export import write_all

    table = await table_of(lab.store, status.id)
    compared = getattr(args, "compare", None) or []
    asked = [*(plots.values() if plots else ()), *_asked(args, compared)]
    asked = ["auto", *asked] if asked and not plots else asked
    others = await others_of(lab.engine, compared, owner=OWNER)
    folder = folder_of(status.title, status.id, args.out)
    try:
        found = analyse(
            table, metric=args.metric, maximize=False if args.minimize else (True if args.maximize else None), plots=asked or None, others=others,
            timeline=await timeline_of(lab.store, status.id, now=time.time()), slots=round(lab.engine.capacity().cpus),
        )  # fmt: skip
    except RequestError as error:
        if args.metric is not None or error.field != "metric":
            raise
        written = write_all(table, [], folder)  # which number counts is for the reader to say; the table is not lost
        _say(out, folder, written, {"points": dict(table["state"].value_counts())})
        out.note(f"No figures: {error.message} {error.remedy} physlab analyze {status.id} --metric NAME")
        return {"folder": str(folder), "files": [str(path) for path in written]}
    written = write_all(table, found.charts(), folder)
    page = folder / "sweep.html"
    page.write_text(found.dashboard(status.title), encoding="utf-8")
    (folder / "summary.json").write_text(json.dumps(found.numbers, indent=2, ensure_ascii=False), encoding="utf-8")
    _say(out, folder, [*written, page, folder / "summary.json"], found.numbers)
    if args.open and not show(page):
        out.note("There is no program here that opens files (xdg-open).")
    return {"folder": str(folder), "files": [str(path) for path in [*written, page]], "analysis": found.numbers}


def _say_beside(out: Output, numbers: Mapping[str, Any]) -> None:
    """Fronts and comparisons."""
    for one in numbers.get("fronts", ()):
        said = ", ".join(f"{name} {sense}" for name, sense in one["objectives"].items())
        out.say(f"Front of {said}: {one['on_front']} of {one['points']} points.")
        for row in one["front"]:
            values = ", ".join(f"{name} = {value:g}" for name, value in row["values"].items())
            out.say(f"  {values}, at {', '.join(f'{name} = {value}' for name, value in row['params'].items())}")
        if one.get("more"):
            out.say(f"  and {one['more']} more")
    for one in numbers.get("comparisons", ()):
        out.say(f"{one['with']} less this sweep, {one['shared_points']} shared points:")
        for name, told in one["metrics"].items():
            sure = told["difference_95"]
            between = f" (95 %: {sure[0]:g} to {sure[1]:g})" if sure else ""
            out.say(f"  {name}: {told['difference']}{between}; means {told['mean_here']} and {told['mean_there']}")
        for note in one.get("notes", ()):
            out.note(note)


def _say(out: Output, folder: Path, files: list[Path], numbers: Mapping[str, Any]) -> None:
    counts = ", ".join(f"{count} {state}" for state, count in numbers["points"].items())
    out.say(f"Points: {counts}.")
    best = numbers.get("best")
    if best is not None:
        where = ", ".join(f"{name} = {value}" for name, value in best["params"].items())
        word = "greatest" if numbers["maximize"] else "least"
        unit = f" {numbers['unit']}" if "unit" in numbers else ""
        out.say(f"The {word} {numbers['metric']} is {best['value']:g}{unit}, at {where}.")
    _say_beside(out, numbers)
    for one in numbers.get("errors", ()):
        out.note(f"- {one['points']} x {one['error']}")
    out.say(f"In {near(folder)}:")
    shown = {path.stem: [] for path in files}
    for path in files:
        shown[path.stem].append(path.suffix.lstrip("."))
    for stem, kinds in shown.items():
        out.say(f"  {stem}.{'|'.join(kinds)}")
