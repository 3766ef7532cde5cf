"""When a job would start on the cluster and what it would cost there: Slurm's own guess (`sbatch --test-only`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec

from physlab_mcp.backends.slurm.accounting import estimate, refused
from physlab_mcp.backends.slurm.cluster import Cluster
from physlab_mcp.backends.slurm.inventory import Limits
from physlab_mcp.backends.slurm.limits import candidates, most_minutes, refusal
from physlab_mcp.backends.slurm.script import Needs, Order, Sbatch, needs_of, token_of, write
from physlab_mcp.backends.slurm.settings import SlurmSettings
from physlab_mcp.errors import UnavailableError
from physlab_mcp.schemas.job import JobSpec

_ASK_S = 60.0
_SECONDS = "SLURM_TIME_FORMAT=%s"  # since the epoch, for the cluster may be in another time zone


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """A guess that the next submission of anybody may change.

    `starts_at`: seconds since the epoch; `wait_s`: from now. `time_s` is the running time that Slurm sets aside, None where
    nothing limits it; the hours are what all of that would cost, and None then.
    """

    cluster: str
    partition: str
    nodes: str
    starts_at: float
    wait_s: float
    processors: int
    gpus: int
    time_s: float | None
    cpu_hours: float | None
    gpu_hours: float | None
    warnings: tuple[str, ...] = ()


async def forecast(cluster: Cluster, settings: SlurmSettings, spec: JobSpec) -> Forecast:
    """Ask Slurm; nothing is submitted.

    Raises:
        RejectedError: it can never run there.
        UnavailableError: the cluster cannot be asked, or does not say.

    """
    limits = cluster.limits or await cluster.learn()
    if limits is None:
        raise UnavailableError(
            f"The cluster cannot be asked when a job would start: {cluster.why or 'it does not answer'}.",
            field="backends.slurm", remedy="Ask again once it can be reached; `physlab doctor` shows what is wrong.",
        )  # fmt: skip
    needs = needs_of(spec, settings)
    needs = needs_of(spec, settings, most_minutes=most_minutes(limits, needs))
    why = refusal(needs, limits)
    if why is not None:
        raise why
    order = Order(token=token_of("estimate"), folder=cluster.host.root, program=f"{cluster.host.root}/element.py")
    wanted = _testing(write(needs, order, settings, await cluster.login()))
    cluster.calls["sbatch --test-only"] += 1
    done = await cluster.host.run(wanted.argv, stdin=wanted.script.encode(), timeout_s=_ASK_S)
    said = done.err.decode("utf-8", "replace")
    if done.code:
        raise refused(said)
    found = estimate(said)
    if found is None:
        raise UnavailableError(
            f"sbatch --test-only answered {said.strip()[:200]!r}, which names no time.", got=said.strip()[:200],
            remedy="Look at the queue (squeue --start).",
        )  # fmt: skip
    minutes = _minutes(needs, limits, found.partition)
    hours = None if minutes is None else minutes / 60
    processors, gpus = max(found.processors, needs.cpus * needs.nodes), needs.gpus * needs.nodes
    return Forecast(
        cluster=limits.config.cluster, partition=found.partition, nodes=found.nodes, starts_at=found.start_at,
        wait_s=max(0.0, found.start_at - time.time()), processors=processors, gpus=gpus,
        time_s=None if minutes is None else 60.0 * minutes,
        cpu_hours=None if hours is None else round(processors * hours, 6),
        gpu_hours=None if hours is None else round(gpus * hours, 6),
        warnings=tuple(_warnings(limits, found.partition, minutes)),
    )  # fmt: skip


def _warnings(limits: Limits, partition: str, minutes: int | None) -> Iterator[str]:
    if any(one.name == partition and not one.up for one in limits.partitions):
        yield f"The partition {partition} is down: it waits until it is up again, which Slurm's guess leaves out."
    if minutes is None:
        yield "Nothing limits its running time, so its cost is not known: ask for a time_limit."


def as_reply(found: Forecast) -> dict[str, Any]:
    """For people and agents."""
    return msgspec.to_builtins(found)


def _testing(asked: Sbatch) -> Sbatch:
    """The same words, as a question; `env -i` is the first of them."""
    head, rest = asked.argv[:2], asked.argv[2:]
    at = rest.index("sbatch")
    words = (*head, *rest[:at], _SECONDS, "sbatch", "--test-only", *rest[at + 1 :])
    return Sbatch(words, asked.script)


def _minutes(needs: Needs, limits: Limits, partition: str) -> int | None:
    """The running time that is set aside: what is asked for, else the partition's default, else its limit."""
    if needs.minutes:
        return needs.minutes
    tried = [one for one in candidates(limits, needs) if one.name == partition] or candidates(limits, needs)
    for one in tried:
        return one.default_minutes if one.default_minutes is not None else one.max_minutes
    return None
