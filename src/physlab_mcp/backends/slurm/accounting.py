"""What squeue, sacct and sbatch print, and the words that make them print it so that a program can read it.

A user's other jobs have names and comments of any kind, so fields are set apart by characters that nobody types, and a
row that cannot be read is counted, never guessed at. `squeue --json` is of no use: Slurm 22.05 ignores filters there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

import msgspec

from physlab_mcp.backends.slurm.script import TOKEN_PREFIX
from physlab_mcp.backends.slurm.states import state_word
from physlab_mcp.backends.slurm.words import expand, moment, said
from physlab_mcp.errors import RejectedError, UnavailableError

_UNIT, _RECORD = "\x1f", "\x1e"
_SQUEUE = ("%F", "%K", "%A", "%T", "%r", "%V", "%S", "%e", "%P", "%N", "%j", "%k")
_SACCT = "JobID,State,ExitCode,Submit,Start,End,Partition,NodeList,Reason,JobName,Comment"
# Times as numbers, so that nobody's time zone matters; lists of indices whole; no filters from somebody's profile.
_ENV = ("env", "-u", "SQUEUE_ACCOUNT", "-u", "SQUEUE_NAMES", "-u", "SQUEUE_PARTITION", "-u", "SQUEUE_QOS", "-u",
        "SQUEUE_LICENSES", "-u", "SQUEUE_FEDERATION", "-u", "SLURM_CLUSTERS", "SLURM_TIME_FORMAT=%s", "SLURM_BITSTR_LEN=0",
        "LC_ALL=C")  # fmt: skip
_JOB_ID = re.compile(r"^(\d+)(?:_(\d+|\[[^\]]*\]))?(?:\+\d+)?$")
_SUBMITTED = re.compile(r"^(\d+)(?:;(\S+))?$")
_ESTIMATE = re.compile(r"Job (\d+) to start at (\S+) using (\d+) processors on nodes (\S*) in partition (\S+)")
MOST_IDS = 5000  # in the words of one sacct; beyond them it is asked for a time


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One job or element as squeue or sacct tells it.

    `indices`: of the elements that this row is about; empty for a job that is no array. `whole` is False where Slurm
    cut the list: then it may be about any index. Times are seconds since the epoch, 0 where there is none.
    `number` is the id of this element in Slurm's own numbering, 0 where not told.
    """

    job_id: int
    indices: tuple[int, ...] = ()
    array: bool = False
    whole: bool = True
    number: int = 0
    state: str
    by_uid: int | None = None
    reason: str = ""
    exit_code: str = ""
    submitted_at: float = 0.0
    started_at: float = 0.0
    ended_at: float = 0.0
    partition: str = ""
    nodes: str = ""
    name: str = ""
    comment: str = ""

    @property
    def token(self) -> str:
        """Our token, from the comment or the name; "" for a job that is not ours. Accounting may keep no comments."""
        return next((text for text in (self.comment, self.name) if text.startswith(TOKEN_PREFIX)), "")

    def is_about(self, index: int | None) -> bool:
        """Whether it tells of this element (None: of a job that is no array)."""
        if index is None:
            return not self.array
        return self.array and (index in self.indices or not self.whole)


class Listing(msgspec.Struct, frozen=True):
    """The rows that could be read, and how many could not."""

    rows: tuple[Row, ...]
    unread: int = 0


def squeue_argv(user: str = "") -> list[str]:
    """All jobs of a user ("": ours) that the controller remembers, ended ones too: one call whatever their number."""
    whose = [f"--user={user}"] if user else ["--me"]
    return [*_ENV, "squeue", *whose, "--noheader", "--states=all", f"--format={_RECORD}{_UNIT.join(_SQUEUE)}"]


def sacct_argv(job_ids: Collection[int], since: float, user: str = "") -> list[str]:
    """Every incarnation of these jobs (base ids); of many, of all that ran since then (seconds since the epoch)."""
    which = ["--starttime", f"uts{since:.0f}"]
    if job_ids and len(job_ids) <= MOST_IDS:
        which = ["--jobs", ",".join(str(one) for one in sorted(job_ids)), "--starttime", "1970-01-02"]
    whose = ["--user", user] if user else []
    return [*_ENV, "sacct", "--duplicates", "--allocations", "--noheader", "--parsable2", f"--delimiter={_UNIT}",
            *whose, *which, "--format", _SACCT]  # fmt: skip


def read_squeue(text: str) -> Listing:
    """The rows of `squeue_argv`."""
    rows, unread = [], 0
    for record in text.split(_RECORD)[1:]:
        fields = record.removesuffix("\n").split(_UNIT, len(_SQUEUE) - 1)
        row = _queued(fields) if len(fields) == len(_SQUEUE) else None
        if row is None:
            unread += 1
        else:
            rows.append(row)
    return Listing(tuple(rows), unread)


def _queued(fields: list[str]) -> Row | None:
    base, task, own, state, reason, submitted, started, ended, partition, nodes, name, comment = fields
    if not base.isdecimal():
        return None
    array = bool(said(task))
    indices, whole = expand(task) if array else ([], True)
    word, by = state_word(state)
    return Row(
        job_id=int(base), indices=tuple(indices), array=array, whole=whole, number=int(own) if own.isdecimal() else 0,
        state=word, by_uid=by, reason=said(reason), submitted_at=moment(submitted) or 0.0,
        started_at=moment(started) or 0.0, ended_at=moment(ended) or 0.0, partition=partition, nodes=said(nodes),
        name=name, comment=said(comment),
    )  # fmt: skip


