"""Runs a Python program of physlab as far as can be on POSIX as on Windows: python windows_like.py -m MODULE | -c CODE | FILE …

For every module of physlab, and only for those: `sys.platform` is win32 and `os.name` nt; os, signal, socket and
subprocess lack what Windows lacks; descriptors that `os.open` opened without O_BINARY change line ends; children are
started through this file too. For the whole process (but psutil and mcp, which have branches of their own): fcntl, resource, pwd, grp, termios, pty
and tty cannot be imported, msvcrt can; event loops take no signal handlers, and only a SelectorEventLoop watches sockets.
What this cannot show: the real msvcrt, psutil and process creation of Windows.
"""

from __future__ import annotations

import asyncio
import builtins
import errno
import fcntl
import importlib.machinery
import os
import signal
import socket
import subprocess
import sys
import types
from importlib.abc import MetaPathFinder
from typing import Any

BLOCKED = frozenset({"fcntl", "resource", "pwd", "grp", "termios", "pty", "tty"})
DETACHED = 0x8
O_BINARY = 1 << 30
OURS = ("physlab_mcp", "runner_parts")
TEXT_FDS: set[int] = set()  # opened without O_BINARY


class Seen(types.ModuleType):
    """A module as our code sees it."""

    def __init__(self, real: Any, hidden: tuple[str, ...] = (), **changed: Any) -> None:
        super().__init__(real.__name__)
        self.__dict__.update(_real=real, _hidden=frozenset(hidden), **changed)

    def __getattr__(self, name: str) -> Any:
        if name in self.__dict__["_hidden"]:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} on Windows")
        return getattr(self.__dict__["_real"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["_real"], name, value)


def open_file(path: Any, flags: int, mode: int = 0o777, *, dir_fd: None = None) -> int:
    """os.open of Windows: no folders, no dir_fd, text unless told otherwise."""
    if dir_fd is not None:
        raise NotImplementedError("dir_fd unavailable on this platform")
    if os.path.isdir(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))
    fd = os.open(path, flags & ~O_BINARY, mode)
    (TEXT_FDS.discard if flags & O_BINARY else TEXT_FDS.add)(fd)
    return fd


def write(fd: int, data: Any) -> int:
    """os.write of Windows."""
    if fd not in TEXT_FDS:
        return os.write(fd, data)
    os.write(fd, bytes(data).replace(b"\n", b"\r\n"))
    return len(data)


def fdopen(fd: int, *args: Any, **named: Any) -> Any:
    """os.fdopen makes a descriptor binary."""
    TEXT_FDS.discard(fd)
    return os.fdopen(fd, *args, **named)


