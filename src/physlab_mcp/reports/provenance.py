"""Where every number comes from: identifiers, cache, devices, environment, artifacts; and the references."""

from __future__ import annotations

import time
from typing import Any

from reportlab.platypus import Flowable

from physlab_mcp.analysis import quantities
from physlab_mcp.reports import layout
from physlab_mcp.reports.figures import uri
from physlab_mcp.reports.references import reference
from physlab_mcp.reports.text import link, mono, plain
from physlab_mcp.reports.writer import Writer
from physlab_mcp.schemas.artifact import ArtifactRef

MAX_ARTIFACTS = 80
MAX_JOBS = 80


def moment_text(at: Any) -> str:
    """A moment (seconds since the epoch) in UTC; anything else as it is."""
    if isinstance(at, (int, float)) and not isinstance(at, bool) and 0 < at < 1e11:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
    return quantities.value_text(at, 60)


def provenance(writer: Writer) -> list[Flowable]:
    """Everything needed to find or repeat the run."""
    story: list[Flowable] = [
        writer.section("Provenance"),
        writer.prose("With these identifiers, versions and hashes the run can be found, verified and repeated."),
    ]
    story += _identity(writer)
    story += _jobs(writer)
    story += _artifacts(writer)
    story += _packages(writer)
    return story


def device_mix(writer: Writer) -> dict[str, int]:
    """How many nodes ran where, as given or counted."""
    if writer.report.device_mix:
        return writer.report.device_mix
    mix: dict[str, int] = {}
    for node in writer.report.nodes:
        if node.result is not None:
            device = str(node.result.meta.get("device", node.device))
            mix[device] = mix.get(device, 0) + 1
    return mix


def _identity(writer: Writer) -> list[Flowable]:
    report = writer.report
    environment = report.environment
    rows = [
        ("Run", mono(report.run_id)),
        ("Graph", mono(report.dag_id)),
        ("Report made", plain(moment_text(report.created_at))),
    ]
    mix = device_mix(writer)
    if mix:
        rows.append(
            ("Devices", plain(", ".join(f"{name}: {quantities.counted(n, 'node')}" for name, n in mix.items())))
        )
    hits = report.cache_hits if report.cache_hits is not None else sum(one.cached is not None for one in report.nodes)
    rows.append(("Cache hits", plain(f"{hits} of {len(report.nodes)}")))
    named = {"python": "Python", "os": "Operating system", "cpu": "Processor", "memory": "Memory", "gpu": "Accelerator"}
    for key, head in named.items():
        if environment.get(key):
            rows.append((head, plain(_environment(key, environment[key]))))
    git = environment.get("git")
    if isinstance(git, dict) and git:
        commit = str(git.get("commit", git.get("sha", "")))
        note = " (with uncommitted changes)" if git.get("dirty") else ""
        rows.append(
            (
                "Git commit",
                f"{mono(quantities.shorten(commit, 60))}{plain(note)}" if commit else plain(quantities.value_text(git)),
            )
        )
    elif git:
        rows.append(("Git commit", mono(quantities.value_text(git, 60))))
    known = {*named, "git", "packages"}
    others = [one for one in environment if one not in known][:12]
    rows += [
        (quantities.shorten(key.replace("_", " "), 40), plain(_environment(key, environment[key]))) for key in others
    ]
    return writer.tables.make(
        "Identity of the run and the environment it ran in.",
        ("Item", "Value"),
        [(plain(head), value) for head, value in rows],
        (22, 78),
    )


def _environment(key: str, value: Any) -> str:
    if key.startswith("memory") and isinstance(value, int) and value > 1_000_000:
        return quantities.size_text(value)
    if isinstance(value, dict):
        return "; ".join(
            f"{name.replace('_', ' ')}: {_environment(name, one)}" for name, one in list(value.items())[:12]
        )
    return quantities.value_text(value, 160)


def _jobs(writer: Writer) -> list[Flowable]:
    nodes = writer.report.nodes
    if not nodes:
        return []
    rows = []
    for node in nodes[:MAX_JOBS]:
        origin = "computed" if node.result is not None else "—"
        if node.cached:
            job, at = node.cached.get("job", "an earlier job"), node.cached.get("at")
            origin = f"cached from {quantities.shorten(str(job), 50)}" + (f", {moment_text(at)}" if at else "")
        device = str(node.result.meta.get("device", node.device)) if node.result else node.device
        rows.append(
            (
                mono(quantities.shorten(node.node_id, 36)),
                mono(quantities.shorten(node.job_id, 40)),
                plain(node.state),
                plain(quantities.shorten(device, 24)),
                plain(quantities.duration_text(node.duration_ms)),
                plain(origin),
            )
        )
    rows += [("",) * 6] * (len(nodes) - len(rows))
    return writer.tables.make(
        "Jobs of the run and the origin of their results.",
        ("Node", "Job", "State", "Device", "Time", "Origin"),
        rows,
        (18, 27, 13, 9, 10, 23),
        limit=MAX_JOBS,
        noun="jobs",
    )


def _artifacts(writer: Writer) -> list[Flowable]:
    seen: dict[str, tuple[str, ArtifactRef]] = {}
    for node in writer.report.nodes:
        for ref in node.result.all_artifacts() if node.result else ():
            seen.setdefault(ref.sha256, (node.node_id, ref))
    if not seen:
        return []
    rows = [
        (
            mono(quantities.shorten(node_id, 30)),
            plain(quantities.shorten(ref.name, 50)),
            plain(quantities.size_text(ref.size)),
            link(f'<font name="PhyslabMono" size="6.1">{plain(ref.sha256, "PhyslabMono")}</font>', uri(ref.sha256)),
        )
        for node_id, ref in seen.values()
    ]
    return writer.tables.make(
        "Artifacts by SHA-256. Each is immutable and can be read under its hash.",
        ("Node", "Artifact", "Size", "SHA-256"),
        rows,
        (15, 21, 10, 54),
        limit=MAX_ARTIFACTS,
        noun="artifacts",
    )


def _packages(writer: Writer) -> list[Flowable]:
    packages = writer.report.environment.get("packages")
    if not isinstance(packages, dict) or not packages:
        return []
    listed = [f"{name}\u00a0{version}" for name, version in sorted(packages.items())]
    text = ", ".join(quantities.shorten(one, 60) for one in listed[:120])
    more = f", … and {len(listed) - 120} more" if len(listed) > 120 else ""
    return [writer.setter.rich(f"{text}{more}.", layout.BODY, before="<b>Packages.</b> ")]


def references(writer: Writer) -> list[Flowable]:
    """The cited entries by number, then the others as further reading; without any citation they are the references."""
    cited, rest = writer.citations.cited(), writer.citations.uncited()
    story: list[Flowable] = []
    if cited:
        story.append(writer.section("References", numbered=False))
        for number, entry in enumerate(cited, 1):
            anchor = f'<a name="ref-{number}"/>'
            story.append(writer.setter.pieces(reference(entry), layout.REFERENCE, before=anchor, bullet=f"[{number}]"))
    if rest:
        story.append(writer.section("Further reading" if cited else "References", numbered=False))
        story += [writer.setter.pieces(reference(entry), layout.REFERENCE, before="", bullet="•") for entry in rest]
    return story
