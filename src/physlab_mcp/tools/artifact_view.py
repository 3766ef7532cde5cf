"""A look at a stored file for clients that never read resources: a small image, a cut table, or text."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from physlab_mcp.errors import RequestError, UnavailableError
from physlab_mcp.schemas.replies import ArtifactReply
from physlab_mcp.tools import render
from physlab_mcp.tools.reply import Bench, Link, Picture, Reply
from physlab_mcp.tools.views import artifact_uri, clip, size

if TYPE_CHECKING:
    from physlab_mcp.schemas.calls_collaboration import ArtifactView

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"\x93NUMPY", "application/x-npy"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
    (b"\x89HDF\r\n\x1a\n", "application/x-hdf5"),
)
_SHOWN_AS_IS = ("image/png", "image/jpeg", "image/gif")
_ROWS = 50
_SHORT = 3500  # characters of a text or table in concise form: it stands in the object and in the text
_WIDE = 12  # columns, and
_CELL = 120  # characters of a cell, in concise form


def sniff(head: bytes) -> str:
    """The media type that the first bytes tell."""
    for magic, media_type in _MAGIC:
        if head.startswith(magic):
            return media_type
    if head[4:8] == b"ftyp":
        return "video/mp4"
    text = head.lstrip()
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in head):
        return "image/svg+xml"
    try:
        words = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return "application/octet-stream"
        words = head[: error.start].decode()
    if words.lstrip().startswith(("{", "[")):
        return "application/json"
    lines = words.splitlines()
    if len(lines) > 1 and lines[0].count(",") and lines[0].count(",") == lines[1].count(","):
        return "text/csv"
    return "text/plain"


async def show_artifact(call: ArtifactView, bench: Bench) -> Reply:
    """The reply of the method `artifact`.

    Raises:
        NotFoundError: no such artifact.
        RequestError: it cannot be shown in the wanted way.

    """
    digest = call.sha256.removeprefix("sha256:")
    data = await anyio.to_thread.run_sync(bench.blobs.read, digest)
    media_type = sniff(data[:4096])
    wanted = call.as_ or _natural(media_type)
    fields: dict[str, Any] = {
        "sha256": f"sha256:{digest}",
        "media_type": media_type,
        "size": len(data),
        "uri": artifact_uri(digest),
        "as": wanted,
    }
    pictures: tuple[Picture, ...] = ()
    if wanted == "image":
        picture, extent = await anyio.to_thread.run_sync(_image, data, media_type, call.max_kb * 1024)
        pictures = (picture,)
        fields |= {"width": extent[0], "height": extent[1], "cut": picture.data is not data}
        text = f"{fields['sha256']}: {media_type}, {len(data)} bytes."
    elif wanted == "table":
        fields |= await anyio.to_thread.run_sync(_table, data, media_type, call.max_kb * 1024)
        if call.response_format == "concise":
            fields |= _narrowed(fields)
        rows = [dict(zip(fields["columns"], row, strict=False)) for row in fields["rows"]]
        text = render.table(rows, fields["columns"])
        text += f"\n{len(fields['rows'])} of {fields['total_rows']} rows." if fields["cut"] else ""
    else:
        concise = call.response_format == "concise"
        limit = min(call.max_kb * 1024, _SHORT if concise else render.DETAILED)
        text = data[:limit].decode("utf-8", "replace")
        while concise and size(text) > _SHORT + 500:  # much of it is escaped
            limit = limit * 2 // 3
            text = data[:limit].decode("utf-8", "replace")
        fields |= {"text": text, "cut": len(data) > limit}
        text += f"\n[{len(data) - limit} bytes left out]" if fields["cut"] else ""
    link = Link(fields["uri"], digest[:12], media_type, len(data))
    return Reply(
        ArtifactReply(**fields).wire(),
        render.text_of([text], call.response_format),
        (link,),
        pictures,
        handle=fields["sha256"],
    )


def _natural(media_type: str) -> str:
    if media_type in _SHOWN_AS_IS:
        return "image"
    return "table" if media_type in ("text/csv", "application/x-npy") else "text"


def _wrong(what: str, media_type: str, remedy: str) -> RequestError:
    return RequestError(
        f"A {media_type} cannot be shown as {what}.", field="as", got=what, remedy=remedy, example="text"
    )


def _image(data: bytes, media_type: str, limit: int) -> tuple[Picture, tuple[int | None, int | None]]:
    """The image, scaled down until it fits."""
    if media_type not in _SHOWN_AS_IS:
        raise _wrong("image", media_type, "Only PNG, JPEG and GIF; read the resource, or ask as text.")
    if len(data) <= limit and media_type != "image/png":
        return Picture(data, media_type), (None, None)
    if len(data) <= limit:
        return Picture(data, media_type), (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"))
    try:
        from PIL import Image
    except ImportError:
        raise UnavailableError(
            f"The image has {len(data)} bytes, more than max_kb; scaling it down needs Pillow.",
            field="max_kb",
            remedy="Raise max_kb (up to 1024), read the resource, or install physlab-mcp[science].",
        ) from None
    with Image.open(io.BytesIO(data)) as whole:
        side = max(whole.size)
        while True:
            side = side * 2 // 3
            small = whole.convert("RGB")
            small.thumbnail((side, side))
            out = io.BytesIO()
            small.save(out, "PNG", optimize=True)
            if out.tell() <= limit or side < 64:
                return Picture(out.getvalue(), "image/png"), small.size


def _table(data: bytes, media_type: str, limit: int) -> dict[str, Any]:
    if media_type == "application/x-npy":
        return _array(data)
    if media_type not in ("text/csv", "text/plain"):
        raise _wrong("table", media_type, "Only CSV and .npy; ask as text or read the resource.")
    lines = list(csv.reader(io.StringIO(data.decode("utf-8", "replace"))))
    if not lines:
        return {"columns": [], "rows": [], "total_rows": 0, "cut": False}
    rows, used = [], 0
    for row in lines[1 : _ROWS + 1]:
        used += sum(len(cell) + 1 for cell in row)
        if used > limit:
            break
        rows.append(row)
    total = len(lines) - 1
    return {"columns": lines[0], "rows": rows, "total_rows": total, "cut": len(rows) < total}


def _narrowed(fields: dict[str, Any]) -> dict[str, Any]:
    """The table without what a concise reply has no room for."""
    rows: list[list[Any]] = []
    left = _SHORT
    for row in fields["rows"]:
        short = [clip(cell, _CELL) if isinstance(cell, str) else cell for cell in row[:_WIDE]]
        left -= size(short)
        if left < 0 and rows:
            break
        rows.append(short)
    columns = [clip(name, _CELL) for name in fields["columns"][:_WIDE]]
    narrow = len(columns) < len(fields["columns"])
    return {
        "columns": columns,
        "rows": rows,
        "cut": fields.get("cut", False) or narrow or len(rows) < len(fields["rows"]),
    }


def _array(data: bytes) -> dict[str, Any]:
    try:
        import numpy as np
    except ImportError:
        raise UnavailableError(
            "Showing an array needs numpy.", field="as", remedy="Install physlab-mcp[science], or read the resource."
        ) from None
    array = np.load(io.BytesIO(data), allow_pickle=False)
    flat = array.reshape(array.shape[0], -1) if array.ndim > 1 else array.reshape(-1, 1)
    shown = flat[:_ROWS, :12]
    rows = [[str(cell) if np.iscomplexobj(shown) else cell for cell in row] for row in shown.tolist()]
    return {
        "columns": [str(i) for i in range(shown.shape[1])],
        "rows": rows,
        "total_rows": int(flat.shape[0]),
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "cut": shown.size < flat.size,
    }
