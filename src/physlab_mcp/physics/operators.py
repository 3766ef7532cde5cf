"""Matrices of operators: Pauli matrices, and those of the harmonic oscillator in a Fock space cut off at a dimension.

Units hbar = m = omega = 1: x = (a + a^dagger)/sqrt(2), p = (a - a^dagger)/(i sqrt(2)), n = a^dagger a.
Source: J. J. Sakurai, Modern Quantum Mechanics, rev. ed. (1994), sections 1.4 and 2.3.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.complex128]

PAULI = MappingProxyType({"sx": "X", "sy": "Y", "sz": "Z"})
FOCK = ("a", "adag", "n", "x", "p")
ALIASES = MappingProxyType(
    {"X": "sx", "Y": "sy", "Z": "sz", "sigma_x": "sx", "sigma_y": "sy", "sigma_z": "sz", "sigmax": "sx"}
    | {"sigmay": "sy", "sigmaz": "sz", "I": "identity", "id": "identity", "eye": "identity", "one": "identity"}
    | {"a_dag": "adag", "a_dagger": "adag", "adagger": "adag", "N": "n", "number": "n", "num": "n"}
)
NAMES = (*PAULI, *FOCK, "identity")


def canonical(name: str) -> str | None:
    """The name an operator is known by here, or None."""
    found = ALIASES.get(name.strip(), name.strip())
    return found if found in NAMES else None


def named(name: str, dimension: int) -> Matrix:
    """The matrix of one of NAMES, (dimension, dimension); Pauli matrices have dimension 2.

    Raises:
        KeyError: there is no such operator.

    """
    if name == "identity":
        return np.eye(dimension, dtype=np.complex128)
    if name in PAULI:
        pauli = {"sx": [[0, 1], [1, 0]], "sy": [[0, -1j], [1j, 0]], "sz": [[1, 0], [0, -1]]}
        return np.array(pauli[name], dtype=np.complex128)
    lower = np.diag(np.sqrt(np.arange(1.0, dimension)), 1).astype(np.complex128)
    fock = {
        "a": lower,
        "adag": lower.T.copy(),
        "n": np.diag(np.arange(dimension, dtype=np.float64)).astype(np.complex128),
        "x": (lower + lower.T) / np.sqrt(2.0),
        "p": (lower - lower.T) / (1j * np.sqrt(2.0)),
    }
    return fock[name]


def bracket(first: Matrix, second: Matrix, sign: int) -> Matrix:
    """AB - BA for sign -1, AB + BA for +1."""
    return first @ second + sign * (second @ first)


def hermitian(matrix: Matrix) -> bool:
    """Whether it equals its adjoint, to rounding."""
    return bool(np.allclose(matrix, matrix.conj().T, atol=1e-12 * max(1.0, float(np.max(np.abs(matrix))))))


def multiple_of(matrix: Matrix, others: dict[str, Matrix]) -> tuple[complex, str] | None:
    """(factor, name) where the matrix is a multiple of one of `others`, (0, name) where it vanishes, else None."""
    scale = float(np.max(np.abs(matrix)))
    if scale < 1e-12:
        return 0j, next(iter(others))
    for name, other in others.items():
        weight = float(np.sum(np.abs(other) ** 2))
        if other.shape != matrix.shape or weight == 0.0:
            continue
        factor = complex(np.sum(other.conj() * matrix) / weight)
        if np.max(np.abs(matrix - factor * other)) < 1e-10 * scale:
            return factor, name
    return None


def bloch(state: npt.NDArray[np.complex128]) -> tuple[float, float, float]:
    """<sx>, <sy>, <sz> of a normalised state of two levels, (2,)."""
    cross = complex(np.conj(state[0]) * state[1])
    return 2.0 * cross.real, 2.0 * cross.imag, float(abs(state[0]) ** 2 - abs(state[1]) ** 2)
