"""One look at everything abroad: one squeue, at most one sacct, then the folders of what runs or has ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from typing import Any

import msgspec

from physlab_mcp.backends.slurm import told
from physlab_mcp.backends.slurm.abroad import Abroad, known_of, native_id
from physlab_mcp.backends.slurm.accounting import Row, found
from physlab_mcp.backends.slurm.cluster import Cluster
from physlab_mcp.backends.slurm.home import Fetching, Home
from physlab_mcp.backends.slurm.merging import Index, Known, merge
from physlab_mcp.backends.slurm.roster import Roster
from physlab_mcp.backends.slurm.script import token_of
from physlab_mcp.backends.slurm.settings import SlurmSettings
from physlab_mcp.backends.slurm.states import FINAL, Standing, standing
from physlab_mcp.backends.slurm.verdicts import judge
from physlab_mcp.errors import PhyslabError, UnavailableError
from physlab_mcp.schemas.result import Failure, NodeResult

logger = logging.getLogger(__name__)
_FOLDERS = 500  # read in one round trip
_GROUP = 100  # brought home in one
_EARLIER_S = 3600.0
_UNKNOWN_S = 30.0  # accounting may lag so long before a job that left the queue is told as out of sight
_NOT_YET = ("", "None")  # reasons before Slurm has looked at a job


class Watching:
    """Looks, and tells the roster."""

    def __init__(self, cluster: Cluster, settings: SlurmSettings, roster: Roster, home: Home) -> None:
        self._cluster = cluster
        self._host = cluster.host
        self._settings = settings
        self._roster = roster
        self._fetching = Fetching(home)
        self._home = home
        self._tasks: set[asyncio.Task[None]] = set()

    def _live(self, *phases: str) -> list[Abroad]:
        return [one for one in self._roster.abroad.values() if one.phase in phases and not one.ending]

    # -- who it is -------------------------------------------------------------------------------------------

    async def recognise(self) -> None:
        """Of jobs that an earlier engine dispatched: under which name they were submitted, as their folders say.

        Raises:
            UnavailableError: the host cannot be reached; they stay as they are.

        """
        adopted = self._live("adopted")
        for start in range(0, len(adopted), _FOLDERS):
            some = adopted[start : start + _FOLDERS]
            specs = await self._host.read_many([(f"{one.folder}/spec.json", 0, 1 << 24) for one in some])
            for one, data in zip(some, specs, strict=True):
                spec = told.body_of(data) or {}
                ours = spec.get("fence") == one.job.fence and spec.get("attempt") == one.job.attempt
                one.batch = str(spec.get("batch") or "") if ours else ""
                one.element, one.alone = int(spec.get("element") or 0), bool(spec.get("alone", True))
                one.known = known_of(one.job.native_id, token_of(one.batch)) if one.batch else None
                one.phase, one.since = "there" if one.known else "sought", time.time()

    # -- the look --------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Ask once, tell what is new.

        Raises:
            UnavailableError: the host cannot be reached any more; nothing final was told.

        """
        live = self._live("there", "sought")
        if not live:
            return
        queue = await self._cluster.queue()
        if queue is None:
            return
        accounts = await self._accounts(live, queue)
        self._find([one for one in live if one.phase == "sought"], queue, accounts)
        there = {one.job.id: one for one in live if one.phase == "there" and one.known is not None}
        self._merge(there, queue, accounts)
        for one in there.values():
            self._stand(one)
        await self._read([one for one in there.values() if self._worth_reading(one)])
        if accounts is not None or (self._cluster.limits and not self._cluster.limits.config.accounting):
            await self._give_up([one for one in live if one.phase == "sought"])

    async def _accounts(self, live: Sequence[Abroad], queue: Sequence[Row]) -> list[Row] | None:
        """Accounting, where the queue does not tell all."""
        index = Index(queue)
        tokens = {row.token for row in queue}
        sought = [one for one in live if one.phase == "sought" and not (one.batch and token_of(one.batch) in tokens)]
        ids: set[int] = set()
        for one in live:
            if one.phase != "there" or one.known is None:
                continue
            rows = index.of(one.known)
            if not rows or (rows[-1].state in FINAL and rows[-1].state != "COMPLETED"):
                ids.add(one.known.job_id)
        if not ids and not sought:
            return []
        since = min((one.job.observed_at or time.time()) for one in live) - _EARLIER_S
        return await self._cluster.accounts([] if sought else ids, since)

    def _find(self, sought: Sequence[Abroad], queue: Sequence[Row], accounts: Sequence[Row] | None) -> None:
        wanted = {token_of(one.batch) for one in sought if one.batch}
        places = found(wanted, [*queue, *(accounts or ())])
        cluster = self._cluster.limits.config.cluster if self._cluster.limits else ""
        for one in sought:
            at = places.get(token_of(one.batch)) if one.batch else None
            if at:
                index = None if one.alone else one.element
                one.known = Known(
                    cluster=cluster, job_id=at[0].job_id, index=index, token=token_of(one.batch), submitted_at=0.0
                )
                one.phase = "there"
                native = native_id(one.known, at[0].submitted_at)
                self._roster.tell(one.job, "placed", data={"native_id": native})

    def _merge(self, there: dict[str, Abroad], queue: Sequence[Row], accounts: Sequence[Row] | None) -> None:
        known = {job_id: one.known for job_id, one in there.items() if one.known is not None}
        merged = merge(known, queue, accounts, time.time(), missing_s=self._settings.missing_s)
        index = Index([*queue, *(accounts or ())])
        for job_id, now in merged.items():
            if not now.submitted_at:
                first = min((row.submitted_at for row in index.of(now)), default=0.0)
                now = msgspec.structs.replace(now, submitted_at=first)
            one = there[job_id]
            self._notice_again(one, now, max((row.submitted_at for row in index.of(now)), default=0.0))
            one.known = now

    def _notice_again(self, one: Abroad, now: Known, submitted_at: float) -> None:
        """Tell that Slurm has taken it from its node and queued it again, which gives it a new submit time.

        That time may come a while after the state, so what waits already is not queued again by it.
        """
        ran = one.told_started or self._standing(one).kind == "started"
        stand = standing(now.state, now.reason)
        waits = stand.kind in ("queued", "paused") and stand.known
        later = 0.0 < one.submitted_at < submitted_at
        one.submitted_at = max(one.submitted_at, submitted_at)
        if ran and (waits or later):
            one.again += 1
            text = f"Slurm has queued it again (time {one.again}), and its checkpoint is kept"
            self._roster.tell_again(one, text, stand.code, stand.text if waits else "")

    def _stand(self, one: Abroad) -> None:
        """Tell what Slurm's word alone says."""
        stand = self._standing(one)
        if stand.kind == "paused" and not one.told_paused:
            one.told_paused, one.wanted = True, ""
            self._roster.tell(one.job, "paused")
        elif stand.kind in ("queued", "started") and one.told_paused and stand.known:
            one.told_paused, one.wanted = False, ""
            self._roster.tell(one.job, "resumed")
        if stand.kind == "queued" and stand.known and not one.told_started and one.there.reason not in _NOT_YET:
            self._roster.tell_waiting(one, stand.code, stand.text)
        if stand.hopeless and one.doom is None:
            one.doom = stand.failure

    def tell_sight(self) -> None:
        """Tell of whom nothing can be seen, and of whom something can again."""
        out = not self._cluster.reachable and self._cluster.failures > 1
        for one in self._roster.abroad.values():
            known, now = one.known, time.time()
            if out:
                self._roster.tell_unreachable(one, self._cluster.since, self._cluster.why)
            elif known is not None and known.unknown_since and now - known.unknown_since > _UNKNOWN_S:
                self._roster.tell_unreachable(one, known.unknown_since, known.why)
            elif self._cluster.reachable and (known is None or known.seen_at):
                self._roster.tell_reachable(one)

    def _standing(self, one: Abroad) -> Standing:
        return standing(one.there.state, one.there.reason, exit_code=one.there.exit_code)

    def _worth_reading(self, one: Abroad) -> bool:
        known = one.there
        waits = self._standing(one).kind in ("queued", "paused")
        return known.final or known.missing or not waits or one.told_started

    # -- their folders ---------------------------------------------------------------------------------------

    async def _read(self, many: Sequence[Abroad]) -> None:
        ended: list[tuple[Abroad, dict[str, Any]]] = []
        for start in range(0, len(many), _FOLDERS):
            some = many[start : start + _FOLDERS]
            wanted = [told.pieces(one) for one in some]
            extra = [self._extra(one) for one in some]
            flat = [piece for mine, more in zip(wanted, extra, strict=True) for piece in (*mine, *more)]
            answers = iter(await self._host.read_many(flat))
            for one, mine, more in zip(some, wanted, extra, strict=True):
                parts = [next(answers) for _ in mine]
                rest = [next(answers) for _ in more]
                result = await self._conclude(one, parts, rest)
                if result is not None:
                    ended.append((one, result))
        for start in range(0, len(ended), _GROUP):
            self.later(self._bring(ended[start : start + _GROUP]))

    def _extra(self, one: Abroad) -> list[tuple[str, int, int]]:
        """What is read besides of a job that Slurm is through with, or does not know any more."""
        if not (one.there.final or one.there.missing):
            return []
        output = f"{self._host.root}/batches/{one.batch}/slurm-{one.there.index or 0}.out"
        return [(one.begun, 0, 1), (output, 0, 4096)]

    async def _conclude(
        self, one: Abroad, parts: Sequence[bytes | None], rest: Sequence[bytes | None]
    ) -> dict[str, Any] | None:
        """Tell what its folder says; its result where that can be brought home."""
        result = told.result_of(one, parts[0])
        if not one.told_paused:
            told.tell_start(self._roster, one, parts[1])
        told.tell_events(self._roster, one, parts[2])
        if one.job.spec.stream_logs:
            told.tell_printed(self._roster, one, parts[3], last=False)
        if one.there.missing:
            return await self._missing(one, result, begun=rest[0] is not None)
        begun = bool(rest) and rest[0] is not None
        output = (rest[1] or b"").decode("utf-8", "replace").strip()[-1000:] if rest else ""
        one.looks += one.there.final
        verdict = judge(one, one.there, self._standing(one), result, begun=begun, output=output)
        if verdict.kind in ("wait", "result"):
            return result if verdict.kind == "result" else None
        one.ending = True
        fields: dict[str, Any] = {"failure": verdict.failure} if verdict.failure else {}
        if verdict.status is not None:
            fields["data"] = {"status": verdict.status}
        self.later(self._tell_end(one, verdict.kind, fields))
        return None

    async def _missing(self, one: Abroad, result: dict[str, Any] | None, *, begun: bool) -> dict[str, Any] | None:
        """Nobody has known it for long: its folder is all there is."""
        if result is not None and result["outcome"] != "cancelled":
            return result
        if begun:
            one.ending = True
            self.later(self._tell_end(one, "cancelled" if one.cancelled else "lost", {}))
        else:
            await self._give_up([one])
        return None

    async def _give_up(self, many: Sequence[Abroad]) -> None:
        """Revoke what is not in Slurm; what had not begun by then never will, and is dropped."""
        if not many:
            return
        await self._host.write_many([(one.revoked, b"", 0o600) for one in many], durable=False)
        begun = await self._host.read_many([(one.begun, 0, 1) for one in many])
        for one, mark in zip(many, begun, strict=True):
            if mark is None:
                self._roster.end(one, "cancelled" if one.cancelled else "dropped")
            elif time.time() - one.since > self._settings.missing_s:
                self._roster.end(one, "cancelled" if one.cancelled else "lost")
            elif one.phase == "sought" and one.batch:
                await self._of_unknown(one)

    async def _of_unknown(self, one: Abroad) -> None:
        """It began, and neither queue nor accounting tell of it now: its own result would do."""
        (data,) = await self._host.read_many([(f"{one.attempt}/result.json", 0, told.RESULT_BYTES)])
        result = told.result_of(one, data)
        if result is not None and result["outcome"] != "cancelled":
            self.later(self._bring([(one, result)]))

    # -- ends ------------------------------------------------------------------------------------------------

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the look."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _rest(self, one: Abroad) -> None:
        """The events and prints that were not read yet."""
        while True:
            wanted = told.pieces(one)[2:]
            parts = await self._host.read_many(wanted)
            more = told.tell_events(self._roster, one, parts[0])
            if one.job.spec.stream_logs:
                more = told.tell_printed(self._roster, one, parts[1], last=True) or more
            if not more:
                return

    async def _bring(self, many: Sequence[tuple[Abroad, dict[str, Any]]]) -> None:
        for one, _ in many:
            one.ending = True
        try:
            answers = await self._fetching.results(many)
            for (one, result), answer in zip(many, answers, strict=True):
                if answer is not None:
                    await self._end(one, result, answer)
        except PhyslabError as error:
            logger.warning("results wait: %s", error.message)
        finally:
            for one, _ in many:
                one.ending = False

    async def _end(self, one: Abroad, result: dict[str, Any], answer: NodeResult | Failure) -> None:
        at = float(result.get("started_at") or 0.0)
        if one.told_paused:
            one.told_paused = False
        self._roster.tell_started(one, at or time.time())
        if one.offset or one.job.spec.stream_logs:
            await self._rest(one)
        if isinstance(answer, Failure):
            kind = "cancelled" if answer.code == "cancelled" else "done"
            self._roster.end(one, kind, started_at=at, **({} if kind == "cancelled" else {"failure": answer}))
        else:
            self._roster.end(one, "done", result=msgspec.json.encode(answer), started_at=at)

    async def _tell_end(self, one: Abroad, kind: str, fields: dict[str, Any]) -> None:
        """The end of a job without a result: its logs come home as well."""
        try:
            if kind != "dropped":
                await self._home.logs([one])
                await self._rest(one)
        except UnavailableError as error:
            logger.warning("logs of %s wait: %s", one.job.id, error.message)
            one.ending = False
            return
        self._roster.end(one, kind, **fields)

    def close(self) -> None:
        """Stop what goes on beside the look."""
        for task in self._tasks:
            task.cancel()
