"""Rows of points become a table with the right columns, types and names."""

import math

import numpy as np
import pytest
from sweep_tables import grid, sweep

from physlab_mcp.analysis import columns
from physlab_mcp.analysis.table import PointRow, table
from physlab_mcp.errors import RequestError


def row(index, params, metrics, **more):
    given = {"state": "succeeded", "error": None, "duration_s": 1.0} | more
    return PointRow(index, f"point-{index}", params=params, metrics=metrics, **given)


def test_columns_stand_in_the_promised_order_and_rows_by_index():
    df = table(
        [
            row(1, {"a": 2, "b": "x"}, {"fit.loss": 0.5}, derived={"w": 4}),
            row(0, {"a": 1, "b": "y"}, {"fit.loss": 0.7}, derived={"w": 2}),
        ],
        sweep_id="sweep-1",
        title="T",
    )
    assert list(df.columns) == ["point", "index", "state", "error", "duration_s", "a", "b", "w", "loss"]
    assert df["index"].tolist() == [0, 1]
    assert df.attrs["params"] == ["a", "b"]
    assert df.attrs["derived"] == ["w"]
    assert df.attrs["metrics"] == ["loss"]
    assert (df.attrs["sweep_id"], df.attrs["title"]) == ("sweep-1", "T")


def test_a_metric_of_two_tasks_keeps_its_full_name_and_both_names_are_understood():
    df = table([row(0, {}, {"fit.loss": 1.0, "test.loss": 2.0, "test.score": 3.0})])
    assert df.attrs["metrics"] == ["fit.loss", "test.loss", "score"]
    assert columns.metric_of(df, "test.score") == columns.metric_of(df, "score") == "score"


def test_names_that_collide_stay_apart():
    df = table([row(0, {"state": 1, "lr": 2}, {"fit.lr": 3.0, "fit.error": 4.0, "index": 5.0})])
    assert df.attrs["params"] == ["param.state", "lr"]
    assert df.attrs["metrics"] == ["fit.lr", "fit.error", "metric.index"]
    assert df["state"].tolist() == ["succeeded"]


def test_task_names_with_a_dot_are_told():
    df = table([row(0, {}, {"a.b.loss": 1.0, "c.values.x": 2.0})], tasks=["a", "a.b", "c"])
    assert df.attrs["metrics"] == ["loss", "values.x"]


def test_types_are_kept_and_what_is_no_scalar_is_left_out():
    rows = [
        row(
            0,
            {"n": 1, "shape": [2, 3]},
            {"t.k": 1, "t.flag": True, "t.text": "a", "t.x": 1, "t.list": [1], "t.big": 10**400, "t.all": 1},
        ),
        row(1, {"n": 2, "shape": [4]}, {"t.k": None, "t.x": 0.5, "t.big": 1.0, "t.huge": 2**70, "t.all": 2}),
        row(
            2,
            {"n": 3, "shape": [4]},
            {"t.x": math.nan, "t.flag": False, "t.big": -(10**400), "t.mixed": "a", "t.all": 3},
        ),
        row(3, {"n": 4, "shape": {"z": 1}}, {"t.mixed": 2, "t.all": 4}),
    ]
    df = table(rows, metrics=["t.never"])
    kinds = {name: str(df[name].dtype) for name in df.columns}
    assert kinds["n"] == "int64"
    assert kinds["k"] == "Int64"
    assert kinds["flag"] == "boolean"
    assert kinds["x"] == kinds["big"] == kinds["huge"] == kinds["never"] == "float64"
    assert kinds["all"] == "int64"
    assert kinds["text"] == kinds["mixed"] == "object"
    assert "list" not in df
    assert df["big"].tolist()[:3] == [math.inf, 1.0, -math.inf]
    assert df["shape"].tolist() == ["[2, 3]", "[4]", "[4]", '{"z": 1}']
    assert columns.levels(df["shape"]) == ["[2, 3]", "[4]", '{"z": 1}']


