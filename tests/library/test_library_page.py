"""The guide and the example run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

from physlab_mcp.library.engine import Engine

ROOT = Path(__file__).parent.parent.parent
DEADLINE_S = 240


def run(program: Path, folder: Path, engine: Engine) -> str:
    env = {**os.environ, "PHYSLAB_DATA_DIR": str(engine._bridge._options["data_dir"]), "PHYSLAB_SCHEDULE": "now"}
    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_snippets_of_the_guide_run_as_one_program(engine: Engine, tmp_path: Path):
    page = (ROOT / "docs" / "library.md").read_text()
    program = tmp_path / "guide.py"
    program.write_text("\n".join(re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)))
    said = run(program, tmp_path, engine)
    assert "'degree': " in said
    assert "(50,)" in said
    assert (tmp_path / "physlab-out" / "polynomials_v1").is_dir()


def test_the_example_finds_its_best_network_and_exports_its_package(engine: Engine, tmp_path: Path):
    said = run(ROOT / "examples" / "library_neural_net.py", tmp_path, engine)
    assert float(said.split()[-1]) > 0.6
    assert any((tmp_path / "physlab-out" / "neural_net_experiment_v1").iterdir())
