"""One attempt of a command: its environment, its start, its watch and its end."""

# Start time is paid by every command: what only some need is imported there, and neither pathlib nor typing.
# ruff: noqa: PTH103, PTH105, PTH118, PTH123, PTH202
from __future__ import annotations

import os
import select
import time

from .family import Family
from .files import read_plain, take_lock, write_new
from .plain_json import dumps, loads

if os.name == "posix":
    from .posix import Waker, limit, signal, start
else:
    from .windows import Waker, limit, signal, start

TYPE_CHECKING = False  # typing itself would cost every start
if TYPE_CHECKING:
    from typing import Any

_NO_LIMIT = 1 << 62  # the most that a resource limit can be
TICK_S = 0.25
LINE_BYTES = 16_384
KEPT_ENV = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP",
            "SYSTEMROOT", "SYSTEMDRIVE", "COMSPEC", "PATHEXT", "USERPROFILE")  # fmt: skip
SANDBOX_ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/tmp", "TMPDIR": "/tmp", "LANG": "C.UTF-8"}  # noqa: S108 - a private tmpfs
THREAD_ENV = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Attempt:
    """One attempt of a command, from its start until nothing of it runs any more."""

    def __init__(self, job: str, number: int, spec: dict[str, Any]) -> None:
        self.job, self.number, self.spec = job, number, spec
        self.folder = os.path.join(job, "attempts", str(number))
        self.box = os.path.join(self.folder, "box")
        self.checkpoint = os.path.join(job, "checkpoint")
        self.workdir = os.path.realpath(spec.get("workdir") or os.path.join(self.box, "work"))
        self.limits: dict[str, Any] = spec.get("limits") or {}
        self.family = Family()
        self.child: Any = None  # the Popen, once it started
        self.code: int | None = None  # as in Popen.returncode
        self.asked_to_stop = False
        self.started_at = time.time()
        self._cores: list[int] = []
        self._core_locks: list[int] = []
        self._told = 0
        self._told_to_save = False
        self._wake = Waker()
        # Handlers, not SIG_IGN: what is ignored here would stay ignored in the command.
        for name in ("SIGTERM", "SIGINT"):
            signal.signal(getattr(signal, name), self._on_stop)
        for name in ("SIGCHLD", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), lambda *_: None)
        self.asked_to_save = 0
        if spec.get("checkpoint_signal"):
            signal.signal(signal.SIGUSR1, self._on_save)

    def _on_stop(self, *_: Any) -> None:
        self.asked_to_stop = True

    def _on_save(self, *_: Any) -> None:
        self.asked_to_save += 1

    # -- files of the attempt --------------------------------------------------------------------------------

    def note(self, child_pid: int | None) -> None:
        """Write runner.json; its first writing is durable before the command starts, so an attempt begins once."""
        body = {"pid": os.getpid(), "started": self.started_at, "child_pid": child_pid}
        path = os.path.join(self.folder, "runner.json")
        if child_pid is None:
            write_new(path, dumps(body).encode())
            return
        with open(path + ".new", "w", encoding="utf-8") as stream:
            stream.write(dumps(body))
        os.replace(path + ".new", path)

    def event(self, kind: str, data: dict[str, Any]) -> None:
        """Append one line to events.jsonl; a full disk loses progress, never the job."""
        line = dumps({"kind": kind, "at": time.time(), "attempt": self.number, "data": data})
        try:
            with open(os.path.join(self.folder, "events.jsonl"), "a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        except OSError:
            return

    def relay(self, *, last: bool = False) -> None:
        """Copy whole new lines of the command's event file; at the `last` time all of it."""
        while self._relay_piece(last=last):
            pass

    def _relay_piece(self, *, last: bool) -> bool:
        """Copy the next megabyte; whether there is more."""
        path = os.path.join(self.box, "events.jsonl")
        try:
            if os.lstat(path).st_size <= self._told:
                return False
        except OSError:
            return False
        data = read_plain(path, self._told, 1 << 20)
        endless = len(data) > LINE_BYTES and b"\n" not in data
        more = len(data) >= 1 << 20
        whole = data if (last and not more) or endless else data[: data.rfind(b"\n") + 1]
        self._told += len(whole)
        for line in whole.splitlines():
            if not line.strip():
                continue
            try:
                told = loads(line[:LINE_BYTES])
            except (ValueError, RecursionError):
                told = {"text": line[:LINE_BYTES].decode("utf-8", "replace")}
            if not isinstance(told, dict):
                told = {"text": str(told)}
            kind = told.pop("kind", "progress" if "fraction" in told else "metric" if "value" in told else "log")
            inner = told.get("data")
            self.event(
                kind if kind in ("progress", "metric", "log") else "log", inner if isinstance(inner, dict) else told
            )
        return more and bool(whole)

    def tail(self) -> str:
        """The last lines of stderr."""
        path = os.path.join(self.folder, "stderr.log")
        try:
            return read_plain(path, max(0, os.path.getsize(path) - 2000), 2000).decode("utf-8", "replace").strip()
        except OSError:
            return ""

    # -- starting --------------------------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        """A minimal environment, the spec's variables, then ours."""
        if self.spec.get("sandbox"):
            env = dict(SANDBOX_ENV)
        else:
            env = {k: v for k, v in os.environ.items() if k.upper() in KEPT_ENV or k.startswith("LC_")}
            env.setdefault("PATH", os.defpath)
        if self.limits.get("cpu"):
            env.update(dict.fromkeys(THREAD_ENV, str(max(1, -int(-self.limits["cpu"] // 1)))))
        env.update(self.spec.get("env") or {})
        env.update(
            PHYSLAB_JOB_ID=str(self.spec["job_id"]),
            PHYSLAB_ATTEMPT=str(self.number),
            PHYSLAB_ARTIFACTS=os.path.join(self.box, "artifacts"),
            PHYSLAB_CHECKPOINT_DIR=self.checkpoint,
            PHYSLAB_EVENTS=os.path.join(self.box, "events.jsonl"),
            PHYSLAB_VALUES=os.path.join(self.box, "values.json"),
        )
        return env

    def claim_cores(self) -> None:
        """Choose cores that no other runner has; if too few are free, the kernel schedules as it likes."""
        wanted = max(1, -int(-(self.limits.get("cpu") or 0) // 1))
        place = self.spec.get("cores")
        if not self.limits.get("cpu") or not place or not hasattr(os, "sched_setaffinity"):
            return
        usable = sorted(os.sched_getaffinity(0))
        if wanted >= len(usable):
            return
        os.makedirs(place, mode=0o700, exist_ok=True)
        for core in usable:
            fd = take_lock(os.path.join(place, str(core)), tries=1)
            if fd is not None:
                self._cores.append(core)
                self._core_locks.append(fd)
            if len(self._cores) == wanted:
                return
        for fd in self._core_locks:
            os.close(fd)
        self._cores, self._core_locks = [], []

    def _before_exec(self) -> None:
        self.family.die_with_parent(self._pid)
        wanted = {"RLIMIT_CORE": 0}
        if self.limits.get("memory_bytes"):
            wanted["RLIMIT_AS"] = int(min(self.limits["memory_bytes"], _NO_LIMIT))
        if self.limits.get("timeout_s"):  # ends what might outlive a killed runner
            seconds = self.limits["timeout_s"] * max(1, self.limits.get("cpu") or 1)
            wanted["RLIMIT_CPU"] = int(min(seconds, _NO_LIMIT)) + 60
        limit(wanted)
        if self._cores:
            os.sched_setaffinity(0, self._cores)

    def _argv(self) -> list[str]:
        if self.spec.get("script") is None:
            return [str(word) for word in self.spec["command"]]
        path = os.path.join(self.folder, "script")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o700), "w", encoding="utf-8") as stream:
            stream.write(self.spec["script"])
        return [path] if self.spec["script"].startswith("#!") else ["/bin/sh", path]

    @property
    def child_pid(self) -> int | None:
        """The command's own process."""
        return None if self.child is None else self.child.pid

    def start(self) -> dict[str, Any] | None:
        """Start the command; a failure if it cannot be started."""
        self._pid = os.getpid()
        for place in (self.box, self.checkpoint, os.path.join(self.box, "work"), os.path.join(self.box, "artifacts")):
            os.makedirs(place, mode=0o700, exist_ok=True)
        argv, env, fds = self._argv(), self.environment(), []
        program = argv[0]
        box = self.spec.get("sandbox")
        if box:
            # Options go through a descriptor: the environment holds secrets, and `ps` shows arguments to everybody.
            # bubblewrap itself gets none of the command's variables: LD_PRELOAD would act outside of the sandbox.
            import tempfile

            options = [*box["argv"][1:], "--clearenv"]
            for name, value in env.items():
                options += ["--setenv", name, value]
            self._listed = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it must live until exec
            self._listed.write(b"".join(os.fsencode(word) + b"\0" for word in options))
            self._listed.seek(0)
            fds = [self._listed.fileno()]
            argv = [box["argv"][0], "--args", str(fds[0]), "--", *box.get("guard", ()), *argv]
            env = {"PATH": os.environ.get("PATH", os.defpath)}
        self.claim_cores()
        logs = [os.path.join(self.folder, name) for name in ("stdout.log", "stderr.log")]
        try:
            out, err = (os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) for path in logs)
            self.child = start(
                argv, cwd=None if box else self.workdir, env=env, out=out, err=err, kept=fds, before=self._before_exec
            )
        except (OSError, ValueError) as error:
            what = getattr(error, "strerror", None) or str(error)
            return {
                "code": "invalid_request",
                "message": f"The command could not be started: {program!r}: {what}.",
                "remedy": f"Name an executable that exists there; PATH was {env.get('PATH')}, the folder {self.workdir}.",
            }
        self.family.group = self.child.pid
        return None

    # -- watching --------------------------------------------------------------------------------------------

    def _nap(self, seconds: float) -> None:
        """Sleep until a signal or the time is over."""
        if self.asked_to_stop and seconds > 0.02:
            seconds = 0.02
        select.select([self._wake], [], [], seconds)
        self._wake.empty()

    def _reap(self) -> bool:
        """Take the exit status of every child that ended, adopted ones too; whether any child is left."""
        if not hasattr(os, "wait4"):
            self.code = self.child.poll()
            return self.code is None
        while True:
            try:
                pid, status, _ = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.child.pid:
                self.code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
                self.child.returncode = self.code

    def _save(self) -> bool:
        """Tell the command once that it shall keep its progress; whether that was asked a second time."""
        if self.asked_to_save and not self._told_to_save:
            self._told_to_save = True
            self.event("log", {"text": f"it was told by SIG{self.spec['checkpoint_signal']} to keep its progress"})
            os.kill(self.child.pid, getattr(signal, f"SIG{self.spec['checkpoint_signal']}"))
        return self.asked_to_save > 1

    def watch(self) -> str | None:
        """Wait for the end of the command; why it must be stopped (cancelled, timeout, oom), or None if it ended."""
        timeout_s, memory_bytes = self.limits.get("timeout_s"), self.limits.get("memory_bytes")
        ran, last, weighed = 0.0, time.monotonic(), 0.0
        while True:
            self._nap(TICK_S if timeout_s is None else max(0.01, min(TICK_S, timeout_s - ran)))
            now = time.monotonic()
            ran += min(now - last, 4 * TICK_S)  # a longer gap means that this process was frozen with the command
            last = now
            self._reap()
            self.relay()
            if self.code is not None:  # one that kept its progress and ended goes on in another life
                return "cancelled" if self._told_to_save and self.code != 0 else None
            if self._save() or self.asked_to_stop:
                return "cancelled"
            if timeout_s is not None and ran >= timeout_s:
                return "timeout"
            if memory_bytes and now - weighed >= 1.0:
                weighed = now
                if sum(self.family.members().values()) > memory_bytes:
                    return "oom"

    def end(self, *, grace_s: float) -> bool:
        """End everything the command started: SIGTERM, after `grace_s` SIGKILL; whether nothing is left."""
        if os.name != "posix":
            from .windows import end_tree

            self.code = end_tree(self.child)
            return True
        if grace_s > 0 and self.code is None:
            self.family.send(signal.SIGTERM)
            self.family.send(signal.SIGCONT)
            until = time.monotonic() + grace_s
            while self._reap() and time.monotonic() < until:
                self._nap(0.02)
        if self.family.adopts and not self._reap():
            return True  # whatever it started, and whatever that started, would be a child of this process now
        until = time.monotonic() + 30.0
        while time.monotonic() < until:
            while self.family.stop_new() and time.monotonic() < until:  # what is stopped forks no more
                continue
            found = self.family.send(signal.SIGKILL)
            if not self._reap() and not found:
                return True
            self._nap(0.01)
        return False
