"""The experiments of `examples/`: each runs through the command to known numbers, and its words plan to the same graph."""

import cmath
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from math import cos, log, pi, sqrt
from pathlib import Path

import numpy as np
import pytest
from scipy.constants import electron_mass, electron_volt, hbar
from scipy.linalg import eigh_tridiagonal
from scipy.special import ellipk

from physlab_mcp.nodes.registry import Registry
from physlab_mcp.words import NeedsSpec, plan

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NAMES = ["balmer", "decay", "double_well", "pendulum", "ringing", "wave_packet"]
C = hbar**2 / (2 * electron_mass) / electron_volt * 1e18  # hbar^2/(2 m_e) in eV nm^2


def spec_of(name):
    return json.loads((EXAMPLES / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def left(shared):
    """What each run left: its state and the values by node. Two run at once, all on one engine."""
    shutil.copytree(EXAMPLES, shared.folder / "examples")
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda name: run(shared, name), NAMES))
    return dict(zip(NAMES, answers, strict=True))


def run(shared, name):
    answer = shared("--json", "run", f"examples/{name}.json", "--out", f"out/{name}").json
    values = json.loads((shared.folder / "out" / name / "values.json").read_text())
    return {**answer, "values": {node: one["values"] for node, one in values.items()}, "all": values}


def test_there_is_an_experiment_in_words_and_a_picture_for_each_graph():
    graphs = {path.stem for path in EXAMPLES.glob("*.json")} - {"hydrogen_2p", "tunnelling_sweep"}
    assert graphs == set(NAMES) == {path.stem for path in EXAMPLES.glob("*.txt")}
    page = (ROOT / "docs" / "experiments.md").read_text()
    for name in NAMES:
        picture = ROOT / "docs" / "pictures" / f"{name}.png"
        assert picture.stat().st_size < 60_000
        assert f"](pictures/{name}.png)" in page
        assert f"physlab run examples/{name}.json" in page
        assert (EXAMPLES / f"{name}.txt").read_text() in page


@pytest.mark.parametrize("name", NAMES)
def test_the_words_plan_to_the_graph_of_the_file(name):
    planned = plan((EXAMPLES / f"{name}.txt").read_text(), Registry.load())
    assert not isinstance(planned, NeedsSpec), planned.reasons
    wanted, made = spec_of(name), planned.spec
    assert [kind(one) for one in made["nodes"]] == [kind(one) for one in wanted["nodes"]]
    ids = {one["id"]: number for number, one in enumerate(made["nodes"])}
    known = {one["id"]: number for number, one in enumerate(wanted["nodes"])}
    assert edges(made, ids) == edges(wanted, known)
    for mine, theirs in zip(made["nodes"], wanted["nodes"], strict=True):
        assert told(mine, theirs, ids, known) == {}
        assert mine.get("visual_outputs") == theirs.get("visual_outputs")
    assert planned.sweep is None


def kind(node):
    return f"{node['tool']}.{node['method']}" if "method" in node else node["tool"]


def edges(spec, ids):
    return {(ids[one["from"]], ids[one["to"]]) for one in spec["edges"]}


def told(mine, theirs, ids, known):
    """What the words say and the file does not; nodes are compared by place, titles are not compared."""
    said = {name: numbered(value, ids) for name, value in mine["params"].items() if name not in ("title", "Z")}
    return {name: value for name, value in said.items() if numbered(theirs["params"].get(name), known) != value}


def numbered(value, ids):
    if isinstance(value, dict) and "$from" in value:
        return {"from": ids[value["$from"]], "key": value["key"]}
    return "".join(value.split()) if isinstance(value, str) else value


@pytest.mark.parametrize("name", NAMES)
def test_every_node_succeeds_without_a_warning_and_a_report_is_left(left, name):
    done = left[name]
    assert done["state"] == "succeeded"
    assert set(done["values"]) == {node["id"] for node in spec_of(name)["nodes"]}
    assert {node: one["meta"].get("warnings") for node, one in done["all"].items() if one["meta"].get("warnings")} == {}
    assert Path(done["report"]).read_bytes().startswith(b"%PDF-")


def test_the_double_well_agrees_with_finite_differences(left):
    well = left["double_well"]["values"]["well"]
    by_step = [levels(points) for points in (2001, 4001)]
    reference = (
        by_step[1] + (by_step[1] - by_step[0]) / 3
    )  # Richardson: the error of the scheme falls as the step squared
    assert well["energies_eV"] == pytest.approx(reference, rel=1e-6)
    assert well["energies_eV"][1] - well["energies_eV"][0] == pytest.approx(5.089e-3, rel=1e-4)
    assert well["nodes"] == [0, 1, 2, 3]
    assert all(well["held"])
    even, odd = left["double_well"]["values"]["even"], left["double_well"]["values"]["odd"]
    assert even["delta_x_nm"] ** 2 == pytest.approx(well["x2_mean"][0], rel=1e-6)
    assert odd["delta_x_nm"] ** 2 == pytest.approx(well["x2_mean"][1], rel=1e-6)


def levels(points):
    x = np.linspace(-3, 3, points)[1:-1]
    step = x[1] - x[0]
    return eigh_tridiagonal(
        2 * C / step**2 + (x**2 - 1) ** 2, np.full(x.size - 1, -C / step**2), select="i", select_range=(0, 3)
    )[0]


