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


class LazyLog(io.TextIOBase):
    """stdout or stderr of one node call: makes the job folder and its log at the first write, C output included."""

    def __init__(self, fd: int, name: str, folder: Callable[[], Path]) -> None:
        self._fd, self._name, self._folder = fd, name, folder
        self._kept = self._log = -1

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def write(self, text: str) -> int:
        if self._log < 0:
            place = self._folder()
            place.mkdir(parents=True, exist_ok=True)
            self._log = os.open(place / self._name, _APPEND, 0o600)
            self._kept = os.dup(self._fd)
            os.dup2(self._log, self._fd)
        data = memoryview(text.encode("utf-8", "replace"))
        while data:
            data = data[os.write(self._log, data) :]
        return len(text)

    def done(self) -> None:
        """Give the descriptor back."""
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
        self._types: dict[str, NodeType] = {}
        self._blobs: Blobs | None = None
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
        out = LazyLog(1, "stdout.log", lambda: self.folder(call))
        err = LazyLog(2, "stderr.log", lambda: self.folder(call))
        kept = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = out, err
        try:
            answer, status = self._run(call, report), 0
        except BaseException as error:
            answer, status = {"ok": False, "failure": failure_of(error)}, exit_status(error)
            if os.getpid() != self._pid:
                err.write(failure_of(error)["traceback"] or "")
        finally:
            sys.stdout, sys.stderr = kept
            out.done()
            err.done()
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
        result = node_type.function(params, node_io)
        meta: Json = {
            "device": node_io.device,
            "dtype": node_type.dtype,
            "code_version": call.get("code", ""),
            "environment": self.hello.get("environment", ""),
        }
        if usage is not None:
            meta |= {**usage.told(), "hash_seed": hash_seed()}
        meta |= result.meta
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
        told = _failure_of(error)
    except BaseException:
        import traceback

        text = f"{type(error.__cause__ or error).__name__}, whose own text cannot be told"
        trace = "".join(traceback.format_tb(error.__traceback__))[-3900:] + text
        told = {"code": "error", "message": text, "remedy": None, "retryable": True, "traceback": trace}
    return {k: v.encode("utf-8", "backslashreplace").decode() if isinstance(v, str) else v for k, v in told.items()}


def _failure_of(error: Any) -> Json:
    import traceback

    if hasattr(error, "as_failure"):
        return error.as_failure()
    text = "".join(traceback.format_exception(error))[-4000:]
    code, remedy, retryable = "error", None, True
    name = type(error).__name__
    message = f"{name}: {error}"
    if hasattr(error, "as_dict"):
        code, remedy, message = error.code, error.remedy, error.message
        retryable = code == "unavailable"
        if getattr(error.__cause__, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            code = "disk_full"  # tried again until there is room
    elif name == "ValidationError" and hasattr(error, "errors"):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        code, retryable, message = "invalid_request", False, f"{where}: {first['msg']}"
        remedy = f"The value that came from another node is {first.get('input')!r:.200}; choose another key or node."
    elif isinstance(error, ModuleNotFoundError):
        from physlab_mcp.nodes.extras import extra_of, install_command

        extra = extra_of(error.name)
        if extra is not None:
            code, retryable = "unavailable", False
            message = f"The node needs the package {error.name!r} of the extra {extra!r}, which is not installed here."
            remedy = f"Install it with: {install_command(extra)}"
    elif isinstance(error, MemoryError):
        code, remedy = "oom", "Ask for more memory, or for a smaller problem."
    return {"code": code, "message": message[:2000], "remedy": remedy, "retryable": retryable, "traceback": text}


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
