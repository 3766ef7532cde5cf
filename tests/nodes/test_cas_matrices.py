"""`cas.matrix` and `cas.propagate_uncertainty`."""

import numpy as np
import pytest
import sympy
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from node_runs import Bench
from pydantic import ValidationError

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import cas_matrix

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


SQUARES = st.integers(1, 4).flatmap(
    lambda n: st.lists(st.lists(st.integers(-5, 5), min_size=n, max_size=n), min_size=n, max_size=n)
)


@RELAXED
@given(SQUARES)
def test_matrices_of_integers_agree_with_numpy(bench, rows):
    table = np.array(rows, dtype=float)
    det = run(bench, "matrix", matrix=rows, task="det").values
    assert det["number"] == pytest.approx(np.linalg.det(table), abs=1e-8)
    assert det["checked"] is True
    assert run(bench, "matrix", matrix=rows, task="rank").values["number"] == np.linalg.matrix_rank(table)
    assert run(bench, "matrix", matrix=rows, task="trace").values["number"] == np.trace(table)
    if det["number"]:
        inverse = run(bench, "matrix", matrix=rows, task="inverse").values
        assert np.array(inverse["numbers"]) @ table == pytest.approx(np.eye(len(rows)), abs=1e-9)
        assert inverse["checked"] is True
    else:
        with pytest.raises(RequestError, match="singular"):
            run(bench, "matrix", matrix=rows, task="inverse")


@RELAXED
@given(SQUARES)
@example([[0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0]])  # entries of A v that are rounding error all through
@example([[0, 6, 0, 0], [0, 4, 2, 3], [0, 0, 0, 0], [0, 0, 0, -2]])
def test_eigenvalues_agree_with_numpy(bench, rows):
    rows = (np.array(rows) + np.array(rows).T).tolist()
    values = run(bench, "matrix", matrix=rows, task="eigenvalues").values
    assert values["numbers"] == pytest.approx(np.linalg.eigvalsh(np.array(rows, dtype=float)).tolist(), abs=1e-8)
    assert values["checked"] is True


def pairs(values, vectors):
    return [(sympy.Float(value), 1, [sympy.Matrix(vector)]) for value, vector in zip(values, vectors, strict=True)]


def test_a_float_eigenvalue_counts_as_right_only_within_rounding_beside_the_matrix():
    rows = [[0, 0, 1, 1], [0, 0, 0, 0], [1, 0, 2, 0], [1, 0, 0, 0]]
    found, columns = np.linalg.eigh(np.array(rows, dtype=float))
    matrix, vectors = sympy.Matrix(rows), columns.T.tolist()
    assert cas_matrix.are_eigenpairs(matrix, pairs(found, vectors))
    huge = sympy.Matrix([[one * 10**180 for one in row] for row in rows])
    assert cas_matrix.are_eigenpairs(huge, pairs(found * 1e180, vectors))
    for k in range(4):
        wrong = found.copy()
        wrong[k] += 1e-7
        assert not cas_matrix.are_eigenpairs(matrix, pairs(wrong, vectors))
    turned = [vectors[0], vectors[2], vectors[1], vectors[3]]
    assert not cas_matrix.are_eigenpairs(matrix, pairs(found, turned))
    twice = [0, 0, 2, 3]  # one pair stands for another
    assert not cas_matrix.are_eigenpairs(matrix, pairs(found[twice], [vectors[k] for k in twice]))
    assert not cas_matrix.are_eigenpairs(matrix, pairs(found[1:], vectors[1:]))


def test_eigenvectors_satisfy_their_equation(bench):
    values = run(bench, "matrix", matrix=[[2, 1], [1, 2]], task="eigenvectors").values
    assert [one["value"] for one in values["result"]] == ["1", "3"]
    for one in values["numbers"]:
        vector = np.array(one["vector"])
        assert np.array([[2, 1], [1, 2]]) @ vector == pytest.approx(one["value"] * vector)
    large = np.random.default_rng(0).normal(size=(12, 12))
    found = run(bench, "matrix", matrix=large.tolist(), task="eigenvectors")
    assert (found.values["exact"], found.values["checked"]) == (False, True)
    assert "float64" in found.meta["warnings"][0]


