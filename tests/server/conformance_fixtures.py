"""The real server with the tools, resources and prompts beside it that the conformance suite asks for by name.

Run as a program: `conformance_fixtures.py PORT DATA_DIR`. Test-only; nothing of it is shipped.
"""

from __future__ import annotations

import asyncio
import base64
import contextvars
import secrets
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import anyio
import mcp.types as t
from conformance_inputs import add_input_tools, elicit
from mcp.server.mcpserver import Context, require_client_extension
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, Field

from physlab_mcp.lab import Lab
from physlab_mcp.server import build
from physlab_mcp.server.http import serve_http
from physlab_mcp.server.tasks import IDENTIFIER, Tasks, declared

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
WAV = base64.b64decode("UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA=")
_asking: contextvars.ContextVar[FixtureTask | None] = contextvars.ContextVar("asking", default=None)


class FixtureTask:
    """A task of a fixture tool: in memory, for as long as the suite runs."""

    def __init__(self) -> None:
        self.id = f"fixture-{secrets.token_hex(12)}"
        self.at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.status = "working"
        self.more: dict[str, Any] = {}
        self.questions: dict[str, Any] = {}
        self.answers: dict[str, asyncio.Future[Any]] = {}
        self.runner: asyncio.Task[None] | None = None

    async def ask(self, key: str, question: dict[str, Any]) -> Any:
        self.questions[key] = question
        self.answers[key] = asyncio.get_running_loop().create_future()
        self.status = "input_required"
        return await self.answers[key]

    def wire(self, result_type: str) -> dict[str, Any]:
        body = {
            "resultType": result_type, "taskId": self.id, "status": self.status, "createdAt": self.at,
            "lastUpdatedAt": self.at, "ttlMs": 3_600_000, "pollIntervalMs": 200,
        }  # fmt: skip
        if result_type == "task":
            return body
        return body | self.more | ({"inputRequests": dict(self.questions)} if self.status == "input_required" else {})


class FixtureTasks(Tasks):
    """Our tasks extension, and beside it tasks for the fixture tools, which are no jobs."""

    required = frozenset({"failing_job"})
    supported = frozenset(
        {"slow_compute", "failing_job", "protocol_error_job", "confirm_delete", "multi_input", "test_tool_with_task"}
    )

    def __init__(self, router: Any) -> None:
        super().__init__(router)
        self.tasks: dict[str, FixtureTask] = {}

    async def intercept_tool_call(self, params: Any, ctx: Any, call_next: Any) -> Any:
        if params.name in self.required:
            require_client_extension(ctx, IDENTIFIER)
        if params.name not in self.supported or not declared(ctx):
            return await super().intercept_tool_call(params, ctx, call_next)
        task = FixtureTask()
        first: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def work() -> None:
            _asking.set(task)
            try:
                result = await call_next(ctx)
                if isinstance(result, t.InputRequiredResult):
                    first.set_result(result)
                    return
                body = result.model_dump(by_alias=True, mode="json", exclude_none=True)
                task.status, task.more = "completed", {"result": body}
            except MCPError as error:
                task.status = "failed"
                task.more = {"error": {"code": error.error.code, "message": error.error.message}}
            except asyncio.CancelledError:
                task.status = "cancelled"
            finally:
                if not first.done():
                    first.set_result(None)

        self.tasks[task.id] = task
        task.runner = asyncio.create_task(work())
        await asyncio.wait([first], timeout=0.05)
        if first.done() and first.result() is not None:
            del self.tasks[task.id]
            return first.result()
        return task.wire("task")

    async def _fixture(self, ctx: Any, params: Any, otherwise: Callable[[Any, Any], Awaitable[Any]]) -> Any:
        if params.task_id not in self.tasks:
            return await otherwise(ctx, params)
        await self._checked(ctx, params)
        return self.tasks[params.task_id]

    async def _checked(self, ctx: Any, params: Any) -> None:
        try:
            await self._find(ctx, params)
        except MCPError as error:
            if error.error.code != t.INVALID_PARAMS:
                raise

    async def get(self, ctx: Any, params: Any) -> Any:
        found = await self._fixture(ctx, params, super().get)
        return found.wire("complete") if isinstance(found, FixtureTask) else found

    async def update(self, ctx: Any, params: Any) -> Any:
        found = await self._fixture(ctx, params, super().update)
        if isinstance(found, FixtureTask):
            for key, answer in params.input_responses.items():
                if key in found.questions:
                    del found.questions[key]
                    found.answers[key].set_result(answer)
            if found.status == "input_required" and not found.questions:
                found.status = "working"
        return {"resultType": "complete"}

    async def cancel(self, ctx: Any, params: Any) -> Any:
        found = await self._fixture(ctx, params, super().cancel)
        if isinstance(found, FixtureTask) and found.status in ("working", "input_required"):
            found.status = "cancelled"
            if found.runner is not None:
                found.runner.cancel()
        return {"resultType": "complete"}


