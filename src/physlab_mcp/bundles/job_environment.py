"""What a job that reproduces needs of its submitter's environment to reach packages: certificates, proxies, indexes.

A job starts with few variables, and what its specification holds is stored and shown. These may hold passwords, so they
go by a file that only this account may read, and that the job removes at its end.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

_NAMES = frozenset(
    {
        "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY",
        "NO_PROXY", "NETRC", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME",
    }
)  # fmt: skip
_PREFIXES = ("UV_", "PIP_")


def place_of(package: Path, job_id: str) -> Path:
    """Where the variables of a job that reproduces this package lie."""
    return package.parent / f".{job_id}.environment.json"


def jobs_at(package: Path) -> list[str]:
    """The jobs of which variables lie there."""
    return [path.name[1:].partition(".")[0] for path in package.parent.glob(".job-*.environment.json")]


def keep(place: Path, environment: Mapping[str, str]) -> None:
    """Write those variables of this environment that are needed; nothing where there are none.

    Raises:
        OSError: the file cannot be made, or is there already.

    """
    wanted = {name: value for name, value in environment.items() if _is_wanted(name)}
    if wanted:
        with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            json.dump(wanted, stream)


def _is_wanted(name: str) -> bool:
    return name.upper() in _NAMES or name.startswith(_PREFIXES)


def take(place: Path, environment: MutableMapping[str, str]) -> None:
    """Add the variables that lie there to an environment, which keeps what it has."""
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    for name, value in found.items():
        if _is_wanted(name):
            environment.setdefault(name, value)
