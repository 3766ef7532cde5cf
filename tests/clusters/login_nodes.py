"""The login node of a test cluster: a real sshd, and a user of the cluster whom nothing distinguishes."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
import sys
import sysconfig
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from tests.backends.ssh_servers import Server
from tests.backends.wires import Wire
from tests.clusters.slurm_cluster import SlurmCluster

REPOSITORY = Path(__file__).parents[2]
# Accounts that every Debian has and that nobody uses: Slurm's daemons must know the name, and we make no account.
ACCOUNTS = ("games", "news", "uucp", "backup")
NOISE = "echo Welcome to the cluster; echo 'quota: 5% of 100 GB' >&2; printf 'Maintenance on Monday'\n"

SBATCH = """#!/bin/sh
cd {folder} || exit 1
pause() {{
  [ -e "$1" ] || return 0
  mv "$1" "$1.done"
  touch waits
  while [ ! -e go ]; do sleep 0.02; done
}}
echo called >> calls
pause before
said=$({real} "$@")
code=$?
echo "$code" >> ended
pause after
echo "$said"
exit $code
"""


def account() -> str:
    """An ordinary user whom this machine knows, without a process."""
    for name in ACCOUNTS:
        with suppress(KeyError):
            if pwd.getpwnam(name).pw_uid:
                return name
    pytest.skip(f"this machine has none of the accounts {', '.join(ACCOUNTS)}")


@cache
def python_for(uid: int) -> tuple[str, str] | None:
    """An interpreter that a user may run and its PYTHONPATH for physlab; the tests' own may lie in root's home."""
    packages = sysconfig.get_path("purelib")
    places = [str(REPOSITORY), str(REPOSITORY / "src"), packages]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, shutil.which(version, path="/usr/local/bin:/usr/bin"), "/usr/bin/python3"):
        argv = [python or "", "-c", "import physlab_mcp, pydantic_core"]
        with suppress(OSError, subprocess.TimeoutExpired):
            env = {"PYTHONPATH": ":".join(places), "PATH": os.defpath}
            done = subprocess.run(argv, env=env, user=uid, group=uid, extra_groups=(), capture_output=True,
                                  check=False, timeout=60, cwd="/")  # fmt: skip
            if done.returncode == 0:
                return python or "", ":".join(places)
    return None


class LoginNode(Server):
    """An sshd of an ordinary user of `cluster`. Behind a `wire` it has two cables: ours, and one to the cluster."""

    def __init__(self, cluster: SlurmCluster, *, wire: Wire | None = None, shell: str = "/bin/bash") -> None:
        name, conf, prefix = account(), cluster.conf, ()
        if wire is not None:
            prefix = wire.prefix
            inner, _ = wire.cable()
            conf = cluster.root / "etc" / f"{wire.name}.conf"
            conf.write_text(cluster.conf.read_text().replace("127.0.0.1", inner))
        super().__init__(
            address=wire.there if wire else "127.0.0.1", prefix=prefix, account=name, shell=shell,
            env={"SLURM_CONF": str(conf)},
        )  # fmt: skip
        cluster.do("user", name)
        found = python_for(self.uid)
        if found is None:
            self.remove()
            pytest.skip(f"{name} can run no Python {sys.version_info.major}.{sys.version_info.minor} with our packages")
        self.python, self.python_path = found
        (self.home / ".bashrc").write_text(NOISE)

    def sbatch_that_waits(self, folder: Path, when: str) -> None:
        """Logins find an sbatch that waits once, `before` or `after` it did its work, until `folder`/go is there.

        It notes each call in `folder`/calls, each that is over in `folder`/ended, and that it waits in `folder`/waits.
        """
        folder.mkdir(exist_ok=True)
        os.chown(folder, self.uid, self.gid)
        (folder / when).touch()
        script = SBATCH.format(folder=shlex.quote(str(folder)), real=shutil.which("sbatch"))
        programs = self.home / "bin"
        programs.mkdir(exist_ok=True)
        (programs / "sbatch").write_text(script)
        (programs / "sbatch").chmod(0o755)
        (self.home / ".bashrc").write_text(f"PATH={programs}:/usr/bin:/bin\n{NOISE}")

    def new_folder(self, name: str) -> Path:
        """A new folder of the user; its name has a space."""
        made = self.root / f"a {name}"
        made.mkdir()
        os.chown(made, self.uid, self.gid)
        return made
