"""`cas.integrate` and `cas.solve_ode`, against quadrature and numerical integration."""

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from node_runs import Bench
from scipy.integrate import solve_ivp

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import cas_integral, symbols

RELAXED = settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def run(bench, method, /, **params):
    result = bench.run(f"cas.{method}", **params)
    bench.check_declared(f"cas.{method}", result)
    return result


def value_of(text, **at):
    expr = symbols.expression(text, symbols.Names())
    return complex(expr.subs({sympy.Symbol(name): value for name, value in at.items()}).evalf())


@pytest.mark.parametrize(
    "expr",
    [
        "x*sin(x)",
        "exp(-x)*cos(3x)",
        "1/(1+x^4)",
        "log(x)^2",
        "sqrt(1+x^2)",
        "x^2*exp(-x^2)",
        "sin(x)^2*cos(x)^3",
        "x^n",
        "1/(x*(x+a))",
    ],
)
def test_antiderivatives_differentiate_back(bench, expr):
    values = run(bench, "integrate", expr=expr, symbol="x", assumptions={"n": "positive", "a": "positive"}).values
    assert values["checked"] is True
    at, step = 0.7, 1e-3
    free = {"n": 1.3, "a": 0.6}
    slope = (value_of(values["result"], x=at + step, **free) - value_of(values["result"], x=at - step, **free)) / (
        2 * step
    )
    assert slope == pytest.approx(value_of(expr, x=at, **free), rel=1e-5)


@pytest.mark.parametrize(
    ("expr", "bounds", "expected"),
    [
        ("exp(-x**2)", [0, 1], "0.7468241328124271"),
        ("exp(-x**2)", ["-oo", "oo"], "sqrt(pi)"),
        ("sqrt(1-x^2)", [-1, 1], "pi/2"),
        ("abs(x-1)", [0, 3], "2.5"),
        ("exp(-x/1e-9)", [0, "oo"], "1e-9"),
        ("x^3/(exp(x)-1)", [0, "oo"], "pi**4/15"),
        ("log(x)", [0, 1], "-1"),
        ("x^2", [3, 1], "-26/3"),
        ("cos(50x)", [0, "pi"], "0"),
        ("heaviside(x-1)*x", [0, 3], "4"),
        ("sin(x)/x", [0, "oo"], "pi/2"),
        ("x^x", [0, 1], "0.783430510712134"),
    ],
)
def test_definite_integrals_are_right(bench, expr, bounds, expected):
    values = run(bench, "integrate", expr=expr, symbol="x", bounds=bounds).values
    assert values["number"] == pytest.approx(
        float(mpmath.mpf(str(sympy.N(sympy.S(expected), 20)))), rel=1e-7, abs=1e-12
    )
    assert values["checked"] is not False


@RELAXED
@given(st.integers(0, 4), st.integers(1, 4), st.floats(-2, 2), st.floats(0.1, 3))
def test_definite_integrals_agree_with_mpmath(bench, power, rate, low, width):
    low, high = round(low, 3), round(low + width, 3)
    values = run(bench, "integrate", expr=f"x^{power}*sin({rate}*x)*exp(-x)", symbol="x", bounds=[low, high]).values
    expected = mpmath.quad(lambda x: x**power * mpmath.sin(rate * x) * mpmath.exp(-x), mpmath.linspace(low, high, 6))
    assert values["number"] == pytest.approx(float(expected), rel=1e-8, abs=1e-10)
    assert values["checked"] is True


def test_an_integral_with_parameters_is_checked_at_random_ones(bench):
    values = run(
        bench, "integrate", expr="exp(-a*x**2)", symbol="x", bounds=["-oo", "oo"], assumptions={"a": "positive"}
    ).values
    assert values["result"] == "sqrt(pi)/sqrt(a)"
    assert (values["number"], values["checked"]) == (None, True)
    assert run(bench, "integrate", expr="x^2", symbol="x", bounds=["a", "b"]).values["result"] == "-a**3/3 + b**3/3"


