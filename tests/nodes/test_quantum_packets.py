"""The nodes `quantum.tunneling` and `quantum.wavepacket`."""

import io
import json

import av
import numpy as np
import pytest
from node_runs import Bench
from pydantic import ValidationError

from physlab_mcp.dags.params import settle_params
from physlab_mcp.errors import RequestError

C_EV_NM2 = 0.0380998212  # hbar^2 / (2 m_e), CODATA
RECTANGLE = {"barrier_height_eV": 1.0, "barrier_width_nm": 0.3, "emit_plots": False}
PACKET = {
    "x0_nm": -8.0, "sigma_nm": 1.5, "energy_eV": 0.7, "potential_eV": "where(abs(x) < w, 1, 0)", "parameters": {"w": 0.15},
    "frames": 12, "grid_points": 200, "emit_plots": False,
}  # fmt: skip


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_tunnelling_below_a_rectangular_barrier(bench):
    result = bench.run("quantum.tunneling", energy_eV=0.5, **RECTANGLE)
    bench.check_declared("quantum.tunneling", result)
    values = result.values
    kappa = np.sqrt(0.5 / C_EV_NM2)
    assert values["kappa_per_nm"] == pytest.approx(kappa, rel=1e-8)
    assert values["transmission"] == pytest.approx(1 / (1 + np.sinh(kappa * 0.3) ** 2), rel=1e-8)
    assert values["relative_error"] < 1e-10
    assert values["sum"] == pytest.approx(1.0, abs=1e-12)
    assert values["regime"] == "below"
    assert values["k_inside_per_nm"] is None
    assert 10 ** values["log10_transmission"] == pytest.approx(values["transmission"])
    energies, share = bench.array(result, "energies_eV"), bench.array(result, "transmission")
    assert np.interp(0.5, energies, share) == pytest.approx(values["transmission"], rel=1e-3)


@pytest.mark.parametrize(("energy", "regime"), [(1.0, "at"), (1.3, "above")])
def test_at_and_above_the_top(bench, energy, regime):
    values = bench.run("quantum.tunneling", energy_eV=energy, **RECTANGLE).values
    assert values["regime"] == regime
    assert values["kappa_per_nm"] is None
    assert values["relative_error"] < 1e-9
    assert 0 < values["transmission"] < 1


def test_a_whole_barrier_passes_nothing_but_its_logarithm(bench):
    result = bench.run("quantum.tunneling", energy_eV=0.3, barrier_height_eV=20, barrier_width_nm=30, emit_csv=True)
    assert result.values["transmission"] == 0.0
    assert result.values["log10_transmission"] == pytest.approx(-593.152, abs=0.01)
    assert result.values["relative_error"] < 1e-6
    assert "log10" in result.meta["warnings"][0]
    assert "10^(-593" in result.figures[0].caption
    assert json.dumps(result.values, allow_nan=False)


def test_two_barriers_resonate_between_them(bench):
    pair = {"potential_eV": "where(abs(abs(x) - 1) < 0.2, 1, 0)", "x_min_nm": -2, "x_max_nm": 2, "emit_plots": False}
    found = bench.run("quantum.tunneling", energy_eV=0.5, **pair, curve_points=900)
    assert found.values["transmission_closed_form"] is None
    energies, share = bench.array(found, "energies_eV"), bench.array(found, "transmission")
    below = energies < 0.6
    peak = energies[below][np.argmax(share[below])]
    tuned = bench.run("quantum.tunneling", energy_eV=float(peak), **pair).values["transmission"]
    assert tuned > 50 * found.values["transmission"]


