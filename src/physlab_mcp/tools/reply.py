"""What goes in and out of a method: the caller, the bench of collaborators, and the reply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physlab_mcp.artifacts.blobs import Blobs
    from physlab_mcp.dags.validate import Limits
    from physlab_mcp.engine.engine import Engine
    from physlab_mcp.errors import PhyslabError
    from physlab_mcp.nodes.registry import Registry
    from physlab_mcp.words import NeedsSpec, Planned

# (progress, total, message): told while a call waits.
Notify = Callable[[float, float | None, str], Awaitable[None]]


@dataclass(frozen=True)
class Caller:
    """Who asks, in which session, and how to tell them of progress while they wait."""

    principal: str = "local"
    session_id: str | None = None
    notify: Notify | None = None


class Bench:
    """What every method works with."""

    def __init__(
        self,
        *,
        engine: Engine,
        registry: Registry | Callable[[], Registry],
        blobs: Blobs,
        roots: list[Path],
        policies: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        planner: Callable[..., Planned | NeedsSpec] | None = None,
    ) -> None:
        self.engine = engine
        self._registry = registry
        self.blobs = blobs
        self.roots = roots
        self.policies = policies or {"local": "allow"}  # by backend, allow | approve | deny: commands from agents
        self.limits = limits
        self.planner = planner  # a model that plans from words where the grammar cannot: (text, registry, limits=)

    @property
    def registry(self) -> Registry:
        """The node types, loaded at first use."""
        if callable(self._registry):
            self._registry = self._registry()
        return self._registry


@dataclass(frozen=True)
class Link:
    """A file the reply points at."""

    uri: str
    name: str
    media_type: str
    size: int | None = None


@dataclass(frozen=True)
class Picture:
    """An image shown in the reply itself."""

    data: bytes
    media_type: str


@dataclass(frozen=True)
class Reply:
    """An answer: an object, a text that reads well on its own, links to files."""

    structured: dict[str, Any]
    text: str
    links: tuple[Link, ...] = ()
    pictures: tuple[Picture, ...] = ()
    is_error: bool = False
    handle: str | None = None
    error: PhyslabError | None = field(default=None, compare=False)
