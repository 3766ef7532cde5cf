"""The node `cas.matrix`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import cas_answer as answer
from physlab_mcp.nodes import cas_numbers, symbols
from physlab_mcp.nodes.cas_answer import COMPUTE_S, PACKAGES, CasParams
from physlab_mcp.nodes.cas_calculus import Value
from physlab_mcp.nodes.registry import node_type
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

Rows = list[list[Value]]
MAX_SIDE = 12
_SYMBOLIC_SIDE = 6  # up to which a matrix with symbols is inverted or its determinant taken
_EXACT_EIGEN_SIDE = 4  # up to which eigenvalues have closed forms
_EPS = 2.0**-52
_ROUNDING = 1e-9  # share of the matrix that float64 eigenvalues may be off
_LOST = 1e-6  # share of the result that rounding of the entries may change without a warning
_SQUARE = ("det", "inverse", "eigenvalues", "eigenvectors", "trace", "solve")


class MatrixParams(CasParams):
    """A matrix and what to do with it."""

    matrix: Rows = Field(min_length=1, max_length=MAX_SIDE, description="rows of numbers or expressions as text")
    task: Literal["det", "inverse", "eigenvalues", "eigenvectors", "rank", "transpose", "trace", "multiply", "solve"]
    other: Rows = Field(
        default_factory=list,
        max_length=MAX_SIDE,
        description="second factor of multiply; right-hand side (column) of solve",
    )

    @model_validator(mode="after")
    def _shapes_fit(self) -> Self:
        for name, rows in (("matrix", self.matrix), ("other", self.other)):
            if any(len(row) != len(rows[0]) for row in rows) or (rows and not 1 <= len(rows[0]) <= MAX_SIDE):
                raise ValueError(f"the rows of {name} must have one length, from 1 to {MAX_SIDE}")
        height, width = len(self.matrix), len(self.matrix[0])
        if self.task in _SQUARE and height != width:
            raise ValueError(f"{self.task} needs a square matrix, but got {height} by {width}")
        if (self.task in {"multiply", "solve"}) != bool(self.other):
            raise ValueError("give other with multiply and solve, and only there")
        if self.task == "multiply" and len(self.other) != width:
            raise ValueError(f"multiply needs {width} rows in other, but got {len(self.other)}")
        if self.task == "solve" and len(self.other) != height:
            raise ValueError(f"solve needs {height} rows in other, but got {len(self.other)}")
        return self


@node_type(
    "cas.matrix",
    params=MatrixParams,
    summary="Determinant, inverse, eigenvalues and -vectors, rank, transpose, trace, product or linear system of matrices",
    packages=PACKAGES,
    outputs={
        "result": "a text for a scalar; rows of texts for a matrix; a list for eigenvalues; {value, multiplicity, vector} each for eigenvectors",
        "latex": "the result in LaTeX",
        "number": "value of a scalar, null where it has none",
        "numbers": "the same shape as result in numbers, null where they are not real",
        "exact": "whether it is exact, not in float64",
        "condition_number": "of a matrix of numbers that is inverted or solved with: how much it enlarges errors of its entries; else null",
        "checked": "by multiplying back, by A v = lambda v, or against numpy; null where it could not be tried or rounded entries decide",
    },
    example={"matrix": [[2, 1], [1, 2]], "task": "eigenvalues"},
    words=("matrix", "determinant", "inverse", "eigenvalues", "eigenvectors", "rank", "transpose", "trace", "linear system"),
    compute_s=COMPUTE_S,
)  # fmt: skip
def matrix(params: MatrixParams, io: NodeIO) -> NodeResult:
    """Compute exactly where a closed form stays small, else in float64; then multiply back.

    Raises:
        RequestError: an entry is not mathematics, the matrix is singular, or too large to be done with symbols.

    """
    import sympy

    names = answer.names_for(params, [one for row in params.matrix for one in row if isinstance(one, str)])
    entries = sympy.Matrix(_read(params.matrix, names, "matrix"))
    other = sympy.Matrix(_read(params.other, names, "other")) if params.other else None
    task = _TASKS[params.task]
    if (
        entries.free_symbols
        and params.task in {"det", "inverse", "solve", "rank"}
        and max(entries.shape) > _SYMBOLIC_SIDE
    ):
        raise _too_large(params, _SYMBOLIC_SIDE)
    values, checked = task(params, entries, other, names)
    values["condition_number"] = condition = _condition(entries) if params.task in {"inverse", "solve"} else None
    lost = _EPS * (condition or 0.0)
    if names.decimals and lost > _LOST:
        io.warn(
            f"The matrix is nearly singular (condition number {condition:.2g}): rounding of its decimals changes the "
            f"result by up to {min(lost, 1.0):.1g} of its size. Give fractions as text, such as 1/3, for an exact result."
        )
        checked = None if checked else checked
    values["checked"] = answer.verdict(io, checked, how="multiplied back")
    if not values["exact"]:
        io.warn(
            f"Closed forms are taken up to {_EXACT_EIGEN_SIDE} by {_EXACT_EIGEN_SIDE}; these values are in float64."
        )
    return NodeResult(values=values, meta=answer.meta(io))


def _condition(a: Any) -> float | None:
    """Largest over smallest singular value, or None where that is no number."""
    import numpy as np

    entries = [cas_numbers.number(one) for one in a]
    if any(one is None for one in entries):
        return None
    found = float(np.linalg.cond(np.asarray(entries, dtype=np.complex128).reshape(a.shape)))
    return found if np.isfinite(found) else None


def _too_large(params: MatrixParams, side: int) -> RequestError:
    return RequestError(
        f"A matrix of {len(params.matrix)} rows with symbols is too large for {params.task}.",
        field="matrix",
        got=len(params.matrix),
        remedy=f"Give numbers for the symbols, or at most {side} rows.",
    )


def _read(rows: Rows, names: symbols.Names, field: str) -> list[list[Any]]:
    return [
        [symbols.entry(one, names, field=f"{field}.{i}.{k}") for k, one in enumerate(row)] for i, row in enumerate(rows)
    ]


def _scalar(expr: Any, names: symbols.Names) -> dict[str, Any]:
    described = answer.described(expr, names)
    number = cas_numbers.real(cas_numbers.number(expr))
    return {
        "result": described["result"],
        "latex": described["latex"],
        "number": number,
        "numbers": number,
        "exact": True,
    }


def _table(found: Any, names: symbols.Names) -> dict[str, Any]:
    import sympy

    rows = found.tolist()
    shown = sympy.Matrix([[answer.printed(one, names) for one in row] for row in rows])
    return {
        "result": [[answer.text(one, names) for one in row] for row in rows],
        "latex": str(sympy.latex(shown, full_prec=False)),
        "number": None,
        "numbers": [[cas_numbers.real(cas_numbers.number(one)) for one in row] for row in rows],
        "exact": True,
    }


def _all_vanish(table: Any, beside: Any) -> bool | None:
    """Whether every entry is zero beside the terms that made it."""
    verdicts = [cas_numbers.vanishes_beside(one, terms) for one, terms in zip(table, beside, strict=True)]
    return False if False in verdicts else None if None in verdicts else True


def _product_terms(left: Any, right: Any, less: Any) -> list[list[Any]]:
    """For each entry of `left * right - less` the terms of its sum."""
    return [
        [*(left[i, k] * right[k, j] for k in range(left.cols)), less[i, j]]
        for i in range(left.rows)
        for j in range(right.cols)
    ]


def _multiplies_back(left: Any, right: Any, wanted: Any) -> bool | None:
    return _all_vanish(left * right - wanted, _product_terms(left, right, wanted))


def _det(_params: MatrixParams, a: Any, _other: Any, names: symbols.Names) -> tuple[dict[str, Any], bool | None]:
    found = a.det(method="berkowitz").expand() if a.free_symbols else a.det()
    return _scalar(found, names), _by_numpy(a, found, "det")


def _trace(_params: MatrixParams, a: Any, _other: Any, names: symbols.Names) -> tuple[dict[str, Any], bool | None]:
    return _scalar(a.trace(), names), _by_numpy(a, a.trace(), "trace")


def _rank(_params: MatrixParams, a: Any, _other: Any, names: symbols.Names) -> tuple[dict[str, Any], bool | None]:
    import sympy

    found = sympy.Integer(a.rank(simplify=True))
    return _scalar(found, names), _by_numpy(a, found, "rank")


def _by_numpy(a: Any, found: Any, task: str) -> bool | None:
    """Compare a scalar with numpy's at one random point of the symbols."""
    import numpy as np

    free = cas_numbers.in_order(a.free_symbols | found.free_symbols)
    function = cas_numbers.function_of([*a, found], free)
    if function is None:
        return None
    points = cas_numbers.random_points(free, (0.4, 1.6))
    *entries, expected = (complex(one) for one in function(*(np.asarray(complex(one[0])) for one in points)))
    table = np.asarray(entries).reshape(a.shape)
    if not np.all(np.isfinite(table)) or not np.isfinite(expected):
        return None
    if task == "rank":
        return int(np.linalg.matrix_rank(table)) == int(expected.real)
    value = complex(np.linalg.det(table) if task == "det" else np.trace(table))
    scale = float(np.prod(np.linalg.norm(table, axis=1))) if task == "det" else float(np.abs(np.diag(table)).sum())
    return abs(value - expected) <= 1e-9 * scale


