"""A task may say where it runs; what it says is checked, kept, and told with the results."""

from __future__ import annotations

from pathlib import Path

import pytest

from physlab_mcp.analysis.metadata import metadata_of
from physlab_mcp.errors import RequestError
from physlab_mcp.library.workflow import ExperimentalWorkflow
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.testing import ScriptedBackend, VirtualClock, VirtualLab, calling


def load(seed: int) -> dict[str, float]:
    return {"x": seed * 2.0}


def train(load: dict[str, float], rate: float) -> dict[str, float]:
    return {"loss": load["x"] * rate}


def workflow(backend: str | None) -> ExperimentalWorkflow:
    made = ExperimentalWorkflow("placed").add_task("load", load)
    made.add_task("train", train, depends_on=["load"], backend=backend, resources={"cpu_cores": 2})
    return made.add_parameter_space({"seed": [1, 2], "rate": [0.1, 0.2]})


@pytest.mark.parametrize(("named", "kept"), [("k8s", "kubernetes"), ("slurm", "slurm"), ("auto", None), (None, None)])
def test_the_backend_of_a_task_stands_in_its_node(named: str | None, kept: str | None):
    made = workflow(named)
    assert made.tasks["train"].backend == kept
    assert not made.findings(Registry.load())  # whether it is configured is seen at the submission


@pytest.mark.parametrize("wrong", ["slrum", "", 7, ["slurm"]])
def test_what_is_no_backend_is_refused_where_it_is_written(wrong: object):
    with pytest.raises(RequestError) as caught:
        ExperimentalWorkflow("w").add_task("a", load, backend=wrong)  # type: ignore[arg-type]
    assert caught.value.field == "backend of 'a'"
    assert "slurm" in (caught.value.remedy or "")


def test_a_backend_that_is_not_configured_is_refused_before_anything_runs(engine):
    made = workflow("slurm")
    for call in (engine.submit, engine.plan):
        with pytest.raises(RequestError) as caught:
            call(made)
        assert "'slurm'" in str(caught.value)
        assert "server.config.json" in str(caught.value) + (caught.value.remedy or "")


async def test_the_results_tell_where_each_task_ran(tmp_path: Path):
    clock = VirtualClock()
    cluster = ScriptedBackend(clock, calling(workflow("slurm")), slots=4, name="slurm")
    async with VirtualLab.open(cluster, clock, blobs=tmp_path) as lab:
        handle = await lab.submit(workflow("slurm"))
        assert await lab.run_to_end(handle) == "succeeded"
        jobs = await lab.jobs(handle)
        assert {(job.node_id, job.backend) for job in jobs} == {("load", "slurm"), ("train", "slurm")}
        told = (await metadata_of(lab.store, handle))["tasks"]
        assert {(one["task"], one["backend"]) for one in told} == {("load", "slurm"), ("train", "slurm")}
        with pytest.raises(RequestError, match="kubernetes"):
            await lab.submit(workflow("kubernetes"))
