"""Sweeps that end early: once a point meets the success criteria the rest is not needed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from physlab_mcp.engine.expansion import Expander
from physlab_mcp.errors import PhyslabError
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.result import NodeResult
from physlab_mcp.schemas.run import Plan, Request, Run, run_state
from physlab_mcp.stores.base import Change, Store, TurnView

logger = logging.getLogger(__name__)
_PAGE = 200
_values = msgspec.json.Decoder(NodeResult).decode


class Goals:
    """Looks at the points that succeeded, after the commit; asks for the end of a sweep within the next turn."""

    def __init__(self, store: Store, expander: Callable[[], Expander]) -> None:
        self._store = store
        self._expander = expander
        self._plans: dict[str, Plan | None] = {}  # None: without criteria
        self._reached: dict[str, Run] = {}  # not yet asked for
        self._measured: set[str] = set()  # sweeps of which it was told that the criteria cannot be looked at
        self._told: list[Event] = []  # to be written within the next turn

    @property
    def open(self) -> bool:
        """Whether an end is to be asked for."""
        return bool(self._reached or self._told)

    async def look(self, changes: Iterable[Change]) -> None:
        """Evaluate the points of these changes; of a sweep that is met for the first time all that are there."""
        runs: dict[str, dict[str, None]] = {}
        for change in changes:
            if change.new.state is JobState.SUCCEEDED and change.old.sweep_id and change.old.run_id:
                runs.setdefault(change.old.sweep_id, {})[change.old.run_id] = None
        for sweep_id, run_ids in runs.items():
            try:
                await self._look_at(sweep_id, run_ids)
            except PhyslabError as error:  # met again at the next success, and then all of its points are looked at
                logger.warning("the goal of %s was not looked at: %s", sweep_id, error)
                self._plans.pop(sweep_id, None)

    async def _look_at(self, sweep_id: str, run_ids: Iterable[str]) -> None:
        if sweep_id not in self._plans:
            await self._meet(sweep_id)
        plan = self._plans[sweep_id]
        if plan is not None and sweep_id not in self._reached:
            found = [run for run_id in run_ids if (run := await self._store.get_run(run_id)) is not None]
            await self._evaluate(plan, found)

    async def _meet(self, sweep_id: str) -> None:
        if len(self._plans) > 1000:
            self._plans.clear()
        state = await self._store.get_plan(sweep_id)
        wanted = state is not None and state.plan.sweep is not None and "success" in state.plan.sweep
        plan = self._plans[sweep_id] = state.plan if state is not None and wanted and not state.plan.stopped else None
        after = -1
        while plan is not None and sweep_id not in self._reached:  # what an engine before this one may not have seen
            page = await self._store.find_runs(sweep_id, after_index=after, limit=_PAGE)
            if not page:
                return
            await self._evaluate(plan, page)
            after = page[-1].point_index

    async def _evaluate(self, plan: Plan, runs: Sequence[Run]) -> None:
        outcomes = await self._store.outcomes([run.id for run in runs])
        for run in runs:
            values: dict[str, dict[str, Any]] = {
                one.node_id: _values(one.body).values
                for one in outcomes.get(run.id, ())
                if one.state is JobState.SUCCEEDED and one.body is not None
            }
            if values:
                self._measure(plan, run, values)
            if values and self._expander().reached(plan, run.point, values):
                self._reached[plan.id] = run
                return

    def _measure(self, plan: Plan, run: Run, values: Mapping[str, Mapping[str, Any]]) -> None:
        """Tell once, at the first such point that succeeded, why the criteria cannot be looked at."""
        if plan.id in self._measured or run_state(run.total, run.expanded, run.counts) != "succeeded":
            return
        text = self._expander().unmeasured(plan, run.point, values)
        if text is not None:
            if len(self._measured) > 1000:
                self._measured.clear()
            self._measured.add(plan.id)
            self._told.append(Event("log", plan.id, run.ended_at, {"text": text, "code": "unmeasured"}))

    def ask(self, view: TurnView, now: float) -> list[Change]:
        """Ask for the end of the sweeps whose goal is reached, and tell what was found. No changes of jobs."""
        if self._told:
            view.append(self._told)
            self._told = []
        for sweep_id, run in self._reached.items():
            said = {
                "text": "a point meets the success criteria",
                "run_id": run.id,
                "index": run.point_index,
                "point": run.point,
            }
            view.append([Event("log", sweep_id, now, said)])
            view.ask(Request(id=new_handle("req"), verb="finish", subject=sweep_id, owner="engine", at=now))
            self._plans[sweep_id] = None
        self._reached.clear()
        return []
