"""The method `analyze`: a sweep in a few numbers, with figures on demand."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.replies import AnalysisReply
from physlab_mcp.tools import render
from physlab_mcp.tools.reply import Bench, Caller, Link, Reply

if TYPE_CHECKING:
    from physlab_mcp.analysis.analysis import Analysis
    from physlab_mcp.analysis.figures.chart import Chart
    from physlab_mcp.schemas.calls_orchestrator import Analyze

_SUITABLE = [{"type": "auto"}]  # the figures that suit the table


async def analyze(call: Analyze, caller: Caller, bench: Bench) -> Reply:
    """Statistics, best point, effects and failures of a sweep's metric; the figures that were asked for as artifacts.

    Raises:
        RequestError: the handle is no sweep's, or a metric, column or figure is unknown.

    """
    status = await bench.engine.status(call.run_id, owner=caller.principal, limit=0)
    if status.kind != "sweep":
        raise RequestError(
            f"{call.run_id} is a {status.kind}; an analysis is about a sweep.", field="run_id", got=call.run_id,
            remedy="run_result tells what a single run left; run_list names your sweeps.",
        )  # fmt: skip
    from physlab_mcp.analysis.sweeps import table_of, timeline_of

    table = await table_of(bench.engine.store, status.id)
    timeline = await timeline_of(bench.engine.store, status.id, now=time.time())
    slots = round(bench.engine.capacity().cpus)
    found = await anyio.to_thread.run_sync(lambda: _analysed(call, table, timeline, slots))
    charts = found.charts()
    drawn = charts if call.plots else []
    links = [await anyio.to_thread.run_sync(_kept, chart, bench) for chart in drawn]
    body = AnalysisReply(
        sweep_id=status.id,
        state=str(status.state),
        analysis=found.numbers,
        figures=[
            {"name": chart.name, "caption": chart.caption, "uri": link.uri}
            for chart, link in zip(drawn, links, strict=True)
        ]
        or None,
        plots=[one.type for one in found.plots] if not drawn else None,
        next=None if drawn else {"method": "analyze", "run_id": status.id, "metric": found.metric, "plots": _SUITABLE},
    ).wire()
    return Reply(
        body, render.text_of(_lines(status.id, found, body), call.response_format, beside=body), tuple(links),
        handle=status.id,
    )  # fmt: skip


def _analysed(call: Analyze, table: Any, timeline: Sequence[Mapping[str, Any]], slots: int) -> Analysis:
    from physlab_mcp.analysis.analysis import analyse

    return analyse(
        table,
        metric=call.metric,
        maximize=call.maximize,
        group_by=call.group_by or None,
        plots=None if not call.plots or call.plots == _SUITABLE else call.plots,
        timeline=timeline,
        slots=slots,
    )


def _kept(chart: Chart, bench: Bench) -> Link:
    from physlab_mcp.analysis.figures.chart import render as drawn

    data = drawn(chart, "png")
    ref = bench.blobs.put(data, name=f"{chart.name}.png", media_type="image/png")
    return Link(f"physlab://artifacts/{ref.sha256}", f"{chart.name}.png", "image/png", ref.size)


def _lines(handle: str, found: Analysis, body: dict[str, Any]) -> Sequence[str]:
    numbers = found.numbers
    counts = ", ".join(f"{count} {state}" for state, count in numbers["points"].items())
    lines = [f"{handle}: {counts}."]
    best = numbers.get("best")
    if best is not None:
        where = ", ".join(f"{name}={value}" for name, value in best["params"].items())
        lines.append(f"{'Greatest' if found.maximize else 'Least'} {found.metric}: {best['value']:g} at {where}.")
    effects = numbers.get("effects")
    if effects is not None:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in effects["main"].items())
        lines.append(f"Share of the variance ({effects['method']}): {shares}.")
    lines += [f"{one['points']} x {one['error']}" for one in numbers.get("errors", ())]
    lines += list(numbers.get("notes", ()))
    lines += [f"{one['name']}: {one['caption']}" for one in body.get("figures") or ()]
    lines.append(render.next_line(body.get("next")))
    return lines
