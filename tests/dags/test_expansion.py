from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_nodes import registry

from physlab_mcp.artifacts.cache_key import static_key
from physlab_mcp.dags.canonical import canonical
from physlab_mcp.dags.run import DagExpander, plan_for
from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.dag import Dag, DagSpec
from physlab_mcp.schemas.job import Job
from physlab_mcp.schemas.job_state import JobState, ReasonCode
from physlab_mcp.schemas.run import Plan, Run

REGISTRY = registry()


def dag_of(*nodes: dict[str, Any], **more: Any) -> Dag:
    return canonical(DagSpec.model_validate({"nodes": list(nodes), **more}), REGISTRY)


def plan(dag: Dag, **options: Any) -> Plan:
    return plan_for(dag, registry=REGISTRY, **options)


def expand(dag: Dag, after: int = -1, n: int = 10_000, **options: Any) -> list[tuple[Run, list[Job]]]:
    return DagExpander(REGISTRY).next(plan(dag, **options), dag, after, n)


CHAIN = (
    {"id": "a", "tool": "toy.source", "params": {"x": 3}},
    {
        "id": "b",
        "tool": "toy.draw",
        "params": {"energy_eV": {"$from": "a", "key": "energy_eV"}},
        "retries": 2,
        "timeout_sec": 9,
        "resources": {"cpu": 2, "memory": "1Gi"},
    },
    {"id": "c", "tool": "command", "params": {"command": ["true"]}, "dependencies": ["b"]},
)


def test_a_plan_without_a_sweep_is_one_run_of_its_own_id() -> None:
    dag = dag_of(*CHAIN)
    one = plan(dag, parallelism=4, priority=7, owner="eve", session_id="s", sandbox=True)
    ((run, (a, b, c)),) = DagExpander(REGISTRY).next(one, dag, -1, 5)
    assert run.id == one.id
    assert (run.total, run.expanded, run.owner, run.sweep_id) == (3, True, "eve", None)
    assert all(job.run_id == run.id and job.group == one.id and job.parallelism == 4 for job in (a, b, c))
    assert all((job.owner, job.session_id, job.priority) == ("eve", "s", 7) for job in (a, b, c))
    assert [job.kind for job in (a, b, c)] == ["node", "node", "command"]
    assert [job.rank for job in (a, b, c)] == [3, 2, 1]
    assert (a.needs, b.needs, c.needs) == ((), (a.id,), (b.id,))
    assert [job.needs_left for job in (a, b, c)] == [0, 1, 1]
    assert [job.reason.code for job in (a, b, c)] == [ReasonCode.NONE, ReasonCode.NEEDS, ReasonCode.NEEDS]
    assert all(job.state is JobState.PENDING and job.created_at > 0 and job.point_index is None for job in (a, b, c))
    assert b.spec.node is not None
    assert b.spec.node.sources == {"a": a.id}
    assert (b.spec.retries, b.spec.timeout_s, b.spec.resources.memory_bytes) == (2, 9, 2**30)
    assert c.spec.node is None
    assert c.spec.command == ("true",)
    assert c.spec.sandbox
    assert not a.spec.sandbox


def test_there_is_nothing_after_the_last_point() -> None:
    dag = dag_of(CHAIN[0])
    assert expand(dag, 0) == []
    assert len(expand(dag, 1, 5, sweep={"space": {"x": [1, 2, 3]}})) == 1


def test_static_keys_are_those_of_the_parameters_that_run() -> None:
    dag = dag_of(CHAIN[0], {"id": "w", "tool": "toy.walk"})
    ((_, (a, w)),) = expand(dag, params={"a": {"n": 6}})
    assert a.spec.node is not None
    assert a.spec.node.params == {"n": 6, "x": 3.0, "label": "a"}
    assert a.spec.node.static_key == static_key(REGISTRY.get("toy.source"), a.spec.node.params, "cpu")
    assert w.spec.node is not None
    assert w.spec.node.static_key is None


def test_an_override_may_replace_a_reference() -> None:
    ((_, (_, b)),) = expand(dag_of(*CHAIN[:2]), params={"b": {"energy_eV": 2}})
    assert b.spec.node is not None
    assert b.spec.node.sources == {}
    assert b.spec.node.params["energy_eV"] == 2.0


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"params": {"aa": {"n": 2}}}, "params.aa"),
        ({"params": {"a": {"n": 3}}}, "params.a.n"),
        ({"params": {"a": {"m": 3}}}, "params.a.m"),
        ({"params": {"a": {"x": {"$from": "b", "key": "values.area"}}}}, "params.a"),
        ({"sweep": {"space": {"n": [2, 3]}}}, "sweep.a.n"),
        ({"sweep": {"space": {"n": [2, 3, 4], "x": [1, 2]}}}, "sweep.a.n"),
        ({"sweep": {"space": {"q": [2]}}}, "sweep.space.q"),
        ({"sweep": {"space": {"n": {"range": [1, 1e9, 1]}}}}, "sweep.space"),
        ({"parallelism": -1}, "parallelism"),
        ({"on_failure": "perhaps"}, "on_failure"),
    ],
)
def test_a_plan_is_checked_before_it_is_submitted(options: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestError) as caught:
        plan(dag_of(*CHAIN[:2]), **options)
    assert caught.value.field == field
    assert caught.value.remedy


def test_a_graph_with_point_placeholders_needs_a_sweep() -> None:
    dag = dag_of({"id": "a", "tool": "toy.source", "params": {"x": {"$point": "E"}}})
    with pytest.raises(RequestError, match="'E'"):
        plan(dag)
    runs = expand(dag, sweep={"space": {"E": [1, 2]}})
    assert [job.spec.node.params["x"] for _, (job,) in runs if job.spec.node] == [1.0, 2.0]


