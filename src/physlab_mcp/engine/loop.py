"""The engine's one loop: drain all -> steps -> decide -> commit -> dispatch -> notify."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import anyio

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.backends.base import Backend, BackendInfo, Observation, Submission
from physlab_mcp.engine.capacities import Capacities
from physlab_mcp.engine.durations import Durations
from physlab_mcp.engine.expansion import Expander, Expansion
from physlab_mcp.engine.gates import Gates
from physlab_mcp.engine.goals import Goals
from physlab_mcp.engine.observed import changes_of, is_abroad
from physlab_mcp.engine.offload import OffloadRules
from physlab_mcp.engine.placement import Placement
from physlab_mcp.engine.records import keep_lineage
from physlab_mcp.engine.recurring import begin as begin_occurrences
from physlab_mcp.engine.requests import Requests
from physlab_mcp.engine.retry import Rules
from physlab_mcp.engine.steps import Draft, stored
from physlab_mcp.engine.strangers import tell_strangers
from physlab_mcp.engine.untaken import not_begun, not_taken
from physlab_mcp.errors import PhyslabError, UnavailableError
from physlab_mcp.faults import kill_point
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import JobState, ReasonCode
from physlab_mcp.schemas.run import Request
from physlab_mcp.stores.base import Change, Lead, LeadershipLostError, Store, TurnView

logger = logging.getLogger(__name__)

MOST_A_TURN = 512
_TEND_EVERY_S = 0.5
_REST_S = 1.0  # at most, between two turns
_PACK_EVERY_S = 5.0  # while jobs run; at every tending else


class Loop:
    """Schedules under one leadership until it is told to stop or the leadership is lost."""

    def __init__(
        self,
        *,
        store: Store,
        backends: Mapping[str, Backend],
        expander: Callable[[], Expander],
        registry: Callable[[], Registry],
        blobs: Blobs,
        lead: Lead,
        lease_s: float,
        rules: Rules,
        notify: Callable[[int, int], None],
        approve: Collection[str] = (),
        infos: Mapping[str, BackendInfo] | None = None,
        offload: OffloadRules | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._store = store
        self._backends = backends
        self._registry = registry
        self._blobs = blobs
        self._lead = lead
        self._lease_s = lease_s
        self._rules = rules
        self._notify = notify
        self._approve = approve
        self._infos = {} if infos is None else infos
        self._offload = offload
        self._live: dict[str, Job] = {}  # jobs abroad, as they stand in the store
        self._kept: list[tuple[Backend, list[Observation]]] = []  # drained, not yet committed
        self._requests = Requests(self._live)
        self._durations = Durations()
        self._gates = Gates(self._durations)
        self._capacities = Capacities(backends)
        self._goals = Goals(store, expander)
        self._expansion = Expansion(store, expander, backends, self._durations, clock)
        self._woken = anyio.Event()
        self._stop = False
        self._next_tend = 0.0
        self._next_renew = 0.0
        self._next_pack = 0.0
        self._again = False
        self._refused: list[Change] = []  # jobs of sweeps that ended without running in the turn before
        self._look = True  # whether plans and requests are looked for in the next turn
        self._next_at: float | None = None
        self._busy_until = 0.0
        self.trouble = ""  # why turns fail, while they do
        self._last_news = (0, 0)

    # -- from outside ----------------------------------------------------------------------------------------

    def wake(self) -> None:
        """A client wrote something: turn now and look for plans and requests."""
        self._look = True
        self._woken.set()

    def seen(self) -> None:
        """A backend saw something: turn now."""
        self._woken.set()

    def stop(self) -> None:
        """End after the present turn; jobs abroad go on and are adopted by the next engine."""
        self._stop = True
        self._woken.set()

    @property
    def live(self) -> int:
        """How many jobs are abroad."""
        return len(self._live)

    @property
    def due(self) -> float | None:
        """When it has something to do unasked: now, later, or None for never."""
        return self._clock() if self._again or self._woken.is_set() else self._next_at

    @property
    def idle_since(self) -> float:
        """When the last turn that did something ended."""
        return self._busy_until

    # -- the loop --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until stopped.

        Raises:
            LeadershipLostError: another engine leads.

        """
        back_off = 0.1
        adopted = False
        while not self._stop:
            try:
                if not adopted:
                    await self._adopt()
                    adopted = True
                await self.turn()
                back_off = 0.1
                self._tell_trouble("")
            except LeadershipLostError:
                raise
            except PhyslabError as error:
                logger.warning("the store refused a turn: %s", error)
                self._tell_trouble(str(error))
                self._woken = anyio.Event()
                with anyio.move_on_after(back_off):
                    await self._woken.wait()
                back_off = min(2.0, back_off * 2)
                continue
            if self._again:
                await anyio.lowlevel.checkpoint()  # a turn suspends nowhere else: clients and signals need one
                continue
            with anyio.move_on_after(self._sleep_s()):
                await self._woken.wait()

    def _tell_trouble(self, text: str) -> None:
        """Clients that wait hear why nothing happens, and when it does again."""
        if text != self.trouble:
            self.trouble = text
            self._notify(*self._last_news)

    def _sleep_s(self) -> float:
        now = self._clock()
        dues = [_REST_S, self._next_tend - now if self._live else _REST_S]
        if self._next_at is not None:
            dues.append(self._next_at - now)
        return max(0.0, min(dues))

    async def _adopt(self) -> None:
        now = self._clock()
        kill_point("engine.before_adopt")
        for job in await self._store.adopt(self._lead, until=now + self._lease_s):
            if is_abroad(job):
                self._live[job.id] = job
        for job in self._live.values():  # it is not known yet that its place is out of reach for this engine as well
            backend = self._backends.get(job.backend)
            if backend is not None and job.reason.code is ReasonCode.BACKEND_UNREACHABLE:
                seen = Observation(job_id=job.id, fence=job.fence, kind="reachable", at=now)
                self._kept.append((backend, [seen]))
        by_backend: dict[str, list[Job]] = {}
        for job in self._live.values():
            by_backend.setdefault(job.backend, []).append(job)
        for name, backend in self._backends.items():
            theirs = by_backend.get(name, [])
            await backend.adopt(theirs, {job.id: await self._lines_of(job) for job in theirs if job.spec.node is None})
        kill_point("engine.after_adopt")
        if self._live:
            logger.info("adopted %d jobs", len(self._live))

    async def _lines_of(self, job: Job) -> int:
        """How many lines of its event file the present attempt of a command has in the store."""
        after, newest = 0, 0
        while page := await self._store.events(after=after, subject=job.id, limit=1000):
            after = page[-1].seq
            lines = [event.data["line"] for event in page if event.attempt == job.attempt and "line" in event.data]
            newest = max([newest, *lines])
        return newest

    async def turn(self) -> None:
        """One turn."""
        self._woken = anyio.Event()
        now = self._clock()
        for backend in self._backends.values():
            seen = backend.drain()
            if seen:
                self._kept.append((backend, seen))
        kill_point("engine.after_drain")
        changes, stale = changes_of(self._kept, self._live, now=now, rules=self._rules)
        placement = Placement(
            backends=self._backends, registry=self._registry, blobs=self._blobs, claimer=self._lead.claimer, now=now,
            lease_s=self._lease_s, most=MOST_A_TURN, approve=self._approve,
            durations=self._durations, gates=self._gates, infos=self._infos, offload=self._offload,
        )  # fmt: skip
        decided: list[Change] = []
        look, self._look = self._look or now >= self._next_tend or self._requests.open, False
        first = [self._before_others(stale, await self._to_stop([*changes, *self._refused]), changes, now)]
        if look:
            first += [
                partial(self._goals.ask, now=now),
                partial(self._capacities.note, now=now),
                partial(tell_strangers, backends=self._backends, live=self._live.values(), now=now),
                self._requests_of(now),
                partial(begin_occurrences, now=now),
                self._expand,
            ]
        await self._expansion.load_dags()
        kill_point("engine.before_intent")
        try:
            decide = _one_after_another(first, placement.decide, decided)
            done = await self._store.turn(self._lead, changes, decide, now=now, lease_s=self._lease_s)
        except BaseException:
            self._unplace(placement.reserved)
            self._look = True
            raise
        kill_point("engine.after_commit")
        self._remember([*changes, *decided], done.refused)
        self._refused = [c for c in decided if c.new.state is JobState.FAILED and c.old.sweep_id]
        self._acknowledge()
        await self._dispatch(placement, done.refused)
        kill_point("engine.before_notify")
        if done.wrote:
            self._last_news = (done.seq, done.durable_seq)
            self._notify(*self._last_news)
        if changes or decided:
            self._busy_until = now
        self._next_at = done.next_at
        await self._goals.look(changes)
        self._look = self._look or self._goals.open
        self._again = (
            self._goals.open
            or placement.unfinished
            or self._requests.more
            or bool(self._refused)
            or (look and self._expansion.expanded)
        )
        await self._requests.act(self._backends)
        await self._care(now)

    async def _to_stop(self, changes: Sequence[Change]) -> set[str]:
        """Sweeps that a failure among `changes` stops."""
        failed = {c.old.sweep_id for c in changes if c.new.state is JobState.FAILED and c.old.sweep_id}
        states = [await self._store.get_plan(sweep) for sweep in failed]
        return {s.plan.id for s in states if s is not None and s.plan.on_failure == "stop" and not s.plan.stopped}

    def _before_others(
        self, stale: Draft | None, stop: set[str], changes: Sequence[Change], now: float
    ) -> Callable[[TurnView], list[Change]]:
        def step(view: TurnView) -> list[Change]:
            if stale is not None:
                view.append(stale.events)
            keep_lineage(view, changes)
            self._durations.learn(view, changes, now)
            for sweep in stop:
                self._look = True
                view.ask(Request(id=new_handle("req"), verb="cancel", subject=sweep, owner="engine", at=now))
            return []

        return step

    def _expand(self, view: TurnView) -> list[Change]:
        self._look = self._expansion.expand(view) or self._look
        if self._expansion.wants_dags:
            self.wake()
        return []

    def _requests_of(self, now: float) -> Callable[[TurnView], list[Change]]:
        return lambda view: self._requests.decide(view, now)

    def _remember(self, changes: list[Change], refused: Mapping[str, str]) -> None:
        for change in changes:
            job_id = change.old.id
            if job_id in refused:
                logger.warning("%s: a change was refused: %s", job_id, refused[job_id])
                self._live.pop(job_id, None)
            elif is_abroad(change.new):
                self._live[job_id] = stored(change)
            else:
                self._live.pop(job_id, None)

    def _acknowledge(self) -> None:
        for backend, observations in self._kept:
            backend.acknowledge(observations)
        self._kept.clear()

    def _unplace(self, jobs: list[Job]) -> None:
        for job in jobs:
            self._backends[job.backend].unplace([job])

    async def _dispatch(self, placement: Placement, refused: Mapping[str, str]) -> None:
        durable = True
        if any(not one.job.spec.pure for batch in placement.placed.values() for one in batch):
            # What must not run twice unasked is begun only once the intent survives a power loss.
            durable = await self._is_durable()
        for name, batch in placement.placed.items():
            backend = self._backends[name]
            if not durable:
                backend.unplace([one.job for one in batch])
                self._kept.append(
                    (backend, [not_begun(one.job, self._clock()) for one in batch if one.job.id not in refused])
                )
                continue
            good = [one for one in batch if one.job.id not in refused]
            backend.unplace([one.job for one in batch if one.job.id in refused])
            failed = await backend.submit(Submission(placement.submission, good))
            kill_point("engine.after_submit")
            for job_id, error in failed.items():
                logger.warning("%s was not taken by %s: %s", job_id, name, error)
            if failed:
                seen = [not_taken(one.job, failed[one.job.id], self._clock()) for one in good if one.job.id in failed]
                self._kept.append((backend, seen))
                self._woken.set()

    async def _is_durable(self) -> bool:
        try:
            await self._store.make_durable()
        except UnavailableError as error:
            logger.warning("what must not run twice is not begun: %s", error)
            return False
        return True

    # -- care ------------------------------------------------------------------------------------------------

    async def _care(self, now: float) -> None:
        if now >= self._next_tend:
            self._next_tend = now + _TEND_EVERY_S
            for backend in self._backends.values():
                await backend.tend(now)
            if not self._live and now > self._busy_until + _REST_S:
                await self._store.settle()
            elif not self._live or now >= self._next_pack:
                self._next_pack = now + _PACK_EVERY_S
                await self._store.pack()
        if self._live and now >= self._next_renew:
            self._next_renew = now + self._lease_s / 3
            if any(job.lease_until < now + self._lease_s / 2 for job in self._live.values()):
                await self._store.renew(self._lead.claimer, until=now + self._lease_s)


def _one_after_another(
    first: Sequence[Callable[[TurnView], list[Change]]],
    last: Callable[[TurnView], list[Change]],
    decided: list[Change],
) -> Callable[[TurnView], list[Change]]:
    """Each of `first` once, until one has changes; then `last` again and again. All their changes go into `decided`."""
    stage = iter(first)

    def decide(view: TurnView) -> list[Change]:
        answer = next((answer for step in stage if (answer := step(view))), None)
        if answer is None:
            answer = last(view)
        decided.extend(answer)
        return answer

    return decide
