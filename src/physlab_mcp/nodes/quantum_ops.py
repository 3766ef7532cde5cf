"""The node `quantum.ops`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import quantum_amplitudes
from physlab_mcp.nodes.registry import Cap, VisualParams, node_type
from physlab_mcp.schemas.artifact import Figure
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

MOST_WRITTEN = 8  # matrices up to this dimension stand in the values
MOST_EXPLICIT = 64


class OpsParams(VisualParams):
    """Which operators, and what to do with them."""

    operators: list[Any] = Field(
        min_length=1,
        max_length=6,
        description="names (sx, sy, sz: Pauli; a, adag, n, x, p: oscillator with hbar = m = omega = 1; identity), or "
        "matrices as rows of numbers, [re, im] pairs or text",
    )
    task: Literal["commutator", "anticommutator", "matrix_rep", "eigenvalues", "expectation"] = Field(
        description="the brackets take two operators; expectation needs state"
    )
    dimension: int = Field(default=8, ge=2, le=512, description="where a, adag, n, x, p are cut off")
    state: Any = Field(default=None, description="amplitudes, for expectation: numbers, [re, im] or text")

    @model_validator(mode="after")
    def _task_has_what_it_needs(self) -> Self:
        if self.task in ("commutator", "anticommutator") and len(self.operators) != 2:
            raise ValueError(f"{self.task} takes two operators, but got {len(self.operators)}")
        if (self.task == "expectation") == (self.state is None):
            raise ValueError("expectation needs state, and only expectation takes one")
        return self


@node_type(
    "quantum.ops",
    params=OpsParams,
    summary="Operators as matrices: commutator, anticommutator, eigenvalues, expectation value",
    packages=("numpy", "matplotlib"),
    outputs={
        "task": "what was done",
        "operators": "names of the operators; matrices are M1, M2 …",
        "dimension": "dimension of the space",
        "matrices": "each resulting matrix as rows of [re, im]; null above dimension 8 (see arrays)",
        "closed_form": "the bracket as a multiple of a known operator, such as [sx, sy] = 2i sz; else null",
        "commute": "whether the commutator vanishes; null for other tasks",
        "hermitian": "for each matrix, whether it is Hermitian",
        "unitary": "for each matrix, whether it is unitary",
        "eigenvalues": "for each matrix, [re, im], ascending; null for other tasks",
        "expectations": "for each operator, [re, im]; null for other tasks",
        "truncation_error": "largest element that the cut-off changes in the matrices; null where nothing is cut off",
    },
    arrays={"real": "real parts, (matrices, row, column)", "imag": "imaginary parts, (matrices, row, column)"},
    example={"operators": ["sx", "sy"], "task": "commutator"},
    aliases=("quantum_ops", "quantum.operators"),
    words=(
        *("commutator", "anticommutator", "commute", "operator", "operators", "pauli", "pauli matrices"),
        *("matrix representation", "ladder operator", "creation operator", "annihilation operator", "number operator"),
    ),
    caps=(Cap("dimension", 64, "dimension"),),
    compute_s=10.0,
)
def ops(params: OpsParams, io: NodeIO) -> NodeResult:
    """Build the matrices and do the task.

    Raises:
        RequestError: an unknown operator, a matrix that is not square, or operators on different spaces.

    """
    import numpy as np

    from physlab_mcp.nodes import figures
    from physlab_mcp.physics import operators as algebra

    labels, matrices, fock = _matrices(params, 0)
    dimension = matrices[0].shape[0]
    closed: str | None = None
    commute: bool | None = None
    error: float | None = None
    if params.task in ("commutator", "anticommutator"):
        sign = -1 if params.task == "commutator" else 1
        opened = "[{}, {}]" if sign < 0 else "{{{}, {}}}"
        result = algebra.bracket(matrices[0], matrices[1], sign)
        exact = result
        if fock:
            # Two more levels hold everything that a product of two such operators reaches.
            wider = _matrices(params, 2)[1]
            exact = algebra.bracket(wider[0], wider[1], sign)[:dimension, :dimension]
            error = float(np.max(np.abs(exact - result)))
        label = opened.format(*labels)
        closed = _closed_form(label, exact, dimension, fock=fock, paulis=any(one in algebra.PAULI for one in labels))
        commute = bool(np.max(np.abs(exact)) < 1e-12) if sign < 0 else None
        labels, matrices = [label], [result]
    _warn(params, io, labels, error, fock=fock)
    eigenvalues, expectations = None, None
    if params.task == "eigenvalues":
        found = {label: _eigenvalues(one) for label, one in zip(labels, matrices, strict=True)}
        eigenvalues = {label: [quantum_amplitudes.pair(one) for one in row] for label, row in found.items()}
    if params.task == "expectation":
        state = _state(params, dimension, io)
        pairs = zip(labels, matrices, strict=True)
        expectations = {label: quantum_amplitudes.pair(complex(state.conj() @ one @ state)) for label, one in pairs}
    written = dimension <= MOST_WRITTEN
    values: dict[str, Any] = {
        "task": params.task,
        "operators": _matrices(params, 0)[0],
        "dimension": dimension,
        "matrices": {label: _rows(one) for label, one in zip(labels, matrices, strict=True)} if written else None,
        "closed_form": closed,
        "commute": commute,
        "hermitian": {label: algebra.hermitian(one) for label, one in zip(labels, matrices, strict=True)},
        "unitary": {
            label: bool(np.allclose(one.conj().T @ one, np.eye(dimension), atol=1e-10))
            for label, one in zip(labels, matrices, strict=True)
        },
        "eigenvalues": eigenvalues,
        "expectations": expectations,
        "truncation_error": error,
    }
    stack: Any = np.stack(matrices)
    return NodeResult(
        values=values,
        arrays={"real": io.save_array("real", stack.real), "imag": io.save_array("imag", stack.imag)},
        figures=_draw(params, io, values, labels, stack),
        meta=figures.meta(io, samples=stack.size, dtype="complex128", mesh=stack.shape),
    )


def _matrices(params: OpsParams, more: int) -> tuple[list[str], list[Any], bool]:
    """Names and matrices, with `more` levels than asked for, and whether all live in the cut-off Fock space."""
    from physlab_mcp.physics import operators as algebra

    labels: list[str] = []
    given: list[Any] = []  # a matrix, or a name whose dimension is still open
    for index, one in enumerate(params.operators):
        field = f"operators.{index}"
        if isinstance(one, str):
            name = algebra.canonical(one)
            if name is None:
                raise RequestError(
                    f"There is no operator {one[:60]!r} here.",
                    field=field,
                    got=one[:60],
                    remedy=f"Known: {', '.join(algebra.NAMES)}; others as matrices.",
                )
            labels.append(name)
            given.append(algebra.named(name, 2) if name in algebra.PAULI else name)
        else:
            labels.append(f"M{1 + sum(label.startswith('M') for label in labels)}")
            given.append(_explicit(one, field))
    sizes = {one.shape[0] for one in given if not isinstance(one, str)}
    fock = any(label in algebra.FOCK for label in labels)
    sizes |= {params.dimension} if fock or not sizes else set[int]()
    if len(sizes) > 1:
        raise RequestError(
            f"The operators act on spaces of different dimensions: {', '.join(map(str, sorted(sizes)))}.",
            field="operators",
            remedy="Give operators of one dimension; `dimension` sets that of a, adag, n, x, p.",
        )
    size = sizes.pop() + more
    matrices = [algebra.named(one, size) if isinstance(one, str) else one for one in given]
    return labels, matrices, fock and not any(label.startswith("M") for label in labels)


def _explicit(rows: Any, field: str) -> Any:
    import numpy as np

    good = isinstance(rows, list | tuple) and 1 <= len(rows) <= MOST_EXPLICIT
    if not good or any(not isinstance(row, list | tuple) or len(row) != len(rows) for row in rows):
        raise RequestError(
            f"{field} is not a square matrix of at most {MOST_EXPLICIT} rows.",
            field=field,
            remedy="Give rows of numbers, such as [[0, 1], [1, 0]], or [[0, [0, -1]], [[0, 1], 0]].",
        )
    return np.array([quantum_amplitudes.numbers(row, f"{field}.{i}", MOST_EXPLICIT) for i, row in enumerate(rows)])


def _closed_form(label: str, exact: Any, dimension: int, *, fock: bool, paulis: bool) -> str | None:
    from physlab_mcp.physics import operators as algebra

    names = ("identity", *algebra.FOCK) if fock else ("identity", *algebra.PAULI) if paulis else ("identity",)
    found = algebra.multiple_of(exact, {name: algebra.named(name, dimension) for name in names})
    if found is None:
        return None
    factor, name = found
    if factor == 0:
        return f"{label} = 0"
    text = quantum_amplitudes.shown(factor)
    text = f"({text})" if " " in text else {"1": "", "-1": "-"}.get(text, text)
    return f"{label} = {text}{' ' if text not in ('', '-') else ''}{name}"


def _warn(params: OpsParams, io: NodeIO, labels: list[str], error: float | None, *, fock: bool) -> None:
    size = params.dimension
    if error is not None and error > 1e-12:
        io.warn(
            f"The Fock space is cut off at {size} levels, so the last row and column of {labels[0]} are not those of "
            f"the whole space: an element differs by {error:.6g}."
        )
    unbounded = [label for label in labels if label in ("a", "adag", "x", "p")]
    if fock and params.task == "eigenvalues" and unbounded:
        io.warn(
            f"The eigenvalues of {', '.join(unbounded)} are those of the matrix cut off at {size} levels, not of the "
            "operator: they change with dimension."
        )


def _eigenvalues(matrix: Any) -> list[complex]:
    import numpy as np

    from physlab_mcp.physics import operators as algebra

    if algebra.hermitian(matrix):
        return [complex(one) for one in np.linalg.eigvalsh(matrix)]
    return sorted((complex(one) for one in np.linalg.eigvals(matrix)), key=lambda one: (round(one.real, 12), one.imag))


def _state(params: OpsParams, dimension: int, io: NodeIO) -> Any:
    import numpy as np

    state = np.array(quantum_amplitudes.numbers(params.state, "state", 512))
    state, norm = quantum_amplitudes.normalised(state)
    if state.size != dimension or norm == 0.0:
        raise RequestError(
            f"The state has {state.size} amplitudes and norm {norm:g}; the operators act on {dimension} levels.",
            field="state",
            remedy=f"Give {dimension} amplitudes, not all 0.",
        )
    if abs(norm - 1.0) > 1e-6:
        io.warn(f"The state has norm {norm:.6g}; it is normalised.")
    return state


def _rows(matrix: Any) -> list[list[list[float]]]:
    return [[quantum_amplitudes.pair(complex(one)) for one in row] for row in matrix]


def _draw(params: OpsParams, io: NodeIO, values: dict[str, Any], labels: list[str], stack: Any) -> tuple[Figure, ...]:
    import numpy as np

    from physlab_mcp.nodes import figures
    from physlab_mcp.nodes import quantum_state_figures as draw

    names = values["closed_form"] or ", ".join(labels)
    caption = f"Real and imaginary parts of {names}, as matrices of dimension {values['dimension']}."
    if values["truncation_error"]:
        caption = caption[:-1] + ", which the cut-off changes in the last row and column."
    csv = None
    if params.emit_csv:
        which, row, column = (one.ravel() for one in np.indices(stack.shape))
        columns = {"matrix": [labels[one] for one in which], "row": row, "column": column}
        csv = figures.save_csv(io, "matrices", columns | {"re": stack.real.ravel(), "im": stack.imag.ravel()})
    if not params.emit_plots:
        return (Figure(name="matrices", caption=caption, csv=csv),) if csv else ()
    with figures.style():
        return (figures.save(io, "matrices", draw.matrices(labels, stack), caption, csv=csv),)
