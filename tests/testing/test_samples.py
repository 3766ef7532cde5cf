"""The sample workflows of the test kit do what they say, run by the library's own engine."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from physlab_mcp.library.engine import Engine
from physlab_mcp.testing import samples


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    data = tmp_path_factory.mktemp("data")
    with Engine(data_dir=data, progress=False) as made:
        yield made
    subprocess.run(
        [sys.executable, "-m", "physlab_mcp", "--data-dir", str(data), "engine", "stop"],
        check=False, timeout=60, capture_output=True,
    )  # fmt: skip


def told_to(folder: Path, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which leaves a file at every call."""

    @wraps(work)
    def counted(**given: Any) -> Any:
        import uuid

        (folder / f"{name}-{uuid.uuid4().hex}").touch()
        return work(**given)

    counted.__module__, counted.__qualname__ = (
        "__main__",
        "counted",
    )  # so that it is sent by value, not found by its name
    return counted


@pytest.mark.parametrize("make", [samples.bowl, samples.flaky, samples.training], ids=lambda make: make.__name__)
def test_a_sample_comes_out_as_it_says(
    engine: Engine, tmp_path: Path, make: Callable[[], samples.Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bowl_loss", "measure", "prepare", "train", "score"):
        task = {"bowl_loss": "evaluate"}.get(name, name)
        monkeypatch.setattr(samples, name, told_to(tmp_path, task, getattr(samples, name)))
    sample = make()
    results = engine.execute_parameter_sweep(sample.workflow)
    table = results.to_dataframe()
    assert len(table) == sample.points
    assert Counter(path.name.split("-")[0] for path in tmp_path.iterdir()) == dict(sample.calls)

    failed = table[table["state"] == "failed"]
    assert failed[[*sample.best]].to_dict("records") == [{**one} for one in sample.failing]
    assert all(sample.error in error for error in failed["error"])
    assert set(table["state"]) - {"failed"} == {"succeeded"}

    best = results.find_optimal_parameters(sample.metric, maximize=sample.maximize)
    assert {name: best[name] for name in sample.best} == sample.best
    column = table[sample.metric].astype(float)
    assert (column.max() if sample.maximize else column.min()) == pytest.approx(sample.best_value, abs=1e-12)
