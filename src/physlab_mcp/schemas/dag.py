"""The validated, immutable graph of nodes. The strict input model is DagSpec; Dag is the canonical form."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from physlab_mcp.schemas.job import AUTO, HERE, backend_name


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class VisualOutputs(_Model):
    """Which visual outputs a node makes."""

    static: bool = Field(default=True, description="PNG and SVG")
    series: bool = Field(default=False, description="data as CSV")
    animation: bool = Field(default=False, description="film, where there is one")


class PublishedOpen:
    """Marks an object whose shape stands elsewhere in the published schemas: here it is open, and checked all the same."""


class ResourceSpec(_Model):
    """What a node needs to run."""

    cpu: float = Field(default=1, gt=0, le=1024, description="cores")
    memory: str | None = Field(default=None, description='hard limit, such as "4Gi"')
    gpu: int = Field(default=0, ge=0, le=64)
    nodes: int = Field(default=1, ge=1, le=10_000)
    time_limit: str | None = Field(default=None, description='such as "1:00:00"')
    require: bool = Field(default=True, description="false: go without")


class NodeSpec(_Model):
    """One node as the caller writes it."""

    id: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$")
    tool: str = Field(min_length=1, max_length=100)
    method: str | None = Field(default=None, max_length=100)
    params: dict[str, Any] = Field(default_factory=dict)
    dependencies: list[str] = Field(default_factory=list)
    visual_outputs: VisualOutputs | None = None
    resources: Annotated[ResourceSpec | None, PublishedOpen()] = Field(
        default=None, description="cpu, memory, gpu, nodes, time_limit, require"
    )
    device: str = "auto"
    require_device: bool = False
    backend: Annotated[str | None, AfterValidator(backend_name)] = None
    retries: int = Field(default=0, ge=0, le=100)
    timeout_sec: float | None = Field(default=None, gt=0)


class EdgeSpec(_Model):
    """An edge; with `data_key` a whole named output is handed over under that name."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    from_: str = Field(alias="from")
    to: str
    data_key: str | None = None


class Metadata(_Model):
    """What a reader of the report wants to know."""

    title: str = "Untitled experiment"
    description: str = ""
    author: str = ""
    version: str = "1"


class DagSpec(_Model):
    """An experiment as the caller writes it."""

    nodes: list[NodeSpec] = Field(min_length=1, max_length=100_000)
    edges: list[EdgeSpec] = Field(default_factory=list)
    metadata: Metadata = Field(default_factory=Metadata)


class Node(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node in canonical form: defaults filled in, inputs resolved to node ids, ranks known."""

    id: str
    type: str
    params: dict[str, Any]
    needs: tuple[str, ...] = ()
    rank: float = 1.0
    device: str = "cpu"
    wanted_device: str = ""  # what was asked for, where it is not the device
    require_device: bool = False
    backend: str = "auto"  # chosen by the engine, job by job
    resources: dict[str, Any] = {}
    retries: int = 0
    timeout_s: float | None = None
    pure: bool = True
    command: tuple[str, ...] | None = None  # set for nodes of type "command"
    command_spec: dict[str, Any] = {}


class Dag(msgspec.Struct, frozen=True, omit_defaults=True):
    """A validated graph in topological order. Equal content has equal `id` (dag-<hex of the canonical JSON>)."""

    id: str
    nodes: tuple[Node, ...]
    metadata: dict[str, str] = {}
    spec: dict[str, Any] = {}  # the canonical spec the caller can send again


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One defect found by validation."""

    code: str
    message: str
    remedy: str
    node: str | None = None
    field: str | None = None
    severity: str = "error"  # error | warning


def nodes_here(dag: Dag, *, alone: bool) -> list[Node]:
    """The nodes that can run on this machine only; `alone`: there is no other place."""
    return [node for node in dag.nodes if node.backend == HERE or (alone and node.backend == AUTO)]
