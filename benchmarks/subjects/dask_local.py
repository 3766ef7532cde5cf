"""Dask distributed on this machine: scheduler and two single-threaded worker processes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Self

from distributed import Client, Future, LocalCluster

from benchmarks.shapes import WORKERS, needs_of, no_op


class Subject:
    """A local cluster without its dashboard."""

    def __enter__(self) -> Self:
        self.folder = tempfile.TemporaryDirectory(prefix="bench-dask-", ignore_cleanup_errors=True)
        self.cluster = LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, dashboard_address=None, local_directory=self.folder.name
        )
        self.client = Client(self.cluster)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.cluster.close()
        self.folder.cleanup()

    def prepare(self, shape: str, n: int) -> Callable[[], None]:
        """Futures that depend on futures."""

        def run() -> None:
            futures: list[Future] = []
            for index in range(n):
                needs = [futures[need] for need in needs_of(shape, index)]
                futures.append(self.client.submit(no_op, *needs, pure=False))
            assert len(self.client.gather(futures)) == n

        return run
