"""Rules of the planner one by one: numbers in words, and phrases that must not become the nearest graph."""

import pytest

from physlab_mcp.nodes.registry import Registry
from physlab_mcp.words import NeedsSpec, Planned, plan
from physlab_mcp.words.spoken import spoken_number
from physlab_mcp.words.tokens import plain, tokenize


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.load()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("twenty-five", 25),
        ("two hundred and forty", 240),
        ("three thousand five hundred", 3500),
        ("zero point three", 0.3),
        ("a dozen"[2:], 12),
        ("-two", -2),
    ],
)
def test_numbers_in_words(text, value):
    assert spoken_number(text, 0) == (value, len(text))


@pytest.mark.parametrize("text", ["one-dimensional", "twofold", "tension", "sevenths"])
def test_words_that_only_begin_like_numbers(text):
    assert spoken_number(text, 0) is None


def test_a_number_in_words_has_a_sign_and_a_unit():
    tokens = tokenize(plain("from minus two nanometres to half an angstrom"))
    assert [(one.value, one.unit) for one in tokens if one.kind == "number"] == [(-2, "nanometer"), (0.5, "angstrom")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Compute the ground state", "ground state"),
        ("Scatter a gaussian wave packet of 0.7 eV, starting at -10 nm, 2 nm wide, off a barrier", "barrier"),
        (
            "Solve the harmonic oscillator with hbar omega = 1 eV, two levels, and draw the probability density of its level 5",
            "level 5",
        ),
        ("Plot the range of sin(x)", "range"),
        ("Plot the interval of sin(x)", "interval"),
        ("Plot the curve x^2 and the line x", "line x"),
        ("The H-alpha line of He+", "H-alpha"),
        ("Compute the hydrogen 2p orbital of He+", "hydrogen"),
        ("What is the wavelength of 5 eV electrons in nm?", "electrons"),
        ("Convert 5 eV to metres", "5 eV"),
        ("Load temp.csv, show frequencies below 2 Hz", "frequencies"),
        ("Solve y' = -k*y with y(0) = 1 and plot the solution from 0 to 3", "solution"),
        ("Plot the data against time of log.csv", "time"),
        ("Show the state |0> + |1> + |2> on the Bloch sphere", "|2>"),
    ],
)
def test_no_graph_is_made_of_what_is_not_meant(registry, text, told):
    answer = plan(text, registry)
    assert isinstance(answer, NeedsSpec)
    assert told in "\n".join(answer.unparsed)


@pytest.mark.parametrize(
    ("text", "edges"),
    [
        ("Integrate x^2 and plot the integral from 0 to 3", [("integrate", "function_2d")]),
        ("Solve y' = -2y with y(0) = 1 and plot the solution from 0 to 3", [("solve_ode", "function_2d")]),
        (
            "Solve the harmonic oscillator with hbar omega = 1 eV and draw the probability density of the ground state",
            [("solve", "visualize")],
        ),
    ],
)
def test_the_second_step_takes_the_result_of_the_first(registry, text, edges):
    answer = plan(text, registry)
    assert isinstance(answer, Planned)
    assert [(one["from"], one["to"]) for one in answer.spec["edges"]] == edges


def test_columns_are_taken_by_their_names(registry):
    answer = plan("Fit column B against column A of data.csv with a line", registry)
    assert isinstance(answer, Planned)
    fit = answer.spec["nodes"][1]["params"]
    assert fit["y"] == {"$from": "data", "key": "arrays.B"}
    assert fit["x"] == {"$from": "data", "key": "arrays.A"}


@pytest.mark.parametrize(
    ("words", "calls"), [("report the results", 1), ("report its energy", 0), ("write a report", 1)]
)
def test_reporting_is_a_paper_or_an_answer(registry, words, calls):
    answer = plan(f"Compute the hydrogen 2p orbital and {words}", registry)
    assert isinstance(answer, Planned)
    assert len(answer.after) == calls
