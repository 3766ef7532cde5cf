"""`physlab demo`: the packaged hydrogen experiment, its figures, its report, its numbers against closed forms."""

from __future__ import annotations

import json
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from physlab_mcp.cli.gallery import try_folder
from physlab_mcp.cli.opened import with_lab
from physlab_mcp.cli.report import all_nodes, leave_outputs
from physlab_mcp.cli.run import submit, tell_failure
from physlab_mcp.cli.watch import follow

if TYPE_CHECKING:
    from physlab_mcp.cli.output import Output
    from physlab_mcp.lab import Lab
    from physlab_mcp.schemas.status import NodeView

# CODATA 2022 electron-proton mass ratio (DOI 10.1103/RevModPhys.97.025002); the node takes the ratio from its own table.
_ELECTRON_TO_PROTON = 5.446170214889e-4


def demo(args: Namespace, out: Output) -> int:
    """Run the packaged experiment; exit code 1 if a number is not what theory says."""
    spec = json.loads(packaged("hydrogen_2p.json"))
    try_folder(args.out)

    async def work(lab: Lab) -> int:
        run_id = await submit(lab, spec, use_cache=not args.no_cache, out=out)
        out.say(f"{spec['metadata']['title']}: {run_id}")
        status = await follow(lab, run_id, out, each_node=True)
        if status.state != "succeeded":
            return await tell_failure(lab, status, out)
        left = await leave_outputs(lab, status, args, out, about={"bib": [packaged("hydrogen_2p.bib")]})
        nodes = await all_nodes(lab, run_id)
        rows = numbers({one.node_id: one.result.values for one in nodes if one.result is not None})
        out.say()
        out.table(
            ("quantity", "computed", "expected", "rel. diff.", ""),
            [(r["quantity"], _digits(r), f"{r['expected']:.10g}", f"{r['difference']:.1e}", _mark(r)) for r in rows],
        )
        out.say(devices(nodes))
        out.say(cache_hits(nodes))
        out.answer(
            {**left, "numbers": rows, "devices": dict(_mix(nodes)), "cache_hits": _hits(nodes), "nodes": len(nodes)}
        )
        out.next(
            "physlab demo                      # again: every node comes from the cache",
            f"physlab jobs show {run_id}",
            "physlab install claude-code       # let an agent design the next one",
        )
        return 0 if all(row["ok"] for row in rows) else 1

    return with_lab(args, work)


def packaged(name: str) -> str:
    """A file that is shipped beside this module."""
    return (files("physlab_mcp.cli") / name).read_text(encoding="utf-8")


def numbers(values: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the run computed against closed forms computed here, and against the measured line.

    Closed forms: Bethe and Salpeter, Quantum Mechanics of One- and Two-Electron Atoms (1957), section 3.
    """
    orbital, line = values["orbital_2p"], values["lyman_alpha"]
    rydberg_eV = float(values["rydberg"]["value"])
    reduced = 1.0 / (1.0 + _ELECTRON_TO_PROTON)
    moving = orbital["energy_eV"] * orbital["energy_reduced_mass_eV"] / orbital["energy_closed_form_eV"]
    rows = [
        ("E(2p) = -R∞hc/4 (eV)", orbital["energy_eV"], -rydberg_eV / 4, 1e-9),
        ("E(2p), reduced mass (eV)", moving, -rydberg_eV / 4 * reduced, 1e-9),
        ("norm of 2p", orbital["norm"], 1.0, 1e-9),
        ("<r> of 2p (a0)", orbital["r_mean_a0"], 5.0, 1e-8),
        ("<1/r> of 2p (1/a0)", orbital["inv_r_mean_inv_a0"], 0.25, 1e-8),
        ("Lyman-alpha, measured (nm)", line["wavelength_nm"], line["measured_nm"], 1e-4),
    ]
    return [
        {
            "quantity": name,
            "computed": computed,
            "expected": expected,
            "difference": abs(computed / expected - 1.0),
            "within": within,
            "ok": abs(computed / expected - 1.0) <= within,
        }
        for name, computed, expected, within in rows
    ]


def devices(nodes: list[NodeView]) -> str:
    """Which devices computed it."""
    return "Devices: " + ", ".join(f"{device} ({count} nodes)" for device, count in _mix(nodes).most_common())


def cache_hits(nodes: list[NodeView]) -> str:
    """How much of it had been computed before."""
    hits = _hits(nodes)
    if hits == len(nodes):
        return f"All {hits} nodes from the cache."
    return f"{hits} of {len(nodes)} nodes from the cache."


def _mix(nodes: list[NodeView]) -> Counter[str]:
    return Counter(one.device for one in nodes)


def _hits(nodes: list[NodeView]) -> int:
    return sum(1 for one in nodes if one.cached)


def _digits(row: Mapping[str, Any]) -> str:
    return f"{row['computed']:.10g}"


def _mark(row: Mapping[str, Any]) -> str:
    return "ok" if row["ok"] else "DIFFERS"
