"""When work may start by its schedule: windows of the wall clock, and the decision at its gate. Pure; time is given."""

from __future__ import annotations

import math
from datetime import datetime, time, timedelta

import msgspec

from physlab_mcp.schemas.schedule import Schedule, hours_of
from physlab_mcp.schemas.wall_clock import instant, said, span

_HORIZON_DAYS = 15  # two weekends and both kinds of clock change are within
_SATURDAY = 5
_FRESH_S = 86_400.0
_SURE, _GUESSED = 1.2, 2.0  # so many times the expected seconds are left before a deadline
_AWAKE_S = 2.0  # and these, for the start itself


class Gate(msgspec.Struct, frozen=True):
    """The decision: start now, not before a moment, or never. `text` says when and why; of an open one, what is at risk."""

    opens_at: float = 0.0  # seconds since the epoch; 0: now
    text: str = ""
    fail: bool = False

    @property
    def open(self) -> bool:
        """Whether it may start now."""
        return not self.fail and self.opens_at == 0.0


OPEN = Gate()


class Calendar:
    """A schedule with its windows, computed once for two weeks ahead."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self._zone = schedule.zone
        self._at = schedule.moment("at") or 0.0
        self._deadline = schedule.moment("deadline")
        self._known: list[tuple[float, float]] = []
        self._known_from = math.inf

    def windows(self, moment: float) -> list[tuple[float, float]]:
        """The windows of `off_peak` as [opens, closes) in seconds since the epoch, merged and in order.

        The first is the first that closes after `moment`; they reach two weeks ahead.
        """
        if not self._known_from <= moment < self._known_from + _FRESH_S:
            self._known, self._known_from = self._computed(moment), moment
        first = next((i for i, one in enumerate(self._known) if one[1] > moment), len(self._known))
        return self._known[first:]

    def _computed(self, moment: float) -> list[tuple[float, float]]:
        schedule, zone = self.schedule, self._zone
        today = datetime.combine(datetime.fromtimestamp(moment, zone).date(), time())
        pieces: list[tuple[float, float]] = []
        for number in range(-3, _HORIZON_DAYS + 1):
            day = today + timedelta(days=number)
            if schedule.preferred_hours:
                first, last = hours_of(schedule.preferred_hours)
                ends = day + timedelta(minutes=last, days=0 if last > first else 1)
                pieces.append((instant(day + timedelta(minutes=first), zone), instant(ends, zone, last=True)))
            if schedule.weekend_preferred and day.weekday() >= _SATURDAY:
                pieces.append((instant(day, zone), instant(day + timedelta(days=1), zone)))
        merged: list[tuple[float, float]] = []
        for opens, closes in sorted(pieces):
            if merged and opens <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], closes))
            elif closes > opens:
                merged.append((opens, closes))
        return merged

    def gate(
        self, now: float, *, since: float, takes_s: float | None = None, sure: bool = True, path_s: float = 0.0
    ) -> Gate:
        """Whether work that was submitted at `since` and is expected to take `takes_s` may start now.

        Work of unknown duration counts as fitting every window that is open. An expectation that is not `sure` decides
        when, but refuses nothing. `path_s`: the seconds up to the end of what waits for it, itself included.
        """
        due = self._deadline
        if due is not None and self._is_too_late(now, since, takes_s if sure else None, due):
            how = f"it is expected to take {span(takes_s)}" if takes_s and now < due else "that has passed"
            return Gate(text=f"it must end by {said(due, self._zone)}; {how}", fail=True)
        found, latest = self._by_policy(now, takes_s), self._latest(since, takes_s, path_s, sure=sure)
        risk = ""
        if not sure and (found.fail or (latest is not None and found.opens_at > latest)):
            risk, found = (
                f"{found.text}; that is an estimate, which keeps nothing from its start",
                self._by_policy(now, None),
            )
        if found.open:
            return self._open(now, takes_s, risk)
        if (
            due is not None
            and self.schedule.policy != "off_peak"
            and found.opens_at + (takes_s or 0.0 if sure else 0.0) > due
        ):
            how = f" and is expected to take {span(takes_s)}" if takes_s else ""
            return Gate(text=f"it must end by {said(due, self._zone)}; {found.text}{how}", fail=True)
        if latest is None or (found.opens_at and found.opens_at <= latest):
            return found
        runs = self.schedule.after_max_wait == "run"
        why = f"no window suits it within {span(latest - since)} of its submission"
        if now >= latest:
            return self._open(now, takes_s, "") if runs else Gate(text=f"{why}: {found.text}", fail=True)
        then = "runs outside of a window" if runs else "fails"
        return Gate(latest, f"{found.text}; it {then} at {said(latest, self._zone)}, since {why}")

    def _is_too_late(self, now: float, since: float, takes_s: float | None, due: float) -> bool:
        """Whether it can no longer end by its deadline. What waited for a window as it was asked to is not refused for that."""
        waited = self.schedule.policy == "off_peak" and self.schedule.after_max_wait == "run"
        return now >= due or (since if waited else now) + (takes_s or 0.0) > due

    def _open(self, now: float, takes_s: float | None, risk: str) -> Gate:
        due = self._deadline
        if due is not None and takes_s and now + takes_s > due:
            late = f"it is expected to take {span(takes_s)}, which is longer than up to its deadline {said(due, self._zone)}"
            risk = f"{risk}; {late}" if risk else late
        return Gate(text=risk) if risk else OPEN

    def _latest(self, since: float, takes_s: float | None, path_s: float, *, sure: bool) -> float | None:
        """The moment after which no window is waited for: the longest wait, or what the deadline leaves time for.

        Where it then runs, it is early enough for a start that comes late and for work that takes longer than expected;
        of work of unknown duration half of the time is left.
        """
        schedule, due = self.schedule, self._deadline
        if schedule.policy != "off_peak":
            return None
        limits = [since + schedule.max_wait_hours * 3600] if schedule.max_wait_hours else []
        if due is not None and schedule.after_max_wait == "fail":
            limits.append(due - (takes_s or 0.0 if sure else 0.0))
        elif due is not None and takes_s is None:
            limits.append(since + (due - since) / 2)
        elif due is not None:
            limits.append(due - (_SURE if sure else _GUESSED) * max(takes_s or 0.0, path_s) - _AWAKE_S)
        return max(since, min(limits)) if limits else None

    def _by_policy(self, now: float, takes_s: float | None) -> Gate:
        if self.schedule.policy == "off_peak":
            return self._off_peak(now, takes_s)
        if now < self._at:
            return Gate(self._at, f"it was asked to start at {said(self._at, self._zone)}")
        return OPEN  # recurring work is begun by its series when it is due

    def _off_peak(self, now: float, takes_s: float | None) -> Gate:
        schedule = self.schedule
        hours = " and ".join(
            part for part in (schedule.preferred_hours, "weekends" if schedule.weekend_preferred else "") if part
        )
        needs = (takes_s or 0.0) if schedule.must_fit_window else 0.0
        closed_by = longest = 0.0
        for opens, closes in self.windows(now):
            begins = max(opens, now)
            longest = max(longest, closes - opens)
            if closes - begins >= needs:
                if begins <= now:
                    return OPEN
                if not closed_by:
                    return Gate(begins, f"the window of {hours} opens at {said(begins, self._zone)}")
                why = f"it is expected to take {span(needs)} and the window closes at {said(closed_by, self._zone)}"
                return Gate(begins, f"{why}; the next one that is long enough opens at {said(begins, self._zone)}")
            if opens <= now:
                closed_by = closes
        why = f"it is expected to take {span(needs)}, longer than every window of {hours} (at most {span(longest)})"
        return Gate(text=why, fail=True)
