"""The program of an array's element, run as on a compute node: which lives of a dispatch run the job, and which do not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.waiting import until

from physlab_mcp.backends.slurm import element_program

pytestmark = pytest.mark.skipif(os.name != "posix", reason="it runs on the nodes of clusters")
UNUSABLE, LOST = 2, 4  # of element_run.py
LIVES = 'echo "$SLURM_RESTART_COUNT" >> "$PHYSLAB_CHECKPOINT_DIR/lives"'


class Node:
    """A program folder, one batch of one job, and its elements' starts."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.started: list[subprocess.Popen[bytes]] = []
        for name, data in element_program.files().items():
            path = root / "program" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        self.job = root / "job"
        self.place = self.job / "attempts" / "1"

    def give(self, *command: str, fence: int = 1, again: bool = False, **fields: Any) -> None:
        """What the backend writes before it submits."""
        self.job.mkdir(exist_ok=True)
        spec = {"job_id": "job-1", "attempt": 1, "fence": fence, "command": list(command), "script": None, **fields}
        (self.job / "spec.json").write_text(json.dumps(spec))
        line = {"index": 0, "folder": str(self.job), "attempt": 1, "fence": fence, "blobs": str(self.root / "blobs"),
                "again": again}  # fmt: skip
        (self.root / "elements.jsonl").write_text(json.dumps(line) + "\n")

    def start(self, *, life: int = 0, index: int = 0) -> subprocess.Popen[bytes]:
        """Start it as Slurm does."""
        argv = [sys.executable, "-I", "-S", str(self.root / "program" / "element.py"), str(self.root)]
        env = {"PATH": os.environ["PATH"], "SLURM_ARRAY_TASK_ID": str(index)}
        if life:
            env["SLURM_RESTART_COUNT"] = str(life)
        self.started.append(subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, start_new_session=True))
        return self.started[-1]

    def run(self, *, life: int = 0, index: int = 0) -> int:
        """Its exit status."""
        with self.start(life=life, index=index) as process:
            return process.wait(30)

    def result(self) -> dict[str, Any]:
        """What the runner wrote."""
        return json.loads((self.place / "result.json").read_text())

    def lives(self) -> list[str]:
        """The restart counts of the commands that ran."""
        return (self.job / "checkpoint" / "lives").read_text().split("\n")[:-1]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    for process in made.started:
        process.kill()


def until_it_runs(node: Node) -> psutil.Process:
    """The runner, once its command was started."""

    def told() -> psutil.Process | None:
        with suppress(FileNotFoundError, psutil.NoSuchProcess):
            body = json.loads((node.place / "runner.json").read_text())
            return psutil.Process(body["pid"]) if body["child_pid"] else None
        return None

    runner = until(told, what="the command runs")
    assert runner is not None
    return runner


def test_an_element_runs_its_job_once(node: Node) -> None:
    node.give("sh", "-c", LIVES)
    assert node.run() == 0
    assert node.result()["outcome"] == "succeeded"
    assert (node.place / "begun.1").exists()
    assert node.run() == 0  # it has its end: nothing is to be done
    assert node.lives() == [""]


def test_an_element_that_is_not_there_is_said(node: Node) -> None:
    node.give("true")
    with node.start(index=7) as process:
        assert process.wait(30) == UNUSABLE
        assert process.stderr is not None
        assert b"no such element" in process.stderr.read()


def test_what_was_revoked_does_not_run(node: Node) -> None:
    node.give("sh", "-c", LIVES)
    node.place.mkdir(parents=True)
    (node.place / "revoked.1").touch()
    assert node.run() == 0
    assert (node.place / "begun.1").exists()
    assert not (node.job / "checkpoint").exists()


def test_a_folder_that_was_given_to_another_dispatch_is_left_alone(node: Node) -> None:
    node.give("sh", "-c", LIVES)
    spec = json.loads((node.job / "spec.json").read_text())
    (node.job / "spec.json").write_text(json.dumps({**spec, "fence": 2}))
    assert node.run() == UNUSABLE
    assert not (node.place / "result.json").exists()


@pytest.mark.parametrize("again", [True, False])
def test_a_start_that_slurm_forgot_is_gone_on_with_or_lost(node: Node, again: bool) -> None:
    waits = f'{LIVES}; [ -e "$1" ] || sleep 300'
    gate = node.root / "gate"
    node.give("sh", "-c", waits, "sh", str(gate), again=again)
    with node.start() as first:
        runner = until_it_runs(node)
        until((node.job / "checkpoint" / "lives").exists, what="its command has begun")
        runner.kill()  # as a controller that does not know it has its node do
        assert first.wait(30) == -signal.SIGKILL
    gate.touch()
    assert node.run() == (0 if again else LOST)  # and it does not tell that this is another life
    assert node.lives() == ([""] * 2 if again else [""])
    assert (node.place / "result.json").exists() is again


def test_the_next_lives_of_a_job_go_on_from_its_checkpoint_and_logs(node: Node) -> None:
    gate = node.root / "gate"
    node.give("sh", "-c", f'{LIVES}; echo "$SLURM_RESTART_COUNT"; [ -e "$1" ] || sleep 300', "sh", str(gate))
    for life in range(2):
        with node.start(life=life) as process:
            runner = until_it_runs(node)
            until(
                lambda life=life: len(node.lives()) == life + 1 if (node.job / "checkpoint/lives").exists() else False
            )
            runner.terminate()
            assert process.wait(30) == 0
        assert node.result()["outcome"] == "cancelled"
    gate.touch()
    assert node.run(life=2) == 0
    assert node.result()["outcome"] == "succeeded"
    assert node.lives() == ["", "1", "2"]
    assert (node.place / "stdout.log").read_text() == "\n1\n2\n"
    assert sorted(path.name for path in (node.job / "attempts").iterdir()) == ["1", "1.1", "1.2"]


def test_nothing_is_left_of_a_runner_that_was_killed(node: Node) -> None:
    node.give("sh", "-c", "setsid sleep 300 & (setsid sh -c 'sleep 300' &); sleep 300")
    with node.start() as process:
        runner = until_it_runs(node)
        family = until(
            lambda: (found := runner.children(recursive=True)) and len(found) >= 4 and found, what="its family"
        )
        runner.kill()
        assert process.wait(30) == -signal.SIGKILL
    until(
        lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family), what="all ended"
    )


def test_an_input_that_cannot_be_brought_is_a_failure_that_says_so(node: Node) -> None:
    staged = [{"sha256": "0" * 64, "target": "attempts/1/box/work/x"}]
    node.give("true", staged=staged)
    assert node.run() == 0
    assert node.result()["failure"]["code"] == "unavailable"


def test_a_start_imports_nothing_that_costs(node: Node) -> None:
    node.give("true")
    code = (
        "import sys; sys.argv = ['element.py', sys.argv[2]]; sys.path.append(sys.path_of_program); import element_run;"
        "element_run.main(sys.argv[1])"
    ).replace("sys.path_of_program", repr(str(node.root / "program")))
    argv = [sys.executable, "-I", "-S", "-X", "importtime", "-c", code, "x", str(node.root)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    dear = {"json", "re", "enum", "typing", "subprocess", "signal", "socket", "shutil", "hashlib", "pathlib", "ctypes"}
    assert "runner" in loaded
    assert node.result()["outcome"] == "succeeded"
    assert loaded & dear == set()
