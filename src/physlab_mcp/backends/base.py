"""The Backend: an adapter to one place where jobs run. It keeps no memory of jobs that the store does not have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from physlab_mcp.errors import RejectedError, UnavailableError
from physlab_mcp.schemas.capacity import Amount, Occupied
from physlab_mcp.schemas.job import Job, JobSpec
from physlab_mcp.schemas.result import Failure


class BackendInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend is and can do now."""

    name: str
    reachable: bool = True
    slots: int = 1
    can_pause: Literal["freeze", "checkpoint", "queued_only", "none"] = "none"
    limits: dict[str, Any] = {}
    detail: dict[str, Any] = {}


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """A job with everything its place needs: resolved parameters, the module of its node type."""

    job: Job
    params: dict[str, Any] = {}
    module: str = ""
    code: str = ""


class Submission(msgspec.Struct, frozen=True):
    """Jobs handed over in one call; `id` is the token by which `find` recognises them after a crash."""

    id: str
    assignments: Sequence[Assignment]


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """Something a backend saw of one dispatch (job, fence).

    kind: placed (data.native_id), queued (data.text: why it waits at its place, or that it was put back into the queue there;
    data.code: a ReasonCode, `slot` if left out), started, event, done, lost, dropped (never started, may be placed again),
    cancelled, paused, resumed, unreachable (since `at`; data.text: why nothing can be seen of it), reachable.
    `result` is the JSON of a NodeResult; `token` is handed back to `acknowledge` after the commit.
    """

    job_id: str
    fence: int
    kind: str
    at: float = 0.0
    started_at: float = 0.0
    result: bytes | None = None
    failure: Failure | None = None
    data: dict[str, Any] = {}
    token: Any = None


class Backend(Protocol):
    """One place where jobs run."""

    name: str

    async def start(self, wake: Callable[[], None]) -> None:
        """Begin to observe; `wake` is called whenever `drain` has something new."""
        ...

    def poke(self) -> None:
        """Somebody says that something changed here: look soon."""
        ...

    async def describe(self) -> BackendInfo:
        """Whether it is reachable, its limits and slots."""
        ...

    def check(self, spec: JobSpec, info: BackendInfo) -> None:
        """Refuse what cannot run here.

        Raises:
            RejectedError: naming the limit. No I/O.

        """
        ...

    def place(self, job: Job) -> str | None:
        """Reserve room for a job; the future native id, or None while there is none. Undone by `unplace`."""
        ...

    def unplace(self, jobs: Collection[Job]) -> None:
        """Give reservations back that were never submitted."""
        ...

    async def submit(self, batch: Submission) -> Mapping[str, RejectedError | UnavailableError]:
        """Hand over placed jobs; the answer names those that were not taken and why."""
        ...

    def drain(self) -> list[Observation]:
        """What was seen since the last call; no I/O."""
        ...

    def acknowledge(self, observations: Sequence[Observation]) -> None:
        """These are in the store now; the backend may forget them."""
        ...

    async def adopt(self, jobs: Sequence[Job], told: Mapping[str, int]) -> None:
        """Take over jobs that another engine dispatched: what became of them comes through `drain`.

        `told`: how many lines of a job's event file the store has already.
        """
        ...

    async def cancel(self, jobs: Sequence[Job]) -> None:
        """End them with everything they started; each answers `cancelled` through `drain` unless it is done before."""
        ...

    async def pause(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        """Freeze them; the answer names those that cannot be paused and why. The rest answer through `drain`."""
        ...

    async def resume(self, jobs: Sequence[Job]) -> Mapping[str, str]:
        """Let frozen ones go on."""
        ...

    async def read(
        self, job: Job, stream: Literal["stdout", "stderr"], *, offset: int, limit: int
    ) -> tuple[bytes, int]:
        """A piece of a log and the offset that continues it."""
        ...

    async def tend(self, now: float) -> None:
        """Housekeeping, called about every second: leases of stopped workers, time-outs, orphans."""
        ...

    async def aclose(self, *, keep: bool) -> None:
        """Stop observing. With `keep` running jobs go on and will be adopted."""
        ...


@runtime_checkable
class Measured(Protocol):
    """A backend that says how much it has, so that jobs can be packed on it."""

    def capacity(self) -> Amount:
        """What it has now; it may change while jobs run."""
        ...

    def occupied(self) -> list[Occupied]:
        """What is in use, and by which jobs."""
        ...


class JobFolder(msgspec.Struct, frozen=True):
    """Where a job's files lie, on this machine."""

    root: Path

    def attempt(self, n: int) -> Path:
        """The folder of one attempt."""
        return self.root / "attempts" / str(n)
