"""Where a job runs that may run at several places: pure rules over what it is and what each place offers.

Everybody's words: a *seat* is a place as one job sees it, *here* is the machine of the engine, *away* is everywhere else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import isfinite
from typing import Any, Literal

import msgspec

from physlab_mcp.nodes.registry import NodeType
from physlab_mcp.schemas.job import AUTO, HERE, Job

Policy = Literal["local_first", "remote_first", "auto"]

UNKNOWN_S = 1.0  # what work counts for of which nothing is learnt
LARGE_S = 600.0  # the same of what counts as large
FAILURE_S = 60.0  # by how much one recent failure of a place makes it later than it says
SICK = 3  # so many recent failures, and a place comes after the others
_GAIN, _GAIN_S = 0.2, 5.0  # what leaves must end sooner by this share of its time here and so many seconds
_ELSE = "no other place has room"
_LARGE_FAMILIES = frozenset({"ml_ai_augmentation"})


class OffloadRules(msgspec.Struct, frozen=True, kw_only=True):
    """The section `placement` of the configuration, as the engine uses it."""

    policy: Policy = "local_first"
    small_s: float = 10.0  # what is expected to take less never leaves
    large_frames: int = 300  # a film of more frames is large
    queue_s: float = 30.0  # the wait at a place of which none is learnt
    rate_bytes_s: float = 30e6  # at which inputs are moved


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """A job as far as it matters where it runs."""

    seconds: float | None = None  # expected; None where nothing like it ever ended
    large: str = ""  # why it is large, where that shows without having seen it run
    interactive: bool = False  # somebody waits for it, and its computing time is bounded
    back_from: str = ""  # the place that failed it last


class Seat(msgspec.Struct, frozen=True, kw_only=True):
    """One place as a job sees it. Times are in seconds."""

    name: str
    refused: str = ""  # why the job cannot run there at all
    lacks: str = ""  # what it would have to do without there
    free: bool = True  # whether there seems to be room at once
    wait_s: float = 0.0  # from now to its start, expected
    transfer_s: float = 0.0  # to move its inputs there
    run_s: float | None = None  # what the job is expected to take there
    failures: int = 0  # of the last minutes

    @property
    def starts_s(self) -> float:
        """Seconds until the job computes, as far as the place can be trusted."""
        return self.wait_s + self.transfer_s + FAILURE_S * self.failures


class Choice(msgspec.Struct, frozen=True):
    """Places to try in this order, each with the reason for it, and why the others cannot run the job."""

    order: tuple[tuple[str, str], ...] = ()
    refused: Mapping[str, str] = {}
    seconds: float | None = None  # that the job is expected to take

    @property
    def waits_for(self) -> str:
        """What a job waits for that found no room; it stays the same while that does."""
        if self.order:
            return f"it waits for room: {' or '.join(name for name, _ in self.order)}"
        return "no place can run it now: " + "; ".join(f"{name}: {why}" for name, why in self.refused.items())


def choose(work: Work, seats: Sequence[Seat], rules: OffloadRules) -> Choice:
    """The order in which places are tried for a job; empty where none can run it."""
    refused = {seat.name: seat.refused for seat in seats if seat.refused}
    able = [seat for seat in seats if not seat.refused]
    here = next((seat for seat in able if seat.name == HERE), None)
    away = sorted((seat for seat in able if seat.name != HERE), key=lambda seat: _end_s(work, seat))
    if here is None or not away:
        because = "; ".join(f"{name} cannot run it: {why}" for name, why in refused.items())
        order = [(seat, because) for seat in ([here] if here is not None else away)]
    else:
        order = _ordered(work, here, away, rules)
        order = _last(order, {seat.name for seat in able if seat.failures >= SICK}, "failed several jobs lately")
    if work.back_from and not work.interactive:
        if all(seat.name == work.back_from for seat, _ in order):
            others = [seat for seat in (here, *away) if seat is not None and seat.name != work.back_from]
            order = [*order, *((seat, _ELSE) for seat in others)]
        order = _last(order, {work.back_from}, "failed it before")
    return Choice(tuple((seat.name, f"{seat.name}: {why}") for seat, why in order), refused, work.seconds)


def _ordered(work: Work, here: Seat, away: list[Seat], rules: OffloadRules) -> list[tuple[Seat, str]]:
    stays = why_it_stays(work, rules)
    if stays:
        return [(here, stays)]
    leaves = _leaves(work, here, away)
    if leaves:
        return [*((seat, leaves) for seat in away), (here, "no other place has room, and it can run here")]
    if rules.policy == "remote_first":
        wish = "placement.policy is remote_first, and it is not known to be small"
        return [*((seat, wish) for seat in away), (here, _ELSE)]
    if rules.policy == "local_first" and here.free:
        order = [(here, "placement.policy is local_first, and there is room")]
        return [*order, *((seat, _ELSE) for seat in away)] if here.failures >= SICK else order
    return _soonest(work, here, away, rules)


def _soonest(work: Work, here: Seat, away: list[Seat], rules: OffloadRules) -> list[tuple[Seat, str]]:
    """Here, unless another place is sooner by enough: sooner to start for `local_first`, sooner to end for `auto`."""

    def moment(seat: Seat) -> float:
        return seat.starts_s if rules.policy == "local_first" else _end_s(work, seat)

    mine = moment(here)
    sooner = sorted((seat for seat in away if moment(seat) + _GAIN * mine + _GAIN_S < mine), key=moment)
    if sooner:
        why = f"there {_story(work, sooner[0])}; here {_story(work, here)}"
        return [*((seat, why) for seat in sooner), (here, _ELSE)]
    other = min(away, key=moment)
    return [(here, f"here {_story(work, here)}; {other.name} is not sooner by enough: {_story(work, other)}")]


def why_it_stays(work: Work, rules: OffloadRules) -> str:
    """Why a job is kept here whatever other places offer; "" where it is not."""
    if work.interactive:
        return "it is interactive"
    if work.seconds is not None and work.seconds < rules.small_s:
        return f"it is expected to take {_about(work.seconds)}, less than placement.small_s ({_about(rules.small_s)})"
    return ""


def _leaves(work: Work, here: Seat, away: Sequence[Seat]) -> str:
    if here.lacks and not all(seat.lacks for seat in away):
        return f"local has less than it asks for: {here.lacks}"
    if work.large and work.seconds is None:
        return f"{work.large}, and nothing is learnt yet of how long it takes"
    return ""


def _last(order: Sequence[tuple[Seat, str]], names: Collection[str], what: str) -> list[tuple[Seat, str]]:
    """The order with some places behind all others; these say `what` speaks against those that stood before them."""
    before: list[tuple[Seat, str]] = []
    passed: list[tuple[Seat, str]] = []
    for seat, why in order:
        if seat.name in names:
            passed.append((seat, why))
        else:
            told = [f"{', '.join(one.name for one, _ in passed)} {what}"] if passed else []
            before.append((seat, "; ".join([*told, why] if why != _ELSE or not told else told)))
    return [*before, *passed]


def _end_s(work: Work, seat: Seat) -> float:
    takes = seat.run_s if seat.run_s is not None else work.seconds
    if takes is None:
        takes = LARGE_S if work.large else UNKNOWN_S
    return seat.starts_s + takes


def _story(work: Work, seat: Seat) -> str:
    parts = [f"a wait of {_about(seat.wait_s)}"]
    if seat.transfer_s >= 1:
        parts.append(f"{_about(seat.transfer_s)} to move its inputs")
    takes = seat.run_s if seat.run_s is not None else work.seconds
    if takes is not None:
        parts.append(f"{_about(takes)} of running")
    if seat.failures:
        parts.append(f"{seat.failures} failed there lately")
    return ", ".join(parts)


def _about(seconds: float) -> str:
    for unit, name in ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.2g} {name}" if seconds < 10 * unit else f"{seconds / unit:.0f} {name}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


# -- what a job is ---------------------------------------------------------------------------------------------


def large_because(node_type: NodeType | None, params: Mapping[str, Any], rules: OffloadRules) -> str:
    """Why a node call is large whatever was learnt: machine learning, or a long film; "" where it is not."""
    if node_type is None:
        return ""
    if node_type.tool in _LARGE_FAMILIES:
        return f"{node_type.name} is machine learning"
    frames = _frames(node_type, params) if node_type.has_animation and node_type.frames else None
    if frames is not None and frames > rules.large_frames:
        return f"it is a film of {frames:,.0f} frames"
    return ""


def _frames(node_type: NodeType, params: Mapping[str, Any]) -> float | None:
    """How many frames a call draws; None where it draws no film, or that cannot be said."""
    subject = node_type.params.model_construct(**params)
    if not getattr(subject, "emit_animation", True):
        return None
    try:
        value = getattr(subject, node_type.frames)
    except Exception:  # a property of the model that looks at what is only in an artifact
        return None
    return float(value) if isinstance(value, int | float) and isfinite(value) else None


def bytes_in(value: Any) -> int:
    """The bytes of the artifacts that parameters name, as far as their size stands there."""
    total = 0
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, dict):
            ref = one.get("$artifact")
            if isinstance(ref, dict):
                total += int(ref.get("size") or 0)
            else:
                stack.extend(one.values())
        elif isinstance(one, list | tuple):
            stack.extend(one)
    return total


# -- coming back -----------------------------------------------------------------------------------------------


def anew(job: Job, *, elsewhere: bool = True, failed: bool = True) -> dict[str, Any]:
    """What changes of a job that its place gives back: one that the engine had placed is chosen a place for anew.

    `failed`: the place is to blame, and comes after the others then.
    """
    if not job.why_here or not elsewhere:
        return {}
    return {"backend": AUTO, "why_here": job.why_here if failed else ""}


def back_from(job: Job) -> str:
    """The place that a job came back from, where that is to blame."""
    return job.why_here.partition(":")[0] if job.backend == AUTO else ""
