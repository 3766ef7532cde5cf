"""Parsl's HighThroughputExecutor: an interchange and two worker processes on this machine."""

from __future__ import annotations

from parsl.executors import HighThroughputExecutor
from parsl.executors.base import ParslExecutor
from parsl.providers import LocalProvider

from benchmarks.shapes import WORKERS
from benchmarks.subjects import parsl_threads


class Subject(parsl_threads.Subject):
    """One block of two workers over the loopback interface."""

    def executor(self) -> ParslExecutor:
        """Where the apps run."""
        return HighThroughputExecutor(
            address="127.0.0.1",
            max_workers_per_node=WORKERS,
            encrypted=False,
            provider=LocalProvider(init_blocks=1, max_blocks=1),
        )
