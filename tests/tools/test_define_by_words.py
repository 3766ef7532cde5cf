"""`define_dag` from words: a stored DAG and the call that runs it, or what a model needs to write the spec itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from physlab_mcp.config import Config
from physlab_mcp.lab import Lab
from physlab_mcp.tools.reply import Reply
from physlab_mcp.tools.router import Router

RUNS = "experiment_orchestrator"


async def define(router: Router, text: str, **more: Any) -> Reply:
    return await router.call(RUNS, {"method": "define_dag", "natural_language": text, **more})


async def test_words_become_a_stored_dag_and_the_call_that_runs_it(live: Router):
    reply = await define(live, "Convert 10.2 eV to joules")
    assert not reply.is_error, reply.text
    body = reply.structured
    assert body["planner"] == "grammar"
    assert body["spec"]["nodes"][0]["tool"] == "units_convert"
    ended = await live.call(RUNS, body["next"])
    assert ended.structured["state"] == "succeeded", ended.text
    assert "1.634" in json.dumps(ended.structured)


async def test_the_same_graph_has_the_same_id_in_words_and_as_a_spec(router: Router):
    body = (await define(router, "Compute the hydrogen 3d orbital with m = 2")).structured
    again = await router.call(RUNS, {"method": "define_dag", "spec": body["spec"]})
    assert again.structured["dag_id"] == body["dag_id"]


async def test_a_sweep_and_a_report_stand_in_the_calls_to_make(router: Router):
    reply = await define(
        router,
        "Sweep the barrier width from 0.1 to 1 nm in 4 steps for an electron of 0.5 eV tunnelling through a 1 eV barrier",
    )
    space = reply.structured["next"]["sweep"]["space"]
    [(name, values)] = space.items()
    assert name.endswith(".barrier_width_nm")
    assert values == {"linspace": [0.1, 1.0, 4]}
    reply = await define(router, "Compute the hydrogen 2p orbital and write a report titled 'Two p'")
    assert [one["method"] for one in reply.structured["after"]] == ["publish_report"]
    assert "Two p" in reply.text


async def test_words_that_are_not_understood_come_back_with_all_that_a_spec_needs(router: Router):
    reply = await define(router, "Compute the hydrogen 2p orbital and then train a neural network on it")
    assert not reply.is_error
    body = reply.structured
    assert body["state"] == "needs_spec"
    assert any("neural network" in one for one in body["unparsed"])
    assert len(body["examples"]) == 2
    assert {"nodes", "edges"} <= body["schema"]["properties"].keys()
    assert body["candidates"]
    assert [one["tool"] for one in body["skeleton"]["nodes"]] == ["quantum"]
    assert "dag_id" not in body
    assert len(json.dumps(body)) + len(reply.text) < 9_000
    for example in body["examples"]:
        checked = await router.call(RUNS, {"method": "validate_dag", "spec": example["spec"]})
        assert checked.structured["ok"], checked.text
    followed = await router.call(RUNS, body["next"])  # the skeleton is what was understood; a model completes it
    assert not followed.is_error, followed.text


@pytest.mark.parametrize(
    "arguments",
    [{}, {"spec": {"nodes": []}, "natural_language": "Convert 1 eV to joule"}, {"natural_language": ""}],
)
async def test_exactly_one_of_spec_and_words(router: Router, arguments: dict[str, Any]):
    reply = await router.call(RUNS, {"method": "define_dag", **arguments})
    assert reply.is_error
    assert reply.structured["error"]["code"] == "invalid_request"


async def test_words_beyond_a_cap_need_allow_large(router: Router):
    text = "Surface plot of x**2 - y**2 with x from -2 to 2 and y from -1 to 1 with 200 samples"
    refused = await define(router, text)
    assert refused.structured.get("state") == "needs_spec"
    assert "allow_large" in refused.text
    assert (await define(router, text, allow_large=True)).structured["validated"]


class Handler(BaseHTTPRequestHandler):
    """Answers like a chat completion, always with one graph; remembers the keys it was shown."""

    keys: ClassVar[list[str | None]] = []
    status = 200

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).keys.append(self.headers.get("Authorization"))
        node = {"id": "c", "tool": "constants_get", "params": {"name": "c"}}
        content = json.dumps({"spec": {"nodes": [node], "edges": [], "metadata": {"title": "Light"}}})
        body = json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()
        self.send_response(type(self).status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    Handler.keys, Handler.status = [], 200
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join(10)


def with_planner(lab: Lab, endpoint: str) -> Router:
    section = {"base_url": endpoint, "model": "m", "api_key": {"env": "PHYSLAB_TEST_KEY"}}
    config = Config.model_validate({"planner": section})
    return Lab(config, lab.data, lab.store, lab.engine, lab.roots).router


async def test_a_configured_model_plans_what_the_grammar_cannot(
    lab: Lab, endpoint: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PHYSLAB_TEST_KEY", "sk-hidden")
    router = with_planner(lab, endpoint)
    body = (await define(router, "Tell me how fast light goes, my dear")).structured
    assert body["planner"] == "remote"
    assert Handler.keys == ["Bearer sk-hidden"]
    again = (await define(router, "Tell me how fast light goes, my dear")).structured
    assert again["dag_id"] == body["dag_id"]
    assert len(Handler.keys) == 1  # from the cache of plans
    assert (await define(router, "Convert 1 eV to joule")).structured["planner"] == "grammar"
    assert len(Handler.keys) == 1


async def test_a_model_that_cannot_be_asked_leaves_the_answer_of_the_grammar(
    lab: Lab, endpoint: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PHYSLAB_TEST_KEY", "sk-hidden")
    Handler.status = 500
    reply = await define(with_planner(lab, endpoint), "Tell me how fast light goes, my dear")
    assert reply.structured["state"] == "needs_spec"
    assert "remote planner" in reply.text
    assert "sk-hidden" not in reply.text + json.dumps(msgspec.to_builtins(reply.structured))


def test_the_plans_lie_in_the_data_directory(tmp_path: Path):
    from physlab_mcp.paths import DataDir

    assert DataDir(tmp_path).plans.parent == tmp_path
