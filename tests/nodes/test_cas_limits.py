"""Symbolic nodes at their limits: zeros of angles, poles, values out of range, ill-conditioned matrices."""

import json

import pytest
from node_runs import Bench

from physlab_mcp.errors import RequestError


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def run(bench, method, /, **params):
    result = bench.run(f"cas.{method}", **params)
    bench.check_declared(f"cas.{method}", result)
    json.dumps(result.values, allow_nan=False)
    return result


def warned(result, word):
    return any(word in text for text in result.meta["warnings"])


@pytest.mark.parametrize("equation", ["sin(x) = 0", "cos(x) = 0", "sin(2*x) = 0", "sin(x)*cos(x) = 0"])
def test_exact_zeros_of_angles_pass_their_check(bench, equation):
    result = run(bench, "solve_equation", equation=equation)
    assert result.values["checked"] is True
    assert result.values["count"] >= 2
    assert not warned(result, "check")


def test_a_wrong_root_of_an_angle_still_fails(bench, monkeypatch):
    import sympy

    monkeypatch.setattr(sympy, "solve", lambda *_args, **_named: [{sympy.Symbol("x"): sympy.Rational(314, 100)}])
    result = run(bench, "solve_equation", equation="sin(x) = 0")
    assert result.values["checked"] is False


@pytest.mark.parametrize("equation", ["1/x = 0", "1/(x-1) = 0", "tan(x)/(x-3)**2 = tan(x)/(x-3)**2 + 1/(x-2)"])
def test_a_pole_is_no_root(bench, equation):
    assert run(bench, "solve_equation", equation=equation).values["roots"] == []


def test_numerical_roots_beside_poles_and_steps_are_kept(bench):
    roots = run(bench, "solve_equation", equation="tan(x) = x").values["roots"]
    assert roots == pytest.approx([-7.725251836937707, -4.493409457909064, 0.0, 4.493409457909064, 7.725251836937707])
    assert run(bench, "solve_equation", equation="sign(x) + 0.5 = 0").values["roots"] == []


def test_a_solution_too_small_for_float64_has_no_number(bench):
    result = run(bench, "solve_equation", equation="log(x) = -1000")
    assert result.values["solutions"] == [{"x": "exp(-1000)"}]
    assert (result.values["numbers"], result.values["roots"]) == ([{"x": None}], [])
    assert warned(result, "outside the range")


def hilbert(entry):
    return [[entry(i + k + 1) for k in range(12)] for i in range(12)]


def test_an_ill_conditioned_matrix_is_told_and_an_exact_one_is_not(bench):
    rounded = run(bench, "matrix", matrix=hilbert(lambda n: 1 / n), task="inverse")
    assert rounded.values["condition_number"] > 1e15
    assert rounded.values["checked"] is None
    assert warned(rounded, "nearly singular")
    exact = run(bench, "matrix", matrix=hilbert(lambda n: f"1/{n}"), task="inverse")
    assert exact.values["numbers"][0][0] == 144.0
    assert (exact.values["checked"], exact.meta["warnings"]) == (True, [])
    tame = run(bench, "matrix", matrix=[[2.5, 1], [1, 2]], task="solve", other=[[1], [0]])
    assert tame.values["condition_number"] == pytest.approx(2.690873457204967)
    assert (tame.values["checked"], tame.meta["warnings"]) == (True, [])


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("ω²+√2·α", "sqrt(2)*alpha + omega**2"),
        ("√2x", "sqrt(2)*x"),
        ("√(x+1)", "sqrt(x + 1)"),
        ("√α + 1", "sqrt(alpha) + 1"),
        ("√2.25", "3/2"),
    ],
)
def test_the_root_sign_is_read(bench, text, read):
    assert run(bench, "evaluate", expr=text).values["result"] in {read, "1.5"}


def test_what_is_no_number_and_no_symbol_is_refused(bench):
    with pytest.raises(RequestError, match="nan"):
        bench.run("cas.integrate", expr="x", symbol="x", bounds=["nan", 1])
    for method, params in (
        ("diff", {"expr": "x*pi"}),
        ("integrate", {"expr": "x"}),
        ("solve_equation", {"equation": "x"}),
    ):
        with pytest.raises(RequestError, match="'pi' is a number") as caught:
            bench.run(f"cas.{method}", symbol="pi", **params)
        assert caught.value.field == "symbol"


def test_a_derivative_at_a_pole_is_null_with_a_warning(bench):
    result = run(bench, "diff", expr="1/x", vars={"x": 0})
    assert result.values["number"] is None
    assert warned(result, "no value there")
    assert run(bench, "diff", expr="x**2", vars={"x": 3}).meta["warnings"] == []


def test_uncertainties_at_the_ends_of_float64(bench):
    def of(expr, **params):
        given = {name: {"value": value, "sigma": sigma} for name, (value, sigma) in params.items()}
        return run(bench, "propagate_uncertainty", expr=expr, vars=given, monte_carlo=50)

    huge = of("x", x=(1e308, 1e308)).values
    assert (huge["value"], huge["sigma"], huge["relative"]) == (1e308, 1e308, 1.0)
    tiny = of("x + y", x=(1e-200, 3e-201), y=(0.0, 4e-201)).values
    assert tiny["sigma"] == pytest.approx(5e-201, rel=1e-12)
    assert tiny["contributions"]["x"]["share"] == pytest.approx(0.36)
    for expr in ("x*y", "x + y"):
        with pytest.raises(RequestError):
            of(expr, x=(1e308, 1e308), y=(1e308, 1e308))
