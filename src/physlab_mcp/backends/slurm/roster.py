"""Who is abroad, and what was seen of them and is not drained yet."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from physlab_mcp.backends.base import Observation
from physlab_mcp.backends.slurm.abroad import Abroad
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import ReasonCode
from physlab_mcp.schemas.result import Failure

_SAME_CODE_S = 30.0  # Slurm calls what waits for room now "Priority", now "Resources"
_WAITS = frozenset({ReasonCode.SLOT, ReasonCode.WINDOW, ReasonCode.MAINTENANCE, ReasonCode.BACK_OFF})


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

    def tell(self, job: Job, kind: str, *, at: float = 0.0, **fields: Any) -> None:
        """Note what happened to a dispatch, just now or at `at`."""
        self._seen.append(Observation(job_id=job.id, fence=job.fence, kind=kind, at=at or time.time(), **fields))
        self.wake()

    def tell_started(self, one: Abroad, at: float) -> None:
        """It runs, since `at` (seconds of the epoch)."""
        if not one.told_started:
            one.told_started = True
            one.begins = at
            self.tell(one.job, "started", started_at=at)

    def tell_waiting(self, one: Abroad, code: ReasonCode, text: str) -> None:
        """It waits, and why; told when that changed, and of the same code no more often than reasons are worth reading."""
        before, now = one.told_waiting, time.time()
        if before is not None and (
            before[:2] == (code, text) or (before[0] is code and now - before[2] < _SAME_CODE_S)
        ):
            return
        one.told_waiting = (code, text, now)
        self.tell(one.job, "queued", data={"code": (code if code in _WAITS else ReasonCode.SLOT).value, "text": text})

    def tell_again(self, one: Abroad, text: str, code: ReasonCode, why: str) -> None:
        """What ran was put back into the queue, and waits there now: its next life is told as one that starts."""
        one.told_started, one.told_waiting = False, None
        self.tell_waiting(one, code, f"{text}: {why}" if why else text)
        one.told_waiting = (code, why, time.time())

    def tell_unreachable(self, one: Abroad, since: float, why: str) -> None:
        """Nobody can say how it is, since then; told once until it is `reachable`."""
        if not one.told_unreachable:
            one.told_unreachable = True
            self.tell(one.job, "unreachable", at=since, data={"text": why})

    def tell_reachable(self, one: Abroad) -> None:
        """It can be asked about again; why it waits is then told anew."""
        if one.told_unreachable:
            one.told_unreachable, one.told_waiting = False, None
            self.tell(one.job, "reachable")

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
