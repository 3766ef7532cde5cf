"""Command nodes: what validation tells of them before they run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sample_nodes import registry

from physlab_mcp.dags.canonical import canonical
from physlab_mcp.dags.run import plan_for
from physlab_mcp.dags.validate import Limits, Validation, validate
from physlab_mcp.errors import RequestError
from physlab_mcp.schemas.dag import DagSpec

REGISTRY = registry()
SOURCE = {"id": "s", "tool": "toy.source"}
TAKEN = {"$from": "s", "key": "values.energy_eV"}
DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def limits(tmp_path: Path) -> Limits:
    """Two roots, one of them with physlab's own data; a file and a folder in the first."""
    work, data = tmp_path / "work", tmp_path / "data"
    (work / "sub").mkdir(parents=True)
    data.mkdir()
    (work / "in.csv").write_text("1")
    (data / "store.db").write_text("")
    (tmp_path / "secret").write_text("")
    (work / "link").symlink_to(tmp_path / "secret")
    return Limits(roots=(work, data), hidden=(data,))


def command(limits: Limits = Limits(), **params: Any) -> Validation:  # noqa: B008 - frozen
    params = {"command": ["true"], **params}
    return validate({"nodes": [SOURCE, {"id": "c", "tool": "command", "params": params}]}, REGISTRY, limits=limits)


def told(result: Validation) -> list[tuple[str, str | None]]:
    assert result.ok == (not result.errors)
    assert all(one.node == "c" and one.message and one.remedy for one in result.findings), result.findings
    return [(one.code, one.field) for one in result.findings]


def test_paths_inside_the_roots_are_sound(limits: Limits, tmp_path: Path) -> None:
    inputs = [
        {"source": "in.csv", "target": "a/in.csv"},
        {"source": str(tmp_path / "work" / "sub"), "target": "sub"},
        {"source": DIGEST, "target": "x.npy"},
    ]
    assert told(command(limits, inputs=inputs, workdir="sub")) == []


def test_every_path_outside_of_the_roots_is_a_defect(limits: Limits, tmp_path: Path) -> None:
    inputs = [{"source": source, "target": "x"} for source in ("in.csv", "/etc/passwd", "../secret", "link")]
    inputs.append({"source": str(tmp_path / "data" / "store.db"), "target": "x"})
    result = command(limits, inputs=inputs, workdir="/")
    assert told(result) == [
        ("forbidden_path", "params.workdir"), *(("forbidden_path", f"params.inputs.{i}.source") for i in (1, 2, 3, 4)),
    ]  # fmt: skip
    assert str(tmp_path / "work") in result.errors[0].remedy


def test_a_path_that_does_not_exist_yet_is_a_warning(limits: Limits) -> None:
    result = command(limits, workdir="later")
    assert result.ok
    assert told(result) == [("missing_file", "params.workdir")]


def test_paths_are_not_judged_where_the_roots_are_not_known() -> None:
    assert told(command(workdir="/", inputs=[{"source": "/etc/passwd", "target": "x"}])) == []


def test_no_roots_allow_no_paths() -> None:
    assert told(command(Limits(roots=()), workdir="/tmp")) == [("forbidden_path", "params.workdir")]


@pytest.mark.parametrize("path", ["a\0b", "~nobody-of-that-name/x", "x" * 5000])
def test_a_text_that_is_no_path_is_a_defect(limits: Limits, path: str) -> None:
    assert not command(limits, workdir=path).ok


def test_paths_are_judged_beside_other_defects(limits: Limits) -> None:
    result = command(limits, workdir="/", timeout_s=-1)
    assert told(result) == [("bad_param", "params.timeout_s"), ("forbidden_path", "params.workdir")]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"command": ["a\0"]}, "command.0"),
        ({"command": [], "script": "\ud800"}, "script"),
        ({"env": {"PHYSLAB_X": "1"}}, "env.PHYSLAB_X"),
        ({"env": {"A": "\0"}}, "env.A"),
        ({"artifacts": ["*.csv", "../*"]}, "artifacts.1"),
        ({"artifacts_path": "/tmp"}, "artifacts_path"),
        ({"inputs": [{"source": DIGEST, "target": "../x"}]}, "inputs.0.target"),
        ({"inputs": [{"source": "sha256:123", "target": "x"}]}, "inputs.0.source"),
    ],
)
def test_what_no_runner_could_run_is_a_defect_at_its_place(params: dict[str, Any], field: str) -> None:
    assert f"params.{field}" in [name for _, name in told(command(**params))]


def test_every_unusable_word_is_told() -> None:
    result = command(command=["\0", "x", "\0"], env={"": "1", "A=B": "2"})
    assert [one.field for one in result.errors] == [
        "params.command.0", "params.command.2", "params.env.", "params.env.A=B",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "params",
    [{"command": ["echo", TAKEN]}, {"env": {"E": TAKEN}}, {"inputs": [{"source": TAKEN, "target": "x"}]}, {"workdir": TAKEN}],
)  # fmt: skip
def test_a_reference_is_refused_with_the_way_to_hand_data_over(params: dict[str, Any]) -> None:
    result = command(**params)
    assert {one.code for one in result.errors} == {"bad_reference"}
    assert "sha256:" in result.errors[0].remedy
    assert "workdir" in result.errors[0].remedy


def test_a_reference_in_an_override_of_a_command_is_refused() -> None:
    nodes = [SOURCE, {"id": "c", "tool": "command", "params": {"command": ["true"]}, "dependencies": ["s"]}]
    dag = canonical(DagSpec.model_validate({"nodes": nodes}), REGISTRY)
    with pytest.raises(RequestError, match=r"\$from") as caught:
        plan_for(dag, registry=REGISTRY, params={"c": {"command": ["echo", TAKEN]}})
    assert caught.value.field == "params.c"
    assert "sha256:" in str(caught.value.remedy)


def test_a_path_filled_in_by_a_sweep_is_left_to_the_run(limits: Limits) -> None:
    assert command(limits, workdir={"$point": "place"}).errors == ()
