"""What every backend promises (backends/base.py), told through the protocol alone.

After each test the stand-in checks that every dispatch had exactly one end, and that nothing was told after it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time

import psutil
import pytest
from tests.contracts.backends import Place
from tests.contracts.stand_in import ENDS, StandIn

from physlab_mcp.backends.base import Measured
from physlab_mcp.errors import RejectedError
from physlab_mcp.schemas.job import Job, JobSpec, NodeCall, Resources
from physlab_mcp.schemas.job_state import JobState, ReasonCode
from physlab_mcp.schemas.result import Failure, NodeResult

S = JobState
brief = pytest.mark.brief  # what may differ with the way to the same backend: files, logs, connections
RYDBERG = {"CODATA 2022": 10973731.568157, "CODATA 2018": 10973731.568160}  # 1/m
SECRET = "dr0wssap-of-a-test"
# Processes that leave their starter in every way there is. None ends by itself.
FAMILY = "sleep 300 & setsid sleep 300 & ( setsid sh -c 'sleep 300; :' & )\n"
DEAF = "setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 300; done' &\n"
FAMILY_SIZE = 6  # with the shell and what runs it


def failed(outcome: NodeResult | Failure) -> Failure:
    assert isinstance(outcome, Failure), outcome
    return outcome


# -- running -------------------------------------------------------------------------------------------------------


@brief
async def test_commands_scripts_and_node_calls_give_their_results(stand: StandIn) -> None:
    given = {"a": [1, 2.5, None, True, "ψ"], "b": {"c": -0.5}}
    command = stand.add(command=("sh", "-c", 'echo \'{"E": 1.5, "n": [1, 2]}\' > $PHYSLAB_VALUES'))
    script = stand.add(script='x=3\necho "{\\"x\\": $x}" > "$PHYSLAB_VALUES"\n')
    other = stand.add(script=f"#!{stand.site.python}\nprint('by its own interpreter')\n")
    nodes = {"parallelism": 1, "group": "run-one"}  # one worker imports scipy, not three
    passed = stand.add_node("flow.passthrough", {"value": given}, **nodes)
    constant = stand.add_node("constants_get", {"name": "R_inf"}, **nodes)
    unknown = stand.add_node("constants_get", {"name": "no_such_constant"}, **nodes)
    jobs = [command, script, other, passed, constant]
    await stand.submit(*jobs, unknown)
    results = await stand.succeeded(*jobs)
    assert [one.values for one in results[:4]] == [{"E": 1.5, "n": [1, 2]}, {"x": 3}, {}, {"value": given}]
    rydberg = results[4].values
    assert (rydberg["name"], rydberg["unit"], rydberg["exact"]) == ("Rydberg constant", "m^-1", False)
    assert rydberg["value"] == RYDBERG[rydberg["edition"]]
    assert results[4].units["value"] == "m^-1"
    assert [one.exit_code for one in results] == [0, 0, 0, None, None]
    assert all(one.meta["duration_ms"] > 0 and one.meta["device"] for one in results[:3])
    assert all(0 < stand.jobs[job.id].started_at <= stand.jobs[job.id].ended_at for job in jobs)
    assert (await stand.log(other))[0] == b"by its own interpreter\n"
    (failure,) = await stand.ended(unknown)
    assert (failed(failure).code, failed(failure).retryable) == ("invalid_request", False)
    assert "no_such_constant" in failed(failure).message


@brief
async def test_artifacts_come_home_with_their_hashes(stand: StandIn) -> None:
    make = (
        'printf "1,2\\n" > "$PHYSLAB_ARTIFACTS/t.csv"; mkdir -p "$PHYSLAB_ARTIFACTS/deep/er" artifacts\n'
        'head -c 300001 /dev/urandom > "$PHYSLAB_ARTIFACTS/deep/er/random.bin"\n'
        'sha256sum < "$PHYSLAB_ARTIFACTS/deep/er/random.bin" | cut -c-64\n'
        "echo by path > artifacts/a.txt; echo by glob > x.dat; echo not asked for > y.dat\n"
    )
    text = "0123456789" * 10_000
    command = stand.add(script=make, artifacts=("x.*",))
    large = stand.add_node("flow.passthrough", {"value": text})
    await stand.submit(command, large)
    kept, passed = await stand.succeeded(command, large)
    found = {ref.name: ref for ref in kept.artifacts}
    assert set(found) == {"t.csv", "deep/er/random.bin", "a.txt", "x.dat"}
    blobs = {name: stand.site.blobs.read(ref.sha256) for name, ref in found.items()}
    assert {name: hashlib.sha256(data).hexdigest() for name, data in blobs.items()} == {
        name: ref.sha256 for name, ref in found.items()
    }
    assert {name: len(data) for name, data in blobs.items()} == {name: ref.size for name, ref in found.items()}
    assert found["deep/er/random.bin"].sha256 == (await stand.log(command))[0].decode().strip()
    assert (found["t.csv"].media_type, blobs["t.csv"], blobs["x.dat"]) == ("text/csv", b"1,2\n", b"by glob\n")
    ref = passed.values["value"]["$artifact"]
    assert json.loads(stand.site.blobs.read(ref["sha256"])) == text


async def test_exit_codes_signals_and_the_last_words_are_told(stand: StandIn) -> None:
    jobs = [
        stand.add(script="echo some >&2; echo 'the last words' >&2; exit 3"),
        stand.add(script="kill -TERM $$"),
        stand.add(command=("no-such-program-anywhere", "x")),
    ]
    ended, killed, missing = map(failed, await stand.run(*jobs))
    assert (ended.code, ended.exit_code, ended.signal, ended.retryable) == ("exit", 3, None, True)
    assert "the last words" in ended.message
    assert (killed.code, killed.exit_code, killed.signal) == ("exit", None, 15)
    assert (missing.code, missing.retryable) == ("invalid_request", False)
    assert "no-such-program-anywhere" in missing.message
    assert missing.remedy
    assert [stand.state(job) for job in jobs] == [S.FAILED] * 3


async def test_many_jobs_of_one_submission_have_each_their_own_result(stand: StandIn, place: Place) -> None:
    jobs = [stand.add(command=("sh", "-c", f"echo out {i}; echo '{{\"i\": {i}}}' > $PHYSLAB_VALUES"))
            for i in range(place.room)]  # fmt: skip
    batch = [one for job in jobs if (one := stand.intend(job)) is not None]
    assert len(batch) == place.room
    assert all(one.job.native_id for one in batch)
    await stand.hand_over(*batch)
    results = await stand.succeeded(*jobs)
    assert [one.values for one in results] == [{"i": i} for i in range(place.room)]
    assert [(await stand.log(job))[0] for job in jobs] == [f"out {i}\n".encode() for i in range(place.room)]
    await stand.settle()
    assert [kind for job in jobs for kind in stand.kinds(job) if kind in ENDS] == ["done"] * place.room


async def test_many_node_calls_are_each_run_once(stand: StandIn, place: Place) -> None:
    jobs = [
        stand.add_node("flow.passthrough", {"value": i}, parallelism=2, group="run-one") for i in range(place.calls)
    ]
    await stand.submit(*jobs)
    assert [one.values["value"] for one in await stand.succeeded(*jobs)] == list(range(place.calls))
    await stand.settle()
    assert all(len([kind for kind in stand.kinds(job) if kind == "done"]) == 1 for job in jobs)


# -- what a job is given -------------------------------------------------------------------------------------------


async def test_variables_reach_the_job_and_are_seen_nowhere_else(stand: StandIn) -> None:
    env = {"TOKEN_OF_TEST": SECRET, "ODD": "a b\n'\"$HOME;`x`\\"}
    said = stand.gated('printf %s "$ODD"; [ "$TOKEN_OF_TEST" = "$(cat given)" ] && echo equal', name="a", env=env,
                       inputs=({"source": str(stand.path("given")), "target": "given"},))  # fmt: skip
    broken = stand.add(script='[ -n "$TOKEN_OF_TEST" ] && exit 7', env=env)
    stand.path("given").write_text(SECRET)
    await stand.submit(said, broken)
    await stand.running(said, name="a")
    shown = [word for process in psutil.process_iter(["cmdline"]) for word in process.info["cmdline"] or ()]
    assert not any(SECRET in word for word in shown), "`ps` shows it to everybody"
    stand.open_gate("a")
    done, failure = await stand.ended(said, broken)
    assert isinstance(done, NodeResult)
    assert failed(failure).exit_code == 7
    assert (await stand.log(said))[0].decode() == env["ODD"] + "equal\nwent on\n"
    assert not any(SECRET in repr(one) for one in stand.seen)
    assert SECRET not in repr(await stand.backend.describe())


@brief
async def test_inputs_are_brought_by_hash_and_by_path(stand: StandIn) -> None:
    data = os.urandom(70_000)
    blob = stand.site.blobs.put(data, name="b", media_type="application/octet-stream")
    folder = stand.path("folder")
    folder.mkdir()
    (folder / "a").write_text("in a folder\n")
    spoilt = stand.site.blobs.put(b"not to be changed", name="s", media_type="text/plain")
    inputs = (
        {"source": f"sha256:{blob.sha256}", "target": "in/b"},
        {"source": f"sha256:{spoilt.sha256}", "target": "s"},
        {"source": str(folder), "target": "d"},
    )
    use = 'cat d/a; cp in/b "$PHYSLAB_ARTIFACTS/again"; chmod u+w s; echo spoilt > s; echo spoilt > d/a'
    job, lacking = stand.add(script=use, inputs=inputs), stand.add(
        command=("true",), inputs=({"source": "sha256:" + "0" * 64, "target": "x"},)
    )  # fmt: skip
    await stand.submit(job, lacking)
    done, failure = await stand.ended(job, lacking)
    assert isinstance(done, NodeResult), done
    assert [(ref.name, ref.sha256) for ref in done.artifacts] == [("again", blob.sha256)]
    assert (await stand.log(job))[0] == b"in a folder\n"
    assert stand.site.blobs.path(spoilt.sha256).read_bytes() == b"not to be changed"
    assert (stand.site.blobs.read(blob.sha256), (folder / "a").read_text()) == (data, "in a folder\n")
    assert "0" * 64 in failed(failure).message
    assert not failed(failure).retryable


async def test_the_next_attempt_finds_the_checkpoint_and_nothing_else(stand: StandIn) -> None:
    script = (
        'ls; cat "$PHYSLAB_CHECKPOINT_DIR/c" 2> /dev/null && exit 0\n'
        'echo "$PHYSLAB_ATTEMPT" > "$PHYSLAB_CHECKPOINT_DIR/c"; echo x > left-over; exit 1\n'
    )
    job = stand.add(script=script, retries=1)
    await stand.submit(job)
    await stand.succeeded(job)
    assert (await stand.log(job))[0] == b"1\n"
    assert stand.jobs[job.id].attempt == 2
    first, second = stand.told(job, fence=1), stand.told(job, fence=2)
    assert len(first) + len(second) == len(stand.told(job))
    assert failed(first[-1].failure).exit_code == 1  # type: ignore[arg-type]
    assert (second[-1].failure, second[-1].kind) == (None, "done")


# -- limits --------------------------------------------------------------------------------------------------------


async def test_a_job_that_uses_more_memory_than_it_may_is_ended_as_oom(stand: StandIn, place: Place) -> None:
    if not place.limits_memory:
        pytest.skip("it limits no memory")
    greedy = stand.add(
        command=(stand.site.python, "-c", "x = bytearray(1 << 30)\nfor i in range(0, 1 << 30, 4096): x[i] = 1"),
        resources=Resources(memory_bytes=200 << 20),
    )
    modest = stand.add(command=("true",), resources=Resources(memory_bytes=200 << 20))
    oom, good = await stand.run(greedy, modest)
    assert failed(oom).code == "oom"
    assert failed(oom).remedy
    assert isinstance(good, NodeResult)


async def test_a_job_that_runs_longer_than_it_may_is_ended_as_timeout(stand: StandIn) -> None:
    late = stand.add(script=FAMILY + "echo began; wait; sleep 300", timeout_s=0.5, resources=Resources(time_limit_s=90))
    (outcome,) = await stand.run(late)
    assert failed(outcome).code == "timeout"
    assert "0.5" in failed(outcome).message
    assert (await stand.log(late))[0] == b"began\n"
    await stand.all_dead(late)


async def test_what_it_can_never_hold_is_refused_at_once(stand: StandIn, place: Place) -> None:
    info = await stand.backend.describe()
    asked = {
        "cpu": Resources(cpu=1e6),
        "memory": Resources(memory_bytes=1 << 60),
        "gpu": Resources(gpu=10_000),
        "nodes": Resources(nodes=100_000),
    }
    for what in place.refuses:
        spec = JobSpec(command=("true",), resources=asked[what])
        with pytest.raises(RejectedError) as refused:
            stand.backend.check(stand.site.shaped(spec), info)
        assert refused.value.field == f"resources.{what}"
        assert refused.value.got
        assert refused.value.remedy
        assert len(refused.value.message) > 20


async def test_what_fits_is_not_refused(stand: StandIn) -> None:
    info = await stand.backend.describe()
    for spec in (
        JobSpec(command=("true",)),
        JobSpec(script="true", resources=Resources(cpu=1, memory_bytes=64 << 20, time_limit_s=60)),
        JobSpec(node=NodeCall("flow.passthrough", {"value": 1})),
    ):
        stand.backend.check(stand.site.shaped(spec), info)


@brief
async def test_a_backend_describes_itself(stand: StandIn, place: Place) -> None:
    info = await stand.backend.describe()
    assert (info.name, info.reachable, info.can_pause) == (stand.backend.name, True, place.pause)
    assert info.slots >= 1
    # The most of each that one job can have; None where it cannot be known.
    assert {"cpu", "memory_bytes", "gpu"} <= set(info.limits)
    assert all(info.limits[name] is None or info.limits[name] >= least
               for name, least in (("cpu", 1), ("memory_bytes", 1), ("gpu", 0)))  # fmt: skip
    assert json.loads(json.dumps([info.limits, info.detail])) == [info.limits, info.detail]


# -- room ----------------------------------------------------------------------------------------------------------


async def test_room_that_is_given_back_can_be_had_again(stand: StandIn, place: Place) -> None:
    jobs = [stand.add(command=("true",)) for _ in range(place.room + 1)]
    placed = [stand.backend.place(job) for job in jobs]
    assert all(placed[: place.room])
    assert bool(placed[-1]) is place.queues
    stand.backend.unplace([job for job, native_id in zip(jobs, placed, strict=True) if native_id])
    if isinstance(stand.backend, Measured):
        assert stand.backend.occupied() == []
    assert all(stand.backend.place(job) for job in jobs[: place.room])
    stand.backend.unplace(jobs[: place.room])
    await stand.settle()
    assert stand.seen == []
    await stand.run(jobs[0])
    assert stand.state(jobs[0]) is S.SUCCEEDED


async def test_no_more_jobs_of_a_group_are_abroad_than_it_may_have(stand: StandIn) -> None:
    jobs = [stand.gated(name=f"g{i}", parallelism=2, group="run-one") for i in range(3)]
    free = stand.gated(name="free", parallelism=2, group="run-two")
    await stand.submit(*jobs, free)
    assert [stand.state(job) for job in (*jobs, free)] == [S.QUEUED, S.QUEUED, S.PENDING, S.QUEUED]
    await stand.running(jobs[0], name="g0")
    stand.open_gate("g0")
    await stand.until(lambda: stand.begun("g2"), what="the third begins when the first has ended")
    for name in ("g1", "g2", "free"):
        stand.open_gate(name)
    await stand.succeeded(*jobs, free)


# -- what is told meanwhile ----------------------------------------------------------------------------------------


@brief
async def test_logs_are_read_by_offset_while_it_runs_and_after(stand: StandIn) -> None:
    job = stand.gated("echo one; echo bad >&2; printf 'half a line'")
    await stand.submit(job)
    await stand.running(job)
    text = b"one\nhalf a line"

    async def reads(expected: bytes, **where: int) -> tuple[bytes, int]:
        found = (b"", 0)
        for _ in range(100):
            found = await stand.log(job, **where)
            if found[0] == expected:
                break
            await stand.settle()
        return found

    assert await reads(text) == (text, len(text))
    assert await stand.log(job, limit=3) == (b"one", 3)
    assert await stand.log(job, offset=len(text)) == (b"", len(text))
    stand.open_gate()
    await stand.succeeded(job)
    whole = text + b"went on\n"
    assert await stand.log(job, offset=len(text)) == (b"went on\n", len(whole))
    assert await stand.log(job, offset=-5) == (b"t on\n", len(whole))
    assert await stand.log(job, offset=-10_000, limit=3) == (b"one", 3)
    assert await stand.log(job, "stderr") == (b"bad\n", 4)
    reader = stand.site.make()  # as in a client, which asks without ever having begun to observe
    assert await reader.read(stand.jobs[job.id], "stdout", offset=4, limit=4) == (b"half", 8)


async def test_a_log_that_is_not_there_is_empty(stand: StandIn) -> None:
    quiet, node = stand.add(command=("true",)), stand.add_node("flow.passthrough", {"value": 1})
    await stand.submit(quiet, node)
    await stand.succeeded(quiet, node)
    assert [await stand.log(job) for job in (quiet, node)] == [(b"", 0)] * 2
    assert await stand.log(node, "stderr", offset=3) == (b"", 3)


def progress_of(stand: StandIn, job: Job) -> list[float]:
    return [one.data["fraction"] for one in stand.told(job) if one.kind == "event" and one.data["kind"] == "progress"]


def steps(first: int, last: int) -> str:
    return f'for i in $(seq {first} {last}); do echo "{{\\"fraction\\": 0.$i}}" >> "$PHYSLAB_EVENTS"; done\n'


async def test_events_are_told_in_order_and_once(stand: StandIn) -> None:
    job = stand.gated(steps(10, 59) + 'echo \'{"value": 2.5, "name": "loss"}\' >> "$PHYSLAB_EVENTS"; echo no json >> "$PHYSLAB_EVENTS"')  # fmt: skip
    await stand.submit(job)
    await stand.until(lambda: len(progress_of(stand, job)) == 50, what="progress while it runs")
    stand.open_gate()
    await stand.succeeded(job)
    assert progress_of(stand, job) == [i / 100 for i in range(10, 60)]
    events = [one for one in stand.told(job) if one.kind == "event"]
    assert [(one.data["name"], one.data["value"]) for one in events if one.data["kind"] == "metric"] == [("loss", 2.5)]
    assert [one.data["text"] for one in events if one.data["kind"] == "log"] == ["no json"]
    kinds = [kind for kind in stand.kinds(job) if kind != "placed"]
    assert (kinds[0], kinds[-1], kinds.count("started")) == ("started", "done", 1)


async def test_what_is_printed_is_told_as_events_where_that_was_asked_for(stand: StandIn) -> None:
    job, other = stand.gated("echo ψ one; echo aside >&2", stream_logs=True), stand.add(script="echo unasked")
    await stand.submit(job, other)

    def printed(one: Job) -> str:
        return "".join(seen.data["text"] for seen in stand.told(one) if seen.kind == "event")

    await stand.until(lambda: printed(job) == "ψ one\n", what="what it printed, while it runs")
    stand.open_gate()
    await stand.succeeded(job, other)
    assert (printed(job), printed(other)) == ("ψ one\nwent on\n", "")


# -- cancelling ----------------------------------------------------------------------------------------------------


async def test_a_job_that_is_cancelled_before_it_started_does_not_run(stand: StandIn) -> None:
    job = stand.gated(name="c")
    await stand.submit(job)
    await stand.cancel(job)
    await stand.ended(job)
    assert stand.state(job) is S.CANCELLED
    await stand.all_dead(job)
    await stand.settle()
    assert [kind for kind in stand.kinds(job) if kind in ENDS] == ["cancelled"]
    assert len(stand.begun("c")) <= 1


@brief
async def test_a_running_job_is_cancelled_with_everything_it_started(stand: StandIn) -> None:
    job, other = stand.gated(FAMILY + DEAF), stand.gated(name="other")
    await stand.submit(job, other)
    await stand.running(job)
    await stand.until(lambda: len(stand.alive(job)) >= FAMILY_SIZE, what="its family")
    await stand.cancel(job)
    await stand.cancel(job)
    await stand.ended(job)
    assert stand.state(job) is S.CANCELLED
    await stand.all_dead(job)
    await stand.cancel(job)
    await stand.settle()
    assert stand.state(job) is S.CANCELLED
    assert stand.kinds(job).count("done") == 0
    stand.open_gate("other")
    await stand.succeeded(other)


async def test_a_running_node_call_is_cancelled_with_everything_it_started(stand: StandIn, place: Place) -> None:
    if not place.own_nodes:
        pytest.skip("it runs installed node types only")
    job, other = stand.gated_node(), stand.gated_node(name="other")
    await stand.submit(job, other)
    await stand.running(job)
    await stand.running(other, name="other")
    assert stand.alive(job)
    await stand.cancel(job)
    await stand.ended(job)
    assert stand.state(job) is S.CANCELLED
    await stand.all_dead(job)
    stand.open_gate("other")
    (done,) = await stand.succeeded(other)
    assert [stand.site.blobs.read(ref.sha256) for ref in done.artifacts] == [b"attempt 1\n"]


async def test_a_cancel_that_comes_after_the_end_changes_nothing(stand: StandIn) -> None:
    drained, not_drained = stand.gated(name="a"), stand.gated(name="b")
    for name in "ab":
        stand.open_gate(name)
    await stand.run(drained)
    await stand.cancel(drained)
    await stand.submit(not_drained)
    stand.committing = False
    await stand.until(lambda: any(one.kind == "done" for one in stand.unwritten), what="an end nobody wrote down yet")
    await stand.restart()
    await stand.cancel(not_drained)
    await stand.ended(not_drained)
    await stand.settle()
    assert stand.state(drained) is S.SUCCEEDED
    assert isinstance(stand.outcome(drained), NodeResult)
    assert stand.state(not_drained) in (S.SUCCEEDED, S.CANCELLED)
    assert (stand.begun("a"), stand.begun("b")) == (["1"], ["1"])


# -- pausing -------------------------------------------------------------------------------------------------------


async def test_a_frozen_job_stands_still_until_it_is_resumed(stand: StandIn, place: Place) -> None:
    if place.pause != "freeze":
        pytest.skip("it freezes nothing")
    job = stand.gated("sleep 300 &")
    await stand.submit(job)
    await stand.running(job)
    assert await stand.backend.pause([stand.jobs[job.id]]) == {}
    await stand.until(lambda: stand.state(job) is S.PAUSED)
    frozen = [psutil.Process(pid).status() for pid in stand.alive(job)]
    assert len(frozen) >= 3
    assert set(frozen) == {psutil.STATUS_STOPPED}
    stand.open_gate()
    await stand.settle()
    assert stand.state(job) is S.PAUSED
    assert await stand.backend.resume([stand.jobs[job.id]]) == {}
    await stand.until(lambda: "resumed" in stand.kinds(job))
    await stand.succeeded(job)
    assert stand.begun() == ["1"]
    assert stand.kinds(job).count("paused") == stand.kinds(job).count("resumed") == 1


async def test_a_frozen_job_can_be_cancelled(stand: StandIn, place: Place) -> None:
    if place.pause != "freeze":
        pytest.skip("it freezes nothing")
    jobs = [stand.gated(FAMILY)]
    if place.own_nodes:
        jobs.append(stand.gated_node(name="two"))
    await stand.submit(*jobs)
    for job, name in zip(jobs, ("one", "two"), strict=False):
        await stand.running(job, name=name)
    assert await stand.backend.pause([stand.jobs[job.id] for job in jobs]) == {}
    await stand.until(lambda: all(stand.state(job) is S.PAUSED for job in jobs))
    await stand.cancel(*jobs)
    await stand.ended(*jobs)
    assert [stand.state(job) for job in jobs] == [S.CANCELLED] * len(jobs)
    await stand.all_dead(*jobs)


async def test_a_queued_job_is_paused_and_a_running_one_is_refused(stand: StandIn, place: Place) -> None:
    if place.pause not in ("queued_only", "checkpoint") or not place.queues:
        pytest.skip("nothing is queued there to be paused")
    many = [stand.gated(name=f"r{i}") for i in range(place.room)]
    await stand.submit(*many)
    for i, one in enumerate(many):
        await stand.running(one, name=f"r{i}")
    waits = stand.gated(name="waits")
    await stand.submit(waits)
    refused = await stand.backend.pause([stand.jobs[waits.id], stand.jobs[many[0].id]])
    assert list(refused) == [many[0].id]
    assert refused[many[0].id]
    await stand.until(lambda: stand.state(waits) is S.PAUSED)
    for i in range(place.room):
        stand.open_gate(f"r{i}")
    await stand.succeeded(*many)
    await stand.settle()
    assert (stand.state(waits), stand.begun("waits")) == (S.PAUSED, [])
    assert await stand.backend.resume([stand.jobs[waits.id]]) == {}
    stand.open_gate("waits")
    await stand.succeeded(waits)


async def test_what_cannot_be_paused_is_refused_with_a_reason_and_goes_on(stand: StandIn, place: Place) -> None:
    if place.pause != "none":
        pytest.skip("it can pause")
    job = stand.gated()
    await stand.submit(job)
    await stand.running(job)
    refused = await stand.backend.pause([stand.jobs[job.id]])
    assert list(refused) == [job.id]
    assert refused[job.id]
    stand.open_gate()
    await stand.succeeded(job)
    assert "paused" not in stand.kinds(job)


async def test_a_job_that_is_not_there_can_neither_be_paused_nor_resumed(stand: StandIn) -> None:
    stand.open_gate()
    job = stand.gated()
    await stand.run(job)
    gone = [stand.jobs[job.id]]
    await stand.backend.pause(gone)
    await stand.backend.resume(gone)
    await stand.settle()
    assert not {"paused", "resumed"} & set(stand.kinds(job))


# -- one engine after the other ------------------------------------------------------------------------------------


async def test_a_new_engine_takes_over_what_runs(stand: StandIn, place: Place) -> None:
    jobs = [stand.gated(steps(10, 29), name="cold")]
    names = ["cold"]
    if place.own_nodes:
        jobs.append(stand.gated_node(name="node"))
        names.append("node")
    await stand.submit(*jobs)
    for job, name in zip(jobs, names, strict=True):
        await stand.running(job, name=name)
    await stand.until(lambda: len(progress_of(stand, jobs[0])) == 20)
    await stand.restart()
    await stand.settle()
    assert all(stand.state(job) is S.RUNNING for job in jobs)
    for name in names:
        stand.open_gate(name)
    results = await stand.succeeded(*jobs)
    assert progress_of(stand, jobs[0]) == [i / 100 for i in range(10, 30)]
    assert (await stand.log(jobs[0]))[0] == b"went on\n"
    assert stand.begun("cold") == ["1"]
    if place.own_nodes:
        assert len(stand.begun("node")) == 1
        assert results[1].values == {"attempt": 1}


@brief
async def test_what_ended_while_no_engine_was_there_is_told(stand: StandIn) -> None:
    good, bad = stand.gated(steps(10, 19), name="a"), stand.gated("exit 3", name="b")
    await stand.submit(good, bad)
    await stand.running(good, name="a")
    stand.committing = False
    await stand.backend.aclose(keep=True)
    stand.open_gate("a")
    await stand.all_dead(good, bad)
    stand.committing = True
    await stand.begin()
    done, failure = await stand.ended(good, bad)
    assert isinstance(done, NodeResult)
    assert failed(failure).exit_code == 3
    assert progress_of(stand, good) == [i / 100 for i in range(10, 20)]
    assert (stand.begun("a"), stand.begun("b")) == (["1"], ["1"])


async def test_what_was_intended_and_never_handed_over_is_dropped_and_runs_once(stand: StandIn) -> None:
    cold, node = stand.gated(name="cold"), stand.add_node("flow.passthrough", {"value": 5})
    stand.open_gate("cold")
    assert stand.intend(cold)
    assert stand.intend(node)
    await stand.restart()
    await stand.succeeded(cold, node)
    assert stand.begun("cold") == ["1"]
    for job in (cold, node):
        assert [one.kind for one in stand.told(job, fence=1)] == ["dropped"]
        assert stand.jobs[job.id].fence == 2


@brief
async def test_what_was_handed_over_and_not_written_down_is_found_and_not_run_again(stand: StandIn) -> None:
    cold = stand.gated(name="cold")
    stand.committing = False  # the engine is killed before it writes down what `submit` led to
    await stand.submit(cold)
    await stand.until(lambda: stand.begun("cold"), what="it runs")
    await stand.restart()
    stand.open_gate("cold")
    await stand.succeeded(cold)
    assert stand.begun("cold") == ["1"]
    assert stand.jobs[cold.id].fence == 1


async def test_results_that_were_not_acknowledged_come_again(stand: StandIn) -> None:
    cold = stand.gated("echo '{\"x\": 1}' > $PHYSLAB_VALUES", name="cold")
    node = stand.add_node("flow.passthrough", {"value": 5})
    stand.open_gate("cold")
    stand.committing = False
    await stand.submit(cold, node)
    await stand.until(lambda: {one.job_id for one in stand.unwritten if one.kind == "done"} == {cold.id, node.id})
    await stand.restart()
    assert [one.values for one in await stand.succeeded(cold, node)] == [{"x": 1}, {"value": 5}]
    assert stand.begun("cold") == ["1"]
    assert [stand.jobs[job.id].fence for job in (cold, node)] == [1, 1]
    await stand.restart()  # what is in the store now is not told a third time
    await stand.settle()
    assert [stand.kinds(job).count("done") for job in (cold, node)] == [1, 1]


async def test_a_job_that_was_taken_over_can_be_cancelled(stand: StandIn, place: Place) -> None:
    jobs = [stand.gated(FAMILY)]
    if place.own_nodes:
        jobs.append(stand.gated_node(name="two"))
    await stand.submit(*jobs)
    for job, name in zip(jobs, ("one", "two"), strict=False):
        await stand.running(job, name=name)
    await stand.restart()
    await stand.cancel(*jobs)
    await stand.ended(*jobs)
    assert [stand.state(job) for job in jobs] == [S.CANCELLED] * len(jobs)
    await stand.all_dead(*jobs)


async def test_a_frozen_job_stays_frozen_over_a_restart(stand: StandIn, place: Place) -> None:
    if place.pause != "freeze":
        pytest.skip("it freezes nothing")
    jobs = [stand.gated()]
    if place.own_nodes:
        jobs.append(stand.gated_node(name="two"))
    await stand.submit(*jobs)
    for job, name in zip(jobs, ("one", "two"), strict=False):
        await stand.running(job, name=name)
    await stand.backend.pause([stand.jobs[job.id] for job in jobs])
    await stand.until(lambda: all(stand.state(job) is S.PAUSED for job in jobs))
    await stand.restart()
    for name in ("one", "two"):
        stand.open_gate(name)
    await stand.settle()
    assert [stand.state(job) for job in jobs] == [S.PAUSED] * len(jobs)
    await stand.backend.resume([stand.jobs[job.id] for job in jobs])
    await stand.succeeded(*jobs)
    assert [len(stand.begun(name)) for name in ("one", "two")][: len(jobs)] == [1] * len(jobs)


# -- accidents -----------------------------------------------------------------------------------------------------


async def test_a_job_whose_worker_vanished_is_lost_and_nothing_of_it_is_left(stand: StandIn, place: Place) -> None:
    if place.lose is None:
        pytest.skip("there is no way to lose a worker there")
    job, other = stand.gated(FAMILY), stand.gated(name="other")
    await stand.submit(job, other)
    await stand.running(job)
    await stand.running(other, name="other")
    await place.lose(stand.site, stand.jobs[job.id])
    (outcome,) = await stand.ended(job)
    assert failed(outcome).code == "lost"
    assert "lost" in stand.kinds(job)
    await stand.all_dead(job)
    stand.open_gate("other")
    await stand.succeeded(other)


async def test_repeatable_work_that_was_lost_runs_again(stand: StandIn, place: Place) -> None:
    if place.lose is None:
        pytest.skip("there is no way to lose a worker there")
    jobs = [stand.gated(name="cold", idempotent=True)]
    names = ["cold"]
    if place.own_nodes:
        jobs.append(stand.gated_node(name="node"))
        names.append("node")
    await stand.submit(*jobs)
    for job, name in zip(jobs, names, strict=True):
        await stand.running(job, name=name)
        await place.lose(stand.site, stand.jobs[job.id])
    for name in names:
        await stand.until(lambda name=name: len(stand.begun(name)) == 2, what="the second run")
        stand.open_gate(name)
    await stand.succeeded(*jobs)
    assert [[line.split()[0] for line in stand.begun(name)] for name in names] == [["1", "2"]] * len(names)
    assert all([one.kind for one in stand.told(job, fence=1)][-1] == "lost" for job in jobs)


async def test_a_worker_that_speaks_again_after_it_was_given_up_keeps_its_fence(stand: StandIn, place: Place) -> None:
    if place.stall is None or not place.own_nodes:
        pytest.skip("there is no way to silence a worker there")
    job = stand.gated_node()
    await stand.submit(job)
    await stand.running(job)
    async with place.stall(stand.site, stand.jobs[job.id]):
        await stand.until(lambda: len(stand.begun()) == 2, what="another worker begins it again")
    stand.open_gate()
    (done,) = await stand.succeeded(job)
    assert done.values == {"attempt": 2}
    late = await stand.until(lambda: [one for one in stand.told(job, fence=1) if one.kind == "done"], what="late words")
    assert [json.loads(one.result or b"")["values"] for one in late] == [{"attempt": 1}]
    assert stand.state(job) is S.SUCCEEDED


@brief
async def test_nothing_is_lost_while_what_it_asks_cannot_be_reached(stand: StandIn, place: Place) -> None:
    if place.outage is None:
        pytest.skip("there is nothing between it and its jobs")
    job, ends = stand.gated(name="a"), stand.gated(name="b")
    await stand.submit(job, ends)
    await stand.running(job, name="a")
    await stand.running(ends, name="b")
    before = time.time()
    async with place.outage(stand.site):
        stand.open_gate("b")
        await stand.until(lambda: all("unreachable" in stand.kinds(one) for one in (job, ends)), what="that is told")
        await stand.settle()
        assert not (await stand.backend.describe()).reachable
        assert [stand.state(one) for one in (job, ends)] == [S.RUNNING] * 2
        assert [stand.kinds(one).count("unreachable") for one in (job, ends)] == [1, 1]
        for reason in (stand.jobs[one.id].reason for one in (job, ends)):
            assert reason.code is ReasonCode.BACKEND_UNREACHABLE
            assert reason.text
            assert before <= reason.since <= time.time()
    await stand.until(lambda: stand.state(ends) is S.SUCCEEDED, what="what ended meanwhile")
    await stand.until(lambda: stand.jobs[job.id].reason.code is ReasonCode.NONE, what="that it is in sight again")
    assert stand.state(job) is S.RUNNING
    stand.open_gate("a")
    await stand.succeeded(job)
    assert (await stand.backend.describe()).reachable
    assert (stand.begun("a"), stand.begun("b")) == (["1"], ["1"])
