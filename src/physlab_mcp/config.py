"""The configuration, `server.config.json`: strict models, one file, found in one order."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, model_validator

from physlab_mcp.errors import RequestError, UnavailableError
from physlab_mcp.paths import DataDir

FILE_NAME = "server.config.json"
_AGE = re.compile(r"^(\d+(?:\.\d+)?)\s*([smhdw])$")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def seconds_of(age: str) -> float:
    """Seconds in an age such as "90s", "12h", "30d".

    Raises:
        RequestError: it is not written like that.

    """
    found = _AGE.match(age.strip())
    if found is None:
        raise RequestError(
            f"{age!r} is not an age.", got=age, remedy="Write a number and one of s, m, h, d, w.", example="30d"
        )
    return float(found.group(1)) * _SECONDS[found.group(2)]


def _absolute(path: str, info: ValidationInfo) -> str:
    """A path of the file, absolute; relative ones start at the file's own folder."""
    base = (info.context or {}).get("folder") or Path.cwd()
    return str(Path(base, Path(path).expanduser()).resolve())


def _age(value: str) -> str:
    try:
        seconds_of(value)
    except RequestError as error:
        raise ValueError(str(error)) from None
    return value


def _memory(value: str) -> str:
    if value:
        from physlab_mcp.dags.resources import memory_bytes

        try:
            memory_bytes(value)
        except RequestError as error:
            raise ValueError(str(error)) from None
    return value


FilePath = Annotated[str, AfterValidator(_absolute)]
Age = Annotated[str, AfterValidator(_age)]
Memory = Annotated[str, AfterValidator(_memory)]


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Secret(Section):
    """A secret, named but never written down: an environment variable or a file that holds it."""

    env: str | None = Field(default=None, min_length=1, description="name of an environment variable")
    file: FilePath | None = Field(default=None, description="path of a file; its first line is the secret")

    @model_validator(mode="after")
    def _one(self) -> Secret:
        if (self.env is None) == (self.file is None):
            raise ValueError('give exactly one of {"env": "NAME"}, {"file": "path"}')
        return self

    def read(self) -> str:
        """The secret itself.

        Raises:
            UnavailableError: the variable is not set, or the file cannot be read.

        """
        value = ""
        if self.env is not None:
            value = os.environ.get(self.env, "")
        elif self.file is not None:
            try:
                value = Path(self.file).read_text(encoding="utf-8").partition("\n")[0].strip()
            except OSError as error:
                raise UnavailableError(
                    f"The secret file {self.file} cannot be read: {error.strerror}.",
                    got=self.file,
                    remedy="Create it, readable by you alone (chmod 600).",
                ) from None
        if not value:
            named = f"${self.env}" if self.env else f"the file {self.file}"
            raise UnavailableError(f"The secret in {named} is empty.", remedy=f"Put the secret into {named}.")
        return value


class Storage(Section):
    """Where records are kept, and for how long what can be made again."""

    sqlite: FilePath | None = Field(
        default=None, description="the SQLite file; default physlab.db in the data directory"
    )
    retention: Age = Field(
        default="30d", description="age from which `physlab clean` removes, unless --older-than says it"
    )


class Artifacts(Section):
    """Settings of the artifact store arrive with the part that keeps artifacts elsewhere than in the data directory."""


class LocalBackendSection(Section):
    """This machine."""

    workers: int = Field(default=0, ge=0, le=4096, description="node calls at once; 0: one a core")
    cpus: int = Field(default=0, ge=0, le=4096, description="cores that jobs may use at once; 0: as many as workers")
    memory: Memory = Field(default="", description='memory that jobs may ask for, such as "48Gi"; "": all there is')
    gpus: int = Field(default=-1, ge=-1, le=64, description="GPUs that jobs may ask for; -1: all there are")
    commands: Literal["allow", "approve", "deny"] = Field(
        default="allow", description="commands from agents: run, wait for `physlab jobs approve`, or refuse"
    )


class Backends(Section):
    """Where jobs run. Further backends arrive with the parts that build them."""

    local: LocalBackendSection = LocalBackendSection()


class Placement(Section):
    """Settings of placement arrive with the second backend."""


class Schedule(Section):
    """Settings of schedules arrive with the part that builds windows and cron."""


