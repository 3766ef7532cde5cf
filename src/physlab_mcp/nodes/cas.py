"""The nodes of the tool `cas`."""

from __future__ import annotations

from physlab_mcp.nodes.cas_calculus import diff, evaluate, simplify
from physlab_mcp.nodes.cas_equations import solve_equation
from physlab_mcp.nodes.cas_integral import integrate
from physlab_mcp.nodes.cas_matrix import matrix
from physlab_mcp.nodes.cas_ode import solve_ode
from physlab_mcp.nodes.cas_uncertainty import propagate_uncertainty

__all__ = [
    "diff",
    "evaluate",
    "integrate",
    "matrix",
    "propagate_uncertainty",
    "simplify",
    "solve_equation",
    "solve_ode",
]
