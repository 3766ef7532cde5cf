"""Laptops: POSIX has one branch, nobody forks, and all of physlab works where Windows would run it.

The second half runs the real programs behind tests/backends/windows_like.py, a likeness of Windows on POSIX.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from mcp import Client, StdioServerParameters
from tests.waiting import until

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "physlab_mcp"
LIKENESS = Path(__file__).with_name("windows_like.py")
POSIX_ONLY = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty"}
# The runner is a program of its own that runs where physlab is not: it has the second and last branch.
BRANCHES = {"backends/process/posix.py", "backends/runner_parts/posix.py"}
# Programs for the nodes of clusters, which are POSIX.
ON_NODES = {"backends/slurm/element_run.py", "backends/slurm/environment_maker.py", "backends/kubernetes/pod.py"}
DEADLINE_S = 120
GRAPH = {
    "nodes": [
        {"id": "r", "tool": "constants_get", "params": {"name": "R_inf"}},
        {
            "id": "p",
            "tool": "flow",
            "method": "passthrough",
            "params": {"value": {"$from": "r", "key": "values.value"}},
        },
    ],
    "metadata": {"title": "A number handed on"},
}


def imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((one.name, node.lineno) for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from ((f"{node.module}.{one.name}", node.lineno) for one in node.names)


def trees() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text())


def test_what_only_posix_has_is_imported_in_its_branches_alone():
    found = {
        f"{name}:{line} {module}"
        for name, tree in trees()
        for module, line in imported(tree)
        if module.split(".")[0] in POSIX_ONLY and name not in BRANCHES | ON_NODES
    }
    assert found == set()


def test_nobody_forks():
    forks = {"fork", "forkpty", "ForkProcess", "set_start_method", "get_context"}
    found = {
        f"{name}:{node.lineno} {node.attr}"
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in forks and name not in BRANCHES | ON_NODES
    }
    pools = {
        f"{name}:{line} {module}"
        for name, tree in trees()
        for module, line in imported(tree)
        if module.split(".")[0] == "multiprocessing" or module.endswith("ProcessPoolExecutor")
    }
    assert found | pools == set()


class Windows:
    """Programs of physlab on a data directory of their own, as if on Windows."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder, self.data = folder, data
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("PHYSLAB_")}
        self.env |= {"PHYSLAB_DATA_DIR": str(data), "HOME": str(folder), "CUDA_VISIBLE_DEVICES": ""}

    def code(self, text: str, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, str(LIKENESS), "-c", text, *words],
            cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=DEADLINE_S, check=False,
        )  # fmt: skip
        log = self.data / "logs" / "engine.log"
        told = log.read_text() if log.exists() else ""
        assert done.returncode == 0 or not check, f"{done.stdout}\n{done.stderr}\n{told}"
        return done

    def physlab(self, *words: str) -> Any:
        return json.loads(self.code("import sys\nfrom physlab_mcp.cli import main\nsys.exit(main())", "--json", *words).stdout)  # fmt: skip

    def server(self) -> StdioServerParameters:
        text = "from physlab_mcp.server import main\nmain()"
        words = [str(LIKENESS), "-c", text, "--data-dir", str(self.data), "--root", str(self.folder)]
        return StdioServerParameters(command=sys.executable, args=words, env=self.env, cwd=str(self.folder))


@pytest.fixture
def windows(tmp_path: Path) -> Iterator[Windows]:
    data = Path(tempfile.mkdtemp(prefix="physlab-test-"))
    made = Windows(tmp_path, data)
    try:
        yield made
    finally:
        with contextlib.suppress(AssertionError, subprocess.SubprocessError, ValueError):
            made.physlab("engine", "stop")
        for process in psutil.process_iter():  # whatever was left by a defect
            with contextlib.suppress(psutil.Error):
                if process.environ().get("PHYSLAB_DATA_DIR") == str(data):
                    process.kill()
        shutil.rmtree(data, ignore_errors=True)


def test_the_likeness_is_one(windows):
    answer = windows.code(
        "import importlib, json, subprocess, sys, asyncio\n"
        "missing = []\n"
        "for name in ['fcntl', 'resource', 'pwd', 'grp', 'termios', 'pty']:\n"
        "    try: importlib.import_module(name)\n"
        "    except ImportError: missing.append(name)\n"
        "import os, signal, socket\n"
        "from physlab_mcp.backends import process\n"
        "from physlab_mcp import paths\n"
        "has = [n for m, n in [(os, 'fork'), (signal, 'SIGKILL'), (socket, 'AF_UNIX')] if hasattr(m, n)]\n"
        "inner = subprocess.Popen([sys.executable, '-S', '-c', 'import sys; print(sys.platform)'], stdout=-1)\n"
        "print(json.dumps([missing, has, process.FileLock.__module__, sys.platform, os.name,\n"
        "    inner.communicate()[0].decode().strip(), paths.DataDir('x').engine_socket().name]))\n"
    )
    missing, has, branch, *rest = json.loads(answer.stdout)
    assert missing == ["fcntl", "resource", "pwd", "grp", "termios", "pty"]
    assert has == []
    assert branch == "physlab_mcp.backends.process.windows"
    assert rest == ["win32", "nt", "win32", "engine.addr"]


