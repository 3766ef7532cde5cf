"""Prompts: design an experiment, find out why something failed, compare two runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver.prompts.base import Prompt, PromptArgument
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS

if TYPE_CHECKING:
    from mcp.server import MCPServer
    from mcp.server.mcpserver.context import Context

    from physlab_mcp.lab import Lab
    from physlab_mcp.tools.reply import Reply


def add_prompts(server: MCPServer[Any], lab: Lab) -> None:
    """Register the three prompts. Each carries the facts it is about, so that it works without further calls."""
    texts = Texts(lab)
    goal = PromptArgument(name="goal", description="The question to answer.", required=True)
    node_type = PromptArgument(name="node_type", description="A node type to build on.")
    backend = PromptArgument(name="backend", description="Where to run; default auto.")
    job = PromptArgument(name="job_id", description="A job, run or sweep.", required=True)
    runs = [PromptArgument(name=name, description="A finished run.", required=True) for name in ("run_a", "run_b")]
    # Built directly: reading signatures would cost more than all the rest of the server's start.
    for name, title, description, arguments, fn in (
        ("design_experiment", "Design an experiment", "Turn a question into a DAG, run it, report it.",
         [goal, node_type, backend], texts.design_experiment),
        ("diagnose_failure", "Diagnose a failure", "Find out why a job or run failed and how to mend it.",
         [job], texts.diagnose_failure),
        ("compare_runs", "Compare two runs", "What differs between two runs, and why.", runs, texts.compare_runs),
    ):  # fmt: skip
        server.add_prompt(
            CheckedPrompt(
                name=name, title=title, description=description, arguments=arguments, fn=fn, context_kwarg=None
            )
        )


def unknown_prompt(name: str, known: Sequence[str]) -> MCPError:
    """The protocol's error for a prompt that is none; it names the nearest and all there are."""
    near = get_close_matches(name[:100], known, n=1, cutoff=0.5)
    told = f"Did you mean {near[0]!r}? " if near else ""
    message = f"There is no prompt {name[:100]!r}. {told}Prompts: {', '.join(known)}."
    return MCPError(INVALID_PARAMS, message, {"prompt": name[:100], "known": list(known)})


RUNS, JOBS = "experiment_orchestrator", "distributed_collaboration"
A_RUN, A_JOB = "<run_id>", "<job_id>"  # what the calls before answer with

DESIGN = """\
Design an experiment that answers: {goal}
Backend: {backend}.

{about}Node types:
{known}

1. Choose the quantity that answers the question, its unit, and what it is to be compared with: a closed form, a limit,
   a measured value.
2. Say it in words first. The answer is either a checked graph with its assumptions, or state "needs_spec" with the phrases
   that were not understood, the nearest node types, the schema, two worked examples and a skeleton:
{words}
3. On needs_spec, or where an assumption is not what is meant, write the spec yourself. Look up a node type before you
   use it; hand one node's output to another with {{"$from": "<node id>", "key": "values.<name>"}} as the parameter:
{lookup}
4. Check it. All defects come at once, each with its node, field and remedy; mend and check again until there is none:
{check}
   A code of a cap (too many points, frames or seconds) names the cap and your value: make the request smaller, or send
   "allow_large": true with the same call where the size is needed and the waiting is worth it.
5. Run it. A handle comes at once and stays good; the same spec sent again is served from the cache:
{run}
6. While it is pending or running, ask again with the last_seq of the answer before as since_seq:
{status}
7. Read the values, warnings and figures:
{result}
8. Judge: sign, size, unit, limits, convergence as the values report it. Vary one parameter (run_dag with `params`, or
   `sweep`) where a conclusion hangs on it. Say what you assumed.
9. Write it up:
{report}"""

