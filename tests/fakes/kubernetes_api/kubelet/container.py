"""One run of one container: a process, its log, its end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from dataclasses import dataclass

import psutil
from tests.fakes.kubernetes_api.kubelet import sandbox
from tests.fakes.kubernetes_api.kubelet.log import ContainerLog
from tests.fakes.kubernetes_api.kubelet.memory import MemoryLimit
from tests.fakes.kubernetes_api.kubelet.sandbox import Cell

_CANNOT_START = b"bwrap: execvp "


@dataclass(frozen=True)
class Exit:
    """How a container ended."""

    code: int
    reason: str
    message: str = ""


class Container:
    """A started container; `ended` is set once its process is gone and its log complete."""

    def __init__(self, cell: Cell, log: ContainerLog, name: str, memory: int | None, *, docker: bool) -> None:
        self._cell, self._log, self._docker = cell, log, docker
        self._limit = MemoryLimit(name, memory) if memory else None
        self._process: asyncio.subprocess.Process | None = None
        self._held = b""
        self._killed = False

    async def run(self) -> Exit:
        """Run to the end."""
        self._cell.farewell.write_bytes(b"")
        try:
            words = sandbox.argv(self._cell)
            argv = self._limit.wrap(words) if self._limit else words
            env = sandbox.environment(self._cell)
            if self._cell.plain and shutil.which(words[0], path=env.get("PATH")) is None:
                return self._no_start()
            self._process = await asyncio.create_subprocess_exec(
                *argv, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE, start_new_session=True, cwd=sandbox.folder(self._cell),
            )  # fmt: skip
            if self._killed:
                self.kill()
            if self._limit:
                self._limit.watch(self._process.pid)
            pumps = asyncio.gather(self._pump("stdout"), self._pump("stderr"))
            code = await self._process.wait()
            # A child that was left behind may hold the pipes of a plain process open.
            await asyncio.wait([pumps], timeout=1.0)
            pumps.cancel()
            return self._end(code)
        finally:
            self.kill()
            self._log.close()
            if self._limit:
                self._limit.close()

    async def _pump(self, name: str) -> None:
        assert self._process is not None
        stream = self._process.stdout if name == "stdout" else self._process.stderr
        assert stream is not None
        # What bubblewrap says of a command that it cannot start comes first, in pieces, and is not the container's.
        holding = name == "stderr"
        while data := await stream.read(1 << 16):
            if holding:
                self._held += data
                holding = self._held.startswith(_CANNOT_START) or _CANNOT_START.startswith(self._held)
                if holding:
                    continue
                data, self._held = self._held, b""
            self._log.feed(name, data)

    def _end(self, code: int) -> Exit:
        code = 128 - code if code < 0 else code
        if self._held.startswith(_CANNOT_START) and code == 1:
            return self._no_start()
        if self._held:
            self._log.feed("stderr", self._held)
        told = self._cell.farewell.read_bytes()[:4096].decode(errors="replace")
        if self._limit and self._limit.exceeded:
            return Exit(code, "OOMKilled", told)
        return Exit(code, "Completed" if code == 0 else "Error", told)

    def _no_start(self) -> Exit:
        word = self._cell.command[0] if self._cell.command else ""
        inner = f'exec: "{word}": executable file not found in $PATH: unknown'
        if self._docker:
            text = f"OCI runtime create failed: container_linux.go:370: starting container process caused: {inner}"
            return Exit(127, "ContainerCannotRun", text)
        text = (
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create "
            f"failed: unable to start container process: {inner}"
        )
        return Exit(128, "StartError", text)

    def _first(self) -> int | None:
        """The host's number of the container's process 1."""
        if self._process is None or self._process.returncode is not None:
            return None
        if self._cell.plain:
            return self._process.pid
        try:
            children = psutil.Process(self._process.pid).children()
        except psutil.Error:
            return None
        return children[0].pid if children else None

    def terminate(self) -> bool:
        """TERM to process 1 of the container, which it may ignore; False where there is none yet."""
        return self._signal(self._first(), signal.SIGTERM)

    def kill(self) -> None:
        self._killed = True
        if self._process is None or self._process.returncode is not None:
            return
        inside = self._signal(self._first(), signal.SIGKILL)
        if not inside or self._cell.plain:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return

    @staticmethod
    def _signal(pid: int | None, number: signal.Signals) -> bool:
        if pid is None:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True
