"""The `quantum` nodes."""

import io
import json
from pathlib import Path

import av
import numpy as np
import pytest
from node_runs import Bench
from pydantic import ValidationError

from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.result import NodeResult

EXAMPLE = Path(__file__).parents[2] / "examples" / "hydrogen_2p.json"


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_2p_orbital_has_the_known_energy_norm_and_radii(bench):
    result = bench.run("quantum.hydrogen_orbital", n=2, l=1, emit_plots=False)
    bench.check_declared("quantum.hydrogen_orbital", result)
    values = result.values
    assert values["energy_eV"] == pytest.approx(-3.4014233, rel=1e-6)
    assert values["energy_reduced_mass_eV"] == pytest.approx(-3.39957, abs=5e-6)
    assert values["relative_error"] < 1e-9
    assert values["converged"] is True
    assert values["norm"] == pytest.approx(1, abs=1e-8)
    assert values["r_mean_a0"] == pytest.approx(5, rel=1e-6)
    assert values["inv_r_mean_inv_a0"] == pytest.approx(0.25, rel=1e-6)
    assert values["r_most_probable_a0"] == pytest.approx(4, rel=1e-6)
    assert result.figures == ()
    assert result.meta["warnings"] == []


def test_orbital_arrays_hold_the_radial_function_and_the_density(bench):
    result = bench.run("quantum.hydrogen_orbital", emit_plots=False, grid_points=33)
    r, R = bench.array(result, "radial_r"), bench.array(result, "radial_R")
    np.testing.assert_allclose(R, r * np.exp(-r / 2) / np.sqrt(24), atol=1e-10)
    density, amplitude = bench.array(result, "density"), bench.array(result, "amplitude")
    assert density.shape == (33, 33, 33)
    assert density.dtype == np.float32
    np.testing.assert_allclose(density, amplitude**2, rtol=1e-5)
    assert np.sum(density) * (2 * result.values["extent_a0"] / 33) ** 3 == pytest.approx(1, abs=0.01)
    assert density[16, 16, 20] > 50 * density[20, 16, 16]


def test_orbital_figures_come_in_all_formats_with_captions(bench):
    result = bench.run("quantum.hydrogen_orbital", emit_csv=True, grid_points=16)
    assert [figure.name for figure in result.figures] == ["radial", "angular", "density"]
    for figure in result.figures:
        assert figure.png.width >= 800
        assert bench.blobs.read(figure.png.sha256).startswith(b"\x89PNG")
        assert b"<svg" in bench.blobs.read(figure.svg.sha256)
        assert figure.thumbnail.width <= 320
        assert "2p" in figure.caption
    table = bench.blobs.read(result.figures[0].csv.sha256).decode().splitlines()
    assert table[0] == "r (a0),R numerical (a0^-1.5),R closed form (a0^-1.5)"
    assert len(table) == 1001


def test_equal_params_give_equal_bytes(tmp_path):
    first, second = (
        Bench(tmp_path / name).run("quantum.hydrogen_orbital", grid_points=12, emit_csv=True) for name in "ab"
    )
    assert [ref.sha256 for ref in first.all_artifacts()] == [ref.sha256 for ref in second.all_artifacts()]


def test_the_rydberg_energy_can_come_from_another_node(bench):
    values = bench.run("quantum.hydrogen_orbital", emit_plots=False, grid_points=8, rydberg_eV=16.0).values
    assert values["energy_eV"] == pytest.approx(-4.0, rel=1e-9)


def test_an_unknown_nuclear_mass_is_said_not_guessed(bench):
    result = bench.run("quantum.hydrogen_orbital", Z=3, emit_plots=False, grid_points=8)
    assert result.values["energy_reduced_mass_eV"] is None
    assert "nuclear_mass_u" in " ".join(result.meta["warnings"])
    with pytest.raises(RequestError, match="Z=3"):
        bench.run("quantum.spectral_line", Z=3)


@pytest.mark.parametrize("params", [{"n": 2, "l": 2}, {"l": 1, "m": 2}, {"grid_points": 193}, {"n": 0}, {"spin": 1}])
def test_impossible_orbitals_are_refused(bench, params):
    with pytest.raises(ValidationError):
        bench.run("quantum.hydrogen_orbital", **params)


def test_real_orbitals_with_negative_m_are_drawn_where_they_do_not_vanish(bench):
    real = bench.run("quantum.hydrogen_orbital", n=3, l=2, m=-2, harmonics="real", grid_points=17)
    density = bench.array(real, "density")
    assert density[12, 12, 8] > 0
    assert density[12, 8, 8] < 1e-12
    assert "φ" not in real.figures[2].caption


def test_lyman_alpha_agrees_with_the_measured_wavelength(bench):
    result = bench.run("quantum.spectral_line", measured_nm=121.567, measured_source="NIST", emit_csv=True)
    bench.check_declared("quantum.spectral_line", result)
    assert result.values["line"] == "Lyman-alpha"
    assert abs(result.values["relative_difference"]) < 1e-4
    assert result.values["wavelength_infinite_mass_nm"] == pytest.approx(121.50227, rel=1e-7)
    assert "NIST" in result.figures[0].caption
    without = bench.run("quantum.spectral_line", reduced_mass=False, emit_plots=False)
    assert without.values["wavelength_nm"] == without.values["wavelength_infinite_mass_nm"]
    assert without.values["relative_difference"] is None


