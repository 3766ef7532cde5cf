"""The nodes `plot.line`, `plot.function_2d` and `plot.volume_3d`."""

import numpy as np
import pytest
from node_runs import Bench
from pydantic import ValidationError

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import figures, plot_volume


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def _store(bench, array):
    from physlab_mcp.nodes.io import NodeIO

    return {"$artifact": {"sha256": NodeIO(job_id="j", blobs=bench.blobs).save_array("a", array).sha256}}


def test_every_example_of_a_node_type_runs_and_fits_its_declaration(bench):
    for one in bench.registry:
        if one.tool in {"plot", "flow", "constants_get", "units_convert"}:
            bench.check_declared(one.name, bench.run(one.name, **one.example))


def test_curves_from_lists_and_stored_arrays_are_drawn_with_units(bench):
    series = [{"y": [1, 2, 4], "label": "a"}, {"x": [0, 1], "y": _store(bench, np.array([3.0, 9.0])), "style": "both"}]
    result = bench.run("plot.line", series=series, x_label="t", x_unit="s", emit_csv=True)
    bench.check_declared("plot.line", result)
    assert result.values == {"series": 2, "points": 5, "y_min": 1.0, "y_max": 9.0}
    table = bench.blobs.read(result.figures[0].csv.sha256).decode().splitlines()
    assert table[0] == "t (s) [a],y [a],t (s) [2],y [2]"
    assert table[1:] == ["0.0,1.0,0.0,3.0", "1.0,2.0,1.0,9.0", "2.0,4.0,nan,nan"]


@pytest.mark.parametrize("params", [{"y": [[1, 2]]}, {"y": ["a"]}, {"x": [1, 2], "y": [1, 2, 3]}, {"y": []}])
def test_rows_that_are_not_rows_of_numbers_are_refused(bench, params):
    with pytest.raises(RequestError):
        bench.run("plot.line", **params)


def test_function_takes_its_range_in_both_spellings(bench):
    short = bench.run("plot.function_2d", f="sin(2*pi*x)", x=[-1, 1, 101])
    long = bench.run("plot.function_2d", f="sin(2*pi*x)", x_min=-1, x_max=1, samples=101)
    assert short.values == long.values
    assert short.figures[0].png == long.figures[0].png
    np.testing.assert_allclose(bench.array(short, "y"), np.sin(2 * np.pi * np.linspace(-1, 1, 101)))


def test_function_reports_extremes_undefined_points_and_parameters(bench):
    values = bench.run("plot.function_2d", f="a*sqrt(x)", x=[-1, 4, 6], parameters={"a": 3}, emit_plots=False).values
    assert values["y_max"] == 6.0
    assert values["x_at_y_max"] == 4.0
    assert values["undefined_points"] == 1


@pytest.mark.parametrize("f", ["__import__('os')", "y + 1", "sqrt(-1 - x**2)"])
def test_function_that_cannot_be_drawn_is_refused(bench, f):
    with pytest.raises(RequestError) as caught:
        bench.run("plot.function_2d", f=f)
    assert caught.value.field == "f"


@pytest.mark.parametrize("params", [{"x": [1, 0]}, {"x": [0, 1, 1]}, {"x": [0, 1, 1e6]}, {"samples": 100_001}])
def test_ranges_and_sample_counts_beyond_the_limits_are_refused(bench, params):
    with pytest.raises(ValidationError):
        bench.run("plot.function_2d", f="x", **params)


def _gaussian(points=25):
    axis = (np.arange(points) + 0.5) * 6 / points - 3
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    return np.exp(-(x * x + y * y + z * z) / 2)


def test_isosurface_of_a_ball_has_its_area_and_volume(bench):
    level = float(np.exp(-2.0))
    result = bench.run("plot.volume_3d", volume=_store(bench, _gaussian(41)), extent=3, level=level, emit_csv=True)
    bench.check_declared("plot.volume_3d", result)
    assert result.values["surface_area"] == pytest.approx(4 * np.pi * 4, rel=0.01)
    assert result.values["enclosed_volume"] == pytest.approx(4 / 3 * np.pi * 8, rel=0.02)
    assert result.figures[0].png.width == 1040
    assert result.figures[0].csv is not None


def test_isosurface_stands_where_the_field_stands():
    params = plot_volume.Volume3dParams(volume=None, level=float(np.exp(-2.0)))
    _, surfaces = plot_volume._surfaces(params, _gaussian(41), (-3.0, 3.0) * 3)
    corners = surfaces[0].reshape(-1, 3)
    np.testing.assert_allclose(corners.max(axis=0), 2.0, atol=0.01)
    np.testing.assert_allclose(corners.min(axis=0), -2.0, atol=0.01)


def test_isosurface_level_can_be_chosen_by_what_it_encloses(bench):
    result = bench.run("plot.volume_3d", volume=_store(bench, _gaussian()), extent=3, enclosed=0.5, emit_plots=False)
    assert result.values["enclosed"] == pytest.approx(0.5, abs=0.02)


def test_field_of_both_signs_gets_two_surfaces(bench):
    axis = (np.arange(25) + 0.5) * 6 / 25 - 3
    field = _gaussian() * axis[None, None, :]
    result = bench.run("plot.volume_3d", volume=_store(bench, field), extent=3)
    single = bench.run("plot.volume_3d", volume=_store(bench, np.abs(field)), extent=3, level=result.values["level"])
    assert result.values["triangles"] >= single.values["triangles"] * 0.9
    assert result.values["enclosed"] == pytest.approx(0.8, abs=0.02)
    assert "two signs" in result.figures[0].caption


def test_field_whose_smaller_sign_stays_below_the_level_is_still_drawn(bench):
    field = _gaussian() - 0.05
    result = bench.run("plot.volume_3d", volume=_store(bench, field), extent=3, level=-0.5)
    assert result.values["level"] == 0.5
    assert result.figures[0].png is not None


def test_sections_are_drawn_of_a_volume(bench):
    result = bench.run("plot.volume_3d", volume=_store(bench, _gaussian()), extent=[-3, 3] * 3, mode="slices")
    assert result.values["level"] is None
    assert result.figures[0].svg is not None


@pytest.mark.parametrize(
    "params",
    [
        {"volume": [[1, 2], [3, 4]]},
        {"volume": "text"},
        {"volume": [[[0, 1], [1, 2]], [[1, 2], [2, 3]]], "level": 9},
        {"volume": [[[0, 1], [1, 2]], [[1, 2], [2, 3]]], "extent": -1},
        {"volume": [[[0, 1], [1, 2]], [[1, 2], [2, float("nan")]]]},
    ],
)
def test_volumes_that_cannot_be_shown_are_refused(bench, params):
    with pytest.raises(RequestError):
        bench.run("plot.volume_3d", **params)


def test_volume_beyond_the_limit_is_refused(bench):
    with pytest.raises(RequestError, match="128"):
        bench.run("plot.volume_3d", volume=_store(bench, np.zeros((129, 2, 2), dtype=np.float32)))


def test_captions_show_symbols_not_markup():
    assert figures.plain(r"$|\psi|^2$ ($a_0^{-3}$)") == "|ψ|^2 (a0^-3)"
