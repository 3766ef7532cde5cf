"""Names, labels and annotations: the same dispatch always has the same ones, so that a submission can be repeated.

A name or a label is made of our own ids only, never of a user's words; what does not fit a label stands in it as a
hash, and whole in an annotation.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from physlab_mcp.backends.kubernetes.ranges import parse_ranges, write_ranges

PREFIX = "physlab-mcp"  # before the slash of our labels and annotations
MANAGED_BY = "app.kubernetes.io/managed-by"
ELEMENT_INDEX = "batch.kubernetes.io/job-completion-index"
SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
KUEUE = "kueue.x-k8s.io/queue-name"
NAME_LENGTH = 52  # a CronJob adds 11 characters, and no Job's name has more than 63
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
_HASH_LENGTH = 12
_MOST_ELEMENTS = 100_000  # of an Indexed Job, by the server's own limit
_NUMBERS = {"index": 0, "attempt": 1, "fence": 0}


class Dispatch(msgspec.Struct, frozen=True, kw_only=True):
    """One dispatch of a job; or, with `indexes`, of those jobs of a submission as one Indexed Job.

    `index` is the job's place in its submission (`Job.index`). Element k of an Indexed Job is the job with `indexes[k]`.
    `lab` names the installation, so that two of them in one namespace leave each other alone.
    """

    lab: str
    submission: str
    job_id: str = ""
    index: int = 0
    attempt: int = 1
    fence: int = 0
    indexes: tuple[int, ...] = ()

    @property
    def token(self) -> str:
        """By which `find` knows it again: the submission's, as in every other backend."""
        return f"physlab:{self.submission}"


def _hash(*words: object) -> str:
    # Lengths before the words, so that no two lists of words look alike when joined.
    text = "".join(f"{len(str(word))}:{word}" for word in words)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def label_value(text: str) -> str:
    """`text` itself where it may be a label's value, else a hash of it."""
    return text if _LABEL_VALUE.match(text) else f"sha256-{_hash(text)[:40]}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def named(*words: object, suffix: str = "") -> str:
    """A DNS-1123 label of at most 52 characters: `physlab-`, what can be read of the first word, a hash of all."""
    digest = _hash(*words)[:_HASH_LENGTH]
    room = NAME_LENGTH - len("physlab-") - len(digest) - 1 - len(suffix)
    slug = _slug(str(words[0]))[:room].strip("-")
    return "-".join(part for part in ("physlab", slug, digest) if part) + suffix


def job_name(dispatch: Dispatch) -> str:
    """The name of the Job of a dispatch: an attempt's second dispatch never meets the first one's Job."""
    if dispatch.job_id:
        return named(dispatch.job_id, dispatch.lab, dispatch.submission, dispatch.attempt, dispatch.fence)
    return named(dispatch.submission, dispatch.lab, "array", write_ranges(dispatch.indexes))


def carrier_name(dispatch: Dispatch, piece: int) -> str:
    """The name of the ConfigMap or Secret that brings piece `piece` of a submission's files."""
    return named(job_name(dispatch).removeprefix("physlab-"), "files", suffix=f"-{piece}")


def revoked_name(dispatch: Dispatch) -> str:
    """The name of the ConfigMap that says which elements of an Indexed Job must not begin any more."""
    return named(job_name(dispatch).removeprefix("physlab-"), "revoked", suffix="-x")


def program_name(lab: str, digest: str) -> str:
    """The name of the ConfigMap that brings the runner: other bytes, other name."""
    return named("program", lab, digest)


def series_name(lab: str, series: str) -> str:
    """The name of the CronJob of a series."""
    return named(series, lab, "series")


def labels(dispatch: Dispatch, *, kind: str) -> dict[str, str]:
    """Labels by which objects are found and swept. `kind`: job, files, program or series."""
    found = {
        MANAGED_BY: "physlab",
        f"{PREFIX}/lab": label_value(dispatch.lab),
        f"{PREFIX}/kind": label_value(kind),
    }
    if dispatch.submission:
        found[f"{PREFIX}/submission"] = label_value(dispatch.submission)
    if dispatch.job_id:
        found[f"{PREFIX}/job"] = label_value(dispatch.job_id)
        found[f"{PREFIX}/attempt"] = str(dispatch.attempt)
        found[f"{PREFIX}/fence"] = str(dispatch.fence)
    return found


