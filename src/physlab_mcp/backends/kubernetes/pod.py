"""Runs one job in its pod: `python3 -I -S pod.py [--element N] --results log:<bytes>|volume:<folder>|object_store`.

Standard library only, Python 3.8 or newer; `runner.py` and `runner_parts/` lie beside it. It unpacks the job folder from
/physlab/files, runs the runner on it in a child process, and says what happens as one JSON object a line on stdout:
{"n": number of the line, "k": begin | out | err | ev | file | end, …}. `out`, `err` and `ev` carry pieces of stdout.log,
stderr.log and events.jsonl with the offset `at`, as text `t` or base64 `b`; `file` carries the archive of the results in
pieces, and `end` its size and SHA-256. So a reader that was cut off loses nothing and takes nothing twice.

It ends with 0 once the result is told, with 143 if the job was ended from outside, with 2 if nothing usable arrived,
with 3 if the attempt has been begun before, and with 4 if the results could not be brought home. SIGTERM goes to the runner, which ends the command with grace.
"""

# pathlib costs start time of every pod; stderr is for `kubectl logs`.
# ruff: noqa: PTH101, PTH103, PTH110, PTH113, PTH114, PTH118, PTH119, PTH120, PTH123, PTH202, PTH208, T201
from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import sys
import tarfile
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physlab_mcp.backends import runner
    from physlab_mcp.backends.runner_parts import attempt as attempts
    from physlab_mcp.backends.runner_parts import files
else:
    sys.path.append(os.path.dirname(os.path.realpath(__file__)))
    import runner
    from runner_parts import attempt as attempts
    from runner_parts import files

UNUSABLE, DUPLICATE, UNSTORED, ENDED = 2, 3, 4, 143
UPLOAD_TRIES = 5
ROOT = "/physlab"
PIECE = 9_000  # bytes of a line's load: container runtimes cut lines at 16 KiB
MOST_A_LOOK = 1 << 20  # of one stream; who prints faster is followed later
STREAMS = (("out", "stdout.log"), ("err", "stderr.log"), ("ev", "events.jsonl"))
FIRST_PAUSE_S, LAST_PAUSE_S = 0.02, 0.25
SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


class Teller:
    """Lines on stdout, numbered."""

    def __init__(self) -> None:
        self.number = 0

    def say(self, kind: str, **fields: Any) -> None:
        """Tell one thing."""
        line = memoryview(json.dumps({"n": self.number, "k": kind, **fields}).encode() + b"\n")
        self.number += 1
        while line:
            line = line[os.write(1, line) :]

    def piece(self, kind: str, at: int, data: bytes) -> None:
        """Tell a piece of bytes."""
        try:
            text = data.decode("utf-8")
            if len(json.dumps(text)) < PIECE * 3 // 2:
                self.say(kind, at=at, t=text)
                return
        except UnicodeDecodeError:
            pass
        self.say(kind, at=at, b=base64.b64encode(data).decode("ascii"))


class Tails:
    """What the job's logs and events hold more than was told."""

    def __init__(self, teller: Teller, folder: str) -> None:
        self._teller, self._folder = teller, folder
        self._told = {kind: 0 for kind, _ in STREAMS}

    def tell(self) -> bool:
        """Tell what is new; whether there was any."""
        new = False
        for kind, name in STREAMS:
            left = MOST_A_LOOK
            while left > 0:
                data = files.read_plain(os.path.join(self._folder, name), self._told[kind], PIECE)
                if not data:
                    break
                whole = _whole(data) if len(data) == PIECE else data
                self._teller.piece(kind, self._told[kind], whole)
                self._told[kind] += len(whole)
                left -= len(whole)
                new = True
        return new


def _whole(data: bytes) -> bytes:
    """A piece without the character that its end cuts."""
    for back in range(1, 4):
        if data[-back] & 0xC0 == 0xC0:
            return data[:-back] or data
        if data[-back] & 0x80 == 0:
            break
    return data


# -- what arrives --------------------------------------------------------------------------------------------


