"""The command `physlab`. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 well, 1 an error, 2 wrong usage, 130 interrupted."""
    from physlab_mcp.cli.parser import build

    args = build().parse_args(argv)

    from importlib import import_module

    from physlab_mcp.cli.output import Output
    from physlab_mcp.errors import PhyslabError

    out = Output(as_json=args.json)
    module, function = args.handler.split(":")
    try:
        return getattr(import_module(f"physlab_mcp.cli.{module}"), function)(args, out) or 0
    except PhyslabError as error:
        return out.error(error)
    except KeyboardInterrupt:
        return out.interrupted()
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("PHYSLAB_LOG", "").upper() == "DEBUG":
            raise
        sys.stderr.write(
            f"physlab failed: {type(error).__name__}: {error}.\n"
            "Run `physlab doctor`; with PHYSLAB_LOG=DEBUG the same command tells where it failed.\n"
        )
        return 1
