"""Between rows and records. Column lists stand once, here."""

from __future__ import annotations

from typing import Any

import msgspec

from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.job import Job, Reason
from physlab_mcp.schemas.job_state import TERMINAL, JobState, ReasonCode
from physlab_mcp.schemas.run import Plan, Run
from physlab_mcp.stores.compact import cache_name, key_bytes, key_text, spec_of

encode = msgspec.json.Encoder().encode
_plan = msgspec.json.Decoder(Plan).decode
_events = msgspec.json.Decoder(list[tuple[str, float, int, dict[str, Any]]]).decode
decode_json = msgspec.json.decode

_ROOM = bytes(100)  # what dispatch and end add to a row, about

_JOB_COLUMNS = (
    "pk, id, kind, owner, session_id, run_id, sweep_id, point_index, node_id, run, plan, spec, state, reason,"
    " reason_text, reason_since, version, attempt, lost, fence, claimer, lease_until, needs, needs_left, backend,"
    " queue, native_id, submission, idx, priority, position, rank, not_before, created_at, observed_at,"
    " idempotency_key, parallelism, grp, cache_key, started_at, ended_at, first_seq, last_seq, shared, paused_s"
)
INSERT_JOB = f"INSERT INTO jobs ({_JOB_COLUMNS}, template, room, why_here) VALUES ({','.join('?' * 48)})"
# The names of run and sweep stand in their own rows, unless a job has no such row.
RUN_OF_JOB = "coalesce({0}.run_id, (SELECT id FROM runs WHERE runs.pk = {0}.run))"
SWEEP_OF_JOB = (
    "coalesce({0}.sweep_id, CASE WHEN {0}.point_index IS NOT NULL"
    " THEN (SELECT id FROM plans WHERE plans.pk = {0}.plan) END)"
)
NAMES_OF_JOB = f"(j.id, {RUN_OF_JOB}, {SWEEP_OF_JOB})".format("j")
_READ = _JOB_COLUMNS.replace("run_id, sweep_id", f"{RUN_OF_JOB}, {SWEEP_OF_JOB}".format("jobs"))
SELECT_JOB = f"SELECT {_READ}, (SELECT body FROM templates WHERE templates.id = jobs.template), why_here FROM jobs"
UPDATE_JOB = (
    "UPDATE jobs SET state=?, reason=?, reason_text=?, reason_since=?, version=?, attempt=?, lost=?, fence=?,"
    " claimer=?, lease_until=?, native_id=?, submission=?, idx=?, priority=?, position=?, not_before=?,"
    " observed_at=?, cache_key=?, started_at=?, ended_at=?, paused_s=?, backend=?, why_here=?,"
    " last_seq=max(last_seq, ?), room=NULL WHERE pk=? AND version=?"
)
STATE_COLUMNS = {state: "paused_jobs" if state is JobState.PAUSED else state.value for state in JobState}
_COUNTS = ", ".join(STATE_COLUMNS.values())
RUN_COLUMNS = f"pk, id, plan, owner, session_id, dag_id, point_index, point, title, jobs, created_at, started_at, ended_at, {_COUNTS}"
PLAN_COLUMNS = f"pk, body, next_index, paused, stopped, jobs, started_at, ended_at, first_seq, last_seq, {_COUNTS}"
_STATES = tuple(STATE_COLUMNS)


def job_row(job: Job, *, pk: int, first_seq: int, spec: bytes, template: int | None) -> tuple[Any, ...]:
    """The values of INSERT_JOB."""
    named = job.run_id is not None and job.run_pk and job.plan_pk
    return (
        pk, job.id, job.kind, job.owner, job.session_id, None if named else job.run_id,
        None if named and job.point_index is not None else job.sweep_id, job.point_index, job.node_id,
        job.run_pk or None, job.plan_pk or None, spec, job.state.value, job.reason.code.value,
        job.reason.text, job.reason.since, job.version, job.attempt, job.lost, job.fence, job.claimer,
        job.lease_until, " ".join(job.needs), job.needs_left, job.backend, job.queue, job.native_id, job.submission,
        job.index, job.priority, job.position, job.rank, job.not_before, job.created_at, job.observed_at,
        job.idempotency_key, job.parallelism, job.group, key_bytes(job.cache_key), job.started_at, job.ended_at, first_seq,
        first_seq, job.shared, job.paused_s, template, _ROOM if job.plan_pk else None, job.why_here or None,
    )  # fmt: skip