def test_matrices_with_symbols_stay_symbolic(bench):
    rows = [["a", "b"], ["c", "d"]]
    assert run(bench, "matrix", matrix=rows, task="det").values["result"] == "a*d - b*c"
    inverse = run(bench, "matrix", matrix=rows, task="inverse").values
    assert inverse["result"][0][0] == "d/(a*d - b*c)"
    assert inverse["checked"] is True
    turn = run(bench, "matrix", matrix=[["cos(t)", "-sin(t)"], ["sin(t)", "cos(t)"]], task="inverse").values
    assert turn["result"] == [["cos(t)", "sin(t)"], ["-sin(t)", "cos(t)"]]


def test_products_transposes_and_systems(bench):
    assert run(bench, "matrix", matrix=[[1, 2], [3, 4]], task="multiply", other=[[1], ["x"]]).values["result"] == [
        ["2*x + 1"],
        ["4*x + 3"],
    ]
    assert run(bench, "matrix", matrix=[[1, 2, 3]], task="transpose").values["numbers"] == [[1.0], [2.0], [3.0]]
    solved = run(bench, "matrix", matrix=[[1, 2], [3, 4]], task="solve", other=[[5], [6]]).values
    assert solved["numbers"] == [[-4.0], [4.5]]
    assert solved["checked"] is True


@pytest.mark.parametrize(
    "params",
    [
        {"matrix": [[1, 2], [3]], "task": "det"},
        {"matrix": [[1, 2]], "task": "det"},
        {"matrix": [[1]], "task": "multiply"},
        {"matrix": [[1]], "task": "det", "other": [[1]]},
        {"matrix": [[1, 2]], "task": "multiply", "other": [[1]]},
        {"matrix": [[1] * 13] * 13, "task": "det"},
    ],
)
def test_shapes_that_do_not_fit_are_refused(bench, params):
    with pytest.raises(ValidationError):
        run(bench, "matrix", **params)


@pytest.mark.parametrize(
    ("rows", "task"),
    [
        ([["10**10**10"]], "det"),
        ([["x.real"]], "trace"),
        ([[f"a{i}" if i == k else 1 for k in range(7)] for i in range(7)], "det"),
        ([["a", "b", "c"], ["d", "f", "g"], ["h", "j", "k"]], "eigenvalues"),
    ],
)
def test_entries_and_sizes_out_of_bounds_are_refused(bench, rows, task):
    with pytest.raises(RequestError) as caught:
        run(bench, "matrix", matrix=rows, task=task)
    assert caught.value.field.startswith("matrix")


def measured(**rows):
    return {name: dict(zip(("value", "sigma", "unit"), row, strict=False)) for name, row in rows.items()}


def test_a_pendulum_s_period_is_propagated_with_units(bench):
    result = run(
        bench, "propagate_uncertainty", expr="2*pi*sqrt(L/g)", to="ms", monte_carlo=200_000,
        vars=measured(L=(100.0, 0.5, "cm"), g=(9.81, 0.01, "m/s**2")),
    )  # fmt: skip
    values = result.values
    period = 2e3 * np.pi * np.sqrt(1 / 9.81)
    relative = 0.5 * np.hypot(0.5 / 100, 0.01 / 9.81)
    assert values["value"] == pytest.approx(period)
    assert values["relative"] == pytest.approx(relative)
    assert values["sigma"] == pytest.approx(period * relative)
    assert values["monte_carlo_sigma"] == pytest.approx(values["sigma"], rel=0.01)
    assert sum(one["share"] for one in values["contributions"].values()) == pytest.approx(1.0)
    assert values["contributions"]["L"]["sensitivity"] == pytest.approx(period / 200)  # ms per cm
    assert result.units["value"] == values["unit"] == "ms"
    assert values["checked"] is True


