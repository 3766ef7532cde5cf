"""The Job and what it runs. Frozen msgspec structs: this is the engine's hot path (see docs/architecture.md)."""

from __future__ import annotations

from typing import Any

import msgspec

from physlab_mcp.schemas.job_state import JobState, ReasonCode

HERE = "local"  # the backend that is always there
AUTO = "auto"  # in place of a backend's name: the engine chooses once the job is ready


def backend_name(name: str | None) -> str | None:
    """A backend's name as it is stored: `k8s` is `kubernetes`."""
    return "kubernetes" if name == "k8s" else name


class Resources(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a job needs. cpu counts cores, memory_bytes is a hard limit where the backend can set one."""

    cpu: float = 1
    memory_bytes: int | None = None
    gpu: int = 0
    nodes: int = 1
    time_limit_s: float | None = None
    degrade: bool = False  # what the machine has not is left out, with a warning, instead of refused


class Mount(msgspec.Struct, frozen=True, omit_defaults=True):
    """A folder shown to a command at `target`."""

    source: str
    target: str
    readonly: bool = True


class NodeCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call of a registered node type.

    `params` are canonical (after defaults). A value `{"$from": node_id, "key": "values.x"}` is another node's
    output; `sources` maps such a node id to the id of the job that computes it.
    `static_key` is the part of the cache key known before the inputs are: see artifacts/cache_key.py.
    """

    type: str
    params: dict[str, Any] = {}
    sources: dict[str, str] = {}
    static_key: str | None = None
    device: str = "cpu"


class JobSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What to run, frozen at submission. Exactly one of node, command, script, protocol, function is set."""

    node: NodeCall | None = None
    command: tuple[str, ...] | None = None
    script: str | None = None
    protocol: dict[str, Any] | None = None
    function: dict[str, Any] | None = None
    title: str = ""
    resources: Resources = Resources()
    device: str = "auto"
    wanted_device: str = ""  # what was asked for, where this machine has it not
    require_device: bool = False
    image: str | None = None
    env: dict[str, str] = {}
    mounts: tuple[Mount, ...] = ()
    workdir: str | None = None
    inputs: tuple[dict[str, str], ...] = ()
    artifacts_path: str = "artifacts/"
    artifacts: tuple[str, ...] = ()
    timeout_s: float | None = None
    compute_s: float | None = None  # the most computing time (CPU) of a node of an interactive family
    checkpoint_signal: str = ""  # such as USR1: told so, it keeps its progress in its checkpoint folder and may end
    retries: int = 0
    idempotent: bool = False
    pure: bool = False
    use_cache: bool = True
    sandbox: bool = False
    on_lost: str = "wait"
    stream_logs: bool = False  # what it prints becomes log events as well
    schedule: dict[str, Any] | None = None  # of a job that stands alone; those of a plan have their plan's
    degraded: tuple[str, ...] = ()  # what of its resources the machine has not, in sentences
    asked: Resources | None = None  # what was asked for, where `resources` are less
    roots: tuple[str, ...] = ()  # the folders that paths of a command may name, set where it was submitted


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a job is in its state; `since` is seconds since the epoch (UTC)."""

    code: ReasonCode = ReasonCode.NONE
    text: str = ""
    since: float = 0.0


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One command, node call, library function or device protocol on one backend, with a durable id and a state."""

    id: str
    kind: str  # node | command | function | protocol
    owner: str = "local"
    session_id: str | None = None
    run_id: str | None = None  # the Run that it was made for; `shared` says whether others may count it too
    sweep_id: str | None = None
    point_index: int | None = None
    node_id: str | None = None
    spec: JobSpec
    state: JobState = JobState.PENDING
    reason: Reason = Reason()
    version: int = 0  # raised by every write; the swap in Store.update_jobs compares it
    attempt: int = 1  # raised by every pending(retry)
    lost: int = 0  # how often a worker, node or pod vanished under it; counted apart from retries
    fence: int = 0  # raised by every dispatch; a writer with an older fence is refused
    claimer: str | None = None
    lease_until: float = 0.0
    needs: tuple[str, ...] = ()  # ids of jobs that must succeed first
    needs_left: int = 0
    backend: str = "local"  # "auto" until the engine has chosen one
    why_here: str = ""  # "<backend>: why", where the engine chose it
    queue: str | None = None
    native_id: str | None = None
    submission: str | None = None
    index: int | None = None
    priority: int = 0  # higher first
    position: int = 0  # a human's order inside one priority; lower first
    rank: float = 0.0  # longest path to the end of the Run; higher first
    not_before: float = 0.0
    created_at: float = 0.0
    observed_at: float = 0.0
    idempotency_key: str | None = None
    parallelism: int = 0  # at most this many jobs of the same Run at once; 0 = no limit
    group: str | None = None  # whom `parallelism` counts: the run or sweep
    shared: bool = False  # may belong to several Runs of its sweep: their points differ only in what it does not take
    cache_key: str | None = None  # set once the inputs are known
    started_at: float = 0.0
    ended_at: float = 0.0
    paused_s: float = 0.0  # of the time since started_at
    pk: int = 0  # the store's own row numbers; 0 until stored
    run_pk: int = 0
    plan_pk: int = 0
    last_seq: int = 0  # the job's newest event
