"""The program that runs node calls: warm over a socket, or cold on one job folder.

Starts on the standard library alone; what a node needs is imported when the first such node comes.
Warm: `worker.py --fd N` (where sockets are not handed down, `--connect PORT` with a word on stdin) reads JSON lines {op: hello|run|drop|trim|stop} and answers started, event, done, dropped.
Every start and end is first appended to the worker's spool, so that it outlives the engine and this worker.
Cold: `python -m physlab_mcp.nodes.worker JOB_FOLDER` runs jobs/<..>/spec.json and writes attempts/<n>/result.json.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import json
import os
import select
import socket
import struct
import sys
import time
import zlib
from collections import deque
from pathlib import Path

_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)  # Windows would change line ends
INLINE_BYTES = 65_536  # larger values become artifacts
_FRAME = struct.Struct(">II")

TYPE_CHECKING = False  # typing itself would cost every start
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from physlab_mcp.artifacts.blobs import Blobs
    from physlab_mcp.nodes.io import NodeIO
    from physlab_mcp.nodes.registry import NodeType

    Json = dict[str, Any]


def frame(payload: bytes) -> bytes:
    """One spool record: length, CRC-32, payload. Read by backends/local/spool.py."""
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


class LazyLog(io.RawIOBase):
    """The bytes of stdout or stderr, call after call: makes the call's log at first use, C output included.

    Outlives the calls, since a handler of `logging` keeps the stream that it was given in the first of them.
    """

    mode = "wb"

    def __init__(self, fd: int, name: str, errors: str) -> None:
        self.name, self._fd, self._errors = f"<{name}>", fd, errors
        self._folder: Callable[[], Path] | None = None
        self._kept = self._log = -1

    def begin(self, folder: Callable[[], Path]) -> io.TextIOWrapper:
        """What a call prints to, as Python has it."""
        self._folder = folder
        return io.TextIOWrapper(self, encoding="utf-8", errors=self._errors, newline="", write_through=True)

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """Stay open: the next call needs it."""

    def fileno(self) -> int:
        if self._log < 0 and self._folder is not None:
            place = self._folder()
            place.mkdir(parents=True, exist_ok=True)
            self._log = os.open(place / f"{self.name[1:-1]}.log", _APPEND, 0o600)
            self._kept = os.dup(self._fd)
            os.dup2(self._log, self._fd)
        return self._fd

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        while left:
            left = left[os.write(self.fileno(), left) :]
        return size

    def done(self) -> None:
        """Give the descriptor back; what a thread prints from now on goes where the worker's own words go."""
        self._folder = None
        if self._log >= 0:
            os.dup2(self._kept, self._fd)
            os.close(self._kept)
            os.close(self._log)
            self._log = -1


