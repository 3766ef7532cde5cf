"""From what a job needs to the words of sbatch and the script that it submits. Pure: nothing is read, nothing is run."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence

import msgspec

from physlab_mcp.backends.slurm.settings import SlurmSettings
from physlab_mcp.backends.slurm.words import ranges, seconds, whole_minutes
from physlab_mcp.errors import RejectedError, RequestError
from physlab_mcp.schemas.job import JobSpec, Mount

TOKEN_PREFIX = "physlab:"  # noqa: S105 - the token is a name, not a secret
# Everything that Python may read of its surroundings stays out; -P, which does the same, is unknown before 3.11.
PYTHON_FLAGS = ("-I", "-S")
KEPT_ENV = frozenset({"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "SLURM_CONF",
                      "LD_LIBRARY_PATH", "MODULEPATH", "MODULESHOME", "LMOD_CMD", "LMOD_DIR"})  # fmt: skip
_TOKEN = re.compile(r"^physlab:[A-Za-z0-9][A-Za-z0-9._-]{0,150}\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SIGNALS = frozenset({"TERM", "INT", "USR1", "USR2", "CONT", "HUP"})
_REFERENCE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*\Z")
_SCHEMES = ("docker://", "library://", "oras://", "shub://")
_MIB = 1 << 20


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """What sbatch is asked for; jobs of equal needs are one resource class, and go into one array.

    cpus, memory_mib and gpus are for each node. 0 and "" leave it to the cluster's defaults.
    """

    cpus: int = 1
    memory_mib: int = 0
    gpus: int = 0
    gpu_type: str = ""
    nodes: int = 1
    minutes: int = 0
    begin_s: int = 0
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    image: str = ""
    mounts: tuple[Mount, ...] = ()
    requeue: bool = True
    signal_s: int = 0
    signal: str = "USR1"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One call of sbatch: the token by which its jobs are found again, the folder of its batch, the program to run.

    `indices` is None for a job that is no array; `program` is the path of element.py; `throttle` 0 is none.
    """

    token: str
    folder: str
    program: str
    indices: tuple[int, ...] | None = None
    throttle: int = 0
    flags: tuple[str, ...] = PYTHON_FLAGS


class Sbatch(msgspec.Struct, frozen=True):
    """The words of sbatch, and the script that goes to its standard input."""

    argv: tuple[str, ...]
    script: str


def token_of(submission: str) -> str:
    """The token of a submission, which stands in the job's comment and is its name.

    Raises:
        RequestError: the id has characters that a token must not have.

    """
    token = TOKEN_PREFIX + submission
    if not _TOKEN.match(token):
        raise RequestError(
            f"{submission[:100]!r} cannot be a Slurm token.", field="submission", got=submission[:100],
            remedy="Use letters, digits, '.', '_' and '-' only, at most 150.",
        )  # fmt: skip
    return token


def needs_of(spec: JobSpec, settings: SlurmSettings, *, begin_s: float = 0.0, most_minutes: int | None = None) -> Needs:
    """What a job needs here. Times become whole minutes, memory whole MiB, cores whole cores, always upwards.

    `most_minutes`: the partition's limit, which the margin of a job's time must not break.

    Raises:
        RejectedError: something of it cannot be said to Slurm; `field` names it.

    """
    asked = spec.resources
    if asked.cpu <= 0 or asked.nodes < 1 or asked.gpu < 0:
        name = "cpu" if asked.cpu <= 0 else "nodes" if asked.nodes < 1 else "gpu"
        raise _refused(f"resources.{name}", getattr(asked, name), "is no amount", "Ask for at least one.")
    image = image_of(spec.image or settings.image)
    for mount in spec.mounts:
        _check_mount(mount, image)
    return Needs(
        cpus=math.ceil(asked.cpu),
        memory_mib=0 if asked.memory_bytes is None else max(1, math.ceil(asked.memory_bytes / _MIB)),
        gpus=asked.gpu,
        gpu_type=settings.gpu_type if asked.gpu else "",
        nodes=asked.nodes,
        minutes=_minutes(spec, settings, most_minutes),
        begin_s=max(0, math.ceil(begin_s)),
        partition=settings.partition,
        account=settings.account,
        qos=settings.qos,
        constraint=settings.constraint,
        image=image,
        mounts=spec.mounts if image else (),
        requeue=settings.requeue,
        signal_s=settings.signal_s if spec.checkpoint_signal else 0,
    )


