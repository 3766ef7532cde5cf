"""The node `data.fit`."""

import numpy as np
import pytest
from node_runs import Bench
from pydantic import ValidationError

from physlab_mcp.errors import RequestError

X = np.linspace(0, 10, 60)
RNG = np.random.default_rng(8)
BELL = 2 * np.exp(-(((X - 4) / 0.8) ** 2) / 2) + 0.3 + RNG.normal(0, 0.1, X.size)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def fit(bench, x, y, /, **params):
    given = {"x": np.asarray(x).tolist(), "y": np.asarray(y).tolist(), "emit_plots": False} | params
    result = bench.run("data.fit", **given)
    bench.check_declared("data.fit", result)
    return result


def test_a_peak_is_found_with_errors_intervals_and_quality(bench):
    result = fit(bench, X, BELL, sigma=0.1, model="gaussian", y_unit="V")
    values = result.values
    truth = {"amplitude": 2, "center": 4, "sigma": 0.8, "offset": 0.3}
    assert list(values["parameters"]) == values["parameter_names"] == list(truth)
    for name, true in truth.items():
        assert values["confidence_low"][name] < true < values["confidence_high"][name]
        half = (values["confidence_high"][name] - values["confidence_low"][name]) / 2
        assert half == pytest.approx(1.959964 * values["standard_errors"][name], rel=1e-6)
    assert values["converged"] is True
    assert values["degenerate"] is False
    assert values["starts"] > 1
    assert 0.5 < values["chi2_reduced"] < 1.6
    assert 0.01 < values["chi2_p"] < 0.99
    assert values["chi2_reduced"] == pytest.approx(values["chi2"] / 56)
    assert values["R2"] > 0.95
    assert values["AIC"] == pytest.approx(values["chi2"] + 8)
    assert result.units == {"residual_std": "V"}
    covariance = np.array(values["covariance"])
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), list(values["standard_errors"].values()))
    residuals = bench.array(result, "residuals")
    np.testing.assert_allclose(bench.array(result, "y") + residuals, BELL, atol=1e-12)
    assert np.sum((residuals / 0.1) ** 2) == pytest.approx(values["chi2"])


def test_without_sigma_the_scatter_gives_the_errors_and_the_interval_is_students(bench):
    free = fit(bench, X, BELL, model="gaussian").values
    known = fit(bench, X, BELL, model="gaussian", sigma=0.1).values
    assert free["parameters"] == pytest.approx(known["parameters"], rel=1e-6)
    assert free["chi2_reduced"] is None
    ratio = free["residual_std"] / 0.1
    for name, error in free["standard_errors"].items():
        assert error == pytest.approx(ratio * known["standard_errors"][name], rel=1e-5)
        half = (free["confidence_high"][name] - free["confidence_low"][name]) / 2
        assert half == pytest.approx(2.003241 * error, rel=1e-5)  # t(0.975, 56)


def test_relative_weights_have_no_scale(bench):
    sigma = (0.1 + 0.1 * (X > 5)).tolist()
    one = fit(bench, X, BELL, model="gaussian", sigma=sigma, absolute_sigma=False).values
    ten = fit(bench, X, BELL, model="gaussian", sigma=[10 * s for s in sigma], absolute_sigma=False).values
    assert one["standard_errors"] == pytest.approx(ten["standard_errors"], rel=1e-5)


@pytest.mark.parametrize(
    ("expr", "truth", "initial"),
    [
        ("a*exp(-x/tau) + c", {"a": 3.0, "tau": 2.0, "c": 0.5}, {}),
        ("k*x**2/(1 + k2*x**2)", {"k": 1.5, "k2": 0.7}, {}),
        ("A*exp(-g*x)*cos(w*x)", {"A": 2.0, "g": 0.2, "w": 3.0}, {"w": 2.8}),
        ("s*abs(x - x0) + pi", {"s": 1.3, "x0": 4.2}, {"x0": 5}),
    ],
)
def test_an_expression_of_ones_own_is_fitted(bench, expr, truth, initial):
    from physlab_mcp.nodes import expressions

    y = expressions.parse(expr, ("x", *truth))(x=X, **truth) + np.random.default_rng(1).normal(0, 0.05, X.size)
    values = fit(bench, X, y, model="custom", expr=expr, initial=initial).values
    assert values["parameter_names"] == list(truth)
    assert values["converged"] is True
    for name, true in truth.items():
        assert abs(values["parameters"][name] - true) < 4 * values["standard_errors"][name]


