"""A real Slurm for tests, started once in a test process (scripts/slurm-test-cluster.sh) and ended with it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "scripts" / "slurm-test-cluster.sh"
PROGRAMS = ("sbatch", "slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd")
_SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_FIRST_PORT, _PORTS, _ROOMS = 17_000, 20, 200  # of one cluster; below the range from which clients get theirs


class SlurmCluster:
    """A running cluster. `env` is what a process needs to speak to it, and nothing else of ours."""

    def __init__(self, root: Path, name: str, nodes: int, port: int) -> None:
        self.root = root
        self.name = name
        self.port = port
        self.nodes = tuple(f"{name}n{i + 1}" for i in range(nodes))
        self.conf = root / "etc" / "slurm.conf"
        self.env = {"PATH": _SBIN, "HOME": os.environ.get("HOME", "/"), "SLURM_CONF": str(self.conf)}

    def run(
        self, argv: Sequence[str], *, stdin: str = "", env: Mapping[str, str] | None = None, timeout_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """A command with the cluster's environment and nothing else; its exit status is the caller's to look at."""
        return subprocess.run(
            list(argv), input=stdin, env={**self.env, **(env or {})}, capture_output=True, text=True, check=False,
            timeout=timeout_s, errors="surrogateescape",
        )  # fmt: skip

    def say(self, *argv: str) -> str:
        """What a command prints; it must succeed."""
        done = self.run(argv)
        assert done.returncode == 0, f"{argv}: {done.stderr}"
        return done.stdout.strip()

    def do(self, verb: str, *more: str) -> None:
        """`down`, `user`, `kill-controller`, `start-controller`, `kill-node`, `start-node` of the script."""
        done = self.run(["bash", str(SCRIPT), verb, str(self.root), *more])
        assert done.returncode == 0, f"{verb}: {done.stdout}{done.stderr}"

    def starts_now(self, job_id: str) -> bool:
        """Whether a job that Slurm queued again was told to start at once, and not in two minutes; ask until it was.

        In the second in which it was queued again its node still refuses its credential, which fails it for good.
        """
        told = self.run(["squeue", "-h", "-j", job_id, "-o", "%T %V"], env={"SLURM_TIME_FORMAT": "%s"}).stdout.split()
        if len(told) != 2 or told[0] != "PENDING" or time.time() < int(told[1]) + 2:
            return False
        return self.run(["scontrol", "update", f"jobid={job_id}", "starttime=now"]).returncode == 0

    def down(self) -> None:
        """End all of it and remove its folder; again is no error."""
        if self.root.exists():
            self.run(["bash", str(SCRIPT), "down", str(self.root)])
            shutil.rmtree(self.root, ignore_errors=True)


def missing() -> str:
    """Why no cluster can be started here; "" if one can."""
    if os.name != "posix" or os.geteuid() != 0:
        return "a Slurm of our own needs root (munge, MariaDB and Slurm run as users of their own)"
    gone = [name for name in PROGRAMS if shutil.which(name, path=_SBIN) is None]
    return f"not installed: {', '.join(gone)}; run scripts/install-slurm.sh" if gone else ""


def start(nodes: int = 4) -> SlurmCluster:
    """A new cluster in a folder of its own. Ended by `down`, and in any case when this process is gone."""
    port = _free_ports()
    root = Path(tempfile.mkdtemp(prefix="physlab-slurm-"))
    root.chmod(0o755)
    made = SlurmCluster(root, f"t{port}", nodes, port)
    # Somebody must end the daemons if pytest is killed.
    watch = 'while kill -0 "$1" 2>/dev/null; do sleep 1; done; bash "$2" down "$3"; rm -rf "$3"'
    subprocess.Popen(
        ["sh", "-c", watch, "watch", str(os.getpid()), str(SCRIPT), str(made.root)],
        start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=made.env,
    )  # fmt: skip
    done = made.run(["bash", str(SCRIPT), "up", str(made.root), str(nodes), str(port), made.name], timeout_s=180)
    if done.returncode:
        logs = "\n".join(path.read_text(errors="replace")[-2000:] for path in (made.root / "log").glob("*.log"))
        made.down()
        raise AssertionError(f"The cluster did not start:\n{done.stdout}{done.stderr}\n{logs}")
    return made


def _free_ports() -> int:
    for room in range(_ROOMS):
        first = _FIRST_PORT + (os.getpid() + room) % _ROOMS * _PORTS
        try:
            for port in (first, first + 1, *range(first + 11, first + 16)):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("There are no free ports for a cluster.")


@cache
def _started() -> SlurmCluster:
    return start()


@pytest.fixture(scope="session")
def slurm():
    """The cluster of this test process. Skips where none can be had, and fails where it could be installed in the CI."""
    why = missing()
    if why and os.environ.get("CI") == "true" and why.startswith("not installed") and shutil.which("apt-get"):
        pytest.fail(why)
    if why:
        pytest.skip(why)
    yield _started()
    _started().down()
