"""The nodes `data.fft`, `data.filter` and `data.statistics`."""

import numpy as np
import pytest
from node_runs import Bench
from pydantic import ValidationError

from physlab_mcp.dags.validate import validate
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.data_filter import _alone, _with_gaps
from physlab_mcp.nodes.data_rows import thinned

RATE = 1000
T = np.arange(2000) / RATE
NOISE = np.random.default_rng(0).normal(0, 0.2, T.size)
Y = np.sin(2 * np.pi * 51.3 * T) + 0.3 * np.sin(2 * np.pi * 220 * T) + NOISE


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def run(bench, node, **params):
    given = {"emit_plots": False} | {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in params.items()}
    result = bench.run(node, **given)
    bench.check_declared(node, result)
    return result


def test_examples_fit_their_declarations(bench):
    for name in ("data.fft", "data.filter", "data.fit", "data.statistics"):
        one = bench.registry.get(name)
        bench.check_declared(name, bench.run(name, **one.example))
        assert one.words
        assert one.compute_s == 10.0
        assert one.numeric


# -- fft ---------------------------------------------------------------------------------------------------------


def test_a_spectrum_has_its_line_between_the_samples_and_keeps_the_power(bench):
    result = run(bench, "data.fft", y=Y, x=T, window="hann", y_unit="V")
    values = result.values
    assert values["dominant_frequency_Hz"] == pytest.approx(51.3, abs=0.02)
    assert values["dominant_amplitude"] == pytest.approx(1, abs=0.03)
    assert values["dominant_period_s"] == pytest.approx(1 / values["dominant_frequency_Hz"])
    assert (values["sample_rate_Hz"], values["nyquist_Hz"]) == (pytest.approx(1000), pytest.approx(500))
    assert values["resolution_Hz"] == pytest.approx(0.5)
    assert values["parseval_relative_error"] < 1e-12
    assert result.arrays["x"] == result.arrays["frequency_Hz"]
    assert bench.array(result, "y").shape == bench.array(result, "power").shape == (1001,)
    assert result.units["rms"] == "V"


def test_times_may_have_other_units_and_a_given_rate_wins(bench):
    for unit, factor in (("ms", 1e3), ("us", 1e6), ("min", 1 / 60)):
        values = run(bench, "data.fft", y=Y, x=T * factor, x_unit=unit).values
        assert values["sample_rate_Hz"] == pytest.approx(1000)
    result = run(bench, "data.fft", y=Y, x=np.arange(2000), sample_rate_Hz=1000)
    assert result.values["sample_rate_Hz"] == 1000
    assert "x says 1 Hz, sample_rate_Hz says 1000 Hz" in result.meta["warnings"][0]


def test_padding_refines_the_spectrum_but_not_the_resolution(bench):
    result = run(bench, "data.fft", y=Y, sample_rate_Hz=1000, pad_to=8192)
    assert bench.array(result, "x").size == 4097
    assert result.values["resolution_Hz"] == pytest.approx(0.5)


def test_a_constant_has_no_dominant_frequency(bench):
    result = run(bench, "data.fft", y=[2.0] * 64, sample_rate_Hz=8)
    assert result.values["dominant_frequency_Hz"] is None
    assert result.values["mean"] == 2.0
    assert any("no line" in one for one in result.meta["warnings"])


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"y": Y}, "sample_rate_Hz"),
        ({"y": Y, "x": T[:10]}, "y"),
        ({"y": Y, "x": T**1.1}, "x"),
        ({"y": Y, "x": T[::-1]}, "x"),
        ({"y": Y, "x": 0 * T}, "x"),
        ({"y": Y, "sample_rate_Hz": 10, "pad_to": 100}, "pad_to"),
        ({"y": [1.0], "sample_rate_Hz": 10}, "y"),
        ({"y": ["a", "b"], "sample_rate_Hz": 10}, "y"),
        ({"y": [[1, 2], [3, 4]], "sample_rate_Hz": 10}, "y"),
    ],
)
@pytest.mark.parametrize("node", ["data.fft", "data.filter"])
def test_samples_that_cannot_be_used_are_refused(bench, node, params, field):
    if node == "data.filter":
        if field == "pad_to":
            return
        params = params | {"cutoff_Hz": 1}
    with pytest.raises(RequestError) as caught:
        run(bench, node, **params)
    assert caught.value.field == field
    assert caught.value.remedy


def _stored(bench, array):
    from physlab_mcp.nodes.io import NodeIO

    return {"$artifact": {"sha256": NodeIO(job_id="j", blobs=bench.blobs).save_array("a", array).sha256}}


