"""From a plan to runs and jobs: the engine's Expander, and the check of a plan before it is submitted."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from physlab_mcp.artifacts.cache_key import code_version
from physlab_mcp.dags.calls import Call, Step, call_of, check_call, check_caps, prepare_steps
from physlab_mcp.dags.sweep import Grid, read_sweep
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import NodeType, Registry
from physlab_mcp.schemas.dag import Dag
from physlab_mcp.schemas.handles import new_handle, new_handles
from physlab_mcp.schemas.job import Job, NodeCall, Reason
from physlab_mcp.schemas.job_state import ReasonCode
from physlab_mcp.schemas.run import Plan, Run

_MOST_JOBS_AT_ONCE = 1_000_000  # what one call of new_handles can put in order
_PLANS_REMEMBERED = 16
_CALLS_REMEMBERED = 4096
_CALLS_KEPT = 65_536  # over all nodes of a plan
_VALUES_CHECKED = 1000
_MOST = 1_000_000  # what parallelism and priority may be


class _Prepared(msgspec.Struct, frozen=True):
    """A plan with everything settled that is equal at every point, and what that rests on."""

    rests_on: tuple[Any, ...]
    steps: list[Step]
    grid: Grid | None
    code: tuple[tuple[NodeType, str], ...]
    calls: dict[tuple[int, ...], Call]  # (step, digits of its axes) -> its call, for nodes that take few values

    def is_current(self) -> bool:
        """Whether the code is still what the keys of the calls say."""
        return all(code_version(node_type) == code for node_type, code in self.code)

    def call(self, step: Step, digits: Sequence[int], values: Sequence[Any]) -> Call:
        """What a step runs at a point."""
        if step.call is not None:
            return step.call
        if not step.remembered:
            return call_of(step, [values[axis] for axis, _ in step.targets])
        key = (step.number, *[digits[axis] for axis, _ in step.targets])
        found = self.calls.get(key)
        if found is None:
            found = call_of(step, [values[axis] for axis, _ in step.targets])
            if len(self.calls) < _CALLS_KEPT:
                self.calls[key] = found
        return found


class DagExpander:
    """Turns the next points of a plan into runs and jobs; remembers the plans it expanded last."""

    def __init__(self, registry: Registry, *, clock: Callable[[], float] = time.time) -> None:
        self.registry = registry
        self._clock = clock
        self._plans: OrderedDict[str, _Prepared] = OrderedDict()

    def next(self, plan: Plan, dag: Dag, after_index: int, n: int) -> list[tuple[Run, list[Job]]]:
        """The points after_index+1 and following, at most n, each as one Run with its jobs in topological order.

        Raises:
            RequestError: a point's parameters are not valid for its node types.

        """
        prepared = self._prepare(plan, dag)
        grid, size = prepared.grid, len(prepared.steps)
        first = after_index + 1
        count = min(n, plan.total - first, max(1, _MOST_JOBS_AT_ONCE // size))
        if count <= 0:
            return []
        runs = [plan.id] if grid is None else new_handles("run", count)
        ids = new_handles("job", count * size)
        now = self._clock()
        expanded: list[tuple[Run, list[Job]]] = []
        for turn, run_id in enumerate(runs):
            digits: list[int] = []
            values: list[Any] = []
            point: dict[str, Any] = {}
            if grid is not None:
                digits = grid.digits(first + turn)
                values = grid.values(digits)
                point = dict(zip(grid.names, values, strict=True))
            run = Run(
                id=run_id,
                dag_id=dag.id,
                owner=plan.owner,
                session_id=plan.session_id,
                sweep_id=None if grid is None else plan.id,
                point_index=first + turn,
                point=point,
                title=plan.title,
                total=size,
                expanded=True,
                created_at=now,
            )
            calls = [prepared.call(step, digits, values) for step in prepared.steps]
            expanded.append((run, _jobs(plan, run, prepared.steps, calls, ids[turn * size : (turn + 1) * size])))
        return expanded

    def check(self, plan: Plan, dag: Dag) -> None:
        """Check a plan without making a job: overrides, first and last point, and each parameter's values by itself.

        Raises:
            RequestError: an override, the sweep or one of those points is not valid.

        """
        prepared = self._prepare(plan, dag)
        grid = prepared.grid
        for step in prepared.steps:
            if step.call is not None and plan.params.get(step.node.id):
                check_call(step, step.call)
            elif step.call is not None:  # the graph may have been stored with allow_large
                check_caps(step, step.call)
        if grid is None:
            return
        points = {0, grid.total - 1}
        weight = grid.size
        for axis in grid.axes:
            weight //= axis.count
            points.update(one * weight for one in range(min(axis.count, _VALUES_CHECKED)))
        for index in sorted(one for one in points if one < grid.total):
            digits = grid.digits(index)
            values = grid.values(digits)
            for step in prepared.steps:
                if step.call is None:
                    check_call(step, prepared.call(step, digits, values))

    def _prepare(self, plan: Plan, dag: Dag) -> _Prepared:
        known = self._plans.get(plan.id)
        rests_on = (
            dag.id,
            plan.params,
            plan.sweep,
            plan.total,
            plan.use_cache,
            plan.sandbox,
            plan.roots,
            plan.allow_large,
        )
        if known is not None and known.rests_on == rests_on and known.is_current():
            self._plans.move_to_end(plan.id)
            return known
        grid = Grid(read_sweep(plan.sweep)) if plan.sweep is not None else None
        steps = prepare_steps(plan, dag, self.registry, grid, remember=_CALLS_REMEMBERED)
        code = tuple({step.node.type: (step.type, step.code) for step in steps}.values())
        prepared = self._plans[plan.id] = _Prepared(rests_on, steps, grid, code, {})
        while len(self._plans) > _PLANS_REMEMBERED:
            self._plans.popitem(last=False)
        return prepared


def _jobs(plan: Plan, run: Run, steps: list[Step], calls: list[Call], ids: list[str]) -> list[Job]:
    waits, ready = Reason(ReasonCode.NEEDS, "", run.created_at), Reason()
    index = None if run.sweep_id is None else run.point_index
    jobs: list[Job] = []
    for step, call, job_id in zip(steps, calls, ids, strict=True):
        spec, node = call.spec, step.node
        if call.sources:
            sources = {name: ids[place] for name, place in call.sources}
            spec = msgspec.structs.replace(
                spec, node=NodeCall(node.type, call.params, sources, call.static_key, node.device)
            )
        needs = tuple([ids[place] for place in step.needs])
        jobs.append(
            Job(
                id=job_id,
                kind="command" if spec.node is None else "node",
                owner=plan.owner,
                session_id=plan.session_id,
                run_id=run.id,
                sweep_id=run.sweep_id,
                point_index=index,
                node_id=node.id,
                spec=spec,
                reason=waits if needs else ready,
                needs=needs,
                needs_left=len(needs),
                backend=node.backend,
                priority=plan.priority,
                rank=node.rank,
                created_at=run.created_at,
                parallelism=plan.parallelism,
                group=plan.id,
            )
        )
    return jobs


def plan_for(
    dag: Dag,
    *,
    registry: Registry | None = None,
    params: Mapping[str, Mapping[str, Any]] | None = None,
    sweep: Mapping[str, Any] | None = None,
    parallelism: int = 0,
    priority: int = 0,
    use_cache: bool = True,
    on_failure: str | None = None,
    allow_large: bool = False,
    sandbox: bool = False,
    owner: str = "local",
    session_id: str | None = None,
    title: str | None = None,
    idempotency_key: str | None = None,
) -> Plan:
    """A plan that can be submitted, with a new id; everything about it that can be wrong was checked.

    `registry` is read from the installation where it is not given. `on_failure` overrides the sweep's.

    Raises:
        RequestError: an override, the sweep block, or a value of it is not valid.

    """
    block = read_sweep(sweep) if sweep is not None else None
    if on_failure not in (None, "continue", "stop"):
        raise RequestError(
            f"on_failure is {on_failure!r}.", field="on_failure", got=on_failure, remedy="Use continue or stop."
        )
    for name, value, least in (("parallelism", parallelism, 0), ("priority", priority, -_MOST)):
        if not least <= value <= _MOST:
            raise RequestError(
                f"{name} is {value}.", field=name, got=value, remedy=f"Use a number from {least} to {_MOST}."
            )
    plan = Plan(
        id=new_handle("run" if block is None else "sweep"),
        dag_id=dag.id,
        owner=owner,
        session_id=session_id,
        title=title if title is not None else dag.metadata.get("title", ""),
        total=1 if block is None else Grid(block).total,
        params={name: dict(values) for name, values in (params or {}).items() if values},
        sweep=block.model_dump(mode="json") if block is not None else None,
        parallelism=parallelism,
        priority=priority,
        use_cache=use_cache,
        on_failure=on_failure or (block.on_failure if block is not None else "continue"),
        allow_large=allow_large,
        sandbox=sandbox,
        created_at=time.time(),
        idempotency_key=idempotency_key,
    )
    DagExpander(registry if registry is not None else Registry.load()).check(plan, dag)
    return plan