def _minutes(spec: JobSpec, settings: SlurmSettings, most: int | None) -> int:
    limits = [one for one in (spec.timeout_s, spec.resources.time_limit_s) if one is not None]
    if not limits and settings.time_limit:
        return whole_minutes(seconds(settings.time_limit) or 60)
    if not limits:
        return 0
    asked = min(limits)
    if not math.isfinite(asked) or asked <= 0:
        raise _refused("resources.time_limit", asked, "is no running time", "Give hours:minutes:seconds.")
    # The runner keeps the job's own limit; Slurm's comes later, so that the runner can say what happened.
    wanted, least = whole_minutes(asked + settings.time_margin_s), whole_minutes(asked)
    return max(least, min(wanted, most)) if most else wanted


def image_of(image: str) -> str:
    """The image as Apptainer names it: a file by its path, else a reference with its scheme; "" for none.

    Raises:
        RejectedError: it is neither.

    """
    scheme = next((one for one in _SCHEMES if image.startswith(one)), "")
    if not image or (image.startswith("/") and not _CONTROL.search(image)):
        return image
    if not _REFERENCE.match(image.removeprefix(scheme)):
        raise _refused(
            "image", image[:200], "is no image that Apptainer can run",
            "Give the absolute path of a .sif file on the cluster, or a reference such as docker://python:3.12.",
        )  # fmt: skip
    return image if scheme else f"docker://{image}"


def _check_mount(mount: Mount, image: str) -> None:
    if not image and mount.source != mount.target:
        raise _refused(
            "mounts", f"{mount.source} -> {mount.target}", "needs a container, and this job has none",
            "Set `image`, or use the path that the folder has on the cluster.",
        )  # fmt: skip
    for path in (mount.source, mount.target):
        if not path.startswith("/") or re.search(r"[,:\\]", path) or _CONTROL.search(path):
            raise _refused(
                "mounts", path[:200], "cannot be bound into a container",
                "Use absolute paths without commas, colons, backslashes and control characters.",
            )  # fmt: skip


def _refused(field: str, got: object, why: str, remedy: str) -> RejectedError:
    return RejectedError(f"{field} = {got!r} {why}.", field=field, got=got, remedy=remedy)


def kept(login: Mapping[str, str]) -> dict[str, str]:
    """What of the login's environment sbatch and the job may see; neither secrets nor SBATCH_* and SLURM_* options."""
    return {name: value for name, value in login.items() if name in KEPT_ENV or name.startswith("LC_")}


def write(needs: Needs, order: Order, settings: SlurmSettings, login: Mapping[str, str]) -> Sbatch:
    """The words of sbatch and its script. `login` is the environment of the login (see `kept`).

    Options go into the words and never into the script, where SBATCH_* variables would overrule them. Each is one word
    and no shell reads it; what goes into the script is quoted. The environment is the one that is given here: with
    `--export=NONE` Slurm would run a login shell for every element.

    Raises:
        RejectedError: something of it cannot be said to Slurm; `field` names it.

    """
    if not _TOKEN.match(order.token):
        raise _refused("submission", order.token[:200], "is no token of ours", "Make it by token_of.")
    argv = ["env", "-i", *(f"{name}={value}" for name, value in sorted(kept(login).items()))]
    argv += ["sbatch", "--parsable", f"--job-name={order.token}", f"--comment={order.token}", "--export=ALL"]
    argv += _placement(needs)
    argv += _array(order)
    element = "%a" if order.indices is not None else "0"
    argv += [
        f"--chdir={_path('root', order.folder)}",
        f"--output={_path('root', order.folder).replace('%', '%%')}/slurm-{element}.out",
        "--open-mode=append",
        *settings.options,
    ]
    return Sbatch(tuple(argv), _script(needs, order, settings))