def _transpose(_params: MatrixParams, a: Any, _other: Any, names: symbols.Names) -> tuple[dict[str, Any], bool | None]:
    found = a.T
    same = all(found[k, i] == a[i, k] for i in range(a.rows) for k in range(a.cols))
    return _table(found, names), same


def _multiply(_params: MatrixParams, a: Any, other: Any, names: symbols.Names) -> tuple[dict[str, Any], bool | None]:
    found = a * other
    # (A B) v = A (B v), with v = (1, 2, 3 …)
    import sympy

    v = sympy.Matrix([k + 1 for k in range(other.cols)])
    inner = other * v
    return _table(found, names), _all_vanish(found * v - a * inner, [
        [*x, *y] for x, y in zip(_product_terms(found, v, 0 * (found * v)), _product_terms(a, inner, 0 * (found * v)), strict=True)
    ])  # fmt: skip


def _regular(a: Any) -> None:
    singular = a.det(method="berkowitz").simplify() == 0 if a.rows <= _SYMBOLIC_SIDE else a.rank() < a.rows
    if singular:
        raise RequestError(
            "The matrix is singular.",
            field="matrix",
            remedy="Ask for rank, or use cas.solve_equation for its solutions.",
        )


def _tidy(found: Any) -> Any:
    import sympy

    if not found.free_symbols:
        return found
    angles = found.has(sympy.sin, sympy.cos, sympy.tan)
    return found.applyfunc(sympy.simplify if angles and found.rows <= 3 else sympy.cancel)


