"""How a host is reached over SSH: settings, and the files that they name."""

from __future__ import annotations

import getpass
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from physlab_mcp.backends.hosts.host import HostKeyError, LoginError, unavailable
from physlab_mcp.errors import RequestError


class SSHSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One SSH server and the login there. The keys of hosts are always checked; there is no switch for that.

    `keys`: private key files (a certificate `<key>-cert.pub` beside one is used). `agent`: the keys of the agent behind
    $SSH_AUTH_SOCK. `passphrase`: gives the passphrase of the keys, such as `Secret(..).read`; asked at each login.
    `known_hosts`: a file, "" for the user's own. `jump`: servers on the way, the first one first, each with all of its own
    settings. `python`: an interpreter there, 3.8 or newer. `section`: where these settings stand, for messages.
    """

    host: str
    port: int = 22
    user: str = ""
    keys: tuple[str, ...] = ()
    agent: bool = False
    passphrase: Callable[[], str] | None = None
    known_hosts: str = ""
    jump: tuple[SSHSettings, ...] = ()
    connect_timeout_s: float = 20.0
    keepalive_s: float = 15.0
    python: str = "python3"
    section: str = "ssh"

    @property
    def login(self) -> str:
        """The user name there."""
        return self.user or getpass.getuser()

    @property
    def shown(self) -> str:
        """`user@host:port`, for messages."""
        return f"{self.login}@{self.host}:{self.port}"

    @property
    def known_hosts_file(self) -> Path:
        """The file with the keys of hosts."""
        return Path(self.known_hosts or "~/.ssh/known_hosts").expanduser()

    @property
    def key_files(self) -> list[Path]:
        """The private keys."""
        return [Path(key).expanduser() for key in self.keys]

    def check(self) -> None:
        """Refuse settings that cannot work.

        Raises:
            RequestError: naming the setting.

        """
        wrong: tuple[str, object, str] | None = None
        if not self.host or self.host.startswith("-"):
            wrong = ("host", self.host, "Name the login node.")
        elif not 1 <= self.port <= 65535:
            wrong = ("port", self.port, "Name a port from 1 to 65535.")
        elif not self.keys and not self.agent:
            wrong = ("keys", [], 'Name a private key file in `keys`, or set "agent": true.')
        elif not (self.connect_timeout_s > 0 and self.keepalive_s > 0):
            wrong = ("keepalive_s", self.keepalive_s, "Give times above zero seconds.")
        elif any(one.jump for one in self.jump):
            wrong = (
                "jump",
                [one.shown for one in self.jump],
                "List all jump hosts in the one `jump`, first one first.",
            )
        if wrong is not None:
            field, got, remedy = wrong
            field = f"{self.section}.{field}"
            raise RequestError(f"{field} = {got!r} cannot be used.", field=field, got=got, remedy=remedy)
        for one in self.jump:
            one.check()

    def files(self) -> list[Path]:
        """What a person may change to mend a refused login, of all hops."""
        own = [self.known_hosts_file, *self.key_files]
        return own + [path for one in self.jump for path in one.files()]


def stamps(files: list[Path]) -> list[tuple[int, int, int] | None]:
    """What tells whether files changed."""
    found: list[tuple[int, int, int] | None] = []
    for path in files:
        try:
            seen = path.stat()
        except OSError:
            found.append(None)
        else:
            found.append((seen.st_mtime_ns, seen.st_size, seen.st_ino))
    return found


def read_known_hosts(settings: SSHSettings) -> str:
    """The text of the known_hosts file.

    Raises:
        HostKeyError: it cannot be read.

    """
    path = settings.known_hosts_file
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror
    except UnicodeDecodeError:
        reason = "it is no text"
    raise host_key_error(settings, f"the known_hosts file {path} cannot be read: {reason}", shown="")


def check_key_file(settings: SSHSettings, path: Path) -> None:
    """Refuse a key file that is missing or open to others.

    Raises:
        LoginError: naming it.

    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        reason = f"the key file {path} cannot be read: {error.strerror}"
        raise login_error(settings, reason, f"Name the right file in {settings.section}.keys.") from None
    if not stat.S_ISREG(mode) or not os.access(path, os.R_OK):
        reason = f"the key file {path} is no file that can be read"
        raise login_error(settings, reason, f"Name the right file in {settings.section}.keys.")
    if os.name == "posix" and mode & 0o077:
        raise login_error(
            settings, f"the key file {path} is open to others (mode {mode & 0o777:o})", f"chmod 600 {path}"
        )


def login_error(settings: SSHSettings, reason: str, remedy: str) -> LoginError:
    """The login was refused, here or there; written so that the user and the file are seen."""
    error = unavailable(
        f"No login as {settings.login} on {settings.host}:{settings.port}: {reason}.",
        sent=False, since=time.time(), got=settings.shown, remedy=remedy, kind=LoginError,
    )  # fmt: skip
    assert isinstance(error, LoginError)  # noqa: S101 - `kind` says so
    return error


def host_key_error(settings: SSHSettings, reason: str, *, shown: str, changed: bool = False) -> HostKeyError:
    """The host is not known to be the right one; `shown` is the fingerprint of the key that it showed."""
    path, port = settings.known_hosts_file, settings.port
    entry = settings.host if port == 22 else f"[{settings.host}]:{port}"
    if changed:
        remedy = (
            f"Somebody may be in between. Ask the administrator for the fingerprint; only if it is {shown}, remove the old"
            f" key with ssh-keygen -R '{entry}' -f {path} and add the new one."
        )
    else:
        fingerprint = f" and check that its fingerprint is {shown}" if shown else ""
        remedy = (
            f"Add its key with ssh-keyscan -p {port} {settings.host} >> {path}{fingerprint}, as the administrator says;"
            f" or name the file that has it in {settings.section}.known_hosts."
        )
    error = unavailable(
        f"{settings.host}:{port} is not trusted: {reason}.",
        sent=False, since=time.time(), got=str(path), remedy=remedy, kind=HostKeyError,
    )  # fmt: skip
    assert isinstance(error, HostKeyError)  # noqa: S101 - `kind` says so
    return error
