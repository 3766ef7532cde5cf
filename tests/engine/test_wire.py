"""JSON lines between clients and the engine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physlab_mcp.engine.wire import MOST_LINE, Lines, connect, encode, listen

DEADLINE_S = 10
messages = st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text(max_size=20), max_size=4)


class Pieces:
    """The receiving half of a stream that delivers these pieces, then ends."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def receive(self, most: int) -> bytes:
        if not self._pieces:
            raise anyio.EndOfStream
        return self._pieces.pop(0)


def received(pieces: list[bytes]) -> list[dict[str, Any]]:
    async def read() -> list[dict[str, Any]]:
        lines = Lines(Pieces(pieces))  # type: ignore[arg-type]
        found: list[dict[str, Any]] = []
        try:
            while True:
                found.append(await lines.receive())
        except anyio.EndOfStream:
            return found

    return anyio.run(read)


@given(st.lists(messages, max_size=5), st.data())
def test_messages_arrive_however_the_bytes_are_cut(sent: list[dict[str, Any]], data: st.DataObject) -> None:
    text = b"".join(map(encode, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True) if a < b]
    assert received(pieces) == sent


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line), max_size=5))
def test_what_is_no_message_is_passed_over(garbage: list[bytes]) -> None:
    found = received([b"\n".join([*garbage, b""]) + encode({"op": "wake"})])
    assert found[-1] == {"op": "wake"}


@pytest.mark.parametrize("line", [b"", b"{", b"[1]", b'"text"', b"\xff\xfe", b"[" * 100_000, b"null"])
def test_a_line_that_is_no_object_does_not_end_the_conversation(line: bytes) -> None:
    assert received([line + b"\n", encode({"op": "wake"})]) == [{"op": "wake"}]


def test_a_line_without_end_ends_the_conversation() -> None:
    assert received([b"x" * 65_536] * (MOST_LINE // 65_536 + 2) + [b"\n", encode({"op": "wake"})]) == []


def test_a_message_is_one_line_whatever_it_holds() -> None:
    line = encode({"text": "a\nb\u2028c"})
    assert line.count(b"\n") == 1
    assert json.loads(line) == {"text": "a\nb\u2028c"}


@asynccontextmanager
async def serving(address: Path, handle: Callable[[Lines], Any]) -> AsyncIterator[None]:
    async def answer(stream: anyio.abc.ByteStream) -> None:
        async with stream:
            await handle(Lines(stream))

    listener, _token = await listen(address)
    async with anyio.create_task_group() as tasks, listener:
        tasks.start_soon(listener.serve, answer)
        with anyio.fail_after(DEADLINE_S):
            yield
        tasks.cancel_scope.cancel()


async def test_both_sides_hear_each_other_over_a_private_socket(tmp_path: Path) -> None:
    async def echo(lines: Lines) -> None:
        await lines.send({"hello": await lines.receive()})

    address = tmp_path / "e.sock"
    async with serving(address, echo):
        assert address.stat().st_mode & 0o777 == 0o600
        lines = await connect(address)
        await lines.send({"op": "status"})
        assert await lines.receive() == {"hello": {"op": "status"}}
        with pytest.raises(anyio.EndOfStream):
            await lines.receive()
        await lines.aclose()


async def test_a_socket_left_by_a_dead_engine_is_replaced(tmp_path: Path) -> None:
    address = tmp_path / "e.sock"
    listener, _ = await listen(address)
    await listener.aclose()
    address.touch()
    with pytest.raises(OSError):
        await connect(address)

    async def greet(lines: Lines) -> None:
        await lines.send({"hello": 1})

    async with serving(address, greet):
        lines = await connect(address)
        assert await lines.receive() == {"hello": 1}
        await lines.aclose()


async def test_connecting_where_nobody_listens_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        await connect(tmp_path / "nobody.sock")


async def test_many_tasks_send_at_once_and_every_message_arrives_whole(tmp_path: Path) -> None:
    text = "x" * 300_000  # more than a socket holds: senders wait for the reader

    async def talk(lines: Lines) -> None:
        async with anyio.create_task_group() as tasks:
            for n in range(8):
                tasks.start_soon(lines.send, {"n": n, "text": text})

    async with serving(tmp_path / "e.sock", talk):
        lines = await connect(tmp_path / "e.sock")
        found = [await lines.receive() for _ in range(8)]
        assert {one["n"] for one in found} == set(range(8))
        assert all(one["text"] == text for one in found)
        await lines.aclose()
