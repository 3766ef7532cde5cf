"""Making a package: the whole record of a run or sweep in a folder or zip, hashed and signed."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec

from physlab_mcp import __version__
from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.bundles import entry_point, shapes, signature
from physlab_mcp.bundles.contents import Contents, zip_folder
from physlab_mcp.bundles.crate import crate_of, moment
from physlab_mcp.bundles.functions import Functions, functions_of
from physlab_mcp.bundles.limits import limits_of
from physlab_mcp.bundles.lock import Lock, lock_of, requirements_text
from physlab_mcp.bundles.pictures import Pictures, pictures_of, rows_of, visualizations_of
from physlab_mcp.bundles.provenance_graph import graph_of
from physlab_mcp.bundles.readme import readme_of
from physlab_mcp.bundles.record import inputs_of, read_record, refs_in
from physlab_mcp.bundles.shapes import Made, Record
from physlab_mcp.bundles.sources import Code, code_of
from physlab_mcp.bundles.wheelhouse import add_own_wheel, add_wheelhouse
from physlab_mcp.bundles.wishes import UNSAFE, Wishes, check_name, slug
from physlab_mcp.engine.engine import Engine
from physlab_mcp.errors import ConflictError, UnavailableError
from physlab_mcp.nodes.registry import Registry

NO_LICENCE = "#licence"
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,10}")
_PRIVATE = ("roots", "session_id", "idempotency_key", "next_index")


async def make_package(
    engine: Engine,
    registry: Registry,
    blobs: Blobs,
    handle: str,
    target: Path,
    *,
    owner: str,
    wishes: Wishes | None = None,
) -> Made:
    """Write the package of a run or sweep that has ended to `target`: a new folder, or a file where it ends in `.zip`.

    Either the whole package is there afterwards or nothing.

    Raises:
        NotFoundError: unknown handle.
        ConflictError: it has not ended, or `target` is there already.
        UnavailableError: an artifact is gone, `target` cannot be written, or cryptography is not installed.

    """
    begun = time.monotonic()
    wishes = wishes or Wishes()
    with _writing(target):
        _free(target)
    record = await read_record(engine, handle, owner=owner, blobs=blobs)
    name = _name_of(record, wishes.name)
    asked = visualizations_of(record, wishes.visualizations)
    rows = await rows_of(engine.store, record) if asked or record.kind == "sweep" else []

    def work() -> Made:
        pictures = pictures_of(record, rows, asked) if rows else Pictures()
        with _writing(target), _beside(target) as folder:
            contents = Contents(folder)
            functions = functions_of(record.jobs.values(), blobs)
            made = _Package(record, registry, blobs, contents, functions, name=name, wishes=wishes, pictures=pictures)
            done = made.write(engine.data.signing_key)
            _place(folder, target, contents)
        return msgspec.structs.replace(done, path=str(target), duration_s=round(time.monotonic() - begun, 3))

    return await anyio.to_thread.run_sync(work)


@contextmanager
def _writing(target: Path) -> Generator[None]:
    """What the disk refuses is told with the place."""
    try:
        yield
    except OSError as error:
        about = f" ({error.filename})" if error.filename and str(error.filename) != str(target) else ""
        raise UnavailableError(
            f"The package cannot be written to {target}: {error.strerror or error}{about}.", field="path",
            got=str(target), remedy="Name another place, in a folder that can be written to and has room.",
        ) from error  # fmt: skip


@contextmanager
def _beside(target: Path) -> Generator[Path]:
    """A folder next to the target, gone afterwards."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free(target: Path) -> None:
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists() or target.is_symlink():
        raise ConflictError(
            f"{target} is there already.", field="path", got=str(target), remedy="Name a new folder or .zip file."
        )


def _place(folder: Path, target: Path, contents: Contents) -> None:
    if target.suffix == ".zip":
        order = [shapes.MANIFEST, shapes.SIGNATURE, shapes.CRATE]
        zip_folder(folder, target, [*order, *sorted(set(contents.entries) - set(order))])
        return
    _free(target)
    if target.is_dir():
        target.rmdir()
    folder.rename(target)


def _name_of(record: Record, wanted: str | None) -> str:
    if wanted is not None:
        return check_name(wanted)
    title = slug(record.plan.title or record.dag.metadata.get("title", ""), 60)
    return f"{title.lower()}-{record.handle}" if title else record.handle


