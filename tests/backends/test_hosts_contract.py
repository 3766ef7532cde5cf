"""What every host promises: the same tests over this machine, and over SSH with rsync and with SFTP."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from tests.backends.ssh_servers import Server

from physlab_mcp.backends.hosts import host as hosts
from physlab_mcp.backends.hosts.here import here
from physlab_mcp.backends.hosts.host import Host, Moved
from physlab_mcp.backends.hosts.reach import ReachedHost
from physlab_mcp.backends.hosts.ssh import SSHReach
from physlab_mcp.errors import ForbiddenError, NotFoundError, RequestError, UnavailableError

WORDS = [
    "", " ", "'", '"', "''", "$HOME", "$(id)", "`id`", "\\", "\\n", "a\nb", "\n", "-rf", "--", "*", "?", "~", "!", "!!", "#",
    ";", "&&", "|", ">x", "{a,b}", "%s%n", "\t", "\x01", "é", "漢", os.fsdecode(b"\xff\xfe"), "a'b\"c $d", "\r", "[!a]", "^x",
]  # fmt: skip
NAMES = [
    "plain", "two words", "it's", 'a "quote"', "new\nline", "-dash", "--delete", "$HOME", "*", "é漢", "#", ":colon",
    os.fsdecode(b"\xff"), "back\\slash", " lead", "trail ", "`id`", "host:x", "0", "\\#012",
]  # fmt: skip


@pytest.fixture(scope="module")
def server():
    server = Server().start()
    yield server
    server.remove()


@pytest.fixture(params=["here", "rsync", "sftp"])
async def host(request, tmp_path):
    if request.param == "here":
        (tmp_path / "root").mkdir()
        made: Host = here(str(tmp_path / "root"))
    else:
        if request.param == "rsync" and shutil.which("rsync") is None:
            pytest.skip("no rsync: run scripts/install-test-tools.sh as root")
        server = request.getfixturevalue("server")
        reach = SSHReach(server.settings(), rsync=request.param == "rsync")
        made = ReachedHost("there", str(server.root / f"{request.node.name[:40]}-{os.urandom(3).hex()}"), reach)
    yield made
    await made.aclose()


def way_of(host: Host) -> str:
    reach = host._reach
    return "copy" if host.name == "here" else "rsync" if reach._rsync_wanted else "sftp"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def test_every_argument_arrives_as_it_is(host):
    done = await host.run(["printf", "%s\\0", *WORDS], timeout_s=30)
    assert [os.fsdecode(word) for word in done.out.split(b"\0")[:-1]] == WORDS
    assert (done.code, done.err) == (0, b"")


async def test_a_command_has_its_input_outputs_and_exit_status(host):
    data = os.urandom(300_000)
    done = await host.run(["sh", "-c", "cat; echo wrong >&2; exit 7"], stdin=data, timeout_s=30)
    assert (done.code, done.out, done.err) == (7, data, b"wrong\n")


async def test_a_variable_is_set_for_the_command_as_it_is(host):
    value = "a 'b' \"c\" $HOME\n\\ é"
    done = await host.run(["sh", "-c", 'printf %s "$PHYSICS"'], env={"PHYSICS": value}, timeout_s=30)
    assert done.out.decode() == value


async def test_a_program_that_is_missing_is_127_and_a_signal_is_told(host):
    missing = await host.run(["sbatch-is-not-here"], timeout_s=30)
    assert missing.code == 127
    assert b"sbatch-is-not-here" in missing.err
    assert (await host.run(["sh", "-c", "kill -TERM $$"], timeout_s=30)).code == 128 + 15


async def test_a_command_without_end_is_killed_with_its_children_and_told_as_sent(host):
    mark = f"{host.root}/alive"
    await host.make_folders([f"{host.root}/x"])
    with pytest.raises(UnavailableError) as caught:
        await host.run(["sh", "-c", f"sleep 60 & echo $! > '{mark}'; wait"], timeout_s=0.7)
    assert hosts.was_sent(caught.value)
    assert "sh" in caught.value.message
    pid = (await host.read_many([(mark, 0, 100)]))[0].decode().strip()
    assert (
        await host.run(
            ["sh", "-c", f"kill -0 {pid} 2>/dev/null && ! grep -q 'State:.Z' /proc/{pid}/status"], timeout_s=30
        )
    ).code


async def test_nothing_to_run_is_refused(host):
    with pytest.raises(RequestError):
        await host.run([], timeout_s=1)
    with pytest.raises(RequestError):
        await host.run(["a\0b"], timeout_s=1)
    for env in ({"a=b": "c"}, {"": "c"}, {"a": "\0"}):
        with pytest.raises(RequestError):
            await host.run(["true"], env=env, timeout_s=1)


async def test_pieces_of_many_files_are_read_at_once(host):
    paths = [f"{host.root}/logs/{name}" for name in NAMES]
    await host.write_many([(path, path.encode(errors="surrogateescape") * 3, 0o600) for path in paths], durable=False)
    asked = [(path, 5, 11) for path in paths]
    found = await host.read_many(
        [*asked, (f"{host.root}/logs/none", 0, 5), (paths[0], 10_000, 5), (f"{host.root}/logs", 0, 5)]
    )
    assert found[:-3] == [(path.encode(errors="surrogateescape") * 3)[5:16] for path in paths]
    assert found[-3:] == [None, b"", None]
    assert await host.read_many([]) == []


async def test_a_pipe_or_a_link_in_place_of_a_log_is_not_read(host):
    await host.write(f"{host.root}/secret", b"hidden")
    made = await host.run(["sh", "-c", 'cd "$1" && mkfifo pipe && ln -s secret link', "sh", host.root], timeout_s=30)
    assert made.code == 0
    assert await host.read_many([(f"{host.root}/pipe", 0, 5), (f"{host.root}/link", 0, 5)]) == [None, None]


async def test_a_file_is_written_whole_with_its_mode(host):
    path = f"{host.root}/deep/er/{NAMES[3]}"
    for data, mode in ((b"one", 0o600), (os.urandom(200_000), 0o755)):
        await host.write(path, data, mode)
        assert await host.read_many([(path, 0, 1_000_000)]) == [data]
        assert stat.S_IMODE(os.stat(path).st_mode) == mode
    assert os.listdir(os.path.dirname(path)) == [NAMES[3]]


async def test_a_write_that_cannot_be_done_names_the_file_and_leaves_nothing(host):
    await host.write(f"{host.root}/file", b"x")
    with pytest.raises(UnavailableError, match="file"):
        await host.write(f"{host.root}/file/below", b"y")
    await host.make_folders([f"{host.root}/folder/full"])
    with pytest.raises(UnavailableError):
        await host.write(f"{host.root}/folder", b"y")
    assert sorted(os.listdir(host.root)) == ["file", "folder"]


async def test_folders_are_made_private_and_made_again_without_complaint(host):
    paths = [f"{host.root}/a/b/c", f"{host.root}/d"]
    await host.make_folders(paths)
    await host.make_folders(paths)
    assert [stat.S_IMODE(os.stat(f"{host.root}/{name}").st_mode) for name in ("a", "a/b", "a/b/c", "d")] == [0o700] * 4


async def test_a_tree_is_removed_and_nothing_behind_its_links(host):
    await host.write(f"{host.root}/kept/file", b"x")
    await host.write(f"{host.root}/tree/closed/file", b"x")
    script = 'cd "$1" && ln -s ../kept tree/link && ln -s /nowhere tree/dangling && chmod 0 tree/closed'
    assert (await host.run(["sh", "-c", script, "sh", host.root], timeout_s=30)).code == 0
    assert await host.exists(f"{host.root}/tree/dangling")
    await host.remove_tree(f"{host.root}/tree")
    await host.remove_tree(f"{host.root}/tree")
    assert not await host.exists(f"{host.root}/tree")
    assert await host.exists(f"{host.root}/kept/file")


@pytest.mark.parametrize(
    "path", ["", "/", "relative", "/etc/passwd", "{root}", "{root}/", "{root}/../x", "{root}x/y", "{root}/a\0b"]
)
async def test_what_lies_outside_of_the_root_is_refused(host, path):
    path = path.replace("{root}", host.root)
    for attempt in (
        host.remove_tree(path), host.write(path, b""), host.make_folders([path]), host.read_many([(path, 0, 1)]),
        host.exists(path), host.push([(Path(__file__), path)]), host.pull([(path, Path("x"))]),
    ):  # fmt: skip
        with pytest.raises(ForbiddenError):
            await attempt


async def test_a_link_that_leads_out_of_the_root_is_not_followed(host, tmp_path):
    await host.make_folders([f"{host.root}/a", f"{host.root}/b"])
    await host.write(f"{host.root}/b/log", b"ours")
    outside = Path(host.root).parent / f"outside-{os.urandom(4).hex()}"
    script = (
        'mkdir -p "$2/precious" && echo secret > "$2/precious/log" && ln -s "$2" "$1/a/out" && ln -s ../b "$1/a/in"'
    )
    assert (await host.run(["sh", "-c", script, "sh", host.root, str(outside)], timeout_s=30)).code == 0
    for attempt in (
        host.remove_tree(f"{host.root}/a/out/precious"), host.write(f"{host.root}/a/out/x", b""),
        host.make_folders([f"{host.root}/a/out/y"]), host.push([(Path(__file__), f"{host.root}/a/out/z")]),
        host.pull([(f"{host.root}/a/out/precious/log", tmp_path / "log")]),
        host.pull([(f"{host.root}/a/out/precious", tmp_path / "folder")]),
    ):  # fmt: skip
        with pytest.raises(ForbiddenError, match="a/out"):
            await attempt
    asked = [(f"{host.root}/a/{name}", 0, 10) for name in ("out/precious/log", "in/log")]
    assert await host.read_many(asked) == [None, b"ours"]
    await host.remove_tree(f"{host.root}/a/out")
    assert os.listdir(outside) == ["precious"]


async def test_a_blob_is_not_looked_for_behind_a_link_that_leads_out_of_the_root(host, tmp_path):
    (tmp_path / "s").write_bytes(b"x")
    script = 'mkdir -p "$1" "$2" && ln -s "$2" "$1/blobs"'
    words = ["sh", "-c", script, "sh", host.root, f"{Path(host.root).parent}/blobs-{os.urandom(4).hex()}"]
    assert (await host.run(words, timeout_s=30)).code == 0
    with pytest.raises(ForbiddenError):
        await host.push_blob(sha(b"x"), tmp_path / "s")


async def test_a_host_that_answers_with_a_link_gives_no_file_of_ours(host, tmp_path, monkeypatch):
    await host.write(f"{host.root}/f", b"x")
    ours = tmp_path / "ours"
    ours.write_bytes(b"private")
    ours.chmod(0o640)

    async def linked(paths, folder):
        (folder / "0").symlink_to(ours)
        return "sftp"

    monkeypatch.setattr(host._reach, "fetch", linked)
    with pytest.raises(NotFoundError, match="went away"):
        await host.pull([(f"{host.root}/f", tmp_path / "f")])
    assert not os.path.lexists(tmp_path / "f")
    assert stat.S_IMODE(ours.stat().st_mode) == 0o640


@pytest.fixture
async def small_disk(host, request):
    """The host's root is a disk of one mebibyte."""
    if os.getuid():
        pytest.skip("a disk of its own needs root")
    await host.make_folders([f"{host.root}/x"])
    mounted = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=777", "none", host.root]
    if host.name == "here":
        subprocess.run(mounted, check=True, timeout=20)
        yield
        subprocess.run(["umount", "-l", host.root], check=True, timeout=20)
    else:  # it goes away with the server's own view of the file system
        request.getfixturevalue("server").as_root(*mounted)
        yield


