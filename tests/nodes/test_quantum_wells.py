"""The nodes `quantum.solve` and `quantum.expectation`."""

import numpy as np
import pytest
from node_runs import Bench
from pydantic import ValidationError

from physlab_mcp.dags.params import settle_params
from physlab_mcp.dags.references import Place
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import quantum_well
from physlab_mcp.nodes.quantum_well_figures import apart, level_label

OSCILLATOR = {"problem": "sho", "hbar_omega_eV": 0.5, "emit_plots": False}
BOX = {"problem": "particle_in_box", "width_nm": 2.0, "emit_plots": False}
DOUBLE = {
    "problem": "custom", "potential_eV": "a*(x**2 - 0.5)**2", "parameters": {"a": 2.0}, "x_min_nm": -2.2, "x_max_nm": 2.2,
    "emit_plots": False,
}  # fmt: skip
C_EV_NM2 = 0.0380998212  # hbar^2 / (2 m_e), CODATA


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_the_oscillator_in_electron_volts(bench):
    result = bench.run("quantum.solve", **OSCILLATOR, levels=6)
    bench.check_declared("quantum.solve", result)
    values = result.values
    np.testing.assert_allclose(values["energies_eV"], 0.5 * (np.arange(6) + 0.5), rtol=1e-10)
    assert values["relative_error"] < 1e-10
    assert values["converged"] is True
    assert values["nodes"] == list(range(6))
    assert all(values["held"])
    np.testing.assert_allclose(values["norms"], 1.0, atol=1e-10)
    np.testing.assert_allclose(np.array(values["x2_mean"]) * np.array(values["p2_mean"]), (np.arange(6) + 0.5) ** 2)
    assert result.units["energies"] == "eV"
    assert result.meta["warnings"] == []
    x, psi = bench.array(result, "x_nm"), bench.array(result, "psi")
    assert psi.shape == (6, 601)
    width = np.sqrt(2 * C_EV_NM2 / 0.5)
    np.testing.assert_allclose(psi[0], np.exp(-((x / width) ** 2) / 2) / np.sqrt(width * np.sqrt(np.pi)), atol=1e-8)


def test_the_box_in_nanometres_and_a_heavier_particle(bench):
    values = bench.run("quantum.solve", **BOX, levels=4).values
    np.testing.assert_allclose(values["energies"], C_EV_NM2 * (np.pi * np.arange(1, 5) / 2.0) ** 2, rtol=1e-8)
    assert values["relative_error"] < 1e-10
    heavy = bench.run("quantum.solve", **BOX, mass_me=2.0).values
    assert heavy["ground_energy"] == pytest.approx(values["ground_energy"] / 2.0, rel=1e-10)


def test_natural_units_give_numbers_without_units(bench):
    result = bench.run(
        "quantum.solve", problem="sho", params={"mass": 2.0, "omega": 3.0, "hbar": 0.5}, states=3, emit_plots=False
    )
    assert result.values["energies"] == pytest.approx([0.75, 2.25, 3.75])
    assert result.values["energies_eV"] is None
    assert result.values["energy_unit"] == "natural"
    assert result.units == {}
    box = bench.run("quantum.solve", problem="particle_in_box", params={"L": 1.0}, levels=2, emit_plots=False)
    assert box.values["energies"] == pytest.approx([np.pi**2 / 2, 2 * np.pi**2])


def test_a_hamiltonian_may_hold_its_kinetic_term(bench):
    walls = {"params": {"x_min": -6.0, "x_max": 6.0}, "problem": "custom", "levels": 1, "emit_plots": False}
    whole = bench.run("quantum.solve", hamiltonian="p**2/(2*m) + x**4", **walls).values
    bare = bench.run("quantum.solve", hamiltonian="x**4", **walls).values
    assert whole["ground_energy"] == bare["ground_energy"] == pytest.approx(0.667986259155777, rel=1e-10)
    with pytest.raises(ValidationError, match="kinetic term"):
        bench.run("quantum.solve", hamiltonian="p**2 + x**4", **walls)


