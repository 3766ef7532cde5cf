"""One job on its way through a cluster: what was told of it, what is known of it, and where its files lie there."""

from __future__ import annotations

import codecs
import hashlib
import re
import time
from typing import Any, Literal

from physlab_mcp.backends.slurm.merging import Known
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import ReasonCode
from physlab_mcp.schemas.result import Failure

PLACED = "slurm"  # the native id of a job that has room and is not in the queue yet
_NATIVE = re.compile(r"^slurm:([A-Za-z0-9._-]*):(\d+)(?:_(\d+))?:(\d+)\Z")

Phase = Literal["waiting", "sending", "adopted", "sought", "there"]


def native_id(known: Known, at: float) -> str:
    """`slurm:<cluster>:<job id>[_<index>]:<submit time>`."""
    return f"slurm:{known.cluster}:{slurm_id(known)}:{at:.0f}"


def slurm_id(known: Known) -> str:
    """The id as Slurm's commands take it."""
    return str(known.job_id) if known.index is None else f"{known.job_id}_{known.index}"


def known_of(native: str | None, token: str) -> Known | None:
    """The Slurm job that a native id names; None for a placeholder. The token makes sure that it is ours."""
    found = _NATIVE.match(native or "")
    if found is None:
        return None
    cluster, job_id, index, _ = found.groups()
    return Known(
        cluster=cluster, job_id=int(job_id), index=None if index is None else int(index), token=token, submitted_at=0.0
    )


def remote_folder(root: str, job_id: str) -> str:
    """A job's folder on the cluster."""
    return f"{root}/jobs/{hashlib.sha256(job_id.encode()).hexdigest()[:2]}/{job_id}"


class Abroad:
    """A job that was placed here, until its end is told.

    phase: waiting (to be submitted), sending, adopted (its folder is not read yet), sought (by its token), there (in
    Slurm, as far as we know).
    """

    def __init__(self, job: Job, root: str) -> None:
        self.job = job
        self.params: dict[str, Any] = {}
        self.module = self.code = ""
        self.folder = remote_folder(root, job.id)
        self.phase: Phase = "waiting"
        self.batch = ""  # the submission's name, from which its token is made
        self.element = 0
        self.alone = True
        self.known: Known | None = None
        self.again = 0  # how often Slurm has started it anew, as far as this engine saw
        self.submitted_at = 0.0  # the latest of its submit times
        self.since = time.time()  # of this phase
        self.told_started = self.told_paused = self.told_unreachable = False
        self.told_waiting: tuple[ReasonCode, str, float] | None = None  # why it waits, and when that was told
        self.held_here = self.cancelled = self.ending = False
        self.wanted: Literal["", "hold", "release"] = ""
        self.cancel_said = 0.0  # monotonic
        self.pausing: Literal["", "asked", "told"] = ""  # while it runs: see checkpoints.py
        self.told_at = 0.0  # monotonic, to keep its progress
        self.doom: Failure | None = None
        self.looks = 0  # at its folder, since Slurm said that it is over
        self.begins = 0.0  # of the life that was told last
        self.offset = 0
        self.line = 0  # lines of its event file read so far
        self.told = 0  # of these, lines that the store has from an earlier engine
        self.log_offset = 0
        self.quiet = False  # what is printed so far was told by an earlier engine
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def there(self) -> Known:
        """What is known of it; only of one that is in Slurm."""
        if self.known is None:
            raise RuntimeError(f"{self.job.id} is not in Slurm")
        return self.known

    @property
    def attempt(self) -> str:
        """The folder of the present attempt."""
        return f"{self.folder}/attempts/{self.job.attempt}"

    @property
    def call(self) -> str:
        """The folder in which a node call writes, a job folder by itself; the attempt's for a command."""
        return self.attempt if self.job.spec.node is None else f"{self.folder}/node/attempts/{self.job.attempt}"

    @property
    def begun(self) -> str:
        """The mark that this dispatch has begun."""
        return f"{self.attempt}/begun.{self.job.fence}"

    @property
    def revoked(self) -> str:
        """The mark that this dispatch must not begin any more."""
        return f"{self.attempt}/revoked.{self.job.fence}"

    @property
    def saved(self) -> str:
        """The mark that it has kept its progress, and waits to be put back into the queue."""
        return f"{self.attempt}/saved.{self.job.fence}"

    @property
    def repeatable(self) -> bool:
        """Whether it may be run again after its node vanished."""
        spec = self.job.spec
        return spec.pure or spec.idempotent or spec.retries > 0 or bool(spec.checkpoint_signal)
