"""A workflow of the Python library whose functions run on a real Slurm, through the product's own engine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.clusters.slurm_cluster import SlurmCluster, slurm

import physlab_mcp as sciflow
from physlab_mcp.schemas.handles import new_handle

__all__ = ["slurm"]
pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]
SOURCES = Path(sciflow.__file__).parents[1]


@pytest.fixture
def engine(slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sciflow.Engine]:
    """The library over an engine that has the cluster."""
    for name, value in slurm.env.items():
        monkeypatch.setenv(name, value)
    shared = slurm.root / "tests" / new_handle("site")
    shared.mkdir(parents=True)
    section = {"root": str(shared / "physlab"), "python": sys.executable, "poll_s": 0.2, "partition": "urgent",
               "env": {"PYTHONPATH": str(SOURCES)}}  # fmt: skip
    config = tmp_path / "server.config.json"
    config.write_text(json.dumps({"backends": {"slurm": section}}))
    monkeypatch.chdir(tmp_path)
    with sciflow.Engine(data_dir=tmp_path / "data", config_file=config, progress=False) as made:
        yield made
    subprocess.run(
        [sys.executable, "-m", "physlab_mcp", "--data-dir", str(tmp_path / "data"), "engine", "stop"],
        check=False, timeout=60, capture_output=True,
    )  # fmt: skip


def test_a_sweep_of_functions_runs_there_and_its_results_come_home(engine: sciflow.Engine, slurm: SlurmCluster) -> None:
    scale = 10

    def prepare(seed: int) -> dict[str, object]:
        import os

        import numpy as np

        return {"data": np.full(4, seed * scale), "slurm_job": os.environ["SLURM_JOB_ID"]}

    def train(prepare: dict[str, object], rate: float) -> dict[str, float]:
        return {"loss": float(prepare["data"].sum()) * rate}  # type: ignore[attr-defined]

    def judge(train: dict[str, float]) -> dict[str, float]:
        import os

        return {"score": -train["loss"], "here": float("SLURM_JOB_ID" not in os.environ)}

    workflow = sciflow.ExperimentalWorkflow("on the cluster")
    workflow.add_task("prepare", prepare, backend="slurm")
    workflow.add_task("train", train, depends_on=["prepare"], backend="slurm")
    workflow.add_task("judge", judge, depends_on=["train"], backend="local")
    workflow.add_parameter_space({"seed": [1, 2], "rate": [0.5, 0.25]})
    results = engine.execute_parameter_sweep(workflow)
    assert not results.failures
    best = results.find_optimal_parameters("score", maximize=True)
    assert best == {"seed": 1, "rate": 0.25}
    assert results.get_metric(best, "loss") == 10.0
    assert results.get_metric({"seed": 2, "rate": 0.5}, "loss") == 40.0
    assert results.get_metric(best, "here") == 1.0
    told = slurm.say("squeue", "-h", "-t", "all", "-r", "-o", "%k").split()
    assert len([one for one in told if one.startswith("physlab:")]) >= 2
