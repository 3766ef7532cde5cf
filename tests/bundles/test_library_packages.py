"""Packages that the library makes: options, names, table and figures, what they lack, and what is needed to run them."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import physlab_mcp as sciflow
from physlab_mcp.bundles.verify import verify_package
from physlab_mcp.errors import ConflictError, RequestError

TASKS = """
from pathlib import Path

def frame(x):
    import pandas as pd
    return pd.DataFrame({"a": [x, 2 * x]})

def number(x):
    return {"y": 2.0 * x, "z": x % 3}

def odd(x):
    return {"y": "odd" if x == 1 else float(x)}

def never(x):
    raise ValueError("never")

def size(path):
    return {"size": len(Path(path).read_text())}
"""


@pytest.fixture(scope="module")
def engine():
    data = Path(tempfile.mkdtemp(prefix="physlab-bundles-"))
    try:
        with sciflow.Engine(data_dir=data, progress=False) as made:
            yield made
    finally:
        subprocess.run(
            [sys.executable, "-m", "physlab_mcp", "engine", "stop", "--data-dir", str(data)], timeout=60, check=False,
            capture_output=True,
        )  # fmt: skip
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture(scope="module")
def sweep(engine, tmp_path_factory):
    """A sweep of one of the tasks, with figures by name where some are given: (workflow, results)."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "package_tasks.py").write_text(TASKS)
    (folder / "data.txt").write_text("4 5 6")
    (folder / "data").mkdir()
    (folder / "data" / "more.txt").write_text("7")
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    patch.syspath_prepend(str(folder))
    import package_tasks

    def run(task, space, figures=(), name="a sweep"):
        workflow = sciflow.ExperimentalWorkflow(name)
        workflow.add_task("task", getattr(package_tasks, task))
        workflow.add_parameter_space(space)
        for one, request in dict(figures).items():
            workflow.add_visualization(one, request)
        return workflow, engine.wait(engine.submit(workflow), timeout_s=120)

    yield run
    patch.undo()
    sys.modules.pop("package_tasks", None)


@pytest.fixture(scope="module")
def numbers(sweep):
    return sweep("number", {"x": [0, 1, 2, 3]}, name="trimmed spread (ü)")


def made(sweep, folder, **options):
    package = sciflow.create_reproducibility_package(*sweep, **options)
    return package, package.export(folder)


def test_the_default_name_is_that_of_the_workflow_as_a_file_may_have_it(numbers, tmp_path):
    package, place = made(numbers, tmp_path)
    assert place == tmp_path / "trimmed-spread-u"
    assert json.loads((place / "package.json").read_text())["name"] == package.name == "trimmed-spread-u"
    with pytest.raises(ConflictError):
        package.export(tmp_path)


@pytest.mark.parametrize("given", [{"package_name": "a b"}, {"name": "../b"}, {"package_name": "a", "name": "b"}])
def test_a_name_that_is_none_is_refused_at_once(numbers, given):
    with pytest.raises(RequestError):
        sciflow.create_reproducibility_package(*numbers, **given)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"tolerence": 1}, "the nearest is 'tolerances'"),
        ({"tolerances": {"task.y": "x"}}, "tolerances.task.y is 'x'"),
        ({"tolerances": ["task.y=x"]}, "'task.y=x' cannot be read"),
        ({"tolerances": -1}, "no tolerance"),
        ({"tolerances": True}, "no tolerance"),
        ({"tolerances": {"a": (1, 2, 3)}}, "no tolerance"),
        ({"tolerances": 1e-6, "tolerance": 1e-6}, "given twice"),
        ({"ignore": [1]}, "ignore is"),
        ({"pixels": 256}, "pixels is 256"),
        ({"wheelhouse": 1}, "True or False"),
        ({"license": 3}, "a text"),
    ],
)
def test_an_option_that_cannot_be_is_refused_when_it_is_given(numbers, given, text):
    with pytest.raises(RequestError) as told:
        sciflow.create_reproducibility_package(*numbers, **given)
    assert text in str(told.value)


@pytest.mark.parametrize(
    "given",
    [
        {"tolerances": {"task.y": 1e-6, "": 1e-7}},
        {"tolerances": ["task.y=1e-6", 1e-7]},
        {"tolerance": ("task.y=1e-6,0", "1e-7,0")},
        {"tolerances": {"task.y": (1e-6, 0), "": "1e-7"}},
    ],
)
def test_tolerances_are_taken_in_every_form(numbers, tmp_path, given):
    _, place = made(numbers, tmp_path, name="p", ignore="task.z", pixels=3, everything=False, license=None, **given)
    assert json.loads((place / "package.json").read_text())["tolerances"] == {
        "default": {"rel": 1e-7, "abs": 0.0}, "by_name": {"task.y": {"rel": 1e-6, "abs": 0.0}}, "ignore": ["task.z"],
        "pixels": 3,
    }  # fmt: skip


