"""The remote planner against a real HTTP server that speaks like an OpenAI-compatible one."""

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from physlab_mcp.errors import RequestError, UnavailableError
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.words import NeedsSpec, Planned
from physlab_mcp.words.remote import Endpoint, plan_remotely

KEY = "sk-very-secret-0123456789"
ORBITAL = {"id": "orbital", "tool": "quantum", "method": "hydrogen_orbital", "params": {"n": 2, "l": 1}}
GOOD = {"spec": {"nodes": [ORBITAL], "edges": [], "metadata": {"title": "2p"}}, "assumptions": ["m = 0"]}
BAD = {"spec": {"nodes": [{**ORBITAL, "params": {"n": 2, "l": 5, "spin": 1}}]}}


class Model:
    """A server that gives prepared answers in turn, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: list = []
        self.asked: list[dict] = []
        self.keys: list[str | None] = []
        self.released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                outer.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                outer.keys.append(self.headers.get("Authorization"))
                outer.answer(self)

            def log_message(self, *_args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        status, content = self.answers.pop(0)
        if status == "hang":
            self.released.wait(30)
            return
        if status == "drip":
            handler.send_response(200)
            handler.end_headers()
            while not self.released.wait(0.02):
                try:
                    handler.wfile.write(b" ")
                except OSError:
                    return
            return
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        handler.send_response(status)
        if status == 302:
            handler.send_header("Location", "http://127.0.0.1:1/elsewhere")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def says(self, *contents) -> None:
        for content in contents:
            text = content if isinstance(content, str) else json.dumps(content)
            self.answers.append((200, {"choices": [{"message": {"role": "assistant", "content": text}}]}))

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)

    def endpoint(self, timeout_s: float = 20.0) -> Endpoint:
        return Endpoint(
            f"http://127.0.0.1:{self.server.server_port}/v1", "test-model", read_key=lambda: KEY, timeout_s=timeout_s
        )


@pytest.fixture
def model():
    made = Model()
    yield made
    made.close()


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.load()


def test_a_sound_answer_becomes_the_plan(model, registry):
    model.says(GOOD)
    plan = plan_remotely("hydrogen 2p, please", registry, model.endpoint())
    assert isinstance(plan, Planned)
    assert plan.planner == "remote"
    assert plan.spec["nodes"] == [ORBITAL]
    assert plan.assumptions == ["m = 0"]
    asked = model.asked[0]
    assert (asked["model"], asked["temperature"]) == ("test-model", 0)
    assert asked["messages"][1] == {"role": "user", "content": "hydrogen 2p, please"}
    assert "quantum.hydrogen_orbital" in asked["messages"][0]["content"]
    assert model.keys == [f"Bearer {KEY}"]


def test_a_wrong_spec_is_sent_back_with_its_defects_and_mended(model, registry):
    model.says(BAD, "I am sorry, here it is.", f"```json\n{json.dumps(GOOD)}\n```")
    plan = plan_remotely("hydrogen 2p", registry, model.endpoint())
    assert isinstance(plan, Planned)
    assert len(model.asked) == 3
    repair = model.asked[1]["messages"][-1]["content"]
    assert "unknown_param" in repair
    assert "spin" in repair
    assert "not one JSON object" in model.asked[2]["messages"][-1]["content"]


def test_after_two_repairs_a_spec_is_asked_for(model, registry):
    model.says(BAD, BAD, BAD, GOOD)
    answer = plan_remotely("hydrogen 2p", registry, model.endpoint())
    assert isinstance(answer, NeedsSpec)
    assert len(model.asked) == 3
    assert answer.planner == "remote"
    assert answer.skeleton["nodes"][0]["id"] == "orbital"
    assert any("spin" in one["reason"] for one in answer.reasons)


def test_what_the_model_cannot_plan_is_told_at_once(model, registry):
    model.says({"needs_spec": [{"phrase": "caffeine", "reason": "no node type for molecules"}]})
    answer = plan_remotely("optimise caffeine", registry, model.endpoint())
    assert isinstance(answer, NeedsSpec)
    assert answer.unparsed == ["caffeine"]
    assert len(model.asked) == 1


def test_programs_are_never_planned(model, registry):
    command = {"spec": {"nodes": [{"id": "x", "tool": "command", "params": {"command": ["rm", "-rf", "/"]}}]}}
    model.says(command, command, command)
    answer = plan_remotely("tidy up", registry, model.endpoint())
    assert isinstance(answer, NeedsSpec)
    assert "closed_node_type" in model.asked[1]["messages"][-1]["content"]


def test_a_sweep_and_calls_are_checked_too(model, registry):
    wrong = {
        **GOOD,
        "sweep": {"space": {"orbital.spin": [1, 2]}},
        "after": [{"method": "run_cancel", "run_id": "run-1"}],
    }
    right = {
        **GOOD,
        "sweep": {"space": {"orbital.m": [-1, 0, 1]}},
        "after": [{"method": "publish_report", "title": "2p"}],
    }
    model.says(wrong, right)
    plan = plan_remotely("hydrogen 2p for all m", registry, model.endpoint())
    assert isinstance(plan, Planned)
    assert plan.sweep == {"space": {"orbital.m": [-1, 0, 1]}}
    assert plan.after == [{"method": "publish_report", "title": "2p"}]
    repair = model.asked[1]["messages"][-1]["content"]
    assert "spin" in repair
    assert "publish_report" in repair


def test_equal_questions_are_answered_from_the_cache(model, registry, tmp_path):
    model.says(GOOD)
    first = plan_remotely("hydrogen 2p", registry, model.endpoint(), cache=tmp_path)
    assert plan_remotely("hydrogen 2p", registry, model.endpoint(), cache=tmp_path) == first
    assert len(model.asked) == 1
    model.says(GOOD)
    plan_remotely("hydrogen 2p again", registry, model.endpoint(), cache=tmp_path)
    assert len(model.asked) == 2
    for file in tmp_path.iterdir():
        assert KEY not in file.read_text()
        file.write_text("{ damaged")
    model.says(GOOD)
    assert plan_remotely("hydrogen 2p", registry, model.endpoint(), cache=tmp_path) == first
    assert len(model.asked) == 3


def test_failures_are_not_kept(model, registry, tmp_path):
    model.says(BAD, BAD, BAD)
    plan_remotely("hydrogen 2p", registry, model.endpoint(), cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((401, {"error": f"bad key {KEY}"}), "planner.api_key"),
        ((429, {"error": "slow down"}), "limits"),
        ((500, {"error": "oops"}), "500"),
        ((200, b"<html>hello</html>"), "chat completion"),
        ((200, {"choices": []}), "chat completion"),
        ((302, {"moved": True}), "302"),
    ],
)
def test_what_is_no_answer_is_unavailable_and_never_shows_the_key(model, registry, answer, told, caplog):
    caplog.set_level(logging.DEBUG)
    model.answers.append(answer)
    with pytest.raises(UnavailableError) as caught:
        plan_remotely("hydrogen 2p", registry, model.endpoint())
    assert told in str(caught.value)
    assert KEY not in str(caught.value)
    assert KEY not in json.dumps(caught.value.as_dict())
    assert KEY not in caplog.text
    assert KEY not in repr(model.endpoint())


@pytest.mark.parametrize("how", ["hang", "drip"])
def test_a_server_that_never_ends_is_given_up(model, registry, how):
    model.answers.append((how, None))
    with pytest.raises(UnavailableError, match="did not answer"):
        plan_remotely("hydrogen 2p", registry, model.endpoint(timeout_s=0.3))


def test_nobody_at_home_is_unavailable(model, registry):
    endpoint = model.endpoint()
    model.close()
    with pytest.raises(UnavailableError, match="cannot be reached"):
        plan_remotely("hydrogen 2p", registry, endpoint)


def test_only_web_addresses_are_asked(registry):
    with pytest.raises(RequestError, match="not a URL"):
        plan_remotely("hydrogen 2p", registry, Endpoint("file:///etc", "m"))
