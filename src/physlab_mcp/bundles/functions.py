"""Python functions as tasks: their blobs, their source text, and the modules that they use."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.artifacts.cache_key import canonical_json
from physlab_mcp.bundles.record import refs_in
from physlab_mcp.bundles.shapes import FUNCTIONS, JobRecord
from physlab_mcp.errors import PhyslabError
from physlab_mcp.paths import DataDir

TYPE = "function"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_KEYS = ("function", "code", "environment")
_WRITTEN_WITH = {  # packages by the media type of what functions return
    "application/vnd.apache.parquet": ("pandas", "pyarrow"),
    "application/x-npy": ("numpy",),
}


class Functions(msgspec.Struct, frozen=True):
    """What the function nodes of a record need. `versions`: the packages that their code imports, as they were then."""

    blobs: dict[str, str] = {}  # a reader's name by SHA-256
    sources: dict[str, str] = {}  # text by path in the package
    described: dict[str, dict[str, Any]] = {}  # by SHA-256 of the function
    versions: dict[str, str] = {}
    stored: frozenset[str] = frozenset()  # packages that physlab itself writes and reads what they give and take with
    warnings: tuple[str, ...] = ()


def named_in(params: Mapping[str, Any]) -> dict[str, str]:
    """The stored records that a function node's parameters name, by parameter."""
    return {key: params[key] for key in _KEYS if isinstance(params.get(key), str) and _DIGEST.fullmatch(params[key])}


def functions_of(jobs: Iterable[JobRecord], blobs: Blobs) -> Functions:
    """The functions among these jobs, with sources as they were when they were submitted."""
    named: dict[str, str] = {}
    sources: dict[str, str] = {}
    described: dict[str, dict[str, Any]] = {}
    versions: dict[str, str] = {}
    warnings: dict[str, None] = {}
    stored: set[str] = set()
    for job in jobs:
        found = named_in(job.params) if job.type == TYPE else {}
        if found:
            stored |= _written_with(job)
        if not found or found.get("function") in described:
            continue
        for key, digest in found.items():
            named.setdefault(digest, f"{job.node}.{key}" + ("" if key == "function" else ".json"))
        code, environment = _read(blobs, found.get("code")), _read(blobs, found.get("environment"))
        name = _UNSAFE.sub("-", str(code.get("name") or job.node)).strip("-.") or "function"
        path = f"{FUNCTIONS}{name}-{found.get('code', '')[:12]}.py"
        if code.get("source"):
            sources[path] = str(code["source"])
        else:
            warnings[f"The source text of {name} is not known; its pickled form is in the package."] = None
        for module, one in environment.get("modules", {}).items():
            inside = "/".join(_UNSAFE.sub("-", part) for part in module.split("."))
            sources[f"{FUNCTIONS}modules/{inside}{'/__init__' if one.get('package') else ''}.py"] = str(one["source"])
        versions |= {str(key): str(value) for key, value in code.get("packages", {}).items()}
        if environment.get("interpreter", sys.executable) != sys.executable:
            warnings[
                f"Functions ran under another interpreter, Python {environment.get('python')}: "
                "the lock has its versions only of what they import by name."
            ] = None
        described[found["function"]] = {
            "name": code.get("name", job.node),
            "source": path if path in sources else None,
            "python": code.get("python"),
            "code": found.get("code"),
            "environment": found.get("environment"),
            "modules": sorted(environment.get("modules", {})),
        }
    return Functions(named, sources, described, versions, frozenset(stored), tuple(warnings))


def _written_with(job: JobRecord) -> set[str]:
    """What physlab needed for this call: to load the pickled function, and to write and read what it gave."""
    found = {"cloudpickle"}
    for ref in refs_in(job.result or {}).values():
        found.update(_WRITTEN_WITH.get(ref.get("media_type", ""), ()))
    return found


def _read(blobs: Blobs, digest: str | None) -> dict[str, Any]:
    if digest is None:
        return {}
    try:
        return json.loads(blobs.read(digest))
    except (PhyslabError, ValueError):
        return {}


def put_functions(paths: Mapping[str, Path], info: Mapping[str, Any], blobs: Blobs, data: DataDir) -> None:
    """Store the functions of a package in a data directory that was made for its rerun, and let them run there.

    They are code of the package's maker: whoever reproduces a package runs it.
    """
    data.functions.mkdir(mode=0o700, exist_ok=True)
    for digest, one in (info.get("functions") or {}).items():
        for key in (digest, one.get("code")):
            if key:
                blobs.put_file(paths[key], name=key, media_type="application/octet-stream")
        (data.functions / digest).touch(mode=0o600)
    for digest in info.get("inputs", ()):
        if digest in paths and paths[digest].suffix in (".pickle", ".pkl"):
            (data.functions / digest).touch(mode=0o600)


def relocated(
    spec: dict[str, Any], paths: Mapping[str, Path], blobs: Blobs, data: DataDir, folder: Path
) -> dict[str, Any]:
    """The spec with its functions in this interpreter, in `folder`, with the modules of the package."""
    made: dict[str, str] = {}

    def moved(digest: str) -> str:
        if digest not in made:
            record = json.loads(paths[digest].read_bytes())
            search = [os.path.abspath(one) for one in sys.path if one]  # noqa: PTH100 - entries may be zips
            record |= {"interpreter": sys.executable, "folder": str(folder), "sys_path": search}
            folder.mkdir(parents=True, exist_ok=True)
            ref = blobs.put(canonical_json(record), name="environment.json", media_type="application/json")
            (data.functions / ref.sha256).touch(mode=0o600)
            made[digest] = ref.sha256
        return made[digest]

    nodes = [
        {**node, "params": {**node["params"], "environment": moved(node["params"]["environment"])}}
        if node.get("tool") == TYPE and "environment" in node.get("params", {})
        else node
        for node in spec["nodes"]
    ]
    return {**spec, "nodes": nodes}
