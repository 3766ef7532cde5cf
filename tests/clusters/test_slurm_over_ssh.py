"""The Slurm backend over a real sshd, as an ordinary user of the cluster: one connection, and what may happen to it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.backends.wires import Wire
from tests.cli.conftest import Physlab
from tests.clusters.login_nodes import LoginNode
from tests.clusters.slurm_cluster import SlurmCluster, slurm
from tests.contracts.backends import SLURM_SSH, SSHSite, open_slurm_ssh
from tests.contracts.stand_in import StandIn

from physlab_mcp.backends.slurm.backend import SlurmBackend
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.result import Failure

__all__ = ["slurm"]
pytestmark = [pytest.mark.services, pytest.mark.timeout(290)]
S = JobState
SOME = 2_000_000  # bytes of a file that has to travel
SLACK = 500_000  # bytes of everything else


@pytest.fixture
def node(slurm: SlurmCluster) -> Iterator[LoginNode]:
    """A login node whose user nobody has seen before."""
    made = LoginNode(slurm).start()
    yield made
    made.remove()


@asynccontextmanager
async def standing_by(
    node: LoginNode, folder: Path, cluster: SlurmCluster, *, deadline_s: float = 90.0, login: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncGenerator[StandIn]:  # fmt: skip
    """An engine's part over a backend behind a login node."""
    async with open_slurm_ssh(folder, cluster, node=node, login=login, **settings) as site:
        one = StandIn(site, dataclasses.replace(SLURM_SSH, deadline_s=deadline_s))
        await one.begin()
        yield one
        await one.close()


def stand_lines(path: Path) -> list[str]:
    return path.read_text().split()


def ours(stand: StandIn, cluster: SlurmCluster) -> list[str]:
    """The states of all Slurm jobs of this backend that the controller remembers."""
    root = backend(stand).cluster.host.root
    lines = cluster.say("squeue", "-h", "-t", "all", "-o", "%T %Z").splitlines()
    return [line.split()[0] for line in lines if root in line]


def backend(stand: StandIn) -> SlurmBackend:
    assert isinstance(stand.backend, SlurmBackend)
    return stand.backend


def node_of(stand: StandIn) -> LoginNode:
    assert isinstance(stand.site, SSHSite)
    return stand.site.node


