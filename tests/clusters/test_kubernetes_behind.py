"""What the real API server did and the fake one does only when asked: it has just begun, or one of its watches is behind."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.kubernetes_places import KUBERNETES, open_kubernetes, started_cluster
from tests.contracts.stand_in import StandIn
from tests.fakes.kubernetes_api import FakeCluster


@pytest.fixture(scope="module", params=["1.20", "1.31"])
def cluster(request: pytest.FixtureRequest) -> Iterator[FakeCluster]:
    with started_cluster(request.param) as found:
        yield found


@asynccontextmanager
async def standing_in(folder: Path, cluster: FakeCluster, **settings: Any) -> AsyncIterator[StandIn]:
    place = next(one for one in KUBERNETES if one.name.endswith(cluster.version))
    async with open_kubernetes(folder, cluster, **settings) as site:
        one = StandIn(site, dataclasses.replace(place, deadline_s=40.0))
        await one.begin()
        yield one
        await one.close()


@pytest.mark.parametrize("kind", ["jobs", "configmaps"])
async def test_a_server_that_has_just_begun_does_not_know_yet_who_may_do_what(
    kind: str, cluster: FakeCluster, tmp_path: Path
) -> None:
    async with standing_in(tmp_path, cluster) as stand:
        first = stand.gated()
        await stand.submit(first)
        await stand.running(first)
        cluster.down()
        await stand.until(lambda: "unreachable" in stand.kinds(first), what="that the server is away")
        text = f'{kind} is forbidden: User "u" cannot create resource "{kind}" in the namespace "default"'
        cluster.refuse(403, "Forbidden", text, verb="create", kind=kind, count=2)
        second = stand.add(command=("true",))
        await stand.submit(second)
        cluster.up()
        stand.open_gate()
        await stand.succeeded(first, second)
    cluster.heal()


async def test_a_pod_that_is_heard_of_later_than_the_end_of_its_job_is_read_all_the_same(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    cluster.slow(4.0, verb="watch", kind="pods", count=1)
    async with standing_in(tmp_path, cluster) as stand:
        good = stand.add(command=("sh", "-c", "echo '{\"E\": 1}' > $PHYSLAB_VALUES"))
        await stand.submit(good)
        (result,) = await stand.succeeded(good)
        assert result.values == {"E": 1}
    cluster.heal()
