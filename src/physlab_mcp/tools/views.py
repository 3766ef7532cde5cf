"""The engine's views as reply fields: states, artifacts, figures, results; short in concise form."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec

from physlab_mcp.tools.cursor import iso
from physlab_mcp.tools.reply import Link

if TYPE_CHECKING:
    from physlab_mcp.artifacts.blobs import Blobs
    from physlab_mcp.schemas.artifact import ArtifactRef, Figure
    from physlab_mcp.schemas.event import Event
    from physlab_mcp.schemas.job import Reason
    from physlab_mcp.schemas.result import Failure, NodeResult
    from physlab_mcp.schemas.status import Status

ENDED = frozenset({"succeeded", "failed", "cancelled", "skipped"})
_ITEMS = 12  # list items and object keys kept in concise form
_TEXT = 600  # characters kept in concise form


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


def figure_dict(figure: Figure, *, blobs: Blobs | None = None) -> dict[str, Any]:
    """One figure in all its formats; with `blobs` also `png_b64`."""
    body: dict[str, Any] = {"name": figure.name, "caption": figure.caption}
    parts = {"png": figure.png, "svg": figure.svg, "csv_path": figure.csv, "mp4_path": figure.mp4}
    body |= {key: artifact_uri(ref.sha256) for key, ref in parts.items() if ref is not None}
    if figure.thumbnail is not None:
        body["thumbnails"] = [artifact_uri(figure.thumbnail.sha256)]
    if blobs is not None and figure.png is not None and figure.png.size <= 512_000 and blobs.exists(figure.png.sha256):
        body["png_b64"] = base64.b64encode(blobs.read(figure.png.sha256)).decode()
    return body


def failure_dict(failure: Failure | None, *, detailed: bool) -> dict[str, Any] | None:
    """Why it failed; the traceback of the caller's own code only in detailed form."""
    if failure is None:
        return None
    body = {k: v for k, v in msgspec.to_builtins(failure).items() if v is not None}
    if not detailed:
        body.pop("traceback", None)
        body["message"] = clip(str(body.get("message", "")), 1500)
    return body


def result_fields(result: NodeResult | None, *, detailed: bool, blobs: Blobs, path: str = "values") -> dict[str, Any]:
    """values, units, figures, arrays, artifacts, exit_code, meta, and what was cut short."""
    if result is None:
        return {}
    cut: list[str] = []
    values = result.values if detailed else shorten(result.values, cut, path)
    return {
        "values": values,
        "units": result.units or None,
        "figures": [figure_dict(one, blobs=blobs if detailed else None) for one in result.figures] or None,
        "arrays": {name: artifact_dict(ref) for name, ref in result.arrays.items()} or None,
        "artifacts": [artifact_dict(ref) for ref in result.artifacts],
        "exit_code": result.exit_code,
        "meta": result.meta if detailed else shorten(result.meta, [], "meta"),
        "truncated": cut or None,
    }


def result_links(result: NodeResult | None, limit: int = 20) -> tuple[Link, ...]:
    """Links to what a reader looks at first: figures, then files, then arrays."""
    if result is None:
        return ()
    refs = [ref for one in result.figures for ref in (one.png, one.svg, one.csv, one.mp4) if ref is not None]
    refs += [*result.artifacts, *result.arrays.values()]
    unique = {ref.sha256: ref for ref in refs}
    return tuple(artifact_link(ref) for ref in list(unique.values())[:limit])


def shorten(value: Any, cut: list[str], path: str, depth: int = 0) -> Any:
    """A value with long lists, objects and texts cut; the paths of what was cut go to `cut`."""
    if isinstance(value, str):
        if len(value) > _TEXT:
            cut.append(path)
        return clip(value, _TEXT)
    if isinstance(value, list | tuple):
        if len(value) > _ITEMS:
            cut.append(f"{path} ({len(value)} items)")
        return [shorten(one, cut, f"{path}.{i}", depth + 1) for i, one in enumerate(value[:_ITEMS])]
    if isinstance(value, dict):
        if depth > 6:
            cut.append(path)
            return {}
        kept = list(value.items())[: _ITEMS * 2]
        if len(value) > len(kept):
            cut.append(f"{path} ({len(value)} keys)")
        return {key: shorten(one, cut, f"{path}.{key}", depth + 1) for key, one in kept}
    return value


def clip(text: str, limit: int) -> str:
    """At most `limit` characters, the middle left out."""
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    return f"{text[:head]}…[{len(text) - limit} characters left out]…{text[-(limit - head) :]}"