def test_a_step_upwards_sends_everything_back_from_below(bench):
    step = {"potential_eV": "0.8*(x > 0)", "x_min_nm": -1, "x_max_nm": 1, "emit_plots": False}
    result = bench.run("quantum.tunneling", energy_eV=0.5, **step)
    assert result.values["transmission"] == 0
    assert result.values["log10_transmission"] is None
    assert result.values["reflection"] == pytest.approx(1.0)
    assert "below the potential on the right" in result.meta["warnings"][0]
    with pytest.raises(RequestError, match="does not lie above"):
        bench.run("quantum.tunneling", energy_eV=0.5, potential_eV="0.8 - x", x_min_nm=0, x_max_nm=1)


def test_the_curve_is_drawn_with_the_point(bench):
    result = bench.run("quantum.tunneling", energy_eV=0.5, barrier_height_eV=1, barrier_width_nm=0.3, emit_csv=True)
    (figure,) = result.figures
    assert "T = 0.366857" in figure.caption
    table = bench.blobs.read(figure.csv.sha256).decode().splitlines()
    assert table[0] == "E (eV),T,T closed form"
    assert len(table) == 301


@pytest.mark.parametrize(
    "params",
    [
        {"energy_eV": 0.5},
        {"energy_eV": 0.5, "barrier_height_eV": 1},
        {"energy_eV": 0.0, "barrier_height_eV": 1, "barrier_width_nm": 1},
        {"energy_eV": 0.5, "barrier_height_eV": 1, "barrier_width_nm": 1, "potential_eV": "x"},
        {"energy_eV": 0.5, "potential_eV": "x"},
        {"energy_eV": 0.5, "barrier_height_eV": 1, "barrier_width_nm": 1, "x_min_nm": 0},
    ],
)
def test_barriers_that_are_not_whole_are_refused(bench, params):
    with pytest.raises(ValidationError):
        bench.run("quantum.tunneling", **params)


def test_a_packet_splits_at_a_barrier_and_keeps_its_norm(bench):
    result = bench.run("quantum.wavepacket", **PACKET)
    bench.check_declared("quantum.wavepacket", result)
    values = result.values
    assert values["norm_max_deviation"] < 1e-8
    assert values["transmitted"] + values["reflected"] + values["inside"] == pytest.approx(1.0, abs=1e-8)
    assert values["barrier_nm"] == pytest.approx([-0.15, 0.15], abs=1e-9)
    k = np.linspace(values["k0_per_nm"] - 2.7, values["k0_per_nm"] + 2.7, 2001)
    weight = np.exp(-2 * 1.5**2 * (k - values["k0_per_nm"]) ** 2)
    beyond = (1 - C_EV_NM2 * k**2) / C_EV_NM2 + 0j
    sinhc = (np.sinh(np.sqrt(beyond) * 0.3) / np.sqrt(beyond)).real
    passing = 1 / (1 + sinhc**2 / (4 * C_EV_NM2 * C_EV_NM2 * k**2))
    assert values["transmitted"] == pytest.approx(np.sum(passing * weight) / np.sum(weight), abs=1e-3)
    assert values["converged"] is True
    assert result.meta["warnings"] == []
    x, frames = bench.array(result, "x_nm"), bench.array(result, "frames")
    assert frames.shape == (12, 200)
    assert np.trapezoid(frames[0], x) == pytest.approx(1.0, abs=1e-4)
    assert x[np.argmax(frames[0])] == pytest.approx(-8.0, abs=0.3)


def test_a_packet_from_the_right_is_counted_from_the_right(bench):
    there = bench.run("quantum.wavepacket", **PACKET).values
    mirrored = {name: value for name, value in PACKET.items() if name != "energy_eV"}
    back = bench.run("quantum.wavepacket", **(mirrored | {"x0_nm": 8.0, "k0_per_nm": -there["k0_per_nm"]})).values
    assert back["transmitted"] == pytest.approx(there["transmitted"], abs=1e-7)
    assert back["x_mean_end_nm"] == pytest.approx(-there["x_mean_end_nm"], abs=1e-5)


