"""What is handed to the library is checked where it is handed over, and refused by name and value."""

from pathlib import Path

import pytest

from physlab_mcp.errors import RequestError
from physlab_mcp.library.engine import Engine
from physlab_mcp.library.workflow import ExperimentalWorkflow


def f(x=1):
    return {"y": x}


def made():
    return ExperimentalWorkflow("w").add_task("t", f)


class Generating:
    def __call__(self, x):
        yield x


async def several(x):
    yield x


REFUSED = {
    "space [1, 2]": lambda: made().add_parameter_space([1, 2]),
    "space 'x'": lambda: made().add_parameter_space("x"),
    "name 1": lambda: made().add_parameter_space({1: [1]}),
    "requirements 4": lambda: made().set_resource_requirements(4),
    "of 't' 4": lambda: made().set_resource_requirements({"t": 4}),
    "require of 't' 'no'": lambda: made().set_resource_requirements({"t": {"cpu_cores": 1, "require": "no"}}),
    "cpu_cores 't' True": lambda: made().set_resource_requirements({"t": {"cpu_cores": True}}),
    "params 'u' [1]": lambda: made().add_task("u", f, params=[1]),
    "depends_on 'u' 3": lambda: made().add_task("u", f, depends_on=3),
    "retries 'u' '3'": lambda: made().add_task("u", f, retries="3"),
    "retries 'u' -1": lambda: made().add_task("u", f, retries=-1),
    "retries 'u' True": lambda: made().add_task("u", f, retries=True),
    "request 3": lambda: made().add_visualization("a", 3),
    "names 5": lambda: made().require_metadata(5),
    "formula 5": lambda: made().set_success_criteria(5),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_of_the_wrong_kind_is_refused_with_the_argument_the_value_and_a_remedy(words):
    with pytest.raises(RequestError) as told:
        REFUSED[words]()
    assert all(word in told.value.message for word in words.split() if word not in ("[1,", "2]"))
    assert told.value.remedy
    assert told.value.field


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (float("inf"), 'as the text "inf"'),
        ([1, float("nan")], 'as the text "nan"'),
        (Path("a"), "Path: "),
        (object(), "is a object"),
        ({1, "a"}, "no order"),
        ((one for one in "ab"), "list(…)"),
        ([{1: 2}], "no text"),
    ],
)
def test_values_that_are_no_finite_json_are_refused_with_the_parameter(value, words):
    with pytest.raises(RequestError) as told:
        made().add_parameter_space({"x": value if isinstance(value, list | set) or hasattr(value, "send") else [value]})
    assert words in str(told.value)
    assert "x" in told.value.field
    assert "sweep block" not in str(told.value)


def test_a_set_is_sorted_one_name_is_one_name_and_minus_zero_is_zero():
    ready = made().add_parameter_space({"x": {3, 1, 2}}).require_metadata("operator").add_visualization("a", "heatmap")
    assert ready.sweep["space"] == {"x": [1, 2, 3]}
    assert ready.required_metadata == ["operator"]
    assert ready.visualizations == {"a": {"type": "heatmap"}}
    ready = made().add_parameter_space({"x": [-0.0]}).add_task("u", f, params={"x": [-0.0]})
    assert [str(ready.sweep["space"]["x"][0]), str(ready.tasks["u"].params["x"][0])] == ["0.0", "0.0"]


def test_a_task_name_is_refused_with_what_a_name_may_have():
    with pytest.raises(RequestError, match=r"'my task'.*letters, digits, _ \. and -"):
        ExperimentalWorkflow("w").add_task("my task", f)


@pytest.mark.parametrize("function", [Generating(), several, lambda x: (yield x)])
def test_a_generator_is_refused_before_anything_runs(function):
    with pytest.raises(RequestError, match=r"generator.*Return a list"):
        ExperimentalWorkflow("w").add_task("t", function).add_parameter_space({"x": [1]}).validate()


def test_points_alone_are_explicit():
    ready = made().add_parameter_space(points=[{"x": 1}, {"x": 2}])
    assert (ready.sweep["mode"], ready.parameters) == ("explicit", ["x"])
    ready.validate()


def test_an_engine_refuses_what_is_no_workflow_schedule_id_or_option(tmp_path):
    with pytest.raises(RequestError, match="schedule"):
        Engine(schedule=5)
    with Engine(data_dir=tmp_path, start_engine=False, progress=False) as engine:
        for call in (engine.submit, engine.plan, engine.execute_parameter_sweep):
            with pytest.raises(RequestError, match="str is no workflow"):
                call("x")
        options = ({"parallelism": "a"}, {"priority": "high"}, {"use_cache": 1}, {"on_failure": "perhaps"})
        for asked in options:
            with pytest.raises(RequestError, match=next(iter(asked))):
                engine.submit(made(), **asked)
        calls = (engine.status, engine.results, engine.wait, engine.cancel, engine.start_now, engine.extend)
        for call in (*calls, engine.occurrences, lambda one: next(engine.stream(one))):
            for wrong in (None, 5):
                with pytest.raises(RequestError, match=f"The id is {wrong}"):
                    call(wrong)
