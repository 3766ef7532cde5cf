"""Wave packets against closed forms and an independent split-operator method."""

import numpy as np
import pytest

from physlab_mcp.physics import tunneling, wavepacket

C, HBAR = 0.5, 1.0  # m = 1


def flown(potential, walls, *, centre, sigma, k0, times, also=(), per_wave=8.0, c=C, roof=0.0):
    fast = abs(k0) + 7.5 / (2.0 * sigma)
    highest = roof + c * fast**2
    return wavepacket.fly(
        potential,
        walls,
        c,
        HBAR,
        wave=lambda x: wavepacket.gaussian(x, centre, sigma, k0),
        highest=highest,
        times=np.asarray(times, dtype=np.float64),
        points=wavepacket.points_for(*walls, np.sqrt(highest / c), per_wave=per_wave),
        also=also,
    )


def test_a_free_packet_moves_and_spreads_as_the_closed_form_says():
    times = np.linspace(0.0, 6.0, 7)
    flight = flown(lambda x: 0.0 * x, (-40.0, 40.0), centre=-5.0, sigma=1.0, k0=2.0, times=times)
    mean = flight.mean(lambda x: x)
    np.testing.assert_allclose(mean, -5.0 + 2.0 * times, atol=1e-8)
    spread = np.sqrt(flight.mean(np.square) - mean**2)
    np.testing.assert_allclose(spread, np.sqrt(1.0 + (times / 2.0) ** 2), rtol=1e-7)
    assert np.max(np.abs(flight.norm() - 1.0)) < 1e-9
    assert flight.energy == pytest.approx(0.5 * (2.0**2 + 0.25), rel=1e-9)


def test_a_coherent_state_swings_without_spreading():
    times = np.linspace(0.0, 3 * np.pi, 13)
    flight = flown(lambda x: 0.5 * x**2, (-12.0, 12.0), centre=2.0, sigma=np.sqrt(0.5), k0=0.0, times=times, roof=22.0)
    np.testing.assert_allclose(flight.mean(lambda x: x), 2.0 * np.cos(times), atol=1e-9)
    spread = flight.mean(np.square) - flight.mean(lambda x: x) ** 2
    np.testing.assert_allclose(spread, 0.5, rtol=1e-8)


def test_shares_behind_a_barrier_are_the_closed_form_averaged_over_the_packet():
    def barrier(x):
        return np.where((x > 0) & (x < 0.7), 1.5, 0.0)

    sigma, k0 = 3.0, 1.6
    flight = flown(
        barrier, (-90.0, 90.0), centre=-25.0, sigma=sigma, k0=k0, times=[0.0, 32.0], also=(0.0, 0.7), roof=1.5
    )
    k = np.linspace(k0 - 8 / (2 * sigma), k0 + 8 / (2 * sigma), 4001)
    weight = np.exp(-2.0 * sigma**2 * (k - k0) ** 2)
    expected = np.sum(np.exp(tunneling.closed_form_log(C * k * k, 1.5, 0.7, C)) * weight) / np.sum(weight)
    passed, back = flight.share(0.7, np.inf)[-1], flight.share(-np.inf, 0.0)[-1]
    assert passed == pytest.approx(expected, abs=2e-5)
    assert passed + back + flight.share(0.0, 0.7)[-1] == pytest.approx(1.0, abs=1e-9)
    assert np.max(np.abs(flight.norm() - 1.0)) < 1e-9


def test_the_wave_function_agrees_with_a_split_operator():
    def hill(x):
        return 1.2 * np.exp(-(x**2))

    size, half, steps, end = 2048, 40.0, 4000, 8.0
    x = -half + 2 * half * np.arange(size) / size
    k = 2 * np.pi * np.fft.fftfreq(size, 2 * half / size)
    psi = wavepacket.gaussian(x, -8.0, 1.2, 1.5)
    step = end / steps
    kick, drift = np.exp(-0.5j * hill(x) * step), np.exp(-0.5j * k**2 * step)
    for _ in range(steps):
        psi = kick * np.fft.ifft(drift * np.fft.fft(kick * psi))
    flight = flown(hill, (-half, half), centre=-8.0, sigma=1.2, k0=1.5, times=[0.0, end], roof=1.2)
    # The packet's phases are measured from the lowest level.
    ours = flight.sample(x)[-1] * np.exp(-1j * flight.spectrum.energies[0] * end)
    assert np.sqrt(np.sum(np.abs(ours - psi) ** 2) * (x[1] - x[0])) < 1e-5


def test_what_lies_beyond_the_highest_state_is_told():
    few = wavepacket.fly(
        lambda x: 0.0 * x,
        (-20.0, 20.0),
        C,
        HBAR,
        wave=lambda x: wavepacket.gaussian(x, 0.0, 1.0, 2.0),
        highest=2.0,
        times=np.array([0.0, 1.0]),
        points=401,
    )
    assert few.left_out == pytest.approx(0.5, abs=0.02)
    with pytest.raises(ValueError, match="no state"):
        wavepacket.fly(
            lambda x: 0.0 * x, (0.0, 1.0), C, HBAR, wave=np.exp, highest=1.0, times=np.array([0.0]), points=60
        )
