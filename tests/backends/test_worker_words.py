"""What a worker says and no message is, on its socket and in its spool, ends one job at the most, and hides no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from physlab_mcp.backends.local.message import read
from physlab_mcp.backends.local.spool import what_became
from physlab_mcp.nodes.worker import Calls, failure_of, frame
from physlab_mcp.schemas.job import Job, JobSpec

BAD = b'{"t":"done","id":"%s","fence":1,"at":2.0,"started":1.0,"ok":false,"failure":{"code":"error","message":"a\\udcff"}}'


def job(name: str) -> Job:
    return Job(id=name, kind="node", spec=JobSpec(), fence=1)


def test_an_end_that_cannot_be_read_is_a_failed_end() -> None:
    message = read(BAD % b"job-1", "w1")
    assert message is not None
    assert (message.t, message.id, message.fence, message.at, message.ok) == ("done", "job-1", 1, 2.0, False)
    assert message.failure is not None
    assert message.failure.message.startswith("It ended, but what it answered cannot be read: ")


@pytest.mark.parametrize("said", [b"", b"\xff", b"[1]", b'{"t":"done"}', b'{"t":"event","id":"j","fence":1,"kind":3}'])
def test_what_is_no_message_is_left_out(said: bytes) -> None:
    assert read(said, "w1") is None


def test_one_bad_record_hides_no_other_of_its_spool(tmp_path: Path) -> None:
    spool = tmp_path / "w1.spool"
    good = json.dumps({"t": "done", "id": "job-3", "fence": 1, "at": 3.0, "ok": True, "result": {}}).encode()
    begun = json.dumps({"t": "started", "id": "job-4", "fence": 1}).encode()
    spool.write_bytes(frame(BAD % b"job-1") + frame(b"no message") + frame(good) + frame(begun))
    found = list(what_became(spool, [job(f"job-{i}") for i in (1, 2, 3, 4)], token="w1"))
    assert [(one.job_id, one.kind, one.failure is None) for one in found] == [
        ("job-1", "done", False), ("job-2", "dropped", True), ("job-3", "done", True), ("job-4", "lost", True),
    ]  # fmt: skip


class Bitter(Exception):  # noqa: N818 - a user's own
    def __str__(self) -> str:
        raise KeyboardInterrupt

    def __getattr__(self, name: str) -> object:
        raise ZeroDivisionError(name)


def test_an_error_is_told_whatever_it_does_itself() -> None:
    told = failure_of(Bitter())
    assert (told["code"], told["retryable"]) == ("error", True)
    assert told["message"] == "Bitter, whose own text cannot be told"
    assert Calls({}).run({}, print)["failure"]["message"] == "KeyError: 'type'"
    assert failure_of(ValueError("a\udcff"))["message"] == r"ValueError: a\udcff"
