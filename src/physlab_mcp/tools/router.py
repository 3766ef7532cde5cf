"""The one door to all methods: parse strictly, hand over, answer, record. Nothing raised behind it gets past it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physlab_mcp.errors import NotFoundError, PhyslabError, RequestError, UnavailableError
from physlab_mcp.schemas import calls_collaboration, calls_orchestrator
from physlab_mcp.tools import call_log, collaboration, orchestrator, render
from physlab_mcp.tools.arguments import Tool
from physlab_mcp.tools.collaboration import Collaboration, Handler
from physlab_mcp.tools.finding_view import first_of
from physlab_mcp.tools.orchestrator import Orchestrator
from physlab_mcp.tools.reply import Bench, Caller, Notify, Reply
from physlab_mcp.tools.views import clip

if TYPE_CHECKING:
    from physlab_mcp.artifacts.blobs import Blobs
    from physlab_mcp.dags.validate import Limits
    from physlab_mcp.engine.engine import Engine
    from physlab_mcp.nodes.registry import Registry
    from physlab_mcp.schemas.calls import Call
    from physlab_mcp.words import NeedsSpec, Planned

logger = logging.getLogger(__name__)

TOOLS: Mapping[str, Tool] = {
    collaboration.NAME: Tool(collaboration.NAME, calls_collaboration.CALLS),
    orchestrator.NAME: Tool(orchestrator.NAME, calls_orchestrator.CALLS),
}
DESCRIPTIONS: Mapping[str, str] = {
    collaboration.NAME: collaboration.DESCRIPTION,
    orchestrator.NAME: orchestrator.DESCRIPTION,
}
# Names that older clients call as tools of their own, without `method`.
LEGACY: Mapping[str, str] = {
    "job_submit": collaboration.NAME,
    "define_dag": orchestrator.NAME,
    "validate_dag": orchestrator.NAME,
    "run_dag": orchestrator.NAME,
    "publish_report": orchestrator.NAME,
}
_HOME: Mapping[str, str] = {method: tool.name for tool in TOOLS.values() for method in tool.calls}
_NAME = 100  # characters of a foreign name that are repeated
_SHOWN = 1500  # characters of a text in an error


class Router:
    """Carries a tool call to its method and back."""

    def __init__(
        self,
        *,
        engine: Engine,
        registry: Registry | Callable[[], Registry],
        blobs: Blobs,
        roots: Sequence[Path],
        policies: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        planner: Callable[..., Planned | NeedsSpec] | None = None,
    ) -> None:
        """`registry` may be a function that loads it: no list of tools waits for the node types."""
        self.bench = Bench(
            engine=engine,
            registry=registry,
            blobs=blobs,
            roots=list(roots),
            policies=policies,
            limits=limits,
            planner=planner,
        )
        self._handlers: dict[str, Handler] = {
            **Collaboration(self.bench).handlers,
            **Orchestrator(self.bench).handlers,
        }

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        principal: str = "local",
        session_id: str | None = None,
        notify: Notify | None = None,
    ) -> Reply:
        """Answer one call; errors are replies too. `session_id` is the connection's, unless the call names one."""
        named = arguments.get("session_id")
        own = named if isinstance(named, str) and 0 < len(named) <= 200 else session_id
        caller = Caller(principal, own, notify)
        if tool in LEGACY:
            arguments = {**arguments, "method": tool}
        try:
            reply = await self._answer(tool, arguments, caller)
        except PhyslabError as error:
            reply = error_reply(error)
        except Exception as error:
            code = secrets.token_hex(4)
            logger.exception("Call %s of %s %r failed unexpectedly", code, tool, arguments.get("method"))
            reply = error_reply(
                UnavailableError(
                    f"The server failed at this call ({type(error).__name__}); the log has it as {code}.",
                    field="method",
                    got=str(arguments.get("method"))[:100],
                    remedy="Try again; if it fails again, report it with that code from the server's log.",
                )
            )
        await call_log.record(self.bench.engine, LEGACY.get(tool, tool)[:_NAME], arguments, caller, reply)
        return reply

    async def _answer(self, tool: str, arguments: Mapping[str, Any], caller: Caller) -> Reply:
        known = TOOLS.get(LEGACY.get(tool, tool))
        if known is None:
            raise _no_tool(tool, arguments)
        call: Call = known.parse(arguments, elsewhere=_HOME)
        handler = self._handlers[call.method_name()]
        try:
            return await handler(call, caller)
        except PhyslabError as error:
            raise _completed(error, call) from error


def _no_tool(name: str, arguments: Mapping[str, Any]) -> NotFoundError:
    """A tool that is none: a method called by its name, a slip of the pen, or something foreign."""
    given = str(arguments.get("method"))
    given = given if given in _HOME else ""
    near = get_close_matches(name[:_NAME], [*TOOLS, *_HOME], n=1, cutoff=0.6)
    wanted = near[0] if near else given
    home = _HOME.get(wanted) or wanted or next(iter(TOOLS))
    remedy = f"Tools: {', '.join(TOOLS)}."
    if wanted in _HOME:
        remedy = f"{wanted} is a method of the tool {home}: send it there as `method`."
    elif wanted:
        remedy = f"Did you mean {wanted!r}? {remedy}"
    calls = TOOLS[home].calls
    shown = next(one for one in (wanted, given, *calls) if one in calls)
    return NotFoundError(
        f"There is no tool {name[:_NAME]!r}.",
        field="name",
        got=name[:_NAME],
        remedy=remedy,
        example={"name": home, "arguments": calls[shown].example},
    )


def _completed(error: PhyslabError, call: Call) -> PhyslabError:
    """The error with what a caller always gets: a field, a remedy, an example."""
    if error.field is None:
        error.field = "method"
        error.got = error.got if error.got is not None else call.method_name()
    if error.remedy is None:
        listing = "job_list" if call.method_name() in TOOLS[collaboration.NAME].calls else "run_list"
        error.remedy = f"Look with {listing}." if isinstance(error, NotFoundError) else "Change the call and try again."
    if error.example is None and isinstance(error, RequestError):
        error.example = call.example
    return error


def error_reply(error: PhyslabError) -> Reply:
    """An error as a reply: text for the model, `structured.error` for programs. Of many defects it keeps the first."""
    if error.details:
        error.details = first_of(error.details, error.example)
    error.message = clip(error.message, _SHOWN)
    error.field = error.field and clip(error.field, _NAME)
    error.got = _short(error.got)
    error.remedy = error.remedy and clip(error.remedy, _SHOWN)
    error.details = _short(error.details)
    return Reply({"error": _plain(error.as_dict())}, render.error_text(error), is_error=True, error=error)


def _short(value: Any) -> Any:
    """A value with its long texts cut: what a caller sent need not all come back."""
    if isinstance(value, str):
        return clip(value, _SHOWN)
    if isinstance(value, Mapping):
        return {_short(key): _short(one) for key, one in value.items()}
    return [_short(one) for one in value] if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    """JSON that survives every encoder: lone surrogates and foreign objects become text."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {str(_plain(str(key))): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _plain(str(value))
