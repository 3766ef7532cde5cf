"""The sandbox around commands that come over MCP: what is shown, what is refused, and that nothing leaks."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.backends.job_folders import all_gone, begin, job_folder, result, run
from tests.waiting import until

from physlab_mcp.backends import sandbox
from physlab_mcp.schemas.job import Mount


@pytest.fixture(scope="session")
def bwrap() -> None:
    """A sandbox that works; where none can be had the tests are skipped, but never on CI."""
    reason = sandbox.available()
    if reason is None:
        return
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def boxed(tmp_path: Path, *, roots: list[Path] | None = None, workdir: Path | None = None, mounts: Any = (),
          hidden: Any = (), **spec: Any) -> Path:  # fmt: skip
    """A job folder whose command runs in a sandbox."""
    folder = job_folder(tmp_path / "data", **spec)
    box = folder / "attempts/1/box"
    (box / "work").mkdir(parents=True)
    (folder / "checkpoint").mkdir()
    argv = sandbox.argv(
        box=box, checkpoint=folder / "checkpoint", workdir=workdir or box / "work", roots=roots or [], mounts=mounts,
        hidden=hidden, readable=[folder / "attempts/1/script"] if "script" in spec else [],
    )  # fmt: skip
    body = (folder / "spec.json").read_text()[:-1] + ', "sandbox": {"argv": ' + str(argv).replace("'", '"') + "}"
    body += f', "workdir": "{workdir}"' if workdir else ""
    (folder / "spec.json").write_text(body + "}")
    return folder


def said(folder: Path, stream: str = "stdout") -> str:
    return (folder / f"attempts/1/{stream}.log").read_text()


def test_the_command_line_isolates_everything_and_names_no_environment():
    argv = sandbox.argv(
        box=Path("/j/attempts/1/box"), checkpoint=Path("/j/checkpoint"), workdir=Path("/roots/a/w"),
        roots=[Path("/roots/a")], mounts=[Mount("/roots/a/m", "/data"), Mount("/roots/a/n", "/out", readonly=False)],
        hidden=[Path("/roots/a/.physlab"), Path("/elsewhere")],
    )  # fmt: skip
    text = " ".join(argv)
    for option in ("--unshare-all", "--die-with-parent", "--new-session", "--cap-drop ALL", "--ro-bind /usr /usr"):
        assert option in text
    assert "--ro-bind /roots/a /roots/a" in text
    assert "--ro-bind /roots/a/m /data --bind /roots/a/n /out" in text
    assert text.index("--tmpfs /tmp") < text.index("--ro-bind /roots/a ") < text.index("--bind /roots/a/w /roots/a/w")
    assert text.index("--bind /roots/a/w") < text.index("--tmpfs /roots/a/.physlab") < text.index("--bind /j/attempts")
    assert "/elsewhere" not in text
    assert text.endswith("--chdir /roots/a/w")
    assert "--setenv" not in text
    assert "--share-net" not in text


def test_a_working_folder_outside_of_the_roots_is_not_bound():
    argv = sandbox.argv(box=Path("/j/b"), checkpoint=Path("/j/c"), workdir=Path("/other"), roots=[Path("/roots/a")])
    assert argv.count("/other") == 1


def test_a_missing_bwrap_is_told_with_a_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "bubblewrap" in str(sandbox.available())
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho no user namespaces >&2\nexit 1\n")
    (tmp_path / "bwrap").chmod(0o700)
    assert "no user namespaces" in str(sandbox.available())


@pytest.mark.usefixtures("bwrap")
class TestInside:
    def test_it_runs_and_keeps_files(self, tmp_path):
        told = run(boxed(tmp_path, script="#!/bin/sh\necho 1 > $PHYSLAB_ARTIFACTS/a; echo 2 > b.csv; echo c > $PHYSLAB_CHECKPOINT_DIR/c",
                         artifacts=["*.csv"]))  # fmt: skip
        assert told["outcome"] == "succeeded", told
        assert sorted(entry["name"] for entry in told["artifacts"]) == ["a", "b.csv"]

    def test_system_folders_and_the_rest_of_the_job_folder_cannot_be_written(self, tmp_path):
        script = 'for p in /usr/x /etc/x "$1/spec.json" "$1/x" "$1/attempts/1/result.json"; do echo x > "$p" && echo wrote "$p"; done; true'
        folder = boxed(tmp_path, command=["sh", "-c", script, "sh", ""])
        text = (folder / "spec.json").read_text().replace('"sh", ""]', f'"sh", "{folder}"]')
        (folder / "spec.json").write_text(text)
        assert run(folder)["outcome"] == "succeeded"
        assert "wrote /usr" not in said(folder)
        assert "Read-only file system" in said(folder, "stderr")
        assert (folder / "spec.json").read_text() == text
        assert not Path("/usr/x").exists()
        assert not Path("/etc/x").exists()

    def test_files_outside_of_the_roots_are_not_there(self, tmp_path):
        (tmp_path / "secret").write_text("secret")
        root = tmp_path / "root"
        root.mkdir()
        (root / "seen").write_text("seen")
        (root / "link").symlink_to(tmp_path / "secret")
        script = 'cat "$1/root/seen"; cat "$1/secret" || cat "$1/root/link" || ls /root /home || cat /etc/shadow || echo x > "$1/root/y" || echo none'
        folder = boxed(tmp_path, roots=[root], command=["sh", "-c", script, "sh", str(tmp_path)])
        run(folder)
        assert said(folder) == "seennone\n"
        assert not (root / "y").exists()

    def test_a_working_folder_and_mounts_inside_the_roots_are_as_asked(self, tmp_path):
        root = tmp_path / "root"
        for name in ("w", "m", "n"):
            (root / name).mkdir(parents=True)
        mounts = [Mount(str(root / "m"), "/data"), Mount(str(root / "n"), "/out", readonly=False)]
        folder = boxed(tmp_path, roots=[root], workdir=root / "w", mounts=mounts,
                       command=["sh", "-c", "echo 1 > here; echo 2 > /out/there; echo 3 > /data/not; pwd"])  # fmt: skip
        run(folder)
        assert (root / "w/here").read_text() == "1\n"
        assert (root / "n/there").read_text() == "2\n"
        assert not (root / "m/not").exists()
        assert said(folder) == f"{root / 'w'}\n"

    def test_the_data_directory_stays_hidden_inside_a_root(self, tmp_path):
        (tmp_path / "data").mkdir()
        (tmp_path / "data/store").write_text("store")
        folder = boxed(
            tmp_path,
            roots=[tmp_path],
            hidden=[tmp_path / "data"],
            script='ls "$PHYSLAB_CHECKPOINT_DIR/../../../.."; ls ..',
        )
        assert run(folder)["outcome"] == "succeeded"
        assert said(folder).split() == ["jobs", "artifacts", "work"]

    def test_there_is_no_network(self, tmp_path):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            port = listener.getsockname()[1]
            code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
            assert run(job_folder(tmp_path, command=["/usr/bin/python3", "-c", code]))["outcome"] == "succeeded"
            told = run(boxed(tmp_path, command=["/usr/bin/python3", "-c", code]))
        assert told["outcome"] == "failed"
        assert "refused" in told["failure"]["message"]

    def test_processes_and_capabilities_of_the_host_are_out_of_reach(self, tmp_path):
        folder = boxed(
            tmp_path, script="ls /proc | grep -c '^[0-9]'; grep -E 'CapEff|NoNewPrivs' /proc/self/status; tty"
        )
        run(folder)
        count, *rest = said(folder).split("\n")
        assert int(count) < 8
        assert rest[0].split() == ["NoNewPrivs:", "1"] or rest[0].split() == ["CapEff:", "0" * 16]
        assert "0000000000000000" in said(folder)

    def test_variables_reach_the_command_but_neither_bwrap_nor_its_command_line(self, tmp_path):
        folder = boxed(
            tmp_path, command=["sh", "-c", "env; sleep 300"], env={"TOKEN": "tell-nobody", "LD_PRELOAD": "/x.so"}
        )
        process = begin(folder)
        until(lambda: (folder / "attempts/1/stdout.log").exists() and "TOKEN=tell-nobody" in said(folder))
        assert "PHYSLAB_JOB_ID=" + folder.name in said(folder)
        outer = psutil.Process(process.pid).children()[0]
        assert outer.name() == "bwrap"
        assert "tell-nobody" not in " ".join(outer.cmdline())
        assert "LD_PRELOAD" not in outer.environ()
        process.terminate()
        process.wait(20)

    @pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
    def test_everything_inside_ends_with_its_runner(self, tmp_path, how):
        folder = boxed(tmp_path, command=["sh", "-c", "setsid sleep 300 & (setsid sleep 300 &) ; echo up; sleep 300"])
        process = begin(folder)
        until(lambda: (folder / "attempts/1/stdout.log").exists() and said(folder))
        inside = until(lambda: (c := psutil.Process(process.pid).children(recursive=True)) and len(c) >= 5 and c)
        process.send_signal(how)
        process.wait(20)
        until(lambda: all_gone([one.pid for one in inside]))
        if how == signal.SIGTERM:
            assert result(folder)["outcome"] == "cancelled"

    def test_a_memory_limit_holds_inside(self, tmp_path):
        folder = boxed(
            tmp_path, command=["/usr/bin/python3", "-c", "bytearray(1 << 30)"], limits={"memory_bytes": 200 << 20}
        )
        assert run(folder)["failure"]["code"] == "oom"

    def test_a_box_folder_replaced_by_a_link_to_the_host_gives_nothing_away(self, tmp_path):
        (tmp_path / "secret").write_text("secret")
        folder = boxed(tmp_path, artifacts=["*"], command=["sh", "-c", f"cd ..; rmdir artifacts; ln -s {tmp_path} artifacts; ln -s {tmp_path}/secret work/s"])  # fmt: skip
        told = run(folder)
        assert told["artifacts"] == []
        assert any("refused" in warning for warning in told["warnings"])
