"""Topological order and ranks with dict counters: no recursion, linear but for one sort a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def layers_of(needs: Mapping[str, Sequence[str]]) -> tuple[list[list[str]], set[str]]:
    """Layers by depth, each sorted by id so that the writing order does not matter; and the ids left on cycles.

    Every id named in `needs` must be a key of it. What only follows a cycle is left over too.
    """
    children: dict[str, list[str]] = {node: [] for node in needs}
    left: dict[str, int] = {}
    for node, above in needs.items():
        left[node] = len(above)
        for one in above:
            children[one].append(node)
    layer = sorted(node for node, count in left.items() if not count)
    layers: list[list[str]] = []
    while layer:
        layers.append(layer)
        following: list[str] = []
        for node in layer:
            del left[node]
            for child in children[node]:
                left[child] -= 1
                if not left[child]:
                    following.append(child)
        layer = sorted(following)
    return layers, set(left)


def ranks_of(order: Sequence[str], needs: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """For each node the number of nodes on the longest path from it to an end (an end has 1)."""
    ranks = dict.fromkeys(order, 1.0)
    for node in reversed(order):
        above = ranks[node] + 1.0
        for one in needs[node]:
            ranks[one] = max(ranks[one], above)
    return ranks


def cycles_in(needs: Mapping[str, Sequence[str]], left: set[str], *, most: int = 10) -> list[list[str]]:
    """One cycle per knot of nodes that wait for each other, as paths in the direction of the data; at most `most`."""
    import networkx as nx

    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_edges_from((one, node) for node in sorted(left) for one in sorted(needs[node]) if one in left)
    cycles: list[list[str]] = []
    for knot in nx.strongly_connected_components(graph):
        if len(knot) > 1:
            start = min(knot)
            found = [str(a) for a, *_ in nx.find_cycle(graph.subgraph(knot), source=start)]
            turn = found.index(min(found))
            cycles.append(found[turn:] + found[:turn])
            if len(cycles) >= most:
                break
    return sorted(cycles)
