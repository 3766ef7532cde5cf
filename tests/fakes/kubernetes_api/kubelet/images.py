"""Images: which names can be pulled, and what a container of one sees of this machine."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_REFERENCE = re.compile(
    r"[a-z0-9]+([._:/-]*[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
_REPOSITORY = Path(__file__).resolve().parents[4]


@dataclass(frozen=True)
class Image:
    """What an image holds: system folders and this Python always, `paths` of this machine besides, read-only."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    paths: tuple[Path, ...] = (_REPOSITORY / "src",)
    user: int = 0
    workdir: str = "/"
    pull_secret: str = ""

    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {"PATH": path, "HOME": "/root" if self.user == 0 else "/", **self.env}


def well_formed(reference: str) -> bool:
    return _REFERENCE.fullmatch(reference) is not None
