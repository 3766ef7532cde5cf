"""Commands of the local backend: prepared inside the roots, started once, watched, paused, cancelled, collected."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.backends.job_folders import FAMILY, FAMILY_SIZE, all_gone, gone, pids_in
from tests.waiting import until

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.backends import sandbox
from physlab_mcp.backends.commands import Commands, media_type
from physlab_mcp.errors import ForbiddenError, NotFoundError, RejectedError, RequestError, UnavailableError
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.job import Job, JobSpec, Mount, Resources
from physlab_mcp.schemas.result import Failure, NodeResult


class Lab:
    """A data directory, one root and the commands under test."""

    def __init__(self, place: Path) -> None:
        self.data = DataDir(place / "data").create()
        self.root = place / "root"
        self.root.mkdir()
        self.blobs = Blobs(self.data.blobs)
        self.commands = Commands(hidden=[self.data.root])
        self.started: list[tuple[str, Path, int]] = []

    async def prepare(self, *, policy: str = "allow", attempt: int = 1, job_id: str | None = None, **spec: Any) -> Path:
        job = Job(
            id=job_id or f"job-{os.urandom(6).hex()}",
            kind="command",
            attempt=attempt,
            fence=attempt * 10,
            spec=JobSpec(**spec),
        )
        folder = self.data.job_folder(job.id)
        await self.commands.prepare(job, folder, roots=[self.root], policy=policy, blobs=self.blobs)
        return folder

    async def start(self, attempt: int = 1, **spec: Any) -> tuple[str, Path]:
        folder = await self.prepare(attempt=attempt, **spec)
        native_id = await self.commands.start(folder.name, folder, attempt)
        self.started.append((native_id, folder, attempt))
        return native_id, folder

    async def done(self, attempt: int = 1, **spec: Any) -> NodeResult | Failure:
        native_id, folder = await self.start(attempt, **spec)
        until(lambda: self.commands.observe(native_id, folder, attempt).kind == "finished")
        return await self.commands.collect(folder, attempt, self.blobs)

    def seen(self, native_id: str, folder: Path) -> Any:
        return self.commands.observe(native_id, folder, 1)

    def out(self, folder: Path) -> str:
        return self.commands.read_log(folder, 1, "stdout", offset=0, limit=1 << 20)[0].decode()


@pytest.fixture
def lab(tmp_path):
    one = Lab(tmp_path)
    yield one
    for started in one.started:
        one.commands.sweep(*started)


async def test_a_command_is_prepared_started_observed_and_collected(lab):
    native_id, folder = await lab.start(
        command=("sh", "-c", "echo 1,2 > $PHYSLAB_ARTIFACTS/t.csv; echo '{\"E\": 1}' > $PHYSLAB_VALUES"), env={"A": "b"}
    )
    assert native_id.startswith("proc:")
    seen = until(lambda: (s := lab.seen(native_id, folder)).kind == "finished" and s)
    assert (seen.fence, seen.result["attempt"]) == (10, 1)
    got = await lab.commands.collect(folder, 1, lab.blobs)
    assert isinstance(got, NodeResult)
    assert (got.exit_code, got.values) == (0, {"E": 1})
    assert [(ref.name, ref.media_type) for ref in got.artifacts] == [("t.csv", "text/csv")]
    assert lab.blobs.read(got.artifacts[0].sha256) == b"1,2\n"
    assert got.meta["duration_ms"] > 0
    assert await lab.commands.collect(folder, 1, lab.blobs) == got


async def test_a_denied_command_names_the_setting(lab):
    with pytest.raises(RejectedError) as error:
        await lab.prepare(policy="deny", command=("true",))
    assert error.value.field == "backends.local.commands"
    assert "allow" in error.value.remedy
    await lab.prepare(policy="approve", command=("true",))


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"command": ("true",), "script": "x"},
        {"command": ("a\0b",)},
        {"command": ("true",), "env": {"PHYSLAB_X": "1"}},
    ],
)
async def test_a_spec_that_no_runner_could_run_is_an_invalid_request(lab, spec):
    with pytest.raises(RequestError):
        await lab.prepare(**spec)


async def test_places_outside_of_the_roots_are_refused(lab, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("f")
    (lab.root / "link").symlink_to(outside)
    (lab.data.root / "mine").write_text("x")
    roots_with_data = Commands(hidden=[lab.data.root])
    bad: list[dict[str, Any]] = [
        {"workdir": str(outside)},
        {"workdir": str(lab.root / "link")},
        {"workdir": str(lab.root / "not-there")},
        {"workdir": "../outside"},
        {"inputs": ({"source": str(outside / "f"), "target": "f"},)},
        {"inputs": ({"source": "link/f", "target": "f"},)},
        {"inputs": ({"source": "sha256:" + "0" * 64, "target": "f"},)},
        {"mounts": (Mount(str(outside), str(outside)),)},
        {"artifacts": ("../*",)},
        {"artifacts": ("/etc/*",)},
        {"artifacts_path": "../.."},
    ]
    for spec in bad:
        with pytest.raises(ForbiddenError):
            await lab.prepare(command=("true",), **spec)
    (lab.root / "ok").write_text("ok")
    for target in ("../f", "/f", "", "a/../../f"):
        with pytest.raises(ForbiddenError):
            await lab.prepare(command=("true",), inputs=({"source": "ok", "target": target},))
    with pytest.raises(ForbiddenError):  # a link in the working folder must not carry an input out of it
        await lab.prepare(command=("true",), workdir=str(lab.root), inputs=({"source": "ok", "target": "link/f"},))
    job = Job(id="job-x", kind="command", spec=JobSpec(command=("true",), workdir=str(lab.data.root)))
    with pytest.raises(ForbiddenError, match="data directory"):
        await roots_with_data.prepare(job, lab.data.job_folder("job-x"), roots=[tmp_path], policy="allow")
    job = Job(id="job-x", kind="command", spec=JobSpec(command=("true",), workdir="/"))
    with pytest.raises(ForbiddenError, match="no roots"):
        await roots_with_data.prepare(job, lab.data.job_folder("job-x"), roots=[], policy="allow")
    assert [path.name for path in outside.iterdir()] == ["f"]


async def test_inputs_are_copied_with_their_sha256(lab):
    (lab.root / "in").mkdir()
    (lab.root / "in/a").write_text("a")
    (lab.root / "run.sh").write_text("echo ran")
    (lab.root / "run.sh").chmod(0o755)
    blob = lab.blobs.put(b"bytes", name="b", media_type="text/plain")
    inputs = (
        {"source": "in", "target": "d"}, {"source": str(lab.root / "run.sh"), "target": "x/run.sh"},
        {"source": f"sha256:{blob.sha256}", "target": "b"},
    )  # fmt: skip
    got = await lab.done(
        command=("sh", "-c", "cat d/a b; x/run.sh; echo changed > b; echo changed > d/a"), inputs=inputs
    )
    assert isinstance(got, NodeResult)
    folder = lab.started[0][1]
    assert lab.out(folder) == "abytesran\n"
    assert lab.blobs.read(blob.sha256) == b"bytes"
    assert (lab.root / "in/a").read_text() == "a"
    told = json.loads((folder / "spec.json").read_text())["inputs"]
    assert told[1]["sha256"] == hashlib.sha256(b"echo ran").hexdigest()
    assert told[2]["sha256"] == blob.sha256


async def test_a_mount_elsewhere_needs_a_sandbox(lab):
    (lab.root / "m").mkdir()
    with pytest.raises(RejectedError, match="sandbox"):
        await lab.prepare(command=("true",), mounts=(Mount(str(lab.root / "m"), "/data"),))
    await lab.prepare(command=("true",), mounts=(Mount("m", str(lab.root / "m")),))


async def test_a_sandboxed_command_sees_its_mounts_and_no_more(lab):
    reason = sandbox.available()
    if reason is not None:
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    (lab.root / "m").mkdir()
    got = await lab.done(
        script='echo 1 > /data/new; ls "$PHYSLAB_CHECKPOINT_DIR/.."; echo k > $PHYSLAB_ARTIFACTS/k',
        mounts=(Mount("m", "/data", readonly=False),), sandbox=True,
    )  # fmt: skip
    assert isinstance(got, NodeResult), got
    assert (lab.root / "m/new").read_text() == "1\n"
    assert [ref.name for ref in got.artifacts] == ["k"]
    assert lab.out(lab.started[0][1]).split() == ["attempts", "checkpoint"]
    for target in ("/usr", "/", "/x/../usr"):
        with pytest.raises(ForbiddenError):
            await lab.prepare(command=("true",), mounts=(Mount("m", target),), sandbox=True)


async def test_without_bwrap_a_sandboxed_command_is_not_run_bare(lab, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="bubblewrap"):
        await lab.prepare(command=("true",), sandbox=True)


async def test_a_second_attempt_shares_the_checkpoint_and_nothing_else(lab):
    script = 'cat "$PHYSLAB_CHECKPOINT_DIR/c" 2>/dev/null; ls; echo $PHYSLAB_ATTEMPT > "$PHYSLAB_CHECKPOINT_DIR/c"; echo x > x; exit 1'
    first = await lab.done(script=script, job_id="job-two")
    assert isinstance(first, Failure)
    assert (first.code, first.exit_code, first.retryable) == ("exit", 1, True)
    await lab.done(2, script=script, job_id="job-two")
    assert lab.commands.read_log(lab.started[1][1], 2, "stdout", offset=0, limit=99)[0] == b"1\n"


async def test_logs_are_read_in_pieces_and_from_the_end(lab):
    await lab.done(command=("printf", "0123456789"))
    folder = lab.started[0][1]
    assert lab.commands.read_log(folder, 1, "stdout", offset=2, limit=3) == (b"234", 5)
    assert lab.commands.read_log(folder, 1, "stdout", offset=-4, limit=99) == (b"6789", 10)
    assert lab.commands.read_log(folder, 1, "stdout", offset=10, limit=99) == (b"", 10)
    assert lab.commands.read_log(folder, 9, "stderr", offset=3, limit=99) == (b"", 3)


async def test_a_paused_command_stands_still_until_it_is_resumed(lab):
    native_id, folder = await lab.start(command=("sh", "-c", "setsid sh -c 'echo $$; while :; do :; done' & wait"))
    busy = psutil.Process(int(until(lambda: lab.out(folder))))
    assert await lab.commands.pause(native_id, folder, 1)
    until(lambda: lab.seen(native_id, folder).paused and busy.status() == psutil.STATUS_STOPPED)
    used, end = busy.cpu_times().user, time.monotonic() + 0.3
    until(lambda: time.monotonic() > end)
    assert busy.cpu_times().user == used
    assert await lab.commands.resume(native_id, folder, 1)
    until(lambda: busy.cpu_times().user > used)
    assert not lab.seen(native_id, folder).paused
    assert await lab.commands.pause(native_id, folder, 1)
    await lab.commands.cancel(native_id, folder, 1)
    assert lab.seen(native_id, folder).result["outcome"] == "cancelled"
    assert gone(busy.pid)
    assert not await lab.commands.pause(native_id, folder, 1)
    assert not await lab.commands.resume(native_id, folder, 1)


async def test_cancel_ends_the_whole_family_and_may_be_asked_twice(lab, tmp_path):
    pids = tmp_path / "pids"
    native_id, folder = await lab.start(command=("sh", "-c", FAMILY, "sh", str(pids)))
    family = until(lambda: pids_in(pids, FAMILY_SIZE))
    await lab.commands.cancel(native_id, folder, 1)
    assert all_gone(family)
    assert lab.seen(native_id, folder).result["outcome"] == "cancelled"
    await lab.commands.cancel(native_id, folder, 1)
    failure = await lab.commands.collect(folder, 1, lab.blobs)
    assert isinstance(failure, Failure)
    assert (failure.code, failure.retryable) == ("cancelled", False)


async def test_cancel_after_the_end_keeps_the_outcome(lab):
    assert isinstance(await lab.done(command=("true",)), NodeResult)
    native_id, folder, _ = lab.started[0]
    await lab.commands.cancel(native_id, folder, 1)
    assert lab.seen(native_id, folder).result["outcome"] == "succeeded"


async def test_cancel_before_the_start_keeps_it_from_running(lab):
    folder = await lab.prepare(command=("sh", "-c", "echo ran"))
    await lab.commands.cancel(None, folder, 1)
    native_id = await lab.commands.start(folder.name, folder, 1)
    until(lambda: not psutil.pid_exists(int(native_id.split(":")[1])))
    assert lab.seen(native_id, folder).result["outcome"] == "cancelled"
    assert lab.out(folder) == ""


async def test_a_killed_runner_is_lost_and_its_orphans_are_swept(lab, tmp_path):
    pids = tmp_path / "pids"
    native_id, folder = await lab.start(command=("sh", "-c", FAMILY, "sh", str(pids)))
    family = until(lambda: pids_in(pids, FAMILY_SIZE))
    pid = int(native_id.split(":")[1])
    os.kill(pid, signal.SIGKILL)
    until(lambda: lab.seen(native_id, folder).kind == "lost")
    until(lambda: gone(family[0]))  # the direct child
    assert lab.commands.sweep(native_id, folder, 1) == []
    assert all_gone(family)
    with pytest.raises(NotFoundError):
        await lab.commands.collect(folder, 1, lab.blobs)


async def test_a_deaf_runner_is_cancelled_all_the_same(lab, tmp_path):
    pids = tmp_path / "pids"
    native_id, folder = await lab.start(command=("sh", "-c", FAMILY, "sh", str(pids)))
    family = until(lambda: pids_in(pids, FAMILY_SIZE))
    await lab.commands.pause(native_id, folder, 1)
    lab.commands._cancel(native_id, folder, 1, 0.0)
    assert all_gone(family)
    assert lab.seen(native_id, folder).result["outcome"] == "cancelled"


async def test_a_command_survives_the_death_of_its_starter_and_is_found_again(lab, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    folder = await lab.prepare(command=("sh", "-c", 'read x < "$1"; echo $x', "sh", str(gate)))
    code = (
        "import asyncio, pathlib, sys, time\nfrom physlab_mcp.backends.commands import Commands\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "print(asyncio.run(Commands().start(folder.name, folder, 1)), flush=True)\ntime.sleep(300)\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, start_new_session=True
    )
    native_id = starter.stdout.readline().decode().strip()
    lab.started.append((native_id, folder, 1))
    until(lambda: lab.seen(native_id, folder).started_at)
    os.killpg(starter.pid, signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    assert lab.commands.find(folder, 1) == native_id
    assert lab.seen(native_id, folder).kind == "running"
    assert lab.seen("proc:1:0.0", folder).kind == "running"  # whatever the id says: the lock is held
    gate.write_text("went on\n")
    until(lambda: lab.seen(native_id, folder).kind == "finished")
    assert lab.out(folder) == "went on\n"


async def test_an_attempt_that_never_began_is_lost_and_not_found(lab):
    folder = await lab.prepare(command=("true",))
    assert lab.seen("", folder).kind == "lost"
    assert lab.commands.find(folder, 1) is None


async def test_the_reason_of_a_runner_that_could_not_begin_is_told(lab):
    folder = await lab.prepare(command=("true",))
    (folder / "spec.json").write_text("{")
    native_id = await lab.commands.start(folder.name, folder, 1)
    seen = until(lambda: (s := lab.seen(native_id, folder)).kind == "lost" and s)
    assert "JSONDecodeError" in seen.detail


async def test_limits_of_the_job_reach_the_runner(lab):
    failure = await lab.done(
        command=(sys.executable, "-c", "bytearray(1 << 30)"), resources=Resources(memory_bytes=200 << 20)
    )
    assert isinstance(failure, Failure)
    assert failure.code == "oom"
    late = await lab.done(command=("sleep", "300"), timeout_s=100, resources=Resources(time_limit_s=0.2))
    assert isinstance(late, Failure)
    assert late.code == "timeout"


@pytest.mark.parametrize("change", ["bytes", "link", "gone"])
async def test_an_artifact_changed_after_the_end_is_not_taken(lab, change):
    native_id, folder = await lab.start(script="echo 1 > $PHYSLAB_ARTIFACTS/a")
    until(lambda: lab.seen(native_id, folder).kind == "finished")
    kept = folder / "attempts/1/artifacts/a"
    kept.unlink()
    if change == "bytes":
        kept.write_text("2\n")
    if change == "link":
        (lab.root / "b").write_text("1\n")
        kept.symlink_to(lab.root / "b")
    failure = await lab.commands.collect(folder, 1, lab.blobs)
    assert isinstance(failure, Failure)
    assert "'a'" in failure.message


def test_media_types_are_guessed_from_names():
    assert media_type("psi.NPY") == "application/x-npy"
    assert media_type("a/b.png") == "image/png"
    assert media_type("strange.zzz") == "application/octet-stream"
