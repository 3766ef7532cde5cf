"""What a cluster has, from the words of scontrol, sinfo and sacctmgr. Parsers only; what is not there is no limit."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from physlab_mcp.backends.slurm.words import mebibytes, number, said, seconds

_UNIT = "\x1f"
_SINFO = ("%R", "%D", "%c", "%m", "%G", "%f", "%T")
_QOS = "Name,MaxWall,MaxSubmitJobsPU,MaxJobsPU"
_ENV = ("env", "-u", "SINFO_PARTITION", "-u", "SLURM_CLUSTERS", "LC_ALL=C")
CONFIG_ARGV = (*_ENV, "scontrol", "show", "config")
PARTITIONS_ARGV = (*_ENV, "scontrol", "--oneliner", "show", "partition")
NODES_ARGV = (*_ENV, "sinfo", "--noheader", "--exact", f"--format={_UNIT.join(_SINFO)}")
QOS_ARGV = (*_ENV, "sacctmgr", "--noheader", "--parsable2", "show", "qos", f"format={_QOS}")
_PAIR = re.compile(r"(?:^|\s)([A-Za-z][A-Za-z0-9_:]*)=")
_GRES = re.compile(r"(?:^|,)gpu(?::([A-Za-z][^:,(]*))?(?::(\d+))?(?=[(,]|$)")
_AWAY = re.compile(r"^(down|fail|inval|drain|unknown|future)", re.IGNORECASE)


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What of the cluster's configuration matters here. `max_array` counts the elements of one array."""

    cluster: str = ""
    version: str = ""
    max_array: int = 1001
    max_jobs: int = 10_000
    accounting: bool = True
    comments_kept: bool = False
    requeue: bool = True
    min_job_age_s: int = 300
    memory_is_counted: bool = True


class NodeGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes of a partition that are alike. `gpus` counts by type ("" where it has none)."""

    partition: str
    count: int
    cpus: int
    memory_mib: int
    gpus: dict[str, int] = {}
    features: tuple[str, ...] = ()
    state: str = ""

    @property
    def away(self) -> bool:
        """Whether they take no jobs now."""
        return bool(_AWAY.match(self.state))


class Partition(msgspec.Struct, frozen=True, kw_only=True):
    """A partition's limits; None is none."""

    name: str
    default: bool = False
    up: bool = True
    max_minutes: int | None = None
    default_minutes: int | None = None
    max_nodes: int | None = None
    min_nodes: int = 1
    max_cpus_per_node: int | None = None
    max_mem_per_node: int | None = None
    max_mem_per_cpu: int | None = None
    accounts: tuple[str, ...] | None = None
    denied_accounts: tuple[str, ...] = ()
    qos: tuple[str, ...] | None = None
    denied_qos: tuple[str, ...] = ()
    root_only: bool = False
    reservation_only: bool = False
    groups: tuple[NodeGroup, ...] = ()


class Qos(msgspec.Struct, frozen=True):
    """A quality of service: its longest time in minutes, and how many jobs a user may have queued and running."""

    name: str
    max_minutes: int | None = None
    max_submit: int | None = None
    max_running: int | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """All of a cluster."""

    config: Config = Config()
    partitions: tuple[Partition, ...] = ()
    qos: tuple[Qos, ...] = ()


def config(text: str) -> Config:
    """From `scontrol show config`."""
    pairs: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            pairs[name.strip()] = value.strip()
    scheduler: dict[str, str] = {}
    for part in pairs.get("SchedulerParameters", "").split(","):
        name, _, value = part.partition("=")
        scheduler[name] = value
    size = number(pairs.get("MaxArraySize", "")) or 1001
    tasks = number(scheduler.get("max_array_tasks", ""))
    age = re.match(r"\d+", pairs.get("MinJobAge", ""))
    return Config(
        cluster=pairs.get("ClusterName", ""),
        version=pairs.get("SLURM_VERSION", ""),
        max_array=min(size, tasks) if tasks else size,
        max_jobs=number(pairs.get("MaxJobCount", "")) or 10_000,
        accounting=not pairs.get("AccountingStorageType", "").endswith(("none", "(null)")),
        comments_kept="job_comment" in pairs.get("AccountingStoreFlags", ""),
        requeue=pairs.get("JobRequeue", "1") != "0",
        min_job_age_s=int(age.group()) if age else 300,
        memory_is_counted="MEMORY" in pairs.get("SelectTypeParameters", "").upper(),
    )


