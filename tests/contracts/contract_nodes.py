"""A node type that runs until it is let go on, for places that can run node types of the tests."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from physlab_mcp.nodes.registry import NodeParams, node_type
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO


class GatedParams(NodeParams):
    """What to wait for, and what to tell."""

    trace: str = Field(description="a file to which a line is added at the start")
    gate: str = Field(description="a file; the node ends once it is there")
    word: str = Field(description="stands in the environment of the process that it starts")
    steps: int = Field(default=0, description="so many tenths of progress are told at the start")


@node_type(
    "contract.gated", params=GatedParams, summary="Wait for a file", outputs={"attempt": "which one this was"},
    dtype="json", example={"trace": "/tmp/t", "gate": "/tmp/g", "word": "w"},
)  # fmt: skip
def gated(params: GatedParams, io: NodeIO) -> NodeResult:
    """Start a process of its own and wait with it."""
    with subprocess.Popen(["sleep", "300"], env={**os.environ, "CONTRACT_WORD": params.word}) as child:
        with Path(params.trace).open("a") as trace:
            trace.write(f"{io.attempt} {os.getpid()} {child.pid}\n")
        for step in range(params.steps):
            io.progress((step + 1) / 10)
        while not Path(params.gate).exists():
            time.sleep(0.01)
        child.kill()
    io.progress(1.0)
    kept = io.save_bytes("attempt.txt", f"attempt {io.attempt}\n".encode(), "text/plain")
    return NodeResult(values={"attempt": io.attempt}, artifacts=(kept,), meta={"device": io.device})
