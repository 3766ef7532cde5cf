"""From placed jobs to Jobs on the cluster: the Jobs first, then what brings their files, which their pods wait for.

So a Job whose making was not written down before a crash can never begin unseen: without its files its pods stand still.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import anyio.to_thread

from physlab_mcp.backends.kubernetes import carriers, manifests, naming
from physlab_mcp.backends.kubernetes.abroad import Abroad
from physlab_mcp.backends.kubernetes.api import Api, RefusalError, place_of
from physlab_mcp.backends.kubernetes.capabilities import Capabilities, dropped_fields
from physlab_mcp.backends.kubernetes.cluster import Cluster
from physlab_mcp.backends.kubernetes.home import refused
from physlab_mcp.backends.kubernetes.job_files import JobFiles
from physlab_mcp.backends.kubernetes.naming import Dispatch
from physlab_mcp.backends.kubernetes.pods import Bundle
from physlab_mcp.backends.kubernetes.program import program
from physlab_mcp.backends.kubernetes.roster import Roster
from physlab_mcp.backends.kubernetes.settings import KubernetesSettings
from physlab_mcp.errors import PhyslabError, RejectedError, UnavailableError

logger = logging.getLogger(__name__)
Json = Mapping[str, Any]
_TOGETHER = 50  # Jobs of their own whose files travel together
_PROGRAM_S = 60.0  # between two looks whether the program is there
_KEPT_APART = ("metadata", "status")


class Load:
    """Jobs that are sent together: as one Indexed Job, or each as one Job, with their files in the same objects.

    It is made once and sent until nothing of it waits, so that what may have been made in an attempt whose answer was
    lost is met again under the same names. `owners` are the Jobs that are there, by uid.
    """

    def __init__(self, jobs: Sequence[Abroad], files: Sequence[dict[str, bytes]], *, array: bool, secret: bool) -> None:
        self.jobs, self.files = tuple(jobs), tuple(files)
        self.array, self.secret = array, secret
        self.owners: dict[str, Json] = {}
        self.brought: frozenset[str] = frozenset()  # the owners that its files name
        self.touched = False

    def keyed(self) -> dict[int, Mapping[str, bytes]]:
        """The files by element."""
        if self.array:
            return dict(enumerate(self.files))
        return {one.job.index or 0: files for one, files in zip(self.jobs, self.files, strict=True)}

    def left(self, roster: Roster) -> list[Abroad]:
        """Those that are not on the cluster yet, as far as is known, and are still wanted."""
        return [one for one in self.jobs if one.phase in ("waiting", "sending") and roster.of(one.job) is one]


class Sending:
    """Submits. What the cluster cannot take now goes back to waiting; what it will never take has failed."""

    def __init__(
        self, cluster: Cluster, settings: KubernetesSettings, roster: Roster, files: JobFiles, lab: str
    ) -> None:
        self._cluster, self._settings, self._roster = cluster, settings, roster
        self._api: Api = cluster.api
        self._files, self._lab = files, lab
        self._program_seen = 0.0
        self._open: list[Load] = []

    async def send(self) -> bool:
        """Submit all that waits; whether nothing waits any more."""
        fresh = self._fresh()
        if not fresh and not self._open:
            return True
        can = self._cluster.capabilities or await self._cluster.learn()
        if can is None:
            return False
        try:
            await self._bring_program()
        except (UnavailableError, RefusalError) as error:
            return self._wait(fresh, error.message)
        made, failed = await anyio.to_thread.run_sync(self._loads, fresh, can)
        for one, error in failed:
            self._roster.fail(one, refused(error))
        for load in made:
            for one in load.jobs:
                one.loaded = True
        self._open += made
        good = True
        for load in list(self._open):
            done = await self._send(load, can)
            if done is None:
                self._open.remove(load)
            good = good and done is None
        return await self.send() if self._fresh() else good

    def _fresh(self) -> list[Abroad]:
        return [one for one in self._roster.abroad.values() if one.phase == "waiting" and one.batch and not one.loaded]

    def _wait(self, jobs: Sequence[Abroad], why: str) -> bool:
        for one in jobs:
            if self._cluster.reachable:
                self._roster.tell_waiting(one, why)
        logger.warning("%d jobs wait to be submitted: %s", len(jobs), why)
        return False

    async def _bring_program(self) -> None:
        if time.monotonic() - self._program_seen < _PROGRAM_S and self._program_seen:
            return
        await self._make(carriers.program_of(self._lab, program(), self._settings))
        self._program_seen = time.monotonic()

    async def forget_program(self) -> None:
        """Nobody of this installation needs it any more."""
        self._program_seen = 0.0
        name = naming.program_name(self._lab, carriers.program_digest(program()))
        await self._api.delete("ConfigMap", name)

    # -- what goes together ----------------------------------------------------------------------------------

    def _loads(
        self, waiting: Sequence[Abroad], can: Capabilities
    ) -> tuple[list[Load], list[tuple[Abroad, PhyslabError]]]:
        """Loads, and which jobs can be in none and why. Blocking: inputs are read."""
        files: dict[str, dict[str, bytes]] = {}
        failed: list[tuple[Abroad, PhyslabError]] = []
        good: dict[str, list[Abroad]] = {}
        for one in waiting:
            try:
                manifests.check(one.job.spec, self._settings, can)
                files[one.job.id] = self._files.of(one)
                good.setdefault(one.batch, []).append(one)
            except PhyslabError as error:
                failed.append((one, error))
        groups: list[tuple[list[Abroad], bool]] = []
        for jobs in good.values():
            by_index = {one.job.index or 0: one for one in jobs}
            single: list[Abroad] = []
            for group in manifests.arrays([(n, one.job.spec) for n, one in by_index.items()], self._settings, can):
                members = [by_index[n] for n in group]
                if len(members) > 1:
                    groups.append((members, True))
                else:
                    single += members
            for secret in (False, True):
                some = [one for one in single if manifests.holds_secrets(one.job.spec, self._settings) is secret]
                groups += [(some[start : start + _TOGETHER], False) for start in range(0, len(some), _TOGETHER)]
        made: list[Load] = []
        while groups:
            jobs, array = groups.pop(0)
            secret = manifests.holds_secrets(jobs[0].job.spec, self._settings)
            load = Load(jobs, [files[one.job.id] for one in jobs], array=array and len(jobs) > 1, secret=secret)
            try:
                self._carriers(load)
                made.append(load)
            except PhyslabError as error:
                if len(jobs) == 1:
                    failed.append((jobs[0], error))
                else:
                    half = len(jobs) // 2
                    groups += [(jobs[:half], array), (jobs[half:], array)]
        return made, failed

    def _dispatch(self, load: Load) -> Dispatch:
        """By which the objects of a load are named: its one job's, or that of all together."""
        first = load.jobs[0]
        if len(load.jobs) == 1:
            return first.dispatch(self._lab)
        return Dispatch(lab=self._lab, submission=first.batch, indexes=tuple(one.job.index or 0 for one in load.jobs))

    def _carriers(self, load: Load) -> list[dict[str, Any]]:
        return carriers.files_of(self._dispatch(load), load.keyed(), self._settings, secret=load.secret)

    # -- on its way ------------------------------------------------------------------------------------------

    async def _send(self, load: Load, can: Capabilities) -> bool | None:
        """Make the Jobs of a load, then bring their files. None: nothing of it is left to do; False: it has to wait."""
        left = load.left(self._roster)
        if load.array and len(left) < len(load.jobs) and not load.touched and not load.owners:
            for one in left:  # one was cancelled meanwhile: made anew without it
                one.loaded = False
            return None
        if left:
            made = await anyio.to_thread.run_sync(self._carriers, load)
            bundle = Bundle(files=tuple(made), program=program())
            orders = self._orders(load, left, can, bundle)
            load.touched = True
            await asyncio.gather(*(self._order(load, jobs, body, can) for jobs, body in orders))
        try:
            if frozenset(load.owners) != load.brought:
                await self._bring_files(load)
        except (UnavailableError, RefusalError) as error:
            if isinstance(error, RefusalError) and not self._passing(error):
                await self._take_back(load, error)
                return None
            return self._wait(load.jobs, error.message)
        return False if load.left(self._roster) else None

    def _orders(
        self, load: Load, left: Sequence[Abroad], can: Capabilities, bundle: Bundle
    ) -> list[tuple[Sequence[Abroad], dict[str, Any]]]:
        if load.array:
            body = manifests.job(self._dispatch(load), load.jobs[0].job.spec, self._settings, can, bundle)
            return [(load.jobs, body)]
        return [
            ((one,), manifests.job(one.dispatch(self._lab), one.job.spec, self._settings, can, bundle)) for one in left
        ]

    async def _order(self, load: Load, jobs: Sequence[Abroad], body: dict[str, Any], can: Capabilities) -> None:
        """Make one Job."""
        for one in jobs:
            one.phase = "sending"
        try:
            answer = await self._make(body, strict=can.strict_fields)
        except UnavailableError as error:  # it may have been made: a cancel has to wait until that is known
            self._wait(jobs, error.message)
            return
        except RefusalError as refusal:
            if self._passing(refusal):
                for one in jobs:
                    one.phase = "waiting"
                    if one.cancelled:
                        self._roster.end(one, "cancelled")
                self._wait(jobs, refusal.message)
                return
            for one in jobs:
                self._roster.fail(one, refused(_rejected(refusal)))
            return
        if not can.strict_fields:
            self._cluster.dropped |= set(dropped_fields(_sent(body), _sent(answer)))
        load.owners[answer["metadata"]["uid"]] = answer["metadata"]
        for number, one in enumerate(jobs):
            one.found(self._settings.namespace, answer["metadata"], number if len(jobs) > 1 else None)
            self._roster.there(one)

    def _passing(self, refusal: RefusalError) -> bool:
        """Whether the same may be taken later."""
        return refusal.passing or _is_quota(refusal) or (refusal.code == 403 and self._cluster.settling)

    async def _make(self, body: dict[str, Any], *, strict: bool = False) -> dict[str, Any]:
        """Create an object, unless it is there already.

        Raises:
            RefusalError: the server refused it, or another one has that name.
            UnavailableError: it may have been made all the same; asked again, it is found.

        """
        try:
            return await self._api.create(body, {"fieldValidation": "Strict"} if strict else None)
        except RefusalError as refusal:
            if refusal.reason != "AlreadyExists":
                raise
            there = await self._api.get(place_of(body["kind"], self._settings.namespace, body["metadata"]["name"]))
            if there["metadata"].get("deletionTimestamp"):
                raise RefusalError(
                    409, "Conflict", f"{body['kind']} {body['metadata']['name']} is being deleted"
                ) from None
            if body["kind"] == "Job" and not naming.same_dispatch(body, there):
                raise RefusalError(422, "Invalid", f"another Job has the name {body['metadata']['name']}") from None
            return there

    async def _bring_files(self, load: Load) -> None:
        """What the pods wait for; it goes with the last of its Jobs."""
        wanted = frozenset(load.owners)
        named = [carriers.owner("Job", one["name"], one["uid"]) for one in load.owners.values()]
        for body in await anyio.to_thread.run_sync(self._carriers, load):
            await self._bring_file(body, named, there=bool(load.brought))
        load.brought = wanted
        for one in load.jobs:
            if one.phase == "there" and not one.told_placed:
                one.told_placed = True
                self._roster.tell(one.job, "placed", data={"native_id": one.native_id})

    async def _bring_file(self, body: dict[str, Any], owners: Sequence[dict[str, Any]], *, there: bool) -> None:
        """One object with these owners. One that is there may have gone with owners that are over already."""
        wanted = frozenset(one["uid"] for one in owners)
        if there:
            try:
                change = {"metadata": {"ownerReferences": owners}}
                await self._api.patch(body["kind"], body["metadata"]["name"], change)
                return
            except RefusalError as refusal:
                if refusal.code != 404:
                    raise
        answer = await self._make(carriers.owned(body, owners))
        if _owners_of(answer) != wanted:
            await self._bring_file(body, owners, there=True)

    async def _take_back(self, load: Load, refusal: RefusalError) -> None:
        """The Jobs are there and can never begin: they go, and their jobs have failed."""
        for metadata in load.owners.values():
            try:
                await self._api.delete("Job", metadata["name"], uid=metadata["uid"])
            except (UnavailableError, RefusalError) as failed:
                logger.warning("a Job without files stays for now: %s", failed.message)
        for one in load.jobs:
            if self._roster.of(one.job) is one:
                self._roster.fail(one, refused(_rejected(refusal)))


def _owners_of(body: Json) -> frozenset[str]:
    return frozenset(one["uid"] for one in body["metadata"].get("ownerReferences") or ())


def _is_quota(refusal: RefusalError) -> bool:
    return refusal.code == 403 and "exceeded quota" in refusal.message


def _rejected(refusal: RefusalError) -> RejectedError:
    remedy = "Mend the settings or the job."
    if refusal.code == 403:
        remedy = "Ask for this permission; `physlab doctor` lists those that are needed."
    return RejectedError(f"Kubernetes refused the job: {refusal.message}", got=refusal.code, remedy=remedy)


def _sent(body: Json) -> dict[str, Any]:
    """What of an object is ours: the server adds to its metadata."""
    return {key: value for key, value in body.items() if key not in (*_KEPT_APART, "kind", "apiVersion")}