def _pairs(line: str) -> dict[str, str]:
    """`A=1 B=x y C=` as a mapping; a value reaches up to the next name."""
    marks = list(_PAIR.finditer(line))
    ends = [*(mark.start() for mark in marks[1:]), len(line)]
    return {mark.group(1): line[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True)}


def _names(text: str) -> tuple[str, ...] | None:
    return None if text in {"", "ALL"} else tuple(filter(None, text.split(",")))


def _minutes(text: str) -> int | None:
    limit = seconds(text)
    return None if limit is None else limit // 60


def partitions(text: str, groups: Iterable[NodeGroup] = ()) -> tuple[Partition, ...]:
    """From `scontrol --oneliner show partition`, with their nodes."""
    nodes: dict[str, list[NodeGroup]] = {}
    for group in groups:
        nodes.setdefault(group.partition, []).append(group)
    made: list[Partition] = []
    for line in text.splitlines():
        told = _pairs(line)
        name = told.get("PartitionName", "")
        if not name:
            continue
        made.append(
            Partition(
                name=name, default=told.get("Default") == "YES", up=told.get("State", "UP") == "UP",
                max_minutes=_minutes(told.get("MaxTime", "")), default_minutes=_minutes(told.get("DefaultTime", "")),
                max_nodes=number(told.get("MaxNodes", "")), min_nodes=number(told.get("MinNodes", "")) or 1,
                max_cpus_per_node=number(told.get("MaxCPUsPerNode", "")),
                max_mem_per_node=mebibytes(told.get("MaxMemPerNode", "")),
                max_mem_per_cpu=mebibytes(told.get("MaxMemPerCPU", "")),
                accounts=_names(told.get("AllowAccounts", "")), qos=_names(told.get("AllowQos", "")),
                denied_accounts=_names(told.get("DenyAccounts", "")) or (),
                denied_qos=_names(told.get("DenyQos", "")) or (), root_only=told.get("RootOnly") == "YES",
                reservation_only=told.get("ReqResv") == "YES", groups=tuple(nodes.get(name, ())),
            )
        )  # fmt: skip
    return tuple(made)


def nodes(text: str) -> list[NodeGroup]:
    """From `NODES_ARGV`; rows that cannot be read are left out."""
    made: list[NodeGroup] = []
    for line in text.splitlines():
        fields = line.split(_UNIT)
        if len(fields) != len(_SINFO):
            continue
        partition, count, cpus, memory, gres, features, state = fields
        counts = [number(one.rstrip("+")) for one in (count, cpus, memory)]
        if None in counts:
            continue
        made.append(
            NodeGroup(
                partition=partition, count=counts[0] or 0, cpus=counts[1] or 0, memory_mib=counts[2] or 0,
                gpus=gpus(gres), features=tuple(filter(None, said(features).split(","))), state=state.rstrip("*~#!%$@^-+"),
            )
        )  # fmt: skip
    return made


def gpus(gres: str) -> dict[str, int]:
    """GPUs by type in "gpu:a100:2(S:0-1),lustre:1"; a count that is missing is 1."""
    found: dict[str, int] = {}
    for match in _GRES.finditer(said(gres)):
        kind, count = match.group(1) or "", int(match.group(2) or 1)
        found[kind] = found.get(kind, 0) + count
    return found


def qos(text: str) -> tuple[Qos, ...]:
    """From `QOS_ARGV`."""
    made: list[Qos] = []
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) == _QOS.count(",") + 1 and fields[0]:
            made.append(Qos(fields[0], _minutes(fields[1]), number(fields[2]), number(fields[3])))
    return tuple(made)
