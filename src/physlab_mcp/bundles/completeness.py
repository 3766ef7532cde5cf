"""Whether everything is in a package that its own records refer to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from physlab_mcp.bundles import shapes
from physlab_mcp.bundles.container import Container, read_json, read_lines
from physlab_mcp.bundles.functions import TYPE as FUNCTION
from physlab_mcp.bundles.functions import named_in
from physlab_mcp.bundles.record import refs_in, taken_in
from physlab_mcp.bundles.shapes import Check
from physlab_mcp.dags.sweep import point_id
from physlab_mcp.errors import RequestError

_MOST = 20


def completeness(container: Container, info: Mapping[str, Any]) -> list[Check]:
    """The checks of a package whose files are those of its manifest."""
    found = _Found(container, info)
    steps: dict[str, Callable[[], list[str]]] = {
        "results": found.results,
        "points": found.points,
        "artifacts": found.artifacts,
        "code": found.code,
        "environment": found.environment,
    }
    checks: list[Check] = []
    for name, step in steps.items():
        try:
            wrong = step()
        except (RequestError, OSError, KeyError, TypeError, AttributeError, ValueError) as error:
            wrong = [f"it cannot be read: {getattr(error, 'message', None) or repr(error)}"]
        verdict, text = ("failed", f"{len(wrong)} wrong") if wrong else ("ok", found.said.get(name, "complete"))
        checks.append(Check(name, verdict, text, tuple(wrong[:_MOST])))
    return checks


class _Found:
    def __init__(self, container: Container, info: Mapping[str, Any]) -> None:
        self.container = container
        self.info = info
        self.files = set(container.names())
        self.jobs: dict[str, dict[str, Any]] = {}
        self.said: dict[str, str] = {}

    def results(self) -> list[str]:
        """Every job once, each of a node of the graph, with what it left."""
        dag = read_json(self.container, shapes.DAG)
        nodes = {node["id"] for node in dag["nodes"]}
        wrong: list[str] = []
        for job in read_lines(self.container, shapes.JOBS):
            if job["id"] in self.jobs:
                wrong.append(f"{job['id']} is there twice")
            if job["node"] not in nodes:
                wrong.append(f"{job['id']} is of a node {job['node']!r} that the graph does not have")
            if job["state"] == "succeeded" and job.get("result") is None:
                wrong.append(f"{job['id']} succeeded and has no result")
            self.jobs[job["id"]] = job
        if len(self.jobs) != self.info["jobs"]:
            wrong.append(f"{len(self.jobs)} jobs instead of {self.info['jobs']}")
        if dag["id"] != self.info["dag_id"]:
            wrong.append(f"the graph is {dag['id']}, not {self.info['dag_id']}")
        self.said["results"] = f"{len(self.jobs)} jobs"
        return wrong

    def points(self) -> list[str]:
        """Every point once, its name following from its parameters, its jobs among the results."""
        wrong: list[str] = []
        seen: set[str] = set()
        sweep = self.info["kind"] == "sweep"
        last = -1
        for point in read_lines(self.container, shapes.POINTS):
            if point["id"] in seen or point["index"] <= last:
                wrong.append(f"{point['id']} is there twice or out of order")
            seen.add(point["id"])
            last = point["index"]
            if sweep and point["id"] != point_id(point.get("params", {})):
                wrong.append(f"{point['id']} is not the name of its parameters")
            for node, job_id in point.get("jobs", {}).items():
                if job_id not in self.jobs or self.jobs[job_id]["node"] != node:
                    wrong.append(f"{point['id']}: there is no job {job_id} of {node}")
            if point["state"] == "succeeded" and not point.get("jobs"):
                wrong.append(f"{point['id']} succeeded without jobs")
        if len(seen) != self.info["points"]:
            wrong.append(f"{len(seen)} points instead of {self.info['points']}")
        ended_early = bool(read_json(self.container, shapes.PLAN).get("stopped"))
        if len(seen) < self.info["points_planned"] and self.info["state"] == "succeeded" and not ended_early:
            wrong.append(f"{self.info['points_planned']} points were planned")
        self.said["points"] = f"{len(seen)} of {self.info['points_planned']} points"
        return wrong

    def artifacts(self) -> list[str]:
        """Every artifact that a job took or left, under its own hash."""
        index: dict[str, dict[str, Any]] = read_json(self.container, f"{shapes.ARTIFACTS}index.json")
        listed = {one["path"]: one["sha256"] for one in read_json(self.container, shapes.MANIFEST)["files"]}
        wrong = [
            f"{one['path']} is not the artifact {digest}"
            for digest, one in index.items()
            if listed.get(one["path"]) != digest
        ]
        wanted: dict[str, str] = {}
        for job in self.jobs.values():
            for place, ref in refs_in(job.get("result") or {}).items():
                wanted[ref["sha256"]] = f"{job['node']}.{place}"
            named = named_in(job.get("params", {})) if job["type"] == FUNCTION else {}
            for digest in taken_in(job.get("params", {})) | set(named.values()):
                wanted[digest] = f"an input of {job['node']}"
        plan = read_json(self.container, shapes.PLAN)
        wanted |= dict.fromkeys(taken_in(plan.get("params", {})), "an input of the plan")
        wanted |= dict.fromkeys(self.info.get("inputs", ()), "an input")
        wrong += [f"{digest} is missing ({what})" for digest, what in wanted.items() if digest not in index]
        self.said["artifacts"] = f"{len(index)} artifacts, {len(self.info.get('inputs', ()))} of them inputs"
        return wrong

    def code(self) -> list[str]:
        """Every node type that ran, physlab itself, and the loose modules."""
        types = read_json(self.container, shapes.NODE_TYPES)
        wrong = [
            f"the node type {job['type']} is not described" for job in self.jobs.values() if job["type"] not in types
        ]
        wrong += [
            f"the code of {name} is not in the package" for name, one in types.items() if one.get("known") is False
        ]
        if not any(name.startswith("code/physlab_mcp-") and name.endswith(".whl") for name in self.files):
            wrong.append("there is no wheel of physlab")
        for module in self.info.get("modules", ()):
            base = f"{shapes.MODULES}{module.replace('.', '/')}"
            if not {f"{base}.py", f"{base}/__init__.py"} & self.files:
                wrong.append(f"the source of {module} is missing")
        if shapes.SCRIPT not in self.files:
            wrong.append(f"{shapes.SCRIPT} is missing")
        self.said["code"] = f"{len(types)} node types, {len(self.info.get('functions') or {})} functions"
        return sorted(set(wrong))

    def environment(self) -> list[str]:
        """A lock with a version of everything, and a wheel of each where a wheelhouse is declared."""
        lock = read_json(self.container, shapes.LOCK)
        wrong = [f"{name} is missing" for name in (shapes.REQUIREMENTS, shapes.PYTHON) if name not in self.files]
        if not lock.get("python") or not lock["pins"]:
            wrong.append("the lock is empty")
        wrong += [f"{pin['name']} has no version" for pin in lock["pins"] if not pin.get("version")]
        wheels = {
            name.split("/", 1)[1].split("-", 1)[0].lower() for name in self.files if name.startswith(shapes.WHEELHOUSE)
        }
        if self.info.get("wheelhouse"):
            lacking = [
                pin["name"] for pin in lock["pins"] if pin["name"].replace("-", "_").replace(".", "_") not in wheels
            ]
            wrong += [f"the wheelhouse has no wheel of {name}" for name in lacking]
        self.said["environment"] = f"Python {lock['python']}, {len(lock['pins'])} pinned packages" + (
            ", a wheel of each" if self.info.get("wheelhouse") else ""
        )
        return wrong
