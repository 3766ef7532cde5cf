"""Workflows of the library in the test kit: their graph as a spec, and a script that calls their functions here."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from physlab_mcp.testing.scripted import Outcome, Script

if TYPE_CHECKING:
    from physlab_mcp.backends.base import Assignment
    from physlab_mcp.library.workflow import ExperimentalWorkflow
    from physlab_mcp.nodes.registry import Registry


def spec_and_options(workflow: ExperimentalWorkflow, registry: Registry) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `VirtualLab.submit` takes of a workflow. Nothing is pickled: its functions are named, not stored."""
    from physlab_mcp.library.drafting import spec_of
    from physlab_mcp.library.functions import Stored

    named = {
        name: Stored(name, *[sha256(f"{workflow.name}:{name}:{id(task.function)}".encode()).hexdigest()] * 3)
        for name, task in workflow.tasks.items()
        if task.function is not None
    }
    spec = spec_of(
        list(workflow.tasks.values()), workflow.parameters, named, registry,
        metadata=workflow.about, resources=workflow.resources,
    )  # fmt: skip
    return spec, {"sweep": workflow.block() or None, "schedule": workflow.schedule, "title": workflow.name}


def calling(workflow: ExperimentalWorkflow, *, seconds: float = 1.0) -> Script:
    """A script that really calls the workflow's functions, in this process; its other tasks succeed without values.

    Each call takes `seconds` of virtual time. What a function raises fails its task. It must return plain values: numbers,
    texts, lists and dicts of them; arrays, files and other objects need the real engine.
    """

    def script(assignment: Assignment) -> Outcome:
        task = workflow.tasks.get(assignment.job.node_id or "")
        if task is None or task.function is None:
            return Outcome(seconds=seconds)
        from physlab_mcp.nodes.function_call import call, takes_of

        params = assignment.params
        try:
            returned = call(task.function, takes_of(task.function), params["arguments"], params["inputs"])
        except Exception as error:
            return Outcome(seconds=seconds, error=f"{task.name}: {type(error).__name__}: {error}")
        if returned is None:
            return Outcome(seconds=seconds)
        return Outcome(seconds=seconds, values=dict(returned) if isinstance(returned, Mapping) else {"value": returned})

    return script
