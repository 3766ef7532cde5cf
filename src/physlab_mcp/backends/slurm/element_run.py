"""One element of a batch on its compute node: the program that element.py starts.

Standard library only, Python 3.8 or newer; `runner.py` and `runner_parts/` lie beside it. The line of `elements.jsonl`
for SLURM_ARRAY_TASK_ID names the job folder, the attempt and the fence. A child process is the runner; this one only
watches it, and ends what it left if it is killed.

`begun.<fence>` is written before anything is run, and `revoked.<fence>` is looked for afterwards; who revokes does it the
other way round. So of a job that is given up as never begun nothing runs later, whenever Slurm may start it.
"""

# Start time is paid by every element: no pathlib, json, signal, typing. stderr is what Slurm keeps of it.
# ruff: noqa: PTH101, PTH102, PTH103, PTH104, PTH108, PTH110, PTH118, PTH120, PTH123, PTH208, T201
from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from physlab_mcp.backends import runner
    from physlab_mcp.backends.runner_parts import attempt as attempts
    from physlab_mcp.backends.runner_parts import family, files, outcome
    from physlab_mcp.backends.runner_parts.plain_json import dumps, loads
    from physlab_mcp.backends.runner_parts.posix import signal
else:
    import runner
    from runner_parts import attempt as attempts
    from runner_parts import family, files, outcome
    from runner_parts.plain_json import dumps, loads
    from runner_parts.posix import signal

UNUSABLE, DUPLICATE, LOST = 2, 3, 4
PATIENCE_S = 600.0  # how long one that kept its progress waits to be put back into the queue
KEPT = ("events.jsonl", "stdout.log", "stderr.log")  # go on in the next life of an attempt


def element_of(batch: str, index: int) -> dict[str, Any] | None:
    """The line of this element; only that line is parsed."""
    head = f'{{"index": {index}, '
    with open(os.path.join(batch, "elements.jsonl"), encoding="utf-8") as stream:
        for line in stream:
            if line.startswith(head):
                return loads(line)
    return None


def ended(place: str) -> bool:
    """Whether the attempt has an end of its own; one that Slurm made it write on its way out is none."""
    data = files.read_plain(os.path.join(place, "result.json"), 0, 1 << 26)
    try:
        result = loads(data) if data else {"outcome": "cancelled"}
        return result["outcome"] != "cancelled" and result.get("signal") != signal.SIGTERM
    except (ValueError, LookupError):
        return False


def put_aside(place: str, life: int) -> None:
    """Make room for the attempt's next life after Slurm queued it again."""
    import shutil

    while os.path.exists(f"{place}.{life}"):
        life += 1
    old = f"{place}.{life}"
    os.rename(place, old)
    os.mkdir(place, 0o700)
    for name in os.listdir(old):
        if name in KEPT or name.startswith(("begun.", "revoked.")):
            shutil.copy2(os.path.join(old, name), os.path.join(place, name))


def bring(spec: dict[str, Any], job: str, blobs: str) -> None:
    """Copy the inputs, which lie under their hashes, to where the job wants them.

    Raises:
        OSError: one is not there, or there is no room.

    """
    staged = spec.get("staged")
    if not staged:
        return
    import shutil

    for one in staged:
        target = os.path.join(job, one["target"])
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        if os.path.lexists(target):
            os.unlink(target)
        shutil.copyfile(os.path.join(blobs, one["sha256"][:2], one["sha256"]), target)
        os.chmod(target, one.get("mode", 0o600))


def run(job: str, number: int, fence: int, blobs: str) -> int:
    """One attempt, in this process."""
    place = os.path.join(job, "attempts", str(number))
    with open(os.path.join(job, "spec.json"), encoding="utf-8") as stream:
        spec = loads(stream.read())
    if spec["fence"] != fence or spec["attempt"] != number:
        print(f"the job was given to another dispatch than {fence}", file=sys.stderr)
        return UNUSABLE
    try:
        bring(spec, job, blobs)
    except OSError as error:
        failure = {"code": "unavailable", "message": f"Its inputs could not be brought: {error}.",
                   "remedy": "Make room on the cluster's file system, then run it again."}  # fmt: skip
        body = outcome.result_of(spec, code=None, verdict=None, failure=failure, started_at=0.0)
        files.write_new(os.path.join(place, "result.json"), dumps(body).encode())
        return 0
    # What the script made of the environment (modules, GPUs, settings) is for the command as well.
    attempts.KEPT_ENV = tuple(name.upper() for name in os.environ)
    return runner.main(["runner.py", job, str(number)])


