"""Experiments in words: a deterministic planner over the node types, and an optional remote one."""

from physlab_mcp.words.draft import Unparsed
from physlab_mcp.words.needs_spec import NeedsSpec
from physlab_mcp.words.planner import Planned, plan

__all__ = ["NeedsSpec", "Planned", "Unparsed", "plan"]
