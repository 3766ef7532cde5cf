"""Whatever a function returns comes back as it was."""

import math
import os
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.function_values import Decoder, Encoder
from physlab_mcp.nodes.io import NodeIO


@pytest.fixture
def io(tmp_path):
    return NodeIO(job_id="job-test", blobs=Blobs(tmp_path / "blobs"), folder=lambda: tmp_path / "job")


def there_and_back(io, returned):
    encoder = Encoder(io, "task")
    return Decoder(io, io.job_folder / "inputs").value(encoder.values(returned)), encoder


@pytest.mark.parametrize(
    "value", [0.1, 2**80, -3, True, None, "text", [1, [2.5]], {"a": {"b": None}}, {1: "x"}, {3, 4}, 1 + 2j]
)
def test_plain_values_come_back(io, value):
    assert there_and_back(io, {"v": value})[0] == {"v": value}


def test_numbers_that_json_has_not_come_back(io):
    back = there_and_back(io, {"a": math.inf, "b": -math.inf, "c": math.nan, "d": np.float32(0.5), "e": np.int64(7)})[0]
    assert math.isnan(back.pop("c"))
    assert back == {"a": math.inf, "b": -math.inf, "d": 0.5, "e": 7}
    assert type(back["e"]) is int


def test_arrays_and_tables_are_artifacts_and_come_back(io):
    array, table = np.arange(6).reshape(2, 3), pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    back, encoder = there_and_back(io, {"w": array, "deep": [array + 1], "t": table})
    assert np.array_equal(back["w"], array)
    assert np.array_equal(back["deep"][0], array + 1)
    assert back["t"].equals(table)
    assert set(encoder.arrays) == {"w", "deep.0"}


class Model:
    def __init__(self, weight):
        self.weight = weight


def test_other_objects_are_pickled_and_what_cannot_be_is_named(io):
    assert there_and_back(io, {"m": Model(3)})[0]["m"].weight == 3
    with pytest.raises(RequestError, match=r"task returned 'f', a .*that cannot be stored"):
        Encoder(io, "task").values({"f": (i for i in range(3))})


def test_a_pickle_that_nobody_here_made_is_refused(io):
    ref = io.save_bytes("evil.pickle", b"cos\nsystem\n(S'true'\ntR.", "application/x-python-pickle")
    with pytest.raises(RequestError, match="not a function or object that the library stored"):
        Decoder(io, None).value({"$artifact": {"sha256": ref.sha256}, "as": "pickle"})


def test_files_are_stored_and_come_back_under_their_name(io, tmp_path):
    mine = tmp_path / "job" / "checkpoint" / "net.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("inside")
    other = tmp_path / "plot.svg"
    other.write_text("<svg/>")
    back, encoder = there_and_back(io, {"net": str(mine), "plot": other, "word": str(other)})
    assert (back["net"].name, back["net"].read_text()) == ("net.txt", "inside")
    assert back["plot"].read_text() == "<svg/>"
    assert back["word"] == str(other)  # a text that names a file outside of the job is a text
    assert [ref.media_type for ref in encoder.artifacts] == ["text/plain", "image/svg+xml"]
    with pytest.raises(RequestError, match="does not exist"):
        Encoder(io, "task").values(Path("nowhere.txt"))


def test_none_is_no_value_and_a_bare_value_is_called_value(io):
    assert Encoder(io, "task").values(None) == {}
    assert Encoder(io, "task").values(0.5) == {"value": 0.5}
    with pytest.raises(RequestError, match="the name 3"):
        Encoder(io, "task").values({3: 1})


class Word(str):
    __slots__ = ()

    def __str__(self):
        return "something else"


class Count(int):
    def __int__(self):
        return 0


class Share(float):
    def __float__(self):
        return 0.0


def test_texts_and_numbers_of_a_subclass_are_what_they_say(io):
    returned = {
        np.str_("k"): np.str_("a"),
        "w": Word("b"),
        "n": Count(3),
        "s": Share(0.5),
        "d": {np.str_("e"): [Word("c")]},
    }
    back = there_and_back(io, returned)[0]
    assert back == {"k": "a", "w": "b", "n": 3, "s": 0.5, "d": {"e": ["c"]}}
    assert [type(one) for one in (*back.values(), *back)] == [str, str, int, float, dict, *[str] * 5]
    assert type(next(iter(back["d"]))) is type(back["d"]["e"][0]) is str
    msgspec.json.encode(Encoder(io, "task").values(returned))


def holding_itself(made):
    (made.append if isinstance(made, list) else lambda one: made.update(again=one))(made)
    return made


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (os.fsdecode(b"\xff.dat"), r"task returned 'v', a text that is no Unicode text"),
        ({"deep": ["\udc80"]}, r"task returned 'v.deep.0', a text that is no Unicode text"),
        ({"\udc80": 1}, r"task returned 'v', a text that is no Unicode text"),
        (holding_itself({"other": 1}), "task returned 'v', which contains itself"),
        (holding_itself([1]), "task returned 'v', which contains itself"),
    ],
)
def test_what_cannot_be_written_is_told_with_task_and_key(io, value, told):
    with pytest.raises(RequestError, match=told):
        Encoder(io, "task").values({"fine": 1, "v": value})


def test_lists_in_lists_are_kept_as_deep_as_said(io):
    deep = 1
    for _ in range(200):
        deep = [deep]
    assert there_and_back(io, {"v": deep})[0] == {"v": deep}
    with pytest.raises(RequestError, match="more than 200"):
        Encoder(io, "task").values({"v": [deep]})


def test_a_file_whose_name_is_no_text_is_stored_under_one(io, tmp_path):
    odd = tmp_path / os.fsdecode(b"\xff.dat")
    odd.write_bytes(b"x")
    _, encoder = there_and_back(io, {"file": odd})
    assert [ref.name for ref in encoder.artifacts] == [r"\udcff.dat"]