def test_a_double_well_is_converged_and_split(bench):
    values = bench.run("quantum.solve", **DOUBLE, levels=4).values
    assert values["converged"] is True
    assert values["energies_closed_form"] is None
    assert values["relative_error"] is None
    gaps = np.diff(values["energies"])
    assert gaps[0] < 0.3 * gaps[1]
    assert values["x_mean"] == pytest.approx([0.0] * 4, abs=1e-9)


def test_states_that_only_the_walls_hold_are_told(bench):
    result = bench.run(
        "quantum.solve", problem="custom", potential_eV="where(abs(x) < 1, 0, 1)", x_min_nm=-4.0, x_max_nm=4.0,
        levels=6, emit_plots=False,
    )  # fmt: skip
    assert result.values["held"] == [True, True, True, False, False, False]
    assert "level 3" in result.meta["warnings"][0]


def test_an_oscillator_cut_off_by_its_walls_is_refused(bench):
    with pytest.raises(RequestError, match="too close") as told:
        bench.run("quantum.solve", **OSCILLATOR, x_min_nm=-1.0, x_max_nm=1.0)
    assert "Widen" in told.value.remedy


def test_walls_too_steep_to_resolve_are_not_called_converged(bench):
    result = bench.run(
        "quantum.solve", problem="custom", potential_eV="where(abs(x) < 1, 0, 1e9)", x_min_nm=-2.0, x_max_nm=2.0,
        levels=2, emit_plots=False,
    )  # fmt: skip
    assert result.values["converged"] is False
    assert "not converged" in " ".join(result.meta["warnings"])


def test_a_potential_without_a_finite_value_is_refused(bench):
    with pytest.raises(RequestError, match="x = 0"):
        bench.run("quantum.solve", problem="custom", potential_eV="-1/abs(x)", x_min_nm=-1.0, x_max_nm=1.0)


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"problem": "sho"}, "hbar_omega_eV"),
        ({"problem": "particle_in_box"}, "width_nm"),
        ({"problem": "custom"}, "potential_eV"),
        ({"problem": "custom", "potential_eV": "x**2"}, "x_min_nm"),
        ({"problem": "custom", "potential_eV": "x**2", "x_min_nm": 1, "x_max_nm": -1}, "smaller to a larger"),
        ({"problem": "custom", "potential_eV": "__import__('os')", "x_min_nm": -1, "x_max_nm": 1}, "cannot be used"),
        ({"problem": "custom", "potential_eV": "y**2", "x_min_nm": -1, "x_max_nm": 1}, "'y' is not a variable"),
        ({"problem": "sho", "hbar_omega_eV": 0.5, "potential_eV": "x"}, "only custom"),
        ({"problem": "sho", "hbar_omega_eV": 0.5, "params": {}}, "not both"),
        ({"problem": "particle_in_box", "width_nm": 1, "x_min_nm": 0, "x_max_nm": 1}, "leave the walls out"),
        ({"problem": "hydrogen"}, "problem"),
        ({"problem": "sho", "hbar_omega_eV": 0.5, "levels": 101}, "levels"),
        ({}, "problem"),
    ],
)
def test_problems_that_are_not_whole_are_refused_at_validation(bench, params, named):
    settled, problems = settle_params(bench.registry.get("quantum.solve"), params)
    assert settled is None
    assert named in " ".join(f"{one.field} {one.message} {one.remedy}" for one in problems)


def test_settled_params_are_their_own_and_placeholders_wait(bench):
    kind = bench.registry.get("quantum.solve")
    settled, problems = settle_params(kind, {"problem": "sho", "hbar_omega_eV": 0.5, "states": 3})
    assert problems == []
    assert settle_params(kind, settled)[0] == settled
    raw = {"problem": "sho", "hbar_omega_eV": {"$from": "c", "key": "values.value"}, "states": 3}
    assert settle_params(kind, raw, [Place(("hbar_omega_eV",), node="c", key="values.value")])[1] == []