def test_a_name_that_is_also_a_constant_can_be_a_parameter(bench):
    values = fit(bench, X, 3 * X, model="custom", expr="e*x", initial={"e": 1.0}).values
    assert values["parameters"]["e"] == pytest.approx(3)


def test_a_polynomial_of_any_degree_and_a_line(bench):
    y = 1 - 2 * X + 0.5 * X**3
    values = fit(bench, X, y, model="polynomial", degree=3).values
    assert list(values["parameters"].values()) == pytest.approx([1, -2, 0, 0.5], abs=1e-9)
    assert fit(bench, X, 2 * X + 1).values["parameters"] == pytest.approx({"slope": 2, "intercept": 1})
    assert fit(bench, X, y, model="polynomial", degree=0).values["parameters"]["c0"] == pytest.approx(y.mean())


def test_peaks_far_from_zero_and_parameters_held_by_bounds(bench):
    far = fit(bench, X + 1.7e9, BELL, model="gaussian").values
    near = fit(bench, X, BELL, model="gaussian").values
    assert far["parameters"]["center"] - 1.7e9 == pytest.approx(near["parameters"]["center"], abs=1e-5)
    assert far["standard_errors"]["center"] == pytest.approx(near["standard_errors"]["center"], rel=1e-4)
    held = fit(bench, X, BELL, model="gaussian", bounds={"center": [4.5, 6], "offset": [0.0, None]})
    assert held.values["parameters"]["center"] == pytest.approx(4.5, rel=1e-6)
    assert any("At a bound: center" in one for one in held.meta["warnings"])


def test_initial_values_choose_the_peak(bench):
    y = np.exp(-((X - 2) ** 2) / 0.1) + 3 * np.exp(-((X - 8) ** 2) / 0.1)
    assert fit(bench, X, y, model="gaussian").values["parameters"]["center"] == pytest.approx(8, abs=0.05)
    chosen = fit(bench, X[X < 5], y[X < 5], model="gaussian", initial={"center": 2.2, "sigma": 0.3}).values
    assert chosen["parameters"]["center"] == pytest.approx(2, abs=0.01)


def test_a_degenerate_fit_is_told_and_its_errors_are_null(bench):
    y = 2 * X + 1 + RNG.normal(0, 0.1, X.size)
    for params in (
        {"model": "custom", "expr": "a*b*x + c"},
        {"model": "polynomial", "degree": 3, "x": [0, 1] * 30},
        {"model": "gaussian", "y": [1.0] * 60},
    ):
        result = fit(bench, params.pop("x", X), params.pop("y", y), **params)
        assert result.values["degenerate"] is True
        assert result.values["covariance"] is None
        assert set(result.values["standard_errors"].values()) == {None}
        assert any("degenerate" in one for one in result.meta["warnings"])
    told = fit(bench, X, y, model="custom", expr="a*b*x + c").meta["warnings"]
    assert any("do not determine a, b." in one for one in told)


def test_points_with_missing_numbers_are_left_out_and_counted(bench):
    y = BELL.copy()
    y[[3, 30]] = np.nan
    y_ref = bench.blobs.put(_npy(y), name="y.npy", media_type="application/x-npy").sha256
    result = fit(bench, X, BELL, model="gaussian", y={"$artifact": {"sha256": y_ref}})
    assert result.values["points"] == 58
    assert any("2 of 60 points" in one for one in result.meta["warnings"])


