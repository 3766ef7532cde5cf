"""The parts of the planner by themselves: formulas, units, ranges, clauses, and node types from elsewhere."""

import pytest
from pydantic import Field

from physlab_mcp.nodes.registry import NodeParams, NodeType, Registry
from physlab_mcp.schemas.result import NodeResult
from physlab_mcp.words import NeedsSpec, Planned, plan
from physlab_mcp.words.clauses import Request
from physlab_mcp.words.formulas import read_formula
from physlab_mcp.words.quantities import converted, plain_name, read_unit, unit_of
from physlab_mcp.words.ranges import ranges_in
from physlab_mcp.words.tokens import plain, tokenize


@pytest.mark.parametrize(
    ("text", "read", "rest"),
    [
        ("x^3 - 2x between", "x**3 - 2*x", " between"),
        ("cos(3x)/(1+x^2) in", "cos(3*x)/(1+x**2)", " in"),
        ("sin 2 pi x", "sin(2*pi*x)", ""),
        ("cos^2(x) + sin^2(x)", "cos(x)**2 + sin(x)**2", ""),
        ("(x+1)(x-2)", "(x+1)*(x-2)", ""),
        ("e^(-x) from", "e**(-x)", " from"),
        ("where(abs(x) < 0.2, 1, 0) and", "where(abs(x) < 0.2, 1, 0)", " and"),
        ("x -3 to 3", "x", " -3 to 3"),
        ("2 nm wide", "2", " nm wide"),
        ("y'' + 4*y = 0", "y'' + 4*y", " = 0"),
    ],
)
def test_a_formula_ends_where_the_words_begin(text, read, rest):
    found = read_formula(text)
    assert found is not None
    assert found.text == read
    assert text[found.end :] == rest


@pytest.mark.parametrize("text", ["tan x/2", "sin x^2", "exp x*y", "and", "", "-", "((x)"])
def test_what_can_be_read_in_two_ways_or_none_is_no_formula(text):
    found = read_formula(text)
    assert found is None or found.end < len(text)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("eV to joules", "eV"),
        ("km/h to", "km/h"),
        ("kg*m^2/s^2.", "kg*m**2/s**2"),
        ("electron volts in", "electron_volt"),
        ("degrees Celsius", "degC"),
        ("MeV", "MeV"),
        ("meV", "meV"),
        ("m=-1", None),
        ("in the box", None),
        ("points", None),
        ("apples", None),
    ],
)
def test_units_are_told_from_words(text, unit):
    found = read_unit(text, 0)
    assert (found.text if found else None) == unit


def test_parameter_names_tell_their_units():
    assert (unit_of("barrier_width_nm"), plain_name("barrier_width_nm")) == ("nm", "barrier width")
    assert (unit_of("k0_per_nm"), plain_name("k0_per_nm")) == ("1/nm", "k0")
    assert unit_of("x_min") == ""
    assert converted(15, "angstrom", "nm") == 1.5


@pytest.mark.parametrize(
    ("text", "low", "high", "descends"),
    [
        ("from 0.1 to 2 nm", (0.1, "nm"), (2, "nm"), False),
        ("between 300 Hz and 3 kHz", (300, "Hz"), (3, "kHz"), False),
        ("from 1 nm to 200 pm", (1, "nm"), (200, "pm"), True),
        ("for x in [-2, 2]", (-2, ""), (2, ""), False),
        ("0 <= x <= 3", (0, ""), (3, ""), False),
        ("from x = 1 to x = 5", (1, ""), (5, ""), False),
        ("from 5 to 1", (5, ""), (1, ""), True),
    ],
)
def test_ranges_are_read_with_their_units(text, low, high, descends):
    (one,) = ranges_in(tokenize(plain(text)))
    assert (one.low.value, one.low.unit) == low
    assert (one.high.value, one.high.unit) == high
    assert one.descends is descends


def test_two_numbers_with_a_dash_are_neither_a_difference_nor_passed_over():
    kinds = [token.kind for token in tokenize(plain("a barrier 1–5 nm wide"))]
    assert "dash" in kinds
    assert "number" not in kinds


def test_clauses_end_where_they_may_and_quotes_and_lists_stay_whole():
    request = Request("Plot f(x)=x^2, then take [1, 2]; call it 'a, then b' and stop. Next one")
    words = [request.clause(i, i).text for i in range(len(request.pieces))]
    assert words == ["Plot f(x)=x^2", "take [1, 2]", "call it 'a, then b'", "stop", "one"]
    assert [piece.firm for piece in request.pieces] == [False, True, True, False, True]


class DecayParams(NodeParams):
    half_life_s: float = Field(gt=0, description="half-life")
    elapsed_s: float = Field(ge=0, description="time since the start")


def decay(_params, _io):
    return NodeResult(values={"share": 1.0})


def test_a_node_type_from_elsewhere_is_planned_from_its_own_declaration():
    words = ("decay", "radioactive decay")
    one = NodeType("decay.remaining", decay, params=DecayParams, summary="Share that remains", words=words)
    registry = Registry({one.name: one})
    answer = plan("Compute the decay with a half life of 2 minutes and an elapsed time of 30 s", registry)
    assert isinstance(answer, NeedsSpec)  # "time" is no word of it
    answer = plan("Compute the radioactive decay with half_life_s = 10 and elapsed 30 s", registry)
    assert isinstance(answer, Planned)
    assert answer.spec["nodes"][0]["params"] == {"half_life_s": 10, "elapsed_s": 30}
    answer = plan("Compute the radioactive decay, half life 2 minutes", registry)
    assert isinstance(answer, NeedsSpec)
    assert "elapsed_s" in answer.reasons[0]["reason"]


def test_an_empty_registry_still_answers():
    answer = plan("Plot sin(x)", Registry({}))
    assert isinstance(answer, NeedsSpec)
    assert answer.candidates == []