class Limits(Section):
    """What callers may reach and use."""

    allowed_roots: tuple[FilePath, ...] = Field(
        default=(), description="folders that paths in calls may name; --root adds to them"
    )
    lost_retries: int = Field(
        default=3, ge=0, le=100, description="how often pure work is run again after its worker vanished"
    )
    max_nodes: int = Field(default=100_000, ge=1, le=100_000, description="nodes in one graph")
    max_edges: int = Field(default=1_000_000, ge=0, le=10_000_000, description="edges in one graph")


class Collaboration(Section):
    """Settings of shares and signing arrive with the part that builds them."""


class Hub(Section):
    """Settings of `physlab hub` arrive with the hub."""


class Auth(Section):
    """Who may call over HTTP. Principals and roles arrive with the hub."""

    mode: Literal["token", "off"] = Field(
        default="token", description="`off` serves without a token, on loopback only, with Host and Origin checked"
    )
    token: Secret | None = Field(
        default=None, description="bearer token of `physlab-mcp --http`; default: one is made, in a 0600 file"
    )


class Planner(Section):
    """A remote model that plans experiments from words where the built-in grammar cannot. Without a base_url: none."""

    base_url: str | None = Field(
        default=None, description="an OpenAI-compatible endpoint, such as https://api.deepseek.com/v1"
    )
    model: str = Field(default="", description="name of the model there")
    api_key: Secret | None = Field(default=None, description="its key")
    timeout_s: float = Field(default=60.0, ge=1, le=600, description="for each of its answers")
    max_tokens: int = Field(default=4000, ge=100, le=100_000, description="length of each of its answers")

    @model_validator(mode="after")
    def _model_named(self) -> Planner:
        if self.base_url is not None and not self.model:
            raise ValueError("base_url needs a model")
        return self


class McpServers(Section):
    """Other MCP servers arrive with the hub."""


class Logging(Section):
    """What the programs say; logs go to stderr or to files, never to stdout."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="lowest level that is written; $PHYSLAB_LOG overrides it"
    )


class Provenance(Section):
    """What is recorded of each task beside its result."""

    capture: Literal["full", "off"] = Field(
        default="full", description="off: no processor time, memory and environment"
    )


class EngineSection(Section):
    """The engine process."""

    lease_s: float = Field(default=15.0, ge=1, le=600, description="after this silence another engine may take over")
    idle_exit_s: float = Field(
        default=300.0, ge=0.1, le=604_800, description="leaves after so long without work and clients"
    )


class Config(Section):
    """All sections; every one may be left out."""

    storage: Storage = Storage()
    artifacts: Artifacts = Artifacts()
    backends: Backends = Backends()
    placement: Placement = Placement()
    schedule: Schedule = Schedule()
    limits: Limits = Limits()
    collaboration: Collaboration = Collaboration()
    hub: Hub = Hub()
    auth: Auth = Auth()
    planner: Planner = Planner()
    mcp_servers: McpServers = McpServers()
    logging: Logging = Logging()
    provenance: Provenance = Provenance()
    engine: EngineSection = EngineSection()

    def store_path(self, data: DataDir) -> Path:
        """The SQLite file."""
        return Path(self.storage.sqlite) if self.storage.sqlite else data.store

    def as_dict(self) -> dict[str, Any]:
        """As JSON, defaults filled in."""
        return self.model_dump(mode="json")


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
    body["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    body["title"] = FILE_NAME
    body["properties"] = {"$schema": {"type": "string", "description": "for editors"}, **body["properties"]}
    return body


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise RequestError(f"The key {twice!r} stands twice in one object.", field=twice, remedy="Keep one of them.")
    return body


def _defect(problem: Mapping[str, Any]) -> dict[str, Any]:
    location: tuple[Any, ...] = problem["loc"]
    field = ".".join(map(str, location))
    got = problem.get("input")
    if problem["type"] == "extra_forbidden":
        names = sorted(_keys_at(location[:-1]))
        near = get_close_matches(str(location[-1]), names, n=1, cutoff=0.5)
        known = f"Known here: {', '.join(names)}." if names else "This section takes no settings yet."
        remedy = f"Did you mean {near[0]!r}?" if near else known
        return {"field": field, "got": None, "message": f"The key {field!r} is not known.", "remedy": remedy}
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
