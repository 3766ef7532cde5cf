from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS

from physlab_mcp.engine.link import ask
from physlab_mcp.errors import ForbiddenError
from physlab_mcp.paths import DataDir
from physlab_mcp.server import build
from physlab_mcp.server.http import http_app, http_token, is_loopback
from physlab_mcp.tools.router import TOOLS

PROGRAM = "from physlab_mcp.server import main; main()"
INITIALIZE = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}  # fmt: skip
ACCEPT = {"accept": "application/json, text/event-stream"}


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_stdio_serves_a_whole_experiment(tmp_path, era):
    data = tmp_path / "data"
    server = StdioServerParameters(
        command=sys.executable, args=["-c", PROGRAM, "--data-dir", str(data), "--root", str(tmp_path)]
    )
    with anyio.fail_after(90):
        async with Client(server, mode=era) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == list(TOOLS)
            spec = {"nodes": [{"id": "p", "tool": "flow", "method": "passthrough", "params": {"value": 1}}]}
            arguments = {"method": "run_dag", "spec": spec, "wait_s": 25}
            reply = await client.call_tool("experiment_orchestrator", arguments)
            assert reply.structured_content["state"] == "succeeded"
        await ask(DataDir(data), "stop")


def test_stdout_carries_the_protocol_only_and_nothing_heavy_is_imported_at_start(tmp_path):
    check = (
        "import sys, atexit\n"
        "heavy = {'numpy', 'scipy', 'matplotlib', 'networkx', 'reportlab', 'pint', 'PIL'}\n"
        "atexit.register(lambda: sys.stderr.write('HEAVY ' + ' '.join(sorted(heavy & set(sys.modules))) + '\\n'))\n"
    )
    import json

    messages = [INITIALIZE, {"jsonrpc": "2.0", "method": "notifications/initialized"},
                {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}]  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-c", check + PROGRAM, "--data-dir", str(tmp_path / "data")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as server:  # fmt: skip
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write("".join(json.dumps(one) + "\n" for one in messages))
        server.stdin.flush()
        answers = [json.loads(server.stdout.readline()) for _ in range(2)]  # before the end of input ends the server
        rest, errors = server.communicate(timeout=60)
    assert [one.get("id") for one in answers] == [1, 2]
    assert rest == ""
    assert "HEAVY \n" in errors


@asynccontextmanager
async def served(lab, token: str | None) -> AsyncIterator[tuple[str, httpx2.AsyncClient]]:
    """The server's HTTP application, called in this process."""
    app = http_app(build(lab), host="127.0.0.1", token=token)
    inner = app._app
    async with inner.router.lifespan_context(inner):
        headers = {"authorization": f"Bearer {token}"} if token else {}
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8765", headers=headers) as client:
            yield "http://127.0.0.1:8765/mcp", client


async def test_http_answers_a_client_that_has_the_token(lab):
    async with (
        served(lab, "secret") as (url, http),
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        assert [tool.name for tool in (await client.list_tools()).tools] == list(TOOLS)
        reply = await client.call_tool("distributed_collaboration", {"method": "job_list"})
        assert reply.structured_content == {"rows": []}


@pytest.mark.parametrize("value", [None, "Bearer wrong", "Basic secret", "Bearer ", "secret"])
async def test_http_refuses_whoever_lacks_the_token(lab, value):
    async with served(lab, "secret") as (url, http):
        del http.headers["authorization"]
        headers = {**ACCEPT, **({"authorization": value} if value else {})}
        answer = await http.post(url, json=INITIALIZE, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("token", [None, "secret"])
@pytest.mark.parametrize(
    ("headers", "codes"),
    [
        ({"host": "evil.example"}, {421, 403}),
        ({"origin": "https://evil.example"}, {403}),
        ({"content-type": "text/plain"}, {400, 415}),
    ],
)
async def test_http_checks_host_origin_and_content_type_with_and_without_token(lab, token, headers, codes):
    import json

    async with served(lab, token) as (url, http):
        good = await http.post(
            url, content=json.dumps(INITIALIZE), headers={**ACCEPT, "content-type": "application/json"}
        )
        sent = {**ACCEPT, "content-type": "application/json", **headers}
        answer = await http.post(url, content=json.dumps(INITIALIZE), headers=sent)
    assert good.status_code == 200
    assert answer.status_code in codes


async def test_without_a_token_only_loopback_is_served(lab):
    with pytest.raises(ForbiddenError, match="loopback"):
        http_app(build(lab), host="0.0.0.0", token=None)
    assert is_loopback("::1")
    assert not is_loopback("192.0.2.1")


@pytest.mark.skipif(os.name != "posix", reason="POSIX modes")
def test_the_token_is_made_once_and_readable_by_its_owner_only(tmp_path: Path):
    path = tmp_path / "http.token"
    token = http_token(path)
    assert len(token) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert http_token(path) == token
    path.chmod(0o644)
    with pytest.raises(ForbiddenError):
        http_token(path)


def started(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)


def refusal(*words: str) -> str:
    done = started(*words)
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    assert "serves" not in done.stderr
    return done.stderr


def test_a_port_that_is_taken_is_told(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        told = refusal("--http", "--port", str(port), "--data-dir", str(tmp_path / "data"))
    assert f"127.0.0.1:{port}" in told
    assert "--port" in told


@pytest.mark.parametrize("port", ["99999", "-1"])
def test_a_port_that_is_none_is_wrong_usage(port):
    assert "0 to 65535" in refusal("--http", f"--port={port}")


def test_serving_others_without_a_token_is_refused_before_it_is_announced(tmp_path):
    config = tmp_path / "off.json"
    config.write_text('{"auth": {"mode": "off"}}')
    data = str(tmp_path / "data")
    assert "loopback" in refusal(
        "--http", "--host", "0.0.0.0", "--port", "0", "--config", str(config), "--data-dir", data
    )


def test_a_data_directory_that_is_none_is_told(tmp_path):
    place = tmp_path / "file"
    place.touch()
    assert f"The data directory {place} cannot be used" in refusal("--data-dir", str(place))
    assert f"The data directory {place} cannot be used" in refusal("--http", "--port", "0", "--data-dir", str(place))


def test_what_is_announced_answers(tmp_path):
    command = [sys.executable, "-c", PROGRAM, "--http", "--port", "0", "--data-dir", str(tmp_path / "data")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            url = server.stderr.readline().split()[2].rstrip(";")
            assert httpx2.post(url, json=INITIALIZE, headers=ACCEPT).status_code == 401
            token = (tmp_path / "data" / "http.token").read_text().strip()
            headers = {**ACCEPT, "authorization": f"Bearer {token}"}
            assert httpx2.post(url, json=INITIALIZE, headers=headers).status_code == 200
        finally:
            server.terminate()


@pytest.mark.parametrize(
    ("name", "arguments", "wrong"),
    [
        ("diagnose_failure", {}, {"missing": ["job_id"], "unknown": []}),
        ("compare_runs", {"run_a": "run-1"}, {"missing": ["run_b"], "unknown": []}),
        ("design_experiment", {"goal": "x", "gaol": "y"}, {"missing": [], "unknown": ["gaol"]}),
    ],
)
async def test_wrong_arguments_of_a_prompt_are_invalid_parameters(lab, name, arguments, wrong):
    async with Client(build(lab)) as client:
        with pytest.raises(MCPError) as caught:
            await client.get_prompt(name, arguments)
    assert caught.value.code == INVALID_PARAMS
    assert caught.value.data == {"prompt": name, **wrong}
    assert all(one in caught.value.message for one in (*wrong["missing"], *wrong["unknown"]))
