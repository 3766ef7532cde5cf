from __future__ import annotations

import random
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_nodes import registry

from physlab_mcp.dags.canonical import canonical
from physlab_mcp.dags.check import Limits
from physlab_mcp.dags.order import layers_of, ranks_of
from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.dag import Dag, DagSpec
from physlab_mcp.schemas.handles import prefix_of

REGISTRY = registry()


def dag_of(*nodes: dict[str, Any], edges: Any = (), **more: Any) -> Dag:
    return canonical(DagSpec.model_validate({"nodes": list(nodes), "edges": list(edges), **more}), REGISTRY)


def source(name: str = "a", **params: Any) -> dict[str, Any]:
    return {"id": name, "tool": "toy", "method": "source", "params": params}


def drawn(**node: Any) -> dict[str, Any]:
    return {"id": "b", "tool": "toy.draw", "params": {"energy_eV": 1.0}, **node}


def test_defaults_written_out_or_not_are_one_dag() -> None:
    assert dag_of(source()).id == dag_of(source(n=2, x=1, label="a")).id
    assert dag_of(source()).id != dag_of(source(n=4)).id


def test_a_backend_is_content_and_to_leave_it_open_is_not() -> None:
    within = Limits(backends=("local", "slurm"))

    def at(backend: str | None) -> Dag:
        return canonical(DagSpec.model_validate({"nodes": [{**source(), "backend": backend}]}), REGISTRY, limits=within)

    assert at(None) == at("auto") == dag_of(source())
    # As it was before there was a second backend: graphs that are stored keep their ids.
    assert dag_of(source()).id == "dag-e233846bb5065b463a734b17ba3721bb"
    assert len({at(one).id for one in (None, "local", "slurm")}) == 3
    assert [at(one).nodes[0].backend for one in (None, "local", "slurm")] == ["auto", "local", "slurm"]
    for backend in (None, "local", "slurm"):
        dag = at(backend)
        assert canonical(DagSpec.model_validate(dag.spec), REGISTRY, limits=within) == dag
        assert msgspec.json.decode(msgspec.json.encode(dag), type=Dag) == dag


def test_integers_for_a_float_parameter_are_one_dag() -> None:
    assert dag_of(source(x=3)).id == dag_of(source(x=3.0)).id


def test_the_id_is_a_handle_of_32_hex_digits() -> None:
    name = dag_of(source()).id
    assert prefix_of(name) == "dag"
    assert len(name) == 36
    int(name.removeprefix("dag-"), 16)


def test_the_canonical_spec_can_be_sent_again_and_survives_the_store() -> None:
    dag = dag_of(
        source(),
        drawn(
            resources={"memory": "1Gi", "time_limit": "90:00"},
            retries=2,
            timeout_sec=5,
            visual_outputs={"series": True},
        ),
        {"id": "c", "tool": "command", "params": {"command": ["true"]}, "dependencies": ["b"]},
        edges=[{"from": "a", "to": "b", "data_key": "energy_eV"}] and [{"from": "a", "to": "b", "data_key": "psi"}],
        metadata={"title": "T"},
    )
    assert canonical(DagSpec.model_validate(dag.spec), REGISTRY) == dag
    assert msgspec.json.decode(msgspec.json.encode(dag), type=Dag) == dag


def test_amounts_written_differently_are_one_dag() -> None:
    one = dag_of({**source(), "resources": {"memory": "1Gi", "time_limit": "1:00:00"}})
    two = dag_of({**source(), "resources": {"memory": "1024Mi", "time_limit": "60:00", "cpu": 1}})
    assert one.id == two.id
    assert one.nodes[0].resources == {"memory_bytes": 2**30, "time_limit_s": 3600.0}


def test_an_edge_with_a_data_key_is_a_reference_under_its_last_segment() -> None:
    by_edge = dag_of(
        source(), {"id": "b", "tool": "toy.draw"}, edges=[{"from": "a", "to": "b", "data_key": "values.energy_eV"}]
    )
    bare = dag_of(source(), {"id": "b", "tool": "toy.draw"}, edges=[{"from": "a", "to": "b", "data_key": "energy_eV"}])
    written = dag_of(
        source(), {"id": "b", "tool": "toy.draw", "params": {"energy_eV": {"$from": "a", "key": "energy_eV"}}}
    )
    assert by_edge == bare == written
    assert by_edge.nodes[1].params["energy_eV"] == {"$from": "a", "key": "values.energy_eV"}
    assert by_edge.nodes[1].needs == ("a",)


