"""The process in which clusters run, so that their work does not wait for the test's interpreter lock.

One process serves one cluster after the other: starting it costs more than starting a cluster.
"""

from __future__ import annotations

import asyncio
import inspect
import multiprocessing.connection
import shutil
import socket
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).resolve().parents[3]
_DEADLINE_S = 60.0
_PROGRAM = "from tests.fakes.kubernetes_api.process import main; main()"


class Child:
    """One such process, from the side of the test."""

    _idle: list[Child] = []  # noqa: RUF012 (shared on purpose)

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno())], cwd=_REPOSITORY,
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self._channel = multiprocessing.connection.Connection(ours.detach())

    @classmethod
    def take(cls) -> Child:
        """An idle process, or a new one."""
        while cls._idle:
            found = cls._idle.pop()
            if found._process.poll() is None:
                return found
        return cls()

    def give(self) -> None:
        """This process may serve another cluster."""
        self._idle.append(self)

    def end(self) -> None:
        """Kill the process; what it ran dies with it."""
        self._channel.close()
        self._process.kill()
        self._process.wait()

    def ask(self, name: str, *args: Any, **options: Any) -> Any:
        """Have a method of the cluster's control called; what it raises is raised here."""
        self._channel.send((name, args, options))
        if not self._channel.poll(_DEADLINE_S):
            raise TimeoutError(f"the fake cluster did not answer {name} within {_DEADLINE_S} s")
        good, answer = self._channel.recv()
        if good:
            return answer
        raise answer


async def _serve(channel: multiprocessing.connection.Connection) -> None:
    """Make, ask and end clusters until the other side is gone."""
    from tests.fakes.kubernetes_api.control import Control

    control: Control | None = None
    try:
        while True:
            try:
                name, args, options = await asyncio.to_thread(channel.recv)
            except (EOFError, OSError):
                return
            try:
                if name == "make":
                    control = Control(*args)
                    answer: Any = await control.start()
                else:
                    answer = getattr(control, name)(*args, **options)
                    if inspect.isawaitable(answer):
                        answer = await answer
                    if name == "stop":
                        control = None
                channel.send((True, answer))
            except Exception as fault:
                channel.send((False, _told(fault)))
    finally:
        if control is not None:
            await control.stop()
            shutil.rmtree(control.root, ignore_errors=True)


def _told(fault: Exception) -> Exception:
    """A fault that can be sent."""
    if isinstance(fault, LookupError | ValueError | OSError):
        return fault
    return RuntimeError("".join(traceback.format_exception(fault)))


def main() -> None:
    """Serve the other end of a socket pair whose number is the first argument."""
    asyncio.run(_serve(multiprocessing.connection.Connection(int(sys.argv[1]))))
