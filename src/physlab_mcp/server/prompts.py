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
    """The words of the prompts."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    async def _look(self, tool: str, **arguments: Any) -> str:
        return (await self._lab.router.call(tool, arguments)).text

    async def design_experiment(self, goal: str, node_type: str = "", backend: str = "auto") -> str:
        """From a question to a DAG."""
        known = await self._look("experiment_orchestrator", method="catalog", limit=50)
        chosen = f"Use the node type {node_type} where it fits.\n" if node_type else ""
        sketch = {"method": "run_dag", "spec": {"nodes": [{"id": "a", "tool": "…", "params": {}}]}, "wait_s": 20}
        return (
            f"Design an experiment that answers: {goal}\n{chosen}Backend: {backend}.\n\nNode types:\n{known}\n\n"
            "1. Choose the quantity that answers the question, its unit, and what it should be compared with.\n"
            "2. Write a spec; look node types up with method catalog where their parameters are unclear.\n"
            "3. Check it with validate_dag, then run it, for example "
            f"{json.dumps(sketch, ensure_ascii=False)}\n"
            "4. Judge the values: sign, size, unit, limits. Say what you assumed.\n"
            "5. Offer publish_report."
        )

    async def diagnose_failure(self, job_id: str) -> str:
        """What went wrong first."""
        if job_id.startswith(("run-", "sweep-")):
            facts = await self._look("experiment_orchestrator", method="run_status", run_id=job_id)
        else:
            jobs = "distributed_collaboration"
            facts = await self._look(jobs, method="job_status", job_id=job_id)
            facts += "\n\n" + await self._look(jobs, method="job_result", job_id=job_id)
            facts += "\n\nstderr:\n"
            arguments = {"method": "job_logs", "job_id": job_id, "stream": "stderr", "tail": 60}
            log = await self._lab.router.call(jobs, arguments)
            facts += log.structured.get("text") or log.text
        return (
            f"Find out why {job_id} did not succeed.\n\n{facts}\n\n"
            "Name the first thing that went wrong, what shows it, and the smallest change that mends it. "
            "Say whether running it again unchanged could help (lost, timeout, back_off) or not (invalid_request, rejected)."
        )

    async def compare_runs(self, run_a: str, run_b: str) -> str:
        """What differs and why."""
        parts = [
            f"{name}:\n" + await self._look("experiment_orchestrator", method="run_result", run_id=run)
            for name, run in (("A", run_a), ("B", run_b))
        ]
        differs = await self._look("experiment_orchestrator", method="explain_cache", run_id=run_b, other_run_id=run_a)
        return (
            f"Compare run {run_a} (A) with run {run_b} (B).\n\n"
            + "\n\n".join(parts)
            + f"\n\nWhat differs in parameters, code and inputs:\n{differs}\n\n"
            "Give a table of the values side by side with absolute and relative difference, then say which difference "
            "in parameters or code explains which difference in values, and what is left unexplained."
        )