def notes(dispatch: Dispatch) -> dict[str, str]:
    """The same whole, as they are."""
    found = {f"{PREFIX}/token": dispatch.token, f"{PREFIX}/lab": dispatch.lab}
    if dispatch.job_id:
        found[f"{PREFIX}/job"] = dispatch.job_id
        found[f"{PREFIX}/index"] = str(dispatch.index)
        found[f"{PREFIX}/attempt"] = str(dispatch.attempt)
        found[f"{PREFIX}/fence"] = str(dispatch.fence)
    if dispatch.indexes:
        found[f"{PREFIX}/indexes"] = write_ranges(dispatch.indexes)
    return found


def selector(lab: str, *, kind: str | None = None, submissions: Sequence[str] = ()) -> str:
    """The labelSelector of our objects, or of those of some submissions."""
    parts = [f"{MANAGED_BY}=physlab", f"{PREFIX}/lab={label_value(lab)}"]
    if kind is not None:
        parts.append(f"{PREFIX}/kind={label_value(kind)}")
    if submissions:
        parts.append(f"{PREFIX}/submission in ({','.join(label_value(one) for one in submissions)})")
    return ",".join(parts)


def _annotations(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    found = metadata.get("annotations")
    return found if isinstance(found, Mapping) else {}


def dispatch_of(metadata: Mapping[str, Any]) -> Dispatch | None:
    """The dispatch that an object of the cluster was made for; None where it is not ours."""
    told = _annotations(metadata)
    token = str(told.get(f"{PREFIX}/token", ""))
    if not token.startswith("physlab:"):
        return None
    try:
        numbers = {word: int(told.get(f"{PREFIX}/{word}", default)) for word, default in _NUMBERS.items()}
    except (TypeError, ValueError):
        return None
    indexes = parse_ranges(str(told.get(f"{PREFIX}/indexes", "")))
    if len(indexes) > _MOST_ELEMENTS:
        return None
    return Dispatch(
        lab=str(told.get(f"{PREFIX}/lab", "")), submission=token.removeprefix("physlab:"),
        job_id=str(told.get(f"{PREFIX}/job", "")), indexes=tuple(indexes), **numbers,
    )  # fmt: skip


def same_dispatch(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether an object that the server has already (409) is the one that was to be made: then nothing is left to do."""
    wanted = dispatch_of(mine.get("metadata") or {})
    return wanted is not None and wanted == dispatch_of(theirs.get("metadata") or {})


def native_id(namespace: str, name: str, uid: str, index: int | None = None) -> str:
    """`kubernetes:<namespace>:<job>:<uid>[:<index>]`; the uid tells a Job from a later one of that name."""
    return f"kubernetes:{namespace}:{name}:{uid}" + ("" if index is None else f":{index}")


class NativeId(msgspec.Struct, frozen=True):
    """A native id in its parts."""

    namespace: str
    name: str
    uid: str
    index: int | None = None


def parse_native_id(text: str | None) -> NativeId | None:
    """The parts; None where it is not one of ours."""
    found = re.fullmatch(r"kubernetes:([^:]+):([^:]+):([^:]*)(?::(\d+))?", text or "")
    if found is None:
        return None
    namespace, name, uid, index = found.groups()
    return NativeId(namespace, name, uid, None if index is None else int(index))


def element_index(metadata: Mapping[str, Any]) -> int | None:
    """Which element of an Indexed Job a pod is; None for other pods."""
    told = _annotations(metadata).get(ELEMENT_INDEX)
    return int(told) if isinstance(told, str) and told.isascii() and told.isdigit() else None


def occurrence_of(cron: str, metadata: Mapping[str, Any]) -> float | None:
    """For which time (seconds since the epoch) a CronJob made a Job; None for a Job of others.

    The name ends in the time's minutes since the epoch.
    """
    name = str(metadata.get("name", ""))
    minutes = name.removeprefix(cron + "-")
    return int(minutes) * 60.0 if minutes != name and minutes.isascii() and minutes.isdigit() else None
