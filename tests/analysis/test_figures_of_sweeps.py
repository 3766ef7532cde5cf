"""Every figure draws what it says, at every size, for ordinary and for awkward tables."""

import io
import math
import random
import re

import numpy as np
import pytest
from PIL import Image
from sweep_tables import grid, sweep, thousand, timeline

from physlab_mcp.analysis import choose
from physlab_mcp.analysis.analysis import analyse
from physlab_mcp.analysis.figures import chart
from physlab_mcp.analysis.figures.cells import cut
from physlab_mcp.analysis.figures.convergence import convergence
from physlab_mcp.analysis.figures.heatmap import heatmap
from physlab_mcp.analysis.figures.histogram import histogram
from physlab_mcp.analysis.figures.line import line
from physlab_mcp.analysis.figures.parallel import parallel
from physlab_mcp.analysis.figures.scatter_matrix import scatter_matrix
from physlab_mcp.analysis.figures.utilisation import busy_share, utilisation
from physlab_mcp.errors import RequestError

KINDS = ["heatmap", "line", "parallel_coordinates", "scatter_matrix", "histogram", "convergence", "utilisation"]
LONG = "a_very_long_parameter_name_that_goes_on_without_end_$x$"


def size(data):
    with Image.open(io.BytesIO(data)) as picture:
        return picture.size


def inked(data):
    """The share of pixels that are not white."""
    with Image.open(io.BytesIO(data)) as picture:
        return float((np.asarray(picture.convert("L")) < 250).mean())


def scattered(points=120):
    draw = random.Random(3)
    rows = [{"rate": 10 ** draw.uniform(-5, 0), "w": draw.random(), "n": draw.randint(1, 400)} for _ in range(points)]
    return sweep(rows, lambda p, i: None if i % 50 == 7 else {"m": p["w"] - (math.log10(p["rate"]) + 3) ** 2})


AWKWARD = {
    "one": lambda: sweep([{"a": 1, "b": 2}], lambda p, i: {"m": 1.0}),
    "dead": lambda: sweep(grid(a=[1, 2, 3], b=[1, 2]), lambda p, i: None, metrics=["fit.m"]),
    "empty": lambda: sweep([], lambda p, i: None, params=["a", "b"], metrics=["fit.m"]),
    "constant": lambda: sweep(grid(a=[1, 2, 3], b=[1, 2], c=[0, 1]), lambda p, i: {"m": 2.5}),
    "thirty": lambda: sweep(grid(a=list(range(30)), b=[f"kind {i} 漢" for i in range(30)]), lambda p, i: {"m": p["a"] - 15.0} if i % 11 else None),
    "long": lambda: sweep(grid(**{LONG: [10.0**i for i in range(-6, 7)], "opt<b>&_^": [f"a rather long level {i}" for i in range(4)], "flag": [True, False]}), lambda p, i: {"m $\\alpha$ of a long name without an end": i * 1e-9}),
    "scattered": scattered,
    "categories": lambda: sweep(grid(kind=[f"a long kind of thing {i}" for i in range(12)], seed=[1, 2]), lambda p, i: {"m": float(i % 7)}),
    "gaps": lambda: sweep([{"a": i, **({"b": i % 3} if i % 4 else {})} for i in range(20)], lambda p, i: {"m": float(i)}),
}  # fmt: skip


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_tables_are_drawn(name):
    df = AWKWARD[name]()
    for made in choose.charts(df, plots=KINDS, maximize=False, timeline=[{"slot": 0}]):
        width = chart.SINGLE_MM if name in {"long", "categories"} else chart.DOUBLE_MM
        drawing = chart.Drawing(made, dpi=60, width_mm=width)
        picture, marks = drawing.saved("png"), drawing.marks
        assert abs(size(picture)[0] - width / 25.4 * 60) <= 1
        assert inked(picture) > 0.001
        assert made.caption.endswith(".")
        assert all(-0.1 <= x <= 1.1 and -0.1 <= y <= 1.1 for x, y, _ in marks), made.name


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_equal_charts_give_equal_bytes(kind):
    def made():
        df = sweep(grid(a=[1, 2, 4], b=["x", "y"]), lambda p, i: {"m": float(p["a"])})
        return choose.charts(df, plots=KINDS if kind == "svg" else KINDS[:3], timeline=timeline(12, 2))

    for one, other in zip(made(), made(), strict=True):
        data = chart.render(one, kind, width_mm=85)
        assert data == chart.render(other, kind, width_mm=85), one.name
        assert data.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind])
        assert not re.search(rb"CreationDate|<dc:date>", data)


