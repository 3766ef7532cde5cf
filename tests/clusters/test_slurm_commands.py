"""What we generate is given to a real Slurm, and what it says is read: submissions, every end, limits, a dead controller."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.clusters.slurm_cluster import SlurmCluster, slurm
from tests.waiting import until

from physlab_mcp.backends.slurm import inventory
from physlab_mcp.backends.slurm.accounting import (
    MOST_IDS,
    Row,
    estimate,
    found,
    read_sacct,
    read_squeue,
    refused,
    sacct_argv,
    squeue_argv,
    submitted,
)
from physlab_mcp.backends.slurm.inventory import Limits, nodes, partitions, qos
from physlab_mcp.backends.slurm.limits import findings, refusal, submit_room
from physlab_mcp.backends.slurm.merging import Known, merge
from physlab_mcp.backends.slurm.script import Needs, Order, token_of, write
from physlab_mcp.backends.slurm.settings import SlurmSettings
from physlab_mcp.backends.slurm.states import standing
from physlab_mcp.errors import RejectedError, UnavailableError

__all__ = ["slurm"]
pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]

HOLDS = "import time; time.sleep(300)"
EATS = "import time; eaten = bytearray(600 << 20); time.sleep(300)"


class Desk:
    """Submits what we generate, and looks at the cluster with the words that we generate."""

    def __init__(self, cluster: SlurmCluster, settings: SlurmSettings) -> None:
        self.cluster = cluster
        self.settings = settings
        self.known: dict[str, Known] = {}

    def submit(
        self, name: str, program: str, needs: Needs | None = None, *, indices: tuple[int, ...] | None = None,
        throttle: int = 0, options: tuple[str, ...] = (), env: Mapping[str, str] | None = None,
    ) -> int:  # fmt: skip
        folder = Path(self.settings.root) / "batches" / name
        folder.mkdir(parents=True)
        (folder / "element.py").write_text(program)
        order = Order(
            token=token_of(name),
            folder=str(folder),
            program=str(folder / "element.py"),
            indices=indices,
            throttle=throttle,
        )
        asked = write(needs or Needs(memory_mib=100), order, self.settings, self.cluster.env)
        argv = [*asked.argv, f"--exclude={self.cluster.nodes[2]}", *options]
        done = self.cluster.run(argv, stdin=asked.script, env=env)
        assert done.returncode == 0, done.stderr
        job_id, _ = submitted(done.stdout)
        for index in indices or (None,):
            key = name if index is None else f"{name}_{index}"
            self.known[key] = Known(
                cluster=self.cluster.name, job_id=job_id, index=index, token=order.token, submitted_at=time.time() - 1
            )
        return job_id

    def queue(self) -> list[Row] | None:
        done = self.cluster.run(squeue_argv())
        return None if done.returncode else list(read_squeue(done.stdout).rows)

    def accounts(self) -> list[Row] | None:
        done = self.cluster.run(sacct_argv({one.job_id for one in self.known.values()}, time.time() - 3600))
        return None if done.returncode else list(read_sacct(done.stdout).rows)

    def look(self) -> None:
        self.known = merge(self.known, self.queue(), self.accounts(), time.time())

    def output(self, name: str) -> str:
        return (Path(self.settings.root) / "batches" / name / "slurm-0.out").read_text()

    def state(self, key: str) -> str:
        self.look()
        return self.known[key].state

    def becomes(self, key: str, *states: str, deadline_s: float = 60.0) -> Known:
        until(lambda: self.state(key) in states, deadline_s, what=f"{key} in {states}")
        return self.known[key]

    def ends(self, key: str, deadline_s: float = 60.0) -> Known:
        until(lambda: (self.look(), self.known[key].final)[1], deadline_s, what=f"the end of {key}")
        return self.known[key]


@pytest.fixture(scope="module")
def desk(slurm: SlurmCluster):
    root = slurm.root / "jobs of tests"
    root.mkdir(mode=0o755, exist_ok=True)
    return Desk(slurm, SlurmSettings(root=str(root)))


@pytest.fixture(scope="module")
def slow(desk: Desk):
    """What takes Slurm long by its own clock, begun first: a failed node (it is missed after 20 s), a time-out."""
    third = desk.cluster.nodes[2]
    lost = desk.submit("node-fail", HOLDS, options=(f"--nodelist={third}", "--exclude="))
    first = desk.cluster.nodes[0]
    late = desk.submit("time-out", HOLDS, Needs(minutes=1, memory_mib=100), options=(f"--nodelist={first}",))
    desk.becomes("node-fail", "RUNNING")
    desk.becomes("time-out", "RUNNING")
    desk.cluster.do("kill-node", third)
    # The limit is a whole minute, but the moment at which it is over can be moved.
    desk.cluster.say("scontrol", "update", f"jobid={late}", "endtime=now+1")
    return {"lost": lost, "late": late}


# -- scripts -----------------------------------------------------------------------------------------------------

TELLS = """
import json, os, sys
place = os.path.join(sys.argv[1], "told-" + os.environ["SLURM_ARRAY_TASK_ID"])
with open(place, "w") as stream:
    json.dump({"env": dict(os.environ), "flags": [sys.flags.isolated, sys.flags.no_site], "argv": sys.argv, "cwd": os.getcwd()}, stream)
