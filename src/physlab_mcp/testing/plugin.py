"""The pytest plugin: fixtures for a laboratory in one process. Loaded by its entry point; imports nothing until asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

try:
    from pytest_asyncio import fixture as asynchronous_fixture
except ImportError:  # the synchronous fixtures are good without it
    asynchronous_fixture = pytest.fixture

if TYPE_CHECKING:
    from physlab_mcp.testing import ScriptedBackend, VirtualClock, VirtualLab


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """A clock that stands still until it is moved."""
    from physlab_mcp.testing import VirtualClock

    return VirtualClock()


@pytest.fixture
def scripted_backend(virtual_clock: VirtualClock) -> ScriptedBackend:
    """One slot where every job takes a second and succeeds; set `.script` and `.slots` for more."""
    from physlab_mcp.testing import Outcome, ScriptedBackend

    return ScriptedBackend(virtual_clock, lambda _assignment: Outcome())


@asynchronous_fixture
async def virtual_lab(
    scripted_backend: ScriptedBackend, virtual_clock: VirtualClock, tmp_path: Path
) -> AsyncIterator[VirtualLab]:
    """The real loop and an in-memory store over `scripted_backend`, driven by `virtual_clock`."""
    from physlab_mcp.testing import VirtualLab

    async with AsyncExitStack() as stack:
        opened: Callable[..., Any] = VirtualLab.open
        yield await stack.enter_async_context(opened(scripted_backend, virtual_clock, blobs=tmp_path / "blobs"))
