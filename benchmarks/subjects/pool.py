"""concurrent.futures.ProcessPoolExecutor: in memory and nothing kept, so the limit for whoever runs each node in a worker."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Self

from benchmarks.shapes import WIDTH, WORKERS, needs_of, no_op


class Subject:
    """A pool of two."""

    def __enter__(self) -> Self:
        self.pool = ProcessPoolExecutor(WORKERS)
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown()

    def prepare(self, shape: str, n: int) -> Callable[[], None]:
        """A pool knows no graphs: layers are awaited one by one."""
        size = {"sweep": n, "layered": WIDTH, "chain": 1}[shape]

        def run() -> None:
            results: list[int] = []
            for first in range(0, n, size):
                layer: list[Future[int]] = [
                    self.pool.submit(no_op, *(results[need] for need in needs_of(shape, index)))
                    for index in range(first, min(first + size, n))
                ]
                results += [one.result() for one in layer]
            assert len(results) == n

        return run