def test_sweep_values_stand_in_a_commands_arguments_as_text() -> None:
    point = {"$point": "E"}
    dag = dag_of({"id": "c", "tool": "command", "params": {"command": ["run", point], "env": {"E": point}}})
    first, last = expand(dag, sweep={"space": {"E": [0.5, 2]}})
    assert first[1][0].spec.command == ("run", "0.5")
    assert last[1][0].spec.command == ("run", "2")
    assert last[1][0].spec.env == {"E": "2"}


def test_a_sweep_has_a_new_run_for_each_point_in_order() -> None:
    dag = dag_of(*CHAIN[:2])
    one = plan(dag, sweep={"space": {"a.x": [1, 2, 3], "n": [2, 4]}, "on_failure": "stop"})
    assert (one.total, one.on_failure) == (6, "stop")
    assert one.id.startswith("sweep-")
    runs = DagExpander(REGISTRY).next(one, dag, -1, 100)
    assert [run.point for run, _ in runs] == [{"a.x": x, "n": n} for x in (1, 2, 3) for n in (2, 4)]
    assert [run.point_index for run, _ in runs] == list(range(6))
    ids = [run.id for run, _ in runs]
    assert ids == sorted(set(ids))
    assert all(run.sweep_id == one.id and run.id.startswith("run-") for run, _ in runs)
    for run, (a, b) in runs:
        assert (a.point_index, a.sweep_id, a.run_id, a.group) == (run.point_index, one.id, run.id, None)
        assert a.spec.node is not None
        assert b.spec.node is not None
        assert a.spec.node.params == {"n": run.point["n"], "x": float(run.point["a.x"]), "label": "a"}
        assert b.spec.node.sources == {"a": a.id}
    jobs = [job.id for _, pair in runs for job in pair]
    assert jobs == sorted(set(jobs))


def without_ids(expanded: list[tuple[Run, list[Job]]]) -> list[Any]:
    return [
        (
            run.point_index,
            run.point,
            [(j.node_id, j.spec.node.params, j.spec.node.static_key) for j in jobs if j.spec.node],
        )
        for run, jobs in expanded
    ]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_windows_of_any_size_give_the_same_points(windows: list[int]) -> None:
    dag = dag_of(*CHAIN[:2])
    one = plan(dag, sweep={"space": {"x": {"linspace": [0, 1, 5]}, "n": [2, 4, 6]}})
    expander, after, found = DagExpander(REGISTRY), -1, []
    while len(found) < one.total:
        for n in windows:
            some = expander.next(one, dag, after, n)
            after += len(some)
            found += some
    assert without_ids(found) == without_ids(DagExpander(REGISTRY).next(one, dag, -1, 100))


def test_a_plan_expands_alike_after_the_store() -> None:
    dag = dag_of(*CHAIN)
    one = plan(dag, params={"a": {"n": 8}}, sweep={"space": {"x": {"range": [0, 0.3, 0.1]}}})
    again = msgspec.json.decode(msgspec.json.encode(one), type=Plan)
    stored = msgspec.json.decode(msgspec.json.encode(dag), type=Dag)
    assert without_ids(DagExpander(REGISTRY).next(again, stored, -1, 9)) == without_ids(
        DagExpander(REGISTRY).next(one, dag, -1, 9)
    )


def test_one_expander_serves_many_plans_in_turn() -> None:
    dag = dag_of(CHAIN[0])
    plans = [plan(dag, params={"a": {"x": float(i)}}, sweep={"space": {"n": [2, 4]}}) for i in range(40)]
    expander = DagExpander(REGISTRY)
    for after in (-1, 0):
        for i, one in enumerate(plans):
            ((run, (job,)),) = expander.next(one, dag, after, 1)
            assert job.spec.node is not None
            assert (run.sweep_id, job.spec.node.params["x"]) == (one.id, float(i))


def test_expansion_is_fast_enough_for_the_loop() -> None:
    dag = dag_of(CHAIN[0])
    one = plan(dag, sweep={"space": {"x": {"linspace": [0, 1, 100_000]}}})
    expander = DagExpander(REGISTRY)
    best = 1.0
    for turn in range(5):
        start = time.process_time()
        expander.next(one, dag, turn * 2000, 2000)
        best = min(best, time.process_time() - start)
    assert best / 2000 < 0.0005  # about 25 microseconds a job; ten times that and more still passes on a slow machine


def test_static_keys_follow_the_code_within_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    dag = dag_of(CHAIN[0])
    one = plan(dag, sweep={"space": {"x": [1, 2]}})
    expander = DagExpander(REGISTRY)
    before = without_ids(expander.next(one, dag, -1, 1))
    monkeypatch.setattr(REGISTRY.get("toy.source"), "version", 2)
    after = without_ids(expander.next(one, dag, -1, 1))
    assert before[0][2][0][2] != after[0][2][0][2]


def test_a_swept_node_keeps_its_references() -> None:
    runs = expand(dag_of(*CHAIN[:2]), sweep={"space": {"b.emit_csv": [True, False]}})
    for run, (a, b) in runs:
        assert b.spec.node is not None
        assert b.spec.node.params["emit_csv"] is run.point["b.emit_csv"]
        assert b.spec.node.params["energy_eV"] == {"$from": "a", "key": "values.energy_eV"}
        assert b.spec.node.sources == {"a": a.id}


def test_swept_nodes_do_not_take_each_others_values() -> None:
    dag = dag_of(CHAIN[0], {**CHAIN[0], "id": "z"})
    for run, jobs in expand(dag, sweep={"space": {"a.x": [1, 2], "z.x": [8, 9]}}):
        found = {job.node_id: job.spec.node.params["x"] for job in jobs if job.spec.node}
        assert found == {"a": run.point["a.x"], "z": run.point["z.x"]}
