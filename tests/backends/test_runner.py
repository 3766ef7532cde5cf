"""The runner: one attempt of a command in its job folder, from its start to result.json."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests.backends.job_folders import (
    FAMILY,
    FAMILY_SIZE,
    RUNNER,
    all_gone,
    begin,
    gone,
    job_folder,
    pids_in,
    result,
    run,
    runner_argv,
)
from tests.waiting import until


def attempt(folder: Path, number: int = 1) -> Path:
    return folder / "attempts" / str(number)


def finished(folder: Path) -> bool:
    return (attempt(folder) / "result.json").exists()


def test_a_command_runs_and_leaves_a_complete_result(tmp_path):
    folder = job_folder(tmp_path, command=["sh", "-c", "echo out; echo err >&2; echo kept > $PHYSLAB_ARTIFACTS/a.txt"])
    told = run(folder)
    assert told["outcome"] == "succeeded"
    assert (told["exit_code"], told["signal"], told["failure"]) == (0, None, None)
    assert (told["attempt"], told["fence"]) == (1, 7)
    assert told["started_at"] <= told["ended_at"]
    assert told["rusage"]["max_rss_bytes"] > 0
    assert told["artifacts"] == [
        {"name": "a.txt", "path": "artifacts/a.txt", "size": 5, "sha256": hashlib.sha256(b"kept\n").hexdigest()}
    ]
    assert (attempt(folder) / "artifacts/a.txt").read_text() == "kept\n"
    assert (attempt(folder) / "stdout.log").read_text() == "out\n"
    assert (attempt(folder) / "stderr.log").read_text() == "err\n"
    assert not list(attempt(folder).glob("*.new"))


def test_a_failing_command_tells_its_code_and_its_last_words(tmp_path):
    told = run(job_folder(tmp_path, command=["sh", "-c", "echo no such orbital >&2; exit 7"]))
    assert (told["outcome"], told["exit_code"], told["failure"]["code"]) == ("failed", 7, "exit")
    assert "exit code 7" in told["failure"]["message"]
    assert "no such orbital" in told["failure"]["message"]


def test_a_command_killed_by_a_signal_tells_which(tmp_path):
    told = run(job_folder(tmp_path, command=["sh", "-c", "kill -SEGV $$"]))
    assert (told["outcome"], told["exit_code"], told["signal"]) == ("failed", None, signal.SIGSEGV)


def test_a_program_that_does_not_exist_is_an_invalid_request(tmp_path):
    told = run(job_folder(tmp_path, command=["no-such-program"]))
    assert (told["outcome"], told["exit_code"], told["failure"]["code"]) == ("failed", 127, "invalid_request")
    assert "no-such-program" in told["failure"]["message"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo plain $0; echo '$(x)'", "plain"),
        (f"#!{sys.executable}\nimport sys\nprint('python', sys.argv[0])", "python"),
    ],
)
def test_a_script_runs_by_its_first_line_or_by_the_shell(tmp_path, script, said):
    folder = job_folder(tmp_path, script=script)
    assert run(folder)["outcome"] == "succeeded"
    assert (attempt(folder) / "stdout.log").read_text().startswith(f"{said} {attempt(folder).resolve() / 'script'}")


def test_the_environment_is_minimal_and_tells_the_job(tmp_path):
    folder = job_folder(
        tmp_path,
        command=["sh", "-c", "env; echo HERE=$(pwd)"],
        env={"MINE": "1", "PHYSLAB_ATTEMPT": "9"},
        limits={"cpu": 1.5},
    )
    run(folder, env={**os.environ, "SECRET_TOKEN": "x", "LD_LIBRARY_PATH": "/nowhere"})
    lines = dict(line.split("=", 1) for line in (attempt(folder) / "stdout.log").read_text().splitlines())
    assert "SECRET_TOKEN" not in lines
    assert "LD_LIBRARY_PATH" not in lines
    assert lines["MINE"] == "1"
    assert lines["OMP_NUM_THREADS"] == "2"
    assert lines["PHYSLAB_ATTEMPT"] == "1"
    assert lines["PHYSLAB_JOB_ID"] == folder.name
    assert lines.pop("HERE") == str(attempt(folder) / "box/work")
    assert Path(lines["PHYSLAB_CHECKPOINT_DIR"]).is_dir()
    assert lines.keys() <= {
        "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "PWD", "MINE",
        "PHYSLAB_JOB_ID", "PHYSLAB_ATTEMPT", "PHYSLAB_ARTIFACTS", "PHYSLAB_CHECKPOINT_DIR", "PHYSLAB_EVENTS",
        "PHYSLAB_VALUES", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    } | {name for name in lines if name.startswith("LC_")}  # fmt: skip


def test_logs_and_events_can_be_read_while_it_runs(tmp_path):
    script = (
        'echo early; echo \'{"fraction": 0.25, "text": "a quarter"}\' >> "$PHYSLAB_EVENTS"; read x < "$1"; echo late'
    )
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    folder = job_folder(tmp_path, command=["sh", "-c", script, "sh", str(gate)])
    process = begin(folder)
    until(
        lambda: (attempt(folder) / "stdout.log").exists() and (attempt(folder) / "stdout.log").read_text() == "early\n"
    )
    until(
        lambda: (
            (attempt(folder) / "events.jsonl").exists()
            and "a quarter" in (attempt(folder) / "events.jsonl").read_text()
        )
    )
    assert not finished(folder)
    gate.write_text("go\n")
    assert process.wait(20) == 0
    assert (attempt(folder) / "stdout.log").read_text() == "early\nlate\n"
    events = [json.loads(line) for line in (attempt(folder) / "events.jsonl").read_text().splitlines()]
    assert [event["kind"] for event in events] == ["started", "progress", "ended"]
    assert events[1]["data"] == {"fraction": 0.25, "text": "a quarter"}
    assert {event["attempt"] for event in events} == {1}


def test_event_lines_of_any_shape_are_relayed_as_observations(tmp_path):
    lines = (
        '{"kind":"metric","data":{"name":"E","value":1}}\n{"name":"E","value":2}\nnot json\n{"kind":"rm"}\n[1]\nno end'
    )
    folder = job_folder(tmp_path, command=["sh", "-c", 'printf "%s" "$1" > "$PHYSLAB_EVENTS"', "sh", lines])
    run(folder)
    events = [json.loads(line) for line in (attempt(folder) / "events.jsonl").read_text().splitlines()][1:-1]
    assert [event["kind"] for event in events] == ["metric", "metric", "log", "log", "log", "log"]
    assert events[0]["data"] == {"name": "E", "value": 1}
    assert events[2]["data"] == {"text": "not json"}
    assert events[5]["data"] == {"text": "no end"}


def test_an_event_file_that_is_a_link_or_a_pipe_is_not_followed(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    script = 'ln -s "$1" "$PHYSLAB_EVENTS"; ln -s "$1" "$PHYSLAB_VALUES"'
    folder = job_folder(tmp_path, command=["sh", "-c", script, "sh", str(secret)])
    told = run(folder)
    assert "secret" not in (attempt(folder) / "events.jsonl").read_text()
    assert told["values"] == {}
    piped = job_folder(tmp_path, command=["sh", "-c", 'mkfifo "$PHYSLAB_EVENTS" "$PHYSLAB_VALUES"'])
    assert run(piped)["outcome"] == "succeeded"


def test_values_come_from_the_values_file(tmp_path):
    assert run(job_folder(tmp_path, script='echo \'{"E": -13.6}\' > "$PHYSLAB_VALUES"'))["values"] == {"E": -13.6}
    bad = run(job_folder(tmp_path, script='echo nonsense > "$PHYSLAB_VALUES"'))
    assert (bad["outcome"], bad["values"]) == ("succeeded", {})
    assert "not JSON" in bad["warnings"][0]
    large = run(job_folder(tmp_path, script='head -c 70000 /dev/zero > "$PHYSLAB_VALUES"'))
    assert "larger" in large["warnings"][0]


def test_everything_it_forked_is_killed_when_it_ends(tmp_path):
    pids = tmp_path / "pids"
    ending = FAMILY.replace("\nwait\n", '\nwhile [ "$(wc -l < "$1")" -lt 4 ]; do sleep 0.01; done\nexit 0\n')
    told = run(job_folder(tmp_path, command=["sh", "-c", ending, "sh", str(pids)]))
    assert told["outcome"] == "succeeded"
    assert all_gone(pids_in(pids, FAMILY_SIZE))


def test_sigterm_cancels_with_everything_it_forked(tmp_path):
    pids = tmp_path / "pids"
    folder = job_folder(tmp_path, command=["sh", "-c", FAMILY, "sh", str(pids)], limits={"grace_s": 0.2})
    process = begin(folder)
    family = until(lambda: pids_in(pids, FAMILY_SIZE))
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    told = result(folder)
    assert (told["outcome"], told["failure"]["code"]) == ("cancelled", "cancelled")
    assert all_gone([*family, *(child.pid for child in children)])


def test_a_cancelled_command_may_write_its_checkpoint(tmp_path):
    script = "trap 'echo saved > \"$PHYSLAB_CHECKPOINT_DIR/c\"; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    folder = job_folder(tmp_path, command=["sh", "-c", script], limits={"grace_s": 20})
    process = begin(folder)
    until(lambda: (attempt(folder) / "stdout.log").exists() and (attempt(folder) / "stdout.log").read_text())
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert (folder / "checkpoint/c").read_text() == "saved\n"
    assert result(folder)["outcome"] == "cancelled"


def test_a_time_out_ends_it(tmp_path):
    folder = job_folder(
        tmp_path, command=["sh", "-c", "trap '' TERM; sleep 300"], limits={"timeout_s": 0.3, "grace_s": 0.1}
    )
    told = run(folder)
    assert (told["outcome"], told["failure"]["code"]) == ("timeout", "timeout")
    assert "0.3 s" in told["failure"]["message"]


def test_frozen_time_does_not_count_for_the_time_out(tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    folder = job_folder(tmp_path, command=["sh", "-c", 'read x < "$1"', "sh", str(gate)], limits={"timeout_s": 3})
    process = begin(folder)
    until(lambda: "started" in (attempt(folder) / "events.jsonl").read_text() if attempt(folder).exists() and (attempt(folder) / "events.jsonl").exists() else False)  # fmt: skip
    os.kill(process.pid, signal.SIGSTOP)
    end = time.monotonic() + 4
    until(lambda: time.monotonic() > end)
    os.kill(process.pid, signal.SIGCONT)
    end = time.monotonic() + 0.6  # the runner looks every 0.25 s
    until(lambda: time.monotonic() > end or process.poll() is not None)
    assert process.poll() is None
    os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
    assert process.wait(20) == 0
    assert result(folder)["failure"]["code"] == "exit"  # the end of the input, not the time-out


def test_a_memory_limit_is_told_as_oom(tmp_path):
    limits = {"memory_bytes": 200 << 20}
    told = run(job_folder(tmp_path, command=[sys.executable, "-c", "x = bytearray(1 << 30)"], limits=limits))
    assert (told["outcome"], told["failure"]["code"]) == ("failed", "oom")
    assert "MemoryError" in told["failure"]["message"]
    assert str(200 << 20) in told["failure"]["message"]


def test_a_memory_limit_holds_for_the_whole_tree(tmp_path):
    code = "import os, time\nfor _ in range(3): os.fork()\nx = b'x' * (60 << 20)\ntime.sleep(300)\n"
    told = run(job_folder(tmp_path, command=[sys.executable, "-c", code], limits={"memory_bytes": 150 << 20}))
    assert (told["outcome"], told["failure"]["code"]) == ("failed", "oom")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_jobs_of_one_core_get_different_cores_and_none_is_squeezed(tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    code = "import os, sys; print(*sorted(os.sched_getaffinity(0)), flush=True); open(sys.argv[1]).read()"
    spec = {"command": [sys.executable, "-c", code, str(gate)], "limits": {"cpu": 1}, "cores": str(tmp_path / "cores")}
    usable = len(os.sched_getaffinity(0))
    folders, given = [job_folder(tmp_path, **spec) for _ in range(usable + 1)], []
    processes = []
    for folder in folders:
        processes.append(begin(folder))
        log = attempt(folder) / "stdout.log"
        given.append(tuple(until(lambda log=log: log.exists() and log.read_text()).split()))
    assert len(set(given[:usable])) == usable
    assert {len(cores) for cores in given[:usable]} == {1}
    assert len(given[usable]) == usable  # none is free: the kernel decides
    for process in processes:
        process.terminate()
        process.wait(20)


def test_a_second_runner_of_the_same_attempt_touches_nothing(tmp_path):
    count = tmp_path / "count"
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    folder = job_folder(tmp_path, command=["sh", "-c", 'echo x >> "$1"; read x < "$2"', "sh", str(count), str(gate)])
    process = begin(folder)
    until(count.exists)
    before = (attempt(folder) / "runner.json").read_bytes()
    assert subprocess.run(runner_argv(folder), check=False, timeout=20).returncode == 3
    gate.write_text("go\n")
    assert process.wait(20) == 0
    first = (attempt(folder) / "result.json").read_bytes()
    assert subprocess.run(runner_argv(folder), check=False, timeout=20).returncode == 3
    assert (attempt(folder) / "result.json").read_bytes() == first
    assert json.loads(before)["pid"] == process.pid
    assert count.read_text() == "x\n"


def test_many_runners_started_at_once_run_the_command_once(tmp_path):
    count = tmp_path / "count"
    folder = job_folder(tmp_path, command=["sh", "-c", 'echo x >> "$1"; sleep 0.5', "sh", str(count)])
    codes = sorted(process.wait(30) for process in [begin(folder) for _ in range(5)])
    assert codes == [0, 3, 3, 3, 3]
    assert count.read_text() == "x\n"


def test_an_attempt_whose_runner_died_is_not_begun_again(tmp_path):
    folder = job_folder(tmp_path, command=["sleep", "300"])
    process = begin(folder)
    child = until(lambda: child_of(folder))
    process.kill()
    process.wait()
    until(lambda: gone(child))
    assert subprocess.run(runner_argv(folder), check=False, timeout=20).returncode == 3
    assert not finished(folder)


def child_of(folder: Path) -> int | None:
    try:
        return json.loads((attempt(folder) / "runner.json").read_text())["child_pid"]
    except FileNotFoundError:
        return None


def test_a_spec_of_another_attempt_is_refused(tmp_path):
    folder = job_folder(tmp_path, attempt=2, command=["true"])
    assert subprocess.run(runner_argv(folder, 1), check=False, timeout=20, capture_output=True).returncode == 2
    assert not (folder / "attempts").exists()


def test_a_result_that_is_there_already_is_never_replaced(tmp_path):
    folder = job_folder(tmp_path, script='echo mine > "$PHYSLAB_ARTIFACTS/../../result.json"')
    assert subprocess.run(runner_argv(folder), check=False, timeout=20).returncode == 0
    assert (attempt(folder) / "result.json").read_text() == "mine\n"


def test_the_command_dies_with_a_runner_that_is_sigkilled(tmp_path):
    folder = job_folder(tmp_path, command=["sleep", "300"])
    process = begin(folder)
    child = until(lambda: child_of(folder))
    assert not gone(child)
    process.kill()
    process.wait()
    until(lambda: gone(child))


def wakes(listener: socket.socket) -> None:
    """Wait for one call of a runner at the engine's door."""
    line, _ = listener.accept()
    with line:
        assert line.recv(100) == b'{"op":"wake"}\n'


