"""The peers' own virtual environment: made once, remade when peers.txt changes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WANTED = ROOT / "benchmarks" / "peers.txt"
PLACE = ROOT / ".tools" / "peers"


def peers_python() -> str:
    """The interpreter of the peers' environment.

    Raises:
        FileNotFoundError: there is no uv to make it with.

    """
    python, made_of = PLACE / "bin" / "python", PLACE / "made-of.txt"
    if made_of.is_file() and made_of.read_text() == WANTED.read_text():
        return str(python)
    uv = shutil.which("uv") or shutil.which(ROOT / ".tools" / "uv" / "bin" / "uv")
    if uv is None:
        raise FileNotFoundError("uv is needed to install the peers; leave them out with --no-peers.")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", version, PLACE], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "-r", WANTED], check=True)
    made_of.write_text(WANTED.read_text())
    return str(python)
