"""The engine itself over a real Slurm: a graph that runs partly here and partly there, and engines killed on the way."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.clusters.slurm_cluster import SlurmCluster, slurm
from tests.contracts.backends import REPOSITORY
from tests.faults.site_of import Site, now
from tests.waiting import until

from physlab_mcp.lab import Lab
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import TERMINAL, JobState

__all__ = ["slurm"]
pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]
S = JobState


class MixedSite(Site):
    """A data directory whose engine has this machine and the cluster."""

    def __init__(self, root: Path, cluster: SlurmCluster) -> None:
        self.shared = cluster.root / "tests" / new_handle("site")
        self.shared.mkdir(parents=True)
        self.cluster = cluster
        self.config = self.shared / "server.config.json"
        section = {
            "root": str(self.shared / "physlab"), "partition": "work", "python": sys.executable, "poll_s": 0.2,
            "env": {"PYTHONPATH": str(REPOSITORY / "src")}, "commands": "allow",
        }  # fmt: skip
        self.config.write_text(json.dumps({"backends": {"slurm": section, "local": {"cpus": 4}}}))
        super().__init__(root, **cluster.env, PHYSLAB_CONFIG=str(self.config))

    def run(self, *nodes: dict[str, Any], **more: Any) -> str:
        """Submit a graph as a person does, whose commands no sandbox keeps from their marks; its handle."""
        file = self.shared / "graph.json"
        file.write_text(json.dumps({"nodes": list(nodes), **more}))
        words = [
            "sweep" if "sweep" in more else "run",
            str(file),
            "--detach",
            "--json",
            "--data-dir",
            str(self.data.root),
        ]
        said = subprocess.run(
            [sys.executable, "-m", "physlab_mcp", *words, "--root", str(self.shared)], env=self.env, check=False,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert said.returncode == 0, said.stderr
        answer = json.loads(said.stdout)
        return answer.get("sweep_id") or answer["run_id"]

    def finish_all(self, handle: str, deadline_s: float = 60) -> None:
        """Until a run or sweep has ended; an engine is started where there is none."""

        def ended() -> bool:
            self.reap()
            plan = now(self.store.get_plan(handle))
            if plan is not None and sum(plan.counts.get(state, 0) for state in TERMINAL) == plan.jobs > 0:
                return not self.live()
            if not self.engine_pids():
                self.start_engine()
            return False

        until(ended, deadline_s, what=f"{handle} ended")

    def marks(self) -> list[str]:
        """Which commands began, in order."""
        place = self.shared / "marks"
        return place.read_text().split() if place.exists() else []

    def step(self, name: str, backend: str, *, gate: str = "", after: tuple[str, ...] = ()) -> dict[str, Any]:
        """A command that says that it began, and waits for a gate if one is named."""
        marks, wait = shlex.quote(str(self.shared / "marks")), shlex.quote(str(self.shared / gate))
        script = f"echo {name} >> {marks}; " + (f"until [ -e {wait} ]; do sleep 0.05; done; " if gate else "")
        return {
            "id": name, "tool": "command", "backend": backend, "dependencies": list(after),
            "params": {"command": ["sh", "-c", f"{script}echo {name} is done"]}, "resources": {"memory": "64Mi"},
        }  # fmt: skip

    def nodes(self) -> dict[str, Job]:
        return {job.node_id or "": job for job in self.jobs()}


@pytest.fixture
def make_mixed(
    tmp_path: Path, slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], MixedSite]]:
    for name, value in slurm.env.items():  # the client of this process looks at the cluster as well
        monkeypatch.setenv(name, value)
    made: list[MixedSite] = []

    def make() -> MixedSite:
        made.append(MixedSite(tmp_path / f"site{len(made)}", slurm))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_graph_over_both_places_survives_its_engine(make_mixed: Callable[[], MixedSite]) -> None:
    site = make_mixed()
    site.start_engine()
    run = site.run(
        site.step("here", "local", gate="gate"),
        site.step("there", "slurm", gate="gate"),
        site.step("both", "slurm", after=("here", "there")),
        site.step("last", "local", after=("both",)),
    )
    site.wake()
    until(lambda: sorted(site.marks()) == ["here", "there"], 40)
    until(lambda: {site.nodes()[name].state for name in ("here", "there")} == {S.RUNNING}, 40)
    site.kill_engines()
    (site.shared / "gate").touch()
    site.start_engine()
    site.finish_all(run)
    assert site.check() == {"succeeded": 4}
    assert sorted(site.marks()) == ["both", "here", "last", "there"]
    assert site.marks()[2:] == ["both", "last"]
    assert {job.attempt for job in site.jobs()} == {1}
    assert {name: job.backend for name, job in site.nodes().items()} == {
        "here": "local", "there": "slurm", "both": "slurm", "last": "local",
    }  # fmt: skip


@pytest.mark.parametrize("point", ["slurm.before_sbatch", "slurm.after_sbatch"])
def test_an_engine_killed_around_a_submission_submits_once(make_mixed: Callable[[], MixedSite], point: str) -> None:
    site = make_mixed()
    site.start_engine(PHYSLAB_KILL_AT=point, PHYSLAB_KILL_ONCE=str(site.shared / "killed"))
    run = site.run(*(site.step(f"n{i}", "slurm") for i in range(3)))
    until((site.shared / "killed").exists, 40, what=f"killed at {point}")
    site.finish_all(run)
    assert site.check() == {"succeeded": 3}
    assert sorted(site.marks()) == ["n0", "n1", "n2"]


def test_a_sweep_is_one_array_and_a_refused_pause_says_why(make_mixed: Callable[[], MixedSite]) -> None:
    site = make_mixed()
    one = site.step("c", "slurm", gate="gate")
    one["params"]["command"][-1] += " at $0"
    one["params"]["command"].append({"$point": "n"})
    site.start_engine()
    sweep = site.run(one, sweep={"space": {"n": {"range": [1, 40, 1]}}})
    site.wake()
    until(lambda: any(job.state is S.RUNNING for job in site.jobs()), 40)
    arrays = {(job.native_id or "").split(":")[2].split("_")[0] for job in site.jobs()}
    running = next(job for job in site.jobs() if job.state is S.RUNNING)

    async def pause() -> dict[str, Any]:
        async with Lab.open(config_file=site.config, data_dir=site.data.root, start_engine=False) as lab:
            asked = {"method": "job_pause", "job_id": running.id}
            return (await lab.router.call("distributed_collaboration", asked)).structured

    refused = now(pause())["error"]
    assert refused["code"] == "conflict"
    assert "does not pause" in refused["message"]
    (site.shared / "gate").touch()
    site.finish_all(sweep, 90)
    assert site.check() == {"succeeded": 40}
    assert len(arrays) == 1