def test_a_vector_figure_has_its_width_in_print():
    made = histogram(scattered(), "m")
    assert b'width="240.944882pt"' in chart.render(made, "svg", width_mm=85)
    assert b'width="496.062992pt"' in chart.render(made, "svg", width_mm=175)


def test_formats_and_widths_that_cannot_be_are_refused():
    made = histogram(scattered(), "m")
    with pytest.raises(RequestError, match="no figure format 'gif'"):
        chart.render(made, "gif")
    with pytest.raises(RequestError, match="figure of 5 mm"):
        chart.render(made, width_mm=5)


def test_a_heatmap_holds_the_means_of_its_cells_and_says_over_what():
    df = sweep(
        grid(x=[1, 2], y=[10, 20], z=[0, 1], seed=[0, 1]),
        lambda p, i: {"m": p["x"] * p["y"] + p["z"] + p["seed"] * 2.0} if i else None,
    )
    made = heatmap(df, "x", "y", "m")
    cell = made.data.set_index(["x", "y"])["mean m"]
    assert cell["2", "20"] == pytest.approx(40 + 0.5 + 1)
    assert cell["1", "10"] == pytest.approx((10 * 3 + 1 + 2 + 3) / 3)
    assert "averaged over z, seed" in made.caption
    assert "Not shown: 1 did not succeed." in made.caption
    panels = heatmap(df, "x", "y", "m", ["z"])
    assert panels.data.groupby("z").size().tolist() == [4, 4]
    texts = [text for _, _, text in chart.Drawing(panels, dpi=40).marks]
    assert "z = 1: x = 2, y = 20: 42 (2 points)" in texts
    with pytest.raises(RequestError, match="would give 20 panels; at most 16"):
        heatmap(sweep(grid(x=[1, 2], y=[1, 2], k=list(range(20))), lambda p, i: {"m": 1}), "x", "y", "m", ["k"])


def test_panels_that_do_not_fill_their_rows_leave_the_rest_blank():
    df = sweep(grid(x=[1, 2], y=[1, 2], k=list(range(5))), lambda p, i: {"m": float(i)})
    assert inked(chart.render(heatmap(df, "x", "y", "m", ["k"]), dpi=50)) > 0.1


def test_crowded_levels_are_slanted_under_every_lowest_panel(monkeypatch):
    made = []
    new_figure = chart.look.new_figure
    monkeypatch.setattr(chart.look, "new_figure", lambda *given: made.append(new_figure(*given)) or made[-1])
    rates = [0.0001, 0.0005623, 0.003162, 0.01778, 0.1]
    df = sweep(grid(rate=rates, y=[1, 2], k=list(range(5))), lambda p, i: {"m": float(i)})
    chart.Drawing(heatmap(df, "rate", "y", "m", ["k"]), dpi=50)
    seen = [[label for label in axes.get_xticklabels() if label.get_visible()] for axes in made[0].axes[2:5]]
    assert [[label.get_rotation() for label in one] for one in seen] == [[45.0] * 5] * 3


def test_panels_of_a_scatter_matrix_share_their_scales_whichever_points_they_lack(monkeypatch):
    made = []
    new_figure = chart.look.new_figure
    monkeypatch.setattr(chart.look, "new_figure", lambda *given: made.append(new_figure(*given)) or made[-1])
    df = sweep(
        grid(x=[10.0**i for i in range(-3, 4)]), lambda p, i: {"y": float(i), "late": 5.0 + i if i > 4 else None}
    )
    chart.Drawing(choose.make(df, {"type": "scatter_matrix", "value": "y"}), dpi=50)
    panels = np.array(made[0].axes).reshape(3, 3)
    for column in range(3):
        assert len({axes.get_xlim() for axes in panels[:, column]}) == 1
    for row in range(3):
        assert len({axes.get_ylim() for at, axes in enumerate(panels[row]) if at != row}) == 1
    assert panels[2, 0].get_xscale() == "log"
    assert [text.get_text() for text in panels[2, 0].get_xticklabels(minor=True) if text.get_text()] == []


