"""What sbatch is asked for, and what is refused because it cannot be said to it."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physlab_mcp.backends.slurm.script import Batch, Needs, Order, batches, image_of, kept, needs_of, token_of, write
from physlab_mcp.backends.slurm.settings import SlurmSettings, parse
from physlab_mcp.backends.slurm.words import clock, expand, mebibytes, moment, ranges, seconds, whole_minutes
from physlab_mcp.errors import RejectedError, RequestError
from physlab_mcp.schemas.job import JobSpec, Mount, Resources

SETTINGS = SlurmSettings(root="/shared/physlab")
ORDER = Order(
    token="physlab:sub-1", folder="/shared/physlab/batches/sub-1", program="/shared/physlab/program/a/element.py"
)
LOGIN = {"PATH": "/usr/bin:/bin", "HOME": "/h"}


PLAIN = Needs()


def made(needs: Needs = PLAIN, settings: SlurmSettings = SETTINGS, **order):
    return write(
        needs, Order(**{**{name: getattr(ORDER, name) for name in ORDER.__struct_fields__}, **order}), settings, LOGIN
    )


def option(argv, name):
    return [word.partition("=")[2] for word in argv if word.startswith(f"--{name}=")]


def with_settings(**more):
    return SlurmSettings(root="/shared/physlab", **more)


# -- needs -------------------------------------------------------------------------------------------------------


def test_everything_that_a_job_needs_is_said_once():
    needs = Needs(
        cpus=4, memory_mib=2048, gpus=2, gpu_type="a100", nodes=3, minutes=90, begin_s=600, partition="gpu,long",
        account="physics", qos="fast", constraint="haswell&ssd", requeue=False, signal_s=120, signal="USR1",
    )  # fmt: skip
    argv = made(needs, indices=(0, 1, 2, 7), throttle=2).argv
    told = {name: option(argv, name) for name in (
        "cpus-per-task", "mem", "gres", "nodes", "time", "begin", "partition", "account", "qos", "constraint", "signal",
        "array", "job-name", "comment", "chdir", "output", "export",
    )}  # fmt: skip
    assert told == {
        "cpus-per-task": ["4"], "mem": ["2048M"], "gres": ["gpu:a100:2"], "nodes": ["3"], "time": ["90"],
        "begin": ["now+600"], "partition": ["gpu,long"], "account": ["physics"], "qos": ["fast"],
        "constraint": ["haswell&ssd"], "signal": ["B:USR1@120"], "array": ["0-2,7%2"],
        "job-name": ["physlab:sub-1"], "comment": ["physlab:sub-1"], "chdir": [ORDER.folder],
        "output": [f"{ORDER.folder}/slurm-%a.out"], "export": ["ALL"],
    }  # fmt: skip
    assert "--no-requeue" in argv
    assert "--requeue" not in argv


def test_what_a_job_does_not_ask_for_is_left_to_the_cluster():
    argv = made().argv
    assert [
        option(argv, name) for name in ("mem", "gres", "time", "begin", "partition", "account", "qos", "array")
    ] == [[]] * 8


@pytest.mark.parametrize(("time_s", "minutes"), [(1, 1), (60, 1), (60.5, 2), (61, 2), (3600, 60), (86_399, 1440)])
def test_times_are_rounded_up_to_whole_minutes(time_s, minutes):
    assert whole_minutes(time_s) == minutes


def test_slurm_gets_longer_than_the_job_so_that_the_runner_can_tell_of_a_time_out():
    spec = JobSpec(command=("x",), resources=Resources(time_limit_s=3600), timeout_s=1800)
    assert needs_of(spec, with_settings(time_margin_s=45)).minutes == 31
    assert needs_of(spec, with_settings(time_margin_s=0)).minutes == 30


def test_the_margin_does_not_break_the_partitions_limit_but_the_jobs_own_time_is_kept():
    spec = JobSpec(command=("x",), resources=Resources(time_limit_s=3600))
    assert needs_of(spec, SETTINGS, most_minutes=60).minutes == 60
    assert needs_of(spec, SETTINGS, most_minutes=30).minutes == 60  # refused by the limits, not cut in silence


def test_a_job_without_a_limit_has_that_of_the_settings():
    assert needs_of(JobSpec(command=("x",)), with_settings(time_limit="1:30:00")).minutes == 90
    assert needs_of(JobSpec(command=("x",)), SETTINGS).minutes == 0


def test_memory_and_cores_are_rounded_up():
    needs = needs_of(JobSpec(resources=Resources(cpu=1.5, memory_bytes=(100 << 20) + 1)), SETTINGS)
    assert (needs.cpus, needs.memory_mib) == (2, 101)
    assert (
        needs_of(JobSpec(resources=Resources(memory_bytes=1)), SETTINGS).memory_mib == 1
    )  # --mem=0 would be all of it


def test_the_type_of_gpus_is_asked_for_only_with_gpus():
    settings = with_settings(gpu_type="a100")
    assert needs_of(JobSpec(), settings).gpu_type == ""
    assert needs_of(JobSpec(resources=Resources(gpu=1)), settings).gpu_type == "a100"


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (JobSpec(mounts=(Mount("/data", "/input"),)), "mounts"),
        (JobSpec(image="docker://x", mounts=(Mount("/a,b", "/b"),)), "mounts"),
        (JobSpec(image="docker://x", mounts=(Mount("a", "/b"),)), "mounts"),
        (JobSpec(image="docker://x", mounts=(Mount("/a\n", "/b"),)), "mounts"),
        (JobSpec(image="--fakeroot"), "image"),
        (JobSpec(image="docker://a\n"), "image"),
        (JobSpec(image="../a.sif"), "image"),
        (JobSpec(resources=Resources(cpu=0)), "resources.cpu"),
        (JobSpec(resources=Resources(nodes=0)), "resources.nodes"),
        (JobSpec(timeout_s=float("inf")), "resources.time_limit"),
    ],
)
def test_what_slurm_cannot_be_told_is_refused_by_name(spec, field):
    with pytest.raises(RejectedError) as error:
        needs_of(spec, SETTINGS)
    assert error.value.field == field
    assert error.value.remedy


@pytest.mark.parametrize(
    ("given_image", "taken"),
    [("", ""), ("/i/a b.sif", "/i/a b.sif"), ("python:3.12", "docker://python:3.12"), ("oras://r/i:1", "oras://r/i:1")],
)
def test_images_are_named_as_apptainer_names_them(given_image, taken):
    assert image_of(given_image) == taken


# -- words and script --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("needs", "order", "field"),
    [
        (Needs(partition="a\nb"), {}, "partition"),
        (Needs(constraint="a\0"), {}, "constraint"),
        (Needs(signal_s=5, signal="KILL; x"), {}, "signal"),
        (Needs(), {"folder": "/a\\b"}, "root"),
        (Needs(), {"folder": "relative"}, "root"),
        (Needs(), {"program": "/a\nb"}, "root"),
        (Needs(), {"indices": ()}, "indices"),
        (Needs(), {"indices": (1, 1)}, "indices"),
        (Needs(), {"indices": (-1,)}, "indices"),
        (Needs(), {"token": "physlab:a b"}, "submission"),
        (Needs(), {"token": "physlab:a\n"}, "submission"),
    ],
)
def test_a_word_that_sbatch_would_take_otherwise_is_refused(needs, order, field):
    with pytest.raises(RejectedError) as error:
        made(needs, **order)
    assert error.value.field == field


def test_a_percent_sign_in_a_folder_is_no_pattern():
    assert option(made(folder="/shared/100%j").argv, "output") == ["/shared/100%%j/slurm-0.out"]


def test_only_the_harmless_part_of_the_login_goes_to_slurm():
    login = {
        **LOGIN,
        "AWS_SECRET": "s3cret",
        "SBATCH_HOLD": "1",
        "LC_ALL": "C",
        "BASH_ENV": "/x",
        "SLURM_CONF": "/etc/s",
    }
    argv = write(Needs(), ORDER, SETTINGS, login).argv
    assert argv[:7] == ("env", "-i", "HOME=/h", "LC_ALL=C", "PATH=/usr/bin:/bin", "SLURM_CONF=/etc/s", "sbatch")
    assert kept(login).keys() == {"PATH", "HOME", "LC_ALL", "SLURM_CONF"}


def test_the_script_says_nothing_to_sbatch_before_its_first_command():
    script = made(settings=with_settings(env={"A": "x\n#SBATCH --hold"})).script
    lines = script.splitlines()
    assert lines[:3] == ["#!/bin/sh", "# physlab:sub-1", "umask 077"]
    assert not any(line.startswith("#SBATCH") for line in lines[: lines.index("umask 077")])


@given(value=st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=40))
def test_no_value_escapes_from_the_script(value):
    """Bash itself reads the script, with `exec` replaced by `printf`, and must give every value back as it was."""
    settings = with_settings(env={"PROBE": value}, python="/opt/my python/bin/python3")
    script = made(settings=settings).script.replace("exec ", "printf '%s\\0' \"$PROBE\" ", 1)
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True, timeout=20)
    told = done.stdout.decode().split("\0")
    assert told[0] == value
    assert told[1:5] == ["/opt/my python/bin/python3", "-I", "-S", ORDER.program]


def test_modules_are_loaded_by_a_login_shell_and_a_missing_one_ends_the_job():
    script = made(settings=with_settings(modules=("gcc/12.2",))).script
    assert script.startswith("#!/bin/bash -l\n")
    assert "module load gcc/12.2 || { echo physlab: module gcc/12.2 cannot be loaded >&2; exit 1; }" in script


def test_a_container_sees_the_root_and_the_mounts_and_the_gpus():
    needs = Needs(
        gpus=1, image="/i/my image.sif", mounts=(Mount("/data", "/in"), Mount("/out", "/out", readonly=False))
    )
    last = made(needs).script.splitlines()[-1]
    assert shlex.split(last) == [
        "exec", "apptainer", "exec", "--bind", "/shared/physlab", "--bind", "/data:/in:ro", "--bind", "/out:/out", "--nv",
        "/i/my image.sif", "python3", "-I", "-S", ORDER.program, ORDER.folder,
    ]  # fmt: skip


@pytest.mark.parametrize("bad", ["", "a b", "a/b", "é", "a\n", "x" * 200])
def test_a_token_is_made_of_plain_characters(bad):
    with pytest.raises(RequestError):
        token_of(bad)
    assert token_of("sub-01ab") == "physlab:sub-01ab"


# -- arrays ------------------------------------------------------------------------------------------------------

needs_strategy = st.sampled_from([Needs(), Needs(cpus=2), Needs(minutes=5), Needs(gpus=1)])


@given(
    kinds=st.lists(needs_strategy, max_size=60), max_array=st.integers(1, 20), room=st.none() | st.integers(0, 70)
)  # fmt: skip
def test_every_job_is_in_one_array_of_its_class_or_waits(kinds, max_array, room):
    jobs = [(f"job-{i}", needs) for i, needs in enumerate(kinds)]
    arrays, waiting = batches(jobs, max_array=max_array, room=room)
    placed = [key for batch in arrays for key in batch.keys]
    assert sorted(placed + waiting) == sorted(key for key, _ in jobs)
    assert all(1 <= len(batch.keys) <= max_array for batch in arrays)
    assert all(dict(jobs)[key] == batch.needs for batch in arrays for key in batch.keys)
    assert waiting == [key for key, _ in jobs[len(placed) :]]
    assert len(placed) == (len(jobs) if room is None else min(len(jobs), room))
    fullest = sum(-(-kinds.count(kind) // max_array) for kind in set(kinds))
    assert room is not None or len(arrays) == fullest  # no more arrays than are needed


def test_a_sweep_of_one_class_is_one_array():
    arrays, waiting = batches([(f"job-{i}", Needs()) for i in range(1000)], max_array=1001)
    assert (arrays, waiting) == ([Batch(needs=Needs(), keys=tuple(f"job-{i}" for i in range(1000)))], [])


@given(st.sets(st.integers(0, 5000), max_size=300))
def test_indices_survive_the_way_to_slurm_and_back(indices):
    assert expand(ranges(indices)) == (sorted(indices), True)
    assert expand(f"[{ranges(indices)}%7]") == (sorted(indices), True)


def test_a_list_that_slurm_cut_is_known_to_be_cut():
    assert expand("[0,2,4,...]") == ([0, 2, 4], False)
    assert expand("0-8:4") == ([0, 4, 8], True)
    assert expand("0-99999999999") == ([], False)


# -- words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [("10", 600), ("10:00", 600), ("1:00:00", 3600), ("1-00:00:00", 86_400), ("2-3", 183_600), ("1-2:30", 95_400),
     ("UNLIMITED", None), ("infinite", None), ("NONE", None), ("", None), ("x", None)],
)  # fmt: skip
def test_times_of_slurm_are_read(text, value):
    assert seconds(text) == value


@given(st.integers(1, 200_000))
def test_the_clock_is_read_as_it_is_written(minutes):
    assert seconds(clock(minutes)) == minutes * 60


def test_memory_and_moments_of_slurm_are_read():
    assert [mebibytes(text) for text in ("1000", "4G", "2.5G", "512M", "2048K", "UNLIMITED", "4Gn")] == [
        1000, 4096, 2560, 512, 2, None, 4096,
    ]  # fmt: skip
    assert moment("1795282854") == 1795282854.0
    assert (moment("Unknown"), moment("N/A"), moment("yesterday")) == (None, None, None)


# -- settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "backends.slurm"),
        ({"root": "relative"}, "backends.slurm.root"),
        ({"root": "/a\n"}, "backends.slurm.root"),
        ({"root": "/a", "partitions": "x"}, "backends.slurm"),
        ({"root": "/a", "partition": "x y"}, "backends.slurm.partition"),
        ({"root": "/a", "poll_s": 0}, "backends.slurm.poll_s"),
        ({"root": "/a", "options": ["--array=0-9"]}, "backends.slurm.options"),
        ({"root": "/a", "options": ["--arr=0-9"]}, "backends.slurm.options"),  # a beginning is enough for sbatch
        ({"root": "/a", "options": ["--nice; rm"]}, "backends.slurm.options"),
        ({"root": "/a", "options": ["-x"]}, "backends.slurm.options"),
        ({"root": "/a", "env": {"A B": "x"}}, "backends.slurm.env.A B"),
        ({"root": "/a", "env": {"SLURM_CONF": "x"}}, "backends.slurm.env.SLURM_CONF"),
        ({"root": "/a", "python": "-c"}, "backends.slurm.python"),
        ({"root": "/a", "modules": ["--x"]}, "backends.slurm.modules[0]"),
        ({"root": "/a", "time_limit": "soon"}, "backends.slurm.time_limit"),
    ],
)
def test_a_wrong_setting_is_named(body, field):
    with pytest.raises(RequestError) as error:
        parse(body)
    assert error.value.field == field


def test_good_settings_are_taken():
    told = parse(
        {"root": "/a", "options": ["--exclusive", "--reservation=r1"], "env": {"A": "b"}, "modules": ["gcc/12"]}
    )
    assert told.options == ("--exclusive", "--reservation=r1")
    assert option(made(settings=told).argv, "reservation") == ["r1"]


@pytest.mark.parametrize(("declared", "words"), [("", []), ("USR2", ["--signal=B:USR1@90"])])
def test_only_a_job_that_keeps_its_progress_is_told_before_its_time_is_over(declared, words):
    settings = SlurmSettings(root="/r", signal_s=90)
    needs = needs_of(JobSpec(command=("true",), checkpoint_signal=declared), settings)
    order = Order(token=token_of("sub-1"), folder="/r/batches/x", program="/r/element.py")
    argv = write(needs, order, settings, {}).argv
    assert [word for word in argv if word.startswith("--signal")] == words
