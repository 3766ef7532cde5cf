"""What became of a dispatch, from Slurm's word and from what lies in its folder. Pure."""

from __future__ import annotations

import re
import signal
from typing import Any, Literal

import msgspec

from physlab_mcp.backends.slurm.abroad import Abroad
from physlab_mcp.backends.slurm.merging import Known
from physlab_mcp.backends.slurm.states import Standing, exit_of
from physlab_mcp.schemas.result import Failure

NOT_TWICE = (3, 4)  # what element.py ends with if it found that the job runs, or ran, by a start that Slurm forgot
FILE_S = 3  # looks at a folder that has no result although the job is over: shared file systems lag


class Verdict(msgspec.Struct, frozen=True):
    """`result`: bring the runner's result home; `wait`: nothing is certain yet; else the kind of the observation."""

    kind: Literal["wait", "result", "done", "lost", "dropped", "cancelled"]
    failure: Failure | None = None
    status: int | None = None


WAIT = Verdict("wait")
# A node's own accident before anything of ours: the copy of the script that Slurm had made there was gone.
_UNLAUNCHED = re.compile(r"slurmstepd\S*: error: execve\(\): \S*slurm_script: ")


def may_be_slurms(result: dict[str, Any]) -> bool:
    """Whether this end may be Slurm's doing: it sends SIGTERM to all of a job (time limit, preemption, scancel)."""
    return result["outcome"] == "cancelled" or result.get("signal") == signal.SIGTERM


def judge(
    one: Abroad, known: Known, stand: Standing, result: dict[str, Any] | None, *, begun: bool, output: str
) -> Verdict:
    """What to tell. `begun`: whether an element of this dispatch ever began; `output`: the end of what Slurm kept."""
    theirs = result is not None and may_be_slurms(result)
    if result is not None and (not theirs or (known.state == "COMPLETED" and not one.cancelled)):
        failure = result.get("failure") or {}
        killed = result.get("signal") == 9 and stand.failure is not None and stand.failure.code == "oom"
        if failure.get("code") == "exit" and killed:
            return Verdict("done", stand.failure)
        return Verdict("result")
    if theirs and one.cancelled:
        return Verdict("cancelled")
    if not known.final:
        return WAIT
    if one.doom is not None:
        return Verdict("done", one.doom)
    if one.cancelled:
        return Verdict("cancelled")
    if result is None and one.looks < FILE_S and stand.kind not in ("cancelled", "dropped"):
        return WAIT
    return _without(known, stand, begun=begun, output=output)


def _without(known: Known, stand: Standing, *, begun: bool, output: str) -> Verdict:
    if stand.kind == "cancelled":
        return Verdict("cancelled")
    if stand.kind in ("lost", "dropped"):
        return Verdict("lost" if begun else "dropped")
    code = stand.failure.code if stand.failure else ""
    if code in ("timeout", "oom", "rejected"):
        return Verdict("done", stand.failure)
    status, number = exit_of(known.exit_code)
    if known.state == "COMPLETED":
        return Verdict("done", Failure(
            code="error", message="Slurm says that it completed, and its folder holds no result.",
            remedy="Is backends.slurm.root on a file system that login and compute nodes share?",
        ))  # fmt: skip
    if begun and number != 53:
        return Verdict("lost", status=None if status in NOT_TWICE else -number if number else status)
    if not begun and _UNLAUNCHED.search(output):
        return Verdict("dropped")
    said = f" It said: {output}" if output else ""
    return Verdict("done", Failure(
        code="error", message=f"The job could not begin on its node ({known.state}, exit {known.exit_code}).{said}",
        remedy="Look at backends.slurm.python, modules, image and root; `physlab doctor` shows them.",
    ))  # fmt: skip
