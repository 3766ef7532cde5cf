from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physlab_mcp.dags.formulas import Formula
from physlab_mcp.errors import RequestError

ROW = {"lr": 0.1, "layers": 4, "kind": "rbf", "fit.loss": 0.5, "wide": True, "sizes": [1, 2], "nothing": None, "ν": 3}


def value(text: str, **more: Any) -> Any:
    return Formula(text, "sweep.where").evaluate(ROW | more)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("layers < 6 or lr < 0.05", True), ("layers > 6 or lr > 0.5", False), ("layers > 1 and lr < 1", True),
        ("layers > 6 and lr < 1", False), ("not wide", False), ("1 < layers <= 4", True), ("1 < layers < 4 < 9", False),
        ("kind in ('rbf', 'linear')", True), ("kind not in ['a', kind]", False), ("layers in {1, 4}", True),
        ("'b' in kind", True), ("1 in kind", False), ("1 in sizes", True), ("layers == 4.0", True), ("kind != 'x'", True),
        ("nothing == null", True), ("nothing == None", True), ("wide == true", True), ("false or wide", True),
        ("64 * layers", 256), ("layers / 8", 0.5), ("7 // 2", 3), ("-7 % 3", 2), ("2 ** 10", 1024), ("2 ** -1", 0.5),
        ("+layers - 1", 3), ("-lr", -0.1), ("kind + '_' + 'x'", "rbf_x"), ("layers if wide else 0", 4),
        ("layers if not wide else 0", 0), ("abs(-2)", 2), ("sqrt(16)", 4.0), ("exp(0)", 1.0), ("log(1)", 0.0),
        ("log(8, 2)", 3.0), ("log10(1000)", 3.0), ("sin(0)", 0.0), ("cos(0)", 1.0), ("tan(0)", 0.0), ("floor(2.7)", 2),
        ("ceil(2.1)", 3), ("round(2.567, 2)", 2.57), ("round(2.5)", 2), ("min(3, lr, 2)", 0.1), ("max(3, layers)", 4),
        ("pi > 3.14", True), ("fit.loss < 1", True), ("loss < 1", True), ("  layers\n + 1", 5), ("ν * 2", 6),
        ("(layers, lr) == (1, 2)", False), ("1e308 > layers", True),
    ],
)  # fmt: skip
def test_formulas_have_the_values_of_arithmetic(text: str, expected: Any) -> None:
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


def test_a_name_of_the_row_goes_before_a_constant() -> None:
    assert value("pi + 1", pi=1) == 2
    assert value("pi", **{"circle.pi": 3}) == 3


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"), ("   ", "empty"), ("lr <", "cannot be read"), ("lr = 1", "cannot be read"), ("lr & 1", "BitAnd"),
        ("~layers", "Invert"), ("lr is 1", "Is"), ("lr.real.imag()", "no function"), ("(lr).x + ().y", "after something"),
        ("__import__('os')", "no function"), ("mni(1, 2)", "nearest: min"), ("sqrt()", "takes 1 plain value"),
        ("sqrt(x=1)", "takes 1"), ("min(*sizes)", "takes 1 to 100"), ("round(1, 2, 3)", "1 to 2"), ("f'{lr}'", "JoinedStr"),
        ("[x for x in sizes]", "ListComp"), ("lambda: 1", "Lambda"), ("sizes[0]", "Subscript"), ("b'a'", "no number or text"),
        ("1j", "no number or text"), ("...", "no number or text"), ("1e999", "too large"), (f"{2**1024}", "too large"),
        ("lr in 1 + 1", "no list"), ("'\\x41'", "backslash"), ("lr := 2", "cannot be read"), ("{'a': 1}", "Dict"),
        ("lr " * 1000, "at most 2,000"), ("+".join("1" * 300), "more than 400 parts"), ("-" * 70 + "1", "nested deeper"),
        ("(" * 300 + "1" + ")" * 300, "cannot be read"), ("9" * 1999, "too large"), ("lr\x00", "cannot be read"),
        ("((" * 90 + "-" * 1000 + "1" + "))" * 90, "cannot be read"),
        ("layer < 3", "'layer' is not a name here"), ("lambda < 3", "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_formula_is_refused_with_what_and_where(text: str, told: str) -> None:
    with pytest.raises(RequestError) as caught:
        value(text)
    assert told in caught.value.message
    assert caught.value.field == "sweep.where"
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("text", "character"),
    [("lr < laers", 6), ("ν < 1 and laers > 2", 11), ("  lr < laers", 8), ("lr + 1 <", 9), ("layers + sqr(2)", 10)],
)
def test_the_character_is_told(text: str, character: int) -> None:
    with pytest.raises(RequestError, match=f"at character {character} of"):
        value(text)


