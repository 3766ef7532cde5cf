"""What was seen of jobs here and is not in the store yet."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from physlab_mcp.backends.base import Observation
from physlab_mcp.schemas.job import Job


class Inbox:
    """Observations for the next drain. The token of one from a worker's spool is the worker's id."""

    def __init__(self) -> None:
        self._seen: list[Observation] = []
        self._unacknowledged: Counter[str] = Counter()  # by worker
        self._wake: Callable[[], None] = lambda: None

    def start(self, wake: Callable[[], None]) -> None:
        """From now on `wake` is called for each observation."""
        self._wake = wake

    def put(self, observation: Observation) -> None:
        """Note an observation."""
        self._seen.append(observation)
        if observation.token is not None:
            self._unacknowledged[observation.token] += 1
        self._wake()

    def tell(self, job: Job, kind: str, *, at: float | None = None, **fields: Any) -> None:
        """Note what happened to the present dispatch of a job, just now or at `at`."""
        when = time.time() if at is None else at
        self.put(Observation(job_id=job.id, fence=job.fence, kind=kind, at=when, **fields))

    def drain(self) -> list[Observation]:
        """What was seen since the last call."""
        seen, self._seen = self._seen, []
        return seen

    def acknowledge(self, observations: Sequence[Observation]) -> list[str]:
        """These are in the store now; the workers of which nothing else is waiting for that."""
        touched = {one.token: None for one in observations if one.token is not None}
        for one in observations:
            if one.token is not None:
                self._unacknowledged[one.token] -= 1
        stored = [worker_id for worker_id in touched if not self._unacknowledged[worker_id]]
        for worker_id in stored:
            del self._unacknowledged[worker_id]
        return stored

    def keeps(self, worker_id: str) -> bool:
        """Whether something of a worker's spool is not in the store yet."""
        return bool(self._unacknowledged[worker_id])
