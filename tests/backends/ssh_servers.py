"""A real OpenSSH server on loopback for tests, that an ordinary user logs into.

Run by root, it gets a private view of /etc, in which a user of its own is added, or an account of this machine has the
home and shell that a test wants: no account is made or changed. Else it runs as the user who runs the tests.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
from tests.waiting import until

from physlab_mcp.backends.hosts.ssh_settings import SSHSettings

SSHD = "/usr/sbin/sshd"
UID = 23456
CONFIG = """{more}
Port {port}
ListenAddress {address}
HostKey {folder}/host
PidFile {folder}/sshd.pid
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
AllowTcpForwarding yes
Subsystem sftp internal-sftp
UseDNS no
LogLevel VERBOSE
SetEnv {env}
"""


def need_sshd() -> None:
    """Skip, saying why, where there is no OpenSSH server."""
    missing = [name for name in (SSHD, "ssh-keygen") if shutil.which(name) is None]
    if missing or sys.platform != "linux":
        pytest.skip(f"no {', '.join(missing) or 'Linux'}: run scripts/install-test-tools.sh as root")
    if os.getuid() == 0:
        tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True, check=False, timeout=20)
        if tried.returncode:
            pytest.skip(f"no mount namespace for root here, run the tests as another user: {tried.stderr.strip()}")


def new_key(path: Path, *options: str) -> str:
    """A key made by ssh-keygen; its public half."""
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path), *options]
    subprocess.run(argv, check=True, capture_output=True, timeout=30)
    return path.with_name(path.name + ".pub").read_text().strip()


def free_port() -> int:
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return line.getsockname()[1]


class Server:
    """One sshd with keys of its own; `settings()` is how to log in."""

    def __init__(
        self, *, more: str = "", address: str = "127.0.0.1", prefix: tuple[str, ...] = (), account: str = "",
        env: dict[str, str] | None = None, shell: str = "/bin/bash",
    ) -> None:  # fmt: skip
        """`account`: an existing one to log into, if root runs it, with `shell`; `env`: variables (no spaces) of its sessions."""
        need_sshd()
        self.folder = Path(tempfile.mkdtemp(prefix="physlab-sshd-"))
        self.home = self.folder / "home"
        self.root = self.folder / "root"
        self.key = self.folder / "client"
        self.known_hosts = self.folder / "known_hosts"
        self.address = address
        self.port = free_port()
        self._more, self._prefix = more, prefix
        self._process: subprocess.Popen[bytes] | None = None
        self._env = {"HOME": str(self.home), **(env or {})}
        self._shell = shell
        if os.getuid():
            self.user, self.uid, self.gid = pwd.getpwuid(os.getuid()).pw_name, os.getuid(), os.getgid()
        elif account:
            self.user, (self.uid, self.gid) = account, pwd.getpwnam(account)[2:4]
        else:
            self.user, self.uid, self.gid = "tester", UID, UID
        self._lay_out()

    def _lay_out(self) -> None:
        self.folder.chmod(0o755)
        for path in (self.home, self.root):
            path.mkdir()
        (self.folder / "authorized_keys").write_text(new_key(self.key) + "\n")
        self.host_key = new_key(self.folder / "host")
        self.known_hosts.write_text(f"[{self.address}]:{self.port} {self.host_key}\n")
        env = " ".join(f"{name}={value}" for name, value in self._env.items())
        text = CONFIG.format(port=self.port, address=self.address, folder=self.folder, more=self._more, env=env)
        (self.folder / "sshd_config").write_text(text)
        if os.getuid() == 0:
            for path in (self.folder, self.home, self.root, self.folder / "host"):
                os.chown(path, self.uid, self.gid)
            self._own_etc()

    def _own_etc(self) -> None:
        """A view of /etc with our user. A whole folder, since a mount on the file ends when somebody replaces it."""
        view, real = self.folder / "etc", self.folder / "etc-of-the-machine"
        view.mkdir()
        real.mkdir()
        for entry in os.listdir("/etc"):
            (view / entry).symlink_to(real / entry)
        (view / "passwd").unlink()
        others = [line for line in Path("/etc/passwd").read_text().splitlines() if line.split(":")[0] != self.user]
        ours = f"{self.user}:x:{self.uid}:{self.gid}::{self.home}:{self._shell}"
        (view / "passwd").write_text("\n".join([*others, ours, ""]))

    def start(self) -> Self:
        """Listen; returns when it does."""
        config = str(self.folder / "sshd_config")
        argv = [SSHD, "-D", "-e", "-f", config]
        if os.getuid() == 0:
            argv = ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups", *argv]
            script = 'mount --bind /etc "$1/etc-of-the-machine" && mount --bind "$1/etc" /etc && shift && exec "$@"'
            argv = ["unshare", "--mount", "sh", "-c", script, "sh", str(self.folder), *argv]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([*self._prefix, *argv], stderr=log, stdin=subprocess.DEVNULL)
        until(self._listens, what=f"sshd; its log: {(self.folder / 'log').read_text()[-500:]}")
        return self

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()[-1000:]
        return f"listening on {self.address}" in (self.folder / "log").read_text()

    def stop(self) -> None:
        """End it with all of its connections."""
        if self._process is None:
            return
        for one in (*self.sessions(), psutil.Process(self._process.pid)):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
        self._process.wait(20)
        self._process = None
        (self.folder / "log").unlink()

    def as_root(self, *argv: str) -> None:
        """Do something in the server's own view of the file system; only where root runs the tests."""
        assert self._process is not None
        if os.getuid():
            pytest.skip("this needs root")
        subprocess.run(["nsenter", f"--target={self._process.pid}", "--mount", *argv], check=True, timeout=20)

    def sessions(self) -> list[psutil.Process]:
        """The server's processes that serve a connection each."""
        assert self._process is not None
        found = psutil.Process(self._process.pid).children(recursive=True)
        return [one for one in found if one.is_running() and one.name().startswith("sshd")]

    def signal_sessions(self, number: signal.Signals) -> None:
        """Kill (or stop) whatever serves a connection now."""
        for one in self.sessions():
            one.send_signal(number)

    def logins(self) -> int:
        """How many logins it has accepted since it was started."""
        return (self.folder / "log").read_text().count("Accepted publickey")

    def settings(self, **changed: Any) -> SSHSettings:
        """How to log in."""
        fields: dict[str, Any] = {
            "host": self.address, "port": self.port, "user": self.user, "keys": (str(self.key),),
            "known_hosts": str(self.known_hosts), "python": "/usr/bin/python3",
        }  # fmt: skip
        return SSHSettings(**{**fields, **changed})

    def remove(self) -> None:
        """Stop, and remove its files."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
