"""Planning by a remote model with an OpenAI-compatible chat endpoint (DeepSeek, a local server or any other).

Its answer is trusted no more than a caller's: it passes the same validation, may be repaired twice, and names no
programs to run. Blocking: call it in a thread. The key goes into one header and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from physlab_mcp.dags.sweep import formulas_of, read_sweep
from physlab_mcp.dags.targets import targets_of
from physlab_mcp.dags.validate import DEFAULT_LIMITS, Limits, validate
from physlab_mcp.errors import RequestError, UnavailableError
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.words.draft import Unparsed
from physlab_mcp.words.fields import slots_of
from physlab_mcp.words.lexicon import CLOSED
from physlab_mcp.words.needs_spec import EXAMPLES, NeedsSpec, needs_spec
from physlab_mcp.words.planner import Planned
from physlab_mcp.words.tokens import MAX_TEXT, plain, tokenize

MOST_REPAIRS = 2
MOST_REPLY_BYTES = 2_000_000
PROMPT_VERSION = 1
logger = logging.getLogger(__name__)


class Endpoint(msgspec.Struct, frozen=True):
    """Where the model is; `read_key` is called at each request, so that the key is stored nowhere."""

    base_url: str  # such as https://api.deepseek.com/v1
    model: str
    read_key: Callable[[], str] | None = None
    timeout_s: float = 60.0  # for each answer
    max_tokens: int = 4000


def plan_remotely(
    text: str,
    registry: Registry,
    endpoint: Endpoint,
    *,
    cache: Path | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Planned | NeedsSpec:
    """The graph that the model makes of the words, or what is missing; equal questions are answered from `cache`.

    Raises:
        RequestError: the text is too long, or the base URL is none.
        UnavailableError: the endpoint cannot be reached, refuses the key, or answers what is no chat completion.

    """
    if len(text) > MAX_TEXT:
        raise RequestError(
            f"The request has {len(text):,} characters.", field="natural_language", remedy=f"Keep it to {MAX_TEXT:,}."
        )
    system = _instructions(registry)
    kept = None if cache is None else cache / f"{_key(text, system, endpoint)}.json"
    answer = _kept(kept)
    if answer is not None:
        planned, defects = _judge(answer, registry, limits)
        if planned is not None and not defects:
            return planned
    messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    defects: list[dict[str, Any]] = []
    for _ in range(1 + MOST_REPAIRS):
        said = _ask(endpoint, messages)
        answer = _json(said)
        planned, defects = _judge(answer, registry, limits)
        if planned is not None and not defects:
            _keep(kept, answer)
            return planned
        if isinstance(answer, dict) and answer.get("needs_spec"):
            break
        told = json.dumps({"defects": defects[:20]}, ensure_ascii=False)
        messages += [
            {"role": "assistant", "content": said[:20_000]},
            {"role": "user", "content": f"Mend these defects and answer with the whole JSON object again. {told}"},
        ]
    return _missing(text, answer, defects, registry)


def _missing(text: str, answer: Any, defects: list[dict[str, Any]], registry: Registry) -> NeedsSpec:
    found = [
        Unparsed(str(one.get("phrase") or text.strip())[:500], str(one.get("message", ""))[:500]) for one in defects
    ]
    spec = answer.get("spec") if isinstance(answer, dict) else None
    skeleton = spec if isinstance(spec, dict) and isinstance(spec.get("nodes"), list) else {}
    made = needs_spec(
        found or [Unparsed(text.strip(), "the model gave no plan.")], tokenize(plain(text)), registry, skeleton
    )
    return msgspec.structs.replace(made, planner="remote")


def _judge(answer: Any, registry: Registry, limits: Limits) -> tuple[Planned | None, list[dict[str, Any]]]:
    """The plan, or every defect as validation tells it."""
    if not isinstance(answer, dict):
        return None, [_defect("malformed", "The answer is not one JSON object.")]
    missing = answer.get("needs_spec")
    if missing:
        rows = missing if isinstance(missing, list) else [missing]
        return None, [
            {"code": "needs_spec", "phrase": str(one.get("phrase", "")), "message": str(one.get("reason", ""))}
            for one in rows
            if isinstance(one, dict)
        ] or [_defect("needs_spec", str(missing)[:300])]
    spec = answer.get("spec")
    if not isinstance(spec, dict):
        return None, [_defect("malformed", "The answer has no object under spec.")]
    nodes = spec.get("nodes")
    defects = [
        _defect("closed_node_type", f"{one.get('tool')} is not planned from words.") | {"node": str(one.get("id"))}
        for one in (nodes if isinstance(nodes, list) else [])
        if isinstance(one, dict) and _closed(one, registry)
    ]
    validation = validate(spec, registry, limits=limits)
    defects += [{k: v for k, v in msgspec.to_builtins(one).items() if v is not None} for one in validation.errors]
    sweep = answer.get("sweep") or None
    if sweep is not None and validation.dag is not None:
        try:
            swept = formulas_of(read_sweep(sweep if isinstance(sweep, dict) else {}))
            targets_of(swept.names, validation.dag, registry, used=swept.used)
        except RequestError as error:
            defects.append(error.as_dict() | {"field": error.field or "sweep"})
    calls = answer.get("after") or []
    defects += _call_defects(calls)
    if defects or validation.dag is None:
        return None, defects or [_defect("malformed", "The spec is not sound.")]
    notes = answer.get("assumptions") or []
    told = [str(one)[:500] for one in notes][:50] if isinstance(notes, list) else []
    return Planned(spec, sweep, list(calls), told, planner="remote"), []


def _closed(node: Mapping[str, Any], registry: Registry) -> bool:
    tool, method = node.get("tool"), node.get("method")
    found = registry.find(tool, method if isinstance(method, str) else None) if isinstance(tool, str) else None
    return found is not None and found.name in CLOSED


def _call_defects(calls: Any) -> list[dict[str, Any]]:
    if not isinstance(calls, list):
        return [_defect("malformed", "after is a list of calls.")]
    known = {"method", "title", "authors", "abstract"}
    return [
        _defect("malformed", "after holds only {method: publish_report, title, authors, abstract}.")
        for one in calls
        if not isinstance(one, dict) or one.get("method") != "publish_report" or not set(one) <= known
    ]


def _defect(code: str, message: str) -> dict[str, Any]:
    return {"code": code, "message": message, "remedy": "Answer as the instructions say."}


def _instructions(registry: Registry) -> str:
    kinds = [_described(one) for one in registry if one.name not in CLOSED]
    return "\n".join(
        [
            "You turn a request in words into a graph of computations. Answer with one JSON object and nothing else:",
            '{"spec": {"nodes": [{"id", "tool", "method", "params"}], "edges": [{"from", "to"}], "metadata": {"title"}},',
            ' "sweep": null or {"space": {"node_id.param": [values] or {"linspace": [a, b, n]} or {"range": [a, b, step]}}},',
            ' "after": [] or [{"method": "publish_report", "title": "…"}], "assumptions": ["each default that matters"]}',
            'A param takes another node\'s output by {"$from": "node_id", "key": "values.name"} or "arrays.name".',
            "Units stand at the end of parameter names; convert what the request says. Use only the node types below.",
            "Do exactly what is asked, all of it, and nothing else. If some of it cannot be done with these node types,",
            'answer {"needs_spec": [{"phrase": "words of the request", "reason": "…"}]} instead of guessing.',
            "Worked examples:",
            *(json.dumps(one, ensure_ascii=False) for one in EXAMPLES),
            "Node types:",
            *kinds,
        ]
    )


def _described(node_type: Any) -> str:
    params = []
    for slot in slots_of(node_type).values():
        kind = "|".join(slot.choices) if slot.choices else slot.kind
        state = (
            "required" if slot.required else f"default {json.dumps(slot.default, default=str, ensure_ascii=False)[:60]}"
        )
        params.append(f"{slot.name}: {kind}, {state}" + (f" ({slot.about})" if slot.about else ""))
    outputs = [f"values.{name}" for name in node_type.outputs] + [f"arrays.{name}" for name in node_type.arrays]
    return f"- {node_type.name}: {node_type.summary}\n  params: {'; '.join(params)}\n  outputs: {', '.join(outputs)}"


def _key(text: str, system: str, endpoint: Endpoint) -> str:
    parts = [str(PROMPT_VERSION), text.strip(), endpoint.model, endpoint.base_url.rstrip("/"), system]
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()


def _kept(path: Path | None) -> Any:
    if path is None:
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _keep(path: Path | None, answer: Any) -> None:
    """Write the answer at once and whole; a full disk costs only the cache."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False, encoding="utf-8") as file:
            json.dump(answer, file, ensure_ascii=False)
        Path(file.name).replace(path)
    except OSError as error:
        logger.warning("the plan could not be kept in %s: %s", path.parent, error)


