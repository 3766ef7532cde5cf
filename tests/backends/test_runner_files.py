"""The files that an attempt keeps: by folder and by glob, and never from behind a link that leads out."""

from __future__ import annotations

import os

from tests.backends.job_folders import job_folder, run

from physlab_mcp.backends.runner_parts.family import Family


def test_globs_keep_files_of_the_working_folder(tmp_path):
    script = (
        "mkdir -p d/e artifacts/sub; echo 1 > a.csv; echo 2 > d/e/b.csv; echo 3 > skip.txt; echo 4 > artifacts/sub/c"
    )
    told = run(job_folder(tmp_path, script=script, artifacts=["*.csv", "**/*.csv", "d"]))
    assert {entry["name"]: entry["size"] for entry in told["artifacts"]} == {"a.csv": 2, "d/e/b.csv": 2, "sub/c": 2}


def test_equal_names_from_different_places_are_both_kept(tmp_path):
    told = run(
        job_folder(tmp_path, script="mkdir artifacts; echo 1 > artifacts/x.csv; echo 22 > x.csv", artifacts=["*.csv"])
    )
    assert [(entry["name"], entry["size"]) for entry in told["artifacts"]] == [("x.csv", 2), ("x.2.csv", 3)]


def test_a_working_folder_of_the_caller_keeps_its_older_files_out(tmp_path):
    work = tmp_path / "work"
    (work / "artifacts").mkdir(parents=True)
    (work / "artifacts/old").write_text("old")
    os.utime(work / "artifacts/old", (1, 1))
    told = run(job_folder(tmp_path, script="echo new > artifacts/new", workdir=str(work)))
    assert [entry["name"] for entry in told["artifacts"]] == ["new"]
    assert (work / "artifacts/new").stat().st_nlink == 1  # a copy: the caller may go on writing


def test_artifacts_that_lead_out_by_links_or_dots_are_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("key")
    script = (
        'ln -s "$1/key" "$PHYSLAB_ARTIFACTS/a"; ln -s "$1" b; ln -s "$1" artifacts; ln -s "$1/key" c.csv; mkfifo d.csv;'
        "echo fine > e.csv; ln -s e.csv f.csv"
    )
    folder = job_folder(
        tmp_path,
        command=["sh", "-c", script, "sh", str(secret)],
        artifacts=["b/*", "*.csv", "../../../*", "/etc/passwd"],
    )
    told = run(folder)
    assert [entry["name"] for entry in told["artifacts"]] == ["e.csv"]
    assert len([warning for warning in told["warnings"] if "refused" in warning]) == 7
    assert "key" not in "".join(
        path.read_text() for path in (folder / "attempts/1" / "artifacts").rglob("*") if path.is_file()
    )


def test_a_box_replaced_by_a_link_gives_nothing_away(tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("key")
    script = 'cd ..; rm -r work artifacts; ln -s "$1" work; ln -s "$1" artifacts'
    told = run(job_folder(tmp_path, command=["sh", "-c", script, "sh", str(secret)], artifacts=["*", "key"]))
    assert told["artifacts"] == []


def test_a_family_without_a_command_has_nobody_whatever_groups_there_are(monkeypatch):
    family = Family.__new__(Family)  # made in full it would adopt the orphans of this process
    family.group = 0
    strangers = {7: (1, 0, 10), 8: (7, 0, 10), 9: (1, 9, 10)}
    monkeypatch.setattr(family, "_table", lambda: {os.getpid(): (1, 0, 10), **strangers})
    assert family.members() == {}
    family.group = 9
    assert family.members() == {9: 10}
