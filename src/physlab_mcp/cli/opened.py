"""From the common options to configuration, data directory and an open Lab."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from physlab_mcp.paths import DataDir, default_data_dir

if TYPE_CHECKING:
    from physlab_mcp.config import Config
    from physlab_mcp.lab import Lab

OWNER = "local"  # the principal of the command line


def config_of(args: Namespace) -> Config:
    """The configuration that counts for this command."""
    from physlab_mcp.config import load

    return load(args.config)


def data_of(args: Namespace) -> DataDir:
    """The data directory of this command; it need not exist."""
    return DataDir(args.data_dir or default_data_dir())


def roots_of(args: Namespace) -> list[Path]:
    """The folders named with --root."""
    return [Path(one).expanduser().absolute() for one in args.root]


def with_lab(args: Namespace, work: Callable[[Lab], Awaitable[int]], *, start_engine: bool = True) -> int:
    """Do `work` with an open Lab. Without `start_engine` nothing is started, only looked at."""
    import anyio

    return anyio.run(partial(_opened, args, work, start_engine))


async def _opened(args: Namespace, work: Callable[[Lab], Awaitable[int]], start_engine: bool) -> int:
    from physlab_mcp.lab import Lab

    async with Lab.open(
        config_file=Path(args.config) if args.config else None,
        data_dir=data_of(args).root,
        roots=roots_of(args),
        start_engine=start_engine,
    ) as lab:
        return await work(lab)
