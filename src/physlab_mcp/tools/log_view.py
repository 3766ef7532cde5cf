"""A piece of a log: whole in the object, its last lines in a concise text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from physlab_mcp.schemas.replies import LogsReply
from physlab_mcp.tools import render
from physlab_mcp.tools.reply import Bench, Caller, Link, Reply
from physlab_mcp.tools.views import size

if TYPE_CHECKING:
    from physlab_mcp.schemas.calls_collaboration import JobLogs
    from physlab_mcp.schemas.status import Chunk

_PIECE = {"concise": 4800, "detailed": 28_000}  # characters of a piece as it is sent: it stands in the object, and
_LINES = 20  # these last lines of it in a concise text,
_TEXT = 2000  # with at most so many characters
_LINE = 400  # bytes of a line, as far as one can tell: the engine counts a tail in bytes, a reader in lines
_LEAST = 200


async def show_log(call: JobLogs, caller: Caller, bench: Bench) -> Reply:
    """The reply of the method `job_logs`."""
    chunk, short = await _piece(call, caller, bench)
    following: dict[str, Any] | None = None
    if not chunk.eof:
        following = {"method": "job_logs", "job_id": call.job_id, "offset": chunk.next_offset}
        following |= {"stream": call.stream} if call.stream != "stdout" else {}
        following |= {"response_format": "detailed"} if call.response_format == "detailed" else {}
    body = LogsReply(
        job_id=call.job_id,
        stream=call.stream,
        text=chunk.text,
        next_offset=chunk.next_offset,
        eof=chunk.eof,
        next=following,
        truncated=["text (the first of the lines asked for)"] if short else None,
    ).wire()
    shown = chunk.text if call.response_format == "detailed" else _last_lines(chunk.text)
    lines = [_head(call, chunk, shown), shown.rstrip("\n"), render.next_line(following)]
    return Reply(body, render.text_of(lines, call.response_format), (log_link(call.job_id),), handle=call.job_id)


def log_link(job_id: str) -> Link:
    """The resource with the newest part of both streams."""
    return Link(f"physlab://jobs/{job_id}/log", f"log of {job_id}", "text/plain")


async def _piece(call: JobLogs, caller: Caller, bench: Bench) -> tuple[Chunk, bool]:
    """As much as the reply has room for, and whether lines that were asked for are missing from it."""
    whole = most = _PIECE[call.response_format]
    while True:
        tail = min(most, call.tail * _LINE) if call.tail is not None else None
        chunk = await bench.engine.logs(
            call.job_id,
            owner=caller.principal,
            stream=call.stream,
            offset=call.offset,
            limit=most if tail is None else tail + 1,  # one more, so that the end of the log is seen as such
            tail=tail,
        )
        text = chunk.text
        if call.tail is not None:
            text = "".join(text.splitlines(keepends=True)[-call.tail :])
        if size(text) <= whole or most <= _LEAST:
            break
        most = most * 2 // 3  # much of it is escaped
    missing = tail is not None and len(chunk.text.encode()) >= tail and len(text.splitlines()) < (call.tail or 0)
    return msgspec.structs.replace(chunk, text=text), missing


def _last_lines(text: str) -> str:
    kept: list[str] = []
    left = _TEXT
    for line in reversed(text.splitlines(keepends=True)[-_LINES:]):
        left -= len(line)
        if left < 0:
            break
        kept.append(line)
    return "".join(reversed(kept)) or text[-_TEXT:]


def _head(call: JobLogs, chunk: Chunk, shown: str) -> str:
    """What it is a piece of, and how much of the piece stands in the text."""
    ends = ", its end" if chunk.eof else ""
    if not chunk.text:
        return (
            f"{call.stream} of {call.job_id} has nothing{'' if chunk.eof else ' yet'} after byte {chunk.next_offset}."
        )
    start = "" if call.tail is not None else f"from byte {call.offset} "
    head = f"{call.stream} of {call.job_id}, {start}to byte {chunk.next_offset}{ends}"
    if len(shown) < len(chunk.text):
        count, whole = len(shown.splitlines()), len(chunk.text.splitlines())
        what = f"the last {count} of its {whole} lines" if count < whole else f"its last {len(shown)} characters"
        head += f"; {what} (structuredContent.text has all, so has this text with response_format detailed)"
    return f"{head}:"
