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
