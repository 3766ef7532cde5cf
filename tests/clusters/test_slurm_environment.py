"""The environment of node calls on a real Slurm: made once without a network, asked for its versions, and used."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest
from tests.clusters.login_nodes import LoginNode
from tests.clusters.repacked import wheelhouse
from tests.clusters.slurm_cluster import SlurmCluster, slurm
from tests.clusters.test_slurm_backend import backend, standing_in
from tests.clusters.test_slurm_over_ssh import standing_by
from tests.contracts.stand_in import StandIn
from tests.waiting import until

import physlab_mcp
from physlab_mcp.artifacts.blobs import Blobs
from physlab_mcp.backends.base import BackendInfo
from physlab_mcp.backends.hosts.here import here
from physlab_mcp.backends.slurm import wheels
from physlab_mcp.backends.slurm.environment import NodePython
from physlab_mcp.backends.slurm.interpreters import Interpreter, as_a_job, ask, other_packages, own_sources
from physlab_mcp.backends.slurm.settings import SlurmSettings
from physlab_mcp.errors import RejectedError, UnavailableError
from physlab_mcp.library.functions import pickled, store
from physlab_mcp.nodes.function_values import Decoder
from physlab_mcp.nodes.io import NodeIO
from physlab_mcp.schemas.job import Job, JobSpec, NodeCall
from physlab_mcp.schemas.result import Failure, NodeResult

__all__ = ["slurm"]
pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]
SOURCES = Path(physlab_mcp.__file__).parents[1]
CALL = JobSpec(node=NodeCall("flow.passthrough", {"value": 1}))
SLURM = BackendInfo(name="slurm")


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A lock of what physlab itself needs, and a folder with its wheels."""
    place = tmp_path_factory.mktemp("house")
    lock = wheels.installed_lock(own_extras=())
    (place / "lock.txt").write_text(lock)
    return place / "lock.txt", wheelhouse(place / "wheels", lock)


def node_python(root: Path, house: tuple[Path, Path], **fields: Any) -> NodePython:
    lock, folder = house
    given = {"python": sys.executable, "bootstrap": "uv", "lock": str(lock), "local_wheelhouse": str(folder), **fields}
    return NodePython(here(str(root)), SlurmSettings(root=str(root), **given))


async def had(python: NodePython) -> Interpreter:
    while True:
        found = await python.ready()
        if found is not None:
            return found


def left(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "environments").iterdir() if ".new." in path.name)


def read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


# -- made there ----------------------------------------------------------------------------------------------------


async def test_node_calls_run_in_an_environment_that_was_made_once_without_a_network(
    slurm: SlurmCluster, tmp_path: Path, house: tuple[Path, Path]
) -> None:
    lock, folder = house
    fields = {"bootstrap": "uv", "lock": str(lock), "local_wheelhouse": str(folder), "env": {}}
    async with standing_in(tmp_path, slurm, deadline_s=120.0, **fields) as stand:
        calls = [stand.add_node("flow.passthrough", {"value": i}) for i in range(3)]
        command = stand.add(command=("echo", "at once"))
        await stand.submit(*calls, command)
        await stand.succeeded(command)  # commands do not wait for it
        results = await stand.succeeded(*calls)
        assert [one.values["value"] for one in results] == [0, 1, 2]
        known = backend(stand)._python.known
        assert known is not None
        assert known.executable.startswith(f"{backend(stand).cluster.host.root}/environments/")
        assert Path(known.executable).exists()
        assert (known.made, known.sources, known.trouble) == (True, known.sources_here, "")
        assert (Path(known.executable).parents[2] / "requirements.txt").read_text() == lock.read_text()
        # The next engine finds it.
        await stand.restart()
        again = stand.add_node("flow.passthrough", {"value": "again"})
        assert [one.values for one in await stand.run(again) if isinstance(one, NodeResult)] == [{"value": "again"}]
        found = backend(stand)._python.known
        assert found is not None
        assert (found.executable, found.made) == (known.executable, False)