def _placement(needs: Needs) -> list[str]:
    argv = [f"--nodes={needs.nodes}", "--ntasks-per-node=1", f"--cpus-per-task={needs.cpus}"]
    if needs.memory_mib:
        argv.append(f"--mem={needs.memory_mib}M")
    if needs.gpus:
        kind = f"{needs.gpu_type}:" if needs.gpu_type else ""
        argv.append(f"--gres=gpu:{kind}{needs.gpus}")
    if needs.minutes:
        argv.append(f"--time={needs.minutes}")
    if needs.begin_s:
        argv.append(f"--begin=now+{needs.begin_s}")  # relative, for the cluster may be in another time zone
    for name in ("partition", "account", "qos", "constraint"):
        value: str = getattr(needs, name)
        if _CONTROL.search(value):
            raise _refused(name, value[:200], "has control characters", "Leave them out.")
        if value:
            argv.append(f"--{name}={value}")
    if needs.signal_s:
        if needs.signal not in _SIGNALS:
            raise _refused(
                "signal", needs.signal, "is no signal for this", f"Use one of {', '.join(sorted(_SIGNALS))}."
            )
        argv.append(f"--signal=B:{needs.signal}@{needs.signal_s}")
    argv.append("--requeue" if needs.requeue else "--no-requeue")
    return argv


def _array(order: Order) -> list[str]:
    if order.indices is None:
        return []
    if not order.indices or min(order.indices) < 0 or len(set(order.indices)) < len(order.indices):
        raise _refused("indices", order.indices[:5], "are no indices of an array", "Give each element one, from 0.")
    throttle = f"%{order.throttle}" if order.throttle > 0 else ""
    return [f"--array={ranges(order.indices)}{throttle}"]


def _path(field: str, path: str) -> str:
    if not path.startswith("/") or "\\" in path or _CONTROL.search(path):
        raise _refused(
            field, path[:200], "is no path that sbatch takes literally",
            "Use an absolute path without backslashes and control characters.",
        )  # fmt: skip
    return path


def _script(needs: Needs, order: Order, settings: SlurmSettings) -> str:
    login = bool(settings.modules) or settings.login_shell
    # sbatch reads #SBATCH lines up to the first command: `umask` stands before anything that came from outside.
    lines = ["#!/bin/bash -l" if login else "#!/bin/sh", f"# {order.token}", "umask 077"]
    for module in settings.modules:
        word = shlex.quote(module)
        lines.append(f"module load {word} || {{ echo physlab: module {word} cannot be loaded >&2; exit 1; }}")
    lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(settings.env.items())]
    command = [settings.python, *order.flags, _path("root", order.program), _path("root", order.folder)]
    if needs.image:
        command = [*_container(needs, settings), *command]
    lines.append("exec " + shlex.join(command))
    return "\n".join(lines) + "\n"


def _container(needs: Needs, settings: SlurmSettings) -> list[str]:
    root = _path("root", settings.root)
    if re.search(r"[,:]", root):
        raise _refused("root", root, "cannot be bound into a container", "Choose a folder without commas and colons.")
    words = [settings.container, "exec", "--bind", root]
    for mount in needs.mounts:
        _check_mount(mount, needs.image)
        words += ["--bind", f"{mount.source}:{mount.target}" + (":ro" if mount.readonly else "")]
    return [*words, *(["--nv"] if needs.gpus else []), needs.image]


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs of one resource class that go into one array; element i is `keys[i]`."""

    needs: Needs
    keys: tuple[str, ...]


def batches(
    jobs: Sequence[tuple[str, Needs]], *, max_array: int, room: int | None = None
) -> tuple[list[Batch], list[str]]:
    """Jobs grouped into arrays by equal needs, in the order given, and those that must wait.

    `max_array`: elements that one array may have (MaxArraySize, since its indices start at 0); `room`: jobs that the
    limits on submission leave (None: as many as there are). Every job is in exactly one of both answers.
    """
    taken = len(jobs) if room is None else max(0, room)
    groups: dict[Needs, list[str]] = {}
    for key, needs in jobs[:taken]:
        groups.setdefault(needs, []).append(key)
    size = max(1, max_array)
    made = [
        Batch(needs=needs, keys=tuple(keys[start : start + size]))
        for needs, keys in groups.items()
        for start in range(0, len(keys), size)
    ]
    return made, [key for key, _ in jobs[taken:]]
