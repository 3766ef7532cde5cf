"""Follows the log of a pod: what it prints lands in this machine's job folder as it comes; cut off, it goes on."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio

from physlab_mcp.backends.kubernetes.api import Api, RefusalError, lines_of, place_of
from physlab_mcp.backends.kubernetes.frames import STREAMS, Ears, Frame, Frames
from physlab_mcp.backends.kubernetes.pods import CONTAINER
from physlab_mcp.errors import UnavailableError

logger = logging.getLogger(__name__)
ARCHIVE = "results.tar.gz"
LINE_BYTES = 16_384
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 10.0
_SILENT_S = 300.0
_TRIES = 4  # at the log of a pod that has ended
_DEAD_S = 5.0
_MARGIN_S = 10  # read again after a cut


class Reading:
    """One pod's log on its way into `place`, the attempt's folder here.

    `changed` is called when something is new; `frame` for events and for what is printed. `over`: no more is to be had;
    `end` is what the pod said last, `began` when it began.
    """

    def __init__(
        self, api: Api, namespace: str, pod: Mapping[str, Any], place: Path, *, room: asyncio.Semaphore,
        frame: Callable[[Frame], None], changed: Callable[[], None],
    ) -> None:  # fmt: skip
        self._api, self._room = api, room
        self._path = place_of("Pod", namespace, pod["metadata"]["name"], "log")
        self.pod = str(pod["metadata"]["uid"])
        self.place = place
        self._frame, self._changed = frame, changed
        self.frames = Frames()
        self.ears = Ears()
        self.end: dict[str, Any] | None = None
        self.began = 0.0
        self.over = False
        self.last = False  # the pod has ended: what is there now is all there will be
        self._heard = 0.0  # monotonic
        self._ends: dict[str, int] = {}  # how long each file is here
        self._whole = True  # the log is read from its start
        self._hurry = asyncio.Event()
        self._scope: anyio.CancelScope | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        """Stop reading."""
        self._task.cancel()

    def finish(self) -> None:
        """The pod has ended: a connection that goes on all the same is a dead one."""
        if not self.last:
            self.last = True
            self._hurry.set()
            if self._scope is not None:
                self._scope.deadline = anyio.current_time() + _DEAD_S

    def renew(self) -> None:
        """The server was away: a connection from before may be a dead one that nobody has told."""
        if self._scope is not None:
            self._scope.cancel()

    async def _run(self) -> None:
        try:
            await anyio.to_thread.run_sync(self._prepare)
            await self._follow()
        except Exception:
            logger.exception("the log %s cannot be read", self._path)
        self.over = True
        self._changed()

    def _prepare(self) -> None:
        """The folder; what another pod of this attempt had printed goes."""
        self.place.mkdir(parents=True, exist_ok=True, mode=0o700)
        mark = self.place / "pod"
        try:
            same = mark.read_text() == self.pod
        except FileNotFoundError:
            same = False
        if not same:
            for name in (*STREAMS.values(), ARCHIVE):
                (self.place / name).unlink(missing_ok=True)
            mark.write_text(self.pod)

    async def _follow(self) -> None:
        pause_s, tries = _FIRST_PAUSE_S, 0
        while self.end is None:
            final, whole, before = self.last, self._whole, self.frames.next
            try:
                async with self._room:
                    await self._read(final)
            except LookupError:  # too little of it was read again
                self._whole = True
                continue
            except RefusalError as refusal:
                if refusal.code == 404:
                    return
                tries += final and refusal.code != 429
            except UnavailableError as error:
                logger.debug("%s", error.message)
            else:
                if final and self.end is None:
                    if whole:
                        return
                    self._whole = True
                    continue
            if tries >= _TRIES:
                return
            if self.frames.next > before:
                pause_s = _FIRST_PAUSE_S
            with anyio.move_on_after(pause_s):
                await (asyncio.Event() if final else self._hurry).wait()
            hurried = self.last and not final
            pause_s = _FIRST_PAUSE_S if hurried else min(_LAST_PAUSE_S, pause_s * 2)

    async def _read(self, final: bool) -> None:
        """One connection, to its end.

        Raises:
            LookupError: lines are missing between what was read before and this.
            RefusalError, UnavailableError: see Api.

        """
        query: dict[str, Any] = {"container": CONTAINER}
        if not final:
            query["follow"] = "true"
        if not self._whole:
            query["sinceSeconds"] = int(time.monotonic() - self._heard) + _MARGIN_S
        whole, self._whole = self._whole, False
        with anyio.CancelScope() as scope:
            self._scope = None if final else scope
            async with self._api.stream(self._path, query, silent_s=_SILENT_S) as chunks:
                async for line in lines_of(chunks):
                    frame = self.frames.read(line, skip=whole)
                    if frame is not None:
                        self._heard = time.monotonic()
                        self._take(frame)

    def _take(self, frame: Frame) -> None:
        name = ARCHIVE if frame.kind == "file" else STREAMS.get(frame.kind)
        if name is not None and frame.at <= self._ends.get(name, 0) + self.frames.missing * LINE_BYTES:
            self._ends[name] = max(self._ends.get(name, 0), frame.at + len(frame.data))
            fd = os.open(self.place / name, os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
            try:
                os.pwrite(fd, frame.data, frame.at)
            finally:
                os.close(fd)
        if frame.kind == "begin":
            at = frame.body.get("at")
            self.began = float(at) if isinstance(at, int | float) else time.time()
            self._changed()
        elif frame.kind == "end":
            self.end = frame.body
            self._changed()
        elif frame.kind != "file":
            self._frame(frame)
