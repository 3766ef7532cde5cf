"""A job as `job_submit` takes it, as a node of a graph."""

from __future__ import annotations

from physlab_mcp.dags.validate import validate
from physlab_mcp.nodes.registry import Registry

REGISTRY = Registry.load()
JOB = {
    "backend": "local",
    "job_spec": {"command": ["echo", "hello"], "env": {"A": "1"}, "resources": {"cpu": 2, "memory": "1Gi"}},
    "artifacts": ["*.csv"],
    "timeout_sec": 60,
}


def node(**params: object) -> dict[str, object]:
    return {"id": "a", "tool": "distributed_collaboration", "method": "submit", "params": params}


def test_it_is_the_command_node_that_says_the_same():
    dag = validate({"nodes": [node(**JOB)]}, REGISTRY).dag
    plain = {
        "id": "a",
        "tool": "command",
        "params": {"command": ["echo", "hello"], "env": {"A": "1"}, "artifacts": ["*.csv"]},
        "resources": {"cpu": 2, "memory": "1Gi"},
        "backend": "local",
        "timeout_sec": 60,
    }
    same = validate({"nodes": [plain]}, REGISTRY).dag
    assert dag is not None
    assert same is not None
    assert dag.id == same.id
    assert dag.nodes[0].type == "command"
    assert dag.nodes[0].timeout_s == 60


def test_what_a_command_node_has_not_is_named():
    errors = validate({"nodes": [node(job_spec={"command": ["true"], "image": "x"})]}, REGISTRY).errors
    assert [(one.code, one.field) for one in errors] == [("unknown_param", "params.image")]


def test_what_is_no_job_is_told_like_any_defect():
    assert not validate({"nodes": [node(job_spec=7)]}, REGISTRY).ok
    assert not validate({"nodes": [{"id": "a", "tool": "distributed_collaboration", "method": "version"}]}, REGISTRY).ok
    assert not validate({"nodes": "x"}, REGISTRY).ok
