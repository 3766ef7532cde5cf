"""What is wrong with a workflow, found before anything runs; every defect is told at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from physlab_mcp.dags.order import cycles_in, layers_of
from physlab_mcp.dags.references import places_in
from physlab_mcp.errors import PhyslabError, RequestError
from physlab_mcp.library.tasks import Task, arguments_of, command_words, node_params, points_in
from physlab_mcp.nodes.function_call import INPUTS, PARAMS, yields
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.dag import Finding

_SHOWN = 20  # defects in the text of an error


def defects(name: str, found: Sequence[Finding]) -> RequestError:
    """The error of a workflow that has these defects: its text tells them one by one, `details` has each in parts."""
    first, details = found[0], [msgspec.to_builtins(one) for one in found]
    if len(found) == 1:
        message, remedy = f"The workflow {name!r}: {first.message}", first.remedy
    else:
        lines = [f"{i}. {one.message} {one.remedy}" for i, one in enumerate(found[:_SHOWN], start=1)]
        lines += [f"... and {len(found) - _SHOWN} more in `details`."] if len(found) > _SHOWN else []
        message = "\n  ".join([f"The workflow {name!r} has {len(found)} defects:", *lines]) + "\n"
        remedy = "Mend all of them; `details` has each with its task and field."
    return RequestError(message, field=first.field, got=first.node, remedy=remedy, details=details)


def sweep_problems(block: Mapping[str, Any], *, counted: bool) -> list[Finding]:
    """What is wrong with a sweep block; `counted`: with its points too, which takes a while where there are many."""
    from physlab_mcp.dags.extension import points_of
    from physlab_mcp.dags.sweep import read_sweep

    try:
        spec = read_sweep(block)
        if counted:
            points_of(spec).probes(1)
    except PhyslabError as error:
        parts = error.details or [{"message": error.message, "remedy": error.remedy, "field": error.field}]
        return [
            Finding("bad_sweep", f"{str(one['message']).rstrip('.')}.", one.get("remedy") or "", field=one.get("field"))
            for one in parts
        ]
    return []


def order_problems(tasks: Sequence[Task]) -> list[Finding]:
    """Dependencies that are no tasks, and tasks that wait for each other."""
    names = [task.name for task in tasks]
    found: list[Finding] = []
    for task in tasks:
        for name in task.depends_on:
            if name not in names:
                near = get_close_matches(name, names, n=1, cutoff=0.5)
                remedy = f"Did you mean {near[0]!r}?" if near else f"Tasks: {', '.join(names)}."
                message = f"{task.name!r} depends on {name!r}, which is no task."
                found.append(Finding("unknown_dependency", message, remedy, task.name, "depends_on"))
    needs = {task.name: tuple(name for name in task.depends_on if name in names) for task in tasks}
    _, left = layers_of(needs)
    for path in cycles_in(needs, left) if left else ():
        around = " -> ".join([*path, path[0]])
        found.append(
            Finding(
                "cycle", f"These tasks wait for each other: {around}.", "Remove one depends_on.", path[0], "depends_on"
            )
        )
    return found


def parameter_problems(tasks: Sequence[Task], points: Sequence[str], registry: Registry) -> list[Finding]:
    """Names that clash, parameters that no task takes, and those that a task takes and nothing gives."""
    names = [task.name for task in tasks]
    found = [
        Finding(
            "name_clash",
            f"{name!r} is the name of a task and of a parameter.",
            "Rename one of them: a function takes both by their names.",
            name,
            "parameter_space",
        )
        for name in points
        if name in names
    ]
    taken: set[str] = set()
    for task in tasks:
        try:
            taken |= _taken(task, points, names, registry)
            if task.function is not None:
                found += _function_problems(task, points, names)
        except PhyslabError as error:
            found.append(Finding("unreadable", error.message, error.remedy or "", task.name, error.field))
    for name in points:
        if name not in taken and name not in names:
            near = get_close_matches(name, _takable(tasks, registry), n=1, cutoff=0.5)
            remedy = f"Did you mean {near[0]!r}?" if near else "Name it in the signature of a task, or leave it out."
            found.append(
                Finding("unused_parameter", f"No task takes the parameter {name!r}.", remedy, None, "parameter_space")
            )
    return found


def _taken(task: Task, points: Sequence[str], names: Sequence[str], registry: Registry) -> set[str]:
    """The parameters of the sweep that a task takes, be it as `task.param`."""
    dotted = {name for name in points if name.rpartition(".")[0] == task.name}
    if task.function is not None:
        return set(points_in(arguments_of(task, points, names))) | dotted
    if task.node_type is not None:
        return set(points_in(node_params(task, points, registry))) | dotted
    return set(points_in([command_words(task.command or (), points), task.params])) | dotted


def _takable(tasks: Sequence[Task], registry: Registry) -> list[str]:
    names: list[str] = []
    for task in tasks:
        if task.function is not None:
            names += task.takes.names
        elif task.node_type is not None:
            node_type = registry.find(task.node_type)
            names += node_type.params.model_fields if node_type is not None else ()
    return names


def _function_problems(task: Task, points: Sequence[str], names: Sequence[str]) -> list[Finding]:
    takes = task.takes
    arguments = arguments_of(task, points, names)
    found: list[Finding] = []
    if yields(task.function):
        message = f"The function of {task.name!r} is a generator: it yields values one by one, and none is stored."
        found.append(Finding("generator", message, "Return a list of them.", task.name, "function"))
    for name in sorted(takes.required):
        if name in arguments or name in task.depends_on:
            continue
        if name in (PARAMS, INPUTS):
            continue
        if name in names:
            message = f"{task.name!r} takes the result of {name!r}, but does not depend on it."
            found.append(Finding("unknown_dependency", message, f"Add depends_on=[{name!r}].", task.name, "depends_on"))
            continue
        near = get_close_matches(name, [*points, *task.depends_on], n=1, cutoff=0.5)
        remedy = f"Did you mean {near[0]!r}? " if near else ""
        remedy += (
            f"Add {name!r} to the parameter space, give it by add_task(..., params={{...}}), or give it a default."
        )
        message = f"The function of {task.name!r} takes {name!r}, which nothing gives and which has no default."
        found.append(Finding("missing_parameter", message, remedy, task.name, name))
    for name in task.params:
        if not takes.takes(name):
            near = get_close_matches(name, takes.names, n=1, cutoff=0.5)
            remedy = f"Did you mean {near[0]!r}?" if near else f"It takes {', '.join(takes.names) or 'nothing'}."
            message = f"The function of {task.name!r} takes no {name!r}."
            found.append(Finding("unused_parameter", message, remedy, task.name, "params"))
    for place in places_in(dict(task.params)):
        message = f"{task.name}.{place.field} is a placeholder; a function task takes plain values."
        found.append(Finding("placeholder", message, "Name the parameter in the signature.", task.name, "params"))
    return found


def visual_problems(wanted: Mapping[str, Mapping[str, Any]], points: Sequence[str]) -> list[Finding]:
    """Figures whose type is unknown, or that name a parameter which is not there."""
    from physlab_mcp.analysis.choose import read_request

    found: list[Finding] = []
    for name, request in wanted.items():
        try:
            asked = read_request(dict(request))
        except PhyslabError as error:
            found.append(
                Finding("bad_visualization", f"{name}: {error.message}", error.remedy or "", None, error.field)
            )
            continue
        for field, axes in (("x_axis", [asked.x_axis]), ("y_axis", [asked.y_axis]), ("facet_by", asked.facet_by)):
            for axis in axes:
                if axis is not None and axis not in points:
                    near = get_close_matches(axis, points, n=1, cutoff=0.4)
                    remedy = f"Did you mean {near[0]!r}?" if near else f"Parameters: {', '.join(points)}."
                    message = f"The figure {name!r} has {field} {axis!r}, which is no parameter."
                    found.append(Finding("bad_visualization", message, remedy, None, f"visualization.{name}.{field}"))
    return found