def test_a_mark_lies_where_its_value_is_drawn():
    df = sweep(grid(x=[0, 1, 2], y=[0, 1, 2]), lambda p, i: {"m": float(p["x"] == 2 and p["y"] == 0)})
    drawing = chart.Drawing(heatmap(df, "x", "y", "m"), dpi=80)
    data, marks = drawing.saved("png"), drawing.marks
    place = {text.split(":")[0]: (x, y) for x, y, text in marks}
    with Image.open(io.BytesIO(data)) as picture:
        plain = picture.convert("RGB")

        def colour(name):
            x, y = place[name]
            return plain.getpixel((round(x * plain.width) + 12, round(y * plain.height) + 12))

        assert sum(colour("x = 2, y = 0")) > 500 > 100 > sum(colour("x = 0, y = 2"))


def test_a_line_shows_means_and_students_interval():
    values = {1: [1.0, 2.0, 3.0], 2: [4.0, 4.0, 4.0]}
    df = sweep(grid(x=[2, 1], seed=[0, 1, 2]), lambda p, i: {"m": values[p["x"]][p["seed"]]})
    rows = line(df, "x", "m").data
    assert rows["x"].tolist() == [1, 2]
    assert rows["mean m"].tolist() == [2.0, 4.0]
    assert rows["high"][0] == pytest.approx(2 + 4.302652729911275 / math.sqrt(3))  # t of 2 degrees of freedom
    assert "bands are the 95% interval of the mean" in line(df, "x", "m").caption
    grouped = line(df, "x", "m", "seed")
    assert len(grouped.data) == 6
    assert "one point at each level" in grouped.caption
    texts = [text for _, _, text in chart.Drawing(grouped, dpi=40, width_mm=85).marks]
    assert "seed = 0, x = 1: 1 (1)" in texts
    with pytest.raises(RequestError, match="would give 12 lines; at most 10"):
        line(sweep(grid(x=[1, 2], k=list(range(12))), lambda p, i: {"m": 1}), "x", "m", "k")


def test_a_continuum_is_cut_into_bins():
    df = scattered(300)
    rate = cut(df["rate"], "rate")
    assert "logarithmic bins" in rate.note
    assert len(rate.labels) == 12
    assert " bins" in cut(df["w"], "w").note
    assert "logarithmic" not in cut(df["w"], "w").note
    assert cut(AWKWARD["gaps"]()["b"], "b").place.tolist()[:5] == [3, 1, 2, 0, 3]
    assert "over bins of rate with equally many points" in line(df, "rate", "m").caption


def test_parallel_coordinates_say_what_they_leave_out():
    many = sweep(grid(**{f"p{i}": [0, 1] for i in range(11)})[:64], lambda p, i: {"m": float(i)})
    shown = [f"p{i}" for i in range(11)]
    assert "1 more parameters not shown" in parallel(many, shown, "m").caption
    assert "no parameter varies" in parallel(many, [], "m").caption
    best_last = parallel(many, shown, "m", maximize=False).data["m"].tolist()
    assert best_last == sorted(best_last, reverse=True)


def test_a_scatter_matrix_says_what_it_leaves_out():
    df = sweep([{f"p{i}": i * j + j for i in range(7)} for j in range(5)], lambda p, i: {"m": float(i)})
    idle = scatter_matrix(df.assign(idle=math.nan), ["p0", "idle"], "m")
    assert inked(chart.render(idle, dpi=40)) > 0.005
    assert "1 more columns not shown" in scatter_matrix(df, [f"p{i}" for i in range(7)], "m").caption


