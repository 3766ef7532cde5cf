"""How soon a change in the engine reaches an MCP client, and what 200 waiting calls cost."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.laboratory import OWNER, opened, processes, stop_engine
from benchmarks.measure import Options, Row, cpu_s
from benchmarks.rpc import Server
from benchmarks.shapes import WORKERS
from physlab_mcp.lab import Lab
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import Job, JobSpec

WAITERS = 200
_QUIET_S = 0.4
_TOOL = "distributed_collaboration"


def run(options: Options) -> list[Row]:
    """One physlab-mcp process listens; this process, a library client, makes the changes."""
    return asyncio.run(_run(options))


async def _run(options: Options) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="bench-notices-", ignore_cleanup_errors=True) as folder:
        async with opened(folder) as lab:
            command = [str(Path(sys.executable).with_name("physlab-mcp")), "--data-dir", folder]
            async with Server(command) as server:
                await server.handshake()
                rows = [*await _latency(lab, server, options), *await _waiting(lab, server, options)]
            await stop_engine(lab.data)
    return rows


async def _long_job(lab: Lab, state: str = "running") -> str:
    job = Job(
        id=new_handle("job"),
        kind="command",
        owner=OWNER,
        spec=JobSpec(command=("sleep", "600")),
        created_at=time.time(),
    )
    (job_id,) = await lab.engine.submit_jobs([job])
    await _until(lab, job_id, state)
    return job_id


async def _until(lab: Lab, job_id: str, state: str) -> None:
    seen = 0
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        status = await lab.engine.wait(job_id, owner=OWNER, since_seq=seen, timeout_s=5)
        if status.state == state:
            return
        seen = status.last_seq
    raise TimeoutError(f"{job_id} does not become {state}.")


async def _latency(lab: Lab, server: Server, options: Options) -> list[Row]:
    """Pause and resume a job that waits for a core. A sample is the newest event's `at` to the last notice of it."""
    busy = [await _long_job(lab) for _ in range(WORKERS)]
    job_id = await _long_job(lab, "pending")
    uri = f"physlab://jobs/{job_id}"
    await server.request("resources/subscribe", {"uri": uri})
    await asyncio.sleep(_QUIET_S)
    values: list[float] = []
    for turn in range(2 * (3 if options.quick else 4 * options.rounds)):
        verb, state = (("pause", "paused"), ("resume", "pending"))[turn % 2]
        server.arrivals.clear()
        await lab.engine.request(verb, job_id, owner=OWNER)
        await _until(lab, job_id, state)
        await asyncio.sleep(_QUIET_S)
        newest = (await lab.store.events(subject=job_id, limit=10_000))[-1]
        arrived = [at for at, message in server.arrivals if message.get("params", {}).get("uri") == uri]
        if newest.kind != "state" or not arrived:
            raise RuntimeError(f"{verb}: {len(arrived)} notices; the newest event is {newest.kind}.")
        if turn > 1:
            values.append((arrived[-1] - newest.at) * 1e3)
    await server.request("resources/unsubscribe", {"uri": uri})
    for one in (job_id, *busy):
        await lab.engine.request("cancel", one, owner=OWNER)
        await _until(lab, one, "cancelled")
    note = f"{len(values)} changes; from the event's `at` in the store to the line read from the pipe"
    return [Row("a change in the engine to another process's stdio client", "ms", values, limit=50.0, note=note)]


async def _waiting(lab: Lab, server: Server, options: Options) -> list[Row]:
    """CPU time of server and engine over the same span, with nobody waiting and with 200 calls waiting, in turns."""
    span_s, rounds = (2.0, 2) if options.quick else (10.0, options.rounds)
    seen: dict[str, list[float]] = {"server": [], "engine": [], "server0": [], "engine0": [], "told": []}
    for _ in range(rounds):
        job_id = await _long_job(lab)
        engine, _workers = await processes(lab)
        last = (await server.call(_TOOL, method="job_status", job_id=job_id))["last_seq"]
        await asyncio.sleep(1.0)
        await _span(seen, server.pid, engine, span_s, suffix="0")
        calls = [asyncio.create_task(_wait(server, job_id, last)) for _ in range(WAITERS)]
        await asyncio.sleep(2.0)
        await _span(seen, server.pid, engine, span_s, suffix="")
        if any(call.done() for call in calls):
            raise RuntimeError("Calls that should wait have come back.")
        cancelled = time.time()
        await lab.engine.request("cancel", job_id, owner=OWNER)
        await asyncio.gather(*calls)
        seen["told"].append(time.time() - cancelled)
        await _until(lab, job_id, "cancelled")
    over = f"over {span_s:g} s"
    return [
        Row(f"CPU of the server {over} with {WAITERS} job_status calls waiting", "ms", seen["server"],
            reference=("nobody waiting", seen["server0"]), limit=50.0, note="steps of 10 ms"),
        Row(f"CPU of the engine {over} with {WAITERS} job_status calls waiting", "ms", seen["engine"],
            reference=("nobody waiting", seen["engine0"]), note="steps of 10 ms"),
        Row(f"a cancel until all {WAITERS} waiting calls have answered", "s", seen["told"]),
    ]  # fmt: skip


async def _wait(server: Server, job_id: str, last: int) -> dict[str, Any]:
    return await server.call(_TOOL, method="job_status", job_id=job_id, since_seq=last, wait_s=20)


async def _span(seen: dict[str, list[float]], server: int, engine: int, span_s: float, *, suffix: str) -> None:
    before = cpu_s([server]), cpu_s([engine])
    await asyncio.sleep(span_s)
    seen[f"server{suffix}"].append((cpu_s([server]) - before[0]) * 1e3)
    seen[f"engine{suffix}"].append((cpu_s([engine]) - before[1]) * 1e3)
