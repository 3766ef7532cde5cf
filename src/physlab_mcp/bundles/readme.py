"""The README of a package: what it is, and the exact steps to verify and reproduce it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from physlab_mcp.bundles import shapes
from physlab_mcp.bundles.crate import moment
from physlab_mcp.bundles.lock import Lock
from physlab_mcp.bundles.shapes import Record, Tolerances


def readme_of(
    record: Record,
    *,
    name: str,
    lock: Lock,
    tolerances: Tolerances,
    wheelhouse: bool,
    seeds: Mapping[str, Any],
    warnings: Sequence[str],
    files: Collection[str],
) -> str:
    """The text. `files`: the paths that are in the package so far; only what is there is listed."""
    counts: dict[str, int] = {}
    for job in record.jobs.values():
        counts[job.state] = counts.get(job.state, 0) + 1
    states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    about = record.dag.metadata
    lines = [
        f"# {name}",
        "",
        *([about["description"], ""] if about.get("description") else []),
        f"A reproducibility package of the {record.kind} `{record.handle}` ({record.state}).",
        "",
        "| | |",
        "|---|---|",
        f"| Title | {_cell(about.get('title', '') or record.plan.title)} |",
        f"| Author | {_cell(about.get('author', ''))} |",
        f"| Submitted, ended | {moment(record.created_at)}, {moment(record.ended_at)} |",
        f"| Graph | `{record.dag.id}`, {len(record.dag.nodes)} nodes |",
        f"| Points | {len(record.points)} of {record.plan.total} |",
        f"| Jobs | {len(record.jobs)}: {states} |",
        f"| Environment | Python {lock.python} on {lock.system} {lock.machine}, {len(lock.pins)} pinned packages |",
        f"| Seeds | {_cell(_seeds(seeds))} |",
        "",
        "## Reproduce",
        "",
        "Running a package runs its code: do it only with a package whose maker you trust.",
        "",
        "With Python 3.11 or newer, and `uv` or `pip`, in this folder:",
        "",
        "```sh",
        f"python {shapes.SCRIPT}",
        "```",
        "",
        "This checks every file against the manifest, makes a new environment in a new folder "
        + ("from the wheels in `wheelhouse/`, with no network" if wheelhouse else f"from `{shapes.REQUIREMENTS}`")
        + ", runs the experiment again in it, and compares every value and artifact. It ends with one word:",
        "",
        "| verdict | meaning | exit code |",
        "|---|---|---|",
        "| `exact` | every value and artifact is the same | 0 |",
        "| `within_tolerance` | the same within the tolerances below | 0 |",
        "| `environment_differs` | another interpreter, platform or package version: the report names them | 3 |",
        "| `failed` | something differs, or could not be computed | 1 |",
        "| none | it could not be tried: a file is not as it was made, or the environment cannot be set up | 2 |",
        "",
        "`report.json` and `comparison.jsonl` in the folder that it names hold every single comparison. Where physlab is",
        "installed, `physlab bundle verify .` and `physlab bundle reproduce .` do the same, with more checks.",
        "",
        "## Tolerances",
        "",
        f"Numbers: relative {tolerances.default.rel:g}, absolute {tolerances.default.abs:g}.",
        f"Pictures: {tolerances.pixels} of 255 a channel. Times, paths and other circumstances are not compared.",
        *(f"- `{key}`: relative {one.rel:g}, absolute {one.abs:g}" for key, one in tolerances.by_name.items()),
        *(f"- `{key}`: declared as no part of the result" for key in tolerances.ignore),
        "",
        "## Contents",
        "",
        *_contents(files),
        "",
        "## The signature",
        "",
        f"`{shapes.MANIFEST}` lists every file with its SHA-256 and their count; `{shapes.SIGNATURE}` signs it (Ed25519). A file",
        "that was changed, added, removed or moved shows. The key is in the signature itself: it proves that the package is",
        "as the holder of that key made it, not who that is. Compare its fingerprint with one that the maker told you by",
        "another way; without that, somebody else could have changed the package and signed it with a key of their own.",
    ]
    if warnings or lock.warnings:
        lines += ["", "## Known limits", "", *(f"- {one}" for one in (*warnings, *lock.warnings))]
    return "\n".join(lines) + "\n"


def _contents(files: Collection[str]) -> list[str]:
    rows = {
        shapes.CRATE: "the package as a Workflow Run RO-Crate (profile 0.5)",
        shapes.DAG: f"the graph; `{shapes.SPEC}` is what can be submitted again",
        shapes.PLAN: "overrides, sweep and options",
        shapes.POINTS: "every point with its parameters and jobs",
        shapes.JOBS: "every job with parameters, seeds and results",
        shapes.TABLE: "one row for each point: parameters, state and every number that it gave",
        shapes.ARTIFACTS: "inputs, outputs and functions by SHA-256, each once",
        shapes.FIGURES: "the figures by name",
        "code/": "physlab itself as a wheel, node types, loose modules, sources of functions",
        "environment/": "pinned requirements, Python version, what was captured of the machine",
        shapes.PROVENANCE: "who made what from what (PROV-JSON)",
        shapes.WHEELHOUSE: "a wheel of every package of the lock, packed from what was installed",
    }
    here = {shapes.CRATE, *files}  # the crate describes all others, and comes last
    return [f"- `{path}`: {text}" for path, text in rows.items() if any(one.startswith(path) for one in here)]


def _seeds(seeds: Mapping[str, Any]) -> str:
    if not seeds:
        return "none"
    shown = [f"{name}: {', '.join(map(str, values[:10]))}" for name, values in seeds.items()]
    return "; ".join(shown[:20])


def _cell(text: Any) -> str:
    return " ".join(str(text).split()).replace("|", "\\|") or "–"
