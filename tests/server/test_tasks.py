from __future__ import annotations

from typing import Any, Literal

import anyio
import mcp.types as types
import pytest
from mcp import Client
from mcp.client import ClaimContext, ClientExtension, ResultClaim
from mcp.shared.exceptions import MCPError

from physlab_mcp.server import build
from physlab_mcp.server.tasks import IDENTIFIER

JOBS = "distributed_collaboration"


class TaskResult(types.Result):
    """A tool answer that is a task."""

    result_type: Literal["task"] = "task"
    task_id: str
    status: str


class TaskNamed(types.RequestParams):
    task_id: str


class GetTask(types.Request[TaskNamed, Literal["tasks/get"]]):
    method: Literal["tasks/get"] = "tasks/get"
    params: TaskNamed
    name_param = "taskId"


class CancelTask(types.Request[TaskNamed, Literal["tasks/cancel"]]):
    method: Literal["tasks/cancel"] = "tasks/cancel"
    params: TaskNamed
    name_param = "taskId"


class TaskState(types.Result):
    task_id: str | None = None
    status: str | None = None
    result: dict[str, Any] | None = None


class TaskClient(ClientExtension):
    """Follows a task to its end, as a client that knows the extension does."""

    identifier = IDENTIFIER

    def __init__(self, *, cancel: bool = False) -> None:
        self.seen: list[str | None] = []
        self.task_ids: list[str] = []
        self._cancel = cancel

    def claims(self) -> list[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=TaskResult, resolve=self.finish)]

    async def finish(self, task: TaskResult, context: ClaimContext) -> types.CallToolResult:
        self.task_ids.append(task.task_id)
        if self._cancel:
            await context.session.send_request(CancelTask(params=TaskNamed(task_id=task.task_id)), TaskState)
        with anyio.fail_after(40):
            while True:
                state = await context.session.send_request(GetTask(params=TaskNamed(task_id=task.task_id)), TaskState)
                self.seen.append(state.status)
                if state.status == "completed":
                    return types.CallToolResult.model_validate(state.result)
                if state.status == "cancelled":
                    return types.CallToolResult(
                        content=[types.TextContent(type="text", text="cancelled")], structured_content={}
                    )
                await anyio.sleep(0.05)


def sleeper(seconds: float, **more: Any) -> dict[str, Any]:
    return {"method": "job_submit", "backend": "local", "job_spec": {"command": ["sleep", str(seconds)]}, **more}


async def test_work_that_outlasts_the_wait_becomes_a_task_with_our_handle(lab):
    follower = TaskClient()
    async with Client(build(lab), extensions=[follower]) as client:
        reply = await client.call_tool(JOBS, sleeper(1.5, wait_s=0.1))
    assert follower.task_ids[0].startswith("job-")
    assert follower.seen[0] == "working"
    assert follower.seen[-1] == "completed"
    assert reply.structured_content["job_id"] == follower.task_ids[0]
    assert reply.structured_content["state"] == "succeeded"


async def test_a_task_can_be_cancelled(lab):
    follower = TaskClient(cancel=True)
    async with Client(build(lab), extensions=[follower]) as client:
        await client.call_tool(JOBS, sleeper(600, wait_s=0.1))
    assert follower.seen[-1] == "cancelled"


@pytest.mark.parametrize("more", [{}, {"wait_s": 0}])
async def test_without_wait_s_there_is_no_task(lab, more):
    follower = TaskClient()
    async with Client(build(lab), extensions=[follower]) as client:
        reply = await client.call_tool(JOBS, sleeper(0.1, **more))
    assert follower.task_ids == []
    assert reply.structured_content["job_id"].startswith("job-")


async def test_a_client_that_did_not_declare_the_extension_gets_an_answer(lab):
    async with Client(build(lab)) as client:
        reply = await client.call_tool(JOBS, sleeper(30, wait_s=0.1))
        assert reply.structured_content["state"] not in ("succeeded", "failed")
        await client.call_tool(JOBS, {"method": "job_cancel", "job_id": reply.structured_content["job_id"]})


async def test_an_unknown_task_is_an_error(lab):
    async with Client(build(lab), extensions=[TaskClient()]) as client:
        with pytest.raises(MCPError, match="not found"):
            await client.session.send_request(GetTask(params=TaskNamed(task_id="job-00000000")), TaskState)
