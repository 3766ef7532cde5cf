"""What the runner asks of POSIX and nothing else has: locks that die with their holder, limits, starts, what was used."""

# Start time is paid by every command: subprocess, signal and typing cost more than all that is done here.
# ruff: noqa: PTH118, PTH208
from __future__ import annotations

import errno
import fcntl
import os
import resource
import sys

TYPE_CHECKING = False  # typing itself would cost every start
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Any
else:
    import _signal as signal

__all__ = ["Child", "Waker", "limit", "lock", "signal", "start", "usage"]


class Child:
    """A command that was started; `returncode` is for who waits for it to set."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None


class Waker:
    """Wakes a wait when a signal comes."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def fileno(self) -> int:
        """For select."""
        return self._read

    def empty(self) -> None:
        """Forget the signals that came."""
        try:
            while os.read(self._read, 4096):
                continue
        except BlockingIOError:
            return


def lock(fd: int) -> None:
    """Lock an open file for this process and its open descriptors.

    Raises:
        OSError: somebody else holds it.

    """
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def limit(wanted: dict[str, int]) -> None:
    """Bind this process and what it starts to limits by their names, never above those it has."""
    for name, value in wanted.items():
        which = getattr(resource, name)
        hard = resource.getrlimit(which)[1]
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (most, most))


def usage() -> dict[str, Any]:
    """Processor time and the largest resident set among everything that was waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "user_s": round(used.ru_utime, 4), "system_s": round(used.ru_stime, 4), "max_rss_bytes": used.ru_maxrss * unit
    }  # fmt: skip


def start(
    argv: Sequence[str], *, cwd: str | None, env: Mapping[str, str], out: int, err: int, kept: Collection[int],
    before: Callable[[], None],
) -> Child:  # fmt: skip
    """Start a command in a session of its own, with nothing on stdin and no descriptor but `out`, `err` and `kept`.

    `before` is called in the child. The program is looked for in the PATH of `env`. Only for a process of one thread.

    Raises:
        OSError: there is no such program, or it cannot be run.
        ValueError: a NUL in a word or a variable.

    """
    words = [os.fsencode(word) for word in argv]
    given = {os.fsencode(name): os.fsencode(value) for name, value in env.items()}
    if any(b"\0" in word for word in (*words, *given, *given.values())):
        raise ValueError("embedded null byte")
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        number = errno.EPERM
        try:
            _take_over({0: os.open(os.devnull, os.O_RDONLY), 1: out, 2: err}, kept)
            if cwd is not None:
                os.chdir(cwd)
            before()
            _become(words, given)
        except OSError as error:
            number = error.errno or number
        finally:
            os.write(write, b"%d" % number)
            os._exit(127)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        told = stream.read()
    if told:
        os.waitpid(pid, 0)
        raise OSError(int(told), os.strerror(int(told)))
    return Child(pid)


def _take_over(streams: dict[int, int], kept: Collection[int]) -> None:
    """Make this process one without ties to its parent but these descriptors."""
    os.setsid()
    for number, fd in streams.items():
        if fd == number:
            os.set_inheritable(fd, True)
        else:
            os.dup2(fd, number)
    for name in os.listdir("/dev/fd"):
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), int(name) in kept)
            except OSError:  # the one by which the list was read
                continue
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, and what is ignored stays so


def _become(words: list[bytes], env: dict[bytes, bytes]) -> None:
    """Become the first program of this name in the PATH of `env`."""
    wrong = errno.ENOENT
    places = [b""] if b"/" in words[0] else env.get(b"PATH", os.fsencode(os.defpath)).split(b":")
    for place in places:
        try:
            os.execve(os.path.join(place, words[0]), words, env)  # noqa: S606 - a list, no shell
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                wrong = error.errno or wrong
    raise OSError(wrong, os.strerror(wrong))