def test_the_end_of_a_point_is_a_column_only_where_it_is_known():
    assert "ended_at" not in table([row(0, {}, {})])
    df = table([row(0, {}, {}, ended_at=5), row(1, {}, {}, duration_s=None)])
    assert list(df.columns)[4:6] == ["duration_s", "ended_at"]
    assert df["ended_at"].tolist()[0] == 5.0
    assert np.isnan(df["ended_at"][1])
    assert np.isnan(df["duration_s"][1])


def test_an_empty_sweep_is_an_empty_table():
    df = table([], params=["a"], derived=["a", "w"])
    assert len(df) == 0
    assert df.attrs["derived"] == ["w"]
    assert columns.varying(df) == []


def test_usable_rows_are_those_that_succeeded_with_a_finite_number():
    df = sweep([{"a": i} for i in range(5)], lambda p, i: [None, {"m": math.inf}, {"m": math.nan}, {}, {"m": 2.0}][i])
    usable = columns.usable(df, "m")
    assert usable.values.tolist() == [2.0]
    assert (usable.not_succeeded, usable.missing, usable.not_finite) == (1, 2, 1)
    assert usable.left_out() == "1 did not succeed, 2 gave no number, 1 gave no finite number"


def test_an_unknown_column_is_told_with_the_nearest():
    df = sweep(grid(a=[1, 2]), lambda p, i: {"accuracy": 1.0, "note": "x", "loss": 2.0})
    with pytest.raises(RequestError, match="no such column 'accurracy'; the nearest is 'accuracy'"):
        columns.metric_of(df, "accurracy")
    with pytest.raises(RequestError, match="'note' holds no numbers"):
        columns.metric_of(df, "note")
    with pytest.raises(RequestError, match="metric is needed: the table has 2 numeric metrics"):
        columns.metric_of(df, None)
    with pytest.raises(RequestError, match=r"there is no such column 'x'\. The table has none"):
        columns.column_of(df, "x", "x_axis", among=[])
    assert columns.column_of(df, "a", "group_by") == "a"
    df.attrs.clear()
    with pytest.raises(RequestError, match="does not say which columns are its params"):
        columns.names_in(df, "params")


def test_a_table_without_numbers_says_why():
    with pytest.raises(
        RequestError, match=r"All points failed \(2 failed\); the first error, at point-0000: ValueError: no root"
    ):
        columns.metric_of(sweep(grid(a=[1, 2]), lambda p, i: None), None)
    with pytest.raises(RequestError, match="Let a task return a number"):
        columns.metric_of(sweep(grid(a=[1, 2]), lambda p, i: {"t": "x"}), None)


@pytest.mark.parametrize(
    ("values", "log"),
    [
        ([1e-4, 1e-3, 1e-2], True),
        ([1, 2, 4, 8, 16, 32], True),
        ([0.1, 0.2, 0.3], False),
        ([1, 10], False),
        ([0, 1, 10, 100], False),
        ([1, 50, 100, 150], False),
        (["a", "b", "c"], False),
        ([1.0, 10.0, math.inf], False),
        (list(np.geomspace(1e-5, 1, 100)), True),
        (list(np.linspace(1e-3, 1, 100)), False),
    ],
)
def test_levels_spread_evenly_in_their_logarithm_are_seen(values, log):
    assert columns.is_log(values) is log


def test_levels_are_ordered_and_named():
    df = sweep(
        [{"a": x, "b": y, "c": z} for x, y, z in [(3, True, "hi"), (1, False, "lo"), (2, True, "hi")]],
        lambda p, i: {"m": 1},
    )
    assert columns.levels(df["a"]) == [1, 2, 3]
    assert columns.levels(df["b"]) == [False, True]
    assert columns.levels(df["c"]) == ["hi", "lo"]
    assert [columns.level_text(one) for one in (True, False, 0.001, " ")] == ["true", "false", "0.001", "(empty)"]
    assert columns.level_text("one long name 1", 9) == "one…me 1"
    again = ["seed", "train_fold", "fit.random_state"]
    settings = ["a", "feed", "n_trials", "fit.n_folds", "num_seeds"]
    df = sweep(grid(**{name: [1, 2] for name in [*settings, *again]}), lambda p, i: {"m": 1})
    assert columns.repeats(df) == again
