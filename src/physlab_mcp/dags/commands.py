"""What can be told of a command node before it runs: no references, usable words, paths inside the allowed roots."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from physlab_mcp.backends.job_inputs import allowed, check_shape
from physlab_mcp.dags.problems import Problem, bad, field_name, of_error
from physlab_mcp.errors import PhyslabError
from physlab_mcp.paths import confine
from physlab_mcp.schemas.job import JobSpec

NO_REFERENCE = (
    "{field}: a command cannot take another node's output by $from; its words and files are fixed before it runs."
)
HAND_OVER = (
    'Between commands, give both the same "workdir" and order them with "dependencies". From another node, run that one '
    'first and name its artifact in "inputs": {"source": "sha256:<hex>", "target": "data.npy"}.'
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def command_problems(params: Mapping[str, Any], roots: Sequence[Path] | None, hidden: Sequence[Path]) -> list[Problem]:
    """Every defect of a command's words and paths; `params` may hold placeholders and values of wrong types.

    Without `roots` it is not judged where paths lead.
    """
    found = [*_words(params), *_targets(params)]
    for path, value in _paths(params):
        if value.startswith("sha256:"):
            if not _DIGEST.fullmatch(value):
                found.append(bad(path, "Value error, sha256: is followed by 64 lower-case hex digits", value))
        elif roots is not None:
            found.extend(place_problems(path, value, roots, hidden))
    return found


def _words(params: Mapping[str, Any]) -> Iterator[Problem]:
    """What no runner could run, field by field."""
    command, env = _list(params, "command"), params.get("env")
    specs: list[tuple[tuple[str | int, ...], JobSpec]] = [
        (("command", i), JobSpec(command=(word,))) for i, word in enumerate(command) if isinstance(word, str)
    ]
    if isinstance(params.get("script"), str):
        specs.append((("script",), JobSpec(script=params["script"])))
    for name, value in env.items() if isinstance(env, Mapping) else ():
        if isinstance(name, str):
            text = value if isinstance(value, str) else ""
            specs.append((("env", name), JobSpec(command=("x",), env={name: text})))
    for i, glob in enumerate(_list(params, "artifacts")):
        if isinstance(glob, str):
            specs.append((("artifacts", i), JobSpec(command=("x",), artifacts=(glob,))))
    if isinstance(params.get("artifacts_path"), str):
        specs.append((("artifacts_path",), JobSpec(command=("x",), artifacts_path=params["artifacts_path"])))
    for path, spec in specs:
        try:
            check_shape(spec)
        except PhyslabError as error:
            error.field = None  # it names a part of a job; here it is a parameter of a node
            yield of_error(error, path)


def _targets(params: Mapping[str, Any]) -> Iterator[Problem]:
    for i, one in enumerate(_list(params, "inputs")):
        target = one.get("target") if isinstance(one, Mapping) else None
        if not isinstance(target, str):
            continue
        parts = PurePosixPath(target.replace("\\", "/")).parts
        if target.startswith(("/", "~")) or ".." in parts or not parts or "\0" in target:
            where = field_name(("inputs", i, "target"))
            yield Problem(
                "forbidden_path",
                where,
                f"{where} = {target!r} does not stay inside the working folder.",
                "Give a relative path without '..'.",
                target,
            )


def _paths(params: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The paths that a command names outside of its working folder."""
    if isinstance(params.get("workdir"), str):
        yield ("workdir",), params["workdir"]
    for i, one in enumerate(_list(params, "inputs")):
        source = one.get("source") if isinstance(one, Mapping) else None
        if isinstance(source, str):
            yield ("inputs", i, "source"), source


def place_problems(
    path: Sequence[str | int], value: str, roots: Sequence[Path], hidden: Sequence[Path]
) -> Iterator[Problem]:
    """Whether the parameter at `path` names a place inside the roots; a warning where nothing is there yet."""
    field = field_name(path).removeprefix("params.")
    try:
        real = confine(value, list(roots), field=field, must_exist=False)
        if real.exists():
            allowed(value, roots, hidden, field=field)
        else:
            yield Problem(
                "missing_file",
                field_name(path),
                f"{field_name(path)} names {value!r}, which does not exist yet.",
                "Make it before the run, or correct the name.",
                value,
                "warning",
            )
    except PhyslabError as error:
        yield of_error(error, path, "forbidden_path")
    except (OSError, ValueError, RuntimeError) as error:  # a NUL, a name too long, an unknown user behind ~
        yield bad(path, f"Value error, it is not a path: {error}", value)


def _list(params: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = params.get(name)
    return value if isinstance(value, list | tuple) else ()
