"""Batches are halved when they do not fit, cover everything once and in order, and give up only at one item."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physlab_mcp.physics.batches import first_batch, is_out_of_memory, run_batches


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


@given(st.integers(0, 500), st.integers(1, 600), st.integers(1, 64))
def test_every_item_is_computed_once_and_in_order_whatever_fits(items: int, batch: int, fits: int) -> None:
    done: list[int] = []
    halvings: list[tuple[int, int]] = []

    def compute(start: int, stop: int) -> None:
        if stop - start > fits:
            raise MemoryError
        done.extend(range(start, stop))

    last = run_batches(items, batch, compute, on_halved=lambda old, new: halvings.append((old, new)))
    assert done == list(range(items))
    assert all(new <= old // 2 or new == 1 for old, new in halvings)
    assert bool(halvings) == (min(batch, items) > fits)
    assert last == (halvings[-1][1] if halvings else batch)


def test_what_never_fits_is_an_error_after_one_item_was_tried() -> None:
    tried: list[int] = []

    def compute(start: int, stop: int) -> None:
        tried.append(stop - start)
        raise MemoryError

    with pytest.raises(MemoryError):
        run_batches(8, 8, compute)
    assert tried == [8, 4, 2, 1]


def test_another_failure_is_not_taken_for_one_of_memory() -> None:
    def compute(start: int, stop: int) -> None:
        raise RuntimeError(f"{start} {stop}")

    with pytest.raises(RuntimeError, match="0 8"):
        run_batches(8, 8, compute)


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (MemoryError(), True),
        (OutOfMemoryError("CUDA"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("shapes differ"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_failures_of_memory_are_told_from_others(error: BaseException, wanted: bool) -> None:
    assert is_out_of_memory(error) is wanted


def test_cached_memory_is_given_back_before_the_smaller_batch() -> None:
    told: list[str] = []

    def compute(start: int, stop: int) -> None:
        told.append(f"{start}-{stop}")
        if stop - start > 2:
            raise OutOfMemoryError

    run_batches(4, 4, compute, release=lambda: told.append("release"))
    assert told == ["0-4", "release", "0-2", "2-4"]


def test_the_first_batch_takes_half_of_the_free_memory() -> None:
    assert first_batch(100, 10.0, 400.0) == 20
    assert first_batch(100, 10.0, 1e9) == 100
    assert first_batch(100, 10.0, 1.0) == 1
    assert first_batch(100, 10.0, None) == 100
