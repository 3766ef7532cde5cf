"""What a cluster can hold at most, what it therefore refuses, and what `physlab doctor` shows of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from physlab_mcp.backends.slurm.inventory import Limits, NodeGroup, Partition, Qos
from physlab_mcp.backends.slurm.script import Needs
from physlab_mcp.backends.slurm.words import clock
from physlab_mcp.errors import RejectedError


def submit_room(limits: Limits, needs: Needs, queued: int, most: int = 0) -> int:
    """How many more jobs may be submitted while `queued` of ours are there; `most` is a limit of ours, 0: none."""
    tops = [limits.config.max_jobs]
    tops += [one.max_submit for one in limits.qos if one.name == needs.qos and one.max_submit is not None]
    tops += [most] if most else []
    return max(0, min(tops) - queued)


class Breach(msgspec.Struct, frozen=True):
    """One limit that one partition sets against what is asked: the field, both values, and a sentence."""

    field: str
    limit: Any
    got: Any
    text: str


def candidates(limits: Limits, needs: Needs) -> list[Partition]:
    """The partitions that a job would be tried in: those it names, else the default one."""
    if needs.partition:
        names = needs.partition.split(",")
        return [one for one in limits.partitions if one.name in names]
    return [one for one in limits.partitions if one.default]


def breach(needs: Needs, partition: Partition) -> Breach | None:
    """The first limit of a partition that stands against these needs, or None: it can hold them, now or later."""
    limit = _of_partition(needs, partition)
    return limit or _of_nodes(needs, partition)


def _of_partition(needs: Needs, part: Partition) -> Breach | None:
    if part.root_only or part.reservation_only:
        which = "jobs of root" if part.root_only else "jobs with a reservation"
        return Breach("partition", which, needs.partition or part.name, f"takes only {which}")
    for name, allowed, denied, mine in (
        ("account", part.accounts, part.denied_accounts, needs.account),
        ("qos", part.qos, part.denied_qos, needs.qos),
    ):
        if mine and ((allowed is not None and mine not in allowed) or mine in denied):
            shown = ",".join(allowed) if allowed else "all but " + ",".join(denied)
            return Breach(name, shown, mine, f"does not take the {name} {mine!r} (it takes {shown})")
    if part.max_minutes is not None and needs.minutes > part.max_minutes:
        text = f"allows a running time of {clock(part.max_minutes)} (MaxTime), and {clock(needs.minutes)} is asked for"
        return Breach("resources.time_limit", clock(part.max_minutes), clock(needs.minutes), text)
    if part.max_nodes is not None and needs.nodes > part.max_nodes:
        text = f"allows {part.max_nodes} nodes a job (MaxNodes), and {needs.nodes} are asked for"
        return Breach("resources.nodes", part.max_nodes, needs.nodes, text)
    if needs.nodes < part.min_nodes:
        text = f"wants at least {part.min_nodes} nodes a job (MinNodes), and {needs.nodes} are asked for"
        return Breach("resources.nodes", part.min_nodes, needs.nodes, text)
    if part.max_cpus_per_node is not None and needs.cpus > part.max_cpus_per_node:
        text = f"allows {part.max_cpus_per_node} cores on a node (MaxCPUsPerNode), and {needs.cpus} are asked for"
        return Breach("resources.cpu", part.max_cpus_per_node, needs.cpus, text)
    if part.max_mem_per_node is not None and needs.memory_mib > part.max_mem_per_node:
        text = f"allows {part.max_mem_per_node} MiB on a node (MaxMemPerNode), and {needs.memory_mib} MiB are asked for"
        return Breach("resources.memory", part.max_mem_per_node, needs.memory_mib, text)
    if part.max_mem_per_cpu and part.groups:
        # Slurm gives such a job more cores, until it has the memory.
        most = part.max_mem_per_cpu * min(max(one.cpus for one in part.groups), part.max_cpus_per_node or 1 << 30)
        if needs.memory_mib > most:
            text = f"allows {most} MiB on a node (MaxMemPerCPU), and {needs.memory_mib} MiB are asked for"
            return Breach("resources.memory", most, needs.memory_mib, text)
    return None


def _of_nodes(needs: Needs, part: Partition) -> Breach | None:
    """Whether enough nodes have enough of everything, those that are down now counted too: they may come back."""
    if not part.groups:
        return Breach("partition", 0, part.name, "has no nodes")
    fits = list(part.groups)
    kind = f" of type {needs.gpu_type}" if needs.gpu_type else ""
    asks: tuple[tuple[str, str, int, Callable[[NodeGroup], int]], ...] = (
        ("resources.cpu", "cores", needs.cpus, lambda group: group.cpus),
        ("resources.memory", "MiB of memory", needs.memory_mib, lambda group: group.memory_mib),
        ("resources.gpu", f"GPUs{kind}", needs.gpus, lambda group: gpus_of(group, needs.gpu_type)),
    )
    for field, unit, asked, of in asks:
        best = max(of(group) for group in fits)
        left = [group for group in fits if of(group) >= asked]
        if not left:
            also = "" if len(fits) == len(part.groups) else " and what else is asked for"
            return Breach(field, best, asked, f"has no node with {asked} {unit}{also}; the most is {best}")
        fits = left
    plain = re.fullmatch(r"[\w.-]+", needs.constraint)
    if plain:
        featured = [group for group in fits if needs.constraint in group.features]
        if not featured:
            known = sorted({one for group in part.groups for one in group.features})
            text = f"has no such node with the feature {needs.constraint!r} (there are: {', '.join(known) or 'none'})"
            return Breach("constraint", ",".join(known), needs.constraint, text)
        fits = featured
    count = sum(group.count for group in fits)
    if count < needs.nodes:
        return Breach(
            "resources.nodes", count, needs.nodes, f"has {count} nodes for it, and {needs.nodes} are asked for"
        )
    return None


def gpus_of(group: NodeGroup, kind: str = "") -> int:
    """GPUs on one node of a group, of one type or of all."""
    return group.gpus.get(kind, 0) if kind else sum(group.gpus.values())


def refusal(needs: Needs, limits: Limits) -> RejectedError | None:
    """Why no partition that the job may go to can ever hold it; None where one can.

    The error names the partition, the limit, both values, and where else it would fit. That a partition or node is down
    now is no reason: the job waits for it. What is not known of the cluster refuses nothing.
    """
    if not limits.partitions:
        return None
    tried = candidates(limits, needs)
    if not tried:
        return _no_partition(needs, limits)
    breaches = [(one, breach(needs, one)) for one in tried]
    if any(found is None for _, found in breaches):
        return _of_qos(needs, limits)
    part, first = next((part, found) for part, found in breaches if found is not None)
    elsewhere = [
        one.name for one in limits.partitions
        if one not in tried and one.up and breach(msgspec.structs.replace(needs, partition=one.name), one) is None
    ]  # fmt: skip
    remedy = f"Ask for less, or set backends.slurm.partition to {' or '.join(elsewhere[:5])}." if elsewhere else (
        "Ask for less: no partition of this cluster can hold it."
    )  # fmt: skip
    return RejectedError(
        f"The partition {part.name} {first.text}.", field=first.field, got=first.got, remedy=remedy,
        details=[
            {"partition": one.name, "field": found.field, "limit": found.limit, "got": found.got, "text": found.text}
            for one, found in breaches if found is not None
        ],
    )  # fmt: skip


def _no_partition(needs: Needs, limits: Limits) -> RejectedError:
    names = ", ".join(one.name for one in limits.partitions)
    if needs.partition:
        return RejectedError(
            f"The cluster has no partition {needs.partition!r}.", field="partition", got=needs.partition,
            remedy=f"Set backends.slurm.partition to one of: {names}.",
        )  # fmt: skip
    return RejectedError(
        "The cluster has no default partition, and none is named.", field="partition", got="",
        remedy=f"Set backends.slurm.partition to one of: {names}.",
    )  # fmt: skip


def _of_qos(needs: Needs, limits: Limits) -> RejectedError | None:
    if not needs.qos or not limits.qos:
        return None
    one = next((one for one in limits.qos if one.name == needs.qos), None)
    if one is None:
        names = ", ".join(one.name for one in limits.qos)
        return RejectedError(
            f"The cluster has no QOS {needs.qos!r}.", field="qos", got=needs.qos,
            remedy=f"Set backends.slurm.qos to one of: {names}.",
        )  # fmt: skip
    if one.max_minutes is not None and needs.minutes > one.max_minutes:
        return RejectedError(
            f"The QOS {one.name} allows a running time of {clock(one.max_minutes)} (MaxWall), and "
            f"{clock(needs.minutes)} is asked for.", field="resources.time_limit", got=clock(needs.minutes),
            remedy="Ask for less, or set backends.slurm.qos to another.",
        )  # fmt: skip
    return None


def most_minutes(limits: Limits, needs: Needs) -> int | None:
    """The longest time limit, in minutes, of the partitions and the QOS that a job goes to; None: there is none."""
    times = [one.max_minutes for one in candidates(limits, needs)]
    longest = None if not times or None in times else max(one for one in times if one is not None)
    own = next((one.max_minutes for one in limits.qos if one.name == needs.qos), None)
    both = [one for one in (longest, own) if one is not None]
    return min(both) if both else None


class Finding(msgspec.Struct, frozen=True):
    """One row for `physlab doctor`: what, how it is, in words, and how to mend it."""

    what: str
    state: Literal["ok", "warn", "fail"]
    text: str
    remedy: str = ""


def findings(limits: Limits, needs: Needs | None = None) -> list[Finding]:
    """The cluster, each of its partitions, and what is missing for jobs with these settings."""
    told = limits.config
    rows = [
        Finding(
            "slurm", "ok", f"cluster {told.cluster or '?'}, Slurm {told.version or '?'}, arrays of up to "
            f"{told.max_array} elements, up to {told.max_jobs} jobs",
        )
    ]  # fmt: skip
    if not told.accounting:
        rows.append(Finding(
            "slurm accounting", "warn",
            f"there is none: an end is seen for {told.min_job_age_s} s in the queue, and then only in the job's folder",
            "Nothing has to be done; ask the administrators for slurmdbd to know of every end.",
        ))  # fmt: skip
    if not told.memory_is_counted:
        rows.append(Finding("slurm memory", "warn", "Slurm does not count memory here, so nothing keeps its limits"))
    rows += [_partition_row(one) for one in limits.partitions]
    rows += [_qos_row(one) for one in limits.qos if needs is not None and one.name == needs.qos]
    why = refusal(needs, limits) if needs is not None else None
    if why is not None:
        rows.append(Finding("slurm settings", "fail", why.message, why.remedy or ""))
    return rows


def _qos_row(one: Qos) -> Finding:
    parts = [f"at most {clock(one.max_minutes)}"] if one.max_minutes is not None else []
    parts += [f"{one.max_submit} jobs of a user in the queue"] if one.max_submit is not None else []
    parts += [f"{one.max_running} of them running"] if one.max_running is not None else []
    return Finding(f"slurm QOS {one.name}", "ok", ", ".join(parts) or "no limits of its own")


def _partition_row(part: Partition) -> Finding:
    count = sum(group.count for group in part.groups)
    away = sum(group.count for group in part.groups if group.away)
    most_gpus = max((gpus_of(group) for group in part.groups), default=0)
    kinds = sorted({kind for group in part.groups for kind in group.gpus if kind})
    cpus = max((group.cpus for group in part.groups), default=0)
    memory = max((group.memory_mib for group in part.groups), default=0)
    parts = [
        f"{count} nodes" + (f" ({away} of them take no jobs now)" if away else ""),
        f"up to {min(cpus, part.max_cpus_per_node or cpus)} cores",
        f"{min(memory, part.max_mem_per_node or memory)} MiB",
    ]
    if most_gpus:
        parts.append(f"{most_gpus} GPUs" + (f" ({', '.join(kinds)})" if kinds else ""))
    parts.append("no time limit" if part.max_minutes is None else f"at most {clock(part.max_minutes)}")
    state: Literal["ok", "warn"] = "ok" if part.up and away < count else "warn"
    text = ("" if part.up else "down; ") + ", ".join(parts) + (" (the default)" if part.default else "")
    return Finding(
        f"slurm partition {part.name}", state, text, "" if state == "ok" else "Jobs wait until it is up again."
    )
