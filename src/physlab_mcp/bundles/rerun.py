"""Running a package again in this environment, and comparing all that it leaves."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec

from physlab_mcp import __version__
from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.bundles import shapes
from physlab_mcp.bundles.compare import (
    DIFFERS,
    DONE,
    EXACT,
    EXCLUDED,
    NOT_COMPARED,
    WITHIN,
    Compared,
    Rules,
    compare_jobs,
    not_compared,
)
from physlab_mcp.bundles.container import Folder, read_json, read_lines
from physlab_mcp.bundles.functions import put_functions, relocated
from physlab_mcp.bundles.lock import differences
from physlab_mcp.bundles.record import read_record
from physlab_mcp.bundles.shapes import Record, Tolerances
from physlab_mcp.dags.run import plan_for
from physlab_mcp.dags.validate import Limits, validate
from physlab_mcp.engine.engine import Engine
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.dag import Dag
from physlab_mcp.schemas.run import Plan

OWNER = "local"
MOST_TOLD = 200
_LOOK_S = 20.0
_KEPT = ("parallelism", "use_cache", "on_failure", "allow_large", "sandbox", "title")


class Report(msgspec.Struct, frozen=True, omit_defaults=False):
    """How a reproduction ended.

    `values` tells of the results alone: exact, within_tolerance, differ, or not_run. `environment` lists what is not as
    locked: {what, name, locked, here}. `counts` are comparisons by their verdict, `differences` the first 200 that
    differ; all of them stand in `comparison`. Jobs that had not been done when the record was made are counted as `not_compared`.
    """

    verdict: str  # exact | within_tolerance | environment_differs | failed
    values: str
    handle: str
    rerun: str
    points: int
    jobs: int
    counts: dict[str, int]
    differences: list[dict[str, Any]]
    environment: list[dict[str, Any]]
    notes: list[str]
    comparison: str = ""
    work: str = ""
    duration_s: float = 0.0
    message: str = ""


def verdict_of(values: str, environment: list[dict[str, Any]], *, completed: bool) -> str:
    """The one word. What did not run to its end, or differs in the declared environment, has failed."""
    if not completed:
        return "failed"
    if environment:
        return "environment_differs"
    return {EXACT: "exact", WITHIN: "within_tolerance"}.get(values, "failed")


class Rerun:
    """One package, unpacked and verified, run once more on an engine whose data directory is new."""

    def __init__(
        self,
        engine: Engine,
        registry: Registry,
        blobs: Blobs,
        package: Path,
        work: Path,
        *,
        say: Callable[[str], Any] = lambda _: None,
    ) -> None:
        self.engine, self.registry, self.blobs = engine, registry, blobs
        self.package, self.work, self.say = Folder(package), work, say
        self.info: dict[str, Any] = read_json(self.package, shapes.INFO)
        self.index: dict[str, dict[str, Any]] = read_json(self.package, f"{shapes.ARTIFACTS}index.json")

    async def run(self) -> Report:
        """Submit, wait, compare.

        Raises:
            RequestError: the graph is not valid here (the message names the defects), or nothing of it had been done.

        """
        begun = time.monotonic()
        if not any(job["state"] in DONE for job in read_lines(self.package, shapes.JOBS)):
            raise RequestError(
                f"Nothing of {self.info['handle']} had been done when it ended: there is nothing to compare.",
                field="path", got=str(self.package.path), remedy="Make a package of a run that did something.",
            )  # fmt: skip
        environment = differences(read_json(self.package, shapes.LOCK), __version__)
        await anyio.to_thread.run_sync(self._put_inputs)
        dag, plan = await anyio.to_thread.run_sync(self._planned)
        handle = await self.engine.submit_plan(plan, dag)
        self.say(f"Running {self.info['points']} points of {len(dag.nodes)} nodes as {handle}.")
        await self._wait(handle)
        record = await read_record(self.engine, handle, owner=OWNER)
        environment += self._code_differences(record)
        counts, wrong, failed = await anyio.to_thread.run_sync(self._compare, record)
        values = "differ" if counts.get(DIFFERS) else WITHIN if counts.get(WITHIN) else EXACT
        return Report(
            verdict=verdict_of(values, environment, completed=not failed),
            values=values,
            handle=str(self.info["handle"]),
            rerun=handle,
            points=len(record.points),
            jobs=len(record.jobs),
            counts=counts,
            differences=wrong,
            environment=environment,
            notes=list(self.info.get("warnings", ())),
            comparison=str(self.work / "comparison.jsonl"),
            work=str(self.work),
            duration_s=round(time.monotonic() - begun, 3),
        )

    def _path(self, digest: str) -> Path:
        return self.package.path / self.index[digest]["path"]

    def _put_inputs(self) -> None:
        """What jobs are given from outside goes to where jobs look for it."""
        for digest in self.info.get("inputs", ()):
            one = self.index[digest]
            self.blobs.put_file(self._path(digest), name=one["name"], media_type=one["media_type"])
        put_functions(self._paths(), self.info, self.blobs, self.engine.data)

    def _paths(self) -> dict[str, Path]:
        return {digest: self._path(digest) for digest in self.index}

    def _planned(self) -> tuple[Dag, Plan]:
        old = read_json(self.package, shapes.PLAN)
        spec = _anywhere(read_json(self.package, shapes.SPEC))
        if self.info.get("functions"):
            spec = relocated(spec, self._paths(), self.blobs, self.engine.data, self.work / "folder")
        checked = validate(spec, self.registry, limits=Limits(allow_large=bool(old.get("allow_large"))))
        if checked.dag is None:
            raise RequestError(
                "The graph of the package is not valid in this environment.",
                remedy="Reproduce it in a fresh environment, without --here.",
                details=[msgspec.to_builtins(one) for one in checked.errors],
            )
        kept = {name: old[name] for name in _KEPT if name in old}
        if old.get("on_failure") == "stop":
            kept["on_failure"] = "continue"
        plan = plan_for(
            checked.dag, registry=self.registry, params=old.get("params") or {}, sweep=_unstopped(old.get("sweep")),
            owner=OWNER, **kept,
        )  # fmt: skip
        if plan.sweep is not None and (reached := self._reached()) < plan.total:
            plan = msgspec.structs.replace(plan, total=max(1, reached))  # nobody knows what the others would give
        return checked.dag, plan

    def _reached(self) -> int:
        """How many points, from the first, have to run so that all that had been done is done again."""
        done = {job["id"] for job in read_lines(self.package, shapes.JOBS) if job["state"] in DONE}
        reached = 0
        for place, point in enumerate(read_lines(self.package, shapes.POINTS)):
            if point["index"] != place:  # one was taken out: what it was cannot be told from here
                return self.info["points_planned"]
            if not done.isdisjoint(point.get("jobs", {}).values()):
                reached = place + 1
        return reached

    async def _wait(self, handle: str) -> None:
        seen = -1
        while True:
            status = await self.engine.wait(handle, owner=OWNER, timeout_s=_LOOK_S, until_end=True)
            if status.ended:
                return
            if status.done != seen:
                seen = status.done
                self.say(f"{status.done} of {status.total} jobs are done.")

    def _code_differences(self, record: Record) -> list[dict[str, Any]]:
        """Node types whose sources are not those that ran, although the version of their package is the same."""
        before = read_json(self.package, shapes.NODE_TYPES)
        after: dict[str, set[str]] = {}
        for job in record.jobs.values():
            version = (job.result or {}).get("meta", {}).get("code_version")
            if version:
                after.setdefault(job.type, set()).add(_sources(str(version)))
        return [
            {"what": "code", "name": name, "locked": ", ".join(sorted(ran)), "here": ", ".join(sorted(after[name]))}
            for name, one in sorted(before.items())
            if (ran := {_sources(version) for version in one.get("ran_as", ())}) and after.get(name, ran) - ran
        ]

    def _compare(self, record: Record) -> tuple[dict[str, int], list[dict[str, Any]], bool]:
        counts: dict[str, int] = dict.fromkeys((EXACT, WITHIN, DIFFERS, EXCLUDED, NOT_COMPARED), 0)
        wrong: list[dict[str, Any]] = []
        failed = False
        encode = msgspec.json.Encoder().encode
        with (self.work / "comparison.jsonl").open("wb") as stream:
            for one in self._comparisons(record):
                counts[one.verdict] += 1
                stream.write(encode(one) + b"\n")
                if one.verdict == DIFFERS:
                    failed |= one.kind == "state"
                    if len(wrong) < MOST_TOLD:
                        wrong.append(msgspec.to_builtins(one))
        return counts, wrong, failed

    def _comparisons(self, record: Record) -> Iterator[Compared]:
        """Every job once, at the first point that has it."""
        rules = Rules(msgspec.convert(self.info["tolerances"], Tolerances))
        before = {job["id"]: job for job in read_lines(self.package, shapes.JOBS)}
        after = {point.index: point for point in record.points}
        seen: set[str] = set()

        def read_before(ref: Mapping[str, Any]) -> bytes:
            return self._path(ref["sha256"]).read_bytes()

        def read_after(ref: Mapping[str, Any]) -> bytes:
            return self.blobs.read(ref["sha256"])

        for point in read_lines(self.package, shapes.POINTS):
            name = "" if self.info["kind"] == "run" else point["id"]
            again = after.get(point["index"])
            if not any(before[job_id]["state"] in DONE for job_id in point.get("jobs", {}).values()):
                yield Compared(
                    "point", NOT_COMPARED, point["id"], point=name, note="nothing of it had been done", kind="state"
                )
                continue
            if again is None or (name and again.id != name):
                yield Compared("point", DIFFERS, point["id"], again and again.id, point=name, kind="state")
                continue
            for node, job_id in point.get("jobs", {}).items():
                if job_id in seen:
                    continue
                seen.add(job_id)
                other = again.jobs.get(node)
                if other is None and before[job_id]["state"] not in DONE:
                    yield msgspec.structs.replace(not_compared(before[job_id], None), point=name)
                    continue
                if other is None:
                    yield Compared(f"{node}.state", DIFFERS, before[job_id]["state"], None, point=name, kind="state")
                    continue
                got = msgspec.to_builtins(record.jobs[other])
                for one in compare_jobs(before[job_id], got, rules, read_before, read_after):
                    yield msgspec.structs.replace(one, point=name)


def _unstopped(sweep: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The sweep without what would end it early: where that happened depends on which points end first."""
    if sweep is None:
        return None
    kept = {name: value for name, value in sweep.items() if name not in ("success", "on_success")}
    if kept.get("on_failure") == "stop":
        del kept["on_failure"]
    return kept


def _anywhere(spec: dict[str, Any]) -> dict[str, Any]:
    """The graph without the backends that its nodes name: it is run again on this machine, wherever it ran."""
    nodes = [{name: value for name, value in one.items() if name != "backend"} for one in spec["nodes"]]
    return {**spec, "nodes": nodes}


def _sources(code_version: str) -> str:
    """`<version>:<digest>` without the versions of packages, which are compared by themselves."""
    return ":".join(code_version.split(":")[:2])


def to_stderr(text: str) -> None:
    """A line of progress."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