def test_convergence_follows_the_order_of_completion_where_it_is_known():
    df = sweep(grid(a=[0, 1, 2, 3]), lambda p, i: {"m": [3.0, 1.0, 4.0, 2.0][i]})
    assert convergence(df, "m", maximize=True).data["best so far"].tolist() == [3, 3, 4, 4]
    assert "in the order of the points" in convergence(df, "m", maximize=True).caption
    timed = df.assign(ended_at=[4.0, 3.0, 2.0, 1.0])
    made = convergence(timed, "m", maximize=False)
    assert made.data["best so far"].tolist() == [2, 2, 1, 1]
    assert "in the order of completion, last bettered at point 3 of 4" in made.caption


def test_busy_time_counts_once_where_jobs_of_a_slot_overlap():
    assert busy_share([(0, 0, 4), (0, 2, 6), (1, 0, 3)]) == pytest.approx((6 + 3) / 12)
    assert busy_share([(0, 0, 5)], slots=2) == pytest.approx(0.5)
    assert busy_share([]) == 0.0
    assert busy_share([(0, 1, 1)]) == 0.0


def test_a_utilisation_timeline_tells_the_share_and_what_it_leaves_out():
    rows = [*timeline(), {"slot": 0, "started_at": None, "ended_at": None}]
    made = utilisation(rows, slots=5)
    wanted = busy_share([(r["slot"], r["started_at"], r["ended_at"]) for r in rows[:-1]], slots=5)
    assert f"busy {wanted:.1%} of the slot time" in made.caption
    assert "60 jobs in 5 slots" in made.caption
    assert "Not shown: 1 without a start or an end." in made.caption
    assert made.data["from_s"].min() == 0
    assert inked(chart.render(made, dpi=50)) > 0.1
    assert "none of 1 job has started and ended" in utilisation(rows[-1:]).caption
    hours = utilisation(
        [{"slot": "gpu-b", "started_at": 0, "ended_at": 9000}, {"slot": "gpu-a", "started_at": 0, "ended_at": 10}]
    )
    texts = [text for _, _, text in chart.Drawing(hours, dpi=40).marks]
    assert texts == ["slot gpu-a, 10.0 s", "slot gpu-b, 2.5 h"]


def suited(df, **more):
    return [one.type for one in choose.suitable(df, **more)]


def test_figures_suit_the_number_and_types_of_parameters():
    def measured(p, i):
        return {"m": float(i)}

    assert suited(sweep(grid(a=[1, 2, 3]), measured)) == ["line", "histogram", "convergence"]
    assert suited(sweep(grid(a=[1, 2, 3], b=[1, 2, 3]), measured)) == ["heatmap", "line", "histogram", "convergence"]
    assert suited(thousand(), metric="accuracy") == [
        "heatmap",
        "line",
        "parallel_coordinates",
        "scatter_matrix",
        "histogram",
        "convergence",
    ]
    assert suited(sweep([{"a": 1}], measured)) == ["histogram", "convergence"]
    assert suited(sweep(grid(a=[1, 2]), measured), timeline=True) == ["line", "utilisation"]
    assert suited(sweep(grid(seed=[1, 2, 3]), measured))[0] == "line"
    first = choose.suitable(thousand(), "accuracy")[0]
    assert (first.x_axis, first.y_axis, first.facet_by) == ("rate", "layers", ["kind"])