def test_a_wrong_closed_form_fails_against_quadrature(bench, monkeypatch):
    monkeypatch.setattr(sympy, "integrate", lambda _expr, _over: sympy.Rational(1, 3))
    result = run(bench, "integrate", expr="x^3", symbol="x", bounds=[0, 1])
    assert result.values["checked"] is False
    assert any("do not rely" in text for text in result.meta["warnings"])
    assert run(bench, "integrate", expr="a*x^3", symbol="x", bounds=[0, 1]).values["checked"] is False


@pytest.mark.parametrize(("expr", "bounds"), [("1/x", [-1, 1]), ("x/(1+x^2)", ["-oo", "oo"]), ("tan(x)", [0, "pi"])])
def test_a_pole_between_the_bounds_is_no_number(bench, expr, bounds):
    with pytest.raises(RequestError, match="diverge"):
        run(bench, "integrate", expr=expr, symbol="x", bounds=bounds)


@pytest.mark.parametrize(("expr", "bounds"), [("1/x^2", [-1, 2]), ("1/x", [1, "oo"]), ("exp(x)", [0, "oo"])])
def test_a_divergent_integral_is_infinite_and_has_no_number(bench, expr, bounds):
    result = run(bench, "integrate", expr=expr, symbol="x", bounds=bounds)
    assert (result.values["result"], result.values["number"]) == ("oo", None)
    assert result.meta["warnings"] == ["The integral diverges."]


def test_quadrature_stands_in_for_a_closed_form_and_says_so(bench):
    result = run(bench, "integrate", expr="exp(sin(x))", symbol="x", bounds=[0, "pi"])
    expected = float(mpmath.quad(lambda x: mpmath.exp(mpmath.sin(x)), [0, mpmath.pi]))
    assert result.values["number"] == pytest.approx(expected, rel=1e-12)
    assert (result.values["closed_form"], result.values["method"]) == (False, "quadrature")
    assert result.values["quadrature_error"] < 1e-9
    assert "quadrature" in result.meta["warnings"][0]
    with pytest.raises(RequestError, match="antiderivative"):
        run(bench, "integrate", expr="exp(sin(x))", symbol="x")


def test_the_figure_shades_the_area(bench):
    (figure,) = run(bench, "integrate", expr="exp(-x**2)", bounds=[0, 1], emit_plots=True).figures
    assert "from 0 to 1" in figure.caption
    assert figure.png.width > 1000


def test_nan_never_reaches_scipy():
    names = symbols.Names()
    task = cas_integral.Task(
        symbols.expression("log(x)/(1-x)", names), names.symbol("x"), (sympy.Integer(0), sympy.Integer(1))
    )
    assert cas_integral.quadrature(task).value.real == pytest.approx(-(np.pi**2) / 6, rel=1e-8)


ODES = [
    ("y'' + 4*y = 0", {"y(0)": 1, "y'(0)": 0}, lambda x, y: [y[1], -4 * y[0]]),
    ("y'' + 2*y' + 5y = sin(x)", {"y(0)": 0, "y'(0)": 1}, lambda x, y: [y[1], np.sin(x) - 2 * y[1] - 5 * y[0]]),
    ("y'' + 0.4*y' + 4*y = 0", {"y(0)": 1, "y'(0)": -0.5}, lambda x, y: [y[1], -0.4 * y[1] - 4 * y[0]]),
    ("dy/dx = y*(1-y)", {"y(0)": 0.1}, lambda x, y: [y[0] * (1 - y[0])]),
    ("y' = x*y", {"y(0)": 2}, lambda x, y: [x * y[0]]),
    ("y' + y/(x+1) = x^2", {"y(0)": 1}, lambda x, y: [x**2 - y[0] / (x + 1)]),
    ("diff(y,x,3) = y", {"y(0)": 1, "y'(0)": 0, "y''(0)": 0}, lambda x, y: [y[1], y[2], y[0]]),
    ("y' = -y^2", {"y(0)": 1}, lambda x, y: [-y[0] ** 2]),
]  # fmt: skip


