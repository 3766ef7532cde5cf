"""Processes of this machine: they survive their starter, die as a whole, freeze as a whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests.backends.job_folders import FAMILY, FAMILY_SIZE, all_gone, gone, pids_in
from tests.waiting import until

from physlab_mcp.backends.process import (
    FileLock,
    find_marked,
    freeze,
    is_alive,
    is_stopped,
    kill_tree,
    limits,
    spawn_detached,
    thaw,
)  # fmt: skip

ENV = {"PATH": os.environ["PATH"]}


def spawn(tmp_path: Path, *argv: str, **env: str) -> int:
    return spawn_detached(argv, cwd=tmp_path, env={**ENV, **env}, log=tmp_path / "log")


def test_a_spawned_process_leads_its_own_session_and_leaves_no_zombie(tmp_path):
    pid = spawn(tmp_path, "sh", "-c", "echo said; read x")
    until(lambda: not psutil.pid_exists(pid), what="the reaping of the process")
    assert (tmp_path / "log").read_text() == "said\n"
    pid = spawn(tmp_path, "sleep", "300")
    assert os.getsid(pid) == os.getpgid(pid) == pid
    assert kill_tree(pid) == []
    until(lambda: not psutil.pid_exists(pid), what="the reaping of the killed process")


def test_a_program_that_does_not_exist_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        spawn(tmp_path, "no-such-program-here")


def test_a_spawned_process_survives_the_sigkill_of_its_starter(tmp_path):
    code = (
        "import os, pathlib, sys, time\n"
        "from physlab_mcp.backends.process import spawn_detached\n"
        "here = pathlib.Path(sys.argv[1])\n"
        "pid = spawn_detached(['sleep', '300'], cwd=here, env={'PATH': os.environ['PATH']}, log=here / 'log')\n"
        "print(pid, flush=True)\n"
        "time.sleep(300)\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, start_new_session=True
    )
    pid = int(starter.stdout.readline())
    os.killpg(starter.pid, signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    assert not gone(pid)
    assert psutil.Process(pid).ppid() != starter.pid
    assert kill_tree(pid) == []
    until(lambda: gone(pid))


def test_kill_tree_ends_children_grandchildren_and_other_sessions_while_their_ancestors_live(tmp_path):
    pids = tmp_path / "pids"
    root = spawn(tmp_path, "sh", "-c", FAMILY.replace("( setsid", "setsid").replace("done' sh \"$1\" & )", "done' sh \"$1\" &"), "sh", str(pids))  # fmt: skip
    family = until(lambda: pids_in(pids, FAMILY_SIZE))
    children = psutil.Process(root).children(recursive=True)
    assert len(children) >= FAMILY_SIZE
    assert kill_tree(root) == []
    assert all_gone([root, *family, *(child.pid for child in children)])


def test_daemons_without_ancestors_are_found_by_their_environment(tmp_path):
    pids = tmp_path / "pids"
    root = spawn(tmp_path, "sh", "-c", FAMILY, "sh", str(pids), PHYSLAB_JOB_ID=tmp_path.name, PHYSLAB_ATTEMPT="3")
    family = until(lambda: pids_in(pids, FAMILY_SIZE))
    marked = find_marked({"PHYSLAB_JOB_ID": tmp_path.name, "PHYSLAB_ATTEMPT": "3"})
    assert set(family) <= set(marked)
    assert find_marked({"PHYSLAB_JOB_ID": tmp_path.name, "PHYSLAB_ATTEMPT": "4"}) == []
    assert kill_tree(root, extra_pids=marked) == []
    assert all_gone([root, *family])


def test_kill_tree_outruns_a_process_that_keeps_forking(tmp_path):
    code = "import os, time\nwhile True:\n    if os.fork():\n        os._exit(0)\n    time.sleep(0.001)\n"
    mark = f"forker-{tmp_path.name}"
    root = spawn(tmp_path, "sh", "-c", f'{sys.executable} -S -c "$1" & wait; sleep 300', "sh", code, MARK=mark)
    until(lambda: len(find_marked({"MARK": mark})) >= 2)
    kill_tree(root, extra_pids=find_marked({"MARK": mark}))
    until(lambda: not [kill_tree(p) for p in find_marked({"MARK": mark})])


def test_kill_tree_spares_another_process_that_has_the_number_now(tmp_path):
    pid = spawn(tmp_path, "sleep", "300")
    started = psutil.Process(pid).create_time()
    assert kill_tree(pid, started=started - 1000) == []
    assert is_alive(pid, started)
    assert not is_alive(pid, started - 1000)
    assert kill_tree(pid, started=started) == []
    assert not is_alive(pid, started)


def test_kill_tree_never_kills_this_process_or_its_ancestors():
    assert kill_tree(os.getpid()) == []
    assert kill_tree(os.getppid()) == []
    assert kill_tree(1) == []


def test_a_zombie_is_not_alive():
    child = subprocess.Popen(["true"])
    started = psutil.Process(child.pid).create_time()
    until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
    assert not is_alive(child.pid, started)
    child.wait()


def test_a_frozen_tree_uses_no_processor_time_until_it_is_thawed(tmp_path):
    root = spawn(tmp_path, "sh", "-c", "setsid sh -c 'while :; do :; done' & wait")
    busy = until(lambda: psutil.Process(root).children(recursive=True))[0]
    until(lambda: busy.cpu_times().user > 0.05)
    freeze(root)
    until(lambda: is_stopped(root) and is_stopped(busy.pid))
    used, end = busy.cpu_times().user, time.monotonic() + 0.3
    until(lambda: time.monotonic() > end)
    assert busy.cpu_times().user == used
    thaw(root)
    until(lambda: busy.cpu_times().user > used + 0.05)
    assert not is_stopped(root)
    freeze(root)
    assert kill_tree(root) == []
    assert all_gone([root, busy.pid])


def test_limits_bind_a_running_process(tmp_path):
    pid = spawn(tmp_path, "sleep", "300")
    core = min(psutil.Process(pid).cpu_affinity())
    assert limits(pid, memory_bytes=1 << 30, cores=[core]) == []
    assert psutil.Process(pid).rlimit(psutil.RLIMIT_AS) == (1 << 30, 1 << 30)
    assert psutil.Process(pid).cpu_affinity() == [core]
    kill_tree(pid)


def test_a_file_lock_is_exclusive_and_dies_with_its_holder(tmp_path):
    path = tmp_path / "lock"
    code = (
        "import pathlib, sys, time\nfrom physlab_mcp.backends.process import FileLock\n"
        "assert FileLock(pathlib.Path(sys.argv[1])).try_acquire()\n"
    )
    keep = code.replace("assert FileLock", "lock = FileLock").replace(".try_acquire()", "") + (
        "assert lock.try_acquire()\nprint('held', flush=True)\ntime.sleep(300)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", keep, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    lock = FileLock(path)
    assert not lock.try_acquire()
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert lock.try_acquire()
    assert not FileLock(path).try_acquire()
    lock.release()
    other = FileLock(path)
    assert other.try_acquire()
    other.release()
