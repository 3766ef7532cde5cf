"""What the engine writes down beside jobs: where artifacts come from, and in which environment work was done."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import anyio.to_thread
import msgspec

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.artifacts.lineage import lineage_of
from physlab_mcp.artifacts.provenance import capture_environment, capture_git
from physlab_mcp.engine.inputs import resolve
from physlab_mcp.errors import PhyslabError
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.result import NodeResult
from physlab_mcp.stores.base import Change, Store, TurnView

logger = logging.getLogger(__name__)
_FRESH_S = 5.0
_decode = msgspec.json.Decoder(NodeResult).decode


def keep_lineage(view: TurnView, changes: Sequence[Change]) -> None:
    """Write where the artifacts of finished jobs come from, in the turn that finishes them."""
    for change in changes:
        if change.body is not None and change.cache_key is not None and b'"sha256"' in change.body:
            result = _decode(change.body)
            records = lineage_of(
                result,
                job_id=change.old.id,
                node_type=change.old.spec.node.type if change.old.spec.node else "command",
                params=_params(view, change.old),
                code_version=result.meta.get("code_version", ""),
                device=result.meta.get("device", "cpu"),
                environment=result.meta.get("environment", ""),
            )
            for one in records:
                view.put("lineage", f"{one.sha256}:{change.old.id}", one, subject=one.sha256)


def _params(view: TurnView, job: Job) -> dict[str, Any]:
    call = job.spec.node
    if call is None:
        return {"command": list(job.spec.command or ()), "script": job.spec.script}
    if not call.sources:
        return call.params
    bodies = view.results(call.sources.values())
    results = {node: _decode(bodies[job_id]) for node, job_id in call.sources.items() if job_id in bodies}
    try:
        return resolve(call.params, results, {})
    except (PhyslabError, KeyError):
        return call.params


async def keep_environment(store: Store, blobs: Blobs, environment: str) -> None:
    """Capture the environment once and keep it under its id; results refer to it by that id."""
    try:
        if environment and await store.get("environment", environment) is None:
            found = await anyio.to_thread.run_sync(capture_environment)
            ref = await anyio.to_thread.run_sync(
                lambda: blobs.put(msgspec.json.encode(found), name="environment.json", media_type="application/json")
            )
            await store.put("environment", environment, ref, durable=False)
    except PhyslabError as error:
        logger.warning("the environment could not be recorded: %s", error)


class Repository:
    """The state of the experiment's own repository, looked at again after a few seconds."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._looked: tuple[str, float, dict[str, Any] | None] = ("", 0.0, None)

    async def state(self, folder: str) -> dict[str, Any] | None:
        """Commit, branch, remote, and the uncommitted changes as an artifact; None outside of a repository."""
        where, at, state = self._looked
        if where != folder or time.monotonic() - at > _FRESH_S:
            try:
                state = await anyio.to_thread.run_sync(self._capture, folder)
            except PhyslabError as error:
                logger.warning("the repository's state could not be recorded: %s", error)
                state = None
            self._looked = (folder, time.monotonic(), state)
        return state

    def _capture(self, folder: str) -> dict[str, Any] | None:
        state = capture_git(folder)
        if state is None:
            return None
        body: dict[str, Any] = {
            "commit": state.commit, "branch": state.branch, "remote": state.remote, "dirty": state.dirty
        }  # fmt: skip
        if state.diff:
            ref = self._blobs.put(state.diff, name="uncommitted.diff", media_type="text/x-diff")
            body |= {"diff": msgspec.to_builtins(ref), "diff_cut": state.diff_cut}
        return body
