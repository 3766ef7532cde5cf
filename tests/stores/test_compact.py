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
from physlab_mcp.stores.compact import Templates, body_of, cache_name, key_bytes, key_text, spec_of
from physlab_mcp.stores.migrate import migrate
from physlab_mcp.stores.sqlite import SQLiteStore

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
