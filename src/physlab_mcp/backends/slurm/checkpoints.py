"""Pausing what runs: it keeps its progress in its checkpoint folder, gives its node back, and waits held in the queue.

Slurm's users cannot freeze a job. One that declares `checkpoint_signal` is told (SIGUSR1 to its element, which passes the
declared signal on to the command). Once the command has ended, the element writes `saved.<fence>` and waits, so that Slurm
can be told to queue the job again, held; after `checkpoint_s` a second SIGUSR1 ends a command that goes on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from physlab_mcp.backends.slurm.abroad import Abroad, slurm_id
from physlab_mcp.backends.slurm.cluster import Cluster
from physlab_mcp.backends.slurm.settings import SlurmSettings
from physlab_mcp.errors import RejectedError
from physlab_mcp.schemas.job import JobSpec

SIGNALS = ("USR1", "USR2", "TERM", "INT", "HUP")
_TELL = ("scancel", "--signal=USR1", "--batch")
_BACK = ("scontrol", "requeuehold")


def check(spec: JobSpec) -> None:
    """Refuse a signal that no command can take as a word to keep its progress.

    Raises:
        RejectedError: naming the field.

    """
    if spec.checkpoint_signal and spec.checkpoint_signal not in SIGNALS:
        raise RejectedError(
            f"checkpoint_signal = {spec.checkpoint_signal!r} is none of {', '.join(SIGNALS)}.", field="checkpoint_signal",
            got=spec.checkpoint_signal, remedy="Name the signal at which the command writes its checkpoint.",
        )  # fmt: skip


class Checkpoints:
    """Carries pauses of running jobs out, a step at each look."""

    def __init__(self, cluster: Cluster, settings: SlurmSettings) -> None:
        self._cluster = cluster
        self._settings = settings

    def pause(self, one: Abroad) -> str:
        """Begin; "" or why it cannot be paused."""
        if not one.job.spec.checkpoint_signal:
            return "it runs on the cluster and declares no checkpoint_signal, and Slurm lets its users hold back only what waits"
        if not self._settings.requeue:
            return (
                "it runs on the cluster, and backends.slurm.requeue is false, so it cannot be put back into the queue"
            )
        if not one.pausing:
            one.pausing = "asked"
        return ""

    async def step(self, there: Sequence[Abroad]) -> None:
        """Say what is due.

        Raises:
            UnavailableError: the host cannot be reached; it goes on at the next look.

        """
        live = [one for one in there if one.pausing and not one.cancelled]
        now = time.monotonic()
        late = [one for one in live if one.pausing == "asked" or now - one.told_at > self._settings.checkpoint_s]
        told = [one for one in live if one.pausing == "told"]
        if told:
            marks = await self._cluster.host.read_many([(one.saved, 0, 1) for one in told])
            saved = [one for one, mark in zip(told, marks, strict=True) if mark is not None]
            late = [one for one in late if one not in saved]
            if saved and await self._cluster.act(_BACK, [slurm_id(one.there) for one in saved]):
                for one in saved:
                    one.pausing = ""
        if late and await self._cluster.act(_TELL, [slurm_id(one.there) for one in late]):
            for one in late:
                one.pausing, one.told_at = "told", now
