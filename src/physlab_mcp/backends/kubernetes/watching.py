"""From what the server tells of Jobs and pods, and what the pods say, to what is told of our jobs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from typing import Any

import msgspec

from physlab_mcp.backends.kubernetes import naming, status
from physlab_mcp.backends.kubernetes.abroad import Abroad
from physlab_mcp.backends.kubernetes.api import RefusalError, place_of
from physlab_mcp.backends.kubernetes.cluster import Cluster
from physlab_mcp.backends.kubernetes.following import Reading
from physlab_mcp.backends.kubernetes.frames import Frame
from physlab_mcp.backends.kubernetes.home import Home
from physlab_mcp.backends.kubernetes.mirror import Mirror, Object
from physlab_mcp.backends.kubernetes.pods import CONTAINER
from physlab_mcp.backends.kubernetes.ranges import Ranges, parse_ranges
from physlab_mcp.backends.kubernetes.roster import Roster
from physlab_mcp.backends.kubernetes.said import tell_frame
from physlab_mcp.backends.kubernetes.settings import KubernetesSettings
from physlab_mcp.backends.kubernetes.status import Sight
from physlab_mcp.errors import PhyslabError, UnavailableError
from physlab_mcp.schemas.result import Failure

logger = logging.getLogger(__name__)
_EVENTS_AFTER_S, _EVENTS_EVERY_S, _EVENTS_AT_ONCE = 5.0, 30.0, 8
_DULL = ("its container is being made", "it waits for a node", "it waits for its pod")  # until it takes long
_RETRY_S = 5.0  # between two tries to keep a result


class Watching:
    """Looks at what changed, and tells the roster. `stir` is called when there is something to look at."""

    def __init__(self, cluster: Cluster, settings: KubernetesSettings, roster: Roster, home: Home, lab: str) -> None:
        self._cluster, self._settings, self._roster, self._home = cluster, settings, roster, home
        self._namespace = settings.namespace
        self.stir = asyncio.Event()
        self._dirty: set[Abroad] = set()
        self._timed: set[Abroad] = set()  # what may change by time alone
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(settings.logs_at_once)
        selector = naming.selector(lab, kind="job")
        self.jobs = self._mirror("Job", selector)
        self.pods = self._mirror("Pod", selector)
        self._pods_of: dict[tuple[str, int | None], set[str]] = {}
        self._told_of: dict[
            str, tuple[Any, tuple[Ranges, ...]]
        ] = {}  # what a Job said last of itself, and of its elements
        self.strangers: set[str] = set()  # uids of Jobs that nobody here has
        self.revoked: dict[tuple[str, int], bool] = {}  # elements whose pods end; whether one may still appear

    def _mirror(self, kind: str, selector: str) -> Mirror:
        changed = self._job_changed if kind == "Job" else self._pod_changed
        return Mirror(
            self._cluster.api, self._settings, kind, selector, changed=changed, listed=self.look_at_all,
            trouble=lambda why: self._cluster.note(kind, why),
        )  # fmt: skip

    @property
    def synced(self) -> bool:
        """Whether it is known what the server has."""
        return self.jobs.synced.is_set() and self.pods.synced.is_set()

    # -- what changed ----------------------------------------------------------------------------------------

    def look_at(self, one: Abroad) -> None:
        """Something of it changed."""
        self._dirty.add(one)
        self.stir.set()

    def look_at_timed(self) -> None:
        """Time has passed: a patience may be over."""
        timed, self._timed = self._timed, set()
        self._dirty |= timed
        self.stir.set()

    def look_at_all(self) -> None:
        """Anything may have changed."""
        self._dirty |= set(self._roster.abroad.values())
        self.stir.set()

    def _job_changed(self, job: Object, gone: bool) -> None:
        uid = job["metadata"]["uid"]
        some = self._roster.of_job.get(uid)
        if some is None:
            self.strangers.add(uid)
            self.stir.set()
            return
        status = job.get("status") or {}
        key = (status.get("conditions"), job["spec"].get("suspend"), job["metadata"].get("deletionTimestamp"), gone)
        ended = tuple(parse_ranges(str(status.get(word) or "")) for word in ("completedIndexes", "failedIndexes"))
        before, known = self._told_of.get(uid, (None, (Ranges(), Ranges())))
        self._told_of[uid] = (key, ended)
        if gone:
            del self._told_of[uid]
        for one in some:
            one.seen = True
            # Of an Indexed Job each look at all elements costs, and it changes with each of them.
            at = one.index
            if at is None or key != before or [at in two for two in ended] != [at in two for two in known]:
                self.look_at(one)

    def _pod_changed(self, pod: Object, gone: bool) -> None:
        metadata = pod["metadata"]
        uid = next((one["uid"] for one in metadata.get("ownerReferences") or () if one.get("kind") == "Job"), "")
        index = naming.element_index(metadata)
        mine = self._pods_of.setdefault((uid, index), set())
        if gone:
            mine.discard(metadata["uid"])
            if not mine:
                del self._pods_of[uid, index]
        else:
            mine.add(metadata["uid"])
        if not gone and index is not None and self.revoked.get((uid, index)) and not _over(pod):
            self.revoked[uid, index] = False  # it was made before the mark was there; the next one sees that
            self.later(self._delete(metadata["name"], metadata["uid"]))
        one = self._roster.element(uid, index)
        if one is not None:
            if gone and one.reading is not None and one.reading.pod == metadata["uid"]:
                one.reading.finish()
            self.look_at(one)

    async def _delete(self, pod: str, uid: str) -> None:
        try:
            await self._cluster.api.delete("Pod", pod, uid=uid)
        except (RefusalError, UnavailableError) as error:
            logger.warning("the pod %s of a cancelled job stays for now: %s", pod, error)

    def pods_of(self, one: Abroad) -> list[Object]:
        """The pods of its Job, of its own element."""
        uids = self._pods_of.get((one.uid, one.index), ())
        return [self.pods.objects[uid] for uid in uids if uid in self.pods.objects]

    # -- the look --------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Tell what is new of all that changed."""
        if not self.synced:
            return
        dirty, self._dirty = self._dirty, set()
        for one in dirty:
            if one.phase == "there" and not one.ending and self._roster.of(one.job) is one:
                try:
                    self._look_at(one)
                except Exception:
                    logger.exception("a look at %s failed", one.job.id)

    def sight(self, one: Abroad, pods: Sequence[Object]) -> Sight | None:
        """What became of it; None while that cannot be known."""
        job = self.jobs.objects.get(one.uid)
        if job is None and not one.seen and self.jobs.fresh <= one.made:
            return None  # it was made just now
        one.seen = one.seen or job is not None
        return status.sight(
            job, pods, now=time.time(), patience_s=self._settings.start_patience_s,
            silence_s=self._settings.silence_s, index=one.index, events=one.events,
            asked_to_end=one.cancelled,
        )  # fmt: skip

    def _look_at(self, one: Abroad) -> None:
        pods = self.pods_of(one)
        sight = self.sight(one, pods)
        if sight is None:
            return
        if sight.kind == "waiting":
            self._timed.add(one)
        pod = next((pod for pod in pods if pod["metadata"]["name"] == sight.pod), None)
        self._requeued(one, pod)
        self._read(one, pod)
        reading = one.reading
        if reading is not None and reading.began:
            self._resumed(one)
            self._roster.tell_started(one, reading.began)
        if reading is not None and reading.end is not None and reading.end.get("way") != "none":
            one.ending = True
            self.later(self._bring(one, reading))
            return
        if one.revoked and all(_over(pod) for pod in pods):
            self._roster.end(one, "cancelled")
            return
        self._stand(one, sight)
        if one.cancelled and sight.kind == "lost":
            sight = msgspec.structs.replace(sight, kind="cancelled", failure=None)
        if sight.kind in ("done", "lost", "cancelled"):
            self._conclude(one, sight, reading)

    def _stand(self, one: Abroad, sight: Sight) -> None:
        if sight.kind == "paused" and not one.told_paused:
            one.told_paused, one.wanted = True, ""
            self._roster.tell(one.job, "paused")
        elif sight.kind in ("waiting", "started") and one.told_paused and one.wanted != "release":
            self._resumed(one)
        if sight.kind == "started":
            self._roster.tell_started(one, sight.started_at or time.time())
        elif sight.kind == "waiting" and not one.told_started and not one.cancelled:
            dull = sight.text.startswith(_DULL)
            if not dull or time.monotonic() - one.made > _EVENTS_AFTER_S:
                self._roster.tell_waiting(one, sight.text)

    def _requeued(self, one: Abroad, pod: Object | None) -> None:
        """Kubernetes itself has made another pod for it."""
        if pod is None or one.reading is None or not one.told_started:
            return
        if one.reading.pod != pod["metadata"]["uid"]:
            one.reading.close()
            one.reading, one.told_started = None, False
            one.told = one.quiet = 0  # it tells anew
            self._roster.tell_waiting(one, "its pod was gone, and Kubernetes has made another one")

    def _resumed(self, one: Abroad) -> None:
        if one.told_paused:
            one.told_paused, one.wanted = False, ""
            self._roster.tell(one.job, "resumed")

    def _read(self, one: Abroad, pod: Object | None) -> None:
        """Follow the log of its pod, from when its container runs."""
        if pod is None:
            if one.reading is not None:
                one.reading.finish()
            return
        state = _state(pod)
        if not ("running" in state or "terminated" in state):
            return
        if one.reading is None or one.reading.pod != pod["metadata"]["uid"]:
            if one.reading is not None:
                one.reading.close()
                one.told = one.quiet = 0
            one.reading = Reading(
                self._cluster.api, self._namespace, pod, self._home.attempt(one.job), room=self._room,
                frame=lambda frame: self._said(one, frame), changed=lambda: self.look_at(one),
            )  # fmt: skip
        if "terminated" in state or _over(pod):
            one.reading.finish()

    def _said(self, one: Abroad, frame: Frame) -> None:
        if self._roster.of(one.job) is one:
            self._roster.tell_started(one, one.reading.began if one.reading else time.time())
            tell_frame(self._roster, one, frame)

    # -- ends ------------------------------------------------------------------------------------------------

    def _conclude(self, one: Abroad, sight: Sight, reading: Reading | None) -> None:
        """Its end without a result, once its log is read as far as there is one."""
        if reading is None and not sight.pods and sight.failure is None and not (one.looked_for or one.cancelled):
            one.looked_for = one.looking = True  # the watch of pods may be behind that of Jobs
            self.later(self._look_for(one))
            return
        if reading is None and not sight.pods and one.looking:
            return
        if reading is not None and not reading.over:
            reading.finish()
            if sight.kind != "lost" or one.told_started:
                return
        fields: dict[str, Any] = {"failure": sight.failure} if sight.failure else {}
        if sight.kind == "done" and sight.failure is None:
            if reading is not None and reading.end is not None:  # revoked
                self._roster.end(one, "cancelled")
                return
            stray = reading.frames.stray.decode("utf-8", "replace").strip()[-1000:] if reading is not None else ""
            said = f" It said: {stray}" if stray else ""
            fields["failure"] = Failure(
                code="error", message=f"The pod ended, and its log holds no result ({sight.text}).{said}",
                remedy="Its log was gone before it was read: set backends.kubernetes.results_volume, or look why the pod went.",
            )  # fmt: skip
        elif sight.failure is not None and reading is not None and reading.frames.stray:
            stray = reading.frames.stray.decode("utf-8", "replace").strip()[-1000:]
            message = f"{sight.failure.message} It said: {stray}"
            fields["failure"] = msgspec.structs.replace(sight.failure, message=message)
        if sight.kind == "done":
            self._roster.tell_started(one, sight.started_at or time.time())
        self._roster.end(one, sight.kind, **fields)

    async def _look_for(self, one: Abroad) -> None:
        """Ask for the pods of a Job whose end is known and of which no pod is."""
        try:
            page = await self._cluster.api.get(
                place_of("Pod", self._namespace), {"labelSelector": f"job-name={one.name}"}
            )
        except (RefusalError, UnavailableError):
            await asyncio.sleep(_RETRY_S)
            one.looked_for = False
        else:
            for pod in page.get("items") or ():
                self.pods.objects.setdefault(pod["metadata"]["uid"], pod)
                self._pod_changed(pod, False)
        one.looking = False
        self.look_at(one)

    async def _bring(self, one: Abroad, reading: Reading) -> None:
        """Its result."""
        try:
            answer = await self._home.result(one, reading.end or {}, missing=reading.frames.missing)
        except PhyslabError as error:
            logger.warning("the result of %s waits: %s", one.job.id, error.message)
            await asyncio.sleep(_RETRY_S)
            one.ending = False
            self.look_at(one)
            return
        except Exception as error:
            logger.exception("%s left what cannot be read", one.job.id)
            text = f"What it left cannot be read: {type(error).__name__}: {error}."
            answer = Failure(code="error", message=text, retryable=False)
        self._resumed(one)
        self._roster.tell_started(one, reading.began or time.time())
        if answer is None or (isinstance(answer, Failure) and answer.code == "cancelled"):
            self._roster.end(one, "cancelled" if one.cancelled else "lost")
        elif isinstance(answer, Failure):
            self._roster.end(one, "done", failure=answer, started_at=reading.began)
        else:
            self._roster.end(one, "done", result=msgspec.json.encode(answer), started_at=reading.began)

    # -- why it waits ----------------------------------------------------------------------------------------

    async def ask_events(self) -> None:
        """The warnings about jobs that wait for long without a word: FailedMount, FailedCreate."""
        now = time.monotonic()
        some = [
            one for one in self._roster.abroad.values()
            if one.phase == "there" and not one.told_started and not one.told_paused
            and now - one.made > _EVENTS_AFTER_S and now - one.asked_events > _EVENTS_EVERY_S
        ]  # fmt: skip
        for one in some[:_EVENTS_AT_ONCE]:
            one.asked_events = now
            uids = [one.uid, *(pod["metadata"]["uid"] for pod in self.pods_of(one))]
            found: list[Any] = []
            try:
                for uid in uids[:2]:
                    query = {"fieldSelector": f"involvedObject.uid={uid}", "limit": 50}
                    page = await self._cluster.api.get(place_of("Event", self._namespace), query)
                    found += page.get("items") or ()
            except (RefusalError, UnavailableError) as error:
                logger.debug("events cannot be asked for: %s", error)
                return
            one.events = found
            self.look_at(one)

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside the look."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Stop what goes on beside the look."""
        for task in self._tasks:
            task.cancel()
        for one in self._roster.abroad.values():
            if one.reading is not None:
                one.reading.close()


def _state(pod: Object) -> dict[str, Any]:
    """The state of our container."""
    told = (pod.get("status") or {}).get("containerStatuses") or ()
    ours = next((one for one in told if one.get("name") == CONTAINER), None)
    return (ours or {}).get("state") or {}


def _over(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
