"""Where a job goes by what it is and what places offer: the rules of placement."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physlab_mcp.engine.offload import (
    SICK,
    Choice,
    OffloadRules,
    Policy,
    Seat,
    Work,
    anew,
    back_from,
    bytes_in,
    choose,
    large_because,
)
from physlab_mcp.nodes.registry import NodeParams, NodeType, Registry
from physlab_mcp.schemas.job import Job, JobSpec
from physlab_mcp.schemas.result import NodeResult

HOUR = 3600.0
HERE, AWAY = Seat(name="local"), Seat(name="slurm", wait_s=40.0)
ANY: list[Policy] = ["local_first", "remote_first", "auto"]


def seat(one: Seat, **changed: Any) -> Seat:
    return msgspec.structs.replace(one, **changed)


def names(work: Work, *seats: Seat, **rules: Any) -> list[str]:
    return [name for name, _ in choose(work, seats or (HERE, AWAY), OffloadRules(**rules)).order]


def why(work: Work, *seats: Seat, **rules: Any) -> str:
    return choose(work, seats or (HERE, AWAY), OffloadRules(**rules)).order[0][1]


@pytest.mark.parametrize("policy", ANY)
def test_small_and_interactive_things_never_leave(policy: Policy):
    full = seat(HERE, free=False, wait_s=9 * HOUR)
    small = Work(seconds=0.2)
    assert names(small, full, seat(AWAY, wait_s=0.0), policy=policy) == ["local"]
    assert why(small, full, AWAY, policy=policy) == (
        "local: it is expected to take 0.2 s, less than placement.small_s (10 s)"
    )
    assert names(Work(seconds=HOUR, interactive=True), full, AWAY, policy=policy) == ["local"]
    assert names(Work(seconds=0.2), full, AWAY, policy=policy, small_s=0.1) != ["local"]


@pytest.mark.parametrize("policy", ANY)
def test_large_work_leaves_until_it_was_seen_to_run(policy: Policy):
    film = Work(large="it is a film of 2,000 frames")
    assert names(film, policy=policy) == ["slurm", "local"]
    assert why(film, policy=policy).startswith("slurm: it is a film of 2,000 frames, and nothing is learnt yet")
    assert names(Work(large=film.large, seconds=2.0), policy=policy) == ["local"]  # it turned out to be small
    known = Work(large=film.large, seconds=HOUR)  # it is weighed like everything else from then on
    assert why(known, policy=policy) == why(Work(seconds=HOUR), policy=policy)


@pytest.mark.parametrize("policy", ANY)
def test_what_a_place_cannot_run_goes_where_it_can_whatever_its_size(policy: Policy):
    lacking = seat(HERE, refused="1 GPU asked for; there are 0")
    assert names(Work(seconds=0.1), lacking, AWAY, policy=policy) == ["slurm"]
    assert why(Work(seconds=0.1), lacking, AWAY, policy=policy) == (
        "slurm: local cannot run it: 1 GPU asked for; there are 0"
    )
    gone = seat(AWAY, refused="it cannot be reached")
    assert names(Work(seconds=HOUR), HERE, gone, policy=policy) == ["local"]
    assert why(Work(seconds=HOUR), HERE, gone, policy=policy) == "local: slurm cannot run it: it cannot be reached"
    nowhere = choose(Work(), (lacking, gone), OffloadRules(policy=policy))
    assert nowhere == Choice((), {"local": lacking.refused, "slurm": gone.refused})
    assert nowhere.waits_for == (
        "no place can run it now: local: 1 GPU asked for; there are 0; slurm: it cannot be reached"
    )


def test_local_first_leaves_only_where_the_wait_here_is_longer():
    work = Work(seconds=HOUR)
    assert names(work) == ["local"]
    assert names(work, seat(HERE, free=False, wait_s=30.0), AWAY) == ["local"]
    assert names(work, seat(HERE, free=False, wait_s=50.0), AWAY) == ["local"]  # not by enough
    busy = seat(HERE, free=False, wait_s=600.0)
    assert names(work, busy, AWAY) == ["slurm", "local"]
    assert why(work, busy, AWAY) == (
        "slurm: there a wait of 40 s, 60 min of running; here a wait of 10 min, 60 min of running"
    )
    assert names(work, busy, seat(AWAY, wait_s=2 * HOUR)) == ["local"]
    slow = seat(AWAY, name="kubernetes", wait_s=5.0, transfer_s=HOUR)
    assert names(work, busy, slow, AWAY) == ["slurm", "local"]  # what is not sooner is not tried


def test_remote_first_leaves_although_there_is_room_here():
    assert names(Work(seconds=HOUR), policy="remote_first") == ["slurm", "local"]
    assert names(Work(), policy="remote_first") == ["slurm", "local"]  # nobody knows that it is small
    second = Seat(name="kubernetes", wait_s=5.0)
    assert names(Work(seconds=HOUR), HERE, AWAY, second, policy="remote_first") == ["kubernetes", "slurm", "local"]


def test_auto_takes_the_earliest_end_with_a_preference_for_here():
    work = Work(seconds=1000.0)
    fast = seat(AWAY, run_s=100.0)
    assert names(work, policy="auto") == ["local"]
    assert names(work, HERE, fast, policy="auto") == ["slurm", "local"]
    assert names(work, HERE, seat(fast, run_s=800.0), policy="auto") == ["local"]  # 840 s are not enough sooner
    assert names(work, HERE, seat(fast, transfer_s=900.0), policy="auto") == ["local"]
    assert names(work, seat(HERE, run_s=50.0), fast, policy="auto") == ["local"]
    assert "900 s" not in why(work, HERE, seat(fast, transfer_s=900.0), policy="auto")
    assert "15 min to move its inputs" in why(work, HERE, seat(fast, transfer_s=900.0), policy="auto")


def test_recent_failures_count_against_a_place():
    work = Work(seconds=HOUR)
    busy = seat(HERE, free=False, wait_s=150.0)
    assert names(work, busy, AWAY) == ["slurm", "local"]
    assert names(work, busy, seat(AWAY, failures=2)) == ["local"]
    assert names(work, HERE, seat(AWAY, failures=SICK), policy="remote_first") == ["local", "slurm"]
    assert names(work, seat(HERE, failures=SICK), AWAY) == ["slurm", "local"]
    assert why(work, seat(HERE, failures=SICK), AWAY) == "slurm: local failed several jobs lately"


@pytest.mark.parametrize("policy", ANY)
def test_the_place_that_failed_a_job_is_tried_last(policy: Policy):
    work = Work(seconds=HOUR, back_from="slurm")
    assert names(work, policy=policy)[0] == "local"
    assert names(Work(seconds=0.1, back_from="local"), policy=policy) == ["slurm", "local"]
    assert why(Work(seconds=0.1, back_from="local"), policy=policy) == "slurm: local failed it before"
    alone = seat(HERE, refused="no GPU")
    assert names(work, alone, AWAY, policy=policy) == ["slurm"]  # there is no other
    assert names(Work(interactive=True, back_from="local"), policy=policy) == ["local"]


def test_what_has_less_here_than_it_asks_for_leaves_where_another_place_has_it():
    lacking = seat(HERE, lacks="4 GPUs asked for; there are 0")
    assert names(Work(seconds=HOUR), lacking, AWAY) == ["slurm", "local"]
    assert names(Work(seconds=HOUR), lacking, seat(AWAY, lacks="4 GPUs asked for; there is 1")) == ["local"]
    assert names(Work(seconds=1.0), lacking, AWAY) == ["local"]


seats = st.builds(
    Seat,
    name=st.just(""),
    refused=st.sampled_from(["", "", "no"]),
    lacks=st.sampled_from(["", "less"]),
    free=st.booleans(),
    wait_s=st.floats(0, 1e6),
    transfer_s=st.floats(0, 1e6),
    run_s=st.none() | st.floats(0, 1e6),
    failures=st.integers(0, 5),
)
works = st.builds(
    Work,
    seconds=st.none() | st.floats(0, 1e6),
    large=st.sampled_from(["", "large"]),
    interactive=st.booleans(),
    back_from=st.sampled_from(["", "local", "slurm"]),
)


@settings(max_examples=600)
@given(works, seats, seats, seats, st.sampled_from(ANY))
def test_whatever_is_offered_a_job_goes_only_where_it_can_run_and_somewhere_if_it_can(
    work: Work, here: Seat, slurm: Seat, kubernetes: Seat, policy: Policy
):
    offered = [seat(here, name="local"), seat(slurm, name="slurm"), seat(kubernetes, name="kubernetes")]
    able = {one.name for one in offered if not one.refused}
    choice = choose(work, offered, OffloadRules(policy=policy))
    tried = [name for name, _ in choice.order]
    assert set(tried) <= able
    assert bool(tried) == bool(able)
    assert len(set(tried)) == len(tried)
    assert set(choice.refused) == {"local", "slurm", "kubernetes"} - able
    assert all(told.startswith(f"{name}: ") and len(told) > len(name) + 2 for name, told in choice.order)
    if work.back_from in tried and len(able) > 1 and not work.interactive:
        assert tried[-1] == work.back_from
    small = work.interactive or (work.seconds is not None and work.seconds < 10.0)
    if small and "local" in able and not (work.back_from == "local" and not work.interactive):
        assert tried[0] == "local"


class Frames(NodeParams):
    frames: int = 10


def a_type(name: str, **options: Any) -> NodeType:
    return NodeType(name, lambda params, io: NodeResult(), params=Frames, summary="", **options)


def test_what_is_large_shows_by_family_and_frames():
    rules = OffloadRules()
    assert large_because(a_type("ml_ai_augmentation.train"), {}, rules).endswith("is machine learning")
    film = a_type("toy.film", has_animation=True, frames="frames")
    assert large_because(film, {"frames": 2000}, rules) == "it is a film of 2,000 frames"
    assert large_because(film, {"frames": 300}, rules) == ""
    assert large_because(film, {"frames": 300}, OffloadRules(large_frames=299)) != ""
    assert large_because(a_type("toy.still", frames="frames"), {"frames": 2000}, rules) == ""
    assert large_because(None, {}, rules) == ""


def test_films_of_the_installation_are_recognised():
    registry, rules = Registry.load(), OffloadRules()
    film = registry.get("plot.animation")
    drawn = {"frame_expr": "sin(x - t)", "frame_count": 2000}
    assert large_because(film, drawn, rules) == "it is a film of 2,000 frames"
    assert large_because(film, {**drawn, "emit_animation": False}, rules) == ""
    assert large_because(film, {"frames": {"$artifact": {"sha256": "0"}}}, rules) == ""  # it does not say how many
    packet = registry.get("quantum.wavepacket_scattering") if registry.find("quantum.wavepacket_scattering") else None
    assert packet is None or large_because(packet, {"frames": 2000}, rules) == ""  # draws none unless asked


def test_the_bytes_of_inputs_are_counted_as_far_as_they_are_told():
    ref = {"$artifact": {"sha256": "0" * 64, "size": 1000}}
    assert bytes_in({"a": ref, "b": [ref, {"c": ref}], "d": {"$artifact": {"sha256": "1"}}, "e": 5}) == 3000


def test_a_job_that_was_placed_by_choice_is_placed_anew_when_it_comes_back():
    job = Job(id="job-1", kind="command", spec=JobSpec(), backend="slurm", why_here="slurm: here is full")
    again = msgspec.structs.replace(job, **anew(job, elsewhere=True))
    assert (again.backend, back_from(again), back_from(job)) == ("auto", "slurm", "")
    fresh = msgspec.structs.replace(job, **anew(job, elsewhere=True, failed=False))
    assert (fresh.backend, back_from(fresh)) == ("auto", "")
    assert anew(job, elsewhere=False) == {}
    assert anew(msgspec.structs.replace(job, why_here=""), elsewhere=True) == {}  # its author chose the place