def test_a_free_packet_at_rest_doubles_its_width(bench):
    result = bench.run("quantum.wavepacket", x0_nm=0, sigma_nm=1, k0_per_nm=0, frames=3, emit_plots=False)
    assert result.values["delta_x_end_nm"] == pytest.approx(2.0, rel=1e-6)
    assert result.values["x_mean_end_nm"] == pytest.approx(0.0, abs=1e-9)
    assert result.values["transmitted"] is None
    assert result.values["barrier_nm"] is None


def test_a_packet_that_reaches_a_wall_is_warned_of(bench):
    result = bench.run(
        "quantum.wavepacket", x0_nm=-3, sigma_nm=0.8, energy_eV=0.5, x_min_nm=-8, x_max_nm=4, duration_fs=20, frames=10,
        emit_plots=False,
    )  # fmt: skip
    assert "stands at a wall" in result.meta["warnings"][0]
    assert result.values["norm_max_deviation"] < 1e-8


def test_a_packet_stopped_within_the_barrier_is_warned_of(bench):
    result = bench.run("quantum.wavepacket", **(PACKET | {"duration_fs": 16.0}))
    assert "within the barrier" in result.meta["warnings"][0]


def test_the_film_of_a_packet_has_its_frames(bench):
    result = bench.run("quantum.wavepacket", **(PACKET | {"emit_plots": True}), emit_animation=True, emit_csv=True)
    (figure,) = result.figures
    assert f"transmitted {result.values['transmitted']:.6g}" in figure.caption
    with av.open(io.BytesIO(bench.blobs.read(figure.mp4.sha256))) as film:
        assert sum(1 for _ in film.decode(video=0)) == 12
    head = bench.blobs.read(figure.csv.sha256).decode().splitlines()[0]
    assert head == "t (fs),<x> (nm),delta x (nm),norm,transmitted,reflected,inside"
    only = bench.run("quantum.wavepacket", **PACKET, emit_animation=True).figures[0]
    assert only.png is None
    assert only.mp4 is not None


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"sigma_nm": 0.0005}, "points between"),
        ({"x_min_nm": -9}, "does not fit"),
        ({"potential_eV": "-1/abs(x)", "parameters": {}}, "finite"),
    ],
)
def test_packets_that_cannot_be_followed_are_refused(bench, params, named):
    with pytest.raises(RequestError, match=named):
        bench.run("quantum.wavepacket", **(PACKET | params))


@pytest.mark.parametrize(
    "params",
    [
        {"k0_per_nm": 1.0},
        {"energy_eV": None},
        {"frames": 3001},
        {"frames": 3000, "grid_points": 5000},
        {"barrier_nm": [1, 0]},
        {"x_min_nm": 3, "x_max_nm": -3},
    ],
)
def test_packets_that_are_not_whole_are_refused(bench, params):
    with pytest.raises(ValidationError):
        bench.run("quantum.wavepacket", **(PACKET | params))


STEP = {"energy_eV": 0.5, "potential_eV": "x", "x_min_nm": 0, "x_max_nm": 1}


@pytest.mark.parametrize(("name", "good"), [("quantum.tunneling", STEP), ("quantum.wavepacket", PACKET)])
@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"potential_eV": "().__class__"}, "params.potential_eV"),
        ({"potential_eV": "V0*x"}, "params.potential_eV"),
        ({"parameters": {"x": 2.0}}, "params.parameters.x"),
    ],
)
def test_a_formula_that_is_wrong_is_told_by_its_field_and_refused_by_the_worker(bench, name, good, params, field):
    kind = bench.registry.get(name)
    assert [one.field for one in settle_params(kind, good | params, checks=True)[1]] == [field]
    assert not settle_params(kind, good | {"potential_eV": "V0*x", "parameters": {"V0": 1.0}}, checks=True)[1]
    with pytest.raises(RequestError):
        bench.run(name, **(good | params))


def test_a_barrier_without_a_formula_has_none_to_check(bench):
    kind = bench.registry.get("quantum.tunneling")
    assert settle_params(kind, kind.example, checks=True)[1] == []
