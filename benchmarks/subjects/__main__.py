"""One life of one subject: start, first result, warm up, one measured pass a shape."""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path

WARM_UP = 200


def main(name: str, order: str) -> None:
    """Measure and leave the figures (seconds) in the file that the order names."""
    asked = json.loads(order)
    figures = {}
    with import_module(f"benchmarks.subjects.{name}").Subject() as subject:
        begun = time.monotonic()
        subject.prepare("sweep", 1)()
        ended = time.monotonic()
        figures["first"], figures["first_from_start"] = ended - begun, ended - asked["started"]
        for shape, n in asked["sizes"].items():
            subject.prepare(shape, min(n, WARM_UP))()
            defined = time.monotonic()
            run = subject.prepare(shape, n)
            begun = time.monotonic()
            run()
            figures[shape] = time.monotonic() - begun
            figures[f"{shape}_define"] = begun - defined
    Path(asked["answer"]).write_text(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
