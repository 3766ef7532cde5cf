"""The nodes `quantum.ops` and `quantum.visualize`, the amplitudes they read, and what all `quantum` nodes declare."""

import cmath

import numpy as np
import pytest
from node_runs import Bench
from pydantic import ValidationError

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import quantum_amplitudes


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def ops(bench, *operators, task="commutator", **params):
    return bench.run("quantum.ops", operators=list(operators), task=task, **({"emit_plots": False} | params))


def test_the_commutator_of_pauli_matrices_is_named(bench):
    result = ops(bench, "sx", "sy")
    bench.check_declared("quantum.ops", result)
    assert result.values["closed_form"] == "[sx, sy] = 2i sz"
    assert result.values["commute"] is False
    assert result.values["matrices"]["[sx, sy]"] == [[[0, 2], [0, 0]], [[0, 0], [0, -2]]]
    assert ops(bench, "sx", "sx").values["closed_form"] == "[sx, sx] = 0"
    assert ops(bench, "sx", "sx").values["commute"] is True
    assert ops(bench, "X", "Z", task="anticommutator").values["closed_form"] == "{sx, sz} = 0"
    assert ops(bench, "sy", "sy", task="anticommutator").values["closed_form"] == "{sy, sy} = 2 identity"


@pytest.mark.parametrize(
    ("pair", "text"),
    [(("a", "adag"), "[a, adag] = identity"), (("x", "p"), "[x, p] = i identity"), (("n", "a"), "[n, a] = -a")],
)
def test_ladder_operators_obey_their_algebra_but_for_the_cut(bench, pair, text):
    result = ops(bench, *pair, dimension=6)
    assert result.values["closed_form"] == text
    cut = "identity" in text
    assert result.values["truncation_error"] == pytest.approx(6.0 if cut else 0.0, abs=1e-12)
    assert bool(result.meta["warnings"]) is cut
    last = (bench.array(result, "real") + 1j * bench.array(result, "imag"))[0][-1, -1]
    assert abs(last) == pytest.approx(5.0 if cut else 0.0, abs=1e-12)


def test_matrices_and_their_properties(bench):
    result = ops(bench, "sy", [[1, 1], [0, 1]], task="matrix_rep")
    assert result.values["operators"] == ["sy", "M1"]
    assert result.values["hermitian"] == {"sy": True, "M1": False}
    assert result.values["unitary"] == {"sy": True, "M1": False}
    wide = ops(bench, "a", task="matrix_rep", dimension=20)
    assert wide.values["matrices"] is None
    assert bench.array(wide, "real").shape == (1, 20, 20)


def test_eigenvalues_in_ascending_order_and_a_word_on_the_cut(bench):
    values = ops(bench, [[0, [0, -1]], ["i", 0]], "sz", task="eigenvalues").values
    assert values["eigenvalues"] == {"M1": [[-1.0, 0.0], [1.0, 0.0]], "sz": [[-1.0, 0.0], [1.0, 0.0]]}
    cut = ops(bench, "x", task="eigenvalues", dimension=3)
    # zeros of the third Hermite polynomial
    assert [one[0] for one in cut.values["eigenvalues"]["x"]] == pytest.approx(
        [-np.sqrt(1.5), 0, np.sqrt(1.5)], abs=1e-12
    )
    assert "change with dimension" in cut.meta["warnings"][0]
    assert ops(bench, "n", task="eigenvalues", dimension=3).meta["warnings"] == []


def test_expectation_of_operators_in_a_state(bench):
    result = ops(bench, "sx", "sz", task="expectation", state=["1/sqrt(2)", "exp(i*pi/4)/sqrt(2)"])
    assert result.values["expectations"]["sx"] == pytest.approx([np.sqrt(0.5), 0])
    assert result.values["expectations"]["sz"] == pytest.approx([0, 0], abs=1e-15)
    coherent = ops(bench, "n", task="expectation", state=[3, 4], dimension=2)
    assert coherent.values["expectations"]["n"] == pytest.approx([0.64, 0])
    assert "norm 5" in coherent.meta["warnings"][0]