@pytest.mark.usefixtures("small_disk")
async def test_a_full_disk_there_is_told_with_what_to_do_and_nothing_is_left(host, tmp_path):
    data = os.urandom(3 << 20)
    (tmp_path / "big").write_bytes(data)
    (tmp_path / "small").write_bytes(b"small")
    for attempt in (
        host.push([(tmp_path / "big", f"{host.root}/big")]), host.push_blob(sha(data), tmp_path / "big"),
        host.write(f"{host.root}/big", data),
    ):  # fmt: skip
        with pytest.raises(UnavailableError, match="No space left on device") as caught:
            await attempt
        assert host.name in caught.value.message
        assert f"room below {host.root}" in caught.value.remedy
        assert not hosts.was_sent(caught.value)
        assert not await host.exists(f"{host.root}/big")
        assert (await host.push([(tmp_path / "small", f"{host.root}/small")])).way == way_of(host)


def make_tree(base: Path) -> dict[str, bytes]:
    base.mkdir()
    files = {name: os.urandom(1000) for name in NAMES}
    files |= {f"sub/{name}": name.encode(errors="surrogateescape") for name in NAMES} | {"sub/empty": b""}
    for name, data in files.items():
        (base / name).parent.mkdir(exist_ok=True)
        (base / name).write_bytes(data)
    (base / "none").mkdir()
    (base / "plain").chmod(0o755)
    return files


