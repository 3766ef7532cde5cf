"""Whether the tests reach what they must: reads what `make test` measured, names what is below its bar.

All of the sweep generator, of metadata capture and of every figure (lines and branches), and nine tenths of the engine.
"""

from __future__ import annotations

import json
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from coverage import Coverage

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "build" / "coverage"
# What is measured stands in pyproject.toml under tool.coverage.run; every measured module has a bar here.
BARS = {
    "sweep generation": (100.0, ("dags/*", "schemas/cron.py", "schemas/recurrence.py")),
    "metadata capture": (100.0, ("analysis/metadata.py", "artifacts/provenance.py")),
    "figures": (100.0, ("analysis/choose.py", "analysis/figures/*")),
    "the engine": (90.0, ("engine/*",)),
}


def measured(folder: Path) -> dict[str, Any]:
    """What the processes of the measured tests left, put together: coverage's JSON report, by module below physlab_mcp."""
    report = folder / "report.json"
    coverage = Coverage(config_file=str(ROOT / "pyproject.toml"), data_file=str(folder / "all"))
    coverage.combine([str(part) for part in folder.glob("part.*")], keep=True)
    coverage.json_report(outfile=str(report))
    files = json.loads(report.read_text())["files"]
    return {name.replace("\\", "/").split("physlab_mcp/", 1)[1]: one for name, one in files.items()}


def missing(module: dict[str, Any]) -> str:
    """The lines and branches of a module that no test reached."""
    jumps = [f"{here}->{there if there > 0 else 'exit'}" for here, there in module["missing_branches"]]
    lines = set(module["missing_lines"])
    kept = [jump for jump in jumps if int(jump.split("->")[0]) not in lines]
    return ", ".join([*map(str, sorted(lines)), *kept])


def reached(modules: list[dict[str, Any]]) -> float:
    """Percent of the lines and branches of these modules together; 0 where there is none."""
    sums = [one["summary"] for one in modules]
    all_ = sum(one["num_statements"] + one["num_branches"] for one in sums)
    return 100 * sum(one["covered_lines"] + one["covered_branches"] for one in sums) / all_ if all_ else 0.0


def check(folder: Path) -> int:
    """Print a line for each part; 1 where one is below its bar, and then its modules with what is missing."""
    if not any(folder.glob("part.*")):
        sys.stderr.write(f"Nothing was measured in {folder}: run `make test`.\n")
        return 1
    files = measured(folder)
    below = 0
    for part, (bar, patterns) in BARS.items():
        modules = {name: one for name, one in files.items() if any(fnmatch(name, pattern) for pattern in patterns)}
        percent = reached([*modules.values()])
        sys.stdout.write(f"coverage of {part}: {percent:.1f} % of {len(modules)} modules (at least {bar:g} %)\n")
        if percent >= bar:
            continue
        below += 1
        for name, one in sorted(modules.items()):
            if lost := missing(one):
                sys.stderr.write(f"  {name}: {lost}\n")
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(check(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA))
