from __future__ import annotations

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physlab_mcp.artifacts.cache_key import (
    canonical_json,
    code_version,
    explain,
    fields,
    full_key,
    static_key,
    value_hash,
)
from physlab_mcp.artifacts.code_version import CodeVersions
from physlab_mcp.errors import RequestError
from physlab_mcp.nodes.registry import NodeParams, NodeType


class Params(NodeParams):
    n: int = 2
    x: float = 1.0
    seed: int | None = None


def compute(_params: Params, _io: Any) -> Any:
    return None


def kind(**options: Any) -> NodeType:
    return NodeType(**{"name": "toy.compute", "function": compute, "params": Params, "summary": "s", **options})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), below, max_size=4),
    max_leaves=15,
)  # fmt: skip
OBJECTS = st.dictionaries(st.sampled_from(["n", "x", "seed", "a.b", "a"]), JSON, max_size=4)


def turned(value: Any) -> Any:
    """The same value with every object's keys in another order, tuples for lists and the other zero."""
    if isinstance(value, dict):
        return {key: turned(one) for key, one in reversed(value.items())}
    if isinstance(value, list):
        return tuple(turned(one) for one in value)
    return -0.0 if isinstance(value, float) and value == 0 else value


def plain(value: Any) -> Any:
    """The value as its canonical text says it: keys sorted, one zero; types as they are."""
    if isinstance(value, dict):
        return {key: plain(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value + 0.0 if isinstance(value, float) else value


@settings(max_examples=300)
@given(JSON)
def test_canonical_json_is_one_text_that_says_the_value_and_its_types(value: Any) -> None:
    text = canonical_json(value)
    assert canonical_json(turned(value)) == text
    assert repr(json.loads(text)) == repr(plain(value))


def test_the_rule_of_canonical_json() -> None:
    assert canonical_json({"b": 1, "a": [2.0, 2, "é", None, True]}) == '{"a":[2.0,2,"é",null,true],"b":1}'.encode()
    assert canonical_json([-0.0, 0.0, -0.05]) == b"[0.0,0.0,-0.05]"
    assert canonical_json(0.1 + 0.2) == b"0.30000000000000004"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [1, {"a": math.nan}], {1, 2} and object(), "\ud800"])
def test_what_has_no_json_is_refused(value: Any) -> None:
    with pytest.raises(RequestError):
        canonical_json(value)


def test_keys_depend_on_every_ingredient() -> None:
    params = {"n": 2, "x": 1.0}
    key = static_key(kind(), params)
    assert key is not None
    assert key == static_key(kind(), dict(reversed(params.items())))
    others = [
        static_key(kind(version=2), params),
        static_key(kind(name="toy.other"), params),
        static_key(kind(dtype="float32"), params),
        static_key(kind(packages=("numpy",)), params),
        static_key(kind(), params, "cuda"),
        static_key(kind(), {"n": 3, "x": 1.0}),
        static_key(kind(function=json.dumps), params),
    ]
    assert None not in others
    assert len({key, *others}) == 8


def test_what_may_not_be_reused_has_no_key() -> None:
    assert static_key(kind(pure=False), {}) is None
    assert static_key(kind(network=True), {}) is None
    assert static_key(kind(random=True), {"seed": None}) is None
    assert static_key(kind(random=True), {"seed": 0}) is not None


def test_a_function_without_source_has_no_key() -> None:
    scope: dict[str, Any] = {"__name__": "no_such_module"}
    exec("def typed(params, io): return None", scope)
    assert static_key(kind(function=scope["typed"]), {}) is None


def test_the_full_key_takes_every_input_in() -> None:
    assert full_key("k", {}) == "k"
    keys = {full_key("k", {"a": "1", "b": "2"}), full_key("k", {"a": "2", "b": "1"}), full_key("k", {"a": "1"})}
    assert len(keys | {full_key("l", {"a": "1"})}) == 4
    assert full_key("k", {"a": "1", "b": "2"}) == full_key("k", {"b": "2", "a": "1"})


def test_explain_names_what_differs() -> None:
    old = fields(kind(packages=("numpy",)), {"n": 2, "x": 1.0}, inputs={"a:values.x": "11"})
    new = fields(kind(version=2), {"n": 3, "x": 1.0}, "cuda", {"a:values.x": "22"})
    lines = explain(old, new)
    assert "params.n: 2 -> 3" in lines
    assert "device: cpu -> cuda" in lines
    assert "version: 1 -> 2" in lines
    assert "inputs.a:values.x: 11 -> 22" in lines
    assert any(line.startswith("package numpy ") and line.endswith("(absent)") for line in lines)
    assert not any(line.startswith("params.x") for line in lines)
    assert explain({"package numpy": "2.4"}, {"package numpy": "2.5"}) == ["package numpy 2.4 -> 2.5"]
    assert explain(old, old) == []


