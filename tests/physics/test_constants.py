"""CODATA values."""

import pytest

from physlab_mcp.physics import constants


def test_values_uncertainties_and_units_are_those_of_codata_2022():
    rydberg = constants.get("R_inf")
    assert constants.edition() == "CODATA 2022"
    assert (rydberg.value, rydberg.uncertainty, rydberg.unit) == (10973731.568157, 1.2e-05, "m^-1")
    assert not rydberg.exact


@pytest.mark.parametrize("name", ["h", "c", "e", "k_B", "N_A", "hbar"])
def test_constants_that_define_the_si_are_exact(name):
    assert constants.get(name).exact


def test_every_alias_names_a_constant():
    for alias in constants.ALIASES:
        assert constants.get(alias).value != 0


def test_case_separates_aliases_but_not_full_names():
    assert constants.get("g").value == 9.80665
    assert constants.get("G").value == pytest.approx(6.6743e-11)
    assert constants.get("rydberg CONSTANT") == constants.get("R_inf")


def test_nearest_names_come_first_for_a_misspelling():
    assert constants.nearest("rydbrg constant")[0] == "Rydberg constant"
    with pytest.raises(KeyError):
        constants.get("rydbrg constant")
