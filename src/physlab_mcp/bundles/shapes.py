"""What a package is made of: the names of its files, and the records in them."""

from __future__ import annotations

from typing import Any

import msgspec

from physlab_mcp.schemas.dag import Dag
from physlab_mcp.schemas.run import Plan

FORMAT = "physlab-package/1"
CRATE = "ro-crate-metadata.json"
MANIFEST = "manifest.json"
SIGNATURE = "signature.json"
INFO = "package.json"
METADATA = "metadata.json"
README = "README.md"
SCRIPT = "reproduce.py"
DAG = "workflow/dag.json"
SPEC = "workflow/experiment.json"
PLAN = "workflow/plan.json"
DRAWING = "workflow/dag.svg"
MERMAID = "workflow/dag.mmd"
POINTS = "workflow/points.jsonl"
JOBS = "results/jobs.jsonl"
TABLE = "results/points.csv"
ARTIFACTS = "artifacts/"
FIGURES = "figures/"
NODE_TYPES = "code/node_types.json"
MODULES = "code/modules/"
FUNCTIONS = "code/functions/"
REQUIREMENTS = "environment/requirements.txt"
PYTHON = "environment/python-version.txt"
ENVIRONMENT = "environment/environment.json"
LOCK = "environment/lock.json"
PROVENANCE = "provenance/graph.json"
WHEELHOUSE = "wheelhouse/"
WHEELHOUSE_REQUIREMENTS = "wheelhouse/requirements.txt"
UNSIGNED = frozenset({MANIFEST, SIGNATURE})  # what the manifest cannot hold: itself, and its signature


class Tolerance(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a number may be off: |got - expected| <= max(abs, rel * max(|got|, |expected|))."""

    rel: float = 1e-9
    abs: float = 0.0


class Tolerances(msgspec.Struct, frozen=True, omit_defaults=True):
    """What counts as the same result. Names are `node.key` patterns as of fnmatch; the first that fits counts."""

    default: Tolerance = Tolerance()
    by_name: dict[str, Tolerance] = {}
    ignore: tuple[str, ...] = ()  # declared to be no part of the result
    pixels: int = 0  # the most that one channel of one pixel of a picture may be off, of 255

    def written(self) -> dict[str, Any]:
        """As JSON with every default written out."""
        return {
            "default": {"rel": self.default.rel, "abs": self.default.abs},
            "by_name": {name: {"rel": one.rel, "abs": one.abs} for name, one in self.by_name.items()},
            "ignore": list(self.ignore),
            "pixels": self.pixels,
        }


class JobRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One job as it was: what it computed with which parameters, and what it left (a result or a failure)."""

    id: str
    node: str
    type: str
    state: str
    device: str = "cpu"
    params: dict[str, Any] = {}
    sources: dict[str, str] = {}  # by node: the job whose output it took
    seeds: dict[str, Any] = {}
    started_at: float = 0.0
    ended_at: float = 0.0
    attempt: int = 1
    backend: str = "local"
    why_here: str = ""  # why that backend, where the engine chose it
    result: dict[str, Any] | None = None
    failure: dict[str, Any] | None = None


class PointRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One point of a sweep, or the one run: its parameters, and which job computed which node."""

    index: int
    id: str  # point-…; of a run its handle
    run: str
    state: str
    params: dict[str, Any] = {}  # the base parameters, from which its id follows
    derived: dict[str, Any] = {}
    started_at: float = 0.0
    ended_at: float = 0.0
    jobs: dict[str, str] = {}

    @property
    def values(self) -> dict[str, Any]:
        """Base and derived parameters."""
        return {**self.params, **self.derived}


class Record(msgspec.Struct, frozen=True):
    """A run or sweep with everything that it left."""

    handle: str
    kind: str  # run | sweep
    state: str
    plan: Plan
    dag: Dag
    points: list[PointRecord]
    jobs: dict[str, JobRecord]
    created_at: float
    ended_at: float
    environment: dict[str, Any]
    environments: tuple[str, ...] = ()  # ids of all environments that its results name
    git: dict[str, Any] | None = None
    metadata: dict[str, Any] = {}  # as analysis.metadata tells it, without host names


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """One check of a package: `ok`, `failed`, or `skipped` with the reason; `found` names what is wrong, at most 20."""

    name: str
    verdict: str
    text: str
    found: tuple[str, ...] = ()


class Verification(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is true of a package: `ok` if no check failed. `trusted`: the key is one that the reader knows."""

    path: str
    ok: bool
    checks: list[Check]
    files: int = 0
    bytes: int = 0
    handle: str = ""
    name: str = ""
    fingerprint: str = ""
    trusted: bool = False


class Made(msgspec.Struct, frozen=True, omit_defaults=True):
    """A package that was written."""

    path: str
    handle: str
    name: str
    files: int
    bytes: int
    points: int
    jobs: int
    fingerprint: str
    manifest_sha256: str
    warnings: tuple[str, ...] = ()
    duration_s: float = 0.0
