"""The shapes of work that every subject runs. Standard library only: the peers' environment reads this too."""

from __future__ import annotations

WIDTH = 10
WORKERS = 2
SHAPES = ("sweep", "layered", "chain")


def needs_of(shape: str, index: int) -> tuple[int, ...]:
    """The nodes that node `index` waits for: none, two of the layer before, or the one before."""
    if shape == "chain":
        return (index - 1,) if index else ()
    if shape == "layered" and index >= WIDTH:
        first = index // WIDTH * WIDTH - WIDTH
        return first + index % WIDTH, first + (index + 1) % WIDTH
    return ()


def no_op(*needs: int) -> int:
    """What the peers run for a node."""
    return needs[0] if needs else 0
