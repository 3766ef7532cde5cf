"""What a command, or whoever shares its folders, does on purpose: nothing leaves its place, nothing else suffers."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from load import node
from site_of import Site, now

from physlab_mcp.backends import sandbox
from physlab_mcp.backends.commands import Commands
from physlab_mcp.backends.safe_copy import identity
from physlab_mcp.dags.run import plan_for
from physlab_mcp.dags.validate import validate
from physlab_mcp.errors import ForbiddenError
from physlab_mcp.lab import Lab, registry
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import Job, JobSpec, Mount, Resources
from physlab_mcp.schemas.job_state import TERMINAL, JobState
from physlab_mcp.schemas.result import Failure
from physlab_mcp.schemas.status import JobOutcome, Status
from waiting import until

CORES = os.cpu_count() or 1
WAIT = "import os, sys, time\ndef wait(path):\n    while not os.path.exists(path):\n        time.sleep(0.01)\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The one folder that commands may name."""
    place = tmp_path / "root"
    place.mkdir()
    return place


@pytest.fixture
def bwrap() -> None:
    """A sandbox that works; where none can be had the tests are skipped, but never on CI."""
    reason = sandbox.available()
    if reason is not None and os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason)
    if reason is not None:
        pytest.skip(reason)


def command(*roots: Path, **spec: Any) -> Job:
    if "command" not in spec and "script" not in spec:
        spec["command"] = ("true",)
    return Job(
        id=new_handle("job"),
        kind="command",
        spec=JobSpec(roots=tuple(str(one) for one in roots), **spec),
        created_at=time.time(),
    )


def python(code: str, *words: str, **spec: Any) -> Job:
    return command(command=(sys.executable, "-c", WAIT + code, *words), **spec)


def told(site: Site, job: Job, kind: str | None = None) -> list[Event]:
    return [e for e in site.events() if e.subject == job.id and kind in (None, e.kind)]


def outcome(site: Site, job: Job) -> JobOutcome:
    """As a client of the engine is answered."""

    async def ask() -> JobOutcome:
        async with Lab.open(data_dir=site.data.root, start_engine=False) as lab:
            return await lab.engine.outcome(job.id, owner="local")

    return now(ask())


def history(site: Site, job: Job) -> Status:
    async def ask() -> Status:
        async with Lab.open(data_dir=site.data.root, start_engine=False) as lab:
            return await lab.engine.status(job.id, owner="local", limit=10_000)

    return now(ask())


def end_of(site: Site, *jobs: Job) -> list[JobState]:
    site.start_engine()
    site.submit(*jobs)
    site.wake()
    until(lambda: all(site.state(job.id) in TERMINAL for job in jobs), 30, what="all ended")
    return [site.state(job.id) for job in jobs]


def refused(site: Site, job: Job) -> Failure:
    assert end_of(site, job) == [JobState.FAILED]
    failure = outcome(site, job).failure
    assert failure is not None
    assert failure.code == "forbidden", failure
    return failure


# -- places ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["folder below", "file", "folder"])
def test_inputs_never_pass_through_a_link_of_the_working_folder(
    site: Site, root: Path, tmp_path: Path, link: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "f").write_text("kept")
    source, work = root / "source", root / "work"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "f").write_text("brought")
    (source / "sub" / "new").write_text("brought")
    (work / "d").mkdir(parents=True)
    if link == "file":
        (work / "f").symlink_to(elsewhere / "f")
        entry = {"source": str(source / "sub" / "f"), "target": "f"}
    elif link == "folder":
        (work / "e").symlink_to(elsewhere)
        entry = {"source": str(source / "sub" / "f"), "target": "e/f"}
    else:
        (work / "d" / "sub").symlink_to(elsewhere)
        entry = {"source": str(source), "target": "d"}
    failure = refused(site, command(root, workdir=str(work), inputs=(entry,)))
    assert "link" in failure.message
    assert {one.name: one.read_text() for one in elsewhere.iterdir()} == {"f": "kept"}


@pytest.mark.parametrize("held", ["data directory", "working folder"])
def test_an_input_folder_that_holds_the_data_or_the_working_folder_is_refused(
    site: Site, root: Path, held: str
) -> None:
    if held == "data directory":
        above = site.data.root.parent
        job = command(above, inputs=({"source": str(above), "target": "d"},))
    else:
        (root / "a" / "work").mkdir(parents=True)
        job = command(root, workdir=str(root / "a" / "work"), inputs=({"source": str(root / "a"), "target": "d"},))
    assert "holds" in refused(site, job).message
    assert not list(root.rglob("d"))


