"""What is done on a host itself: commands, and files below its root. Runs here, or at the other end of a connection.

Standard library only, Python 3.8 or newer. A request is a JSON object with `op` and its fields, and byte strings
beside it; so is the answer. Paths travel as Latin-1, one character for each byte. Over a connection this text comes
first, then `>Q` the length of the JSON, the JSON (`sizes`: lengths of the byte strings; `mark`), and the byte strings.
The answer begins after a line with `mark`, whatever a login script printed before.
"""

# Start time is paid at every request: no pathlib, and what only some requests need is imported there.
# ruff: noqa: SIM105, PTH123, PTH100, PTH101, PTH102, PTH105, PTH108, PTH112, PTH118, PTH120, PTH202, PTH208
from __future__ import annotations

import errno
import json
import os
import signal
import stat
import struct
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

STALE_S = 2 * 86400  # a transfer that was left unfinished so long ago is forgotten
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class OutsideError(Exception):
    """A path leads out of the root."""


def wire(path: str) -> str:
    """A path as it travels."""
    return os.fsencode(path).decode("latin-1")


def _path(text: str) -> bytes:
    return text.encode("latin-1")


def inside(root: bytes, path: bytes) -> bytes:
    """`path`; an OutsideError if a link on its way leads out of `root`, or if it is the root."""
    if not _closer(root)(path) or os.path.abspath(path) == os.path.abspath(root):
        raise OutsideError(os.fsdecode(path))
    return path


def run(ask: dict[str, Any], blobs: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """Run `argv` with stdin `blobs[0]`, in a session of its own that is killed at `timeout_s`."""
    import subprocess

    argv = [_path(word) for word in ask["argv"]]
    env = {**os.environb, **{_path(name): _path(value) for name, value in ask["env"].items()}}
    pipe = subprocess.PIPE
    try:
        child = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, env=env, start_new_session=True)
    except OSError as error:
        code = 127 if error.errno == errno.ENOENT else 126
        return {"code": code}, [b"", os.fsencode(f"{ask['argv'][0]}: {error.strerror}\n")]
    try:
        out, err = child.communicate(blobs[0], timeout=ask["timeout_s"])
    except subprocess.TimeoutExpired:
        _kill(child)
        return {"expired": True}, []
    return {"code": child.returncode if child.returncode >= 0 else 128 - child.returncode}, [out, err]


def _kill(child: subprocess.Popen[bytes]) -> None:
    import subprocess

    try:
        os.killpg(child.pid, signal.SIGKILL)
    except OSError:
        child.kill()
    try:
        child.communicate(timeout=5)
    except subprocess.TimeoutExpired:  # something left the session and holds the pipes
        for stream in filter(None, (child.stdin, child.stdout, child.stderr)):
            stream.close()


def _closer(root: bytes) -> Callable[[bytes], bool]:
    """Tells of paths whether no link on their way leads out of `root`; each folder is looked at once."""
    real, seen = os.path.realpath(root), {}

    def within(path: bytes) -> bool:
        folder = os.path.dirname(path)
        if folder not in seen:
            there = os.path.realpath(folder)
            seen[folder] = there == real or there.startswith(os.path.join(real, b""))
        return seen[folder]

    return within