DIAGNOSE = """\
Find out why {handle} did not succeed.

{facts}

If this is not enough:
{calls}

The code of the failure says where to look:
- invalid_request, rejected, forbidden: the request itself. Change the field that is named; unchanged it fails again.
- unavailable: something is missing here (a package, a disk with room, a device). Do what the remedy says, then run it again.
- error, exit: the node's own code or the command. The last lines of stderr name the first thing that went wrong.
- timeout: give it more time (timeout_sec; for a cap of computing time allow_large), or less to do.
- oom: a smaller problem, or more resources.memory.
- lost: its worker vanished. Running it again unchanged may help; if not, look at the machine.
A skipped node is no failure of its own: look at the first failed node before it. If it worked in an earlier run,
explain_cache with that run as other_run_id names what differs since.

Name the first thing that went wrong, what shows it, and the smallest change that mends it. Say whether running it again
unchanged could help. Then check the mended spec with validate_dag and run it: what succeeded before comes from the cache."""

COMPARE = """\
Compare run {a} (A) with run {b} (B).

{results}

What differs in parameters, code, inputs and packages:
{differs}

For all values and all differences:
{detail_a}
{detail_b}
{explain}

1. Give a table of the values side by side with absolute and relative difference, units in the head.
2. For each value that differs, name the parameter, code, input or package version that explains it, and why its sign and
   size are what one expects.
3. Say what is left unexplained. Equal keys with different values mean that a node is not deterministic: run it once more
   without the cache and compare again:
{again}"""


class CheckedPrompt(Prompt):
    """A prompt that answers missing and unknown arguments as what they are: invalid parameters."""

    async def render(self, arguments: dict[str, Any] | None, context: Context[Any, Any]) -> Any:
        """The messages; MCPError (invalid parameters) names the arguments that are wrong."""
        known = self.arguments or []
        given = arguments or {}
        missing = [one.name for one in known if one.required and not given.get(one.name)]
        unknown = [name[:100] for name in given if name not in {one.name for one in known}]
        problems = [f"missing: {', '.join(missing)}"] * bool(missing)
        problems += [f"unknown: {', '.join(unknown)}"] * bool(unknown)
        if problems:
            takes = ", ".join(f"{one.name} ({'required' if one.required else 'optional'})" for one in known)
            raise MCPError(
                INVALID_PARAMS,
                f"Prompt {self.name} takes {takes}. Arguments {'; '.join(problems)}.",
                {"prompt": self.name, "missing": missing, "unknown": unknown},
            )
        return await super().render(arguments, context)


