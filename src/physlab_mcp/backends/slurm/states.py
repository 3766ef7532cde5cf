"""What a Slurm state means to us: our state, what a backend should report, the failure, and the reason in words."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

import msgspec

from physlab_mcp.backends.slurm.reasons import waiting
from physlab_mcp.schemas.job_state import JobState, ReasonCode
from physlab_mcp.schemas.result import Failure

Kind = Literal["queued", "started", "paused", "done", "lost", "dropped", "cancelled"]

# The short forms of `squeue -t`, for tools that print them.
_SHORT = {
    "BF": "BOOT_FAIL", "CA": "CANCELLED", "CD": "COMPLETED", "CF": "CONFIGURING", "CG": "COMPLETING", "DL": "DEADLINE",
    "EX": "EXPEDITING", "F": "FAILED", "NF": "NODE_FAIL", "OOM": "OUT_OF_MEMORY", "PD": "PENDING", "PR": "PREEMPTED",
    "R": "RUNNING", "RD": "RESV_DEL_HOLD", "RF": "REQUEUE_FED", "RH": "REQUEUE_HOLD", "RQ": "REQUEUED", "RS": "RESIZING",
    "RV": "REVOKED", "S": "SUSPENDED", "SE": "SPECIAL_EXIT", "SI": "SIGNALING", "SO": "STAGE_OUT", "ST": "STOPPED",
    "TO": "TIMEOUT",
}  # fmt: skip
_WAITING = {
    "PENDING": "", "REQUEUED": "it is queued again", "REQUEUE_FED": "it is queued again by the federation",
}  # fmt: skip
_HELD = {
    "REQUEUE_HOLD": "it was queued again and is held", "SPECIAL_EXIT": "it was queued again with a special exit, and is held",
    "RESV_DEL_HOLD": "its reservation was deleted, and it is held",
}  # fmt: skip
_BUSY = {
    "RUNNING": "", "CONFIGURING": "its nodes are starting", "COMPLETING": "it is ending", "STAGE_OUT": "its files are saved",
    "SIGNALING": "it is being signalled", "RESIZING": "its size is being changed", "EXPEDITING": "it is starting",
}  # fmt: skip
_FROZEN = {"SUSPENDED": "Slurm has suspended it", "STOPPED": "Slurm has stopped it"}
# What became of its node, not of the job: it may be done again.
_LOST = {
    "NODE_FAIL": "Its node failed", "PREEMPTED": "A job of higher priority took its place",
    "REVOKED": "Another cluster of the federation started it",
}  # fmt: skip
FINAL = frozenset(
    {"COMPLETED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "CANCELLED", "BOOT_FAIL", "DEADLINE", "LAUNCH_FAILED",
     "RECONFIG_FAIL", *_LOST}
)  # fmt: skip
KNOWN = FINAL | frozenset({*_WAITING, *_HELD, *_BUSY, *_FROZEN})
# After these Slurm may start the job again by itself; its accounting then has another row for it.
AGAIN = frozenset({"NODE_FAIL", "PREEMPTED", "REQUEUED", "BOOT_FAIL"})

_OOM = re.compile(r"oom[-_ ]kill|[Ee]xceeded (?:job|step) memory limit|exceeded memory limit")
_LATE = re.compile(r"CANCELLED AT \S+ DUE TO TIME LIMIT")


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job stands.

    kind: what happened, in the words of `Observation` (`queued`: it waits). `final`: Slurm is through with it, as far as
    this word says. `failure`: set where it did not succeed; a result that the runner wrote itself counts more.
    `hopeless`: it waits, and will never start as it is; `held`: somebody must release it. `known`: whether the state is
    one that we know; of an unknown one all that is said is that the job is still there.
    """

    kind: Kind
    state: JobState
    code: ReasonCode = ReasonCode.NONE
    text: str = ""
    failure: Failure | None = None
    final: bool = False
    hopeless: bool = False
    held: bool = False
    known: bool = True
    by_uid: int | None = None


@lru_cache(4096)
def state_word(text: str) -> tuple[str, int | None]:
    """The state in "CANCELLED by 1000", "OUT_OF_ME+", "CD" or "RUNNING,COMPLETING", and who cancelled it."""
    words = text.strip().split()
    first = re.split(r"[,|]", words[0])[0].upper() if words else ""
    by = int(words[2]) if len(words) == 3 and words[1] == "by" and words[2].isdecimal() else None
    if first.endswith("+"):  # cut off by a narrow column
        whole = [one for one in sorted(KNOWN) if one.startswith(first[:-1])]
        first = whole[0] if len(whole) == 1 else first
    return _SHORT.get(first, first), by