def test_a_line_far_from_the_measured_one_is_warned_of(bench):
    result = bench.run("quantum.spectral_line", upper_n=3, lower_n=2, measured_nm=121.567, emit_plots=False)
    assert result.values["line"] == "Balmer-alpha"
    assert result.meta["warnings"]


def test_level_energies_from_other_nodes_set_the_line(bench):
    values = bench.run("quantum.spectral_line", upper_energy_eV=-1.0, lower_energy_eV=-2.0, emit_plots=False).values
    assert values["wavelength_infinite_mass_nm"] == pytest.approx(1239.8419843, rel=1e-9)


@pytest.mark.parametrize("params", [{"upper_n": 2, "lower_n": 2}, {"upper_energy_eV": -2.0, "lower_energy_eV": -1.0}])
def test_an_upper_level_below_the_lower_one_is_refused(bench, params):
    with pytest.raises(ValidationError):
        bench.run("quantum.spectral_line", **params)


def test_superposition_keeps_its_norm_and_swings_with_the_beat_period(bench):
    result = bench.run("quantum.time_evolution", frames=41, grid_points=24, periods=1, emit_plots=False)
    bench.check_declared("quantum.time_evolution", result)
    assert result.values["norm_max_deviation"] < 1e-8
    assert result.values["beat_period_fs"] == pytest.approx(0.405288, rel=1e-5)
    assert result.values["dipole_max_a0"] == pytest.approx(0.744936, abs=1e-6)
    assert result.values["dipole_min_a0"] == pytest.approx(-0.744936, abs=1e-6)
    frames = bench.array(result, "frames")
    assert frames.shape == (41, 24, 24)
    assert frames[0, 14, 12] > 1.5 * frames[0, 9, 12]
    np.testing.assert_allclose(frames[0], frames[-1], rtol=1e-3, atol=1e-8)


def test_animation_of_a_superposition_decodes_to_its_frames(bench):
    result = bench.run("quantum.time_evolution", frames=7, grid_points=24, emit_animation=True, emit_csv=True)
    dipole, density = result.figures
    assert dipole.csv is not None
    with av.open(io.BytesIO(bench.blobs.read(density.mp4.sha256))) as film:
        assert sum(1 for _ in film.decode(video=0)) == 7
    assert bench.events[-1]["data"]["fraction"] == 1.0


def test_states_of_one_energy_are_said_not_to_move(bench):
    states = [{"n": 2, "l": 0}, {"n": 2, "l": 1}]
    result = bench.run("quantum.time_evolution", states=states, frames=3, grid_points=16, emit_plots=False)
    assert result.values["beat_period_fs"] is None
    assert "same energy" in result.meta["warnings"][0]


def test_too_few_frames_for_the_beat_are_warned_of(bench):
    result = bench.run("quantum.time_evolution", periods=50, frames=20, grid_points=16, emit_plots=False)
    assert "not resolved" in result.meta["warnings"][0]


@pytest.mark.parametrize(
    "params",
    [
        {"frames": 2001},
        {"grid_points": 401},
        {"frames": 2000, "grid_points": 400},
        {"states": []},
        {"states": [{"n": 1, "l": 1}]},
        {"states": [{"n": 1, "l": 0}] * 2},
    ],
)
def test_superpositions_beyond_the_limits_are_refused(bench, params):
    with pytest.raises(ValidationError):
        bench.run("quantum.time_evolution", **params)


def _filled(value, done: dict[str, NodeResult]):
    if isinstance(value, dict) and "$from" in value:
        kind, name = value["key"].split(".", 1)
        found = getattr(done[value["$from"]], kind)[name]
        return {"$artifact": {"sha256": found.sha256}} if kind == "arrays" else found
    if isinstance(value, dict):
        return {key: _filled(one, done) for key, one in value.items()}
    return value


def test_the_hydrogen_example_runs_from_constant_to_measured_line(bench):
    spec = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    evolution = next(node for node in spec["nodes"] if node["id"] == "evolution")
    evolution["params"] |= {"frames": 9, "grid_points": 40}  # tests/cli/test_demo.py draws all of them, and all figures
    done: dict[str, NodeResult] = {}
    for node in spec["nodes"]:
        kind = node["tool"] + (f".{node['method']}" if "method" in node else "")
        drawn = {"emit_plots": False} if node["tool"] == "quantum" else {}
        done[node["id"]] = bench.run(kind, **_filled(node["params"], done), **drawn)
        bench.check_declared(kind, done[node["id"]])
        for value in node["params"].values():
            if isinstance(value, dict) and "$from" in value:
                assert {"from": value["$from"], "to": node["id"]} in spec["edges"]
    assert abs(done["lyman_alpha"].values["relative_difference"]) < 1e-4
    with av.open(io.BytesIO(bench.blobs.read(done["film"].figures[0].mp4.sha256))) as film:
        assert sum(1 for _ in film.decode(video=0)) == 9


def test_a_line_gets_its_name_only_where_the_energies_give_it(bench):
    line = {"upper_n": 3, "lower_n": 2, "emit_plots": False}
    other = bench.run("quantum.spectral_line", **line, upper_energy_eV=-1.0, lower_energy_eV=-1.9994)
    assert other.values["line"] == "3 -> 2"
    assert any("Balmer-alpha with Z = 1 lies at 656" in one for one in other.meta["warnings"])
    near = bench.run("quantum.spectral_line", **line, upper_energy_eV=-1.5117, lower_energy_eV=-3.4014)
    assert near.values["line"] == "Balmer-alpha"
    assert near.meta["warnings"] == []