def _question(message: str, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties or {"confirm": {"type": "boolean"}}}
    return {"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": schema}}


def _text(text: str) -> t.TextContent:
    return t.TextContent(type="text", text=text)


def _image() -> t.ImageContent:
    return t.ImageContent(type="image", data=base64.b64encode(PNG).decode(), mime_type="image/png")


def _audio() -> t.AudioContent:
    return t.AudioContent(type="audio", data=base64.b64encode(WAV).decode(), mime_type="audio/wav")


def _embedded(uri: str, text: str, mime_type: str = "text/plain") -> t.EmbeddedResource:
    return t.EmbeddedResource(type="resource", resource=t.TextResourceContents(uri=uri, mime_type=mime_type, text=text))


def add_content_tools(server: Any) -> None:
    """Tools that answer with each kind of content, with progress, or with an error."""

    def tool(function: Any) -> Any:
        return server.tool(description="Conformance fixture.", structured_output=False)(function)

    @tool
    def test_simple_text() -> list[t.TextContent]:
        return [_text("This is a simple text response for testing.")]

    @tool
    def test_image_content() -> list[t.ImageContent]:
        return [_image()]

    @tool
    def test_audio_content() -> list[t.AudioContent]:
        return [_audio()]

    @tool
    def test_embedded_resource() -> list[t.EmbeddedResource]:
        return [_embedded("test://embedded-resource", "This is an embedded resource content.")]

    @tool
    def test_multiple_content_types() -> list[t.ContentBlock]:
        mixed = _embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json")
        return [_text("Multiple content types test:"), _image(), mixed]

    @tool
    async def test_tool_with_progress(ctx: Context) -> str:
        for done in (0, 50, 100):
            await ctx.report_progress(done, 100, f"Completed step {done} of 100")
            await anyio.sleep(0.05)
        return "done"

    @tool
    async def test_error_handling() -> str:
        raise ToolError("This tool intentionally returns an error for testing")

    @tool
    async def test_reconnection(ctx: Context) -> str:
        await ctx.close_sse_stream()
        await anyio.sleep(0.1)
        return "Reconnection test completed successfully."

    @tool
    async def test_missing_capability(ctx: Context) -> str:
        capabilities = ctx.client_capabilities
        if capabilities is None or capabilities.sampling is None:
            data = t.MissingRequiredClientCapabilityErrorData(
                required_capabilities=t.ClientCapabilities(sampling=t.SamplingCapability())
            )
            raise MCPError(
                t.MISSING_REQUIRED_CLIENT_CAPABILITY,
                "sampling is needed",
                data.model_dump(by_alias=True, mode="json", exclude_none=True),
            )
        return "sampling is there"

    @tool
    def test_x_mcp_header(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
        return region

    address = {"type": "object", "$anchor": "addressDef",
               "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}  # fmt: skip

    @tool
    def json_schema_2020_12_tool(name: str = "", address: dict[str, Any] | None = None) -> str:
        return name

    server._tool_manager.get_tool("json_schema_2020_12_tool").parameters = {
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "$defs": {"address": address},
        "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"},
                       "contactMethod": {"type": "string", "enum": ["phone", "email"]},
                       "phone": {"type": "string"}, "email": {"type": "string"}},
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]}, "else": {"required": ["email"]},
        "additionalProperties": False,
    }  # fmt: skip


class UserName(BaseModel):
    """What the elicitation fixture asks for."""

    username: str = Field(description="User's response")
    email: str = Field(description="User's email address")


