"""The node `data.import`, from bytes to arrays."""

import contextlib
import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from node_runs import Bench

from physlab_mcp.errors import NotFoundError, RequestError
from physlab_mcp.nodes.data_table import MISSING
from physlab_mcp.nodes.data_text import read_text


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def load(bench, data, name="data.csv", **params):
    data = data.encode() if isinstance(data, str) else data
    ref = bench.blobs.put(data, name=name, media_type="text/csv")
    path = {"$artifact": {"sha256": ref.sha256, "name": name}}
    return bench.run("data.import", path=path, **{"emit_plots": False} | params)


def column(bench, result, name):
    return bench.array(result, name).tolist()


def test_a_csv_gives_arrays_by_name_with_units_and_generic_x_and_y(bench):
    result = load(bench, "t (s),U [V],note\n0,1.5,a\n1,2.5,b\n2,,c\n")
    values = result.values
    one = bench.registry.get("data.import")
    assert set(values) == set(one.outputs) - {"*"}
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["columns"] == ["t (s)", "U [V]", "note"]
    assert values["numeric_columns"] == ["t (s)", "U [V]"]
    assert values["text_columns"] == ["note"]
    assert values["units"] == {"t (s)": "s", "U [V]": "V"}
    assert (values["rows"], values["missing"], values["missing_by_column"]) == (3, 1, {"U [V]": 1})
    assert (values["x_name"], values["y_name"]) == ("t (s)", "U [V]")
    assert values["preview"] == [[0, 1.5, "a"], [1, 2.5, "b"], [2, None, "c"]]
    assert set(result.arrays) == {"t (s)", "t", "U [V]", "U", "x", "y", "table"}
    assert column(bench, result, "x") == column(bench, result, "t") == [0, 1, 2]
    np.testing.assert_array_equal(bench.array(result, "table")[:, 1], [1.5, 2.5, np.nan])
    assert any("1 numbers are missing" in one for one in result.meta["warnings"])
    assert result.artifacts[0].sha256 == values["sha256"]


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("a;b\n1,5;2\n2,5;3\n", ";"),
        ("a\tb\n1.5\t2\n2.5\t3\n", "\t"),
        ("a|b\n1.5|2\n2.5|3\n", "|"),
        ("  a   b\n 1.5   2\n 2.5   3\n", " "),
        ("# a b\n1.5 2\n2.5 3\n", " "),
        ("# a, b\n1.5,2\n# a remark in between\n2.5,3\n", ","),
        ('"a","b"\n"1.5","2"\n"2.5","3"\n', ","),
        ("a,b,\n1.5,2,\n2.5,3,\n", ","),
        ("\ufeffa,b\r\n1.5,2\r\n\r\n2.5,3\r\n", ","),
    ],
)
def test_the_form_of_a_text_table_is_found(bench, text, delimiter):
    result = load(bench, text)
    assert result.values["columns"] == ["a", "b"]
    assert column(bench, result, "a") == [1.5, 2.5]
    assert column(bench, result, "b") == [2, 3]
    assert read_text(text.removeprefix("\ufeff"), missing_words=MISSING).delimiter == delimiter
    assert any("decimal sign" in one for one in result.meta["warnings"]) == (delimiter == ";")


def test_without_a_header_columns_are_numbered_and_a_second_line_may_hold_units(bench):
    result = load(bench, "1,2\n3,4\n")
    assert result.values["columns"] == ["column_1", "column_2"]
    assert result.values["rows"] == 2
    result = load(bench, "time,voltage\ns,(mV)\n0,1\n1,2\n")
    assert result.values["columns"] == ["time (s)", "voltage (mV)"]
    assert column(bench, result, "voltage") == [1, 2]


def test_settings_override_what_would_be_found(bench):
    text = "made by a machine\n1;2\n3;4\n"
    result = load(bench, text, skip_rows=1, header="yes", delimiter="semicolon")
    assert result.values["columns"] == ["1", "2"]
    assert column(bench, result, "y") == [4]
    with pytest.raises(RequestError, match="line 2 has 2 cells"):
        load(bench, text, delimiter="semicolon", header="yes")


def test_named_columns_win_over_their_order_and_choice_keeps_the_order_asked_for(bench):
    result = load(bench, "y,sigma,x\n1,2,3\n4,5,6\n")
    assert column(bench, result, "x") == [3, 6]
    assert column(bench, result, "y") == [1, 4]
    result = load(bench, "a (s),b,c\n1,2,3\n4,5,6\n", columns=["c", "a"])
    assert result.values["columns"] == ["c", "a (s)"]
    assert column(bench, result, "x") == [3, 6]
    with pytest.raises(RequestError, match="no column 'd'") as caught:
        load(bench, "a,b\n1,2\n", columns=["d"])
    assert "a, b" in caught.value.remedy


