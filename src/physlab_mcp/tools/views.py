"""The engine's views as reply fields: states, artifacts, figures, results; short in concise form."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from physlab_mcp.tools.cursor import iso
from physlab_mcp.tools.reply import Link

if TYPE_CHECKING:
    from physlab_mcp.artifacts.blobs import Blobs
    from physlab_mcp.schemas.artifact import ArtifactRef, Figure
    from physlab_mcp.schemas.event import Event
    from physlab_mcp.schemas.job import Job, Reason
    from physlab_mcp.schemas.result import Failure, NodeResult
    from physlab_mcp.schemas.status import Status

ENDED = frozenset({"succeeded", "failed", "cancelled", "skipped"})
FILES = 8  # artifacts named in concise form
FIGURES = 4  # figures of one node named in concise form
LINKS = 12  # links of one reply
EMBEDDED = 400_000  # characters of base64 in one detailed reply
_ITEMS = 12  # list items and object keys kept in concise form
_TEXT = 600  # characters kept in concise form
_VALUES = 2000  # characters of all values of one job in concise form
_CAPTION = 100
_MESSAGE = 800


def artifact_uri(sha256: str) -> str:
    """The resource of an artifact."""
    return f"physlab://artifacts/{sha256.removeprefix('sha256:')}"


def state_fields(status: Status, *, next_call: dict[str, Any] | None) -> dict[str, Any]:
    """The fields that every state-bearing reply carries."""
    return {
        "state": str(status.state),
        "reason": reason_dict(status.reason),
        "done": status.done,
        "total": status.total,
        "progress": round(status.progress, 4),
        "eta_s": None if status.eta_s is None else round(status.eta_s, 1),
        "poll_after_s": None if status.ended else status.poll_after_s,
        "next": next_call,
    }


def place_fields(job: Job | None) -> dict[str, Any]:
    """Where a job is or was, its name there, and why it is there if the engine chose."""
    if job is None:
        return {}
    return {"backend": job.backend, "native_id": job.native_id, "why_here": job.why_here or None}


def reason_dict(reason: Reason) -> dict[str, Any] | None:
    """{code, text, since}, or None where there is nothing to explain."""
    if str(reason.code) == "none" and not reason.text:
        return None
    return {"code": str(reason.code), "text": reason.text, "since": iso(reason.since)}


def event_dict(event: Event) -> dict[str, Any]:
    """One event for a reader."""
    return {
        "seq": event.seq,
        "at": iso(event.at),
        "kind": event.kind,
        "subject": event.subject,
        **short_data(event.data),
    }


def short_data(data: dict[str, Any]) -> dict[str, Any]:
    """An event's data without what a reader finds elsewhere."""
    return {"data": shorten(data, [], "data")} if data else {}


def artifact_dict(ref: ArtifactRef) -> dict[str, Any]:
    """One artifact as callers see it."""
    body: dict[str, Any] = {
        "sha256": f"sha256:{ref.sha256}",
        "name": ref.name,
        "media_type": ref.media_type,
        "size": ref.size,
        "uri": artifact_uri(ref.sha256),
    }
    if ref.width is not None:
        body |= {"width": ref.width, "height": ref.height}
    return body


def artifact_link(ref: ArtifactRef) -> Link:
    """One artifact as a resource link."""
    return Link(artifact_uri(ref.sha256), ref.name, ref.media_type, ref.size)


def short_artifact(ref: ArtifactRef) -> dict[str, Any]:
    """One artifact in concise form; its resource is `physlab://artifacts/<hex>`."""
    return {
        "name": clip(ref.name, _CAPTION),
        "sha256": f"sha256:{ref.sha256}",
        "media_type": ref.media_type,
        "size": ref.size,
    }


def short_figure(figure: Figure) -> dict[str, Any]:
    """One figure in concise form: its name, its caption cut short, and one link: the film if it is one, else the picture."""
    body: dict[str, Any] = {"name": figure.name}
    if figure.caption:
        body["caption"] = ellipsis(figure.caption, _CAPTION)
    key, ref = preferred(figure)
    if ref is not None:
        body[key] = artifact_uri(ref.sha256)
    return body


def preferred(figure: Figure) -> tuple[str, ArtifactRef | None]:
    """The one file of a figure to look at, under its key in a reply."""
    parts = (("mp4_path", figure.mp4), ("png", figure.png), ("svg", figure.svg), ("csv_path", figure.csv))
    return next((part for part in parts if part[1] is not None), ("png", None))


def embed(shown: list[dict[str, Any]], figures: Sequence[Figure], blobs: Blobs, left: int) -> tuple[int, int]:
    """Add `png_b64` to figures as long as `left` characters last: what is left then, and how many went without."""
    without = 0
    for body, figure in zip(shown, figures, strict=False):
        if figure.png is None or not blobs.exists(figure.png.sha256):
            continue
        length = (figure.png.size + 2) // 3 * 4
        if length > left:
            without += 1
            continue
        body["png_b64"] = base64.b64encode(blobs.read(figure.png.sha256)).decode()
        left -= length
    return left, without


def without_picture(count: int) -> str:
    """What `truncated` says of pictures that did not fit."""
    return f"png_b64 of {count} figures ({EMBEDDED // 1000} kB a reply); the method artifact shows one"


def figure_dict(figure: Figure) -> dict[str, Any]:
    """One figure in all its formats."""
    body: dict[str, Any] = {"name": figure.name, "caption": figure.caption}
    parts = {"png": figure.png, "svg": figure.svg, "csv_path": figure.csv, "mp4_path": figure.mp4}
    body |= {key: artifact_uri(ref.sha256) for key, ref in parts.items() if ref is not None}
    if figure.thumbnail is not None:
        body["thumbnails"] = [artifact_uri(figure.thumbnail.sha256)]
    return body


