"""The sections of the configuration: strict models."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from physlab_mcp.errors import RequestError, UnavailableError
from physlab_mcp.paths import DataDir

_AGE = re.compile(r"^(\d+(?:\.\d+)?)\s*([smhdw])$")
FOREIGN = "foreign"  # a defect that a backend's own reader found
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


class Ssh(Section):
    """A machine that is reached over SSH, and the login there. Its key is always checked; there is no switch for that."""

    host: str = Field(pattern=r"^[^-\s]\S*$", description="name or address of the machine")
    port: int = Field(default=22, ge=1, le=65_535, description="of its SSH server")
    user: str = Field(default="", description='login there; "": as here')
    keys: tuple[FilePath, ...] = Field(default=(), description="private key files, readable by you alone")
    agent: bool = Field(default=False, description="use the keys of the agent behind $SSH_AUTH_SOCK")
    passphrase: Secret | None = Field(default=None, description="of the keys")
    known_hosts: FilePath | None = Field(default=None, description="keys of hosts; default ~/.ssh/known_hosts")
    jump: tuple[Ssh, ...] = Field(default=(), description="machines on the way, the first one first")
    connect_timeout_s: float = Field(default=20.0, gt=0, le=600, description="for each login")
    keepalive_s: float = Field(
        default=15.0, gt=0, le=3600, description="a question after such a silence; three without an answer: gone"
    )
    python: str = Field(default="python3", min_length=1, description="an interpreter there, 3.8 or newer")

    @model_validator(mode="after")
    def _usable(self) -> Ssh:
        if not self.keys and not self.agent:
            raise ValueError('it has no key: name private key files in "keys", or set "agent": true')
        if any(one.jump for one in self.jump):
            raise ValueError('list all machines on the way in this one "jump", the first one first')
        return self


class ForeignSection(Section):
    """A section whose settings stand in the backend's own room, so that they are read only where the section is written."""

    model_config = ConfigDict(extra="allow", frozen=True)
    paths: ClassVar[frozenset[str]] = frozenset()  # settings that name files of this machine

    commands: Literal["allow", "approve", "deny"] = Field(
        default="approve", description="commands from agents: run, wait for `physlab jobs approve`, or refuse"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_the_folder(cls, body: Any, info: ValidationInfo) -> Any:
        if not isinstance(body, dict):
            return body
        given = {name: body[name] for name in cls.paths & body.keys() if isinstance(body[name], str) and body[name]}
        return {**body, **{name: _absolute(path, info) for name, path in given.items()}}

    @property
    def settings(self) -> dict[str, Any]:
        """What the backend itself reads."""
        return dict(self.model_extra or {})


def _read_by(room: str, own: Callable[[dict[str, Any]], Any], known: type, section: ForeignSection) -> None:
    """Let a backend read its settings; its refusal is told beside all other defects of the file."""
    for name in section.settings:
        if name not in known.__struct_fields__:
            names = sorted({*known.__struct_fields__, *type(section).model_fields})
            near = get_close_matches(name, names, n=1, cutoff=0.5)
            remedy = f"Did you mean {near[0]!r}?" if near else f"Known here: {', '.join(names)}."
            raise _foreign(f"The key '{room}.{name}' is not known.", f"{room}.{name}", remedy)
    try:
        own(section.settings)
    except RequestError as error:
        raise _foreign(error.message, error.field or room, error.remedy or "", error.got) from None


def _foreign(message: str, field: str, remedy: str, got: Any = None) -> PydanticCustomError:
    return PydanticCustomError(FOREIGN, "{told}", {"told": message, "field": field, "remedy": remedy, "got": got})


class SlurmSection(ForeignSection):
    """A Slurm cluster."""

    paths: ClassVar[frozenset[str]] = frozenset({"lock", "local_wheelhouse"})

    host: Ssh | None = Field(default=None, description="its login node, by SSH; null: this machine is the login node")

    @model_validator(mode="after")
    def _known(self) -> SlurmSection:
        from physlab_mcp.backends.slurm.settings import SlurmSettings, parse

        _read_by("backends.slurm", parse, SlurmSettings, self)
        return self


class KubernetesSection(ForeignSection):
    """A Kubernetes cluster."""

    paths: ClassVar[frozenset[str]] = frozenset({"kubeconfig"})

    @model_validator(mode="after")
    def _known(self) -> KubernetesSection:
        from physlab_mcp.backends.kubernetes.settings import KubernetesSettings, read_settings

        _read_by("backends.kubernetes", read_settings, KubernetesSettings, self)
        return self


class Backends(Section):
    """Where jobs run. Further backends arrive with the parts that build them."""

    local: LocalBackendSection = LocalBackendSection()
    slurm: SlurmSection | None = Field(default=None, description="a Slurm cluster; see docs/slurm.md")
    kubernetes: KubernetesSection | None = Field(
        default=None, description="a Kubernetes cluster; see docs/kubernetes.md"
    )

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are configured, this machine first."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)

    @property
    def policies(self) -> dict[str, str]:
        """What is done with commands from agents, by backend."""
        return {name: getattr(self, name).commands for name in self.names}


class Placement(Section):
    """Where a job runs that names no backend, where there are several."""

    policy: Literal["local_first", "remote_first", "auto"] = Field(
        default="local_first", description="this machine first, other places first, or whatever ends soonest"
    )
    elsewhere: bool = Field(
        default=True, description="a job that its place failed is tried at another; false: at the same"
    )
    small_s: float = Field(
        default=10.0, ge=0, le=86_400, description="what is expected to take fewer seconds never leaves this machine"
    )
    large_frames: int = Field(
        default=300,
        ge=1,
        le=1_000_000,
        description="a film of more frames is large: it leaves until it was seen to run",
    )
    queue_s: float = Field(
        default=30.0, ge=0, le=604_800, description="the wait that is expected at a place of which none was seen"
    )
    rate_mb_s: float = Field(
        default=30.0, gt=0, le=1_000_000, description="megabytes a second at which inputs are moved to other places"
    )


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