class Pieces:
    """The files 0000, 0001, … read as one stream."""

    def __init__(self, folder: str) -> None:
        self._left = sorted((os.path.join(folder, name) for name in os.listdir(folder) if name.isdigit()), reverse=True)
        self._open: Any = None

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; b"" at the end."""
        while True:
            if self._open is None:
                if not self._left:
                    return b""
                self._open = open(self._left.pop(), "rb")  # noqa: SIM115 - closed at its end
            data = self._open.read(size)
            if data:
                return data
            self._open.close()
            self._open = None


def unpack(folder: str, element: str, job: str) -> None:
    """Write the files of one element into its job folder; of the others nothing is kept.

    Raises:
        LookupError: there is no such element, or not all of its files.
        OSError: there is no room.
        ValueError: a path leads out of the job folder.
        tarfile.TarError: the archive is damaged.

    """
    wanted: dict[str, list[str]] | None = None
    with tarfile.open(fileobj=Pieces(folder), mode="r|gz") as archive:  # type: ignore[call-overload]
        for entry in archive:
            stream = archive.extractfile(entry)
            if stream is None:
                continue
            if wanted is None:
                wanted = {}
                for path, digest in json.loads(stream.read())[element].items():
                    wanted.setdefault(digest, []).append(path)
                continue
            paths = wanted.pop(os.path.basename(entry.name), [])
            data = stream.read() if paths else b""
            for path in paths:
                _write(job, path, data)
            if not wanted:
                return
    raise LookupError("files are missing")


def _write(job: str, path: str, data: bytes) -> None:
    place = os.path.normpath(os.path.join(job, path))
    if not place.startswith(job + os.sep):
        raise ValueError(f"{path!r} leads out of the job folder")
    os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
    with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
        stream.write(data)


def arrive(element: str, way: str) -> tuple[str, dict[str, Any]]:
    """The job folder and its spec.

    Raises:
        LookupError, OSError, ValueError, tarfile.TarError: see unpack.

    """
    job = os.path.join(ROOT, "work", "job")
    os.makedirs(job, mode=0o700, exist_ok=True)
    unpack(os.path.join(ROOT, "files"), element, job)
    with open(os.path.join(job, "spec.json"), encoding="utf-8") as stream:
        spec = json.load(stream)
    for path in spec.get("executable") or ():
        os.chmod(os.path.join(job, path), 0o700)
    if way.startswith("volume:"):
        kept = os.path.join(way[len("volume:") :], spec["folder"])
        os.makedirs(kept, mode=0o700, exist_ok=True)
        shutil.copytree(job, kept, dirs_exist_ok=True)
        shutil.rmtree(job)
        job = kept
    return job, spec


# -- what goes home ------------------------------------------------------------------------------------------


def kept_files(job: str, spec: dict[str, Any], *, checkpoint: bool) -> list[str]:
    """What goes home besides logs, as paths in the job folder."""
    place = f"attempts/{spec['attempt']}"
    places = [f"{place}/artifacts", f"{spec['call']}/artifacts"] + (["checkpoint"] if checkpoint else [])
    brought: set[str] = set(spec.get("brought") or ())
    found = [f"{place}/result.json", f"{spec['call']}/result.json"]
    for start in dict.fromkeys(places):
        for folder, _, names in os.walk(os.path.join(job, start)):
            found += [os.path.relpath(os.path.join(folder, name), job) for name in sorted(names)]
    plain = [path for path in dict.fromkeys(found) if path not in brought and _is_plain(os.path.join(job, path))]
    return plain


def _is_plain(path: str) -> bool:
    return os.path.isfile(path) and not os.path.islink(path)


def archive_of(job: str, paths: list[str], target: str) -> None:
    """Write the archive of these files."""
    with tarfile.open(target, mode="w:gz", compresslevel=6, format=tarfile.PAX_FORMAT) as archive:
        for path in paths:
            entry = archive.gettarinfo(os.path.join(job, path), arcname=path)
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            with open(os.path.join(job, path), "rb") as stream:
                archive.addfile(entry, stream)


def packed(job: str, spec: dict[str, Any], most: int) -> str:
    """The archive of the results, at most so large: else it holds nothing but the word that it was too large."""
    target = os.path.join(ROOT, "work", "results.tar.gz")
    place = os.path.join(job, "attempts", str(spec["attempt"]), "result.json")
    with open(place, encoding="utf-8") as stream:
        result = json.load(stream)
    sizes = []
    for checkpoint in (True, False):
        if checkpoint and result["outcome"] == "succeeded":
            continue
        archive_of(job, kept_files(job, spec, checkpoint=checkpoint), target)
        sizes.append(os.path.getsize(target))
        if sizes[-1] <= most:
            return target
    failure = {
        "code": "invalid_request",
        "message": f"The files that it left have {sizes[-1]} bytes packed, and at most {most} come home through the log.",
        "remedy": "Set backends.kubernetes.results_volume or object_store, raise log_archive_mb, or keep less.",
    }
    result.update(outcome="failed", artifacts=[], failure=failure)
    with open(place, "w", encoding="utf-8") as stream:
        json.dump(result, stream)
    archive_of(job, [os.path.relpath(place, job)], target)
    return target


def upload(path: str, address: str) -> None:
    """Put the archive at a signed address.

    Raises:
        OSError: the store did not take it.

    """
    for attempt in range(UPLOAD_TRIES):
        try:
            _upload(path, address)
            return
        except OSError as error:
            print(f"the results could not be stored: {error}", file=sys.stderr, flush=True)
            if attempt == UPLOAD_TRIES - 1:
                raise
            time.sleep(2.0**attempt)


def _upload(path: str, address: str) -> None:
    from urllib.request import Request, urlopen

    with open(path, "rb") as stream:
        length = {"Content-Length": str(os.path.getsize(path)), "Content-Type": "application/gzip"}
        with urlopen(Request(address, data=stream, method="PUT", headers=length), timeout=600) as answer:  # noqa: S310
            answer.read()


def go_home(teller: Teller, job: str, spec: dict[str, Any], way: str) -> None:
    """Bring the results home, and say that all is told."""
    if way.startswith("volume:"):
        teller.say("end", way="volume")
        return
    stored = way == "object_store"
    path = packed(job, spec, 1 << 62 if stored else int(way.split(":")[1]))
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as stream:
        while True:
            data = stream.read(PIECE)
            if not data:
                break
            if not stored:
                teller.say("file", at=size, b=base64.b64encode(data).decode("ascii"))
            digest.update(data)
            size += len(data)
    if stored:
        upload(path, spec["upload"])
    teller.say("end", way="object_store" if stored else "log", size=size, sha256=digest.hexdigest())


# -- the run -------------------------------------------------------------------------------------------------


def start(job: str, spec: dict[str, Any]) -> int:
    """The runner in a child process; its pid."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        for name in SIGNALS:
            signal.signal(name, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        # What the image, the settings and devices set is for the command as well.
        attempts.KEPT_ENV = tuple(name.upper() for name in os.environ if not name.startswith("KUBERNETES_"))
        code = runner.main(["runner.py", job, str(spec["attempt"])])
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stderr.flush()
        os._exit(code)


def reaped(child: int) -> int | None:
    """The exit code of the runner once it has ended; orphans are taken along."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == child:
            code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def watch(child: int, tails: Tails) -> int:
    """Tell what the job says until the runner has ended; its exit code."""
    pause_s = FIRST_PAUSE_S
    while True:
        told = signal.sigtimedwait(SIGNALS, pause_s)
        if told is not None and told.si_signo != signal.SIGCHLD:
            os.kill(child, signal.SIGTERM)
        code = reaped(child)
        new = tails.tell()
        if code is not None:
            while tails.tell():
                continue
            return code
        pause_s = FIRST_PAUSE_S if new else min(LAST_PAUSE_S, pause_s * 1.5)


def outcome_of(job: str, spec: dict[str, Any]) -> str:
    """What the runner's result says."""
    with open(os.path.join(job, "attempts", str(spec["attempt"]), "result.json"), encoding="utf-8") as stream:
        return str(json.load(stream)["outcome"])


def main(arguments: list[str]) -> int:
    """See the module."""
    words = dict(zip(arguments[0::2], arguments[1::2]))  # noqa: B905 - `strict` is of Python 3.10
    element, way = words.get("--element") or os.environ["JOB_COMPLETION_INDEX"], words["--results"]
    os.umask(0o077)
    for name in SIGNALS:  # process 1 has no default actions
        signal.signal(name, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    teller = Teller()
    if os.path.exists(os.path.join(ROOT, "files", f"revoked-{element}")):
        teller.say("end", way="none")
        return 0
    try:
        job, spec = arrive(element, way)
    except (LookupError, OSError, ValueError, tarfile.TarError) as error:
        print(f"the job folder did not arrive whole: {error!r}", file=sys.stderr)
        return UNUSABLE
    teller.say("begin", at=time.time(), job=spec["job_id"], attempt=spec["attempt"], fence=spec["fence"])
    code = watch(start(job, spec), Tails(teller, os.path.join(job, spec["call"])))
    if code:
        return code
    try:
        go_home(teller, job, spec, way)
    except OSError as error:
        print(f"the results could not be brought home: {error!r}", file=sys.stderr)
        return UNSTORED
    return ENDED if outcome_of(job, spec) == "cancelled" else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
