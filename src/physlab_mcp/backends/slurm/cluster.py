"""Slurm's commands, said on a host. What is asked is counted, and an answer that did not come is None."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Collection, Sequence

from physlab_mcp.backends.hosts.host import Done, Host, was_sent
from physlab_mcp.backends.slurm import accounting, inventory
from physlab_mcp.backends.slurm.accounting import Row
from physlab_mcp.backends.slurm.inventory import Limits
from physlab_mcp.backends.slurm.script import Sbatch
from physlab_mcp.backends.slurm.settings import SlurmSettings
from physlab_mcp.errors import RejectedError, UnavailableError

logger = logging.getLogger(__name__)
_COMMAND_S = 60.0
_AT_ONCE = 500  # ids in the words of one command
_PLAIN = ("env", "-u", "SLURM_CLUSTERS", "LC_ALL=C")


class Cluster:
    """One cluster over one host. `reachable` is what the last question showed, `why` what stood against it."""

    def __init__(self, host: Host, settings: SlurmSettings) -> None:
        self.host = host
        self._settings = settings
        self.reachable = True
        self.failures = 0  # questions in a row that were not answered
        self.answered = asyncio.Event()  # set once it is known what the cluster has, or that it cannot be asked
        self.why = ""
        self.since = time.time()
        self.calls: Counter[str] = Counter()
        self.limits: Limits | None = None
        self._login: dict[str, str] | None = None

    def _note(self, why: str) -> None:
        """What the last question showed; "" is an answer."""
        self.failures = self.failures + 1 if why else 0
        if why:
            self.answered.set()
        if bool(why) is self.reachable:
            self.reachable, self.since = not why, time.time()
            if why:
                logger.warning("Slurm cannot be asked: %s", why)
        self.why = why

    def out_of_reach(self, why: str) -> None:
        """Something else showed that the host cannot be reached."""
        self._note(why)

    async def _ask(self, name: str, argv: Sequence[str], *, speaks: bool = True) -> Done | None:
        """Run a question; None, and `reachable` is false, where it was not answered."""
        self.calls[name] += 1
        try:
            done = await self.host.run(argv, timeout_s=_COMMAND_S)
        except UnavailableError as error:
            self._note(error.message)
            self.failures += not was_sent(error)  # no login at all says more than one question without an answer
            return None
        if done.code != 0:
            if speaks:
                self._note(done.err.decode("utf-8", "replace").strip()[:500] or f"{name} ended with {done.code}")
            return None
        if speaks:
            self._note("")
        return done

    async def login(self) -> dict[str, str]:
        """The environment of the login, read once.

        Raises:
            UnavailableError: the host cannot be reached.

        """
        if self._login is None:
            done = await self.host.run(["env", "-0"], timeout_s=_COMMAND_S)
            pairs = (one.partition("=") for one in done.out.decode("utf-8", "surrogateescape").split("\0") if one)
            self._login = {name: value for name, _, value in pairs}
        return self._login

    async def learn(self) -> Limits | None:
        """What the cluster has; None, and what was known stays, where it does not answer."""
        config = await self._ask("scontrol", inventory.CONFIG_ARGV)
        parts = await self._ask("scontrol", inventory.PARTITIONS_ARGV) if config else None
        nodes = await self._ask("sinfo", inventory.NODES_ARGV) if parts else None
        if config is None or parts is None or nodes is None:
            return None
        told = inventory.config(_text(config.out))
        wanted = self._settings.cluster
        if wanted and told.cluster != wanted:
            self._note(f"the cluster that answers is {told.cluster!r}, and backends.slurm.cluster is {wanted!r}")
            return None
        qos = await self._ask("sacctmgr", inventory.QOS_ARGV, speaks=False) if told.accounting else None
        self.limits = Limits(
            config=told,
            partitions=inventory.partitions(_text(parts.out), inventory.nodes(_text(nodes.out))),
            qos=inventory.qos(_text(qos.out)) if qos else (),
        )
        self.answered.set()
        return self.limits

    async def queue(self) -> list[Row] | None:
        """Everything of ours that the controller remembers; None where it does not answer."""
        done = await self._ask("squeue", accounting.squeue_argv())
        return None if done is None else list(accounting.read_squeue(_text(done.out)).rows)

    async def accounts(self, job_ids: Collection[int], since: float) -> list[Row] | None:
        """What accounting knows of these jobs, or (none named) of all since then; None where it does not answer."""
        if self.limits is not None and not self.limits.config.accounting:
            return None
        done = await self._ask("sacct", accounting.sacct_argv(job_ids, since), speaks=False)
        return None if done is None else list(accounting.read_sacct(_text(done.out)).rows)

    async def sbatch(self, asked: Sbatch) -> tuple[int, str]:
        """Submit; job id and cluster.

        Raises:
            RejectedError: Slurm will never take it.
            UnavailableError: not now; `was_sent` says whether it may have been taken all the same.

        """
        self.calls["sbatch"] += 1
        done = await self.host.run(asked.argv, stdin=asked.script.encode(), timeout_s=_COMMAND_S)
        if done.code:
            raise accounting.refused(done.err.decode("utf-8", "replace"))
        try:
            return accounting.submitted(_text(done.out))
        except UnavailableError as error:
            error.details = [{"sent": True}]
            raise

    async def act(self, words: Sequence[str], ids: Sequence[str]) -> bool:
        """`scancel`, `scontrol hold`, `scontrol release` of jobs; whether the controller heard it."""
        heard = True
        for start in range(0, len(ids), _AT_ONCE):
            some = list(ids[start : start + _AT_ONCE])
            listed = [",".join(some)] if words[0] == "scontrol" else some
            self.calls[words[0]] += 1
            try:
                done = await self.host.run([*_PLAIN, *words, *listed], timeout_s=_COMMAND_S)
            except UnavailableError as error:
                self._note(error.message)
                return False
            if b"ontact slurm controller" in done.err:
                heard = False
        return heard


def sent(error: UnavailableError | RejectedError) -> bool:
    """Whether sbatch may have been carried out all the same."""
    return isinstance(error, UnavailableError) and was_sent(error)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
