"""`physlab engine install` writes a service that starts this data directory's engine."""

from __future__ import annotations

import configparser
import plistlib
import shlex
import subprocess
import sys

import pytest

from physlab_mcp.cli.engine_service import plist, unit

HARD = ["/opt/my python/bin/python", "-m", "physlab_mcp", "--data-dir", '/data/100% "sure" $HOME\\x']


def executed(text: str) -> list[str]:
    parser = configparser.RawConfigParser(strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    words = shlex.split(parser["Service"]["ExecStart"].replace("$$", "$").replace("%%", "%"))
    assert parser["Service"]["Restart"] == "on-failure"
    assert parser["Service"]["KillMode"] == "process"  # workers outlive the engine
    return words


def test_every_word_of_the_command_arrives_as_it_is():
    assert executed(unit(HARD)) == HARD
    assert plistlib.loads(plist("org.physlab.x", HARD).encode())["ProgramArguments"] == HARD


@pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")
def test_the_service_is_printed_then_written_and_its_command_is_an_engine(physlab):
    shown = physlab("--json", "engine", "install").json
    assert not shown["written"]
    home = physlab.folder / "home"
    physlab.environment["HOME"] = str(home)
    told = physlab("--json", "engine", "install", "--write").json
    assert told["written"]
    assert told["text"] == shown["text"]
    (written,) = home.rglob("physlab-engine-*.service")
    assert written.read_text() == shown["text"]
    command = executed(written.read_text())
    process = subprocess.Popen(command, env=physlab.environment, cwd=physlab.folder)
    try:
        physlab(
            "--json",
            "run",
            physlab.write("c.json", {"nodes": [{"id": "c", "tool": "constants_get", "params": {"name": "c"}}]}),
        )
        assert physlab("--json", "engine", "status").json["pid"] == process.pid
        physlab("engine", "stop")
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
