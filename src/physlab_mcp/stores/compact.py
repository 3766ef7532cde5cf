"""What rows say alike is kept once: specs of one node's jobs, and the circumstances of results.

A template is named by its bytes, so that a transaction that is rolled back leaves no name without its template.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Sequence
from typing import Any

import msgspec

from physlab_mcp.schemas.job import Job, JobSpec

_LEAST = 4  # jobs of one node at once that are worth a template
_WINDOW = -12  # raw deflate with 4 kB: a spec and its template
_META = b',"meta":{'
_LINE = b"\n"  # never within compact JSON
_NAMES = (1 << 23) - 1  # three bytes in a row
_ALIKE = ("device", "dtype", "code_version", "environment", "hash_seed", "max_rss_since")  # of a result's meta
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.decode
_PACKED = 1  # first byte of a spec that rests on a template; plain JSON begins with a brace
_KEY = 32
_NAME = 16


BODY = (
    "CASE WHEN r.volume IS NULL THEN r.body"
    " ELSE (SELECT substr(v.body, r.start + 1, r.size) FROM volumes v WHERE v.pk = r.volume) END"
)
"""What is stored for a result `r`, wherever it lies."""


def gather(connection: sqlite3.Connection, *, volume: int, most: int) -> int:
    """Put loose bodies together, `volume` bytes or a little more at a time, `most` times; how many bodies moved."""
    moved = 0
    for _ in range(most):
        taken: list[tuple[int, bytes, int | None]] = []
        size = 0
        for job, body, template in connection.execute(
            "SELECT job, body, template FROM results INDEXED BY results_loose WHERE volume IS NULL ORDER BY job"
        ):
            taken.append((job, body, template))
            size += len(body)
            if size >= volume:
                break
        if size < volume:  # worth nothing yet
            break
        made = connection.execute("INSERT INTO volumes (body) VALUES (?)", (b"".join(body for _, body, _ in taken),))
        start = 0
        rows: list[tuple[int | None, ...]] = []
        for job, body, template in taken:
            rows.append((job, template, made.lastrowid, start, len(body)))
            start += len(body)
        # Rows that only shrink would keep the pages that they had.
        connection.executemany("DELETE FROM results WHERE job = ?", [row[:1] for row in rows])
        connection.executemany(
            "INSERT INTO results (job, body, template, volume, start, size) VALUES (?,x'',?,?,?,?)", rows
        )
        moved += len(rows)
    return moved


class Templates:
    """The templates of one transaction: what it says first is written, what it says again is not."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._written: dict[bytes, int] = {}

    def keep(self, body: bytes) -> int:
        """The id of a template, written if it is new."""
        known = self._written.get(body)
        if known is not None:
            return known
        name = int.from_bytes(hashlib.sha256(body).digest()[:3]) & _NAMES
        while True:
            self._db.execute("INSERT OR IGNORE INTO templates VALUES (?,?)", (name, body))
            if self._db.execute("SELECT body FROM templates WHERE id = ?", (name,)).fetchone()[0] == body:
                break
            name = (name + 1) & _NAMES  # another one has that name
        self._written[body] = name
        return name

    def specs(self, jobs: Sequence[Job]) -> list[tuple[bytes, int | None]]:
        """What is stored for the spec of each: (bytes, template)."""
        times: dict[tuple[int, str | None], int] = {}
        for job in jobs:
            if job.plan_pk:
                times[job.plan_pk, job.node_id] = times.get((job.plan_pk, job.node_id), 0) + 1
        first: dict[tuple[int, str | None], tuple[bytes, int]] = {}
        packed: list[tuple[bytes, int | None]] = []
        for job in jobs:
            key = (job.plan_pk, job.node_id)
            if times.get(key, 0) < _LEAST:
                packed.append((_encode(job.spec), None))
                continue
            static, text = _apart(job.spec)
            if key not in first:
                first[key] = (text, self.keep(text))
            template, name = first[key]
            packer = zlib.compressobj(1, zlib.DEFLATED, _WINDOW, 3, zdict=template)
            packed.append((bytes((_PACKED, len(static))) + static + packer.compress(text) + packer.flush(), name))
        return packed

    def result(self, body: bytes) -> tuple[bytes, int | None]:
        """What is stored for a result: (bytes, template); a body of another shape stays as it is."""
        at = body.rfind(_META)
        if at < 0 or body[-2:] != b"}}" or _LINE in body:
            return body, None
        try:
            meta = _decode(body[at + len(_META) - 1 : -1])
        except msgspec.DecodeError:  # that was a `meta` further inside
            return body, None
        alike = {name: meta.pop(name) for name in _ALIKE if name in meta}
        if not alike:
            return body, None
        return body[:at] + _LINE + _encode(list(meta.values())), self.keep(_encode((list(meta), alike)))


def _apart(spec: JobSpec) -> tuple[bytes, bytes]:
    """A spec's static key as bytes, and the rest as JSON: a hash does not compress."""
    if spec.node is None or spec.node.static_key is None or len(spec.node.static_key) != 2 * _KEY:
        return b"", _encode(spec)
    node = msgspec.structs.replace(spec.node, static_key=None)
    return bytes.fromhex(spec.node.static_key), _encode(msgspec.structs.replace(spec, node=node))


_spec = msgspec.json.Decoder(JobSpec).decode


def spec_of(stored: bytes, template: bytes | None) -> JobSpec:
    """The spec that was stored."""
    if template is None:
        return _spec(stored)
    length = stored[1]
    unpacker = zlib.decompressobj(_WINDOW, zdict=template)
    spec = _spec(unpacker.decompress(stored[2 + length :]) + unpacker.flush())
    if not length or spec.node is None:
        return spec
    node = msgspec.structs.replace(spec.node, static_key=stored[2 : 2 + length].hex())
    return msgspec.structs.replace(spec, node=node)


def body_of(stored: bytes, template: bytes | None) -> bytes:
    """The result that was stored."""
    if template is None:
        return stored
    head, _, values = stored.rpartition(_LINE)
    names, alike = _decode(template)
    return head + _META[:-1] + _encode({**dict(zip(names, _decode(values), strict=True)), **alike}) + b"}"


def key_bytes(key: str | None) -> bytes | str | None:
    """A cache key in half the space; one that is no hash as it is."""
    try:
        return bytes.fromhex(key) if key else None
    except ValueError:
        return key


def cache_name(key: str) -> bytes | str:
    """What a cache entry is filed under: 128 bits of its key."""
    name = key_bytes(key) or b""
    return name[:_NAME] if isinstance(name, bytes) else name


def key_text(stored: Any, spec: JobSpec) -> str | None:
    """The cache key that was stored; one that equals the spec's own was not repeated, or in part."""
    if not isinstance(stored, bytes):
        return stored
    return stored.hex() if len(stored) > _NAME else (spec.node.static_key if spec.node is not None else None)
