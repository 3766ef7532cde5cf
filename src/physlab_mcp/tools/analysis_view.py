"""The method `analyze`: a sweep in a few numbers, with figures on demand."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
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

_PAGE_POINTS = 500  # a page of more takes longer than an answer should
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
    from physlab_mcp.analysis.choose import compared
    from physlab_mcp.analysis.sweeps import others_of, table_of, timeline_of

    others = await others_of(bench.engine, compared(call.plots), owner=caller.principal)
    table = await table_of(bench.engine.store, status.id)
    timeline = await timeline_of(bench.engine.store, status.id, now=time.time())
    slots = round(bench.engine.capacity().cpus)
    found = await anyio.to_thread.run_sync(lambda: _analysed(call, table, timeline, slots, others))
    drawn = found.charts() if call.plots else []
    links = [await anyio.to_thread.run_sync(_kept, chart, bench) for chart in drawn]
    files = await anyio.to_thread.run_sync(_files, table, found, drawn, status.title, bench) if drawn else []
    body = AnalysisReply(
        sweep_id=status.id,
        state=str(status.state),
        analysis=found.numbers,
        figures=[
            {"name": chart.name, "caption": chart.caption, "uri": link.uri}
            for chart, link in zip(drawn, links, strict=True)
        ]
        or None,
        files=[{"name": link.name, "uri": link.uri, "bytes": link.size} for link in files] or None,
        plots=[one.type for one in found.plots] if not drawn else None,
        next=None if drawn else {"method": "analyze", "run_id": status.id, "metric": found.metric, "plots": _SUITABLE},
    ).wire()
    return Reply(
        body, render.text_of(_lines(status.id, found, body), call.response_format, beside=body), (*links, *files),
        handle=status.id,
    )  # fmt: skip


def _analysed(
    call: Analyze, table: Any, timeline: Sequence[Mapping[str, Any]], slots: int, others: Mapping[str, Any]
) -> Analysis:
    from physlab_mcp.analysis.analysis import analyse

    return analyse(
        table,
        metric=call.metric,
        maximize=call.maximize,
        group_by=call.group_by or None,
        plots=None if not call.plots or call.plots == _SUITABLE else call.plots,
        timeline=timeline,
        slots=slots,
        others=others,
    )


def _kept(chart: Chart, bench: Bench) -> Link:
    from physlab_mcp.analysis.figures.chart import render as drawn

    data = drawn(chart, "png")
    ref = bench.blobs.put(data, name=f"{chart.name}.png", media_type="image/png")
    return Link(f"physlab://artifacts/{ref.sha256}", f"{chart.name}.png", "image/png", ref.size)


def _files(table: Any, found: Analysis, drawn: Sequence[Chart], title: str, bench: Bench) -> list[Link]:
    """The points as CSV, and the page of the analysis where the sweep is small enough to draw it in a moment."""
    from physlab_mcp.analysis.dashboard import dashboard
    from physlab_mcp.analysis.export import csv_bytes

    made = [("points.csv", "text/csv", csv_bytes(table))]
    if len(table) <= _PAGE_POINTS:
        made.append(("sweep.html", "text/html", dashboard(found.table, drawn, found.numbers, title=title).encode()))
    return [
        Link(f"physlab://artifacts/{ref.sha256}", name, media_type, ref.size)
        for name, media_type, data in made
        for ref in [bench.blobs.put(data, name=name, media_type=media_type)]
    ]


def _beside(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Fronts and comparisons, a line each."""
    for one in numbers.get("fronts", ()):
        said = ", ".join(f"{name} {sense}" for name, sense in one["objectives"].items())
        first = "; ".join(
            ", ".join(f"{name}={value}" for name, value in {**row["params"], **row["values"]}.items())
            for row in one["front"]
        )
        yield f"Front of {said}: {one['on_front']} of {one['points']} points: {first}{'; …' if one.get('more') else ''}."
    for one in numbers.get("comparisons", ()):
        for name, told in one["metrics"].items():
            sure = f" (95 %: {told['difference_95'][0]} to {told['difference_95'][1]})" if told["difference_95"] else ""
            over = f"{told['pairs']} pairs" if "pairs" in told else "no shared points (Welch)"
            yield f"{name} in {one['with']} less here: {told['difference']}{sure}, {over}."


def _lines(handle: str, found: Analysis, body: dict[str, Any]) -> Sequence[str]:
    numbers = found.numbers
    counts = ", ".join(f"{count} {state}" for state, count in numbers["points"].items())
    lines = [f"{handle}: {counts}."]
    best = numbers.get("best")
    if best is not None:
        where = ", ".join(f"{name}={value}" for name, value in best["params"].items())
        unit = f" {numbers['unit']}" if "unit" in numbers else ""
        lines.append(f"{'Greatest' if found.maximize else 'Least'} {found.metric}: {best['value']:g}{unit} at {where}.")
    lines += _beside(numbers)
    effects = numbers.get("effects")
    if effects is not None:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in effects["main"].items())
        lines.append(f"Share of the variance ({effects['method']}): {shares}.")
    lines += [f"{one['points']} x {one['error']}" for one in numbers.get("errors", ())]
    lines += list(numbers.get("notes", ()))
    lines += [f"{one['name']}: {one['caption']}" for one in body.get("figures") or ()]
    lines.append(render.next_line(body.get("next")))
    return lines
