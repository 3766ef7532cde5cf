"""The objects of one kind as the server has them now: listed, then watched, listed anew where history was forgotten."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import anyio
import msgspec

from physlab_mcp.backends.kubernetes.api import Api, RefusalError, lines_of, place_of
from physlab_mcp.backends.kubernetes.settings import KubernetesSettings
from physlab_mcp.errors import UnavailableError

logger = logging.getLogger(__name__)
Object = dict[str, Any]
_PAGE = 500
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 10.0
_GONE = (410,)


class GoneError(Exception):
    """The server has forgotten the history from which a watch was to go on."""


class Mirror:
    """`objects` by uid. `changed(object, gone)` is called for each change, `trouble(why)` when the server's answer shows
    how it is: "" is well. `synced` is set while a whole list stands behind what is known.
    """

    def __init__(
        self, api: Api, settings: KubernetesSettings, kind: str, selector: str, *,
        changed: Callable[[Object, bool], None], trouble: Callable[[str], None], listed: Callable[[], None],
    ) -> None:  # fmt: skip
        self._api, self._settings, self._kind, self._selector = api, settings, kind, selector
        self._changed, self._trouble, self._listed = changed, trouble, listed
        self.objects: dict[str, Object] = {}
        self.synced = asyncio.Event()
        self._version = ""
        self._unwatchable = self._flowing = False
        self.fresh = 0.0  # monotonic: everything that was made before is known
        self.lists = self.watches = 0

    async def run(self) -> None:
        """Go on until cancelled."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                if not self._version:
                    await self._list()
                pause_s = _FIRST_PAUSE_S
                await self._watch()
                continue
            except GoneError:
                self._version = ""
                continue
            except RefusalError as refusal:
                self._refused(refusal)
                why = f"{self._kind}s cannot be watched: {refusal.message}"
            except UnavailableError as error:
                cut, self._flowing = self._flowing, False
                if cut:  # trouble only if it cannot be taken up again
                    continue
                why = error.message
            except Exception as error:
                logger.exception("a watch of %ss failed", self._kind)
                why = f"{type(error).__name__}: {error}"
            self._trouble(why)
            self.synced.clear()
            await anyio.sleep(pause_s)
            pause_s = min(_LAST_PAUSE_S, pause_s * 2)

    def _refused(self, refusal: RefusalError) -> None:
        self._version = ""
        if refusal.code == 403 and "watch" in refusal.message:
            self._unwatchable = True  # it may list, and is asked again and again

    async def _list(self) -> None:
        """All objects of a moment, in pages.

        Raises:
            GoneError: that moment was forgotten between two pages.

        """
        self.lists += 1
        began = time.monotonic()
        path, query = place_of(self._kind, self._settings.namespace), {"labelSelector": self._selector, "limit": _PAGE}
        found: dict[str, Object] = {}
        while True:
            try:
                page = await self._api.get(path, query)
            except RefusalError as refusal:
                if refusal.code in _GONE:
                    raise GoneError from refusal
                raise
            for one in page.get("items") or ():
                found[one["metadata"]["uid"]] = _trimmed(one)
            after = page["metadata"].get("continue")
            if not after:
                break
            query = {**query, "continue": after}
        gone = [one for uid, one in self.objects.items() if uid not in found]
        self.objects = found
        self._version, self.fresh = page["metadata"]["resourceVersion"], began
        for one in gone:
            self._changed(one, True)
        for one in found.values():
            self._changed(one, False)
        self._trouble("")
        self.synced.set()
        self._listed()

    async def _watch(self) -> None:
        """Changes since the last version, until the server ends the watch.

        Raises:
            GoneError: it is too old.

        """
        if self._unwatchable:
            await anyio.sleep(self._settings.poll_s)
            raise GoneError
        self.watches += 1
        wait_s = self._settings.watch_s
        query = {"labelSelector": self._selector, "watch": "true", "allowWatchBookmarks": "true",
                 "resourceVersion": self._version, "timeoutSeconds": wait_s}  # fmt: skip
        path, began = place_of(self._kind, self._settings.namespace), time.monotonic()
        try:
            async with self._api.stream(path, query, silent_s=wait_s + 15.0) as chunks:
                self._flowing = True
                self._trouble("")
                self.synced.set()
                async for line in lines_of(chunks):
                    self._take(msgspec.json.decode(line))
        except RefusalError as refusal:
            if refusal.code in _GONE:
                raise GoneError from refusal
            raise
        except (msgspec.DecodeError, ValueError) as error:  # the connection was cut within a line
            raise UnavailableError(f"The watch of {self._kind}s was cut off.") from error
        self._flowing = False
        if time.monotonic() - began < 1.0:
            await anyio.sleep(_FIRST_PAUSE_S)  # a server that ends each watch at once is not asked without end

    def _take(self, event: Any) -> None:
        sort, one = event["type"], event["object"]
        if sort == "ERROR":
            if one.get("code") in _GONE:
                raise GoneError
            raise RefusalError(int(one.get("code") or 0), str(one.get("reason")), str(one.get("message")))
        self._version = one["metadata"]["resourceVersion"]
        if sort == "BOOKMARK":
            return
        uid = one["metadata"]["uid"]
        if sort == "DELETED":
            self.objects.pop(uid, None)
        else:
            self.objects[uid] = _trimmed(one)
        self._changed(one, sort == "DELETED")

    def behind(self) -> None:
        """What is known may be old: list anew at the next turn."""
        self._version = ""


def _trimmed(one: Object) -> Object:
    """An object without what nobody here reads and what is most of it."""
    one["metadata"].pop("managedFields", None)
    spec = one.get("spec") or {}
    if "containers" in spec:
        held = [{"name": each.get("name"), "resources": each.get("resources")} for each in spec["containers"]]
        one["spec"] = {"nodeName": spec.get("nodeName"), "containers": held}
    return one
