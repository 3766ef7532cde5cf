"""Superpositions in time."""

import numpy as np
import pytest

from physlab_mcp.physics import constants, hydrogen
from physlab_mcp.physics.superposition import Component, densities, matrices, norm_and_dipole, plane_basis, prepare


def _beating():
    return prepare([Component(1, 0, 0, 1.0), Component(2, 1, 0, 1.0)])


def test_beat_period_is_planck_over_the_energy_difference():
    gap_eV = 0.75 * hydrogen.RYDBERG_EV
    assert _beating().beat_period_fs == pytest.approx(constants.get("h_eV").value / gap_eV * 1e15, rel=1e-9)


def test_norm_stays_one_at_all_times():
    norm, _ = norm_and_dipole(_beating(), np.linspace(0, 50, 400))
    assert np.max(np.abs(norm - 1)) < 1e-8


def test_dipole_swings_with_the_closed_form_amplitude_and_the_beat_period():
    wave = _beating()
    period = wave.beat_period_fs
    times = np.array([0.0, 0.25, 0.5, 1.0]) * period
    _, mean_z = norm_and_dipole(wave, times)
    amplitude = 2**7.5 / 3**5
    np.testing.assert_allclose(mean_z, [amplitude, 0.0, -amplitude, amplitude], atol=1e-9)


def test_dipole_obeys_the_selection_rules():
    wave = prepare([Component(1, 0, 0, 1), Component(2, 0, 0, 1), Component(2, 1, 1, 1), Component(2, 1, 0, 1)])
    overlap, dipole = matrices(wave)
    np.testing.assert_allclose(overlap, np.eye(4), atol=1e-9)
    assert abs(dipole[0, 1]) < 1e-12
    assert abs(dipole[0, 2]) < 1e-12
    assert abs(dipole[1, 3]) == pytest.approx(3.0, rel=1e-9)


def test_phase_of_a_component_shifts_the_dipole():
    wave = prepare([Component(1, 0, 0, 1.0), Component(2, 1, 0, 1j)])
    _, mean_z = norm_and_dipole(wave, np.array([0.0, 0.25]) * wave.beat_period_fs)
    np.testing.assert_allclose(mean_z, [0.0, 2**7.5 / 3**5], atol=1e-9)


def test_density_moves_to_the_side_of_the_dipole_and_back():
    wave = _beating()
    axis = hydrogen.cube_axis(12.0, 48)
    phases = wave.phases(np.array([0.0, 0.5, 1.0]) * wave.beat_period_fs)
    frames = densities(phases, plane_basis(wave, axis))
    above = frames[:, axis > 0].sum(axis=(1, 2)) / frames.sum(axis=(1, 2))
    assert above[0] > 0.6
    assert above[1] == pytest.approx(1 - above[0], abs=1e-5)
    np.testing.assert_allclose(frames[2], frames[0], rtol=1e-4, atol=1e-9)


def test_degenerate_states_have_no_beat():
    assert prepare([Component(2, 0, 0, 1), Component(2, 1, 0, 1)]).beat_period_fs is None
