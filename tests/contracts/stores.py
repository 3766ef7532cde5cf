"""The stores that the contract suite runs over, and short words to fill them with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import msgspec

from physlab_mcp.schemas.handles import new_handle, new_handles
from physlab_mcp.schemas.job import Job, JobSpec, Reason
from physlab_mcp.schemas.job_state import TERMINAL, JobState
from physlab_mcp.schemas.run import Plan, Run
from physlab_mcp.stores.base import Change, JobQuery, Lead, Store, Turn, TurnView
from physlab_mcp.stores.sqlite import SQLiteStore, memory_store

# name -> (make a store in a folder, whether a second one made there shares its data)
STORES: dict[str, tuple[Callable[[Path], Store], bool]] = {
    "file, threaded": (lambda folder: SQLiteStore(folder / "s.db"), True),
    "file, inline": (lambda folder: SQLiteStore(folder / "s.db", threaded=False), True),
    "file, network": (lambda folder: SQLiteStore(folder / "s.db", network=True), True),
    "memory": (lambda _folder: memory_store(), False),
}
S = JobState
LEASE_S = 30.0


def make_job(job_id: str | None = None, **fields: object) -> Job:
    return Job(**{"id": job_id or new_handle("job"), "kind": "node", "spec": JobSpec(), **fields})


def chain(count: int) -> list[Job]:
    """Jobs of which each needs the one before."""
    ids = new_handles("job", count)
    return [make_job(one, needs=(ids[i - 1],) if i else ()) for i, one in enumerate(ids)]


def step(job: Job, *path: JobState, **fields: object) -> Change:
    """The job's change along `path`."""
    state = path[-1] if path else job.state
    extra = {"ended_at": 1.0} if state in TERMINAL else {}
    return Change(old=job, new=msgspec.structs.replace(job, state=state, **{**extra, **fields}), path=path)


def succeeded(job: Job, body: bytes = b"{}") -> Change:
    change = step(job, S.SUBMITTING, S.RUNNING, S.COLLECTING, S.SUCCEEDED)
    return msgspec.structs.replace(change, body=body)


def ended(job: Job, state: JobState) -> Change:
    return succeeded(job) if state is S.SUCCEEDED else step(job, state, reason=Reason())


class Desk:
    """One store with someone who leads it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = 1_000.0
        self.leading: Lead | None = None

    async def lead(self, claimer: str = "engine-1") -> Lead:
        fence = await self.store.lead("engine", claimer, now=self.now, lease_s=LEASE_S)
        assert fence is not None
        self.leading = Lead("engine", claimer, fence)
        return self.leading

    async def turn(
        self,
        *changes: Change,
        decide: Callable[[TurnView], Sequence[Change] | None] = lambda _view: None,
        durable: bool = False,
    ) -> Turn:
        lead = self.leading or await self.lead()
        return await self.store.turn(lead, changes, decide, now=self.now, lease_s=LEASE_S, durable=durable)

    async def add(self, *jobs: Job) -> list[Job]:
        return await self.store.get_jobs(await self.store.add_jobs(jobs, durable=False))

    async def get(self, job: Job | str) -> Job:
        (found,) = await self.store.get_jobs([job if isinstance(job, str) else job.id])
        return found

    async def add_plan(self, total: int = 1, **fields: object) -> Plan:
        plan = Plan(
            **{"id": new_handle("run" if total == 1 else "sweep"), "dag_id": "dag-00000000", "total": total, **fields}
        )
        await self.store.add_plan(plan, b'{"nodes":[]}')
        return plan

    async def expand(self, plan: Plan, points: Iterable[Sequence[Job]]) -> Turn:
        """Add the next points of a plan with these jobs."""
        points = [list(jobs) for jobs in points]

        def decide(view: TurnView) -> None:
            state = next(one for one in view.open_plans(100) if one.plan.id == plan.id)
            view.expand(plan, [make_point(plan, state.plan.next_index + i, jobs) for i, jobs in enumerate(points)])

        return await self.turn(decide=decide)

    async def ready(self, *, now: float = 1e9, saturated: Collection[str] = ()) -> list[str]:
        """Ids of the ready jobs of the local backend, in order."""
        found: list[str] = []
        await self.turn(
            decide=lambda view: found.extend(j.id for j in view.ready("local", now=now, limit=99, saturated=saturated))
        )
        return found

    async def jobs_of(self, *, run: str | None = None, plan: str | None = None) -> list[Job]:
        return await self.store.find_jobs(JobQuery(run_id=run, plan_id=plan, oldest_first=True, limit=100_000))

    async def ends_of(self, subject: str) -> list[str]:
        """The states that the run events of a subject's end name."""
        words = {state.value for state in TERMINAL}
        events = await self.store.events(subject=subject, limit=100_000)
        return [
            e.data["state"] for e in events if e.kind == "run" and e.subject == subject and e.data["state"] in words
        ]


def make_point(plan: Plan, index: int, jobs: Sequence[Job]) -> tuple[Run, list[Job]]:
    run_id = plan.id if plan.total == 1 else new_handle("run")
    run = Run(id=run_id, dag_id=plan.dag_id, point_index=index, point={"i": index}, created_at=1.0)
    return run, [msgspec.structs.replace(job, run_id=run_id) for job in jobs]
