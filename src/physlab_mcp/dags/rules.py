"""What a node type asks of its parameters beyond the shape of each: its model's own validators, and its checks.

Both are judged as far as possible: a parameter that is wrong already, or comes from another node, keeps only those
rules from being judged that look at it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NoReturn

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from physlab_mcp.dags.problems import Problem, bad, of_error
from physlab_mcp.dags.references import Place
from physlab_mcp.errors import RequestError, UnavailableError
from physlab_mcp.nodes.registry import NodeParams, NodeType

logger = logging.getLogger(__name__)
_ABSENT: Any = object()


class NotJudgedError(Exception):
    """A rule looked at a value that comes later."""


class Later:
    """Stands for a value that another node will give: it is there, so it is not None; any closer look is refused."""

    def __getattribute__(self, name: str) -> NoReturn:
        raise NotJudgedError(name)

    def _refuse(self, *_args: Any, **_options: Any) -> NoReturn:
        raise NotJudgedError

    __bool__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = _refuse
    __iter__ = __len__ = __contains__ = __getitem__ = __call__ = _refuse
    __int__ = __float__ = __index__ = __complex__ = __abs__ = __neg__ = __pos__ = __round__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __or__ = __ror__ = __and__ = _refuse
    __str__ = __repr__ = __format__ = _refuse


def around(model: type[NodeParams], raw: Mapping[str, Any], left_out: frozenset[str]) -> BaseModel:
    """The fields that are not in `left_out` (names as they stand in `raw`), checked and completed, each by itself.

    Raises:
        ValidationError: one of them is wrong.

    """
    given = {name: value for name, value in raw.items() if name not in left_out}
    return _without(model, left_out).model_validate(given)


@lru_cache(maxsize=1024)
def _without(model: type[NodeParams], left_out: frozenset[str]) -> type[BaseModel]:
    """The model less some fields and less its own validators."""
    shape: dict[str, Any] = {
        name: (info.annotation, info)
        for name, info in model.model_fields.items()
        if name not in left_out and info.alias not in left_out
    }
    config: ConfigDict = model.model_config
    made: Any = create_model(f"{model.__name__}Around", __config__=config, **shape)
    return made


def sound_part(
    model: type[NodeParams], raw: Mapping[str, Any], wrong: frozenset[str], places: Sequence[Place]
) -> BaseModel | None:
    """The fields that are neither `wrong` nor waited for; None where they cannot be told apart."""
    try:
        return around(model, raw, wrong | {str(place.path[0]) for place in places})
    except (ValidationError, TypeError):
        return None


def broken_validators(
    model: type[NodeParams], part: BaseModel, raw: Mapping[str, Any], places: Sequence[Place]
) -> list[Problem]:
    """What the model's own validators over several fields say to the sound part of the parameters."""
    subject = model.model_construct(**dict(part))
    values = vars(subject)
    for name in set(model.model_fields) - set(type(part).model_fields):
        values.pop(name, None)
    points = {place.path[0] for place in places if place.point is not None}
    for place in places:
        name = str(place.path[0])
        if name in model.model_fields and name not in points:
            values[name] = Later()
    found: list[Problem] = []
    for one in model.__pydantic_decorators__.model_validators.values():
        if one.info.mode != "after":
            continue
        message = _objection(one.func, subject)
        if message is not None:
            found.append(bad((), message, raw))
    return found


def _objection(validator: Callable[..., Any], subject: BaseModel) -> str | None:
    try:
        validator(subject)
    except ValueError as error:
        return str(error)
    except AssertionError as error:
        return f"Assertion failed, {error}"
    except Exception:  # it looked at a field that is not there, or not yet
        return None
    return None


def broken_checks(node_type: NodeType, params: Mapping[str, Any], places: Sequence[Place]) -> Iterator[Problem]:
    """What the node type's checks say to JSON parameters, complete or not.

    A check is left out when one of its values is absent, comes later, or was refused by a check before. One that needs a
    package which is not installed here says nothing: the worker tells.
    """
    refused: set[str] = set()
    for named, check in node_type.checks.items():
        names = (named,) if isinstance(named, str) else named
        values = [_value(params, name, places) for name in names]
        if any(value is _ABSENT for value in values) or not refused.isdisjoint(names):
            continue
        try:
            check(*values)
        except RequestError as error:
            yield of_error(error, names[-1].removesuffix(".*").split("."))
        except (UnavailableError, ImportError):
            continue
        except Exception:
            logger.warning("the check of %s in %s failed itself", names, node_type.name, exc_info=True)
            continue
        else:
            continue
        refused.update(names)


def _value(params: Mapping[str, Any], name: str, places: Sequence[Place]) -> Any:
    """The value at a dotted name; for `name.*` the names in that object, whatever stands behind them."""
    path = name.removesuffix(".*").split(".")
    names_only = name.endswith(".*")
    for place in places:
        other = [str(step) for step in place.path]
        if other == path[: len(other)] or (not names_only and other[: len(path)] == path):
            return _ABSENT
    here: Any = params
    for step in path:
        if not isinstance(here, Mapping) or step not in here:
            return _ABSENT
        here = here[step]
    if not names_only:
        return here
    return tuple(map(str, here)) if isinstance(here, Mapping) else _ABSENT