def test_a_tolerance_or_exception_for_nothing_is_told_with_the_nearest_names(numbers, tmp_path):
    package, place = made(numbers, tmp_path, tolerances={"task.yy": 1e-6, "task": 1e-6}, ignore=["*.mp4", "*.z"])
    first, second = package.warnings
    assert "'task.yy'" in first
    assert "task.y" in first.partition("there are")[2]
    assert "'*.mp4'" in second
    assert first in (place / "README.md").read_text()
    limits = verify_package(place).checks[-1]
    assert (limits.name, limits.verdict, limits.found) == ("limits", "ok", (first, second))


def test_a_sweep_without_named_figures_has_its_table_and_those_that_suit(numbers, tmp_path):
    package, place = made(numbers, tmp_path)
    assert package.warnings == ()
    names = {path.name for path in (place / "figures").iterdir()}
    assert {"line.svg", "scatter_matrix.svg", "histogram.svg", "convergence.svg"} <= names
    assert all(name.endswith(".svg") for name in names)
    lines = (place / "results" / "points.csv").read_text().splitlines()
    assert "x,y,z" in lines[0]
    assert len(lines) == 5
    text = (place / "README.md").read_text()
    assert "`figures/`" in text
    assert "`results/points.csv`" in text
    assert "`wheelhouse/`" not in text
    assert "| 2 |" in text
    assert verify_package(place).ok


def test_named_figures_have_names_of_their_own(sweep, tmp_path):
    line = {"type": "line", "value": "y"}
    _, place = made(sweep("number", {"x": [1, 2]}, {"": line, "a b": line, "a-b": line, "é": line}), tmp_path)
    assert {path.name for path in (place / "figures").iterdir()} == {"figure.svg", "a-b.svg", "a-b-2.svg", "e.svg"}


def test_a_figure_that_cannot_be_drawn_is_a_warning(sweep, tmp_path):
    figures = {"mine": {"type": "line", "value": "y"}, "other": "histogram"}
    package, place = made(sweep("never", {"x": [1, 2]}, figures), tmp_path)
    assert [name for name in ("'mine'", "'other'") if any(name in one for one in package.warnings)] == [
        "'mine'", "'other'",
    ]  # fmt: skip
    assert not (place / "figures").exists()
    text = (place / "README.md").read_text()
    assert "`figures/`" not in text
    assert "The figure 'mine' is not in the package" in text
    assert verify_package(place).ok


def test_a_metric_with_one_word_among_its_numbers_is_drawn_without_it(sweep, tmp_path):
    package, place = made(sweep("odd", {"x": [0, 1, 2]}, {"mine": {"type": "line", "value": "y"}}), tmp_path)
    assert package.warnings == ("The figures leave out 1 of 3 values of y, which are no numbers.",)
    assert (place / "figures" / "mine.svg").is_file()
    assert "odd" in (place / "results" / "points.csv").read_text()


def test_a_sweep_without_numbers_has_a_table_and_says_that_there_is_no_figure(sweep, tmp_path):
    package, place = made(sweep("never", {"x": [3]}), tmp_path)
    assert package.warnings[0].startswith("There are no figures of the points: ")
    assert (place / "results" / "points.csv").is_file()


def test_tables_that_functions_give_bring_what_they_are_kept_with(sweep, tmp_path):
    _, place = made(sweep("frame", {"x": [1]}), tmp_path)
    locked = (place / "environment" / "requirements.txt").read_text()
    assert {"pyarrow", "pandas", "numpy", "cloudpickle"} <= {line.partition("==")[0] for line in locked.splitlines()}


def test_plain_numbers_do_not_bring_the_packages_of_tables(numbers, tmp_path):
    _, place = made(numbers, tmp_path)
    assert "pyarrow" not in (place / "environment" / "requirements.txt").read_text()


def test_a_file_that_a_function_reads_by_its_path_is_told_as_missing(sweep, tmp_path):
    package, place = made(sweep("size", {"path": ["data.txt", str(Path.cwd() / "data" / "more.txt")]}), tmp_path)
    (warning,) = package.warnings
    assert warning.startswith("task: path = 'data.txt', '")
    assert "not in this package" in warning
    assert warning in (place / "README.md").read_text()
    assert warning in verify_package(place).checks[-1].found
