"""What is asked of the process that runs clusters, and what it saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes.kubernetes_api.kubelet.images import Image
from tests.fakes.kubernetes_api.node import Node
from tests.fakes.kubernetes_api.pace import Pace


@dataclass(frozen=True)
class Order:
    """The cluster that is to be made."""

    version: str
    nodes: tuple[Node, ...]
    images: Mapping[str, Image]
    host: str
    port: int
    tls: bool
    root: Path
    token: str
    pace: Pace
    log_bytes: int
    plain: bool


@dataclass(frozen=True)
class Seen:
    """One request that was answered; `code` is 0 for a connection that was cut."""

    verb: str
    plural: str
    namespace: str
    name: str
    part: str
    code: int


@dataclass
class Rule:
    """What happens to the next `left` requests (None: to all) of a verb and a kind (empty: of any).

    Actions: `answer` with an error, `slow`, `cut` before it is carried out, `drop` the answer, `forbid`.
    """

    action: str
    verb: str = ""
    plural: str = ""
    left: int | None = None
    code: int = 0
    seconds: float = 0.0
    body: dict[str, Any] | None = None