def update_row(new: Job, *, version: int, last_seq: int, old: Job) -> tuple[Any, ...]:
    """The values of UPDATE_JOB. Nobody holds what has ended: who held it is in its events."""
    node = new.spec.node
    own = node is not None and new.cache_key is not None and new.cache_key == node.static_key
    key = cache_name(new.cache_key) if own and new.cache_key is not None else key_bytes(new.cache_key)
    claim: tuple[Any, ...] = (new.claimer, new.lease_until, new.native_id, new.submission, new.index)
    if new.state in TERMINAL:
        claim = (None, 0, new.native_id, None, None)
        key = b"" if own else key
    return (
        new.state.value, new.reason.code.value, new.reason.text, new.reason.since, version, new.attempt, new.lost,
        new.fence, *claim, new.priority,
        new.position, new.not_before, new.observed_at, key, new.started_at, new.ended_at, new.paused_s,
        new.backend, new.why_here or None, last_seq,
        old.pk, old.version,
    )  # fmt: skip


def job_of(r: tuple[Any, ...]) -> Job:
    """A job from a row of SELECT_JOB."""
    spec = spec_of(r[11], r[45])
    return Job(
        pk=r[0], id=r[1], kind=r[2], owner=r[3], session_id=r[4], run_id=r[5], sweep_id=r[6], point_index=r[7],
        node_id=r[8], run_pk=r[9] or 0, plan_pk=r[10] or 0, spec=spec, state=JobState(r[12]),
        reason=Reason(ReasonCode(r[13]), r[14], r[15]), version=r[16], attempt=r[17], lost=r[18], fence=r[19],
        claimer=r[20], lease_until=r[21], needs=tuple(r[22].split()), needs_left=r[23], backend=r[24], queue=r[25],
        native_id=r[26], submission=r[27], index=r[28], priority=r[29], position=r[30], rank=r[31],
        not_before=r[32], created_at=r[33], observed_at=r[34], idempotency_key=r[35], parallelism=r[36],
        group=r[37], cache_key=key_text(r[38], spec), started_at=r[39], ended_at=r[40], last_seq=r[42],
        shared=bool(r[43]), paused_s=r[44], why_here=r[46] or "",
    )  # fmt: skip


def work_of(body: bytes) -> tuple[Any, ...]:
    """What makes two plans the same work."""
    plan = _plan(body)
    return plan.dag_id, plan.params, plan.sweep, plan.total


def counts_of(values: tuple[Any, ...]) -> dict[str, int]:
    """State -> number, zeros left out."""
    return {state.value: n for state, n in zip(_STATES, values, strict=True) if n}


def run_of(r: tuple[Any, ...]) -> Run:
    """A run from a row of RUN_COLUMNS."""
    return Run(
        pk=r[0], id=r[1], owner=r[3], session_id=r[4], dag_id=r[5], point_index=r[6], point=decode_json(r[7]),
        title=r[8], total=r[9], expanded=True, created_at=r[10], started_at=r[11], ended_at=r[12],
        counts=counts_of(r[13:]),
    )  # fmt: skip


def with_plan(run: Run, body: bytes) -> Run:
    """The run with what its row leaves to its plan."""
    plan = _plan(body)
    return msgspec.structs.replace(
        run,
        sweep_id=plan.id if plan.id != run.id else None,
        owner=run.owner or plan.owner,
        session_id=run.session_id or plan.session_id,
        dag_id=run.dag_id or plan.dag_id,
        title=run.title or plan.title,
    )


def plan_of(r: tuple[Any, ...]) -> tuple[Plan, dict[str, int]]:
    """A plan with its kept columns, and its counts, from a row of PLAN_COLUMNS."""
    plan = msgspec.structs.replace(
        _plan(r[1]), next_index=r[2], paused=bool(r[3]), stopped=bool(r[4]), reached=r[4] == 2
    )
    return plan, counts_of(r[10:])


def events_of(row: tuple[Any, ...], *, after: int = 0) -> list[Event]:
    """The events that one row (seq, n, body, subject, run_id, sweep_id) holds, those above `after`."""
    seq, n, body, subject, run_id, sweep_id = row
    first = seq - n + 1
    return [
        Event(kind, subject, at, data, attempt, first + i, run_id, sweep_id)
        for i, (kind, at, attempt, data) in enumerate(_events(body))
        if first + i > after
    ]
