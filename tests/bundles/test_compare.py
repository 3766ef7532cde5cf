"""When two results count as the same."""

import json
import math

import pytest

from physlab_mcp.bundles.artifact_content import same_content
from physlab_mcp.bundles.compare import Rules, close, compare_values
from physlab_mcp.bundles.rerun import verdict_of
from physlab_mcp.bundles.shapes import Tolerance, Tolerances


def verdicts(a, b, **declared):
    return {one.name: one.verdict for one in compare_values("t", a, b, Rules(Tolerances(**declared)))}


def test_numbers_are_exact_within_or_off():
    assert verdicts({"x": 1.0}, {"x": 1.0}) == {"t.x": "exact"}
    assert verdicts({"x": 1.0}, {"x": 1.0 + 5e-10}) == {"t.x": "within_tolerance"}
    assert verdicts({"x": 1.0}, {"x": 1.0 + 5e-9}) == {"t.x": "differs"}


def test_a_declared_name_has_its_own_tolerance():
    assert verdicts({"x": 1.0}, {"x": 1.1}, by_name={"t.x": Tolerance(0.2)}) == {"t.x": "within_tolerance"}
    assert verdicts({"x": [1.0, {"y": 2}]}, {"x": [1.0, {"y": 3}]}, ignore=("t.x",)) == {
        "t.x.0": "excluded", "t.x.1.y": "excluded",
    }  # fmt: skip


@pytest.mark.parametrize(("a", "b"), [(1, True), ("a", "b"), (None, 0), ([1], [1, 2]), ({"a": 1}, {"b": 1})])
def test_other_kinds_differ(a, b):
    assert "differs" in verdicts(a, b).values()


def test_times_and_paths_are_left_out():
    a = {"elapsed_s": 1.0, "file": "/a/b", "created_at": 3, "kept_s": 1}
    b = {"elapsed_s": 2.0, "file": "/c", "created_at": 4, "kept_s": 2}
    assert verdicts(a, b) == {
        "t.elapsed_s": "excluded", "t.file": "excluded", "t.created_at": "excluded", "t.kept_s": "differs",
    }  # fmt: skip


def test_what_is_not_finite_is_itself_only():
    assert close(math.nan, math.nan, Tolerance())
    assert close(math.inf, math.inf, Tolerance())
    assert not close(math.inf, 1.0, Tolerance(rel=1e300))


def content(a, b, name, pixels=0):
    return same_content(a, b, media_type="", name=name, tolerance=Tolerance(), pixels=pixels).verdict


def test_tables_and_json_are_compared_by_numbers():
    assert content(b"a,1.0\n", b"a,1.00\n", "t.csv") == "exact"
    assert content(b"a,1.0\n", b"a,1.0000000001\n", "t.csv") == "within_tolerance"
    assert content(b"a,1.0\n", b"b,1.0\n", "t.csv") == "differs"
    assert content(json.dumps({"a": 1}).encode(), b'{ "a": 1 }', "t.json") == "exact"
    assert content(b"{}", b"{", "t.json") == "differs"


def test_arrays_are_compared_number_by_number():
    import io

    import numpy as np

    def saved(values):
        stream = io.BytesIO()
        np.save(stream, np.asarray(values))
        return stream.getvalue()

    assert content(saved([1.0, np.nan]), saved([1.0 + 1e-12, np.nan]), "a.npy") == "within_tolerance"
    assert content(saved([1.0]), saved([1.1]), "a.npy") == "differs"
    assert content(saved([1.0]), saved([1.0, 2.0]), "a.npy") == "differs"


def test_pictures_are_compared_by_pixels():
    import io

    from PIL import Image

    def picture(level, compress):
        stream = io.BytesIO()
        Image.new("RGB", (8, 8), (level, 0, 0)).save(stream, "PNG", compress_level=compress)
        return stream.getvalue()

    assert content(picture(9, 0), picture(9, 9), "p.png") == "exact"
    assert content(picture(9, 0), picture(11, 0), "p.png") == "differs"
    assert content(picture(9, 0), picture(11, 0), "p.png", pixels=2) == "within_tolerance"


@pytest.mark.parametrize(
    ("values", "environment", "completed", "word"),
    [
        ("exact", [], True, "exact"),
        ("within_tolerance", [], True, "within_tolerance"),
        ("differ", [], True, "failed"),
        ("differ", [{"name": "numpy"}], True, "environment_differs"),
        ("exact", [{"name": "numpy"}], True, "environment_differs"),
        ("differ", [{"name": "numpy"}], False, "failed"),
    ],
)
def test_the_verdict_is_one_word(values, environment, completed, word):
    assert verdict_of(values, environment, completed=completed) == word
