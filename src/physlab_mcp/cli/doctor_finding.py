"""What `physlab doctor` says of one thing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing looked at. state: ok, warn (something is missing or slower), fail (what is set up cannot work)."""

    what: str
    state: str
    text: str
    remedy: str = ""
