"""`physlab jobs …`: list, show, logs, wait, and the requests cancel, pause, resume, approve, reject."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from typing import TYPE_CHECKING, Any

import msgspec

from physlab_mcp.cli.opened import OWNER, with_lab
from physlab_mcp.cli.output import age_of, clock_of
from physlab_mcp.cli.watch import follow, what_happened
from physlab_mcp.errors import PhyslabError, UnavailableError
from physlab_mcp.schemas.job import HERE, backend_name
from physlab_mcp.schemas.status import Status
from physlab_mcp.tools.reply import Caller
from physlab_mcp.tools.waiting import after_request

if TYPE_CHECKING:
    from physlab_mcp.cli.output import Output
    from physlab_mcp.engine.utilisation import Utilisation
    from physlab_mcp.lab import Lab
    from physlab_mcp.schemas.status import NodeView

_MOST_NODES = 200  # of a run are shown
_MOST_JOBS = 20_000  # whose use of the cores is counted


def list_all(args: Namespace, out: Output) -> int:
    """Runs, series, and jobs that belong to no run; with --state or --all also the jobs of runs; with --backend only jobs."""

    async def work(lab: Lab) -> int:
        states = [args.state] if args.state else None
        rows = await _jobs(lab, args)
        if args.backend is None:
            rows += [status for _, status in await lab.engine.list_runs(owner=OWNER, states=states, limit=args.limit)]
            series = [one for _, one in await lab.engine.list_series(owner=OWNER, limit=args.limit)]
            rows += [one for one in series if states is None or one.state in states]
        rows.sort(key=lambda one: one.created_at, reverse=True)
        out.answer({"jobs": [_brief(one) for one in rows]})
        if not rows:
            out.say(_nothing(args))
            return 0
        now = time.time()
        backends = {one.id: one.job.backend for one in rows if one.job is not None}
        where = ("backend",) if set(backends.values()) - {HERE} else ()  # said once there is more than one place
        out.table(
            ("id", "state", "done", "age", *where, "title", "why"),
            [_line(one, now, [backends.get(one.id, "")] if where else []) for one in rows],
        )
        return 0

    return with_lab(args, work, start_engine=False)


def _nothing(args: Namespace) -> str:
    if args.state:
        return f"Nothing is {args.state}{f' at {args.backend}' if args.backend else ''}."
    return f"No job is or was at {args.backend}." if args.backend else "Nothing yet. Start with: physlab demo"


async def _jobs(lab: Lab, args: Namespace) -> list[Status]:
    from physlab_mcp.engine.views import job_status
    from physlab_mcp.schemas.job_state import JobState
    from physlab_mcp.stores.base import JobQuery

    states = (JobState(args.state),) if args.state else None
    query = JobQuery(
        owner=OWNER, states=states, backend=backend_name(args.backend), limit=args.limit,
        alone=not (args.all or args.state or args.backend),
    )  # fmt: skip
    return [job_status(job) for job in await lab.store.find_jobs(query)]


def _line(status: Status, now: float, where: list[str]) -> tuple[str, ...]:
    title = status.title
    if status.job is not None and status.job.node_id:
        title = f"{status.job.node_id} of {status.job.run_id}"
    age = age_of(now - status.created_at)
    done = f"{status.done}/{status.total}"
    return (status.id, status.state, done, age, *where, title[:60], status.reason.text[:60])


def _brief(status: Status) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": status.id,
        "kind": status.kind,
        "state": status.state,
        "reason": msgspec.to_builtins(status.reason),
        "done": status.done,
        "total": status.total,
        "progress": status.progress,
        "title": status.title,
        "created_at": status.created_at,
        "started_at": status.started_at,
        "ended_at": status.ended_at,
    }
    if status.job is not None:
        job = status.job
        body |= {"run_id": job.run_id, "node_id": job.node_id, "backend": job.backend}
        body |= {"native_id": job.native_id, "why_here": job.why_here or None}
    return body


def show(args: Namespace, out: Output) -> int:
    """One handle: state, times, and what it consists of or left."""

    async def work(lab: Lab) -> int:
        status = await lab.engine.status(args.handle, owner=OWNER, limit=0)
        body = _brief(status)
        used = await _use(lab, status)
        if used is not None:
            body["utilisation"] = msgspec.to_builtins(used)
        out.fields({
            "id": status.id, "title": status.title or None, "state": status.state, "why": status.reason.text or None,
            "done": f"{status.done} of {status.total}", "progress": f"{status.progress:.0%}",
            "queue position": status.queue_position,
            "running for" if not status.ended else "took": _length(status),
            "cores busy": None if used is None else f"{used.share:.1%} of {used.slots:.3g}, at most {used.peak:g} at once",
        })  # fmt: skip
        if status.job is not None:
            body |= await _show_job(lab, status, out)
        elif status.kind == "run":
            nodes = await lab.engine.nodes(args.handle, owner=OWNER, limit=_MOST_NODES)
            body["nodes"] = [_node(one) for one in nodes]
            out.say()
            out.table(
                ("node", "type", "state", "job", "what"),
                [(one.node_id, one.type, one.state, one.job_id, what_happened(one)[:60]) for one in nodes],
            )
        out.answer(body)
        out.next(*_useful(status))
        return 0

    return with_lab(args, work, start_engine=False)


async def _use(lab: Lab, status: Status) -> Utilisation | None:
    """How busy the cores were over a run or sweep, once something of it has run."""
    if status.kind not in ("run", "sweep"):
        return None
    from physlab_mcp.engine.utilisation import use_of

    here = lab.engine.capacity().cpus
    used = await use_of(lab.store, status.id, here=here, most=_MOST_JOBS, now=time.time())
    return used if used.span_s else None


async def _show_job(lab: Lab, status: Status, out: Output) -> dict[str, Any]:
    job = status.job
    if job is None:
        return {}
    body: dict[str, Any] = {"spec": msgspec.to_builtins(job.spec), "attempt": job.attempt, "lost": job.lost}
    out.fields({
        "run": job.run_id, "node": job.node_id, "attempt": job.attempt if job.attempt > 1 else None,
        "backend": job.backend, "id there": job.native_id, "why here": job.why_here or None,
        "reason since": clock_of(job.reason.since) if job.reason.since and not status.ended else None,
    })  # fmt: skip
    if not status.ended:
        return body
    outcome = await lab.engine.outcome(job.id, owner=OWNER)
    if outcome.failure is not None:
        body["failure"] = msgspec.to_builtins(outcome.failure)
        out.fields({"failed": f"{outcome.failure.code}: {outcome.failure.message}", "remedy": outcome.failure.remedy})
    if outcome.result is not None:
        body["result"] = msgspec.to_builtins(outcome.result)
        out.fields({key: _short(value) for key, value in outcome.result.values.items()})
        out.fields({ref.name: f"sha256:{ref.sha256}" for ref in outcome.result.all_artifacts()})
    return body


def _node(node: NodeView) -> dict[str, Any]:
    return {
        "node_id": node.node_id,
        "type": node.type,
        "job_id": node.job_id,
        "state": node.state,
        "reason": msgspec.to_builtins(node.reason),
        "cached": bool(node.cached),
        "device": node.device,
        "duration_ms": node.duration_ms,
    }


def _length(status: Status) -> str | None:
    if not status.started_at:
        return None
    return age_of((status.ended_at if status.ended and status.ended_at else time.time()) - status.started_at)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:99]}…"


def _useful(status: Status) -> list[str]:
    if status.state == "held" and status.kind == "job":
        return [f"physlab jobs approve {status.id}", f"physlab jobs reject {status.id}"]
    if not status.ended:
        return [f"physlab jobs wait {status.id}", f"physlab jobs cancel {status.id}"]
    if status.kind == "run" and status.state == "succeeded":
        return [f"physlab report {status.id}"]
    if status.kind == "job":
        return [f"physlab jobs logs {status.id}"]
    return ["physlab jobs list"]


def logs(args: Namespace, out: Output) -> int:
    """What a job wrote to stdout or stderr."""
    stream = "stderr" if args.stderr else "stdout"

    async def work(lab: Lab) -> int:
        engine, offset, tail = lab.engine, 0, args.tail
        text: list[str] = []
        while True:
            status = await engine.status(args.handle, owner=OWNER, limit=0)
            chunk = await engine.logs(args.handle, owner=OWNER, stream=stream, offset=offset, tail=tail)
            offset, tail = chunk.next_offset, None
            text.append(chunk.text)
            if not out.as_json:
                sys.stdout.write(chunk.text)
                sys.stdout.flush()
            if chunk.text:
                continue
            if status.ended or not args.follow:
                break
            await engine.wait(args.handle, owner=OWNER, since_seq=status.last_seq, timeout_s=0.5)
        out.answer({"job_id": args.handle, "stream": stream, "text": "".join(text), "next_offset": offset})
        return 0

    return with_lab(args, work, start_engine=False)


def wait(args: Namespace, out: Output) -> int:
    """Wait for the end; the exit code tells whether it succeeded."""
    import anyio

    async def work(lab: Lab) -> int:
        status = await lab.engine.status(args.handle, owner=OWNER, limit=0)
        if not status.ended:
            await lab.engine.link.wake()
        with anyio.move_on_after(args.timeout) as scope:
            status = await follow(lab, args.handle, out, each_node=True)
        if scope.cancelled_caught:
            raise UnavailableError(
                f"{args.handle} has not ended after {args.timeout:g} s.", got=args.handle,
                remedy=f"It goes on; wait longer, or stop it with: physlab jobs cancel {args.handle}",
            )  # fmt: skip
        out.answer(_brief(status))
        out.say(f"{status.id}: {status.state}" + (f" ({status.reason.text})" if status.reason.text else ""))
        return 0 if status.state == "succeeded" else 1

    return with_lab(args, work)


def ask(args: Namespace, out: Output) -> int:
    """Ask the same of each handle. Durable once this returns; all are asked even if one is refused."""

    async def work(lab: Lab) -> int:
        rows: list[dict[str, Any]] = []
        code = 0
        for handle in args.handles:
            try:
                before = await lab.engine.status(handle, owner=OWNER, limit=0)
                seq = await lab.engine.request(args.verb, handle, owner=OWNER)
                after = before
                if args.verb in ("pause", "resume"):
                    after = await after_request(lab.engine, before, Caller(OWNER), args.verb, seq=seq)
                elif not before.ended:
                    after = await lab.engine.wait(
                        handle, owner=OWNER, since_seq=before.last_seq, timeout_s=3.0, until_end=args.verb == "cancel"
                    )
            except PhyslabError as error:
                rows.append({"id": handle, "error": error.as_dict()})
                sys.stderr.write(f"Error ({error.code}): {error}\n")
                code = 1
                continue
            rows.append(_brief(after))
            out.say(f"{handle}: {args.verb} asked; it is {after.state}")
        out.answer({"jobs": rows})
        return code

    return with_lab(args, work)
