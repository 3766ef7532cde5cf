"""Jobs for fault tests: chains, fan-outs with their fan-ins, single jobs; and an expander that needs no DAG check."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from physlab_mcp.schemas.dag import Dag
from physlab_mcp.schemas.handles import new_handle
from physlab_mcp.schemas.job import Job, JobSpec, NodeCall
from physlab_mcp.schemas.run import Plan, Run


def node(
    place: Path,
    tag: str,
    *,
    type_: str = "fault.count",
    needs: dict[str, str] | None = None,
    key: str | None = None,
    retries: int = 0,
    timeout_s: float | None = None,
    compute_s: float | None = None,
    pure: bool = True,
    **params: Any,
) -> Job:
    """One node call. `needs` maps a name to the job whose `values.value` is added."""
    needs = needs or {}
    terms = [{"$from": name, "key": "values.value"} for name in needs]
    call = NodeCall(
        type=type_,
        params={"place": str(place), "tag": tag, **({"terms": terms} if terms else {}), **params},
        sources=dict(needs),
        static_key=key,
    )
    return Job(
        id=new_handle("job"),
        kind="node",
        node_id=tag,
        spec=JobSpec(
            node=call,
            pure=pure,
            retries=retries,
            timeout_s=timeout_s,
            compute_s=compute_s,
            use_cache=key is not None,
        ),
        needs=tuple(needs.values()),
        needs_left=len(needs),
        created_at=time.time(),
    )


def group(place: Path, name: str, **params: Any) -> list[Job]:
    """Ten jobs: a chain of three, one that fans out to three and in again, two single ones."""
    chain = [node(place, f"{name}-chain0", **params)]
    for i in (1, 2):
        chain.append(node(place, f"{name}-chain{i}", **params, needs={"before": chain[-1].id}))
    root = node(place, f"{name}-root", **params)
    leaves = [node(place, f"{name}-leaf{i}", **params, needs={"root": root.id}) for i in range(3)]
    end = node(place, f"{name}-end", **params, needs={f"leaf{i}": leaf.id for i, leaf in enumerate(leaves)})
    return [*chain, root, *leaves, end, node(place, f"{name}-one", **params), node(place, f"{name}-two", **params)]


class FlatExpander:
    """The jobs of a plan straight from the nodes of its Dag; params `{i}` in a text is the point's index."""

    def next(self, plan: Plan, dag: Dag, after_index: int, n: int) -> list[tuple[Run, list[Job]]]:
        points: list[tuple[Run, list[Job]]] = []
        for index in range(after_index + 1, after_index + 1 + n):
            run_id = plan.id if plan.id.startswith("run-") else new_handle("run")
            jobs: list[Job] = []
            ids: dict[str, str] = {}
            for one in dag.nodes:
                ids[one.id] = new_handle("job")
                params = {k: v.replace("{i}", str(index)) if isinstance(v, str) else v for k, v in one.params.items()}
                call = NodeCall(type=one.type, params=params, sources={need: ids[need] for need in one.needs})
                jobs.append(
                    Job(
                        id=ids[one.id],
                        kind="node",
                        run_id=run_id,
                        sweep_id=plan.id if plan.id != run_id else None,
                        point_index=index,
                        node_id=one.id,
                        spec=JobSpec(node=call, pure=True, use_cache=False),
                        needs=tuple(ids[need] for need in one.needs),
                        needs_left=len(one.needs),
                        created_at=plan.created_at,
                    )
                )
            run = Run(
                id=run_id,
                dag_id=dag.id,
                owner=plan.owner,
                point_index=index,
                total=len(jobs),
                created_at=plan.created_at,
            )
            points.append((run, jobs))
        return points