def test_the_levels_are_drawn_and_listed(bench):
    result = bench.run("quantum.solve", **(OSCILLATOR | {"emit_plots": True}), levels=3, emit_csv=True)
    (figure,) = result.figures
    assert figure.png.width >= 1000
    assert "3 levels" in figure.caption
    table = bench.blobs.read(figure.csv.sha256).decode().splitlines()
    assert table[0] == "x (nm),V (eV),psi_0,psi_1,psi_2"
    assert len(table) == 602


def test_the_legacy_names_find_the_node_types(bench):
    assert bench.registry.find("quantum", "solve") is bench.registry.find("quantum_solve")
    assert bench.registry.find("quantum_ops").name == "quantum.ops"
    assert bench.registry.find("quantum_visualize").name == "quantum.visualize"
    assert bench.registry.find("quantum", "tunnelling").name == "quantum.tunneling"


def test_an_excited_oscillator_has_its_uncertainty_product(bench):
    result = bench.run("quantum.expectation", **OSCILLATOR, level=2, operators=["x", "x**4", "p2", "H"])
    bench.check_declared("quantum.expectation", result)
    values = result.values
    assert values["uncertainty_product_hbar"] == pytest.approx(2.5, rel=1e-10)
    assert values["energy"] == pytest.approx(1.25, rel=1e-10)
    square = 2 * C_EV_NM2 / 0.5  # hbar / (m omega)
    assert values["expectations"]["x**4"] == pytest.approx(0.75 * (2 * 4 + 2 * 2 + 1) * square**2, rel=1e-8)
    assert values["spreads"]["x"] == pytest.approx(np.sqrt(2.5 * square), rel=1e-8)
    assert values["spreads"]["p2"] is None
    assert values["spreads"]["H"] == pytest.approx(0.0, abs=1e-12)


def test_the_ground_state_is_as_certain_as_heisenberg_allows(bench):
    values = bench.run("quantum.expectation", **OSCILLATOR).values
    assert values["uncertainty_product_hbar"] == pytest.approx(0.5, abs=1e-10)
    box = bench.run("quantum.expectation", **BOX).values
    assert box["uncertainty_product_hbar"] == pytest.approx(np.sqrt(np.pi**2 / 12 - 0.5), rel=1e-9)


def test_a_superposition_moves_and_mixes_energies(bench):
    result = bench.run("quantum.expectation", **BOX, coefficients=["1/sqrt(2)", [0, 1 / np.sqrt(2)]])
    values = result.values
    # <p> of (psi_1 + i psi_2)/sqrt(2) in a box of width L is -8 hbar / (3 L)
    assert values["p_mean"] == pytest.approx(-8 / 3 / 2.0, rel=1e-9)
    assert values["x_mean"] == pytest.approx(1.0, abs=1e-10)
    assert values["energy"] == pytest.approx(np.mean(values["energies"]), rel=1e-12)
    assert values["spreads"]["H"] == pytest.approx(np.ptp(values["energies"]) / 2, rel=1e-9)
    assert values["probabilities"] == pytest.approx([0.5, 0.5])
    assert result.meta["warnings"] == []
    real = bench.run("quantum.expectation", **BOX, coefficients=[1, 1])
    assert real.values["x_mean"] == pytest.approx(1.0 - 16 * 2.0 / (9 * np.pi**2), rel=1e-9)
    assert "normalised" in real.meta["warnings"][0]


def test_the_density_is_drawn_with_its_spread(bench):
    result = bench.run("quantum.expectation", **(BOX | {"emit_plots": True}), coefficients=[1, 1], emit_csv=True)
    assert "superposition of 2 levels" in result.figures[0].caption
    assert result.figures[0].csv is not None
    x, density = bench.array(result, "x_nm"), bench.array(result, "density")
    assert np.trapezoid(density, x) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("params", [{"coefficients": [0, 0]}, {"coefficients": ["open('x')"]}, {"level": -1}])