def test_a_mount_that_holds_the_data_directory_is_refused(site: Site, bwrap: None) -> None:
    above = site.data.root.parent
    mounts = (Mount(str(above), "/data", readonly=False),)
    assert "holds" in refused(site, command(above, sandbox=True, mounts=mounts)).message


def test_identity_refuses_a_path_with_a_link_in_it(tmp_path: Path) -> None:
    place = tmp_path.resolve()
    (place / "real" / "inner").mkdir(parents=True)
    (place / "link").symlink_to(place / "real")
    found = (place / "real" / "inner").stat()
    assert identity(place / "real" / "inner") == f"{found.st_dev}:{found.st_ino}"
    for bad in (place / "link", place / "link" / "inner", place / "gone" / "inner"):
        with pytest.raises(ForbiddenError):
            identity(bad)


def test_a_bind_of_another_inode_ends_with_126_before_the_command(tmp_path: Path, bwrap: None) -> None:
    places = {name: tmp_path / name for name in ("box", "checkpoint", "checked", "swapped")}
    for place in places.values():
        place.mkdir()
    mount = Mount(str(places["checked"]), "/data", readonly=False)
    box = sandbox.argv(box=places["box"], checkpoint=places["checkpoint"], workdir=places["box"], mounts=[mount])
    for expected, code in ((identity(places["checked"]), 0), (identity(places["swapped"]), 126)):
        words = [*box, "--", *sandbox.guard({"/data": expected}), "/bin/sh", "-c", "echo ran"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == code, done.stderr
        assert ("ran" in done.stdout) is (code == 0)
        assert ("was changed after it was checked" in done.stderr) is (code == 126)


@pytest.mark.parametrize("what", ["mount", "workdir"])
async def test_a_folder_swapped_for_a_link_after_the_check_is_not_used(
    site: Site, root: Path, tmp_path: Path, bwrap: None, what: str
) -> None:
    victim, place = tmp_path / "victim", root / "place"
    victim.mkdir()
    place.mkdir()
    spec: dict[str, Any] = {"workdir": str(place)}
    if what == "mount":
        spec = {"mounts": (Mount(str(place), "/data", readonly=False),)}
    where = "/data" if what == "mount" else "."
    job = command(root, command=("sh", "-c", f"echo x > {where}/stolen"), sandbox=True, **spec)
    commands, folder = Commands(hidden=[site.data.root]), site.data.job_folder(job.id)
    await commands.prepare(job, folder, roots=[root], policy="allow")
    place.rename(root / "away")
    place.symlink_to(victim)
    native_id = await commands.start(job.id, folder, 1)
    seen = until(lambda: (s := commands.observe(native_id, folder, 1)).kind == "finished" and s)
    assert seen.result is not None
    assert seen.result["outcome"] == "failed"
    # A bind cannot be made over a link inside a root: there bubblewrap itself gives up with 1.
    assert seen.result["exit_code"] == (126 if what == "mount" else 1)
    assert not list(victim.iterdir())


# -- what a command says of itself -------------------------------------------------------------------------------

HOSTILE = r"""
lines = [
    '{"kind": "log", "data": {"text": "\\ud800"}}',
    '{"text": "\\ud800"}',
    '{"kind": "progress", "data": {"fraction": 0.5, "text": "\\udfff", "\\ud800": 1}}',
    '{"fraction": 0.25, "text": "\\ud800"}',
    '{"kind": "log", "data": {"kind": "state", "to": "succeeded", "from": "running"}}',
    '{"kind": "log", "data": {"kind": "artifact", "sha256": "0"}}',
    '{"kind": "log", "data": {"kind": 5}}',
    '{"kind": "state", "data": {"to": "succeeded"}}', '{"kind": "artifact", "data": {}}', '{"kind": ["log"]}',
    '{"kind": "result", "data": {"values": {"x": 1}}}', '{"kind": "metric", "data": {"line": 99999999}}',
    '{"kind": "progress", "data": {"fraction": "abc"}}', '{"fraction": "abc"}', '{"fraction": NaN}',
    '{"kind": "progress", "data": {"fraction": NaN}}', '{"kind": "metric", "data": {"loss": NaN, "b": -Infinity}}',
    '{"kind": "metric", "data": {"loss": 1e999, "n": ' + "9" * 4000 + '}}',
    '{"kind": "metric", "data": {"n": ' + "9" * 6000 + '}}',
    '{"kind": "log", "data": {"text": "' + "x" * 100_000 + '"}}',
    '{"kind": "metric", "data": ' + '{"a":' * 500 + '1' + '}' * 500 + '}',
    '{"kind": "metric", "data": ' + '[' * 500 + ']' * 500 + '}', 'null', '7', '', '\0', '{"kind": "log"}',
    '{"kind": "log", "data": {"text": "the last line"}}',
]
with open(os.environ["PHYSLAB_EVENTS"], "a") as stream:
    stream.write("\n".join(lines) + "\n")
with open(os.environ["PHYSLAB_EVENTS"], "ab") as stream:
    stream.write(b'{"kind": "log", "data": {"text": "\xff\xfe"}}\n\xff\n')
"""


def test_hostile_event_lines_harm_neither_their_job_nor_another(site: Site) -> None:
    hostile, beside = python(HOSTILE), command()
    other = node(site.place, "beside")
    states = end_of(site, hostile, beside, other)
    assert states == [JobState.SUCCEEDED] * 3, outcome(site, hostile).failure
    assert site.check() == {"succeeded": 3}  # one valid path of states each: none was forged
    events = history(site, hostile).events
    assert {e.kind for e in events} == {"state", "result", "log", "progress", "metric"}
    assert Counter(e.kind for e in events)["result"] == 1
    assert "the last line" in [e.data.get("text") for e in events]
    for event in events:
        text = json.dumps(event.data, allow_nan=False, ensure_ascii=False)
        assert len(text.encode()) < 70_000
        assert event.kind != "progress" or 0 <= event.data["fraction"] <= 1
    assert outcome(site, hostile).result is not None


@pytest.mark.parametrize("variable", ["PHYSLAB_EVENTS", "PHYSLAB_VALUES"])
def test_brackets_nested_beyond_the_parser_do_not_kill_the_runner(site: Site, variable: str) -> None:
    job = python(f'open(os.environ["{variable}"], "w").write("[" * 50_000 + "\\n")')
    assert end_of(site, job) == [JobState.SUCCEEDED], outcome(site, job).failure


def test_values_that_no_reader_can_take_do_not_block_what_comes_after(site: Site) -> None:
    code = 'open(os.environ["PHYSLAB_VALUES"], "w").write(sys.argv[1])'
    bad = [
        python(code, text)
        for text in ('{"x": "\\ud800"}', '{"\\ud800": 1}', '{"x": NaN}', '{"x": ' + "[" * 500 + "]" * 500 + "}")
    ]
    states = end_of(site, *bad)
    assert set(states) <= {JobState.SUCCEEDED, JobState.FAILED}
    for job in bad:
        assert history(site, job).ended
        outcome(site, job)
    later = command()
    site.submit(later)
    site.wake()
    site.wait_state(later.id, JobState.SUCCEEDED)
    site.check()


PHASES = r"""
with open(os.environ["PHYSLAB_EVENTS"], "a") as stream:
    for n in range(3):
        for i in range(500):
            stream.write('{"kind": "metric", "data": {"step": %d}}\n' % (500 * n + i))
        stream.flush()
        wait(sys.argv[1] + str(n))
    for i in range(4000):
        stream.write('{"kind": "metric", "data": {"step": %d}}\n' % (1500 + i))
"""


def test_metrics_arrive_once_though_the_engine_is_killed_in_between(site: Site) -> None:
    job = python(PHASES, str(site.gate))
    site.start_engine()
    site.submit(job)
    site.wake()
    for phase in range(3):
        until(lambda: len(told(site, job, "metric")) > 500 * phase, 20, what=f"metrics of phase {phase}")  # noqa: B023
        site.kill_engines()
        if phase == 2:  # its end comes while nobody looks
            site.gate.with_name("gate2").touch()
        site.start_engine()
        until(site.status)
        site.gate.with_name(f"gate{phase}").touch()
    site.wait_state(job.id, JobState.SUCCEEDED)
    assert site.job(job.id).attempt == 1
    assert [e.data["step"] for e in told(site, job, "metric")] == list(range(5500))
    site.check()


@pytest.mark.parametrize("padding", [0, 600], ids=["short lines", "two megabytes"])
def test_four_thousand_metrics_written_just_before_the_end_all_arrive(site: Site, padding: int) -> None:
    code = (
        'open(os.environ["PHYSLAB_EVENTS"], "a").writelines('
        '\'{"kind": "metric", "data": {"step": %d, "more": "%s"}}\\n\' % (i, "x" * int(sys.argv[1]))'
        " for i in range(4000))"
    )
    job = python(code, str(padding))
    assert end_of(site, job) == [JobState.SUCCEEDED]
    assert [e.data["step"] for e in told(site, job, "metric")] == list(range(4000))


# -- room ----------------------------------------------------------------------------------------------------------


def test_command_nodes_of_a_plan_with_parallelism_one_run_one_at_a_time(site: Site, root: Path) -> None:
    code = "import time; a = time.time_ns(); time.sleep(0.2); print(a, time.time_ns())"
    nodes = [{"id": f"c{i}", "tool": "command", "params": {"command": [sys.executable, "-c", code]}} for i in range(4)]
    dag = validate({"nodes": nodes}, registry()).dag
    assert dag is not None

    async def run() -> str:
        async with Lab.open(data_dir=site.data.root, roots=[root], start_engine=False) as lab:
            await lab.engine.save_dag(dag)
            return await lab.engine.submit_plan(plan_for(dag, parallelism=1, registry=registry()), dag)

    site.start_engine()
    until(site.status)
    now(run())
    until(lambda: len(site.jobs()) == 4 and not site.live(), 30, what="all ended")
    assert site.check() == {"succeeded": 4}
    spans = []
    for job in site.jobs():
        begin, end = (site.data.job_folder(job.id) / "attempts/1/stdout.log").read_text().split()
        spans.append((int(begin), int(end)))
    spans.sort()
    assert all(one[1] <= following[0] for one, following in itertools.pairwise(spans)), spans


def test_two_paused_commands_do_not_keep_a_node_from_running(site: Site) -> None:
    jobs = [python("wait(sys.argv[1])", str(site.gate), resources=Resources(cpu=CORES)) for _ in range(2)]
    site.start_engine()
    for job in jobs:  # each has the whole machine until it is frozen
        site.submit(job)
        site.wake()
        site.wait_state(job.id, JobState.RUNNING)
        site.request("pause", job.id)
        site.wait_state(job.id, JobState.PAUSED)
    quick = node(site.place, "quick")
    site.submit(quick)
    site.wake()
    site.wait_state(quick.id, JobState.SUCCEEDED)
    assert [site.state(job.id) for job in jobs] == [JobState.PAUSED] * 2
    site.open_gate()
    for job in jobs:
        site.request("resume", job.id)
    site.finish()
    assert site.check() == {"succeeded": 3}


# -- approval ------------------------------------------------------------------------------------------------------


def held_site(make_site: Callable[..., Site], tmp_path: Path) -> Site:
    config = tmp_path / "approve.json"
    config.write_text(json.dumps({"backends": {"local": {"commands": "approve"}}}))
    site = make_site(PHYSLAB_CONFIG=str(config))
    site.start_engine()
    return site


def test_a_job_approved_once_is_not_held_again_at_its_second_attempt(
    make_site: Callable[..., Site], tmp_path: Path, bwrap: None
) -> None:
    site = held_site(make_site, tmp_path)
    job = command(script='[ "$PHYSLAB_ATTEMPT" = 2 ]', sandbox=True, retries=1)
    site.submit(job)
    site.wake()
    site.wait_state(job.id, JobState.HELD)
    site.request("approve", job.id)
    site.wait_state(job.id, *TERMINAL)
    assert site.state(job.id) is JobState.SUCCEEDED
    assert site.job(job.id).attempt == 2
    assert [e.data["to"] for e in told(site, job, "state")].count("held") == 1
    site.check()


def test_a_run_that_is_approved_as_a_whole_goes_on(
    make_site: Callable[..., Site], tmp_path: Path, root: Path, bwrap: None
) -> None:
    site = held_site(make_site, tmp_path)
    dag = validate({"nodes": [{"id": "c", "tool": "command", "params": {"command": ["true"]}}]}, registry()).dag
    assert dag is not None

    async def run() -> str:
        async with Lab.open(data_dir=site.data.root, roots=[root], start_engine=False) as lab:
            await lab.engine.save_dag(dag)
            return await lab.engine.submit_plan(plan_for(dag, sandbox=True, registry=registry()), dag)

    until(site.status)
    run_id = now(run())
    until(lambda: [job.state for job in site.jobs()] == [JobState.HELD], what="it is held")
    site.request("approve", run_id)
    site.wait_state(site.jobs()[0].id, JobState.SUCCEEDED)
    site.check()
