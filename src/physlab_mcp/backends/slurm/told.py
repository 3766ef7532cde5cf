"""What a job's own files say while it runs: its start, its events, what it prints. Untrusted bytes."""

from __future__ import annotations

import json
from typing import Any

from physlab_mcp.backends.command_events import MOST_BYTES, read_line
from physlab_mcp.backends.slurm.abroad import Abroad
from physlab_mcp.backends.slurm.roster import Roster

EVENT_BYTES = 1 << 16
LOG_BYTES = 16 * MOST_BYTES
RESULT_BYTES = 1 << 23


def body_of(data: bytes | None) -> dict[str, Any] | None:
    """A JSON object; None for anything else."""
    try:
        body = json.loads(data) if data else None
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def result_of(one: Abroad, data: bytes | None) -> dict[str, Any] | None:
    """The runner's result, if it is of this dispatch."""
    body = body_of(data)
    return body if body is not None and body.get("fence") == one.job.fence and "outcome" in body else None


def pieces(one: Abroad) -> list[tuple[str, int, int]]:
    """What is read of a job at one look; the result first, so that events which are read after it are all there."""
    wanted = [
        (f"{one.attempt}/result.json", 0, RESULT_BYTES),
        (f"{one.attempt}/runner.json", 0, 4096),
        (f"{one.call}/events.jsonl", one.offset, EVENT_BYTES),
    ]
    if one.job.spec.stream_logs:
        wanted.append((f"{one.call}/stdout.log", one.log_offset, LOG_BYTES))
    return wanted


def tell_start(roster: Roster, one: Abroad, data: bytes | None) -> None:
    """From runner.json: whether the command runs, and since when; what an earlier life left there says nothing."""
    body = body_of(data)
    if body is None or not body.get("child_pid") or not isinstance(body.get("started"), int | float):
        return
    if not one.again or body["started"] > one.begins:
        roster.tell_started(one, float(body["started"]))


def tell_events(roster: Roster, one: Abroad, data: bytes | None) -> bool:
    """Tell whole new lines of its event file; whether there may be more."""
    whole = (data or b"")[: (data or b"").rfind(b"\n") + 1]
    full = len(data or b"") == EVENT_BYTES
    if not whole:
        one.offset += EVENT_BYTES if full else 0  # a line beyond all measure is passed over
        return full
    one.offset += len(whole)
    for line in whole.splitlines():
        one.line += 1
        event = read_line(line)
        if event is not None and one.line > one.told:
            roster.tell(one.job, "event", data={**event, "line": one.line})
    return full


def tell_printed(roster: Roster, one: Abroad, data: bytes | None, *, last: bool) -> bool:
    """Tell what it printed as log events; whether there may be more."""
    data = data or b""
    text = one.decoder.decode(data, final=last and len(data) < LOG_BYTES)
    one.log_offset += len(data)
    if not one.quiet:
        for at in range(0, len(text), MOST_BYTES):
            piece = text[at : at + MOST_BYTES]
            roster.tell(one.job, "event", data={"kind": "log", "stream": "stdout", "text": piece})
    more = len(data) == LOG_BYTES
    one.quiet = one.quiet and more
    return more
