"""Submitting a workflow: functions stored, the graph checked, the plan and what the library knows of it written."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import msgspec

from physlab_mcp.errors import RejectedError
from physlab_mcp.library.drafting import spec_of
from physlab_mcp.library.functions import Pickled, Stored, store
from physlab_mcp.library.validation import defects
from physlab_mcp.schemas.capacity import within
from physlab_mcp.schemas.dag import nodes_here
from physlab_mcp.schemas.job import Resources
from physlab_mcp.schemas.schedule import canonical, read_schedule

if TYPE_CHECKING:
    from physlab_mcp.engine.engine import Engine
    from physlab_mcp.lab import Lab
    from physlab_mcp.library.workflow import ExperimentalWorkflow
    from physlab_mcp.schemas.dag import Dag
    from physlab_mcp.schemas.run import Plan

OWNER = "local"
RECORD = "workflow"  # the kind of record that is kept beside a plan


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller chose for one execution."""

    parallelism: int = 0
    priority: int = 0
    use_cache: bool = True
    on_failure: str | None = None
    schedule: Mapping[str, Any] | None = None
    schedule_override: str | None = None  # who replaced the workflow's own, where somebody did


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What the library remembers of a submission, so that another process finds it by its handle."""

    name: str
    tasks: list[str]
    visualizations: dict[str, Any] = {}
    results: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    required: list[str] = []  # names of metadata that must have been recorded in the end
    checkpoints: list[str] = []
    schedule: dict[str, Any] | None = None
    warnings: list[str] = []


async def submit(lab: Lab, workflow: ExperimentalWorkflow, ready: Mapping[str, Pickled], options: Options) -> str:
    """The handle of the run or sweep, durable once this returns.

    Raises:
        RequestError: something about it is wrong; `details` lists every defect.

    """
    from physlab_mcp.dags.scheduled import submit_scheduled

    stored = await anyio.to_thread.run_sync(store, ready, lab.blobs)
    dag, plan = await anyio.to_thread.run_sync(_planned, lab, workflow, stored, options)
    warnings = _left_out(dag, lab.engine)
    if options.schedule_override:
        warnings.append(f"The schedule was replaced: {options.schedule_override}.")
    record = Record(
        name=workflow.name,
        tasks=list(workflow.tasks),
        visualizations=workflow.visualizations,
        results=workflow.results,
        metadata=workflow.metadata,
        required=workflow.required_metadata,
        checkpoints=[task.name for task in workflow.tasks.values() if task.checkpoint],
        schedule=dict(options.schedule) if options.schedule else None,
        warnings=warnings,
    )
    await lab.store.put(RECORD, plan.id, record, subject=OWNER)
    try:
        handle = await submit_scheduled(lab.engine, plan, dag, options.schedule)
    except RejectedError as error:
        raise _lacking(error, dag, lab.engine) from None
    if handle != plan.id:  # a series: each occurrence is a plan of its own
        await lab.store.put(RECORD, handle, record, subject=OWNER)
    return handle


async def foretold(lab: Lab, workflow: ExperimentalWorkflow, options: Options) -> dict[str, Any]:
    """What would run when, as `dags.outlook` tells it; no function is stored and nothing starts.

    Raises:
        RequestError: something about it is wrong.

    """
    from physlab_mcp.dags.outlook import outlook

    dag, plan = await anyio.to_thread.run_sync(_planned, lab, workflow, {}, options)
    if options.schedule is not None:
        plan = msgspec.structs.replace(plan, schedule=canonical(read_schedule(options.schedule)))
    found = await outlook(
        lab.store, plan, dag, lab.registry, lab.engine.capacity(), now=time.time(), alone=lab.engine.alone
    )
    left_out = _left_out(dag, lab.engine)
    return {**found, "warnings": left_out} if left_out else found


def _lacking(error: RejectedError, dag: Dag, engine: Engine) -> RejectedError:
    """The refusal, with the tasks that it is about and what they ask for where that is more than the machine has."""
    lacks: dict[str, list[str]] = {}
    for node in nodes_here(dag, alone=engine.alone):
        asked = msgspec.convert(node.resources or {}, Resources)
        told = within(asked, engine.capacity())[1]
        if told and not asked.degrade:
            lacks[node.id] = told
    if not lacks:
        return error
    parts = "; ".join(f"{name!r}: {', '.join(told)}" for name, told in lacks.items())
    return RejectedError(
        f"This machine does not have what tasks require. {parts}.", field=f"resources.{next(iter(lacks))}",
        got=next(iter(lacks.values()))[0],
        remedy="Ask for less, or leave out `require`: then it runs with what there is, and a warning says so.",
    )  # fmt: skip


def _left_out(dag: Dag, engine: Engine) -> list[str]:
    """What the machine has not of what tasks ask for, and goes without."""
    found: list[str] = []
    for node in nodes_here(dag, alone=engine.alone):
        asked = msgspec.convert(node.resources or {}, Resources)
        found += [
            f"{node.id}: {one}. It runs with that." for one in within(asked, engine.capacity())[1] if asked.degrade
        ]
    return found


def _planned(
    lab: Lab, workflow: ExperimentalWorkflow, stored: Mapping[str, Stored], options: Options
) -> tuple[Dag, Plan]:
    from physlab_mcp.dags.check import Limits
    from physlab_mcp.dags.files import pin_files
    from physlab_mcp.dags.run import plan_for
    from physlab_mcp.dags.validate import validate

    spec = spec_of(
        list(workflow.tasks.values()), workflow.parameters, stored, lab.registry,
        metadata=workflow.about, resources=workflow.resources,
    )  # fmt: skip
    roots = [*dict.fromkeys([Path.cwd(), *lab.roots])]
    limits = Limits(
        nodes=lab.config.limits.max_nodes, edges=lab.config.limits.max_edges, roots=tuple(roots),
        hidden=(lab.data.root,), allow_large=True, backends=lab.config.backends.names,
    )  # fmt: skip
    checked = validate(spec, lab.registry, limits=limits)
    if checked.dag is None:
        raise defects(workflow.name, checked.errors)
    block = workflow.block() or None
    files = pin_files(
        checked.dag, lab.registry, params={}, space=tuple(workflow.parameters), roots=roots, hidden=[lab.data.root],
        blobs=lab.blobs,
    )  # fmt: skip
    plan = plan_for(
        checked.dag, registry=lab.registry, params=files, sweep=block, parallelism=options.parallelism,
        priority=options.priority, use_cache=options.use_cache, on_failure=options.on_failure, allow_large=True,
        owner=OWNER, title=workflow.name,
    )  # fmt: skip
    return checked.dag, msgspec.structs.replace(plan, roots=tuple(map(str, roots)))
