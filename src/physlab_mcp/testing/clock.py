"""Time that stands still until it is moved, so that weeks pass in milliseconds."""

from __future__ import annotations

from datetime import datetime


class VirtualClock:
    """Call it for the present, in seconds since the epoch (UTC)."""

    def __init__(self, now: float | datetime = 1_800_000_000.0) -> None:
        self._now = seconds_of(now)

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
        later = seconds_of(moment)
        if later < self._now:
            raise ValueError(f"the clock stands at {self._now}; it does not run back to {later}")
        self._now = later
        return later


def seconds_of(moment: float | datetime) -> float:
    """Seconds since the epoch.

    Raises:
        ValueError: a datetime without time zone.

    """
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise ValueError(f"{moment} has no time zone; give it one, say tzinfo=UTC")
        return moment.timestamp()
    return float(moment)