@settings(max_examples=200)
@given(OBJECTS, OBJECTS)
def test_keys_differ_exactly_where_explain_finds_something(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = static_key(kind(), one) == static_key(kind(), other)
    assert same == (explain(fields(kind(), one), fields(kind(), other)) == [])


def test_keys_are_cheap() -> None:
    node_type, params = kind(), {"n": 2, "x": 1.0, "seed": 3, "emit_plots": True}
    static_key(node_type, params)
    best = 1.0
    for _ in range(5):
        start = time.process_time()
        for _ in range(1000):
            static_key(node_type, params)
        best = min(best, time.process_time() - start)
    assert best / 1000 < 0.0002  # about 6 microseconds


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    old = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text)
    os.utime(path, ns=(old + 10**9, old + 10**9))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a node module that imports helpers in every way there is."""
    root = tmp_path / "lab_toys"
    write(root / "__init__.py", "")
    write(
        root / "nodes.py",
        "import json\nfrom lab_toys import near\ndef f():\n    from .deep import far as g\n    return g\n",
    )
    write(root / "near.py", "import lab_toys.third\nfrom physlab_mcp.nodes.registry import NodeParams\n")
    write(root / "third.py", "x = 1\n")
    write(root / "deep" / "__init__.py", "")
    write(root / "deep" / "far.py", "from .. import late\n")
    write(root / "late.py", "y = 1\n")
    write(root / "unrelated.py", "z = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield root
    for name in [one for one in sys.modules if one.split(".")[0] == "lab_toys"]:
        del sys.modules[name]


def test_the_code_version_follows_every_imported_helper(package: Path) -> None:
    clock = Clock()
    versions = CodeVersions(clock=clock)
    assert set(versions.modules("lab_toys.nodes")) == {
        "lab_toys", "lab_toys.nodes", "lab_toys.near", "lab_toys.third", "lab_toys.deep", "lab_toys.deep.far", "lab_toys.late",
    }  # fmt: skip
    for name in ("nodes.py", "near.py", "third.py", "deep/far.py", "late.py"):
        before = versions.digest("lab_toys.nodes")
        write(package / name, (package / name).read_text() + "# edited\n")
        assert versions.digest("lab_toys.nodes") == before  # not looked at again within a second
        clock.now += 1.1
        assert versions.digest("lab_toys.nodes") != before, name
    before = versions.digest("lab_toys.nodes")
    write(package / "unrelated.py", "z = 2\n")
    clock.now += 1.1
    assert versions.digest("lab_toys.nodes") == before


def test_an_edit_that_is_taken_back_gives_the_old_version(package: Path) -> None:
    clock = Clock()
    versions = CodeVersions(clock=clock)
    before = versions.digest("lab_toys.nodes")
    for text in ("y = 2\n", "y = 1\n"):
        write(package / "late.py", text)
        clock.now += 2
        found = versions.digest("lab_toys.nodes")
    assert found == before


def test_broken_sources_have_no_version(package: Path) -> None:
    write(package / "late.py", "def (\n")
    assert CodeVersions().digest("lab_toys.nodes") is None
    assert CodeVersions().digest("no.such.module") is None


def test_a_fresh_helper_counts_as_soon_as_it_is_imported(package: Path) -> None:
    clock = Clock()
    versions = CodeVersions(clock=clock)
    versions.digest("lab_toys.nodes")
    write(package / "near.py", "from lab_toys import unrelated\n")
    clock.now += 2
    assert "lab_toys.unrelated" in versions.modules("lab_toys.nodes")
    assert "lab_toys.third" not in versions.modules("lab_toys.nodes")


def test_package_versions_are_in_the_code_version() -> None:
    import numpy as np

    assert code_version(kind(packages=("numpy",))).endswith(f":numpy={np.__version__}")
    assert code_version(kind(packages=("no-such-package",))).endswith(":no-such-package=absent")


def test_value_hashes_are_of_the_canonical_text() -> None:
    assert value_hash({"a": 1, "b": 2}) == value_hash({"b": 2, "a": 1})
    assert len(value_hash(None)) == 64
