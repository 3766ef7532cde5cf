"""The house is in order: small rooms, one direction, no leftovers of the machine it was built on."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
MOST_LINES = 400
MOST_STATEMENTS = 40

# What may be larger, and why.
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}
VAGUE = {"utils", "util", "common", "misc", "helper", "helpers", "manager", "managers"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT / "src" / "physlab_mcp").as_posix()


def statements(function: ast.AST) -> int:
    """Statements of a function, those of functions within it not counted, nor its docstring."""
    count = 0
    stack = list(ast.iter_child_nodes(function))
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            count += 1
            continue
        count += isinstance(node, ast.stmt)
        stack.extend(ast.iter_child_nodes(node))
    return count


def functions(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{name_of(path)}:{node.name}", node


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()]


def test_files_are_small_rooms():
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES and name not in LONG_FILES} == {}


def test_functions_do_one_thing():
    sizes = {name: statements(node) for path in SOURCES for name, node in functions(path)}
    assert {name: size for name, size in sizes.items() if size > MOST_STATEMENTS and name not in LONG_FUNCTIONS} == {}


def test_every_exception_is_still_needed():
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in SOURCES}
    sizes = {name: statements(node) for path in SOURCES for name, node in functions(path)}
    assert [name for name in LONG_FILES if lengths.get(name, 0) <= MOST_LINES] == []
    assert [name for name in LONG_FUNCTIONS if sizes.get(name, 0) <= MOST_STATEMENTS] == []


def test_no_module_has_a_vague_name():
    assert [name_of(path) for path in SOURCES if path.stem in VAGUE or path.parent.name in VAGUE] == []


def test_imports_flow_one_way():
    program = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout


def test_the_lock_file_names_the_public_index_only():
    hosts = set(re.findall(r"https?://([^/\"]+)", (ROOT / "uv.lock").read_text()))
    assert hosts <= {"pypi.org", "files.pythonhosted.org"}


def test_nothing_names_the_machine_it_was_built_on():
    own = re.compile(rf"{re.escape(str(ROOT))}\b|/(?:Users|home)/(?!user\b|you\b|me\b|ada\b)[\w.-]+/|/root/\.")
    hits = {path: own.search(text) for path, text in texts()}
    assert {path.relative_to(ROOT).as_posix(): hit.group() for path, hit in hits.items() if hit} == {}


def test_nothing_points_outside_of_the_repository():
    outside = re.compile(r"\bshared/(?:design|facts|hooks|recipes)\b|\bfacts/\w+\.md|\binterfaces\.md|\bstyle\.md")
    hits = {path: outside.search(text) for path, text in texts()}
    assert {path.relative_to(ROOT).as_posix(): hit.group() for path, hit in hits.items() if hit} == {}


def texts():
    for path in tracked():
        if path.name == "uv.lock" or path == Path(__file__):
            continue
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def test_what_the_ci_runs_is_the_test_command():
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert "set -euo pipefail" in lines
    assert lines[-1] == "make test"


def test_the_clean_command_and_all_others_have_the_lock_frozen():
    text = (ROOT / "Makefile").read_text()
    assert re.findall(r"\$\(UV\) (sync|run)(?! --frozen)", text) == []


def test_the_engine_starts_without_what_it_does_not_need():
    program = (
        "import sys\n"
        "import physlab_mcp.lab, physlab_mcp.engine.daemon\n"
        "heavy = {'mcp', 'networkx', 'numpy', 'scipy', 'matplotlib', 'rich', 'reportlab'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