def test_the_barrier_passes_what_the_closed_form_says(left):
    wave, packet = (left["wave_packet"]["values"][name] for name in ("plane_wave", "packet"))
    assert wave["transmission"] == pytest.approx(transmission(sqrt(0.7 / C)), rel=1e-9)
    k0, spread = packet["k0_per_nm"], 1 / (2 * 2.0)
    k = np.linspace(k0 - 8 * spread, k0 + 8 * spread, 4001)
    weight = np.exp(-((k - k0) ** 2) / (2 * spread**2))
    mean = sum(w * transmission(one) for w, one in zip(weight, k, strict=True)) / weight.sum()
    assert packet["transmitted"] == pytest.approx(mean, abs=2e-4)
    assert packet["transmitted"] + packet["reflected"] + packet["inside"] == pytest.approx(1, abs=1e-9)
    assert packet["norm_max_deviation"] < 1e-8


def transmission(k):
    """Griffiths, Introduction to Quantum Mechanics, problem 2.33, for 1 eV and 0.3 nm; beyond 1 eV sinh becomes sin."""
    energy = C * k * k
    bent = cmath.sinh(0.3 * cmath.sqrt((1 - energy) / C)) ** 2
    return 1 / (1 + (bent / (4 * energy * (1 - energy))).real)


def test_the_film_of_the_packet_is_left(left, shared):
    film = (shared.folder / "out" / "wave_packet" / "packet-packet.mp4").read_bytes()
    assert left["wave_packet"]["values"]["packet"]["frames"] == 60
    assert film[4:8] == b"ftyp"


def test_the_balmer_line_follows_from_the_rydberg_constant(left):
    values = left["balmer"]["values"]
    rydberg_eV = values["rydberg"]["value"]
    assert rydberg_eV == pytest.approx(13.605693122990, rel=1e-11)
    assert values["orbital"]["energy_eV"] == pytest.approx(-rydberg_eV / 9, rel=1e-9)
    assert values["orbital"]["r_mean_a0"] == pytest.approx(10.5, rel=1e-8)
    line = values["h_alpha"]
    assert line["wavelength_infinite_mass_nm"] == pytest.approx(1239.8419843320 / (rydberg_eV * 5 / 36), rel=1e-9)
    assert line["wavelength_nm"] == pytest.approx(
        line["wavelength_infinite_mass_nm"] * (1 + 5.446170214889e-4), rel=1e-9
    )
    assert line["relative_difference"] == pytest.approx(0, abs=3e-5)  # fine structure is left out
    assert values["isosurface"]["enclosed"] == pytest.approx(0.8, abs=1e-3)


def test_the_pendulum_gives_gravity_with_its_uncertainty(left):
    values = left["pendulum"]["values"]
    g = 4 * pi**2 * 0.994 / 4
    assert values["gravity"]["value"] == pytest.approx(g, rel=1e-12)
    assert values["gravity"]["sigma"] == pytest.approx(g * sqrt((0.001 / 0.994) ** 2 + (2 * 0.005 / 2) ** 2), rel=1e-9)
    assert values["gravity"]["unit"] == "m/s**2"
    assert abs(values["gravity"]["value"] - values["standard_gravity"]["value"]) < values["gravity"]["sigma"]
    assert values["sensitivity"]["result"].replace(" ", "") == "-8*pi**2*L/T**3"
    assert values["swing"]["number"] == pytest.approx(ellipk(0.25), rel=1e-12)
    focus = next(one for one in values["portrait"]["fixed_points"] if abs(one["x"]) < 1e-6)
    assert (focus["kind"], focus["stability"]) == ("focus", "stable")
    assert sorted(focus["eigenvalues"]) == [pytest.approx([-0.1, -sqrt(0.99)]), pytest.approx([-0.1, sqrt(0.99)])]
    saddle = next(one for one in values["portrait"]["fixed_points"] if abs(one["x"] - pi) < 1e-6)
    assert saddle["kind"] == "saddle"
    assert cos(saddle["x"]) == pytest.approx(-1)


def test_the_fit_of_the_decay_recovers_what_made_the_data(left):
    values = left["decay"]["values"]
    for name, true in {"a": 80.0, "tau": 12.5, "c": 6.0}.items():
        assert values["fit"]["confidence_low"][name] < true < values["fit"]["confidence_high"][name]
    assert 0.8 < values["fit"]["chi2_reduced"] < 1.25
    assert values["counts"]["rows"] == values["residuals"]["n"] == 121
    assert abs(values["residuals"]["mean"]) < 1e-6
    assert values["residuals"]["std"] == pytest.approx(1.5, abs=0.2)
    assert values["residuals"]["normality_p"] > 0.05
    # Of 60 lines of white noise the strongest exceeds a by chance with 60 exp(-a^2 N / (4 sigma^2)).
    assert values["spectrum"]["dominant_amplitude"] < 2 * 1.5 * sqrt(log(60 / 0.01) / 121)


def test_the_filter_leaves_the_lower_tone(left):
    values = left["ringing"]["values"]
    assert values["low"]["gain_at_cutoff"] == [pytest.approx(0.5, rel=1e-9)]  # -3 dB, forward and backward
    assert values["low"]["std_before"] == pytest.approx(sqrt(0.5 + 0.125), rel=1e-3)
    assert values["low"]["std_after"] == pytest.approx(sqrt(0.5), rel=1e-3)
    assert values["low"]["removed_rms"] == pytest.approx(sqrt(0.125), rel=5e-3)
    assert values["spectrum"]["dominant_frequency_Hz"] == pytest.approx(5, abs=0.02)
    assert values["spectrum"]["dominant_amplitude"] == pytest.approx(1, rel=2e-3)
