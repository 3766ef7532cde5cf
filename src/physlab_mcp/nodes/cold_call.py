"""One node call on a job folder, without an engine that listens: see nodes/worker.py."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physlab_mcp.nodes.worker import Calls

_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)  # Windows would change line ends


def _other_version(wanted: str | None) -> dict[str, Any] | None:
    """A refusal where the call was made by another version than the one that would run it."""
    from physlab_mcp import __version__

    if wanted in (None, __version__):
        return None
    message = (
        f"Here is physlab_mcp {__version__}, and the call was made by {wanted}, so its result could be another one."
    )
    remedy = f"Put physlab-mcp {wanted} into the image or interpreter that runs node calls."
    failure = {"code": "rejected", "message": message, "remedy": remedy, "retryable": False}
    return {"ok": False, "failure": failure}


def run_folder(folder: str | Path, calls: type[Calls]) -> int:
    """Run the node call of one job folder; writes result.json once. Exit status 0 if it succeeded."""
    folder = Path(folder)
    call = json.loads((folder / "spec.json").read_text())
    call["folder"] = str(folder)
    place = folder / "attempts" / str(call["attempt"])
    place.mkdir(parents=True, exist_ok=True)
    events = os.open(place / "events.jsonl", _APPEND, 0o600)
    started = time.time()

    def report(event: dict[str, Any]) -> None:
        os.write(events, json.dumps({"at": time.time(), **event}).encode() + b"\n")

    wrong = _other_version(call.get("physlab"))
    answer = wrong or calls({"blobs": str(place / "artifacts"), **call.get("hello", {})}).run(call, report)
    os.close(events)
    body = {"attempt": call["attempt"], "fence": call["fence"], "started_at": started, "ended_at": time.time()}
    body["outcome"] = "succeeded" if answer["ok"] else "failed"
    if answer["ok"]:
        body["result"] = json.loads(bytes(answer["result"]))
    else:
        body["failure"] = answer["failure"]
    temporary = place / ".result.json"
    with temporary.open("w") as stream:
        json.dump(body, stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(place / "result.json")
    return 0 if answer["ok"] else 1
