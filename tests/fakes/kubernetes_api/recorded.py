"""Answers of a real server, as `scripts/record-kubernetes-errors.py` wrote them into `recorded/*.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "recorded"


@dataclass(frozen=True)
class Case:
    """One request that a real server refused, and its answer."""

    name: str
    server: str
    method: str
    path: str
    content_type: str
    body: Any
    code: int
    answer: dict[str, Any]

    @property
    def minor(self) -> str:
        """The version profile that answers alike, such as `1.20`."""
        return ".".join(self.server.removeprefix("v").split(".")[:2])


def cases(folder: Path = FOLDER) -> list[Case]:
    """All recorded cases of a folder."""
    found: list[Case] = []
    for path in sorted(folder.glob("*.json")):
        read = json.loads(path.read_text())
        found += [
            Case(
                one["name"], read["server"], one["method"], one["path"], one.get("content_type", ""),
                one.get("body"), one["code"], one["answer"],
            )
            for one in read["cases"]
        ]  # fmt: skip
    return found
