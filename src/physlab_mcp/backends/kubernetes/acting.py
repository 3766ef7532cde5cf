"""What is asked of the cluster besides new Jobs: to end, to hold, to release, and to forget what is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import anyio.to_thread

from physlab_mcp.backends.kubernetes import carriers, naming
from physlab_mcp.backends.kubernetes.abroad import Abroad
from physlab_mcp.backends.kubernetes.api import Api, RefusalError
from physlab_mcp.backends.kubernetes.cluster import Cluster
from physlab_mcp.backends.kubernetes.home import Home
from physlab_mcp.backends.kubernetes.roster import Roster
from physlab_mcp.backends.kubernetes.settings import KubernetesSettings
from physlab_mcp.backends.kubernetes.watching import Watching
from physlab_mcp.errors import UnavailableError

logger = logging.getLogger(__name__)


class Acting:
    """Says it. What the server did not hear is said again."""

    def __init__(self, api: Api, settings: KubernetesSettings, roster: Roster, watching: Watching, home: Home) -> None:
        self._api, self._settings, self._roster = api, settings, roster
        self._watching, self._home = watching, home
        self._todo: set[Abroad] = set()  # of whom something is asked
        self._over: dict[str, list[Abroad]] = {}  # Jobs that nobody needs, by uid, and who needed them
        self._stored: dict[str, list[Abroad]] = {}

    def ask(self, one: Abroad) -> None:
        """Something is asked of it: see `cancelled` and `wanted`."""
        self._todo.add(one)
        self._watching.look_at(one)

    def stored(self, one: Abroad) -> None:
        """Its end is in the store."""
        if one.uid:
            self._stored.setdefault(one.uid, []).append(one)
        if self._roster.let_go(one):
            self._over[one.uid] = self._stored.pop(one.uid)

    async def act(self) -> None:
        """Do what is asked for.

        Raises:
            RefusalError, UnavailableError: the server; the rest waits.

        """
        self._todo = {
            one for one in self._todo
            if self._roster.of(one.job) is one and ((one.cancelled and not one.deleted) or one.wanted)
        }  # fmt: skip
        there = [one for one in self._todo if one.phase == "there"]
        gone = [one for one in there if one.cancelled and not one.deleted]
        work = [self._end(uid, some) for uid, some in _by_job(gone).items()]
        work += [self._hold(one) for one in there if one.wanted and not one.cancelled]
        work += [self._forget(uid, some) for uid, some in list(self._over.items())]
        for failed in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(failed, BaseException):
                raise failed

    async def _end(self, uid: str, some: Sequence[Abroad]) -> None:
        """End dispatches of one Job: their pods get SIGTERM, and SIGKILL when their grace is over."""
        for one in some:
            one.deleted = True
        try:
            others = [
                one for one in self._roster.of_job.get(uid, ())
                if not one.cancelled and self._roster.of(one.job) is one
            ]  # fmt: skip
            if others:
                await self._revoke(some)
            else:
                await self._api.delete("Job", some[0].name, uid=uid, propagation="Foreground")
        except BaseException:
            for one in some:
                one.deleted = False
            raise
        for one in some:
            self._watching.look_at(one)

    async def _revoke(self, some: Sequence[Abroad]) -> None:
        """End elements of an Indexed Job: none of them begins from now on, and those that have begun are ended."""
        job = self._watching.jobs.objects.get(some[0].uid)
        dispatch = naming.dispatch_of(job["metadata"]) if job is not None else None
        elements = [one.index for one in some if one.index is not None]
        if job is None or dispatch is None:
            return
        body = carriers.revoked_of(dispatch, elements, self._settings)
        owner = carriers.owner("Job", some[0].name, some[0].uid)
        try:
            await self._api.create(carriers.owned(body, [owner]))
        except RefusalError as refusal:
            if refusal.reason != "AlreadyExists":
                raise
            await self._api.patch("ConfigMap", body["metadata"]["name"], {"data": body["data"]})
        for one in some:
            one.revoked = True
            self._watching.revoked[one.uid, one.index or 0] = not self._watching.pods_of(one)
            await self.end_pods(one)

    async def end_pods(self, one: Abroad) -> None:
        """Delete the pods of an element that is revoked."""
        for pod in self._watching.pods_of(one):
            metadata = pod["metadata"]
            over = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
            if not over and not metadata.get("deletionTimestamp"):
                await self._api.delete("Pod", metadata["name"], uid=metadata["uid"])

    async def _hold(self, one: Abroad) -> None:
        hold = one.wanted == "hold"
        if not hold and self._watching.pods_of(one):
            return  # the pod from before it was held would count as a failed one
        await self._api.patch("Job", one.name, {"metadata": {"uid": one.uid}, "spec": {"suspend": hold}})
        one.wanted = ""
        self._watching.look_at(one)

    async def _forget(self, uid: str, some: Sequence[Abroad]) -> None:
        await self._api.delete("Job", some[0].name, uid=uid)
        for key in [key for key in self._watching.revoked if key[0] == uid]:
            del self._watching.revoked[key]
        if self._over.pop(uid, None) is not None:
            for one in some:
                again = one.end in ("done", "lost") and not one.succeeded
                await anyio.to_thread.run_sync(lambda one=one, again=again: self._home.forget(one.job, again=again))

    async def delete_all(self) -> None:
        """End everything that is known, and wait for nothing."""
        some = {one.uid: one for one in (*self._roster.abroad.values(), *self._roster.ended.values()) if one.uid}
        some |= {uid: group[0] for uid, group in self._over.items()}
        work = [self._api.delete("Job", one.name, uid=uid) for uid, one in some.items()]
        for failed in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(failed, (RefusalError, UnavailableError)):
                logger.warning("a Job stays on the cluster: %s", failed.message)

    def pause(self, some: Sequence[Abroad], cluster: Cluster) -> dict[str, str]:
        """Hold those that wait; the others and why not."""
        refused: dict[str, str] = {}
        can = cluster.capabilities
        for one in some:
            if can is None or not can.suspend:
                refused[one.job.id] = "this server (before 1.24) cannot hold a Job"
            elif self._settings.kueue_queue:
                refused[one.job.id] = "Kueue decides when its Jobs start"
            elif one.told_started or (one.reading is not None and one.reading.began):
                refused[one.job.id] = "it runs on the cluster, and Kubernetes cannot freeze a pod"
            elif one.index is not None:
                refused[one.job.id] = "it is one element of an Indexed Job, which can only be held as a whole"
            else:
                one.wanted = "hold"
                self.ask(one)
        self._watching.stir.set()
        return refused


def _by_job(some: Sequence[Abroad]) -> dict[str, list[Abroad]]:
    found: dict[str, list[Abroad]] = {}
    for one in some:
        found.setdefault(one.uid, []).append(one)
    return found
