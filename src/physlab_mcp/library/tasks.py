"""One task of a workflow, and what it takes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import msgspec

from physlab_mcp.nodes.function_call import INPUTS, PARAMS, Takes, takes_of
from physlab_mcp.nodes.registry import Registry


class Task(msgspec.Struct, frozen=True):
    """Exactly one of `function`, `node_type` and `command` is set."""

    name: str
    function: Callable[..., Any] | None = None
    node_type: str | None = None
    command: tuple[Any, ...] | None = None
    depends_on: tuple[str, ...] = ()
    params: Mapping[str, Any] = {}
    checkpoint: bool = False
    retries: int = 0
    resources: Mapping[str, Any] = {}
    cache: bool = True
    backend: str | None = None  # None: the engine chooses

    @property
    def takes(self) -> Takes:
        """What its function takes.

        Raises:
            RequestError: its signature cannot be read.

        """
        assert self.function is not None  # noqa: S101 - asked of function tasks only
        return takes_of(self.function)


def arguments_of(task: Task, points: Collection[str], tasks: Collection[str]) -> dict[str, Any]:
    """The arguments of a function task: fixed ones as they are, those of the sweep as `{"$point": name}`."""
    takes = task.takes
    results = {name for name in tasks if name in task.depends_on}
    every = takes.everything or (PARAMS in takes.names and PARAMS not in points and PARAMS not in task.params)
    names = [*task.params, *(name for name in points if name not in task.params)]
    return {
        name: task.params.get(name, {"$point": name})
        for name in names
        if (every or name in takes.names) and name not in results
    }


def inputs_of(task: Task, arguments: Collection[str], functions: Collection[str]) -> dict[str, Any]:
    """The results it takes of the tasks before it: of functions their values, of others their arrays and files too."""
    takes = task.takes
    every = takes.everything or (INPUTS in takes.names and INPUTS not in arguments)
    return {
        name: {"$from": name, "key": "values" if name in functions else "*"}
        for name in task.depends_on
        if every or name in takes.names
    }


def node_params(task: Task, points: Collection[str], registry: Registry) -> dict[str, Any]:
    """The parameters of a node task: those of the sweep go where it has one of that name and none was given."""
    found = registry.find(task.node_type or "")
    fields = found.params.model_fields if found is not None else {}
    return {**{name: {"$point": name} for name in points if name in fields}, **task.params}


def command_words(command: tuple[Any, ...], points: Collection[str]) -> list[Any]:
    """The words of a command; a word that is `{name}` is the sweep's value."""
    return [{"$point": word[1:-1]} if isinstance(word, str) and _named(word) in points else word for word in command]


def _named(word: str) -> str | None:
    return word[1:-1] if word.startswith("{") and word.endswith("}") else None


def points_in(value: Any) -> Iterator[str]:
    """Every name that a `{"$point": name}` in it asks for."""
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, Mapping):
            if isinstance(one.get("$point"), str):
                yield one["$point"]
            stack.extend(one.values())
        elif isinstance(one, list | tuple):
            stack.extend(one)
