from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from physlab_mcp.artifacts import provenance
from physlab_mcp.artifacts.provenance import capture_environment, capture_git, environment_id, without_credentials


def git(folder: Path, *args: str) -> None:
    who = ["-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, "-C", str(folder), *args], check=True, capture_output=True, timeout=30)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "trunk")
    (folder / "a.txt").write_text("one\n")
    git(folder, "add", "a.txt")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_the_environment_id_is_stable_and_fast() -> None:
    assert environment_id() == environment_id()
    assert environment_id().startswith("env-")
    best = 1.0
    for _ in range(5):
        start = time.process_time()
        environment_id()
        best = min(best, time.process_time() - start)
    assert best < 0.1  # about 1 ms


def test_the_environment_id_follows_installed_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    before = environment_id()
    (tmp_path / "toy-1.0.dist-info").mkdir()
    assert environment_id() != before


def test_the_environment_is_captured_without_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_SECRET_TOKEN", "hunter2-hunter2")
    found = capture_environment()
    assert found["packages"]["msgspec"]
    assert found["python"]["version"]
    assert found["cpu"]["logical"] >= 1
    assert found["memory_bytes"] > 0
    assert "hunter2" not in json.dumps(found)


def test_a_clean_checkout(repository: Path) -> None:
    state = capture_git(repository)
    assert state is not None
    assert state.commit is not None
    assert len(state.commit) == 40
    assert (state.branch, state.dirty, state.diff, state.remote) == ("trunk", False, b"", None)


def test_changes_are_in_the_diff(repository: Path) -> None:
    (repository / "a.txt").write_text("two\n")
    state = capture_git(repository)
    assert state is not None
    assert state.dirty
    assert b"-one" in state.diff
    assert b"+two" in state.diff
    assert not state.diff_cut


def test_untracked_files_make_it_dirty(repository: Path) -> None:
    (repository / "new.txt").write_text("x")
    state = capture_git(repository)
    assert state is not None
    assert state.dirty


def test_a_huge_diff_is_cut(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "MOST_DIFF_BYTES", 1000)
    (repository / "a.txt").write_text("y\n" * 100_000)
    state = capture_git(repository)
    assert state is not None
    assert len(state.diff) == 1000
    assert state.diff_cut


def test_a_checkout_without_commits_and_a_detached_one(repository: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    state = capture_git(empty)
    assert state is not None
    assert state.commit is None
    git(repository, "checkout", "-q", "--detach")
    state = capture_git(repository)
    assert state is not None
    assert state.branch is None


def test_what_is_no_checkout_is_none(tmp_path: Path) -> None:
    assert capture_git(tmp_path) is None
    assert capture_git(tmp_path / "missing") is None


def test_the_remote_carries_no_credentials(repository: Path) -> None:
    git(repository, "remote", "add", "origin", "https://bob:s3cret@example.org/team/repo.git?token=abc")
    state = capture_git(repository)
    assert state is not None
    assert state.remote == "https://example.org/team/repo.git"


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://tok@h.org/x", "https://h.org/x"),
        ("https://u:p@w@h.org/x", "https://h.org/x"),
        ("https://h.org/x@y", "https://h.org/x@y"),
        ("ssh://git@h.org:22/x", "ssh://h.org:22/x"),
        ("git@h.org:team/x.git", "git@h.org:team/x.git"),
        ("/srv/x.git", "/srv/x.git"),
    ],
)
def test_urls_lose_their_credentials(url: str, clean: str) -> None:
    assert without_credentials(url) == clean


def test_a_git_that_does_not_answer_is_none(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_args: object, **_options: object) -> None:
        raise subprocess.TimeoutExpired("git", 5)

    monkeypatch.setattr(subprocess, "run", late)
    assert capture_git(repository) is None


def only(monkeypatch: pytest.MonkeyPatch, folder: Path, **programs: str) -> None:
    """These programs (text of shell scripts) and no others."""
    for name, text in programs.items():
        place = folder / name.replace("_", "-")
        place.write_text(f"#!/bin/sh\n{text}\n")
        place.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_gpus_are_listed_as_the_driver_tells_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, tmp_path, nvidia_smi='echo "Some GPU, 550.1, 80 GiB"; echo "no such line"')
    assert capture_environment()["gpu"] == [{"name": "Some GPU", "driver": "550.1", "memory": "80 GiB"}]


@pytest.mark.parametrize("broken", ["exit 9", "exec /no/such/program"])
def test_a_driver_that_does_not_answer_has_no_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    only(monkeypatch, tmp_path, nvidia_smi=broken)
    assert capture_environment()["gpu"] == []


def test_the_processor_is_told_on_every_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "cpuinfo"
    monkeypatch.setattr(provenance, "CPU_INFO", place)
    only(monkeypatch, tmp_path, sysctl='echo "A chip"')
    monkeypatch.setattr(provenance.platform, "processor", lambda: "")
    monkeypatch.setattr(provenance.platform, "machine", lambda: "arm64")
    place.write_text("flags\t: a b\nmodel name\t: Some CPU\n")
    assert provenance._cpu_model() == "Some CPU"
    place.write_text("flags\t: a b\n")
    assert provenance._cpu_model() == "arm64"
    place.unlink()
    assert provenance._cpu_model() == "arm64"
    monkeypatch.setattr(provenance.sys, "platform", "darwin")
    assert provenance._cpu_model() == "A chip"
    (tmp_path / "sysctl").unlink()
    assert provenance._cpu_model() == "arm64"


def test_places_that_are_no_folders_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = environment_id()
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "none")])
    assert environment_id() == before


def test_a_package_without_a_name_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "nameless-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    packages = capture_environment()["packages"]
    assert packages["msgspec"]
    assert None not in packages


def test_without_git_there_is_no_state(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, tmp_path)
    assert capture_git(repository) is None


def test_a_diff_that_cannot_be_started_is_empty() -> None:
    assert provenance._read_some(["/no/such/program"]) == (b"", False)
