"""`physlab doctor`: one line a finding, each with the way to mend it. Looks only; starts and changes nothing."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from physlab_mcp.cli import doctor_cluster, doctor_place, doctor_work
from physlab_mcp.cli.doctor_finding import Finding
from physlab_mcp.errors import PhyslabError

if TYPE_CHECKING:
    from physlab_mcp.cli.output import Output

CHECKS: dict[str, Callable[[Namespace], Iterator[Finding]]] = {
    "python": doctor_place.python,
    "config": doctor_place.config,
    "data directory": doctor_place.data,
    "store": doctor_place.store,
    "engine": doctor_place.engine,
    "node types": doctor_work.node_types,
    "extras": doctor_work.extras,
    "devices": doctor_work.devices,
    "planner": doctor_work.planner,
    "HTTP": doctor_work.access,
    "commands": doctor_work.commands,
    "clusters": doctor_cluster.clusters,
}
_CONFIGURED = {"planner", "HTTP", "commands", "clusters"}


def doctor(args: Namespace, out: Output) -> int:
    """Exit code 1 if what is set up cannot work; what is merely missing is a warning."""
    found: list[Finding] = []
    for name, check in CHECKS.items():
        if name in _CONFIGURED and any(one.what == "config" and one.state == "fail" for one in found):
            continue  # one broken configuration is one finding
        found += _safe(name, check, args)
    ok = not any(one.state == "fail" for one in found)
    out.answer({"ok": ok, "findings": [asdict(one) for one in found]})
    out.table(("what", "state", "finding"), [(one.what, one.state, one.text) for one in found])
    remedies = [one for one in found if one.remedy]
    if remedies:
        out.say()
        out.say("To mend it:")
        for one in remedies:
            out.say(f"  {one.what}: {one.remedy}")
    out.say()
    if not ok:
        out.say("Something that is set up cannot work.")
    else:
        out.say("Everything that is installed and set up can work." if remedies else "All is well.")
    return 0 if ok else 1


def _safe(name: str, check: Callable[[Namespace], Iterator[Finding]], args: Namespace) -> list[Finding]:
    """What a check found; a check that fails is a finding, so that the others are still told."""
    found: list[Finding] = []
    try:
        found.extend(check(args))
    except PhyslabError as error:
        told = error.details or [{"message": error.message, "remedy": error.remedy}]
        found += [Finding(name, "fail", str(one.get("message")), str(one.get("remedy") or "")) for one in told]
    except Exception as error:
        found.append(Finding(name, "fail", f"{type(error).__name__}: {error}"))
    return found
