"""Makes physlab-0.0.9.zip: this package with schema 1 and without what schema 2 brought. Run by hand, once.

The zip is the older release that tests/faults/test_upgrade.py starts for real: its engine, store and worker.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE.parents[2] / "src"
LEFT_OUT = ("cli", "server", "tools", "reports")
CHANGED = {
    "physlab_mcp/__init__.py": [('__version__ = "0.1.0"', '__version__ = "0.0.9"')],
    "physlab_mcp/stores/history.py": [
        ("    newest = connection", "    return 0\n    newest = connection"),
        ("    while True:\n        found = select(", "    while False:\n        found = select("),
    ],
}


def main() -> None:
    """Write the zip."""
    target = HERE / "physlab-0.0.9.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted((SOURCE / "physlab_mcp").rglob("*")):
            name = path.relative_to(SOURCE).as_posix()
            if path.suffix not in (".py", ".sql") or name.split("/")[1] in LEFT_OUT or "__pycache__" in name:
                continue
            if name.endswith("schema/0002_segments.sql"):
                continue
            text = path.read_text()
            for old, new in CHANGED.get(name, []):
                if old not in text:
                    sys.exit(f"{name} no longer holds {old!r}")
                text = text.replace(old, new)
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), text, zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    main()
