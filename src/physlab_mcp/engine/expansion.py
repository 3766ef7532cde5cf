"""Open plans become runs and jobs, a window of them at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from physlab_mcp.backends.base import Backend, Measured
from physlab_mcp.engine.durations import Durations
from physlab_mcp.errors import PhyslabError
from physlab_mcp.schemas.capacity import PLAIN, Amount, within
from physlab_mcp.schemas.dag import Dag
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.job import AUTO, Job
from physlab_mcp.schemas.job_state import TERMINAL
from physlab_mcp.schemas.run import Plan, Run
from physlab_mcp.stores.base import Store, TurnView

logger = logging.getLogger(__name__)

WINDOW = 2_000  # live jobs of one plan; more points are expanded once half of them have ended
CHUNK = 256  # jobs added in one turn, where a point is not larger: the workers must not wait for a long one
_DAGS = 64  # remembered


class Expander(Protocol):
    """Turns the next points of a plan into runs and jobs."""

    def next(self, plan: Plan, dag: Dag, after_index: int, n: int) -> list[tuple[Run, list[Job]]]:
        """Points after_index+1 and following, at most n of them."""
        ...

    def reached(self, plan: Plan, point: Mapping[str, Any], values: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether a point with these values (by node) is what the sweep was looking for."""
        ...

    def unmeasured(self, plan: Plan, point: Mapping[str, Any], values: Mapping[str, Mapping[str, Any]]) -> str | None:
        """What the success criteria name and these values of a point that succeeded lack, in words; None if nothing."""
        ...


class Expansion:
    """Which plans are open, their graphs, and what is added for them in a turn."""

    def __init__(
        self,
        store: Store,
        expander: Callable[[], Expander],
        backends: Mapping[str, Backend],
        durations: Durations,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._expander = expander
        self._backends = backends
        self._durations = durations
        self._clock = clock
        self._dags: dict[str, Dag] = {}
        self._wanted: set[str] = set()
        self.expanded = False  # points were added at the last look; the next ones follow at once

    @property
    def wants_dags(self) -> bool:
        """Whether graphs must be read before anything can be expanded."""
        return bool(self._wanted)

    async def load_dags(self) -> None:
        """Bodies of the DAGs that open plans need; read before the turn, since plans are few and DAGs immutable."""
        if len(self._dags) > _DAGS:
            self._dags.clear()
        for dag_id in self._wanted - self._dags.keys():
            body = await self._store.get("dag", dag_id)
            self._dags[dag_id] = with_the_only_place(msgspec.convert(body, Dag), self._backends)
        self._wanted.clear()

    def expand(self, view: TurnView) -> bool:
        """Add the next points of plans that have few jobs left; whether there are plans to look at again."""
        self.expanded = False
        open_plans = view.open_plans(limit=8, live_below=WINDOW // 2)
        for state in open_plans:
            plan = state.plan
            ended = sum(state.counts.get(s.value, 0) for s in TERMINAL)
            dag = self._dags.get(plan.dag_id)
            if dag is None:
                self._wanted.add(plan.dag_id)
                continue
            points = max(1, min(CHUNK, WINDOW - state.jobs + ended) // max(1, len(dag.nodes)))
            try:
                added = self._expander().next(plan, dag, plan.next_index - 1, min(points, plan.total - plan.next_index))
                view.expand(plan, self._durations.ranked(view, self._settled(plan, added)))
                self.expanded = True
            except (
                PhyslabError,
                OverflowError,
            ) as error:  # a number that no column holds stops its plan, not the engine
                logger.exception("%s cannot be expanded", plan.id)
                told = {"text": str(error), "code": getattr(error, "code", "error")}
                view.append([Event("log", plan.id, self._clock(), told)])
                view.flag_plan(plan.id, stopped=True)
        # Their windows move as their jobs end, so it looks again in every turn while there are any.
        return bool(open_plans or view.open_plans(limit=1))

    def _settled(self, plan: Plan, points: Sequence[tuple[Run, Sequence[Job]]]) -> Sequence[tuple[Run, Sequence[Job]]]:
        """The points with what only the engine knows: the schedule's priority, and what its machines do not have."""
        priority = plan.priority or (plan.schedule or {}).get("priority", 0)
        large = any(job.spec.resources.degrade for _, jobs in points[:1] for job in jobs)
        if priority == plan.priority and not large:
            return points
        return [(run, [self._with(job, priority) for job in jobs]) for run, jobs in points]

    def _with(self, job: Job, priority: int) -> Job:
        changed: dict[str, Any] = {} if job.priority == priority else {"priority": priority}
        backend = self._backends.get(job.backend)
        if job.spec.resources.degrade and isinstance(backend, Measured):
            spec = degraded(job, backend.capacity())
            if spec is not job.spec:
                changed["spec"] = spec
        return msgspec.structs.replace(job, **changed) if changed else job


def with_the_only_place(dag: Dag, backends: Collection[str]) -> Dag:
    """The graph with its nodes at the one backend that there is; where there are several it stays as it is.

    So nothing has to be chosen job by job where there is no choice.
    """
    if len(backends) != 1:
        return dag
    (only,) = backends
    nodes = [msgspec.structs.replace(one, backend=only) if one.backend == AUTO else one for one in dag.nodes]
    return msgspec.structs.replace(dag, nodes=tuple(nodes))


def degraded(job: Job, capacity: Amount) -> Any:
    """What a job runs with what there is: its resources cut down, and said so; its spec itself where all is there."""
    if job.spec.resources == PLAIN or not job.spec.resources.degrade:
        return job.spec
    resources, told = within(job.spec.resources, capacity)
    if not told:
        return job.spec
    said = dict.fromkeys([*job.spec.degraded, *(f"{one}; it ran with that." for one in told)])
    asked = job.spec.asked or job.spec.resources
    return msgspec.structs.replace(job.spec, resources=resources, degraded=tuple(said), asked=asked)
