"""Who is abroad, and what was seen of them and is not drained yet."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from physlab_mcp.backends.base import Observation
from physlab_mcp.backends.kubernetes.abroad import Abroad
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.result import Failure

_ENDS = ("done", "lost", "dropped", "cancelled")


class Roster:
    """Jobs by id; of each dispatch an end is told once. `of_job` holds them by the uid of their Job on the cluster."""

    def __init__(self) -> None:
        self.abroad: dict[str, Abroad] = {}
        self.of_job: dict[str, set[Abroad]] = {}
        self._elements: dict[tuple[str, int | None], Abroad] = {}
        self.groups: Counter[str] = Counter()
        self.ended: dict[tuple[str, int], Abroad] = {}
        self._seen: list[Observation] = []
        self.wake: Callable[[], None] = lambda: None

    def add(self, one: Abroad) -> None:
        """From now on it is here."""
        self.remove(one.job.id)
        self.abroad[one.job.id] = one
        if one.job.group:
            self.groups[one.job.group] += 1

    def there(self, one: Abroad) -> None:
        """Its Job is known."""
        one.phase = "there"
        self.of_job.setdefault(one.uid, set()).add(one)
        self._elements[one.uid, one.index] = one

    def element(self, uid: str, index: int | None) -> Abroad | None:
        """Who has this Job, or this element of it."""
        return self._elements.get((uid, index))

    def remove(self, job_id: str) -> Abroad | None:
        """It is not here any more."""
        one = self.abroad.pop(job_id, None)
        if one is None:
            return None
        if one.job.group:
            self.groups[one.job.group] -= 1
            if not self.groups[one.job.group]:
                del self.groups[one.job.group]
        if one.reading is not None:
            one.reading.close()
        return one

    def of(self, job: Job) -> Abroad | None:
        """This dispatch of a job."""
        one = self.abroad.get(job.id)
        return one if one is not None and one.job.fence == job.fence else None

    def tell(self, job: Job, kind: str, *, at: float | None = None, **fields: Any) -> None:
        """Note what happened to a dispatch."""
        at = time.time() if at is None else at
        self._seen.append(Observation(job_id=job.id, fence=job.fence, kind=kind, at=at, **fields))
        self.wake()

    def tell_started(self, one: Abroad, at: float) -> None:
        """It runs, since `at` (seconds of the epoch)."""
        if not one.told_started:
            one.told_started, one.why = True, ""
            self.tell(one.job, "started", started_at=at)

    def tell_waiting(self, one: Abroad, text: str) -> None:
        """It waits, for this reason; told when the reason changed."""
        if text != one.why:
            one.why = text
            self.tell(one.job, "queued", data={"text": text, "code": "slot"})

    def end(self, one: Abroad, kind: str, **fields: Any) -> None:
        """Tell its one end."""
        if self.abroad.get(one.job.id) is not one:
            return
        self.remove(one.job.id)
        one.end, one.succeeded = kind, "result" in fields
        self.ended[one.job.id, one.job.fence] = one
        self.tell(one.job, kind, **fields)

    def fail(self, one: Abroad, failure: Failure) -> None:
        """Tell that it failed."""
        self.end(one, "done", failure=failure)

    def drain(self) -> list[Observation]:
        """What was seen since the last call."""
        seen, self._seen = self._seen, []
        return seen

    def acknowledge(self, observations: Sequence[Observation]) -> list[Abroad]:
        """The ended ones whose end is in the store now."""
        done = [self.ended.pop((seen.job_id, seen.fence), None) for seen in observations if seen.kind in _ENDS]
        return [one for one in done if one is not None]

    def let_go(self, one: Abroad) -> bool:
        """An ended one needs its Job no more; whether nobody else does."""
        left = self.of_job.get(one.uid, set())
        left.discard(one)
        self._elements.pop((one.uid, one.index), None)
        if not left:
            self.of_job.pop(one.uid, None)
        return bool(one.uid) and not left