def failure_dict(failure: Failure | None, *, detailed: bool) -> dict[str, Any] | None:
    """Why it failed; the traceback of the caller's own code only in detailed form."""
    if failure is None:
        return None
    body = {k: v for k, v in msgspec.to_builtins(failure).items() if v is not None}
    if not detailed:
        body.pop("traceback", None)
        body.pop("meta", None)
        body["message"] = clip(str(body.get("message", "")), _MESSAGE)
    return body


def result_fields(
    result: NodeResult | None, *, detailed: bool, blobs: Blobs | None, path: str = "values"
) -> dict[str, Any]:
    """values, units, figures, arrays, artifacts, exit_code, meta, and what was cut short.

    In concise form all of it is bounded. In detailed form figures hold `png_b64` where `blobs` are given.
    """
    if result is None:
        return {}
    cut: list[str] = []
    if not detailed:
        return _short_result(result, cut, path) | {"truncated": cut or None}
    figures = [figure_dict(one) for one in result.figures]
    if blobs is not None:
        _, without = embed(figures, result.figures, blobs, EMBEDDED)
        cut += [without_picture(without)] if without else []
    return {
        "values": result.values,
        "units": result.units or None,
        "figures": figures or None,
        "arrays": {name: artifact_dict(ref) for name, ref in result.arrays.items()} or None,
        "artifacts": [artifact_dict(ref) for ref in result.artifacts],
        "exit_code": result.exit_code,
        "meta": result.meta,
        "truncated": cut or None,
    }


def _short_result(result: NodeResult, cut: list[str], path: str) -> dict[str, Any]:
    values = shorten_to(result.values, cut, path, _VALUES)
    prefix = path.removesuffix("values")
    files = max(0, FILES - min(len(result.arrays), FILES // 2))
    for name, all_of, kept in (
        ("figures", result.figures, FIGURES),
        ("arrays", result.arrays, FILES // 2),
        ("artifacts", result.artifacts, files),
    ):
        if len(all_of) > kept:
            cut.append(f"{prefix}{name} ({len(all_of) - kept} more; response_format detailed has all)")
    return {
        "values": values,
        "units": {name: unit for name, unit in result.units.items() if name in values} or None,
        "figures": [short_figure(one) for one in result.figures[:FIGURES]] or None,
        "arrays": {name: short_artifact(ref) for name, ref in list(result.arrays.items())[: FILES // 2]} or None,
        "artifacts": [artifact_dict(ref) for ref in result.artifacts[:files]],
        "exit_code": result.exit_code,
        "meta": shorten_to(result.meta, [], "meta", _MESSAGE),
    }


def result_links(result: NodeResult | None, limit: int = LINKS) -> tuple[Link, ...]:
    """Links to what a reader looks at first: figures, then files, then arrays."""
    if result is None:
        return ()
    refs = [ref for one in result.figures for ref in [preferred(one)[1]] if ref is not None]
    refs += [*result.artifacts, *result.arrays.values()]
    unique = {ref.sha256: ref for ref in refs}
    return tuple(artifact_link(ref) for ref in list(unique.values())[:limit])


def shorten_to(value: dict[str, Any], cut: list[str], path: str, limit: int) -> dict[str, Any]:
    """An object cut harder until it has at most `limit` characters; at last whole keys are left out."""
    for items, text in ((_ITEMS, _TEXT), (6, 200), (3, 80)):
        missing: list[str] = []
        short: dict[str, Any] = shorten(value, missing, path, items=items, text=text)
        if size(short) <= limit:
            break
    kept: dict[str, Any] = {}
    for key, one in short.items():
        limit -= size({key: one})
        if limit >= 0:
            kept[key] = one
    if len(kept) < len(short):
        missing = [f"{path} ({len(value)} keys)"]
    cut += missing if len(missing) <= FILES else [*missing[:FILES], f"{path} ({len(missing)} places)"]
    return kept


_DENSE = re.compile(r"[0-9a-z]{20,}")  # handles and hashes


def cost(text: str) -> int:
    """What a text costs its reader, in characters of plain words: those of handles and hashes cost 2.5 times as much."""
    return len(text) + 3 * sum(found.end() - found.start() for found in _DENSE.finditer(text)) // 2


def size(value: Any) -> int:
    """What a value costs its reader as it is sent, in characters of plain words."""
    return cost(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str))


def shorten(value: Any, cut: list[str], path: str, depth: int = 0, *, items: int = _ITEMS, text: int = _TEXT) -> Any:
    """A value with long lists, objects and texts cut; the paths of what was cut go to `cut`."""
    if isinstance(value, str):
        if len(value) > text:
            cut.append(path)
        return clip(value, text)
    if isinstance(value, list | tuple):
        if len(value) > items:
            cut.append(f"{path} ({len(value)} items)")
        return [
            shorten(one, cut, f"{path}.{i}", depth + 1, items=items, text=text) for i, one in enumerate(value[:items])
        ]
    if isinstance(value, dict):
        if depth > 6:
            cut.append(path)
            return {}
        kept = list(value.items())[: items * 2]
        if len(value) > len(kept):
            cut.append(f"{path} ({len(value)} keys)")
        return {key: shorten(one, cut, f"{path}.{key}", depth + 1, items=items, text=text) for key, one in kept}
    return value


def ellipsis(text: str, limit: int) -> str:
    """At most `limit` characters, the end left out."""
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


def clip(text: str, limit: int) -> str:
    """At most `limit` characters, the middle left out."""
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    return f"{text[:head]}…[{len(text) - limit} characters left out]…{text[-(limit - head) :]}"