async def test_two_engines_make_one_environment_and_a_half_made_one_is_never_used(
    tmp_path: Path, house: tuple[Path, Path]
) -> None:
    # One dies in the middle: its program stands still where it should make the interpreter.
    slow = tmp_path / "uv"
    slow.write_text(f"#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho $$ > '{tmp_path}/pid'\nexec sleep 300\n")
    slow.chmod(0o755)
    dying = node_python(tmp_path / "root", house, uv=str(slow))
    task = asyncio.get_running_loop().create_task(had(dying))
    await asyncio.to_thread(until, lambda: read(tmp_path / "pid"), 30, what="it began")
    assert len(left(tmp_path / "root")) == 1
    assert not await NodePython(dying._host, dying._settings).learn()
    uv = psutil.Process(int(read(tmp_path / "pid")))
    maker = uv.parent()
    assert maker is not None
    assert "python" in maker.name()
    maker.kill()
    uv.kill()
    with pytest.raises(UnavailableError):
        await task
    both = await asyncio.gather(*(had(node_python(tmp_path / "root", house)) for _ in range(2)))
    assert {one.executable for one in both} == {both[0].executable}
    assert sorted(one.made for one in both) == [False, True]
    assert left(tmp_path / "root") == []
    assert (await ask(here(str(tmp_path)), dying._settings, both[0].executable)).sources == both[0].sources
    # What was brought is looked at again before it is installed.
    shutil.rmtree(Path(both[0].executable).parents[2])
    (spoilt,) = (tmp_path / "root" / "environments" / "wheels").glob("*/msgspec-*.whl")
    spoilt.write_bytes(spoilt.read_bytes() + b"x")
    with pytest.raises(RejectedError, match=r"msgspec.* is not what was brought"):
        await had(node_python(tmp_path / "root", house))


async def test_what_cannot_be_made_says_at_which_step_and_why(tmp_path: Path, house: tuple[Path, Path]) -> None:
    lock, folder = house
    lacking = tmp_path / "lock.txt"
    lacking.write_text(lock.read_text() + "no-such-package-anywhere==1.0\n")
    with pytest.raises(RejectedError, match="no-such-package-anywhere") as refused:
        await had(node_python(tmp_path / "a", (lacking, folder)))
    assert refused.value.field == "backends.slurm.wheelhouse"
    assert left(tmp_path / "a") == []
    with pytest.raises(RejectedError, match="no wheel"):
        await had(node_python(tmp_path / "b", (lock, tmp_path)))
    with pytest.raises(RejectedError, match="There is no '/no/such/python'"):
        await had(node_python(tmp_path / "c", house, python="/no/such/python"))
    with pytest.raises(RejectedError, match="cannot be read") as unread:
        await had(node_python(tmp_path / "d", (tmp_path / "none.txt", folder)))
    assert unread.value.field == "backends.slurm.lock"
    broken = tmp_path / "uv"
    broken.write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\necho "error: dns error" >&2\nexit 2\n')
    broken.chmod(0o755)
    python = node_python(tmp_path / "e", house, uv=str(broken))
    for _ in range(2):  # it is not tried again at once
        with pytest.raises(RejectedError, match="dns error") as failed:
            await had(python)
    assert failed.value.field == "backends.slurm.python"


def test_the_wheel_is_this_physlab_and_the_lock_what_is_installed(tmp_path: Path) -> None:
    wheel = wheels.own_wheel()
    assert wheel == wheels.own_wheel()
    assert wheel.sources == own_sources()
    (tmp_path / wheel.name).write_bytes(wheel.data)
    with zipfile.ZipFile(tmp_path / wheel.name) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert archive.read("physlab_mcp/nodes/worker.py") == (SOURCES / "physlab_mcp/nodes/worker.py").read_bytes()
    assert f"physlab_mcp-{physlab_mcp.__version__}.dist-info/METADATA" in names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    lock = wheels.installed_lock().splitlines()
    assert f"numpy=={np.__version__}" in lock
    assert not [line for line in lock if line.startswith(("physlab", "ruff", "pytest"))]
    assert [line for line in wheels.installed_lock(("pytest",)).splitlines() if line.startswith("pytest==")]
    with pytest.raises(RejectedError, match="no-such-package"):
        wheels.installed_lock(("no-such-package",))


