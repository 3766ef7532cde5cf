"""Jobs that an earlier engine dispatched: what of them is on the cluster, and what can never begin."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from physlab_mcp.backends.kubernetes import naming
from physlab_mcp.backends.kubernetes.abroad import Abroad
from physlab_mcp.backends.kubernetes.api import Api, RefusalError, place_of
from physlab_mcp.backends.kubernetes.mirror import Object
from physlab_mcp.backends.kubernetes.roster import Roster
from physlab_mcp.backends.kubernetes.settings import KubernetesSettings
from physlab_mcp.backends.kubernetes.watching import Watching

logger = logging.getLogger(__name__)


class Recognising:
    """Finds them by their names. `adopted` are those to be found; `complete`: the roster holds all that is not over."""

    def __init__(self, api: Api, settings: KubernetesSettings, roster: Roster, watching: Watching) -> None:
        self._api, self._settings, self._roster, self._watching = api, settings, roster, watching
        self.adopted: set[Abroad] = set()
        self.complete = False
        self._leaving: set[Abroad] = set()
        self._first: set[str] | None = None  # Jobs that were there before this engine made any
        self._dropped: set[tuple[str, int]] = set()

    async def recognise(self) -> None:
        """Find those that were adopted.

        Raises:
            RefusalError, UnavailableError: the server; they stay as they are.

        """
        jobs = self._watching.jobs.objects
        if self._first is None:
            self._first = set(jobs)
        if self.adopted:
            there = _by_dispatch(jobs)
            for one in list(self.adopted):
                if self._roster.of(one.job) is one:
                    await self._find(one, there)
                self.adopted.discard(one)
        for one in [one for one in self._leaving if one.uid not in jobs]:
            self._leaving.discard(one)
            self._drop(one)
        await self._sweep()

    async def _find(self, one: Abroad, there: Mapping[tuple[str, int, int, str], tuple[Object, int | None]]) -> None:
        job = one.job
        known = naming.parse_native_id(job.native_id)
        found = there.get((job.id, job.attempt, job.fence, "")) or there.get(("", job.index or 0, 0, one.batch))
        if found is None and known is not None and known.uid:
            # It was there once: whoever deleted it, it may have run.
            one.found(known.namespace, {"name": known.name, "uid": known.uid}, known.index)
            one.seen = True
        elif found is None:
            self._drop(one)
            return
        else:
            body, index = found
            one.found(self._settings.namespace, body["metadata"], index)
            if known is None and not await self._whole(body):
                await self._api.delete("Job", one.name, uid=one.uid, propagation="Foreground")
                one.phase = "leaving"
                self._leaving.add(one)
                return
            if known is None:
                self._roster.tell(job, "placed", data={"native_id": one.native_id})
        one.told_placed = one.seen = True
        self._roster.there(one)
        self._watching.look_at(one)

    def _drop(self, one: Abroad) -> None:
        self._dropped.add((one.job.id, one.job.fence))
        self._roster.end(one, "cancelled" if one.cancelled else "dropped")

    async def _whole(self, body: Object) -> bool:
        """Whether what brings the files of a Job is there; without it no pod of it ever began."""
        volumes = body["spec"]["template"]["spec"].get("volumes") or ()
        files = next((one for one in volumes if one["name"] == "physlab-files"), {})
        for source in files.get("projected", {}).get("sources") or ():
            kind = "Secret" if "secret" in source else "ConfigMap"
            told = source.get("secret") or source.get("configMap") or {}
            if told.get("optional"):
                continue
            try:
                await self._api.get(place_of(kind, self._settings.namespace, told["name"]))
            except RefusalError as refusal:
                if refusal.code == 404:
                    return False
                raise
        return True

    async def _sweep(self) -> None:
        """Delete what earlier engines left and nobody waits for, and what appears late of what was dropped."""
        if not self.complete or self._first is None:
            return
        jobs, strangers = self._watching.jobs.objects, self._watching.strangers
        kept = {one.uid for one in self._leaving}
        for uid in list(strangers):
            body = jobs.get(uid)
            dispatch = naming.dispatch_of(body["metadata"]) if body is not None else None
            if body is None or dispatch is None or uid in self._roster.of_job or uid in kept:
                strangers.discard(uid)
                continue
            left = uid in self._first or (dispatch.job_id, dispatch.fence) in self._dropped
            if left and not body["metadata"].get("deletionTimestamp"):
                logger.info("the Job %s is left over, and is deleted", body["metadata"]["name"])
                await self._api.delete("Job", body["metadata"]["name"], uid=uid)
                strangers.discard(uid)


def _by_dispatch(jobs: Mapping[str, Object]) -> dict[tuple[str, int, int, str], tuple[Object, int | None]]:
    """Jobs by what they were made for: (job, attempt, fence, ""), or ("", index, 0, submission) for each element."""
    found: dict[tuple[str, int, int, str], tuple[Object, int | None]] = {}
    for body in jobs.values():
        metadata: dict[str, Any] = body["metadata"]
        dispatch = naming.dispatch_of(metadata)
        if dispatch is None:
            continue
        if dispatch.job_id:
            found[dispatch.job_id, dispatch.attempt, dispatch.fence, ""] = (body, None)
        for number, index in enumerate(dispatch.indexes):
            found["", index, 0, dispatch.submission] = (body, number)
    return found
