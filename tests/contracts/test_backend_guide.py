"""The guide to backends says what the protocol and the contract suite have."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

from tests.contracts.backends import Place

from physlab_mcp.backends.base import Backend, Observation

GUIDE = (Path(__file__).parents[2] / "docs" / "add-a-backend.md").read_text()


def methods_of(kind: type) -> dict[str, list[str]]:
    found = inspect.getmembers(kind, inspect.isfunction)
    return {name: list(inspect.signature(one).parameters) for name, one in found if not name.startswith("_")}


def test_the_outline_has_every_method_with_its_parameters() -> None:
    (shown,) = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(shown, "add-a-backend.md", "exec"), names)
    assert methods_of(names["QueueBackend"]) == methods_of(Backend)


def test_every_observation_has_its_row() -> None:
    rows = "\n".join(line.split("|")[1] for line in GUIDE.splitlines() if line.startswith("| `"))
    kinds = re.search(r"kind: (.*?)\.\n", Observation.__doc__ or "", re.DOTALL)
    assert kinds is not None
    told = re.findall(r"[a-z]+", re.sub(r"\(.*?\)", "", kinds.group(1), flags=re.DOTALL))
    assert {"placed", "done", "lost", "resumed"} <= set(told)
    assert [kind for kind in told if f"`{kind}`" not in rows] == []


def test_every_field_of_a_place_has_its_row() -> None:
    fields = [field.name for field in dataclasses.fields(Place) if field.name != "name"]
    assert [name for name in fields if f"`{name}`" not in GUIDE] == []