def read_many(ask: dict[str, Any], _: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """Pieces of files; `none` lists those that cannot be read, or to which a link from elsewhere leads."""
    within = _closer(_path(ask["root"]))
    pieces = [(_path(path), offset, limit) for path, offset, limit in ask["pieces"]]
    found = [_piece(path, offset, limit) if within(path) else None for path, offset, limit in pieces]
    return {"none": [n for n, one in enumerate(found) if one is None]}, [one or b"" for one in found]


def _piece(path: bytes, offset: int, limit: int) -> bytes | None:
    try:
        fd = os.open(path, _READ)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return None
            with open(fd, "rb", closefd=False) as stream:
                stream.seek(offset)
                return stream.read(limit)
        finally:
            os.close(fd)
    except OSError:
        return None


def _sync(path: bytes) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_many(ask: dict[str, Any], blobs: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """Write files whole, beside themselves first."""
    root, folders = _path(ask["root"]), set()
    for (name, mode), data in zip(ask["files"], blobs):  # noqa: B905 - `strict` is younger than 3.8
        path = _path(name)
        folder = os.path.dirname(path)
        if folder not in folders:
            _make(root, folder)
            inside(root, path)
            folders.add(folder)
        fresh = os.path.join(folder, b".%s.new" % os.urandom(8).hex().encode())
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        try:
            with os.fdopen(fd, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.chmod(fresh, mode)
                if ask["durable"]:
                    os.fsync(fd)
            os.replace(fresh, path)
        except BaseException:
            os.unlink(fresh)
            raise
    if ask["durable"]:
        for folder in folders:
            _sync(folder)
    return {}, []


def _make(root: bytes, folder: bytes) -> None:
    """Make a folder and what is missing above it, as long as no link leads out of the root."""
    above, missing = folder, []
    while above and not os.path.lexists(above):
        missing.append(above)
        above = os.path.dirname(above)
    if len(above) > len(root):
        inside(root, os.path.join(above, b"."))
    for one in reversed(missing):
        try:
            os.mkdir(one, 0o700)
        except FileExistsError:  # somebody was faster
            pass
    if not os.path.isdir(folder):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fsdecode(folder))


def make_folders(ask: dict[str, Any], _: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """Make folders."""
    for name in ask["paths"]:
        _make(_path(ask["root"]), _path(name))
    return {}, []


def remove_tree(ask: dict[str, Any], _: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """Remove a file or folder, following no link."""
    import shutil

    path = inside(_path(ask["root"]), _path(ask["path"]))
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            _open_up(path)
            shutil.rmtree(path)
        else:
            os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    return {}, []


def _open_up(path: bytes) -> None:
    """Folders that their job closed are opened, so that they can be emptied."""
    os.chmod(path, 0o700)
    for folder, names, _ in os.walk(path):
        for name in names:
            inner = os.path.join(folder, name)
            mode = os.lstat(inner).st_mode
            if stat.S_ISDIR(mode) and mode & 0o700 != 0o700:
                os.chmod(inner, 0o700)


def exists(ask: dict[str, Any], _: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """Whether something is there."""
    return {"there": os.path.lexists(_path(ask["path"]))}, []


def listing(ask: dict[str, Any], _: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """Plain files and folders at and below each path: [relative name, size or -1 for a folder, mode]; null: nothing."""
    within, found = _closer(_path(ask["root"])), []
    for path in map(_path, ask["paths"]):
        if not within(path):
            raise OutsideError(os.fsdecode(path))
        found.append(_below(path))
    return {"found": found}, []


def _below(path: bytes) -> list[tuple[str, int, int]] | None:
    try:
        top = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISREG(top.st_mode):
        return [("", top.st_size, top.st_mode & 0o777)]
    if not stat.S_ISDIR(top.st_mode):
        return None
    found, waiting = [("", -1, 0o700)], [b""]
    while waiting:
        folder = waiting.pop()
        with os.scandir(os.path.join(path, folder)) as entries:
            for entry in entries:
                try:
                    seen = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # removed meanwhile
                    continue
                name = os.path.join(folder, entry.name)
                if stat.S_ISDIR(seen.st_mode):
                    waiting.append(name)
                    found.append((name.decode("latin-1"), -1, 0o700))
                elif stat.S_ISREG(seen.st_mode):
                    found.append((name.decode("latin-1"), seen.st_size, seen.st_mode & 0o777))
    return found


def stage(ask: dict[str, Any], _: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """Make a folder for files that arrive, and forget old ones."""
    import shutil

    root, path = _path(ask["root"]), _path(ask["path"])
    _make(root, path)
    around = os.path.dirname(inside(root, path))
    for name in os.listdir(around):
        old = os.path.join(around, name)
        if time.time() - os.lstat(old).st_mtime > STALE_S:
            shutil.rmtree(old, ignore_errors=True)
    return {}, []


def publish(ask: dict[str, Any], _: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """Move files that arrived, numbered, to their places: [path, size, mode] each."""
    import shutil

    root, fresh = _path(ask["root"]), inside(_path(ask["root"]), _path(ask["path"]))
    for name in ask["folders"]:
        _make(root, _path(name))
    folders = set()
    for number, (name, size, mode) in enumerate(ask["files"]):
        source, target = os.path.join(fresh, b"%d" % number), _path(name)
        if os.path.getsize(source) != size:
            raise OSError(errno.EIO, f"{os.path.getsize(source)} of {size} bytes arrived", os.fsdecode(target))
        folder = os.path.dirname(target)
        if folder not in folders:
            _make(root, folder)
            inside(root, target)
            folders.add(folder)
        _settle(source, target, mode)
    for folder in folders:
        _sync(folder)
    shutil.rmtree(fresh, ignore_errors=True)
    return {}, []


def _settle(source: bytes, target: bytes, mode: int) -> None:
    os.chmod(source, mode)
    _sync(source)
    os.replace(source, target)


def _digest(path: bytes) -> tuple[str, list[int]] | None:
    import hashlib

    try:
        fd = os.open(path, _READ)
    except FileNotFoundError:
        return None
    try:
        found = hashlib.sha256()
        while piece := os.read(fd, 1 << 20):
            found.update(piece)
        seen = os.fstat(fd)
    finally:
        os.close(fd)
    return found.hexdigest(), [seen.st_size, seen.st_mtime_ns, seen.st_ino]


def blob_state(ask: dict[str, Any], _: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """The hash of a blob that is there; not computed again if its stamp is still the one that the asker knows."""
    path = inside(_path(ask["root"]), _path(ask["path"]))
    try:
        seen = os.lstat(path)
    except OSError:
        return {"sha256": None}, []
    stamp = [seen.st_size, seen.st_mtime_ns, seen.st_ino]
    if stamp == ask["stamp"]:
        return {"sha256": ask["sha256"], "stamp": stamp}, []
    found = _digest(path)
    return {"sha256": found and found[0], "stamp": found and found[1]}, []


def keep_blob(ask: dict[str, Any], _: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """Move a blob that arrived to its place if it has the right hash; the hash that it has."""
    import shutil

    root, path = _path(ask["root"]), _path(ask["path"])
    fresh = inside(root, _path(ask["fresh"]))
    found = _digest(os.path.join(fresh, b"0"))
    if found is not None and found[0] == ask["sha256"]:
        _make(root, os.path.dirname(path))
        _settle(os.path.join(fresh, b"0"), inside(root, path), 0o444)
        _sync(os.path.dirname(path))
    shutil.rmtree(fresh, ignore_errors=True)
    return {"sha256": found and found[0], "stamp": found and found[1]}, []


_ALL = (run, read_many, write_many, make_folders, remove_tree, exists, listing, stage, publish, blob_state, keep_blob)
OPERATIONS = {one.__name__: one for one in _ALL}


def perform(ask: dict[str, Any], blobs: list[bytes]) -> tuple[dict[str, Any], list[bytes]]:
    """Carry out one request; what goes wrong with a path is part of the answer."""
    try:
        return OPERATIONS[ask["op"]](ask, blobs)
    except OutsideError as error:
        return {"error": {"kind": "outside", "text": "a link on its way leads out of it", "path": str(error)}}, []
    except OSError as error:
        name = error.filename
        path = os.fsdecode(name) if isinstance(name, (bytes, str)) else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        kind = "missing" if isinstance(error, FileNotFoundError) else "full" if full else "failed"
        return {"error": {"kind": kind, "text": error.strerror or str(error), "path": path}}, []


def _exactly(size: int) -> bytes:
    """So many bytes of stdin, and not one more: what follows may be for another program."""
    pieces: list[bytes] = []
    while size:
        piece = os.read(0, min(size, 1 << 20))
        if not piece:  # the connection was cut before the request was whole: nothing is carried out
            sys.exit(9)
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _forget_own_locale() -> None:
    """Python adds LC_CTYPE to its environment where none is set (PEP 538); commands shall not see that."""
    try:
        with open("/proc/self/environ", "rb") as stream:
            if b"\0LC_CTYPE=" not in b"\0" + stream.read():
                os.environ.pop("LC_CTYPE", None)
    except OSError:
        return


def serve() -> None:
    """Read one request from stdin, carry it out, answer on stdout."""
    _forget_own_locale()
    ask = json.loads(_exactly(struct.unpack(">Q", _exactly(8))[0]))
    blobs = [_exactly(size) for size in ask["sizes"]]
    mark = b"\n" + ask["mark"].encode() + b"\n"
    out = open(1, "wb", closefd=False)  # noqa: SIM115 - it is never closed
    if ask["op"] == "become":
        out.write(mark)
        out.flush()
        os.execvp(ask["argv"][0], ask["argv"])  # noqa: S606 - a list, no shell
    answer, parts = perform(ask, blobs)
    answer["sizes"] = [len(part) for part in parts]
    out.write(mark + json.dumps(answer).encode() + b"\n" + b"".join(parts))
    out.flush()


if __name__ == "__far__":
    serve()
