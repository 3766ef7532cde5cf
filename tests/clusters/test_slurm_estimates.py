"""What a real Slurm says of the time at which a job would start, and what `physlab doctor` is told of a cluster."""

from __future__ import annotations

import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from tests.clusters.slurm_cluster import SlurmCluster, slurm
from tests.clusters.test_slurm_backend import backend, standing_in
from tests.contracts.backends import slurm_settings
from tests.waiting import until

import physlab_mcp
from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.backends.hosts.here import here
from physlab_mcp.backends.hosts.ssh import ssh
from physlab_mcp.backends.hosts.ssh_settings import SSHSettings
from physlab_mcp.backends.slurm.backend import SlurmBackend
from physlab_mcp.errors import RejectedError, UnavailableError
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.job import JobSpec, Resources

__all__ = ["slurm"]
pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]
TRUE = JobSpec(command=("true",))


async def test_an_estimate_tells_when_where_and_at_what_cost(slurm: SlurmCluster, tmp_path: Path) -> None:
    async with standing_in(tmp_path, slurm, partition="gpu") as stand:
        before = slurm.say("squeue", "-h", "-o", "%i")
        asked = JobSpec(command=("true",), resources=Resources(cpu=4, gpu=1, nodes=2, time_limit_s=1740))
        told = await backend(stand).estimate(asked)
        assert (told["cluster"], told["partition"], told["processors"], told["gpus"]) == (slurm.name, "gpu", 8, 2)
        assert (told["time_s"], told["cpu_hours"], told["gpu_hours"]) == (
            1800.0,
            4.0,
            1.0,
        )  # with the margin of a minute
        assert abs(told["starts_at"] - time.time()) < 60
        assert slurm.say("squeue", "-h", "-o", "%i") == before  # nothing was submitted
        by_default = await backend(stand).estimate(TRUE)
        assert (by_default["time_s"], by_default["warnings"]) == (300.0, ())


async def test_an_estimate_waits_for_what_runs(slurm: SlurmCluster, tmp_path: Path) -> None:
    full = [
        "sbatch",
        "--parsable",
        "--partition=urgent",
        "--cpus-per-task=16",
        "--mem=100",
        "--time=10",
        "--output=/dev/null",
    ]
    number = slurm.say(*full, "--wrap=sleep 600")
    try:
        until(lambda: slurm.say("squeue", "-h", "-j", number, "-o", "%T") == "RUNNING", 30, what="the node is taken")
        async with standing_in(tmp_path, slurm, partition="urgent") as stand:
            told = await backend(stand).estimate(JobSpec(command=("true",), resources=Resources(cpu=16)))
            assert 300 < told["wait_s"] < 700
            assert told["starts_at"] > time.time() + 300
    finally:
        slurm.say("scancel", number)


