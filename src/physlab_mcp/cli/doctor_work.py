"""What `physlab doctor` looks at next: node types, optional packages, devices, the planner, commands."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from physlab_mcp.cli.doctor_finding import Finding
from physlab_mcp.cli.opened import config_of
from physlab_mcp.errors import PhyslabError

if TYPE_CHECKING:
    from physlab_mcp.config import Secret

_TORCH_S = 120.0
_DIAL_S = 3.0
# Asks torch in a process of its own: it takes seconds and hundreds of megabytes, and a broken driver may crash it.
_ASK_TORCH = """
import sys
import torch
print("version", torch.__version__)
for name in sys.argv[1:]:
    place = "cuda" if name == "hip" else name
    try:
        torch.ones(2, device=place).sum().item()
        if name == "hip" and not torch.version.hip:
            raise RuntimeError("this torch is built for CUDA")
        print(name, "ok")
    except Exception as error:
        print(name, f"{type(error).__name__}: {error}".splitlines()[0])
"""


def node_types(args: Namespace) -> Iterator[Finding]:
    """Which node types there are, and which modules that were asked for cannot be imported."""
    del args
    from physlab_mcp.nodes.extras import extra_of
    from physlab_mcp.nodes.registry import Registry

    logging.getLogger("physlab_mcp.nodes.registry").setLevel(logging.CRITICAL)  # what fails is a finding here
    registry = Registry.load()
    tools = Counter(one.tool for one in registry)
    told = ", ".join(f"{tool} ({count})" if count > 1 else tool for tool, count in sorted(tools.items()))
    lame = [one.name for one in registry if any(_absent(package) for package in one.packages)]
    lack = f", {len(lame)} of them lack optional packages (see below)" if lame else ""
    yield Finding("node types", "warn" if lame else "ok", f"{sum(tools.values())}{lack}: {told}")
    for module, reason in registry.broken.items():
        wanted = reason.partition("No module named ")[2].strip("'\"")
        extra = extra_of(wanted)
        remedy = _install(extra) if extra else f"Mend or remove {module} (an entry point, or $PHYSLAB_NODES)."
        yield Finding("node types", "fail", f"{module} cannot be imported: {reason}", remedy)


def _absent(package: str) -> bool:
    try:
        return find_spec(package) is None
    except (ImportError, ValueError):
        return True


def _install(extra: str) -> str:
    from physlab_mcp.nodes.extras import install_command

    return install_command(extra)


def extras(args: Namespace) -> Iterator[Finding]:
    """Optional packages."""
    del args
    from physlab_mcp.nodes.extras import EXTRAS, missing_of, version_of

    lost = {
        "science": "numeric node types, figures and reports do not work",
        "video": "films can be made as gif only",
        "cluster": "no cluster can be reached over SSH, and no Kubernetes",
    }
    for extra, packages in EXTRAS.items():
        missing = missing_of(extra)
        if missing:
            without = f"; {lost[extra]}" if extra in lost else ""
            yield Finding(extra, "warn", f"not installed: {', '.join(missing)}{without}", _install(extra))
        else:
            yield Finding(extra, "ok", ", ".join(f"{package} {version_of(package)}" for package in packages))


def devices(args: Namespace) -> Iterator[Finding]:
    """What this machine computes with, tried."""
    del args
    from physlab_mcp.nodes.device import detect_devices
    from physlab_mcp.nodes.extras import add_package

    seen = detect_devices()
    fast = [name for name in seen if name != "cpu"]
    if find_spec("torch") is None:
        if fast:
            text = f"{', '.join(seen)}; torch is not installed, so nodes compute on the CPU"
            yield Finding("devices", "warn", text, add_package("torch"))
        else:
            yield Finding("devices", "ok", "cpu (no GPU seen; torch is not installed and not needed)")
        return
    try:
        asked = subprocess.run(
            [sys.executable, "-c", _ASK_TORCH, *fast], capture_output=True, text=True, timeout=_TORCH_S, check=False
        )
    except subprocess.TimeoutExpired:
        yield Finding("devices", "warn", f"torch did not answer within {_TORCH_S:g} s", "Look at the driver.")
        return
    told = dict(line.split(" ", 1) for line in asked.stdout.splitlines() if " " in line)
    if "version" not in told:
        why = (asked.stderr.strip().splitlines() or [f"exit code {asked.returncode}"])[-1]
        yield Finding("devices", "warn", f"torch cannot be imported: {why}", add_package("--upgrade", "torch"))
        return
    refused = {name: told.get(name, "torch ended while it was tried") for name in fast}
    refused = {name: why for name, why in refused.items() if why != "ok"}
    works = [name for name in seen if name not in refused]
    yield Finding("devices", "ok", f"{', '.join(works)}; torch {told['version']}")
    for name, why in refused.items():
        remedy = (
            "Install a torch built for this device (pytorch.org), or look at its driver; until then the CPU is used."
        )
        yield Finding("devices", "warn", f"{name} is seen, but torch cannot use it: {why}", remedy)


def planner(args: Namespace) -> Iterator[Finding]:
    """The remote planner: named, its key readable, its host reachable. The key is neither shown nor sent."""
    section = config_of(args).planner
    if section.base_url is None:
        yield Finding("planner", "ok", "built-in grammar only (planner.base_url is not set)")
        return
    where = urlsplit(section.base_url)
    text = f"{section.model} at {where.netloc.rpartition('@')[2]}"
    if where.scheme not in ("http", "https") or not where.hostname:
        remedy = "Set planner.base_url to an address such as https://api.deepseek.com/v1"
        yield Finding("planner", "fail", f"{section.base_url!r} is no address", remedy)
        return
    if section.api_key is None:
        text += ", without a key"
    else:
        broken = _unreadable("planner.api_key", section.api_key)
        if broken is not None:
            yield broken
            return
        text += ", its key is readable"
    proxied = where.scheme in getproxies() and not proxy_bypass(where.hostname)
    why = "" if proxied else _dial(where.hostname, where.port or (443 if where.scheme == "https" else 80))
    if why:
        remedy = "Check planner.base_url and the network; meanwhile the built-in grammar plans alone."
        yield Finding("planner", "warn", f"{text}; it cannot be reached: {why}", remedy)
    else:
        yield Finding("planner", "ok", f"{text}, {'through a proxy' if proxied else 'reachable'}")


def access(args: Namespace) -> Iterator[Finding]:
    """The token of the HTTP server, where one is configured."""
    auth = config_of(args).auth
    if auth.mode == "off":
        remedy = "Set auth.mode to token unless every program of this machine may call."
        yield Finding("HTTP", "warn", "`physlab-mcp --http` asks for no token", remedy)
    elif auth.token is not None:
        yield _unreadable("auth.token", auth.token) or Finding("HTTP", "ok", "the configured token is readable")


def _unreadable(field: str, secret: Secret) -> Finding | None:
    try:
        secret.read()
    except PhyslabError as error:
        return Finding(field, "fail", error.message, error.remedy or "")
    return None


def _dial(host: str, port: int) -> str:
    """Why no connection can be made; empty where one can."""
    try:
        socket.create_connection((host, port), timeout=_DIAL_S).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def commands(args: Namespace) -> Iterator[Finding]:
    """Whether commands from agents can run."""
    from physlab_mcp.backends import sandbox

    policy = config_of(args).backends.local.commands
    reason = sandbox.available() if policy != "deny" else None
    if reason is None:
        inside = ", in a sandbox" if policy != "deny" else ""
        yield Finding("commands", "ok", f"commands from agents: {policy}{inside}")
    else:
        why, _, remedy = reason.partition(". ")
        remedy = remedy or "Set backends.local.commands to deny."
        text = f"commands from agents cannot run: {why.rstrip('.')}; commands of yours are not concerned"
        yield Finding("commands", "warn", text, remedy)