def _json(said: str) -> Any:
    """The JSON object of an answer, also out of a code fence."""
    text = said.strip()
    if text.startswith("```"):
        text = text.split("\n", 1)[-1].rsplit("```", 1)[0]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another place."""

    def redirect_request(self, *_args: Any, **_named: Any) -> None:
        return None


def _ask(endpoint: Endpoint, messages: list[dict[str, str]]) -> str:
    """One chat completion.

    Raises:
        RequestError: the base URL is not http or https.
        UnavailableError: see `plan_remotely`.

    """
    where = f"{endpoint.base_url.rstrip('/')}/chat/completions"
    if urlsplit(where).scheme not in ("http", "https") or not urlsplit(where).hostname:
        raise RequestError(
            f"{endpoint.base_url!r} is not a URL.",
            field="planner.base_url",
            got=endpoint.base_url,
            example="https://api.deepseek.com/v1",
        )
    body = {"model": endpoint.model, "messages": messages, "temperature": 0, "stream": False}
    body |= {"max_tokens": endpoint.max_tokens, "response_format": {"type": "json_object"}}
    key = endpoint.read_key() if endpoint.read_key is not None else ""
    data, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(where, data, kind, method="POST")  # noqa: S310 - the scheme is checked above
    if key:
        request.add_unredirected_header("Authorization", f"Bearer {key}")
    reply = _fetched(request, endpoint, key)
    try:
        content: Any = json.loads(reply)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        content = None
    if not isinstance(content, str):
        raise _unavailable(
            endpoint, "answered what is no chat completion", "Check base_url: it ends before /chat/completions."
        )
    return content


def _fetched(request: urllib.request.Request, endpoint: Endpoint, key: str) -> bytes:
    deadline = time.monotonic() + endpoint.timeout_s
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=endpoint.timeout_s) as reply:
            parts: list[bytes] = []
            size = 0
            while True:
                part = reply.read1(65_536)
                if not part:
                    return b"".join(parts)
                parts.append(part)
                size += len(part)
                if size > MOST_REPLY_BYTES or time.monotonic() > deadline:
                    break
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(500).decode("utf-8", "replace")
        said = said.replace(key, "…") if key else said
        raise _refused(endpoint, error.code, said) from None
    except TimeoutError:
        pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if not isinstance(reason, TimeoutError):
            said = str(reason).replace(key, "…") if key else str(reason)
            raise _unavailable(
                endpoint, f"cannot be reached ({said})", "Check planner.base_url and the network."
            ) from None
    raise _unavailable(
        endpoint,
        f"did not answer within {endpoint.timeout_s:g} s, or endlessly",
        "Try again, or raise planner.timeout_s.",
    )


def _refused(endpoint: Endpoint, status: int, said: str) -> UnavailableError:
    remedies: Mapping[int, str] = {
        401: "Check planner.api_key.",
        403: "Check planner.api_key and what it may use.",
        404: "Check planner.base_url and planner.model.",
        429: "Wait, or check the account's limits.",
    }
    short = " ".join(said.split())[:200]
    return _unavailable(
        endpoint, f"answered {status} ({short})", remedies.get(status, "Try again later, or write the spec.")
    )


def _unavailable(endpoint: Endpoint, what: str, remedy: str) -> UnavailableError:
    host = urlsplit(endpoint.base_url).netloc.rpartition("@")[2]
    return UnavailableError(f"The planner's model {endpoint.model!r} at {host} {what}.", field="planner", remedy=remedy)
