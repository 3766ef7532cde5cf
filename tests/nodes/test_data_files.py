"""Files named by callers, pinned as artifacts where they may be read."""

import os
import socket

import pytest
from node_runs import Bench

from physlab_mcp.errors import ForbiddenError, RequestError
from physlab_mcp.nodes import data_files


@pytest.fixture
def place(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "data").mkdir()
    return tmp_path


@pytest.fixture
def bench(place):
    return Bench(place / "root" / "data" / "blobs")


def pin(bench, place, path, roots=None):
    roots = [place / "root"] if roots is None else roots
    return data_files.pin(
        str(path), roots=roots, hidden=[place / "root" / "data"], blobs=bench.blobs, field="params.path"
    )


def test_the_parameter_that_is_a_file_is_marked(bench):
    assert data_files.file_params(bench.registry.get("data.import")) == ("path",)
    assert data_files.file_params(bench.registry.get("data.fft")) == ()


def test_a_file_in_a_root_is_stored_and_named_by_its_content(bench, place):
    file = place / "root" / "a.csv"
    file.write_text("t,v\n0,1\n1,2\n")
    first = pin(bench, place, "a.csv")
    assert first == pin(bench, place, file)
    assert first["$artifact"]["name"] == "a.csv"
    file.write_text("t,v\n0,1\n1,3\n")
    second = pin(bench, place, "a.csv")
    assert second["$artifact"]["sha256"] != first["$artifact"]["sha256"]
    read = [bench.run("data.import", path=one, emit_plots=False) for one in (first, second)]
    assert [bench.array(one, "y").tolist() for one in read] == [[1, 2], [1, 3]]


def test_links_are_followed_only_inside_the_roots(bench, place):
    inside, outside = place / "root" / "a.csv", place / "b.csv"
    inside.write_text("1,2\n")
    outside.write_text("3,4\n")
    (place / "root" / "in.csv").symlink_to(inside)
    (place / "root" / "out.csv").symlink_to(outside)
    (place / "root" / "up").symlink_to(place)
    assert pin(bench, place, "in.csv")["$artifact"]["name"] == "in.csv"
    for path in ("out.csv", "up/b.csv", "../b.csv", outside, "/etc/passwd", "/proc/self/environ"):
        with pytest.raises(ForbiddenError):
            pin(bench, place, path)


@pytest.mark.parametrize("path", ["missing.csv", "", ".", "folder", "data/blobs", "a\0b", "no/such/folder.csv"])
def test_what_is_no_readable_file_is_refused(bench, place, path):
    (place / "root" / "folder").mkdir()
    with pytest.raises(ForbiddenError):
        pin(bench, place, path)


def test_without_roots_nothing_is_read(bench, place):
    (place / "root" / "a.csv").write_text("1,2\n")
    with pytest.raises(ForbiddenError, match="no roots"):
        pin(bench, place, place / "root" / "a.csv", roots=[])


def test_pipes_sockets_and_devices_are_refused_without_waiting(bench, place):
    os.mkfifo(place / "root" / "pipe.csv")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place / "root" / "socket.csv"))
        for path in ("pipe.csv", "socket.csv"):
            with pytest.raises(ForbiddenError, match="names"):
                pin(bench, place, path)
    with pytest.raises(ForbiddenError, match="regular file"):
        pin(bench, place, "/dev/zero", roots=[place / "root", place.__class__("/dev")])


def test_a_file_that_is_too_large_is_refused_unread(bench, place):
    with (place / "root" / "large.csv").open("wb") as stream:
        stream.truncate(data_files.MAX_BYTES + 1)
    with pytest.raises(ForbiddenError, match="200,000,001 bytes"):
        pin(bench, place, "large.csv")


def test_a_link_put_in_after_the_check_is_not_followed(bench, place, monkeypatch):
    (place / "root" / "a").mkdir()
    (place / "root" / "a" / "file.csv").write_text("1,2\n")
    (place / "b").mkdir()
    (place / "b" / "file.csv").write_text("3,4\n")
    real_check = data_files.allowed

    def check_then_swap(*args, **named):
        real = real_check(*args, **named)
        (place / "root" / "a").rename(place / "root" / "was")
        (place / "root" / "a").symlink_to(place / "b")
        return real

    monkeypatch.setattr(data_files, "allowed", check_then_swap)
    with pytest.raises(ForbiddenError, match="cannot be read"):
        pin(bench, place, "a/file.csv")


def test_only_paths_are_pinned_and_none_can_be_chosen_later(bench, place):
    (place / "root" / "a.csv").write_text("1,2\n")
    common = {"roots": [place / "root"], "hidden": [], "blobs": bench.blobs, "where": "spec.imp.params"}
    for value in ({"$from": "n", "key": "figures.line.csv"}, {"$artifact": {"sha256": "0" * 64}}, "sha256:" + "0" * 64):
        assert data_files.pinned({"path": value}, ("path",), **common) == {}
    assert set(data_files.pinned({"path": "a.csv", "format": "csv"}, ("path",), **common)) == {"path"}
    with pytest.raises(RequestError, match=r"spec\.imp\.params\.path cannot be swept"):
        data_files.pinned({"path": {"$point": "file"}}, ("path",), **common)
