"""Three workflows whose outcomes are known beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physlab_mcp.library.workflow import ExperimentalWorkflow


@dataclass(frozen=True)
class Sample:
    """A workflow with what comes of it: how often each task is called, which points fail, the best point of a metric."""

    workflow: ExperimentalWorkflow
    calls: Mapping[str, int]
    points: int
    metric: str
    maximize: bool
    best: Mapping[str, Any]
    best_value: float
    failing: tuple[Mapping[str, Any], ...] = ()
    error: str = ""


def _workflow(name: str) -> ExperimentalWorkflow:
    from physlab_mcp.library.workflow import ExperimentalWorkflow

    return ExperimentalWorkflow(name)


def bowl_loss(x: float, y: float) -> dict[str, float]:
    """(x - 1)^2 + 4 (y + 0.5)^2 + 2: least 2, at x = 1, y = -0.5."""
    return {"loss": (x - 1) ** 2 + 4 * (y + 0.5) ** 2 + 2}


def bowl() -> Sample:
    """A loss over 9 x 9 points with its minimum on one of them."""
    workflow = _workflow("bowl")
    workflow.add_task("evaluate", bowl_loss)
    workflow.add_parameter_space({"x": {"linspace": [-2, 2, 9]}, "y": {"linspace": [-1, 1, 9]}})
    return Sample(workflow, {"evaluate": 81}, 81, "loss", maximize=False, best={"x": 1.0, "y": -0.5}, best_value=2.0)


def measure(voltage: float, channel: int) -> dict[str, float]:
    """2 V + channel; channel 2 is broken above 3 V."""
    if channel == 2 and voltage > 3:
        raise ValueError(f"channel 2 is saturated at {voltage} V")
    return {"current": 2 * voltage + channel}


def flaky() -> Sample:
    """A measurement of three channels at four voltages, of which one point fails; the others are not touched by it."""
    workflow = _workflow("flaky measurement")
    workflow.add_task("measure", measure)
    workflow.add_parameter_space({"voltage": [1, 2, 3, 4], "channel": [1, 2, 3]})
    return Sample(
        workflow, {"measure": 12}, 12, "current", maximize=True, best={"voltage": 4, "channel": 3}, best_value=11.0,
        failing=({"voltage": 4, "channel": 2},), error="channel 2 is saturated at 4 V",
    )  # fmt: skip


def prepare(seed: int) -> dict[str, list[float]]:
    """Ten numbers that follow from the seed alone."""
    return {"data": [((seed * 37 + i * 11) % 101) / 100 for i in range(10)]}


def train(prepare: Mapping[str, Any], rate: float) -> dict[str, float]:
    """A weight that is 1 at the best rate, whatever the data are."""
    return {"weight": 1 - (rate - 0.3) ** 2, "bias": sum(prepare["data"]) / 10}


def score(train: Mapping[str, Any]) -> dict[str, float]:
    """The weight as accuracy."""
    return {"accuracy": train["weight"]}


def training() -> Sample:
    """Prepare, train and score over 4 seeds x 5 rates: each seed is prepared once."""
    workflow = _workflow("training")
    workflow.add_task("prepare", prepare)
    workflow.add_task("train", train, depends_on=["prepare"])
    workflow.add_task("score", score, depends_on=["train"])
    # No two rates give the same weight: equal inputs would be scored once.
    workflow.add_parameter_space({"seed": [1, 2, 3, 4], "rate": [0.1, 0.2, 0.3, 0.45, 0.6]})
    return Sample(
        workflow, {"prepare": 4, "train": 20, "score": 20}, 20, "accuracy", maximize=True, best={"rate": 0.3},
        best_value=1.0,
    )  # fmt: skip


def samples() -> tuple[Sample, ...]:
    """All three."""
    return bowl(), flaky(), training()
