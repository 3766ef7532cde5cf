"""What rows say alike stands once, and everything is read back as it was written."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physlab_mcp.schemas.event import Event
from physlab_mcp.schemas.job import Job, JobSpec, NodeCall
from physlab_mcp.schemas.job_state import JobState
from physlab_mcp.schemas.run import Plan
from physlab_mcp.stores.base import Change
from physlab_mcp.stores.compact import Templates, body_of, cache_name, key_bytes, key_text, spec_of
from physlab_mcp.stores.migrate import migrate, versions
from physlab_mcp.stores.sqlite import SQLiteStore
from physlab_mcp.stores.transaction import Transaction

KEY = "0123456789abcdef" * 4
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
alike = st.fixed_dictionaries({}, optional={"device": st.text(), "environment": st.text(), "dtype": json_values})
metas = st.tuples(alike, st.dictionaries(st.text(max_size=6), json_values, max_size=4)).map(
    lambda two: {**two[1], **two[0]}
)


@pytest.fixture(scope="module")
def connection() -> sqlite3.Connection:
    made = sqlite3.connect(":memory:", isolation_level=None)
    migrate(made, None)
    return made


def template(connection: sqlite3.Connection, name: int | None) -> bytes | None:
    return (
        None if name is None else connection.execute("SELECT body FROM templates WHERE id = ?", (name,)).fetchone()[0]
    )


@given(
    values=st.dictionaries(st.text(max_size=5), json_values, max_size=3), meta=metas, exit_code=st.none() | st.just(1)
)
def test_a_result_reads_as_it_was_written(
    connection: sqlite3.Connection, values: dict[str, Any], meta: dict[str, Any], exit_code: int | None
) -> None:
    body: dict[str, Any] = {"values": values, "meta": meta}
    if exit_code is not None:
        body["exit_code"] = exit_code
    written = msgspec.json.encode(body)
    stored, name = Templates(connection).result(written)
    assert msgspec.json.decode(body_of(stored, template(connection, name))) == body


@pytest.mark.parametrize(
    "body", [b"{}", b'{"meta":{}}', b'{"values":{"a":1,"meta":{"device":"cpu"}}}', b'{"a":1,"meta":{"cached":{}}}', b""]
)
def test_a_body_of_another_shape_is_left_alone(connection: sqlite3.Connection, body: bytes) -> None:
    assert Templates(connection).result(body) == (body, None)


def test_circumstances_that_are_alike_stand_once(connection: sqlite3.Connection) -> None:
    before = connection.execute("SELECT count(*) FROM templates").fetchone()[0]
    meta = {"device": "gpu", "dtype": "float64", "code_version": "1:" + KEY, "environment": "env-" + KEY}
    sizes = []
    for number in range(3):
        body = msgspec.json.encode({"values": {"x": number}, "meta": {**meta, "cpu_s": number}})
        sizes.append(len(Templates(connection).result(body)[0]))
    assert max(sizes) < 50
    assert connection.execute("SELECT count(*) FROM templates").fetchone()[0] == before + 1


@given(params=st.lists(json_values, min_size=4, max_size=8), key=st.none() | st.just(KEY) | st.just("short"))
def test_specs_of_one_node_read_as_they_were_written(
    connection: sqlite3.Connection, params: list[Any], key: str | None
) -> None:
    jobs = [
        Job(
            id=f"job-{i}",
            kind="node",
            plan_pk=1,
            node_id="a",
            spec=JobSpec(NodeCall("t.x", {"p": one}, static_key=key)),
        )
        for i, one in enumerate(params)
    ]
    jobs += [Job(id="job-alone", kind="command", spec=JobSpec(command=("a", "b")))]
    for job, (stored, name) in zip(jobs, Templates(connection).specs(jobs), strict=True):
        assert spec_of(stored, template(connection, name)) == job.spec
        assert (name is None) == (job.id == "job-alone")


def test_specs_of_commands_are_packed_too(connection: sqlite3.Connection) -> None:
    specs = [JobSpec(command=("simulate", "--some-long-option", str(i))) for i in range(5)]
    jobs = [Job(id=f"job-{i}", kind="command", plan_pk=1, node_id="c", spec=spec) for i, spec in enumerate(specs)]
    packed = Templates(connection).specs(jobs)
    assert [spec_of(stored, template(connection, name)) for stored, name in packed] == specs
    assert len(packed[-1][0]) < 20


def test_keys_take_half_the_space_and_one_that_the_spec_has_none() -> None:
    spec = JobSpec(NodeCall("t.x", static_key=KEY))
    assert key_bytes(KEY) == bytes.fromhex(KEY)
    assert key_text(key_bytes(KEY), spec) == KEY
    assert (key_text(b"", spec), key_text(b"", JobSpec()), key_text("other", spec), key_text(None, spec)) == (
        KEY, None, "other", None,
    )  # fmt: skip
    assert (key_bytes(None), key_bytes("no hash")) == (None, "no hash")
    assert cache_name(KEY) == bytes.fromhex(KEY)[:16]
    assert cache_name("no hash") == "no hash"


async def test_an_idle_store_packs_its_newest_events_and_gives_the_space_back(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    store = SQLiteStore(file, threaded=False)
    said = [Event("log", f"subject-{i}", 1.0, {"text": "x" * 400}) for i in range(2500)]
    await store.append(said)
    pages = sqlite3.connect(file)
    before = pages.execute("PRAGMA page_count").fetchone()[0]
    read = await store.events(limit=10_000)
    assert await store.settle() == 2000
    assert await store.settle() == 500
    assert await store.settle() == 0
    assert await store.events(limit=10_000) == read
    assert await store.events(subject="subject-2400") == read[2400:2401]
    assert pages.execute("PRAGMA freelist_count").fetchone()[0] == 0
    assert pages.execute("PRAGMA page_count").fetchone()[0] < before / 4
    await store.append(said[:10])
    assert await store.settle() == 0  # too few to be worth it
    assert await store.settle(least=10) == 10
    await store.aclose()
    pages.close()


def test_two_templates_never_share_a_name(connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("physlab_mcp.stores.compact._NAMES", 7)
    bodies = [b"one", b"two", b"three", b"four", b"five"]
    fresh = sqlite3.connect(":memory:", isolation_level=None)
    migrate(fresh, None)
    names = [Templates(fresh).keep(body) for body in bodies]
    assert len(set(names)) == 5
    assert [template(fresh, name) for name in names] == bodies
    assert [Templates(fresh).keep(body) for body in bodies] == names
    fresh.close()


async def test_results_that_were_put_together_read_as_before(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "store.db", threaded=False)
    jobs = [Job(id=f"job-{i}", kind="node", spec=JobSpec(NodeCall("t.x"))) for i in range(30)]
    await store.add_jobs(jobs)
    bodies = {
        job.id: msgspec.json.encode({"values": {"é": [i] * i}, "meta": {"device": "cpu", "cpu_s": i}})
        for i, job in enumerate(jobs)
    }
    for job in await store.get_jobs([job.id for job in jobs]):
        new = msgspec.structs.replace(job, state=JobState.SUCCEEDED)
        change = Change(old=job, new=new, path=(JobState.SUCCEEDED,), body=bodies[job.id], cache_key=KEY + job.id)
        await store.update_jobs([change])
    moved = 0
    while now := await store.settle(least=1_000, volume=200):
        moved += now
    assert moved > 20
    read = await store.results(list(bodies))
    assert {k: msgspec.json.decode(v) for k, v in read.items()} == {
        k: msgspec.json.decode(v) for k, v in bodies.items()
    }
    volumes = sqlite3.connect(tmp_path / "store.db")
    assert volumes.execute("SELECT count(*) FROM volumes").fetchone()[0] > 1
    volumes.close()
    await store.aclose()


async def test_rows_of_an_older_schema_read_as_they_did(tmp_path: Path) -> None:
    file = tmp_path / "older.db"
    older = sqlite3.connect(file, isolation_level=None)
    migrate(older, None, [step for step in versions() if step[0] < 6])
    spec = JobSpec(NodeCall("t.x", {"p": 1}, static_key=KEY))
    body = b'{"values":{"x":1},"meta":{"device":"cpu"}}'
    plan = Plan(id="sweep-1", dag_id="dag-1", title="Old", owner="ada", total=2)
    older.execute(
        "INSERT INTO plans (pk, id, owner, dag_id, body, total, created_at) VALUES (1,'sweep-1','ada','dag-1',?,2,1)",
        (msgspec.json.encode(plan),),
    )
    older.execute(
        "INSERT INTO runs (pk, id, plan, owner, dag_id, point_index, point, title, jobs, created_at)"
        " VALUES (1,'run-1',1,'ada','dag-1',0,'{}','Old',1,1)"
    )
    older.execute(
        "INSERT INTO jobs (pk, id, kind, owner, run_id, sweep_id, point_index, run, plan, spec, state, backend, cache_key,"
        " created_at) VALUES (1,'job-1','node','ada','run-1','sweep-1',0,1,1,?,'running','local',?,1)",
        (msgspec.json.encode(spec), KEY),
    )
    older.execute("INSERT INTO results VALUES (1,?)", (body,))
    older.execute("INSERT INTO cache VALUES (?,1,1)", (KEY,))
    older.close()

    store = SQLiteStore(file, threaded=False)
    (job,) = await store.get_jobs(["job-1"])
    assert (job.spec, job.run_id, job.sweep_id, job.cache_key) == (spec, "run-1", "sweep-1", KEY)
    run = await store.get_run("run-1")
    assert run is not None
    assert (run.title, run.owner, run.sweep_id, run.dag_id) == ("Old", "ada", "sweep-1", "dag-1")
    assert await store.results(["job-1"]) == {"job-1": body}
    await store.aclose()
    view = Transaction(sqlite3.connect(file, isolation_level=None))
    assert view.same_work([KEY]) == {KEY: 1}
    assert view.hits([KEY])[KEY].body == body
    view.forget(KEY)
    assert view.hits([KEY]) == {}