# -- versions ------------------------------------------------------------------------------------------------------


async def test_an_interpreter_with_another_physlab_is_refused_and_both_versions_are_named(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "physlab_mcp"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text('__version__ = "9.9.9"\n')
    async with standing_in(tmp_path, slurm, env={"PYTHONPATH": str(other.parent)}) as stand:
        command, call = stand.add(command=("echo", "runs")), stand.add_node("flow.passthrough", {"value": 1})
        await stand.submit(command, call)
        await stand.succeeded(command)
        (failure,) = await stand.ended(call)
        with pytest.raises(RejectedError) as refused:
            stand.backend.check(CALL, SLURM)
        assert isinstance(failure, Failure)
        assert (failure.code, failure.message) == ("rejected", refused.value.message)
        assert "9.9.9" in refused.value.message
        assert physlab_mcp.__version__ in refused.value.message
        assert (refused.value.field, refused.value.got) == ("backends.slurm.python", "9.9.9")
        assert "bootstrap" in (refused.value.remedy or "")
        stand.backend.check(JobSpec(command=("true",)), SLURM)
        # Once it is mended, nobody has to start anything anew.
        (other / "__init__.py").write_text(f'__version__ = "{physlab_mcp.__version__}"\n')
        python = backend(stand)._python
        await python.learn()
        with pytest.raises(RejectedError, match="other files"):
            stand.backend.check(CALL, SLURM)


async def test_what_was_mended_is_seen_without_a_new_start(tmp_path: Path) -> None:
    place = tmp_path / "packages" / "physlab_mcp"
    place.mkdir(parents=True)
    (place / "__init__.py").write_text('__version__ = "9.9.9"\n')
    settings = SlurmSettings(root=str(tmp_path), python=sys.executable, env={"PYTHONPATH": str(place.parent)})
    python = NodePython(here(str(tmp_path)), settings, refused_s=0.0)
    for _ in range(2):
        with pytest.raises(RejectedError, match=r"9\.9\.9"):
            await had(python)
    patient = NodePython(here(str(tmp_path)), settings)
    with pytest.raises(RejectedError, match=r"9\.9\.9"):
        await had(patient)
    shutil.rmtree(place)
    place.symlink_to(SOURCES / "physlab_mcp")
    assert (await had(python)).physlab == physlab_mcp.__version__
    python.check(CALL)
    with pytest.raises(RejectedError, match=r"9\.9\.9"):  # asked again after a minute
        await had(patient)


async def test_older_pythons_and_those_without_physlab_are_told_apart(tmp_path: Path) -> None:
    def known(**fields: Any) -> NodePython:
        python = NodePython(here(str(tmp_path)), SlurmSettings(root=str(tmp_path)))
        python.known = Interpreter(
            **{"executable": "/usr/bin/python3", "python": "3.12.1", "sources_here": "a", **fields}
        )
        return python

    with pytest.raises(RejectedError, match=r"Python 3\.10\.4.*3\.11 or newer"):
        known(python="3.10.4").check(CALL)
    with pytest.raises(RejectedError, match=r"no physlab_mcp.*No module named 'physlab_mcp'"):
        known(trouble="ModuleNotFoundError: No module named 'physlab_mcp'").check(CALL)
    same = {"physlab": physlab_mcp.__version__, "sources": "a"}
    known(**same).check(CALL)
    known(python="3.8.1").check(JobSpec(command=("true",)))
    in_image = JobSpec(node=CALL.node, image="/images/physlab.sif")
    known(python="3.8.1").check(in_image)
    packages = {"numpy": "2.1.0", "ruamel-yaml": "1.0"}
    code = "1:0123abcd:numpy={},Ruamel.Yaml=1.0".format
    known(**same, packages=packages).check_code(CALL, code("2.1.0"))
    with pytest.raises(RejectedError, match=r"numpy 2\.1\.0 instead of 2\.4\.6") as refused:
        known(**same, packages=packages).check_code(CALL, code("2.4.6"))
    assert refused.value.details == [{"package": "numpy", "here": "2.4.6", "there": "2.1.0"}]
    assert other_packages(Interpreter(executable="", python="3.12.0"), "made by hand", "x", "here") is None


async def test_an_interpreter_is_asked_as_a_job_would_find_it(tmp_path: Path) -> None:
    """Its modules are loaded by a login shell, which may print what it likes; a name is never read as code."""
    (tmp_path / ".bash_profile").write_text(
        'echo "{welcome}"\nmodule() { [ "$1 $2" = "load odd/1.0+x" ] && export PATH="$HOME/bin:$PATH"; }\n'
    )
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "odd python").symlink_to(sys.executable)
    settings = SlurmSettings(root=str(tmp_path), modules=("odd/1.0+x",), env={"PYTHONPATH": f"{SOURCES}"})
    before = os.environ.get("HOME", "/")
    os.environ["HOME"] = str(tmp_path)
    try:
        found = await ask(here(str(tmp_path)), settings, "odd python")
    finally:
        os.environ["HOME"] = before
    assert (found.physlab, found.sources) == (physlab_mcp.__version__, found.sources_here)
    assert found.python.startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    words = as_a_job(settings, ["python", "$(touch x); `y`"])
    assert words[-1] == "$(touch x); `y`"
    assert "touch" not in words[3]
    talks = tmp_path / "talks"
    talks.write_text("#!/bin/sh\necho 'no licence' >&2\nexit 3\n")
    talks.chmod(0o755)
    with pytest.raises(UnavailableError, match="ended with 3 and said: no licence"):
        await ask(here(str(tmp_path)), SlurmSettings(root=str(tmp_path)), str(talks))


