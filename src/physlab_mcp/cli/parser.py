"""The grammar of the command line. Every command names its handler as "module:function" of this package."""

from __future__ import annotations

import argparse
from typing import Any

from physlab_mcp import __version__

BACKENDS = ("auto", "local", "slurm", "kubernetes", "k8s")
CLIENTS = ("claude-code", "claude-desktop", "cursor", "vscode", "codex")
STATES = (
    "pending", "held", "submitting", "queued", "running", "paused", "collecting",
    "succeeded", "failed", "cancelled", "skipped",
)  # fmt: skip


def build() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="physlab",
        parents=[_common()],
        description="A durable experiment engine for agents and scientists.",
        epilog="Start with: physlab demo",
    )
    parser.add_argument("--version", action="version", version=f"physlab {__version__}")
    parser.set_defaults(json=False, data_dir=None, config=None, root=[])
    commands = _Commands(parser)
    _experiments(commands)
    _jobs(commands.group("jobs", "jobs and runs: list, look, wait, steer"))
    _bundles(commands.group("bundle", "reproducibility packages: make, verify, run again"))
    _engine(commands.group("engine", "the engine process"))
    _settings(commands.group("config", "the configuration"))
    _care(commands)
    return parser


class _Commands:
    """Adds commands that all take the common options."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._under = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(self, name: str, handler: str, text: str) -> argparse.ArgumentParser:
        """One command."""
        command: argparse.ArgumentParser = self._under.add_parser(
            name, parents=[_common()], help=text, description=f"{text[0].upper()}{text[1:]}."
        )
        command.set_defaults(handler=handler)
        return command

    def group(self, name: str, text: str) -> _Commands:
        """A command that has commands."""
        parser = self._under.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        return _Commands(parser)


def _common() -> argparse.ArgumentParser:
    """Options that stand before or after the command; new ones for each parser, for parsers share what they inherit.

    A default of a command's own would undo what stood before it.
    """
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = common.add_argument_group("common options")
    group.add_argument("--json", action="store_true", help="answer as JSON on stdout")
    group.add_argument("--data-dir", metavar="DIR", help="where everything is kept ($PHYSLAB_DATA_DIR)")
    group.add_argument("--config", metavar="FILE", help="configuration ($PHYSLAB_CONFIG, ./server.config.json)")
    group.add_argument("--root", action="append", metavar="DIR", help="a folder that paths may name; repeatable")
    return common


def _outputs(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", metavar="DIR", help="folder for figures and report (./physlab-out/<title>-<id>)")
    command.add_argument("--open", action="store_true", help="open the report when done")


def _where(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--backend", choices=BACKENDS, default="auto", help="where nodes run that name no backend (auto: what fits)"
    )


def _analysis(command: argparse.ArgumentParser) -> None:
    command.add_argument("--metric", help="what the analysis is about (default: the only number there is)")
    sense = command.add_mutually_exclusive_group()
    sense.add_argument("--minimize", action="store_true", help="the least value is the best")
    sense.add_argument(
        "--maximize", action="store_true", help="the greatest is (default: as the workflow declares, else this)"
    )
    _outputs(command)


def _experiments(commands: _Commands) -> None:
    demo = commands.add("demo", "demo:demo", "run the packaged hydrogen experiment and check its numbers")
    demo.add_argument("--no-cache", action="store_true", help="compute everything again")
    _outputs(demo)

    run = commands.add("run", "run:run", "run an experiment from a JSON file")
    run.add_argument("file", metavar="FILE.json", help="the graph: {nodes, edges, metadata}; - reads stdin")
    run.add_argument("--watch", action="store_true", help="show every node while it runs")
    run.add_argument("--detach", action="store_true", help="submit and return at once")
    run.add_argument("--no-cache", action="store_true", help="compute everything again")
    run.add_argument("--allow-large", action="store_true", help="lift the caps of interactive node types")
    run.add_argument("--parallelism", type=_count, default=0, metavar="N", help="at most N nodes at once")
    _where(run)
    run.add_argument("--bib", metavar="FILE.bib", help="references of the report (default: FILE.bib beside FILE.json)")
    _outputs(run)

    sweep = commands.add("sweep", "sweep:sweep", "run an experiment over the points of a parameter space")
    sweep.add_argument(
        "file", metavar="FILE.json", help="the graph with a sweep block, maybe a schedule; - reads stdin"
    )
    sweep.add_argument("--detach", action="store_true", help="submit and return at once")
    sweep.add_argument("--no-cache", action="store_true", help="compute everything again")
    sweep.add_argument("--allow-large", action="store_true", help="lift the caps of interactive node types")
    sweep.add_argument("--parallelism", type=_count, default=0, metavar="N", help="at most N nodes at once")
    _where(sweep)
    sweep.add_argument("--now", action="store_true", help="start at once whatever the file's schedule says")
    sweep.add_argument("--plan", action="store_true", help="only say what would run when, and why it waits")
    _analysis(sweep)

    analyze = commands.add(
        "analyze", "sweep:analyze", "table, figures and best point of a sweep, also of one under way"
    )
    analyze.add_argument("sweep", metavar="SWEEP", help="sweep-…")
    analyze.add_argument(
        "--compare", action="append", metavar="SWEEP", help="another sweep, point by point; repeatable"
    )
    analyze.add_argument(
        "--pareto", action="append", metavar="LOSS:min,ACC:max", help="the front of metrics; repeatable"
    )
    _analysis(analyze)

    report = commands.add("report", "report:report", "write a finished run up as a PDF")
    report.add_argument("run", metavar="RUN", help="run-…")
    report.add_argument("--title", help="instead of the run's title")
    report.add_argument("--author", action="append", default=[], help="repeatable")
    report.add_argument("--abstract", help="text of the abstract")
    report.add_argument("--bib", metavar="FILE.bib", help="references")
    _outputs(report)


def _jobs(jobs: _Commands) -> None:
    listed = jobs.add("list", "jobs:list_all", "list runs, and jobs that belong to no run, newest first")
    listed.add_argument("--state", choices=STATES, help="only those in this state")
    listed.add_argument("--backend", choices=BACKENDS, help="only jobs there, those of runs too")
    listed.add_argument("--limit", type=_count, default=20, metavar="N", help="at most N of each (20)")
    listed.add_argument("--all", action="store_true", help="every job, those of runs too")

    shown = jobs.add("show", "jobs:show", "show one job, run or sweep")
    shown.add_argument("handle", metavar="ID")

    logs = jobs.add("logs", "jobs:logs", "print what a job wrote")
    logs.add_argument("handle", metavar="JOB")
    logs.add_argument("--stderr", action="store_true", help="stderr instead of stdout")
    logs.add_argument("--tail", type=_count, metavar="BYTES", help="only the last BYTES")
    logs.add_argument("--follow", action="store_true", help="go on until the job ends")

    wait = jobs.add("wait", "jobs:wait", "wait for the end; exit code 0 only if it succeeded")
    wait.add_argument("handle", metavar="ID")
    wait.add_argument("--timeout", type=float, metavar="S", help="give up waiting after S seconds")

    for verb, text in (
        ("cancel", "stop jobs or runs"),
        ("pause", "freeze jobs or runs"),
        ("resume", "let frozen ones go on"),
        ("approve", "let a held command start"),
        ("reject", "refuse a held command"),
        ("start-now", "start what waits for its window"),
    ):
        asked = jobs.add(verb, "jobs:ask", text)
        asked.add_argument("handles", metavar="ID", nargs="+")
        asked.set_defaults(verb=verb.replace("-", "_"))


def _bundles(bundles: _Commands) -> None:
    create = bundles.add("create", "bundle:create", "write a package of a run or sweep that has ended")
    create.add_argument("run", metavar="RUN", help="run-… or sweep-…")
    create.add_argument("--out", metavar="PATH", help="a new folder, or a file NAME.zip (./physlab-out/package-RUN)")
    create.add_argument("--name", help="the package's name (default: from the title)")
    create.add_argument("--wheelhouse", action="store_true", help="with all wheels, so that no network is needed")
    create.add_argument("--everything", action="store_true", help="lock all that is installed, not only what is needed")
    create.add_argument("--license", metavar="URL", help="the licence that it is passed on under")
    create.add_argument(
        "--tolerance", action="append", default=[], metavar="[NAME=]REL[,ABS]", help="how far numbers may be off (1e-9)"
    )
    create.add_argument("--ignore", action="append", default=[], metavar="NAME", help="no part of the result")
    create.add_argument("--pixels", type=_count, default=0, metavar="N", help="how far pictures may be off, of 255 (0)")

    verify = bundles.add("verify", "bundle:verify", "check that a package is whole, signed and complete")
    reproduce = bundles.add("reproduce", "bundle:reproduce", "run a package again and compare; this runs its code")
    for one in (verify, reproduce):
        one.add_argument("path", metavar="PACKAGE", help="its folder or .zip")
        one.add_argument(
            "--trust", action="append", default=[], metavar="FINGERPRINT", help="accept this key only; repeatable"
        )
    reproduce.add_argument("--here", action="store_true", help="in this environment instead of a fresh one")
    reproduce.add_argument("--work", metavar="DIR", help="a new folder for environment, data and report")


def _engine(engine: _Commands) -> None:
    engine.add("run", "engine:run", "be the engine, in the foreground (it is started by itself when needed)")
    engine.add("status", "engine:status", "tell whether an engine runs, and what it does")
    engine.add("stop", "engine:stop", "stop the engine; running jobs go on and are taken up by the next one")
    service = engine.add(
        "install", "engine_service:install", "start it at login (systemd or launchd), for work that recurs"
    )
    service.add_argument("--write", action="store_true", help="write the service instead of printing it")
    logs = engine.add("logs", "engine:logs", "print the end of the engine's log")
    logs.add_argument("--lines", type=_count, default=50, metavar="N", help="how many lines (50)")


def _settings(settings: _Commands) -> None:
    settings.add("show", "settings:show", "print the configuration that counts, defaults filled in")
    settings.add("check", "settings:check", "check the configuration")
    settings.add("schema", "settings:schema", "print the JSON Schema of server.config.json")


def _care(commands: _Commands) -> None:
    commands.add("doctor", "doctor:doctor", "tell what is configured, missing, running, and how to mend it")

    clean = commands.add("clean", "clean:clean", "remove what can be made again and is old")
    clean.add_argument("--older-than", metavar="AGE", help="such as 30d, 12h (default: storage.retention)")
    clean.add_argument("--dry-run", action="store_true", help="only tell what would be removed")

    install = commands.add("install", "install:install", "connect an agent: print or write its configuration")
    install.add_argument("client", choices=CLIENTS)
    install.add_argument(
        "--http",
        nargs="?",
        const="http://127.0.0.1:8765/mcp",
        metavar="URL",
        help="a running `physlab-mcp --http`, with its token (default http://127.0.0.1:8765/mcp)",
    )
    install.add_argument("--write", action="store_true", help="write it; other entries stay, a backup is kept")
    install.add_argument(
        "--file", metavar="FILE", help="the client's configuration file, where it is not the usual one"
    )


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    if value > 1 << 53:
        raise argparse.ArgumentTypeError("is too large")
    return value


def every_command() -> list[str]:
    """All commands with their groups, such as "jobs list"; the documentation is checked against this."""
    return sorted(_walk(build(), ""))


def _walk(parser: Any, prefix: str) -> list[str]:
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        return [prefix.strip()]
    return [name for word, sub in groups[0].choices.items() for name in _walk(sub, f"{prefix} {word}")]