def test_the_engine_is_woken_at_the_start_and_at_the_end(tmp_path):
    gate = tmp_path / "gate"
    wait = "import os, sys, time\nwhile not os.path.exists(sys.argv[1]):\n    time.sleep(0.005)"
    with socket.socket(socket.AF_UNIX) as listener:
        place = f"/tmp/physlab-test-{os.urandom(6).hex()}"
        listener.bind(place)
        listener.listen()
        listener.settimeout(20)
        folder = job_folder(tmp_path, command=[sys.executable, "-c", wait, str(gate)], notify=place)
        process = begin(folder)
        try:
            wakes(listener)
            assert child_of(folder)  # whoever looks now sees that it runs
            assert not (folder / "attempts/1/result.json").exists()
        finally:
            gate.touch()
        wakes(listener)
        assert (folder / "attempts/1/result.json").exists()
        assert process.wait(20) == 0
        os.unlink(place)
    assert run(job_folder(tmp_path, command=["true"], notify=place))["outcome"] == "succeeded"


def test_a_runner_whose_folder_was_removed_leaves_at_once(tmp_path):
    folder = job_folder(tmp_path, command=["sleep", "300"])
    process = begin(folder)
    child = until(lambda: child_of(folder))

    def removed() -> bool:
        shutil.rmtree(folder, ignore_errors=True)  # the runner may just be writing into it
        return not folder.exists()

    until(removed)
    process.terminate()
    assert process.wait(20) != 0
    assert gone(child)
    assert not folder.exists()


