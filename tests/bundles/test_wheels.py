"""Wheels packed from what is installed, and the lock that names them."""

import base64
import hashlib
import zipfile
from pathlib import Path

import pytest

import physlab_mcp
from physlab_mcp.bundles.lock import closure, installed, lock_of, requirements_text
from physlab_mcp.bundles.wheels import wheel_of


@pytest.mark.parametrize("name", ["anyio", "msgspec", "physlab-mcp"])
def test_a_packed_wheel_lists_exactly_its_files_and_is_the_same_each_time(tmp_path, name):
    package = Path(physlab_mcp.__file__).parent if name == "physlab-mcp" else None
    wheel = wheel_of(installed(name), tmp_path, package=package)
    first = wheel.read_bytes()
    assert wheel_of(installed(name), tmp_path, package=package).read_bytes() == first
    with zipfile.ZipFile(wheel) as archive:
        record = next(one for one in archive.namelist() if one.endswith(".dist-info/RECORD"))
        rows = [line.rsplit(",", 2) for line in archive.read(record).decode().splitlines()]
        assert {row[0] for row in rows} == set(archive.namelist())
        for path, digest, size in rows[:-1]:
            data = archive.read(path)
            assert digest == "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            assert int(size) == len(data)
        assert any(one.endswith(".dist-info/METADATA") for one in archive.namelist())


def test_the_closure_holds_what_is_required_in_turn_and_no_tools():
    found = closure(["numpy"])
    assert {"physlab-mcp", "numpy", "mcp", "anyio", "idna", "matplotlib", "pillow"} <= found
    assert not {"pytest", "ruff", "pyright"} & found


def test_versions_are_those_of_the_record_even_if_others_are_installed_now():
    lock = lock_of({"packages": {"numpy": "1.0", "anyio": "2.0", "gone": "3"}}, needed=["numpy"])
    assert {pin.name: pin.version for pin in lock.pins} == {"numpy": "1.0", "anyio": "2.0", "gone": "3"}
    assert lock.everything
    assert lock.warnings
    assert "numpy==1.0" in requirements_text(lock)


def test_hashes_come_from_a_lock_file_above(tmp_path):
    (tmp_path / "uv.lock").write_text(
        '[[package]]\nname = "gone"\nversion = "3"\nwheels = [{ url = "x", hash = "sha256:ab" }]\n'
    )
    lock = lock_of({"packages": {"gone": "3"}}, needed=[], everything=True, folders=[tmp_path / "below"])
    assert lock.pins[0].hashes == ("sha256:ab",)
    assert "--hash=sha256:ab" in requirements_text(lock)
