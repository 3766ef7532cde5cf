"""What is in a package, and that every kind of tampering shows."""

import json
import os
import shutil
import stat
import zipfile

import pytest

from physlab_mcp.bundles.verify import verify_package


def failed(found):
    return {check.name for check in found.checks if check.verdict == "failed"}


@pytest.mark.parametrize("name", ["run", "sweep", "zipped.zip"])
def test_a_fresh_package_passes_every_check(packages, name):
    found = verify_package(packages.folder / name, own_key=packages.key)
    assert found.ok, found
    assert found.trusted
    assert {check.verdict for check in found.checks} == {"ok"}


def test_a_sweep_has_one_action_a_point_and_failed_ones_say_why(packages):
    crate = json.loads((packages.folder / "sweep" / "ro-crate-metadata.json").read_text())
    actions = [one for one in crate["@graph"] if one["@type"] == "CreateAction"]
    assert len(actions) == 8
    bad = [one for one in actions if one["actionStatus"].endswith("FailedActionStatus")]
    assert len(bad) == 2
    assert all("a negative scale" in one["error"] for one in bad)


def test_the_package_holds_sources_seeds_lock_and_figures(packages):
    package = packages.folder / "run"
    info = json.loads((package / "package.json").read_text())
    assert info["seeds"] == {"noise.seed": [7]}
    assert info["modules"] == ["bundle_nodes"]
    assert (package / "code" / "modules" / "bundle_numbers.py").is_file()
    assert "numpy==" in (package / "environment" / "requirements.txt").read_text()
    assert list((package / "figures").glob("curve-*.png"))
    graph = json.loads((package / "provenance" / "graph.json").read_text())
    assert len(graph["activity"]) == 3
    assert graph["wasInformedBy"]


def test_equal_bytes_are_in_a_package_once(packages):
    manifest = json.loads((packages.folder / "sweep" / "manifest.json").read_text())
    artifacts = [one["sha256"] for one in manifest["files"] if one["path"].startswith("artifacts/")]
    assert len(artifacts) == len(set(artifacts))


def test_a_changed_file_shows(packages, tmp_path):
    package = packages.copy("run", tmp_path)
    place = package / "results" / "jobs.jsonl"
    place.write_bytes(place.read_bytes().replace(b"2", b"3", 1))
    assert "hashes" in failed(verify_package(package))


def test_a_removed_an_added_and_a_renamed_file_show(packages, tmp_path):
    package = packages.copy("run", tmp_path)
    (package / "README.md").rename(package / "README.txt")
    found = verify_package(package)
    assert "files" in failed(found)
    told = next(check.found for check in found.checks if check.name == "files")
    assert told == ("README.md: missing", "README.txt: not in the manifest")


@pytest.mark.parametrize("change", ["cut", "reordered", "another entry"])
def test_a_changed_manifest_shows_although_it_agrees_with_the_files(packages, tmp_path, change):
    package = packages.copy("run", tmp_path)
    body = json.loads((package / "manifest.json").read_text())
    if change == "cut":
        gone = body["files"].pop()
        body["count"] -= 1
        body["bytes"] -= gone["size"]
        (package / gone["path"]).unlink()
    elif change == "reordered":
        body["files"].reverse()
    else:
        (package / "zzz").write_bytes(b"")
        empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        body["files"].append({"path": "zzz", "size": 0, "sha256": empty})
        body["count"] += 1
    (package / "manifest.json").write_text(json.dumps(body))
    assert "signature" in failed(verify_package(package))


def test_cutting_the_list_and_the_count_of_a_manifest_is_told_apart(packages, tmp_path):
    package = packages.copy("run", tmp_path)
    body = json.loads((package / "manifest.json").read_text())
    body["files"].pop()
    (package / "manifest.json").write_text(json.dumps(body))
    assert {"manifest", "files", "signature"} <= failed(verify_package(package))


def test_a_package_without_its_signature_fails(packages, tmp_path):
    package = packages.copy("run", tmp_path)
    (package / "signature.json").unlink()
    assert failed(verify_package(package)) == {"signature"}


def test_a_package_that_another_key_signed_again_is_whole_but_not_trusted(packages, tmp_path):
    package = packages.copy("run", tmp_path)
    (package / "README.md").write_text("Send the prize to somebody else.")
    maker = verify_package(packages.folder / "run", own_key=packages.key).fingerprint
    other = type(packages)(packages.folder, tmp_path)  # whose key is made in tmp_path
    other.seal(package)
    found = verify_package(package, own_key=packages.key)
    assert found.ok
    assert not found.trusted
    assert found.fingerprint != maker
    assert "signature" in failed(verify_package(package, trusted=[maker]))
    assert stat.S_IMODE(other.key.stat().st_mode) == 0o600


def test_a_link_in_a_package_shows(packages, tmp_path):
    package = packages.copy("run", tmp_path)
    (package / "README.md").unlink()
    os.symlink("/etc/hostname", package / "README.md")
    found = verify_package(package)
    assert {"names", "manifest"} & failed(found) == {"names"}


@pytest.mark.parametrize("name", ["../outside", "/absolute", "a/../../b", "c:\\x", "a//b"])
def test_a_zip_whose_names_lead_outside_fails(packages, tmp_path, name):
    target = tmp_path / "bad.zip"
    target.write_bytes((packages.folder / "zipped.zip").read_bytes())
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(name, b"x")
    found = verify_package(target)
    assert "names" in failed(found)
    assert not any(check.name == "hashes" for check in found.checks)


def test_a_zip_bomb_is_told_before_it_is_unpacked(packages, tmp_path):
    target = tmp_path / "bomb.zip"
    target.write_bytes((packages.folder / "zipped.zip").read_bytes())
    with zipfile.ZipFile(target, "a", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("zeros", bytes(50_000_000))
    assert "names" in failed(verify_package(target))


def test_a_zip_that_was_cut_off_is_told(packages, tmp_path):
    from physlab_mcp.errors import RequestError

    target = tmp_path / "cut.zip"
    target.write_bytes((packages.folder / "zipped.zip").read_bytes()[:-100])
    with pytest.raises(RequestError, match="no zip that can be read"):
        verify_package(target)


@pytest.mark.parametrize(
    ("path", "check"),
    [
        ("environment/requirements.txt", "environment"),
        ("code/modules/bundle_nodes.py", "code"),
        ("results/jobs.jsonl", "results"),
        ("artifacts", "artifacts"),
    ],
)
def test_what_is_missing_is_told_even_if_the_list_agrees(packages, tmp_path, path, check):
    package = packages.copy("run", tmp_path)
    if path == "artifacts":
        path = json.loads((package / "artifacts" / "index.json").read_text()).popitem()[1]["path"]
    (package / path).unlink()
    if path.startswith("results"):
        shutil.rmtree(package / "results")
    packages.seal(package)
    found = verify_package(package, own_key=packages.key)
    assert check in failed(found)
    assert "profile" in failed(found)
    assert "signature" not in failed(found)


def test_a_point_that_was_taken_out_of_a_sweep_is_told(packages, tmp_path):
    package = packages.copy("sweep", tmp_path)
    place = package / "workflow" / "points.jsonl"
    place.write_bytes(b"".join(place.read_bytes().splitlines(keepends=True)[:-1]))
    packages.seal(package)
    assert "points" in failed(verify_package(package))
