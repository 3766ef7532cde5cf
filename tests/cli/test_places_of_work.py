"""Where something runs, on the command line: named, refused where it is not configured, listed, and asked by the doctor."""

from __future__ import annotations

import socket
from typing import Any

import anyio
import pytest
from small_graphs import CONSTANT

from physlab_mcp.backends.base import BackendInfo
from physlab_mcp.cli.doctor_cluster import diagnosed
from physlab_mcp.cli.doctor_finding import Finding
from physlab_mcp.cli.run import placed_at
from physlab_mcp.errors import UnavailableError

SWEEP = {**CONSTANT, "sweep": {"space": {"r.name": ["R_inf", "c"]}}}


@pytest.fixture(scope="module")
def apart(shared):
    """A configuration with a cluster that nobody can reach; its port was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (shared.folder / "key").write_text("no key")
    (shared.folder / "key").chmod(0o600)
    (shared.folder / "hosts").write_text("")
    host = {"host": "127.0.0.1", "port": port, "user": "ada", "keys": ["key"], "known_hosts": "hosts"}
    shared.write("apart.json", {"backends": {"slurm": {"root": "/shared/ada", "host": host}}})
    return "apart.json"


@pytest.mark.parametrize("command", [("run",), ("sweep",), ("sweep", "--plan")], ids=" ".join)
@pytest.mark.parametrize(("named", "stored"), [("slurm", "slurm"), ("k8s", "kubernetes"), ("kubernetes", "kubernetes")])
def test_a_backend_that_is_not_configured_is_refused_with_the_way_out(shared, command, named, stored):
    name = shared.write("graph.json", CONSTANT if command == ("run",) else SWEEP)
    answer = shared.here(*command, name, "--backend", named, code=1)
    assert f"There is no backend '{stored}' here" in answer.err
    assert "server.config.json" in answer.err
    assert "submitted" not in answer.out


def test_a_backend_nobody_knows_is_wrong_usage(shared):
    assert "kubernetes" in shared.here("run", "x.json", "--backend", "cray", code=2).err


def test_the_option_is_for_nodes_that_name_no_backend():
    nodes = [{"id": "a"}, {"id": "b", "backend": "local"}, {"id": "c", "backend": None}, {"id": "d", "backend": "auto"}]
    placed = placed_at({"nodes": nodes, "metadata": {}}, "k8s")
    assert [one["backend"] for one in placed["nodes"]] == ["kubernetes", "local", "kubernetes", "auto"]
    assert placed_at({"nodes": nodes}, "auto") == {"nodes": nodes}
    assert placed_at({"nodes": 7}, "slurm") == {"nodes": 7}  # what it is worth is told by the checks


def test_jobs_are_listed_and_shown_with_their_backend(shared):
    shared.write("constant.json", CONSTANT)
    job_id = shared("--json", "run", "constant.json", "--backend", "local").json["nodes"][0]["job_id"]
    (row,) = shared.here("--json", "jobs", "list", "--backend", "local").json["jobs"]
    assert (row["id"], row["backend"], row["kind"]) == (job_id, "local", "job")
    assert "No job is or was at k8s." in shared.here("jobs", "list", "--backend", "k8s").out
    assert "Nothing is failed at slurm." in shared.here("jobs", "list", "--backend", "slurm", "--state", "failed").out
    shown = shared.here("jobs", "show", job_id).out
    assert "backend  local" in " ".join(shown.split("\n")) or "local" in shown.split("backend", 1)[1].split("\n")[0]


def test_a_file_for_a_sweep_is_sent_to_the_command_for_sweeps(shared):
    name = shared.write("swept.json", SWEEP)
    answer = shared.here("run", name, code=1)
    assert f"physlab sweep {name}" in answer.err
    drawn = shared.write("drawn.json", {**CONSTANT, "visualizations": {"map": {"type": "heatmap"}}})
    assert f"physlab sweep {drawn}" in shared.here("run", drawn, code=1).err


def test_the_doctor_says_of_a_cluster_that_it_cannot_be_reached_and_what_to_do(shared, apart):
    answer = shared.here("--json", "doctor", "--config", apart, code=1)
    rows = [one for one in answer.json["findings"] if one["what"].startswith("slurm")]
    assert [bool(one["remedy"]) for one in rows if one["state"] == "fail"] == [True]
    assert "approve" in rows[-1]["text"]
    assert "clusters" not in {one["what"] for one in answer.json["findings"]}  # the asking itself went well


def test_the_doctor_has_no_section_of_clusters_without_one(shared):
    told = shared.here("--json", "doctor", code=None).json["findings"]
    assert not [one for one in told if "slurm" in one["what"] or "kubernetes" in one["what"]]


class Place:
    """A backend as the doctor sees it."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.closed = False

    async def diagnose(self) -> Any:
        if self.answer is None:
            await anyio.sleep_forever()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def aclose(self, *, keep: bool) -> None:
        assert keep
        self.closed = True


class Silent(Place):
    """One that says nothing, not even goodbye."""

    async def aclose(self, *, keep: bool) -> None:
        await super().aclose(keep=keep)
        raise UnavailableError("gone")


class Plain:
    """A backend without a diagnosis of its own."""

    def __init__(self, info: BackendInfo) -> None:
        self.info = info

    async def describe(self) -> BackendInfo:
        return self.info

    async def aclose(self, *, keep: bool) -> None:
        assert keep


async def test_each_cluster_is_asked_for_a_limited_time_and_none_hides_another():
    good, mute = Place([Finding("one", "ok", "fine")]), Place(None)
    places: dict[str, Any] = {
        "one": good, "mute": mute, "out": Place(UnavailableError("no route", remedy="Plug it in.")),
        "odd": Place(ValueError("what")), "bare": Place(ModuleNotFoundError("No module named 'asyncssh'", name="asyncssh")), "gone": Silent([Finding("gone", "warn", "ends", "Look.")]),
        "plain": Plain(BackendInfo(name="plain", slots=3)),
        "far": Plain(BackendInfo(name="far", reachable=False, detail={"why": "no answer"})),
    }  # fmt: skip
    with anyio.fail_after(20):
        found = await diagnosed(places, within_s=0.2)
    told = {name: [(one.state, one.text, bool(one.remedy)) for one in rows] for name, rows in found.items()}
    assert told == {
        "one": [("ok", "fine", False)], "mute": [("fail", "it did not answer within 0.2 s", True)],
        "out": [("fail", "no route", True)], "odd": [("fail", "ValueError: what", True)],
        "bare": [("fail", "No module named 'asyncssh'", True)],
        "gone": [("warn", "ends", True)], "plain": [("ok", "reachable, 3 slots", False)],
        "far": [("fail", "it cannot be reached: no answer", True)],
    }  # fmt: skip
    assert "[cluster]" in found["bare"][0].remedy
    assert good.closed
    assert mute.closed


def test_the_engine_says_since_when_it_cannot_reach_a_cluster(physlab, apart, shared):
    for name in (apart, "key", "hosts"):
        (physlab.folder / name).write_bytes((shared.folder / name).read_bytes())
    (physlab.folder / "key").chmod(0o600)
    physlab.write("constant.json", CONSTANT)
    physlab("--config", apart, "run", "constant.json", "--backend", "local")
    told = physlab.here("--config", apart, "--json", "engine", "status").json["backends"]
    assert told["local"]["reachable"]
    assert not told["slurm"]["reachable"]
    assert told["slurm"]["detail"]["since"] > 0
    said = physlab.here("--config", apart, "engine", "status").out
    assert "backend slurm: not reachable since" in said
    assert "0 jobs there" in said