def test_missing_and_complex_numbers_are_refused_not_dropped(bench):
    holed = Y.copy()
    holed[7] = np.nan
    for node, params in (("data.fft", {}), ("data.filter", {"cutoff_Hz": 1})):
        with pytest.raises(RequestError, match="1 missing"):
            run(bench, node, y=_stored(bench, holed), sample_rate_Hz=10, **params)
        with pytest.raises(RequestError, match="complex"):
            run(bench, node, y=_stored(bench, Y + 1j), sample_rate_Hz=10, **params)


# -- filter ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "left"),
    [
        ({"kind": "lowpass", "cutoff_Hz": 100}, {51.3: 1.0, 220: 0.0}),
        ({"kind": "highpass", "cutoff_Hz": 100}, {51.3: 0.0, 220: 0.3}),
        ({"kind": "bandpass", "low_Hz": 200, "high_Hz": 240}, {51.3: 0.0, 220: 0.3}),
        ({"kind": "bandstop", "low_Hz": 40, "high_Hz": 62}, {51.3: 0.0, 220: 0.3}),
    ],
)
def test_lines_pass_or_vanish(bench, params, left):
    result = run(bench, "data.filter", y=Y - NOISE, x=T, **params)
    filtered, inner = bench.array(result, "y"), slice(200, -200)
    for frequency, amplitude in left.items():
        wave = np.exp(-2j * np.pi * frequency * T[inner]) * np.hanning(1600)
        assert 2 * abs(filtered[inner] @ wave) / np.hanning(1600).sum() == pytest.approx(amplitude, abs=0.01)
    assert result.values["gain_at_cutoff"] == pytest.approx([0.5] * len(result.values["gain_at_cutoff"]))
    np.testing.assert_array_equal(bench.array(result, "x"), T)


@pytest.mark.parametrize("kind", ["savgol", "median", "moving_average"])
def test_smoothing_needs_no_rate_and_lowers_the_noise(bench, kind):
    slow = np.sin(2 * np.pi * T)
    result = run(bench, "data.filter", y=slow + NOISE, kind=kind, window=31)
    assert result.values["sample_rate_Hz"] is None
    assert np.std(bench.array(result, "y") - slow) < 0.5 * NOISE.std()
    np.testing.assert_array_equal(bench.array(result, "x"), np.arange(2000))


def test_smoothing_over_uneven_steps_is_done_and_told(bench):
    result = run(bench, "data.filter", y=Y, x=T**1.2, kind="median", window=3)
    assert any("counts samples" in one for one in result.meta["warnings"])


@pytest.mark.parametrize(
    ("params", "field", "told"),
    [
        ({"cutoff_Hz": 500}, "cutoff_Hz", "cutoff_Hz = 500 Hz is not below the Nyquist frequency, 500 Hz"),
        ({"cutoff_Hz": 700}, "cutoff_Hz", "half of 1000 Hz"),
        ({"kind": "bandpass", "low_Hz": 10, "high_Hz": 600}, "high_Hz", "Nyquist"),
        ({"cutoff_Hz": 1e-6, "order": 12}, "cutoff_Hz", "cannot be built"),
        ({"kind": "median", "window": 2001}, "window", "2000 samples"),
    ],
)
def test_filters_that_cannot_work_are_refused_with_the_limit(bench, params, field, told):
    with pytest.raises(RequestError, match=told) as caught:
        run(bench, "data.filter", y=Y, sample_rate_Hz=1000, **params)
    assert caught.value.field == field


def test_too_few_samples_are_told_with_how_many_would_do(bench):
    with pytest.raises(RequestError) as caught:
        run(bench, "data.filter", y=Y[:10], sample_rate_Hz=1000, cutoff_Hz=100)
    least = int("".join(filter(str.isdigit, caught.value.remedy)))
    run(bench, "data.filter", y=Y[:least], sample_rate_Hz=1000, cutoff_Hz=100)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"kind": "highpass"},
        {"kind": "bandpass", "low_Hz": 10},
        {"kind": "bandstop", "low_Hz": 20, "high_Hz": 10},
        {"kind": "median", "window": 4},
        {"kind": "savgol", "window": 5, "order": 5},
        {"cutoff_Hz": 10, "order": 0},
        {"cutoff_Hz": -1},
    ],
)
def test_filter_parameters_that_do_not_go_together_are_refused(bench, params):
    with pytest.raises(ValidationError):
        run(bench, "data.filter", y=Y, sample_rate_Hz=1000, **params)