@pytest.mark.parametrize(
    ("operators", "params", "named"),
    [
        (["sx", "Q"], {}, "'Q'"),
        (["sx", "a"], {}, "dimensions: 2, 8"),
        (["sx", [[1, 2, 3]]], {}, "square"),
        (["sx", [[1, 2], [3, "__import__('os')"]]], {}, "not a complex number"),
        (["sx"], {"task": "expectation", "state": [1, 0, 0]}, "3 amplitudes"),
    ],
)
def test_operators_that_do_not_fit_are_refused(bench, operators, params, named):
    with pytest.raises(RequestError, match=named):
        ops(bench, *operators, **params)


def test_tasks_without_what_they_need_are_refused(bench):
    for operators, task in ((["sx"], "commutator"), (["sx"], "expectation"), ([], "matrix_rep")):
        with pytest.raises(ValidationError):
            ops(bench, *operators, task=task)


def test_matrices_are_drawn_and_listed(bench):
    figure = ops(bench, "x", "p", dimension=4, emit_plots=True, emit_csv=True).figures[0]
    assert "cut-off" in figure.caption
    assert figure.png.width > 1000
    assert len(bench.blobs.read(figure.csv.sha256).splitlines()) == 17


@pytest.mark.parametrize(
    ("state", "vector"),
    [
        (["1/sqrt(2)", "i/sqrt(2)"], (0, 1, 0)),
        ("+", (1, 0, 0)),
        ("|1>", (0, 0, -1)),
        ("1,0", (0, 0, 1)),
        ("1/sqrt(2), -1j/sqrt(2)", (0, -1, 0)),
        ([0.6, [0.0, 0.8]], (0, 0.96, -0.28)),
    ],
)
def test_qubits_on_the_bloch_sphere(bench, state, vector):
    result = bench.run("quantum.visualize", state=state, kind="bloch", emit_plots=False)
    bench.check_declared("quantum.visualize", result)
    values = result.values
    assert (values["x"], values["y"], values["z"]) == pytest.approx(vector, abs=1e-12)
    theta, phi = values["theta_rad"], values["phi_rad"]
    turned = (np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta))
    assert turned == pytest.approx(vector, abs=1e-12)
    assert 0 <= phi < 2 * np.pi
    assert sum(values["probabilities"]) == pytest.approx(1.0)


def test_probabilities_of_levels_are_drawn_and_normalised(bench):
    result = bench.run("quantum.visualize", state=[1, 1, [0, 1], -1], kind="prob_density", emit_csv=True)
    assert result.values["probabilities"] == pytest.approx([0.25] * 4)
    assert result.values["x"] is None
    assert "norm 2" in result.meta["warnings"][0]
    assert len(bench.blobs.read(result.figures[0].csv.sha256).splitlines()) == 5


def test_the_sphere_is_drawn(bench):
    figure = bench.run("quantum.visualize", state=["1/sqrt(2)", "1/2+1/2*i"], kind="bloch").figures[0]
    assert "azimuth 45°" in figure.caption
    assert figure.png.width == figure.png.height >= 1000


def test_a_wave_function_handed_over_from_the_solver(bench):
    solved = bench.run("quantum.solve", problem="particle_in_box", width_nm=3.0, levels=4, emit_plots=False)
    handed = {"psi": bench.link(solved, "psi"), "x_nm": bench.link(solved, "x_nm")}
    result = bench.run("quantum.visualize", **handed, level=2, kind="prob_density")
    bench.check_declared("quantum.visualize", result)
    assert result.values["x_mean_nm"] == pytest.approx(1.5, abs=1e-9)
    spread = np.sqrt(solved.values["x2_mean"][2] - solved.values["x_mean"][2] ** 2)
    assert result.values["delta_x_nm"] == pytest.approx(spread, rel=1e-4)
    with pytest.raises(RequestError, match="no level 4"):
        bench.run("quantum.visualize", **handed, level=4, kind="prob_density")


