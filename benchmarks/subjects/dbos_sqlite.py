"""DBOS on SQLite: durable like physlab. A sweep is a workflow per point, a chain the steps of one workflow."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Self

from dbos import DBOS, DBOSConfig

from benchmarks.shapes import no_op


@DBOS.step()
def step(value: int) -> int:
    """One durable step."""
    return no_op(value)


@DBOS.workflow()
def chain(n: int) -> int:
    """Steps one after another."""
    value = 0
    for _ in range(n):
        value = step(value)
    return value


class Subject:
    """One process on one SQLite file."""

    def __enter__(self) -> Self:
        self.folder = tempfile.TemporaryDirectory(prefix="bench-dbos-", ignore_cleanup_errors=True)
        database = f"sqlite:///{Path(self.folder.name) / 'dbos.sqlite'}"
        config: DBOSConfig = {
            "name": "bench",
            "system_database_url": database,
            "run_admin_server": False,
            "log_level": "ERROR",
        }
        DBOS(config=config)
        DBOS.launch()
        return self

    def __exit__(self, *_: object) -> None:
        DBOS.destroy()
        self.folder.cleanup()

    def prepare(self, shape: str, n: int) -> Callable[[], None]:
        """It has no graphs: `layered` is not asked of it."""

        def run() -> None:
            if shape == "chain":
                assert chain(n) == 0
                return
            handles = [DBOS.start_workflow(chain, 1) for _ in range(n)]
            assert sum(handle.get_result() for handle in handles) == 0

        return run
