"""The environment of node calls on a cluster: an interpreter that is there, or one that is made there once (`bootstrap: uv`)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import platform
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec

import physlab_mcp
from physlab_mcp.backends.hosts.host import Host
from physlab_mcp.backends.slurm import environment_maker, wheels
from physlab_mcp.backends.slurm.interpreters import (
    Interpreter,
    as_a_job,
    ask,
    asked,
    mismatch,
    new_mark,
    other_packages,
    own_sources,
    text_of,
    told_after,
    too_old,
)
from physlab_mcp.backends.slurm.settings import SlurmSettings
from physlab_mcp.backends.slurm.wheels import Wheel
from physlab_mcp.errors import PhyslabError, RejectedError, UnavailableError
from physlab_mcp.schemas.job import JobSpec

logger = logging.getLogger(__name__)
_MAKE_S = 3600.0
_LEARN_S = 600.0
_SOON_S = 2.0  # how long `ready` waits for what is nearly there
_REFUSED_S = 60.0  # what cannot be made is not tried again sooner
_NETWORK = ("error sending request", "dns error", "failed to lookup", "Connection", "timed out", "Failed to fetch",
            "client error")  # fmt: skip


class Recipe(msgspec.Struct, frozen=True):
    """Everything that an environment is made from. Equal recipes are one environment."""

    lock: str
    wheel: Wheel
    house: tuple[Path, ...]
    key: str


class NodePython:
    """What runs node calls. `known` is the interpreter that was learnt or made; None until then."""

    def __init__(self, host: Host, settings: SlurmSettings, *, refused_s: float = _REFUSED_S) -> None:
        self._refused_s = refused_s
        self._host = host
        self._settings = settings
        self.known: Interpreter | None = None
        self.base: Interpreter | None = None  # from which an environment is made
        self._task: asyncio.Task[Interpreter] | None = None
        self._glance: asyncio.Task[None] | None = None
        self._stale = False  # what is known was refused, so it is asked again
        self._refused: tuple[float, PhyslabError] | None = None

    @property
    def made_by_us(self) -> bool:
        """Whether the environment is ours to make."""
        return self._settings.bootstrap == "uv"

    def in_image(self, spec: JobSpec) -> bool:
        """Whether a job runs in a container, with the interpreter that is in there."""
        return bool(spec.image or self._settings.image)

    # -- refusals: nothing is asked -------------------------------------------------------------------------------

    def check(self, spec: JobSpec) -> None:
        """Refuse a node call whose interpreter is known to be another physlab. Commands need none.

        Raises:
            RejectedError: naming both versions.

        """
        if spec.node is None or self.in_image(spec):
            return
        why: RejectedError | None = None
        if self.made_by_us:
            why = too_old(self.base, self._settings.python, self._host.name) if self.base else None
        elif self.known is not None:
            why = mismatch(self.known, self._settings.python, self._host.name)
        if why is not None:
            raise why

    def check_code(self, spec: JobSpec, code: str) -> None:
        """Refuse a node call that would compute with other versions of packages than its result's name says.

        Raises:
            RejectedError: naming the packages and both versions.

        """
        if spec.node is None or self.in_image(spec) or self.known is None:
            return
        why = other_packages(self.known, code, spec.node.type, self._host.name)
        if why is not None:
            raise why

    def path_for(self, spec: JobSpec) -> str:
        """The interpreter with which a node call is run."""
        if not self.made_by_us or self.in_image(spec) or self.known is None:
            return self._settings.python
        return self.known.executable

    # -- asking and making ----------------------------------------------------------------------------------------

    async def learn(self) -> Interpreter | None:
        """Ask what is there now, and make nothing; None where the environment is still to be made.

        Raises:
            UnavailableError: nothing can be asked.
            RejectedError: no environment can be made as things are here.

        """
        found = await ask(self._host, self._settings, self._settings.python)
        if not self.made_by_us:
            self.known = found
            return found
        self.base = found
        if too_old(found, self._settings.python, self._host.name) is not None:
            return None
        recipe = await anyio.to_thread.run_sync(self._recipe)
        folder = self._folder(recipe, found)
        (data,) = await self._host.read_many([(f"{folder}/{environment_maker.WHOLE}", 0, 1 << 22)])
        python = f"{folder}/venv/bin/python"
        self.known = None if data is None else await ask(self._host, self._settings, python)
        return self.known

    async def ready(self) -> Interpreter | None:
        """The interpreter of node calls; None while it is being asked or made, which goes on.

        Raises:
            RejectedError: it runs another physlab, or cannot be made.
            UnavailableError: not now.

        """
        if self._refused is not None and time.monotonic() - self._refused[0] < self._refused_s:
            raise self._refused[1]
        if self.known is not None and await anyio.to_thread.run_sync(own_sources) != self.known.sources_here:
            self._stale = True  # this physlab was changed
        if self.known is None or self._stale:
            if self._task is None:
                self._task = asyncio.get_running_loop().create_task(self._have())
            done, _ = await asyncio.wait({self._task}, timeout=_SOON_S)
            if not done:
                return None
            task, self._task = self._task, None
            self.known, self._stale = self._result(task), False
        if not self.made_by_us:
            why = mismatch(self.known, self._settings.python, self._host.name)
            if why is not None:  # it may be mended meanwhile
                self._refused, self._stale = (time.monotonic(), why), True
                raise why
        return self.known

    def _result(self, task: asyncio.Task[Interpreter]) -> Interpreter:
        try:
            return task.result()
        except RejectedError as error:
            self._refused = (time.monotonic(), error)
            raise

    async def learning(self) -> None:
        """Ask now and then, so that `check` knows of what was mended or changed there."""
        while True:
            await self._learn_quietly()
            await asyncio.sleep(_LEARN_S)

    async def _learn_quietly(self) -> None:
        try:
            await self.learn()
        except PhyslabError as error:
            logger.info("the interpreter of node calls is not known: %s", error.message)

    async def glance(self) -> None:
        """Ask once, and wait a moment for the answer; for a client, which never asks by itself."""
        if self._glance is None:
            self._glance = asyncio.get_running_loop().create_task(self._learn_quietly())
        await asyncio.wait({self._glance}, timeout=_SOON_S)

    def close(self) -> None:
        """Wait for nothing any more; what is being made there goes on."""
        for task in (self._task, self._glance):
            if task is not None:
                task.cancel()

    async def _have(self) -> Interpreter:
        found = await self.learn()
        if found is not None:
            return found
        base = self.base
        if base is None:
            raise RuntimeError("an environment is made from a base")
        why = too_old(base, self._settings.python, self._host.name)
        if why is not None:
            raise why
        return await self._make(await anyio.to_thread.run_sync(self._recipe), base)

    def _recipe(self) -> Recipe:
        lock = wheels.lock_text(self._settings.lock, self._settings.packages)
        wheel = wheels.own_wheel()
        house = wheels.house(self._settings.local_wheelhouse, lock) if self._settings.local_wheelhouse else []
        named = {
            "lock": lock, "wheel": wheel.sha256, "wheelhouse": self._settings.wheelhouse,
            "house": [path.name for path in house],
        }  # fmt: skip
        return Recipe(lock, wheel, tuple(house), json.dumps(named, sort_keys=True))

    def _folder(self, recipe: Recipe, base: Interpreter) -> str:
        """Where it lies: named by the lock, the wheel, and the interpreter that it stands on."""
        told = json.dumps([recipe.key, base.executable, base.python, base.machine])
        return f"{self._host.root}/environments/{hashlib.sha256(told.encode()).hexdigest()[:32]}"

    async def _make(self, recipe: Recipe, base: Interpreter) -> Interpreter:
        began = time.monotonic()
        settings = self._settings
        brought = await self._bring(recipe)
        mark = new_mark()
        wanted: dict[str, Any] = {
            "folder": self._folder(recipe, base), "token": secrets.token_hex(6), "lock": recipe.lock, "base": base.executable,
            "uv": [settings.uv] if settings.uv else ["uv", "~/.local/bin/uv"], "wheels": brought,
            "wheelhouses": [settings.wheelhouse], "offline": bool(settings.wheelhouse or settings.local_wheelhouse),
            "probe": asked(mark).decode(), "mark": mark, "physlab": physlab_mcp.__version__,
            "sources": recipe.wheel.sources,
            "patience_s": _MAKE_S / 2,
        }  # fmt: skip
        answer = await self._said(wanted)
        if answer.get("step") == "uv" and not settings.uv:
            wanted["uv"] = [await self._bring_uv(base, str(answer["said"]))]
            answer = await self._said(wanted)
        if "environment" not in answer:
            raise self._cannot(str(answer.get("step")), str(answer.get("said")))
        found = msgspec.convert({**answer["environment"], "sources_here": recipe.wheel.sources}, Interpreter)
        logger.info(
            "environment %s on %s: %s in %.1f s", wanted["folder"], self._host.name, "made" if found.made else "found",
            time.monotonic() - began,
        )  # fmt: skip
        return found

    async def _said(self, wanted: dict[str, Any]) -> dict[str, Any]:
        mark = new_mark()
        program = text_of(environment_maker, f"main({mark!r}, json.loads({json.dumps(wanted)!r}))")
        argv = as_a_job(self._settings, [self._settings.python, "-I", "-"])
        done = await self._host.run(argv, stdin=program, timeout_s=_MAKE_S)
        return told_after(mark, done, what="What makes the environment")

    async def _bring(self, recipe: Recipe) -> list[dict[str, Any]]:
        """Our wheel and those of the folder here, in one transfer unless they are there; their hashes are checked there."""
        above = f"{self._host.root}/environments/wheels"
        own = f"{above}/{recipe.wheel.sha256[:16]}/{recipe.wheel.name}"
        if not await self._host.exists(own):
            await self._host.write(own, recipe.wheel.data)
        brought: list[dict[str, Any]] = [
            {"name": recipe.wheel.name, "from": own, "sha256": recipe.wheel.sha256, "own": True}
        ]
        hashes = [await anyio.to_thread.run_sync(_sha256, path) for path in recipe.house]
        folder = f"{above}/{hashlib.sha256(''.join(hashes).encode()).hexdigest()[:16]}"
        if recipe.house and not await self._host.exists(f"{folder}/all"):
            await self._host.push([(path, f"{folder}/{path.name}") for path in recipe.house])
            await self._host.write(f"{folder}/all", b"")
        for path, sha256 in zip(recipe.house, hashes, strict=True):
            brought.append({"name": path.name, "from": f"{folder}/{path.name}", "sha256": sha256})
        return brought

    async def _bring_uv(self, base: Interpreter, said: str) -> str:
        """This machine's uv, where the cluster has none and is a machine of the same kind; its path there."""
        here = _own_uv()
        alike = (base.system, base.machine) == (platform.system(), platform.machine())
        if here is None or not alike:
            raise RejectedError(
                f"There is no uv on {self._host.name}: {said}.", field="backends.slurm.uv", got="",
                remedy="Install it there (https://docs.astral.sh/uv), name its path as backends.slurm.uv, or set `python`.",
            )  # fmt: skip
        place = f"{self._host.root}/environments/uv/{(await anyio.to_thread.run_sync(_sha256, here))[:16]}/uv"
        if not await self._host.exists(place):
            await self._host.push([(here, place)])
        return place

    def _cannot(self, step: str, said: str) -> PhyslabError:
        """Why it could not be made, and what to do."""
        settings = self._settings
        offline = settings.wheelhouse or settings.local_wheelhouse
        if step == "install" and not offline and any(word in said for word in _NETWORK):
            return UnavailableError(
                f"{self._host.name} cannot fetch the packages of node calls: {said}", field="backends.slurm.bootstrap",
                got=step,
                remedy="Where there is no network, fill a folder with wheels and name it as `wheelhouse` (there) or "
                "`local_wheelhouse` (here).",
            )  # fmt: skip
        if step in ("disk", "lock"):
            return UnavailableError(
                f"The environment of node calls cannot be made on {self._host.name} now: {said}.",
                field="backends.slurm.root", got=step, remedy="Make room in backends.slurm.root, then it goes on by itself.",
            )  # fmt: skip
        field = {"uv": "uv", "venv": "python"}.get(step, "wheelhouse" if offline else "bootstrap")
        remedies = {
            "uv": "Name the program's path there as backends.slurm.uv.",
            "venv": "Name a Python 3.11 or newer as backends.slurm.python.",
            "install": "Put the wheels that it lacks into the wheelhouse, or mend `lock` and `packages`.",
        }
        return RejectedError(
            f"The environment of node calls cannot be made on {self._host.name} ({step}): {said}",
            field=f"backends.slurm.{field}", got=step, remedy=remedies.get(step, "See the engine's log."),
        )  # fmt: skip


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _own_uv() -> Path | None:
    """The uv program of this machine; a script that only calls it (pyenv's) is passed over."""
    named = [os.environ.get("UV", "")]
    named += [shutil.which("uv", path=folder) or "" for folder in os.environ.get("PATH", "").split(os.pathsep)]
    for one in filter(None, named):
        path = Path(one).resolve()
        try:
            with path.open("rb") as stream:
                if stream.read(4) == b"\x7fELF":
                    return path
        except OSError:
            continue
    return None
