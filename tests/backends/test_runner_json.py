"""The runner's own JSON, held against the standard library's."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physlab_mcp.backends.runner_parts.plain_json import dumps, loads

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_a_value_is_written_and_read_as_by_the_standard_library(value: Any) -> None:
    text = json.dumps(value)
    assert dumps(value) == text
    assert loads(text) == loads(text.encode()) == loads(f" \n{text}\t") == json.loads(text)


@given(st.text() | st.binary() | st.sampled_from(["{", "[1,", '{"a" 1}', '{"a":1}x', '"\x01"', "[" * 100_000, "nul"]))
def test_what_is_no_json_is_refused_as_there(text: Any) -> None:
    def outcome(read: Any) -> Any:
        try:
            return read(text)
        except (ValueError, RecursionError) as error:
            return ValueError if isinstance(error, ValueError) else RecursionError

    told, expected = outcome(loads), outcome(json.loads)
    assert told == expected or (told != told and expected != expected)


@pytest.mark.parametrize("value", [math.inf, -math.inf, {1: "a"}, ("a", 1), 10**30, -0.0])
def test_odd_values_too(value: Any) -> None:
    assert dumps(value) == json.dumps(value)


def test_a_value_that_is_no_number_is_read() -> None:
    assert math.isnan(loads(dumps(math.nan)))


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(TypeError):
        dumps({"a": object()})


def test_what_nests_deep_is_written_as_by_the_standard_library() -> None:
    value: Any = 1
    for _ in range(600):
        value = {"a": [value]} if value == 1 else [value]
    assert dumps(value) == json.dumps(value)