@lru_cache(4096)
def standing(state: str, reason: str = "", *, exit_code: str = "", output: str = "") -> Standing:
    """Where a job with this state stands.

    `reason`: as squeue says it; `exit_code`: as sacct does, "status:signal"; `output`: the end of what Slurm wrote to
    the job's output, which alone tells some ends apart.
    """
    word, by = state_word(state)
    if word in _WAITING or word in _HELD:
        return _waits(word, reason)
    if word in _FROZEN:
        return Standing(kind="paused", state=JobState.PAUSED, code=ReasonCode.MAINTENANCE, text=_FROZEN[word])
    if word in _BUSY:
        return Standing(kind="started", state=JobState.RUNNING, text=_BUSY[word])
    if word == "COMPLETED":
        return Standing(kind="done", state=JobState.COLLECTING, final=True)
    if word == "CANCELLED":
        text = "It was cancelled" + (f" by the user with the id {by}" if by is not None else "") + "."
        return Standing(
            kind="cancelled", state=JobState.CANCELLED, code=ReasonCode.REQUESTED, text=text, final=True, by_uid=by
        )
    if word in FINAL:
        return _failed(word, reason, exit_code, output)
    shown = state.strip()[:100] or "nothing"
    return Standing(
        kind="queued", state=JobState.QUEUED, text=f"Slurm says {shown!r}, which physlab does not know", known=False
    )


def _waits(word: str, reason: str) -> Standing:
    why = waiting(reason)
    held = why.held or word in _HELD
    text = _HELD.get(word) or why.text
    if _WAITING.get(word):
        text = f"{_WAITING[word]}: {text}"
    failure = None
    if why.hopeless:
        failure = Failure(
            code="rejected", message=f"Slurm will never start it: {why.text}.", retryable=False,
            remedy="Ask for less, or name another partition, account or QOS.",
        )  # fmt: skip
    return Standing(
        kind="paused" if held else "queued", state=JobState.PAUSED if held else JobState.QUEUED, code=why.code,
        text=text, failure=failure, hopeless=why.hopeless, held=held,
    )  # fmt: skip


def _failed(word: str, reason: str, exit_code: str, output: str) -> Standing:
    status, signal = exit_of(exit_code)
    if word in _LOST:
        failure = Failure(code="lost", message=f"{_LOST[word]}, and Slurm did not start it again.")
        return _ended("lost", ReasonCode.LOST, failure)
    if word in {"BOOT_FAIL", "LAUNCH_FAILED", "RECONFIG_FAIL"}:
        failure = Failure(code="lost", message="Its nodes did not start, so it never ran.")
        return _ended("dropped", ReasonCode.LOST, failure)
    if word == "TIMEOUT" or (word == "FAILED" and _LATE.search(output)):
        failure = Failure(
            code="timeout", message="It ran longer than its Slurm time limit and was ended.",
            remedy="Raise timeout_sec (or resources.time_limit), or write checkpoints.",
        )  # fmt: skip
        return _ended("done", ReasonCode.TIMEOUT, failure)
    if word == "DEADLINE":
        failure = Failure(
            code="timeout", message="It could not end before its deadline, so Slurm removed it.",
            remedy="Set a later deadline or a shorter time limit.", retryable=False,
        )  # fmt: skip
        return _ended("done", ReasonCode.TIMEOUT, failure)
    if word == "OUT_OF_MEMORY" or reason == "OutOfMemory" or _OOM.search(output):
        failure = Failure(
            code="oom", message="It needed more memory than it asked Slurm for.",
            remedy="Ask for more resources.memory, or for a smaller problem.", exit_code=status, signal=signal,
        )  # fmt: skip
        return _ended("done", ReasonCode.ERROR, failure)
    return _ended("done", ReasonCode.ERROR, _exit(reason, status, signal))


def _exit(reason: str, status: int | None, signal: int | None) -> Failure:
    why = waiting(reason)
    if why.hopeless:
        return Failure(
            code="rejected", message=f"Slurm refused it: {why.text}.", retryable=False,
            remedy="Ask for less, or name another partition, account or QOS.",
        )  # fmt: skip
    if signal == 53:  # Slurm's own mark, of no signal that exists
        return Failure(
            code="error", message="Its node could not open its working folder or output file.",
            remedy="Is backends.slurm.root on a file system that the compute nodes share, and yours to write?",
        )  # fmt: skip
    if signal is not None:
        return Failure(
            code="exit", message=f"It was killed by signal {signal}.", signal=signal, exit_code=status,
            remedy="Read its logs with job_logs. Slurm kills so what uses too much memory, too.",
        )  # fmt: skip
    if status is not None:
        return Failure(
            code="exit", message=f"It ended with exit code {status}.", exit_code=status,
            remedy="Read its logs with job_logs.",
        )  # fmt: skip
    return Failure(code="exit", message="It failed; Slurm does not say how.", remedy="Read its logs with job_logs.")


def _ended(kind: Kind, code: ReasonCode, failure: Failure) -> Standing:
    state = {"lost": JobState.PENDING, "dropped": JobState.PENDING}.get(kind, JobState.FAILED)
    return Standing(kind=kind, state=state, code=code, text=failure.message, failure=failure, final=True)


def exit_of(text: str) -> tuple[int | None, int | None]:
    """Exit status and signal in sacct's "3:0", "0:9"; None for what it does not say, or says is 0."""
    status, _, signal = text.strip().partition(":")
    killed = int(signal) if signal.isdecimal() and signal != "0" else None
    return (int(status) if status.isdecimal() and status != "0" else None), killed
