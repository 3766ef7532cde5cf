"""An engine with a short lease, another host name, its own lock, or a test's expander: DATA, the rest by environment."""

from __future__ import annotations

import os
import socket
import sys

import anyio
from load import FlatExpander

from physlab_mcp import lab, wiring
from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.backends.process import FileLock
from physlab_mcp.engine.daemon import Daemon, Settings, log_to
from physlab_mcp.engine.retry import Rules
from physlab_mcp.paths import DataDir
from physlab_mcp.stores.migrate import newest
from physlab_mcp.stores.sqlite import SQLiteStore

host = os.environ.get("FAULT_HOST")
if host:
    socket.gethostname = lambda: host
data = DataDir(sys.argv[1]).create()
lease_s = float(os.environ.get("FAULT_LEASE_S", "15"))
lock = FileLock(data.root / f"engine{host or ''}.lock")
if not lock.try_acquire():
    sys.exit("another engine already runs here")
log_to(data.engine_log)
daemon = Daemon(
    data=data,
    store=SQLiteStore(data.store, threaded=False),
    backends={"local": wiring.local_backend(data, lease_s=lease_s)},
    expander=FlatExpander,
    registry=lab.registry,
    blobs=Blobs(data.blobs),
    settings=Settings(
        lease_s=lease_s, schema=newest(), rules=Rules(back_off_s=float(os.environ.get("FAULT_BACK_OFF_S", "0.05")))
    ),
)
sys.stderr.write(anyio.run(daemon.run) + "\n")
lock.release()
