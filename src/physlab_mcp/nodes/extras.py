"""Optional packages: the extra that brings each, and the command that puts it into this very installation."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from urllib.parse import unquote, urlsplit

NAME = "physlab-mcp"
EXTRAS = {
    "science": ("numpy", "scipy", "matplotlib", "pint", "sympy", "reportlab"),
    "video": ("av",),
    "library": ("cloudpickle", "pandas", "pyarrow"),
    "packages": ("cryptography",),
    "cluster": ("asyncssh", "kubernetes"),
}
_IMPORTED_AS = {"mpl_toolkits": "matplotlib"}


def version_of(package: str) -> str | None:
    """The installed version of a package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def missing_of(extra: str) -> list[str]:
    """The packages of an extra that are not installed."""
    return [package for package in EXTRAS[extra] if version_of(package) is None]


def extra_of(module: str | None) -> str | None:
    """The extra that brings a module; None where none does."""
    top = (module or "").partition(".")[0]
    top = _IMPORTED_AS.get(top, top)
    return next((extra for extra, packages in EXTRAS.items() if top in packages), None)


def install_command(extra: str) -> str:
    """What to type to add an extra to the installation that runs this, as it was installed: with uv, pipx or pip."""
    source, editable = _source()
    kept = [one for one in EXTRAS if one != extra and not missing_of(one)]
    every = ",".join(sorted({extra, *kept}))
    prefix = Path(sys.prefix)
    if (prefix / "uv-receipt.toml").is_file():
        return _typed(["uv", "tool", "install", "--force", f"{source}[{every}]"])
    if (prefix / "pipx_metadata.json").is_file():
        return _typed(["pipx", "install", "--force", f"{source}[{every}]"])
    program = ["uv", "pip", "install", "--python", sys.executable]
    if shutil.which("uv") is None:
        program = [sys.executable, "-m", "pip", "install"]
    return _typed([*program, *(["-e"] if editable else []), f"{source}[{extra}]"])


def add_package(*words: str) -> str:
    """What to type to add a package that no extra brings; `words` may hold options."""
    program = ["uv", "pip", "install", "--python", sys.executable]
    if shutil.which("uv") is None:
        program = [sys.executable, "-m", "pip", "install"]
    return _typed([*program, *words])


def _source() -> tuple[str, bool]:
    """Where this was installed from (a folder, an address, or the index) and whether the folder itself is run."""
    try:
        told = distribution(NAME).read_text("direct_url.json")
        body = json.loads(told or "{}")
    except (PackageNotFoundError, ValueError):
        body = {}
    address = str(body.get("url", ""))
    if not address:
        return NAME, False
    if not address.startswith("file://"):
        kind = body.get("vcs_info", {}).get("vcs")
        return f"{NAME} @ {kind + '+' if kind else ''}{address}", False
    path = unquote(urlsplit(address).path)
    if sys.platform == "win32":
        path = path.lstrip("/")
    return path, bool(body.get("dir_info", {}).get("editable"))


def _typed(words: list[str]) -> str:
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)
