"""Reproducing a package: verified, unpacked, run again in a fresh environment, compared."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec

from physlab_mcp.bundles import entry_point
from physlab_mcp.bundles.container import open_package, unpack
from physlab_mcp.bundles.rerun import Report
from physlab_mcp.bundles.verify import verify_package
from physlab_mcp.errors import ConflictError, RequestError, UnavailableError


def reproduce_package(
    path: Path,
    *,
    work: Path | None = None,
    here: bool = False,
    trusted: Collection[str] = (),
    own_key: Path | None = None,
) -> Report:
    """Verify the package, run it once more, and compare every value and artifact.

    It runs the code in the package: do that only if you trust its maker. Everything lands in `work`, a new folder (a
    temporary one by default): `package/` if it was a zip, `environment/`, `data/`, `report.json`, `comparison.jsonl`.
    With `here` it runs in the environment of this process instead of a new one.

    Raises:
        NotFoundError: nothing is at `path`.
        RequestError: the package does not pass its verification; `details` has the checks.
        ConflictError: `work` is not empty.
        UnavailableError: the environment cannot be made.

    """
    found = verify_package(path, trusted=trusted, own_key=own_key)
    if not found.ok:
        failed = [check for check in found.checks if check.verdict == "failed"]
        raise RequestError(
            f"The package {path} does not pass its verification, so nothing of it was run: {failed[0].name}, {failed[0].text}.",
            field="path",
            got=str(path),
            remedy="Get it again from its maker; `physlab bundle verify` tells everything that is wrong.",
            details=[{"field": one.name, "message": "; ".join((one.text, *one.found[:5]))} for one in failed],
        )
    work = _folder(work)
    try:
        report: dict[str, Any] = entry_point.reproduce(
            _plain(path, work), work / "run", here=here, uv=shutil.which("uv")
        )
    except entry_point.CannotTryError as error:
        raise UnavailableError(
            f"The package could not be run: {error}.", got=str(path),
            remedy="Look at what was printed above; with a wheelhouse no network is needed.",
        ) from error  # fmt: skip
    return msgspec.convert(report, Report)


def _folder(work: Path | None) -> Path:
    if work is None:
        return Path(tempfile.mkdtemp(prefix="physlab-reproduce-"))
    work = work.absolute()
    work.mkdir(parents=True, exist_ok=True)
    if any(work.iterdir()):
        raise ConflictError(f"{work} is not empty.", field="work", got=str(work), remedy="Name a new folder.")
    return work


def _plain(path: Path, work: Path) -> Path:
    """A copy of the package that nobody changes between its verification and its run."""
    container = open_package(path)
    target = work / "package"
    unpack(container, container.names(), target)
    verified = verify_package(target)
    if not verified.ok:
        raise RequestError(f"{path} changed while it was read.", field="path", got=str(path), remedy="Try again.")
    return target.resolve()
