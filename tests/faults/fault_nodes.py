"""Node types for fault tests: they count that they ran, wait for a gate, die, fail, or store an artifact.

`place` is a folder: every run appends one byte to `<place>/<tag>`; a node with `gate` goes on once that file exists.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from physlab_mcp.nodes.registry import NodeParams, node_type
from physlab_mcp.schemas.result import NodeResult

_DEADLINE_S = 120.0


class Params(NodeParams):
    place: str
    tag: str
    gate: str | None = None
    value: float = 1.0
    terms: tuple[float, ...] = ()
    gate_again: str | None = None  # what the second run waits for
    fail_first: int = 0
    spin: bool = False
    work_s: float = 0.0


def begin(params: Params) -> int:
    """Count this run; how many there have been."""
    counter = Path(params.place) / params.tag
    fd = os.open(counter, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(fd, b"x")
        return os.fstat(fd).st_size
    finally:
        os.close(fd)


def wait_for(params: Params, runs: int = 1) -> None:
    gate = params.gate_again if runs > 1 and params.gate_again else params.gate
    end = time.monotonic() + _DEADLINE_S
    time.sleep(params.work_s)
    while gate is not None and not Path(gate).exists():
        if time.monotonic() > end:
            raise TimeoutError(gate)
        if not params.spin:
            time.sleep(0.005)


@node_type("fault.count", params=Params, summary="Count, wait, add", version=1)
def count(params: Params, io):
    runs = begin(params)
    wait_for(params, runs)
    if runs <= params.fail_first:
        raise RuntimeError(f"run {runs} was told to fail")
    return NodeResult(values={"value": params.value + sum(params.terms), "pid": os.getpid()})


@node_type("fault.die", params=Params, summary="Kill the worker that runs it", version=1)
def die(params: Params, io):
    begin(params)
    os.kill(os.getpid(), signal.SIGKILL)


@node_type("fault.artifact", params=Params, summary="Store bytes", version=1)
def artifact(params: Params, io):
    begin(params)
    ref = io.save_bytes("data.bin", (params.tag * 1000).encode(), "application/octet-stream")
    return NodeResult(artifacts=(ref,))


@node_type("fault.nan", params=Params, summary="Report a metric that is not a number", version=1)
def nan(params: Params, io):
    begin(params)
    io.metric("loss", float("nan"))
    io.progress(0.5)
    return NodeResult(values={"value": 1.0})


@node_type("fault.fork", params=Params, summary="Leave a forked child behind", version=1)
def fork(params: Params, io):
    runs = begin(params)
    if runs == 1:
        child = os.fork()
        if child == 0:
            time.sleep(_DEADLINE_S)
            os._exit(0)
        note = Path(params.place) / f"{params.tag}.child"
        note.with_suffix(".new").write_text(str(child))
        note.with_suffix(".new").rename(note)
    wait_for(params)
    return NodeResult(values={"value": 1.0})
