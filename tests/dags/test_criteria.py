"""Success criteria are compared with what a point really gave."""

from __future__ import annotations

import pytest

from physlab_mcp.dags.criteria import unmeasured

POINT = {"rate": 0.1}
VALUES = {"train": {"loss": 1.0}, "test": {}}


@pytest.mark.parametrize("success", [None, "train.loss < 2", "loss < 2 and rate > 0"])
def test_criteria_that_name_what_is_there_need_no_warning(success):
    assert unmeasured(success, POINT, VALUES) is None


@pytest.mark.parametrize(
    ("success", "values", "named"), [("los < 2", VALUES, "Metrics: train.loss."), ("loss < 2", {}, "Metrics: none.")]
)
def test_criteria_that_name_what_is_not_there_are_told_with_what_is(success, values, named):
    told = unmeasured(success, POINT, values)
    assert told is not None
    assert repr(success) in told
    assert told.endswith(named)
