"""A lab without an engine: everything durable works, nothing runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from held_lab import held_lab

from physlab_mcp.lab import Lab
from physlab_mcp.tools.router import Router


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """Opened on a fresh data directory; its engine is never started."""
    async with held_lab(tmp_path / "data", roots=[tmp_path], start_engine=False) as opened:
        yield opened


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Router]:
    """The door to a lab whose engine runs."""
    async with held_lab(tmp_path / "data", roots=[tmp_path], start_engine=True) as opened:
        yield opened.router


@pytest.fixture
def router(lab: Lab) -> Router:
    """The door to all methods."""
    return lab.router
