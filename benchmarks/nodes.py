"""1,000 no-op nodes as a sweep, a layered graph and a chain: physlab-mcp, its limit and its peers, in turns."""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import dataclass

from benchmarks.lives import live
from benchmarks.measure import Options, Row
from benchmarks.peers import peers_python
from benchmarks.shapes import SHAPES

TARGETS_MS = {"sweep": 1.0, "layered": 1.0, "chain": 1.5}
SAID = {"sweep": "sweep", "layered": "DAG 10 wide, 2 predecessors each,", "chain": "chain"}
LIMIT = "ProcessPoolExecutor"


@dataclass(frozen=True)
class System:
    """One system and how many nodes it is given: fewer where it is slow."""

    name: str
    module: str
    sizes: dict[str, int]
    peer: bool = True
    note: str = ""


def _sizes(n: int) -> dict[str, int]:
    return dict.fromkeys(SHAPES, n)


SYSTEMS = (
    System("physlab-mcp", "physlab", _sizes(1000), peer=False, note="durable"),
    System(LIMIT, "pool", _sizes(1000), peer=False, note="in memory; layer by layer"),
    System("Dask distributed", "dask_local", _sizes(1000), note="in memory"),
    System("Parsl threads", "parsl_threads", _sizes(1000), note="in memory, in the client's process"),
    System("Parsl HTEX", "parsl_htex", _sizes(1000), note="in memory"),
    System(
        "DBOS SQLite", "dbos_sqlite", {"sweep": 200, "chain": 200},
        note="durable; a workflow a point, a chain is the steps of one workflow, no graphs",
    ),
)  # fmt: skip


def run(options: Options) -> list[Row]:
    """Rounds of one life each, the first of which only warms the file caches."""
    systems = [one for one in SYSTEMS if options.peers or not one.peer]
    python = peers_python() if options.peers else sys.executable
    seen: dict[tuple[str, str], list[float]] = defaultdict(list)
    for turn in range(options.rounds + 1):
        for system in systems[turn % len(systems) :] + systems[: turn % len(systems)]:
            sizes = {shape: min(n, 200) if options.quick else n for shape, n in system.sizes.items()}
            figures = live(system.module, sizes, python=python if system.peer else sys.executable)
            if turn == 0:
                continue
            for shape, n in sizes.items():
                seen[system.name, shape].append(figures[shape] / n * 1e3)
                seen[system.name, f"{shape}_define"].append(figures[f"{shape}_define"] / n * 1e3)
            seen[system.name, "first"].append(figures["first_from_start"])
    return [*_ours(seen, options), *_theirs(seen, systems, options)]


def _ours(seen: dict[tuple[str, str], list[float]], options: Options) -> list[Row]:
    count = "200" if options.quick else "1,000"
    rows = [
        Row(
            f"physlab-mcp: {SAID[shape]} of {count} no-ops, durable, a node", "ms", seen["physlab-mcp", shape],
            limit=TARGETS_MS[shape], reference=(LIMIT, seen[LIMIT, shape]),
            note="from submission to the client seeing the end",
        )
        for shape in SHAPES
    ]  # fmt: skip
    rows += [
        Row(
            f"physlab-mcp: check and plan that {shape} before submission, a node",
            "ms",
            seen["physlab-mcp", f"{shape}_define"],
        )
        for shape in ("layered", "chain")
    ]
    return rows


def _theirs(seen: dict[tuple[str, str], list[float]], systems: list[System], options: Options) -> list[Row]:
    rows: list[Row] = []
    for system in systems[1:]:
        for shape, n in system.sizes.items():
            values, ours = seen[system.name, shape], seen["physlab-mcp", shape]
            count = min(n, 200) if options.quick else n
            what = f"{system.name}: {SAID[shape]} of {count:,} no-ops, a node"
            rows.append(Row(what, "ms", values, reference=("physlab-mcp", ours), note=system.note))
    for system in systems:
        reference = None if system.name == "physlab-mcp" else ("physlab-mcp", seen["physlab-mcp", "first"])
        what = f"{system.name}: first result, from the start of the client's process"
        rows.append(Row(what, "s", seen[system.name, "first"], reference=reference))
    return rows
