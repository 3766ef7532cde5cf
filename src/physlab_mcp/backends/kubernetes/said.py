"""What a job's own files say while it runs: its events, what it prints. Untrusted bytes."""

from __future__ import annotations

from physlab_mcp.backends.command_events import MOST_BYTES, read_line
from physlab_mcp.backends.kubernetes.abroad import Abroad
from physlab_mcp.backends.kubernetes.frames import Frame
from physlab_mcp.backends.kubernetes.roster import Roster

_LINE_BYTES = 1 << 16  # a longer line of events is none


def tell_frame(roster: Roster, one: Abroad, frame: Frame) -> None:
    """Tell what is new in a frame: lines of events, and what is printed where that was asked for."""
    if one.reading is None:
        return
    ears = one.reading.ears
    if frame.kind == "ev":
        *lines, ears.rest = (ears.rest + frame.data).split(b"\n")
        ears.rest = ears.rest[-_LINE_BYTES:]
        for line in lines:
            ears.line += 1
            event = read_line(line)
            if event is not None and ears.line > one.told:
                roster.tell(one.job, "event", data={**event, "line": ears.line})
    elif frame.kind == "out" and one.job.spec.stream_logs:
        text = ears.decoder.decode(frame.data)
        if frame.at + len(frame.data) <= one.quiet:
            return
        for at in range(0, len(text), MOST_BYTES):
            piece = text[at : at + MOST_BYTES]
            roster.tell(one.job, "event", data={"kind": "log", "stream": "stdout", "text": piece})
