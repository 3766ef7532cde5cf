"""A node type of a module that no distribution brings, as a user may have one."""

import random
from pathlib import Path

from bundle_numbers import scaled
from pydantic import Field

from physlab_mcp.nodes.registry import NodeParams, node_type
from physlab_mcp.schemas.result import NodeResult


class NoiseParams(NodeParams):
    scale: float = Field(default=1.0)
    seed: int = Field(default=0)
    table: str | dict | None = Field(default=None)


@node_type(
    "trial.noise", params=NoiseParams, summary="Seeded noise", outputs={"mean": "of ten draws", "elapsed_s": "a time"},
    random=True,
)  # fmt: skip
def noise(params, io):
    draw = random.Random(params.seed)
    values = [scaled(draw.gauss(0, 1), params.scale) for _ in range(10)]
    if params.scale < 0:
        raise ValueError("a negative scale")
    ref = io.save_bytes("draws.csv", "\n".join(map(repr, values)).encode(), "text/csv")
    seconds = float(len(str(Path.cwd()))) + io.attempt  # unlike from place to place, as times are
    return NodeResult(values={"mean": sum(values) / 10, "elapsed_s": seconds}, artifacts=(ref,), meta={"device": "cpu"})


class GateParams(NodeParams):
    gate: str = Field(default="")
    value: float = Field(default=0.0)


@node_type("trial.gate", params=GateParams, summary="Waits at a pipe while there is one", outputs={"value": "as given"})
def gate(params, io):
    if Path(params.gate).exists():
        Path(params.gate).read_bytes()  # nobody ever writes
    return NodeResult(values={"value": params.value}, meta={"device": "cpu"})
