"""What a node call failed with, in the words of the error."""

from __future__ import annotations

import errno
import traceback
from typing import Any


def failure_as_told(error: Any) -> dict[str, Any]:
    """A Failure as a dict, by what the error tells of itself; known ones with their remedy."""
    if hasattr(error, "as_failure"):
        return error.as_failure()
    text = "".join(traceback.format_exception(error))[-4000:]
    code, remedy, retryable = "error", None, True
    name = type(error).__name__
    message = f"{name}: {error}"
    if hasattr(error, "as_dict"):
        code, remedy, message = error.code, error.remedy, error.message
        retryable = code == "unavailable"
        if getattr(error.__cause__, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            code = "disk_full"  # tried again until there is room
    elif name == "ValidationError" and hasattr(error, "errors"):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        code, retryable, message = "invalid_request", False, f"{where}: {first['msg']}"
        remedy = f"The value that came from another node is {first.get('input')!r:.200}; choose another key or node."
    elif isinstance(error, ModuleNotFoundError):
        from physlab_mcp.nodes.extras import extra_of, install_command

        extra = extra_of(error.name)
        if extra is not None:
            code, retryable = "unavailable", False
            message = f"The node needs the package {error.name!r} of the extra {extra!r}, which is not installed here."
            remedy = f"Install it with: {install_command(extra)}"
    elif isinstance(error, MemoryError):
        code, remedy = "oom", "Ask for more memory, or for a smaller problem."
    return {"code": code, "message": message[:2000], "remedy": remedy, "retryable": retryable, "traceback": text}
