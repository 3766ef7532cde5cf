"""The nodes of the plane: parametric curves, vector fields, phase portraits, surfaces, level lines, heat maps."""

import json

import numpy as np
import pytest
from node_runs import Bench
from PIL import Image
from pydantic import ValidationError

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import plot_figures

GRID = ("plot.surface_3d", "plot.contour_2d")


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def _rows(bench, result):
    return bench.blobs.read(result.figures[0].csv.sha256).decode().splitlines()


def _picture(bench, result):
    import io

    with Image.open(io.BytesIO(bench.blobs.read(result.figures[0].png.sha256))) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_parametric_curve_knows_length_area_and_that_it_closes(bench):
    result = bench.run("plot.parametric_2d", x_t="a*cos(t)", y_t="a*sin(t)", parameters={"a": 2}, emit_csv=True)
    bench.check_declared("plot.parametric_2d", result)
    assert result.values["length"] == pytest.approx(4 * np.pi, rel=1e-9)
    assert result.values["area"] == pytest.approx(4 * np.pi, rel=1e-9)
    assert result.values["closed"]
    assert result.values["length_converged"]
    assert _rows(bench, result)[:2] == ["t,x,y", "0.0,2.0,0.0"]
    np.testing.assert_allclose(np.hypot(bench.array(result, "x"), bench.array(result, "y")), 2.0)


def test_parametric_curve_through_a_pole_has_no_length_and_says_so(bench):
    result = bench.run("plot.parametric_2d", x_t="t", y_t="1/t", t=[-1, 1, 501])
    assert result.values["length"] is None
    assert not result.values["length_converged"]
    assert result.values["undefined_points"] == 1
    assert any("length" in text for text in result.meta["warnings"])


def test_parametric_range_has_both_spellings(bench):
    short = bench.run("plot.parametric_2d", x_t="t", y_t="t**2", t=[0, 1, 11], emit_plots=False)
    long = bench.run("plot.parametric_2d", x_t="t", y_t="t**2", t_min=0, t_max=1, samples=11, emit_plots=False)
    assert short.values == long.values
    assert short.values["area"] is None
    assert short.figures == ()


def test_field_knows_divergence_curl_and_where_it_vanishes(bench):
    result = bench.run("plot.field_2d", fx="-y + 3*x", fy="x + 2*y", grid_points=12, emit_csv=True)
    bench.check_declared("plot.field_2d", result)
    assert result.values["divergence_mean"] == pytest.approx(5.0, abs=1e-8)
    assert result.values["curl_mean"] == pytest.approx(2.0, abs=1e-8)
    assert result.values["zeros"] == [{"x": 0.0, "y": 0.0, "kind": "focus"}]
    assert result.arrays["fx"].sha256 != result.arrays["fy"].sha256
    assert bench.array(result, "fx").shape == (12, 12)
    assert bench.array(result, "fx")[0, -1] == pytest.approx(8.0)
    assert len(_rows(bench, result)) == 145


def test_field_rows_run_along_y(bench):
    result = bench.run("plot.field_2d", fx="y", fy="x", x=[0, 1, 3], y=[5, 7, 2], emit_plots=False)
    np.testing.assert_array_equal(bench.array(result, "fx"), [[5, 5, 5], [7, 7, 7]])
    assert (result.values["rows"], result.values["columns"]) == (2, 3)
    assert result.values["x_at_magnitude_max"] == 1.0


def test_arrows_and_stream_lines_are_different_pictures_of_one_field(bench):
    made = {kind: bench.run("plot.field_2d", fx="y", fy="-x", kind=kind) for kind in ("quiver", "stream")}
    assert made["quiver"].values == made["stream"].values
    assert made["quiver"].figures[0].png != made["stream"].figures[0].png
    assert "stream lines" in made["stream"].figures[0].caption


@pytest.mark.parametrize("kind", ["quiver", "stream"])
def test_field_with_undefined_points_is_drawn_without_them(bench, kind):
    result = bench.run("plot.field_2d", fx="sqrt(x)", fy="1/y", kind=kind, x=[-1, 1, 9], y=[-1, 1, 9])
    assert result.values["undefined_points"] == 9 * 4 + 5
    assert result.figures[0].png is not None
    assert result.meta["warnings"]