@pytest.mark.faults
def test_a_full_disk_delays_the_result_and_loses_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted: {mounted.stderr.decode().strip()}")
    try:
        folder = job_folder(disk, command=["sh", "-c", "cat /dev/zero > fill 2>/dev/null; exit 5"])
        process = begin(folder)
        until(lambda: (attempt(folder) / "box/work/fill").exists() and os.statvfs(disk).f_bavail == 0)
        runner = psutil.Process(process.pid)
        until(lambda: not runner.children() and child_of(folder))
        assert not finished(folder)
        (attempt(folder) / "box/work/fill").unlink()
        assert process.wait(30) == 0
        assert result(folder)["exit_code"] == 5
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def test_the_runner_is_standard_library_only_and_old_syntax(tmp_path):
    for path in [RUNNER, *(RUNNER.parent / "runner_parts").glob("*.py")]:
        tree = ast.parse(path.read_text(), feature_version=(3, 8))
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []  # fmt: skip
            for name in names:
                assert name.split(".")[0] in {*sys.stdlib_module_names, "runner_parts", "physlab_mcp"}, (path, name)
    code = f"import sys; sys.argv = ['x']; sys.path.append({str(RUNNER.parent)!r}); import runner; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-S", "-P", "-c", code], capture_output=True, text=True, check=True).stdout
    assert "runner_parts.attempt" in loaded
    assert "physlab_mcp" not in loaded
    assert "psutil" not in loaded
