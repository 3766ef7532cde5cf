"""`cas.evaluate`, `cas.diff`, `cas.simplify` and `cas.solve_equation`: right, checked, and told apart where they fail."""

import subprocess
import sys

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from node_runs import Bench

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import cas_numbers, symbols

RELAXED = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def run(bench, method, /, **params):
    result = bench.run(f"cas.{method}", **params)
    bench.check_declared(f"cas.{method}", result)
    return result


def python_value(text, **at):
    scope = {name: getattr(np, name) for name in ("sin", "cos", "tan", "exp", "log", "sqrt", "sinh", "pi", "abs")}
    return eval(text.replace("^", "**"), scope, at)


def test_importing_the_tool_is_cheap():
    code = "import sys, physlab_mcp.nodes.cas; print([m for m in ('sympy','numpy','scipy','matplotlib','pint') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_every_method_has_words_a_bound_and_an_example_that_runs(bench):
    methods = [one for one in bench.registry if one.tool == "cas"]
    assert {one.method for one in methods} == {
        "evaluate", "diff", "integrate", "solve_equation", "solve_ode", "propagate_uncertainty", "simplify", "matrix",
    }  # fmt: skip
    for one in methods:
        assert one.words
        assert one.compute_s == 3.0
        assert run(bench, one.method, **one.example).values["checked"] is True
        assert run(bench, one.method, **one.example).figures == ()


@pytest.mark.parametrize(
    ("expr", "given", "expected"),
    [
        ("m*c**2", {"m": 2, "c": 3}, 18.0),
        ("sqrt(x) + e^2", {"x": 2}, 2**0.5 + np.e**2),
        ("E_0*exp(-k*T)", {"E_0": 1.602e-19, "k": 0.5, "T": 2}, 1.602e-19 * np.exp(-1)),
        ("ω*t", {"omega": 2, "t": "pi/4"}, np.pi / 2),
        ("abs(x) + floor(x)", {"x": -2.5}, -0.5),
        ("log10(1000)", {}, 3.0),
        ("erf(1/2) + gamma(1/3)", {}, float(mpmath.erf(0.5) + mpmath.gamma(mpmath.mpf(1) / 3))),
        ("sin(10**50)", {}, float(mpmath.sin(mpmath.mpf(10) ** 50))),
        ("(1 + 1e-9)**(10**9)", {}, np.exp(1e9 * np.log1p(1e-9))),
        ("exp(-100000)", {}, 0.0),
    ],
)
def test_values_are_right(bench, expr, given, expected):
    with mpmath.workdps(80):
        expected = float(mpmath.sin(mpmath.mpf(10) ** 50)) if "10**50" in expr else float(expected)
    values = run(bench, "evaluate", expr=expr, vars=given).values
    assert values["number"] == pytest.approx(expected, rel=1e-13, abs=1e-300)
    assert values["imaginary"] == 0.0
    assert values["free_symbols"] == []
    assert values["checked"] is not False


def test_what_has_no_value_stays_symbolic_and_is_drawn(bench):
    result = run(bench, "evaluate", expr="A*exp(-x)", vars={"A": 2}, emit_plots=True, emit_csv=True, x_range=[0, 1])
    assert result.values["result"] == "2*exp(-x)"
    assert result.values["number"] is None
    assert result.values["free_symbols"] == ["x"]
    (figure,) = result.figures
    rows = bench.blobs.read(figure.csv.sha256).decode().splitlines()
    assert float(rows[-1].split(",")[1]) == pytest.approx(2 * np.exp(-1))
    assert figure.png is not None


def test_flags_for_figures_are_honoured(bench):
    params = {"expr": "x**2", "symbol": "x"}
    assert run(bench, "diff", **params).figures == ()
    (only_csv,) = run(bench, "diff", **params, emit_csv=True).figures
    assert (only_csv.png, only_csv.csv is None) == (None, False)
    (only_plot,) = run(bench, "diff", **params, emit_plots=True).figures
    assert (only_plot.png is None, only_plot.csv) == (False, None)


def test_values_beyond_float64_are_null_with_a_warning(bench):
    result = run(bench, "evaluate", expr="exp(x)", vars={"x": 5000})
    assert result.values["number"] is None
    assert "float64" in result.meta["warnings"][0]


@pytest.mark.parametrize("given", [{"x": 1}, {"x": "y-y+1"}])
def test_a_pole_is_refused(bench, given):
    with pytest.raises(RequestError, match="divides by zero"):
        run(bench, "evaluate", expr="1/(x-1)", vars=given)


