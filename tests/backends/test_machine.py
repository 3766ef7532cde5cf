"""What the local backend has for jobs: as it is, as it was told, and as it changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.backends.base import Measured
from physlab_mcp.backends.local import LocalBackend, LocalSettings
from physlab_mcp.backends.local.machine import Machine, Share, cores_here, memory_here
from physlab_mcp.errors import RejectedError
from physlab_mcp.lab import following
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
        ({"memory_bytes": 9 * GIB}, "memory", "9 GiB of memory asked for; there are 8"),
        ({"gpu": 2}, "gpu", "2 GPUs asked for; there are 1"),
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