def _inverse(_params: MatrixParams, a: Any, _other: Any, names: symbols.Names) -> tuple[dict[str, Any], bool | None]:
    import sympy

    _regular(a)
    found = _tidy(a.inv())
    return _table(found, names), _multiplies_back(a, found, sympy.eye(a.rows))


def _solve(_params: MatrixParams, a: Any, other: Any, names: symbols.Names) -> tuple[dict[str, Any], bool | None]:
    _regular(a)
    found = _tidy(a.LUsolve(other))
    return _table(found, names), _multiplies_back(a, found, other)


def _eigen(params: MatrixParams, a: Any, _other: Any, names: symbols.Names) -> tuple[dict[str, Any], bool | None]:
    if a.rows > _EXACT_EIGEN_SIDE and a.free_symbols:
        raise _too_large(params, _EXACT_EIGEN_SIDE)
    triangular = a.is_upper or a.is_lower
    exact = a.rows <= 2 or (triangular and a.rows <= _EXACT_EIGEN_SIDE) or (a.rows <= _EXACT_EIGEN_SIDE and _factors(a))
    if not exact and a.free_symbols:
        raise RequestError(
            "The eigenvalues of this matrix with symbols have no short closed form.", field="matrix",
            remedy="Give numbers for the symbols, or ask for the determinant of A - lambda*1.",
        )  # fmt: skip
    triples = _eigen_exact(a) if exact else _eigen_float(a)
    checked = _solve_exactly(a, triples) if exact else are_eigenpairs(a, triples)
    values = _eigen_values(params, triples, names)
    return {**values, "number": None, "exact": exact}, checked


def _solve_exactly(a: Any, triples: list[Any]) -> bool | None:
    verdicts = [_multiplies_back(a, v, value * v) for value, _, vectors in triples for v in vectors]
    if False in verdicts or sum(m for _, m, _ in triples) != a.rows:
        return False
    return None if None in verdicts else True


