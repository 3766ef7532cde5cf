"""An array of commands through the Slurm backend, beside what Slurm itself takes for one. Starts a cluster of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import ROOT, Options, Row
from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.backends.base import Assignment, Submission
from physlab_mcp.backends.hosts.here import here
from physlab_mcp.backends.slurm.backend import SlurmBackend
from physlab_mcp.backends.slurm.settings import SlurmSettings
from physlab_mcp.paths import DataDir
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import Job, JobSpec, Resources

SCRIPT = ROOT / "scripts" / "slurm-test-cluster.sh"
SBIN = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
PORT = 24_000
MEMORY_MIB = 64
MOST_ROUNDS = 3  # a round is a minute
PATIENCE_S = 900.0


def run(options: Options) -> list[Row]:
    """Elements that do nothing: ours are jobs with state, log and result each, Slurm's own start Python and end."""
    lacking = [
        name for name in ("sbatch", "slurmctld", "slurmd", "slurmdbd", "mariadbd") if not shutil.which(name, path=SBIN)
    ]
    if lacking or os.geteuid() != 0:
        print(f"  left out: it needs root and a Slurm ({', '.join(lacking)}); run scripts/install-slurm.sh")
        return []
    size = 100 if options.quick else 1000
    ours: list[float] = []
    theirs: list[float] = []
    questions: list[float] = []
    with _cluster() as root:
        for number in range(1 + (1 if options.quick else min(options.rounds, MOST_ROUNDS))):
            own, (mine, calls) = _own(root, size), asyncio.run(_ours(root, size))
            if number:
                theirs.append(own)
                ours.append(mine)
                questions.append((calls["squeue"] + calls["sacct"]) / mine)
            else:
                _own(root, 10)
    note = f"{max(questions):.2f} squeue and sacct a second, asked each second at most"
    beside = ("Slurm itself, python3 -S -E -c pass", theirs)
    return [Row(f"{size:,} no-op commands as one array", "s", ours, reference=beside, ratio_limit=1.3, note=note)]


@contextmanager
def _cluster() -> Iterator[Path]:
    """A Slurm of four nodes on this machine, in this process's environment."""
    root = Path(tempfile.mkdtemp(prefix="physlab-arrays-"))
    root.chmod(0o755)
    before = dict(os.environ)
    os.environ["PATH"] = SBIN
    try:
        subprocess.run(["bash", SCRIPT, "up", root, "4", str(PORT), "arrays"], check=True, stdout=subprocess.DEVNULL)
        os.environ["SLURM_CONF"] = str(root / "etc" / "slurm.conf")
        yield root
    finally:
        os.environ.clear()
        os.environ.update(before)
        subprocess.run(["bash", SCRIPT, "down", root], check=False)
        shutil.rmtree(root, ignore_errors=True)


def _own(root: Path, size: int) -> float:
    """Seconds that Slurm takes for an array whose elements start the same Python, and nothing else."""
    script = f"#!/bin/sh\n{sys.executable} -S -E -c pass\n"
    began = time.monotonic()
    argv = [
        "sbatch",
        "--parsable",
        f"--array=0-{size - 1}",
        f"--mem={MEMORY_MIB}M",
        "--output=/dev/null",
        "--chdir",
        root,
    ]
    done = subprocess.run(argv, input=script, capture_output=True, text=True, check=True)
    job_id = done.stdout.strip()
    while subprocess.run(["squeue", "-h", "-j", job_id], capture_output=True, check=False).stdout:
        if time.monotonic() - began > PATIENCE_S:
            raise TimeoutError("Slurm's own array does not end")
        time.sleep(0.2)
    return time.monotonic() - began


async def _ours(root: Path, size: int) -> tuple[float, Counter[str]]:
    """Seconds from the submission of as many jobs until the end of each was told, and the questions asked meanwhile."""
    place = Path(tempfile.mkdtemp(prefix="ours-", dir=root))
    data = DataDir(place / "data").create()
    settings = SlurmSettings(root=str(place / "physlab"), partition="work", python=sys.executable, poll_s=1.0)
    backend = SlurmBackend(data, settings, here(settings.root), blobs=Blobs(data.blobs))
    woken = asyncio.Event()
    await backend.start(woken.set)
    await backend.describe()
    spec = JobSpec(command=("true",), resources=Resources(memory_bytes=MEMORY_MIB << 20))
    jobs = [Job(id=new_handle("job"), kind="command", spec=spec, fence=1, submission="arrays") for _ in range(size)]
    left = {job.id for job in jobs}
    began = time.monotonic()
    for job in jobs:
        backend.place(job)
    await backend.submit(Submission("arrays", [Assignment(job=job) for job in jobs]))
    while left:
        async with asyncio.timeout(PATIENCE_S):
            await woken.wait()
        woken.clear()
        seen = backend.drain()
        backend.acknowledge(seen)
        wrong = [one for one in seen if one.kind in ("lost", "dropped", "cancelled") or one.failure]
        if wrong:
            raise RuntimeError(f"a job that does nothing ended as {wrong[0]}")
        left -= {one.job_id for one in seen if one.kind == "done"}
    took = time.monotonic() - began
    await backend.aclose(keep=False)
    return took, backend.cluster.calls
