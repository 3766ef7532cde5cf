"""A real lab with a real engine on a fresh data directory."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from held_lab import held_lab

from physlab_mcp.lab import Lab


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """Its engine starts with the first submission and is stopped at the end."""
    async with held_lab(tmp_path / "data", roots=[tmp_path], start_engine=True) as opened:
        yield opened
