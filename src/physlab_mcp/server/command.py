"""The command `physlab-mcp`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from physlab_mcp import __version__
from physlab_mcp.errors import PhyslabError


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(prog="physlab-mcp", description="Serve physlab over the Model Context Protocol.")
    made.add_argument("--config", type=Path, metavar="FILE", help="default $PHYSLAB_CONFIG, else ./server.config.json")
    made.add_argument("--data-dir", type=Path, metavar="DIR", help="default $PHYSLAB_DATA_DIR, else the user's")
    made.add_argument(
        "--root", type=Path, action="append", metavar="DIR", help="a folder that paths may name; repeatable"
    )
    made.add_argument("--http", action="store_true", help="serve streamable HTTP at /mcp instead of stdio")
    made.add_argument("--host", default="127.0.0.1")
    made.add_argument("--port", type=int, default=8765)
    made.add_argument("--version", action="version", version=__version__)
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until the client leaves (stdio) or the process is told to stop (HTTP)."""
    import anyio

    options = parser().parse_args(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        anyio.run(_serve, options)
    except PhyslabError as error:
        sys.stderr.write(f"physlab-mcp: {error}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


async def _serve(options: argparse.Namespace) -> None:
    from physlab_mcp.lab import Lab
    from physlab_mcp.server.app import build
    from physlab_mcp.server.http import http_token, serve_http

    async with Lab.open(config_file=options.config, data_dir=options.data_dir, roots=options.root or ()) as lab:
        server = build(lab)
        if not options.http:
            await server.run_stdio_async()
            return
        if lab.config.auth.mode == "off":
            sys.stderr.write(f"physlab-mcp serves http://{options.host}:{options.port}/mcp without a token\n")
            await serve_http(server, host=options.host, port=options.port, token=None)
            return
        secret = lab.config.auth.token
        token = secret.read() if secret is not None else http_token(lab.data.http_token)
        sys.stderr.write(f"physlab-mcp serves http://{options.host}:{options.port}/mcp; the token is in ")
        sys.stderr.write("the configured place\n" if secret is not None else f"{lab.data.http_token}\n")
        await serve_http(server, host=options.host, port=options.port, token=token)