def test_what_can_be_told_before_a_run_is_told_by_validation(bench):
    def told(method, **params):
        node = {"id": "n", "tool": "data", "method": method, "params": {"emit_plots": False, **params}}
        return [(one.field, one.severity) for one in validate({"nodes": [node]}, bench.registry).findings]

    y = [0.0, 1.0] * 50
    assert told("filter", y=y, cutoff_Hz=60, sample_rate_Hz=100) == [("params.cutoff_Hz", "error")]
    assert told("filter", y=y, kind="bandpass", low_Hz=6, high_Hz=50, sample_rate_Hz=100) == [
        ("params.high_Hz", "error")
    ]
    assert told("filter", y=y, cutoff_Hz=40, sample_rate_Hz=100) == []
    assert told("filter", y=y, kind="median", cutoff_Hz=60, sample_rate_Hz=100) == [("params", "error")]
    fit = {"x": y, "y": y}
    assert told("fit", **fit, model="gaussian", initial={"centre": 1}) == [("params.initial.centre", "error")]
    assert told("fit", **fit, model="polynomial", degree=2, bounds={"c3": [0, 1]}) == [("params.bounds.c3", "error")]
    assert told("fit", **fit, model="custom", expr="a*x.real") == [("params.expr", "error")]
    assert told("fit", **fit, model="custom", expr="a*exp(-x/tau)", initial={"tau": 2}) == []


# -- statistics --------------------------------------------------------------------------------------------------


def test_statistics_of_one_row(bench):
    result = run(bench, "data.statistics", y=[2, 4, 4, 4, 5, 5, 7, 9], unit="s")
    values = result.values
    assert (values["name"], values["n"], values["mean"], values["median"]) == ("y", 8, 5.0, 4.5)
    assert values["std"] == pytest.approx(np.sqrt(32 / 7))
    assert values["columns"]["y"]["std"] == values["std"]
    assert values["correlation"] == [[1.0]]
    assert bench.array(result, "y").sum() == 8
    assert bench.array(result, "edges").size == bench.array(result, "x").size + 1
    assert result.units["mean"] == "s"


def test_several_columns_are_described_and_correlated(bench):
    rng = np.random.default_rng(1)
    a = rng.normal(size=500)
    columns = {"a": a.tolist(), "b": (-a).tolist(), "c": rng.normal(size=500).tolist()}
    result = run(bench, "data.statistics", columns=columns, emit_plots=True, emit_csv=True, bins=20)
    values = result.values
    assert values["column_names"] == ["a", "b", "c"]
    assert values["columns"]["b"]["mean"] == pytest.approx(-values["mean"])
    matrix = np.array(values["correlation"])
    assert matrix[0, 1] == pytest.approx(-1)
    assert abs(matrix[0, 2]) < 0.15
    assert [figure.name for figure in result.figures] == ["histogram", "correlation"]
    assert len(bench.blobs.read(result.figures[0].csv.sha256).decode().splitlines()) == 21


def test_missing_numbers_are_counted_and_what_is_not_determined_is_null(bench):
    y = np.array([1.0, np.nan, 3.0, np.inf])
    result = run(bench, "data.statistics", y=_stored(bench, y))
    assert (result.values["n"], result.values["missing"], result.values["mean"]) == (2, 2, 2.0)
    assert result.values["skewness"] is None
    assert any("2 of 4" in one for one in result.meta["warnings"])
    equal = run(bench, "data.statistics", y=[1.0] * 9)
    assert equal.values["normality_p"] is None
    assert equal.values["correlation"] == [[None]]
    with pytest.raises(RequestError, match="no finite value"):
        run(bench, "data.statistics", y=_stored(bench, np.array([np.nan])))


def test_columns_of_different_lengths_are_described_without_correlation(bench):
    result = run(bench, "data.statistics", columns={"a": [1, 2, 3], "b": [1, 2]})
    assert result.values["correlation"] is None
    assert result.values["columns"]["b"]["n"] == 2


def test_a_table_needs_fitting_names(bench):
    table = [[1, 2], [3, 4], [5, 7]]
    assert run(bench, "data.statistics", y=table).values["column_names"] == ["column_1", "column_2"]
    for names in (["a"], ["a", "a"], ["a", "b", "c"]):
        with pytest.raises(RequestError, match="names for 2 columns"):
            run(bench, "data.statistics", y=table, names=names)
    with pytest.raises(ValidationError):
        run(bench, "data.statistics", y=[1, 2], columns={"a": [1]})
    with pytest.raises(ValidationError):
        run(bench, "data.statistics")


