"""The section `backends.slurm` of server.config.json."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from physlab_mcp.backends.slurm.words import seconds
from physlab_mcp.errors import RequestError

_MODULE = r"^[A-Za-z0-9][A-Za-z0-9._/:@+-]*$"
_PACKAGE = r"^[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._,-]+\])?$"
_WORDS = r"^([A-Za-z0-9][A-Za-z0-9._:@+-]*(,[A-Za-z0-9][A-Za-z0-9._:@+-]*)*)?$"
_PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
_OPTION = re.compile(r"^--([a-z][a-z0-9-]*)(?:=[^\x00-\x1f\x7f]*)?\Z")
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*\Z")
# Further options that change neither who a job is, nor where its output goes, nor what sbatch answers. They are named one
# by one, because sbatch takes any beginning of an option's name for the option.
_FURTHER = frozenset({
    "acctg-freq", "contiguous", "core-spec", "cores-per-socket", "cpu-freq", "delay-boot",
    "distribution", "exclude", "exclusive", "gpu-bind", "gpu-freq", "hint", "licenses", "mail-type", "mail-user",
    "mcs-label", "mem-bind", "network", "nice", "nodelist", "ntasks-per-core", "ntasks-per-socket", "overcommit",
    "oversubscribe", "power", "prefer", "priority", "profile", "propagate", "reboot", "reservation", "sockets-per-node",
    "spread-job", "switches", "thread-spec", "threads-per-core", "tmp", "tres-per-task", "use-min-nodes", "wckey",
})  # fmt: skip


class SlurmSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One Slurm cluster. What a job asks for itself goes before what stands here."""

    root: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^/[^\x00-\x1f\x7f\\]*$",
            description="folder for jobs, programs and inputs, on a file system that login and compute nodes share",
        ),
    ]
    cluster: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[A-Za-z0-9._-]*$", description='its ClusterName, checked before use; "": the one that answers'
        ),
    ] = ""
    partition: Annotated[
        str, msgspec.Meta(pattern=_WORDS, description='partition, or several with commas; "": the cluster\'s default')
    ] = ""
    account: Annotated[str, msgspec.Meta(pattern=_WORDS, description='account that pays; "": the default one')] = ""
    qos: Annotated[str, msgspec.Meta(pattern=_WORDS, description='quality of service; "": the default one')] = ""
    constraint: Annotated[
        str, msgspec.Meta(pattern=_PRINTABLE, description='features that nodes must have, such as "haswell&ssd"')
    ] = ""
    gpu_type: Annotated[
        str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]*$", description='type of the GPUs, such as "a100"; "": any')
    ] = ""
    python: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[^-\x00-\x1f\x7f][^\x00-\x1f\x7f]*$",
            description="Python on the nodes: 3.8 or newer for commands, 3.11 or newer with this physlab for node calls",
        ),
    ] = "python3"
    bootstrap: Annotated[
        Literal["", "uv"],
        msgspec.Meta(description="uv: make the environment of node calls there, from `python`, once for each lock"),
    ] = ""
    lock: Annotated[
        str,
        msgspec.Meta(
            pattern=_PRINTABLE, description='requirements file here for `bootstrap`; "": the versions installed here'
        ),
    ] = ""
    packages: Annotated[
        tuple[Annotated[str, msgspec.Meta(pattern=_PACKAGE, max_length=200)], ...],
        msgspec.Meta(description="further packages installed here that `bootstrap` takes along, such as torch"),
    ] = ()
    wheelhouse: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^(/[^\x00-\x1f\x7f]*)?$", description='folder of wheels there, used without a network; "": none'
        ),
    ] = ""
    local_wheelhouse: Annotated[
        str,
        msgspec.Meta(
            pattern=_PRINTABLE, description='folder of wheels here, brought there and used without a network; "": none'
        ),
    ] = ""
    uv: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^([^-\x00-\x1f\x7f][^\x00-\x1f\x7f]*)?$",
            description='the program uv there; "": found there, else this machine\'s is brought',
        ),
    ] = ""
    modules: Annotated[
        tuple[Annotated[str, msgspec.Meta(pattern=_MODULE, max_length=200)], ...],
        msgspec.Meta(description='modules to load, such as "gcc/12.2"; the script is then run by a login shell'),
    ] = ()
    login_shell: Annotated[
        bool, msgspec.Meta(description="run the script by a login shell, which reads the profile")
    ] = False
    image: Annotated[
        str,
        msgspec.Meta(pattern=_PRINTABLE, description='container of all jobs: a .sif file or "docker://…"; "": none'),
    ] = ""
    container: Annotated[
        Literal["apptainer", "singularity"], msgspec.Meta(description="the program that runs containers")
    ] = "apptainer"
    env: Annotated[dict[str, str], msgspec.Meta(description="environment of every job; never put a secret here")] = {}
    array_throttle: Annotated[
        int, msgspec.Meta(ge=0, le=1_000_000, description="elements of one array that run at once; 0: no limit")
    ] = 0
    max_jobs: Annotated[
        int, msgspec.Meta(ge=0, le=10_000_000, description="jobs in the queue at once; 0: as many as Slurm takes")
    ] = 0
    time_limit: Annotated[
        str, msgspec.Meta(description='of jobs that name none, such as "1:00:00"; "": the partition\'s default')
    ] = ""
    time_margin_s: Annotated[
        float,
        msgspec.Meta(
            ge=0, le=86_400, description="what Slurm is asked for beyond a job's own limit, to start and to tidy"
        ),
    ] = 60.0
    signal_s: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=65_535,
            description="seconds before the end of its time at which a job with a checkpoint_signal is told; 0: it is not",
        ),
    ] = 0
    checkpoint_s: Annotated[
        float,
        msgspec.Meta(
            ge=0, le=86_400, description="how long a paused job may take to keep its progress before it is ended"
        ),
    ] = 60.0
    requeue: Annotated[
        bool, msgspec.Meta(description="let Slurm start a job again after its node failed or it was preempted")
    ] = True
    poll_s: Annotated[
        float, msgspec.Meta(ge=0.1, le=3600, description="between two looks at the queue (one squeue, one sacct)")
    ] = 5.0
    missing_s: Annotated[
        float,
        msgspec.Meta(
            ge=1, le=86_400, description="how long neither queue nor accounting may know a job before it is sought"
        ),
    ] = 600.0
    scratch: Annotated[
        Literal["succeeded", "ended", "keep"],
        msgspec.Meta(description="which job folders are removed there once all is home: of successes, of all, or none"),
    ] = "succeeded"
    options: Annotated[
        tuple[str, ...],
        msgspec.Meta(description='further options of sbatch, such as "--exclusive" or "--reservation=x"'),
    ] = ()


