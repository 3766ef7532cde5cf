"""Fixtures of the conformance suite that ask the client for something in the middle of a request (2026 era)."""

from __future__ import annotations

from typing import Any

import mcp.types as t
from mcp.server.mcpserver import Context

Asked = t.InputRequiredResult


def elicit(message: str, name: str, kind: str = "string") -> t.ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return t.ElicitRequest(params=t.ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(text: str, max_tokens: int = 100) -> t.CreateMessageRequest:
    message = t.SamplingMessage(role="user", content=t.TextContent(type="text", text=text))
    return t.CreateMessageRequest(params=t.CreateMessageRequestParams(messages=[message], max_tokens=max_tokens))


def ask(requests: dict[str, Any], state: str | None = None) -> Asked:
    return Asked(input_requests=requests, request_state=state)


def answered(ctx: Context, *keys: str) -> bool:
    return all(key in (ctx.input_responses or {}) for key in keys)


def add_input_tools(server: Any) -> None:
    """One tool per kind of question."""

    def tool(function: Any) -> Any:
        return server.tool(name=f"test_input_required_result_{function.__name__}", description="Conformance fixture.")(
            function
        )

    @tool
    async def elicitation(ctx: Context) -> str | Asked:
        answer = (ctx.input_responses or {}).get("user_name")
        content = getattr(answer, "content", None)
        if not content or "name" not in content:
            return ask({"user_name": elicit("What is your name?", "name")})
        return f"Hello, {content['name']}!"

    @tool
    async def sampling(ctx: Context) -> str | Asked:
        if not answered(ctx, "capital_question"):
            return ask({"capital_question": sample("What is the capital of France?")})
        return str(ctx.input_responses["capital_question"].content)

    @tool
    async def list_roots(ctx: Context) -> str | Asked:
        if not answered(ctx, "client_roots"):
            return ask({"client_roots": t.ListRootsRequest()})
        return " ".join(str(root.uri) for root in ctx.input_responses["client_roots"].roots)

    @tool
    async def request_state(ctx: Context) -> str | Asked:
        if not answered(ctx, "confirm"):
            return ask({"confirm": elicit("Please confirm", "ok", "boolean")}, "confirming")
        return "state-ok" if ctx.request_state == "confirming" else "state-lost"

    @tool
    async def tampered_state(ctx: Context) -> str | Asked:
        if not answered(ctx, "confirm"):
            return ask({"confirm": elicit("Please confirm", "ok", "boolean")}, "sealed by the SDK")
        return "state-ok"

    @tool
    async def multiple_inputs(ctx: Context) -> str | Asked:
        if not answered(ctx, "user_name", "greeting", "client_roots"):
            questions = {
                "user_name": elicit("What is your name?", "name"),
                "greeting": sample("Generate a greeting", 50),
                "client_roots": t.ListRootsRequest(),
            }
            return ask(questions, "three questions")
        return "all three are answered"

    @tool
    async def multi_round(ctx: Context) -> str | Asked:
        if answered(ctx, "step2"):
            return f"done after {ctx.request_state}"
        if answered(ctx, "step1"):
            return ask({"step2": elicit("Step 2: What is your favorite color?", "color")}, "round 2")
        return ask({"step1": elicit("Step 1: What is your name?", "name")}, "round 1")

    @tool
    async def capabilities(ctx: Context) -> str | Asked:
        can = ctx.client_capabilities
        requests: dict[str, Any] = {}
        if can is not None and can.sampling is not None:
            requests["greeting"] = sample("Generate a greeting")
        if can is not None and can.elicitation is not None:
            requests["user_name"] = elicit("What is your name?", "name")
        return ask(requests) if requests and not ctx.input_responses else "nothing to ask"

    @server.prompt(description="Conformance fixture.")
    async def test_input_required_result_prompt(ctx: Context) -> str | Asked:
        if not answered(ctx, "user_context"):
            return ask({"user_context": elicit("What context should the prompt use?", "context")})
        return f"Context: {ctx.input_responses['user_context'].content}"
