"""What a command does is seen as it happens: its start, its end, and what it prints."""

from __future__ import annotations

import sys
import time

import pytest
from site_of import HERE, Site

from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import Job, JobSpec
from physlab_mcp.schemas.job_state import JobState
from waiting import until

PRELUDE = """
import os, sys, time
end = time.monotonic() + 120
def shut():
    return time.monotonic() < end and not os.path.exists(sys.argv[1])
def wait():
    while shut():
        time.sleep(0.005)
def say(text):
    sys.stdout.write(text)
    sys.stdout.flush()
"""
# The product's engine, but looking at its commands by itself once an hour only.
HARDLY_LOOKS = """
import runpy, sys
from physlab_mcp.engine import loop
loop._TEND_EVERY_S = 3600.0
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def python(site: Site, code: str, *, stream_logs: bool = True) -> Job:
    words = (sys.executable, "-c", PRELUDE + code, str(site.gate))
    spec = JobSpec(command=words, stream_logs=stream_logs)
    return Job(id=new_handle("job"), kind="command", spec=spec, created_at=time.time())


def begin(site: Site, *jobs: Job) -> None:
    site.start_engine()
    site.submit(*jobs)
    until(site.status)
    site.wake()


def logs(site: Site, job: Job) -> list[Event]:
    return [event for event in site.events() if event.subject == job.id and event.kind == "log"]


def printed(site: Site, job: Job) -> str:
    return "".join(event.data["text"] for event in logs(site, job))


def test_a_command_is_seen_to_start_and_to_end_though_nobody_looks(site: Site) -> None:
    job = python(site, "wait()", stream_logs=False)
    engine = [sys.executable, "-c", HARDLY_LOOKS, str(HERE / "engine_program.py"), str(site.data.root)]
    site._start(engine, site.engines, {})
    until(site.status)
    site.submit(job)
    site.wake()
    site.wait_state(job.id, JobState.RUNNING)
    site.open_gate()
    site.wait_state(job.id, JobState.SUCCEEDED)
    site.check()


def test_what_a_command_prints_is_told_while_it_runs_where_that_was_asked_for(site: Site) -> None:
    half, rest = "é".encode()[:1], "é".encode()[1:]
    code = f'os.write(1, b"first\\nsecond\\n" + {half}); wait(); os.write(1, {rest} + b"\\nlast"); os.write(2, b"not this")'
    job, quiet = python(site, code), python(site, code, stream_logs=False)
    begin(site, job, quiet)
    until(lambda: printed(site, job) == "first\nsecond\n")
    assert site.state(job.id) is JobState.RUNNING
    site.open_gate()
    site.finish()
    assert printed(site, job) == "first\nsecond\né\nlast"
    assert {event.data["stream"] for event in logs(site, job)} == {"stdout"}
    assert logs(site, quiet) == []
    assert site.check() == {"succeeded": 2}


@pytest.mark.parametrize("code", ['say("x" + "é" * 50_000)', 'say("a line\\n" * 20_000)'], ids=["a line", "lines"])
def test_what_is_printed_just_before_the_end_is_told_whole(site: Site, code: str) -> None:
    job = python(site, code)
    begin(site, job)
    site.wait_state(job.id, JobState.SUCCEEDED)
    whole = (site.data.job_folder(job.id) / "attempts/1/stdout.log").read_text()
    assert len(whole) > 50_000
    assert printed(site, job) == whole


def test_a_command_that_prints_without_end_does_not_keep_the_engine_from_others(site: Site) -> None:
    job = python(site, 'while shut():\n    say("yes\\n" * 100_000)\n    time.sleep(0.005)')
    begin(site, job)
    try:
        until(lambda: "left out" in printed(site, job))
        other = python(site, "", stream_logs=False)
        site.submit(other)
        site.wake()
        site.wait_state(other.id, JobState.SUCCEEDED)
        assert site.state(job.id) is JobState.RUNNING
    finally:
        site.open_gate()  # it would fill the disk
    site.finish()
    assert site.check() == {"succeeded": 2}
    texts = [event.data["text"] for event in logs(site, job)]
    left_out = sum(int(text.split()[0][1:]) for text in texts if text.startswith("["))
    told = sum(len(text) for text in texts if not text.startswith("["))
    assert left_out + told == (site.data.job_folder(job.id) / "attempts/1/stdout.log").stat().st_size
