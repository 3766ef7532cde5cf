"""Whatever the words, the planner answers: with a graph that passes validation, or by asking for a spec."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from physlab_mcp.dags.points import points_total
from physlab_mcp.dags.sweep import read_sweep
from physlab_mcp.dags.validate import validate
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.schemas.dag import DagSpec
from physlab_mcp.words import NeedsSpec, Planned, plan
from physlab_mcp.words.lexicon import ENTRIES
from physlab_mcp.words.phrases import ASKING, PICTURING, SMALL

REGISTRY = Registry.load()
PHRASES = sorted(
    {phrase for one in REGISTRY for phrase in one.words}
    | {phrase for one in ENTRIES.values() for phrase in (*one.triggers, *one.nouns, *one.sets)}
    | {cue for one in ENTRIES.values() for cues in one.cues.values() for cue in cues}
    | {name for one in REGISTRY for name in one.params.model_fields}
    | SMALL
    | ASKING
    | PICTURING
)
PIECES = [
    "2p",
    "3d",
    "1s",
    "2d",
    "He+",
    "Li2+",
    "H-alpha",
    "Lyman-beta",
    "0.5",
    "-3",
    "7",
    "1e400",
    "1-5",
    "six",
    "2*pi",
    "infinity",
    "sin(x)",
    "x^2-y^2",
    "exp(-x*t)",
    "y''+y=0",
    "dx=y",
    "(-y,x)",
    "[0,1]",
    "[[1,2],[3,4]]",
    "a.csv",
    "b.npz",
    "'Title'",
    '"open',
    "x=",
    "n=2",
    "m=-1",
    "±",
    "+",
    "=",
    "(",
    ")",
    "[",
    "|0>",
    "eV",
    "nm",
    "5eV",
    "0.3nm",
    "1GHz",
    "2%",
    "10degC",
    "to",
    "from",
    "in",
    "and",
    "then",
    ",",
    ".",
    ";",
    ":",
    "?",
    "with",
    "between",
    "steps",
    "20",
    "it",
    "its",
    "twice",
    "without",
    "not",
]
WORDS = st.one_of(st.sampled_from(PHRASES), st.sampled_from(PIECES))


def check(text: str) -> None:
    answer = plan(text, REGISTRY)
    if isinstance(answer, NeedsSpec):
        assert answer.state == "needs_spec"
        assert answer.unparsed
        assert len(answer.reasons) >= len(answer.unparsed)
        assert len(answer.examples) == 2
        assert answer.skeleton["nodes"] or not REGISTRY.names()
        json.dumps(answer.as_dict())
        return
    assert isinstance(answer, Planned)
    DagSpec.model_validate(answer.spec)
    assert validate(answer.spec, REGISTRY).ok
    json.dumps(answer.spec)
    if answer.sweep:
        assert points_total(read_sweep(answer.sweep)) >= 1


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(WORDS, min_size=1, max_size=14).map(" ".join))
def test_word_salads_never_raise_and_never_give_an_unsound_graph(text):
    check(text)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_answered(text):
    check(text)


REQUESTS = (
    "Compute the hydrogen 2p orbital",
    "Solve the particle in a box of width 2 nm",
    "Plot sin(x) from 0 to 5",
    "Tunnelling of an electron of 0.5 eV through a barrier 1 eV high and 0.3 nm wide",
    "Import a.csv and fit a gaussian to it",
    "Convert 5 eV to joules",
    "Differentiate x**2 with respect to x",
    "Look up the Planck constant",
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(REQUESTS), st.text("abcdefghijklmnopqrstuvwxyz", min_size=4, max_size=9), st.randoms())
def test_a_word_that_nobody_knows_is_never_passed_over(request_text, word, random):
    words = request_text.split()
    at = random.randrange(len(words) + 1)
    text = " ".join([*words[:at], f"zq{word}", *words[at:]])
    answer = plan(text, REGISTRY)
    assert isinstance(answer, NeedsSpec), text
    assert any(f"zq{word}" in phrase for phrase in answer.unparsed), (text, answer.unparsed)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(REQUESTS), st.sampled_from(["7.77 kg", "33 T", "-12.5 mol", "4 GHz"]), st.randoms())
def test_a_quantity_that_fits_nowhere_is_never_passed_over(request_text, quantity, random):
    words = request_text.split()
    at = random.randrange(len(words) + 1)
    text = " ".join([*words[:at], quantity, *words[at:]])
    assert isinstance(plan(text, REGISTRY), NeedsSpec), text


@pytest.mark.parametrize("opening", ["(", "[", "sin(", "-", "1+", "x^", "'", "a.", "2p ", "to ", "and ", "0<"])
def test_long_runs_of_one_piece_are_answered(opening):
    check(f"Plot {opening * 1000}"[:4000])


def test_a_text_beyond_the_limit_is_told():
    answer = plan("plot sin(x) " * 2000, REGISTRY)
    assert isinstance(answer, NeedsSpec)
    assert "at most" in answer.reasons[0]["reason"]