def are_eigenpairs(a: Any, triples: list[Any]) -> bool:
    """Whether float64 values and vectors fulfil A v = lambda v and add up to the trace, within rounding beside A.

    Beside the norm of A, and not entry by entry: an entry that should be 0 is rounding error all through.
    """
    import numpy as np

    table = np.asarray(a.tolist(), dtype=np.complex128)
    values = np.asarray([value for value, _, _ in triples], dtype=np.complex128)
    vectors = np.hstack([np.asarray(one.tolist(), dtype=np.complex128) for _, _, (one,) in triples])
    size = float(np.max(np.abs(table))) or 1.0  # so that no square leaves float64
    table, values = table / size, values / size
    most = _ROUNDING * float(np.linalg.norm(table))
    off = np.linalg.norm(table @ vectors - vectors * values, axis=0)
    return bool(
        values.size == a.rows
        and np.all(off <= most * np.linalg.norm(vectors, axis=0))
        and abs(values.sum() - np.trace(table)) <= most
    )


def _eigen_values(params: MatrixParams, triples: list[Any], names: symbols.Names) -> dict[str, Any]:
    import sympy

    flat = [value for value, count, _ in triples for _ in range(count)]
    shown = ", ".join(rf"\lambda_{{{k + 1}}} = {answer.latex(one, names)}" for k, one in enumerate(flat))
    reals = [cas_numbers.real(cas_numbers.number(one)) for one in flat]
    if params.task == "eigenvalues":
        return {"result": [answer.text(one, names) for one in flat], "latex": shown, "numbers": reals}
    rows = [(value, count, vector) for value, count, vectors in triples for vector in vectors]
    tex = [
        rf"\lambda = {answer.latex(value, names)}: {sympy.latex(vector, full_prec=False)}" for value, _, vector in rows
    ]
    return {
        "result": [
            {
                "value": answer.text(value, names),
                "multiplicity": count,
                "vector": [answer.text(one, names) for one in vector],
            }
            for value, count, vector in rows
        ],
        "latex": r",\quad ".join(tex),
        "numbers": [
            {
                "value": cas_numbers.real(cas_numbers.number(value)),
                "multiplicity": count,
                "vector": [cas_numbers.real(cas_numbers.number(one)) for one in vector],
            }
            for value, count, vector in rows
        ],
    }


def _factors(a: Any) -> bool:
    """Whether the characteristic polynomial falls apart into factors of at most second degree."""
    import sympy

    factors: Any = sympy.factor_list(a.charpoly().as_expr())[1]
    name = a.charpoly().gen
    return all(sympy.degree(factor, name) <= 2 for factor, _ in factors)


def _eigen_exact(a: Any) -> list[Any]:
    triples = a.eigenvects()
    numbers = [cas_numbers.number(value) for value, _, _ in triples]
    places = [(one.real, one.imag) for one in numbers if one is not None]
    if len(places) < len(triples):
        return triples
    return [triples[k] for k in sorted(range(len(triples)), key=lambda k: places[k])]


def _eigen_float(a: Any) -> list[Any]:
    import numpy as np
    import sympy

    table = np.asarray([[cas_numbers.number(one) for one in row] for row in a.tolist()], dtype=np.complex128)
    if np.allclose(table, table.conj().T, rtol=1e-13, atol=0.0):
        found, vectors = np.linalg.eigh(table)
    else:
        found, vectors = np.linalg.eig(table)
    order = np.lexsort((np.imag(found), np.real(found)))
    small = 1e-13 * float(np.max(np.abs(found), initial=1e-300))

    def plain(value: complex, tiny: float) -> Any:
        real = sympy.Float(float(value.real), 17)
        return real if abs(value.imag) <= tiny else real + sympy.I * sympy.Float(float(value.imag), 17)

    return [
        (plain(complex(found[k]), small), 1, [sympy.Matrix([plain(complex(one), 1e-14) for one in vectors[:, k]])])
        for k in order
    ]


_Task = Callable[[MatrixParams, Any, Any, symbols.Names], tuple[dict[str, Any], bool | None]]
_TASKS: dict[str, _Task] = {
    "det": _det,
    "trace": _trace,
    "rank": _rank,
    "transpose": _transpose,
    "multiply": _multiply,
    "inverse": _inverse,
    "solve": _solve,
    "eigenvalues": _eigen,
    "eigenvectors": _eigen,
}