@pytest.mark.parametrize(
    "expr",
    [
        "x**2*sin(x)",
        "exp(-x**2)/x",
        "sqrt(x)*log(x)",
        "atan(x)**2",
        "x**x",
        "tan(x)",
        "sinh(x)/x",
        "besselj(1, x)",
        "erf(a*x)",
    ],
)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_agree_with_those_of_mpmath(bench, expr, order):
    values = run(bench, "diff", expr=expr, symbol="x", order=order).values
    assert values["checked"] is True
    names = symbols.Names()
    function, found = (
        symbols.expression(text, names).subs("a", sympy.Rational(7, 10)) for text in (expr, values["result"])
    )
    x = names.symbol("x")
    with mpmath.workdps(40):
        expected = mpmath.diff(sympy.lambdify(x, function, "mpmath"), mpmath.mpf("0.8"), order)
        assert abs(sympy.lambdify(x, found, "mpmath")(mpmath.mpf("0.8")) / expected - 1) < 1e-15


def test_a_derivative_takes_its_value_at_a_place(bench):
    values = run(bench, "diff", expr="x^3 y", symbol="x", vars={"x": 2, "y": 1.5}).values
    assert (values["result"], values["number"]) == ("3*x**2*y", 18.0)


def test_the_derivative_of_a_modulus_is_its_sign(bench):
    assert run(bench, "diff", expr="abs(x - 1)").values["result"] == "sign(x - 1)"


@pytest.mark.parametrize(
    ("function", "claimed", "order", "expected"),
    [
        ("sin(x)", "cos(x)", 1, True),
        ("sin(x)", "cos(x) + 1e-4", 1, False),
        ("5", "0", 1, True),
        ("5", "1", 1, False),
        ("tan(x)", "1 + tan(x)^2", 1, True),
        ("1/x", "-1/x^2", 1, True),
        ("1/x", "1/x^2", 1, False),
        ("log(x)", "2/x^3", 3, True),
        ("log(x)", "-2/x^3", 3, False),
        ("1e-34*x^3", "3e-34*x^2", 1, True),
        ("1e-34*x^3", "3.001e-34*x^2", 1, False),
        ("sin(1e9*x)", "1e9*cos(1e9*x)", 1, True),
        ("sin(1e9*x)", "1e9*sin(1e9*x)", 1, False),
        ("abs(x)", "sign(x)", 1, True),
        ("abs(x)", "-sign(x)", 1, False),
    ],
)
def test_the_check_of_derivatives_tells_right_from_wrong(function, claimed, order, expected):
    names = symbols.Names(real=True)
    one, other = (symbols.expression(text, names) for text in (function, claimed))
    assert cas_numbers.is_derivative(one, names.symbol("x"), order, other) is expected


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("sin(x)^2 + cos(x)^2", "1", True),
        ("(x+1)^10", "x^10", False),
        ("1e-30*x", "2e-30*x", False),
        ("(1 + 1e-12*x) - 1", "1e-12*x", True),
        ("log(x*y)", "log(x) + log(y)", True),
        ("x", "x*(1 + 1e-6)", False),
    ],
)
def test_the_check_of_equality_tells_right_from_wrong(left, right, expected):
    names = symbols.Names()
    assert cas_numbers.equal(symbols.expression(left, names), symbols.expression(right, names)) is expected


def test_a_failed_check_is_a_warning(bench, monkeypatch):
    monkeypatch.setattr(sympy, "diff", lambda expr, symbol, order: expr)  # a SymPy that is wrong
    result = run(bench, "diff", expr="x**3", symbol="x")
    assert result.values["checked"] is False
    assert "do not rely" in result.meta["warnings"][0]


@pytest.mark.parametrize(
    ("expr", "form", "expected"),
    [
        ("sin(x)**2 + cos(x)**2", "simplify", "1"),
        ("(x^2-1)/(x-1)", "simplify", "x + 1"),
        ("(x+1)^3", "expand", "x**3 + 3*x**2 + 3*x + 1"),
        ("x^3-6x^2+11x-6", "factor", "(x - 3)*(x - 2)*(x - 1)"),
        ("1/x + 1/y", "together", "(x + y)/(x*y)"),
        ("1/(x^2-1)", "apart", "-1/(2*(x + 1)) + 1/(2*(x - 1))"),
    ],
)
def test_forms_are_found_and_checked(bench, expr, form, expected):
    values = run(bench, "simplify", expr=expr, form=form).values
    assert (values["result"], values["checked"]) == (expected, True)


def put_back(equation, name, value):
    left, _, right = equation.replace("==", "=").partition("=")
    return python_value(left, **{name: value}) - python_value(right or "0", **{name: value})