def tree_at(base: Path) -> dict[str, bytes]:
    return {path.relative_to(base).as_posix(): path.read_bytes() for path in base.rglob("*") if path.is_file()}


async def test_a_tree_of_hostile_names_goes_there_and_comes_back(host, tmp_path):
    files = make_tree(tmp_path / "tree")
    size = sum(map(len, files.values()))
    pushed = await host.push(
        [(tmp_path / "tree", f"{host.root}/t w/-o"), (tmp_path / "tree" / "plain", f"{host.root}/one")]
    )
    assert pushed == Moved(files=len(files) + 1, size=size + 1000, way=way_of(host))
    assert tree_at(Path(host.root, "t w", "-o")) == files
    assert Path(host.root, "t w", "-o", "none").is_dir()
    assert os.access(Path(host.root, "one"), os.X_OK)
    assert os.listdir(Path(host.root, ".incoming")) == []
    pulled = await host.pull([(f"{host.root}/t w/-o", tmp_path / "back"), (f"{host.root}/one", tmp_path / "x" / "one")])
    assert pulled == Moved(files=len(files) + 1, size=size + 1000, way=way_of(host))
    assert tree_at(tmp_path / "back") == files
    assert (tmp_path / "back" / "none").is_dir()
    assert stat.S_IMODE((tmp_path / "back" / "plain").stat().st_mode) == 0o700
    assert (tmp_path / "x" / "one").read_bytes() == files["plain"]
    assert sorted(os.listdir(tmp_path / "back")) == sorted([*NAMES, "sub", "none"])


