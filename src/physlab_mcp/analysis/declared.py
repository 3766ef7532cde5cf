"""What the author of a workflow said of its results: which number counts, its unit, and whether more or less is better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from physlab_mcp.analysis.quantities import unit_text


def declared(df: Any) -> dict[str, Mapping[str, Any]]:
    """By column, in the order of declaration: `description`, `unit`, `maximize` as `df.attrs["results"]` has them.

    A result is named as a metric may be: by its column, by `task.key`, or by the end of one column's name alone.
    """
    metrics: list[str] = [one for one in df.attrs.get("metrics", ()) if one in df.columns]
    others = [one for one in ("duration_s", *df.attrs.get("derived", ())) if one in df.columns]
    full: Mapping[str, str] = df.attrs.get("full_names", {})
    found: dict[str, Mapping[str, Any]] = {}
    for name, said in dict(df.attrs.get("results") or {}).items():
        ends = [one for one in metrics if one.endswith(f".{name}")]
        column = name if name in metrics or name in others else full.get(name, ends[0] if len(ends) == 1 else None)
        if column in metrics or column in others:
            found.setdefault(str(column), said)
    return found


def better(df: Any, metric: str, maximize: bool | None = None) -> bool:
    """Whether more of a metric (its column) is better: as asked, else as declared, else yes."""
    if maximize is not None:
        return maximize
    return declared(df).get(metric, {}).get("maximize") is not False


def unit_of(df: Any, name: str) -> str:
    """The declared unit of a column as it was written; empty where none was."""
    return str(declared(df).get(name, {}).get("unit") or "").strip()


def label(df: Any, name: str) -> str:
    """A column with its declared unit, as printed: `loss (kg m⁻¹)`."""
    unit = unit_text(unit_of(df, name))
    return f"{name} ({unit})" if unit else name
