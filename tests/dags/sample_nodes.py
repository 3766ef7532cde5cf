"""Small node types of the tests' own."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from physlab_mcp.nodes.command import run_command
from physlab_mcp.nodes.registry import NodeParams, NodeType, Registry, VisualParams, node_type
from physlab_mcp.schemas.result import NodeResult


class SourceParams(NodeParams):
    n: int = Field(default=2, ge=1, le=100, description="how many")
    x: float = Field(default=1.0, description="where")
    label: str = "a"

    @field_validator("n")
    @classmethod
    def _even(cls, n: int) -> int:
        if n % 2:
            raise ValueError("n must be even")
        return n


@node_type(
    "toy.source",
    params=SourceParams,
    summary="makes numbers",
    outputs={"energy_eV": "an energy", "table": "an object"},
    arrays={"psi": "a wave"},
    example={"n": 4},
)
def source(params: SourceParams, _io: Any) -> NodeResult:
    return NodeResult(values={"energy_eV": params.x * params.n})


class CurveParams(NodeParams):
    y: list[float]
    name: str = ""


class DrawParams(VisualParams):
    energy_eV: float = Field(gt=0, description="an energy in eV")
    curves: list[CurveParams] = Field(default_factory=list[CurveParams])
    psi: Any = None


@node_type(
    "toy.draw", params=DrawParams, summary="draws", outputs={"area": "an area"}, devices=("cpu", "cuda"),
    packages=("numpy",), has_animation=True,
)  # fmt: skip
def draw(_params: DrawParams, _io: Any) -> NodeResult:
    return NodeResult()


class WalkParams(NodeParams):
    steps: int = 10
    seed: int | None = None


@node_type("toy.walk", params=WalkParams, summary="walks at random", random=True, outputs={"end": "where"})
def walk(_params: WalkParams, _io: Any) -> NodeResult:
    return NodeResult()


class AnyParams(NodeParams):
    value: Any = None


@node_type("toy.open", params=AnyParams, summary="declares nothing", aliases=("toy.free",))
def anything(_params: AnyParams, _io: Any) -> NodeResult:
    return NodeResult()


@node_type("toy.gpu", params=AnyParams, summary="needs a GPU", devices=("cuda",))
def gpu_only(_params: AnyParams, _io: Any) -> NodeResult:
    return NodeResult()


@node_type("toy.impure", params=AnyParams, summary="changes the world", pure=False)
def impure(_params: AnyParams, _io: Any) -> NodeResult:
    return NodeResult()


def registry() -> Registry:
    """The node types of this module and `command`."""
    functions = (source, draw, walk, anything, gpu_only, impure, run_command)
    types: list[NodeType] = [function.__physlab_node_type__ for function in functions]  # type: ignore[attr-defined]
    return Registry({one.name: one for one in types})
