"""From a plan to runs and jobs: the engine's Expander, and the check of a plan before it is submitted."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import msgspec

from physlab_mcp.artifacts.cache_key import code_version
from physlab_mcp.dags.calls import Call, Step, call_of, check_call, check_caps, prepare_steps
from physlab_mcp.dags.criteria import meets, unmeasured
from physlab_mcp.dags.extension import Extended, points_of
from physlab_mcp.dags.points import Point, Points
from physlab_mcp.dags.sharing import Sharing
from physlab_mcp.dags.sweep import formulas_of, read_sweep
from physlab_mcp.dags.targets import check_results
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import NodeType, Registry
from physlab_mcp.schemas.dag import Dag
from physlab_mcp.schemas.handles import new_handle, new_handles
from physlab_mcp.schemas.job import Job, NodeCall, Reason
from physlab_mcp.schemas.job_state import ReasonCode
from physlab_mcp.schemas.run import Plan, Run
from physlab_mcp.schemas.schedule import canonical, read_schedule

_MOST_JOBS_AT_ONCE = 1_000_000  # what one call of new_handles can put in order
_PLANS_REMEMBERED = 16
_CALLS_REMEMBERED = 4096
_CALLS_KEPT = 65_536  # over all nodes of a plan
_VALUES_CHECKED = 1000
_MOST = 1_000_000  # what parallelism may be
_RANKS = 1_000  # what priority may be, either way


class _Prepared(msgspec.Struct, frozen=True):
    """A plan with everything settled that is equal at every point, and what that rests on."""

    rests_on: tuple[Any, ...]
    steps: list[Step]
    points: Points | Extended | None
    code: tuple[tuple[NodeType, str], ...]
    sharing: Sharing | None
    calls: dict[tuple[Hashable, ...], Call]  # (step, digits of its axes) -> its call, for nodes that take few values

    def is_current(self) -> bool:
        """Whether the code is still what the keys of the calls say."""
        return all(code_version(node_type) == code for node_type, code in self.code)

    def call(self, step: Step, point: Point | None) -> Call:
        """What a step runs at a point."""
        if step.call is not None or point is None:
            return step.call or call_of(step, ())
        values, digits = point.values, point.digits
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
        size = len(prepared.steps)
        first = after_index + 1
        count = min(n, plan.total - first, max(1, _MOST_JOBS_AT_ONCE // size))
        if count <= 0:
            return []
        points = [None] if prepared.points is None else prepared.points.window(first, count)
        runs = [plan.id] if prepared.points is None else new_handles("run", count)
        ids = new_handles("job", count * size)
        now = self._clock()
        expanded: list[tuple[Run, list[Job]]] = []
        for turn, (run_id, point) in enumerate(zip(runs, points, strict=True)):
            run = Run(
                id=run_id,
                dag_id=dag.id,
                owner=plan.owner,
                session_id=plan.session_id,
                sweep_id=None if point is None else plan.id,
                point_index=first + turn,
                point={} if point is None else point.params,
                title=plan.title,
                total=size,
                expanded=True,
                created_at=now,
            )
            calls = [prepared.call(step, point) for step in prepared.steps]
            expanded.append((run, _jobs(plan, run, prepared, calls, ids[turn * size : (turn + 1) * size])))
        return expanded

    def reached(self, plan: Plan, point: Mapping[str, Any], values: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether a point with these values (by node) meets the sweep's success criteria, which end it.

        Where that cannot be said, as of a value that is missing, it does not.
        """
        spec = read_sweep(plan.sweep) if plan.sweep is not None else None
        if spec is None or spec.success is None or spec.on_success != "stop":
            return False
        try:
            return meets(spec.success, point, values)
        except RequestError:
            return False

    def unmeasured(self, plan: Plan, point: Mapping[str, Any], values: Mapping[str, Mapping[str, Any]]) -> str | None:
        """Why the success criteria cannot be looked at at a point that succeeded, in words; None where they can."""
        return unmeasured((plan.sweep or {}).get("success"), point, values)

    def check(self, plan: Plan, dag: Dag) -> None:
        """Check a plan without making a job: overrides, first and last point, each parameter's values, extremes.

        Raises:
            RequestError: an override, the sweep or one of those points is not valid.

        """
        prepared = self._prepare(plan, dag)
        for step in prepared.steps:
            if step.call is not None and plan.params.get(step.node.id):
                check_call(step, step.call)
            elif step.call is not None:  # the graph may have been stored with allow_large
                check_caps(step, step.call)
        for point in prepared.points.probes(_VALUES_CHECKED) if prepared.points is not None else ():
            for step in prepared.steps:
                if step.call is None:
                    check_call(step, prepared.call(step, point))

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
        points = points_of(read_sweep(plan.sweep), total=plan.total) if plan.sweep is not None else None
        steps = prepare_steps(plan, dag, self.registry, points, remember=_CALLS_REMEMBERED)
        code = tuple({step.node.type: (step.type, step.code) for step in steps}.values())
        sharing = Sharing(plan.id, steps, points.bases) if points is not None else None
        prepared = self._plans[plan.id] = _Prepared(
            rests_on, steps, points, code, sharing if sharing is not None and sharing.any else None, {}
        )
        while len(self._plans) > _PLANS_REMEMBERED:
            self._plans.popitem(last=False)
        return prepared


