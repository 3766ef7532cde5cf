"""Runs one attempt of a command or script: `python -S -P runner.py JOB_FOLDER ATTEMPT`.

Standard library only, Python 3.8 or newer: this file and `runner_parts/` beside it are all a remote machine needs.
An attempt begins at most once, result.json is written once and never replaced, and nothing the command started is
alive afterwards. A second runner of the same attempt leaves with code 3 and touches nothing.

The command sees PHYSLAB_JOB_ID, PHYSLAB_ATTEMPT, PHYSLAB_ARTIFACTS (a folder of files to keep), PHYSLAB_CHECKPOINT_DIR
(shared by attempts), PHYSLAB_EVENTS (append JSON lines: {"fraction": 0.5, "text": ".."}) and PHYSLAB_VALUES (write one
JSON object). What it may write lies in attempts/<n>/box and checkpoint/; the rest of the folder is the runner's alone,
so a command in a sandbox cannot lead the runner astray by links.

Limits: memory is limited per process (RLIMIT_AS: a program that reserves much address space needs more than it uses)
and for the whole tree by looking once a second. If this program itself is SIGKILLed, its direct child dies with it
(Linux), and so does everything in a sandbox; other grandchildren live until the engine finds them by their environment.
Daemons, which left their parents, are found here on Linux only.
"""

# pathlib costs start time of every command; stderr is the log of this program.
# ruff: noqa: PTH103, PTH118, PTH120, PTH123, T201
from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False  # typing itself would cost every start
if TYPE_CHECKING:
    from typing import Any

    from physlab_mcp.backends.runner_parts.attempt import Attempt
    from physlab_mcp.backends.runner_parts.files import poke, take_lock, write_new
    from physlab_mcp.backends.runner_parts.outcome import Keeper, failure_of, oom_kills, read_values, result_of
    from physlab_mcp.backends.runner_parts.plain_json import dumps, loads
else:  # found beside this file, last on the path, so that nothing of the standard library is shadowed
    sys.path.append(os.path.dirname(os.path.realpath(__file__)))
    from runner_parts.attempt import Attempt
    from runner_parts.files import poke, take_lock, write_new
    from runner_parts.outcome import Keeper, failure_of, oom_kills, read_values, result_of
    from runner_parts.plain_json import dumps, loads

UNUSABLE, DUPLICATE = 2, 3
PATIENCE_S = 600.0  # how long a full disk is waited for
GRACE_S = 1.0  # between SIGTERM and SIGKILL


def carry_out(attempt: Attempt) -> dict[str, Any]:
    """Run the command to its end; its result, still without files and values."""
    spec, killed_before = attempt.spec, oom_kills()
    verdict: str | None = None
    failure = attempt.start()
    code = None if failure is None else 127
    if failure is None:
        attempt.note(attempt.child_pid)
        poke(attempt.spec.get("notify"))
        attempt.event("started", {"pid": attempt.child_pid})
        verdict = attempt.watch()
        grace_s = attempt.limits.get("grace_s", GRACE_S) if verdict in ("cancelled", "timeout") else 0.0
        gone = attempt.end(grace_s=grace_s)
        attempt.relay(last=True)
        code = attempt.code
        failure = failure_of(
            verdict, code, limits=attempt.limits, tail=attempt.tail(), oom_killed=oom_kills() > killed_before
        )
        if not gone:
            print("some processes of the command could not be killed", file=sys.stderr)
    return result_of(spec, code=code, verdict=verdict, failure=failure, started_at=attempt.started_at)


def collect(attempt: Attempt, result: dict[str, Any]) -> None:
    """Bring the files to keep and the values into the result."""
    keeper = Keeper(
        os.path.join(attempt.folder, "artifacts"),
        box=attempt.box, checkpoint=attempt.checkpoint, workdir=attempt.workdir, since=attempt.started_at,
    )  # fmt: skip
    keeper.keep(attempt.spec.get("artifacts_path") or "", list(attempt.spec.get("artifacts") or ()))
    result["values"] = read_values(attempt.box, keeper)
    result["artifacts"], result["warnings"] = keeper.artifacts, keeper.warnings


def patiently(what: Any, *, until: float) -> None:
    """Do something that needs room on the disk, again and again with growing pauses until it works.

    Raises:
        OSError: it did not work until the monotonic time `until`, or the folder itself is gone.

    """
    pause_s = 0.1
    while True:
        try:
            what()
            return
        except FileNotFoundError:
            raise
        except OSError as error:
            if time.monotonic() > until:
                raise
            print(f"waiting: {error}", file=sys.stderr, flush=True)
            time.sleep(pause_s)
            pause_s = min(5.0, pause_s * 2)


def main(arguments: list[str]) -> int:
    """0: the result is written. 2: there is no usable spec. 3: the attempt has been begun already."""
    job, number = os.path.realpath(arguments[1]), int(arguments[2])
    folder = os.path.join(job, "attempts", arguments[2])
    begun = [os.path.join(folder, "runner.json"), os.path.join(folder, "result.json")]
    with open(os.path.join(job, "spec.json"), encoding="utf-8") as stream:
        spec = loads(stream.read())
    if spec["attempt"] != number:
        print(f"spec.json is of attempt {spec['attempt']}, not {number}", file=sys.stderr)
        return UNUSABLE
    if any(map(os.path.exists, begun)):
        return DUPLICATE
    os.makedirs(folder, mode=0o700, exist_ok=True)
    lock = take_lock(os.path.join(folder, "runner.lock"))
    if lock is None or any(map(os.path.exists, begun)):
        return DUPLICATE
    os.umask(0o077)
    attempt = Attempt(job, number, spec)
    attempt.note(None)
    result = carry_out(attempt)
    until = time.monotonic() + PATIENCE_S
    try:
        patiently(lambda: collect(attempt, result), until=until)
    except OSError as error:
        result.update(outcome="failed", artifacts=[])
        result["failure"] = {
            "code": "unavailable",
            "message": f"The command ended, but its files could not be kept: {error}.",
            "remedy": "Make room on the disk of the data directory and run it again.",
        }
    attempt.event("ended", {"outcome": result["outcome"], "exit_code": result["exit_code"]})
    body = dumps(result).encode()
    patiently(lambda: write_new(begun[1], body), until=time.monotonic() + PATIENCE_S)
    poke(spec.get("notify"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
