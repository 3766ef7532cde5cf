"""From the configuration to the backends it names. Nothing is connected here: a backend connects when it is first used."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.backends.local import LocalBackend, LocalSettings
from physlab_mcp.config import Config, KubernetesSection, SlurmSection, Ssh, load, locate
from physlab_mcp.errors import RequestError
from physlab_mcp.paths import DataDir

if TYPE_CHECKING:
    from physlab_mcp.backends.base import Backend
    from physlab_mcp.backends.hosts.ssh_settings import SSHSettings

logger = logging.getLogger(__name__)

WORKER = Path(__file__).parent / "nodes" / "worker.py"


def backends_of(
    config: Config,
    data: DataDir,
    *,
    roots: Sequence[Path] = (),
    environment: str = "",
    follow: Callable[[], LocalSettings | None] | None = None,
) -> dict[str, Backend]:
    """Every backend that is configured, by name; this machine first.

    Raises:
        RequestError: a setting cannot work.

    """
    made: dict[str, Backend] = {
        "local": local_backend(data, config, roots=roots, environment=environment, follow=follow)
    }
    hello = _hello(config, environment)
    if config.backends.slurm is not None:
        made["slurm"] = _slurm(config.backends.slurm, data, roots, hello)
    if config.backends.kubernetes is not None:
        made["kubernetes"] = _kubernetes(config.backends.kubernetes, data, roots, hello)
    return made


def local_backend(
    data: DataDir,
    config: Config | None = None,
    *,
    roots: Sequence[Path] = (),
    lease_s: float | None = None,
    environment: str = "",
    follow: Callable[[], LocalSettings | None] | None = None,
) -> LocalBackend:
    """The local backend of a data directory."""
    config = config if config is not None else Config()
    return LocalBackend(
        data,
        local_settings(config, roots),
        worker_program=WORKER,
        hello={"sys_path": [place for place in sys.path if place], **_hello(config, environment)},
        lease_s=config.engine.lease_s if lease_s is None else lease_s,
        blobs=Blobs(data.blobs),
        follow=follow,
    )


def local_settings(config: Config, roots: Sequence[Path] = ()) -> LocalSettings:
    """What the configuration says of this machine."""
    section = config.backends.local
    memory = 0
    if section.memory:
        from physlab_mcp.dags.resources import memory_bytes

        memory = memory_bytes(section.memory)
    return LocalSettings(
        workers=section.workers,
        cpus=section.cpus,
        memory_bytes=memory,
        gpus=section.gpus,
        commands=section.commands,
        roots=tuple(roots),
    )


def following(config_file: Path | None, roots: Sequence[Path]) -> Callable[[], LocalSettings | None]:
    """Answers the settings of this machine whenever the configuration file was changed since the last time, else None."""
    seen: list[float] = []

    def look() -> LocalSettings | None:
        try:
            found = locate(config_file)
            changed = found.stat().st_mtime if found is not None else 0.0
            if seen == [changed]:
                return None
            seen[:] = [changed]
            return local_settings(load(config_file), roots)
        except (RequestError, OSError) as error:  # half written, or gone: what was said before counts on
            logger.warning("the configuration cannot be read again: %s", error)
            return None

    return look


def _hello(config: Config, environment: str) -> dict[str, Any]:
    """What every worker is told, wherever it runs."""
    return {"environment": environment, "capture": config.provenance.capture}


def _slurm(section: SlurmSection, data: DataDir, roots: Sequence[Path], hello: dict[str, Any]) -> Backend:
    from physlab_mcp.backends.slurm.backend import SlurmBackend
    from physlab_mcp.backends.slurm.settings import parse

    settings = parse(section.settings)
    if section.host is None:
        from physlab_mcp.backends.hosts.here import here

        host = here(settings.root)
    else:
        from physlab_mcp.backends.hosts.ssh import ssh

        host = ssh(ssh_settings(section.host, "backends.slurm.host"), settings.root)
    return SlurmBackend(data, settings, host, blobs=Blobs(data.blobs), roots=roots, hello=hello)


def _kubernetes(section: KubernetesSection, data: DataDir, roots: Sequence[Path], hello: dict[str, Any]) -> Backend:
    from physlab_mcp.backends.kubernetes.backend import KubernetesBackend
    from physlab_mcp.backends.kubernetes.settings import read_settings

    settings = read_settings(section.settings)
    return KubernetesBackend(data, settings, blobs=Blobs(data.blobs), roots=roots, hello=hello)


def ssh_settings(section: Ssh, field: str) -> SSHSettings:
    """A section as the room of hosts takes it; its passphrase is read at each login. `field`: where it stands."""
    from physlab_mcp.backends.hosts.ssh_settings import SSHSettings

    return SSHSettings(
        host=section.host,
        port=section.port,
        user=section.user,
        keys=section.keys,
        agent=section.agent,
        passphrase=section.passphrase.read if section.passphrase is not None else None,
        known_hosts=section.known_hosts or "",
        jump=tuple(ssh_settings(one, f"{field}.jump.{i}") for i, one in enumerate(section.jump)),
        connect_timeout_s=section.connect_timeout_s,
        keepalive_s=section.keepalive_s,
        python=section.python,
        section=field,
    )
