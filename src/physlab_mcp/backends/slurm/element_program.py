"""The program that a cluster's nodes run: element.py with the runner beside it, in a folder named by its content."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from physlab_mcp.backends.hosts.host import Host

_ROOM = Path(__file__).parent.parent


@cache
def files() -> dict[str, bytes]:
    """Every file of the program by its relative name."""
    parts = sorted((_ROOM / "runner_parts").glob("*.py"))
    found = {name: Path(__file__).with_name(name) for name in ("element.py", "element_run.py")}
    found["runner.py"] = _ROOM / "runner.py"
    found |= {f"runner_parts/{path.name}": path for path in parts}
    return {name: path.read_bytes() for name, path in found.items()}


@cache
def digest() -> str:
    """What names this version of it."""
    told = hashlib.sha256()
    for name, data in sorted(files().items()):
        told.update(f"{name}\0{len(data)}\0".encode() + data)
    return told.hexdigest()[:16]


async def brought(host: Host) -> str:
    """The path of element.py on the host, brought there unless it is there."""
    folder = f"{host.root}/program/{digest()}"
    if not await host.exists(f"{folder}/whole"):
        await host.write_many([(f"{folder}/{name}", data, 0o600) for name, data in files().items()])
        await host.write(f"{folder}/whole", b"")
    return f"{folder}/element.py"
