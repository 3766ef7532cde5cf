"""How files travel into pods: the runner in one ConfigMap, the job folders of a submission in a few.

What a submission brings is one archive (tar, gzip) that is cut into pieces, since no ConfigMap or Secret holds more than
1 MiB. In it stand `elements.json`, `{"<element>": {"<path in the job folder>": "<sha256>"}}`, and `blobs/<sha256>`: what
many elements share is there once. A pod sees the pieces as files `0000`, `0001`, … and joins them in that order.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from physlab_mcp.backends.kubernetes import naming
from physlab_mcp.backends.kubernetes.naming import Dispatch
from physlab_mcp.backends.kubernetes.settings import SECTION, KubernetesSettings
from physlab_mcp.errors import RejectedError, RequestError

PIECE_BYTES = 1_000_000  # the server allows 1,048,576 bytes of values in a ConfigMap or Secret
ELEMENTS, BLOBS = "elements.json", "blobs"


def pack(elements: Mapping[int, Mapping[str, bytes]]) -> bytes:
    """The archive of the files of each element; equal files give equal bytes.

    Raises:
        RequestError: a path leads out of the job folder.

    """
    listed: dict[str, dict[str, str]] = {}
    blobs: dict[str, bytes] = {}
    for element in sorted(elements):
        paths = listed.setdefault(str(element), {})
        for path, data in sorted(elements[element].items()):
            place = PurePosixPath(path)
            if place.is_absolute() or ".." in place.parts or not place.parts or "\0" in path:
                raise RequestError(
                    f"The file {path!r} would lie outside of the job folder.",
                    field="inputs.target", got=path, remedy="Give a path relative to the working folder, without '..'.",
                )  # fmt: skip
            digest = hashlib.sha256(data).hexdigest()
            paths[str(place)] = digest
            blobs[digest] = data
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        _add(archive, ELEMENTS, json.dumps(listed, sort_keys=True).encode())
        for digest in sorted(blobs):
            _add(archive, f"{BLOBS}/{digest}", blobs[digest])
    return packed.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    entry.mode = 0o444
    archive.addfile(entry, io.BytesIO(data))


def files_of(
    dispatch: Dispatch, elements: Mapping[int, Mapping[str, bytes]], settings: KubernetesSettings, *, secret: bool
) -> list[dict[str, Any]]:
    """The ConfigMaps, or Secrets where the files hold what others may not read, that bring the elements' files.

    Raises:
        RejectedError: together they are larger than `inline_mb`.
        RequestError: a path leads out of the job folder.

    """
    archive = pack(elements)
    most = settings.inline_mb * 1_000_000
    if len(archive) > most:
        raise RejectedError(
            f"The files of the submission have {len(archive)} bytes packed; ConfigMaps bring at most {most}.",
            field=f"{SECTION}.inline_mb", got=len(archive),
            remedy=f"Set {SECTION}.results_volume or object_store for large inputs, or raise inline_mb (at most 64).",
        )  # fmt: skip
    pieces = [archive[start : start + PIECE_BYTES] for start in range(0, len(archive), PIECE_BYTES)]
    found: list[dict[str, Any]] = []
    for number, piece in enumerate(pieces):
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Secret" if secret else "ConfigMap",
            "metadata": {
                "name": naming.carrier_name(dispatch, number),
                "namespace": settings.namespace,
                "labels": naming.labels(dispatch, kind="files"),
                "annotations": naming.notes(dispatch),
            },
            "immutable": True,
            ("data" if secret else "binaryData"): {"piece": base64.b64encode(piece).decode()},
        }
        if secret:
            body["type"] = "Opaque"
        found.append(body)
    return found


def revoked_of(dispatch: Dispatch, elements: Sequence[int], settings: KubernetesSettings) -> dict[str, Any]:
    """The ConfigMap that says which elements of an Indexed Job must not begin any more."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": naming.revoked_name(dispatch),
            "namespace": settings.namespace,
            "labels": naming.labels(dispatch, kind="files"),
            "annotations": naming.notes(dispatch),
        },
        "data": {f"revoked-{element}": "" for element in elements},
    }


def files_volume(dispatch: Dispatch, carriers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The volume that shows all pieces in one folder. They may be created after the Job: pods wait for them.

    Elements of an Indexed Job also see there which of them are revoked, if any are.
    """
    sources: list[dict[str, Any]] = [
        {
            ("secret" if carrier["kind"] == "Secret" else "configMap"): {
                "name": carrier["metadata"]["name"],
                "items": [{"key": "piece", "path": f"{number:04d}"}],
            }
        }
        for number, carrier in enumerate(carriers)
    ]
    if dispatch.indexes:
        sources.append({"configMap": {"name": naming.revoked_name(dispatch), "optional": True}})
    return {"name": "physlab-files", "projected": {"sources": sources, "defaultMode": 0o440}}


def program_digest(program: Mapping[str, bytes]) -> str:
    """The SHA-256 of a program of several files: of their names and contents."""
    digest = hashlib.sha256()
    for path in sorted(program):
        digest.update(f"{path}\0{hashlib.sha256(program[path]).hexdigest()}\n".encode())
    return digest.hexdigest()


def program_of(lab: str, program: Mapping[str, bytes], settings: KubernetesSettings) -> dict[str, Any]:
    """The ConfigMap with the runner and what it needs (path to content), shared by all jobs of an installation.

    Raises:
        RejectedError: it is too large for a ConfigMap.

    """
    size = sum(len(data) for data in program.values())
    if size > PIECE_BYTES:
        raise RejectedError(f"The runner has {size} bytes; a ConfigMap holds {PIECE_BYTES}.", got=size)
    digest = program_digest(program)
    owner = Dispatch(lab=lab, submission="")
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": naming.program_name(lab, digest),
            "namespace": settings.namespace,
            "labels": naming.labels(owner, kind="program"),
            "annotations": {f"{naming.PREFIX}/lab": lab, f"{naming.PREFIX}/digest": digest},
        },
        "immutable": True,
        "data": {_key(path): program[path].decode() for path in sorted(program)},
    }


def program_volume(lab: str, program: Mapping[str, bytes]) -> dict[str, Any]:
    """The volume that shows the program in its folders."""
    items = [{"key": _key(path), "path": path} for path in sorted(program)]
    name = naming.program_name(lab, program_digest(program))
    return {"name": "physlab-program", "configMap": {"name": name, "items": items, "defaultMode": 0o444}}


def _key(path: str) -> str:
    return path.replace("/", "--")  # no file of the runner has such a name


def owner(kind: str, name: str, uid: str) -> dict[str, Any]:
    """The reference to an object that another goes with when it is deleted. `kind`: Job or CronJob."""
    return {"apiVersion": "batch/v1", "kind": kind, "name": name, "uid": uid, "controller": False,
            "blockOwnerDeletion": False}  # fmt: skip


def owned(manifest: Mapping[str, Any], owners: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The manifest with these owners: it is deleted once all of them are."""
    metadata = {**manifest["metadata"], "ownerReferences": [dict(one) for one in owners]}
    return {**manifest, "metadata": metadata}