@pytest.mark.parametrize(
    "params",
    [
        {"state": [1, 0, 0], "kind": "bloch"},
        {"state": [0, 0], "kind": "bloch"},
        {"state": "alive", "kind": "bloch"},
        {"psi": [[1, 2]], "x_nm": [0, 1, 2], "kind": "prob_density"},
        {"psi": [0, 0, 0], "x_nm": [0, 1, 2], "kind": "prob_density"},
    ],
)
def test_states_that_cannot_be_drawn_are_refused(bench, params):
    with pytest.raises(RequestError):
        bench.run("quantum.visualize", **params)


@pytest.mark.parametrize(
    "params",
    [{"kind": "bloch"}, {"state": [1, 0], "psi": [1], "kind": "bloch"}, {"psi": [1, 2], "kind": "prob_density"}],
)
def test_states_given_twice_or_not_at_all_are_refused(bench, params):
    with pytest.raises(ValidationError):
        bench.run("quantum.visualize", **params)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1/sqrt(2)", 0.5**0.5),
        ("-i/2", -0.5j),
        ("2+3j", 2 + 3j),
        ("exp(-i*pi/3)", cmath.exp(-1j * cmath.pi / 3)),
        ([1, -2], 1 - 2j),
        (3, 3),
        ("(1+i)**2", 2j),
    ],
)
def test_amplitudes_as_people_write_them(text, value):
    assert quantum_amplitudes.number(text, "state") == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('id')",
        "().__class__",
        "9**9**9**9",
        "2**1000000",
        "1/0",
        "exp(1000)",
        "[1,2]",
        "x",
        "",
        "True",
        "'a'*9",
        "lambda: 1",
        "sqrt(1, 2)",
        "sqrt(" * 40 + "1" + ")" * 40,
        "-" * 100 + "1",
        "1+" * 150 + "1",
        "1e999",
        [1, 2, 3],
        [True, 0],
        None,
        {"re": 1},
        float("nan"),
    ],
)
def test_what_is_not_a_complex_number_is_refused(text):
    with pytest.raises(RequestError, match="not a complex number"):
        quantum_amplitudes.number(text, "state")


def test_short_texts_of_complex_numbers():
    assert [quantum_amplitudes.shown(one) for one in (1, -2j, 1j, -1j, 0.5 - 0.25j, 1 + 1j, 0j)] == [
        "1",
        "-2i",
        "i",
        "-i",
        "0.5 - 0.25i",
        "1 + i",
        "0",
    ]


def test_every_quantum_node_says_its_words_its_time_and_its_caps(bench):
    types = [one for one in bench.registry if one.tool == "quantum"]
    assert [one.method for one in types] == [
        "expectation",
        "hydrogen_orbital",
        "ops",
        "solve",
        "spectral_line",
        "time_evolution",
        "tunneling",
        "visualize",
        "wavepacket",
    ]
    for one in types:
        assert one.words, one.name
        assert one.compute_s == 10.0, one.name
        assert (one.frame_s == 0.5) is one.has_animation, one.name
        made = one.params.model_validate(one.example)
        for cap in one.caps:
            assert 0 < getattr(made, cap.field) <= cap.most, (one.name, cap)
    aliases = [alias for one in bench.registry for alias in one.aliases]
    assert len(aliases) == len(set(aliases))


@pytest.mark.parametrize(
    ("node", "beyond"),
    [
        ("quantum.wavepacket", {"frames": 301}),
        ("quantum.time_evolution", {"frames": 301}),
        ("quantum.time_evolution", {"grid_points": 161}),
        ("quantum.hydrogen_orbital", {"grid_points": 129}),
        ("quantum.solve", {"states": 31}),
    ],
)
def test_caps_lie_below_the_hard_limits(bench, node, beyond):
    one = bench.registry.get(node)
    made = one.params.model_validate(one.example | beyond)
    assert any(getattr(made, cap.field) > cap.most for cap in one.caps)


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_amplitudes_of_any_size_are_normalised(bench, size):
    found = ops(bench, "sx", task="expectation", state=[size, size])
    assert "nan" not in repr(found.values)
    seen = bench.run("quantum.visualize", state=[size, size], kind="bloch", emit_plots=False)
    assert seen.values["amplitudes"] == [pytest.approx([0.5**0.5, 0.0])] * 2
    for node in (found, seen):
        assert any("normalised" in one for one in node.meta["warnings"])