class Texts:
    """The words of the prompts. Every call in them stands on a line of its own: the tool, then its arguments."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    async def _look(self, tool: str, /, **arguments: Any) -> Reply:
        return await self._lab.router.call(tool, arguments)

    async def design_experiment(self, goal: str, node_type: str = "", backend: str = "auto") -> str:
        """From a question to a DAG, its run, its judgement and its report."""
        known = "\n".join(f"{one.name}: {one.summary}" for one in self._lab.registry)
        node, about = await self._chosen(node_type)
        if backend not in ("", "auto"):
            node["backend"] = backend
        spec = {"nodes": [node], "metadata": {"title": goal[:100]}}
        return DESIGN.format(
            goal=goal,
            known=known,
            about=about,
            backend=backend or "auto",
            words=call(RUNS, method="define_dag", natural_language=goal[:4000]),
            lookup=call(RUNS, method="catalog", tool=node["tool"], **_method(node)),
            check=call(RUNS, method="validate_dag", spec=spec),
            run=call(RUNS, method="run_dag", spec=spec, wait_s=20),
            status=call(RUNS, method="run_status", run_id=A_RUN, wait_s=20, since_seq=0),
            result=call(RUNS, method="run_result", run_id=A_RUN),
            report=call(RUNS, method="publish_report", run_id=A_RUN, title=goal[:100]),
        )

    async def _chosen(self, node_type: str) -> tuple[dict[str, Any], str]:
        """A node that works as it stands, and what is known of its type."""
        found = self._lab.registry.find(node_type) if node_type else None
        if found is None:
            node = {"id": "a", "tool": "constants_get", "params": {"name": "R_inf"}}
            near = ", ".join(self._lab.registry.nearest(node_type)) if node_type else ""
            return node, f"There is no node type {node_type!r}; nearest: {near}.\n\n" if node_type else ""
        node: dict[str, Any] = {"id": "a", "tool": found.tool, **({"method": found.method} if found.method else {})}
        node["params"] = dict(found.example)
        told = await self._look(RUNS, method="catalog", tool=found.tool, **_method(node))
        return node, f"Build on this node type where it fits.\n{told.text}\n\n"

    async def diagnose_failure(self, job_id: str) -> str:
        """What went wrong first, with the facts, and what to change."""
        facts, failed, run_id = await self._failure(job_id)
        job = failed or (job_id if job_id.startswith("job-") else A_JOB)
        calls = [
            call(JOBS, method="job_status", job_id=job),
            call(JOBS, method="job_logs", job_id=job, stream="stderr", tail=200),
            call(JOBS, method="job_result", job_id=job),
        ]
        if run_id:
            calls.append(call(RUNS, method="explain_cache", run_id=run_id, other_run_id=A_RUN))
        return DIAGNOSE.format(handle=job_id, facts=facts, calls="\n".join(calls))

    async def _failure(self, handle: str) -> tuple[str, str, str]:
        """The facts of a job, run or sweep; the job that failed first; the run it belongs to."""
        told: list[str] = []
        run_id = handle if handle.startswith("run-") else ""
        failed = handle if handle.startswith("job-") else ""
        if handle.startswith("sweep-"):
            sweep = await self._look(RUNS, method="run_status", run_id=handle, limit=200)
            told.append(sweep.text)
            run_id = _first_failed(sweep.structured.get("points"), "run_id")
        if run_id:
            run = await self._look(RUNS, method="run_status", run_id=run_id, limit=200)
            told.append(run.text)
            failed = _first_failed(run.structured.get("nodes"), "job_id")
        if failed:
            told.append((await self._look(JOBS, method="job_status", job_id=failed)).text)
            told.append((await self._look(JOBS, method="job_result", job_id=failed)).text)
            log = await self._look(JOBS, method="job_logs", job_id=failed, stream="stderr", tail=60)
            told.append(f"stderr of {failed}:\n{log.structured.get('text') or log.text}")
        elif not told:
            told.append((await self._look(JOBS, method="job_status", job_id=handle)).text)
        return "\n\n".join(told), failed, run_id

    async def compare_runs(self, run_a: str, run_b: str) -> str:
        """What differs and why."""
        parts = [
            f"{name}:\n" + (await self._look(RUNS, method="run_result", run_id=run)).text
            for name, run in (("A", run_a), ("B", run_b))
        ]
        differs = await self._look(RUNS, method="explain_cache", run_id=run_b, other_run_id=run_a)
        return COMPARE.format(
            a=run_a,
            b=run_b,
            results="\n\n".join(parts),
            differs=differs.text,
            detail_a=call(RUNS, method="run_result", run_id=run_a, response_format="detailed"),
            detail_b=call(RUNS, method="run_result", run_id=run_b, response_format="detailed"),
            explain=call(RUNS, method="explain_cache", run_id=run_b, other_run_id=run_a, response_format="detailed"),
            again=call(RUNS, method="run_dag", dag_id=await self._dag_of(run_b), use_cache=False, wait_s=20),
        )

    async def _dag_of(self, run_id: str) -> str:
        status = await self._look(RUNS, method="run_status", run_id=run_id, limit=1)
        return str(status.structured.get("dag_id") or "<dag_id>")


def call(tool: str, /, **arguments: Any) -> str:
    """One call as a line of text."""
    return f"{tool} {json.dumps(arguments, ensure_ascii=False)}"


def _method(node: dict[str, Any]) -> dict[str, str]:
    return {"node_method": node["method"]} if "method" in node else {}


def _first_failed(rows: Any, key: str) -> str:
    """The handle of the first row that failed; empty where none did."""
    return next((str(row.get(key) or "") for row in rows or () if row.get("state") == "failed"), "")
