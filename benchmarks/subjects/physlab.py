"""physlab-mcp: a client process, its engine and two workers on a fresh data directory (or on $BENCH_DATA_DIR)."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Self

from anyio.from_thread import start_blocking_portal

from benchmarks.laboratory import new_dag, new_plan, opened, run_to_end


class Subject:
    """A lab behind a blocking portal; the engine is started by the first submission."""

    def __enter__(self) -> Self:
        self.stack = ExitStack()
        self.portal = self.stack.enter_context(start_blocking_portal())
        place = os.environ.get("BENCH_DATA_DIR")
        self.lab = self.stack.enter_context(self.portal.wrap_async_context_manager(opened(place)))
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def prepare(self, shape: str, n: int) -> Callable[[], None]:
        """The DAG checked and the plan made; the run itself is from the submission to the client seeing the end."""
        dag = new_dag(shape, n)
        plan = new_plan(dag, shape, n)

        def run() -> None:
            self.portal.call(run_to_end, self.lab, plan, dag)

        return run