def test_a_plain_edge_and_a_dependency_only_order() -> None:
    by_edge = dag_of(source(), drawn(), edges=[{"from": "a", "to": "b"}])
    by_name = dag_of(source(), drawn(dependencies=["a"]))
    assert by_edge == by_name
    assert by_edge.nodes[1].needs == ("a",)
    assert by_edge.nodes[1].params["energy_eV"] == 1.0


def test_nested_references_stay_where_they_stand_and_order() -> None:
    dag = dag_of(source(), drawn(params={"energy_eV": 1, "curves": [{"y": {"$from": "a", "key": "arrays.psi"}}]}))
    assert dag.nodes[1].params["curves"] == [{"y": {"$from": "a", "key": "arrays.psi"}}]
    assert dag.nodes[1].params["energy_eV"] == 1.0
    assert dag.nodes[1].needs == ("a",)


def test_visual_outputs_become_parameters() -> None:
    params = dag_of(drawn(visual_outputs={"static": False, "series": True})).nodes[0].params
    assert (params["emit_plots"], params["emit_csv"], params["emit_animation"]) == (False, True, False)
    assert dag_of(drawn()).id == dag_of(drawn(visual_outputs={"static": True})).id


def test_a_command_keeps_its_arguments_and_declares_itself() -> None:
    node = dag_of(
        {"id": "c", "tool": "command", "params": {"command": ["sh", "-c", "x"], "pure": True, "timeout_s": 3}}
    ).nodes[0]
    assert node.command == ("sh", "-c", "x")
    assert node.pure is True
    assert node.timeout_s == 3
    assert node.command_spec["artifacts_path"] == "artifacts/"


def test_an_alias_and_its_name_are_one_dag() -> None:
    assert dag_of({"id": "o", "tool": "toy.free"}).id == dag_of({"id": "o", "tool": "toy", "method": "open"}).id


def test_every_defect_stands_in_the_error() -> None:
    with pytest.raises(RequestError) as caught:
        dag_of(source(n=3), drawn(params={}))
    assert {one["code"] for one in caught.value.details or []} == {"bad_param", "missing_param"}


@st.composite
def graphs(draw: st.DrawFn) -> list[dict[str, Any]]:
    size = draw(st.integers(1, 12))
    return [
        {
            "id": f"n{i}",
            "tool": "toy",
            "method": "source",
            "params": draw(
                st.fixed_dictionaries(
                    {}, optional={"n": st.just(4), "x": st.floats(-9, 9), "label": st.text(max_size=3)}
                )
            ),
            "dependencies": draw(st.lists(st.sampled_from([f"n{j}" for j in range(i)]), unique=True)) if i else [],
        }
        for i in range(size)
    ]


@settings(max_examples=60, deadline=None)
@given(graphs(), st.randoms(use_true_random=False))
def test_the_order_of_writing_never_changes_the_dag(nodes: list[dict[str, Any]], chance: random.Random) -> None:
    shuffled = [dict(sorted(node.items(), key=lambda _: chance.random())) for node in nodes]
    chance.shuffle(shuffled)
    for node in shuffled:
        node["params"] = {"n": 2, "x": 1.0, "label": "a", **node["params"]}
        node["dependencies"] = list(reversed(node["dependencies"]))
    assert dag_of(*nodes) == dag_of(*shuffled)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_nodes_come_after_what_they_need_and_ranks_are_longest_paths(nodes: list[dict[str, Any]]) -> None:
    dag = dag_of(*nodes)
    seen: set[str] = set()
    for node in dag.nodes:
        assert set(node.needs) <= seen
        seen.add(node.id)

    def longest(name: str) -> int:
        return 1 + max((longest(other.id) for other in dag.nodes if name in other.needs), default=0)

    assert {node.id: node.rank for node in dag.nodes} == {node.id: longest(node.id) for node in dag.nodes}


def test_a_chain_of_a_hundred_thousand_is_ordered_without_recursion() -> None:
    needs = {f"n{i:06}": (f"n{i - 1:06}",) if i else () for i in range(100_000)}
    layers, left = layers_of(needs)
    order = [one for layer in layers for one in layer]
    assert not left
    assert ranks_of(order, needs)["n000000"] == 100_000


def test_a_hundred_thousand_nodes_are_canonical_in_seconds() -> None:
    nodes = [{"id": "n0", "tool": "toy.source"}] + [
        {"id": f"n{i}", "tool": "toy.open", "params": {"value": i}, "dependencies": [f"n{i - 1}"]}
        for i in range(1, 100_000)
    ]
    start = time.process_time()
    assert len(dag_of(*nodes).nodes) == 100_000
    assert time.process_time() - start < 60  # about 4 s; a quadratic step would take hours