def _jobs(plan: Plan, run: Run, prepared: _Prepared, calls: list[Call], ids: list[str]) -> list[Job]:
    shared = [False] * len(calls)
    if prepared.sharing is not None:
        ids, shared = prepared.sharing.ids(calls, ids), prepared.sharing.shared
    waits, ready = Reason(ReasonCode.NEEDS, "", run.created_at), Reason()
    index = None if run.sweep_id is None else run.point_index
    jobs: list[Job] = []
    for step, call, job_id, is_shared in zip(prepared.steps, calls, ids, shared, strict=True):
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
                kind="command" if spec.node is None else "function" if node.type == "function" else "node",
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
                group=plan.id if plan.parallelism else None,
                shared=is_shared,
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
    schedule: Mapping[str, Any] | None = None,
    offload_policy: str = "",
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
        RequestError: an override, the sweep block, the schedule, or a value of it is not valid.

    """
    block = read_sweep(sweep) if sweep is not None else None
    if on_failure not in (None, "continue", "stop", "retry"):
        raise RequestError(
            f"on_failure is {on_failure!r}.", field="on_failure", got=on_failure, remedy="Use continue, stop or retry."
        )
    for name, value, least, most in (("parallelism", parallelism, 0, _MOST), ("priority", priority, -_RANKS, _RANKS)):
        if not least <= value <= most:
            raise RequestError(
                f"{name} is {value}.", field=name, got=value, remedy=f"Use a number from {least} to {most}."
            )
    plan = Plan(
        id=new_handle("run" if block is None else "sweep"),
        dag_id=dag.id,
        owner=owner,
        session_id=session_id,
        title=title if title is not None else dag.metadata.get("title", ""),
        total=1 if block is None else points_of(block).total,
        params={name: dict(values) for name, values in (params or {}).items() if values},
        sweep=block.canonical() if block is not None else None,
        parallelism=parallelism,
        priority=priority,
        schedule=canonical(read_schedule(schedule)) if schedule is not None else None,
        offload_policy=offload_policy,
        use_cache=use_cache,
        on_failure=on_failure or (block.on_failure if block is not None else "continue"),
        allow_large=allow_large,
        sandbox=sandbox,
        created_at=time.time(),
        idempotency_key=idempotency_key,
    )
    registry = registry if registry is not None else Registry.load()
    DagExpander(registry).check(plan, dag)
    if block is not None:
        check_results(block, formulas_of(block).names, dag, registry)
    return plan
