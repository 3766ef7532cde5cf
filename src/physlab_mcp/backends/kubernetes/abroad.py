"""One job on its way through a cluster: what was told of it and what is known of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from physlab_mcp.backends.kubernetes import naming
from physlab_mcp.backends.kubernetes.naming import Dispatch
from physlab_mcp.schemas.job import Job

if TYPE_CHECKING:
    from physlab_mcp.backends.kubernetes.following import Reading

PLACED = "kubernetes"  # the native id of a job that has room and is not on the cluster yet
Phase = Literal["waiting", "sending", "adopted", "leaving", "there"]


class Abroad:
    """A job that was placed here, until its end is told.

    phase: waiting (to be submitted), sending, adopted (not looked for yet), leaving (what is there of it is being deleted,
    since it can never begin), there (its Job `uid` is on the cluster, as far as we know).
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.params: dict[str, Any] = {}
        self.module = self.code = ""
        self.batch = job.submission or ""
        self.phase: Phase = "waiting"
        self.name = self.uid = ""  # of its Job
        self.index: int | None = None  # which element of an Indexed Job
        self.made = time.monotonic()  # when its Job was made
        self.seen = False  # the server told of its Job
        self.looked_for = self.looking = False  # for its pod, which was not known when its Job was over
        self.told_started = self.told_paused = self.told_unreachable = False
        self.cancelled = self.ending = self.deleted = self.revoked = False
        self.loaded = self.told_placed = False
        self.wanted: Literal["", "hold", "release"] = ""
        self.why = ""  # the reason of its waiting that was told last
        self.told = 0  # lines of its event file that the store has
        self.quiet = 0  # bytes of its log that were told by an earlier engine
        self.reading: Reading | None = None
        self.end = ""  # the kind of its end
        self.succeeded = False
        self.events: Sequence[Mapping[str, Any]] = ()
        self.asked_events = 0.0  # monotonic

    @property
    def native_id(self) -> str:
        """Its name in the store."""
        return naming.native_id(self._namespace, self.name, self.uid, self.index)

    _namespace = ""

    def found(self, namespace: str, metadata: Mapping[str, Any], index: int | None) -> None:
        """Its Job is this one."""
        self._namespace, self.name, self.uid = namespace, metadata["name"], metadata["uid"]
        self.index, self.made = index, time.monotonic()

    def dispatch(self, lab: str) -> Dispatch:
        """By which its Job is named where it has one for itself."""
        job = self.job
        return Dispatch(
            lab=lab, submission=self.batch, job_id=job.id, index=job.index or 0, attempt=job.attempt, fence=job.fence
        )
