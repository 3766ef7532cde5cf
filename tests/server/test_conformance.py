"""The independent suites: @modelcontextprotocol/conformance and the inspector, run under Node 22 from .tools/."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from physlab_mcp.tools.router import TOOLS

ROOT = Path(__file__).parents[2]
BIN = ROOT / ".tools" / "node_modules" / ".bin"
NODE = ROOT / ".tools" / "node_modules" / "node" / "bin" / "node"


@pytest.fixture(scope="module")
def node() -> dict[str, str]:
    """The environment for Node programs; installs them at first use, skips where that cannot be done."""
    done = subprocess.run(
        [ROOT / "scripts" / "install-test-tools.sh"], capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode or not NODE.exists():
        reason = f"scripts/install-test-tools.sh: {done.stderr.strip()[-300:] or 'no Node 22'}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)  # -ra prints it
    return {**os.environ, "PATH": f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real server with the suite's fixtures beside it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("conformance")
    program = Path(__file__).with_name("conformance_fixtures.py")
    log = (folder / "server.log").open("w")
    server = subprocess.Popen([sys.executable, program, str(port), str(folder / "data")], stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert server.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield f"http://127.0.0.1:{port}/mcp"
    server.terminate()
    server.wait(20)
    log.close()


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
def test_conformance_of_every_scenario_of_a_version(node, url, tmp_path, version):
    done = subprocess.run(
        [NODE, BIN / "conformance", "server", "--url", url, "--requirements", version, "-o", tmp_path / "results"],
        capture_output=True, text=True, timeout=400, env=node, cwd=tmp_path, check=False,
    )  # fmt: skip
    failures = [
        f"{file.parent.name}: {check.get('id')}: {check.get('errorMessage', '')[:300]}"
        for file in sorted((tmp_path / "results").glob("*/checks.json"))
        for check in json.loads(file.read_text())
        if check.get("status") == "FAILURE"
    ]
    total = re.search(r"Total: (\d+) passed, (\d+) failed", done.stdout)
    assert failures == [], done.stdout[-2000:]
    assert total is not None
    assert int(total[1]) >= 80
    assert total[2] == "0"


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_inspector_lists_and_calls_over_stdio(node, tmp_path, era):
    def inspect(*words: str) -> dict[str, object]:
        server = [
            sys.executable,
            "-c",
            "from physlab_mcp.server import main; main()",
            "--data-dir",
            str(tmp_path / "data"),
        ]
        done = subprocess.run(
            [NODE, BIN / "mcp-inspector", "--cli", "--protocol-era", era, *words, "--", *server],
            capture_output=True, text=True, timeout=120, env=node, cwd=tmp_path, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
        return json.loads(done.stdout)

    listed = inspect("--method", "tools/list")
    assert [tool["name"] for tool in listed["tools"]] == list(TOOLS)
    arguments = json.dumps({"method": "catalog", "kind": "backends"})
    words = ("--method", "tools/call", "--tool-name", "experiment_orchestrator", "--tool-args-json", arguments)
    assert inspect(*words)["structuredContent"]["total"] == 2
