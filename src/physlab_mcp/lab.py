"""The one place that wires: configuration -> store, backends, expander, engine, router."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.config import Config, load, locate
from physlab_mcp.engine.engine import Engine
from physlab_mcp.engine.link import ask, gone
from physlab_mcp.nodes.registry import Registry
from physlab_mcp.paths import DataDir, default_data_dir
from physlab_mcp.stores.migrate import is_older, newest
from physlab_mcp.stores.sqlite import SQLiteStore
from physlab_mcp.wiring import backends_of, following

if TYPE_CHECKING:
    from physlab_mcp.engine.loop import Expander
    from physlab_mcp.engine.offload import OffloadRules
    from physlab_mcp.tools.router import Router
    from physlab_mcp.words import NeedsSpec, Planned


@cache
def registry() -> Registry:
    """The node types of this installation, read once."""
    return Registry.load()


@cache
def _expander() -> Expander:
    from physlab_mcp.dags.run import DagExpander  # only an engine that has a plan to expand pays for it

    return DagExpander(registry())


def allowed_roots(config: Config, data: DataDir, roots: Sequence[Path]) -> list[Path]:
    """Folders that paths may name: those given, else the start folder; the configured ones; the data directory."""
    given = [Path(root).resolve() for root in roots] or [Path.cwd()]
    return [*given, *(Path(root) for root in config.limits.allowed_roots), data.root]


class Lab:
    """A client of the engine with everything a face of physlab (MCP, CLI, library, hub) needs."""

    def __init__(self, config: Config, data: DataDir, store: SQLiteStore, engine: Engine, roots: list[Path]) -> None:
        self.config = config
        self.data = data
        self.store = store
        self.engine = engine
        self.blobs = Blobs(data.blobs)
        self.roots = roots

    @property
    def registry(self) -> Registry:
        """The node types of this installation."""
        return registry()

    @cached_property
    def router(self) -> Router:
        """The door to all methods of the two tools."""
        from physlab_mcp.dags.check import Limits
        from physlab_mcp.tools.router import Router

        return Router(
            engine=self.engine,
            registry=registry,
            blobs=self.blobs,
            roots=self.roots,
            policies=self.config.backends.policies,
            limits=Limits(
                nodes=self.config.limits.max_nodes,
                edges=self.config.limits.max_edges,
                roots=tuple(self.roots),
                hidden=(self.data.root,),
                backends=self.config.backends.names,
            ),
            planner=self._planner(),
        )

    def _planner(self) -> Callable[..., Planned | NeedsSpec] | None:
        section = self.config.planner
        if section.base_url is None:
            return None
        from physlab_mcp.words.remote import Endpoint, plan_remotely

        endpoint = Endpoint(
            base_url=section.base_url,
            model=section.model,
            read_key=section.api_key.read if section.api_key is not None else None,
            timeout_s=section.timeout_s,
            max_tokens=section.max_tokens,
        )
        return partial(plan_remotely, endpoint=endpoint, cache=self.data.plans)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        config: Config | None = None,
        config_file: Path | None = None,
        data_dir: Path | None = None,
        roots: Sequence[Path] = (),
        start_engine: bool = True,
    ) -> AsyncGenerator[Lab, None]:
        """Open the data directory; an engine is started when there is work for it, unless `start_engine` is off.

        A store of an older schema is upgraded after its engine has handed over and a copy was made.

        Raises:
            ConflictError: the store is of a newer physlab.
            UnavailableError: the store cannot be opened.

        """
        follows = config is None
        config = config if config is not None else load(config_file)
        data = DataDir(data_dir or default_data_dir()).create()
        path = config.store_path(data)
        if is_older(path):
            await ask(data, "hand_over")
            await gone(data)
        store = SQLiteStore(path)
        places = allowed_roots(config, data, roots)
        readers = backends_of(config, data, roots=places, follow=following(config_file, places) if follows else None)
        engine = Engine(
            store,
            data,
            schema=newest(),
            command=engine_command(data, locate(config_file), places),
            readers=readers,
            registry=registry,
            roots=places,
            start=start_engine,
        )
        try:
            async with engine.running():
                yield cls(config, data, store, engine, places)
        finally:
            for reader in readers.values():
                await reader.aclose(keep=True)
            await store.aclose()


def engine_command(data: DataDir, config_file: Path | None, roots: Sequence[Path]) -> list[str]:
    """The command that starts the engine of a data directory."""
    named = ["--config", str(config_file)] if config_file is not None else []
    places = [word for root in roots for word in ("--root", str(root))]
    return [sys.executable, "-m", "physlab_mcp", "engine", "run", "--data-dir", str(data.root), *named, *places]


def _offload(config: Config) -> OffloadRules:
    from physlab_mcp.engine.offload import OffloadRules

    section = config.placement
    return OffloadRules(
        policy=section.policy,
        small_s=section.small_s,
        large_frames=section.large_frames,
        queue_s=section.queue_s,
        rate_bytes_s=section.rate_mb_s * 1e6,
    )


def run_engine(data_dir: Path | None = None, *, config_file: Path | None = None, roots: Sequence[Path] = ()) -> str:
    """Be the engine of a data directory until it ends; the answer says why it ended."""
    import anyio

    from physlab_mcp.artifacts.provenance import environment_id
    from physlab_mcp.backends.process import FileLock, loop_options
    from physlab_mcp.engine.daemon import Daemon, Settings, log_to
    from physlab_mcp.engine.retry import Rules

    data = DataDir(data_dir or default_data_dir()).create()
    config = load(config_file)
    lock = FileLock(data.engine_lock)
    if not lock.try_acquire():
        return "another engine already runs here"
    log_to(data.engine_log, os.environ.get("PHYSLAB_LOG", config.logging.level))
    store = SQLiteStore(config.store_path(data), threaded=False)
    environment = environment_id() if config.provenance.capture == "full" else ""
    daemon = Daemon(
        data=data,
        store=store,
        backends=backends_of(config, data, roots=roots, environment=environment, follow=following(config_file, roots)),
        expander=_expander,
        registry=registry,
        blobs=Blobs(data.blobs),
        settings=Settings(
            schema=newest(),
            lease_s=config.engine.lease_s,
            idle_exit_s=config.engine.idle_exit_s,
            rules=Rules(lost_retries=config.limits.lost_retries, elsewhere=config.placement.elsewhere),
            offload=_offload(config),
            approve=frozenset(name for name, policy in config.backends.policies.items() if policy == "approve"),
            environment=environment,
        ),
    )
    try:
        return anyio.run(daemon.run, backend_options=loop_options())
    finally:
        lock.release()
