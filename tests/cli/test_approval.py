"""A command from an agent that waits for a person: only the command line can answer."""

import subprocess
import sys

import pytest

SUBMIT = """
import anyio, sys
from physlab_mcp.lab import Lab

async def main():
    async with Lab.open() as lab:
        arguments = {"method": "job_submit", "backend": "local", "job_spec": {"command": ["echo", "hello"]}}
        reply = await lab.router.call("distributed_collaboration", arguments)
        print(reply.structured.get("job_id") or reply.text)

anyio.run(main)
"""


@pytest.fixture
def held(physlab):
    physlab.write("server.config.json", {"backends": {"local": {"commands": "approve"}}})
    done = subprocess.run(
        [sys.executable, "-c", SUBMIT], cwd=physlab.folder, env=physlab.environment, capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    job_id = done.stdout.strip()
    assert "It goes on" in physlab("jobs", "wait", job_id, "--timeout", "1", code=1).err  # an engine saw it and left it
    return job_id


def test_it_is_held_and_the_list_says_so(physlab, held):
    shown = physlab("jobs", "show", held)
    assert "held" in shown.out
    assert f"physlab jobs approve {held}" in shown.out
    assert held in physlab("jobs", "list", "--state", "held").out


def test_rejected_it_ends_as_cancelled_and_cannot_be_approved_any_more(physlab, held):
    physlab("jobs", "reject", held)
    assert "cancelled" in physlab("jobs", "wait", held, code=1).out
    assert "conflict" in physlab("jobs", "approve", held, code=1).err


def test_approved_it_leaves_held(physlab, held):
    physlab("jobs", "approve", held)
    physlab("jobs", "wait", held, code=None)
    assert physlab("--json", "jobs", "show", held).json["state"] in ("succeeded", "failed")


def test_the_log_of_a_command_is_printed(physlab):
    name = physlab.write(
        "say.json", {"nodes": [{"id": "c", "tool": "command", "params": {"command": ["echo", "hello"]}}]}
    )
    job_id = physlab("--json", "run", name).json["nodes"][0]["job_id"]
    assert physlab("jobs", "logs", job_id).out == "hello\n"
    assert physlab("--json", "jobs", "logs", job_id, "--follow").json["text"] == "hello\n"
    assert physlab("jobs", "logs", job_id, "--tail", "3").out == "lo\n"
