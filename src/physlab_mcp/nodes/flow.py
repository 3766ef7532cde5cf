"""Nodes that move values and compute nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from physlab_mcp.nodes.registry import NodeParams, node_type
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO


class PassthroughParams(NodeParams):
    """What to hand on."""

    value: Any = Field(default=None, description="any JSON value")


@node_type(
    "flow.passthrough",
    params=PassthroughParams,
    summary="Hand a value on unchanged",
    outputs={"value": "the value that came in"},
    dtype="json",
    example={"value": 1.5},
)
def passthrough(params: PassthroughParams, io: NodeIO) -> NodeResult:
    """Answer with `value` as it is."""
    return NodeResult(values={"value": params.value}, meta={"device": io.device})
