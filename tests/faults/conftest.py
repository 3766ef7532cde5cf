"""Every test here gets its own data directory; whatever it started is killed at its end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from site_of import Site  # noqa: E402 - found through the line above


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    made: list[Site] = []

    def make(**env: str) -> Site:
        made.append(Site(tmp_path / str(len(made)), **env))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site()
