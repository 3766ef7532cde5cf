"""The two tools as the SDK sees them: a flat schema outside, our router inside."""

from __future__ import annotations

import base64
import re
import time
from typing import Any

from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from mcp.types import CallToolResult, ContentBlock, ImageContent, ResourceLink, TextContent, ToolAnnotations
from pydantic import PrivateAttr

from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.tools.reply import Reply
from physlab_mcp.tools.router import DESCRIPTIONS, LEGACY, TOOLS, Router

# Both tools can cancel work, start it anew with every call, and reach whatever a command or node reaches.
ANNOTATIONS = {
    name: ToolAnnotations(
        title=title, read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True
    )
    for name, title in (
        ("distributed_collaboration", "Jobs and artifacts"),
        ("experiment_orchestrator", "Experiments, runs and reports"),
    )
}
_PROCESS_SESSION = f"session-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{new_handle('entry')[-6:]}"
_UNSAFE = re.compile(r"[^\x20-\x7e]")


async def _unused() -> None:
    """Stands where the SDK wants a function; RoutedTool.run is what runs."""


class RoutedTool(Tool):
    """A tool whose arguments the router judges, not the SDK."""

    _router: Router = PrivateAttr()

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        """Answer one call with a CallToolResult; errors are results too."""
        del convert_result
        return await routed(self._router, self.name, arguments, context)


async def routed(router: Router, name: str, arguments: dict[str, Any], context: Context[Any, Any]) -> CallToolResult:
    """What the router answers to a tool of that name, which need not exist."""

    async def notify(progress: float, total: float | None, message: str) -> None:
        await context.report_progress(progress, total, message)

    reply = await router.call(
        name, arguments, principal=principal_of(context), session_id=session_of(context), notify=notify
    )
    return result_of(reply)


def routed_tools(router: Router) -> list[Tool]:
    """The listed tools first, then the legacy names."""
    bare = Tool.from_function(_unused, name="bare").fn_metadata.model_copy(update={"output_schema": {"type": "object"}})
    listed: list[Tool] = [_tool(name, name, router, bare) for name in TOOLS]
    return listed + [_tool(name, home, router, bare) for name, home in LEGACY.items()]


def _tool(name: str, home: str, router: Router, bare: FuncMetadata) -> RoutedTool:
    schema = TOOLS[home].schema
    if name != home:
        schema = {**schema, "required": []}
    tool = RoutedTool(
        fn=_unused,
        name=name,
        title=ANNOTATIONS[home].title,
        description=DESCRIPTIONS[home],
        parameters=schema,
        fn_metadata=bare,
        is_async=True,
        context_kwarg=None,
        annotations=ANNOTATIONS[home],
    )
    tool._router = router
    return tool


def result_of(reply: Reply) -> CallToolResult:
    """A reply as the protocol shows it: text, images, links, and the object."""
    content: list[ContentBlock] = [TextContent(type="text", text=reply.text.encode("utf-8", "replace").decode())]
    content += [
        ImageContent(type="image", data=base64.b64encode(one.data).decode(), mime_type=one.media_type)
        for one in reply.pictures
    ]
    content += [
        ResourceLink(type="resource_link", uri=one.uri, name=one.name, mime_type=one.media_type, size=one.size)
        for one in reply.links
    ]
    return CallToolResult(content=content, structured_content=reply.structured, is_error=reply.is_error)


def principal_of(context: Context[Any, Any] | None) -> str:
    """Who asks: what the HTTP guard found, else `local`."""
    try:
        request = context.request_context.request if context is not None else None
    except ValueError:
        return "local"
    return principal_in(request)


def principal_in(request: Any) -> str:
    """The principal that the HTTP guard noted in a request's scope, else `local`."""
    scope = getattr(request, "scope", None) or {}
    return str(scope.get("physlab.principal", "local"))


def session_of(context: Context[Any, Any]) -> str:
    """The connection's default session: the HTTP session's where there is one, else this process's."""
    try:
        connection = context.request_context.session._connection
    except ValueError:
        return _PROCESS_SESSION
    if connection.session_id:
        return f"mcp-{_UNSAFE.sub('', connection.session_id)[:60]}"
    return _PROCESS_SESSION
