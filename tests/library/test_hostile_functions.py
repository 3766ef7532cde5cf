"""Functions that end badly: every one of them ends its point, with its name, place and reason, and no other point."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from physlab_mcp.library.engine import Engine
from physlab_mcp.library.results import Results
from physlab_mcp.library.workflow import ExperimentalWorkflow

DEADLINE_S = 60


class Silent(Exception):  # noqa: N818 - a user's own
    def __str__(self) -> str:
        raise KeyError("no text")


class Bitter(Exception):  # noqa: N818 - a user's own
    def __getattr__(self, name: str) -> object:
        raise ZeroDivisionError(name)


class Stopped(BaseException):
    pass


def hostile(case):
    if case == "surrogate":
        raise ValueError("bad file name: a\udcff.dat")
    if case == "exit with surrogate":
        raise SystemExit("bye\udcff")
    if case == "no text":
        raise Silent
    if case == "no attributes":
        raise Bitter("word")
    if case == "interrupt":
        raise KeyboardInterrupt
    if case == "own base":
        raise Stopped("enough")
    loop = {"x": 1}
    loop["self"] = loop
    return {"returned surrogate": {"v": "a\udcff"}, "loop": loop}.get(case, {"v": case})


TOLD = {
    "surrogate": r"hostile: ValueError: bad file name: a\udcff.dat (test_hostile_functions.py:",
    "exit with surrogate": r"hostile: SystemExit: bye\udcff (test_hostile_functions.py:",
    "no text": "hostile: Silent: (its text cannot be told: __str__ raises KeyError) (test_hostile_functions.py:",
    "no attributes": "hostile: Bitter: word (test_hostile_functions.py:",
    "interrupt": "hostile: KeyboardInterrupt (test_hostile_functions.py:",
    "own base": "hostile: Stopped: enough (test_hostile_functions.py:",
    "returned surrogate": "hostile returned 'v', a text that is no Unicode text: surrogates not allowed at 1.",
    "loop": "hostile returned 'self', which contains itself",
}


@pytest.fixture(scope="module")
def results(engine: Engine) -> Results:
    made = ExperimentalWorkflow("hostile").add_task("hostile", hostile)
    return engine.wait(engine.submit(made.add_parameter_space({"case": [*TOLD, "fine"]})), timeout_s=DEADLINE_S)


@pytest.mark.parametrize("case", TOLD)
def test_a_bad_end_is_told_with_its_task_reason_and_place(results: Results, case: str) -> None:
    (point,) = [one for one in results if one.params == {"case": case}]
    assert (point.state, str(point.error)[: len(TOLD[case])]) == ("failed", TOLD[case])


def test_nothing_else_fails(results: Results) -> None:
    assert [one.params for one in results if one.state == "succeeded"] == [{"case": "fine"}]


def forking(way, folder):
    """A child comes back in one of three ways, while another child outlives the call."""
    if os.fork() == 0:
        Path(folder, f"{way}.outlives").touch()
        while not Path(folder, "gate").exists():
            time.sleep(0.01)
        os._exit(0)
    pid = os.fork()
    if pid == 0:
        if way == "raises":
            raise ValueError("in the child")
        if way == "exits":
            sys.exit(7)
        return {"v": "child"}
    _, status = os.waitpid(pid, 0)
    return {"v": "parent", "status": os.waitstatus_to_exitcode(status)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_that_comes_back_is_no_second_worker(engine: Engine, tmp_path: Path) -> None:
    made = ExperimentalWorkflow("forking").add_task("forking", forking, params={"folder": str(tmp_path)})
    sweep = engine.submit(made.add_parameter_space({"way": ["returns", "raises", "exits"]}))
    try:
        found = engine.wait(sweep, timeout_s=DEADLINE_S)
        values = {point.params["way"]: point.tasks["forking"].values for point in found}
    finally:
        (tmp_path / "gate").touch()
    assert values == {
        "returns": {"v": "parent", "status": 0},
        "raises": {"v": "parent", "status": 1},
        "exits": {"v": "parent", "status": 7},
    }
