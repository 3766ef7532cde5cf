"""Matrices of operators."""

import numpy as np
import pytest

from physlab_mcp.physics import operators


def test_pauli_matrices_obey_their_algebra():
    x, y, z = (operators.named(name, 2) for name in ("sx", "sy", "sz"))
    np.testing.assert_allclose(operators.bracket(x, y, -1), 2j * z)
    np.testing.assert_allclose(operators.bracket(y, z, -1), 2j * x)
    np.testing.assert_allclose(operators.bracket(x, x, 1), 2 * np.eye(2))
    np.testing.assert_allclose(operators.bracket(x, y, 1), 0)
    assert all(operators.hermitian(one) for one in (x, y, z))


def test_the_cut_off_shows_in_the_last_element_only():
    a, adag = operators.named("a", 7), operators.named("adag", 7)
    np.testing.assert_allclose(np.diag(operators.bracket(a, adag, -1)), [1, 1, 1, 1, 1, 1, -6], atol=1e-14)
    np.testing.assert_allclose(adag @ a, operators.named("n", 7), atol=1e-14)
    x, p = operators.named("x", 7), operators.named("p", 7)
    assert operators.hermitian(x)
    assert operators.hermitian(p)
    np.testing.assert_allclose(operators.bracket(x, p, -1)[:6, :6], 1j * np.eye(6), atol=1e-14)
    energy = (x @ x + p @ p) / 2
    np.testing.assert_allclose(np.diag(energy)[:6], np.arange(6) + 0.5)


def test_names_and_their_other_spellings():
    assert [operators.canonical(one) for one in ("X", "sigma_z", "a_dag", "I", " sy ", "spin")] == [
        "sx",
        "sz",
        "adag",
        "identity",
        "sy",
        None,
    ]


def test_a_multiple_of_a_known_operator_is_recognised():
    known = {name: operators.named(name, 2) for name in ("identity", "sx", "sy", "sz")}
    assert operators.multiple_of(3j * known["sy"], known) == (pytest.approx(3j), "sy")
    assert operators.multiple_of(np.zeros((2, 2), dtype=complex), known)[0] == 0
    assert operators.multiple_of(known["sx"] + known["sz"], known) is None


@pytest.mark.parametrize(
    ("state", "vector"),
    [([1, 0], (0, 0, 1)), ([0, 1], (0, 0, -1)), ([0.6, 0.8], (0.96, 0, -0.28)), ([0.6, 0.8j], (0, 0.96, -0.28))],
)
def test_bloch_vectors(state, vector):
    assert operators.bloch(np.array(state, dtype=complex)) == pytest.approx(vector, abs=1e-14)
