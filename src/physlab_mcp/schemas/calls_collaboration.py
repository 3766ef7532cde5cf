"""Calls of the tool `distributed_collaboration`: jobs and the artifacts they leave."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from physlab_mcp.schemas.calls import LISTED_STATES, SINCE, Call, CallPart, Listing, Waiting
from physlab_mcp.schemas.dag import ResourceSpec
from physlab_mcp.schemas.job import backend_name

HANDLE = Field(min_length=1, max_length=200, description="a handle")
JOB = Field(min_length=1, max_length=200)


class MountSpec(CallPart):
    """A folder shown to a command."""

    source: str = Field(min_length=1)
    target: str = Field(min_length=1)
    readonly: bool = True


class InputSpec(CallPart):
    """A file handed to a command."""

    source: str = Field(min_length=1, description="path or sha256:<hex>")
    target: str = Field(min_length=1, description="name in the work folder")


class NodeCallSpec(CallPart):
    """One call of a node type."""

    tool: str = Field(min_length=1, max_length=100)
    method: str | None = Field(default=None, max_length=100)
    params: dict[str, Any] = Field(default_factory=dict)


class JobWork(CallPart):
    """What to run: exactly one of `command`, `script`, `node`."""

    command: list[str] | None = Field(default=None, min_length=1, max_length=10_000, description="argv, no shell")
    script: str | None = Field(default=None, min_length=1, max_length=1_000_000, description="shell script")
    node: NodeCallSpec | None = Field(default=None, description="a node type of catalog")
    resources: ResourceSpec = Field(default_factory=ResourceSpec)
    device: Literal["auto", "cpu", "cuda", "hip", "mps", "xpu"] = "auto"
    require_device: bool = False
    image: str | None = Field(default=None, min_length=1, max_length=500)
    env: dict[str, str] = Field(default_factory=dict)
    mounts: list[MountSpec] = Field(default_factory=list, max_length=100)
    workdir: str | None = None
    inputs: list[InputSpec] = Field(default_factory=list, max_length=1000)
    idempotent: bool = Field(default=False, description="may run again")
    checkpoint_signal: Literal["USR1", "USR2", "TERM", "INT", "HUP"] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> JobWork:
        given = [name for name in ("command", "script", "node") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of command, script, node; got {', '.join(given) or 'none'}")
        return self


class JobSubmit(Waiting):
    """run a command, script or node; job_id at once"""

    example: ClassVar[dict[str, Any]] = {
        "method": "job_submit",
        "backend": "local",
        "job_spec": {"command": ["python3", "-c", "print(6 * 7)"], "resources": {"cpu": 1, "memory": "1Gi"}},
        "artifacts": ["*.csv"],
        "name": "six times seven",
        "wait_s": 10,
    }

    method: Literal["job_submit"]
    backend: Annotated[Literal["auto", "local", "slurm", "kubernetes", "k8s"], AfterValidator(backend_name)]
    job_spec: JobWork = Field(description="command, script or node")
    artifacts_path: str = Field(default="artifacts/", min_length=1, max_length=1000)
    artifacts: list[str] = Field(default_factory=list, max_length=1000, description="globs of files to keep")
    name: str | None = Field(default=None, min_length=1, max_length=200)
    priority: int = Field(default=0, ge=-1000, le=1000, description="higher first")
    schedule: dict[str, Any] | None = Field(default=None, description="as of run_dag")
    retries: int = Field(default=0, ge=0, le=100)
    timeout_sec: float | None = Field(default=None, gt=0, description="running time")
    stream_logs: bool = Field(default=False, description="log lines as progress")
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=200, description="same key, same handle")


class JobStatus(Waiting):
    """state and news of any handle"""

    example: ClassVar[dict[str, Any]] = {
        "method": "job_status",
        "job_id": "job-01j0example0000000000000",
        "wait_s": 20,
    }

    method: Literal["job_status"]
    job_id: str = HANDLE
    since_seq: int | None = Field(default=None, ge=0, le=1 << 53, description="last_seq already seen")
    limit: int = Field(default=20, ge=1, le=200)


class JobLogs(Call):
    """a piece of a log"""

    example: ClassVar[dict[str, Any]] = {"method": "job_logs", "job_id": "job-01j0example0000000000000", "tail": 50}

    method: Literal["job_logs"]
    job_id: str = JOB
    stream: Literal["stdout", "stderr"] = "stdout"
    offset: int = Field(default=0, ge=0, le=1 << 53, description="byte to start at")
    tail: int | None = Field(default=None, ge=1, le=10_000, description="last lines only")


class JobResult(Call):
    """outcome, values and artifacts of a finished job"""

    example: ClassVar[dict[str, Any]] = {"method": "job_result", "job_id": "job-01j0example0000000000000"}

    method: Literal["job_result"]
    job_id: str = JOB


class JobCancel(Call):
    """stop whatever has a handle"""

    example: ClassVar[dict[str, Any]] = {"method": "job_cancel", "job_id": "job-01j0example0000000000000"}

    method: Literal["job_cancel"]
    job_id: str = HANDLE


class JobPause(Call):
    """pause; conflict where the backend cannot"""

    example: ClassVar[dict[str, Any]] = {"method": "job_pause", "job_id": "job-01j0example0000000000000"}

    method: Literal["job_pause"]
    job_id: str = HANDLE


class JobResume(Call):
    """go on after a pause"""

    example: ClassVar[dict[str, Any]] = {"method": "job_resume", "job_id": "job-01j0example0000000000000"}

    method: Literal["job_resume"]
    job_id: str = HANDLE


class JobReorder(Call):
    """move a waiting job"""

    example: ClassVar[dict[str, Any]] = {
        "method": "job_reorder",
        "job_id": "job-01j0example0000000000000",
        "position": 1,
    }

    method: Literal["job_reorder"]
    job_id: str = JOB
    position: int = Field(default=1, ge=1, le=1_000_000, description="1 = next")


class JobList(Listing):
    """jobs, newest first"""

    example: ClassVar[dict[str, Any]] = {"method": "job_list", "state": "running", "since": "2h"}

    method: Literal["job_list"]
    state: LISTED_STATES | None = None
    backend: Annotated[Literal["auto", "local", "slurm", "kubernetes", "k8s"] | None, AfterValidator(backend_name)] = (
        None
    )
    kind: Literal["node", "command"] | None = None
    since: str | None = Field(default=None, max_length=64, description=SINCE)


class ArtifactView(Call):
    """a look at a stored file"""

    example: ClassVar[dict[str, Any]] = {
        "method": "artifact",
        "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "as": "image",
        "max_kb": 64,
    }

    method: Literal["artifact"]
    sha256: str = Field(min_length=64, max_length=71, pattern=r"^(sha256:)?[0-9a-f]{64}$")
    max_kb: int = Field(default=64, ge=1, le=1024)
    as_: Literal["image", "table", "text"] | None = Field(default=None, alias="as", description="by file type")


CALLS: tuple[type[Call], ...] = (
    JobSubmit,
    JobStatus,
    JobLogs,
    JobResult,
    JobCancel,
    JobPause,
    JobResume,
    JobReorder,
    JobList,
    ArtifactView,
)