def below(top: int) -> list[int]:
    """The processes that descend from `top`, by their parents alone: a process group may reach far beyond a job."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        cells = files.read_plain(f"/proc/{name}/stat", 0, 4096).rpartition(b")")[2].split() if name.isdigit() else []
        if len(cells) > 1 and cells[0] != b"Z":
            children.setdefault(int(cells[1]), []).append(int(name))
    found, waiting = [], [top]
    while waiting:
        for pid in children.pop(waiting.pop(), []):
            found.append(pid)
            waiting.append(pid)
    return found


def guard(child: int) -> int:
    """Wait for the runner; if it was killed, end what it started, and die as it did."""
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        return os.WEXITSTATUS(status)
    for _ in range(200):  # what is killed leaves its children to this process, which is their reaper
        left = below(os.getpid())
        if not left:
            break
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.005)
    number = os.WTERMSIG(status)
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number


def pass_on(child: int, asked: list[int]) -> None:
    """SIGUSR1, which Slurm sends to this process alone: the command shall keep its progress."""
    asked.append(child)
    try:
        os.kill(child, signal.SIGUSR1)
    except ProcessLookupError:
        return


def wait_for_slurm(mark: str) -> None:
    """Say that the progress is kept, and stay until Slurm ends this job to queue it again: it must not look done."""
    over: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: over.append(number))
    os.close(os.open(mark, os.O_WRONLY | os.O_CREAT, 0o600))
    until = time.monotonic() + PATIENCE_S
    while not over and time.monotonic() < until:
        time.sleep(0.1)


def carry_out(element: dict[str, Any], place: str) -> int:
    """Run it in a process of its own, and guard that; its exit status."""
    job, number, fence = element["folder"], element["attempt"], element["fence"]
    family.Family()  # makes this process the reaper of all that descend from it
    asked: list[int] = []
    signal.signal(signal.SIGUSR1, lambda *_: None)  # until the runner has its own
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = run(job, number, fence, element["blobs"])
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            sys.stderr.flush()
            os._exit(code)
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(name, lambda *_: None)  # they are for the runner, which gets them too
    signal.signal(signal.SIGUSR1, lambda *_: pass_on(child, asked))
    code = guard(child)
    if asked and os.path.exists(os.path.join(place, "result.json")) and not ended(place):
        wait_for_slurm(os.path.join(place, f"saved.{fence}"))
    return code


def main(batch: str) -> int:
    """0: there is a result, or nothing is to be done. 2: nothing usable. 3: it runs already. 4: it ran, and may not again."""
    os.umask(0o077)
    element = element_of(batch, int(os.environ.get("SLURM_ARRAY_TASK_ID") or 0))
    if element is None:
        print("elements.jsonl has no such element", file=sys.stderr)
        return UNUSABLE
    job, number, fence = element["folder"], element["attempt"], element["fence"]
    place, life = os.path.join(job, "attempts", str(number)), int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    os.makedirs(place, mode=0o700, exist_ok=True)
    mark = os.path.join(place, f"begun.{fence}")
    # A controller that was killed may have forgotten that it ever started this one: then there is a mark, and no count.
    ran = life > 0 or os.path.exists(mark)
    if ran and any(os.path.exists(os.path.join(place, name)) for name in ("runner.json", "result.json")):
        last = files.take_lock(os.path.join(place, "runner.lock"), tries=200)
        if last is None:
            return DUPLICATE
        os.close(last)
        if ended(place):  # while this one waited for it
            return 0
        if not life and not element.get("again"):
            return LOST
        put_aside(place, life)
    try:
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if not ran:
            return DUPLICATE
    if os.path.exists(os.path.join(place, f"revoked.{fence}")):
        return 0
    return carry_out(element, place)
