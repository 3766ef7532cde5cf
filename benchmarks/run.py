"""Runs benchmarks one after another and writes what they found."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from benchmarks.measure import ROOT, Options, Row, machine, tell_load

BENCHMARKS = {
    "nodes": "Cost of a node, beside the limit and the peers",
    "scale": "Growth, cache, CPU time and memory",
    "first_result": "First result",
    "server_start": "Start and memory of the MCP server",
    "notices": "News and waiting calls",
    "sweeps": "Sweeps: cost of a point, counting, memory",
    "metadata": "Cost of recording what a task took",
    "storage": "What a sweep leaves on the disk beside its values",
    "utilisation": "How busy the slots are",
    "arrays": "Arrays on Slurm, beside Slurm itself",
    "analysis": "Figures and package of a sweep",
    "side_by_side": "The same sweep in four libraries",
}
DOCUMENT = ROOT / "docs" / "benchmarks.md"
RESULTS = ROOT / "benchmarks" / "results.json"
_HEAD = "| What | Target | Median [min–max] | Beside it, same run | Ratio | Met | Note |\n|---|---|---|---|---|---|---|"

_EXPLAINED = """\
Medians after one unmeasured round; smaller is better. What is compared ran in turns within the same run, with two workers
each; every life of a system is a fresh process. *Target* bounds the median, or (×) its ratio to what stands beside it.
In a peer's row the ratio says how many times physlab-mcp's cost the peer's is. physlab-mcp and DBOS are durable; the
others keep the graph in the memory of a client or scheduler and lose it with that process. Every value is in
`benchmarks/results.json`."""


@dataclass(frozen=True)
class Result:
    """What one benchmark found, and how busy the machine was when it began."""

    name: str
    load: float
    rows: Sequence[Row]


def run(names: Sequence[str], options: Options) -> list[Result]:
    """Measure, printing each row as it comes."""
    # An installed program has its bytecode; without it every life would compile whatever was changed last.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    results: list[Result] = []
    for name in names:
        load = tell_load(name)
        result = Result(name, load, import_module(f"benchmarks.{name}").run(options))
        print(*result.rows, sep="\n", flush=True)
        results.append(result)
    return results


def write(results: Sequence[Result]) -> None:
    """Write docs/benchmarks.md and benchmarks/results.json."""
    circumstances = machine()
    body = {
        **circumstances,
        "benchmarks": {
            one.name: {"load": round(one.load, 2), "rows": [row.as_dict() for row in one.rows]} for one in results
        },
    }
    RESULTS.write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n")
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(_document(results, circumstances))
    print(f"wrote {os.path.relpath(DOCUMENT)} and {os.path.relpath(RESULTS)}")


def _document(results: Sequence[Result], circumstances: dict[str, str]) -> str:
    parts = [
        "# Benchmarks",
        "Written by `make bench` (`python -m benchmarks`); do not edit. One alone: `python -m benchmarks NAME`.",
        "\n".join(f"- {name}: {value}" for name, value in circumstances.items()),
        _EXPLAINED,
    ]
    for one in results:
        busy = " **The machine was not quiet; take these as upper bounds.**" if one.load > 0.5 else ""
        parts.append(f"## {one.name}\n\n{BENCHMARKS[one.name]}. Load average at its start: {one.load:.2f}.{busy}")
        rows = ["| " + " | ".join(row.cells()) + " |" for row in one.rows]
        parts.append("\n".join([_HEAD, *rows]))
    return "\n\n".join(parts) + "\n"
