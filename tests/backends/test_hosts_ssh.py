"""SSH as it goes wrong: keys, logins, jump hosts, connections that are cut, silent or crowded."""

from __future__ import annotations

import ast
import asyncio
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import pytest
from tests.backends.ssh_servers import Server, free_port, new_key
from tests.backends.wires import Wire

from physlab_mcp.backends.hosts import hand
from physlab_mcp.backends.hosts.host import HostKeyError, LoginError, was_sent
from physlab_mcp.backends.hosts.reach import ReachedHost
from physlab_mcp.backends.hosts.ssh import BackOff, SSHReach, SSHSettings, ssh
from physlab_mcp.backends.hosts.ssh_link import Link
from physlab_mcp.errors import UnavailableError

EAGER = BackOff(first_s=0.0, most_s=0.0, refused_s=0.0)
DEADLINE_S = 30.0
QUOTES = [
    "",
    " ",
    "'",
    '"',
    "a'b\"c",
    "$HOME",
    "`id`",
    "$(id)",
    "\\",
    "!",
    "*",
    "~",
    "(",
    ";x",
    "#",
    "{a,b}",
    "a\nb",
    "%s",
]


@pytest.fixture(scope="module")
def server():
    server = Server().start()
    yield server
    server.remove()


@asynccontextmanager
async def reached(server: Server, *, back_off: BackOff = EAGER, **changed: object):
    host = ssh(server.settings(**changed), str(server.root), back_off=back_off)
    try:
        yield host
    finally:
        await host.aclose()


async def until(predicate, what: str) -> None:
    with anyio.move_on_after(DEADLINE_S):
        while not predicate():  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(0.01)
        return
    raise AssertionError(f"{what} did not come true")


async def refused(server: Server, kind: type[UnavailableError], **changed: object) -> UnavailableError:
    async with reached(server, **changed) as host:
        with pytest.raises(kind) as caught:
            await host.run(["touch", f"{server.root}/ran"], timeout_s=20)
    assert not was_sent(caught.value)
    assert not (server.root / "ran").exists()
    return caught.value


async def test_one_connection_serves_all_calls(server):
    before = server.logins()
    async with reached(server) as host:
        async with anyio.create_task_group() as group:
            for _ in range(30):  # more than the ten sessions that a server allows at once
                group.start_soon(lambda: host.run(["true"], timeout_s=20))
        assert host.connected
    assert server.logins() == before + 1
    assert not host.connected


async def test_the_login_is_that_of_an_ordinary_user(server):
    async with reached(server) as host:
        assert int((await host.run(["id", "-u"], timeout_s=20)).out) != 0


async def test_a_host_with_another_key_is_not_spoken_to(server, tmp_path):
    other = new_key(tmp_path / "other")
    (tmp_path / "known").write_text(f"[127.0.0.1]:{server.port} {other}\n")
    error = await refused(server, HostKeyError, known_hosts=str(tmp_path / "known"))
    listed = subprocess.check_output(["ssh-keygen", "-lf", str(server.folder / "host.pub")], text=True)
    fingerprint = re.search(r"SHA256:\S+", listed).group()
    assert fingerprint in error.message
    assert str(tmp_path / "known") in error.message
    assert "ssh-keygen -R" in error.remedy


@pytest.mark.parametrize("text", ["", "# nothing\n", "elsewhere {key}\n", "[127.0.0.1]:1 {key}\n"])
async def test_a_host_that_is_not_known_is_not_spoken_to(server, tmp_path, text, monkeypatch):
    # An empty file is not a reason to look into the user's own, which knows the host.
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    (tmp_path / "home" / ".ssh" / "known_hosts").write_text(server.known_hosts.read_text())
    (tmp_path / "known").write_text(text.replace("{key}", server.host_key))
    error = await refused(server, HostKeyError, known_hosts=str(tmp_path / "known"))
    assert "SHA256:" in error.message
    assert "ssh-keyscan" in error.remedy
    async with reached(server, known_hosts="") as host:
        assert (await host.run(["true"], timeout_s=20)).code == 0


async def test_a_revoked_key_is_refused(server, tmp_path):
    line = server.known_hosts.read_text()
    (tmp_path / "known").write_text(f"{line}@revoked {line}")
    assert "revoked" in (await refused(server, HostKeyError, known_hosts=str(tmp_path / "known"))).message


