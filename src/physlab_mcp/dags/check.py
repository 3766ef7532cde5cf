"""The checks of a graph, node by node: every defect becomes a Finding, and what is sound becomes a Draft."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from physlab_mcp.artifacts.cache_key import canonical_json
from physlab_mcp.dags.caps import beyond_caps
from physlab_mcp.dags.commands import HAND_OVER, NO_REFERENCE
from physlab_mcp.dags.files import path_problems
from physlab_mcp.dags.params import settle_params
from physlab_mcp.dags.references import Place, offered, places_in, put, settle_key
from physlab_mcp.dags.resources import resources_of
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.device import DEVICES, choose_device
from physlab_mcp.nodes.registry import NodeType, Registry
from physlab_mcp.schemas.dag import EdgeSpec, Finding, NodeSpec
from physlab_mcp.schemas.job import AUTO, HERE

Report = Callable[[Finding], None]


class Limits(msgspec.Struct, frozen=True):
    """How large a graph may be, and which backends its nodes may name."""

    nodes: int = 100_000
    edges: int = 1_000_000
    params_bytes: int = 1_000_000  # canonical JSON of one node's parameters; larger data are artifacts
    cpu: float | None = None
    memory_bytes: int | None = None
    gpu: int | None = None
    backends: tuple[str, ...] = (HERE,)
    allow_large: bool = False  # whether nodes may go beyond the caps of interactive node types
    roots: tuple[Path, ...] | None = None  # folders that paths of commands may name; None: not known here, not checked
    hidden: tuple[Path, ...] = ()  # folders inside them that no command may name: physlab's own data


DEFAULT_LIMITS = Limits()
MOST_MADE_WRONG = 1000  # after that many nodes with wrong values, the checks that look names up are left out


class Draft(msgspec.Struct, frozen=True):
    """A checked node before the graph's order is known."""

    spec: NodeSpec
    type: NodeType
    params: dict[str, Any]
    device: str