def test_phase_portrait_of_the_damped_pendulum_has_its_foci_and_saddles(bench):
    result = bench.run("plot.phase_portrait", dx="y", dy="-sin(x) - 0.2*y", x_min=-7, x_max=7, emit_csv=True)
    bench.check_declared("plot.phase_portrait", result)
    points = result.values["fixed_points"]
    np.testing.assert_allclose([one["x"] for one in points], np.arange(-2, 3) * np.pi, atol=1e-9)
    assert [one["kind"] for one in points] == ["focus", "saddle", "focus", "saddle", "focus"]
    assert {one["stability"] for one in points[::2]} == {"stable"}
    np.testing.assert_allclose(points[2]["eigenvalues"], [[-0.1, np.sqrt(0.99)], [-0.1, -np.sqrt(0.99)]], atol=1e-8)
    assert bench.array(result, "t").shape == (0, 1000)
    assert "saddle at (3.14, 0)" in result.figures[0].caption


def test_trajectory_finds_the_limit_cycle_and_its_published_period(bench):
    result = bench.run(
        "plot.phase_portrait",
        dx="y",
        dy="mu*(1 - x**2)*y - x",
        parameters={"mu": 1},
        trajectories=[[0.1, 0]],
        t_max=40,
        emit_csv=True,
    )
    (path,) = result.values["trajectories"]
    assert path["outcome"] == "closed_orbit"
    assert path["period"] == pytest.approx(6.6632868593231301, abs=1e-6)
    assert path["end_change"] < 1e-5
    x, y = (bench.array(result, f"trajectory_{name}")[0] for name in "xy")
    assert [x[-1], y[-1]] == path["end"]
    assert len(_rows(bench, result)) == 1001


def test_centre_is_told_with_a_warning_and_has_no_csv_of_its_own(bench):
    result = bench.run("plot.phase_portrait", dx="y", dy="-x", nullclines=False)
    assert [one["kind"] for one in result.values["fixed_points"]] == ["centre"]
    assert any("weak focus" in text for text in result.meta["warnings"])
    assert result.figures[0].csv is None


def test_trajectory_into_undefined_ground_stops_there(bench):
    result = bench.run("plot.phase_portrait", dx="-1", dy="sqrt(x)", trajectories=[[1, 0]], emit_plots=False)
    (path,) = result.values["trajectories"]
    assert path["outcome"] == "undefined"
    assert path["t_end"] == pytest.approx(1.0, abs=1e-3)
    assert any("undefined" in text for text in result.meta["warnings"])
    assert result.values["fixed_point_count"] == 0


def test_nullclines_are_where_a_rate_is_zero_and_not_where_it_has_a_pole():
    axis = np.linspace(-2, 2, 301)
    circle = plot_figures.zero_lines(lambda x, y: x**2 + y**2 - 1, axis, axis)
    np.testing.assert_allclose(np.hypot(*np.concatenate(circle).T), 1.0, atol=1e-3)
    assert plot_figures.zero_lines(lambda x, y: 1 / (x - 0.001) + 0 * y, axis, axis) == []


@pytest.mark.parametrize("node", GRID)
def test_function_of_two_variables_knows_extrema_between_its_points_and_its_integral(bench, node):
    result = bench.run(node, f="exp(-((x - 0.3)**2 + (y + 0.7)**2))", samples=15, emit_csv=True)
    bench.check_declared(node, result)
    assert result.values["z_max"] == pytest.approx(1.0, abs=1e-12)
    assert result.values["x_at_z_max"] == pytest.approx(0.3, abs=1e-6)
    assert result.values["y_at_z_max"] == pytest.approx(-0.7, abs=1e-6)
    assert bench.array(result, "z").max() < 0.999
    from scipy.special import erf

    across = [np.sqrt(np.pi) / 2 * (erf(2 - c) + erf(2 + c)) for c in (0.3, -0.7)]
    assert result.values["integral"] == pytest.approx(across[0] * across[1], rel=1e-12)
    assert len(_rows(bench, result)) == 226


@pytest.mark.parametrize("node", GRID)
def test_pole_is_not_taken_for_an_extremum(bench, node):
    values = bench.run(node, f="1/(x**2 + y**2)", samples=20).values
    assert not values["extrema_settled"]
    assert values["z_max"] < 1000


