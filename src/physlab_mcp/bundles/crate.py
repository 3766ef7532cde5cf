"""The package as a Workflow Run RO-Crate: profile 0.5 on RO-Crate 1.1."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from physlab_mcp import __version__
from physlab_mcp.artifacts.cache_key import canonical_json, value_hash
from physlab_mcp.bundles import shapes
from physlab_mcp.bundles.contents import Entry
from physlab_mcp.bundles.shapes import PointRecord, Record

SPECIFICATION = "https://w3id.org/ro/crate/1.1"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
CONTEXT = [f"{SPECIFICATION}/context", {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}]
_LANGUAGE = "https://pypi.org/project/physlab-mcp/"
_COMPLETED, _FAILED = "http://schema.org/CompletedActionStatus", "http://schema.org/FailedActionStatus"
_KINDS = {
    ".jsonl": "application/jsonl", ".json": "application/json", ".md": "text/markdown", ".py": "text/x-python",
    ".whl": "application/zip", ".mmd": "text/vnd.mermaid", ".pkl": "application/octet-stream",
}  # fmt: skip
_TITLES = {
    shapes.JOBS: "Results of every job, one a line",
    shapes.TABLE: "Parameters and numbers of every point as a table",
    shapes.POINTS: "Points with their parameters and jobs, one a line",
    shapes.PLAN: "What was submitted: overrides, sweep and options",
    shapes.SPEC: "The experiment as it can be submitted again",
    shapes.REQUIREMENTS: "Pinned requirements of the environment",
    shapes.ENVIRONMENT: "The environment that the results were computed in",
    shapes.LOCK: "The lock as JSON",
    shapes.PROVENANCE: "Provenance graph (PROV-JSON)",
    shapes.INFO: "What this package is, with tolerances and seeds",
    shapes.NODE_TYPES: "Versions and sources of the node types",
    shapes.SCRIPT: "Runs the experiment again and compares",
    shapes.README: "How to read, verify and reproduce this package",
    shapes.MANIFEST: "SHA-256, size and count of all files",
    shapes.SIGNATURE: "Signature of the manifest",
}


def moment(at: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC, in the form that the profile asks for."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def identifier(path: str) -> str:
    """The @id of a file: its path, percent-encoded."""
    return quote(path, safe="/~")


def _ref(name: str) -> dict[str, str]:
    return {"@id": name}


def _one(found: list[dict[str, str]]) -> Any:
    """RO-Crate 1.1 wants a single value where there is only one."""
    return found[0] if len(found) == 1 else found


def crate_of(
    record: Record,
    *,
    name: str,
    license_url: str,
    made_at: float,
    entries: Iterable[Entry],
    names: Mapping[str, str],
    artifacts: Mapping[str, str],
) -> dict[str, Any]:
    """The JSON-LD document.

    `names`: a reader's name of a file by its path; `artifacts`: path by SHA-256. One action stands for each point.
    """
    files = sorted({*(entry.path for entry in entries), shapes.MANIFEST, shapes.SIGNATURE} - {shapes.CRATE})
    sizes = {entry.path: entry for entry in entries}
    parameters = _Parameters(record)
    actions = [_action(record, point, parameters, artifacts) for point in record.points]
    about = record.dag.metadata
    graph: list[dict[str, Any]] = [
        {
            "@id": shapes.CRATE,
            "@type": "CreativeWork",
            "about": _ref("./"),
            "conformsTo": [_ref(SPECIFICATION), _ref("https://w3id.org/workflowhub/workflow-ro-crate/1.0")],
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "name": name,
            "description": about.get("description")
            or f"{record.kind.capitalize()} {record.handle} of physlab: {name}.",
            "datePublished": moment(made_at),
            "license": _ref(license_url),
            "conformsTo": [_ref(one) for one in PROFILES],
            "mainEntity": _ref(shapes.DAG),
            "author": _ref("#person"),
            "hasPart": [_ref(identifier(path)) for path in files],
            "mentions": _one([_ref(one["@id"]) for one in actions]),
        },
        *({"@id": url, "@type": "CreativeWork", "name": n, "version": v} for url, (n, v) in PROFILES.items()),
        {"@id": license_url, "@type": "CreativeWork", "name": "Licence of this package", "description": license_url},
        {
            "@id": _LANGUAGE,
            "@type": "ComputerLanguage",
            "name": "physlab graph",
            "version": __version__,
            "url": _ref(_LANGUAGE),
        },
        {"@id": "#person", "@type": "Person", "name": about.get("author") or record.plan.owner},
        {
            "@id": shapes.DAG,
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
            "conformsTo": _ref("https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"),
            "name": about.get("title") or name,
            "version": about.get("version") or "1",
            "identifier": record.dag.id,
            "programmingLanguage": _ref(_LANGUAGE),
            "url": _ref(_LANGUAGE),
            "input": _one([_ref(str(one["@id"])) for one in parameters.formal]),
            "output": _ref("#results"),
            **_measures(sizes[shapes.DAG]),
        },
        *parameters.formal,
        *parameters.values,
        {
            "@id": "#results",
            "@type": "FormalParameter",
            "name": "results",
            "additionalType": "File",
            "conformsTo": _ref("https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"),
            "workExample": _ref(shapes.JOBS),
        },
        *actions,
    ]
    graph += [_file(path, sizes.get(path), names) for path in files if path != shapes.DAG]
    return {"@context": CONTEXT, "@graph": graph}


def _measures(entry: Entry) -> dict[str, Any]:
    kind = _KINDS.get(entry.path[entry.path.rfind(".") :]) or mimetypes.guess_type(entry.path)[0]
    return {
        "contentSize": str(entry.size),
        "sha256": entry.sha256,
        "encodingFormat": kind or "application/octet-stream",
    }


def _file(path: str, entry: Entry | None, names: Mapping[str, str]) -> dict[str, Any]:
    body: dict[str, Any] = {
        "@id": identifier(path),
        "@type": "File",
        "name": _TITLES.get(path) or names.get(path) or path.rpartition("/")[2],
    }
    if entry is None:  # the manifest and its signature come after the crate
        return body | {"encodingFormat": "application/json"}
    if path == shapes.JOBS:
        body["exampleOfWork"] = _ref("#results")
    if path == shapes.README:
        body["about"] = _ref("./")
    return body | _measures(entry)


class _Parameters:
    """The swept parameters as formal ones, and each value that they take, once."""

    def __init__(self, record: Record) -> None:
        self._known: dict[tuple[str, str], str] = {}
        self.values: list[dict[str, Any]] = []
        self._examples: dict[str, list[dict[str, str]]] = {}
        for point in record.points:
            for name, value in point.values.items():
                self._add(name, value)
        self.formal = [
            {
                "@id": f"#parameter-{identifier(name)}",
                "@type": "FormalParameter",
                "name": name,
                "additionalType": "PropertyValue",
                "conformsTo": _ref("https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"),
                "workExample": _one(examples),
            }
            for name, examples in self._examples.items()
        ]

    def _add(self, name: str, value: Any) -> None:
        text = canonical_json(value).decode()
        if (name, text) in self._known:
            return
        made = self._known[(name, text)] = f"#value-{value_hash([name, value])[:20]}"
        shown = value if isinstance(value, str | int | float) else text
        formal = f"#parameter-{identifier(name)}"
        self.values.append(
            {"@id": made, "@type": "PropertyValue", "name": name, "value": shown, "exampleOfWork": _ref(formal)}
        )
        self._examples.setdefault(name, []).append(_ref(made))

    def of(self, point: PointRecord) -> list[dict[str, str]]:
        """The values of a point."""
        return [_ref(self._known[(name, canonical_json(value).decode())]) for name, value in point.values.items()]


def _action(
    record: Record, point: PointRecord, parameters: _Parameters, artifacts: Mapping[str, str]
) -> dict[str, Any]:
    from physlab_mcp.bundles.record import refs_in, taken_in

    inputs: set[str] = set()
    outputs: set[str] = set()
    for job_id in point.jobs.values():
        job = record.jobs[job_id]
        inputs |= taken_in(job.params)
        outputs |= {ref["sha256"] for ref in refs_in(job.result or {}).values()}
    left = [shapes.JOBS, *sorted(artifacts[one] for one in outputs if one in artifacts)]
    took = sorted(artifacts[one] for one in inputs if one in artifacts)
    named = ", ".join(f"{key}={value}" for key, value in point.values.items())
    good = point.state == "succeeded"
    body: dict[str, Any] = {
        "@id": f"#{point.run}",
        "@type": "CreateAction",
        "name": f"{point.run}",
        "description": f"Point {point.index} ({point.id}): {named}" if named else f"The run {point.run}",
        "instrument": _ref(shapes.DAG),
        "agent": _ref("#person"),
        "object": _one([*parameters.of(point), *(_ref(identifier(path)) for path in took)] or [_ref(shapes.PLAN)]),
        "result": _one([_ref(identifier(path)) for path in left]),
        "endTime": moment(point.ended_at or record.ended_at),
        "actionStatus": _COMPLETED if good else _FAILED,
    }
    if point.started_at:
        body["startTime"] = moment(point.started_at)
    if not good:
        body["error"] = _why(record, point)
    return body


def _why(record: Record, point: PointRecord) -> str:
    for job_id in point.jobs.values():
        failure = record.jobs[job_id].failure
        if failure:
            return f"{record.jobs[job_id].node}: {str(failure.get('message', ''))[:300]}"
    return f"It ended as {point.state}."
