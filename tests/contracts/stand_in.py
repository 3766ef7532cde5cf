"""What plays the engine over one backend: keeps jobs as the store would, raises fences, carries observations into states.

What an observation means for a job is the engine's own `steps.observe`, so a story that the state machine does not allow
fails here as it would there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import anyio
import msgspec
from tests.contracts import contract_nodes
from tests.contracts.backends import Place, Site

from physlab_mcp.backends.base import Assignment, Observation, Submission
from physlab_mcp.engine.retry import Rules
from physlab_mcp.engine.steps import Draft, dispatched, observe, stored
from physlab_mcp.errors import PhyslabError
from physlab_mcp.nodes.registry import Registry, types_in
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import Job, JobSpec, NodeCall
from physlab_mcp.schemas.job_state import TERMINAL, JobState, check_path
from physlab_mcp.schemas.result import Failure, NodeResult

ENDS = ("done", "lost", "dropped", "cancelled")
_LOOK_EVERY_S = 0.02
_POKE_EVERY_S = 0.05  # as the words of runners over the engine's socket
_TEND_EVERY_S = 0.2
_HERE = TERMINAL | {JobState.PENDING}
_T = TypeVar("_T")


@cache
def module_of(type_: str) -> str:
    """The module of a node type, of the tests or of the installation."""
    ours = {one.name: one for one in types_in(contract_nodes.__name__)}
    return (ours.get(type_) or Registry.load().get(type_)).function.__module__


class StandIn:
    """One engine after the other over one site. `jobs` is the store, `seen` all observations that reached it."""

    def __init__(self, site: Site, place: Place) -> None:
        self.site = site
        self.place = place
        self.jobs: dict[str, Job] = {}
        self.bodies: dict[str, bytes] = {}  # results of ended jobs, by id
        self.seen: list[Observation] = []
        self.unwritten: list[Observation] = []  # drained while `committing` was off: no engine ever wrote them
        self.committing = self._open = True
        self._lines: dict[str, int] = {}
        self._waiting: list[str] = []
        self._dispatched: set[tuple[str, int]] = set()
        self._late: set[tuple[str, int]] = set()  # a cancel was asked after their end
        self._next_poke = self._next_tend = 0.0
        self._woken = anyio.Event()

    # -- engines -----------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """A new backend object takes over what is abroad, as a new engine's first act."""
        self.backend = self.site.make()
        await self.backend.start(self._wake)
        abroad = [job for job in self.jobs.values() if job.state not in _HERE and job.native_id is not None]
        await self.backend.adopt(abroad, {job.id: self._lines.get(job.id, 0) for job in abroad})

    def _wake(self) -> None:
        self._woken.set()

    async def restart(self) -> None:
        """The engine ends, what runs goes on; the next one begins."""
        await self.backend.aclose(keep=True)
        self.committing = True
        await self.begin()

    async def close(self) -> None:
        """End what is left; afterwards every dispatch must have had its one end."""
        self._open = False
        left = [job for job in self.jobs.values() if job.state not in _HERE]
        if left:
            await self.backend.cancel(left)
            await self.until(lambda: all(self.jobs[job.id].state in _HERE for job in left), what="cancelled at the end")
        await self.settle()
        await self.backend.aclose(keep=False)
        self.check_story()

    def check_story(self) -> None:
        """Every dispatch ended exactly once, nothing was told of it afterwards, and nothing of what was not dispatched.

        Two things may follow an end: the answer to a cancel that came too late, and what a lost worker says after all.
        """
        story: dict[tuple[str, int], list[str]] = {}
        for one in self.seen:
            story.setdefault((one.job_id, one.fence), []).append(one.kind)
        assert set(story) <= self._dispatched, "told of a dispatch that never was"
        for key in self._dispatched:
            kinds = story.get(key, [])
            ends = [(at, kind) for at, kind in enumerate(kinds) if kind in ENDS]
            assert ends, (key, kinds)
            first, kind = ends[0]
            after = kinds[first + 1 :]
            if key in self._late:
                after = [one for one in after if one != "cancelled"]
            if kind == "lost":
                after = [one for one in after if one not in ("done", "event")]
            assert after == [], (key, kinds)

    # -- work --------------------------------------------------------------------------------------------------

    def add(self, **fields: Any) -> Job:
        """A job in the store; fields of the job by name, all others are of its spec."""
        own = {name: fields.pop(name) for name in ("parallelism", "group") if name in fields}
        if "node" not in fields:
            fields.setdefault("roots", (str(self.site.shared),))
        spec = self.site.shaped(JobSpec(**fields))
        job = Job(id=new_handle("job"), kind="command" if spec.node is None else "node", spec=spec, **own)
        self.jobs[job.id] = job
        return job

    def add_node(self, type_: str, params: dict[str, Any], **fields: Any) -> Job:
        """A node call in the store."""
        return self.add(node=NodeCall(type_, params), pure=True, **fields)

    async def submit(self, *jobs: Job) -> None:
        """Place jobs and hand over in one call those that found room; the others follow when there is some."""
        self._waiting += [job.id for job in jobs]
        await self._dispatch()

    async def run(self, *jobs: Job) -> list[NodeResult | Failure]:
        """Submit, and wait until all have ended."""
        await self.submit(*jobs)
        return await self.ended(*jobs)

    def intend(self, job: Job) -> Assignment | None:
        """Place a job and write the intent down, as the turn's transaction does; None where there is no room."""
        native_id = self.backend.place(self.jobs[job.id])
        if native_id is None:
            return None
        now = time.time()
        change = dispatched(
            self.jobs[job.id], claimer="stand-in", lease_until=now + 60, native_id=native_id, submission=new_handle("sub"),
            index=0, key=None, now=now,
        )  # fmt: skip
        return self._assigned(stored(change))

    def _assigned(self, job: Job) -> Assignment:
        self.jobs[job.id] = job
        self._dispatched.add((job.id, job.fence))
        call = job.spec.node
        if call is None:
            return Assignment(job=job)
        return Assignment(job=job, params=call.params, module=module_of(call.type), code="contract")

    async def hand_over(self, *batch: Assignment) -> None:
        """Submit what was intended, under one token; what is not taken has failed."""
        token = new_handle("sub")
        named = [
            self._assigned(msgspec.structs.replace(one.job, submission=token, index=index))
            for index, one in enumerate(batch)
        ]
        refused = await self.backend.submit(Submission(token, named))
        for one in named:
            error = refused.get(one.job.id)
            if error is not None:
                self._write(
                    Observation(
                        job_id=one.job.id, fence=one.job.fence, kind="done", at=time.time(), failure=_failure(error)
                    )
                )

    async def _dispatch(self) -> None:
        batch: list[Assignment] = []
        for job_id in list(self._waiting):
            one = self.intend(self.jobs[job_id])
            if one is not None:
                self._waiting.remove(job_id)
                batch.append(one)
        if batch:
            await self.hand_over(*batch)

    async def cancel(self, *jobs: Job) -> None:
        """Ask for the end of jobs as they stand in the store."""
        now = [self.jobs[job.id] for job in jobs]
        self._late |= {(job.id, job.fence) for job in now if job.state in TERMINAL}
        await self.backend.cancel(now)

    # -- what is seen --------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """One turn: drain, write, acknowledge, place, tend."""
        drained = self.backend.drain()
        if self.committing:
            for one in drained:
                self._write(one)
            self.backend.acknowledge(drained)
            if self._waiting and self._open:
                await self._dispatch()
        else:
            self.unwritten += drained
        now = time.monotonic()
        if now >= self._next_poke:
            self._next_poke = now + _POKE_EVERY_S
            self.backend.poke()
        if now >= self._next_tend:
            self._next_tend = now + _TEND_EVERY_S
            await self.backend.tend(time.time())

    def _write(self, one: Observation) -> None:
        self.seen.append(one)
        job = self.jobs[one.job_id]
        if one.fence != job.fence or job.state in _HERE:
            return
        if one.kind == "event" and "line" in one.data:
            self._lines[job.id] = max(self._lines.get(job.id, 0), one.data["line"])
        draft = Draft(job)
        observe(draft, one, now=one.at or time.time(), rules=Rules(lost_retries=1))
        check_path(job.state, draft.path)
        change = draft.change()
        if change is None:
            return
        self.jobs[job.id] = new = stored(change)
        if new.attempt != job.attempt:
            self._lines.pop(job.id, None)
        if change.body is not None:
            self.bodies[job.id] = change.body
        if new.state is JobState.PENDING:
            self._waiting.append(job.id)

    async def until(self, true: Callable[[], _T], *, what: str = "") -> _T:
        """The first true answer while the backend is looked after; an AssertionError after the place's deadline."""
        end = time.monotonic() + self.place.deadline_s
        while True:
            self._woken = anyio.Event()
            await self.look()
            answer = true()
            if answer:
                return answer
            if time.monotonic() > end:
                told = [(one.job_id[-4:], one.fence, one.kind, one.data, one.failure) for one in self.seen]
                raise AssertionError(f"{what or true} did not come within {self.place.deadline_s} s; seen: {told}")
            with anyio.move_on_after(_LOOK_EVERY_S):
                await self._woken.wait()

    async def settle(self) -> None:
        """Look a few times more, so that what is told twice shows."""
        for _ in range(4):
            self._next_poke = self._next_tend = 0.0
            await self.look()
            with anyio.move_on_after(_LOOK_EVERY_S):
                await anyio.Event().wait()

    async def ended(self, *jobs: Job) -> list[NodeResult | Failure]:
        """The results of jobs, once all have ended."""
        await self.until(lambda: all(self.jobs[job.id].state in TERMINAL for job in jobs), what="the end")
        return [self.outcome(job) for job in jobs]

    async def succeeded(self, *jobs: Job) -> list[NodeResult]:
        """The results of jobs that must all succeed."""
        results = await self.ended(*jobs)
        assert all(isinstance(one, NodeResult) for one in results), results
        return results  # type: ignore[return-value]

    def state(self, job: Job) -> JobState:
        """The state of a job now."""
        return self.jobs[job.id].state

    def outcome(self, job: Job) -> NodeResult | Failure:
        """What an ended job left."""
        body = self.bodies.get(job.id, b"")
        succeeded = self.state(job) is JobState.SUCCEEDED
        return msgspec.json.decode(body or b'{"code":"","message":""}', type=NodeResult if succeeded else Failure)

    def told(self, job: Job, *, fence: int | None = None) -> list[Observation]:
        """Everything told of a job, or of one dispatch of it."""
        return [one for one in self.seen if one.job_id == job.id and fence in (None, one.fence)]

    def kinds(self, job: Job) -> list[str]:
        """The kinds of what was told of a job, in order."""
        return [one.kind for one in self.told(job)]

    async def log(self, job: Job, stream: Any = "stdout", *, offset: int = 0, limit: int = 65_536) -> tuple[bytes, int]:
        """A piece of a log."""
        return await self.backend.read(self.jobs[job.id], stream, offset=offset, limit=limit)

    # -- jobs that wait for the test ------------------------------------------------------------------------------

    def path(self, name: str) -> Path:
        """A file that jobs can reach as well."""
        return self.site.shared / name

    def lines(self, name: str) -> list[str]:
        """The whole lines of such a file."""
        try:
            return [line[:-1] for line in self.path(name).read_text().splitlines(keepends=True) if line.endswith("\n")]
        except FileNotFoundError:
            return []

    def gated(self, script: str = "", *, name: str = "one", **spec: Any) -> Job:
        """A command that adds its attempt to the file `name`.trace, does `script`, waits for `name`.gate and says so."""
        waiting = 'while [ ! -e "$2" ]; do sleep 0.02; done\necho went on\n'
        begun = 'echo "$PHYSLAB_ATTEMPT" >> "$1"\n'
        words = ("sh", "-c", begun + script + "\n" + waiting, "sh", self._trace(name), self._gate(name))
        return self.add(command=words, **spec)

    def gated_node(self, *, name: str = "one", steps: int = 0) -> Job:
        """A node call that waits likewise, with a process that it started."""
        word = str(self.path(new_handle("word")))
        params = {"trace": self._trace(name), "gate": self._gate(name), "word": word, "steps": steps}
        return self.add_node("contract.gated", params)

    def _trace(self, name: str) -> str:
        return str(self.path(f"{name}.trace"))

    def _gate(self, name: str) -> str:
        return str(self.path(f"{name}.gate"))

    def open_gate(self, name: str = "one") -> None:
        """Let those that wait go on."""
        self.path(f"{name}.gate").touch()

    def begun(self, name: str = "one") -> list[str]:
        """What was added to a trace: one line for each run."""
        return self.lines(f"{name}.trace")

    async def running(self, job: Job, *, name: str = "one", times: int = 1) -> None:
        """Until a gated job runs and was told as started."""
        await self.until(lambda: len(self.begun(name)) >= times and "started" in self.kinds(job), what="its start")

    def alive(self, job: Job) -> list[int]:
        """The processes of a command, or those that a gated node call started."""
        return self.site.alive(job.id if job.spec.node is None else job.spec.node.params["word"])

    async def all_dead(self, *jobs: Job) -> None:
        """Until no process of them runs any more."""
        await self.until(lambda: not any(self.alive(job) for job in jobs), what="that all their processes are gone")


def _failure(error: PhyslabError) -> Failure:
    return Failure(code=error.code, message=error.message, remedy=error.remedy, retryable=error.code == "unavailable")
