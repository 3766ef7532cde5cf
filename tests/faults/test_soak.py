"""Random kills, a short form; `make soak` runs the full one and writes docs/soak.md."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest
from site_of import Site
from soak import report, soak


@pytest.mark.soak
def test_random_kills_lose_nothing(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    seed = int(os.environ.get("SOAK_SEED") or random.SystemRandom().randrange(1_000_000))
    full = os.environ.get("SOAK") == "full"
    kills = 200 if full else 15
    with capsys.disabled():
        sys.stdout.write(f"\nsoak: seed {seed}, {kills} kills\n")
    numbers = soak(site, kills, seed)
    with capsys.disabled():
        sys.stdout.write("soak: " + ", ".join(f"{name} {value}" for name, value in numbers.items()) + "\n")
    assert numbers["kills"] == kills
    if full:
        (Path(__file__).parents[2] / "docs" / "soak.md").write_text(report(numbers))
