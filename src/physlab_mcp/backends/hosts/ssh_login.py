"""One login over SSH: the host's key checked, our key shown. Only keys are ever offered, and nothing is forwarded."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from physlab_mcp.backends.hosts.ssh_settings import (
    SSHSettings,
    check_key_file,
    host_key_error,
    login_error,
    read_known_hosts,
)
from physlab_mcp.errors import UnavailableError

if TYPE_CHECKING:
    import asyncssh

MISSED = 3  # keepalives without an answer after which a connection counts as lost


async def load() -> None:
    """Import asyncssh, in a thread: it takes most of a second.

    Raises:
        UnavailableError: it is not installed.

    """
    try:
        asyncssh = await anyio.to_thread.run_sync(importlib.import_module, "asyncssh")
    except ImportError:
        raise UnavailableError(
            "SSH needs the package asyncssh, which is not installed.", remedy="pip install 'physlab-mcp[cluster]'"
        ) from None
    asyncssh.set_log_level(logging.WARNING)


async def log_in(
    settings: SSHSettings, tunnel: asyncssh.SSHClientConnection | None, lost: Callable[[str], None]
) -> asyncssh.SSHClientConnection:
    """A connection, through `tunnel` if there is one; `lost` is told the reason when it ends.

    Raises:
        HostKeyError, LoginError: a person has to mend something.
        OSError, TimeoutError, asyncssh.Error: it cannot be reached.

    """
    import asyncssh

    trusted = _trusted(settings)
    shown: list[str] = []

    class Client(asyncssh.SSHClient):
        def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
            """Called for a key that is not in known_hosts: noted, and refused."""
            del host, addr, port
            shown.append(f"{key.get_algorithm()} {key.get_fingerprint()}")
            return False

        def connection_lost(self, exc: Exception | None) -> None:
            lost(str(exc) if exc else "closed")

    async with AsyncExitStack() as stack:
        with anyio.fail_after(settings.connect_timeout_s):
            keys = await _keys(settings, stack)
            try:
                return await asyncssh.connect(
                    settings.host, settings.port, tunnel=tunnel or (), config=None, username=settings.login,
                    client_factory=Client, known_hosts=trusted, x509_trusted_certs=None, client_keys=keys,
                    agent_path=None, preferred_auth="publickey", password=None, gss_host=None,
                    keepalive_interval=settings.keepalive_s, keepalive_count_max=MISSED,
                )  # fmt: skip
            except asyncssh.HostKeyNotVerifiable as error:
                raise _not_trusted(settings, trusted, shown, str(error)) from None
            except asyncssh.PermissionDenied:
                raise login_error(settings, "the server refused " + _offered(settings), _remedy(settings)) from None


def _offered(settings: SSHSettings) -> str:
    offers = [f"the key {path}" for path in settings.key_files]
    if settings.agent:
        offers.append("the keys of the agent")
    return " and ".join(offers)


def _remedy(settings: SSHSettings) -> str:
    public = f"{settings.key_files[0]}.pub" if settings.keys else "the agent's public key (ssh-add -L)"
    return (
        f"Check {settings.section}.user, and that {public} stands in ~/.ssh/authorized_keys of {settings.login} there."
    )


def _trusted(settings: SSHSettings) -> asyncssh.SSHKnownHosts:
    import asyncssh

    text = read_known_hosts(settings)
    try:
        return asyncssh.import_known_hosts(text)
    except ValueError as error:
        raise host_key_error(
            settings, f"the known_hosts file {settings.known_hosts_file} cannot be read: {error}", shown=""
        ) from None


def _not_trusted(settings: SSHSettings, trusted: asyncssh.SSHKnownHosts, shown: list[str], reason: str) -> Exception:
    import asyncssh

    port = None if settings.port == 22 else settings.port
    known = asyncssh.match_known_hosts(trusted, settings.host, "", port)
    path, fingerprint = settings.known_hosts_file, shown[-1] if shown else ""
    if known[2] and not fingerprint:
        said = f"its key is marked as revoked in {path}"
    elif known[0] or known[1]:
        said = f"it showed the key {fingerprint or '(another kind)'}, and {path} has another one"
    elif fingerprint:
        said = f"it showed the key {fingerprint}, and {path} has none for it"
    else:
        said = f"{reason}; see {path}"
    return host_key_error(settings, said, shown=fingerprint, changed=bool(known[0] or known[1]))


async def _keys(settings: SSHSettings, stack: AsyncExitStack) -> list[Any]:
    """Our keys: of files, and of the agent, which is asked until the login is done."""
    import asyncssh

    found: list[Any] = []
    for path in settings.key_files:
        check_key_file(settings, path)
        try:
            secret = settings.passphrase() if settings.passphrase is not None else None
            found.extend(asyncssh.load_keypairs([str(path)], secret))
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            raise login_error(
                settings, f"the key file {path} cannot be used: {error}", _key_remedy(settings, error)
            ) from None
    if settings.agent:
        found.extend(await _agent_keys(settings, stack))
    return found


def _key_remedy(settings: SSHSettings, error: Exception) -> str:
    text, section = str(error).lower(), settings.section
    if "bcrypt" in text:
        return f"pip install bcrypt, which opens locked keys; or load the key into the agent ({section}.agent)."
    if any(word in text for word in ("passphrase", "encrypt", "decrypt")):
        return f"Name its passphrase as a secret in {section}.passphrase, or load it into the agent ({section}.agent)."
    return f"Name a private key in {section}.keys."


async def _agent_keys(settings: SSHSettings, stack: AsyncExitStack) -> list[Any]:
    import asyncssh

    path = os.environ.get("SSH_AUTH_SOCK", "")
    remedy = (
        "Start an agent (ssh-agent), load the key (ssh-add), and let the engine see $SSH_AUTH_SOCK; or name key files in"
        f" {settings.section}.keys."
    )
    if not path:
        raise login_error(settings, "there is no agent: $SSH_AUTH_SOCK is not set", remedy)
    try:
        agent = await asyncssh.connect_agent(path)
        stack.push_async_callback(agent.wait_closed)
        stack.callback(agent.close)
        keys = list(await agent.get_keys())
    except (OSError, ValueError) as error:
        raise login_error(settings, f"the agent behind {path} does not answer: {error}", remedy) from None
    if not keys:
        raise login_error(settings, f"the agent behind {path} holds no key", remedy)
    return keys
