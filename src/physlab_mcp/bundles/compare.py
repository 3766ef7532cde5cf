"""Whether two results are the same: value by value, artifact by artifact, within declared tolerances."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import msgspec

from physlab_mcp.bundles.artifact_content import same_content
from physlab_mcp.bundles.record import refs_in
from physlab_mcp.bundles.shapes import Tolerance, Tolerances

EXACT, WITHIN, DIFFERS, EXCLUDED = "exact", "within_tolerance", "differs", "excluded"
NOT_COMPARED = "not_compared"
DONE = frozenset({"succeeded", "failed"})  # what else a job may be in a record says nothing of its result
_CIRCUMSTANCE = re.compile(
    r"(?:^|_)(?:duration|elapsed|wall|wall_time|cpu_time|runtime)_m?s$|^(?:duration|elapsed|runtime|wall_s|cpu_s)$"
    r"|^(?:started|ended|finished|created)_at$|^(?:timestamp|hostname|pid)$"
)


class Compared(msgspec.Struct, frozen=True, omit_defaults=True):
    """One comparison. `off`: relative distance of numbers; `allowed`: the tolerance that counted; `note`: why or how."""

    name: str  # node.key
    verdict: str  # exact | within_tolerance | differs | excluded | not_compared
    expected: Any = None
    got: Any = None
    off: float | None = None
    allowed: dict[str, float] | None = None
    note: str = ""
    point: str = ""
    kind: str = "value"  # value | artifact | state


class Rules:
    """The declared tolerances, asked by name."""

    def __init__(self, tolerances: Tolerances) -> None:
        self.declared = tolerances
        self._known: dict[str, Tolerance | None] = {}

    def of(self, name: str) -> Tolerance | None:
        """The tolerance of a name; None where it is declared as no part of the result."""
        if name not in self._known:
            self._known[name] = self._find(name)
        return self._known[name]

    def _find(self, name: str) -> Tolerance | None:
        if any(fits(pattern, name) for pattern in self.declared.ignore):
            return None
        named = (one for pattern, one in self.declared.by_name.items() if fits(pattern, name))
        return next(named, self.declared.default)


def fits(pattern: str, name: str) -> bool:
    """Whether a declared pattern means this name: `task.key` means what is below it too, `*.mp4` any artifact."""
    return fnmatchcase(name, pattern) or name.startswith(f"{pattern}.")


def close(expected: float, got: float, tolerance: Tolerance) -> bool:
    """Whether two numbers are the same within a tolerance; infinities and NaN are the same as themselves only."""
    if expected == got or (math.isnan(expected) and math.isnan(got)):
        return True
    if not (math.isfinite(expected) and math.isfinite(got)):
        return False
    return abs(got - expected) <= max(tolerance.abs, tolerance.rel * max(abs(got), abs(expected)))


def distance(expected: float, got: float) -> float | None:
    """The relative distance of two numbers; None where there is none."""
    most = max(abs(expected), abs(got))
    if not math.isfinite(most):
        return None
    return abs(got - expected) / most if most else 0.0


def compare_values(name: str, expected: Any, got: Any, rules: Rules) -> Iterator[Compared]:
    """Every leaf of a JSON value; iterative, so depth is no matter. References to artifacts are left to the caller."""
    stack: list[tuple[str, Any, Any]] = [(name, expected, got)]
    while stack:
        path, a, b = stack.pop()
        if isinstance(a, dict) and isinstance(b, dict) and not ("$artifact" in a and "$artifact" in b):
            for key in sorted({*a, *b}, reverse=True):
                if key in a and key in b:
                    stack.append((f"{path}.{key}", a[key], b[key]))
                else:
                    note = "it was not there before" if key in b else "it is not there any more"
                    yield Compared(f"{path}.{key}", DIFFERS, a.get(key), b.get(key), note=note)
        elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            stack.extend((f"{path}.{i}", one, b[i]) for i, one in reversed(list(enumerate(a))))
        elif isinstance(a, dict) and "$artifact" in a:
            if not (isinstance(b, dict) and "$artifact" in b):
                yield Compared(path, DIFFERS, a, b, note="an artifact before, none now")
        else:
            yield _leaf(path, a, b, rules)


def _leaf(path: str, a: Any, b: Any, rules: Rules) -> Compared:
    tolerance = rules.of(path)
    if tolerance is None:
        return Compared(path, EXCLUDED, note="declared as no part of the result")
    last = path.rpartition(".")[2]
    if _CIRCUMSTANCE.search(last) or (_is_path(a) and _is_path(b)):
        return Compared(path, EXCLUDED, note="a time, path or other circumstance")
    if type(a) is type(b) and a == b:
        return Compared(path, EXACT)
    if _is_number(a) and _is_number(b):
        verdict = EXACT if a == b else WITHIN if close(a, b, tolerance) else DIFFERS
        allowed = {"rel": tolerance.rel, "abs": tolerance.abs}
        return Compared(path, verdict, a, b, distance(a, b), allowed)
    return Compared(path, DIFFERS, a, b)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_path(value: Any) -> bool:
    return (
        isinstance(value, str)
        and len(value) < 4096
        and (PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute())
    )


Read = Callable[[Mapping[str, Any]], bytes]


def compare_jobs(
    expected: Mapping[str, Any], got: Mapping[str, Any], rules: Rules, read_expected: Read, read_got: Read
) -> Iterator[Compared]:
    """Two jobs of the same node at the same point: how they ended, and what they left."""
    node = expected["node"]
    if expected["state"] not in DONE:
        yield not_compared(expected, got["state"])
        return
    if expected["state"] != got["state"]:
        failure = got.get("failure") or expected.get("failure") or {}
        note = str(failure.get("message", ""))[:500]
        yield Compared(f"{node}.state", DIFFERS, expected["state"], got["state"], note=note, kind="state")
        return
    if expected["state"] != "succeeded":
        yield Compared(f"{node}.state", EXACT, expected["state"], got["state"], kind="state")
        return
    a, b = expected.get("result") or {}, got.get("result") or {}
    yield from compare_values(node, a.get("values", {}), b.get("values", {}), rules)
    if a.get("exit_code") != b.get("exit_code"):
        yield Compared(f"{node}.exit_code", DIFFERS, a.get("exit_code"), b.get("exit_code"))
    left, right = refs_in(a), refs_in(b)
    for place in sorted({*left, *right}):
        yield _artifact(
            f"{node}.{place}", left.get(place), right.get(place), rules=rules, read=(read_expected, read_got)
        )


def not_compared(expected: Mapping[str, Any], got: str | None) -> Compared:
    """A job that was not done when the record was made."""
    note = "it had not been done"
    return Compared(f"{expected['node']}.state", NOT_COMPARED, expected["state"], got, note=note, kind="state")


def _artifact(
    name: str,
    a: Mapping[str, Any] | None,
    b: Mapping[str, Any] | None,
    *,
    rules: Rules,
    read: tuple[Read, Read],
) -> Compared:
    named = str((a or b or {}).get("name", ""))
    tolerance = rules.of(name)
    if tolerance is None or any(fnmatchcase(named, pattern) for pattern in rules.declared.ignore):
        return Compared(name, EXCLUDED, note="declared as no part of the result", kind="artifact")
    if a is None or b is None:
        note = "it is not there any more" if b is None else "it was not there before"
        return Compared(name, DIFFERS, a and a["sha256"], b and b["sha256"], note=note, kind="artifact")
    if a["sha256"] == b["sha256"]:
        return Compared(name, EXACT, kind="artifact")
    if name.rpartition(".")[2] == "thumbnail":
        return Compared(name, EXCLUDED, note="a small copy of a figure that is compared", kind="artifact")
    media_type = a.get("media_type", "")
    found = same_content(
        read[0](a), read[1](b), media_type=media_type, name=named, tolerance=tolerance, pixels=rules.declared.pixels
    )
    return Compared(
        name, found.verdict, a["sha256"], b["sha256"], found.off, {"rel": tolerance.rel, "abs": tolerance.abs},
        found.note, kind="artifact",
    )  # fmt: skip