@pytest.mark.parametrize(
    ("equation", "roots"),
    [
        ("x**2 - 5*x + 6 = 0", [2, 3]),
        ("x**3 == 3*x - 1", [-2 * np.cos(np.pi / 9), 2 * np.cos(4 * np.pi / 9), 2 * np.cos(2 * np.pi / 9)]),
        ("cos(x) = x", [0.7390851332151607]),
        ("x**5 - x - 1", [1.1673039782614187]),
        ("x**4 + x - 1 = 0", [-1.2207440846057596, 0.7244919590005157]),
        ("(x - 1)**3*(x**5 - x - 1) = 0", [1, 1.1673039782614187]),
        ("x**4 - 5*x**2 + 4", [-2, -1, 1, 2]),
        ("x**10 + x**3 - 1", [-1.0859379126404, 0.8871165326766]),
        ("x**5 = 32", [2]),
        ("exp(x) = 5", [np.log(5)]),
        ("x*exp(x) = 1", [0.5671432904097838]),
        ("sin(x) = 1/2", [np.pi / 6, 5 * np.pi / 6]),
        ("sqrt(x + 1) = x", [(1 + 5**0.5) / 2]),
        ("tan(x) = x", [-7.72525183693771, -4.49340945790906, 0, 4.49340945790906, 7.72525183693771]),
        ("0.1*x**2 - 3.7 = 0", [-(37**0.5), 37**0.5]),
        ("abs(x - 2) = 3", [-1, 5]),
        ("sqrt(x) = -1", []),
        ("x = x + 1", []),
        ("x**2 + 1", []),
    ],
)
def test_roots_are_found_and_solve(bench, equation, roots):
    values = run(bench, "solve_equation", equation=equation, symbol="x").values
    assert values["roots"] == pytest.approx(sorted(roots), abs=1e-10)
    assert all(abs(put_back(equation, "x", root)) < 1e-8 for root in values["roots"])
    assert values["checked"] is (True if values["count"] else None)


@RELAXED
@given(st.lists(st.integers(-9, 9), min_size=1, max_size=4), st.integers(1, 9))
def test_polynomials_give_back_the_roots_they_were_made_of(bench, roots, factor):
    text = f"{factor}*" + "*".join(f"(x - ({root}))" for root in roots) + " = 0"
    values = run(bench, "solve_equation", equation=text, symbol="x").values
    assert values["roots"] == sorted(set(roots))
    assert values["checked"] is True


@RELAXED
@given(st.lists(st.integers(-5, 5), min_size=6, max_size=9).filter(lambda c: c[0]))
def test_all_roots_of_polynomials_of_higher_degree_agree_with_numpy(bench, coefficients):
    text = " + ".join(f"({c})*x^{len(coefficients) - 1 - k}" for k, c in enumerate(coefficients))
    values = run(bench, "solve_equation", equation=text, symbol="x").values
    expected = np.roots(coefficients)
    residual = max((abs(np.polyval(coefficients, root)) for root in values["roots"]), default=0.0)
    assert residual < 1e-6 * max(map(abs, coefficients)) * 6 ** len(coefficients)
    real = expected[np.abs(expected.imag) < 1e-9].real
    assert all(np.min(np.abs(np.array(values["roots"]) - one)) < 1e-2 for one in real)
    assert values["checked"] is True


def test_systems_are_solved_for_all_unknowns(bench):
    values = run(bench, "solve_equation", equation=["x + y = 3", "x*y = 2"]).values
    assert values["numbers"] == [{"x": 1.0, "y": 2.0}, {"x": 2.0, "y": 1.0}]
    assert values["checked"] is True


def test_symbols_besides_the_unknown_stay(bench):
    values = run(bench, "solve_equation", equation="E = m*c^2", symbol="m").values
    assert values["solutions"] == [{"m": "E/c**2"}]
    assert values["checked"] is True


def test_assumptions_leave_out_what_they_exclude(bench):
    params = {"symbol": "x", "assumptions": {"x": "positive"}}
    assert run(bench, "solve_equation", equation="x^2 = 2", **params).values["solutions"] == [{"x": "sqrt(2)"}]
    assert run(bench, "solve_equation", equation="x^5 = x + 1", **params).values["count"] == 1
    assert all(root > 0 for root in run(bench, "solve_equation", equation="tan(x) = x", **params).values["roots"])


def test_numerical_roots_say_so(bench):
    result = run(bench, "solve_equation", equation="cos(x) = x")
    assert result.values["closed_form"] is False
    assert "[-10.0, 10.0]" in result.meta["warnings"][0]


def test_solutions_of_one_period_only_say_so(bench):
    result = run(bench, "solve_equation", equation="sin(x) = 1/2")
    assert result.values["closed_form"] is True
    assert "period" in result.meta["warnings"][0]


def test_an_equation_that_says_nothing_says_so(bench):
    assert "every value" in run(bench, "solve_equation", equation="x = x").meta["warnings"][0]
    assert run(bench, "solve_equation", equation="x = x + 1").values["count"] == 0


def test_an_unknown_that_is_not_clear_is_an_error(bench):
    with pytest.raises(RequestError, match="x, y"):
        run(bench, "solve_equation", equation="x + y = 1")
