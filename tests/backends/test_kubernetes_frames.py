"""The lines that a pod prints: cut to what runtimes take, and put together again whatever is read twice or never."""

import base64
import json
import os
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import physlab_mcp.backends.runner  # puts its folder on the path, as it lies beside pod.py where that runs
from physlab_mcp.backends.kubernetes import pod
from physlab_mcp.backends.kubernetes.frames import Frames

assert physlab_mcp.backends.runner
RUNTIME_LINE = 16 << 10  # container runtimes cut longer ones


@pytest.fixture
def told(monkeypatch):
    """What a Teller prints from now on, by a callable."""
    reading, writing = os.pipe()
    found = bytearray()

    def collect():
        while data := os.read(reading, 1 << 16):
            found.extend(data)

    thread = threading.Thread(target=collect)
    thread.start()
    real = os.write
    monkeypatch.setattr(pod.os, "write", lambda fd, data: real(writing if fd == 1 else fd, data))

    def end():
        os.close(writing)
        thread.join()
        os.close(reading)
        return bytes(found)

    return end


def put_together(lines, kind):
    frames, data = Frames(), bytearray()
    for line in lines:
        frame = frames.read(line)
        if frame is not None and frame.kind == kind:
            data[frame.at : frame.at + len(frame.data)] = frame.data
    return bytes(data), frames


def test_every_line_fits_and_the_bytes_are_the_same(told, tmp_path):
    text = ("ψ" * 7919 + "\n") * 3 + "\x00\x1b" * 20_000 + "plain\n" * 5000
    (tmp_path / "stdout.log").write_text(text)
    (tmp_path / "stderr.log").write_bytes(os.urandom(100_000))
    (tmp_path / "events.jsonl").write_text('{"kind": "progress"}\n' * 1000)
    tails = pod.Tails(pod.Teller(), str(tmp_path))
    while tails.tell():
        continue
    lines = told().splitlines()
    assert max(map(len, lines)) < RUNTIME_LINE
    assert [json.loads(line)["n"] for line in lines] == list(range(len(lines)))
    for kind, name in pod.STREAMS:
        assert put_together(lines, kind)[0] == (tmp_path / name).read_bytes()


def test_a_file_behind_a_link_is_not_told(told, tmp_path):
    (tmp_path / "secret").write_text("x")
    (tmp_path / "stdout.log").symlink_to(tmp_path / "secret")
    assert pod.Tails(pod.Teller(), str(tmp_path)).tell() is False
    assert told() == b""


pieces = st.lists(st.binary(min_size=1, max_size=20), max_size=30)


@settings(max_examples=200)
@given(pieces, st.lists(st.integers(0, 30), max_size=5))
def test_a_log_read_again_from_anywhere_gives_each_byte_once(parts, cuts):
    lines, at = [], 0
    for number, part in enumerate(parts):
        try:
            body = {"t": part.decode()}
        except UnicodeDecodeError:
            body = {"b": base64.b64encode(part).decode()}
        lines.append(json.dumps({"n": number, "k": "out", "at": at, **body}).encode())
        at += len(part)
    heard = [line for cut in cuts for line in lines[: min(cut, len(lines))]]
    frames, found = Frames(), b""
    for line in [*heard, *lines]:
        frame = frames.read(line, skip=False)
        if frame is not None:
            assert frame.at == len(found)
            found += frame.data
    assert (found, frames.missing) == (b"".join(parts), 0)


def test_lines_that_were_never_seen_are_counted_or_asked_for_again():
    def line(number):
        return json.dumps({"n": number, "k": "out", "at": number, "t": "x"}).encode()

    frames = Frames()
    assert frames.read(line(0)) is not None
    with pytest.raises(LookupError):
        frames.read(line(3), skip=False)
    assert (frames.next, frames.missing) == (1, 0)
    assert frames.read(line(3)) is not None
    assert (frames.next, frames.missing) == (4, 2)


@settings(max_examples=200)
@given(st.binary(max_size=60) | st.from_regex(rb'\{"n":.{0,40}', fullmatch=True))
def test_no_line_stops_the_reader(line):
    frames = Frames()
    frames.read(line)
    assert frames.read(b'{"n": 0, "k": "end"}') is not None or frames.next > 0


def test_what_is_no_frame_is_kept_for_the_failure():
    frames = Frames()
    assert frames.read(b"Traceback (most recent call last):") is None
    assert frames.read(b"ImportError: no json") is None
    assert b"ImportError" in frames.stray


def test_the_program_of_pods_is_of_the_standard_library_and_of_python_3_8():
    import ast

    from physlab_mcp.backends.kubernetes.program import program

    for name, data in program().items():
        tree = ast.parse(data, feature_version=(3, 8))
        for node in ast.walk(tree):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for one in names:
                top = one.split(".")[0]
                own = top in ("runner", "runner_parts", "physlab_mcp")  # the last for type checkers alone
                assert own or top in sys.stdlib_module_names, (name, one)