async def test_the_server_lists_its_tools_and_runs_a_graph_to_its_result(windows):
    with anyio.fail_after(DEADLINE_S):
        async with Client(windows.server()) as client:
            assert len((await client.list_tools()).tools) == 2
            call = {"method": "run_dag", "spec": GRAPH, "wait_s": 25}
            body = (await client.call_tool("experiment_orchestrator", call)).structured_content
            while body["state"] in ("pending", "running"):
                again = {"method": "run_status", "run_id": body["run_id"], "wait_s": 25}
                body = (await client.call_tool("experiment_orchestrator", again)).structured_content
    assert body["state"] == "succeeded", body
    assert [node["values"]["value"] for node in body["nodes"]] == [pytest.approx(10973731.568, rel=1e-9)] * 2
    port, token = (windows.data / "engine.addr").read_text().split()
    assert int(port) > 0
    assert len(token) > 30


def test_the_command_line_runs_a_graph_with_figures(windows):
    name = windows.folder / "graph.json"
    line = {"id": "o", "tool": "quantum", "method": "spectral_line", "params": {"upper_n": 3, "lower_n": 2}}
    name.write_text(json.dumps({**GRAPH, "nodes": [*GRAPH["nodes"], line]}))
    done = windows.physlab("run", str(name))
    assert done["state"] == "succeeded"
    assert all(Path(path).stat().st_size for path in done["figures"])
    status = windows.physlab("engine", "status")
    assert status["running"]
    assert windows.physlab("engine", "stop")["stopped"]
    assert not (windows.data / "engine.addr").exists()
    # A second engine serves the same graph from what the first one left.
    again = windows.physlab("run", str(name))
    assert all(node["cached"] for node in again["nodes"])


def test_a_command_runs_keeps_its_files_and_a_runaway_ends(windows):
    name = windows.folder / "commands.json"
    loop = {"command": [sys.executable, "-c", "while True: pass"], "timeout_s": 1}
    text = "open('t.csv', 'w').write('a,b\\n1,2\\n'); print('said')"
    keep = {"command": [sys.executable, "-c", text], "artifacts": ["*.csv"]}
    name.write_text(json.dumps({"nodes": [{"id": "k", "tool": "command", "params": keep}]}))
    done = windows.physlab("run", str(name))
    assert done["state"] == "succeeded", done
    name.write_text(json.dumps({"nodes": [{"id": "l", "tool": "command", "params": loop}]}))
    text = "import sys\nfrom physlab_mcp.cli import main\nsys.exit(main())"
    answer = windows.code(text, "--json", "run", str(name), check=False)
    assert answer.returncode == 1, answer
    assert json.loads(answer.stdout)["nodes"][0]["failure"]["code"] == "timeout"


def test_a_stale_or_half_written_address_is_an_engine_that_is_not_there(windows):
    for text in ("", "1", f"1 {'x' * 43}"):
        (windows.data / "engine.addr").write_text(text)
        assert windows.physlab("engine", "status")["running"] is False


def test_a_spool_is_written_byte_for_byte(windows):
    text = (
        "import sys\nfrom physlab_mcp.nodes.worker import Warm\nfrom physlab_mcp.backends.local.spool import read_frames\n"
        "worker = Warm(None)\nworker._place = sys.argv[1]\n"
        "for size in range(40): worker._spooled(b'\\n' * size)\n"
        "print(len(read_frames(open(sys.argv[1], 'rb').read())))\n"
    )
    assert windows.code(text, str(windows.folder / "w.spool")).stdout.strip() == "40"


def test_nobody_without_the_token_is_heard_by_the_engine(windows):
    name = windows.folder / "graph.json"
    name.write_text(json.dumps(GRAPH))
    windows.physlab("run", "--detach", str(name))
    until(lambda: windows.physlab("engine", "status")["running"])
    port, token = (windows.data / "engine.addr").read_text().split()

    async def ask(first: dict[str, str]) -> bytes:
        async with await anyio.connect_tcp("127.0.0.1", int(port)) as line:
            await line.send(json.dumps(first).encode() + b'\n{"op":"status"}\n')
            try:
                return await line.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return b""

    async def both() -> tuple[bytes, bytes]:
        with anyio.fail_after(20):
            return await ask({"token": "no"}), await ask({"token": token})

    refused, heard = anyio.run(both)
    assert refused == b""
    assert b"status" in heard