class Calls:
    """Runs node calls and shapes their answers; knows nothing of sockets or spools."""

    def __init__(self, hello: Json) -> None:
        self.hello = hello
        self._pid = os.getpid()
        self._logs = LazyLog(1, "stdout", "replace"), LazyLog(2, "stderr", "backslashreplace")
        self._types: dict[str, NodeType] = {}
        self._blobs: Blobs | None = None
        self._measured: Callable[[], Json] = dict  # what the present call took so far
        self._kept: Json = {"environment": hello.get("function_environment", "")}  # what nodes keep from call to call

    def _type(self, name: str, module: str) -> NodeType:
        found = self._types.get(name)
        if found is None:
            if "site" not in sys.modules:  # started with -S: only now are packages needed
                import site

                site.main()
                sys.path[:] = dict.fromkeys(
                    [*self.hello.get("first_path", ()), *sys.path, *self.hello.get("sys_path", ())]
                )
            from physlab_mcp.nodes.registry import types_in

            for one in types_in(module):
                self._types[one.name] = one
            found = self._types[name]
        return found

    def prepare(self, call: Json) -> None:
        """Import what a call computes with, before its time counts; what fails here fails again in the call."""
        if call["type"] in self._types:
            return
        with contextlib.suppress(Exception):
            for package in self._type(call["type"], call["module"]).packages:
                importlib.import_module(package)

    def folder(self, call: Json) -> Path:
        """The folder of this attempt; made by whoever writes there first."""
        return Path(call["folder"]) / "attempts" / str(call["attempt"])

    def run(self, call: Json, report: Callable[[Json], None]) -> Json:
        """The answer of one call as a dict ready for JSON: {ok, result | failure}."""
        self._measured = dict
        kept = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (one.begin(lambda: self.folder(call)) for one in self._logs)
        try:
            answer, status = self._run(call, report), 0
        except BaseException as error:
            used = {"meta": self._measured()}
            answer, status = {"ok": False, "failure": failure_of(error) | used}, exit_status(error)
            if os.getpid() != self._pid:
                self._logs[1].write((failure_of(error)["traceback"] or "").encode())
        finally:
            for one in (sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):
                    one.flush()  # a stream that the call put around it
            sys.stdout, sys.stderr = kept
            for log in self._logs:
                log.done()
        if os.getpid() != self._pid:
            os._exit(status)  # a child that the node forked came back; the parent answers
        return answer

    def _run(self, call: Json, report: Callable[[Json], None]) -> Json:
        node_type = self._type(call["type"], call["module"])
        import msgspec

        from physlab_mcp.nodes.io import NodeIO
        from physlab_mcp.nodes.usage import Usage, hash_seed

        if self._blobs is None:
            from physlab_mcp.artifacts.blobs import Blobs

            self._blobs = Blobs(self.hello["blobs"])
        node_io = NodeIO(
            job_id=call["id"],
            blobs=self._blobs,
            device=call.get("device", "cpu"),
            report=report,
            folder=lambda: Path(call["folder"]),
            attempt=call["attempt"],
            kept=self._kept,
        )
        params = node_type.params.model_validate(call["params"])
        usage = Usage() if self.hello.get("capture", "full") == "full" else None
        self._measured = lambda: {
            "device": node_io.device,
            "dtype": node_type.dtype,
            "code_version": call.get("code", ""),
            "environment": self.hello.get("environment", ""),
            **({} if usage is None else {**usage.told(), "hash_seed": hash_seed()}),
        }
        result = node_type.function(params, node_io)
        meta = self._measured() | result.meta
        if node_io.warnings:
            meta["warnings"] = list(dict.fromkeys([*meta.get("warnings", ()), *node_io.warnings]))
        values = result.values
        encoded = msgspec.json.encode(values)
        if len(encoded) > INLINE_BYTES:
            values = self._shrink(values, node_io)
        result = msgspec.structs.replace(result, values=values, meta=meta)
        return {"ok": True, "result": msgspec.Raw(msgspec.json.encode(result))}

    def _shrink(self, values: Json, node_io: NodeIO) -> Json:
        import msgspec

        small: Json = {}
        for name, value in values.items():
            small[name] = value
            encoded = msgspec.json.encode(value)
            if len(encoded) > 1024:
                ref = node_io.save_bytes(f"{name}.json", encoded, "application/json")
                small[name] = {"$artifact": msgspec.to_builtins(ref)}
        return small


def exit_status(error: BaseException) -> int:
    """The exit status with which Python ends a process after this error."""
    error = error.__cause__ or error
    code = (error.code or 0) if isinstance(error, SystemExit) else 1
    return code & 255 if isinstance(code, int) else 1


def failure_of(error: BaseException) -> Json:
    """A Failure as a dict, of texts that can be written, whatever the error's own methods do."""
    try:
        from physlab_mcp.nodes.failures import failure_as_told

        told = failure_as_told(error)
    except BaseException:
        import traceback

        text = f"{type(error.__cause__ or error).__name__}, whose own text cannot be told"
        trace = "".join(traceback.format_tb(error.__traceback__))[-3900:] + text
        told = {"code": "error", "message": text, "remedy": None, "retryable": True, "traceback": trace}
    return {k: v.encode("utf-8", "backslashreplace").decode() if isinstance(v, str) else v for k, v in told.items()}


