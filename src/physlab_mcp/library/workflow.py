"""An experiment as a scientist writes it: tasks, a parameter space, and what is wanted of the results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from physlab_mcp.analysis.metadata import RECORDED
from physlab_mcp.errors import RequestError
from physlab_mcp.library import validation
from physlab_mcp.library.drafting import UNSTORED, node_resources, spec_of
from physlab_mcp.library.functions import Pickled, pickled
from physlab_mcp.library.given import (
    BACKENDS,
    MOST_RETRIES,
    backend_of,
    mapping_of,
    names_of,
    plain_of,
    task_name,
    text_of,
    values_of,
    whole,
    yes_or_no,
)
from physlab_mcp.library.tasks import Task
from physlab_mcp.nodes.function_call import takes_of
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.dag import Finding


class ExperimentalWorkflow:
    """Tasks that depend on each other, run at every point of a parameter space. Every method but `validate` answers itself."""

    def __init__(
        self, name: str, *, description: str = "", author: str = "", version: str = "1",
        metadata: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.name = text_of(name, "name")
        self.about = {"title": name, "description": description, "author": author, "version": version}
        self.metadata: dict[str, Any] = dict(mapping_of(metadata, "metadata", '{"operator": "…"}'))
        self.tasks: dict[str, Task] = {}
        self.sweep: dict[str, Any] = {}
        self.resources: dict[str, dict[str, Any]] = {}
        self.schedule: dict[str, Any] | None = None
        self.visualizations: dict[str, dict[str, Any]] = {}
        self.results: dict[str, dict[str, Any]] = {}
        self.required_metadata: list[str] = []

    # -- tasks -----------------------------------------------------------------------------------------------

    def add_task(
        self,
        name: str,
        work: Callable[..., Any] | str | Sequence[Any],
        *,
        depends_on: Sequence[str] = (),
        params: Mapping[str, Any] | None = None,
        checkpoint: bool = False,
        retries: int = 0,
        resources: Mapping[str, Any] | None = None,
        cache: bool = True,
        backend: str | None = None,
    ) -> Self:
        """Add a task: a function, the name of a node type (`"quantum.solve"`), or a command as a list of words.

        `params` fixes parameters. `retries` is how often it may be tried again after a failure. With `cache` off it is
        computed even where an equal call was. `checkpoint` records that it keeps its progress in `checkpoint_dir()`.
        `backend` is where it runs: `local`, `slurm` or `kubernetes`; without it the engine chooses.

        Raises:
            RequestError: the name is taken or no name, `work` is none of the three, or an option is of the wrong kind.

        """
        task_name(name)
        if name in self.tasks:
            raise RequestError(
                f"There is a task {name!r} already.", field="name", got=name, remedy="Give each its own name."
            )
        kind: dict[str, Any] = {}
        if isinstance(work, str) and work.strip():
            kind["node_type"] = work
        elif callable(work):
            kind["function"] = _readable(name, work)
        elif isinstance(work, Sequence) and not isinstance(work, str | bytes | bytearray) and work:
            kind["command"] = tuple(word if isinstance(word, Mapping) else str(word) for word in work)
        else:
            raise RequestError(
                f"The task {name!r} is {work!r}.", field="work", got=repr(work)[:100],
                remedy='Give a function, a node type such as "quantum.solve", or a command such as ["python", "fit.py"].',
            )  # fmt: skip
        fixed = mapping_of(params, f"params of {name!r}", '{"rate": 0.1}')
        task = Task(
            name,
            depends_on=tuple(dict.fromkeys(names_of(depends_on, f"depends_on of {name!r}"))),
            params={one: plain_of(value, f"params.{one} of {name!r}") for one, value in fixed.items()},
            checkpoint=yes_or_no(checkpoint, f"checkpoint of {name!r}"),
            retries=whole(retries, f"retries of {name!r}", least=0, most=MOST_RETRIES),
            cache=yes_or_no(cache, f"cache of {name!r}"),
            backend=backend_of(backend, f"backend of {name!r}"),
            **kind,
        )
        self.tasks[name] = task
        if resources is not None:
            self.set_resource_requirements({name: resources})
        return self

    # -- the space -------------------------------------------------------------------------------------------

    def add_parameter_space(self, space: Mapping[str, Any] | None = None, **block: Any) -> Self:
        """Add parameters with their values; `block` takes what a sweep block takes: `mode`, `where`, `derived`, `samples`, …

        With `points` alone the mode is explicit. Called again, it adds to what was there.

        Raises:
            RequestError: values are no finite JSON values; the message names the parameter and the value.

        """
        given = mapping_of(space, "space", '{"rate": [0.1, 0.2]}')
        listed = {name: values_of(name, values) for name, values in given.items()}
        asked = {name: plain_of(value, name) for name, value in block.items() if value is not None}
        if "points" in asked and not listed and "mode" not in {**self.sweep, **asked} and "space" not in self.sweep:
            asked["mode"] = "explicit"
        if listed:
            self.sweep.setdefault("space", {}).update(listed)
        self.sweep.update(asked)
        return self

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters, derived ones last."""
        base = self.sweep.get("space") or _first(self.sweep.get("points"))
        return list(dict.fromkeys([*base, *self.sweep.get("derived", {})]))

    # -- what is wanted --------------------------------------------------------------------------------------

    def set_resource_requirements(self, requirements: Mapping[str, Mapping[str, Any]]) -> Self:
        """By task: `cpu_cores`, `memory_gb`, `gpu`, `max_runtime_hours`; with `require` it is refused where these are not.

        Raises:
            RequestError: an unknown name, or no amount.

        """
        for task, asked in mapping_of(requirements, "requirements", '{"task": {"cpu_cores": 2}}').items():
            node_resources(task, mapping_of(asked, f"resources of {task!r}", '{"cpu_cores": 2}'))
            self.resources[task] = {**self.resources.get(task, {}), **asked}
        return self

    def set_scheduling_policy(self, policy: str, options: Mapping[str, Any] | None = None) -> Self:
        """When it may start: `now`, `off_peak`, `at`, `cron` or `priority`, with the fields of a schedule block.

        Raises:
            RequestError: the block is malformed.

        """
        from physlab_mcp.schemas.schedule import read_schedule

        block = {"policy": policy, **mapping_of(options, "options", '{"preferred_hours": "22:00-08:00"}')}
        read_schedule(block)
        self.schedule = block
        return self

    def add_visualization(self, name: str, request: Mapping[str, Any] | str) -> Self:
        """A figure of the results: `type`, `x_axis`, `y_axis`, `value`, `facet_by`, …; or the type alone.

        Raises:
            RequestError: it is neither.

        """
        asked = {"type": request} if isinstance(request, str) else request
        self.visualizations[text_of(name, "name")] = dict(mapping_of(asked, "request", '{"type": "heatmap"}'))
        return self

    def add_result(self, name: str, *, description: str = "", unit: str = "", maximize: bool | None = None) -> Self:
        """A number of interest, `task.key` (or `key` where one task alone gives it)."""
        self.results[text_of(name, "name")] = {"description": description, "unit": unit, "maximize": maximize}
        return self

    def set_success_criteria(self, formula: str) -> Self:
        """When a point is good enough, such as `"loss < 1"`; the sweep stops early at the first such point."""
        self.sweep["success"] = text_of(formula, "formula")
        return self

    def set_metadata(self, **values: Any) -> Self:
        """What a reader of the record wants to know: operator, sample, instrument, …"""
        self.metadata.update(values)
        return self

    def require_metadata(self, names: Sequence[str] | str) -> Self:
        """Names that must be known before anything runs: given by `set_metadata`, or recorded anyway."""
        self.required_metadata = list(dict.fromkeys([*self.required_metadata, *names_of(names, "names")]))
        return self

    # -- checking --------------------------------------------------------------------------------------------

    def findings(self, registry: Registry | None = None) -> list[Finding]:
        """Every defect, without running or storing anything."""
        from physlab_mcp.dags.validate import Limits, validate

        anywhere = Limits(backends=BACKENDS)  # what is configured is looked at when it is submitted
        registry = registry or Registry.load()
        tasks, points = list(self.tasks.values()), self.parameters
        if not tasks:
            return [Finding("empty", "The workflow has no task.", "Add one with add_task.")]
        found = [
            *validation.order_problems(tasks),
            *validation.parameter_problems(tasks, points, registry),
            *validation.visual_problems(self.visualizations, points),
            *self._unknown_names(),
            *self._missing_metadata(),
        ]
        stored = dict.fromkeys(self.tasks, UNSTORED)
        if not found:
            spec = spec_of(tasks, points, stored, registry, metadata=self.about, resources=self.resources)
            return list(validate(spec, registry, limits=anywhere).errors)
        for task in tasks:  # the graph as a whole cannot be looked at, but what each node is can
            if task.node_type is not None:
                alone = [Task(task.name, node_type=task.node_type)]
                spec = spec_of(alone, [], stored, registry, metadata={}, resources={})
                found += [one for one in validate(spec, registry).errors if one.code == "unknown_node_type"]
        return found

    def _unknown_names(self) -> list[Finding]:
        return [
            Finding(
                "unknown_task",
                f"Resources are set for {name!r}, which is no task.",
                f"Tasks: {', '.join(self.tasks)}.",
                name,
                "resources",
            )
            for name in self.resources
            if name not in self.tasks
        ]

    def _missing_metadata(self) -> list[Finding]:
        about = {name for name, value in self.about.items() if value}
        return [
            Finding(
                "missing_metadata",
                f"The metadata {name!r} is required and not known.",
                f"Give it by set_metadata({name}=…). Recorded without that are: {', '.join(sorted(RECORDED))}.",
                None,
                "metadata",
            )
            for name in self.required_metadata
            if self.metadata.get(name) in (None, "") and name not in about | RECORDED
        ]

    def validate(self, registry: Registry | None = None) -> dict[str, Pickled]:
        """Check everything, functions included; the answer holds each task's function ready to be stored.

        Raises:
            RequestError: it has defects; `details` lists every one.

        """
        return self.prepared(registry, counted=True)

    def prepared(self, registry: Registry | None = None, *, counted: bool) -> dict[str, Pickled]:
        """What `validate` answers; `counted` off leaves the points to the submission, which counts them anyway.

        Raises:
            RequestError: it has defects; `details` lists every one.

        """
        found = self.findings(registry)
        ready: dict[str, Pickled] = {}
        for name, task in self.tasks.items():
            if task.function is None:
                continue
            try:
                ready[name] = pickled(task.function)
            except RequestError as error:
                found.append(Finding("unpicklable", error.message, error.remedy or "", name, "function"))
        if self.sweep:
            found += validation.sweep_problems(self.block(), counted=counted or bool(found))
        if found:
            raise validation.defects(self.name, found)
        return ready

    def block(self) -> dict[str, Any]:
        """The sweep block."""
        return {name: value for name, value in self.sweep.items() if value not in ({}, [], None)}


def _readable(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a task, whose signature Python can read.

    Raises:
        RequestError: it cannot; the message names the task.

    """
    try:
        takes_of(work)
    except RequestError as error:
        raise RequestError(
            f"The task {name!r}: {error.message}", field="work", got=error.got, remedy=error.remedy
        ) from None
    return work


def _first(points: Any) -> Mapping[str, Any]:
    first = points[0] if isinstance(points, list) and points else None
    return first if isinstance(first, dict) else {}
