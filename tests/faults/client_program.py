"""A client that submits groups of jobs and writes the ids it was acknowledged to a file: DATA PLACE ACKS GROUPS NAME."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from load import group

from physlab_mcp.errors import UnavailableError
from physlab_mcp.lab import Lab


async def main(data: str, place: str, acks: str, groups: str, name: str) -> None:
    fd = os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    async with Lab.open(data_dir=Path(data)) as lab:
        for i in range(int(groups)):
            jobs = group(Path(place), f"{name}-{i}", work_s=float(os.environ.get("FAULT_WORK_S", "0")))
            await asyncio.sleep(float(os.environ.get("FAULT_PACE_S", "0")))
            try:
                ids = await lab.engine.submit_jobs(jobs)
            except UnavailableError as error:
                sys.stderr.write(f"{error}\n")
                continue
            os.write(fd, ("\n".join(ids) + "\n").encode())


asyncio.run(main(*sys.argv[1:]))
