"""The real cluster of this test run, and the backend contract's place on it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.clusters.kubernetes_cluster import WANTED, KubernetesCluster, missing, started
from tests.contracts.backends import Place
from tests.contracts.stand_in import StandIn
from tests.real_kubernetes.place import REAL


@pytest.fixture(scope="session")
def kubernetes_real() -> Iterator[KubernetesCluster]:
    """A real control plane with two nodes. Skips where nobody asked for one, and fails where one was asked for."""
    if not os.environ.get(WANTED):
        pytest.skip("a real Kubernetes API is started by `make test-kubernetes` alone")
    if why := missing():
        pytest.fail(why)
    yield started()
    started().down()


@pytest.fixture(params=[pytest.param(REAL, marks=REAL.marks)], ids=[REAL.name])
def place(request: pytest.FixtureRequest) -> Place:
    return request.param


@pytest.fixture
async def stand(place: Place, kubernetes_real: KubernetesCluster, tmp_path: Path) -> AsyncIterator[StandIn]:
    """An engine's part over a fresh site; at the end every dispatch must have had its one end."""
    async with place.open(tmp_path, kubernetes_real) as site:
        one = StandIn(site, place)
        await one.begin()
        yield one
        await one.close()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "brief: a mark of the contract's tests, without a meaning here")
