"""Success criteria are compared with what a point really gave."""

from __future__ import annotations

import pytest

from physlab_mcp.dags.criteria import meets, unmeasured
from physlab_mcp.errors import RequestError

POINT = {"rate": 0.1, "seed": 1}
VALUES = {"train": {"loss": 1.0, "seed": 7}, "test": {"score": 2}, "other": {"score": 3}}


@pytest.mark.parametrize(
    ("success", "met"),
    [
        ("train.loss < 2", True),
        ("loss < 1 and rate > 0", False),
        ("seed == 7", True),  # what a task gave, where both have the name
        ("other.score > test.score", True),
    ],
)
def test_values_are_named_by_task_and_key_or_by_the_key_of_one_task(success, met):
    assert meets(success, POINT, VALUES) is met
    assert unmeasured(success, POINT, VALUES) is None


@pytest.mark.parametrize(
    ("success", "why"),
    [
        ("los < 2", "'los' is not a name here"),
        ("score > 1", "may be test.score or other.score"),
        ("loss", "gives 1.0, not true or false"),
        ("1 / (loss - 1) > 0", "division by zero"),
        ("loss + 'x' > 2", "has no value for loss = 1.0"),
    ],
)
def test_criteria_without_a_verdict_are_told_with_point_reason_and_metrics(success, why):
    with pytest.raises(RequestError):
        meets(success, POINT, VALUES)
    told = unmeasured(success, POINT, VALUES)
    assert told is not None
    assert repr(success) in told
    assert "rate = 0.1" in told
    assert why in told
    assert told.endswith("Metrics: train.loss, train.seed, test.score, other.score.")


def test_a_sweep_without_criteria_is_told_nothing():
    assert unmeasured(None, POINT, VALUES) is None
    assert (unmeasured("loss < 1", POINT, {}) or "").endswith("Metrics: none.")
