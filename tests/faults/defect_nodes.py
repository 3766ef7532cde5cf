"""A node type that trips the engine itself: its first FAULT_DEFECTS dispatches raise what nobody there expects."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fault_nodes import Params, begin

from physlab_mcp.nodes.registry import node_type
from physlab_mcp.schemas.result import NodeResult


class Function:
    """Whoever asks for its module too early gets an error; the engine does before it hands a job over."""

    def __call__(self, params: Any, io: Any) -> NodeResult:
        begin(params)
        return NodeResult(values={"value": params.value})

    @property
    def __module__(self) -> str:
        count = Path(os.environ["FAULT_COUNT"])
        raised = count.stat().st_size if count.exists() else 0
        if raised < int(os.environ["FAULT_DEFECTS"]):
            with count.open("a") as file:
                file.write("x")
            raise RuntimeError("a defect")
        return __name__


defect = node_type("fault.defect", params=Params, summary="Trip the engine, then count")(Function())
