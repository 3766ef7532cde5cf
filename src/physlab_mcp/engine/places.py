"""What the engine saw of other places lately: how long their queues took, and what failed there."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from statistics import median

from physlab_mcp.schemas.job import HERE
from physlab_mcp.schemas.job_state import JobState, ReasonCode
from physlab_mcp.stores.base import Change, TurnView

LATELY_S = 600.0  # for so long a failure counts
_MOST = 100  # failures of a place that are remembered
_LOOK_EVERY_S = 0.5
_PLANS = 256
_SENT = 20_000  # jobs that were sent away and did not start yet
_WAITING = frozenset({JobState.SUBMITTING, JobState.QUEUED})


class Places:
    """Failures and what is under way, in this engine's memory; learnt waits are kept where durations are."""

    def __init__(self) -> None:
        self._failed: dict[str, deque[float]] = {}
        self._next_look = 0.0
        self._sent: dict[str, tuple[str, float]] = {}  # by job id: where it waits, and since when
        self._policies: dict[int, str] = {}  # by plan

    def policy_of(self, view: TurnView, plan_pk: int) -> str:
        """The policy that a plan names for its jobs; "" for the configured one."""
        if not plan_pk:
            return ""
        if plan_pk not in self._policies:
            if len(self._policies) >= _PLANS:
                self._policies.clear()
            self._policies[plan_pk] = view.offload_policy_of(plan_pk)
        return self._policies[plan_pk]

    def sent(self, job_id: str, name: str, now: float) -> None:
        """A job is handed to a place."""
        if len(self._sent) >= _SENT:
            self._sent.pop(next(iter(self._sent)))
        self._sent[job_id] = (name, now)

    def note(self, changes: Sequence[Change], now: float) -> Mapping[str, list[float]]:
        """Take in what happened to jobs that were away, or were placed by choice; the queue waits by backend, in seconds."""
        waits: dict[str, list[float]] = {}
        for change in changes:
            old, new = change.old, change.new
            if new.state not in _WAITING:
                name, at = self._sent.pop(old.id, (old.backend, old.observed_at))
                if _began(change) and at and name != HERE:
                    waits.setdefault(name, []).append(max(0.0, new.started_at - at))
            if _failed(change):
                self._failed.setdefault(old.backend, deque(maxlen=_MOST)).append(now)
        return waits

    def waiting_s(self, name: str, now: float) -> float:
        """How long what was sent to a place and has not started waits there by now; the median, 0 where nothing does."""
        ages = [now - at for where, at in self._sent.values() if where == name]
        return median(ages) if ages else 0.0

    def look_behind(self, now: float) -> bool:
        """Whether it is time to look at what stands behind many jobs that wait for room; asked once a turn."""
        due = now >= self._next_look
        if due:
            self._next_look = now + _LOOK_EVERY_S
        return due

    def failures(self, name: str, now: float) -> int:
        """How many jobs a place failed in the last minutes."""
        found = self._failed.get(name)
        if not found:
            return 0
        while found and found[0] < now - LATELY_S:
            found.popleft()
        return len(found)


def _began(change: Change) -> bool:
    """Whether a job was seen to start."""
    old, new = change.old, change.new
    return old.state in _WAITING and JobState.RUNNING in change.path and new.started_at > 0 and not _failed(change)


def _failed(change: Change) -> bool:
    """Whether a job came to grief by its place, and not by itself."""
    old, new = change.old, change.new
    if new.lost > old.lost or new.reason.code is ReasonCode.LOST:
        return True
    return not old.started_at and new.reason.code is ReasonCode.REJECTED
