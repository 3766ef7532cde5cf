"""The Store: the durable memory of records. Each method is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from physlab_mcp.errors import ConflictError
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.run import Plan, Request, Run
from physlab_mcp.schemas.series import Series
from physlab_mcp.stores.learning import Learning


class JobQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs. Fields that are None do not restrict; rows come newest first, `after` continues below a pk."""

    states: tuple[JobState, ...] | None = None
    owner: str | None = None
    kind: str | None = None
    backend: str | None = None
    queue: str | None = None
    run_id: str | None = None
    plan_id: str | None = None
    session_id: str | None = None
    since: float | None = None
    alone: bool = False  # only jobs that belong to no run
    oldest_first: bool = False
    after: int | None = None
    limit: int = 100


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One job's step through one or several states, written as a swap on (pk, version) together with its events.

    The store sets `new.version`. `body`: result or failure (JSON). `cache_key` files it. `waits_for`: a soft edge (pk).
    """

    old: Job
    new: Job
    path: tuple[JobState, ...] = ()
    events: tuple[Event, ...] = ()
    body: bytes | None = None
    cache_key: str | None = None
    waits_for: int = 0


class Lead(msgspec.Struct, frozen=True):
    """Leadership under a fence: a turn of an older fence is refused."""

    name: str
    claimer: str
    fence: int


class LeadershipLostError(ConflictError):
    """Another one leads; whoever sees this steps down."""


class Hit(msgspec.Struct, frozen=True):
    """A finished job whose result may be used again."""

    job_id: str
    at: float
    body: bytes


class PlanState(msgspec.Struct, frozen=True):
    """A plan with what the store counts for it."""

    plan: Plan
    counts: dict[str, int]
    jobs: int
    started_at: float
    ended_at: float
    first_seq: int = 0
    last_seq: int = 0
    pk: int = 0


class NodeOutcome(msgspec.Struct, frozen=True):
    """What became of one node of a run; `body` is its result or failure (JSON) once it has ended."""

    job_id: str
    node_id: str
    state: JobState
    text: str  # of its reason
    started_at: float
    ended_at: float
    body: bytes | None
    paused_s: float = 0.0  # of the time since started_at


class TurnView(Learning, Protocol):
    """What the engine may read inside its own turn, seeing the turn's changes."""

    def ready(self, backend: str, *, now: float, limit: int, saturated: Collection[str]) -> list[Job]:
        """Ready jobs in order (priority, position, rank, age), none of a saturated group."""
        ...

    def waiting_for(self) -> list[str]:
        """The backends for which jobs are ready."""
        ...

    def results(self, job_ids: Collection[str]) -> dict[str, bytes]:
        """Bodies of finished jobs."""
        ...

    def hits(self, keys: Collection[str]) -> dict[str, Hit]:
        """Cached successes by cache key."""
        ...

    def forget(self, key: str) -> None:
        """Remove a cache entry whose artifacts are no longer intact."""
        ...

    def same_work(self, keys: Collection[str]) -> dict[str, int]:
        """pk of a live job that is computing the same key; a paused one and one out of reach are not waited for."""
        ...

    def abroad(self, group: str) -> int:
        """How many jobs of a group some backend has; paused ones do not count."""
        ...

    def requests(self, limit: int) -> list[Request]:
        """Requests not yet carried out, oldest first."""
        ...

    def put(self, kind: str, record_id: str, body: Any, *, subject: str | None = None) -> bool:
        """Add an immutable record within the turn."""
        ...

    def ask(self, request: Request) -> None:
        """Add a request within the turn."""
        ...

    def was_approved(self, job_id: str) -> bool:
        """Whether a human ever let this job start."""
        ...

    def carried(self, request_id: str) -> None:
        """Mark a request as carried out."""
        ...

    def live_of(self, subject: str, *, states: Collection[JobState], limit: int) -> list[Job]:
        """Live jobs of a job, run or sweep handle."""
        ...

    def flag_plan(
        self, plan_id: str, *, paused: bool | None = None, stopped: bool | None = None, reached: bool = False
    ) -> None:
        """Pause, resume or stop the expansion of a plan."""
        ...

    def extend_plan(self, plan_id: str, sweep: dict[str, Any], total: int, *, was: int) -> bool:
        """Give a sweep more points, whether it has ended or not; False if it has not `was` points any more."""
        ...

    def open_plans(self, limit: int, *, live_below: int | None = None) -> list[PlanState]:
        """Plans with points still to expand and fewer than `live_below` jobs that have not ended."""
        ...

    def expand(self, plan: Plan, points: Sequence[tuple[Run, Sequence[Job]]]) -> None:
        """Add the runs and jobs of the plan's next points and move its `next_index`."""
        ...

    def reorder(self, job: Job, position: int) -> None:
        """Move a pending job to `position` (1 = next) among its backend's waiting jobs of the same priority."""
        ...

    def append(self, events: Sequence[Event]) -> None:
        """Append events within the turn."""
        ...

    def add_plan(self, plan: Plan) -> str:
        """Add a run or sweep of a known DAG; a known (owner, idempotency_key) answers the first one's id."""
        ...

    def add_job(self, job: Job) -> str:
        """Add a stand-alone job; a known (owner, idempotency_key) answers the first one's id."""
        ...

    def due_series(self, now: float, limit: int) -> list[Series]:
        """Series whose next occurrence is due."""
        ...

    def cancel_series(self, series_id: str) -> None:
        """End a series before its time; what of it runs goes on."""
        ...

    def move_series(self, series: Series) -> None:
        """Write a series' next time, end, count and newest occurrence."""
        ...


