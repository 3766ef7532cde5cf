"""`python -m physlab_mcp.cli.rerun PACKAGE WORK`: the step of a reproduction that runs in the environment made for it."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import msgspec

from physlab_mcp.bundles.rerun import Report, Rerun, to_stderr
from physlab_mcp.config import Config
from physlab_mcp.engine.link import ask, gone
from physlab_mcp.errors import PhyslabError, UnavailableError
from physlab_mcp.lab import Lab


async def rerun(package: Path, work: Path) -> Report:
    """Run the package on an engine of its own, whose data directory is new, and end that engine."""
    async with Lab.open(config=Config(), data_dir=work / "data", roots=[work]) as lab:
        try:
            return await Rerun(lab.engine, lab.registry, lab.blobs, package, work, say=to_stderr).run()
        finally:
            with anyio.CancelScope(shield=True):
                await _end(lab)


async def _end(lab: Lab) -> None:
    await ask(lab.data, "stop")
    try:
        await gone(lab.data, timeout_s=15)
    except UnavailableError as error:
        to_stderr(f"Its engine does not end: {error}")


def main(words: list[str]) -> int:
    """Write `report.json` into WORK; the exit code says only whether there is one."""
    package, work = Path(words[0]).absolute(), Path(words[1]).absolute()
    try:
        report = msgspec.to_builtins(anyio.run(rerun, package, work))
    except PhyslabError as error:
        report = _stopped(error, work)
    (work / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    return 0


def _stopped(error: PhyslabError, work: Path) -> dict[str, object]:
    found = [str(one.get("message")) for one in error.details or ()]
    return msgspec.to_builtins(
        Report(
            verdict="failed", values="not_run", handle="", rerun="", points=0, jobs=0, counts={}, differences=[],
            environment=[], notes=found[:20], work=str(work), message=str(error),
        )
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
