"""Packages run again: the same, changed, and in another environment."""

import json

import pytest

from physlab_mcp.bundles.reproduce import reproduce_package
from physlab_mcp.bundles.verify import verify_package
from physlab_mcp.errors import ConflictError, RequestError


@pytest.fixture
def again(packages, tmp_path):
    def run(package, **options):
        return reproduce_package(package, work=tmp_path / "work", here=True, own_key=packages.key, **options)

    return run


@pytest.mark.parametrize("name", ["run", "sweep"])
def test_an_untouched_package_is_reproduced_exactly(packages, again, name):
    report = again(packages.folder / name)
    assert report.verdict == "exact", report
    assert report.counts["differs"] == 0
    assert report.counts["excluded"] >= 1  # the time that the node tells
    assert report.environment == []


def test_a_run_that_reads_a_file_takes_it_from_its_package(packages, again):
    package = packages.folder / "imported"
    info = json.loads((package / "package.json").read_text())
    assert len(info["inputs"]) == 1
    artifacts = next(one for one in verify_package(package).checks if one.name == "artifacts")
    assert artifacts.text.endswith("1 of them inputs")
    report = again(package)
    assert report.verdict == "exact", report


def test_a_sweep_that_reached_its_goal_is_whole_and_run_as_far_as_it_came(packages, again):
    package = packages.folder / "reached"
    info = json.loads((package / "package.json").read_text())
    assert info["points"] < info["points_planned"] == 2000
    assert verify_package(package, own_key=packages.key).ok
    report = again(package)
    assert report.verdict == "exact", report
    assert report.points < info["points"]
    assert report.counts["exact"] >= 1
    assert report.counts["not_compared"] >= 1


def test_a_rerun_does_not_stop_by_itself(packages, again, tmp_path):
    package = packages.copy("sweep", tmp_path)  # whose first points fail
    place = package / "workflow" / "plan.json"
    plan = json.loads(place.read_text())
    plan |= {"on_failure": "stop"}
    plan["sweep"] |= {"on_failure": "stop", "success": "noise.mean > -1e9", "on_success": "stop"}
    place.write_text(json.dumps(plan))
    packages.seal(package)
    report = again(package)
    assert report.verdict == "exact", report
    assert report.counts["not_compared"] == 2  # what needed the two jobs that failed


def test_a_cancelled_sweep_is_compared_as_far_as_it_had_come(packages, again):
    package = packages.folder / "stopped"
    jobs = [json.loads(line) for line in (package / "results" / "jobs.jsonl").read_text().splitlines()]
    done = [job for job in jobs if job["state"] == "succeeded"]
    assert {job["node"] for job in done} == {"noise"}
    report = again(package)
    assert report.verdict == "exact", report
    assert report.counts["not_compared"] >= 1
    assert report.counts["differs"] == 0
    assert report.counts["exact"] >= len(done)


def test_points_of_which_nothing_had_been_done_are_not_run(packages, again, tmp_path):
    package = packages.copy("stopped", tmp_path)
    points = [json.loads(line) for line in (package / "workflow" / "points.jsonl").read_text().splitlines()]
    place = package / "results" / "jobs.jsonl"
    jobs = [json.loads(line) for line in place.read_text().splitlines()]
    for job in jobs:
        if job["id"] not in points[0]["jobs"].values():
            job["state"] = "cancelled"
            job.pop("result", None)
    place.write_text("".join(json.dumps(job) + "\n" for job in jobs))
    packages.seal(package)
    report = again(package)
    assert report.verdict == "exact", report
    assert report.points == 1
    assert report.counts["not_compared"] >= len(points) - 1


def test_what_had_been_done_of_a_cancelled_sweep_is_compared(packages, again, tmp_path):
    package = packages.copy("stopped", tmp_path)
    place = package / "results" / "jobs.jsonl"
    jobs = [json.loads(line) for line in place.read_text().splitlines()]
    next(job for job in jobs if job["state"] == "succeeded")["result"]["values"]["mean"] *= 1.001
    place.write_text("".join(json.dumps(job) + "\n" for job in jobs))
    packages.seal(package)
    report = again(package)
    assert report.verdict == "failed"
    assert [one["name"] for one in report.differences] == ["noise.mean"]


def test_a_package_of_which_nothing_had_been_done_is_no_success(packages, again, tmp_path):
    package = packages.copy("stopped", tmp_path)
    place = package / "results" / "jobs.jsonl"
    jobs = [json.loads(line) for line in place.read_text().splitlines()]
    kept = [{k: v for k, v in job.items() if k != "result"} | {"state": "cancelled"} for job in jobs]
    place.write_text("".join(json.dumps(job) + "\n" for job in kept))
    packages.seal(package)
    report = again(package)
    assert (report.verdict, report.values) == ("failed", "not_run")
    assert "nothing to compare" in report.message


def test_a_result_that_was_changed_and_signed_again_fails(packages, again, tmp_path):
    package = packages.copy("run", tmp_path)
    place = package / "results" / "jobs.jsonl"
    jobs = [json.loads(line) for line in place.read_text().splitlines()]
    noise = next(job for job in jobs if job["node"] == "noise")
    noise["result"]["values"]["mean"] *= 1.001
    place.write_text("".join(json.dumps(job) + "\n" for job in jobs))
    packages.seal(package)
    report = again(package)
    assert report.verdict == "failed"
    assert [one["name"] for one in report.differences] == ["noise.mean"]


def test_another_package_version_is_named(packages, again, tmp_path):
    package = packages.copy("run", tmp_path)
    place = package / "environment" / "lock.json"
    lock = json.loads(place.read_text())
    pin = next(one for one in lock["pins"] if one["name"] == "networkx")
    here, pin["version"] = pin["version"], "1.0"
    place.write_text(json.dumps(lock))
    packages.seal(package)
    report = again(package)
    assert report.verdict == "environment_differs"
    assert report.values == "exact"
    assert report.environment == [{"what": "package", "name": "networkx", "locked": "1.0", "here": here}]


def test_edited_code_is_an_environment_that_differs(packages, again, tmp_path):
    package = packages.copy("run", tmp_path)
    place = package / "code" / "modules" / "bundle_nodes.py"
    place.write_text(place.read_text().replace("sum(values) / 10", "sum(values) / 10 + 1"))
    packages.seal(package)
    report = again(package)
    assert report.verdict == "environment_differs"
    assert report.values == "differ"
    assert [(one["what"], one["name"]) for one in report.environment] == [("code", "trial.noise")]


def test_nothing_of_a_damaged_package_is_run(packages, again, tmp_path):
    package = packages.copy("run", tmp_path)
    (package / "code" / "modules" / "bundle_numbers.py").write_text("raise SystemExit")
    with pytest.raises(RequestError, match="does not pass its verification"):
        again(package)
    assert not (tmp_path / "work").exists()


def test_a_folder_that_is_not_empty_is_left_alone(packages, again, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "mine").write_text("")
    with pytest.raises(ConflictError):
        again(packages.folder / "zipped.zip")
