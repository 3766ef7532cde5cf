"""Packages of a real run and of a real sweep, made once; each test gets copies that it may spoil."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from physlab_mcp.bundles import signature
from physlab_mcp.bundles.contents import Contents
from physlab_mcp.bundles.shapes import MANIFEST, SIGNATURE

HERE = Path(__file__).parent


class Packages:
    """The packages as made, and the key that signed them."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder = folder
        self.key = data / "signing.key"

    def copy(self, name: str, target: Path) -> Path:
        """A copy that a test may change."""
        return Path(shutil.copytree(self.folder / name, target / name))

    def seal(self, package: Path) -> None:
        """List and sign a changed package again, as somebody with the key could."""
        contents = Contents(package)
        for path in sorted(package.rglob("*")):
            name = path.relative_to(package).as_posix()
            if path.is_file() and name not in (MANIFEST, SIGNATURE):
                contents.add(name, path.read_bytes())
        listed = contents.manifest()
        body = json.loads((package / SIGNATURE).read_text())["signed"]
        import hashlib

        body |= {"count": len(contents.entries), "manifest_sha256": hashlib.sha256(listed).hexdigest()}
        (package / MANIFEST).write_bytes(listed)
        (package / SIGNATURE).write_text(json.dumps(signature.sign(body, self.key)))


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    data = Path(tempfile.mkdtemp(prefix="physlab-bundles-"))
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("PHYSLAB_")},
        "PHYSLAB_DATA_DIR": str(data),
        "PHYSLAB_NODES": "bundle_nodes",
        "PYTHONPATH": str(HERE),
    }
    try:
        subprocess.run(
            [sys.executable, str(HERE / "package_program.py"), str(folder)],
            env=environment, cwd=folder, check=True, timeout=150,
        )  # fmt: skip
        yield Packages(folder, data)
    finally:
        subprocess.run(
            [sys.executable, "-m", "physlab_mcp", "engine", "stop"], env=environment, timeout=60, check=False,
            capture_output=True,
        )  # fmt: skip
        shutil.rmtree(data, ignore_errors=True)
