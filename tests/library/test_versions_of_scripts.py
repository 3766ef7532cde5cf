"""What a script defines arrives in a worker, and has the same version in every process as long as it is the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from physlab_mcp.errors import RequestError
from physlab_mcp.library.functions import pickled

DEADLINE_S = 120

KINDS = """
import abc, array, collections, dataclasses, decimal, enum, functools, itertools, json, logging, operator, pathlib, pickle, random, re, sys, types, typing, uuid, weakref
import numpy as np, pandas as pd
from physlab_mcp.library.functions import pickled

class Color(enum.Enum):
    RED = 1
    BLUE = 2
    CRIMSON = 1
    @property
    def twice(self): return 2 * self.value
class Number(enum.IntEnum): A = 1
class Right(enum.Flag):
    R = enum.auto()
    W = enum.auto()
    BOTH = R | W
class Planet(enum.Enum):
    EARTH = (5.976e24, 6.37814e6)
    def __init__(self, mass, radius): self.mass = mass
class Unit(float, enum.Enum):
    A = (1.5, "m")
    def __new__(cls, value, unit):
        made = float.__new__(cls, value)
        made._value_, made.unit = value, unit
        return made
@dataclasses.dataclass
class Config:
    tags: frozenset = frozenset({"x", "y", "z", "w"})
    more: list = dataclasses.field(default_factory=list)
@dataclasses.dataclass(frozen=True, slots=True)
class Slotted: a: typing.Optional[int] = None
class Named(typing.NamedTuple): a: int = 1
class Base(abc.ABC):
    @abc.abstractmethod
    def run(self): ...
class Impl(Base):
    def run(self): return 1
    @functools.cached_property
    def kept(self): return 5
    @functools.lru_cache
    def cached(self): return 6
    @functools.singledispatchmethod
    def of(self, x): return "any"
    @of.register
    def _(self, x: int): return "int"
class Other: pass
Base.register(Other)
T, P, Id = typing.TypeVar("T"), typing.ParamSpec("P"), typing.NewType("Id", int)
class Generic(typing.Generic[T]): x: T
class Dict(typing.TypedDict): a: int
class Proto(typing.Protocol):
    def f(self) -> int: ...
class Text(str):
    def hi(self): return 1
class Set(set): pass
class Meta(type): pass
class WithMeta(metaclass=Meta): __slots__ = ("a",)
@functools.lru_cache(maxsize=None)
def fib(n: Id): return n if n < 2 else fib(n - 1) + fib(n - 2)
@functools.singledispatch
def kind(x): return "any"
@kind.register
def _(x: int): return "int"
@kind.register(list)
def _l(x): return [kind(one) for one in x]
def helper(x): return x
helper.k = 4
def deco(f):
    @functools.wraps(f)
    def inner(*args: P.args, **named: P.kwargs): return f(*args, **named)
    return inner