@pytest.mark.parametrize("text", [None, "not a line of known hosts\x00\n", b"\xff\xfe"])
async def test_a_known_hosts_file_that_cannot_be_read_is_named(server, tmp_path, text):
    path = tmp_path / "known"
    if isinstance(text, bytes):
        path.write_bytes(text)
    elif text is not None:
        path.write_text(text)
    assert str(path) in (await refused(server, HostKeyError, known_hosts=str(path))).message


@pytest.mark.parametrize("line", ["StrictHostKeyChecking no", "UserKnownHostsFile none", "HostKeyAlias elsewhere"])
async def test_settings_of_the_users_own_ssh_config_do_not_weaken_ours(server, tmp_path, monkeypatch, line):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text(f"Host *\n  {line}\n")
    (tmp_path / "known").write_text(f"elsewhere {server.host_key}\n")
    await refused(server, HostKeyError, known_hosts=str(tmp_path / "known"))


async def test_a_refused_key_names_user_and_file(server, tmp_path):
    new_key(tmp_path / "stranger")
    error = await refused(server, LoginError, keys=(str(tmp_path / "stranger"),))
    assert server.user in error.message
    assert str(tmp_path / "stranger") in error.message
    assert "authorized_keys" in error.remedy


async def test_only_the_named_keys_are_offered(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519").write_bytes(server.key.read_bytes())
    new_key(tmp_path / "stranger")
    await refused(server, LoginError, keys=(str(tmp_path / "stranger"),))


async def test_a_key_file_that_is_missing_open_or_no_key_is_named(server, tmp_path):
    (tmp_path / "open").write_bytes(server.key.read_bytes())
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "text").write_text("hello")
    (tmp_path / "text").chmod(0o600)
    for name, word in (("none", "No such file"), ("open", "mode 644"), ("text", "cannot be used")):
        error = await refused(server, LoginError, keys=(str(tmp_path / name),))
        assert str(tmp_path / name) in error.message
        assert word in error.message


async def test_a_locked_key_needs_its_passphrase_which_is_told_nowhere(server, tmp_path):
    key = tmp_path / "locked"
    key.write_bytes(server.key.read_bytes())
    key.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "open sesame", "-f", str(key)], check=True, capture_output=True)
    assert "passphrase" in (await refused(server, LoginError, keys=(str(key),))).remedy
    wrong = await refused(server, LoginError, keys=(str(key),), passphrase=lambda: "swordfish")
    assert "swordfish" not in f"{wrong} {wrong.as_dict()} {server.settings(passphrase=lambda: 'swordfish')}"
    pytest.importorskip("bcrypt", reason="no bcrypt, which opens locked keys in OpenSSH's own format")
    async with reached(server, keys=(str(key),), passphrase=lambda: "open sesame") as host:
        assert (await host.run(["true"], timeout_s=20)).code == 0


async def test_a_certificate_beside_a_key_logs_in(tmp_path):
    with tempfile.TemporaryDirectory(prefix="physlab-ca-") as room:
        Path(room).chmod(0o755)
        new_key(Path(room, "ca"))
        key = tmp_path / "mine"
        new_key(key)
        server = Server(more=f"TrustedUserCAKeys {room}/ca.pub").start()
        try:
            await refused(server, LoginError, keys=(str(key),))
            sign = ["ssh-keygen", "-q", "-s", f"{room}/ca", "-I", "us", "-n", server.user, f"{key}.pub"]
            subprocess.run(sign, check=True, capture_output=True, timeout=20)
            async with reached(server, keys=(str(key),)) as host:
                assert (await host.run(["true"], timeout_s=20)).code == 0
        finally:
            server.remove()


@pytest.fixture
def agent(tmp_path, monkeypatch):
    path = f"/tmp/physlab-agent-{os.urandom(4).hex()}"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", path)
    deadline = time.monotonic() + DEADLINE_S
    while not os.path.exists(path):
        assert time.monotonic() < deadline
    yield path
    process.kill()
    process.wait(10)
    Path(path).unlink(missing_ok=True)


async def test_the_agents_key_logs_in_and_an_empty_agent_is_named(server, agent):
    assert agent in (await refused(server, LoginError, keys=(), agent=True)).message
    subprocess.run(["ssh-add", str(server.key)], check=True, capture_output=True, timeout=20)
    async with reached(server, keys=(), agent=True) as host:
        assert (await host.run(["true"], timeout_s=20)).code == 0