def read_sacct(text: str) -> Listing:
    """The rows of `sacct_argv`; a name with line breaks spoils its own row only."""
    rows, unread = [], 0
    for line in text.split("\n"):
        if not line:
            continue
        fields = line.split(_UNIT)
        row = _accounted(fields) if len(fields) == _SACCT.count(",") + 1 else None
        if row is None:
            unread += 1
        else:
            rows.append(row)
    return Listing(tuple(rows), unread)


def _accounted(fields: list[str]) -> Row | None:
    job, state, exit_code, submitted, started, ended, partition, nodes, reason, name, comment = fields
    found = _JOB_ID.match(job)
    if found is None:
        return None
    base, task = found.groups()
    indices, whole = expand(task) if task else ([], True)
    word, by = state_word(state)
    return Row(
        job_id=int(base), indices=tuple(indices), array=task is not None, whole=whole, state=word, by_uid=by,
        reason=said(reason), exit_code=exit_code, submitted_at=moment(submitted) or 0.0,
        started_at=moment(started) or 0.0, ended_at=moment(ended) or 0.0, partition=partition,
        nodes="" if nodes == "None assigned" else said(nodes), name=name, comment=said(comment),
    )  # fmt: skip


def submitted(text: str) -> tuple[int, str]:
    """Job id and cluster ("" where it does not say) from `sbatch --parsable`; other lines are remarks of the site.

    Raises:
        UnavailableError: there is no such line, so whether a job was made is not known.

    """
    found = [match for line in text.splitlines() if (match := _SUBMITTED.match(line.strip()))]
    if len(found) != 1:
        raise UnavailableError(
            f"sbatch answered {text.strip()[:200]!r}, which names no job.", got=text.strip()[:200],
            remedy="The job is looked for by its name and comment.",
        )  # fmt: skip
    return int(found[0].group(1)), found[0].group(2) or ""


# No answer came, so the job may be there all the same.
_PERHAPS = re.compile(
    r"timed out|Zero Bytes|[Uu]nexpected message|[Cc]onnection reset|Message receive failure|Broken pipe|"
    r"slurm_msg_sendto|slurm_receive_msg|slurm_send_\w+|slurm_recv\w*|[Uu]nspecified error"
)
_LATER = re.compile(
    r"Unable to contact|[Cc]onnection refused|temporarily|try again|Slurm backup controller|configuration source|"
    r"MaxSubmit|GrpSubmit|already submitted|Protocol authentication error|Munge|Node count specification invalid at this time"
)


def refused(stderr: str) -> RejectedError | UnavailableError:
    """Why sbatch submitted nothing, from what it wrote to stderr.

    UnavailableError: it may be tried again later; where its details say `sent`, the job may have been taken, and must be
    looked for by its token first. RejectedError: as it is, it is never taken.
    """
    lines = [line.partition("error:")[2].strip() or line.strip() for line in stderr.splitlines() if line.strip()]
    told = "; ".join(dict.fromkeys(lines))[:500] or "nothing"
    message = f"Slurm did not take the job: {told.rstrip('.')}."
    if _PERHAPS.search(told):
        return UnavailableError(
            message,
            got=told,
            remedy="It is looked for by its token before it is submitted again.",
            details=[{"sent": True}],
        )
    if _LATER.search(told):
        return UnavailableError(message, got=told, remedy="It is tried again later.", details=[{"sent": False}])
    return RejectedError(
        message, got=told, remedy="Ask for less, or mend backends.slurm (partition, account, qos, constraint)."
    )


class Estimate(msgspec.Struct, frozen=True):
    """When Slurm thinks that a job would start (seconds since the epoch), where, and on how many processors."""

    start_at: float
    partition: str
    nodes: str
    processors: int


def estimate(text: str) -> Estimate | None:
    """The answer of `sbatch --test-only`, which it writes to stderr; None where it says something else."""
    found = _ESTIMATE.search(text)
    at = moment(found.group(2)) if found else None
    if found is None or at is None:
        return None
    return Estimate(at, found.group(5), found.group(4), int(found.group(3)))


class Place(msgspec.Struct, frozen=True):
    """Where a submission was found in Slurm: job id and when it was submitted, seconds since the epoch."""

    job_id: int
    submitted_at: float


def found(tokens: Collection[str], rows: Iterable[Row]) -> dict[str, list[Place]]:
    """The jobs of each token, oldest first. More than one: it was submitted twice. None: it is not there *now*.

    Only a token that the controller's own answer lacks was not submitted; accounting lags.
    """
    places: dict[str, dict[int, float]] = {}
    for row in rows:
        if row.token in tokens:
            known = places.setdefault(row.token, {})
            known[row.job_id] = min(row.submitted_at, known.get(row.job_id, row.submitted_at))
    return {
        token: [Place(job_id, at) for job_id, at in sorted(jobs.items(), key=lambda one: (one[1], one[0]))]
        for token, jobs in places.items()
    }
