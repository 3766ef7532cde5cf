"""A function's code has a version that follows what it computes, and only that."""

import json
import threading

import numpy as np
import pytest

from physlab_mcp.errors import RequestError
from physlab_mcp.library.functions import environment_record, pickled
from physlab_mcp.nodes.function_call import call, takes_of


def version(function):
    return pickled(function).record


def test_editing_a_module_two_imports_away_changes_the_version(project):
    module = project(top="import middle\ndef task(x): return middle.f(x)", middle="import deep\ndef f(x): return deep.g(x)",
                     deep="def g(x): return x")  # fmt: skip
    before = version(module.task)
    assert set(json.loads(before)["modules"]) == {"top", "middle", "deep"}
    assert version(project(top="import middle\ndef task(x): return middle.f(x)").task) == before
    project(deep="def g(x): return x + 1")
    assert version(project(top="import middle\ndef task(x): return middle.f(x)").task) != before


def test_an_import_inside_the_function_counts(project):
    module = project(
        lazy_top="def task(x):\n    import lazy_low\n    return lazy_low.g(x)", lazy_low="def g(x): return x"
    )
    assert "lazy_low" in json.loads(version(module.task))["modules"]
    local = eval("lambda x: __import__('math') and helper(x)", {"helper": module.task})
    assert set(json.loads(version(local))["modules"]) == {"lazy_top", "lazy_low"}


def made(factor):
    def scaled(x):
        return factor * x

    return scaled


def test_closure_values_and_defaults_count():
    assert version(made(2)) == version(made(2))
    assert version(made(2)) != version(made(3))
    assert version(lambda x=1: x) != version(lambda x=2: x)
    assert version(made(np.arange(3.0))) != version(made(np.arange(4.0)))


def test_a_lambda_is_told_by_what_it_computes():
    space = {"offset": 1}
    first, other = eval("lambda x: x + offset", space), eval("lambda x: x - offset", space)
    moved = eval("\n\n\nlambda x: x + offset".strip(), space)
    assert version(first) == version(moved) != version(other)
    before = version(first)
    space["offset"] = 2
    assert version(first) != before


def test_installed_packages_are_named_by_version():
    def uses(x):
        return np.sin(x)

    assert json.loads(version(uses))["packages"]["numpy"] == np.__version__


def test_what_cannot_be_pickled_is_named_with_its_reason():
    lock = threading.Lock()

    def guarded(x):
        with lock:
            return x

    with pytest.raises(RequestError, match=r"guarded.*closure variable 'lock' is a lock.*cannot pickle"):
        pickled(guarded)


def test_the_record_of_the_environment_holds_the_sources_as_they_are(project):
    module = project(here="import beside\ndef task(x): return beside.g(x)", beside="def g(x): return x")
    record = json.loads(environment_record([pickled(module.task)]))
    assert record["modules"]["beside"]["source"] == "def g(x): return x"
    assert record["modules"]["beside"]["file"].endswith("beside.py")
    assert record["folder"] in record["sys_path"]


def everything(**kwargs):
    return kwargs


def whole(params, inputs):
    return params, inputs


def named(rate, fit, layers=1):
    return rate, fit, layers


def in_order(params, inputs, /):
    return params, inputs


def one_of_each(rate, inputs):
    return rate, inputs


@pytest.mark.parametrize(
    ("function", "answer"),
    [
        (everything, {"rate": 0.1, "size": 3, "fit": {"a": 1}, "load": {}}),
        (whole, ({"rate": 0.1, "size": 3}, {"fit": {"a": 1}, "load": {}})),
        (named, (0.1, {"a": 1}, 1)),
        (in_order, ({"rate": 0.1, "size": 3}, {"fit": {"a": 1}, "load": {}})),
        (one_of_each, (0.1, {"fit": {"a": 1}, "load": {}})),
    ],
)
def test_a_function_is_given_what_its_signature_names(function, answer):
    given = {"rate": 0.1, "size": 3}, {"fit": {"a": 1}, "load": {}}
    assert call(function, takes_of(function), *given) == answer
