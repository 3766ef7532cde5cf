"""The configuration, `server.config.json`: one file, found in one order; every defect is told at once."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import msgspec
from pydantic import BaseModel, ValidationError

from physlab_mcp.config.sections import FOREIGN, Config, Secret
from physlab_mcp.errors import RequestError

FILE_NAME = "server.config.json"


def locate(path: str | Path | None = None) -> Path | None:
    """The file that counts: the given one, else `$PHYSLAB_CONFIG`, else `./server.config.json`, else None.

    Raises:
        RequestError: a file that was asked for does not exist.

    """
    named = str(path) if path else os.environ.get("PHYSLAB_CONFIG", "")
    if named:
        found = Path(named).expanduser().absolute()
        if not found.is_file():
            raise RequestError(
                f"There is no configuration file {found}.",
                field="--config" if path else "$PHYSLAB_CONFIG",
                got=named,
                remedy="Name an existing file, or leave it out to use the built-in settings.",
            )
        return found
    here = Path.cwd() / FILE_NAME
    return here if here.is_file() else None


def load(path: str | Path | None = None) -> Config:
    """The configuration that counts (see `locate`); built-in defaults where there is no file.

    Raises:
        RequestError: the file cannot be read; every defect is in `details`.

    """
    found = locate(path)
    if found is None:
        return Config()
    try:
        text = found.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{found} cannot be read: {error}.", got=str(found), remedy="Mend the file.") from None
    return parse(text, source=str(found), folder=found.parent)


def parse(text: str, *, source: str = FILE_NAME, folder: Path | None = None) -> Config:
    """The configuration written in `text`; relative paths start at `folder`.

    Raises:
        RequestError: it is not JSON, or does not fit; every defect is in `details`.

    """
    try:
        raw = json.loads(text, object_pairs_hook=_no_duplicates)
    except json.JSONDecodeError as error:
        raise RequestError(
            f"{source}, line {error.lineno}, column {error.colno}: {error.msg}.",
            got=source,
            remedy="Mend the JSON there.",
        ) from None
    if isinstance(raw, dict):
        raw.pop("$schema", None)
    try:
        return Config.model_validate(raw, context={"folder": folder})
    except ValidationError as error:
        defects = [_defect(one) for one in error.errors(include_url=False)]
    first = defects[0]
    more = f" ({len(defects) - 1} more)" if len(defects) > 1 else ""
    raise RequestError(
        f"{source}: {first['message']}{more}",
        field=first["field"],
        got=first["got"],
        remedy=first["remedy"],
        details=defects if len(defects) > 1 else None,
    )


def schema() -> dict[str, Any]:
    """The JSON Schema of the file."""
    body = Config.model_json_schema()
    for name, room in _foreign().items():
        found = body["$defs"][name]
        (shape,), further = msgspec.json.schema_components([room], ref_template="#/$defs/{name}")
        del shape
        own = further.pop(room.__name__)
        found["properties"] |= own["properties"]
        found["required"] = own.get("required", [])
        found["additionalProperties"] = False
        body["$defs"] |= further
    body["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    body["title"] = FILE_NAME
    body["properties"] = {"$schema": {"type": "string", "description": "for editors"}, **body["properties"]}
    return body


def _foreign() -> dict[str, type]:
    """The settings behind each section that a backend reads itself."""
    from physlab_mcp.backends.kubernetes.settings import KubernetesSettings
    from physlab_mcp.backends.slurm.settings import SlurmSettings

    return {"SlurmSection": SlurmSettings, "KubernetesSection": KubernetesSettings}


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise RequestError(f"The key {twice!r} stands twice in one object.", field=twice, remedy="Keep one of them.")
    return body


def _defect(problem: Mapping[str, Any]) -> dict[str, Any]:
    location: tuple[Any, ...] = problem["loc"]
    if problem["type"] == FOREIGN:
        told: Mapping[str, Any] = problem["ctx"]
        return {"field": told["field"], "got": told["got"], "message": told["told"], "remedy": told["remedy"]}
    field = ".".join(map(str, location))
    got = problem.get("input")
    if problem["type"] == "extra_forbidden":
        names = sorted(_keys_at(location[:-1]))
        near = get_close_matches(str(location[-1]), names, n=1, cutoff=0.5)
        known = f"Known here: {', '.join(names)}." if names else "This section takes no settings yet."
        remedy = f"Did you mean {near[0]!r}?" if near else known
        return {"field": field, "got": None, "message": f"The key {field!r} is not known.", "remedy": remedy}
    if problem["type"] == "missing":  # what stands beside it may be a secret
        remedy = f"See `physlab config schema` for {field}."
        return {"field": field, "got": None, "message": f"The key {field!r} is not given.", "remedy": remedy}
    if _is_secret(location):
        remedy = 'A secret is never written here: give {"env": "NAME"} or {"file": "path"}.'
        return {"field": field, "got": None, "message": f"{field} is not a reference to a secret.", "remedy": remedy}
    message = str(problem["msg"]).removeprefix("Value error, ").removesuffix(".")
    shown = repr(got) if len(repr(got)) <= 80 else f"{repr(got)[:77]}…"
    remedy = f"See `physlab config schema` for {field or 'the whole file'}."
    return {
        "field": field or None,
        "got": got,
        "message": f"{field or 'The file'} = {shown}: {message}.",
        "remedy": remedy,
    }


def _models_at(location: tuple[Any, ...]) -> type[BaseModel] | None:
    model: type[BaseModel] | None = Config
    for step in location:
        if isinstance(step, int):  # a place in a list, of which all elements are alike
            continue
        info = model.model_fields.get(str(step)) if model is not None else None
        if info is None:
            return None
        options = (info.annotation, *get_args(info.annotation))
        model = next((one for one in options if isinstance(one, type) and issubclass(one, BaseModel)), None)
    return model


def _keys_at(location: tuple[Any, ...]) -> set[str]:
    model = _models_at(location)
    return set(model.model_fields) if model is not None else set()


def _is_secret(location: tuple[Any, ...]) -> bool:
    return any(_models_at(location[:end]) is Secret for end in range(1, len(location) + 1))
