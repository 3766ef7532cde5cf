"""Parsl with two threads in the client's own process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Self

import parsl
from parsl.executors.base import ParslExecutor
from parsl.executors.threads import ThreadPoolExecutor

from benchmarks.shapes import WORKERS, needs_of, no_op


class Subject:
    """A data-flow kernel of its own; the graph lives in this process."""

    def __enter__(self) -> Self:
        self.folder = tempfile.TemporaryDirectory(prefix="bench-parsl-", ignore_cleanup_errors=True)
        config = parsl.Config(executors=[self.executor()], run_dir=self.folder.name, usage_tracking=0)
        self.kernel = parsl.load(config)
        self.app = parsl.python_app(no_op)
        return self

    def executor(self) -> ParslExecutor:
        """Where the apps run."""
        return ThreadPoolExecutor(max_threads=WORKERS)

    def __exit__(self, *_: object) -> None:
        self.kernel.cleanup()
        parsl.clear()
        self.folder.cleanup()

    def prepare(self, shape: str, n: int) -> Callable[[], None]:
        """Futures that depend on futures."""

        def run() -> None:
            futures = []
            for index in range(n):
                futures.append(self.app(*(futures[need] for need in needs_of(shape, index))))
            assert len([one.result() for one in futures]) == n

        return run
