"""The method `package`: a run's reproducibility package made, verified, or run again as a durable job."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
import msgspec

from physlab_mcp.errors import ConflictError
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import Job, JobSpec
from physlab_mcp.schemas.job_state import TERMINAL
from physlab_mcp.schemas.replies import PackageReply
from physlab_mcp.tools import render, views
from physlab_mcp.tools.job_building import check_commands
from physlab_mcp.tools.reply import Bench, Caller, Reply
from physlab_mcp.tools.waiting import wait_end

if TYPE_CHECKING:
    from physlab_mcp.schemas.calls_orchestrator import Package

NAME = "package"


async def package(call: Package, caller: Caller, bench: Bench) -> Reply:
    """Make it (asking twice is fine), check it, or submit the job that reproduces it.

    Raises:
        NotFoundError: unknown run.
        ConflictError: the run has not ended, or has no package yet.
        RejectedError: reproducing runs commands, which are switched off here.

    """
    await bench.engine.status(call.run_id, owner=caller.principal, limit=0)
    place = bench.engine.data.packages / call.run_id / f"{call.name or NAME}.zip"
    if call.action == "create":
        return await _create(call, place, caller, bench)
    if not place.is_file():
        raise ConflictError(
            f"{call.run_id} has no package {call.name or NAME!r} yet.", field="run_id", got=call.run_id,
            remedy="Make it first.", example={"method": "package", "run_id": call.run_id},
        )  # fmt: skip
    return await (_verify if call.action == "verify" else _reproduce)(call, place, caller, bench)


async def _create(call: Package, place: Path, caller: Caller, bench: Bench) -> Reply:
    from physlab_mcp.bundles.make import make_package
    from physlab_mcp.bundles.wishes import Wishes

    if not place.is_file():
        wishes = Wishes(name=call.name, folders=tuple(bench.roots[:1]))
        await make_package(
            bench.engine, bench.registry, bench.blobs, call.run_id, place, owner=caller.principal, wishes=wishes
        )
    return await _verify(call, place, caller, bench)


async def _verify(call: Package, place: Path, caller: Caller, bench: Bench) -> Reply:
    from physlab_mcp.bundles.verify import verify_package

    del caller
    key = bench.engine.data.signing_key
    found = await anyio.to_thread.run_sync(lambda: verify_package(place, own_key=key))
    following = {"method": "package", "run_id": call.run_id, "action": "reproduce"}
    following |= {"name": call.name} if call.name else {}
    body = PackageReply(
        run_id=call.run_id,
        path=str(place),
        ok=found.ok,
        checks=[msgspec.to_builtins(one) for one in found.checks],
        files=found.files,
        bytes=found.bytes,
        fingerprint=found.fingerprint,
        next=following,
    ).wire()
    lines = [f"Package of {call.run_id}: {'whole' if found.ok else 'DAMAGED'}, {found.files} files.", str(place)]
    for one in found.checks:
        lines += [f"- {one.name}: {one.verdict}, {one.text}", *(f"  - {what}" for what in one.found)]
    lines.append(render.next_line(following))
    return Reply(body, render.text_of(lines, call.response_format), handle=call.run_id)


async def _reproduce(call: Package, place: Path, caller: Caller, bench: Bench) -> Reply:
    """A command job: the package is verified and run again in a fresh environment; the verdict is a value of the job."""
    from physlab_mcp.bundles import job_environment

    check_commands(bench)
    root = str(bench.engine.data.root)
    words = (sys.executable, "-m", "physlab_mcp", "bundle", "reproduce", str(place), "--data-dir", root)
    spec = JobSpec(command=words, title=f"reproduce {call.run_id}", idempotent=True, sandbox=False)
    job = Job(
        id=new_handle("job"), kind="command", owner=caller.principal, session_id=caller.session_id, spec=spec,
        created_at=time.time(),
    )  # fmt: skip
    await _forget_environments(place, bench)
    job_environment.keep(job_environment.place_of(place, job.id), os.environ)
    try:
        (job_id,) = await bench.engine.submit_jobs([job])
    except BaseException:
        job_environment.place_of(place, job.id).unlink(missing_ok=True)
        raise
    status = await wait_end(bench.engine, job_id, caller, wait_s=call.wait_s or 0)
    method = "job_result" if status.ended else "job_status"
    following = {"method": method, "job_id": job_id} | ({} if status.ended else {"wait_s": 20})
    verdict = None
    if status.state == "succeeded":
        outcome = await bench.engine.outcome(job_id, owner=caller.principal)
        verdict = outcome.result.values.get("verdict") if outcome.result is not None else None
    state = views.state_fields(status, next_call=following)
    body = PackageReply(
        run_id=call.run_id, path=str(place), job_id=job_id, state=state["state"], verdict=verdict, next=following
    ).wire()
    lines = [f"{job_id} reproduces {call.run_id}: {verdict or status.state}.", render.next_line(following)]
    return Reply(body, render.text_of(lines, call.response_format), handle=job_id)


async def _forget_environments(place: Path, bench: Bench) -> None:
    """Remove what was left for jobs that ended without taking it."""
    from physlab_mcp.bundles import job_environment

    left = job_environment.jobs_at(place)
    for job in await bench.engine.store.get_jobs(left) if left else ():
        if job.state in TERMINAL:
            job_environment.place_of(place, job.id).unlink(missing_ok=True)
