"""The record of every tool call in its session: what was asked (secrets removed), by whom, and which handle came of it."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from physlab_mcp.schemas.handles import new_handle

if TYPE_CHECKING:
    from physlab_mcp.engine.engine import Engine
    from physlab_mcp.tools.reply import Caller, Reply

logger = logging.getLogger(__name__)
_SECRET = re.compile(
    r"token|secret|passw|passphrase|credential|api_?key|private_?key|authorization|cookie", re.IGNORECASE
)
_HIDDEN = "(hidden)"
_MOST = 32_000  # bytes of arguments kept; a larger call is known by its hash


def redact(value: Any, depth: int = 0) -> Any:
    """The value without secrets: every environment variable's value, and whatever is named like a secret."""
    if depth > 20:
        return _HIDDEN
    if isinstance(value, Mapping):
        return {
            str(key): _hide(one) if key == "env" or _SECRET.search(str(key)) else redact(one, depth + 1)
            for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact(one, depth + 1) for one in value]
    return value


def _hide(value: Any) -> Any:
    return dict.fromkeys(map(str, value), _HIDDEN) if isinstance(value, Mapping) else _HIDDEN


async def record(engine: Engine, tool: str, arguments: Mapping[str, Any], caller: Caller, reply: Reply) -> None:
    """Put one record of kind `call`. The reply never fails because of it."""
    try:
        shown = redact(arguments)
        text = json.dumps(shown, sort_keys=True, separators=(",", ":"), default=str)
        digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
        body = {
            "tool": tool,
            "method": str(arguments.get("method", ""))[:100],
            "arguments": shown if len(text) <= _MOST else {"left_out": len(text)},
            "arguments_sha256": digest,
            "handle": reply.handle,
            "error": reply.error.code if reply.error is not None else None,
            "principal": caller.principal,
            "session_id": caller.session_id,
            "at": time.time(),
        }
        await engine.store.put("call", new_handle("entry"), body, subject=caller.session_id, durable=False)
    except Exception:
        logger.exception("A call of %s could not be recorded in session %r", tool, caller.session_id)
