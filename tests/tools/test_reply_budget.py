"""Concise replies stay small for every method on a run of a thousand nodes.

Measured by the cl100k vocabulary, object and text together were at most 1,804 tokens; 2.8 to 3.9 characters of
`views.size` went into one, so that 5,600 of them are 2,000 tokens at most.
"""

from __future__ import annotations

from typing import Any

import anyio

from physlab_mcp.tools import views
from physlab_mcp.tools.reply import Reply
from physlab_mcp.tools.router import Router

JOBS, RUNS = "distributed_collaboration", "experiment_orchestrator"
MOST = 5_600


def thousand() -> dict[str, Any]:
    nodes: list[dict[str, Any]] = [
        {"id": f"step_number_{i}", "tool": "flow", "method": "passthrough", "params": {"value": i * 1.2345}}
        for i in range(1000)
    ]
    for i, node in enumerate(nodes):
        if i % 10:
            node["dependencies"] = [f"step_number_{i - 1}"]
    return {"nodes": nodes, "metadata": {"title": "A thousand nodes"}}


async def test_every_method_on_a_run_of_a_thousand_nodes(live: Router):
    told: dict[str, int] = {}

    async def call(tool: str, label: str = "", /, **arguments: Any) -> dict[str, Any]:
        reply: Reply = await live.call(tool, arguments)
        told[label or arguments["method"]] = views.size(reply.structured) + views.cost(reply.text)
        return reply.structured

    dag = (await call(RUNS, method="define_dag", spec=thousand()))["dag_id"]
    await call(RUNS, method="validate_dag", dag_id=dag)
    run = (await call(RUNS, method="run_dag", dag_id=dag))["run_id"]
    with anyio.fail_after(120):
        while (await call(RUNS, method="run_status", run_id=run, wait_s=20))["state"] != "succeeded":
            pass
    await call(RUNS, "all news", method="run_status", run_id=run, since_seq=0)
    await call(RUNS, method="run_result", run_id=run)
    other = (await call(RUNS, "run_dag, ended", method="run_dag", dag_id=dag, wait_s=20))["run_id"]
    await call(RUNS, method="run_list")
    await call(RUNS, method="explain_cache", run_id=run)
    await call(RUNS, "explain_cache of two", method="explain_cache", run_id=other, other_run_id=run)
    await call(RUNS, method="run_cancel", run_id=run)
    await call(RUNS, method="catalog")
    await call(RUNS, "catalog of one", method="catalog", tool="plot", node_method="animation")
    await call(RUNS, "needs_spec", method="define_dag", natural_language="train a neural network on hydrogen orbitals")
    await call(JOBS, "job_status of a run", method="job_status", job_id=run, since_seq=0)
    job = (await call(JOBS, method="job_list", limit=200))["rows"][0]["job_id"]
    await call(JOBS, method="job_status", job_id=job)
    await call(JOBS, method="job_result", job_id=job)
    await call(JOBS, method="job_logs", job_id=job)
    await call(JOBS, method="job_cancel", job_id=job)
    bad = {"nodes": [{"id": f"b{i}", "tool": "plott", "params": {}} for i in range(1000)]}
    await call(RUNS, "validate_dag of defects", method="validate_dag", spec=bad)
    await call(RUNS, "define_dag of defects", method="define_dag", spec=bad)
    assert {name: size for name, size in told.items() if size > MOST} == {}