class Turn(msgspec.Struct, frozen=True):
    """What a turn did."""

    refused: dict[str, str]  # job id -> why its change was not written
    seq: int  # newest event
    durable_seq: int
    next_at: float | None  # when a pending job's not_before comes due
    wrote: bool


class Store(Protocol):
    """Durable memory. Any number of processes may use one store at the same time."""

    async def add_jobs(self, jobs: Sequence[Job], *, durable: bool = True) -> list[str]:
        """Add jobs; for a known (owner, idempotency_key) the first one's id is returned and no second row is made."""
        ...

    async def get_jobs(self, ids: Sequence[str]) -> list[Job]:
        """The jobs that exist among `ids`, in that order."""
        ...

    async def find_jobs(self, query: JobQuery) -> list[Job]:
        """Jobs that match."""
        ...

    async def count_jobs(self, query: JobQuery) -> Mapping[JobState, int]:
        """Numbers per state; kept counts for a run or plan, counted otherwise."""
        ...

    async def update_jobs(self, changes: Sequence[Change], *, durable: bool = False) -> Mapping[str, str]:
        """Write swaps with their events, lowered needs and counts; the answer names the refused ones and why."""
        ...

    async def turn(
        self,
        lead: Lead,
        changes: Sequence[Change],
        decide: Callable[[TurnView], Sequence[Change] | None],
        *,
        now: float,
        lease_s: float,
        durable: bool = False,
    ) -> Turn:
        """A whole loop turn in one transaction: changes, then `decide` again and again until it answers None or nothing.

        Raises:
            LeadershipLostError: the leadership is lost; nothing was written.

        """
        ...

    async def lead(self, name: str, claimer: str, *, now: float, lease_s: float) -> int | None:
        """Take or renew leadership; the fence, or None while another holds it."""
        ...

    async def get_leader(self, name: str) -> str | None:
        """Who holds an unexpired lease, or held the last one."""
        ...

    async def depose(self, name: str, claimer: str) -> None:
        """End the lease of a leader that is known to be dead."""
        ...

    async def resign(self, lead: Lead) -> None:
        """Give leadership up at once."""
        ...

    async def renew(self, claimer: str, *, until: float) -> None:
        """Prolong the leases of all of a claimer's live jobs."""
        ...

    async def adopt(self, lead: Lead, *, until: float) -> list[Job]:
        """Make every job abroad this leader's, keeping its fence, and return them.

        Raises:
            LeadershipLostError: another leads by now.

        """
        ...

    async def results(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Bodies (result or failure, JSON) of finished jobs."""
        ...

    async def add_plan(self, plan: Plan, dag_body: bytes, *, git: Any = None) -> str:
        """Add a plan (durably) with its dag and the state of its repository; a known (owner, idempotency_key) answers the first one's id."""
        ...

    async def add_series(self, series: Series, dag_body: bytes | None = None) -> str:
        """Add recurring work (durably) with its dag; a known (owner, idempotency_key) answers the first one's id."""
        ...

    async def get_series(self, series_id: str) -> Series | None:
        """A series as it stands."""
        ...

    async def find_series(self, *, owner: str | None, after: int | None = None, limit: int = 50) -> list[Series]:
        """Series, newest first; `after` continues below a pk."""
        ...

    async def get_plan(self, plan_id: str) -> PlanState | None:
        """A run or sweep as submitted, with its counts."""
        ...

    async def find_plans(
        self,
        *,
        owner: str | None,
        session_id: str | None = None,
        since: float | None = None,
        after: int | None = None,
        limit: int = 50,
    ) -> list[PlanState]:
        """Plans, newest first."""
        ...

    async def get_run(self, run_id: str) -> Run | None:
        """One run with its counts."""
        ...

    async def find_runs(self, plan_id: str, *, after_index: int = -1, limit: int = 100) -> list[Run]:
        """The runs of a plan in the order of their points."""
        ...

    async def outcomes(self, run_ids: Sequence[str]) -> dict[str, list[NodeOutcome]]:
        """What became of the nodes of these runs, shared ones too, each run's in the order of its graph."""
        ...

    async def joined(self, run_id: str) -> list[str]:
        """The shared jobs that the run counts but was not the first to have."""
        ...

    async def put(
        self, kind: str, record_id: str, body: Any, *, subject: str | None = None, durable: bool = True
    ) -> bool:
        """Add an immutable record (a JSON value); False if that id was there already."""
        ...

    async def get(self, kind: str, record_id: str) -> Any:
        """A record's body, or None."""
        ...

    async def find(
        self, kind: str, *, subject: str | None = None, after: int = 0, limit: int = 100, newest_first: bool = False
    ) -> list[tuple[int, str, Any]]:
        """(seq, id, body) of records in the order they were put."""
        ...

    async def has_work(self) -> bool:
        """Whether an engine is needed: something could start, is abroad, is to be expanded or was asked for."""
        ...

    async def durations(self, keys: Collection[int]) -> dict[int, tuple[float, int, float]]:
        """(mean seconds, how many, when last) of work that ended, by key: see engine/durations.py."""
        ...

    async def request(self, request: Request) -> None:
        """Append a request durably."""
        ...

    async def append(self, events: Sequence[Event]) -> int:
        """Append events; the seq of the last."""
        ...

    async def events(self, *, after: int = 0, subject: str | None = None, limit: int = 100) -> list[Event]:
        """Events in order of seq. `subject`: a job, run (also its jobs' events) or sweep."""
        ...

    async def pack(self, *, keep: int = ..., batch: int = ...) -> int:
        """Pack the oldest events into less space, leaving at least `keep` rows alone; how many rows were packed."""
        ...

    async def settle(self, *, least: int = ..., volume: int = ...) -> int:
        """Put a part of what is stored into less space, when nothing else is to do; how many rows. Readers see no change."""
        ...

    async def seqs(self) -> tuple[int, int]:
        """(newest seq, durable seq): every event up to the latter survives a power loss."""
        ...

    async def make_durable(self) -> int:
        """Sync everything committed so far to the disk; the durable seq."""
        ...

    async def queue_position(self, job: Job) -> int | None:
        """1 for the job that starts next on its backend; None if it is not waiting."""
        ...

    async def aclose(self) -> None:
        """Close; committed work stays."""
        ...
