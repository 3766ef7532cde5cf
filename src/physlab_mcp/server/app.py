"""Puts the server together from a lab."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server import MCPServer
from mcp.server.caching import CacheHint
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.types import CallToolResult, GetPromptResult, InputRequiredResult, Resource, ResourceTemplate
from mcp.types import Tool as ListedTool
from pydantic import AnyUrl

from physlab_mcp import __version__
from physlab_mcp.errors import NotFoundError, PhyslabError
from physlab_mcp.server.completions import add_completions
from physlab_mcp.server.prompts import add_prompts, unknown_prompt
from physlab_mcp.server.resources import SCHEME, Reader, listed_resources, listed_templates
from physlab_mcp.server.routed_tool import principal_of, routed, routed_tools
from physlab_mcp.server.subscriptions import FeedBus, add_legacy_subscriptions
from physlab_mcp.server.tasks import Tasks
from physlab_mcp.tools.router import TOOLS

if TYPE_CHECKING:
    from physlab_mcp.lab import Lab
    from physlab_mcp.tools.router import Router

INSTRUCTIONS = (
    "physlab runs durable experiments. Tools: experiment_orchestrator (catalog, run_dag, run_status, run_result, "
    "publish_report) and distributed_collaboration (job_submit, job_status, job_result, job_cancel, artifact). "
    "A submission answers at once with a handle that stays good after restarts; poll with wait_s (at most 25). "
    "Every state reply has `next`, the arguments of the next call to the same tool."
)


class PhyslabServer(MCPServer[dict[str, Any]]):
    """An MCPServer that hides the legacy tool names from lists and serves physlab:// itself.

    The SDK would give each template one MIME type, and read functions' signatures at start; an artifact has its own.
    """

    def __init__(self, reader: Reader, router: Router, **options: Any) -> None:
        super().__init__("physlab-mcp", **options)
        self._reader = reader
        self._router = router
        self._unlisted = frozenset(self._tool_manager._tools) - TOOLS.keys()

    async def list_tools(self) -> list[ListedTool]:
        """The tools that clients see, in a fixed order."""
        return [tool for tool in await super().list_tools() if tool.name not in self._unlisted]

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """A tool's own answer; a name that is no tool is answered by the router, with the nearest one."""
        if self._tool_manager.get_tool(name) is not None:
            return await super().call_tool(name, arguments, context)
        return await routed(self._router, name, arguments, context or Context(mcp_server=self))

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[Any, Any] | None = None
    ) -> GetPromptResult | InputRequiredResult:
        """A prompt's messages; MCPError (invalid parameters) names the prompts there are."""
        if self._prompt_manager.get_prompt(name) is None:
            raise unknown_prompt(name, [one.name for one in self._prompt_manager.list_prompts()])
        return await super().get_prompt(name, arguments, context)

    async def list_resources(self) -> list[Resource]:
        """Ours, and what else was registered."""
        return [*listed_resources(), *await super().list_resources()]

    async def list_resource_templates(self) -> list[ResourceTemplate]:
        """Ours, and what else was registered."""
        return [*listed_templates(), *await super().list_resource_templates()]

    async def read_resource(self, uri: AnyUrl | str, context: Context[Any, Any] | None = None) -> Any:
        """A physlab:// resource through the reader, anything else as registered."""
        if not str(uri).startswith(SCHEME):
            return await super().read_resource(uri, context)
        try:
            data, media_type = await self._reader.read(str(uri), principal=principal_of(context))
        except NotFoundError as error:
            raise ResourceNotFoundError(str(error)) from None
        except PhyslabError as error:
            raise ResourceError(str(error)) from None
        return [ReadResourceContents(content=data, mime_type=media_type)]


def build(lab: Lab, *, tasks: Tasks | None = None) -> MCPServer[Any]:
    """The MCP server of a lab. `tasks` lets a test put a larger tasks extension in place of ours."""
    bus = FeedBus(lab.engine.feed)
    reader = Reader(lab)

    @asynccontextmanager
    async def lifespan(_server: MCPServer[Any]) -> AsyncGenerator[dict[str, Any]]:
        async with anyio.create_task_group() as group:
            group.start_soon(bus.pump)
            yield {}
            group.cancel_scope.cancel()

    server = PhyslabServer(
        reader,
        lab.router,
        title="physlab",
        version=__version__,
        instructions=INSTRUCTIONS,
        tools=routed_tools(lab.router),
        extensions=[tasks or Tasks(lab.router)],
        subscriptions=bus,
        lifespan=lifespan,
        log_level="WARNING",
        cache_hints={"tools/list": CacheHint(ttl_ms=3_600_000, scope="public")},
    )
    add_legacy_subscriptions(server, bus, lab.router)
    add_prompts(server, lab)
    add_completions(server, lab)
    return server
