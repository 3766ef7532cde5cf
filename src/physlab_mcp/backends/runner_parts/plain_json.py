"""JSON as the runner reads and writes it, without what `import json` costs at every start (enum and re come with it)."""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself would cost every start
if TYPE_CHECKING:
    from typing import Any

try:
    import _json
except ImportError:  # an interpreter that has none
    _json = None


class _Rules:
    """How the scanner reads, as json.loads does."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int

    @staticmethod
    def parse_constant(name: str) -> float:
        """NaN and the infinities, which JSON does not know and Python writes."""
        return float(name)


def loads(data: bytes | bytearray | str) -> Any:
    """What json.loads answers.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested too deep.

    """
    text = data if isinstance(data, str) else data.decode()
    if _json is not None:
        text = text.strip(" \t\n\r")
        try:
            scan: Any = _json.make_scanner
            value, end = scan(_Rules)(text, 0)
        except (StopIteration, SystemError):  # the latter where it would say what is wrong in words of json.decoder
            end = -1
        else:
            if end == len(text):
                return value
    import json

    return json.loads(text)


def dumps(value: Any) -> str:
    """What json.dumps answers."""
    try:
        return _written(value)
    except RecursionError:  # it nests deeper than Python may call itself
        import json

        return json.dumps(value)


def _written(value: Any) -> str:
    """None, bool, int, float, str, and lists and dicts (with keys of str) of these; json itself writes the rest."""
    if isinstance(value, str) and _json is not None:
        return _json.encode_basestring_ascii(value)
    if isinstance(value, dict) and all(type(key) is str for key in value):
        return "{" + ", ".join(f"{_written(key)}: {_written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_written, value)) + "]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else "true" if value else "false"
    if type(value) is int or (type(value) is float and value - value == 0):
        return repr(value)
    import json

    return json.dumps(value)
