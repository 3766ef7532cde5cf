"""One pure function per thing that can happen to a job: (job, what was seen) -> change. No I/O."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from physlab_mcp.backends.base import Observation
from physlab_mcp.engine.offload import anew
from physlab_mcp.engine.retry import (
    Rules,
    back_off_s,
    may_go_elsewhere,
    may_repeat_failed,
    may_repeat_full,
    may_repeat_lost,
)
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.job import Job, Reason
from physlab_mcp.schemas.job_state import JobState, ReasonCode
from physlab_mcp.schemas.result import Failure, NodeResult
from physlab_mcp.stores.base import Change

_S = JobState
_WAITING = frozenset({_S.SUBMITTING, _S.QUEUED})
_CODES = frozenset(ReasonCode)
_artifacts = msgspec.json.Decoder(NodeResult).decode


class Draft:
    """A job on its way through one turn: the path so far and the events beside it."""

    def __init__(self, job: Job) -> None:
        self.old = job
        self.job = job
        self.path: list[JobState] = []
        self.events: list[Event] = []
        self.body: bytes | None = None
        self.cache_key: str | None = None

    def to(self, state: JobState, **fields: object) -> None:
        """Append one state to the path."""
        self.path.append(state)
        self.job = msgspec.structs.replace(self.job, state=state, **fields)

    def note(self, kind: str, at: float, data: Mapping[str, Any]) -> None:
        """Append one event."""
        self.events.append(Event(kind, self.job.id, at, dict(data), self.job.attempt))

    def change(self) -> Change | None:
        """The change, or None where nothing happened."""
        if not self.path and not self.events and self.job is self.old:
            return None
        return Change(
            old=self.old,
            new=self.job,
            path=tuple(self.path),
            events=tuple(self.events),
            body=self.body,
            cache_key=self.cache_key,
        )


def stored(change: Change) -> Job:
    """The job as it stands in the store once the change is written."""
    return msgspec.structs.replace(change.new, version=change.old.version + max(1, len(change.path)))


def observe(draft: Draft, seen: Observation, *, now: float, rules: Rules) -> None:
    """Carry one observation of the draft's present dispatch into it."""
    if _S.PENDING in draft.path:
        return  # this dispatch is over; what comes later in the same turn was said before its end
    if seen.kind == "event":
        kind = seen.data.get("kind", "log")
        draft.note(kind, seen.at, {k: v for k, v in seen.data.items() if k != "kind"})
    elif seen.kind == "placed":
        draft.job = msgspec.structs.replace(draft.job, native_id=seen.data["native_id"])
    elif seen.kind == "started":
        _started(draft, seen, now)
    elif seen.kind == "done":
        _done(draft, seen, now, rules)
    elif seen.kind == "lost":
        _lost(draft, seen.data.get("status"), now, rules, seen.data.get("usage") or {})
    elif seen.kind == "dropped":
        _dropped(draft, now, rules)
    elif seen.kind in _OTHERS:
        _OTHERS[seen.kind](draft, seen, now)


def _done(draft: Draft, seen: Observation, now: float, rules: Rules) -> None:
    job = draft.job
    if job.state is _S.PAUSED and job.started_at:
        draft.job = msgspec.structs.replace(job, paused_s=_paused_s(job, seen.at or now))
    if seen.failure is not None and not seen.started_at and may_go_elsewhere(job, seen.failure, rules):
        said = {"code": seen.failure.code, "message": seen.failure.message}
        draft.note("log", now, {**said, "text": f"{job.backend} did not begin it; a place is chosen anew"})
        draft.job = msgspec.structs.replace(job, lost=job.lost + 1)
        _again(draft, now, 0.0, seen.failure.message[:200], rules)
        return
    if job.state in _WAITING or (job.state is _S.PAUSED and seen.started_at):
        _started(draft, seen, now)
    if seen.failure is not None:
        _failed(draft, seen.failure, now, rules)
    else:
        _succeeded(draft, seen.result or b"{}", now)