@pytest.mark.parametrize(("ode", "ics", "slope"), ODES, ids=[row[0] for row in ODES])
def test_solutions_agree_with_numerical_integration(bench, ode, ics, slope):
    values = run(bench, "solve_ode", ode=ode, ics=ics).values
    assert (values["checked"], values["conditions_met"], values["constants"]) == (True, True, [])
    at = np.linspace(0.0, 2.0, 9)
    found = solve_ivp(slope, (0.0, 2.0), list(ics.values()), t_eval=at, rtol=1e-11, atol=1e-12, method="DOP853")
    assert [value_of(values["result"], x=x).real for x in at] == pytest.approx(found.y[0].tolist(), abs=1e-8)


@RELAXED
@given(st.integers(-4, 4), st.integers(-9, 9), st.integers(-3, 3), st.integers(-3, 3))
def test_linear_oscillators_agree_with_numerical_integration(bench, damping, stiffness, start, speed):
    ode = f"y'' + ({damping})*y' + ({stiffness})*y = 0"
    values = run(bench, "solve_ode", ode=ode, ics={"y(0)": start, "y'(0)": speed}).values
    found = solve_ivp(
        lambda _x, y: [y[1], -damping * y[1] - stiffness * y[0]], (0.0, 1.0), [start, speed], rtol=1e-11, atol=1e-12
    )
    assert value_of(values["result"], x=1.0).real == pytest.approx(found.y[0][-1], rel=1e-7, abs=1e-8)
    assert (values["checked"], values["conditions_met"]) == (True, True)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"ode": "y'' = -y", "ics": {"y(0)": 0, "y(pi/2)": 2}}, "2*sin(x)"),
        (
            {"ode": "m*x'' + k*x = 0", "func": "x", "symbol": "t", "ics": {"x(0)": "A", "x'(0)": 0},
             "assumptions": {"m": "positive", "k": "positive"}},
            "A*cos(sqrt(k)*t/sqrt(m))",
        ),
        ({"ode": "x^2*y'' + x*y' + (x^2-1)*y = 0"}, "C1*besselj(1, x) + C2*bessely(1, x)"),
    ],
)  # fmt: skip
def test_known_solutions(bench, params, expected):
    values = run(bench, "solve_ode", **params).values
    assert (values["result"], values["checked"]) == (expected, True)


def test_all_branches_are_given_and_checked(bench):
    values = run(bench, "solve_ode", ode="(x^2+y^2) + 2*x*y*y' = 0").values
    assert len(values["solutions"]) == 2
    assert (values["checked"], values["constants"], values["conditions_met"]) == (True, ["C1"], None)


def test_a_wrong_solution_fails_its_check(bench, monkeypatch):
    y = sympy.Function("y")(sympy.Symbol("x"))
    monkeypatch.setattr(sympy, "dsolve", lambda *_args, **_named: sympy.Eq(y, sympy.sin(3 * sympy.Symbol("x"))))
    result = run(bench, "solve_ode", ode="y'' + 4*y = 0", ics={"y(0)": 1})
    assert (result.values["checked"], result.values["conditions_met"]) == (False, False)
    assert len(result.meta["warnings"]) == 2


@pytest.mark.parametrize(
    ("ode", "ics", "field"),
    [
        ("y'' + sin(y) = 0", {}, "ode"),
        ("y = 3", {}, "ode"),
        ("y' = 1", {"y''(0)": 1}, "ics"),
        ("y' = 1", {"z(0)": 1}, "ics"),
        ("y' = 1", {"y": 1}, "ics"),
        ("y' = __import__(x)", {}, "ode"),
        ("y' = y", {"y(0)": "10**10**10"}, "ics.y(0)"),
    ],
)
def test_what_cannot_be_solved_is_an_error_that_names_it(bench, ode, ics, field):
    with pytest.raises(RequestError) as caught:
        run(bench, "solve_ode", ode=ode, ics=ics)
    assert caught.value.field == field
    assert caught.value.remedy
