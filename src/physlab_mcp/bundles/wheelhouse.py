"""The wheels in a package: physlab's own always, all others where they are wanted."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import physlab_mcp
from physlab_mcp.bundles.contents import Contents
from physlab_mcp.bundles.lock import Lock, installed
from physlab_mcp.bundles.shapes import WHEELHOUSE, WHEELHOUSE_REQUIREMENTS
from physlab_mcp.bundles.wheels import wheel_of
from physlab_mcp.errors import UnavailableError
from physlab_mcp.nodes.extras import NAME


def add_own_wheel(contents: Contents) -> str:
    """physlab as it is installed here, at `code/physlab_mcp-<version>-py3-none-any.whl`; the wheel's path.

    Raises:
        UnavailableError: it is not installed as a distribution.

    """
    own = installed(NAME)
    if own is None:
        raise UnavailableError(
            "physlab is not installed as a distribution here, so it cannot be put into the package.", got=NAME,
            remedy="Install it with pip or uv instead of setting PYTHONPATH.",
        )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        wheel = wheel_of(own, Path(folder), package=Path(physlab_mcp.__file__).parent)
        return contents.copy(f"code/{wheel.name}", wheel).path


def add_wheelhouse(contents: Contents, lock: Lock) -> list[str]:
    """A wheel of every package of the lock, and a requirements file with their hashes; what could not be packed and why."""
    warnings: list[str] = []
    lines = [f"# Python {lock.python} on {lock.system} {lock.machine}; wheels packed from what was installed."]
    with tempfile.TemporaryDirectory() as folder:
        for pin in lock.pins:
            one = installed(pin.name)
            if one is None or one.version != pin.version:
                found = one.version if one is not None else "not installed"
                warnings.append(f"{pin.name} {pin.version} is not in the wheelhouse: here it is {found}.")
                continue
            if '"editable": true' in json.dumps(json.loads(one.read_text("direct_url.json") or "{}")):
                warnings.append(f"{pin.name} {pin.version} is not in the wheelhouse: it is installed as editable.")
                continue
            wheel = wheel_of(one, Path(folder))
            entry = contents.copy(f"{WHEELHOUSE}{wheel.name}", wheel)
            lines.append(f"{pin.name}=={pin.version} \\\n    --hash=sha256:{entry.sha256}")
            wheel.unlink()
    contents.add_text(WHEELHOUSE_REQUIREMENTS, "\n".join(lines) + "\n")
    return warnings
