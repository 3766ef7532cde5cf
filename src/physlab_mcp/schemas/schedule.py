"""The schedule block: when a job, run or sweep may start. Pydantic where it comes in, frozen and canonical inside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal, Self, cast
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.cron import cron_of
from physlab_mcp.schemas.wall_clock import is_zone, local_zone, moment_of

_HOURS = re.compile(r"^\s*([01]?\d|2[0-3]):([0-5]\d)\s*-\s*([01]?\d|2[0-4]):([0-5]\d)\s*$")


class Schedule(BaseModel):
    """When work may start.

    A window is the wall clock's of `timezone`, also on days on which clocks are changed. What has started goes on when
    its window closes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: Literal["now", "off_peak", "at", "cron", "priority"] = Field(
        default="now", description="start at once, in a window, at a time, at recurring times, or by priority alone"
    )
    at: str = Field(default="", description="ISO 8601 time for policy `at`; without an offset, that of `timezone`")
    cron: str = Field(default="", description='for policy `cron`: "0 22 * * 1-5" is 22:00 on working days')
    until: str = Field(default="", description="ISO 8601 time after which a recurring schedule ends")
    catch_up: Literal["once", "skip"] = Field(
        default="once", description="occurrences missed while nothing ran: one of them is made up for, or none"
    )
    preferred_hours: str = Field(default="", description='the daily window of `off_peak`, such as "22:00-08:00"')
    weekend_preferred: bool = Field(default=False, description="Saturday and Sunday count as open all day")
    timezone: str = Field(default="", description="name such as Europe/Paris; default this machine's")
    max_wait_hours: float = Field(default=0, ge=0, le=24 * 366, description="longest wait for a window; 0: no limit")
    after_max_wait: Literal["run", "fail"] = Field(default="run", description="what happens after the longest wait")
    must_fit_window: bool = Field(
        default=True, description="start only what is expected to end before its window closes"
    )
    priority: int = Field(default=0, ge=-1000, le=1000, description="higher starts first")
    deadline: str = Field(default="", description="ISO 8601 time by which it must have ended")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        """Null means that a key is not given, as the documented block writes it."""
        if isinstance(given, dict):
            return {key: value for key, value in given.items() if value is not None}  # pyright: ignore[reportUnknownVariableType]
        return given

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.timezone and not is_zone(self.timezone):
            raise ValueError(f"timezone: {self.timezone!r} is not a time zone; write it like Europe/Paris or UTC")
        if self.policy == "at" and not self.at:
            raise ValueError("at: policy `at` needs a time, such as 2026-12-01T22:00:00+01:00")
        if self.policy == "cron" and not self.cron:
            raise ValueError('cron: policy `cron` needs a line, such as "0 22 * * 1-5"')
        if self.policy == "off_peak" and not self.preferred_hours and not self.weekend_preferred:
            raise ValueError('preferred_hours: policy `off_peak` needs a window, such as "22:00-08:00"')
        if self.preferred_hours:
            hours_of(self.preferred_hours)
        for name in ("at", "cron", "until", "preferred_hours"):
            wanted = {"at": "at", "cron": "cron", "until": "cron", "preferred_hours": "off_peak"}[name]
            if getattr(self, name) and self.policy != wanted:
                raise ValueError(f"{name}: it belongs to policy `{wanted}`, and the policy is `{self.policy}`")
        if self.weekend_preferred and self.policy != "off_peak":
            raise ValueError(f"weekend_preferred: it belongs to policy `off_peak`, and the policy is `{self.policy}`")
        try:
            if self.cron:
                cron_of(self.cron)
            for name in ("at", "until", "deadline"):
                if getattr(self, name):
                    moment_of(getattr(self, name), self.zone, field=name)
        except RequestError as error:
            raise ValueError(f"{(error.field or '').removeprefix('schedule.')}: {error.message}") from None
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of its wall clock."""
        return ZoneInfo(self.timezone or "UTC")

    def moment(self, name: Literal["at", "until", "deadline"]) -> float | None:
        """A time of the block in seconds since the epoch, or None where it has none."""
        text: str = getattr(self, name)
        return moment_of(text, self.zone, field=f"schedule.{name}") if text else None


_OF_WINDOWS = ("max_wait_hours", "after_max_wait", "must_fit_window")
_KEYS = ", ".join(Schedule.model_fields)
_EXAMPLES: dict[str, dict[str, Any]] = {
    "off_peak": {
        "policy": "off_peak", "preferred_hours": "22:00-08:00", "weekend_preferred": True, "timezone": "Europe/Paris",
        "must_fit_window": True, "max_wait_hours": 48, "after_max_wait": "run",
    },
    "at": {"policy": "at", "at": "2026-12-01T22:00:00+01:00"},
    "cron": {"policy": "cron", "cron": "0 22 * * 1-5", "timezone": "Europe/Paris"},
    "priority": {"policy": "priority", "priority": 10},
    "now": {"policy": "now", "deadline": "2026-12-01T22:00:00+01:00"},
}  # fmt: skip


def hours_of(text: str) -> tuple[int, int]:
    """(first, last) minute of the day of a window "22:00-08:00"; the last is on the next day where it is not later.

    Raises:
        ValueError: it is not written like that, or is no window at all.

    """
    found = _HOURS.match(text)
    first, last = 0, 0
    if found is not None:
        numbers = [int(one) for one in found.groups()]
        first, last = numbers[0] * 60 + numbers[1], numbers[2] * 60 + numbers[3]
    if found is None or last > 24 * 60:
        raise ValueError(f'preferred_hours: {text!r} is not a window of hours; write it like "22:00-08:00"')
    if first == last:
        raise ValueError(f"preferred_hours: {text!r} is empty; leave `off_peak` out to start at any time")
    return first, last


def read_schedule(given: Any) -> Schedule:
    """A schedule from what a caller wrote, with its time zone settled.

    Raises:
        RequestError: a key or value is wrong; `field` names it.

    """
    if isinstance(given, Schedule):
        read = given
    elif not isinstance(given, Mapping):
        raise RequestError(
            f"schedule is {given!r:.200}, which is no object.", field="schedule", got=given,
            remedy=f"Write an object with some of {_KEYS}.", example=_EXAMPLES["off_peak"],
        )  # fmt: skip
    else:
        try:
            read = Schedule.model_validate(given)
        except ValidationError as error:
            raise _refused(error, cast("Mapping[str, Any]", given)) from None
    if read.policy == "cron" and read.deadline:
        raise RequestError(
            f"schedule.deadline is {read.deadline!r}: it is one moment, and the policy is `cron`.",
            field="schedule.deadline", got=read.deadline, remedy="Leave it out, or end the recurrence with until.",
            example=_EXAMPLES["cron"],
        )  # fmt: skip
    idle = next((name for name in _OF_WINDOWS if getattr(read, name) != Schedule.model_fields[name].default), None)
    if idle is not None and read.policy != "off_peak":
        raise RequestError(
            f"schedule.{idle} is {getattr(read, idle)!r}: it is about windows, and the policy is `{read.policy}`.",
            field=f"schedule.{idle}", got=getattr(read, idle), remedy="Leave it out, or use the policy `off_peak`.",
            example=_EXAMPLES["off_peak"],
        )  # fmt: skip
    return read if read.timezone else read.model_copy(update={"timezone": local_zone()})


def _refused(error: ValidationError, given: Mapping[str, Any]) -> RequestError:
    """The first defect: where it is, what came, what is taken there, and a block with that key."""
    first = error.errors(include_url=False)[0]
    name, message = ".".join(str(one) for one in first["loc"]), str(first["msg"]).removeprefix("Value error, ")
    if not name:
        name, _, message = message.partition(": ")
    key = name.partition(".")[0]
    got = given.get(key)
    if first["type"] == "extra_forbidden":
        near = get_close_matches(key, list(Schedule.model_fields), n=1, cutoff=0.5)
        message = f"schedule.{name} is not known{f'; did you mean {near[0]!r}?' if near else '.'}"
        remedy = f"{f'Write {near[0]!r}. ' if near else ''}A schedule takes {_KEYS}."
    else:
        message = f"schedule.{name} is {got!r:.200}: {message.rstrip('.')}."
        remedy = f"{key}: {Schedule.model_fields[key].description}." if key in Schedule.model_fields else _KEYS
    shown = next((one for one, block in _EXAMPLES.items() if key in block), given.get("policy"))
    shown = {"until": "cron", "catch_up": "cron"}.get(key, "off_peak" if key == "policy" else shown)
    return RequestError(
        message, field=f"schedule.{name}", got=got, remedy=remedy,
        example=_EXAMPLES.get(str(shown), _EXAMPLES["off_peak"]),
    )  # fmt: skip


def canonical(schedule: Schedule) -> dict[str, Any]:
    """The block as it is stored: only what differs from the defaults, and always the time zone."""
    return {**schedule.model_dump(exclude_defaults=True), "timezone": schedule.timezone or "UTC"}