@pytest.mark.parametrize("node", GRID)
def test_surface_with_a_hole_leaves_it_open(bench, node):
    result = bench.run(node, f="sqrt(x**2 + y**2 - 1)", samples=31)
    assert result.values["undefined_points"] > 0
    assert result.values["integral"] is None
    assert result.figures[0].png is not None


def test_flat_surface_is_drawn_and_has_no_level_lines(bench):
    assert bench.run("plot.surface_3d", f="0*x + 3").values["z_max"] == 3.0
    with pytest.raises(RequestError) as caught:
        bench.run("plot.contour_2d", f="0*x + 3")
    assert caught.value.field == "levels"


def test_levels_are_round_or_those_given(bench):
    chosen = bench.run("plot.contour_2d", f="x**2 - y**2", levels=[1, -1, 9], filled=False)
    assert chosen.values["levels"] == [-1.0, 1.0]
    counted = bench.run("plot.contour_2d", f="x**2 - y**2", levels=8).values["levels"]
    assert 5 <= len(counted) <= 9
    assert 0.0 in counted
    assert all(len(repr(level)) <= 5 for level in counted)


def test_surface_facets_turn_their_colour_with_the_value(bench):
    result = bench.run("plot.surface_3d", f="x", elevation_deg=90, azimuth_deg=-90, samples=21)
    picture = _picture(bench, result)
    middle = picture[picture.shape[0] // 2]
    coloured = np.flatnonzero(np.ptp(middle, axis=1) > 40)
    left, right = middle[coloured[5]], middle[coloured[len(coloured) // 2]]
    assert left[2] > left[0]
    assert np.abs(left - right).max() > 60


def test_heatmap_of_another_nodes_array_stands_on_its_axes(bench):
    source = bench.run("plot.surface_3d", f="x + 10*y", x=[0, 1, 3], y=[0, 2, 5], emit_plots=False)
    links = {name: bench.link(source, name) for name in ("x", "y", "z")}
    result = bench.run("plot.heatmap", **links, z_label="T", z_unit="K", emit_csv=True)
    bench.check_declared("plot.heatmap", result)
    assert (result.values["rows"], result.values["columns"]) == (5, 3)
    assert (result.values["x_at_z_max"], result.values["y_at_z_max"], result.values["z_max"]) == (1.0, 2.0, 21.0)
    assert result.units["z_max"] == "K"
    assert _rows(bench, result)[0] == "x,y,T (K)"


def test_heatmap_takes_edges_or_middles_and_shows_gaps(bench):
    edges = bench.run("plot.heatmap", z=[[1, None]], x=[0, 1, 3], y=[0, 1])
    assert edges.values["x_at_z_max"] == 0.5
    assert edges.values["undefined_points"] == 1
    picture = _picture(bench, edges)
    assert (np.abs(picture - 0xD9).max(axis=2) == 0).mean() > 0.1


def test_heatmap_on_a_log_scale_tells_small_values_apart(bench):
    z = [[1e-6, 1e-3, 1.0]]
    linear, log = (bench.run("plot.heatmap", z=z, scale=scale, annotate=False) for scale in ("linear", "log"))
    seen = [len({tuple(p) for p in _picture(bench, one)[300, 200:700:20]}) for one in (linear, log)]
    assert seen[0] < seen[1]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"z": [1, 2]}, "z"),
        ({"z": [["a"]]}, "z"),
        ({"z": [[1, 2], [3]]}, "z"),
        ({"z": [[None]]}, "z"),
        ({"z": [[1, 2]], "x": [1, 2, 3, 4]}, "x"),
        ({"z": [[1, 2, 3]], "x": [1, 3, 2]}, "x"),
        ({"z": [[1, 2]], "y": [None]}, "y"),
        ({"z": [[0, 2]], "scale": "log"}, "scale"),
    ],
)
def test_tables_that_cannot_be_shown_are_refused(bench, params, field):
    with pytest.raises(RequestError) as caught:
        bench.run("plot.heatmap", **params)
    assert caught.value.field == field


def test_complex_array_is_refused_rather_than_halved(bench):
    from physlab_mcp.nodes.io import NodeIO

    stored = NodeIO(job_id="j", blobs=bench.blobs).save_array("a", np.ones((2, 2), dtype=complex))
    with pytest.raises(RequestError, match="complex"):
        bench.run("plot.heatmap", z={"$artifact": {"sha256": stored.sha256}})