def test_one_column_is_y_over_its_row_number(bench):
    result = load(bench, "5\n6\n7\n")
    assert column(bench, result, "y") == [5, 6, 7]
    assert column(bench, result, "x") == [0, 1, 2]
    assert any("only one numeric column" in one for one in result.meta["warnings"])


def test_rows_with_missing_numbers_can_be_dropped(bench):
    text = "t,v,w\n0,1,a\n1,NA,b\n,3,c\n3,4,d\n"
    result = load(bench, text, missing="drop")
    assert (result.values["rows"], result.values["dropped_rows"], result.values["missing"]) == (2, 2, 0)
    assert column(bench, result, "t") == [0, 3]
    assert result.values["preview"] == [[0, 1, "a"], [3, 4, "d"]]


def test_a_word_among_numbers_is_told_and_can_be_declared_missing(bench):
    text = "t,v\n0,1\n1,fail\n2,3\n3,4\n"
    result = load(bench, text)
    assert result.values["text_columns"] == ["v"]
    assert any("'fail' in row 2" in one for one in result.meta["warnings"])
    result = load(bench, text, missing_words=["FAIL"])
    assert result.values["missing_by_column"] == {"v": 1}


@pytest.mark.parametrize(
    "body",
    [
        [{"t": 0, "v": 1.5}, {"t": 1, "v": None}, {"t": 2}],
        {"t": [0, 1, 2], "v": [1.5, None, None]},
    ],
)
def test_json_objects_give_named_columns(bench, body):
    result = load(bench, json.dumps(body), "data.json")
    assert result.values["format"] == "json"
    assert result.values["columns"] == ["t", "v"]
    assert result.values["missing"] == 2
    assert column(bench, result, "x") == [0, 1, 2]


def test_json_rows_and_a_plain_list(bench):
    assert column(bench, load(bench, "[[0, 1], [2, 3]]", "x.dat", format="json"), "y") == [1, 3]
    assert column(bench, load(bench, "[1, 2, 3]", "data.json"), "y") == [1, 2, 3]


@pytest.mark.parametrize(
    "text",
    ["{", "3", "{}", "[]", '{"a": [1], "b": [1, 2]}', "[[1], [1, 2]]", '[{"a": 1}, 2]', "[" * 100_000, "[[[1]], 2]"],
)
def test_json_that_is_no_table_is_refused(bench, text):
    with pytest.raises(RequestError) as caught:
        load(bench, text, "data.json")
    assert caught.value.remedy


def test_npz_and_npy_give_columns_and_arrays_of_their_own(bench):
    stream = io.BytesIO()
    np.savez(
        stream, t=np.arange(4.0), v=np.arange(4) ** 2, picture=np.ones((3, 5)), short=np.ones(2), word=np.array("a")
    )
    result = load(bench, stream.getvalue(), "signal.npz")
    assert result.values["columns"] == ["t", "v"]
    assert column(bench, result, "y") == [0, 1, 4, 9]
    assert bench.array(result, "picture").shape == (3, 5)
    stream = io.BytesIO()
    np.save(stream, np.arange(6.0).reshape(3, 2))
    result = load(bench, stream.getvalue(), "table.npy")
    assert column(bench, result, "y") == [1, 3, 5]
    stream = io.BytesIO()
    np.save(stream, np.array([(1, 2.5), (3, 4.5)], dtype=[("t", "i4"), ("v", "f8")]))
    assert load(bench, stream.getvalue()).values["columns"] == ["t", "v"]


def _npz(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def _npy(header):
    text = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def test_pickles_false_headers_and_broken_archives_are_refused(bench):
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    pickled = stream.getvalue()
    promise = _npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }") + bytes(64)
    for data, why in ((pickled, "Python objects"), (promise, "promises"), (b"\x93NUMPY\x01\x00\x05\x00abcde", "sound")):
        with pytest.raises(RequestError, match=why):
            load(bench, data, "x.npy")
        with pytest.raises(RequestError, match=why):
            load(bench, _npz({"a.npy": data}), "x.npz")
    for data in (b"PK\x03\x04 no archive", _npz({}), _npz({"readme.txt": "no array"}), b"plain"):
        with pytest.raises(RequestError):
            load(bench, data, "x.npz", format="npz")


def test_text_that_is_no_table_is_refused_with_a_remedy(bench):
    for data, params in (
        ("", {}),
        ("# only remarks\n", {}),
        ("a,b\n", {}),
        ("a,b\n1,2\n1,2,3\n", {}),
        (b"a,b\n\xff,2\n", {}),
        (b"a\0b\n", {}),
        ("1,2\n", {"skip_rows": 1}),
        ("1,2\n", {"delimiter": "ab"}),
        (",".join("1" * 300), {}),
    ):
        with pytest.raises(RequestError) as caught:
            load(bench, data, **params)
        assert caught.value.remedy
        assert caught.value.field


