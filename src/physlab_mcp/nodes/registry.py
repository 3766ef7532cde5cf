"""Node types: what a computation is called, what it takes, how it runs. Found through entry points `physlab.nodes`.

A module named by an entry point holds functions decorated with `node_type`. Importing it must be cheap: heavy
packages (numpy, scipy, matplotlib) are imported inside the functions, which run in workers.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from physlab_mcp.errors import RequestError, UnavailableError

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO
    from physlab_mcp.schemas.result import NodeResult


class NodeParams(BaseModel):
    """Base of all parameter models: unknown names are errors, units stand in the names."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class VisualParams(NodeParams):
    """Base of parameter models of numeric nodes."""

    emit_plots: bool = Field(default=True, description="make figures (PNG and SVG)")
    emit_csv: bool = Field(default=False, description="write the plotted data as CSV")
    emit_animation: bool = Field(default=False, description="make an animation where the node type has one")


class Cap(NamedTuple):
    """The most that a parameter may ask for without `allow_large`."""

    field: str  # name of the parameter, or of a property of the model that tells the number asked for
    most: float
    shown: str = ""  # the parameter's name as the caller writes it, where `field` is a property


Checks = Mapping[str | tuple[str, ...], Callable[..., object]]


class NodeType:
    """A named computation with a typed parameter model."""

    def __init__(
        self,
        name: str,
        function: Callable[[Any, NodeIO], NodeResult],
        *,
        params: type[NodeParams],
        summary: str,
        version: int = 1,
        packages: tuple[str, ...] = (),
        outputs: Mapping[str, str] | None = None,
        arrays: Mapping[str, str] | None = None,
        pure: bool = True,
        random: bool = False,
        network: bool = False,
        dtype: str = "float64",
        devices: tuple[str, ...] = ("cpu",),
        aliases: tuple[str, ...] = (),
        example: Mapping[str, Any] | None = None,
        has_animation: bool = False,
        words: tuple[str, ...] = (),
        caps: tuple[Cap, ...] = (),
        compute_s: float | None = None,
        frame_s: float = 0.0,
        frames: str = "",
        checks: Checks | None = None,
        keyed: Callable[[Mapping[str, Any]], Mapping[str, Any] | None] | None = None,
    ) -> None:
        self.name = name
        self.function = function
        self.params = params
        self.summary = summary
        self.version = version
        self.packages = packages
        self.outputs = dict(outputs or {})
        self.arrays = dict(arrays or {})
        self.pure = pure
        self.random = random
        self.network = network
        self.dtype = dtype
        self.devices = devices
        self.aliases = aliases
        self.example = dict(example or {})
        self.has_animation = has_animation
        self.words = words  # what people call it, for requests in words
        self.caps = caps
        self.compute_s = compute_s  # the most computing time without `allow_large`; None: no such bound
        self.frame_s = frame_s  # computing time on top for each frame drawn
        self.frames = frames  # the parameter or property that tells how many
        # By parameter ("quantity.unit", or several): called with their values before anything is submitted, raising RequestError.
        self.checks: Checks = dict(checks or {})
        # The part of the parameters that names a result; None where a call's result may not be reused. Default: all.
        self.keyed = keyed

    @property
    def tool(self) -> str:
        """The part before the dot."""
        return self.name.split(".", 1)[0]

    @property
    def method(self) -> str | None:
        """The part after the dot, if any."""
        return self.name.split(".", 1)[1] if "." in self.name else None

    @property
    def numeric(self) -> bool:
        """Whether it honours emit_plots, emit_csv and emit_animation."""
        return issubclass(self.params, VisualParams)

    @property
    def cacheable(self) -> bool:
        """Pure, no network, and seeded wherever it draws random numbers."""
        return self.pure and not self.network and (not self.random or "seed" in self.params.model_fields)


logger = logging.getLogger(__name__)
_SELECTORS = ("plot_type", "action")  # where older clients of such tools put the method
F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__physlab_node_type__"


