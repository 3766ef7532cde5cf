"""Every defect of a workflow is told before anything runs, with its remedy."""

import threading

import pytest

from physlab_mcp.errors import RequestError
from physlab_mcp.library.drafting import node_resources
from physlab_mcp.library.workflow import ExperimentalWorkflow


def load(size=3):
    return {"n": size}


def train(load, rate):
    return {"loss": rate}


def workflow():
    made = ExperimentalWorkflow("w").add_task("load", load).add_task("train", train, depends_on=["load"])
    return made.add_parameter_space({"rate": [0.1, 0.2]})


def codes(made):
    return {one.code: one for one in made.findings()}


def test_a_sound_workflow_has_no_findings_and_answers_its_functions():
    made = workflow().add_visualization("a", {"type": "line", "x_axis": "rate", "value": "loss"})
    assert made.findings() == []
    assert set(made.validate()) == {"load", "train"}


def test_a_cycle_names_its_way_round():
    made = ExperimentalWorkflow("w").add_task("a", load, depends_on="b").add_task("b", load, depends_on=["a"])
    assert "->" in codes(made)["cycle"].message


def test_an_unknown_dependency_names_the_nearest_task():
    made = workflow().add_task("score", load, depends_on=["trian"])
    assert codes(made)["unknown_dependency"].remedy == "Did you mean 'train'?"


def test_a_result_without_dependency_is_told():
    made = ExperimentalWorkflow("w").add_task("load", load).add_task("train", train)
    made.add_parameter_space({"rate": [1]})
    found = codes(made)["unknown_dependency"]
    assert "does not depend on it" in found.message
    assert found.remedy == "Add depends_on=['load']."


def test_a_parameter_that_no_task_takes_is_told():
    found = codes(workflow().add_parameter_space({"rat": [1]}))["unused_parameter"]
    assert ("'rat'" in found.message, found.remedy) == (True, "Did you mean 'rate'?")
    assert codes(workflow().add_task("more", load, params={"seize": 1}))["unused_parameter"].node == "more"


def test_a_parameter_that_nothing_gives_is_told_unless_it_has_a_default():
    made = ExperimentalWorkflow("w").add_task("load", load).add_task("train", train, depends_on=["load"])
    assert codes(made)["missing_parameter"].field == "rate"
    made.tasks.pop("train")
    assert made.add_task("train", train, depends_on=["load"], params={"rate": 1}).findings() == []


def test_a_name_of_a_task_and_a_parameter_at_once_is_told():
    assert "name_clash" in codes(workflow().add_parameter_space({"load": [1]}))


def test_commands_and_node_types_take_parameters_too():
    made = ExperimentalWorkflow("w").add_task("run", ["python", "-c", "print(1)", "{rate}"])
    made.add_task("well", "flow.passthrough").add_parameter_space({"rate": [1], "value": [2, 3]})
    assert made.findings() == []
    assert "unknown_node_type" in codes(ExperimentalWorkflow("w").add_task("x", "quantum.slove"))


def test_required_metadata_and_figures_are_checked():
    made = workflow().require_metadata(["operator", "git", "author"])
    assert codes(made)["missing_metadata"].message.count("author") == 1 or "operator" in str(made.findings())
    made.set_metadata(operator="Ada", author="Ada")
    assert made.findings() == []
    made.add_visualization("v", {"type": "heatmap", "x_axis": "rat"})
    assert codes(made)["bad_visualization"].remedy == "Did you mean 'rate'?"


def test_all_defects_stand_in_the_details_the_unpicklable_function_too():
    lock = threading.Lock()
    made = workflow().add_task("locked", lambda: lock).add_task("late", load, depends_on=["nobody"])
    with pytest.raises(RequestError) as told:
        made.validate()
    assert {one["code"] for one in told.value.details} == {"unknown_dependency", "unpicklable"}
    assert any("lock" in one["message"] and "cannot pickle" in one["message"] for one in told.value.details)


def test_resources_are_read_and_left_out_by_the_engine_unless_they_are_required():
    asked = {"cpu_cores": 2, "memory_gb": 1.5, "gpu": True, "max_runtime_hours": 1.5}
    read = {"cpu": 2, "memory": "1500000000", "gpu": 1, "time_limit": "1:30:00"}
    assert node_resources("t", asked) == {**read, "require": False}
    assert node_resources("t", {**asked, "require": True}) == {**read, "require": True}
    assert node_resources("t", {"require": True}) == {}
    with pytest.raises(RequestError, match="no resource 'cpus'"):
        workflow().set_resource_requirements({"train": {"cpus": 4}})


@pytest.mark.parametrize("work", ["", " ", [], b"ab", max])
def test_what_is_no_work_names_its_task_at_once(work):
    with pytest.raises(RequestError, match="The task 'odd'"):
        ExperimentalWorkflow("w").add_task("odd", work)


def test_several_defects_are_all_in_the_text_with_their_remedies():
    made = workflow().add_task("score", load, depends_on=["trian"]).add_task("x", "quantum.slove")
    made.add_parameter_space({"rat": [1]}, where="rate > 3")
    with pytest.raises(RequestError) as told:
        made.validate()
    lines = str(told.value).splitlines()
    assert lines[0] == "The workflow 'w' has 4 defects:"
    assert "Did you mean 'train'?" in str(told.value)
    assert "No point satisfies 'rate > 3'. Loosen it, or widen the space." in str(told.value)
    assert len(told.value.details) == 4
    for i in range(30):
        made.add_task(f"t{i}", load, depends_on=["nobody"])
    with pytest.raises(RequestError) as told:
        made.validate()
    assert "... and 14 more in `details`." in str(told.value)
    assert len(told.value.details) == 34


@pytest.mark.parametrize(
    ("space", "block", "message"),
    [
        ({"rate": [1, 2]}, {"where": "rate > 3"}, "No point satisfies"),
        ({"rate": [0, 1]}, {"derived": {"size": "1 / rate"}}, "division by zero"),
        ({"rate": range(10_000), "size": range(10_000)}, {}, "100,000,000 points"),
        ({"rate": [1]}, {"mode": "zap"}, "sweep.mode is 'zap'"),
    ],
)
def test_the_points_are_checked_before_anything_runs(space, block, message):
    made = ExperimentalWorkflow("w").add_task("load", load).add_task("train", train, depends_on=["load"])
    made.add_parameter_space(space, **block)
    with pytest.raises(RequestError, match=message) as told:
        made.validate()
    assert [one["code"] for one in told.value.details] == ["bad_sweep"]


def test_validating_shows_no_bytes():
    assert len(repr(workflow().validate())) < 200
