"""What a task writes, in whatever way, stands in the log of its own job."""

from __future__ import annotations

import sys
from pathlib import Path

from physlab_mcp.library.engine import Engine
from physlab_mcp.library.workflow import ExperimentalWorkflow
from physlab_mcp.nodes.worker import LazyLog

DEADLINE_S = 120

PROJECT = """
import ctypes, io, logging, os, subprocess, sys

def writes(x):
    print("text", x)
    sys.stdout.buffer.write(b"bytes\\n")
    sys.stderr.buffer.write(b"bytes of stderr\\n")
    subprocess.run(["echo", "a child"], stdout=sys.stdout, check=True)
    ctypes.CDLL(None).puts(b"of C")
    ctypes.CDLL(None).fflush(None)
    logging.basicConfig()
    logging.getLogger("own").warning("logged %s", x)
    from rich.console import Console
    Console().print("[b]rich[/b]")
    told = {name: getattr(sys.stdout, name) for name in ("encoding", "errors", "closed", "name")}
    told |= {"isatty": sys.stdout.isatty(), "writable": sys.stdout.writable(), "fileno": sys.stdout.fileno()}
    sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding="latin-1")
    print("wrapped \\xe9")
    return told | {"pid": os.getpid()}
"""


def test_every_way_of_writing_arrives_in_the_log_of_its_job(engine: Engine, project):
    made = ExperimentalWorkflow("writes").add_task("writes", project(writing=PROJECT).writes)
    results = engine.wait(engine.submit(made.add_parameter_space({"x": [1, 2, 3]})), timeout_s=DEADLINE_S)
    for point in results:
        assert point.succeeded, point.error
        values = point.tasks["writes"].values
        values.pop("pid")
        assert values == {
            "encoding": "utf-8", "errors": "replace", "closed": False, "name": "<stdout>", "isatty": False,
            "writable": True, "fileno": 1,
        }  # fmt: skip
    data = Path(engine._bridge._options["data_dir"])
    outs = sorted(path.read_bytes() for path in data.glob("jobs/*/*/attempts/1/stdout.log"))
    errs = sorted(path.read_bytes() for path in data.glob("jobs/*/*/attempts/1/stderr.log"))
    assert outs == [b"text %d\nbytes\na child\nof C\nrich\nwrapped \xe9\n" % x for x in (1, 2, 3)]
    assert errs == [b"bytes of stderr\nWARNING:own:logged %d\n" % x for x in (1, 2, 3)]


def test_a_stream_kept_from_an_earlier_call_writes_into_the_log_of_the_call_that_runs(tmp_path, monkeypatch):
    log = LazyLog(2, "stderr", "backslashreplace")
    kept = log.begin(lambda: tmp_path / "first")
    kept.write("one \udc80\n")
    kept.close()
    log.done()
    log.begin(lambda: tmp_path / "second")
    log.write(memoryview(b"two\n"))
    log.write(b"")
    log.done()
    assert (tmp_path / "first" / "stderr.log").read_text() == "one \\udc80\n"
    assert (tmp_path / "second" / "stderr.log").read_text() == "two\n"


def test_what_is_written_between_calls_makes_no_log(tmp_path, capfd):
    log = LazyLog(2, "stderr", "backslashreplace")
    text = log.begin(lambda: tmp_path / "only")
    log.done()
    print("late", file=text)
    assert capfd.readouterr().err == "late\n"
    assert not (tmp_path / "only").exists()
    assert sys.stderr is not text