def _dropped(draft: Draft, now: float, rules: Rules) -> None:
    before = draft.job
    again = Reason(ReasonCode.SLOT, "", now)
    place = anew(before, elsewhere=rules.elsewhere, failed=False)
    draft.to(_S.PENDING, reason=again, claimer=None, lease_until=0.0, native_id=None, **place)
    _stay_paused(draft, before, now)


def _cancelled(draft: Draft, seen: Observation, now: float) -> None:
    if seen.data.get("usage"):
        draft.note("usage", now, seen.data["usage"])
    draft.to(_S.CANCELLED, reason=Reason(ReasonCode.REQUESTED, "", now), ended_at=now)


def _paused(draft: Draft, seen: Observation, now: float) -> None:
    if draft.job.state in (_S.RUNNING, _S.QUEUED, _S.SUBMITTING):
        if draft.job.state is _S.SUBMITTING:
            draft.to(_S.QUEUED)
        draft.to(_S.PAUSED, reason=Reason(ReasonCode.REQUESTED, "frozen", seen.at or now))


def _resumed(draft: Draft, seen: Observation, now: float) -> None:
    job = draft.job
    if job.state is _S.PAUSED:
        draft.to(_S.RUNNING if job.started_at else _S.QUEUED, reason=Reason(), paused_s=_paused_s(job, seen.at or now))


def _queued(draft: Draft, seen: Observation, now: float) -> None:
    """It waits at its place, and why; what ran there was put back into the queue, and what is paused stays so."""
    job = draft.job
    said = str(seen.data.get("text", ""))[:500]
    code = seen.data.get("code")
    reason = Reason(ReasonCode(code) if code in _CODES else ReasonCode.SLOT, said, seen.at or now)
    if job.state in (_S.SUBMITTING, _S.RUNNING):
        if job.state is _S.RUNNING:
            draft.note("log", seen.at or now, {"text": said or "it was put back into the queue of its place"})
        draft.to(_S.QUEUED, reason=reason, started_at=0.0, paused_s=0.0, observed_at=now)
    elif job.state is _S.QUEUED and (job.reason.code, job.reason.text) != (reason.code, reason.text):
        draft.job = msgspec.structs.replace(job, reason=reason, observed_at=now)


def _unreachable(draft: Draft, seen: Observation, now: float) -> None:
    """The state stays; since when nothing is known of it is told. Of what is paused nothing is awaited."""
    if draft.job.reason.code is not ReasonCode.BACKEND_UNREACHABLE and draft.job.state is not _S.PAUSED:
        since = seen.at or now
        reason = Reason(ReasonCode.BACKEND_UNREACHABLE, str(seen.data.get("text", ""))[:500], since)
        draft.job = msgspec.structs.replace(draft.job, reason=reason, observed_at=since)
        draft.note("log", since, {"text": f"out of sight: {reason.text}", "code": reason.code.value})


def _reachable(draft: Draft, seen: Observation, now: float) -> None:
    del seen
    job = draft.job
    if job.reason.code is ReasonCode.BACKEND_UNREACHABLE:
        draft.job = msgspec.structs.replace(job, reason=Reason(), observed_at=now)
        draft.note("log", now, {"text": "in sight again"})


_OTHERS: Mapping[str, Callable[[Draft, Observation, float], None]] = {
    "cancelled": _cancelled,
    "paused": _paused,
    "resumed": _resumed,
    "queued": _queued,
    "unreachable": _unreachable,
    "reachable": _reachable,
}


def _paused_s(job: Job, at: float) -> float:
    """For how long it was paused since it started, if what paused it ends now."""
    if not job.started_at or not job.reason.since:
        return job.paused_s
    return job.paused_s + max(0.0, at - max(job.reason.since, job.started_at))


def _stay_paused(draft: Draft, before: Job, now: float) -> None:
    """What was paused when its place vanished starts again only when it is resumed."""
    if before.state is _S.PAUSED:
        draft.to(_S.PAUSED, reason=Reason(ReasonCode.REQUESTED, "", now))