def _npy(array):
    import io

    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_as_many_points_as_parameters_have_no_errors_and_fewer_are_refused(bench):
    result = fit(bench, [0, 1], [1, 3])
    assert result.values["parameters"] == pytest.approx({"slope": 2, "intercept": 1})
    assert result.values["covariance"] is None
    assert result.values["degenerate"] is False
    with pytest.raises(RequestError, match="1 points for 2 parameters") as caught:
        fit(bench, [0], [1])
    assert caught.value.got == 1
    with pytest.raises(RequestError, match="3 points for 4 parameters"):
        fit(bench, [0, 1, 2], [1, 2, 1], model="gaussian")


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"y": [1, 2]}, "y"),
        ({"x": [[1, 2], [3, 4]]}, "x"),
        ({"x": ["a", "b"]}, "x"),
        ({"sigma": 0.0}, "sigma"),
        ({"sigma": [1.0, 2.0]}, "sigma"),
        ({"sigma": [-1.0] * 60}, "sigma"),
        ({"model": "power"}, "x"),
        ({"model": "gaussian", "initial": {"centre": 3}}, "initial.centre"),
        ({"bounds": {"slop": [0, 1]}}, "bounds.slop"),
        ({"initial": {"slope": 5}, "bounds": {"slope": [0, 1]}}, "initial.slope"),
        ({"model": "custom", "expr": "x**2"}, "expr"),
        ({"model": "custom", "expr": "a*x.real"}, "expr"),
        ({"model": "custom", "expr": "__import__('os').system('true')*a"}, "expr"),
        ({"model": "custom", "expr": "(" * 400 + "a*x"}, "expr"),
        ({"model": "custom", "expr": "log(-exp(a*x))"}, "initial"),
    ],
)
def test_what_cannot_be_fitted_is_refused_by_name(bench, params, field):
    with pytest.raises(RequestError) as caught:
        fit(bench, X, BELL, **params)
    assert caught.value.field == field
    assert caught.value.remedy


@pytest.mark.parametrize(
    "params",
    [
        {"model": "custom"},
        {"expr": "a*x"},
        {"bounds": {"slope": [1]}},
        {"bounds": {"slope": [1, 1]}},
        {"degree": 21},
        {"confidence": 1},
        {"model": "spline"},
    ],
)
def test_parameters_that_do_not_go_together_are_refused(bench, params):
    with pytest.raises(ValidationError):
        fit(bench, X, BELL, **params)


def test_figure_table_and_caption_tell_the_fit(bench):
    result = fit(bench, X, BELL, model="gaussian", sigma=0.1, emit_plots=True, emit_csv=True, x_label="t", x_unit="s")
    [figure] = result.figures
    assert figure.png.width >= 1200
    assert "60 points" in figure.caption
    assert f"center = {result.values['parameters']['center']:.5g} +/- " in figure.caption
    table = bench.blobs.read(figure.csv.sha256).decode().splitlines()
    assert table[0] == "t (s),y,fit,residual,sigma"
    assert len(table) == 61
    again = fit(bench, X, BELL, model="gaussian", sigma=0.1, emit_plots=True, emit_csv=True, x_label="t", x_unit="s")
    assert again == result


@pytest.mark.parametrize("model", ["linear", "polynomial"])
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_a_line_far_from_0_converges(bench, model, noise):
    x = 1e9 + 1e-3 * np.arange(1000)
    y = 2.0 * (x - 1e9) + 1.0 + noise * np.random.default_rng(0).normal(size=x.size)
    params = {"degree": 1} if model == "polynomial" else {}
    result = bench.run("data.fit", x=x.tolist(), y=y.tolist(), model=model, **params)
    values = result.values
    assert values["converged"] is True
    slope = values["parameters"]["slope" if model == "linear" else "c1"]
    height = values["parameters"]["intercept" if model == "linear" else "c0"] + slope * x.mean()
    assert height == pytest.approx(y.mean(), abs=1e-6)
    error = values["standard_errors"]["slope" if model == "linear" else "c1"]
    assert slope == pytest.approx(2.0, abs=1e-12 + 0.2 * noise)
    # The textbook's standard error of a slope: residual over the spread of x.
    assert error == pytest.approx(values["residual_std"] / np.sqrt(np.sum((x - x.mean()) ** 2)), rel=1e-3, abs=1e-15)
    np.testing.assert_allclose(bench.array(result, "y"), 2.0 * (x - 1e9) + 1.0, atol=1e-9 + 0.3 * noise)
    assert not any("converge" in one for one in result.meta["warnings"])