def test_what_a_user_asks_for_is_drawn():
    df = thousand()
    made = choose.charts(
        df,
        "accuracy",
        plots=[
            {"type": "heatmap", "x_axis": "rate", "y_axis": "layers", "value": "fit.accuracy", "facet_by": ["dropout"]},
            {"type": "Heat-map", "title": "Chosen axes"},
            {"type": "line", "x_axis": "rate", "group_by": "kind"},
            {"type": "scatter_matrix", "columns": ["rate", "accuracy"]},
            {"type": "parallel", "columns": ["rate", "kind"], "maximize": False},
            choose.FigureRequest(type="histogram", value="duration_s"),
            "utilization",
        ],
        timeline=timeline(),
    )  # fmt: skip
    names = ["heatmap", "heatmap_2", "line", "scatter_matrix", "parallel", "histogram", "utilisation"]
    assert [one.name for one in made] == names
    assert made[0].data["dropout"].nunique() == 5
    assert "averaged over kind" in made[0].caption
    assert made[1].title == "Chosen axes"
    assert choose.make(df, "histogram", name="accuracies", metric="accuracy").name == "accuracies"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"type": "heatmap", "x_axis": "raet"}, "x_axis: there is no such column 'raet'; the nearest is 'rate'"),
        (
            {"type": "heatmap", "value": "acuracy"},
            "value: there is no such column 'acuracy'; the nearest is 'accuracy'",
        ),
        (
            {"type": "heatmap", "facet_by": ["kinds"]},
            "facet_by: there is no such column 'kinds'; the nearest is 'kind'",
        ),
        ({"type": "heatmap", "x_axis": "rate", "y_axis": "rate"}, "A heatmap needs different columns"),
        ({"type": "heatmp"}, "There is no figure 'heatmp'; the nearest is 'heatmap'"),
        ({"type": "line", "xaxis": "rate"}, "no field 'xaxis'; the nearest is 'x_axis'"),
        ({"type": "heatmap", "facet_by": ["a", "b", "c"]}, "figure.facet_by: List should have at most 2 items"),
        ({"type": "scatter_matrix", "columns": ["kind"]}, "columns: 'kind' holds no numbers"),
    ],
)
def test_a_request_that_cannot_be_drawn_names_the_nearest(request_, message):
    with pytest.raises(RequestError, match=re.escape(message)):
        choose.make(thousand(), request_, metric="accuracy")


def test_a_sweep_with_too_few_parameters_says_so():
    with pytest.raises(RequestError, match="y_axis is needed"):
        choose.make(sweep(grid(a=[1, 2]), lambda p, i: {"m": 1.0}), "heatmap")


def test_none_is_a_level_of_every_figure():
    df = sweep(grid(depth=[None, 2, 1], penalty=[None, "l2"], seed=[0, 1]), lambda p, i: {"m": float(i)})
    assert heatmap(df, "depth", "penalty", "m").data["depth"].unique().tolist() == ["1", "2", "none"]
    assert heatmap(df, "depth", "seed", "m", ["penalty"]).data["points"].sum() == 12
    rows = line(df, "seed", "m", "penalty").data
    assert rows["penalty"].isna().sum() == 2
    for made in choose.charts(df, plots=["heatmap", "line", "parallel_coordinates", "scatter_matrix"]):
        drawing = chart.Drawing(made, dpi=60)
        picture, marks = drawing.saved("png"), drawing.marks
        assert inked(picture) > 0.01
        assert made.kind not in {"heatmap", "parallel_coordinates"} or any("depth = none" in one[2] for one in marks)
    assert "panels of depth (4) without the points" in scatter_matrix(df, ["depth", "m"], "m").caption


def test_none_beside_a_continuum_has_a_place_or_is_told():
    draw = random.Random(5)
    rows = [{"x": None if i % 10 == 0 else draw.random(), "k": i % 2} for i in range(100)]
    df = sweep(rows, lambda p, i: {"m": float(i)})
    assert cut(df["x"], "x").labels[-1] == "none"
    assert cut(df["x"], "x").place[0] == 12
    assert "Not shown: 10 with x = none." in line(df, "x", "m").caption
    assert inked(chart.render(parallel(df, ["x", "k"], "m"), dpi=60)) > 0.01


def test_a_request_that_fails_tells_its_place():
    df = thousand()
    with pytest.raises(RequestError) as found:
        choose.charts(df, "accuracy", plots=["histogram", {"type": "heatmap", "x_axis": "raet"}])
    assert found.value.field == "plots.1.x_axis"
    with pytest.raises(RequestError) as found:
        choose.charts(df, "accuracy", plots=[{"type": "heatmp"}])
    assert found.value.field == "plots.0.type"
    with pytest.raises(RequestError) as found:
        analyse(df, metric="accuracy", plots=["auto", {"type": "heatmap", "y_axis": "raet"}]).charts()
    assert found.value.field == "plots.1.y_axis"
    with pytest.raises(RequestError, match="no figure 'auto'"):
        choose.make(df, "auto", metric="accuracy")


