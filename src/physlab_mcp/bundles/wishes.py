"""What a caller may choose about a package, in the forms that library and command line take."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from physlab_mcp.bundles.shapes import Tolerance, Tolerances
from physlab_mcp.errors import RequestError

UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
_FORMS = (
    'Give 1e-6, "task.key=1e-6", "task.key=1e-6,1e-12" (relative, absolute), a list of these, or {"task.key": 1e-6}.'
)
_WRITTEN = "Write 1e-6, task.key=1e-6 or task.key=1e-6,1e-12 (relative, absolute)."
OPTIONS = ("tolerances", "ignore", "pixels", "wheelhouse", "everything", "license", "name")
_ALSO = {"tolerance": "tolerances", "licence": "license", "package_name": "name"}


class Wishes(msgspec.Struct, frozen=True):
    """What a caller may choose about a package."""

    name: str | None = None  # default: from the title and the handle
    tolerances: Tolerances = Tolerances()
    wheelhouse: bool = False  # with a wheel of every package, so that it can be reproduced without network
    everything: bool = False  # lock all that was installed, not only what the run is known to need
    license: str | None = None  # URL of the licence under which the package is passed on
    visualizations: Mapping[str, Any] | None = None  # figure requests by name; default: those of the workflow
    folders: tuple[Path, ...] = ()  # where a uv.lock with hashes may be found, here or above


def wishes_of(options: Mapping[str, Any]) -> Wishes:
    """The wishes in options by name; `tolerances` as of `tolerances_of`, `ignore` one pattern or a list.

    Raises:
        RequestError: an option is unknown, or not of its kind.

    """
    given: dict[str, Any] = {}
    for written, value in options.items():
        name = _ALSO.get(written, written)
        if name not in OPTIONS:
            near = get_close_matches(written, OPTIONS, n=1, cutoff=0.0)[0]
            raise RequestError(
                f"A package has no option {written!r}; the nearest is {near!r}.", field=written,
                got=repr(value)[:100], remedy=f"Use: {', '.join(OPTIONS)}.",
            )  # fmt: skip
        if name in given:
            raise RequestError(
                f"{name} is given twice, as {written!r} too.", field=written, got=repr(value)[:100],
                remedy="Give it once.",
            )  # fmt: skip
        given[name] = value
    tolerances = given.pop("tolerances", None)
    declared = tolerances_of(tolerances, given.pop("ignore", ()), given.pop("pixels", 0))
    for name, kind in (("wheelhouse", bool), ("everything", bool), ("license", str), ("name", str)):
        value = given.get(name)
        if value is not None and not isinstance(value, kind):
            asked = "True or False" if kind is bool else "a text"
            raise _no(name, value, f"{name} is {repr(value)[:100]}.", f"Give {asked}.")
    if given.get("name") is not None:
        check_name(given["name"])
    return Wishes(tolerances=declared, **{name: value for name, value in given.items() if value is not None})


def tolerances_of(given: Any, ignore: Any = (), pixels: Any = 0, *, field: str = "tolerances") -> Tolerances:
    """The tolerances as given: a number for all, `task.key=rel` or `task.key=rel,abs`, several of these, or by name.

    Raises:
        RequestError: one cannot be read.

    """
    if isinstance(given, Tolerances):
        if ignore or pixels:
            raise _no(field, given, "Tolerances are given with `ignore` or `pixels` beside.", "Put these into them.")
        return given
    default, by_name = Tolerance(), dict[str, Tolerance]()
    if isinstance(given, Mapping):
        found = [(str(name), _tolerance(one, f"{field}.{name}")) for name, one in given.items()]
    else:
        several = isinstance(given, Sequence) and not isinstance(given, str)
        found = [_named(one, field) for one in (given if several else [] if given is None else [given])]
    for name, one in found:
        if name:
            by_name[name] = one
        else:
            default = one
    patterns = [ignore] if isinstance(ignore, str) else ignore
    if not isinstance(patterns, Sequence) or not all(isinstance(one, str) and one for one in patterns):
        raise _no("ignore", ignore, f"ignore is {repr(ignore)[:100]}.", 'Give names, such as ["*.mp4", "task.key"].')
    if not isinstance(pixels, int) or isinstance(pixels, bool) or not 0 <= pixels <= 255:
        raise _no("pixels", pixels, f"pixels is {repr(pixels)[:100]}.", "Give a whole number from 0 to 255.")
    return Tolerances(default=default, by_name=by_name, ignore=tuple(patterns), pixels=pixels)


def _named(given: Any, field: str) -> tuple[str, Tolerance]:
    """One of a list: the name that it is for (none for all), and how far."""
    if not isinstance(given, str):
        return "", _tolerance(given, field)
    name, _, numbers = given.rpartition("=")
    try:
        return name, _tolerance(numbers, field)
    except RequestError:
        raise _no(field, given, f"{field} {given!r} cannot be read.", _WRITTEN) from None


def _tolerance(given: Any, field: str) -> Tolerance:
    """A relative tolerance, or a relative and an absolute one."""
    if isinstance(given, Tolerance):
        return given
    parts = given.split(",") if isinstance(given, str) else given
    pair = list(parts) if isinstance(parts, Sequence) else [parts]
    try:
        rel, absolute = (float(one) for one in (pair if len(pair) > 1 else [*pair, 0.0]))
    except (TypeError, ValueError):
        raise _no(field, given, f"{field} is {repr(given)[:100]}, which is no tolerance.", _FORMS) from None
    sizes = 0 <= rel < float("inf") and 0 <= absolute < float("inf")
    if not sizes or any(isinstance(one, bool) for one in pair):
        raise _no(field, given, f"{field} is {repr(given)[:100]}, which is no tolerance.", _FORMS)
    return Tolerance(rel, absolute)


def _no(field: str, got: Any, message: str, remedy: str) -> RequestError:
    return RequestError(message, field=field, got=repr(got)[:100], remedy=remedy)


def check_name(name: str) -> str:
    """The name itself.

    Raises:
        RequestError: it could not be that of a folder everywhere.

    """
    if not _NAME.fullmatch(name):
        raise RequestError(
            f"{name[:150]!r} cannot be a package's name.", field="name", got=name[:150],
            remedy="Use letters, digits, dots, dashes and underscores; at most 120, a letter or digit first.",
        )  # fmt: skip
    return name


def slug(text: str, most: int = 100) -> str:
    """A text as the name of a file: letters and digits as they are, dashes for the rest; empty where nothing is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return UNSAFE.sub("-", plain).strip("-._")[:most].rstrip("-._")
