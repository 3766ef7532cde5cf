"""The extension io.modelcontextprotocol/tasks, backed by the store: our handle is the task id.

A call answers with a task only when the client declared the extension, `wait_s` was given and the work is not done.
Nothing is kept here: a task is as durable as its job, and is asked of the engine each time, owner checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver import require_client_extension
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp.types import HEADER_MISMATCH, INVALID_PARAMS, CallToolRequestParams, CallToolResult, RequestParams
from pydantic import Field

from physlab_mcp.errors import PhyslabError
from physlab_mcp.server.routed_tool import principal_in, result_of
from physlab_mcp.tools.views import ENDED

if TYPE_CHECKING:
    from mcp.server.context import CallNext, HandlerResult

    from physlab_mcp.schemas.status import Status
    from physlab_mcp.tools.router import Router

IDENTIFIER = "io.modelcontextprotocol/tasks"
VERSIONS = frozenset({"2026-07-28"})
_STARTS = frozenset({"job_submit", "run_dag"})
_STATES = {"succeeded": "completed", "failed": "completed", "skipped": "completed", "cancelled": "cancelled"}


class TaskParams(RequestParams):
    """Names a task."""

    task_id: str


class TaskUpdateParams(TaskParams):
    """Answers to a task's questions; ours asks none."""

    input_responses: dict[str, Any] = Field(default_factory=dict)


class Tasks(Extension):
    """tasks/get, tasks/update, tasks/cancel, and tasks in place of answers that are not ready."""

    identifier = IDENTIFIER

    def __init__(self, router: Router) -> None:
        self._router = router

    def methods(self) -> Sequence[MethodBinding]:
        """The three methods, in the era that has them."""
        return [
            MethodBinding("tasks/get", TaskParams, self.get, protocol_versions=VERSIONS),
            MethodBinding("tasks/update", TaskUpdateParams, self.update, protocol_versions=VERSIONS),
            MethodBinding("tasks/cancel", TaskParams, self.cancel, protocol_versions=VERSIONS),
        ]

    async def intercept_tool_call(self, params: CallToolRequestParams, ctx: Any, call_next: CallNext) -> HandlerResult:
        """The tool's own answer, or a task while the work it started goes on."""
        result = await call_next(ctx)
        if not isinstance(result, CallToolResult) or result.is_error or ctx.protocol_version not in VERSIONS:
            return result
        arguments = params.arguments or {}
        method = arguments.get("method", params.name)
        if method not in _STARTS or not arguments.get("wait_s") or not declared(ctx):
            return result
        body = result.structured_content or {}
        handle = body.get("job_id") or body.get("run_id") or body.get("sweep_id")
        if not handle or body.get("state") in ENDED:
            return result
        return wire(await self._status(str(handle), ctx), "task")

    async def get(self, ctx: Any, params: TaskParams) -> HandlerResult:
        """The task's state; its result once it has one."""
        status = await self._find(ctx, params)
        body = wire(status, "complete")
        if body["status"] == "completed":
            result = result_of(await self._result(status, ctx))
            body["result"] = result.model_dump(by_alias=True, mode="json", exclude_none=True)
        return body

    async def update(self, ctx: Any, params: TaskUpdateParams) -> HandlerResult:
        """Nothing to answer: approvals are never given through MCP."""
        await self._find(ctx, params)
        return {"resultType": "complete"}

    async def cancel(self, ctx: Any, params: TaskParams) -> HandlerResult:
        """Ask the engine to stop the work; asking twice is fine."""
        status = await self._find(ctx, params)
        if not status.ended:
            await self._router.bench.engine.request("cancel", status.id, owner=principal_in(ctx.request))
        return {"resultType": "complete"}

    async def _find(self, ctx: Any, params: TaskParams) -> Status:
        require_client_extension(ctx, IDENTIFIER)
        headers = getattr(ctx.request, "headers", None)
        if headers is not None:
            named = headers.get(MCP_NAME_HEADER)
            if named is None or decode_header_value(named) != params.task_id:
                raise MCPError(HEADER_MISMATCH, f"Mcp-Name must equal params.taskId ({params.task_id[:100]!r})")
        return await self._status(params.task_id, ctx)

    async def _status(self, handle: str, ctx: Any) -> Status:
        try:
            return await self._router.bench.engine.status(handle, owner=principal_in(ctx.request), limit=0)
        except PhyslabError:
            raise MCPError(INVALID_PARAMS, "Task not found or expired; job_list and run_list show yours.") from None

    async def _result(self, status: Status, ctx: Any) -> Any:
        principal = principal_in(ctx.request)
        if status.kind == "job":
            arguments = {"method": "job_result", "job_id": status.id}
            return await self._router.call("distributed_collaboration", arguments, principal=principal)
        arguments = {"method": "run_result", "run_id": status.id}
        return await self._router.call("experiment_orchestrator", arguments, principal=principal)


def declared(ctx: Any) -> bool:
    """Whether the client declared the extension with this request."""
    capabilities = ctx.session.client_capabilities
    return bool(capabilities and capabilities.extensions and IDENTIFIER in capabilities.extensions)


def wire(status: Status, result_type: str) -> dict[str, Any]:
    """A status in the extension's words. A held job works on: its approval comes from elsewhere."""
    reason = f": {status.reason.text}" if status.reason.text else ""
    changed = max(status.created_at, status.started_at, status.ended_at)
    return {
        "resultType": result_type,
        "taskId": status.id,
        "status": _STATES.get(status.state, "working"),
        "statusMessage": f"{status.state}, {status.done} of {status.total} done{reason}",
        "createdAt": _time(status.created_at),
        "lastUpdatedAt": _time(changed),
        "ttlMs": None,
        "pollIntervalMs": max(500, int(status.poll_after_s * 1000)),
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
