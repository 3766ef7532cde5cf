"""What `physlab doctor` looks at on clusters: each is asked by its own backend, all at once, and for so long at most."""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import anyio

from physlab_mcp.cli.doctor_finding import Finding
from physlab_mcp.cli.opened import config_of, data_of, roots_of
from physlab_mcp.errors import PhyslabError
from physlab_mcp.nodes.extras import extra_of, install_command
from physlab_mcp.schemas.job import HERE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from physlab_mcp.backends.base import Backend

_ASK_S = 30.0
_CLOSE_S = 5.0


@runtime_checkable
class Diagnosing(Protocol):
    """A backend that says what is wrong with it."""

    async def diagnose(self) -> Sequence[Any]:
        """Rows with `what`, `state` (ok, warn, fail), `text` and `remedy`."""
        ...


def clusters(args: Namespace) -> Iterator[Finding]:
    """One section for each cluster that is configured: reached, what it has, what is missing, who may run commands there."""
    from physlab_mcp.wiring import backends_of

    config = config_of(args)
    if config.backends.names == (HERE,):
        return
    made = backends_of(config, data_of(args), roots=roots_of(args))
    away = {name: one for name, one in made.items() if name != HERE}
    logging.disable(logging.CRITICAL)  # what fails is a finding here
    try:
        found = anyio.run(partial(diagnosed, away, within_s=_ASK_S))
    finally:
        logging.disable(logging.NOTSET)
    for name, rows in found.items():
        yield from rows
        policy = config.backends.policies[name]
        told = "; they run there as your user of the cluster, without a sandbox" if policy == "allow" else ""
        yield Finding(f"{name} commands", "ok", f"commands from agents: {policy}{told}")


async def diagnosed(backends: Mapping[str, Backend], *, within_s: float) -> dict[str, list[Finding]]:
    """What each says of itself, by name; one that does not answer in time is a finding too."""
    found: dict[str, list[Finding]] = {}

    async def ask(name: str, backend: Backend) -> None:
        rows: list[Finding] | None = None
        with anyio.move_on_after(within_s):
            rows = await _rows(name, backend)
        found[name] = rows or [Finding(name, "fail", f"it did not answer within {within_s:g} s", _remedy(name))]
        with anyio.move_on_after(_CLOSE_S), suppress(PhyslabError):
            await backend.aclose(keep=True)

    async with anyio.create_task_group() as tasks:
        for name, backend in backends.items():
            tasks.start_soon(ask, name, backend)
    return {name: found[name] for name in backends}


async def _rows(name: str, backend: Backend) -> list[Finding]:
    try:
        if isinstance(backend, Diagnosing):
            return [Finding(one.what, one.state, one.text, one.remedy) for one in await backend.diagnose()]
        told = await backend.describe()
    except PhyslabError as error:
        return [Finding(name, "fail", error.message, error.remedy or _remedy(name))]
    except ModuleNotFoundError as error:
        extra = extra_of(error.name)
        return [Finding(name, "fail", str(error), install_command(extra) if extra else _remedy(name))]
    except Exception as error:
        return [Finding(name, "fail", f"{type(error).__name__}: {error}", _remedy(name))]
    if not told.reachable:
        return [Finding(name, "fail", f"it cannot be reached: {told.detail.get('why') or 'no answer'}", _remedy(name))]
    return [Finding(name, "ok", f"reachable, {told.slots} slots")]


def _remedy(name: str) -> str:
    return f"Check the network and backends.{name} of the configuration; jobs that are there go on meanwhile."