# -- figures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "params", "name", "header"),
    [
        ("data.fft", {"x": T, "y_unit": "V"}, "spectrum", "frequency (Hz),amplitude (V),phase (rad),power ((V)^2)"),
        ("data.filter", {"x": T, "cutoff_Hz": 100}, "filtered", "time (s),y,filtered y"),
        ("data.statistics", {"label": "U"}, "histogram", "from,to,count of U"),
    ],
)
def test_figures_and_tables_follow_the_switches(bench, node, params, name, header):
    quiet = run(bench, node, y=Y, **params)
    assert quiet.figures == ()
    table_only = run(bench, node, y=Y, emit_csv=True, **params)
    assert table_only.figures[0].png is None
    assert bench.blobs.read(table_only.figures[0].csv.sha256).decode().splitlines()[0] == header
    drawn = run(bench, node, y=Y, emit_plots=True, **params)
    assert [figure.name for figure in drawn.figures] == [name]
    assert drawn.figures[0].png.width >= 1000
    assert drawn.figures[0].svg.size < 1_000_000
    assert drawn.values == quiet.values


# -- what a reader could take for granted ------------------------------------------------------------------------


@pytest.mark.parametrize("window", ["none", "hann", "hamming", "blackman"])
@pytest.mark.parametrize("pad_to", [0, 4096])
@pytest.mark.parametrize("offset", [0.0, 3.0, -40.0])
def test_an_offset_does_not_hide_the_line(bench, window, pad_to, offset):
    y = offset + np.sin(2 * np.pi * 50 * np.arange(1000) / 1000)
    result = run(bench, "data.fft", y=y, sample_rate_Hz=1000, window=window, pad_to=pad_to)
    assert result.values["dominant_frequency_Hz"] == pytest.approx(50.0, abs=1e-6)
    assert result.values["dominant_amplitude"] == pytest.approx(1.0, abs=1e-6)
    assert bench.array(result, "amplitude")[0] == pytest.approx(abs(offset), abs=1e-9)  # the constant itself stays


def test_a_constant_alone_has_no_line_and_a_slow_line_beside_one_is_exact(bench):
    flat = run(bench, "data.fft", y=[3.0] * 100, sample_rate_Hz=10, window="hann").values
    assert flat["dominant_frequency_Hz"] is None
    y = 7 + 2 * np.sin(2 * np.pi * 3.37 * np.arange(1000) / 1000)
    slow = run(bench, "data.fft", y=y, sample_rate_Hz=1000).values
    assert slow["dominant_frequency_Hz"] == pytest.approx(3.37, abs=1e-6)
    assert slow["dominant_amplitude"] == pytest.approx(2.0, abs=1e-6)


def test_a_cutoff_of_another_kind_of_filter_is_refused_by_name(bench):
    for name, wrong in (
        ("cutoff_Hz", {"kind": "median", "cutoff_Hz": 3}),
        ("low_Hz", {"kind": "lowpass", "cutoff_Hz": 3, "low_Hz": 2}),
        ("high_Hz", {"kind": "savgol", "high_Hz": 2}),
    ):
        with pytest.raises(ValidationError, match=f"{name} belongs to"):
            run(bench, "data.filter", y=[1, 2, 3] * 20, sample_rate_Hz=100, **wrong)


def test_numbers_whose_squares_overflow_are_refused(bench):
    for node, params in (
        ("data.fft", {"y": [1e200, -1e200, 1e200, 0], "sample_rate_Hz": 1}),
        ("data.statistics", {"y": [1e308, 1e308, -1e308]}),
        ("data.filter", {"y": [1e308, 1e308, -1e308], "kind": "median", "window": 3}),
        ("data.fit", {"x": [1, 2, 3], "y": [1e308, 1e308, -1e308], "model": "linear"}),
    ):
        with pytest.raises(RequestError, match="do not fit a float"):
            run(bench, node, **params)


def test_a_line_is_broken_where_there_is_nothing():
    x = np.arange(9000.0)
    y = np.where((x > 3000) & (x < 6000), np.nan, 1.0 + x)
    for most in (500, 10_000):
        at, left = thinned(x, y, most)
        gap = np.isnan(left)
        assert gap.any()
        assert not gap[at <= 3000].any()
        assert not gap[at >= 6000].any()
        assert left[0] == 1.0
        assert left[-1] == 9000.0
    nan = np.nan
    found = _with_gaps(np.array([1.0, 0.0, 1e-12, 2.0, 3.0, 0.0]))
    np.testing.assert_array_equal(found, [1.0, nan, nan, 2.0, 3.0, nan])
    np.testing.assert_array_equal(np.flatnonzero(_alone(found)), [0])
