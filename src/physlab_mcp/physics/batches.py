"""Work along a long axis in batches that fit the memory, and which failures mean that they did not."""

from __future__ import annotations

from collections.abc import Callable


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of numpy, torch or a driver says that memory ran out."""
    if isinstance(error, MemoryError):
        return True
    name = type(error).__name__
    return name == "OutOfMemoryError" or (isinstance(error, RuntimeError) and "out of memory" in str(error).lower())


def first_batch(items: int, bytes_each: float, free_bytes: float | None) -> int:
    """Items to begin with: as many as half of the free memory holds, between 1 and `items`."""
    if free_bytes is None or bytes_each <= 0:
        return max(1, items)
    return max(1, min(items, int(0.5 * free_bytes / bytes_each)))


def run_batches(
    items: int,
    batch: int,
    compute: Callable[[int, int], None],
    *,
    on_halved: Callable[[int, int], None] = lambda _old, _new: None,
    release: Callable[[], None] = lambda: None,
) -> int:
    """Call `compute(start, stop)` over 0..items in order; the batch size it ended with.

    A batch that does not fit is tried again with half as many items; `on_halved(old, new)` is told, and `release` is
    called to give cached memory back. What `compute` gives for an item must not depend on the batch it is in.

    Raises:
        MemoryError: not even one item fits (or what the driver raised for it).

    """
    start = 0
    while start < items:
        stop = min(items, start + batch)
        try:
            compute(start, stop)
        except (MemoryError, RuntimeError) as error:
            if batch <= 1 or not is_out_of_memory(error):
                raise
            smaller = max(1, min(batch, stop - start) // 2)
        else:
            start = stop
            continue
        release()  # here, where the exception no longer holds the failed batch's arrays
        on_halved(batch, smaller)
        batch = smaller
    return batch