def test_the_nearest_names_are_told() -> None:
    with pytest.raises(RequestError, match=r"Nearest: layers"):
        value("laers > 2")
    with pytest.raises(RequestError, match=r"Nearest: a, b"):
        Formula("zzz > 2", "success").evaluate({"a": 1, "b": 2})
    with pytest.raises(RequestError, match="no names here"):
        Formula("zzz > 2", "success").evaluate({})
    with pytest.raises(RequestError, match=r"may be a\.x or b\.x"):
        Formula("x > 2", "success").evaluate({"a.x": 1, "b.x": 2})
    with pytest.raises(RequestError, match="rename it"):
        value("lambda < 3")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1 / (layers - 4)", "division by zero"), ("log(layers - 4)", "math domain"), ("sqrt(-1)", "math domain"),
        ("kind < 3", "not supported"), ("kind * 2", "not a number"), ("sizes * 99999", "not a number"),
        ("kind + 1", "not a number"), ("-kind", "not a number"), ("+kind", "not a number"), ("sqrt(kind)", "not a number"),
        ("min(kind, 'a')", "not a number"), ("1 in layers", "not iterable"), ("10 ** 10 ** 10", "too large"),
        ("kind ** 2", "not a number"), ("2 ** kind", "not a number"),
        ("(0 - 8) ** 0.5", "negative number"), ("0 ** -1", "negative power"), ("1e300 * 1e300", "too large"), ("exp(1000)", "too large"),
        ("2 ** 1000 * 2 ** 1000", "too large"), ("round(1, 10 ** 9)", "places"), ("round(1, 0.5)", "places"),
        ("long + long", "longer than 1000"), ("2.0 ** 2000", "too large"), ("7 // 0", "zero"), ("7 % 0", "zero"),
    ],
)  # fmt: skip
def test_what_has_no_value_is_told_with_the_values_it_had(text: str, told: str) -> None:
    with pytest.raises(RequestError) as caught:
        value(text, long="x" * 600)
    assert "has no value" in caught.value.message
    assert told.lower() in caught.value.message.lower()
    if "layers" in text:
        assert "layers = 4" in caught.value.message


def test_and_and_or_look_no_further_than_they_must() -> None:
    assert value("layers > 9 and log(0) > 1") is False
    assert value("layers < 9 or log(0) > 1") is True
    with pytest.raises(RequestError):
        value("layers < 9 and log(0) > 1")


NUMBERS = st.integers(-50, 50) | st.floats(-50, 50).map(lambda one: round(one, 3))
TEXTS = st.recursive(
    st.sampled_from(["a", "b"]) | st.integers(0, 20).map(str) | st.floats(0, 9).map(lambda one: repr(round(one, 2))),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%", "<", "<=", ">", ">=", "==", "!="]), inner).map(
            lambda t: f"({' '.join(t)})"
        ),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({' '.join(t)})"),
        inner.map(lambda one: f"(-{one})"),
        inner.map(lambda one: f"(not {one})"),
        inner.map(lambda one: f"abs({one})"),
        st.tuples(inner, inner).map(lambda t: f"max({t[0]}, {t[1]})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(TEXTS, NUMBERS, NUMBERS)
def test_values_are_those_of_python(text: str, a: float, b: float) -> None:
    try:
        expected = eval(text, {"__builtins__": {}, "abs": abs, "max": max}, {"a": a, "b": b})
    except ArithmeticError:
        with pytest.raises(RequestError):
            Formula(text, "where").evaluate({"a": a, "b": b})
        return
    found = Formula(text, "where").evaluate({"a": a, "b": b})
    assert found == expected or (math.isnan(found) and math.isnan(expected))
    assert type(found) is type(expected)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab12.()*/+-<>=!,[]{}'\"_:@&|~ %\n\\lambdifornt", max_size=60))
def test_any_text_has_a_value_or_an_error_that_says_why(text: str) -> None:
    try:
        found = Formula(text, "where").evaluate({"a": 2, "b": 0.5})
    except RequestError as error:
        found = error.remedy
        assert found
    else:
        assert found is None or isinstance(found, int | float | str | list | bool)
