"""Requests in words become the graphs that they ask for, or ask for a spec; never another graph."""

import json
from pathlib import Path

import pytest
from tests.words.scoring import judged

from physlab_mcp.dags.validate import validate
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.words import NeedsSpec, Planned, plan

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.load()


def asked(name: str) -> list[dict]:
    return json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "least"),
    [("requests", 36), ("requests_second", 36), ("requests_third", 54), ("paraphrases", 40), ("trials", 148)],
)
def test_requests_are_planned_right_and_the_rest_ask_for_a_spec(registry, name, least):
    table = [(*judged(plan(one["text"], registry), one), one["text"]) for one in asked(name)]
    for verdict, why, text in table:
        if verdict != "right":
            print(f"{verdict:6} {text}\n       {why}")  # noqa: T201 - the table of what is not right
    verdicts = [verdict for verdict, *_ in table]
    assert "wrong" not in verdicts
    assert verdicts.count("right") >= least


def test_a_plan_is_the_same_every_time(registry):
    for one in asked("requests"):
        assert plan(one["text"], registry) == plan(one["text"], Registry.load())


def test_every_plan_passes_validation(registry):
    for one in [
        *asked("requests"),
        *asked("requests_second"),
        *asked("requests_third"),
        *asked("paraphrases"),
        *asked("trials"),
    ]:
        answer = plan(one["text"], registry)
        if isinstance(answer, Planned):
            assert validate(answer.spec, registry).ok
        else:
            assert isinstance(answer, NeedsSpec)