@deco
def decorated(x): return x + 1
made = types.ModuleType("made")
made.V = 3
VALUES = {
    "enum": Color, "member": Color.RED, "number": Number.A, "flag": Right.R | Right.W, "unit": Unit.A, "planet": Planet,
    "dataclass": Config, "config": Config(), "slotted": Slotted(3), "named": Named(), "abstract": Base, "impl": Impl(),
    "T": T, "P": P, "Id": Id, "generic": Generic[int], "dict class": Dict, "protocol": Proto, "text": Text("q"),
    "set class": Set({"a", "b", "c", "d"}), "metaclass": WithMeta, "error": ValueError("a", {"b", "c"}),
    "fib": fib, "kind": kind, "helper": helper, "decorated": decorated, "lambda": lambda x: x, "module": np, "made": made,
    "logger": logging.getLogger("zz"), "root": logging.getLogger(), "regex": re.compile("a+"), "path": pathlib.Path("/a/b"),
    "decimal": decimal.Decimal("1.5"), "uuid": uuid.UUID(int=5), "set": {"a", "b", "c"}, "frozen": frozenset("abcdef"),
    "mixed set": frozenset({Color.RED, Color.BLUE, helper, Config, ("a", frozenset("xyz"))}), "ordered": collections.OrderedDict(a=1),
    "default": collections.defaultdict(list, a=[1]), "counter": collections.Counter("aab"), "deque": collections.deque([1], 5),
    "array": np.arange(5.0), "scalar": np.float64(2), "generator": np.random.default_rng(0), "draw": np.random.default_rng(0).normal,
    "objects": np.array([1, "a", None], dtype=object), "dtype": np.dtype("f4"), "table": pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
    "partial": functools.partial(helper, x=3), "getter": operator.itemgetter(1), "range": range(3), "bytes": bytearray(b"ab"),
    "doubles": array.array("d", [1, 2]), "nan": float("nan"), "random": random.Random(3), "namespace": types.SimpleNamespace(a=1),
    "proxy": types.MappingProxyType({"a": 1}), "method": Impl().run, "built in": "abc".upper, "type": int, "none": type(None),
    "alias": list[int], "union": int | None, "sentinel": object(), "print": print, "half": chr(0xd800), "weak": weakref.WeakSet([Other]),
}
USES = {"fib": "value(30)", "kind": "value([1, 'a'])", "decorated": "value(1)", "enum": "[value.RED.twice, value.CRIMSON is value.RED]", "flag": "type(value).BOTH is value", "unit": "value.unit", "planet": "value.EARTH.mass",
        "impl": "[value.kept, value.cached(), value.of(1), value.of('')]", "helper": "value.k", "made": "value.V"}
versions, sent = {}, {}
for name, value in VALUES.items():
    space = {"value": value, "__name__": "__main__"}
    exec("def task(a): return " + USES.get(name, "type(value).__name__"), space)
    ready = pickled(space["task"])
    versions[name], sent[name] = json.loads(ready.record)["digest"], ready.data
    if name in USES: exec("expected = " + USES[name], space); sent[name + " expected"] = space["expected"]
print(json.dumps(versions))
pickle.dump(sent, open(sys.argv[1], "wb"))
"""

LOADS = """
import pickle, sys
sent = pickle.load(open(sys.argv[1], "rb"))
for name, data in sent.items():
    if isinstance(data, bytes):
        found = pickle.loads(data)(1)
        assert found == sent.get(name + " expected", found), (name, found)
