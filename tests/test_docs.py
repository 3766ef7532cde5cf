"""The documentation is true: snippets run, everything has its heading, links lead somewhere."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import get_args

import pytest

from physlab_mcp import config, errors
from physlab_mcp.backends.kubernetes.settings import KubernetesSettings
from physlab_mcp.backends.slurm.settings import SlurmSettings
from physlab_mcp.cli.parser import build, every_command
from physlab_mcp.dags.sweep import read_sweep
from physlab_mcp.dags.validate import validate
from physlab_mcp.nodes.registry import Registry

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(<!-- not run: [^\n]+ -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = [ROOT / "README.md", ROOT / "docs" / "cli.md", ROOT / "docs" / "add-a-node-type.md"]


def blocks(page: Path, language: str) -> list[str]:
    return [text for skipped, found, text in BLOCK.findall(page.read_text()) if found == language and not skipped]


def headings(page: str) -> set[str]:
    return set(re.findall(r"^#+ `([^`]+)`$", (ROOT / "docs" / page).read_text(), re.MULTILINE))


def test_every_command_has_a_heading():
    assert {f"physlab {command}" for command in every_command()} == headings("cli.md")


def test_every_option_of_a_command_is_told():
    text = (ROOT / "docs" / "cli.md").read_text()
    options = {word for parser in parsers(build()) for action in parser._actions for word in action.option_strings}
    assert {one for one in options if one.startswith("--") and f"`{one}" not in text} <= {"--help", "--version"}


def parsers(parser):
    yield parser
    for action in parser._actions:
        if hasattr(action, "choices") and isinstance(action.choices, dict):
            for one in action.choices.values():
                yield from parsers(one)


def settings(model, prefix=""):
    for name, info in model.model_fields.items():
        yield f"{prefix}{name}"
        for one in (info.annotation, *get_args(info.annotation)):
            if isinstance(one, type) and issubclass(one, config.Section) and one not in (config.Secret, model):
                yield from settings(one, f"{prefix}{name}.")


def test_every_setting_has_a_heading():
    assert set(settings(config.Config)) == headings("operations.md")


@pytest.mark.parametrize(("page", "known"), [("slurm.md", SlurmSettings), ("kubernetes.md", KubernetesSettings)])
def test_every_setting_of_a_cluster_stands_in_a_table(page, known):
    told = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / page).read_text(), re.MULTILINE))
    assert set(known.__struct_fields__) <= told


def test_every_error_code_has_a_heading():
    codes = {one.code for one in errors.PhyslabError.__subclasses__()}
    assert codes == headings("troubleshooting.md")


def test_every_environment_variable_of_ours_is_told():
    told = (ROOT / "docs" / "operations.md").read_text()
    inside = re.compile(r"environ(?:\.get\(|\[)\"(PHYSLAB_[A-Z_]+)\"")
    used = {name for path in (ROOT / "src").rglob("*.py") for name in inside.findall(path.read_text())}
    internal = {name for name in used if name.startswith(("PHYSLAB_FAULT", "PHYSLAB_KILL"))}
    assert {name for name in used - internal if f"`{name}`" not in told} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://)([^)#\s]+)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_json_snippets_are_valid(page, tmp_path):
    registry = Registry.load()
    for text in blocks(page, "json"):
        body = json.loads(text)
        if "nodes" in body and page.name != "add-a-node-type.md":
            beside = ("sweep", "schedule", "visualizations")  # what a file for `physlab sweep` has
            checked = validate({name: part for name, part in body.items() if name not in beside}, registry)
            assert checked.ok, checked.errors
            read_sweep(body.get("sweep", {"space": {"n": [1]}}))
        elif set(body) <= set(config.Config.model_fields):
            config.parse(text, folder=tmp_path)


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_shell_snippets_run(page, tmp_path):
    data = Path(tempfile.mkdtemp(prefix="physlab-docs-"))
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("PHYSLAB_")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PHYSLAB_DATA_DIR": str(data),
        "HOME": str(tmp_path),
    }
    for text in blocks(page, "python"):
        (tmp_path / text.split("\n", 1)[0].removeprefix("# ")).write_text(text)
    shown = [(language, text) for skipped, language, text in BLOCK.findall(page.read_text()) if not skipped]
    assert any(language == "sh" for language, _ in shown)
    try:
        for language, text in shown:
            if language == "json":  # what the next lines run
                (tmp_path / "experiment.json").write_text(text)
            if language != "sh" or text.startswith("make "):
                continue
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", text], cwd=tmp_path, env=environment,
                capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    finally:
        subprocess.run(["physlab", "engine", "stop"], env=environment, capture_output=True, timeout=60, check=False)
        shutil.rmtree(data, ignore_errors=True)


def test_the_tests_shown_in_the_guide_to_testing_pass(tmp_path):
    shown = blocks(ROOT / "docs" / "testing.md", "python")
    (tmp_path / "test_guide.py").write_text("\n\n".join(shown))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "test_guide.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(shown)} passed" in done.stdout


def test_the_forecast_shown_in_the_guide_to_scheduling_holds():
    (shown,) = blocks(ROOT / "docs" / "scheduling.md", "python")
    exec(compile(shown, "scheduling.md", "exec"), {})


def test_the_make_targets_that_are_told_exist():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = {word for page in PAGES for word in re.findall(r"(?:^|`)make (\w+)", page.read_text(), re.MULTILINE)}
    assert told <= targets
    assert {"demo", "test", "check", "bench", "soak", "clean"} <= targets


def test_the_readme_starts_with_two_commands():
    assert blocks(ROOT / "README.md", "sh")[0] == "make demo\nmake test\n"