def add_legacy_tools(server: Any) -> None:
    """What servers asked of clients before the 2026 era: logging, sampling, elicitation."""

    def tool(function: Any) -> Any:
        return server.tool(description="Conformance fixture.", structured_output=False)(function)

    @tool
    async def test_tool_with_logging(ctx: Context) -> str:
        for message in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await ctx.session.send_log_message("info", message, related_request_id=ctx.request_id)
            await anyio.sleep(0.05)
        return "logged"

    @tool
    async def test_sampling(prompt: str, ctx: Context) -> str:
        content = t.TextContent(type="text", text=prompt)
        result = await ctx.session.create_message(
            messages=[t.SamplingMessage(role="user", content=content)],
            max_tokens=100,
            related_request_id=ctx.request_id,
        )
        return f"LLM response: {getattr(result.content, 'text', '')}"

    @tool
    async def test_elicitation(message: str, ctx: Context) -> str:
        result = await ctx.elicit(message, UserName)
        return f"User response: action={result.action}"

    async def elicit(ctx: Context, properties: dict[str, Any]) -> str:
        schema = {"type": "object", "properties": properties}
        result = await ctx.session.elicit_form("Please answer", schema, related_request_id=ctx.request_id)
        return f"Elicitation completed: action={result.action}, content={result.content}"

    @tool
    async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
        return await elicit(ctx, {
            "name": {"type": "string", "default": "John Doe"}, "age": {"type": "integer", "default": 30},
            "score": {"type": "number", "default": 95.5},
            "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
            "verified": {"type": "boolean", "default": True},
        })  # fmt: skip

    @tool
    async def test_elicitation_sep1330_enums(ctx: Context) -> str:
        plain = ["option1", "option2", "option3"]
        titled = [{"const": f"value{i}", "title": f"{w} Option"} for i, w in enumerate(("First", "Second", "Third"), 1)]
        choices = [
            {"const": f"value{i}", "title": f"{w} Choice"} for i, w in enumerate(("First", "Second", "Third"), 1)
        ]
        return await elicit(ctx, {
            "untitledSingle": {"type": "string", "enum": plain},
            "titledSingle": {"type": "string", "oneOf": titled},
            "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"],
                           "enumNames": ["Option One", "Option Two", "Option Three"]},
            "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
            "titledMulti": {"type": "array", "items": {"anyOf": choices}},
        })  # fmt: skip

    async def set_level(_ctx: Any, _params: Any) -> t.EmptyResult:
        return t.EmptyResult()

    server._lowlevel_server.add_request_handler("logging/setLevel", t.SetLevelRequestParams, set_level)


def add_resources_and_prompts(server: Any) -> None:
    """The suite's static resources, its template and its prompts."""

    @server.resource("test://static-text", mime_type="text/plain", description="Conformance fixture.")
    def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png", description="Conformance fixture.")
    def static_binary() -> bytes:
        return PNG

    @server.resource("test://watched-resource", mime_type="text/plain", description="Conformance fixture.")
    def watched() -> str:
        return "watched"

    @server.resource("test://template/{id}/data", mime_type="application/json", description="Conformance fixture.")
    def template(id: str) -> str:  # noqa: A002 - the suite's name
        return f'{{"id":"{id}","templateTest":true,"data":"Data for ID: {id}"}}'

    @server.prompt(description="Conformance fixture.")
    def test_simple_prompt() -> str:
        return "This is a simple prompt for testing."

    @server.prompt(description="Conformance fixture.")
    def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @server.prompt(description="Conformance fixture.")
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:
        embedded = _embedded(resourceUri, "Embedded resource content for testing.")
        return [UserMessage(embedded), UserMessage("Please process the embedded resource above.")]

    @server.prompt(description="Conformance fixture.")
    def test_prompt_with_image() -> list[UserMessage]:
        return [UserMessage(_image()), UserMessage("Please analyze the image above.")]


def add_task_tools(server: Any) -> None:
    """The tools of the tasks-* scenarios."""

    def tool(function: Any) -> Any:
        return server.tool(description="Conformance fixture.")(function)

    @tool
    async def greet(name: str) -> str:
        return f"Hello, {name}!"

    @tool
    async def slow_compute(seconds: float, label: str = "") -> str:
        await anyio.sleep(seconds)
        return f"{label}: {seconds} s"

    @tool
    async def failing_job() -> str:
        await anyio.sleep(0.1)
        raise ToolError("fails on purpose")

    @tool
    async def protocol_error_job() -> str:
        await anyio.sleep(0.1)
        raise MCPError(t.INTERNAL_ERROR, "a protocol error on purpose")

    @tool
    async def confirm_delete(filename: str = "f") -> str:
        task = _asking.get()
        answer = await task.ask("confirm", _question(f"Delete {filename}?")) if task else "no"
        return f"{filename}: {answer}"

    @tool
    async def multi_input() -> str:
        task = _asking.get()
        if task is None:
            return "nobody to ask"
        both = await asyncio.gather(task.ask("first", _question("First?")), task.ask("second", _question("Second?")))
        return str(both)

    @tool
    async def test_tool_with_task(ctx: Context) -> str | t.InputRequiredResult:
        if not ctx.input_responses:
            return t.InputRequiredResult(input_requests={"user_name": elicit("Name?", "name")}, request_state="asked")
        await anyio.sleep(0.2)
        return f"Hello, {ctx.input_responses['user_name'].content}"


async def serve(port: int, data_dir: Path) -> None:
    """Serve until killed."""
    async with Lab.open(data_dir=data_dir, roots=[data_dir]) as lab:
        server = build(lab, tasks=FixtureTasks(lab.router))
        for add in (add_content_tools, add_legacy_tools, add_resources_and_prompts, add_task_tools, add_input_tools):
            add(server)
        await serve_http(server, host="127.0.0.1", port=port, token=None)


if __name__ == "__main__":
    anyio.run(serve, int(sys.argv[1]), Path(sys.argv[2]))
