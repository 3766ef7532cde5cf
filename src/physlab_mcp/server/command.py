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
    made.add_argument("--port", type=_port, default=8765, help="0 takes a free one")
    made.add_argument("--version", action="version", version=__version__)
    return made


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError("must be from 0 to 65535")
    return value


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
    if options.http:
        await _serve_http(options)
        return
    from physlab_mcp.lab import Lab
    from physlab_mcp.server.app import build

    async with Lab.open(config_file=options.config, data_dir=options.data_dir, roots=options.root or ()) as lab:
        await build(lab).run_stdio_async()


async def _serve_http(options: argparse.Namespace) -> None:
    from physlab_mcp.config import load
    from physlab_mcp.lab import Lab
    from physlab_mcp.paths import DataDir, default_data_dir
    from physlab_mcp.server.app import build
    from physlab_mcp.server.http import check_token, http_token, listen, serve_http

    # Whatever forbids serving is found before anything is opened or announced.
    config = load(options.config)
    data = DataDir(options.data_dir or default_data_dir()).create()
    secret = config.auth.token
    token: str | None = None
    if config.auth.mode != "off":
        token = secret.read() if secret is not None else http_token(data.http_token)
    check_token(options.host, token)
    with listen(options.host, options.port) as door:
        async with Lab.open(
            config=config, config_file=options.config, data_dir=options.data_dir, roots=options.root or ()
        ) as lab:
            host = f"[{options.host.strip('[]')}]" if ":" in options.host else options.host
            text = "the token is in " + ("the configured place" if secret is not None else str(data.http_token))
            text = "without a token" if token is None else text
            port = door.getsockname()[1]
            sys.stderr.write(f"physlab-mcp serves http://{host}:{port}/mcp; {text}\n")
            await serve_http(build(lab), host=options.host, port=port, token=token, door=door)
