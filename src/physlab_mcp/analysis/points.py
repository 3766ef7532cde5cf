"""The points of a sweep read out of the store: what each was asked, how it ended, what it gave."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from physlab_mcp.nodes.function_values import Decoder, number_of
from physlab_mcp.schemas.result import Failure, NodeResult
from physlab_mcp.schemas.run import run_state

if TYPE_CHECKING:
    from physlab_mcp.analysis.table import PointRow
    from physlab_mcp.artifacts.blobs import Blobs
    from physlab_mcp.schemas.run import Run
    from physlab_mcp.stores.base import NodeOutcome, Store

_result = msgspec.json.Decoder(NodeResult).decode
_failure = msgspec.json.Decoder(Failure).decode
_PAGE = 200  # points


class TaskOutcome(msgspec.Struct, frozen=True):
    """What one task of a point left. A task that points share is the same in each of them."""

    task: str
    job_id: str
    state: str
    values: dict[str, Any] = {}
    error: str | None = None
    traceback: str | None = None
    duration_s: float | None = None
    cached: bool = False


class Point(msgspec.Struct, frozen=True):
    """One point of a sweep. `duration_s` is how long its tasks ran in all (s); a task that points share counts in each."""

    index: int
    id: str
    run_id: str
    state: str
    params: dict[str, Any]
    derived: dict[str, Any]
    tasks: dict[str, TaskOutcome]
    duration_s: float | None = None
    ended_at: float | None = None

    @property
    def succeeded(self) -> bool:
        """Whether every task of it did."""
        return self.state == "succeeded"

    @property
    def ended(self) -> bool:
        """Whether it will never change again."""
        return self.state in ("succeeded", "failed", "cancelled", "skipped")

    @property
    def metrics(self) -> dict[str, Any]:
        """Numbers, texts and booleans by `task.key`, then by `key` where one task alone gives it."""
        found = self.full_metrics
        given = [key for task in self.tasks.values() for key in task.values]
        short = {
            key: found[f"{name}.{key}"]
            for name, task in self.tasks.items()
            for key in task.values
            if given.count(key) == 1 and f"{name}.{key}" in found
        }
        return {**short, **found}

    @property
    def full_metrics(self) -> dict[str, Any]:
        """Numbers, texts and booleans by `task.key`."""
        return {
            f"{name}.{key}": number_of(value)
            for name, task in self.tasks.items()
            for key, value in task.values.items()
            if isinstance(number_of(value), bool | int | float | str)
        }

    @property
    def error(self) -> str | None:
        """Why it failed: the first task that did."""
        return next((one.error for one in self.tasks.values() if one.state == "failed"), None)

    @property
    def traceback(self) -> str | None:
        """Where the function of that task failed."""
        return next((one.traceback for one in self.tasks.values() if one.state == "failed"), None)

    def row(self) -> PointRow:
        """The point as a row of the table."""
        from physlab_mcp.analysis.table import PointRow

        return PointRow(
            index=self.index, point_id=self.id, state=self.state, error=self.error, duration_s=self.duration_s,
            params=self.params, metrics=self.full_metrics, derived=self.derived, ended_at=self.ended_at,
        )  # fmt: skip


async def read_points(
    store: Store, handle: str, names: Sequence[str], *, after_index: int = -1, limit: int = _PAGE
) -> list[Point]:
    """The points behind `after_index` that were expanded, in order; `names`: the base parameters."""
    runs = await store.find_runs(handle, after_index=after_index, limit=limit)
    outcomes = await store.outcomes([run.id for run in runs]) if runs else {}
    return [point_of(run, outcomes.get(run.id, ()), names) for run in runs]


async def read_single(store: Store, run_id: str) -> list[Point]:
    """The one point of a run without a sweep."""
    run = await store.get_run(run_id)
    if run is None:
        return []
    outcomes = await store.outcomes([run_id])
    return [point_of(run, outcomes.get(run_id, ()), ())]


def point_of(run: Run, outcomes: Iterable[NodeOutcome], names: Sequence[str]) -> Point:
    """A point from its run and the outcomes of its jobs."""
    from physlab_mcp.dags.sweep import point_id

    base = {name: value for name, value in run.point.items() if not names or name in names}
    ended = bool(run.ended_at)
    tasks = {one.task: one for one in map(_outcome, outcomes)}
    return Point(
        index=run.point_index,
        id=point_id(base),
        run_id=run.id,
        state=run_state(run.total, run.expanded, run.counts),
        params=base,
        derived={name: value for name, value in run.point.items() if name not in base},
        tasks=tasks,
        duration_s=sum(one.duration_s or 0.0 for one in tasks.values()) if ended else None,
        ended_at=run.ended_at if ended else None,
    )


def _outcome(one: NodeOutcome) -> TaskOutcome:
    state = one.state.value
    took = max(0.0, one.ended_at - one.started_at - one.paused_s) if one.ended_at and one.started_at else None
    if state == "succeeded" and one.body is not None:
        result = _result(one.body)
        return TaskOutcome(
            one.node_id, one.job_id, state, values=_values(result), duration_s=took, cached="cached" in result.meta
        )
    failure = _failure(one.body) if one.body is not None and state == "failed" else None
    error = _told(failure) if failure is not None else one.text or None
    trace = failure.traceback if failure is not None else None
    return TaskOutcome(one.node_id, one.job_id, state, error=error, traceback=trace, duration_s=took)


def _values(result: NodeResult) -> dict[str, Any]:
    """Values, and arrays and files under their own names; of those that a value links to, the value only."""
    from physlab_mcp.engine.inputs import pick

    linked = set(_links(result.values))
    found = pick(result, "*", node="")
    return {
        name: value
        for name, value in found.items()
        if name in result.values or value["$artifact"]["sha256"] not in linked
    }


def _told(failure: Failure) -> str:
    """What went wrong, and the remedy where there is one."""
    end = "" if failure.message.endswith((".", "!", "?")) else "."
    return f"{failure.message}{end} {failure.remedy}" if failure.remedy else failure.message


def _links(values: Any) -> Iterator[str]:
    """The SHA-256 of every artifact that stands in values."""
    stack = [values]
    while stack:
        one = stack.pop()
        if isinstance(one, list):
            stack.extend(one)
        elif isinstance(one, dict):
            if isinstance(one.get("$artifact"), dict):
                yield one["$artifact"].get("sha256", "")
            else:
                stack.extend(one.values())


def loaded(blobs: Blobs, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with arrays, tables and objects read from their artifacts; a file is the path of its bytes."""
    from physlab_mcp.nodes.io import NodeIO

    decoder = Decoder(NodeIO(job_id="", blobs=blobs), None)
    return {name: decoder.value(value) for name, value in values.items()}
