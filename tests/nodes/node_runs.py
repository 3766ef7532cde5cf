"""Run one node by hand over a folder of blobs."""

from __future__ import annotations

import json
from typing import Any

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.nodes.io import NodeIO
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.result import NodeResult


class Bench:
    """A blob folder and the registry; `run` validates params as a worker does."""

    def __init__(self, root: Any) -> None:
        self.blobs = Blobs(root)
        self.registry = Registry.load()
        self.events: list[dict[str, Any]] = []

    def run(self, node: str, /, **params: Any) -> NodeResult:
        """Call the node type `node`."""
        one = self.registry.get(node)
        io = NodeIO(job_id="job-test", blobs=self.blobs, report=self.events.append)
        return one.function(one.params.model_validate(params), io)

    def array(self, result: NodeResult, name: str) -> Any:
        """A stored array of a result."""
        return NodeIO(job_id="job-test", blobs=self.blobs).load_array(self.link(result, name))

    @staticmethod
    def link(result: NodeResult, name: str) -> dict[str, Any]:
        """A stored array as a parameter of the next node."""
        return {"$artifact": {"sha256": result.arrays[name].sha256}}

    def check_declared(self, node: str, result: NodeResult) -> None:
        """The result holds what the node type declares, and nothing else."""
        one = self.registry.get(node)
        assert set(result.values) == set(one.outputs)
        assert json.loads(json.dumps(result.values, allow_nan=False)) == result.values
        assert set(result.arrays) == set(one.arrays)
        assert all(self.blobs.intact(ref.sha256) for ref in result.all_artifacts())
