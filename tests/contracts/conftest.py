"""Every store, opened in a folder of its own and closed at the end."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from physlab_mcp.stores.base import Store
from stores import STORES, Desk


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