def socketpair(*_args: Any) -> tuple[socket.socket, socket.socket]:
    """Two ends of a loopback connection."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        one = socket.create_connection(door.getsockname())
        return one, door.accept()[0]


class Popen(subprocess.Popen):  # type: ignore[type-arg]
    """Popen of Windows; a Python started by it runs through this file."""

    def __init__(self, args: Any, *rest: Any, creationflags: int = 0, start_new_session: bool = False,
                 preexec_fn: Any = None, pass_fds: Any = (), **named: Any) -> None:  # fmt: skip
        del start_new_session  # ignored there
        assert not pass_fds, "pass_fds not supported on Windows."
        if preexec_fn is not None:
            raise ValueError("preexec_fn is not supported on Windows platforms")
        words = [str(word) for word in args]
        if words[0] == sys.executable:
            words = [sys.executable, __file__, *words[1:]]
        super().__init__(words, *rest, start_new_session=bool(creationflags & DETACHED), **named)


SEEN = {
    "sys": Seen(sys, platform="win32"),
    "os": Seen(
        os,
        ("fork", "forkpty", "wait3", "wait4", "waitid", "WNOHANG", "getuid", "geteuid", "getgid", "getegid", "killpg",
         "getpgid", "getsid", "setsid", "sysconf", "fchmod", "fchown", "chown", "sched_getaffinity",
         "sched_setaffinity", "O_NOFOLLOW", "O_DIRECTORY", "O_NONBLOCK", "O_CLOEXEC", "statvfs", "uname",
         "mkfifo", "posix_spawn", "nice", "getloadavg"),
        name="nt", O_BINARY=O_BINARY, supports_dir_fd=frozenset(), open=open_file, write=write, fdopen=fdopen,
    ),
    "signal": Seen(signal, ("SIGKILL", "SIGSTOP", "SIGCONT", "SIGCHLD", "SIGHUP", "SIGUSR1", "alarm", "setitimer")),
    "socket": Seen(socket, ("AF_UNIX", "send_fds", "recv_fds"), socketpair=socketpair),
    "subprocess": Seen(subprocess, Popen=Popen, CREATE_NEW_PROCESS_GROUP=0x200, DETACHED_PROCESS=DETACHED,
                       CREATE_NO_WINDOW=0x8000000),
}  # fmt: skip


def seen_import(name: str, globals_: Any = None, locals_: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    """`import` as our code says it."""
    found = builtins.__import__(name, globals_, locals_, fromlist, level)
    return SEEN.get(found.__name__, found) if level == 0 else found


BUILTINS = {**vars(builtins), "__import__": seen_import}


class Ours(importlib.machinery.SourceFileLoader):
    """Loads a module of ours so that it sees Windows."""

    def exec_module(self, module: types.ModuleType) -> None:
        module.__dict__["__builtins__"] = BUILTINS
        exec(self.get_code(module.__name__), module.__dict__)  # type: ignore[arg-type]


def _has_branches(frame: Any) -> bool:
    """Whether the importer is a library with its own branch for Windows, which goes by the real `sys.platform`."""
    while frame is not None and frame.f_globals.get("__name__", "").startswith(("importlib", "_frozen_importlib")):
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__", "").split(".")[0] in {"psutil", "mcp"}


class Finder(MetaPathFinder):
    """Refuses what Windows has not; our own modules are loaded by `Ours`."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name in BLOCKED and not _has_branches(sys._getframe(1)):
            raise ModuleNotFoundError(f"No module named {name!r} on Windows", name=name)
        if name.partition(".")[0] not in OURS:
            return None
        found = importlib.machinery.PathFinder.find_spec(name, path, target)
        if found is not None and isinstance(found.loader, importlib.machinery.SourceFileLoader):
            found.loader = Ours(name, found.origin or "")
        return found


class SocketlessLoop(asyncio.SelectorEventLoop):
    """As the default loop of Windows: watches no sockets for others."""

    def add_reader(self, *_args: Any) -> None:
        raise NotImplementedError

    add_writer = add_reader


class Policy(asyncio.DefaultEventLoopPolicy):
    """Makes such loops."""

    _loop_factory = SocketlessLoop


def become_windows() -> None:
    """For this process, from now on."""
    msvcrt: Any = types.ModuleType("msvcrt")
    msvcrt.LK_UNLCK, msvcrt.LK_LOCK, msvcrt.LK_NBLCK = 0, 1, 2
    ways = {0: fcntl.LOCK_UN, 1: fcntl.LOCK_EX, 2: fcntl.LOCK_EX | fcntl.LOCK_NB}
    flock = fcntl.flock
    msvcrt.locking = lambda fd, mode, _bytes: flock(fd, ways[mode])
    sys.modules["msvcrt"] = msvcrt
    for name in BLOCKED:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, Finder())

    def refuse(*_args: Any) -> None:
        raise NotImplementedError

    asyncio.SelectorEventLoop.add_signal_handler = refuse  # type: ignore[method-assign]
    asyncio.set_event_loop_policy(Policy())


def main(words: list[str]) -> None:
    """Run the program named on the command line."""
    while words and words[0] in ("-S", "-P"):
        words = words[1:]
    become_windows()
    kind, *rest = words
    space: dict[str, Any] = {"__name__": "__main__", "__builtins__": BUILTINS}
    sys.path[0:1] = []  # the folder of this file
    if kind == "-c":
        code = compile(rest[0], "<string>", "exec")
        sys.argv = ["-c", *rest[1:]]
    else:
        where = kind
        if kind == "-m":
            name, *rest = rest
            spec = importlib.util.find_spec(name)
            if spec is not None and spec.submodule_search_locations:
                spec = importlib.util.find_spec(f"{name}.__main__")
            assert spec is not None
            assert spec.origin
            where = spec.origin
        with open(where, "rb") as source:
            code = compile(source.read(), where, "exec")
        space["__file__"] = where
        sys.argv = [where, *rest]
    exec(code, space)


if __name__ == "__main__":
    import importlib.util

    main(sys.argv[1:])
