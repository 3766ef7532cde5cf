from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from physlab_mcp.errors import PhyslabError
from physlab_mcp.lab import Lab
from physlab_mcp.tools.router import TOOLS

CODES = {cls.code for cls in PhyslabError.__subclasses__()}
METHODS = [(tool, method) for tool in TOOLS.values() for method in tool.calls]
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
# Work that would start is not what is tested here.
HARMLESS = {"job_submit": "job_spec", "run_dag": "spec", "define_dag": "spec"}


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"]) | JUNK
    kind = schema["type"]
    if kind == "object":
        inner = {name: values(one) for name, one in schema.get("properties", {}).items()}
        return st.fixed_dictionaries({}, optional=inner) | JUNK
    if kind == "array":
        return st.lists(values(schema["items"]), max_size=3) | JUNK
    plain = {"string": st.text(max_size=30), "integer": st.integers(-5, 300), "boolean": st.booleans()}
    handles = st.sampled_from(["job-00000000", "run-00000000", "sweep-00000000", "dag-00000000", "", "x" * 300])
    if kind == "string":
        return plain[kind] | handles | JUNK
    return plain.get(kind, st.floats(0, 1)) | JUNK


@pytest.mark.parametrize(("tool", "method"), METHODS, ids=[m for _, m in METHODS])
def test_any_arguments_give_a_reply_or_an_error_that_helps_and_change_nothing(tool, method, tmp_path):
    properties = {k: v for k, v in tool.schema["properties"].items() if k != "method"}
    arguments = st.fixed_dictionaries({}, optional={name: values(one) for name, one in properties.items()})

    async def run(cases: list[dict[str, Any]]) -> None:
        async with Lab.open(data_dir=tmp_path / "data", roots=[tmp_path], start_engine=False) as lab:
            for case in cases:
                if isinstance(case.get("wait_s"), int | float):
                    case["wait_s"] = min(case["wait_s"], 0.01)
                with anyio.fail_after(20):
                    reply = await lab.router.call(tool.name, {**case, "method": method})
                if reply.is_error:
                    error = reply.structured["error"]
                    assert error["code"] in CODES
                    assert error["field"]
                    assert error["remedy"]
                    assert "failed at this call" not in error["message"], (case, error)
                assert "Traceback" not in reply.text
                reply.text.encode()
            if method not in HARMLESS:
                assert await lab.engine.list_jobs(owner="local") == []
                assert await lab.engine.list_runs(owner="local") == []

    @settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(arguments, min_size=10, max_size=10))
    def fuzz(cases: list[dict[str, Any]]) -> None:
        anyio.run(run, cases)

    fuzz()
