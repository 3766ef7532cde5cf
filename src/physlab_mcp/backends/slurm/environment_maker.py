"""Makes the environment of node calls on a cluster's login node, whose Python gets this text and a call of `main`.

Standard library only, Python 3.8 or newer. An environment is made beside its place and moved there whole, so a
half-made one is never used; a lock spares two engines from doing it twice, and where the file system has no locks the
second one to be ready takes the first one's. The answer is one line of JSON after a line with `mark`.
"""

# It runs where nothing of ours is installed.
# ruff: noqa: PTH102, PTH103, PTH104, PTH111, PTH118, PTH123, PTH208, T201
from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WHOLE = "whole.json"
_NOT_THEIRS = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "CONDA_PREFIX", "UV_PROJECT_ENVIRONMENT")
_SAID = 2000


class Trouble(Exception):  # noqa: N818 - it is told as an answer
    """It cannot be made: at which step, and what was said."""

    def __init__(self, step: str, said: str) -> None:
        Exception.__init__(self, step, said)
        self.step, self.said = step, said[-_SAID:].strip()


def lock(path: str, patience_s: float) -> int | None:
    """Hold the lock of an environment; None where the file system knows no locks."""
    import fcntl

    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    until = time.monotonic() + patience_s
    while True:
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                os.close(fd)
                return None
            if time.monotonic() > until:
                os.close(fd)
                raise Trouble("lock", f"another engine has been making it for {patience_s:.0f} s") from None
        time.sleep(0.1)


def whole(folder: str) -> dict[str, Any] | None:
    """What was made there, if it was made to its end."""
    try:
        with open(os.path.join(folder, WHOLE), encoding="utf-8") as stream:
            return json.load(stream)
    except (OSError, ValueError):
        return None


def say(step: str, argv: list[str], *, text: str = "") -> str:
    """Run a command; its output."""
    env = {name: value for name, value in os.environ.items() if name not in _NOT_THEIRS}
    env.update(UV_PYTHON_DOWNLOADS="never", UV_LINK_MODE="copy", UV_NO_PROGRESS="1", NO_COLOR="1")
    try:
        done = subprocess.run(argv, input=text.encode(), capture_output=True, env=env, check=False)
    except OSError as error:
        raise Trouble(step, f"{argv[0]}: {error.strerror}") from None
    if done.returncode:
        raise Trouble(step, (done.stderr or done.stdout).decode("utf-8", "replace"))
    return done.stdout.decode("utf-8", "replace")


def uv_of(named: list[str]) -> str:
    """The first of these programs that there is."""
    for one in [os.path.expanduser(name) for name in named]:
        found = shutil.which(one)
        if found:
            try:
                say("uv", [found, "--version"])
            except Trouble:
                continue
            return found
    raise Trouble("uv", "there is none of: " + ", ".join(named))


def digest(path: str) -> str:
    """SHA-256 of a file."""
    told = hashlib.sha256()
    with open(path, "rb") as stream:
        for piece in iter(lambda: stream.read(1 << 20), b""):
            told.update(piece)
    return told.hexdigest()


def make(ask: dict[str, Any], folder: str) -> dict[str, Any]:
    """Make it in `folder`, which is new."""
    uv = uv_of(ask["uv"])
    os.makedirs(os.path.join(folder, "wheels"), mode=0o700)
    own = []
    for one in ask["wheels"]:
        target = os.path.join(folder, "wheels", one["name"])
        shutil.copyfile(one["from"], target)
        if digest(target) != one["sha256"]:
            raise Trouble("wheels", f"{one['from']} is not what was brought; remove it, and it is brought again")
        own += [target] if one.get("own") else []
    listed = os.path.join(folder, "requirements.txt")
    with open(listed, "w", encoding="utf-8") as stream:
        stream.write(ask["lock"])
    place = os.path.join(folder, "venv")
    say("venv", [uv, "venv", "--quiet", "--relocatable", "--python", ask["base"], place])
    python = os.path.join(place, "bin", "python")
    words = [uv, "pip", "install", "--quiet", "--python", python]
    houses = [house for house in ask["wheelhouses"] if house]
    if houses or ask["offline"]:
        words += ["--offline", "--no-index"]
    for house in [*houses, os.path.join(folder, "wheels")]:
        words += ["--find-links", house]
    say("install", [*words, "--requirement", listed, *own])
    said = say("look", [python, "-P", "-"], text=ask["probe"])
    told = json.loads(said.rpartition(ask["mark"] + "\n")[2])
    if told["physlab"] != ask["physlab"] or told["sources"] != ask["sources"]:
        found = f"physlab_mcp {told['physlab']} ({told['sources']})"
        raise Trouble("look", told["trouble"] or f"it runs {found}")
    shutil.rmtree(os.path.join(folder, "wheels"))
    return told


def make_once(ask: dict[str, Any]) -> dict[str, Any]:
    """The environment's own words, made now or found."""
    final = ask["folder"]
    above, name = os.path.split(final)
    os.makedirs(above, mode=0o700, exist_ok=True)
    held = lock(final + ".lock", ask["patience_s"])
    try:
        told = whole(final)
        if told is not None:
            return dict(told, made=False)
        if held is not None:  # nobody else makes it now: what lies there was left half-made
            for one in os.listdir(above):
                if one == name or one.startswith(name + ".new."):
                    shutil.rmtree(os.path.join(above, one), ignore_errors=True)
        fresh = f"{final}.new.{ask['token']}"
        os.mkdir(fresh, 0o700)
        try:
            told = make(ask, fresh)
            told["executable"] = os.path.join(final, "venv", "bin", "python")
            with open(os.path.join(fresh, WHOLE), "w", encoding="utf-8") as stream:
                json.dump(told, stream)
                stream.flush()
                os.fsync(stream.fileno())
            try:
                os.rename(fresh, final)
            except OSError:
                other = whole(final)  # without locks, another engine was first
                if other is None:
                    raise
                return dict(other, made=False)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return dict(told, made=True)
    finally:
        if held is not None:
            os.close(held)


def main(mark: str, ask: dict[str, Any]) -> None:
    """Make it, and tell what came of it."""
    os.umask(0o077)
    try:
        answer: dict[str, Any] = {"environment": make_once(ask)}
    except Trouble as error:
        answer = {"step": error.step, "said": error.said}
    except OSError as error:
        answer = {"step": "disk", "said": f"{error.filename}: {error.strerror}"}
    print("\n" + mark + "\n" + json.dumps(answer), flush=True)