"""


def program(folder: Path, text: str, *arguments: str, seed: int = 0) -> str:
    path = folder / "script.py"
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, str(path), *arguments], cwd=folder, capture_output=True, text=True, timeout=DEADLINE_S,
        check=False, env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_kind_of_global_arrives_and_has_one_version_in_all_processes(tmp_path):
    first, other = (json.loads(program(tmp_path, KINDS, str(tmp_path / "sent"), seed=seed)) for seed in (1, 777))
    assert first == other
    assert len(set(first.values())) == len(first)
    program(tmp_path, LOADS, str(tmp_path / "sent"))


TASK = "from physlab_mcp.library.functions import pickled\n{}\nprint(__import__('json').loads(pickled(task).record)['digest'])"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def task(a): return task.k\ntask.k = 4", "def task(a): return task.k\ntask.k = 9"),
        ("def h(): return h.k\nh.k = 4\ndef task(a): return h()", "def h(): return h.k\nh.k = 9\ndef task(a): return h()"),
        ("K = 5\ndef task(a):\n class Q: k = K\n return Q.k", "K = 6\ndef task(a):\n class Q: k = K\n return Q.k"),
        (
            "import enum\nclass C(enum.Enum):\n A = 1\ndef task(a): return C.A.value",
            "import enum\nclass C(enum.Enum):\n A = 2\ndef task(a): return C.A.value",
        ),
        (
            "import enum\nclass C(enum.IntEnum):\n A = 1\n def f(s): return 1\nX = C.A\ndef task(a): return X.f()",
            "import enum\nclass C(enum.IntEnum):\n A = 1\n def f(s): return 2\nX = C.A\ndef task(a): return X.f()",
        ),
        (
            "class S(str):\n def f(s): return 1\nX = S('a')\ndef task(a): return X.f()",
            "class S(str):\n def f(s): return 2\nX = S('a')\ndef task(a): return X.f()",
        ),
        (
            "import functools\n@functools.cache\ndef f(n): return n\ndef task(a): return f(a)",
            "import functools\n@functools.cache\ndef f(n): return n + 1\ndef task(a): return f(a)",
        ),
        (
            "import abc\nclass B(abc.ABC): pass\nclass O: pass\ndef task(a): return isinstance(O(), B)",
            "import abc\nclass B(abc.ABC): pass\nclass O: pass\nB.register(O)\ndef task(a): return isinstance(O(), B)",
        ),
        (
            "import numpy as np\ndraw = np.random.default_rng(1).normal\ndef task(a): return draw()",
            "import numpy as np\ndraw = np.random.default_rng(2).normal\ndef task(a): return draw()",
        ),
        (
            "import types\nM = types.ModuleType('m')\nM.V = 1\ndef task(a): return M.V",
            "import types\nM = types.ModuleType('m')\nM.V = 2\ndef task(a): return M.V",
        ),
    ],
)  # fmt: skip
def test_what_a_function_takes_along_is_in_its_version(tmp_path, before, after):
    versions = [
        program(tmp_path, TASK.format(text), seed=seed) for text, seed in ((before, 1), (before, 2), (after, 1))
    ]
    assert versions[0] == versions[1] != versions[2]


IMPORTS = """
import sys
import physlab_mcp
from physlab_mcp.library.functions import environment_record, pickled
def task(a):
    from pq import sub
    from pk.low import s1
    from ns import n1
    def inner():
        from pq import nested
        return nested.V
    return Q().f() + inner()
class Q:
    def f(self):
        from pq import method
        return method.V
space = {"__name__": "__main__", "__package__": "pk.low"}
exec("def beside(a):\\n    from . import s2\\n    from ..top import V\\n    return s2.V + V", space)
assert not {"pq", "pk", "ns"} & set(sys.modules)
print(environment_record([pickled(task), pickled(space["beside"])]).decode())
"""


def test_modules_that_only_a_function_imports_are_in_its_version_and_in_the_snapshot(tmp_path):
    names = ("pq/sub", "pq/nested", "pq/method", "pk/low/s1", "pk/low/s2", "pk/top", "ns/n1")
    for name in (*names, "pq/__init__", "pk/__init__", "pk/low/__init__"):
        (tmp_path / f"{name}.py").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.py").write_text(f"V = {name!r}\n")
    modules = json.loads(program(tmp_path, IMPORTS))["modules"]
    assert {"pq", "pk", "pk.low", *(name.replace("/", ".") for name in names)} == set(modules)
    assert modules["ns.n1"]["source"] == "V = 'ns/n1'\n"


def test_what_a_worker_would_look_up_in_the_script_is_refused_by_its_name(monkeypatch):
    class Marker:
        def __reduce__(self):
            return "MISSING"

    marker = Marker()
    monkeypatch.setattr(sys.modules["__main__"], "MISSING", marker, raising=False)
    monkeypatch.setattr(Marker, "__module__", "__main__")
    with pytest.raises(
        RequestError, match=r"cannot be sent to a worker: it uses 'MISSING', a Marker, which .* by its name"
    ):
        pickled(lambda a: marker)


def test_a_value_nested_too_deep_is_refused():
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(RequestError, match="cannot be sent to a worker"):
        pickled(lambda a: deep)


def test_a_prepared_function_is_shown_shortly():
    ready = pickled(lambda a: "long" * 1000)
    assert len(repr(ready)) < 200
    assert "bytes" in repr(ready)
