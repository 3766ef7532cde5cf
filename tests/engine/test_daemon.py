"""Whether the one that led before is dead."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from physlab_mcp.engine.daemon import _alive

ME = f"host:{os.getpid()}:mine00"


def test_a_former_self_under_the_same_pid_is_dead() -> None:
    assert not _alive(f"host:{os.getpid()}:before", ME)


def test_it_is_alive_itself_and_so_is_another_process_that_runs() -> None:
    assert _alive(ME, ME)
    assert _alive(f"host:{os.getppid()}:other0", ME)


def test_a_process_that_is_gone_or_only_waits_to_be_reaped_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()  # until it ends
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not _alive(f"host:{child.pid}:zombie", ME)
    child.wait()
    child.stdout.close()
    assert not _alive(f"host:{child.pid}:gone00", ME)


@pytest.mark.parametrize("name", ["", "host", "host:not-a-pid:x", "host:-1:x"])
def test_who_cannot_be_judged_is_taken_for_alive(name: str) -> None:
    assert _alive(name, ME)