def parse(body: Mapping[str, Any]) -> SlurmSettings:
    """The settings of a section.

    Raises:
        RequestError: a key is not known or a value not allowed; `field` names it.

    """
    try:
        settings = msgspec.convert(dict(body), SlurmSettings)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        field = "backends.slurm" + place.removesuffix("`")
        raise RequestError(
            f"{field}: {message}.", field=field, remedy="See `physlab config schema` for backends.slurm."
        ) from None
    check(settings)
    return settings


def check(settings: SlurmSettings) -> None:
    """What a pattern cannot say.

    Raises:
        RequestError: naming the field.

    """
    for field in ("root", "cluster", "partition", "account", "qos", "constraint", "gpu_type", "python", "image", "lock",
                  "wheelhouse", "local_wheelhouse", "uv"):  # fmt: skip
        if "\n" in getattr(settings, field):  # a `$` in a pattern lets a last one pass
            raise _wrong(field, getattr(settings, field), "has a line break")
    for option in settings.options:
        found = _OPTION.match(option)
        if found is None or found.group(1) not in _FURTHER:
            raise _wrong("options", option, f"is none of the further options: --{', --'.join(sorted(_FURTHER))}")
    for name, value in settings.env.items():
        if not _NAME.match(name) or name.startswith(("SLURM", "SBATCH", "PHYSLAB_")) or "\0" in value:
            raise _wrong(
                f"env.{name}", name, "cannot be set: names have letters, digits and _, and are not Slurm's or ours"
            )
    if settings.time_limit and not seconds(settings.time_limit):
        raise _wrong("time_limit", settings.time_limit, 'is not a running time; write it like "1:00:00"')


def _wrong(field: str, got: str, why: str) -> RequestError:
    return RequestError(
        f"backends.slurm.{field} = {got!r} {why}.",
        field=f"backends.slurm.{field}",
        got=got,
        remedy="Mend server.config.json; `physlab config schema` lists the settings.",
    )
