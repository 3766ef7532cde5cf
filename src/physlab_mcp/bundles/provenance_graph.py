"""Who made what from what: the jobs and artifacts of a package as PROV-JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from physlab_mcp import __version__
from physlab_mcp.bundles.crate import moment
from physlab_mcp.bundles.record import refs_in, taken_in
from physlab_mcp.bundles.shapes import JobRecord, Record
from physlab_mcp.dags.references import places_in


def graph_of(record: Record, paths: Mapping[str, str]) -> dict[str, Any]:
    """The W3C PROV-JSON document. `paths`: the file of an artifact by its SHA-256."""
    graph = _Graph(paths)
    graph.agent(record)
    for job in record.jobs.values():
        graph.job(job, record.jobs)
    return {
        "prefix": {
            "physlab": "https://pypi.org/project/physlab-mcp/#",
            "sha256": "urn:hash::sha256:",
            "prov": "http://www.w3.org/ns/prov#",
        },
        **{name: body for name, body in graph.body.items() if body},
    }


class _Graph:
    def __init__(self, paths: Mapping[str, str]) -> None:
        self._paths = paths
        names = (
            "entity", "activity", "agent", "used", "wasGeneratedBy", "wasInformedBy", "wasDerivedFrom",
            "wasAssociatedWith",
        )  # fmt: skip
        self.body: dict[str, dict[str, Any]] = {name: {} for name in names}

    def _relate(self, kind: str, **ends: str) -> None:
        here = self.body[kind]
        here[f"_:{kind}{len(here)}"] = {f"prov:{name}": end for name, end in ends.items()}

    def agent(self, record: Record) -> None:
        self.body["agent"] = {
            "physlab:engine": {"prov:type": "prov:SoftwareAgent", "physlab:version": __version__},
            "physlab:person": {
                "prov:type": "prov:Person",
                "prov:label": record.dag.metadata.get("author") or record.plan.owner,
            },
        }

    def _entity(self, sha256: str, label: str = "") -> str:
        name = f"sha256:{sha256}"
        body = self.body["entity"].setdefault(name, {})
        if label:
            body.setdefault("prov:label", label)
        if sha256 in self._paths:
            body["prov:location"] = self._paths[sha256]
        return name

    def job(self, job: JobRecord, jobs: Mapping[str, JobRecord]) -> None:
        """One activity with what it took in and what it left."""
        activity = f"physlab:{job.id}"
        body: dict[str, Any] = {"prov:label": job.node, "prov:type": job.type, "physlab:state": job.state}
        if job.started_at:
            body["prov:startTime"] = moment(job.started_at)
        if job.ended_at:
            body["prov:endTime"] = moment(job.ended_at)
        if job.seeds:
            body["physlab:seeds"] = dict(job.seeds)
        cached = (job.result or {}).get("meta", {}).get("cached")
        if cached:
            body["physlab:takenFrom"] = f"physlab:{cached.get('job')}"
        self.body["activity"][activity] = body
        self._relate("wasAssociatedWith", activity=activity, agent="physlab:engine")
        taken = {self._entity(one) for one in sorted(taken_in(job.params))}
        for node, source in job.sources.items():
            self._relate("wasInformedBy", informed=activity, informant=f"physlab:{source}")
            taken |= {self._entity(one) for one in _handed_over(job, node, jobs.get(source))}
        for one in sorted(taken):
            self._relate("used", activity=activity, entity=one)
        for ref in refs_in(job.result or {}).values():
            made = self._entity(ref["sha256"], ref.get("name", ""))
            self._relate("wasGeneratedBy", entity=made, activity=activity)
            for one in sorted(taken):
                self._relate("wasDerivedFrom", generatedEntity=made, usedEntity=one, activity=activity)


def _handed_over(job: JobRecord, node: str, source: JobRecord | None) -> list[str]:
    """The artifacts among the outputs of `source` that this job asked for."""
    if source is None or source.result is None:
        return []
    asked = {str(place.key or "values") for place in places_in(job.params) if place.node == node}
    refs = refs_in(source.result)
    return sorted(
        {
            ref["sha256"]
            for place, ref in refs.items()
            for key in asked
            if place == key or place.startswith(f"{key}.") or place == f"{key}.png" or key == place.split(".", 1)[1]
        }
    )
