"""Packages that somebody made on purpose: whatever is in them, the answer is a check that failed."""

import json
import shutil
import zipfile

import pytest

from physlab_mcp.bundles.verify import verify_package
from physlab_mcp.cli import main as cli


def wrong(found):
    return {check.name: " ".join((check.text, *check.found)) for check in found.checks if check.verdict == "failed"}


def zipped(package, target, names=None):
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(package.rglob("*")):
            name = path.relative_to(package).as_posix()
            if path.is_file() and (names is None or name in names):
                archive.write(path, name)
    return target


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_a_signature_without_its_manifest_fails(packages, tmp_path, form):
    package = packages.copy("run", tmp_path)
    (package / "manifest.json").unlink()
    if form == "zip":
        package = zipped(package, tmp_path / "bad.zip")
    found = wrong(verify_package(package))
    assert "manifest.json" in found["manifest"]
    assert "manifest.json" in found["signature"]
    assert "Errno" not in str(found)


FILES = [
    "package.json", "metadata.json", "ro-crate-metadata.json", "workflow/dag.json", "workflow/experiment.json",
    "workflow/plan.json", "workflow/points.jsonl", "results/jobs.jsonl", "artifacts/index.json", "code/node_types.json",
    "environment/environment.json", "environment/lock.json", "provenance/graph.json",
]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("text", ["[]", "null", '"x"', '{"a": []}', "[[[", "1", "[1]", "{}"])
def test_a_file_of_another_form_that_was_signed_again_is_named(packages, tmp_path, name, text):
    if name.endswith("environment.json") and text.startswith("{"):
        return  # it is whatever was captured
    if (name, text) in {
        (one, "{}") for one in ("artifacts/index.json", "code/node_types.json", "provenance/graph.json")
    }:
        return  # empty is a form too; what is missing in it is told by the other checks
    package = packages.copy("run", tmp_path)
    (package / name).write_text(text)
    packages.seal(package)
    found = wrong(verify_package(package, own_key=packages.key))
    assert name in found["forms"], found
    assert "Error" not in str(found)


@pytest.mark.parametrize("text", ["[]", "null", "1", "{}", "[[["])
@pytest.mark.parametrize("name", ["manifest.json", "signature.json"])
def test_a_manifest_or_signature_of_another_form_fails(packages, tmp_path, name, text):
    package = packages.copy("run", tmp_path)
    (package / name).write_text(text)
    found = wrong(verify_package(package))
    assert {"manifest.json": "manifest", "signature.json": "signature"}[name] in found


@pytest.mark.parametrize("name", FILES)
def test_a_record_that_is_missing_from_the_list_too_is_named(packages, tmp_path, name):
    package = packages.copy("run", tmp_path)
    (package / name).unlink()
    if not any((package / name).parent.iterdir()):
        (package / name).parent.rmdir()
    packages.seal(package)
    assert f"{name}: missing" in wrong(verify_package(package, own_key=packages.key))["forms"]


def test_one_wrong_value_deep_in_a_record_is_told_with_its_place(packages, tmp_path):
    package = packages.copy("run", tmp_path)
    lock = json.loads((package / "environment" / "lock.json").read_text())
    lock["pins"][0]["version"] = 7
    (package / "environment" / "lock.json").write_text(json.dumps(lock))
    packages.seal(package)
    told = wrong(verify_package(package))["forms"]
    assert "environment/lock.json: expected a lock" in told
    assert "$.pins[0].version" in told


def test_the_command_answers_with_exit_code_1_and_json(packages, tmp_path, capsys):
    package = packages.copy("run", tmp_path)
    (package / "package.json").write_text("[]")
    packages.seal(package)
    assert cli(["bundle", "verify", str(package), "--json", "--data-dir", str(tmp_path / "data")]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_an_empty_folder_in_a_zip_or_a_folder_shows(packages, tmp_path):
    target = tmp_path / "bad.zip"
    shutil.copy(packages.folder / "zipped.zip", target)
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr("nothing/", b"")
    package = packages.copy("run", tmp_path)
    (package / "nothing" / "below").mkdir(parents=True)
    for bad in (target, package):
        found = wrong(verify_package(bad))
        assert set(found) == {"files"}
        assert "nothing/: an empty folder" in found["files"]


def test_a_file_that_leaves_its_folder_empty_is_told_as_missing_alone(packages, tmp_path):
    package = packages.copy("run", tmp_path)
    (package / "provenance" / "graph.json").unlink()
    found = wrong(verify_package(package))
    assert found["files"] == "1 wrong provenance/graph.json: missing"


def test_a_package_one_folder_deeper_is_found_there(packages, tmp_path):
    (tmp_path / "outer").mkdir()
    packages.copy("run", tmp_path / "outer")
    target = tmp_path / "outer.zip"
    zipped(tmp_path / "outer", target)
    for bad in (tmp_path / "outer", target):
        assert "in the folder run: the package is in there" in wrong(verify_package(bad))["manifest"]


def test_bytes_before_or_after_a_zip_show(packages, tmp_path):
    good = (packages.folder / "zipped.zip").read_bytes()
    target = tmp_path / "bad.zip"
    for bad in (b"#!/bin/sh\n" + good, good + b"more", good[:-2] + b"\x04\x00more"):
        target.write_bytes(bad)
        assert "the zip: " in wrong(verify_package(target))["names"]


def test_bytes_between_the_files_of_a_zip_show(packages, tmp_path):
    target = tmp_path / "bad.zip"
    shutil.copy(packages.folder / "zipped.zip", target)
    with zipfile.ZipFile(target, "a") as archive:
        archive.fp.seek(archive.start_dir)
        archive.fp.write(b"unseen")
        archive.start_dir += 6
        archive._didModify = True
    assert "belong to no file" in wrong(verify_package(target))["names"]


class Pipe:
    """What cannot seek: the sizes then stand behind the data."""

    def __init__(self, stream):
        self.write, self.flush = stream.write, stream.flush


def test_a_zip_that_another_program_packed_passes(packages, tmp_path):
    target = tmp_path / "again.zip"
    run = packages.folder / "run"
    with target.open("wb") as stream, zipfile.ZipFile(Pipe(stream), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("workflow/", b"")
        for path in sorted(run.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(run).as_posix())
    found = verify_package(target, own_key=packages.key)
    assert found.ok, wrong(found)


def test_a_zip_whose_packed_bytes_were_spoilt_fails(packages, tmp_path):
    target = tmp_path / "bad.zip"
    shutil.copy(packages.folder / "zipped.zip", target)
    with zipfile.ZipFile(target) as archive:
        place = archive.getinfo("package.json").header_offset + 30 + len("package.json") + 40
    spoilt = bytearray(target.read_bytes())
    spoilt[place : place + 30] = b"\xff" * 30
    target.write_bytes(spoilt)
    assert "package.json" in wrong(verify_package(target))["hashes"]
