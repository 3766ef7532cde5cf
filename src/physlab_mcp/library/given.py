"""What callers hand to the library, checked where it is handed over: each refusal names the argument and its value."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.job import AUTO, HERE, backend_name

if TYPE_CHECKING:
    from physlab_mcp.library.workflow import ExperimentalWorkflow

_TASK = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")
MOST_RETRIES = 100
BACKENDS = (HERE, "slurm", "kubernetes")
_DEEPEST = 100


def refused(message: str, field: str, got: Any, remedy: str) -> RequestError:
    """An error whose `got` is short enough to be shown."""
    return RequestError(message, field=field, got=short(got), remedy=remedy)


def short(value: Any) -> str:
    """Its text, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:99]}…"


def backend_of(value: Any, field: str) -> str | None:
    """The name of a place where jobs run; None for `auto` and for None.

    Raises:
        RequestError: it is none.

    """
    if value is None or value == AUTO:
        return None
    name = backend_name(value) if isinstance(value, str) else None
    if name not in BACKENDS:
        raise refused(
            f"{field} is {short(value)}, which is no backend.", field, value, f"Use auto, {', '.join(BACKENDS)}."
        )
    return name


def handle_of(value: Any) -> str:
    """The id of a sweep, run, job or series.

    Raises:
        RequestError: it is no text.

    """
    if not isinstance(value, str) or not value:
        raise refused(f"The id is {short(value)}.", "handle", value, "Give the id that submit answered, a text.")
    return value


def text_of(value: Any, field: str) -> str:
    """A text.

    Raises:
        RequestError: it is none.

    """
    if not isinstance(value, str):
        raise refused(f"{field} is {short(value)}, which is no text.", field, value, "Give a text.")
    return value


def task_name(value: Any) -> str:
    """The name of a task.

    Raises:
        RequestError: it has characters that a name cannot have.

    """
    if not isinstance(value, str) or not _TASK.fullmatch(value):
        raise refused(
            f"A task cannot be called {short(value)}.", "name", value,
            "Use letters, digits, _ . and -, at most 100 of them, and no . or - at the beginning.",
        )  # fmt: skip
    return value


def names_of(value: Any, field: str) -> list[str]:
    """Names: a list of texts, or one text.

    Raises:
        RequestError: it is neither.

    """
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list | tuple | AbstractSet) or not all(isinstance(one, str) for one in value):
        raise refused(f"{field} is {short(value)}, which is no list of names.", field, value, 'Write ["name", …].')
    names = [str(one) for one in value]
    return sorted(names) if isinstance(value, AbstractSet) else names


def mapping_of(value: Any, field: str, example: str) -> Mapping[str, Any]:
    """A dict with texts as names; None is an empty one.

    Raises:
        RequestError: it is none, or a name is no text.

    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise refused(f"{field} is {short(value)}, which is no dict.", field, value, f"Write {example}.")
    for name in value:
        if not isinstance(name, str) or not name:
            raise refused(f"{field} has the name {short(name)}, which is no text.", field, name, f"Write {example}.")
    return value


def whole(value: Any, field: str, *, least: int | None = None, most: int | None = None) -> int:
    """A whole number.

    Raises:
        RequestError: it is none, or out of range.

    """
    inside = isinstance(value, int) and (least is None or value >= least) and (most is None or value <= most)
    if not inside or isinstance(value, bool):
        span = f" from {least}" if least is not None else ""
        span += f" to {most}" if most is not None else ""
        raise refused(f"{field} is {short(value)}.", field, value, f"Give a whole number{span}.")
    return int(value)


def yes_or_no(value: Any, field: str) -> bool:
    """A truth value.

    Raises:
        RequestError: it is neither True nor False.

    """
    if not isinstance(value, bool):
        raise refused(f"{field} is {short(value)}.", field, value, "Give True or False.")
    return value


def values_of(name: str, values: Any) -> Any:
    """The values of one parameter: a list, a range, a tuple, an array, a set (sorted); a dict is a block; else one value.

    Raises:
        RequestError: they are no finite JSON values.

    """
    field = f"space.{name}"
    if isinstance(values, AbstractSet):
        try:
            values = sorted(values)
        except TypeError:
            raise refused(
                f"The values of {name!r} are a set that has no order.", field, values, "Write them as a list."
            ) from None
    if isinstance(values, Iterator):
        raise refused(
            f"The values of {name!r} are a {type(values).__name__}, which can be read only once.", field, values,
            "Write list(…) around it.",
        )  # fmt: skip
    plain = plain_of(values, field)
    return plain if isinstance(plain, list | dict) else [plain]


def plain_of(value: Any, field: str, depth: int = 0) -> Any:
    """Numbers and arrays of numpy, tuples and ranges as JSON has them; -0.0 is 0.0.

    Raises:
        RequestError: something in it is no finite JSON value.

    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value) + 0.0
    if isinstance(value, Mapping | list | tuple | range) and depth < _DEEPEST:
        if isinstance(value, Mapping):
            known = mapping_of(value, field, '{"name": value}')
            return {name: plain_of(one, f"{field}.{name}", depth + 1) for name, one in known.items()}
        return [plain_of(one, f"{field}.{i}", depth + 1) for i, one in enumerate(value)]
    if isinstance(value, float):
        remedy = f'Parameters are finite; write it as the text "{value}" and let the task read it by float().'
        raise refused(f"{field} is {value!r}.", field, value, remedy)
    what = "nested too deep" if isinstance(value, Mapping | list | tuple) else f"a {type(value).__name__}"
    raise refused(
        f"{field} is {what}: {short(value)}.", field, value,
        "Parameters are finite numbers, texts, booleans, None, lists and dicts; give a path as str(path), and let the "
        "task make objects itself.",
    )  # fmt: skip


def workflow_of(value: Any) -> ExperimentalWorkflow:
    """A workflow.

    Raises:
        RequestError: it is none.

    """
    from physlab_mcp.library.workflow import ExperimentalWorkflow

    if not isinstance(value, ExperimentalWorkflow):
        raise refused(f"A {type(value).__name__} is no workflow.", "workflow", value, "Give an ExperimentalWorkflow.")
    return value