def test_a_path_that_was_not_pinned_is_never_opened(bench, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,2\n")
    for path in (str(secret), "secret.csv", {"path": str(secret)}, {"$artifact": str(secret)}, 3):
        with pytest.raises(RequestError, match="no artifact"):
            bench.run("data.import", path=path)
    with pytest.raises(RequestError):
        bench.run("data.import", path={"$artifact": {"sha256": "../../etc/passwd"}})
    with pytest.raises(NotFoundError):
        bench.run("data.import", path="sha256:" + "0" * 64)


def test_figure_and_csv_follow_the_switches(bench):
    result = load(bench, "t (s),U (V),I (A)\n0,1,2\n1,2,3\n2,,4\n", emit_plots=True, emit_csv=True)
    [figure] = result.figures
    assert figure.png.width == 1280
    assert "U (V), I (A) against t (s) from data.csv; 3 rows." in figure.caption
    assert bench.blobs.read(figure.csv.sha256).decode().splitlines()[0] == "t (s),U (V),I (A)"
    assert load(bench, "t,U\n0,1\n1,2\n").figures == ()


def test_columns_can_be_handed_to_every_other_node(bench):
    t = np.arange(200) / 100
    rows = "\n".join(f"{a},{b}" for a, b in zip(t, np.sin(2 * np.pi * 5 * t), strict=True))
    result = load(bench, f"t (s),v (V)\n{rows}\n")
    x, y = bench.link(result, "x"), bench.link(result, "y")
    quiet = {"emit_plots": False}
    found = bench.run("data.fft", x=x, y=y, **quiet)
    assert found.values["dominant_frequency_Hz"] == pytest.approx(5, abs=0.02)
    assert bench.run("data.fit", x=x, y=y, model="sine", **quiet).values["parameters"]["frequency"] == pytest.approx(5)
    assert bench.run("data.filter", x=x, y=y, cutoff_Hz=20, **quiet).values["std_after"] == pytest.approx(
        0.707, abs=0.01
    )
    assert bench.run("data.statistics", y=bench.link(found, "y"), **quiet).values["n"] == 101
    table = bench.run("data.statistics", y=bench.link(result, "table"), names=result.values["numeric_columns"], **quiet)
    assert table.values["column_names"] == ["t (s)", "v (V)"]
    assert bench.run("plot.line", x=x, y=y, **quiet).values["points"] == 200


@given(
    rows=st.lists(
        st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3), min_size=2, max_size=8
    ),
    mark=st.sampled_from([",", ";", "\t", "|", " "]),
    named=st.booleans(),
)
def test_what_is_written_with_any_delimiter_is_read_back(rows, mark, named):
    head = mark.join(("first", "second", "third")) + "\n" if named else ""
    table = read_text(head + "\n".join(mark.join(map(repr, row)) for row in rows), missing_words=MISSING)
    assert table.rows == len(rows)
    assert [one.numbers.tolist() for one in table.columns] == [list(one) for one in zip(*rows, strict=True)]


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(RequestError):
        table = read_text(text, missing_words=MISSING)
        assert all(len(one.words if one.numbers is None else one.numbers) == table.rows for one in table.columns)


@pytest.mark.parametrize(
    ("text", "odd", "remedy"),
    [
        ("a,b\n0x10,5\n2,3\n", "'0x10' in row 1", "plain decimal number"),
        ("a,b\n2,5\n1_000,3\n", "'1_000' in row 2", "plain decimal number"),
        ('a,b\n"1,000",5\n2,3\n', "'1,000' in row 1", "thousands"),
        ('a,b\n"1,5",5\n"2,5",3\n', "'1,5' in row 1", 'decimal to ","'),
        ("a,b\n\N{MINUS SIGN}5,5\n2,3\n", "'\N{MINUS SIGN}5' in row 1", "plain hyphen"),
        ("a,b\n1,5\n2,3\nbad,4\n", "'bad' in row 3", "missing_words"),
    ],
)
def test_a_spelling_that_makes_a_column_words_is_named_with_its_remedy(bench, text, odd, remedy):
    result = load(bench, text)
    assert result.values["text_columns"] == ["a"]
    assert any(f"The column 'a' is words because of {odd}" in one and remedy in one for one in result.meta["warnings"])


def test_numbers_in_odd_spellings_are_no_units_and_dates_no_numbers(bench):
    result = load(bench, "a,b\n0x10,1_000\n2,3\n")
    assert (result.values["columns"], result.values["rows"]) == (["a", "b"], 2)
    assert load(bench, "a,b\nm,1/min\n1,2\n").values["columns"] == ["a (m)", "b (1/min)"]
    dated = load(bench, "day,b\n2026-01-02,1\n2026-01-03,2\n")
    assert not any("is words" in one for one in dated.meta["warnings"])


def test_infinite_and_too_large_numbers_are_told(bench):
    for text in ("a,b\n1,1\n1e999,2\n", "a,b\n1,1\n-inf,2\n"):
        result = load(bench, text)
        assert any("'a' has 1 infinite or too large numbers, the first in row 2" in w for w in result.meta["warnings"])
        assert json.dumps(result.values, allow_nan=False)
