"""Why Slurm lets a job wait, in our words."""

from __future__ import annotations

import re

import msgspec

from physlab_mcp.schemas.job_state import ReasonCode


class Waiting(msgspec.Struct, frozen=True):
    """Why a job waits. `hopeless`: as cluster and job are now it will never start; `held`: somebody must release it."""

    code: ReasonCode
    text: str
    hopeless: bool = False
    held: bool = False


_C = ReasonCode
_KNOWN: dict[str, Waiting] = {
    "None": Waiting(_C.SLOT, "Slurm has not looked at it yet"),
    "Priority": Waiting(_C.SLOT, "jobs of higher priority are before it"),
    "Resources": Waiting(_C.SLOT, "its resources are in use"),
    "Licenses": Waiting(_C.SLOT, "its licences are in use"),
    "Cleaning": Waiting(_C.SLOT, "what it ran before is being cleaned up"),
    "Prolog": Waiting(_C.SLOT, "its nodes are being prepared"),
    "BurstBufferResources": Waiting(_C.SLOT, "its burst buffer is in use"),
    "BurstBufferStageIn": Waiting(_C.SLOT, "its burst buffer is being filled"),
    "JobArrayTaskLimit": Waiting(_C.SLOT, "as many elements of its array run as the throttle allows"),
    "BeginTime": Waiting(_C.WINDOW, "its begin time has not come"),
    "Dependency": Waiting(_C.NEEDS, "it waits for another job"),
    "DependencyNeverSatisfied": Waiting(_C.NEED_FAILED, "the job that it waits for failed", hopeless=True),
    "JobHeldUser": Waiting(_C.REQUESTED, "it is held by its user", held=True),
    "JobHeldAdmin": Waiting(_C.MAINTENANCE, "it is held by an administrator", held=True),
    "job requeued in held state": Waiting(_C.REQUESTED, "it was queued again and held", held=True),
    "launch failed requeued held": Waiting(
        _C.MAINTENANCE, "its node could not launch it, and Slurm holds it until an administrator releases it", held=True
    ),
    "SystemFailure": Waiting(_C.MAINTENANCE, "the file system, network or controller failed"),
    "Reservation": Waiting(_C.WINDOW, "its reservation has not begun"),
    "ReservationDeleted": Waiting(_C.REJECTED, "its reservation is gone", hopeless=True),
    "ReqNodeNotAvail": Waiting(_C.MAINTENANCE, "nodes that it needs are down, drained or reserved"),
    "Nodes required for job are DOWN": Waiting(_C.MAINTENANCE, "nodes that it needs are down, drained or reserved"),
    "NodeDown": Waiting(_C.MAINTENANCE, "a node that it needs is down"),
    "FrontEndDown": Waiting(_C.MAINTENANCE, "no front end is up"),
    "PartitionDown": Waiting(_C.MAINTENANCE, "its partition is down"),
    "PartitionInactive": Waiting(_C.MAINTENANCE, "its partition is inactive"),
    "PartitionConfig": Waiting(_C.REJECTED, "its partition does not allow what it asks for", hopeless=True),
    "PartitionTimeLimit": Waiting(_C.REJECTED, "its time limit is longer than its partition's", hopeless=True),
    # Also where nodes of the partition are only down for now, so it is no reason to give up.
    "PartitionNodeLimit": Waiting(_C.MAINTENANCE, "its partition has not as many nodes now, or is down"),
    "BadConstraints": Waiting(_C.REJECTED, "no node has what it asks for", hopeless=True),
    "InvalidAccount": Waiting(_C.REJECTED, "its account is not valid", hopeless=True),
    "InvalidQOS": Waiting(_C.REJECTED, "its QOS is not valid", hopeless=True),
    "AccountNotAllowed": Waiting(_C.REJECTED, "its partition does not allow its account", hopeless=True),
    "QOSNotAllowed": Waiting(_C.REJECTED, "its partition or account does not allow its QOS", hopeless=True),
    "QOSTimeLimit": Waiting(_C.REJECTED, "its time limit is longer than its QOS allows", hopeless=True),
    "AccountingPolicy": Waiting(_C.SLOT, "a limit of its account or QOS is reached"),
    "PowerNotAvail": Waiting(_C.SLOT, "there is not enough power for it now"),
    "NonZeroExitCode": Waiting(_C.ERROR, "it ended with an exit status that is not zero"),
}
# AssocMaxCpuPerJobLimit, QOSMaxWallDurationPerJobLimit, QOSMinCpuNotSatisfied …: one job alone breaks the limit.
_NEVER = re.compile(r"^(Assoc|QOS)(Max\w*PerJob|MaxWall|Min)\w*$", re.IGNORECASE)
# AssocGrpCpuLimit, QOSMaxJobsPerUserLimit, MaxGRESPerAccount …: it fits once others have ended.
_LATER = re.compile(r"^((Assoc|QOS)?(Grp|Max)\w+|(Assoc|QOS)\w*Limit)$", re.IGNORECASE)


def waiting(reason: str) -> Waiting:
    """What squeue's reason of a waiting job means; an unknown one is told as it is."""
    whole = reason.strip().replace("_", " ")
    word = re.split(r"[,:(\s]", whole, maxsplit=1)[0] or "None"
    head = next((one for one in (re.split(r"[,:(]", whole, maxsplit=1)[0].strip(), word) if one in _KNOWN), None)
    if head is not None:
        known, detail = _KNOWN[head], whole[len(head) :].strip(" ,:()")
        return Waiting(known.code, f"{known.text} ({detail})", known.hopeless, known.held) if detail else known
    if _NEVER.match(word):
        return Waiting(_C.REJECTED, f"one such job alone breaks the limit {word}", hopeless=True)
    if _LATER.match(word):
        return Waiting(_C.SLOT, f"the limit {word} is reached until other jobs end")
    return Waiting(_C.SLOT, f"Slurm says: {reason.strip()[:200]}")