async def test_a_pushed_file_replaces_the_one_that_is_there(host, tmp_path):
    for data in (b"first", b"2"):
        (tmp_path / "f").write_bytes(data)
        await host.push([(tmp_path / "f", f"{host.root}/f")])
        assert await host.read_many([(f"{host.root}/f", 0, 100)]) == [data]


async def test_links_and_missing_sources_are_not_pushed(host, tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "link").symlink_to("/etc/passwd")
    for source in (tmp_path / "tree", tmp_path / "none"):
        with pytest.raises(RequestError, match=source.name):
            await host.push([(source, f"{host.root}/t")])
    assert not await host.exists(f"{host.root}/t/link")


async def test_links_in_a_folder_are_not_pulled(host, tmp_path):
    await host.write(f"{host.root}/t/file", b"x")
    assert (await host.run(["ln", "-s", "/etc/passwd", f"{host.root}/t/link"], timeout_s=30)).code == 0
    assert (await host.pull([(f"{host.root}/t", tmp_path / "t")])).files == 1
    assert os.listdir(tmp_path / "t") == ["file"]
    with pytest.raises(NotFoundError, match="link"):
        await host.pull([(f"{host.root}/t/link", tmp_path / "x")])


async def test_what_is_here_already_does_not_travel_again(host, tmp_path):
    data = {f"{host.root}/out/{name}": os.urandom(100) for name in ("a", "b")}
    await host.write_many([(path, body, 0o600) for path, body in data.items()])
    hashes = {path: sha(body) for path, body in data.items()}
    first = await host.pull([(f"{host.root}/out", tmp_path / "out")], sha256=hashes)
    (tmp_path / "out" / "b").write_bytes(b"changed here")
    second = await host.pull([(f"{host.root}/out", tmp_path / "out")], sha256=hashes)
    third = await host.pull([(f"{host.root}/out", tmp_path / "out")], sha256=hashes)
    assert [(one.files, one.kept, one.size) for one in (first, second, third)] == [(2, 0, 200), (1, 1, 100), (0, 2, 0)]
    assert third.way == "none"
    assert (tmp_path / "out" / "b").read_bytes() == data[f"{host.root}/out/b"]