def test_those_that_suit_can_be_joined_by_others():
    df = sweep(grid(a=[1, 2, 3]), lambda p, i: {"m": float(i)})
    suits = [{"type": "auto"}, {"type": "histogram"}, {"type": "histogram", "title": "Mine"}, "heatmap"]
    names = [one.type for _, one in choose.placed(df, suits, "m", maximize=True, timeline=False)]
    assert names == ["line", "histogram", "convergence", "histogram", "heatmap"]
    made = choose.charts(df, "m", plots=[{"type": "auto", "maximize": False, "value": "duration_s"}])
    assert "smallest" in made[-1].caption
    assert "duration_s" in made[0].caption


def test_the_end_of_a_name_is_enough_where_one_alone_has_it():
    df = sweep(
        [{"t.width": a, "u.width": a, "t.depth": b} for a in (1, 2) for b in (1, 2)], lambda p, i: {"m": float(i)}
    )
    assert "t.depth" in choose.make(df, {"type": "line", "x_axis": "depth"}).caption
    with pytest.raises(RequestError, match="no such column 'width'"):
        choose.make(df, {"type": "line", "x_axis": "width"})


def colours_and_cells(monkeypatch, made, width_mm=175):
    """The colour map of a heatmap and the numbers in its cells, with whether each lies within its cell."""
    seen = []
    place = chart._placed
    monkeypatch.setattr(chart, "_placed", lambda figure, marks: (seen.append(figure), place(figure, marks))[1])
    chart.render(made, dpi=80, width_mm=width_mm)
    figure = seen[0]
    figure.canvas.draw()
    inside = [
        text.get_window_extent().width <= abs(axes.transData.transform((1, 0)) - axes.transData.transform((0, 0)))[0]
        for axes in figure.axes
        for text in axes.texts
    ]
    return figure.axes[0].images[0].get_cmap().name, inside


def test_colours_part_at_zero_only_where_both_signs_matter(monkeypatch):
    def over(low, high):
        return heatmap(
            sweep(grid(x=[0, 1, 2], y=[0, 1]), lambda p, i: {"m": low + (high - low) * i / 5}), "x", "y", "m"
        )

    one = colours_and_cells(monkeypatch, over(-1.9, 31))[0]
    assert one == colours_and_cells(monkeypatch, over(1.0, 31))[0]
    assert one != colours_and_cells(monkeypatch, over(-20, 31))[0]


def test_numbers_in_cells_stay_within_them(monkeypatch):
    points = grid(x=[0, 1, 2, 3], y=[1, 2, 3], k=[1, 2, 3])
    made = heatmap(sweep(points, lambda p, i: {"m": -1.2345e-7 * (i + 1)}), "x", "y", "m", ["k"])
    for width in (85, 175, 400):
        _, inside = colours_and_cells(monkeypatch, made, width)
        assert all(inside)
        assert bool(inside) == (width == 400)
    few = heatmap(sweep(grid(x=[1, 2], y=[1, 2]), lambda p, i: {"m": i}), "x", "y", "m")
    assert len(colours_and_cells(monkeypatch, few)[1]) == 4


def test_intervals_of_categories_stand_beside_each_other():
    df = sweep(grid(kind=["a", "b"], k=[1, 2], seed=[0, 1]), lambda p, i: {"m": float(i)})
    marks = chart.Drawing(line(df, "kind", "m", "k"), dpi=40).marks
    assert len({x for x, _, _ in marks}) == 4


def test_a_metric_without_any_value_is_a_sentence():
    df = sweep(grid(x=[1, 2], y=[1, 2]), lambda p, i: {"m": math.nan})
    for made in choose.charts(df, "m", plots=KINDS[:-1]):
        assert "no values: " in made.caption.lower(), made.name
        assert inked(chart.render(made, dpi=60)) > 0.001
