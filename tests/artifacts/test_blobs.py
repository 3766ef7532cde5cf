from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.errors import NotFoundError, RequestError, UnavailableError


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def files(blobs: Blobs) -> list[Path]:
    return [one for one in blobs.root.rglob("*") if one.is_file()]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=3000))
def test_what_was_put_is_read_under_its_hash(blobs: Blobs, data: bytes) -> None:
    ref = blobs.put(data, name="x.bin", media_type="application/octet-stream")
    assert ref.sha256 == hashlib.sha256(data).hexdigest()
    assert ref.size == len(data)
    assert blobs.read(ref.sha256) == data
    assert blobs.read(f"sha256:{ref.sha256}") == data
    assert blobs.exists(ref.sha256)
    assert blobs.intact(ref.sha256)


def test_equal_bytes_are_stored_once_and_leave_no_rest(blobs: Blobs) -> None:
    for name in ("a", "b"):
        blobs.put(b"same", name=name, media_type="text/plain")
    assert len(files(blobs)) == 1


def test_a_file_is_stored_as_its_bytes(blobs: Blobs, tmp_path: Path) -> None:
    source = tmp_path / "big.bin"
    source.write_bytes(bytes(range(256)) * 10_000)
    ref = blobs.put_file(source, name="big.bin", media_type="application/octet-stream")
    assert ref.size == 2_560_000
    assert blobs.read(ref.sha256) == source.read_bytes()
    assert source.exists()


def corrupt(blobs: Blobs, sha256: str) -> None:
    path = blobs.path(sha256)
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


def test_a_flipped_bit_is_never_served(blobs: Blobs) -> None:
    ref = blobs.put(b"precious", name="x", media_type="text/plain")
    corrupt(blobs, ref.sha256)
    with pytest.raises(UnavailableError, match="corrupted"):
        blobs.read(ref.sha256)
    assert not blobs.exists(ref.sha256)
    with pytest.raises(NotFoundError):
        blobs.read(ref.sha256)


def test_corruption_is_noticed_by_intact_even_after_it_was_intact(blobs: Blobs) -> None:
    ref = blobs.put(b"precious", name="x", media_type="text/plain")
    assert blobs.intact(ref.sha256)
    blobs.path(ref.sha256).write_bytes(b"precioux and longer")
    assert not blobs.intact(ref.sha256)


def test_corrupted_bytes_are_mended_by_putting_them_again(blobs: Blobs) -> None:
    ref = blobs.put(b"precious", name="x", media_type="text/plain")
    corrupt(blobs, ref.sha256)
    blobs.put(b"precious", name="x", media_type="text/plain")
    assert blobs.read(ref.sha256) == b"precious"


def test_many_writers_of_the_same_bytes_agree(blobs: Blobs) -> None:
    data = b"x" * 300_000
    refs: list[str] = []
    start = threading.Barrier(8)

    def write() -> None:
        start.wait(10)
        refs.append(Blobs(blobs.root).put(data, name="x", media_type="text/plain").sha256)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    assert len(refs) == 8
    assert len(set(refs)) == 1
    assert blobs.read(refs[0]) == data
    assert len(files(blobs)) == 1


def test_names_that_are_no_hash_are_refused(blobs: Blobs) -> None:
    for name in ("", "../../etc/passwd", "A" * 64, "0" * 63, "sha256:xyz"):
        with pytest.raises(RequestError):
            blobs.path(name)


def test_an_unknown_hash_is_not_found(blobs: Blobs) -> None:
    with pytest.raises(NotFoundError):
        blobs.read("0" * 64)
    assert not blobs.intact("0" * 64)


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file where the folder should be")
    with pytest.raises((UnavailableError, OSError)):
        Blobs(tmp_path / "blobs").put(b"x", name="x", media_type="text/plain")
