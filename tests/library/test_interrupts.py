"""Ctrl-C at any moment of a submission leaves a last line that says what became of it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

import anyio
import pytest

from physlab_mcp.library import interrupts
from physlab_mcp.library.interrupts import Asking

DEADLINE_S = 120

EARLY = """
import signal, sys
import physlab_mcp as sciflow
from physlab_mcp.library import {where}

def interrupted(*args, **named):
    signal.raise_signal(signal.SIGINT)

{where}.{name} = interrupted
workflow = sciflow.ExperimentalWorkflow("w").add_task("f", lambda x: x).add_parameter_space({{"x": [1]}})
sciflow.Engine(data_dir=sys.argv[1], start_engine=False).execute_parameter_sweep(workflow)
"""


@pytest.mark.parametrize(("where", "name"), [("workflow", "pickled"), ("bridge", "threading.Lock")])
def test_interrupted_before_it_is_handed_over_nothing_was_submitted(tmp_path, where, name):
    path = tmp_path / "program.py"
    text = EARLY if name == "pickled" else EARLY.replace("{where}.{name} = ", "{where}.Bridge._opened = ")
    path.write_text(text.format(where=where, name=name))
    done = subprocess.run(
        [sys.executable, str(path), str(tmp_path / "data")],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt: Nothing was submitted."
    assert "During handling" not in done.stderr


def interrupted(asked: Asking, before: Callable[[], None]) -> str:
    before()
    with pytest.raises(KeyboardInterrupt) as told, asked:
        raise KeyboardInterrupt
    return str(told.value)


async def handle(name: str = "sweep-1") -> str:
    return name


def test_what_was_called_off_is_not_done_later():
    asked = Asking()
    assert interrupted(asked, lambda: None) == "Nothing was submitted."
    work = handle()
    assert anyio.run(asked.hand_over, work) == ""
    assert work.cr_frame is None


def test_what_was_handed_over_is_told_by_its_id():
    asked = Asking()
    told = interrupted(asked, lambda: anyio.run(asked.hand_over, handle()))
    assert told.startswith("sweep-1 goes on. Wait again: Engine().wait('sweep-1'); stop it:")


def test_a_submission_under_way_is_waited_for():
    asked, begun, go = Asking(), threading.Event(), threading.Event()

    async def slow() -> str:
        begun.set()
        await anyio.to_thread.run_sync(go.wait, DEADLINE_S)
        return "run-2"

    thread = threading.Thread(target=anyio.run, args=(asked.hand_over, slow()))

    def before() -> None:
        thread.start()
        assert begun.wait(DEADLINE_S)
        threading.Timer(0.05, go.set).start()

    assert interrupted(asked, before).startswith("run-2 goes on.")
    thread.join(DEADLINE_S)


def test_a_submission_that_failed_or_does_not_end_is_told(monkeypatch):
    async def broken() -> str:
        raise RuntimeError

    def fails() -> None:
        with pytest.raises(RuntimeError):
            anyio.run(asked.hand_over, broken())

    asked = Asking()
    assert interrupted(asked, fails) == "Nothing was submitted."
    monkeypatch.setattr(interrupts, "_PATIENCE_S", 0.0)
    asked = Asking()
    asked._handed_over = True
    assert "may have been submitted" in interrupted(asked, lambda: None)


def test_another_kind_of_end_is_left_alone():
    with pytest.raises(ValueError, match="other"), Asking():
        raise ValueError("other")