def node_type(name: str, *, params: type[NodeParams], summary: str, **options: Any) -> Callable[[F], F]:
    """Mark a function `(params, io) -> NodeResult` as the node type `name` (`tool.method`, or a bare tool)."""

    def mark(function: F) -> F:
        setattr(function, _MARK, NodeType(name, function, params=params, summary=summary, **options))
        return function

    return mark


def types_in(module_name: str) -> list[NodeType]:
    """The node types that a module defines, in the order of definition."""
    module = importlib.import_module(module_name)
    found = (getattr(value, _MARK, None) for value in vars(module).values())
    return [one for one in found if isinstance(one, NodeType)]


class Registry:
    """All node types this installation offers."""

    def __init__(self, types: Mapping[str, NodeType], *, broken: Mapping[str, str] | None = None) -> None:
        self._types = dict(types)
        self.broken = dict(broken or {})  # modules that could not be imported, and why
        self._aliases = {alias: one.name for one in types.values() for alias in one.aliases}

    @classmethod
    def load(cls) -> Registry:
        """Read every entry point `physlab.nodes`, and modules in `$PHYSLAB_NODES` (comma separated).

        A module that cannot be imported is left out and named in `broken`; the others are not harmed by it.
        """
        types: dict[str, NodeType] = {}
        broken: dict[str, str] = {}
        modules = [point.value for point in sorted(entry_points(group="physlab.nodes"), key=lambda p: p.name)]
        modules += [name for name in os.environ.get("PHYSLAB_NODES", "").split(",") if name]
        for module in modules:
            try:
                found = types_in(module)
            except Exception as error:
                logger.exception("the node types of %s cannot be imported", module)
                broken[module] = f"{type(error).__name__}: {error}"
                continue
            types |= {one.name: one for one in found}
        return cls(types, broken=broken)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._types)

    def __iter__(self) -> Any:
        return iter(self._types[name] for name in self.names())

    def find(self, tool: str, method: str | None = None) -> NodeType | None:
        """By `tool` and `method`, by a dotted `tool`, or by an alias."""
        name = tool if method is None else f"{tool}.{method}"
        return self._types.get(name) or self._types.get(self._aliases.get(name, ""))

    def route(
        self, tool: str, method: str | None, params: Mapping[str, Any]
    ) -> tuple[str, str | None, Mapping[str, Any]]:
        """Tool, method and parameters of a call whose method stands among the parameters (`plot_type`, `action`, …)."""
        found = self.find(tool, method)
        for name in _SELECTORS:
            chosen = params.get(name)
            if not isinstance(chosen, str) or (found is not None and name in found.params.model_fields):
                continue
            named = self.find(tool.split(".", 1)[0], chosen)
            if named is not None and (found is None or found is named) and (method is None or found is named):
                return tool, method if found is named else chosen, {k: v for k, v in params.items() if k != name}
        return tool, method, params

    def nearest(self, tool: str, method: str | None = None) -> list[str]:
        """Names most like an unknown one."""
        name = tool if method is None else f"{tool}.{method}"
        close = get_close_matches(name, self.names(), n=3, cutoff=0.4)
        return close or [n for n in self.names() if n.split(".")[0] == tool][:5]

    def get(self, name: str) -> NodeType:
        """By full name.

        Raises:
            RequestError: no such node type; the remedy names the nearest.

        """
        found = self.find(name)
        if found is None:
            near = ", ".join(self.nearest(name)) or ", ".join(self.names())
            also = "".join(f" {module} could not be imported ({why})." for module, why in self.broken.items())
            raise RequestError(
                f"There is no node type {name!r}.{also}", field="tool", got=name, remedy=f"Nearest: {near}."
            )
        return found


def need(package: str, extra: str) -> Any:
    """Import an optional package inside a node.

    Raises:
        UnavailableError: it is not installed; the remedy names the extra.

    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        from physlab_mcp.nodes.extras import install_command

        raise UnavailableError(
            f"This needs the package {package!r} of the extra {extra!r}, which is not installed here.",
            got=package,
            remedy=f"Install it with: {install_command(extra)}",
        ) from error