def test_states_that_are_not_known_are_refused(bench, params):
    with pytest.raises(ValidationError):
        bench.run("quantum.expectation", **BOX, **params)


def test_an_operator_that_is_no_arithmetic_is_told_by_its_field_and_refused_by_the_worker(bench):
    raw = BOX | {"operators": ["H", "x.real"]}
    _, problems = settle_params(bench.registry.get("quantum.expectation"), raw, checks=True)
    assert [one.field for one in problems] == ["params.operators"]
    with pytest.raises(RequestError, match=r"x\.real"):
        bench.run("quantum.expectation", **raw)


def test_an_operator_without_a_mean_is_refused(bench):
    with pytest.raises(RequestError, match="not finite"):
        bench.run("quantum.expectation", **BOX, operators=["log(x - 1)"])


@pytest.mark.parametrize(
    ("formula", "low", "high"),
    [
        ("1000*tan(x)", 0, 3), ("tan(x)", 0, 3.141592653589793), ("1/(x-0.1234)", -1, 1), ("1/(x-0.1234)**2", -1, 1),
        ("-1/abs(x-0.1234)", -1, 1), ("x**2 + 1e-6/(x-0.1234)", -1, 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("points", [201, 2001])
def test_a_pole_between_the_samples_is_refused(bench, formula, low, high, points):
    well = {"problem": "custom", "potential_eV": formula, "x_min_nm": low, "x_max_nm": high}
    with pytest.raises(RequestError, match=r"has a pole near x = (0\.1234|1\.5708)"):
        bench.run("quantum.solve", **well, grid_points=points, emit_plots=False)


@pytest.mark.parametrize(
    "formula",
    ["abs(x)", "-exp(-(x/0.05)**2)", "where(x > 0.1234, 5, 0)", "sin(40*x)", "5*tanh(50*x)", "-1.44/(x+3.01)"],
)
def test_tops_steps_and_bends_are_no_poles(bench, formula):
    well = {"problem": "custom", "potential_eV": formula, "x_min_nm": -3, "x_max_nm": 3}
    assert bench.run("quantum.solve", **well, emit_plots=False).values["converged"] is True


def test_a_norm_that_is_not_1_means_not_converged(bench, monkeypatch):
    monkeypatch.setattr(quantum_well, "norm_gap", lambda _spectrum: 0.047)
    for node in ("quantum.solve", "quantum.expectation"):
        result = bench.run(node, **OSCILLATOR)
        assert result.values["converged"] is False
        assert any("norm of a state departs from 1 by 4.7e-02" in one for one in result.meta["warnings"])


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("hbar_omega_eV", {"problem": "particle_in_box", "width_nm": 1, "hbar_omega_eV": 1}),
        ("width_nm", {"problem": "sho", "hbar_omega_eV": 1, "width_nm": 1}),
        ("parameters", {"problem": "sho", "hbar_omega_eV": 1, "parameters": {"a": 1}}),
        ("params.L", {"problem": "sho", "params": {"L": 2}}),
    ],
)
def test_a_parameter_of_another_problem_is_refused_by_name(bench, name, wrong):
    with pytest.raises(ValidationError, match=f"{name} belongs to problem"):
        bench.run("quantum.solve", **wrong)


@pytest.mark.parametrize("size", [1e200, 1e-200, 1e308])
def test_coefficients_of_any_size_are_normalised(bench, size):
    values = bench.run("quantum.expectation", **OSCILLATOR, coefficients=[size, size]).values
    assert values["norm"] == pytest.approx(1.0)
    assert values["probabilities"] == pytest.approx([0.5, 0.5])


def test_close_levels_share_a_label_with_their_numbers():
    energies = [1.0, 1.001, 2.0, 3.0, 3.0]
    groups = apart(energies, 0.1)
    assert groups == [[0, 1], [2], [3, 4]]
    assert [level_label(energies, one) for one in groups] == ["$E_{0}$, $E_{1}$: 1 … 1.001", "2", "$E_{3}$, $E_{4}$: 3"]
