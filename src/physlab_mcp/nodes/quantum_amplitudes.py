"""Complex numbers as callers write them: numbers, [re, im] pairs, and text such as "1/sqrt(2)" or "exp(i*pi/4)".

The text is parsed to a syntax tree in which every piece must be on a short list; nothing is handed to `eval`.
"""

from __future__ import annotations

import ast
import cmath
from collections.abc import Callable, Mapping
from math import isfinite
from types import MappingProxyType
from typing import Any

from physlab_mcp.errors import RequestError

MAX_LENGTH = 200
MAX_DEPTH = 16
_NAMES: Mapping[str, complex] = MappingProxyType({"i": 1j, "j": 1j, "I": 1j, "pi": cmath.pi, "e": cmath.e})
_FUNCTIONS: Mapping[str, Callable[[complex], complex]] = MappingProxyType(
    {"sqrt": cmath.sqrt, "exp": cmath.exp, "cos": cmath.cos, "sin": cmath.sin}
)


def number(value: Any, field: str) -> complex:
    """One complex number.

    Raises:
        RequestError: it is not a number, a pair, or arithmetic of numbers, or it is not finite.

    """
    try:
        found = _read(value)
    except (SyntaxError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError) as error:
        shown = repr(value)[:80]
        raise RequestError(
            f"{shown} is not a complex number: {error}.",
            field=field,
            got=shown,
            remedy='Give a number, a pair [re, im], or text such as "1/sqrt(2)" or "exp(i*pi/4)".',
        ) from error
    return found


def numbers(value: Any, field: str, most: int) -> list[complex]:
    """Several, from a list or from text with commas between them.

    Raises:
        RequestError: not a list of complex numbers, empty, or more than `most`.

    """
    parts: Any = [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not 1 <= len(parts) <= most:
        raise RequestError(
            f"{field} is not a list of 1 to {most} numbers.", field=field, remedy="Give one amplitude a level."
        )
    return [number(part, f"{field}.{index}") for index, part in enumerate(parts)]


def normalised(state: Any) -> tuple[Any, float]:
    """Amplitudes (n,) of norm 1, and their norm as given; zeros stay zeros, and no square overflows or vanishes."""
    import numpy as np

    largest = float(np.max(np.maximum(np.abs(state.real), np.abs(state.imag)), initial=0.0))
    if largest == 0.0:
        return state, 0.0
    scaled = state / largest
    norm = float(np.linalg.norm(scaled))
    return scaled / norm, largest * norm


def pair(value: complex) -> list[float]:
    """[re, im], as results show it; a vanishing part is 0, never -0."""
    return [value.real + 0.0, value.imag + 0.0]


def shown(value: complex) -> str:
    """A short text: `1`, `-2i`, `0.5 + 0.5i`."""
    real, imaginary = round(value.real, 10) + 0.0, round(value.imag, 10) + 0.0
    i_text = {1.0: "i", -1.0: "-i"}.get(imaginary, f"{imaginary:.6g}i")
    if imaginary == 0:
        return f"{real:.6g}"
    if real == 0:
        return i_text
    return f"{real:.6g} {'-' if imaginary < 0 else '+'} {i_text.lstrip('-')}"


def _read(value: Any) -> complex:
    if isinstance(value, str):
        if len(value) > MAX_LENGTH:
            raise ValueError(f"it has {len(value)} characters, more than {MAX_LENGTH}")
        found = _visit(ast.parse(value.strip(), mode="eval").body, 0)
    elif isinstance(value, list | tuple):
        real, imaginary = value
        found = complex(_real(real), _real(imaginary))
    else:
        found = complex(_real(value))
    if not (isfinite(found.real) and isfinite(found.imag)):
        raise ValueError("it is not finite")
    return found


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{str(value)[:40]!r} is not a real number")
    return float(value)


def _visit(node: ast.expr, depth: int) -> complex:
    if depth > MAX_DEPTH:
        raise ValueError("it is nested too deeply")
    if isinstance(node, ast.Constant) and type(node.value) in (int, float, complex):
        return complex(ast.literal_eval(node))
    if isinstance(node, ast.Name) and node.id in _NAMES:
        return _NAMES[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        inner = _visit(node.operand, depth + 1)
        return inner if isinstance(node.op, ast.UAdd) else -inner
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
        if len(node.args) != 1 or node.keywords:
            raise ValueError(f"{node.func.id} takes one argument")
        return _FUNCTIONS[node.func.id](_visit(node.args[0], depth + 1))
    if isinstance(node, ast.BinOp):
        return _combine(node.op, _visit(node.left, depth + 1), _visit(node.right, depth + 1))
    raise ValueError(f"{ast.unparse(node)[:40]!r} is not allowed")


def _combine(operator: ast.operator, left: complex, right: complex) -> complex:
    if isinstance(operator, ast.Add):
        return left + right
    if isinstance(operator, ast.Sub):
        return left - right
    if isinstance(operator, ast.Mult):
        return left * right
    if isinstance(operator, ast.Div):
        return left / right
    if isinstance(operator, ast.Pow):
        return left**right
    raise ValueError("only + - * / and ** are allowed")