def _started(draft: Draft, seen: Observation, now: float) -> None:
    if draft.job.state in _WAITING or draft.job.state is _S.PAUSED:
        draft.to(_S.RUNNING, reason=Reason(), started_at=seen.started_at or now, observed_at=now)


def _succeeded(draft: Draft, result: bytes, now: float) -> None:
    job = draft.job
    if b'"sha256"' in result:  # artifacts are rare in small results; decoding every one would cost
        for ref in _artifacts(result).all_artifacts():
            data = {"name": ref.name, "sha256": ref.sha256, "media_type": ref.media_type, "size": ref.size}
            draft.note("artifact", now, data)
    if job.paused_s:
        result = _without_pauses(result, job.paused_s, now - job.started_at)
    draft.note("result", now, {"bytes": len(result)})
    if job.state is not _S.COLLECTING:
        draft.to(_S.COLLECTING)
    draft.to(_S.SUCCEEDED, reason=Reason(), ended_at=now, observed_at=now)
    draft.body = result
    draft.cache_key = job.cache_key if _on_its_device(job, result) else None


def _without_pauses(body: bytes, paused_s: float, since_start_s: float) -> bytes:
    """A result whose `duration_ms` is running time: the worker's clock went on while it was frozen."""
    result = _artifacts(body)
    meta = {**result.meta, "paused_s": round(paused_s, 3)}
    if "duration_ms" in meta:
        meta["duration_ms"] = round(min(meta["duration_ms"], max(0.0, since_start_s - paused_s) * 1e3), 3)
    return msgspec.json.encode(msgspec.structs.replace(result, meta=meta))


def _on_its_device(job: Job, result: bytes) -> bool:
    """Whether the device that the cache key names computed it, and not the CPU in its stead."""
    call = job.spec.node
    return call is None or call.device == "cpu" or _artifacts(result).meta.get("device", call.device) == call.device


def _failed(draft: Draft, failure: Failure, now: float, rules: Rules) -> None:
    job = draft.job
    data = {"code": failure.code, "message": failure.message}
    full = failure.code == "disk_full" and may_repeat_full(job)
    if full or (failure.retryable and may_repeat_failed(job)):
        wait = back_off_s(job, rules)
        draft.note("log", now, {**data, "text": f"attempt {job.attempt} failed; the next starts in {wait:.1f} s"})
        _again(draft, now, wait, failure.message[:200])  # at its place, which is not to blame
        return
    draft.note("result", now, data)
    code = ReasonCode.TIMEOUT if failure.code == "timeout" else ReasonCode.ERROR
    if failure.code == "rejected":
        code = ReasonCode.REJECTED
    draft.to(_S.FAILED, reason=Reason(code, failure.message[:500], now), ended_at=now, observed_at=now)
    draft.body = msgspec.json.encode(failure)


def _lost(draft: Draft, status: int | None, now: float, rules: Rules, usage: dict[str, Any]) -> None:
    """`status`: with what its worker ended, negative for a signal; None where nobody knows."""
    job = draft.job
    how = _how_it_ended(status)
    if may_repeat_lost(job, rules):
        draft.job = msgspec.structs.replace(job, lost=job.lost + 1)
        draft.note("log", now, {"text": f"{how}; it runs again"})
        _again(draft, now, 0.0 if job.lost == 0 else back_off_s(job, rules), how, rules)
        _stay_paused(draft, job, now)
        return
    call = job.spec.node
    name = str(call.params.get("name") or call.type) if call is not None else job.spec.title or "The command"
    ran = "once" if job.attempt == 1 else f"{job.attempt} times"
    if job.spec.pure or job.spec.idempotent:
        why = f"limits.lost_retries allows {rules.lost_retries} repetitions"
        remedy = "Look at its log for what it had done. A crash in the code itself, or too little memory, comes again."
    else:
        why = "it may not be repeated unasked"
        remedy = "Declare it idempotent or give it retries, then submit it again; look at its log for what it had done."
    failure = Failure(
        code="lost",
        message=f"{name}: {how}. It ran {ran}, and {why}.",
        remedy=remedy,
        exit_code=status if status is not None and status >= 0 else None,
        signal=-status if status is not None and status < 0 else None,
        meta=usage,
    )
    draft.note("result", now, {"code": failure.code, "message": failure.message})
    reason = Reason(ReasonCode.LOST, failure.message, now)
    draft.to(_S.FAILED, reason=reason, ended_at=now)
    draft.body = msgspec.json.encode(failure)


