"""`physlab engine install`: the engine at login, so that recurring work goes on after a restart of the machine."""

from __future__ import annotations

import hashlib
import plistlib
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from physlab_mcp.cli.opened import config_of, data_of, roots_of
from physlab_mcp.errors import UnavailableError
from physlab_mcp.paths import usual_data_dir

if TYPE_CHECKING:
    from physlab_mcp.cli.output import Output


def install(args: Namespace, out: Output) -> int:
    """Print the service of this data directory's engine, or write it where the system looks for it."""
    config_of(args)
    name = service_name(data_of(args).root)
    command = command_of(args)
    if sys.platform == "darwin":
        place = Path.home() / "Library/LaunchAgents" / f"org.physlab.{name}.plist"
        text = plist(f"org.physlab.{name}", command)
        steps = [f"launchctl bootstrap gui/$(id -u) {place}"]
    elif sys.platform == "linux":
        place = Path.home() / ".config/systemd/user" / f"{name}.service"
        text = unit(command)
        steps = [
            "systemctl --user daemon-reload",
            f"systemctl --user enable --now {name}.service",
            "loginctl enable-linger   (so that it starts without a login)",
        ]
    else:
        raise UnavailableError(
            f"There is no service of the engine for {sys.platform} yet.", got=sys.platform,
            remedy=f"Let the task scheduler run this at login: {' '.join(command)}",
        )  # fmt: skip
    if args.write:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        out.say(f"{place} is written.")
        out.next(*steps)
    else:
        out.note(f"Put this into {place}, or run the same command with --write:")
        out.say(text.rstrip())
    out.answer({"file": str(place), "text": text, "written": bool(args.write), "next": steps})
    return 0


def service_name(root: Path) -> str:
    """`physlab-engine`, with a mark of the data directory where it is not the default one."""
    if root.resolve() == usual_data_dir().resolve():
        return "physlab-engine"
    return f"physlab-engine-{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:8]}"


def command_of(args: Namespace) -> list[str]:
    """The words that start the engine of this data directory, all paths absolute."""
    from physlab_mcp.config import locate
    from physlab_mcp.lab import engine_command
    from physlab_mcp.paths import DataDir

    config = locate(Path(args.config) if args.config else None)
    data = DataDir(data_of(args).root.resolve())
    return engine_command(data, config.resolve() if config is not None else None, roots_of(args))


def unit(command: list[str]) -> str:
    """A systemd user service. It leaves when idle, and is started again only after a crash."""
    words = " ".join(_quoted(word) for word in command)
    return (
        "[Unit]\nDescription=physlab engine\n\n"
        f"[Service]\nType=exec\nExecStart={words}\nRestart=on-failure\nRestartSec=5\nKillMode=process\n\n"
        "[Install]\nWantedBy=default.target\n"
    )


def _quoted(word: str) -> str:
    """A word of ExecStart: neither specifiers (%) nor variables ($) are replaced in it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def plist(label: str, command: list[str]) -> str:
    """A launchd agent with the same behaviour."""
    body = {
        "Label": label,
        "ProgramArguments": command,
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "AbandonProcessGroup": True,
    }
    return plistlib.dumps(body).decode()
