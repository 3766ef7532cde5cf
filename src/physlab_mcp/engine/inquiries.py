"""What places answer when they are asked: what they are now, and when a job would start. Bounded in time, never an error."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol, runtime_checkable

import anyio
import msgspec

from physlab_mcp.backends.base import Backend, BackendInfo
from physlab_mcp.errors import PhyslabError
from physlab_mcp.schemas.job import JobSpec

logger = logging.getLogger(__name__)
ASK_S = 5.0  # the longest wait for an answer


@runtime_checkable
class Foretelling(Protocol):
    """A backend that can say when a job would start."""

    async def estimate(self, spec: JobSpec) -> Any:
        """`starts_at` (seconds since the epoch), `wait_s`, `cpu_hours` and more, as a struct or mapping.

        Raises:
            RejectedError: it can never run there.
            UnavailableError: the place cannot be asked, or does not say.

        """
        ...


class Estimate(msgspec.Struct, frozen=True):
    """What a place foretells of a job, plain; or why it does not."""

    told: dict[str, Any] | None = None
    why_not: str = ""


async def described(backends: Mapping[str, Backend], *, wait_s: float = ASK_S) -> dict[str, BackendInfo]:
    """Each backend as it is now; all are asked at once. One that does not answer counts as not reachable."""
    found: dict[str, BackendInfo] = {}

    async def ask(name: str, backend: Backend) -> None:
        why = f"it did not answer within {wait_s:g} s"
        with anyio.move_on_after(wait_s):
            try:
                found[name] = await backend.describe()
            except PhyslabError as error:
                why = error.message
            except Exception as error:
                logger.exception("%s cannot say what it is", name)
                why = f"{type(error).__name__}: {error}"
        if name not in found:
            found[name] = BackendInfo(name=name, reachable=False, detail={"why": why})

    async with anyio.create_task_group() as tasks:
        for name, backend in backends.items():
            tasks.start_soon(partial(ask, name, backend))
    return {name: found[name] for name in backends}


async def foretold(backend: Backend | None, spec: JobSpec, *, wait_s: float = ASK_S) -> Estimate:
    """When a job would start at a place and what it would cost; nothing is submitted."""
    if not isinstance(backend, Foretelling):
        return Estimate()
    try:
        with anyio.fail_after(wait_s):
            answer: dict[str, Any] = msgspec.to_builtins(await backend.estimate(spec))
    except TimeoutError:
        return Estimate(why_not=f"{backend.name} did not answer within {wait_s:g} s")
    except PhyslabError as error:
        return Estimate(why_not=error.message)
    except Exception as error:
        logger.exception("%s cannot tell when a job would start", backend.name)
        return Estimate(why_not=f"{type(error).__name__}: {error}")
    answer.setdefault("wait_s", max(0.0, answer.get("starts_at", 0.0) - time.time()))
    return Estimate(told=answer)
