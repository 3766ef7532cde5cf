"""The grammar: every command explains itself, options stand anywhere, help is light."""

import subprocess
import sys

import pytest

from physlab_mcp.cli.parser import build, every_command

MINIMAL = {
    "run": ["f.json"], "report": ["run-1"], "jobs show": ["job-1"], "jobs logs": ["job-1"], "jobs wait": ["job-1"],
    "jobs cancel": ["job-1"], "jobs pause": ["job-1"], "jobs resume": ["job-1"], "jobs approve": ["job-1"],
    "jobs reject": ["job-1"], "install": ["codex"], "sweep": ["f.json"], "analyze": ["sweep-1"],
    "jobs start-now": ["job-1"], "bundle create": ["run-1"], "bundle verify": ["f.crate"], "bundle reproduce": ["f.crate"],
}  # fmt: skip


@pytest.mark.parametrize("command", every_command())
def test_every_command_names_a_handler_that_exists(command):
    from importlib import import_module

    args = build().parse_args([*command.split(), *MINIMAL.get(command, [])])
    module, function = args.handler.split(":")
    assert callable(getattr(import_module(f"physlab_mcp.cli.{module}"), function))


@pytest.mark.parametrize("command", every_command())
def test_common_options_stand_before_or_after_the_command(command):
    words = [*command.split(), *MINIMAL.get(command, [])]
    options = ["--json", "--data-dir", "d", "--config", "c", "--root", "a", "--root", "b"]
    for line in ([*options, *words], [*words, *options]):
        args = build().parse_args(line)
        assert (args.json, args.data_dir, args.config, args.root) == (True, "d", "c", ["a", "b"])


def test_help_imports_nothing_heavy():
    program = (
        "import sys\n"
        "from physlab_mcp.cli.parser import build\n"
        "build().format_help()\n"
        "heavy = {'pydantic', 'rich', 'anyio', 'msgspec', 'networkx', 'mcp', 'numpy'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words", [[], ["nonsense"], ["jobs"], ["run"], ["install", "emacs"], ["jobs", "list", "--limit", "-1"]]
)
def test_wrong_usage_is_exit_code_2(words):
    with pytest.raises(SystemExit) as caught:
        build().parse_args(words)
    assert caught.value.code == 2