async def test_an_agent_that_is_not_there_is_named(server, monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    assert "SSH_AUTH_SOCK" in (await refused(server, LoginError, keys=(), agent=True)).message
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nowhere")
    assert "/nowhere" in (await refused(server, LoginError, keys=(), agent=True)).message


async def test_a_refusal_is_not_repeated_until_a_file_changes(tmp_path):
    server = Server().start()
    try:
        good = server.known_hosts.read_text()
        server.known_hosts.write_text("")
        async with reached(server, back_off=BackOff()) as host:
            for _ in range(5):
                with pytest.raises(HostKeyError):
                    await host.run(["true"], timeout_s=20)
            assert (server.folder / "log").read_text().count("Connection from") == 1
            server.known_hosts.write_text(good)
            assert (await host.run(["true"], timeout_s=20)).code == 0
    finally:
        server.remove()


async def test_an_unreachable_host_says_since_when_and_is_not_pestered(server, monkeypatch):
    tries = []

    async def counted(settings, tunnel, lost):
        tries.append(settings.port)
        raise ConnectionRefusedError("Connection refused")

    monkeypatch.setattr("physlab_mcp.backends.hosts.ssh_link.log_in", counted)
    async with reached(server, back_off=BackOff(first_s=1000.0, most_s=1000.0)) as host:
        for _ in range(3):
            with pytest.raises(UnavailableError, match=r"since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ.*refused") as caught:
                await host.run(["true"], timeout_s=20)
        assert len(tries) == 1
        assert "Next try in" in caught.value.message
        assert caught.value.details == [{"sent": False, "since": host.since}]
        assert not host.connected


async def test_a_port_where_nobody_listens_and_one_that_never_answers(server):
    await refused(server, UnavailableError, port=free_port())
    mute = await asyncio.start_server(lambda reader, writer: reader.read(), "127.0.0.1", 0)
    async with mute:
        port = mute.sockets[0].getsockname()[1]
        assert "no answer" in (await refused(server, UnavailableError, port=port, connect_timeout_s=0.3)).message


async def test_closing_does_not_wait_for_a_login_that_waits(server):
    heard = asyncio.Event()

    async def listen(reader, writer):
        heard.set()
        await reader.read()

    mute = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with mute:
        port = mute.sockets[0].getsockname()[1]
        host = ssh(server.settings(port=port, connect_timeout_s=1000.0), str(server.root), back_off=EAGER)
        calls = [asyncio.create_task(host.run(["true"], timeout_s=20)) for _ in range(2)]
        with anyio.fail_after(DEADLINE_S):
            await heard.wait()
            calls[1].cancel()
            await host.aclose()
            with pytest.raises(UnavailableError, match="closed") as caught:
                await calls[0]
        assert not was_sent(caught.value)
        assert not host.connected


def test_the_wait_doubles_up_to_its_limit_and_is_spread():
    back_off = BackOff(first_s=1.0, most_s=60.0)
    assert [back_off.delay(n, 0.0) for n in (1, 2, 3, 6, 7, 1000)] == [1, 2, 4, 32, 60, 60]
    assert back_off.delay(3, 1.0) == 2.0


async def test_two_jump_hosts_are_passed_and_each_is_checked(server, tmp_path):
    jumps = [Server().start(), Server().start()]
    (tmp_path / "empty").write_text("")
    try:
        hops = tuple(one.settings() for one in jumps)
        async with reached(server, jump=hops) as host:
            assert (await host.run(["true"], timeout_s=20)).code == 0
            assert [one.logins() for one in jumps] == [1, 1]
            # The first hop goes away under it: so does all behind it, and all is made anew.
            jumps[0].signal_sessions(signal.SIGKILL)
            await until(lambda: not host.connected, "the loss of the first hop")
            assert (await host.run(["true"], timeout_s=20)).code == 0
        unknown = (hops[0], jumps[1].settings(known_hosts=str(tmp_path / "empty")))
        error = await refused(server, HostKeyError, jump=unknown)
        assert str(jumps[1].port) in error.message
        away = SSHSettings(
            host="127.0.0.1", port=free_port(), keys=(str(server.key),), known_hosts=str(server.known_hosts)
        )
        assert "jump host" in (await refused(server, UnavailableError, jump=(away,))).message
    finally:
        for one in jumps:
            one.remove()


async def test_a_jump_host_that_leads_nowhere_is_named(server):
    closed, unwilling = Server().start(), Server(more="AllowTcpForwarding no").start()
    try:
        nobody = await refused(server, UnavailableError, jump=(closed.settings(),), port=free_port())
        forbidden = await refused(server, UnavailableError, jump=(unwilling.settings(section="way"),), section="goal")
        for error, one in ((nobody, closed), (forbidden, unwilling)):
            assert f"the jump host {one.user}@127.0.0.1:{one.port} opens no way to it" in error.message
            assert "AllowTcpForwarding" in error.remedy
        assert "goal.host" in forbidden.remedy
        stranger = await refused(server, LoginError, jump=(unwilling.settings(user="stranger", section="way"),))
        assert f"stranger on 127.0.0.1:{unwilling.port}" in stranger.message
        assert "way.user" in stranger.remedy
    finally:
        closed.remove()
        unwilling.remove()


async def test_a_command_that_was_cut_off_is_unknown_and_not_said_again(server):
    ran, go = server.root / f"ran-{os.urandom(3).hex()}", server.root / f"go-{os.urandom(3).hex()}"
    script = 'echo once >> "$1"; while ! [ -e "$2" ]; do sleep 0.05; done; echo done >> "$1"'
    async with reached(server) as host:
        before = time.time()

        async def cut() -> None:
            await until(ran.exists, "the command's start")
            server.signal_sessions(signal.SIGKILL)

        async with anyio.create_task_group() as group:
            group.start_soon(cut)
            with pytest.raises(UnavailableError) as caught:
                await host.run(["sh", "-c", script, "sh", str(ran), str(go)], timeout_s=DEADLINE_S)
        assert was_sent(caught.value)
        assert "away since" in caught.value.message
        assert caught.value.details[0]["since"] >= before
        assert (host.connected, host.since >= before) == (False, True)
        # It goes on there, and a new connection finds out.
        assert (await host.run(["touch", str(go)], timeout_s=20)).code == 0
        assert host.connected
        await until(lambda: ran.read_text() == "once\ndone\n", "the end of the command")


async def test_a_cut_between_two_commands_is_not_noticed(server):
    async with reached(server) as host:
        await host.run(["true"], timeout_s=20)
        server.signal_sessions(signal.SIGKILL)
        assert (await host.run(["true"], timeout_s=20)).code == 0


async def test_a_connection_that_does_not_answer_is_replaced_before_anything_is_said(server):
    async with reached(server, keepalive_s=1000.0, connect_timeout_s=0.5) as host:
        await host.run(["true"], timeout_s=20)
        server.signal_sessions(signal.SIGSTOP)
        with anyio.fail_after(DEADLINE_S):
            assert (await host.run(["true"], timeout_s=20)).code == 0
        server.signal_sessions(signal.SIGKILL)


async def test_many_that_find_the_connection_dead_make_one_new_one(server):
    async with reached(server) as host:
        await host.run(["true"], timeout_s=20)
        before = server.logins()
        server.signal_sessions(signal.SIGKILL)
        async with anyio.create_task_group() as group:
            for _ in range(12):
                group.start_soon(lambda: host.run(["true"], timeout_s=20))
        assert server.logins() == before + 1


async def test_the_late_end_of_an_old_connection_is_not_taken_for_that_of_the_new_one(server):
    async with reached(server) as host:
        link = host._reach._link
        old = link._made
        await host.run(["true"], timeout_s=20)
        link._lost(old, "late")
        assert host.connected
        link._lost(link._made, "now")
        assert not host.connected


async def test_a_host_that_falls_silent_counts_as_away(server):
    mark = server.root / f"mark-{os.urandom(3).hex()}"
    async with reached(server, keepalive_s=0.2, connect_timeout_s=5.0) as host:

        async def silence() -> None:
            await until(mark.exists, "the command's start")
            server.signal_sessions(signal.SIGSTOP)

        async with anyio.create_task_group() as group:
            group.start_soon(silence)
            with anyio.fail_after(DEADLINE_S), pytest.raises(UnavailableError) as caught:
                await host.run(["sh", "-c", 'touch "$1"; exec sleep 60', "sh", str(mark)], timeout_s=60)
        assert was_sent(caught.value)
        assert not host.connected
        server.signal_sessions(signal.SIGKILL)
        assert (await host.run(["true"], timeout_s=20)).code == 0


async def test_a_network_cut_is_unknown_since_then_and_mends_without_a_second_run():
    wire = Wire()
    server = Server(address=wire.there, prefix=wire.prefix).start()
    ran, go = server.root / "ran", server.root / "go"
    script = 'echo once >> "$1"; while ! [ -e "$2" ]; do sleep 0.05; done; echo done >> "$1"'
    try:
        async with reached(server, keepalive_s=0.3, connect_timeout_s=1.0) as host:

            async def cut() -> None:
                await until(ran.exists, "the command's start")
                wire.pull()

            async with anyio.create_task_group() as group:
                group.start_soon(cut)
                with anyio.fail_after(DEADLINE_S), pytest.raises(UnavailableError) as caught:
                    await host.run(["sh", "-c", script, "sh", str(ran), str(go)], timeout_s=60)
            assert was_sent(caught.value)
            since = host.since
            for _ in range(2):
                with pytest.raises(UnavailableError, match="cannot be reached since") as away:
                    await host.run(["true"], timeout_s=20)
                assert not was_sent(away.value)
            assert (host.connected, host.since) == (False, since)
            wire.plug()
            go.touch()
            await until(lambda: ran.read_text() == "once\ndone\n", "the end of the command")
            with anyio.fail_after(DEADLINE_S):
                while not host.connected:
                    with suppress(UnavailableError):
                        await host.run(["true"], timeout_s=20)
            assert host.since > since
        assert ran.read_text() == "once\ndone\n"
    finally:
        server.remove()
        wire.remove()


@pytest.mark.parametrize("rsync", [True, False])
async def test_a_transfer_that_is_cut_leaves_no_half_file_and_succeeds_when_repeated(server, tmp_path, rsync):
    source = tmp_path / "big"
    block = os.urandom(1 << 20)
    with source.open("wb") as stream:
        for _ in range(200):
            stream.write(block)
    host = ReachedHost("there", str(server.root), SSHReach(server.settings(), back_off=EAGER, rsync=rsync))
    target = server.root / f"big-{rsync}"
    incoming = server.root / ".incoming"

    async def cut() -> None:
        await until(lambda: any(path.stat().st_size for path in incoming.glob("*/*")), "the first bytes")
        server.signal_sessions(signal.SIGKILL)

    try:
        await host.run(["true"], timeout_s=20)
        async with anyio.create_task_group() as group:
            group.start_soon(cut)
            with anyio.fail_after(DEADLINE_S), pytest.raises(UnavailableError):
                await host.push([(source, str(target))])
        assert not target.exists()
        source.write_bytes(b"small now")
        assert (await host.push([(source, str(target))])).files == 1
        assert target.read_bytes() == b"small now"
    finally:
        await host.aclose()


async def test_login_scripts_that_talk_do_not_garble_answers_or_rsync(tmp_path):
    server = Server().start()
    try:
        (server.home / ".bashrc").write_text("echo Welcome to the cluster; echo 'quota: 5%' >&2; printf 'no end'\n")
        async with reached(server) as host:
            done = await host.run(["echo", "x"], timeout_s=20)
            assert (done.out, done.err) == (b"x\n", b"")
            (tmp_path / "f").write_bytes(b"data")
            assert (await host.push([(tmp_path / "f", f"{server.root}/f")])).files == 1
            assert await host.read_many([(f"{server.root}/f", 0, 10)]) == [b"data"]
    finally:
        server.remove()


SHELLS = [name for name in ("dash", "zsh", "fish", "tcsh", "ksh", "busybox") if shutil.which(name)]


@pytest.mark.parametrize("shell", SHELLS)
async def test_the_login_may_have_any_shell(tmp_path, shell):
    if os.getuid():
        pytest.skip("only root can give its user another shell")
    server = Server(shell=shutil.which(shell) or "").start()
    try:
        (tmp_path / "f").write_bytes(b"data")
        async with reached(server) as host:
            done = await host.run(["printf", "%s|", *QUOTES], timeout_s=20, env={"ODD": "$x `y` 'z'"})
            assert done.out.decode() == "".join(f"{word}|" for word in QUOTES)
            assert (await host.push([(tmp_path / "f", f'{server.root}/it\'s a "f"')])).way == "rsync"
            assert await host.read_many([(f'{server.root}/it\'s a "f"', 0, 10)]) == [b"data"]
    finally:
        server.remove()


async def test_nothing_of_commands_and_keys_stands_in_a_log(server, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    new_key(tmp_path / "locked", "-N", "open sesame")
    wrong = await refused(server, LoginError, keys=(str(tmp_path / "locked"),), passphrase=lambda: "swordfish")
    assert "cannot be used" in wrong.message
    async with reached(server) as host:
        words = ["sh", "-c", "echo heard; exit 3", "argument-of-ours"]
        assert (await host.run(words, stdin=b"input-of-ours", env={"TOKEN": "value-of-ours"}, timeout_s=20)).code == 3
        await host.write(f"{server.root}/f", b"content-of-ours")
        with pytest.raises(UnavailableError) as late:
            await host.run(["sh", "-c", "sleep 9", "argument-of-ours"], timeout_s=0.2)
    secret = server.key.read_text().splitlines()[2]
    said = f"{caplog.text} {wrong.as_dict()} {late.value.as_dict()}"
    assert "connected" in said
    assert not [one for one in ("swordfish", secret, "argument-of-ours", "input-of-ours", "value-of-ours", "content-of-ours")
                if one in said]  # fmt: skip


async def test_where_rsync_fails_files_go_by_sftp(tmp_path):
    server = Server().start()
    try:
        programs = server.folder / "bin"
        programs.mkdir()
        (programs / "rsync").write_text('#!/bin/sh\n[ "$1" = --version ] || { echo incompatible >&2; exit 4; }\n')
        (programs / "rsync").chmod(0o755)
        (server.home / ".bashrc").write_text(f"PATH={programs}:/usr/bin:/bin\n")
        (tmp_path / "f").write_bytes(b"data")
        async with reached(server) as host:
            assert (await host.push([(tmp_path / "f", f"{server.root}/f")])).way == "sftp"
            assert (await host.pull([(f"{server.root}/f", tmp_path / "g")])).way == "sftp"
        assert (tmp_path / "g").read_bytes() == b"data"
    finally:
        server.remove()


async def test_a_command_has_the_environment_of_the_login_and_nothing_of_ours(server, monkeypatch):
    monkeypatch.setenv("SECRET_OF_OURS", "x")
    async with reached(server) as host:
        lines = (await host.run(["env"], timeout_s=20, env={"GIVEN": "1"})).out.decode().splitlines()
    assert {"GIVEN=1", f"HOME={server.home}"} <= set(lines)
    assert not [line for line in lines if line.startswith(("SECRET_OF_OURS", "PYTHON", "LC_CTYPE"))]


async def test_a_python_that_is_not_there_is_named(server):
    async with reached(server, python="/opt/none/python3") as host:
        with pytest.raises(UnavailableError, match="/opt/none/python3") as caught:
            await host.run(["true"], timeout_s=20)
    assert not was_sent(caught.value)
    assert "ssh.python" in caught.value.remedy


async def test_a_server_that_opens_no_channel_is_told_as_not_sent():
    server = Server(more="MaxSessions 1").start()
    try:
        async with reached(server) as host, anyio.create_task_group() as group:
            started, ended = server.root / "started", server.root / "ended"
            script = 'touch "$1"; while ! [ -e "$2" ]; do sleep 0.02; done'
            group.start_soon(lambda: host.run(["sh", "-c", script, "sh", str(started), str(ended)], timeout_s=20))
            await until(started.exists, "the first command's start")
            with pytest.raises(UnavailableError, match="MaxSessions") as caught:
                await host.run(["true"], timeout_s=20)
            assert not was_sent(caught.value)
            ended.touch()
    finally:
        server.remove()


@pytest.mark.parametrize(
    ("changed", "field"),
    [({"host": ""}, "host"), ({"host": "-oProxyCommand=x"}, "host"), ({"port": 0}, "port"), ({"keys": ()}, "keys"),
     ({"keepalive_s": 0}, "keepalive_s"), ({"jump": (SSHSettings(host="a"),)}, "keys")],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused_at_once(changed, field):
    settings = SSHSettings(**{"host": "login", "keys": ("k",), **changed})
    with pytest.raises(Exception, match=field) as caught:
        Link(settings, EAGER)
    assert caught.value.field == f"ssh.{field}"


def test_the_hand_needs_python_3_8_only():
    ast.parse(Path(hand.__file__).read_text(), feature_version=(3, 8))


def test_a_host_can_be_made_where_no_loop_runs_and_nothing_of_ssh_is_loaded_before_it_is_used():
    program = (
        "import sys; from physlab_mcp.backends.hosts.ssh import SSHSettings, ssh;"
        "ssh(SSHSettings(host='h', keys=('k',)), '/r/s'); sys.exit('asyncssh' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
