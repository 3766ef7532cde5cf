"""Hostile expressions: refused at once, or bounded in time and memory."""

import json
import os
import subprocess
import sys
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physlab_mcp.errors import RequestError
from physlab_mcp.nodes import symbols

HERE = Path(__file__).parent
ROWS = json.loads((HERE / "hostile_expressions.json").read_text())
REFUSED = [row["text"] for row in ROWS if row["expect"] == "refused"]
BOUNDED = [row["text"] for row in ROWS if row["expect"] == "bounded"]


def label(text):
    return ascii(text[:30])


def test_there_are_fifty_and_more_of_them():
    assert len(set(REFUSED)) >= 50
    assert len(set(BOUNDED)) >= 15


@pytest.mark.parametrize("text", REFUSED, ids=label)
def test_the_parser_refuses_with_a_remedy_and_without_the_work(text):
    symbols.expression("1 + x", symbols.Names())  # SymPy is there
    tracemalloc.start()
    try:
        with pytest.raises(RequestError) as caught:
            symbols.expression(text, symbols.Names())
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert caught.value.remedy
    assert len(str(caught.value.got or "")) <= 200


@pytest.mark.parametrize("text", [one for one in REFUSED if one and one.count("=") < 2], ids=label)
@pytest.mark.parametrize("way", ["equation", "ode", "bound"])
def test_every_other_way_in_refuses_too(text, way):
    names = symbols.Names()
    ways = {
        "equation": lambda: symbols.equation(f"{text} + y = 1", names),
        "ode": lambda: symbols.differential_equation(f"y' = {text} + 1", names, "y", "x"),
        "bound": lambda: symbols.entry(text, names, field="bounds"),
    }
    with pytest.raises(RequestError):
        ways[way]()


@pytest.fixture(scope="module", autouse=True)
def trial(tmp_path_factory):
    """The process that tries what is let through, started first so that it works beside the tests of the parser."""
    if sys.platform != "linux":
        yield None
        return
    folder = tmp_path_factory.mktemp("trial")
    (folder / "texts.json").write_text(json.dumps(BOUNDED))
    out, err = folder / "out.json", folder / "err.txt"
    with (folder / "texts.json").open() as texts, out.open("w") as told, err.open("w") as trouble:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "cas_trial.py"), str(folder)], stdin=texts, stdout=told, stderr=trouble,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    yield process, out, err
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def report(trial):
    """What the nodes make of what is let through, below 1 GiB and with their deadline for each call."""
    if trial is None:
        pytest.skip("limits of memory are Linux's here")
    process, out, err = trial
    assert process.wait(timeout=300) == 0, err.read_text()[-2000:]
    return json.loads(out.read_text())


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_mathematics_or_a_request_error(text):
    with suppress(RequestError):
        symbols.expression(text, symbols.Names())


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(["x", "y", "9", "99", "**", "^", "*", "/", "+", "-", "(", ")", "exp(", "factorial("]),
        max_size=14,
    )
)
def test_any_row_of_growing_pieces_is_read_in_little_memory(pieces):
    with suppress(RequestError):
        found = symbols.expression("".join(pieces), symbols.Names())
        assert len(str(found)) < 20_000


@pytest.mark.parametrize("text", BOUNDED, ids=label)
def test_what_is_let_through_stays_within_time_and_memory(report, text):
    # Reading, numbers and derivatives end by themselves; the searches of the others may be cut off by the deadline.
    for name in ("evaluate", "at a point", "diff"):
        assert report[text][name][0] in {"done", "invalid_request"}, name
    for name in ("simplify", "solve", "integrate"):
        assert report[text][name][0] in {"done", "invalid_request", "overdue"}, name
