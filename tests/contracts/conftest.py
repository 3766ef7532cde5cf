"""Every store and every backend, opened in a folder of its own and closed at the end."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tests.clusters.slurm_cluster import slurm
from tests.contracts.backends import PLACES as OTHERS
from tests.contracts.backends import Place
from tests.contracts.kubernetes_places import KUBERNETES, kubernetes_1_20, kubernetes_1_31
from tests.contracts.stand_in import StandIn

from physlab_mcp.stores.base import Store
from stores import STORES, Desk

__all__ = ["kubernetes_1_20", "kubernetes_1_31", "slurm"]
PLACES = {**OTHERS, **{place.name: place for place in KUBERNETES}}


@pytest.fixture(params=list(STORES))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def open_store(kind: str, tmp_path: Path) -> AsyncIterator[Callable[[], Store]]:
    """Opens a store on the same data each time; a test that asks twice is left out where they cannot share any."""
    make, shared = STORES[kind]
    opened: list[Store] = []

    def open_one() -> Store:
        if opened and not shared:
            pytest.skip("this store lives in one object")
        opened.append(make(tmp_path))
        return opened[-1]

    yield open_one
    for store in opened:
        await store.aclose()


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    return open_store()


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "brief: asked of every way to a backend, also where the backend is asked all elsewhere"
    )


@pytest.fixture(params=[pytest.param(name, marks=place.marks) for name, place in PLACES.items()])
def place(request: pytest.FixtureRequest) -> Place:
    found = PLACES[request.param]
    if found.brief and request.node.get_closest_marker("brief") is None:
        pytest.skip("the same backend is asked this over another way")
    return found


@pytest.fixture
def started(place: Place, request: pytest.FixtureRequest) -> object:
    """What a place needs and a whole session shares: a cluster, an API server."""
    return request.getfixturevalue(place.fixture) if place.fixture else None


@pytest.fixture
async def stand(place: Place, started: object, tmp_path: Path) -> AsyncIterator[StandIn]:
    """An engine's part over a fresh site; at the end every dispatch must have had its one end."""
    async with place.open(tmp_path, started) as site:
        one = StandIn(site, place)
        await one.begin()
        yield one
        await one.close()