def _how_it_ended(status: int | None) -> str:
    if status is None:
        return "its worker vanished"
    if status >= 0:
        return f"its worker ended with exit code {status}"
    named = signal.strsignal(-status) if -status in set(signal.Signals) else None
    return f"its worker was ended by signal {-status}" + (f", {named.lower()}" if named else "")


def _again(draft: Draft, now: float, wait_s: float, text: str, rules: Rules | None = None) -> None:
    """pending(retry): a new attempt, at another place if the engine chose that one and it failed the job."""
    reason = Reason(ReasonCode.BACK_OFF, text, now) if wait_s else Reason(ReasonCode.SLOT, text, now)
    draft.to(
        _S.PENDING,
        attempt=draft.job.attempt + 1,
        not_before=now + wait_s if wait_s else 0.0,
        reason=reason,
        claimer=None,
        lease_until=0.0,
        native_id=None,
        cache_key=None,
        started_at=0.0,
        paused_s=0.0,
        **({} if rules is None else anew(draft.job, elsewhere=rules.elsewhere)),
    )


def dispatched(
    job: Job,
    *,
    claimer: str,
    lease_until: float,
    native_id: str,
    submission: str,
    index: int,
    key: str | None,
    now: float,
) -> Change:
    """pending -> submitting -> queued: the intent, written before the backend is called."""
    new = msgspec.structs.replace(
        job,
        state=_S.QUEUED,
        reason=Reason(),
        fence=job.fence + 1,
        claimer=claimer,
        lease_until=lease_until,
        native_id=native_id,
        submission=submission,
        index=index,
        cache_key=key,
        observed_at=now,
    )
    return Change(old=job, new=new, path=(_S.SUBMITTING, _S.QUEUED))


def served_from_cache(job: Job, *, body: bytes, source: str, at: float, key: str, now: float) -> Change:
    """pending -> succeeded with another job's result; the hit says from which job and when."""
    result = _artifacts(body)
    meta = {**result.meta, "cached": {"job": result.meta.get("cached", {}).get("job", source), "at": at}}
    new = msgspec.structs.replace(
        job, state=_S.SUCCEEDED, reason=Reason(ReasonCode.CACHED, f"from {source}", now), cache_key=key, ended_at=now
    )
    event = Event("result", job.id, now, {"cached": source, "at": at}, job.attempt)
    encoded = msgspec.json.encode(msgspec.structs.replace(result, meta=meta))
    return Change(old=job, new=new, path=(_S.SUCCEEDED,), events=(event,), body=encoded)


def refused(job: Job, failure: Failure, now: float) -> Change:
    """pending -> failed without having run."""
    event = Event("result", job.id, now, {"code": failure.code, "message": failure.message}, job.attempt)
    new = msgspec.structs.replace(
        job, state=_S.FAILED, reason=Reason(ReasonCode.REJECTED, failure.message[:500], now), ended_at=now
    )
    return Change(old=job, new=new, path=(_S.FAILED,), events=(event,), body=msgspec.json.encode(failure))


class Stale(Draft):
    """A place for results of older dispatches."""

    def __init__(self) -> None:
        self.events: list[Event] = []


def stale_event(seen: Observation, now: float) -> Event:
    """What came from an older dispatch, kept with its result."""
    data: dict[str, Any] = {"fence": seen.fence, "text": "a result of an older dispatch was refused"}
    if seen.result is not None:
        data["result"] = msgspec.json.decode(seen.result)
    return Event("stale", seen.job_id, now, data)
