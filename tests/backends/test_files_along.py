"""Which files travel with a job, as both clusters ask for them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from physlab_mcp.backends.files_along import artifacts_named, files_below, refs_in
from physlab_mcp.schemas.artifact import ArtifactRef

A, B, C = "a" * 64, "b" * 64, "c" * 64


def test_artifacts_are_found_at_any_depth_and_nothing_else_is_one() -> None:
    params = {
        "file": f"sha256:{A}", "inner": [{"$artifact": {"sha256": B}, "as": "file"}, ({"x": f"sha256:{C}"},)],
        "text": A, "short": "sha256:abc", "line": f"sha256:{A}\n", "odd": {"$artifact": {"sha256": 7}}, "n": 1,
    }  # fmt: skip
    assert artifacts_named(params) == {A, B, C}
    assert artifacts_named(None) == set()


def test_plain_files_are_listed_by_name_and_links_are_not(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b").touch()
    (tmp_path / "in" / "a").touch()
    (tmp_path / "top").touch()
    (tmp_path / "link").symlink_to(tmp_path / "top")
    assert sorted(name for name, _ in files_below(tmp_path)) == ["in/a", "in/b", "top"]
    assert all(path == tmp_path / name for name, path in files_below(tmp_path))


def test_values_that_were_too_large_name_their_artifacts() -> None:
    ref = ArtifactRef(A, "x.npy", "application/octet-stream", 9)
    values = {"x": {"$artifact": msgspec.to_builtins(ref)}, "y": 1, "z": {"$artifact": {"sha256": 7}}, "w": {"a": 1}}
    assert refs_in(values) == [ref]