@pytest.mark.parametrize("way", ["rsync", "sftp"])
async def test_what_a_job_needs_and_leaves_travels_once_over_one_connection(
    slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    data, made = (
        os.urandom(SOME),
        'cat given given > "$PHYSLAB_ARTIFACTS/twice"; sha256sum < "$PHYSLAB_ARTIFACTS/twice"',
    )
    with Wire() as wire:
        node = LoginNode(slurm, wire=wire).start()
        try:
            if way == "sftp":  # rsync cannot be found here
                monkeypatch.setenv("PATH", str(tmp_path))
            async with standing_by(node, tmp_path, slurm, poll_s=1.0) as stand:
                blob = stand.site.blobs.put(data, name="given", media_type="application/octet-stream")
                given = ({"source": f"sha256:{blob.sha256}", "target": "given"},)
                before = wire.crossed()
                first, second = (stand.add(script=made, inputs=given) for _ in range(2))
                await stand.submit(first)
                (one,) = await stand.succeeded(first)
                await stand.restart()  # another engine, and nothing it knows is in memory
                await stand.submit(second)
                (two,) = await stand.succeeded(second)
                there, here = (now - then for now, then in zip(wire.crossed(), before, strict=True))
                whole = hashlib.sha256(data + data).hexdigest()
                assert [one.artifacts[0].sha256, two.artifacts[0].sha256] == [whole, whole]
                assert stand.site.blobs.read(whole) == data + data
                assert [(await stand.log(job))[0].decode().split()[0] for job in (first, second)] == [whole, whole]
            assert SOME < there < SOME + SLACK
            assert 2 * SOME < here < 2 * SOME + SLACK
            assert node.logins() == 2  # one for each engine
        finally:
            monkeypatch.undo()
            node.remove()


async def test_logs_are_read_from_where_one_was_while_the_job_runs(
    node: LoginNode, slurm: SlurmCluster, tmp_path: Path
) -> None:
    async with standing_by(node, tmp_path, slurm) as stand:
        more = 'echo one; while [ ! -e "$2.more" ]; do sleep 0.02; done; echo two; echo aside >&2'
        job = stand.gated(more, stream_logs=True)
        await stand.submit(job)
        await stand.running(job)
        text, at = b"", 0
        for name, wanted in (("", b"one\n"), (".more", b"one\ntwo\n")):
            if name:
                stand.path(f"one.gate{name}").touch()
            while text != wanted:
                assert wanted.startswith(text)
                assert stand.state(job) is S.RUNNING
                piece, at = await stand.log(job, offset=at)
                text += piece
        assert at == len(text)

        def printed() -> str:
            return "".join(one.data["text"] for one in stand.told(job) if one.kind == "event")

        await stand.until(lambda: printed() == "one\ntwo\n", what="what it printed, told while it runs")
        assert stand.state(job) is S.RUNNING
        stand.open_gate()
        await stand.succeeded(job)
        assert (await stand.log(job, offset=at))[0] == b"went on\n"
        assert (await stand.log(job, "stderr"))[0] == b"aside\n"
    assert node.logins() == 1


async def test_a_server_that_is_killed_and_comes_back_is_found_again(
    node: LoginNode, slurm: SlurmCluster, tmp_path: Path
) -> None:
    async with standing_by(node, tmp_path, slurm) as stand:
        runs, ends = stand.gated(name="runs"), stand.gated("echo over", name="ends")
        await stand.submit(runs, ends)
        await stand.running(runs, name="runs")
        await stand.running(ends, name="ends")
        before = time.time()
        node.stop()
        stand.open_gate("ends")
        await stand.until(
            lambda: all("unreachable" in stand.kinds(one) for one in (runs, ends)), what="that it is away"
        )
        for one in (runs, ends):
            (told,) = [seen for seen in stand.told(one) if seen.kind == "unreachable"]
            assert before - 1 <= told.at <= time.time()
            assert "cannot be reached" in told.data["text"] or "away since" in told.data["text"]
            assert stand.state(one) is S.RUNNING
        node.start()
        await stand.succeeded(ends)
        await stand.until(lambda: stand.jobs[runs.id].reason.text == "", what="that it can be seen again")
        assert stand.state(runs) is S.RUNNING
        stand.open_gate("runs")
        await stand.succeeded(runs)
        assert [stand.begun(name) for name in ("runs", "ends")] == [["1"], ["1"]]
        assert (await stand.log(ends))[0] == b"over\nwent on\n"
    assert node.logins() == 1  # since it came back


async def test_an_sbatch_whose_answer_was_cut_off_is_found_and_not_said_again(
    node: LoginNode, slurm: SlurmCluster, tmp_path: Path
) -> None:
    desk = node.root / "desk"
    node.sbatch_that_waits(desk, "after")
    async with standing_by(node, tmp_path, slurm) as stand:
        jobs = [stand.gated(name=f"j{n}") for n in range(3)]
        await stand.submit(*jobs)
        await stand.until((desk / "waits").exists, what="that sbatch has done its work")
        node.signal_sessions(signal.SIGKILL)
        for n in range(3):
            stand.open_gate(f"j{n}")
        await stand.succeeded(*jobs)
        assert (desk / "calls").read_text() == "called\n"
        assert [stand.begun(f"j{n}") for n in range(3)] == [["1"]] * 3
        assert [stand.jobs[job.id].fence for job in jobs] == [1] * 3
        assert backend(stand).cluster.calls["sbatch"] == 1
        (desk / "go").touch()


@pytest.mark.parametrize("scratch", ["keep", "succeeded"])
async def test_an_sbatch_that_was_cut_off_and_comes_late_runs_nothing_again(
    node: LoginNode, slurm: SlurmCluster, tmp_path: Path, scratch: str
) -> None:
    desk = node.root / "desk"
    node.sbatch_that_waits(desk, "before")
    async with standing_by(node, tmp_path, slurm, scratch=scratch) as stand:
        job = stand.gated()
        stand.open_gate()
        await stand.submit(job)
        await stand.until((desk / "waits").exists, what="that sbatch was called")
        node.signal_sessions(signal.SIGKILL)
        await stand.succeeded(job)
        assert (stand.begun(), stand.jobs[job.id].fence) == (["1"], 2)
        (desk / "go").touch()  # what was called first goes on now
        await stand.until(lambda: stand_lines(desk / "ended") == ["0", "0"], what="the late submission")
        over = {"COMPLETED", "FAILED"}  # it fails where the folder of the job, which is done, was removed
        await stand.until(
            lambda: len(ours(stand, slurm)) == 2 and set(ours(stand, slurm)) <= over, what="both are over"
        )
        assert stand.begun() == ["1"]


async def test_a_disk_that_is_full_there_makes_jobs_wait_and_says_so(
    slurm: SlurmCluster, tmp_path: Path, node: LoginNode
) -> None:
    async with standing_by(node, tmp_path, slurm) as stand:
        root = backend(stand).cluster.host.root
        await backend(stand).cluster.host.make_folders([f"{root}/.incoming"])
        node.as_root("mount", "-t", "tmpfs", "-o", "size=1m,mode=777", "none", f"{root}/.incoming")
        blob = stand.site.blobs.put(os.urandom(SOME), name="given", media_type="application/octet-stream")
        job = stand.add(script="cat given", inputs=({"source": f"sha256:{blob.sha256}", "target": "given"},))
        await stand.submit(job)
        await stand.until(lambda: "No space left on device" in stand.jobs[job.id].reason.text, what="why it waits")
        assert stand.state(job) is S.QUEUED
        node.as_root("umount", "-l", f"{root}/.incoming")
        (outcome,) = await stand.ended(job)
        assert not isinstance(outcome, Failure)


@pytest.fixture
def physlab(tmp_path: Path, node: LoginNode) -> Iterator[Physlab]:
    """The command, with the login node in its configuration."""
    data = Path(tempfile.mkdtemp(prefix="physlab-test-"))
    made = Physlab(tmp_path, data)
    login = {"host": node.address, "port": node.port, "user": node.user, "keys": [str(node.key)],
             "known_hosts": str(node.known_hosts), "python": "/usr/bin/python3"}  # fmt: skip
    section = {"root": f"{node.new_folder('lab')}/physlab", "partition": "urgent", "python": node.python, "poll_s": 0.5,
               "env": {"PYTHONPATH": node.python_path}, "host": login}  # fmt: skip
    made.write("server.config.json", {"backends": {"slurm": section}})
    yield made
    made.here("engine", "stop", code=None)
    shutil.rmtree(data, ignore_errors=True)


def test_the_command_runs_a_graph_there_and_says_what_stands_in_its_way(physlab: Physlab, node: LoginNode) -> None:
    far = {"tool": "flow", "method": "passthrough", "backend": "slurm"}
    graph = {
        "nodes": [{"id": "a", "params": {"value": [1, 2.5]}, **far}, {"id": "b", "params": {"value": {"$from": "a", "key": "values.value"}}, **far}],
        "edges": [],
    }  # fmt: skip
    physlab.write("graph.json", graph)
    told = physlab("--json", "run", "graph.json").json
    assert told["state"] == "succeeded"
    assert [one["values"]["value"] for one in told["nodes"]] == [[1, 2.5]] * 2
    shown = [physlab.here("--json", "jobs", "show", one["job_id"]).json for one in told["nodes"]]
    assert all((one["backend"], one["native_id"][:6]) == ("slurm", "slurm:") for one in shown), shown
    assert node.logins() <= 2  # the engine's, and the command's own
    node.known_hosts.write_text("")
    refused = physlab("doctor", code=None).out
    assert f"{node.known_hosts} has none for it" in refused
    assert f"ssh-keyscan -p {node.port}" in refused