@RELAXED
@given(st.floats(0.5, 5), st.floats(0.5, 5), st.floats(0.01, 0.5), st.floats(0.01, 0.5), st.floats(-0.99, 0.99))
def test_correlations_enter_as_the_formula_says(bench, x, y, sx, sy, rho):
    values = run(
        bench, "propagate_uncertainty", expr="x*y", vars=measured(x=(x, sx), y=(y, sy)),
        correlations=[{"first": "x", "second": "y", "rho": rho}],
    ).values  # fmt: skip
    variance = (y * sx) ** 2 + (x * sy) ** 2 + 2 * x * y * rho * sx * sy
    assert values["sigma"] == pytest.approx(np.sqrt(variance), rel=1e-9)
    assert values["value"] == pytest.approx(x * y)


def test_monte_carlo_is_seeded_and_sees_what_the_first_order_does_not(bench):
    params = {"expr": "x^2", "vars": measured(x=(0.0, 0.1)), "monte_carlo": 50_000}
    first, again = (run(bench, "propagate_uncertainty", **params) for _ in range(2))
    assert first.values == again.values
    assert run(bench, "propagate_uncertainty", **params, seed=1).values != first.values
    assert first.values["sigma"] == 0.0
    assert first.values["monte_carlo_sigma"] == pytest.approx(np.sqrt(2) * 0.01, rel=0.03)
    assert any("first order" in text for text in first.meta["warnings"])


def test_temperatures_with_an_offset_are_points_and_their_uncertainty_is_not(bench):
    values = run(bench, "propagate_uncertainty", expr="k*T", vars=measured(T=(25.0, 0.5, "degC"), k=(2.0, 0.0))).values
    assert (values["value"], values["sigma"], values["unit"]) == (pytest.approx(596.3), pytest.approx(1.0), "kelvin")
    back = run(bench, "propagate_uncertainty", expr="T", to="degC", vars=measured(T=(25.0, 0.5, "degC"))).values
    assert (back["value"], back["sigma"]) == (pytest.approx(25.0), pytest.approx(0.5))


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"expr": "x + y", "vars": measured(x=(1, 0.1, "m"), y=(2, 0.1, "s"))}, "vars"),
        ({"expr": "exp(x)", "vars": measured(x=(1, 0.1, "m"))}, "vars"),
        ({"expr": "x", "vars": measured(x=(1, 0.1, "m")), "to": "s"}, "to"),
        ({"expr": "x", "vars": measured(x=(1, 0.1, "nonsense"))}, "vars.x.unit"),
        ({"expr": "x + z", "vars": measured(x=(1, 0.1))}, "vars"),
        ({"expr": "log(x)", "vars": measured(x=(-1, 0.1))}, "vars"),
        ({"expr": "1/x", "vars": measured(x=(0, 0.1))}, "vars"),
        (
            {"expr": "x + y + z", "vars": measured(x=(1, 1), y=(1, 1), z=(1, 1)),
             "correlations": [{"first": a, "second": b, "rho": -0.9} for a, b in ("xy", "yz", "xz")]},
            "correlations",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(bench, params, field):
    with pytest.raises(RequestError) as caught:
        run(bench, "propagate_uncertainty", **params)
    assert caught.value.field == field


def test_the_figure_shows_the_shares(bench):
    params = {"expr": "m*a", "vars": measured(m=(2.0, 0.1, "kg"), a=(9.81, 0.02, "m/s**2"))}
    (figure,) = run(bench, "propagate_uncertainty", **params, emit_plots=True, emit_csv=True).figures
    rows = bench.blobs.read(figure.csv.sha256).decode().splitlines()
    assert rows[1].startswith("'m',0.998")
    assert "19.62" in figure.caption
