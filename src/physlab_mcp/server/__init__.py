"""The MCP server: two routed tools, resources, subscriptions, prompts, completions, tasks; stdio or HTTP."""

from physlab_mcp.server.app import build
from physlab_mcp.server.command import main

__all__ = ["build", "main"]
