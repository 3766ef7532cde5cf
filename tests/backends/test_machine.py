"""What the local backend has for jobs: as it is, as it was told, and as it changes."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.backends.base import Measured
from physlab_mcp.backends.local import LocalBackend, LocalSettings, gpus
from physlab_mcp.backends.local.inbox import Inbox
from physlab_mcp.backends.local.machine import Machine, Share, cores_here, gpus_here, memory_here
from physlab_mcp.backends.local.orphans import Orphans
from physlab_mcp.errors import RejectedError
from physlab_mcp.lab import Lab, following
from physlab_mcp.nodes.worker import frame
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.capacity import Amount
from physlab_mcp.schemas.job import Job, JobSpec, Resources

pytestmark = pytest.mark.anyio
GIB = 1 << 30


def backend_with(folder: Path, settings: LocalSettings) -> LocalBackend:
    data = DataDir(folder).create()
    return LocalBackend(data, settings, worker_program=Path("none"), hello={}, lease_s=60, blobs=Blobs(data.blobs))


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[LocalBackend]:
    opened = backend_with(tmp_path, LocalSettings(cpus=4, memory_bytes=8 * GIB, gpus=1))
    yield opened
    await opened.aclose(keep=False)


def command(name: str, **resources: object) -> Job:
    return Job(id=f"job-{name}", kind="command", spec=JobSpec(command=("true",), resources=Resources(**resources)))  # type: ignore[arg-type]


async def test_cores_memory_and_gpus_of_jobs_are_counted_together(backend: LocalBackend):
    assert isinstance(backend, Measured)
    assert backend.capacity() == Amount(4, 8 * GIB, 1)
    assert backend.place(command("a", cpu=2, memory_bytes=6 * GIB, gpu=1))
    assert backend.place(command("b", cpu=1, memory_bytes=3 * GIB)) is None
    assert backend.place(command("c", cpu=1, gpu=1)) is None
    assert backend.place(command("d", cpu=3)) is None
    assert backend.place(command("e", cpu=2, memory_bytes=2 * GIB))
    assert [one.amount for one in backend.occupied()] == [Amount(2, 6 * GIB, 1), Amount(2, 2 * GIB, 0)]
    backend.unplace([command("a")])
    assert backend.place(command("c", cpu=1, gpu=1))


async def test_capacity_can_be_set_while_jobs_run(backend: LocalBackend):
    assert backend.place(command("a", cpu=2))
    backend.set_capacity(Amount(2, 8 * GIB, 0))
    assert backend.place(command("b")) is None
    backend.set_capacity(Amount(16, 8 * GIB, 0))
    assert backend.place(command("b", cpu=8))
    assert (await backend.describe()).slots == 16
    backend.set_capacity(None)
    assert backend.capacity() == Amount(4, 8 * GIB, 1)


@pytest.mark.parametrize(
    ("asked", "field", "words"),
    [
        ({"cpu": 5}, "cpu", "5 cores asked for; there are 4"),
        ({"memory_bytes": 9 * GIB}, "memory", "9 GiB of memory asked for; there is 8 GiB"),
        ({"gpu": 2}, "gpu", "2 GPUs asked for; there is 1"),
    ],
)
async def test_what_is_not_there_is_refused_unless_it_may_be_left_out(
    backend: LocalBackend, asked: dict[str, int], field: str, words: str
):
    info = await backend.describe()
    with pytest.raises(RejectedError) as raised:
        backend.check(command("a", **asked).spec, info)
    assert raised.value.field == f"resources.{field}"
    assert words in raised.value.message
    backend.check(command("a", **asked, degrade=True).spec, info)


def test_without_settings_it_is_what_this_process_may_use():
    here = Machine(Share())
    assert here.amount.cpus == here.cores == cores_here()
    assert here.amount.memory_bytes == memory_here() > 0


def test_a_changed_configuration_is_followed_and_a_broken_one_is_not(tmp_path: Path):
    file = tmp_path / "server.config.json"
    file.write_text('{"backends": {"local": {"cpus": 3, "memory": "2Gi"}}}')
    look = following(file, ())
    first = look()
    assert first is not None
    assert (first.cpus, first.memory_bytes) == (3, 2 * GIB)
    assert look() is None
    file.write_text("{")
    assert look() is None
    shares = iter([Share(cpus=3), None, Share(cpus=5, memory_bytes=GIB, gpus=0)])
    machine = Machine(Share(cpus=2), lambda: next(shares))
    found: list[float] = []
    for _ in range(3):
        machine._next_look = 0.0
        machine.tend()
        found.append(machine.amount.cpus)
    assert found == [3, 3, 5]


async def test_a_reader_follows_the_configuration_at_every_look(tmp_path: Path):
    settings = [LocalSettings(cpus=4, memory_bytes=8 * GIB)]
    data = DataDir(tmp_path).create()
    reader = LocalBackend(
        data, settings[0], worker_program=Path("none"), hello={}, lease_s=60, blobs=Blobs(data.blobs),
        follow=lambda: settings[-1],
    )  # fmt: skip
    assert reader.capacity().cpus == 4
    settings.append(LocalSettings(cpus=2, memory_bytes=2 * GIB))
    assert (reader.capacity().cpus, reader.capacity().memory_bytes) == (2, 2 * GIB)
    assert (await reader.describe()).limits["cpu"] == 2
    with pytest.raises(RejectedError, match="4 cores asked for; there are 2"):
        reader.check(command("a", cpu=4).spec, await reader.describe())


async def test_a_client_refuses_what_a_changed_configuration_no_longer_has(tmp_path: Path):
    config = tmp_path / "config.json"
    config.write_text('{"backends": {"local": {"cpus": 4}}}')
    async with Lab.open(config_file=config, data_dir=tmp_path / "data", start_engine=False) as lab:
        job = command("a", cpu=4)
        assert await lab.engine.submit_jobs([job]) == ["job-a"]
        changed = tmp_path / "changed.json"
        changed.write_text('{"backends": {"local": {"cpus": 2}}}')
        os.utime(changed, ns=(0, config.stat().st_mtime_ns + 1_000_000))
        changed.replace(config)
        assert lab.engine.capacity().cpus == 2
        with pytest.raises(RejectedError, match="there are 2"):
            await lab.engine.submit_jobs([command("b", cpu=4)])


async def test_what_must_have_more_cores_than_there_are_by_now_is_not_placed(backend: LocalBackend):
    backend.set_capacity(Amount(2, 8 * GIB, 1))
    assert backend.place(command("a", cpu=4)) is None
    assert backend.place(command("a", cpu=4, degrade=True))


async def test_each_job_has_gpus_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    backend = backend_with(tmp_path, LocalSettings(cpus=8, gpus=3))
    assert backend.place(command("a", gpu=1))
    assert backend.place(command("b", gpu=2))
    assert backend.place(command("c", gpu=1)) is None
    assert backend.place(command("d"))
    assert backend._cold.gpus(frozen=False) == ["0", "1", "2"]  # pyright: ignore[reportPrivateUsage]
    backend.unplace([command("a")])
    assert backend.place(command("c", gpu=1))
    assert sorted(backend._cold.gpus(frozen=False)) == ["0", "1", "2"]  # pyright: ignore[reportPrivateUsage]
    await backend.aclose(keep=False)


def test_gpus_are_those_that_the_engine_may_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    assert gpus.shown() == ["2", "5"]
    assert gpus.names_of(2) == ["2", "5"]
    assert gpus.names_of(3) == ["0", "1", "2"]  # the configuration says more than the environment
    assert gpus.choose(1, 2, ["2"], []) == ("5",)
    assert gpus.choose(1, 2, [], ["2"]) == ("5",)  # that of a paused job is the last choice
    assert gpus.choose(2, 2, ["2"], []) is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert gpus.shown() == []
    assert gpus_here() == 0
    assert gpus.variables(()) == {}
    assert gpus.variables(("2", "5"))["CUDA_VISIBLE_DEVICES"] == "2,5"
    spec = tmp_path / "spec.json"
    assert gpus.written_in(spec) == ()
    spec.write_text('{"env": {"CUDA_VISIBLE_DEVICES": "2,5"}}')
    assert gpus.written_in(spec) == ("2", "5")


async def test_gpus_of_the_workers_of_an_engine_that_is_gone_are_taken(tmp_path: Path):
    data = DataDir(tmp_path).create()
    created = psutil.Process().create_time()
    (data.spool / "w1.pid").write_text(f"{os.getpid()} {created} 0,2")
    (data.spool / "w2.pid").write_text(f"{os.getpid()} {created}")
    for name in ("w1", "w2"):
        begun = json.dumps({"t": "started", "id": f"job-{name}", "fence": 0, "at": created}).encode()
        (data.spool / f"{name}.spool").write_bytes(frame(begun))
    orphans = Orphans(data, Inbox())
    jobs = [Job(id=f"job-{name}", kind="node", spec=JobSpec(), native_id=name) for name in ("w1", "w2")]
    orphans.adopt(jobs)
    assert sorted(one.gpus for one in orphans.running(frozen=False)) == [(), ("0", "2")]
    assert orphans.running(frozen=True) == []
    orphans.close()