BARE = {
    "plot.function_2d": ({"f": "{}"}, "f"),
    "plot.parametric_2d": ({"x_t": "t", "y_t": "{}"}, "y_t"),
    "plot.field_2d": ({"fx": "{}", "fy": "x"}, "fx"),
    "plot.phase_portrait": ({"dx": "y", "dy": "{}"}, "dy"),
    "plot.surface_3d": ({"f": "{}"}, "f"),
    "plot.contour_2d": ({"f": "{}"}, "f"),
    "plot.animation": ({"frame_expr": "{}"}, "frame_expr"),
}


@pytest.mark.parametrize("node", BARE)
@pytest.mark.parametrize("text", ["__import__('os').system('true')", "().__class__", "9**9**9**9", "q + 1"])
def test_what_is_not_arithmetic_is_refused_by_every_node(bench, node, text):
    params, field = BARE[node]
    with pytest.raises(RequestError) as caught:
        bench.run(node, **{name: value.format(text) for name, value in params.items()})
    assert caught.value.field == field


@pytest.mark.parametrize("node", BARE)
def test_values_of_further_names_reach_every_formula_and_never_a_variable(bench, node):
    params, _ = BARE[node]
    variable = "t" if node in {"plot.parametric_2d", "plot.animation"} else "x"
    texts = {name: value.format(f"k*{variable}") for name, value in params.items()}
    short = {"frame_count": 2, "format": "gif"} if node == "plot.animation" else {}
    assert bench.run(node, **texts, **short, parameters={"k": 2}, emit_plots=False).values
    with pytest.raises(RequestError, match=variable):
        bench.run(node, **texts, **short, parameters={"k": 2, variable: 1})


@pytest.mark.parametrize("node", ["plot.parametric_2d", "plot.field_2d", "plot.surface_3d", "plot.contour_2d"])
def test_formula_that_is_nowhere_finite_is_refused(bench, node):
    params, _ = BARE[node]
    with pytest.raises(RequestError, match="no finite"):
        bench.run(node, **{name: value.format("sqrt(-1)") for name, value in params.items()})


PLANE = {
    "plot.field_2d": ({"fx": "x", "fy": "y"}, "grid_points", 64),
    "plot.phase_portrait": ({"dx": "x", "dy": "y"}, "grid_points", 64),
    "plot.surface_3d": ({"f": "x"}, "samples", 160),
    "plot.contour_2d": ({"f": "x"}, "samples", 160),
}


@pytest.mark.parametrize("node", PLANE)
def test_caps_see_the_longer_side_in_any_spelling(bench, node):
    base, name, most = PLANE[node]
    one = bench.registry.get(node)
    cap = one.caps[0]
    assert (cap.field, cap.most, cap.shown) == ("side", most, name)
    assert one.params.model_validate(base).side <= most
    assert one.params.model_validate({**base, name: most + 1}).side == most + 1
    assert one.params.model_validate({**base, "y": [0, 1, most + 2]}).side == most + 2
    assert one.compute_s == 10.0


@pytest.mark.parametrize("node", PLANE)
@pytest.mark.parametrize("params", [{"x": [1, 0]}, {"y": [0, 1, 1]}, {"y": [0, 1, 2001]}, {"x_min": 5, "x_max": 5}])
def test_ranges_and_grids_beyond_the_limits_are_refused(bench, node, params):
    with pytest.raises(ValidationError):
        bench.run(node, **PLANE[node][0], **params)


def test_starts_of_trajectories_are_counted_by_a_cap(bench):
    one = bench.registry.get("plot.phase_portrait")
    model = one.params.model_validate({"dx": "x", "dy": "y", "trajectories": [[0, 0]] * 21})
    assert [(cap.most, getattr(model, cap.field) > cap.most) for cap in one.caps] == [(64, False), (20, True)]


def test_every_plot_says_in_which_words_people_ask_for_it(bench):
    plots = [one for one in bench.registry if one.tool == "plot"]
    assert len(plots) == 10
    assert all(one.words and one.compute_s == 10.0 and one.numeric for one in plots)
    every = [word for one in plots for word in one.words]
    assert len(every) == len(set(every))
    assert all(json.dumps(one.params.model_json_schema()) for one in plots)