async def test_an_estimate_is_refused_or_unavailable_with_the_reason(
    slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with standing_in(tmp_path, slurm, partition="short") as stand:
        with pytest.raises(RejectedError, match="MaxTime"):
            await backend(stand).estimate(JobSpec(command=("true",), resources=Resources(time_limit_s=7200)))
    async with standing_in(tmp_path / "b", slurm, account="nobodys") as stand:
        with pytest.raises(RejectedError, match="account"):
            await backend(stand).estimate(TRUE)
    async with standing_in(tmp_path / "c", slurm, partition="closed") as stand:
        told = await backend(stand).estimate(TRUE)
        assert "down" in told["warnings"][0]
        assert (told["time_s"], told["cpu_hours"]) == (None, None)
    in_cluster_environment(slurm, monkeypatch)
    with pytest.raises(UnavailableError, match=f"'{slurm.name}'.*'another'"):
        await alone(tmp_path / "d", cluster="another").estimate(TRUE)


def in_cluster_environment(slurm: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in slurm.env.items():
        monkeypatch.setenv(name, value)


def alone(folder: Path, **settings: Any) -> SlurmBackend:
    """As a client has it: nothing of it runs by itself."""
    data = DataDir(folder).create()
    made = slurm_settings(Path(settings.pop("root", folder / "root")), **settings)
    return SlurmBackend(data, made, here(made.root), blobs=Blobs(data.blobs))


async def rows_of(tmp_path: Path, slurm: SlurmCluster, **settings: Any) -> dict[str, Any]:
    async with standing_in(tmp_path, slurm, **settings) as stand:
        return {one.what: one for one in await backend(stand).diagnose()}


async def test_a_doctor_is_told_what_is_there(slurm: SlurmCluster, tmp_path: Path) -> None:
    rows = await rows_of(tmp_path, slurm, partition="gpu", qos="few", max_jobs=7)
    assert {one.state for one in rows.values()} <= {"ok", "warn"}
    assert slurm.name in rows["slurm"].text
    assert "22.05" in rows["slurm"].text or slurm.say("sinfo", "--version").split()[1] in rows["slurm"].text
    assert "arrays of up to 2001 elements" in rows["slurm"].text
    assert "2 nodes, up to 16 cores, 8000 MiB, 2 GPUs (a100), at most 1-00:00:00" in rows["slurm partition gpu"].text
    assert (rows["slurm partition closed"].state, rows["slurm partition closed"].text[:4]) == ("warn", "down")
    assert rows["slurm jobs go to"].text == "partition gpu; of ours at most 7 (max_jobs)"
    assert "5 jobs of a user in the queue" in rows["slurm QOS few"].text
    assert f"{sys.version_info.major}.{sys.version_info.minor}." in rows["slurm python"].text
    assert rows["slurm node calls"].text == f"run with physlab-mcp {physlab_mcp.__version__}, the same as here"
    assert "writable" in rows["slurm root"].text
    assert "GB free" in rows["slurm root"].text
    assert "login node" in rows["slurm files"].text


async def test_a_doctor_is_told_what_is_missing_and_how_to_mend_it(
    slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {"python": "/usr/bin/python3", "env": {}, "partition": "nowhere", "image": "docker://x"}
    rows = await rows_of(tmp_path, slurm, **old)
    assert (rows["slurm settings"].state, "'nowhere'" in rows["slurm settings"].text) == ("fail", True)
    assert "work" in rows["slurm settings"].remedy
    assert rows["slurm node calls"].state == "warn"
    assert "only commands" in rows["slurm node calls"].text
    assert "bootstrap" in rows["slurm node calls"].remedy
    assert rows["slurm image"].state == "warn"
    rows = await rows_of(tmp_path / "b", slurm, bootstrap="uv", local_wheelhouse=str(tmp_path))
    assert (rows["slurm python"].state, "no wheel" in rows["slurm python"].text) == ("fail", True)
    # A login without Slurm's programs, and a root that is no folder.
    in_cluster_environment(slurm, monkeypatch)
    (tmp_path / "bin").mkdir()
    for name in ("env", "sh", "uname", "stat", "df", "find"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or name)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "file").write_text("")
    broken = alone(tmp_path / "c", root=tmp_path / "file" / "below", python="/no/such/python")
    gone = {one.what: one for one in await broken.diagnose()}
    assert {name: one.state for name, one in gone.items()} == {
        "slurm host": "ok", "slurm programs": "fail", "slurm": "fail", "slurm python": "fail", "slurm root": "fail",
        "slurm files": "ok",
    }  # fmt: skip
    assert "sbatch, squeue, sacct, scontrol, scancel, sinfo" in gone["slurm programs"].text
    assert "/no/such/python" in gone["slurm python"].text
    assert all(one.remedy for one in gone.values() if one.state == "fail")


async def test_a_doctor_says_of_a_host_that_cannot_be_reached_only_that(tmp_path: Path) -> None:
    key = tmp_path / "key"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(key)
    key.chmod(0o600)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        login = SSHSettings(host="127.0.0.1", port=closed.getsockname()[1], keys=(str(key),), connect_timeout_s=5)
        host = ssh(login, "/tmp/nowhere")
        data = DataDir(tmp_path).create()
        away = SlurmBackend(data, slurm_settings(Path("/tmp/nowhere")), host, blobs=Blobs(data.blobs))
        (row,) = await away.diagnose()
        await away.aclose(keep=True)
    assert (row.what, row.state) == ("slurm host", "fail")
    assert "127.0.0.1" in row.text
    assert row.remedy


async def test_who_never_looks_by_itself_asks_anew_after_a_while(
    slurm: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in slurm.env.items():
        monkeypatch.setenv(name, value)
    data = DataDir(tmp_path / "data").create()
    settings = slurm_settings(tmp_path / "physlab")
    client = SlurmBackend(data, settings, here(settings.root), blobs=Blobs(data.blobs))
    for _ in range(2):
        assert (await client.describe()).detail["cluster"] == slurm.name
    assert client.cluster.calls["sinfo"] == 1
    monkeypatch.setattr("physlab_mcp.backends.slurm.backend._LEARN_S", 0.0)
    assert (await client.describe()).reachable
    assert client.cluster.calls["sinfo"] == 2
    await client.aclose(keep=True)
