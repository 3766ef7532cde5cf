"""From what people type to what Python's own grammar reads: `2x^2`, `3 sin(x)`, `ω²`, `y'' + y`.

Text is cut into numbers, names and a few operators; a character outside of these is refused here. Literals leave as
placeholders (`_0`, `_1` …), so that no digit is read twice and no name of a caller can look like one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection
from types import MappingProxyType
from typing import NamedTuple

from physlab_mcp.errors import RequestError

MAX_LENGTH = 1000
MAX_NAME = 40
MAX_DIGITS = 60
MAX_DECIMAL_EXPONENT = 400

_GREEK = MappingProxyType(
    dict(zip("αβγδεζηθικμνξοπρστυφχψω", ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "mu", "nu", "xi", "omicron", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega"], strict=True))
    | dict(zip("ΓΔΘΛΞΠΣΦΨΩ", ["Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi", "Omega"], strict=True))
    | {"λ": "lambda", "ς": "sigma", "ϕ": "phi", "ϑ": "theta", "ϵ": "epsilon", "ħ": "hbar", "ℏ": "hbar"}
)  # fmt: skip
_SIGNS = str.maketrans({"×": "*", "·": "*", "⋅": "*", "∙": "*", "÷": "/", "∕": "/", "−": "-", "–": "-"} | {"∞": " oo "})
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+")
_ROOT_OF_NUMBER = re.compile(r"√\s*([0-9]+(?:\.[0-9]+)?)")
_ROOT_OF_NAME = re.compile(r"√\s*([^\W\d]\w*)(?!\w|\s*\()")
_TOKEN = re.compile(
    r"(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)|(?P<name>[^\W\d]\w*)"
    r"|(?P<prime>['′’]+)|(?P<mark>\*\*|==|[-+*/^(),=])"
)
# Words of Python that are names here; any other keyword makes no arithmetic and is refused by the grammar.
_KEYWORDS = MappingProxyType({"lambda": "lamda"})

Refuse = Callable[[str, str], RequestError]


class Token(NamedTuple):
    """One piece: kind `number`, `name`, `prime` or `mark`."""

    kind: str
    text: str


class Words(NamedTuple):
    """What the reading of names depends on."""

    functions: Collection[str]  # names that are called
    factors: Collection[str]  # names known not to be functions: a parenthesis behind them multiplies


def symbol_name(text: str) -> str | None:
    """The one spelling of a name (`ω0` is `omega0`), or None if it is not a name that a caller may use."""
    name = unicodedata.normalize("NFKC", text.strip())
    if name[:1] in _GREEK:
        rest = name[1:]
        name = _GREEK[name[0]] + ("_" if rest[:1].isalpha() else "") + rest
    if name == "lamda":
        name = "lambda"
    if not name.isidentifier() or name.startswith("_") or "__" in name or len(name) > MAX_NAME:
        return None
    return name


def tokens_of(text: str, refuse: Refuse) -> list[Token]:
    """Cut `text`; names come out in their one spelling.

    Raises:
        RequestError: too long, a character or name that is not arithmetic, a literal that is too large.

    """
    if len(text) > MAX_LENGTH:
        raise refuse(f"it has {len(text)} characters", f"Keep it to {MAX_LENGTH}.")
    text = _RAISED.sub(lambda found: f"**({found.group().translate(_SUPERSCRIPT)})", text.translate(_SIGNS))
    text = _ROOT_OF_NUMBER.sub(r"sqrt(\1)", _ROOT_OF_NAME.sub(r"sqrt(\1)", text))
    text = text.replace("√", "sqrt").replace("″", "''")
    found: list[Token] = []
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        match = _TOKEN.match(text, place)
        if match is None:
            raise refuse(
                f"{text[place]!r} at character {place + 1} is not arithmetic",
                "Use numbers, names, + - * / ^, parentheses and known functions.",
            )
        kind, piece = str(match.lastgroup), match.group()
        if kind == "name":
            name = symbol_name(piece)
            if name is None:
                raise refuse(f"{piece!r} cannot be a name", f"Use letters and digits, at most {MAX_NAME}, no '__'.")
            piece = name
        if kind == "number":
            _check_literal(piece, refuse)
        found.append(Token(kind, piece))
        place = match.end()
    return found


def _check_literal(piece: str, refuse: Refuse) -> None:
    mantissa, _, exponent = piece.lower().partition("e")
    if len(mantissa) > MAX_DIGITS:
        raise refuse(f"a number has {len(mantissa)} digits", f"Keep numbers to {MAX_DIGITS} digits.")
    if exponent and (len(exponent) > 5 or abs(int(exponent)) > MAX_DECIMAL_EXPONENT):
        raise refuse(f"the number {piece} is out of range", f"Keep exponents of ten within {MAX_DECIMAL_EXPONENT}.")


def python_text(tokens: list[Token], words: Words, refuse: Refuse) -> tuple[str, list[str]]:
    """An expression in Python's grammar, with the multiplication signs that were left out, and its literals.

    Raises:
        RequestError: two pieces stand side by side that make no product.

    """
    parts: list[str] = []
    literals: list[str] = []
    before = Token("mark", "(")
    for token in tokens:
        if _makes_product(before, token, words, refuse):
            parts.append("*")
        if token.kind == "number":
            parts.append(f"_{len(literals)}")
            literals.append(token.text)
        elif token.kind == "prime":
            raise refuse("' has no meaning here", "A prime marks a derivative in differential equations only.")
        elif token.text in {"=", "=="}:
            raise refuse("it holds an equals sign", "Give an expression, or use an equation where one is asked for.")
        else:
            parts.append("**" if token.text == "^" else _KEYWORDS.get(token.text, token.text))
        before = token
    return " ".join(parts), literals


def _makes_product(before: Token, token: Token, words: Words, refuse: Refuse) -> bool:
    ends = before.kind in {"number", "name"} or before.text == ")"
    if not ends:
        return False
    if token.kind == "number":
        raise refuse(f"{before.text!r} and {token.text!r} stand side by side", "Put an operator between them.")
    if token.kind == "name":
        return True
    if token.text != "(":
        return False
    return before.kind == "number" or before.text == ")" or before.text in words.factors


def split_equation(tokens: list[Token], refuse: Refuse) -> tuple[list[Token], list[Token]]:
    """Both sides of `lhs = rhs`, `lhs == rhs` or `Eq(lhs, rhs)`; an expression alone is equal to zero.

    Raises:
        RequestError: more than one equals sign.

    """
    if len(tokens) > 3 and tokens[0].text in {"Eq", "Equality"} and tokens[1].text == "(" and tokens[-1].text == ")":
        inner = tokens[2:-1]
        commas = [at for at, depth in _depths(inner) if depth == 0 and inner[at].text == ","]
        if len(commas) == 1:
            return inner[: commas[0]], inner[commas[0] + 1 :]
    signs = [at for at, token in enumerate(tokens) if token.text in {"=", "=="}]
    if len(signs) > 1:
        raise refuse("it has more than one equals sign", "Write lhs = rhs; give a list for several equations.")
    if not signs:
        return tokens, [Token("number", "0")]
    return tokens[: signs[0]], tokens[signs[0] + 1 :]


def _depths(tokens: list[Token]) -> list[tuple[int, int]]:
    depth = 0
    found: list[tuple[int, int]] = []
    for at, token in enumerate(tokens):
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        found.append((at, depth))
    return found


def leibniz_to_primes(text: str, func: str, symbol: str) -> str:
    """`dy/dx` and `d^2y/dx^2` as `y'` and `y''`."""
    power = r"\s*(?:\^|\*\*)?\s*"
    pattern = rf"\bd(?:{power}(\d))?\s*{re.escape(func)}(?:\({re.escape(symbol)}\))?\s*/\s*d{re.escape(symbol)}(?:{power}(\d))?(?!\w)"

    def primes(match: re.Match[str]) -> str:
        first, second = match.group(1) or "1", match.group(2) or "1"
        return f"{func}{chr(39) * int(first)}" if first == second and 1 <= int(first) <= 6 else match.group()

    return re.sub(pattern, primes, text)


def primes_to_calls(tokens: list[Token], func: str, symbol: str, refuse: Refuse) -> list[Token]:
    """`y''` and `y''(x)` as `diff(y, x, 2)`, `y(x)` as `y`."""
    found: list[Token] = []
    at = 0
    while at < len(tokens):
        token = tokens[at]
        at += 1
        if token != Token("name", func):
            found.append(token)
            continue
        order = 0
        while at < len(tokens) and tokens[at].kind == "prime":
            order += len(tokens[at].text)
            at += 1
        if at < len(tokens) and tokens[at].text == "(":
            if [one.text for one in tokens[at + 1 : at + 3]] != [symbol, ")"]:
                raise refuse(f"{func} is taken at a place other than {symbol}", f"Write {func} or {func}({symbol}).")
            at += 3
        call = ["diff", "(", func, ",", symbol, ",", str(order), ")"] if order else [func]
        found += [Token("name" if one.isidentifier() else "number" if one.isdigit() else "mark", one) for one in call]
    return found
