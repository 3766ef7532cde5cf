"""What scheduling reads and learns within a turn: durations, schedules and titles of plans, and who asked for what."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Protocol

from physlab_mcp.schemas.job import Job


class Learning(Protocol):
    """The part of a turn's view that scheduling needs."""

    def durations(self, keys: Collection[int]) -> dict[int, tuple[float, int, float]]:
        """(mean seconds, how many, when last) of work that ended, by key: see engine/durations.py."""
        ...

    def keep_durations(self, learnt: Iterable[tuple[int, float, int, float]]) -> None:
        """Write (key, mean seconds, how many, when last)."""
        ...

    def forget_durations(self, before: float) -> int:
        """Remove what ended last before a moment; how many."""
        ...

    def schedule_of(self, plan_pk: int) -> tuple[dict[str, Any] | None, float]:
        """The schedule block of a plan, if it has one, and when the plan was submitted."""
        ...

    def title_of(self, plan_pk: int) -> str:
        """What a run or sweep is called."""
        ...

    def offload_policy_of(self, plan_pk: int) -> str:
        """The policy of placement that a plan names; "" for the configured one."""
        ...

    def look_up(self, job_ids: Collection[str]) -> Sequence[Job]:
        """Jobs by id, in any order; unknown ones are left out."""
        ...

    def was_asked(self, verb: str, job_id: str) -> bool:
        """Whether this was ever asked of a job, its run or its sweep."""
        ...
