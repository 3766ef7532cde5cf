"""Who is abroad, and what was seen of them and is not drained yet."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from physlab_mcp.backends.base import Observation
from physlab_mcp.backends.slurm.abroad import Abroad
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.result import Failure


class Roster:
    """Jobs by id; of each dispatch an end is told once."""

    def __init__(self) -> None:
        self.abroad: dict[str, Abroad] = {}
        self.groups: Counter[str] = Counter()
        self._ended: dict[tuple[str, int], Abroad] = {}
        self._seen: list[Observation] = []
        self.wake: Callable[[], None] = lambda: None

    def add(self, one: Abroad) -> None:
        """From now on it is here."""
        self.remove(one.job.id)
        self.abroad[one.job.id] = one
        if one.job.group:
            self.groups[one.job.group] += 1

    def remove(self, job_id: str) -> Abroad | None:
        """It is not here any more."""
        one = self.abroad.pop(job_id, None)
        if one is not None and one.job.group:
            self.groups[one.job.group] -= 1
            if not self.groups[one.job.group]:
                del self.groups[one.job.group]
        return one

    def of(self, job: Job) -> Abroad | None:
        """This dispatch of a job."""
        one = self.abroad.get(job.id)
        return one if one is not None and one.job.fence == job.fence else None

    def tell(self, job: Job, kind: str, **fields: Any) -> None:
        """Note what happened to a dispatch."""
        self._seen.append(Observation(job_id=job.id, fence=job.fence, kind=kind, at=time.time(), **fields))
        self.wake()

    def tell_started(self, one: Abroad, at: float) -> None:
        """It runs, since `at` (seconds of the epoch)."""
        if not one.told_started:
            one.told_started = True
            one.begins = at
            self.tell(one.job, "started", started_at=at)

    def end(self, one: Abroad, kind: str, **fields: Any) -> None:
        """Tell its one end."""
        if self.abroad.get(one.job.id) is not one:
            return
        self.remove(one.job.id)
        self._ended[one.job.id, one.job.fence] = one
        self.tell(one.job, kind, **fields)

    def fail(self, one: Abroad, failure: Failure) -> None:
        """Tell that it failed."""
        self.end(one, "done", failure=failure)

    def drain(self) -> list[Observation]:
        """What was seen since the last call."""
        seen, self._seen = self._seen, []
        return seen

    def acknowledge(self, observations: Sequence[Observation]) -> list[tuple[Abroad, Observation]]:
        """The ended ones whose end is in the store now."""
        done: list[tuple[Abroad, Observation]] = []
        for seen in observations:
            if seen.kind in ("done", "lost", "dropped", "cancelled"):
                one = self._ended.pop((seen.job_id, seen.fence), None)
                if one is not None:
                    done.append((one, seen))
        return done
