"""`physlab config show|check|schema`."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import TYPE_CHECKING

from physlab_mcp.cli.opened import config_of, data_of

if TYPE_CHECKING:
    from physlab_mcp.cli.output import Output


def show(args: Namespace, out: Output) -> int:
    """The configuration that counts and where it comes from. Secrets are shown as references only."""
    from physlab_mcp.config import locate

    config = config_of(args)
    found = locate(args.config)
    source = str(found) if found else "built-in"
    out.answer({"source": source, "data_dir": str(data_of(args).root), "config": config.as_dict()})
    out.note(f"Source: {source}. Data directory: {data_of(args).root}.")
    out.say(json.dumps(config.as_dict(), indent=2))
    return 0


def check(args: Namespace, out: Output) -> int:
    """Exit code 0 if it is valid, 1 with every defect otherwise."""
    from physlab_mcp.config import locate

    config = config_of(args)
    if config.auth.token is not None:
        config.auth.token.read()
    found = locate(args.config)
    out.answer({"ok": True, "source": str(found) if found else None})
    out.say(f"{found} is valid." if found else "There is no configuration file; the built-in settings count.")
    return 0


def schema(args: Namespace, out: Output) -> int:
    """The JSON Schema, for editors and checks."""
    from physlab_mcp.config import schema as make

    del args
    out.answer(make())
    out.say(json.dumps(make(), indent=2))
    return 0