"""


def test_each_element_runs_the_program_in_its_folder_with_the_environment_of_the_settings(slow, slurm, desk):
    value = "a 'b' \"c\"\n#SBATCH --hold\n$(touch /tmp/never) `id` \\ é"
    settings = SlurmSettings(root=desk.settings.root, env={"PROBE": value})
    mine = Desk(slurm, settings)
    theirs = {"SECRET": "s3cret", "SBATCH_ARRAY_INX": "0-99", "SBATCH_PARTITION": "closed", "SBATCH_HOLD": "1"}
    mine.submit("tells", TELLS, indices=(0, 2, 3), env=theirs)
    for index in (0, 2, 3):
        assert mine.ends(f"tells_{index}").state == "COMPLETED"
    folder = Path(settings.root) / "batches" / "tells"
    assert sorted(path.name for path in folder.glob("told-*")) == ["told-0", "told-2", "told-3"]
    told = json.loads((folder / "told-2").read_text())
    assert told["env"]["PROBE"] == value
    assert told["env"]["SLURM_JOB_NAME"] == "physlab:tells"
    assert "SECRET" not in told["env"]
    assert (told["flags"], told["argv"][1], told["cwd"]) == ([1, 1], str(folder), str(folder))


def test_a_gpu_that_is_asked_for_is_given(desk):
    desk.submit(
        "gpu",
        "import os; print('GPU', os.environ['CUDA_VISIBLE_DEVICES'])",
        Needs(gpus=1, gpu_type="a100", partition="gpu"),
    )
    assert desk.ends("gpu").state == "COMPLETED"
    assert desk.output("gpu").split()[-2:] == ["GPU", "0"]


def test_a_throttle_holds_the_rest_back_and_every_element_is_told_for(desk):
    indices = tuple(range(0, 300, 2))  # a list that Slurm would cut where it is not told otherwise
    job = desk.submit("throttled", HOLDS, Needs(memory_mib=10), indices=indices, throttle=2)
    until(lambda: [desk.state(f"throttled_{i}") for i in (0, 2)] == ["RUNNING"] * 2, 30)
    mine = {key: one for key, one in desk.known.items() if key.startswith("throttled_")}
    assert all(one.unknown_since == 0 for one in mine.values())
    assert sorted(one.state for one in mine.values()).count("RUNNING") == 2
    waits = standing(mine["throttled_298"].state, mine["throttled_298"].reason)
    assert (waits.kind, "throttle" in waits.text) == ("queued", True)
    desk.cluster.say("scancel", str(job))
    assert desk.ends("throttled_298").state == "CANCELLED"
    assert desk.ends("throttled_0").state == "CANCELLED"


def test_submissions_are_found_by_their_token_and_a_second_one_too(desk):
    first = desk.submit("twice", HOLDS, Needs(begin_s=3600))
    rows = desk.queue()
    assert rows is not None
    assert [place.job_id for place in found([token_of("twice")], rows)[token_of("twice")]] == [first]
    again = desk.cluster.say("sbatch", "--parsable", "--hold", f"--job-name={token_of('twice')}", "--wrap", "true")
    rows = desk.queue()
    assert rows is not None
    assert [place.job_id for place in found([token_of("twice")], rows)[token_of("twice")]] == [first, int(again)]
    assert standing("PENDING", desk.known["twice"].reason).kind == "queued"
    desk.look()
    assert standing(desk.known["twice"].state, desk.known["twice"].reason).text == "its begin time has not come"
    desk.cluster.say("scancel", str(first), again)


# -- ends --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "program", "code", "exit_code", "signal"),
    [
        ("fails", "raise SystemExit(3)", "exit", 3, None),
        ("is-killed", "import os; os.kill(os.getpid(), 9)", "exit", None, 9),
        ("eats", EATS, "oom", None, None),
    ],
)
def test_ends_of_a_program(desk, name, program, code, exit_code, signal):
    desk.submit(name, program)
    one = desk.ends(name)
    until(lambda: desk_exit(desk, name), 20, what="its exit status in accounting")
    failure = standing(one.state, one.reason, exit_code=desk_exit(desk, name), output=desk.output(name)).failure
    assert failure is not None
    assert failure.code == code
    if code == "exit":
        assert (failure.exit_code, failure.signal) == (exit_code, signal)


def desk_exit(desk: Desk, name: str) -> str:
    one = desk.known[name]
    ended = [row for row in desk.accounts() or [] if row.job_id == one.job_id and row.state == one.state]
    return ended[-1].exit_code if ended else ""


def test_a_need_that_failed_is_hopeless(desk):
    first = desk.known["fails"].job_id
    desk.submit("never", HOLDS, options=(f"--dependency=afterok:{first}",))
    until(lambda: (desk.look(), standing(desk.known["never"].state, desk.known["never"].reason).hopeless)[1], 20)
    assert desk.known["never"].reason == "DependencyNeverSatisfied"
    assert not desk.known["never"].final
    desk.cluster.say("scancel", str(desk.known["never"].job_id))
    assert desk.ends("never").state == "CANCELLED"


def test_who_cancelled_it_is_told(desk):
    job = desk.submit("cancelled", HOLDS)
    desk.becomes("cancelled", "RUNNING")
    desk.cluster.say("scancel", str(job))
    desk.ends("cancelled")
    rows = until(lambda: [row for row in desk.accounts() or [] if row.job_id == job and row.state == "CANCELLED"], 20)
    assert rows[-1].by_uid == 0


def test_held_suspended_and_requeued_jobs(desk):
    job = desk.submit("moves", HOLDS)
    desk.becomes("moves", "RUNNING")
    desk.cluster.say("scontrol", "suspend", str(job))
    one = desk.becomes("moves", "SUSPENDED")
    assert standing(one.state, one.reason).kind == "paused"
    desk.cluster.say("scontrol", "resume", str(job))
    desk.becomes("moves", "RUNNING")
    desk.cluster.say("scontrol", "requeuehold", str(job))
    one = desk.becomes("moves", "PENDING", "REQUEUE_HOLD")
    until(lambda: (desk.look(), standing(desk.known["moves"].state, desk.known["moves"].reason).held)[1], 20)
    assert not desk.known["moves"].final
    desk.cluster.say("scontrol", "release", str(job))
    until(lambda: desk.cluster.starts_now(str(job)), 20)
    one = desk.becomes("moves", "RUNNING")
    assert one.again == 1
    desk.cluster.say("scontrol", "requeuehold", "state=SpecialExit", str(job))
    until(lambda: (desk.look(), standing(desk.known["moves"].state, desk.known["moves"].reason).held)[1], 20)
    desk.cluster.say("scancel", str(job))
    assert desk.ends("moves").state == "CANCELLED"


def test_a_job_of_higher_priority_takes_the_place(desk):
    desk.submit("spare", HOLDS, Needs(cpus=16, partition="spare", memory_mib=100))
    desk.becomes("spare", "RUNNING")
    urgent = desk.submit("urgent", HOLDS, Needs(cpus=16, partition="urgent", memory_mib=100))
    one = desk.ends("spare")
    told = standing(one.state, one.reason)
    assert (one.state, told.kind, told.failure.code) == ("PREEMPTED", "lost", "lost")
    desk.cluster.say("scancel", str(urgent))


# -- limits ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def limits(slurm):
    def ask(argv):
        return slurm.say(*argv)

    return Limits(
        config=inventory.config(ask(inventory.CONFIG_ARGV)),
        partitions=partitions(ask(inventory.PARTITIONS_ARGV), nodes(ask(inventory.NODES_ARGV))),
        qos=qos(ask(inventory.QOS_ARGV)),
    )


def test_the_cluster_is_read_as_it_was_set_up(slurm, limits):
    told = limits.config
    assert (told.cluster, told.max_array, told.max_jobs, told.accounting) == (slurm.name, 2001, 20000, True)
    assert [one.name for one in limits.partitions] == [
        "work",
        "short",
        "small",
        "gpu",
        "spare",
        "yielding",
        "urgent",
        "closed",
    ]
    assert {one.name: one.up for one in limits.partitions}["closed"] is False
    work = limits.partitions[0]
    assert sum(group.count for group in work.groups) == len(slurm.nodes)
    assert sum(group.count for group in work.groups if group.gpus == {"a100": 2}) == 2
    assert (limits.partitions[2].max_cpus_per_node, limits.partitions[2].max_mem_per_node) == (2, 1000)
    assert submit_room(limits, Needs(qos="few"), 2) == 3
    assert all(one.state == "ok" for one in findings(limits) if one.what == "slurm partition work")


@pytest.mark.parametrize(
    ("needs", "refused"),
    [
        (Needs(), False),
        (Needs(cpus=16, memory_mib=8000), False),
        (Needs(cpus=17), True),
        (Needs(memory_mib=8001), True),
        (Needs(nodes=5), True),
        (Needs(gpus=2, gpu_type="a100"), False),
        (Needs(gpus=3), True),
        (Needs(gpus=1, gpu_type="h100"), True),
        (Needs(constraint="old", gpus=1), True),
        (Needs(constraint="nothing"), True),
        (Needs(partition="small", cpus=2), False),
        (Needs(partition="small", cpus=3), True),
        (Needs(partition="short", minutes=10), False),
        (Needs(partition="short", minutes=11), True),
        (Needs(partition="short", nodes=3), True),
        (Needs(partition="nowhere"), True),
        (Needs(qos="nowhere"), True),
        (Needs(qos="brief", minutes=3), True),
    ],
    ids=lambda one: " ".join(f"{k}={getattr(one, k)}" for k in one.__struct_fields__ if getattr(one, k)) if isinstance(one, Needs) else str(one),
)  # fmt: skip
def test_we_refuse_exactly_what_slurm_would_never_run(slurm, limits, desk, needs, refused):
    order = Order(token=token_of("try"), folder=desk.settings.root, program="/bin/true")
    asked = write(needs, order, desk.settings, slurm.env)
    answer = slurm.run([*asked.argv, "--test-only"], stdin=asked.script, env={"SLURM_TIME_FORMAT": "%s"})
    assert (refusal(needs, limits) is not None) is refused
    if needs.partition == "short":
        return  # this cluster takes what breaks a partition's limits, and lets it wait: see below
    assert (answer.returncode != 0) is refused, answer.stderr
    if not refused:
        told = estimate(answer.stderr)
        assert told is not None
        assert told.partition == (needs.partition or "work")
        assert told.start_at > 1.7e9


def test_what_slurm_takes_and_never_starts_is_hopeless(desk, limits):
    needs = Needs(partition="short", minutes=11, memory_mib=100)
    assert refusal(needs, limits) is not None
    job = desk.submit("too-long", HOLDS, needs)
    until(lambda: (desk.look(), standing(desk.known["too-long"].state, desk.known["too-long"].reason).hopeless)[1], 20)
    desk.cluster.say("scancel", str(job))


@pytest.mark.parametrize(
    ("needs", "kind", "words"),
    [
        (Needs(qos="few"), UnavailableError, "QOSMaxSubmitJobPerUserLimit"),  # six are more than five, until others end
        (Needs(qos="brief", minutes=3), RejectedError, "QOSMaxWallDurationPerJobLimit"),
        (Needs(partition="nowhere"), RejectedError, "Invalid partition name"),
        (Needs(account="nobody"), RejectedError, "Invalid account"),
    ],
)
def test_a_refusal_of_the_real_sbatch_is_told_apart(slurm, desk, needs, kind, words):
    order = Order(token=token_of("refused"), folder=desk.settings.root, program="/bin/true", indices=tuple(range(6)))
    asked = write(needs, order, desk.settings, slurm.env)
    done = slurm.run([*asked.argv, "--hold"], stdin=asked.script)
    assert done.returncode != 0
    error = refused(done.stderr)
    assert type(error) is kind
    assert words in error.message


def test_as_many_as_there_is_room_for_are_taken(desk, limits):
    needs = Needs(qos="few", memory_mib=10)
    room = submit_room(limits, needs, 0)
    job = desk.submit("room", HOLDS, needs, indices=tuple(range(room)), options=("--hold",))
    desk.look()
    assert standing(desk.known["room_0"].state, desk.known["room_0"].reason).held
    desk.cluster.say("scancel", str(job))


def test_accounting_of_very_many_jobs_is_asked_for_a_time(desk):
    argv = sacct_argv(range(1, MOST_IDS + 2), time.time() - 3600)

    def tokens():
        done = desk.cluster.run(argv)
        assert done.returncode == 0, done.stderr
        return {row.token for row in read_sacct(done.stdout).rows}

    until(lambda: token_of("fails") in tokens(), 30)


# -- losses ------------------------------------------------------------------------------------------------------


def test_a_job_that_ran_too_long_is_a_time_out(slow, desk):
    one = desk.ends("time-out")  # slurmctld looks every 30 s, counted from its start: so before the next test
    assert standing(one.state, one.reason).failure.code == "timeout"
    assert (one.state, one.job_id) == ("TIMEOUT", slow["late"])


def test_a_controller_that_was_killed_makes_states_unknown_and_no_end(slow, desk):
    job = desk.submit("stays", HOLDS)
    desk.becomes("stays", "RUNNING")
    # What slurmctld took since it last wrote its state it forgets when it is killed; a change makes it write within seconds.
    began, saved = time.time(), desk.cluster.root / "state" / "job_state"
    change = desk.submit("change", HOLDS, Needs(begin_s=3600))
    until(lambda: saved.stat().st_mtime > began, 20, what="the controller's state is written")
    lost = desk.submit("forgotten", HOLDS, Needs(begin_s=3600))
    desk.cluster.do("kill-controller")
    desk.look()
    for name, state in (("stays", "RUNNING"), ("forgotten", "PENDING")):
        one = desk.known[name]
        assert (one.state, one.final, one.missing, one.why) == (state, False, False, "the queue cannot be asked")
        assert one.unknown_since > 0
    desk.cluster.do("start-controller")
    until(lambda: (desk.look(), desk.known["stays"].unknown_since == 0)[1], 30, what="stays known again")
    assert desk.known["stays"].state == "RUNNING"
    heir = desk.submit("heir", HOLDS, Needs(begin_s=3600))
    desk.look()
    assert desk.known["heir"].unknown_since == 0
    told = found([token_of("forgotten"), token_of("heir")], desk.queue() or [])
    assert [place.job_id for place in told[token_of("heir")]] == [heir]
    forgotten = desk.known["forgotten"]
    assert not forgotten.final
    if token_of("forgotten") not in told:  # it is gone, and its id may be another's now
        assert forgotten.unknown_since > 0
        assert not forgotten.missing
    desk.cluster.run(["scancel", str(job), str(lost), str(heir), str(change)])


def test_a_job_whose_node_failed_is_queued_again_and_both_lives_are_told(slow, desk):
    until(lambda: (desk.look(), desk.known["node-fail"].again == 1)[1], 90, what="node-fail queued again")
    one = desk.known["node-fail"]
    assert (one.state, one.final) == ("PENDING", False)
    rows = [row for row in desk.accounts() or [] if row.job_id == one.job_id]
    assert min(rows, key=lambda row: row.submitted_at).state == "NODE_FAIL"
    third = desk.cluster.nodes[2]
    desk.cluster.do("start-node", third)
    until(lambda: desk.cluster.run(["scontrol", "update", f"nodename={third}", "state=resume"]).returncode == 0, 20)
    until(lambda: desk.cluster.starts_now(str(one.job_id)), 20)
    desk.becomes("node-fail", "RUNNING")
    desk.cluster.say("scancel", str(one.job_id))
    assert desk.ends("node-fail").state == "CANCELLED"