class Warm:
    """The loop of a warm worker."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""
        self._queue: deque[Json] = deque()
        self._open = True
        self._place, self._spool = "", -1
        self._calls = Calls({})
        self._encode = json.JSONEncoder(separators=(",", ":"), default=str, ensure_ascii=False).encode

    def loop(self) -> None:
        """Until the engine goes away or says stop: then what is running is finished and spooled, the rest dropped."""
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)
        self._sock.set_inheritable(False)
        while self._open:
            self._listen(block=not self._queue)
            if self._queue and self._open:
                self._one(self._queue.popleft())

    def _forked(self) -> None:
        """A child of a node call is no worker: it neither hears nor speaks, and holds nothing open."""
        self._open = False
        self._sock.close()
        os.closerange(self._spool, self._spool + 1)  # nothing where it is -1

    def _listen(self, *, block: bool) -> None:
        while True:
            if not block and not select.select([self._sock], [], [], 0)[0]:
                return
            try:
                data = self._sock.recv(1 << 18)
            except ConnectionError:
                data = b""
            if not data:
                self._open = False
                return
            self._buffer += data
            *lines, self._buffer = self._buffer.split(b"\n")
            for line in lines:
                self._take(json.loads(line))
            if lines:
                block = False

    def _take(self, message: Json) -> None:
        op = message["op"]
        if op == "run":
            self._queue.append(message)
        elif op == "hello":
            os.environ.update(message.get("variables", {}))
            self._calls = Calls(message)
            self._place = message["spool"]
        elif op == "drop":
            wanted = {tuple(pair) for pair in message["jobs"]}
            gone = [c for c in self._queue if (c["id"], c["fence"]) in wanted]
            self._queue = deque(c for c in self._queue if (c["id"], c["fence"]) not in wanted)
            for call in gone:
                self._say({"t": "dropped", "id": call["id"], "fence": call["fence"]})
        elif op == "trim":
            if self._spool >= 0:
                os.ftruncate(self._spool, 0)
        elif op == "stop":
            self._open = False

    def _one(self, call: Json) -> None:
        kill_point("worker.before_run")
        name = {"id": call["id"], "fence": call["fence"]}
        self._calls.prepare(call)
        started = time.time()
        head = self._bytes({"t": "started", **name, "at": started})
        self._spooled(head)
        self._send(head + b"\n")

        def report(event: Json) -> None:
            import msgspec  # writes NaN as null, where json would write what is no JSON

            line = {"t": "event", **name, "at": time.time(), **event}
            try:
                self._send(msgspec.json.encode(line, enc_hook=str) + b"\n")
            except UnicodeEncodeError:  # half a surrogate pair
                self._say(line)

        answer = self._calls.run(call, report)
        kill_point("worker.after_run")
        line = {"t": "done", **name, "at": time.time(), "started": started, "ok": answer["ok"]}
        if answer["ok"]:
            payload = self._bytes(line)[:-1] + b',"result":' + bytes(answer["result"]) + b"}"
        else:
            payload = self._bytes({**line, "failure": answer["failure"]})
        self._spooled(payload)
        kill_point("worker.after_spool")
        self._send(payload + b"\n")
        kill_point("worker.after_send")

    def _bytes(self, message: Json) -> bytes:
        return self._encode(message).encode("utf-8", "replace")  # half a surrogate pair is no JSON

    def _spooled(self, payload: bytes) -> None:
        record = frame(payload)
        try:
            if self._spool < 0:
                self._spool = os.open(self._place, _APPEND, 0o600)
            written = os.write(self._spool, record)
            if written < len(record):  # half a record would hide all later ones
                os.ftruncate(self._spool, os.fstat(self._spool).st_size - written)
                raise OSError(errno.ENOSPC, "no room for a whole record")
        except OSError as error:  # a full disk: the engine still gets it over the socket
            with contextlib.suppress(OSError):
                os.write(2, f"spool: {error}\n".encode())

    def _say(self, message: Json) -> None:
        self._send(self._bytes(message) + b"\n")

    def _send(self, data: bytes) -> None:
        if not self._open:
            return
        try:
            self._sock.sendall(data)
        except OSError:
            self._open = False  # the engine is gone: finish what runs, it is in the spool


def kill_point(name: str) -> None:
    """See physlab_mcp.faults, which is imported only when a test asks for it."""
    if "PHYSLAB_KILL_AT" in os.environ:
        here = str(Path(__file__).resolve().parents[2])
        if here not in sys.path:
            sys.path.append(here)
        from physlab_mcp.faults import kill_point as reach

        reach(name)


def main(arguments: list[str]) -> int:
    """Entry of both forms."""
    if arguments[:1] == ["--fd"]:
        Warm(socket.socket(fileno=int(arguments[1]))).loop()
        return 0
    if arguments[:1] == ["--connect"]:
        line = socket.create_connection(("127.0.0.1", int(arguments[1])))
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.sendall(sys.stdin.readline().strip().encode())
        Warm(line).loop()
        return 0
    if len(arguments) == 1:
        from physlab_mcp.nodes.cold_call import run_folder

        return run_folder(arguments[0], Calls)
    sys.stderr.write("usage: worker.py --fd N | worker.py JOB_FOLDER\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