async def test_a_file_that_is_not_what_was_said_is_not_kept(host, tmp_path):
    await host.write(f"{host.root}/f", b"tampered")
    (tmp_path / "f").write_bytes(b"old")
    with pytest.raises(UnavailableError, match=sha(b"honest")):
        await host.pull([(f"{host.root}/f", tmp_path / "f")], sha256={f"{host.root}/f": sha(b"honest")})
    assert (tmp_path / "f").read_bytes() == b"old"
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".physlab")]


async def test_what_cannot_be_kept_here_is_told(host, tmp_path):
    await host.write(f"{host.root}/f", b"x")
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder" / "full").mkdir(parents=True)
    for target in (tmp_path / "file" / "below", tmp_path / "folder"):
        with pytest.raises(UnavailableError, match="this machine"):
            await host.pull([(f"{host.root}/f", target)])


async def test_what_is_not_there_is_named(host, tmp_path):
    with pytest.raises(RequestError, match="nothing"):
        await host.push_blob(sha(b""), tmp_path / "nothing")
    with pytest.raises(NotFoundError, match="absent"):
        await host.pull([(f"{host.root}/absent", tmp_path / "x")])


async def test_a_blob_travels_once_and_a_damaged_one_again(host, tmp_path):
    data = os.urandom(50_000)
    source = tmp_path / "s p'a"
    source.write_bytes(data)
    place = await host.push_blob(sha(data), source)
    assert place == f"{host.root}/blobs/{sha(data)[:2]}/{sha(data)}"
    before = os.stat(place)
    assert stat.S_IMODE(before.st_mode) == 0o444
    assert await host.push_blob(sha(data), source) == place
    other = ReachedHost(host.name, host.root, host._reach)  # an engine started anew
    assert await other.push_blob(sha(data), source) == place
    assert os.stat(place).st_ino == before.st_ino
    await host.remove_tree(place)
    await host.write(place, data[:-1] + b"!")
    assert await host.push_blob(sha(data), source) == place
    assert Path(place).read_bytes() == data


async def test_a_blob_of_another_hash_is_refused_and_not_kept(host, tmp_path):
    (tmp_path / "s").write_bytes(b"something else")
    with pytest.raises(RequestError, match=sha(b"something else")):
        await host.push_blob(sha(b"x"), tmp_path / "s")
    assert not await host.exists(f"{host.root}/blobs/{sha(b'x')[:2]}/{sha(b'x')}")
    assert os.listdir(Path(host.root, ".incoming")) == []


async def test_big_files_travel_whole(host, tmp_path):
    block = os.urandom(1 << 20)
    with (tmp_path / "big").open("wb") as stream:
        for n in range(24):
            stream.write(block[n:] + block[:n])
    want = hashlib.sha256((tmp_path / "big").read_bytes()).hexdigest()
    place = await host.push_blob(want, tmp_path / "big")
    moved = await host.pull([(place, tmp_path / "back")], sha256={place: want})
    assert moved.size == 24 << 20


async def test_a_transfer_that_takes_too_long_is_ended_and_leaves_nothing(host, tmp_path):
    (tmp_path / "f").write_bytes(bytes(1000))
    with pytest.raises(UnavailableError, match="did not end"):
        await host.push([(tmp_path / "f", f"{host.root}/f")], timeout_s=0)
    await host.write(f"{host.root}/g", b"x")
    with pytest.raises(UnavailableError, match="did not end"):
        await host.pull([(f"{host.root}/g", tmp_path / "g")], timeout_s=0)
    assert os.listdir(Path(host.root, ".incoming")) == []
    assert sorted(os.listdir(tmp_path)) in (["f"], ["f", "root"])


async def test_an_unfinished_transfer_of_long_ago_is_forgotten(host, tmp_path):
    old = Path(host.root, ".incoming", "dead")
    await host.write(f"{old}/0", b"x")
    os.utime(old, (1, 1))
    (tmp_path / "f").write_bytes(b"x")
    await host.push([(tmp_path / "f", f"{host.root}/f")])
    assert not old.exists()


async def test_it_says_that_it_is_connected_and_since_when(host):
    await host.run(["true"], timeout_s=30)
    assert host.connected
    assert host.since > 0


@pytest.mark.parametrize("root", ["relative", "/", "", "/a/../b"])
def test_a_root_that_is_no_folder_of_its_own_is_refused(root):
    with pytest.raises(RequestError, match="root"):
        here(root)
