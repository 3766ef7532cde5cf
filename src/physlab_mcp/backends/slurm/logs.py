"""Reading a log wherever it is now: here once it came home, on the cluster before."""

from __future__ import annotations

import os
from pathlib import Path

from physlab_mcp.backends.hosts.host import Host

_LOOK_S = 20.0


async def read_log(host: Host, here: Path, there: str, *, offset: int, limit: int) -> tuple[bytes, int]:
    """A piece and the offset that continues it; a negative offset counts from the end. What is not there is empty.

    Raises:
        UnavailableError: it lies on the host, which cannot be reached.

    """
    try:
        with here.open("rb") as log:
            size = os.fstat(log.fileno()).st_size
            begin = max(0, size + offset) if offset < 0 else offset
            log.seek(begin)
            data = log.read(limit)
        return data, begin + len(data)
    except FileNotFoundError:
        pass
    begin = offset
    if offset < 0:
        done = await host.run(["wc", "-c", "--", there], timeout_s=_LOOK_S)
        told = done.out.split()
        begin = max(0, int(told[0]) + offset) if done.code == 0 and told and told[0].isdigit() else 0
    (data,) = await host.read_many([(there, begin, limit)])
    return (b"", max(0, offset)) if data is None else (data, begin + len(data))
