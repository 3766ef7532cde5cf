"""docs/slurm.md names every setting with its default, and every Slurm state that is told apart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from physlab_mcp.backends.slurm.checkpoints import SIGNALS
from physlab_mcp.backends.slurm.settings import SlurmSettings
from physlab_mcp.backends.slurm.states import FINAL
from physlab_mcp.config import SlurmSection

PAGE = (Path(__file__).parents[2] / "docs" / "slurm.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| ([^|]*) \|", re.MULTILINE)


def shown(value: Any) -> str:
    if value == "":
        return '`""`'
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple | dict):
        return "`[]`" if value == () else "`{}`"
    return f"{value:g}" if isinstance(value, int | float) else f"`{value}`"


def test_every_setting_is_told_with_its_default() -> None:
    told = {name: default.strip() for name, default in ROW.findall(PAGE)}
    fields = {one.name: one for one in msgspec.structs.fields(SlurmSettings)}
    expected = {"root": "must be set", "host": "none", "commands": shown(SlurmSection.model_fields["commands"].default)}
    for name, field in fields.items():
        if name != "root":
            default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()  # type: ignore[operator]
            expected[name] = shown(default)
    assert told == expected


def test_every_end_and_every_signal_is_told() -> None:
    folded = {"FAILED", "REVOKED", "LAUNCH_FAILED", "RECONFIG_FAIL"}  # as the rows beside them
    assert {state for state in FINAL - folded if state not in PAGE} == set()
    assert all(f"`{signal}`" in PAGE for signal in SIGNALS)
