"""physlab-mcp: a durable experiment engine for agents and scientists."""

__version__ = "0.1.0"
