"""One data directory with its engines, workers and clients, seen from outside; and the check of what was promised."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psutil

from physlab_mcp.engine.link import ask
from physlab_mcp.engine.wire import connect
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import LIVE, TERMINAL, TRANSITIONS, JobState
from physlab_mcp.schemas.run import Request
from physlab_mcp.stores.base import JobQuery
from physlab_mcp.stores.sqlite import SQLiteStore
from waiting import until

HERE = Path(__file__).parent
_T = TypeVar("_T")


def now(coroutine: Coroutine[Any, Any, _T]) -> _T:
    return asyncio.run(coroutine)


class Site:
    """`env` reaches every process started here, and through the engine its workers."""

    def __init__(self, root: Path, **env: str) -> None:
        root.mkdir()
        self.data = DataDir(root / "data").create()
        self.place = root / "runs"
        self.place.mkdir()
        self.gate = root / "gate"
        self.acks = root / "acks"
        self.store = SQLiteStore(self.data.store, threaded=False)
        path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
        self.env = {**os.environ, "PHYSLAB_NODES": "fault_nodes", "PYTHONPATH": path, **env}
        self.engines: list[subprocess.Popen[bytes]] = []
        self.clients: list[subprocess.Popen[bytes]] = []

    # -- processes -------------------------------------------------------------------------------------------

    def start_engine(self, **env: str) -> subprocess.Popen[bytes]:
        """The product's own engine."""
        command = [sys.executable, "-m", "physlab_mcp", "engine", "run", "--data-dir", str(self.data.root)]
        return self._start(command, self.engines, env)

    def start_test_engine(self, **env: str) -> subprocess.Popen[bytes]:
        """An engine wired by engine_program.py."""
        return self._start([sys.executable, str(HERE / "engine_program.py"), str(self.data.root)], self.engines, env)

    def start_client(self, groups: int, name: str, **env: str) -> subprocess.Popen[bytes]:
        """A client that submits `groups` groups of ten jobs; it starts an engine if there is none."""
        command = [sys.executable, str(HERE / "client_program.py")]
        command += [str(self.data.root), str(self.place), str(self.acks), str(groups), name]
        return self._start(command, self.clients, env)

    def _start(
        self, command: list[str], among: list[subprocess.Popen[bytes]], env: dict[str, str]
    ) -> subprocess.Popen[bytes]:
        with (self.data.logs / "test.log").open("ab") as log:
            started = subprocess.Popen(
                command,
                env={**self.env, **env},
                cwd=self.data.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        among.append(started)
        return started

    def engine_pids(self) -> list[int]:
        """Engines of this directory, whoever started them."""
        found: list[int] = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                line = process.cmdline()
                ours = str(self.data.root) in line and ("engine" in line or str(HERE / "engine_program.py") in line)
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
        return found

    def worker_pids(self) -> list[int]:
        """Workers of this directory that live."""
        found: list[int] = []
        for record in self.data.spool.glob("*.pid"):
            with contextlib.suppress(psutil.Error, ValueError, OSError):
                pid, created = record.read_text().split()
                process = psutil.Process(int(pid))
                if abs(process.create_time() - float(created)) < 1 and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(int(pid))
        return found

    def kill(self, pids: Iterable[int]) -> int:
        """SIGKILL; how many were there."""
        done = 0
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                done += 1
        self.reap()
        return done

    def kill_engines(self) -> None:
        """And wait until they are gone."""
        self.kill(self.engine_pids())
        until(lambda: not self.engine_pids(), 10, what="the engines are gone")
        self.reap()

    def reap(self) -> None:
        for process in [*self.engines, *self.clients]:
            process.poll()

    def kill_all(self) -> None:
        """Clients first, then engines, then workers, again until nobody is left: a killed engine starts nobody."""

        def nobody() -> bool:
            clients = [c.pid for c in self.clients if c.poll() is None]
            self.kill([*clients, *self.engine_pids(), *self.worker_pids()])
            return not (self.engine_pids() or self.worker_pids() or [c for c in self.clients if c.poll() is None])

        until(nobody, 10, what="everybody is gone")

    def close(self) -> None:
        self.kill_all()
        now(self.store.aclose())
        self.data.engine_socket().unlink(missing_ok=True)

    # -- asking ----------------------------------------------------------------------------------------------

    def submit(self, *jobs: Job) -> list[str]:
        return now(self.store.add_jobs(jobs))

    def request(self, verb: str, subject: str) -> None:
        """Durable in the store; the engine is woken if it listens."""
        now(self.store.request(Request(id=new_handle("req"), verb=verb, subject=subject, at=time.time())))
        self.wake()

    def wake(self) -> None:
        async def tell() -> None:
            with contextlib.suppress(OSError):
                lines = await connect(self.data.engine_socket())
                await lines.send({"op": "wake"})
                await lines.aclose()

        now(tell())

    def status(self) -> dict[str, Any] | None:
        answer = now(ask(self.data, "status"))
        return answer["status"] if answer else None

    def job(self, job_id: str) -> Job:
        return now(self.store.get_jobs([job_id]))[0]

    def state(self, job_id: str) -> JobState:
        return self.job(job_id).state

    def live(self) -> int:
        counts = now(self.store.count_jobs(JobQuery()))
        return sum(counts.get(state, 0) for state in LIVE)

    def runs(self, tag: str) -> int:
        """How often the node of this tag began."""
        counter = self.place / tag
        return counter.stat().st_size if counter.exists() else 0

    def open_gate(self) -> None:
        self.gate.touch()

    def acked(self) -> list[str]:
        return self.acks.read_text().split() if self.acks.exists() else []

    def wait_state(self, job_id: str, *states: JobState, deadline_s: float = 20) -> Job:
        until(lambda: self.state(job_id) in states, deadline_s, what=f"{job_id} {self.state(job_id)} -> {states}")
        return self.job(job_id)

    def finish(self, deadline_s: float = 30) -> None:
        """Until nothing is live; an engine is started if there is none, again if it ends."""

        def done() -> bool:
            self.reap()
            if not self.live():
                return True
            if not [e for e in self.engines if e.poll() is None] and not self.engine_pids():
                self.start_engine()
            return False

        until(done, deadline_s, what="all jobs ended")

    # -- what was promised -----------------------------------------------------------------------------------

    def events(self) -> list[Event]:
        found: list[Event] = []
        while page := now(self.store.events(after=found[-1].seq if found else 0, limit=5000)):
            found.extend(page)
        return found

    def jobs(self) -> list[Job]:
        return now(self.store.find_jobs(JobQuery(oldest_first=True, limit=1_000_000)))

    def check(self, acked: Sequence[str] | None = None) -> Counter[str]:
        """Every job (all of `acked` among them) ended once, over a valid path, with one result; the number per state."""
        jobs = {job.id: job for job in self.jobs()}
        assert not [one for one in acked or () if one not in jobs], "an acknowledged job is missing"
        events = self.events()
        assert [e.seq for e in events] == list(range(1, len(events) + 1)), "a seq is missing or twice there"
        by_job: dict[str, list[Event]] = defaultdict(list)
        for event in events:
            by_job[event.subject].append(event)
        ids = list(jobs)
        bodies = {one for i in range(0, len(ids), 10_000) for one in now(self.store.results(ids[i : i + 10_000]))}
        for job in jobs.values():
            check_job(job, by_job[job.id], job.id in bodies)
        return Counter(job.state.value for job in jobs.values())


def check_job(job: Job, events: list[Event], has_body: bool) -> None:
    """One job's history."""
    told = f"{job.id} ({job.node_id}): " + " ".join(f"{e.seq}:{e.kind}:{e.data.get('to', '')}" for e in events)
    steps = [e for e in events if e.kind == "state"]
    assert steps, told
    state = JobState(steps[0].data["to"])
    assert state is JobState.PENDING, told
    for step in steps[1:]:
        assert step.data["from"] == state.value, told
        assert JobState(step.data["to"]) in TRANSITIONS[state], told
        state = JobState(step.data["to"])
    assert state is job.state, told
    assert state in TERMINAL, told
    attempts = [step.attempt for step in steps]
    assert attempts == sorted(attempts), told
    assert attempts[-1] == job.attempt, told
    results = [e for e in events if e.kind == "result"]
    expected = 1 if state in (JobState.SUCCEEDED, JobState.FAILED) else 0
    assert len(results) == expected, told
    assert has_body == bool(expected), told
