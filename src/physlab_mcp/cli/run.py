"""`physlab run`: an experiment from a JSON file."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from physlab_mcp.cli.gallery import try_folder
from physlab_mcp.cli.opened import OWNER, with_lab
from physlab_mcp.cli.report import all_nodes, leave_outputs, read_bib
from physlab_mcp.cli.watch import follow, what_happened
from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.job import AUTO, backend_name

ASIDE = ("sweep", "schedule", "visualizations")  # what stands beside the graph in a file for `physlab sweep`

if TYPE_CHECKING:
    from physlab_mcp.cli.output import Output
    from physlab_mcp.lab import Lab
    from physlab_mcp.schemas.dag import Dag
    from physlab_mcp.schemas.run import Plan
    from physlab_mcp.schemas.status import NodeView, Status


def run(args: Namespace, out: Output) -> int:
    """Submit the file's graph; follow it to the end unless --detach."""
    spec = read_spec(args.file)
    _want_a_run(spec, args.file)
    beside = Path(args.file).with_suffix(".bib")
    bib = args.bib or (beside if args.file != "-" and beside.is_file() else None)
    references = read_bib(bib)
    if not args.detach:
        try_folder(args.out)

    async def work(lab: Lab) -> int:
        run_id = await submit(
            lab, spec, use_cache=not args.no_cache, parallelism=args.parallelism, allow_large=args.allow_large,
            backend=args.backend, out=out,
        )  # fmt: skip
        out.say(f"{run_id} is submitted; it goes on whatever happens to this command.")
        if args.detach:
            out.answer({"run_id": run_id})
            out.next(f"physlab jobs wait {run_id}", f"physlab jobs show {run_id}", f"physlab report {run_id}")
            return 0
        status = await follow(lab, run_id, out, each_node=args.watch)
        if status.state != "succeeded":
            return await tell_failure(lab, status, out)
        left = await leave_outputs(lab, status, args, out, about={"bib": references})
        out.answer({"state": status.state, **left, "nodes": [_row(one) for one in await all_nodes(lab, run_id)]})
        out.next(f"physlab jobs show {run_id}", f"physlab report {run_id} --title … --author …")
        return 0

    return with_lab(args, work)


def _want_a_run(spec: Mapping[str, Any], file: str) -> None:
    """Refuse a file that is written for `physlab sweep`.

    Raises:
        RequestError: it has what only a sweep has.

    """
    found = next((name for name in ASIDE if name in spec), None)
    if found == "sweep":
        raise RequestError(
            f"{file} has a sweep block; `physlab run` runs a graph once.", field="sweep", remedy=f"Use `physlab sweep {file}`."
        )  # fmt: skip
    if found is not None:
        raise RequestError(
            f"{file} has {found}, which go with a sweep; `physlab run` runs a graph once and at once.", field=found,
            remedy=f"Take {found} out, or add a sweep block and use `physlab sweep {file}`.",
        )  # fmt: skip


def placed_at(spec: Mapping[str, Any], backend: str) -> Mapping[str, Any]:
    """The spec with every node that names no backend at this one; `auto` leaves it as it is."""
    nodes = spec.get("nodes")
    if backend == AUTO or not isinstance(nodes, list):
        return spec
    where = backend_name(backend)
    placed = [
        {**one, "backend": where} if isinstance(one, dict) and one.get("backend") is None else one for one in nodes
    ]
    return {**spec, "nodes": placed}


async def submit(
    lab: Lab,
    spec: Mapping[str, Any],
    *,
    schedule: Mapping[str, Any] | None = None,
    out: Output,
    **options: Any,
) -> str:
    """Check the graph, store its run, sweep or series durably, wake the engine; its id. Options as of `planned`.

    Raises:
        RequestError: the graph has defects; all of them are in `details`.

    """
    from physlab_mcp.dags.scheduled import submit_scheduled

    plan, dag = planned(lab, spec, out=out, **options)
    run_id = await submit_scheduled(lab.engine, plan, dag, schedule)
    out.submitted = run_id
    return run_id


