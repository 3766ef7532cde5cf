"""What is known of our jobs, from what the queue and the accounting say now and what was known before.

Neither is the truth by itself. The queue forgets ended jobs, accounting lags behind it and may be switched off, a
controller that crashed may lose a job and give its id to another, and a job that is queued again has a new submit time.
So a job is itself only by cluster, id, token and a submit time that is not before the first; and of one that nobody knows
nothing is said but since when.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from physlab_mcp.backends.slurm.accounting import Row
from physlab_mcp.backends.slurm.states import AGAIN, FINAL

_CLOCK_S = 2.0  # Slurm's times are whole seconds, and its daemons have clocks of their own


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """One job or element of ours.

    `submitted_at` is the first submit time; `state`, `reason` and `exit_code` are Slurm's words as told last, at
    `seen_at`. `unknown_since` is 0, or since when nobody could say how it is: the state is then the last that was told.
    `missing_since` is 0, or since when the queue has answered without it, and nothing told its end. `missing`: so long
    that it must be sought in its folder; that is still no failure. `final`: Slurm is through with it. `again`: how often
    Slurm has started it anew.
    """

    cluster: str
    job_id: int
    index: int | None = None
    token: str
    submitted_at: float
    state: str = "PENDING"
    reason: str = ""
    exit_code: str = ""
    by_uid: int | None = None
    nodes: str = ""
    partition: str = ""
    started_at: float = 0.0
    ended_at: float = 0.0
    seen_at: float = 0.0
    unknown_since: float = 0.0
    missing_since: float = 0.0
    missing: bool = False
    why: str = ""
    final: bool = False
    again: int = 0


class Index:
    """Rows by job id, for many jobs at once."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._one: dict[tuple[int, int | None], list[Row]] = {}
        self._open: dict[int, list[Row]] = {}
        for row in rows:
            if not row.whole:
                self._open.setdefault(row.job_id, []).append(row)
            for index in row.indices if row.array else (None,):
                self._one.setdefault((row.job_id, index), []).append(row)

    def of(self, known: Known) -> list[Row]:
        """The rows that are really about this job, its latest incarnation last."""
        rows = self._one.get((known.job_id, known.index)) or []
        if not rows and known.index is not None:
            rows = self._open.get(known.job_id) or []
        own = [
            row for row in rows
            if row.token == known.token and row.submitted_at >= known.submitted_at - _CLOCK_S
        ]  # fmt: skip
        return sorted(own, key=lambda row: (row.submitted_at, row.started_at))


def merge(
    known: Mapping[str, Known], queue: Sequence[Row] | None, accounts: Sequence[Row] | None, now: float,
    *, settle_s: float = 60.0, missing_s: float = 600.0,
) -> dict[str, Known]:  # fmt: skip
    """What is known of each job now. `queue` and `accounts` are None where squeue or sacct failed.

    `settle_s`: how long an end after which Slurm may start a job again is not believed when only accounting tells it.
    `missing_s`: see `Known.missing`. What is final stays as it is.
    """
    queued = None if queue is None else Index(queue)
    accounted = None if accounts is None else Index(accounts)
    answer: dict[str, Known] = {}
    for key, one in known.items():
        if one.final:
            answer[key] = one
            continue
        here = queued.of(one) if queued is not None else []
        there = accounted.of(one) if accounted is not None else []
        again = max(one.again, len({row.submitted_at for row in [*here, *there]}) - 1)
        one = msgspec.structs.replace(one, again=again)
        if here:
            answer[key] = _seen(one, here[-1], there, now)
        else:
            answer[key] = _absent(one, there, now, settle_s, missing_s, asked=(queue is not None, accounts is not None))
    return answer


def _seen(one: Known, row: Row, there: Sequence[Row], now: float) -> Known:
    """The queue has it: that is how it is. Accounting adds the exit status of the same incarnation."""
    same = [old for old in there if abs(old.submitted_at - row.submitted_at) <= _CLOCK_S and old.state == row.state]
    return _told(one, row, now, final=row.state in FINAL, exit_code=same[-1].exit_code if same else row.exit_code,
                 by_uid=same[-1].by_uid if same else row.by_uid)  # fmt: skip


def _told(one: Known, row: Row, now: float, *, final: bool, exit_code: str, by_uid: int | None) -> Known:
    return msgspec.structs.replace(
        one, state=row.state, reason=row.reason, exit_code=exit_code, by_uid=by_uid, nodes=row.nodes or one.nodes,
        partition=row.partition or one.partition, started_at=row.started_at or one.started_at,
        ended_at=row.ended_at if final else 0.0, seen_at=now, unknown_since=0.0, missing_since=0.0, missing=False,
        why="", final=final,
    )  # fmt: skip


def _absent(
    one: Known, there: Sequence[Row], now: float, settle_s: float, missing_s: float, *, asked: tuple[bool, bool]
) -> Known:
    queue_answered, accounts_answered = asked
    if there:
        row = there[-1]
        settled = row.state not in AGAIN or (queue_answered and now - max(row.ended_at, one.seen_at) > settle_s)
        if row.state in FINAL and settled:
            return _told(one, row, now, final=True, exit_code=row.exit_code, by_uid=row.by_uid)
        # Accounting lags: it knows the job, but not how it is now. That it once ran is news all the same.
        if row.state == "RUNNING" and one.state == "PENDING":
            one = msgspec.structs.replace(one, state=row.state, reason="", nodes=row.nodes, started_at=row.started_at)
    if not queue_answered:
        return _unknown(one, now, "the queue cannot be asked", missing_since=0.0, missing=False)
    if there:
        why = "it left the queue, and accounting does not know its end yet"
    elif not accounts_answered:
        why = "it is not in the queue, and there is no accounting to ask"
    else:
        why = "neither the queue nor accounting has it"
    since = one.missing_since or now
    return _unknown(one, now, why, missing_since=since, missing=now - since > missing_s)


def _unknown(one: Known, now: float, why: str, *, missing_since: float, missing: bool) -> Known:
    return msgspec.structs.replace(
        one, unknown_since=one.unknown_since or now, why=why, missing_since=missing_since, missing=missing
    )