class Checker:
    """Checks one graph. `known` holds every id the caller wrote, so that one broken node is not reported twice."""

    def __init__(
        self, registry: Registry, limits: Limits, devices: Collection[str], known: Collection[str], report: Report
    ) -> None:
        self.registry = registry
        self.limits = limits
        self.devices = devices
        self.known = known
        self.report = report
        self.needs: dict[str, dict[str, None]] = {}
        self._types: dict[tuple[str, str | None], NodeType | None] = {}
        self._type_of: dict[str, NodeType | None] = {}
        self._wrong = 0
        self._handed: dict[str, dict[str, tuple[str, str]]] = {}  # target -> parameter -> (from, data_key)

    def check(self, nodes: Sequence[NodeSpec], edges: Iterable[EdgeSpec]) -> dict[str, Draft]:
        """The sound nodes by id; `needs` then holds what each node waits for."""
        unique: dict[str, NodeSpec] = {}
        twice: set[str] = set()
        for written in nodes:
            node = self._routed(written)
            if node.id in unique:
                twice.add(node.id)
            else:
                unique[node.id] = node
                self.needs[node.id] = {}
                self._type_of[node.id] = self._find(node)
        for name in sorted(twice):
            self._say(
                "duplicate_id", f"The id {name!r} is used more than once.", "Give every node its own id.", name, "id"
            )
        for number, edge in enumerate(edges):
            self._edge(number, edge)
        drafts: dict[str, Draft] = {}
        for node in unique.values():
            draft = self._node(node)
            if draft is not None:
                drafts[node.id] = draft
        return drafts

    def _say(  # noqa: PLR0917 - the fields of a Finding, in its order
        self,
        code: str,
        message: str,
        remedy: str,
        node: str | None = None,
        field: str | None = None,
        severity: str = "error",
    ) -> None:
        self.report(Finding(code, message, remedy, node, field, severity))

    def _routed(self, node: NodeSpec) -> NodeSpec:
        _, method, params = self.registry.route(node.tool, node.method, node.params)
        if params is node.params:
            return node
        return node.model_copy(update={"method": method, "params": dict(params)})

    def _find(self, node: NodeSpec) -> NodeType | None:
        key = (node.tool, node.method)
        if key not in self._types:
            self._types[key] = self.registry.find(*key)
        found = self._types[key]
        if found is None:
            name = node.tool if node.method is None else f"{node.tool}.{node.method}"
            near = self.registry.nearest(*key) or self.registry.names()[:10]
            wrong_method = node.method is not None and any(n.split(".")[0] == node.tool for n in self.registry.names())
            self._say(
                "unknown_node_type",
                f"There is no node type {name!r}.",
                f"Nearest: {', '.join(near)}. See the catalog." if near else "No node types are installed.",
                node.id,
                "method" if wrong_method else "tool",
            )
        return found

    def _dangling(self, code: str, name: Any, node: str | None, field: str, what: str) -> None:
        near = (
            get_close_matches(str(name), [str(one) for one in self.known], n=1, cutoff=0.6)
            if len(self.known) <= 10_000
            else []
        )
        remedy = f"Did you mean {near[0]!r}?" if near else "Name the id of a node in this graph, or add that node."
        self._say(code, f"{what} names the node {name!r}, which is not in the graph.", remedy, node, field)

    def _edge(self, number: int, edge: EdgeSpec) -> None:
        field = f"edges.{number}"
        ends = [(name, side) for name, side in ((edge.from_, "from"), (edge.to, "to")) if name not in self.known]
        for name, side in ends:
            self._dangling("dangling_edge", name, None, f"{field}.{side}", f"Edge {number}")
        if ends:
            return
        if edge.from_ == edge.to:
            self._say("self_edge", f"Edge {number} leads from {edge.to!r} to itself.", "Remove it.", edge.to, field)
            return
        if edge.to not in self.needs:
            return  # that node was malformed and is already reported
        if edge.from_ in self.needs:
            self.needs[edge.to][edge.from_] = None
        if edge.data_key is not None:
            name = edge.data_key.rsplit(".", 1)[-1]
            handed = self._handed.setdefault(edge.to, {})
            if handed.get(name, (edge.from_, edge.data_key)) != (edge.from_, edge.data_key):
                self._say(
                    "edge_conflict",
                    f"Two edges hand {edge.to!r} the parameter {name!r}: from {handed[name][0]!r} and {edge.from_!r}.",
                    'Keep one, or take both by {"$from": …} in params under different names.',
                    edge.to,
                    field,
                )
            else:
                handed[name] = (edge.from_, edge.data_key)

    def _node(self, node: NodeSpec) -> Draft | None:
        node_type = self._type_of[node.id]
        mine = self.needs[node.id]
        for number, name in enumerate(node.dependencies):
            if name == node.id:
                self._say("self_edge", f"{name!r} depends on itself.", "Remove it.", name, f"dependencies.{number}")
            elif name not in self.known:
                self._dangling("dangling_dependency", name, node.id, f"dependencies.{number}", "dependencies")
            elif name in self.needs:
                mine[name] = None
        raw = self._with_edges(node)
        places = places_in(raw) if raw else []
        raw = self._references(node, raw, places)
        if node_type is None:
            return None
        raw = self._visuals(node, node_type, raw)
        if places:
            places = places_in(raw)
        params, problems = settle_params(node_type, raw, places, checks=self._wrong < MOST_MADE_WRONG)
        self._wrong += bool(problems)
        problems += path_problems(node_type, raw if params is None else params, self.limits.roots, self.limits.hidden)
        for one in problems:
            self._say(one.code, one.message, one.remedy, node.id, one.field, one.severity)
        if params is not None and not self.limits.allow_large:
            for one in beyond_caps(node_type, params, places):
                self._say(one.code, one.message, one.remedy, node.id, one.field)
                params = None
        device = self._device(node, node_type)
        self._amounts(node)
        if params is None or device is None:
            return None
        size = len(canonical_json(params)) if raw else 0
        if size > self.limits.params_bytes:
            self._say(
                "params_too_large",
                f"The parameters of {node.id!r} take {size:,} bytes; at most {self.limits.params_bytes:,} are allowed.",
                "Let another node make or load the data and hand it over by reference.",
                node.id,
                "params",
            )
            return None
        return Draft(node, node_type, params, device)

    def _with_edges(self, node: NodeSpec) -> dict[str, Any]:
        handed = self._handed.get(node.id)
        if not handed:
            return node.params
        raw = dict(node.params)
        for name, (source, key) in handed.items():
            reference = {"$from": source, "key": key}
            if name in raw and raw[name] != reference:
                self._say(
                    "edge_conflict",
                    f"{node.id!r} has the parameter {name!r} both written out and handed over by an edge from {source!r}.",
                    f"Remove params.{name} or the edge's data_key.",
                    node.id,
                    f"params.{name}",
                )
            else:
                raw[name] = reference
        return raw

    def _references(self, node: NodeSpec, raw: dict[str, Any], places: Sequence[Place]) -> dict[str, Any]:
        for place in places:
            if place.extra:
                self._say(
                    "bad_reference",
                    f"{place.field} has unknown keys beside its placeholder: {', '.join(place.extra)}.",
                    'Write {"$from": "node_id", "key": "values.name"} or {"$point": "name"}, nothing else.',
                    node.id,
                    place.field,
                )
            if place.point is None:
                raw = self._reference(node, raw, place)
        return raw

    def _reference(self, node: NodeSpec, raw: dict[str, Any], place: Place) -> dict[str, Any]:
        if place.node == node.id:
            self._say(
                "self_edge", f"{place.field} takes the node's own output.", "Name another node.", node.id, place.field
            )
            return raw
        if not isinstance(place.node, str) or place.node not in self.known:
            self._dangling("dangling_reference", place.node, node.id, place.field, place.field)
            return raw
        if place.node not in self.needs:
            return raw
        self.needs[node.id][place.node] = None
        source = self._type_of[place.node]
        node_type = self._type_of[node.id]
        if node_type is not None and node_type.name == "command":
            self._say("bad_reference", NO_REFERENCE.format(field=place.field), HAND_OVER, node.id, place.field)
            return raw
        if source is None:
            return raw
        wanted = "values" if place.key is None else place.key
        key = settle_key(source, wanted) if isinstance(wanted, str) else None
        if key is None:
            offers = offered(source)
            near = get_close_matches(str(place.key), [*offers, *(o.partition(".")[2] for o in offers)], n=1)
            self._say(
                "unknown_key",
                f"{place.field} takes {place.key!r} of {place.node!r}, but {source.name} offers: "
                f"{', '.join(offers) or 'nothing that can be taken'}.",
                f"Did you mean {near[0]!r}?" if near else 'Set "key" to one of those.',
                node.id,
                place.field,
            )
            return raw
        if key != place.key:
            raw = put(raw, place.path, {"$from": place.node, "key": key})
        return raw

    def _visuals(self, node: NodeSpec, node_type: NodeType, raw: dict[str, Any]) -> dict[str, Any]:
        wanted = node.visual_outputs
        if not node_type.numeric:
            if wanted is not None and (wanted.series or wanted.animation):
                self._say(
                    "visual_ignored",
                    f"{node_type.name} makes no figures.",
                    "Leave out visual_outputs.",
                    node.id,
                    "visual_outputs",
                    "warning",
                )
            return raw
        names = {"static": "emit_plots", "series": "emit_csv", "animation": "emit_animation"}
        if wanted is None:
            if not any(name in raw for name in names.values()):
                self._say(
                    "visual_default",
                    f"{node.id!r} does not say which visual outputs it makes: figures are made, no CSV, no animation.",
                    'Write "visual_outputs": {"static": true, "series": false, "animation": false}.',
                    node.id,
                    "visual_outputs",
                    "warning",
                )
            return raw
        raw = dict(raw)
        for short, name in names.items():
            value = getattr(wanted, short)
            if short in wanted.model_fields_set and name in raw and raw[name] is not value:
                self._say(
                    "visual_conflict",
                    f"visual_outputs.{short} is {value} but params.{name} is {raw[name]!r}.",
                    f"Keep one of them; visual_outputs.{short} means params.{name}.",
                    node.id,
                    f"visual_outputs.{short}",
                )
            elif name not in raw:
                raw[name] = value
        if wanted.animation and not node_type.has_animation:
            self._say(
                "no_animation",
                f"{node_type.name} has no animation.",
                "Set visual_outputs.animation to false.",
                node.id,
                "visual_outputs.animation",
                "warning",
            )
        return raw

    def _devices_at(self, node: NodeSpec) -> Collection[str]:
        """The devices where it may run. Of another place we believe what is asked, and that who asks for a GPU computes on it."""
        if node.backend in (None, AUTO, HERE):
            return self.devices
        asks = node.device != "auto" or (node.resources is not None and node.resources.gpu > 0)
        return DEVICES if asks else ("cpu",)

    def _device(self, node: NodeSpec, node_type: NodeType) -> str | None:
        if node.device == "auto" and node_type.devices == ("cpu",):
            return "cpu"
        if node.device not in DEVICES:
            self._say(
                "unknown_device",
                f"There is no device {node.device!r}.",
                f"Use one of {', '.join(DEVICES)}; auto takes the best that this machine and the node type have.",
                node.id,
                "device",
            )
            return None
        chosen = choose_device(node.device, node_type.devices, self._devices_at(node))
        if chosen is not None:
            return chosen
        runs_on = f"{node_type.name} runs on {', '.join(node_type.devices)}; this machine has {', '.join(self.devices)}"
        if node.require_device or "cpu" not in node_type.devices:
            self._say(
                "device_unavailable",
                f"{node.id!r} needs {node.device!r}, but {runs_on}.",
                'Set "require_device": false to let it run on the CPU, or use a machine that has the device.'
                if "cpu" in node_type.devices
                else "Use a machine that has the device.",
                node.id,
                "device",
            )
            return None
        self._say(
            "device_fallback", f"{node.id!r} asks for {node.device!r}, but {runs_on}: it will run on the CPU.",
            'Set "require_device": true to refuse that, or "device": "auto".', node.id, "device", "warning",
        )  # fmt: skip
        return "cpu"

    def _amounts(self, node: NodeSpec) -> None:
        if node.backend is not None and node.backend not in (AUTO, *self.limits.backends):
            near = get_close_matches(node.backend, self.limits.backends, n=1)
            self._say(
                "unknown_backend", f"There is no backend {node.backend!r} here.",
                f"Did you mean {near[0]!r}?" if near
                else f"Use one of {AUTO}, {', '.join(self.limits.backends)}, or add it to server.config.json.",
                node.id, "backend",
            )  # fmt: skip
        if node.resources is None:
            return
        try:
            resources = resources_of(node.resources)
        except RequestError as error:
            self._say("bad_resources", error.message, error.remedy or "", node.id, error.field)
            return
        caps: Mapping[str, tuple[float | None, float | None]] = {
            "cpu": (resources.cpu, self.limits.cpu),
            "memory": (resources.memory_bytes, self.limits.memory_bytes),
            "gpu": (resources.gpu, self.limits.gpu),
        }
        for name, (asked, cap) in caps.items():
            if asked is not None and cap is not None and asked > cap:
                self._say(
                    "over_limit", f"{node.id!r} asks for {name} {asked:g}; at most {cap:g} are allowed.",
                    f"Ask for at most {cap:g}, or have limits raised in the configuration.",
                    node.id, f"resources.{name}",
                )  # fmt: skip