class _Package:
    """One package in the making."""

    def __init__(
        self,
        record: Record,
        registry: Registry,
        blobs: Blobs,
        contents: Contents,
        functions: Functions,
        *,
        name: str,
        wishes: Wishes,
        pictures: Pictures,
    ) -> None:
        self.record, self.blobs, self.contents, self.functions = record, blobs, contents, functions
        self.name, self.wishes, self.pictures = name, wishes, pictures
        self.registry = registry
        self.paths: dict[str, str] = {}  # of artifacts, by SHA-256
        self.index: dict[str, dict[str, Any]] = {}
        self.names: dict[str, str] = {}
        self.warnings: list[str] = []

    def write(self, key: Path) -> Made:
        """All files, the crate, the manifest, the signature."""
        made_at = time.time()
        self._figures()
        self._artifacts()
        self._workflow()
        code = self._code()
        lock = self._environment(code)
        seeds = _seeds(self.record)
        self.contents.add_json(shapes.METADATA, self.record.metadata)
        self.contents.add_json(shapes.PROVENANCE, graph_of(self.record, self.paths))
        self.contents.add(shapes.SCRIPT, Path(entry_point.__file__).read_bytes())
        self.warnings += limits_of(
            self.record,
            self.blobs,
            folders=self.wishes.folders,
            packed={digest: one["size"] for digest, one in self.index.items()},
            tolerances=self.wishes.tolerances,
        )
        readme = readme_of(
            self.record,
            name=self.name,
            lock=lock,
            tolerances=self.wishes.tolerances,
            wheelhouse=self.wishes.wheelhouse,
            seeds=seeds,
            warnings=self.warnings,
            files=self.contents.entries,
        )
        self.contents.add_text(shapes.README, readme)
        self.contents.add_json(shapes.INFO, self._info(made_at, lock, code, seeds))
        return self._sealed(made_at, key, lock)

    def _sealed(self, made_at: float, key: Path, lock: Lock) -> Made:
        contents = self.contents
        crate = crate_of(
            self.record,
            name=self.name,
            license_url=self.wishes.license or NO_LICENCE,
            made_at=made_at,
            entries=contents.entries.values(),
            names=self.names,
            artifacts=self.paths,
        )
        contents.add(shapes.CRATE, json.dumps(crate, indent=1, ensure_ascii=False).encode() + b"\n")
        listed = list(contents.entries.values())
        manifest = contents.manifest()
        contents.add(shapes.MANIFEST, manifest)
        digest = hashlib.sha256(manifest).hexdigest()
        signed = signature.sign(
            {
                "format": shapes.FORMAT,
                "name": self.name,
                "handle": self.record.handle,
                "count": len(listed),
                "manifest_sha256": digest,
                "made_at": moment(made_at),
            },
            key,
        )
        contents.add_json(shapes.SIGNATURE, signed)
        return Made(
            path="",
            handle=self.record.handle,
            name=self.name,
            files=len(contents.entries),
            bytes=sum(entry.size for entry in contents.entries.values()),
            points=len(self.record.points),
            jobs=len(self.record.jobs),
            fingerprint=signed["fingerprint"],
            manifest_sha256=digest,
            warnings=(*self.warnings, *lock.warnings),
        )

    def _figures(self) -> None:
        """The table of a sweep, the figures of its points together, and those of a run by name.

        The figures that single points of a sweep have stay among the artifacts.
        """
        for path, data in self.pictures.files.items():
            self.contents.add(path, data)
        self.names |= self.pictures.names
        self.warnings += self.pictures.warnings
        if self.record.kind != "run":
            return
        for job in self.record.jobs.values():
            for figure in (job.result or {}).get("figures", ()):
                for kind in ("png", "svg", "csv", "mp4"):
                    ref = figure.get(kind)
                    if ref is not None and ref["sha256"] not in self.paths:
                        stem = UNSAFE.sub("-", f"{job.node}-{figure['name']}")[:100]
                        self._keep(ref, f"{shapes.FIGURES}{stem}{_suffix(ref)}")
                        self.names[self.paths[ref["sha256"]]] = figure.get("caption") or ref["name"]

    def _keep(self, ref: Mapping[str, Any], path: str | None = None) -> None:
        digest = ref["sha256"]
        if digest in self.paths:
            return
        path = path or f"{shapes.ARTIFACTS}{digest}{_suffix(ref)}"
        if path in self.contents.entries:
            path = f"{shapes.ARTIFACTS}{digest}{_suffix(ref)}"
        entry = self.contents.copy(path, self.blobs.path(digest), sha256=digest)
        self.paths[digest] = path
        self.names[path] = str(ref.get("name") or path)
        self.index[digest] = {
            "path": path,
            "name": ref.get("name", ""),
            "media_type": ref.get("media_type", "application/octet-stream"),
            "size": entry.size,
        }

    def _artifacts(self) -> None:
        """What jobs left, what they took in, and what the record itself refers to."""
        for job in self.record.jobs.values():
            for ref in refs_in(job.result or {}).values():
                self._keep(ref)
        for digest, ref in inputs_of(self.record).items():
            self._keep({**ref, "sha256": digest})
        for digest, name in self.functions.blobs.items():
            self._keep({"sha256": digest, "name": name, "media_type": "application/octet-stream"})
        diff = (self.record.git or {}).get("diff")
        if isinstance(diff, dict):
            self._keep(diff)
        self.contents.add_json(f"{shapes.ARTIFACTS}index.json", dict(sorted(self.index.items())))

    def _workflow(self) -> None:
        from physlab_mcp.dags import overview

        record, contents = self.record, self.contents
        contents.add(shapes.DAG, msgspec.json.format(msgspec.json.encode(record.dag), indent=1) + b"\n")
        contents.add_json(shapes.SPEC, record.dag.spec)
        plan = {k: v for k, v in msgspec.to_builtins(record.plan).items() if k not in _PRIVATE}
        contents.add_json(shapes.PLAN, plan)
        contents.add_lines(shapes.POINTS, record.points)
        contents.add_lines(shapes.JOBS, record.jobs.values())
        contents.add_text(shapes.MERMAID, overview.mermaid(record.dag))
        contents.add_text(shapes.DRAWING, overview.svg(record.dag))

    def _code(self) -> Code:
        code = code_of(self.record.jobs.values(), self.registry)
        for path, source in code.files.items():
            self.contents.copy(path, source)
        for path, text in self.functions.sources.items():
            self.contents.add_text(path, text)
        self.contents.add_json(shapes.NODE_TYPES, code.node_types)
        self.warnings += [*code.warnings, *self.functions.warnings]
        return code

    def _environment(self, code: Code) -> Lock:
        record, contents = self.record, self.contents
        captured = {k: v for k, v in record.environment.items() if k != "hostname"}
        lock = lock_of(
            captured,
            needed=code.packages,
            imported=self.functions.versions,
            stored=self.functions.stored,
            everything=self.wishes.everything,
            folders=self.wishes.folders,
        )
        if len(record.environments) > 1:
            self.warnings.append(
                f"Its results come from {len(record.environments)} environments; the lock is of {record.environments[0]}."
            )
        git = {"git": record.git} if record.git else {}
        contents.add_json(shapes.ENVIRONMENT, {**captured, **git, "all": list(record.environments)})
        contents.add_text(shapes.REQUIREMENTS, requirements_text(lock))
        contents.add_text(shapes.PYTHON, f"{lock.python}\n")
        contents.add_json(shapes.LOCK, msgspec.to_builtins(lock))
        add_own_wheel(contents)
        if self.wishes.wheelhouse:
            self.warnings += add_wheelhouse(contents, lock)
        return lock

    def _info(self, made_at: float, lock: Lock, code: Code, seeds: Mapping[str, Any]) -> dict[str, Any]:
        record = self.record
        return {
            "format": shapes.FORMAT,
            "name": self.name,
            "kind": record.kind,
            "handle": record.handle,
            "state": record.state,
            "dag_id": record.dag.id,
            "made_at": moment(made_at),
            "made_by": f"physlab-mcp {__version__}",
            "points": len(record.points),
            "points_planned": record.plan.total,
            "jobs": len(record.jobs),
            "artifacts": len(self.paths),
            "inputs": sorted(inputs_of(record)),
            "functions": self.functions.described,
            "modules": list(code.modules),
            "seeds": seeds,
            "tolerances": self.wishes.tolerances.written(),
            "python": lock.python,
            "lock": {"complete": lock.complete, "hashed": lock.hashed, "everything": lock.everything},
            "wheelhouse": self.wishes.wheelhouse,
            "warnings": [*self.warnings, *lock.warnings],
        }


def _suffix(ref: Mapping[str, Any]) -> str:
    found = Path(str(ref.get("name") or "")).suffix
    return found.lower() if _SUFFIX.fullmatch(found) else ""


def _seeds(record: Record) -> dict[str, list[Any]]:
    """Every seed that was used, by node and parameter; at most 100 values of each."""
    found: dict[str, dict[str, Any]] = {}
    for job in record.jobs.values():
        for place, value in job.seeds.items():
            found.setdefault(f"{job.node}.{place}", {})[json.dumps(value, default=str)] = value
    sweep = record.plan.sweep or {}
    if "seed" in sweep or sweep.get("mode") in ("random", "latin_hypercube"):
        found["sweep"] = {"": sweep.get("seed", 0)}
    return {name: list(values.values())[:100] for name, values in sorted(found.items())}
