"""Time that stands still until it is moved, so that weeks pass in milliseconds."""

from __future__ import annotations

from datetime import datetime


class VirtualClock:
    """Call it for the present, in seconds since the epoch (UTC)."""

    def __init__(self, now: float | datetime = 1_800_000_000.0) -> None:
        self._now = _seconds(now)

    def __call__(self) -> float:
        """The present."""
        return self._now

    def advance(self, seconds: float) -> float:
        """Move on by `seconds`; the new present.

        Raises:
            ValueError: it would run backwards.

        """
        return self.move_to(self._now + seconds)

    def move_to(self, moment: float | datetime) -> float:
        """Move on to `moment`; the new present.

        Raises:
            ValueError: it would run backwards.

        """
        later = _seconds(moment)
        if later < self._now:
            raise ValueError(f"the clock stands at {self._now}; it does not run back to {later}")
        self._now = later
        return later


def _seconds(moment: float | datetime) -> float:
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise ValueError(f"{moment} has no time zone; give it one, say tzinfo=UTC")
        return moment.timestamp()
    return float(moment)
