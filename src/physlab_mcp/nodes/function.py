"""The node `function`: a Python function that the library stored, called in a worker of its own environment."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import Field

from physlab_mcp.errors import PhyslabError, RequestError
from physlab_mcp.nodes.function_call import INPUTS, Current, Takes, call, takes_of, unsigned
from physlab_mcp.nodes.function_values import Decoder, Encoder, read_pickle
from physlab_mcp.nodes.registry import NodeParams, node_type
from physlab_mcp.schemas.result import NodeResult

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

_SHA256 = r"^[0-9a-f]{64}$"
_MODULES = "function modules"  # names of what a worker keeps from call to call
_SAID = 1500  # characters of a message, so that the place behind it is seen
_HERE = str(Path(__file__).parent) + os.sep


class FunctionParams(NodeParams):
    """What the library writes for one task."""

    function: str = Field(pattern=_SHA256, description="SHA-256 of the stored function")
    code: str = Field(pattern=_SHA256, description="SHA-256 of the record of its code: equal code, equal value")
    environment: str = Field(
        pattern=_SHA256, description="SHA-256 of the record of interpreter, folder, search path and modules"
    )
    name: str = Field(default="", max_length=200, description="what the function is called in messages")
    arguments: dict[str, Any] = Field(default_factory=dict, description="parameters by name")
    inputs: dict[str, Any] = Field(default_factory=dict, description="results of other tasks by task name")
    cache: bool = Field(default=True, description="whether an equal call may take the stored result")


def _keyed(params: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What names a result: the code and what it is given. Pickles of equal functions may differ, so they do not count."""
    if not params["cache"]:
        return None
    return {name: params[name] for name in ("code", "arguments", "inputs")}


class TaskFailedError(Exception):
    """What a user's function raised, told with its own frames only."""

    def __init__(self, name: str, error: BaseException) -> None:
        super().__init__(name)
        self._name = name
        self._error = error

    def as_failure(self) -> dict[str, Any]:
        """See schemas.result.Failure."""
        error = self._error
        frames = traceback.extract_tb(error.__traceback__)
        own = next((i for i, one in enumerate(frames) if not one.filename.startswith(_HERE)), len(frames))
        frames = frames[own:]
        text = "".join(["Traceback (most recent call last):\n", *traceback.format_list(frames)])
        said, whole = _said_by(error)
        text = text[-2000:] + whole[:2000]
        where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno} in {frames[-1].name})" if frames else ""
        code, remedy = "error", None
        if isinstance(error, MemoryError):
            code, remedy = "oom", "Ask for more memory, or for a smaller problem."
        elif isinstance(error, ModuleNotFoundError):
            remedy = f"Install {error.name} where the function runs, or import it where it is found."
        return {
            "code": code,
            "message": f"{self._name}: {type(error).__name__}{': ' if said else ''}{said[:_SAID]}{where}"[:2000],
            "remedy": remedy,
            "retryable": True,
            "traceback": text,
        }


def _said_by(error: BaseException) -> tuple[str, str]:
    """The text of an error, and that with its type and notes, whatever its own methods do."""
    try:
        said = str(error)
    except BaseException as other:
        said = f"(its text cannot be told: __str__ raises {type(other).__name__})"
    try:
        return said, "".join(traceback.format_exception_only(error))
    except BaseException:  # it asks for notes, which a __getattr__ may refuse
        return said, f"{type(error).__name__}: {said}\n"


@node_type(
    "function",
    params=FunctionParams,
    summary="Call a Python function that the library stored",
    outputs={"*": "what the function returned: a dict by its names, anything else as `value`"},
    dtype="any",
    keyed=_keyed,
    example={
        "function": "0" * 64,
        "code": "0" * 64,
        "environment": "0" * 64,
        "name": "train",
        "arguments": {"learning_rate": 0.1},
    },
)
def run_function(params: FunctionParams, io: NodeIO) -> NodeResult:
    """Call it with its parameters and inputs; what it returns is stored by the rules of function_values."""
    name = params.name or "function"
    function, takes = _loaded(params, io, name)
    folder = io.job_folder
    decoder = Decoder(io, None if folder is None else folder / "attempts" / str(io.attempt) / "inputs")
    whole = takes.everything or INPUTS in takes.names
    results = {
        task: decoder.value(unsigned(value)) for task, value in params.inputs.items() if whole or task in takes.names
    }
    arguments = {one: decoder.value(unsigned(value)) for one, value in params.arguments.items()}
    Current.io = io
    try:
        returned = call(function, takes, arguments, results)
    except BaseException as error:
        raise TaskFailedError(name, error) from error
    finally:
        Current.io = None
    encoder = Encoder(io, name)
    values = encoder.values(returned)
    return NodeResult(
        values=values, arrays=encoder.arrays, artifacts=tuple(encoder.artifacts), meta={"device": io.device}
    )


def _loaded(params: FunctionParams, io: NodeIO, name: str) -> tuple[Callable[..., Any], Takes]:
    """The function, unpickled once a worker."""
    kept = io.kept
    found = kept.get(params.function)
    if found is not None:
        return found
    if kept.get("environment") != params.environment:
        raise RequestError(
            f"{name} cannot run in its own environment: {_whats_wrong(params, io)}",
            field="environment",
            got=params.environment,
            remedy="Submit it again with the library, from an interpreter and folder that exist.",
        )
    import pickle

    from physlab_mcp.nodes.function_sources import serve_modules

    if _MODULES not in kept:
        record = msgspec.json.decode(read_pickle(io, params.environment))
        serve_modules(record["modules"])
        kept[_MODULES] = True
    data = read_pickle(io, params.function)
    try:
        function = pickle.loads(data)  # noqa: S301 - read_pickle lets pass only what the library stored here
    except PhyslabError:
        raise
    except BaseException as error:
        raise TaskFailedError(f"{name} could not be loaded", error) from error
    found = kept[params.function] = (function, takes_of(function))
    return found


def _whats_wrong(params: FunctionParams, io: NodeIO) -> str:
    record = msgspec.json.decode(read_pickle(io, params.environment))
    if not Path(record["interpreter"]).exists():
        return f"there is no interpreter {record['interpreter']!r}."
    if not Path(record["folder"]).is_dir():
        return f"there is no folder {record['folder']!r}."
    return f"{record['interpreter']!r} ends as soon as it is started (see logs/workers.log in the data directory)."
