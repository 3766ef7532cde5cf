"""The client side of the engine: what MCP server, CLI, library and hub call. Durable first, then woken."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.backends.base import Backend, BackendInfo, Measured
from physlab_mcp.engine.cache_report import CacheReport
from physlab_mcp.engine.feed import Feed
from physlab_mcp.engine.inquiries import Estimate, described, foretold
from physlab_mcp.engine.link import Link, ask
from physlab_mcp.engine.listing import Listings
from physlab_mcp.engine.node_view import decoded, node_view, pk_in_run
from physlab_mcp.engine.request_check import check_verb, is_done
from physlab_mcp.engine.submission import Submissions
from physlab_mcp.engine.views import job_status, plan_status, run_status, series_status
from physlab_mcp.engine.waiting import Wait
from physlab_mcp.errors import ConflictError, NotFoundError, RequestError, UnavailableError
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.artifact import ArtifactRef
from physlab_mcp.schemas.capacity import ONE_CORE, Amount
from physlab_mcp.schemas.dag import Dag
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.handles import new_handle, prefix_of
from physlab_mcp.schemas.job import HERE, Job, JobSpec, Reason
from physlab_mcp.schemas.job_state import TERMINAL, JobState, ReasonCode
from physlab_mcp.schemas.run import Plan, Request, Run
from physlab_mcp.schemas.series import Series
from physlab_mcp.schemas.status import Chunk, JobOutcome, NodeView, Status
from physlab_mcp.stores.base import JobQuery, Store

logger = logging.getLogger(__name__)
_LOOK_BACK = 500
_PAGE = 1_000  # nodes
_STATUS_S = 2.0  # for the engine to say what it sees of the backends


class Engine(Listings):
    """Submits, asks, watches. Another principal's handle answers exactly like an unknown one."""

    def __init__(
        self,
        store: Store,
        data: DataDir,
        *,
        schema: int,
        command: Sequence[str],
        readers: Mapping[str, Backend],
        registry: Callable[[], Registry],
        roots: Sequence[Path] = (),
        start: bool = True,
    ) -> None:
        self.store = store
        self.data = data
        self.feed = Feed(store)
        self._readers = readers
        self._registry = registry
        self._blobs = Blobs(data.blobs)
        self._submissions = Submissions(store, self._blobs, readers, roots)
        self.link = Link(
            data, schema=schema, command=command, on_news=self._on_news, has_work=store.has_work, start=start
        )

    def _on_news(self, seq: int, durable: int) -> None:
        self.feed.live = self.link.connected
        self.feed.on_news(seq, durable)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Engine, None]:
        """Keep the link and the feed alive for the length of the block."""
        raised: BaseException | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.link.run)
            tasks.start_soon(self.feed.run)
            try:
                yield self
            except Exception as error:  # the block's own error, which a task group would wrap
                raised = error
            tasks.cancel_scope.cancel()
        if raised is not None:
            raise raised

    async def _wake(self) -> None:
        try:
            await self.link.wake()
        except UnavailableError as error:  # what was asked is stored; the link goes on trying
            logger.warning("%s", error)

    # -- submitting ------------------------------------------------------------------------------------------

    async def submit_jobs(self, jobs: Sequence[Job]) -> list[str]:
        """Add stand-alone jobs durably; the same idempotency_key gives the first job's id."""
        ids = await self._submissions.add_jobs(jobs)
        await self._wake()
        return ids

    async def submit_plan(self, plan: Plan, dag: Dag) -> str:
        """Add a run or sweep durably; the same idempotency_key gives the first one's id."""
        plan_id = await self._submissions.add_plan(plan, dag)
        await self._wake()
        return plan_id

    async def submit_series(self, series: Series, dag: Dag | None = None) -> str:
        """Add recurring work durably; the same idempotency_key gives the first one's id."""
        series_id = await self._submissions.add_series(series, dag)
        await self._wake()
        return series_id

    async def save_dag(self, dag: Dag, *, owner: str = "local") -> None:
        """Keep a DAG under its id; keeping it again changes nothing."""
        await self.store.put("dag", dag.id, dag, subject=owner)

    async def load_dag(self, dag_id: str) -> Dag:
        """A kept DAG.

        Raises:
            NotFoundError: no DAG of that id.

        """
        body = await self.store.get("dag", dag_id)
        if body is None:
            raise NotFoundError(
                f"There is no DAG {dag_id!r}.", field="dag_id", got=dag_id,
                remedy="Call define_dag with the spec first.",
            )  # fmt: skip
        return msgspec.convert(body, Dag)

    async def request(self, verb: str, subject: str, *, owner: str, args: Mapping[str, Any] | None = None) -> int:
        """Ask something of a job, run or sweep; the newest seq before it. Durable once this returns; twice is fine.

        Raises:
            NotFoundError: unknown handle.
            ConflictError: the subject has ended (a cancel of something that has ended is fine).

        """
        check_verb(verb)
        status = await self.status(subject, owner=owner, limit=0)
        seq = (await self.store.seqs())[0]
        if is_done(verb, status):
            return seq
        made = Request(
            id=new_handle("req"), verb=verb, subject=subject, owner=owner, at=time.time(), args=dict(args or {})
        )
        await self.store.request(made)
        await self._wake()
        return seq

    async def refusal(self, subject: str, verb: str, *, after: int) -> str | None:
        """Why the backend of a job does not do what was asked after a seq; None where it did not say so."""
        found = await self.store.events(after=after, subject=subject, limit=_LOOK_BACK)
        return next((str(one.data["why"]) for one in found if one.data.get("refused") == verb), None)

    @property
    def alone(self) -> bool:
        """Whether there is no other place than this machine."""
        return len(self._readers) == 1

    def capacity(self, backend: str = "local") -> Amount:
        """What a backend has for jobs now; one core where it does not say."""
        reader = self._readers.get(backend)
        return reader.capacity() if isinstance(reader, Measured) else ONE_CORE

    async def places(self) -> dict[str, BackendInfo]:
        """Every backend as it is now: as the engine that runs sees it, else as it answers us. Takes seconds at most."""
        told = (await ask(self.data, "status", timeout_s=_STATUS_S) or {}).get("status", {}).get("backends", {})
        seen = {name: msgspec.convert(told[name], BackendInfo) for name in self._readers if name in told}
        asked = await described({name: one for name, one in self._readers.items() if name not in seen})
        return {name: seen.get(name) or asked[name] for name in self._readers}

    async def estimate(self, backend: str, spec: JobSpec) -> Estimate:
        """When a job would start at a backend; nothing is submitted, and it takes seconds at most."""
        return await foretold(self._readers.get(backend), spec)

    # -- watching --------------------------------------------------------------------------------------------

    async def status(self, handle: str, *, owner: str, since_seq: int = 0, limit: int = 50) -> Status:
        """The state of any handle with its events after `since_seq`.

        A success is told only once it survives a power loss.

        Raises:
            NotFoundError: unknown handle, or another principal's.

        """
        view = await self._view(handle, owner)
        since_seq = min(since_seq, (await self.store.seqs())[0])
        newest, synced = await self.store.seqs()
        if view.ended and (view.last_seq or newest) > synced:
            await self.store.make_durable()
        events = await self.store.events(after=since_seq, subject=handle, limit=limit) if limit else []
        seq, durable = await self.store.seqs()
        last = events[-1].seq if events else max(since_seq, 0)
        if limit and len(events) < limit:
            last = max(last, min(seq, view.last_seq or seq))
        position = await self.store.queue_position(view.job) if view.job is not None else None
        if self.link.trouble and not view.ended:
            text = f"the engine cannot go on and tries again: {self.link.trouble}"
            view = msgspec.structs.replace(view, reason=Reason(ReasonCode.BACK_OFF, text, time.time()))
        return msgspec.structs.replace(view, events=events, last_seq=last, durable_seq=durable, queue_position=position)

    async def _view(self, handle: str, owner: str) -> Status:
        prefix = prefix_of(handle)
        if prefix == "job":
            jobs = await self.store.get_jobs([handle])
            if jobs and jobs[0].owner == owner:
                return job_status(jobs[0], progress=await self._progress(jobs[0]))
        elif prefix in ("run", "sweep"):
            plan = await self.store.get_plan(handle)
            if plan is not None and plan.plan.owner == owner:
                return await self.with_reason(plan_status(plan))
            run = await self.store.get_run(handle) if plan is None else None
            if run is not None and run.owner == owner:
                return await self.with_reason(run_status(run))
        elif prefix == "series":
            series = await self.store.get_series(handle)
            if series is not None and series.owner == owner:
                return series_status(series)
        raise NotFoundError(
            f"There is no job, run, sweep or series {handle!r}.",
            field="job_id",
            got=handle,
            remedy="Handles look like job-…, run-…, sweep-… or series-…; job_list and run_list show yours.",
        )

    async def _progress(self, job: Job) -> float:
        if job.state not in (JobState.RUNNING, JobState.PAUSED):
            return 0.0
        newest = 0.0
        # The newest of a job that tells much: seqs are shared by all, so this looks at its last ones only.
        for event in await self.store.events(after=max(0, job.last_seq - _LOOK_BACK), subject=job.id, limit=1000):
            fraction = event.data.get("fraction")
            if event.kind == "progress" and event.attempt == job.attempt and isinstance(fraction, int | float):
                newest = float(fraction)
        return newest

    async def wait(
        self,
        handle: str,
        *,
        owner: str,
        since_seq: int = 0,
        timeout_s: float,
        on_event: Callable[[Event], Any] | None = None,
        until_end: bool = False,
    ) -> Status:
        """The state at the first change after `since_seq` (or at the end with `until_end`), at the latest after `timeout_s`."""
        look = partial(self.status, handle, owner=owner, since_seq=since_seq)
        return await Wait(self.feed, look, timeout_s=timeout_s, on_event=on_event, until_end=until_end).run()

    # -- results ---------------------------------------------------------------------------------------------

    async def outcome(self, job_id: str, *, owner: str) -> JobOutcome:
        """What a finished job left.

        Raises:
            NotFoundError: unknown job.
            ConflictError: it is still live.

        """
        status = await self.status(job_id, owner=owner, limit=0)
        job = status.job
        if job is None:
            raise RequestError(
                f"{job_id} is a {status.kind}, not a job.", field="job_id", got=job_id, remedy="Use run_result for it."
            )
        if job.state not in TERMINAL:
            raise ConflictError(
                f"{job_id} is {job.state.value}; it has no result yet.", field="job_id", got=job_id,
                remedy=f"Ask again in {status.poll_after_s:g} s, or use job_status with wait_s.",
            )  # fmt: skip
        body = (await self.store.results([job_id])).get(job_id)
        result, failure = decoded(job, body)
        return JobOutcome(job=job, result=result, failure=failure)

    async def nodes(
        self,
        run_id: str,
        *,
        owner: str,
        with_results: bool = True,
        after: int | str | None = None,
        limit: int = _PAGE,
    ) -> list[NodeView]:
        """A page of the nodes of one run in the order of its DAG; `after`: the last job so far, its handle or pk.

        How many there are in which state says `status`: its `total` and `counts`.

        Raises:
            NotFoundError: unknown run, or `after` is no job of it.

        """
        view = await self._view(run_id, owner)
        if view.kind == "sweep":
            raise RequestError(
                f"{run_id} is a sweep; it has runs, not nodes.", field="run_id", got=run_id,
                remedy="Ask for one of its runs; the per-point table names them.",
            )  # fmt: skip
        if isinstance(after, str):
            after = await pk_in_run(self.store, run_id, after)
        query = JobQuery(run_id=run_id, oldest_first=True, after=after, limit=limit)
        jobs = await self.store.find_jobs(query)
        await self._told([job.last_seq for job in jobs if job.state in TERMINAL])
        bodies = await self.store.results([job.id for job in jobs]) if with_results and jobs else {}
        return [node_view(job, bodies.get(job.id)) for job in jobs]

    async def all_nodes(self, run_id: str, *, owner: str, with_results: bool = True) -> list[NodeView]:
        """Every node of one run in the order of its DAG."""
        found: list[NodeView] = []
        page = await self.nodes(run_id, owner=owner, with_results=with_results)
        while page:
            found += page
            if len(page) < _PAGE:
                break
            page = await self.nodes(run_id, owner=owner, with_results=with_results, after=page[-1].job_id)
        return found

    async def runs_of(self, sweep_id: str, *, owner: str, after_index: int = -1, limit: int = 100) -> list[Run]:
        """The runs of a sweep in the order of its points."""
        await self._view(sweep_id, owner)
        runs = await self.store.find_runs(sweep_id, after_index=after_index, limit=limit)
        if any(run.ended_at for run in runs):
            await self._told([(await self.store.seqs())[0]])
        return runs

    async def logs(
        self,
        job_id: str,
        *,
        owner: str,
        stream: str = "stdout",
        offset: int = 0,
        limit: int = 65_536,
        tail: int | None = None,
    ) -> Chunk:
        """A piece of a job's log. `tail` asks for its last bytes instead of `offset`."""
        view = await self._view(job_id, owner)
        if view.job is None:
            raise RequestError(
                f"{job_id} is a {view.kind}; only jobs have logs.", field="job_id", got=job_id,
                remedy="run_status names the job of every node.",
            )  # fmt: skip
        if stream not in ("stdout", "stderr"):
            raise RequestError(
                f"There is no stream {stream!r}.", field="stream", got=stream, remedy="stdout or stderr."
            )
        # What is waiting for a place has no log yet, and of a place that is configured no more only what came home is left.
        reader = self._readers.get(view.job.backend) or self._readers[HERE]
        if tail is not None:
            offset = -tail
        data, following = await reader.read(view.job, stream, offset=offset, limit=limit)
        return Chunk(data.decode("utf-8", "replace"), following, view.ended and len(data) < limit)

    # -- cache and reports -----------------------------------------------------------------------------------

    async def explain_cache(
        self, run_id: str, *, owner: str, node_id: str | None = None, other_run_id: str | None = None
    ) -> list[dict[str, Any]]:
        """Per node: whether it was served from the cache, and which ingredient of its key differs from the other run's."""
        report = CacheReport(self.store, self._registry())
        mine = await self.all_nodes(run_id, owner=owner)
        theirs = await self.all_nodes(other_run_id, owner=owner) if other_run_id else None
        return await report.explain(mine, node_id=node_id, other=theirs)

    async def environment(self, run_id: str, environment: str | None = None) -> dict[str, Any]:
        """Where a run was computed: what was captured once for its environment, and the state of its repository."""
        found: dict[str, Any] = {}
        ref = await self.store.get("environment", environment) if environment else None
        if ref is not None:
            found = msgspec.json.decode(self._blobs.read(ref["sha256"]))
        git = await self.store.get("git", run_id)
        return {**found, "git": git} if git else found

    async def save_report(self, run_id: str, ref: ArtifactRef) -> None:
        """Remember the newest report of a run; those before it stay on record."""
        if await self.load_report(run_id) != ref:  # one that was published before another is the newest again
            await self.store.put("report", f"{run_id}:{ref.sha256}:{new_handle('r')}", ref, subject=run_id)

    async def load_report(self, run_id: str) -> ArtifactRef | None:
        """The newest report of a run."""
        found = await self.store.find("report", subject=run_id, limit=1, newest_first=True)
        return msgspec.convert(found[0][2], ArtifactRef) if found else None