# -- functions of the library --------------------------------------------------------------------------------------


MEASURING = """
import os
from pathlib import Path
import numpy as np
from lines_of_a_lab.deep.fits import Fit

def measure(n, folder):
    path = Path("lines.txt")
    path.write_text(f"{n} lines\\n")
    return {"n": n, "x": np.arange(n) / 2, "fit": Fit(2.5), "file": path, "there": os.getcwd().startswith(folder),
            "large": {"deep": Fit(7.5), "text": "x" * 70_000}}
"""
FITS = "class Fit:\n    def __init__(self, slope):\n        self.slope = slope\n"


@pytest.fixture
def measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A function of a module that only this machine has, in folders that are no packages."""
    folder = tmp_path / "project" / "lines_of_a_lab" / "deep"
    folder.mkdir(parents=True)
    (folder / "fits.py").write_text(FITS)
    (folder.parent / "measuring.py").write_text(MEASURING)
    monkeypatch.syspath_prepend(str(tmp_path / "project"))
    yield importlib.import_module("lines_of_a_lab.measuring").measure
    for name in [name for name in sys.modules if name.partition(".")[0] == "lines_of_a_lab"]:
        del sys.modules[name]


def function_job(stand: StandIn, stored: Any, arguments: dict[str, Any], inputs: dict[str, Any] | None = None) -> Job:
    params = {"function": stored.function, "code": stored.code, "environment": stored.environment, "name": stored.name,
              "arguments": arguments, "inputs": inputs or {}}  # fmt: skip
    return stand.add_node("function", params)


async def test_functions_of_the_library_run_there_with_their_code_and_inputs(
    slurm: SlurmCluster, tmp_path: Path, measure: Any
) -> None:
    offset = 100

    def evaluate(measure: dict[str, Any], factor: int) -> dict[str, Any]:
        fit, deep = measure["fit"], measure["large"]["deep"]
        assert type(fit) is type(deep)
        return {"total": offset + factor * float(measure["x"].sum()), "slope": fit.slope + deep.slope,
                "text": measure["file"].read_text(), "name": measure["file"].name}  # fmt: skip

    async with standing_in(tmp_path, slurm, env={"PYTHONPATH": str(SOURCES)}) as stand:
        blobs = stand.site.blobs
        assert isinstance(blobs, Blobs)
        stored = store({"measure": pickled(measure), "evaluate": pickled(evaluate)}, blobs)
        root = str(backend(stand).cluster.host.root)
        shutil.move(tmp_path / "project", tmp_path / "gone")  # the cluster has no such folder
        first = function_job(stand, stored["measure"], {"n": 5, "folder": root})
        (measured,) = await stand.run(first)
        assert isinstance(measured, NodeResult), measured
        assert measured.values["n"] == 5
        assert measured.values["there"] is True
        assert "$artifact" in measured.values["large"]  # too large to stand in a result
        io = NodeIO(job_id="x", blobs=blobs)
        assert Decoder(io, tmp_path / "here").value(measured.values["fit"]).slope == 2.5
        second = function_job(stand, stored["evaluate"], {"factor": 2}, {"measure": measured.values})
        (evaluated,) = await stand.run(second)
        assert isinstance(evaluated, NodeResult), evaluated
        assert evaluated.values == {"total": 110.0, "slope": 10.0, "text": "5 lines\n", "name": "lines.txt"}
        # What an agent brought is never unpickled, there as here.
        foreign = blobs.put(blobs.read(stored["evaluate"].function) + b"x", name="f", media_type="x").sha256
        stranger = msgspec.structs.replace(stored["evaluate"], function=foreign)
        (failure,) = await stand.run(function_job(stand, stranger, {"factor": 2}, {"measure": measured.values}))
        assert isinstance(failure, Failure)
        assert "never unpickled" in (failure.remedy or "")


async def test_a_function_of_another_python_is_refused_with_both_versions(tmp_path: Path) -> None:
    from physlab_mcp.backends.slurm.shipped_functions import ShippedFunctions

    blobs = Blobs(tmp_path / "blobs")
    (tmp_path / "functions").mkdir()
    record = blobs.put(json.dumps({"python": "3.12.4"}).encode(), name="e", media_type="application/json").sha256
    shipped = ShippedFunctions(tmp_path / "functions", blobs)
    there = Interpreter(executable="python3", python="3.11.7")
    spec = JobSpec(node=NodeCall("function", {"environment": record, "name": "train"}))
    shipped.check(spec, there, "cluster")  # not written by the library: the call itself will say so
    (tmp_path / "functions" / record).touch()
    shipped = ShippedFunctions(tmp_path / "functions", blobs)
    with pytest.raises(RejectedError, match=r"'train' was made by Python 3\.12\.4, and cluster runs Python 3\.11\.7"):
        shipped.check(spec, there, "cluster")
    shipped.check(spec, Interpreter(executable="python3", python="3.12.0"), "cluster")
    shipped.check(CALL, there, "cluster")
    shipped.check(JobSpec(node=NodeCall("function")), there, "cluster")  # a graph is looked at before it has parameters


async def test_over_ssh_wheels_and_uv_are_brought_to_an_ordinary_user_who_has_nothing(
    slurm: SlurmCluster, tmp_path: Path, house: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from physlab_mcp.backends.slurm.environment import _own_uv

    own, (lock, folder) = _own_uv(), house
    if own is None:
        pytest.skip("there is no uv here that could be brought: run the tests by `uv run`")
    monkeypatch.setenv("UV", str(own))
    node = LoginNode(slurm).start()
    node.python_path = ""
    try:
        fields = {"bootstrap": "uv", "lock": str(lock), "local_wheelhouse": str(folder), "env": {}}
        async with standing_by(node, tmp_path, slurm, deadline_s=120.0, **fields) as stand:
            (passed,) = await stand.run(stand.add_node("flow.passthrough", {"value": "there"}))
            assert isinstance(passed, NodeResult), passed
            assert passed.values == {"value": "there"}
            rows = {one.what: one for one in await backend(stand).diagnose()}
            assert {one.state for one in rows.values()} <= {"ok", "warn"}, rows
            known = backend(stand)._python.known
            assert known is not None
            root = Path(backend(stand).cluster.host.root)
            assert Path(known.executable).lstat().st_uid == root.stat().st_uid != 0
            (uv,) = (root / "environments" / "uv").glob("*/uv")
            assert uv.read_bytes() == own.read_bytes()
            assert "/environments/" in rows["slurm node calls"].text
            told = await backend(stand).estimate(JobSpec(command=("true",)))
            assert told["cluster"] == slurm.name
    finally:
        node.remove()
