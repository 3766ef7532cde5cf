"""Streamable HTTP at /mcp: a bearer token at the door, Host and Origin checked, JSON bodies only."""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physlab_mcp.errors import ForbiddenError, UnavailableError

if TYPE_CHECKING:
    from mcp.server import MCPServer
    from starlette.types import ASGIApp, Receive, Scope, Send

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def http_token(path: Path) -> str:
    """The server's bearer token, made at first use, in a file that only its owner reads.

    Raises:
        ForbiddenError: others can read the file.

    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise ForbiddenError(
                f"The token file {path} can be read by others.", got=str(path), remedy=f"chmod 600 {path}"
            ) from None
        token = path.read_text().strip()
        if token:
            return token
        fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
    token = secrets.token_urlsafe(32)
    with os.fdopen(fd, "w") as file:
        file.write(token + "\n")
    return token


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """Asks every HTTP request for the bearer token and notes the principal for the handlers."""

    def __init__(self, app: ASGIApp, token: str | None, *, principal: str = "local") -> None:
        self._app = app
        self._token = token
        self._principal = principal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it pass, or answer 401."""
        if scope["type"] == "http":
            if self._token is not None and not self._knows(scope):
                await _refuse(send)
                return
            scope = {**scope, "physlab.principal": self._principal}
        await self._app(scope, receive, send)

    def _knows(self, scope: Scope) -> bool:
        for name, value in scope["headers"]:
            if name == b"authorization":
                kind, _, given = value.partition(b" ")
                return kind.lower() == b"bearer" and hmac.compare_digest(given.strip(), (self._token or "").encode())
        return False


async def _refuse(send: Send) -> None:
    body = b'{"error": {"code": "forbidden", "message": "A bearer token is needed.", '
    body += b'"remedy": "Send Authorization: Bearer with the content of http.token in the data directory."}}'
    headers = [(b"content-type", b"application/json"), (b"www-authenticate", b'Bearer realm="physlab"')]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def check_token(host: str, token: str | None) -> None:
    """Whether it may be served like this.

    Raises:
        ForbiddenError: no token although others can reach it.

    """
    if token is None and not is_loopback(host):
        raise ForbiddenError(
            f"auth: off is possible on loopback only, not on {host}.", got=host, remedy="Use 127.0.0.1, or a token."
        )


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes a free one.

    Raises:
        UnavailableError: the host is not this machine's, or the port is taken or reserved.

    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # elsewhere this option would let two programs share a port
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
            made.listen(2048)
            made.setblocking(False)
        except OSError:
            made.close()
            raise
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnavailableError(
            f"{host}:{port} cannot be served: {reason}.",
            field="port",
            got=f"{host}:{port}",
            remedy="Name another with --port or --host, or stop the program that holds it.",
        ) from None
    return made


def http_app(server: MCPServer[Any], *, host: str, token: str | None) -> ASGIApp:
    """The ASGI application.

    Raises:
        ForbiddenError: no token although others can reach it.

    """
    from mcp.server.transport_security import TransportSecuritySettings

    check_token(host, token)
    names = [*_LOOPBACK]
    if not is_loopback(host):
        names += [host, socket.gethostname(), socket.getfqdn()]
    hosts = [one for name in names for one in (name, f"{name}:*")]
    origins = [f"{scheme}://{one}" for scheme in ("http", "https") for one in hosts]
    security = TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=origins)
    app = server.streamable_http_app(streamable_http_path="/mcp", transport_security=security, host=host)
    return Guard(app, token)


async def serve_http(
    server: MCPServer[Any], *, host: str, port: int, token: str | None, door: socket.socket | None = None
) -> None:
    """Serve until told to stop, at `door` where it listens already; every log line goes to stderr."""
    import uvicorn

    app = http_app(server, host=host, token=token)
    config = uvicorn.Config(app, log_level="warning", access_log=False, log_config=None)
    await uvicorn.Server(config).serve(sockets=[door or listen(host, port)])
