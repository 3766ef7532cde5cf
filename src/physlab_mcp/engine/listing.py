"""Lists of jobs, runs and series, as clients ask for them."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

import msgspec

from physlab_mcp.engine.plan_jobs import newest_jobs
from physlab_mcp.engine.views import is_idle, job_status, plan_status, poll_of_waiting, series_status, waiting_reason
from physlab_mcp.schemas.job_state import TERMINAL, JobState
from physlab_mcp.schemas.status import Status
from physlab_mcp.stores.base import JobQuery, Store

_LOOKED_AT = 50  # waiting jobs of a run or sweep; they mostly wait for the same


class Listings:
    """The listing part of the engine's client side."""

    store: Store

    async def with_reason(self, status: Status) -> Status:
        """The view of a run or sweep, with what it waits for where nothing of it is under way."""
        if not is_idle(status):
            return status
        waiting = (JobState.PENDING,)
        if status.plan is None:
            query = JobQuery(run_id=status.id, states=waiting, oldest_first=True, limit=_LOOKED_AT)
            jobs = await self.store.find_jobs(query)
        else:
            jobs = await newest_jobs(self.store, status.plan, status.counts, waiting, most=_LOOKED_AT)
        found = waiting_reason(jobs)
        opens = poll_of_waiting(jobs, time.time())
        return msgspec.structs.replace(
            status,
            reason=status.reason if found is None else found,
            poll_after_s=status.poll_after_s if opens is None else opens,
        )

    async def _told(self, seqs: Sequence[int]) -> None:
        """Sync before anybody is told of an end that a power loss could undo."""
        if seqs and max(seqs) > (await self.store.seqs())[1]:
            await self.store.make_durable()

    async def list_jobs(
        self,
        *,
        owner: str,
        states: Collection[str] | None = None,
        backend: str | None = None,
        kind: str | None = None,
        session_id: str | None = None,
        since: float | None = None,
        after: int | None = None,
        limit: int = 50,
    ) -> list[Status]:
        """Jobs, newest first; `after` continues below the pk of the last row (`status.job.pk`)."""
        wanted = tuple(JobState(state) for state in states) if states is not None else None
        query = JobQuery(
            owner=owner, states=wanted, backend=backend, kind=kind, session_id=session_id, since=since, after=after,
            limit=limit,
        )  # fmt: skip
        jobs = await self.store.find_jobs(query)
        await self._told([job.last_seq for job in jobs if job.state in TERMINAL])
        return [job_status(job) for job in jobs]

    async def list_runs(
        self,
        *,
        owner: str,
        states: Collection[str] | None = None,
        session_id: str | None = None,
        since: float | None = None,
        after: int | None = None,
        limit: int = 50,
    ) -> list[tuple[int, Status]]:
        """(cursor, status) of runs and sweeps, newest first; `after` continues below a cursor."""
        found: list[tuple[int, Status]] = []
        while len(found) < limit:
            page = await self.store.find_plans(
                owner=owner, session_id=session_id, since=since, after=after, limit=limit
            )
            for one in page:
                status = plan_status(one)
                if states is None or status.state in states:
                    found.append((one.pk, await self.with_reason(status)))
            await self._told([one.last_seq for one in page if one.ended_at])
            if len(page) < limit:
                break
            after = page[-1].pk
        return found[:limit]

    async def list_series(self, *, owner: str, after: int | None = None, limit: int = 50) -> list[tuple[int, Status]]:
        """(cursor, status) of recurring work, newest first; `after` continues below a cursor."""
        found = await self.store.find_series(owner=owner, after=after, limit=limit)
        return [(one.pk, series_status(one)) for one in found]
