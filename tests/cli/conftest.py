"""The command as a user runs it: a process of its own, a data directory of its own, its engine ended afterwards."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from physlab_mcp.cli import main

DEADLINE_S = 120


class Answer:
    """What one command left."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code = done.returncode
        self.out = done.stdout
        self.err = done.stderr

    def __repr__(self) -> str:
        return f"exit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Physlab:
    """Runs `physlab` in `folder` on its own data directory."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder = folder
        self.data = data
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("PHYSLAB_")},
            "PHYSLAB_DATA_DIR": str(data),
            "HOME": str(folder),
        }

    def command(self, *words: str) -> list[str]:
        return [str(Path(sys.executable).parent / "physlab"), *words]

    def __call__(self, *words: str, code: int | None = 0, stdin: str = "") -> Answer:
        done = subprocess.run(
            self.command(*words), cwd=self.folder, env=self.environment, input=stdin,
            capture_output=True, text=True, timeout=DEADLINE_S, check=False,
        )  # fmt: skip
        return checked(done, code)

    def here(self, *words: str, code: int | None = 0) -> Answer:
        """The same within this process, where starting one is not what is shown: the imports are paid for once."""
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.folder),
            mock.patch.dict(os.environ, self.environment, clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                left = main(words)
            except SystemExit as end:  # argparse leaves so
                left = end.code
        assert isinstance(left, int)
        return checked(subprocess.CompletedProcess(words, left, out.getvalue(), err.getvalue()), code)

    def write(self, name: str, body: Any) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body if isinstance(body, str) else json.dumps(body))
        return str(path)


def checked(done: subprocess.CompletedProcess[str], code: int | None) -> Answer:
    answer = Answer(done)
    assert "Traceback" not in answer.err, answer
    if code is not None:
        assert answer.code == code, answer
    return answer


def _made(folder: Path):
    data = Path(tempfile.mkdtemp(prefix="physlab-test-"))
    made = Physlab(folder, data)
    try:
        yield made
    finally:
        made.here("engine", "stop", code=None)
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture
def physlab(tmp_path):
    yield from _made(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One for all tests of a file: for tests that only add to it."""
    yield from _made(tmp_path_factory.mktemp("shared"))
