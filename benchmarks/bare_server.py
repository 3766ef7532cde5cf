"""The least an MCP server of this SDK can be: two tools that do nothing. What physlab-mcp's start is measured against."""

from __future__ import annotations

from mcp.server import MCPServer

server = MCPServer("bare")


@server.tool()
def first(method: str) -> str:
    """Do nothing."""
    return method


@server.tool()
def second(method: str) -> str:
    """Do nothing either."""
    return method


if __name__ == "__main__":
    server.run()
