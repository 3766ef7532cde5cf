"""What partitions can hold is read from Slurm's own words, and what none can hold is refused with the limit's name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physlab_mcp.backends.slurm.inventory import Limits, Qos, config, gpus, nodes, partitions, qos
from physlab_mcp.backends.slurm.limits import breach, candidates, findings, most_minutes, refusal, submit_room
from physlab_mcp.backends.slurm.script import Needs

# As Slurm 22.05.8 printed it, shortened.
CONFIG = """Configuration data as of 2026-11-21T17:41:03
AccountingStorageType   = accounting_storage/slurmdbd
AccountingStoreFlags    = job_comment
ClusterName             = mars
JobRequeue              = 1
MaxArraySize            = 2001
MaxJobCount             = 20000
MinJobAge               = 30 sec
SchedulerParameters     = sched_interval=1,bf_interval=1,max_array_tasks=1500
SelectTypeParameters    = CR_CORE_MEMORY
SLURM_VERSION           = 22.05.8

Slurmctld(primary) at vm is UP
"""
PARTITIONS = (
    "PartitionName=work AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL Default=YES QoS=N/A DefaultTime=00:05:00 "
    "MaxNodes=UNLIMITED MaxTime=1-00:00:00 MinNodes=0 MaxCPUsPerNode=UNLIMITED Nodes=n[1-4] State=UP "
    "JobDefaults=(null) DefMemPerNode=UNLIMITED MaxMemPerNode=UNLIMITED TRES=cpu=64,mem=32000M,node=4,gres/gpu=4\n"
    "PartitionName=small AllowGroups=ALL AllowAccounts=physics,maths DenyQos=brief Default=NO QoS=N/A DefaultTime=NONE "
    "MaxNodes=1 MaxTime=01:00:00 MinNodes=0 MaxCPUsPerNode=2 Nodes=n4 State=UP MaxMemPerNode=1000 TRES=cpu=16\n"
    "PartitionName=gpu AllowGroups=ALL AllowAccounts=ALL AllowQos=fast Default=NO MaxNodes=UNLIMITED MaxTime=UNLIMITED "
    "MinNodes=2 MaxCPUsPerNode=UNLIMITED Nodes=n[1-2] State=UP MaxMemPerNode=UNLIMITED TRES=cpu=32\n"
    "PartitionName=closed Default=NO MaxTime=UNLIMITED Nodes=n1 RootOnly=YES State=DOWN MaxMemPerCPU=100\n"
)
NODES = "\n".join(
    "\x1f".join(one)
    for one in (
        ("work", "2", "16", "8000", "gpu:a100:2(S:0-1)", "new,ssd", "idle"),
        ("work", "1", "16", "8000", "(null)", "old", "mixed"),
        ("work", "1", "32+", "64000", "(null)", "old", "down*"),
        ("small", "1", "16", "8000", "(null)", "old", "idle"),
        ("gpu", "2", "16", "8000", "gpu:a100:2(S:0-1)", "new,ssd", "idle"),
        ("closed", "1", "16", "8000", "gpu:a100:2", "new", "idle"),
        ("torn", "line"),
    )
)
QOS = "normal|||\nfew||5|1\nbrief|00:02:00||\n"
LIMITS = Limits(config=config(CONFIG), partitions=partitions(PARTITIONS, nodes(NODES)), qos=qos(QOS))
MOST = {one.name: one for one in LIMITS.partitions}


def test_the_configuration_is_read():
    told = LIMITS.config
    assert (told.cluster, told.version, told.max_array, told.max_jobs, told.min_job_age_s) == (
        "mars", "22.05.8", 1500, 20000, 30,
    )  # fmt: skip
    assert (told.accounting, told.comments_kept, told.memory_is_counted, told.requeue) == (True, True, True, True)
    assert not config("AccountingStorageType = accounting_storage/none").accounting
    assert not config("SelectTypeParameters = CR_CPU").memory_is_counted


def test_partitions_and_their_nodes_are_read():
    work, small = MOST["work"], MOST["small"]
    assert (work.default, work.max_minutes, work.default_minutes, work.max_nodes, work.accounts) == (
        True,
        1440,
        5,
        None,
        None,
    )
    assert [(one.count, one.cpus, one.gpus, one.away) for one in work.groups] == [
        (2, 16, {"a100": 2}, False), (1, 16, {}, False), (1, 32, {}, True),
    ]  # fmt: skip
    assert (small.max_cpus_per_node, small.max_mem_per_node, small.max_nodes) == (2, 1000, 1)
    assert (small.accounts, small.denied_qos) == (("physics", "maths"), ("brief",))
    assert (MOST["closed"].up, MOST["closed"].root_only) == (False, True)


@pytest.mark.parametrize(
    ("text", "told"),
    [("gpu:a100:2(S:0-1),lustre:1", {"a100": 2}), ("gpu:4", {"": 4}), ("gpu", {"": 1}), ("(null)", {}), ("", {}),
     ("gpu:v100:1,gpu:a100:2", {"v100": 1, "a100": 2}), ("gpu:tesla(IDX:0)", {"tesla": 1}), ("mygpu:2", {})],
)  # fmt: skip
def test_gpus_are_counted(text, told):
    assert gpus(text) == told


@pytest.mark.parametrize(
    ("needs", "field", "limit"),
    [
        (Needs(minutes=1441), "resources.time_limit", "1-00:00:00"),
        (Needs(cpus=33), "resources.cpu", 32),
        (Needs(memory_mib=64_001), "resources.memory", 64_000),
        (Needs(gpus=3), "resources.gpu", 2),
        (Needs(gpus=1, gpu_type="h100"), "resources.gpu", 0),
        (Needs(gpus=1, cpus=17), "resources.gpu", 0),  # the one node with so many cores has no GPU
        (Needs(nodes=5), "resources.nodes", 4),
        (Needs(nodes=3, gpus=1), "resources.nodes", 2),
        (Needs(constraint="haswell"), "constraint", "new,old,ssd"),
        (Needs(partition="small", cpus=3), "resources.cpu", 2),
        (Needs(partition="small", memory_mib=1001), "resources.memory", 1000),
        (Needs(partition="small", nodes=2), "resources.nodes", 1),
        (Needs(partition="small", minutes=61), "resources.time_limit", "1:00:00"),
        (Needs(partition="small", account="poetry"), "account", "physics,maths"),
        (Needs(partition="small", qos="brief"), "qos", "all but brief"),
        (Needs(partition="gpu", nodes=1), "resources.nodes", 2),
        (Needs(partition="gpu", nodes=2, qos="few"), "qos", "fast"),
        (Needs(partition="closed"), "partition", "jobs of root"),
    ],
)
def test_what_no_node_or_partition_can_hold_is_refused_with_the_limit(needs, field, limit):
    error = refusal(needs, LIMITS)
    assert error is not None
    name = needs.partition or "work"
    assert (error.field, error.details[0]["limit"], error.details[0]["partition"]) == (field, limit, name)
    assert name in error.message
    assert error.remedy


@pytest.mark.parametrize(
    "needs",
    [Needs(), Needs(minutes=1440, cpus=16, memory_mib=8000, gpus=2, gpu_type="a100", nodes=2, constraint="ssd"),
     Needs(partition="small", account="maths", cpus=2, memory_mib=1000), Needs(partition="small,work", cpus=8),
     Needs(cpus=32), Needs(constraint="new&ssd"), Needs(partition="gpu", nodes=2, qos="fast", minutes=10**6)],
)  # fmt: skip
def test_what_one_of_the_partitions_can_hold_passes(needs):
    error = refusal(needs, Limits(config=LIMITS.config, partitions=LIMITS.partitions))
    assert error is None


def test_the_remedy_names_a_partition_that_would_do():
    error = refusal(Needs(partition="small", cpus=8), LIMITS)
    assert error is not None
    assert "backends.slurm.partition to work" in error.remedy
    assert "no partition of this cluster can hold it" in refusal(Needs(gpus=9), LIMITS).remedy


def test_a_partition_or_qos_that_does_not_exist_is_named_with_those_that_do():
    error = refusal(Needs(partition="wrk"), LIMITS)
    assert (error.field, error.got) == ("partition", "wrk")
    assert "work, small, gpu, closed" in error.remedy
    error = refusal(Needs(qos="nope"), LIMITS)
    assert (error.field, error.remedy) == ("qos", "Set backends.slurm.qos to one of: normal, few, brief.")


def test_a_qos_has_its_own_longest_time():
    assert refusal(Needs(qos="brief", minutes=2), LIMITS) is None
    assert refusal(Needs(qos="brief", minutes=3), LIMITS).field == "resources.time_limit"


def test_memory_by_core_counts_the_cores_that_slurm_would_add():
    part = MOST["closed"]
    open_to_all = type(part)(name="open", max_mem_per_cpu=100, groups=part.groups)
    assert breach(Needs(memory_mib=1600), open_to_all) is None
    assert breach(Needs(memory_mib=1601), open_to_all).limit == 1600


def test_of_a_cluster_that_nothing_is_known_of_nothing_is_refused():
    assert refusal(Needs(cpus=10**6, partition="x"), Limits()) is None


def test_the_longest_time_is_that_of_the_most_patient_partition_and_the_qos():
    assert most_minutes(LIMITS, Needs(partition="small,work")) == 1440
    assert most_minutes(LIMITS, Needs(partition="gpu,work")) is None
    assert most_minutes(LIMITS, Needs(qos="brief")) == 2
    assert most_minutes(LIMITS, Needs()) == 1440


def test_room_for_submission_is_what_the_tightest_limit_leaves():
    assert submit_room(LIMITS, Needs(qos="few"), 3) == 2
    assert submit_room(LIMITS, Needs(qos="few"), 9) == 0
    assert submit_room(LIMITS, Needs(), 100) == 19_900
    assert submit_room(LIMITS, Needs(), 100, most=150) == 50


needs_strategy = st.builds(
    Needs, cpus=st.integers(1, 64), memory_mib=st.integers(0, 100_000), gpus=st.integers(0, 4), nodes=st.integers(1, 6),
    minutes=st.integers(0, 2000), partition=st.sampled_from(["", "work", "small", "gpu", "small,gpu"]),
)  # fmt: skip


@given(needs_strategy, st.sampled_from(["cpus", "memory_mib", "gpus", "nodes", "minutes"]), st.integers(1, 100))
def test_who_asks_for_more_is_never_refused_less(needs, name, more):
    larger = Needs(
        **{**{one: getattr(needs, one) for one in needs.__struct_fields__}, name: getattr(needs, name) + more}
    )
    if refusal(needs, LIMITS) is not None and not any(one.min_nodes > 1 for one in candidates(LIMITS, needs)):
        assert refusal(larger, LIMITS) is not None


def test_doctor_shows_partitions_and_what_is_missing():
    rows = {one.what: one for one in findings(LIMITS, Needs(partition="small", cpus=8))}
    assert "Slurm 22.05.8" in rows["slurm"].text
    assert rows["slurm partition work"].text == (
        "4 nodes (1 of them take no jobs now), up to 32 cores, 64000 MiB, 2 GPUs (a100), at most 1-00:00:00 (the default)"
    )
    assert (rows["slurm partition closed"].state, rows["slurm partition closed"].text[:5]) == ("warn", "down;")
    assert (rows["slurm settings"].state, "MaxCPUsPerNode" in rows["slurm settings"].text) == ("fail", True)
    assert "slurm settings" not in {one.what for one in findings(LIMITS, Needs())}
    assert [one.text for one in findings(LIMITS, Needs(qos="few")) if one.what == "slurm QOS few"] == [
        "5 jobs of a user in the queue, 1 of them running"
    ]
    assert "slurm accounting" in {one.what for one in findings(Limits(config=config("AccountingStorageType=x/none")))}


def test_qos_are_read():
    assert LIMITS.qos == (Qos("normal"), Qos("few", None, 5, 1), Qos("brief", 2))
