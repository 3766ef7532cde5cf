"""Plots at their limits: one level, huge values, poles, fields of nothing, long films, names that are no units."""

import json

import numpy as np
import pytest
from node_runs import Bench
from pydantic import ValidationError

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.plot_animation import AnimationParams
from physlab_mcp.physics import plane_curves


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def run(bench, name, /, **params):
    result = bench.run(name, **params)
    bench.check_declared(name, result)
    json.dumps(result.values, allow_nan=False)
    return result


def warned(result, word):
    return any(word in text for text in result.meta["warnings"])


@pytest.mark.parametrize("levels", [1, [0.5]])
@pytest.mark.parametrize("filled", [False, True])
def test_a_single_level_is_drawn(bench, levels, filled):
    result = run(bench, "plot.contour_2d", f="x*y", filled=filled, levels=levels)
    assert len(result.values["levels"]) == 1
    assert len(result.figures) == 1


@pytest.mark.parametrize("word", ["__import__", "__class__", "_units", "m*__class__"])
def test_attributes_of_the_registry_are_no_units(bench, word):
    for params in (
        {"quantity": {"value": 1, "unit": word}, "to": "m"},
        {"quantity": {"value": 1, "unit": "m"}, "to": word},
    ):
        with pytest.raises(RequestError, match=r"not known|not a unit"):
            bench.run("units_convert", **params)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("plot.function_2d", {"f": "1e308*x*10", "x": [-1, 1, 401]}),
        ("plot.surface_3d", {"f": "1e308*x", "samples": 21}),
        ("plot.contour_2d", {"f": "4e299*x", "samples": 21}),
        ("plot.surface_3d", {"f": "4e299*x", "samples": 21}),
        ("plot.heatmap", {"z": [[1e308, -1e308], [3, 4]]}),
        ("plot.heatmap", {"z": [[1e300, -1e300], [3, 4]]}),
        ("plot.line", {"y": [1e308, -1e308, 0]}),
        ("plot.line", {"y": [1e300, -1e300, 0]}),
        ("plot.field_2d", {"fx": "1e300*x", "fy": "1e300*y"}),
    ],
)
def test_values_near_the_end_of_float64_leave_no_infinity(bench, name, params):
    result = run(bench, name, **params)
    assert warned(result, "above 1e+300") == ("1e308" in str(params) or "1e+308" in str(params) or "fx" in params)


def test_what_is_too_large_everywhere_or_ranges_beyond_it_are_refused(bench):
    with pytest.raises(RequestError, match="no finite value"):
        bench.run("plot.function_2d", f="1e308*(x + 2)")
    with pytest.raises(ValidationError, match="within"):
        bench.run("plot.function_2d", f="x", x=[-1e308, 1e308])


def test_eigenvalues_far_apart_are_judged_each_for_itself(bench):
    for dx, dy in (("y", "1000*(1-x**2)*y-x"), ("1000*x", "0.001*y")):
        (point,) = run(bench, "plot.phase_portrait", dx=dx, dy=dy, emit_plots=False).values["fixed_points"]
        assert (point["kind"], point["stability"]) == ("node", "unstable")
        (zero,) = run(bench, "plot.field_2d", fx=dx, fy=dy, emit_plots=False).values["zeros"]
        assert zero["kind"] == "node"
    (zero,) = run(bench, "plot.field_2d", fx="1e300*x", fy="1e300*y", emit_plots=False).values["zeros"]
    assert zero["kind"] == "node"


def test_a_field_of_nothing_vanishes_everywhere(bench):
    field = run(bench, "plot.field_2d", fx="0", fy="0*x")
    assert field.values["zeros"] == []
    assert field.meta["warnings"] == ["The field vanishes everywhere."]
    portrait = run(bench, "plot.phase_portrait", dx="0", dy="0")
    assert portrait.values["fixed_point_count"] == 0
    assert warned(portrait, "vanish everywhere")


def test_derivatives_are_not_taken_across_a_pole(bench):
    source = run(bench, "plot.field_2d", fx="x/(x**2+y**2)", fy="y/(x**2+y**2)", emit_plots=False)
    assert source.values["divergence_max_abs"] < 1e-9
    assert source.values["undefined_points"] == 1
    # A row of points a step away from a line of poles.
    near = run(bench, "plot.field_2d", fx="1", fy="1/(y - 0.0001)", emit_plots=False)
    assert near.values["divergence_max_abs"] == pytest.approx(1 / (1 / 6 - 1e-4) ** 2, rel=1e-6)
    assert warned(near, "leave out 25 of 625")
    smooth = run(bench, "plot.field_2d", fx="sin(9*x) + 1e6", fy="exp(y)", emit_plots=False)
    assert smooth.meta["warnings"] == []


def test_inline_frames_count_for_the_cap():
    frames = [[[0, 1], [1, 0]]] * 301
    assert AnimationParams(frames=frames).frames_drawn == 301
    assert AnimationParams(frames=frames, frame_count=10).frames_drawn == 10
    assert AnimationParams(frames=frames[:5]).frames_drawn == 5
    assert AnimationParams(frames={"$artifact": {}}).frames_drawn == 300


def test_a_logarithmic_axis_without_positive_values_is_told(bench):
    result = run(bench, "plot.function_2d", f="-1-x**2", y_log=True)
    assert warned(result, "No y is above 0")
    assert not warned(run(bench, "plot.function_2d", f="x", y_log=True), "above 0")


@pytest.mark.parametrize(
    ("f", "x", "places"),
    [
        ("tan(x)", [-5, 5, 400], [-1.5 * np.pi, -0.5 * np.pi, 0.5 * np.pi, 1.5 * np.pi]),
        ("1/x", [-1, 1, 400], [0.0]),
        ("1/x", [-1, 1, 401], [0.0]),
        ("sign(x)", [-1, 1, 400], []),
        ("sin(20*x)", [-1, 1, 400], []),
    ],
)
def test_poles_are_found_and_told(bench, f, x, places):
    result = run(bench, "plot.function_2d", f=f, x=x, emit_plots=False)
    assert warned(result, "poles") == bool(places)
    function = {"tan(x)": np.tan, "1/x": lambda t: 1 / t, "sign(x)": np.sign, "sin(20*x)": lambda t: np.sin(20 * t)}[f]
    at = np.linspace(*x)
    with np.errstate(divide="ignore"):
        _, found = plane_curves.poles(function, at, function(at))
    assert found.tolist() == pytest.approx(places, abs=1e-6)


def test_the_line_is_broken_at_a_pole_and_not_at_a_step(bench, monkeypatch):
    from matplotlib.axes import Axes

    drawn, plot = [], Axes.plot
    monkeypatch.setattr(Axes, "plot", lambda self, x, y, **named: drawn.append((x, y)) or plot(self, x, y, **named))
    for f in ("1/x", "tanh(900*x)"):
        run(bench, "plot.function_2d", f=f, x=[-1, 1, 60])
    gaps = [np.flatnonzero(np.isnan(y)).tolist() for _, y in drawn]
    assert gaps == [[30], []]


def test_characters_that_a_figure_cannot_draw_are_named(bench):
    result = run(bench, "plot.function_2d", f="x", title="氢原子 and 子", x_label="x")
    (told,) = [text for text in result.meta["warnings"] if "cannot draw" in text]
    assert all(char in told for char in "氢原子")
    assert told.count("子") == 1
    assert not warned(run(bench, "plot.function_2d", f="x", title="ψ"), "cannot draw")