def planned(
    lab: Lab,
    spec: Mapping[str, Any],
    *,
    use_cache: bool,
    parallelism: int = 0,
    allow_large: bool = False,
    sweep: Mapping[str, Any] | None = None,
    schedule: Mapping[str, Any] | None = None,
    backend: str = AUTO,
    out: Output,
) -> tuple[Plan, Dag]:
    """The checked graph and the plan of its run or sweep, with the files that it reads stored.

    `backend`: where nodes run that name none.

    Raises:
        RequestError: the graph has defects; all of them are in `details`.

    """
    from physlab_mcp.dags.check import Limits
    from physlab_mcp.dags.files import pin_files
    from physlab_mcp.dags.placeholders import with_placeholders
    from physlab_mcp.dags.run import plan_for
    from physlab_mcp.dags.sweep import formulas_of, read_sweep
    from physlab_mcp.dags.validate import validate

    limits = Limits(
        nodes=lab.config.limits.max_nodes,
        edges=lab.config.limits.max_edges,
        roots=tuple(lab.roots),
        hidden=(lab.data.root,),
        allow_large=allow_large,
        backends=lab.config.backends.names,
    )
    spec = placed_at(spec, backend)
    block = read_sweep(sweep) if sweep is not None else None
    names = formulas_of(block).names if block is not None else ()
    checked = validate(with_placeholders(spec, names, lab.registry), lab.registry, limits=limits)
    for warning in checked.warnings:
        if warning.code == "visual_default":  # what an agent must be told, and a person sees in the figures
            continue
        out.note(f"Warning: {warning.node + ': ' if warning.node else ''}{warning.message}")
    if checked.dag is None:
        first = checked.errors[0]
        raise RequestError(
            f"The graph has {len(checked.errors)} defect{'s' if len(checked.errors) > 1 else ''}.",
            field=first.field,
            remedy=first.remedy,
            details=[msgspec.to_builtins(one) for one in checked.errors],
        )
    files = pin_files(
        checked.dag, lab.registry, params={}, space=names,
        roots=lab.roots, hidden=[lab.data.root], blobs=lab.blobs,
    )  # fmt: skip
    plan = plan_for(
        checked.dag,
        params=files,
        registry=lab.registry,
        owner=OWNER,
        use_cache=use_cache,
        parallelism=parallelism,
        allow_large=allow_large,
        sweep=block.canonical() if block is not None else None,
        schedule=schedule,
    )
    return plan, checked.dag


async def tell_failure(lab: Lab, status: Status, out: Output) -> int:
    """Which nodes did not succeed and why; the exit code."""
    nodes = await all_nodes(lab, status.id) if status.kind == "run" else []
    bad = [one for one in nodes if one.state != "succeeded"]
    out.answer({"run_id": status.id, "state": status.state, "nodes": [_row(one) for one in nodes]})
    out.note(f"{status.id} {status.state}: {status.reason.text or status.reason.code}")
    for one in [one for one in bad if one.state == "failed"] or bad[:10]:
        out.note(f"- {one.node_id} ({one.type}): {one.state}. {what_happened(one)}")
        if one.failure is not None and one.failure.remedy:
            out.note(f"  {one.failure.remedy}")
    failed = next((one for one in bad if one.state == "failed"), None)
    if failed is not None:
        out.next(f"physlab jobs logs {failed.job_id} --stderr", f"physlab jobs show {failed.job_id}")
    return 1


def _row(node: NodeView) -> dict[str, Any]:
    return {
        "node_id": node.node_id,
        "type": node.type,
        "job_id": node.job_id,
        "state": node.state,
        "cached": bool(node.cached),
        "device": node.device,
        "duration_ms": node.duration_ms,
        "values": node.result.values if node.result is not None else None,
        "failure": msgspec.to_builtins(node.failure) if node.failure is not None else None,
    }


def read_spec(name: str) -> dict[str, Any]:
    """The JSON object in a file, or on stdin for `-`.

    Raises:
        RequestError: it cannot be read, or is no JSON object; the message names line and column.

    """
    try:
        text = sys.stdin.read() if name == "-" else Path(name).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            f"{name} cannot be read: {getattr(error, 'strerror', None) or error}.", field="FILE.json", got=name,
            remedy="Name a JSON file with nodes, edges and metadata.",
        ) from None  # fmt: skip
    try:
        body = json.loads(text)
    except json.JSONDecodeError as error:
        raise RequestError(
            f"{name}, line {error.lineno}, column {error.colno}: {error.msg}.", field="FILE.json", got=name,
            remedy="Mend the JSON there.",
        ) from None  # fmt: skip
    if not isinstance(body, dict):
        raise RequestError(f"{name} holds no JSON object.", field="FILE.json", got=name, remedy='Write {"nodes": […]}.')
    return body
