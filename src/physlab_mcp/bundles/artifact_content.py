"""Whether two files of unequal bytes have the same content: pictures by pixels, tables and arrays by numbers."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable
from typing import Any

import msgspec

from physlab_mcp.bundles.shapes import Tolerance

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
EXACT, WITHIN, DIFFERS = "exact", "within_tolerance", "differs"


class Content(msgspec.Struct, frozen=True):
    """The verdict on two contents, how far they are apart, and how that was told."""

    verdict: str
    off: float | None = None
    note: str = ""


def same_content(a: bytes, b: bytes, *, media_type: str, name: str, tolerance: Tolerance, pixels: int) -> Content:
    """Compare two files by what they hold; a kind that cannot be read here is compared by its bytes."""
    if a == b:
        return Content(EXACT)
    compare = _reader(media_type, name, pixels)
    if compare is not None:
        try:
            return compare(a, b, tolerance)
        except ImportError as error:
            return Content(DIFFERS, note=f"compared by bytes: {error.name} is not installed")
        except (ValueError, OSError, KeyError, TypeError, SyntaxError) as error:
            return Content(DIFFERS, note=f"compared by bytes: it cannot be read ({type(error).__name__}: {error})")
    return Content(DIFFERS, note=f"compared by bytes: {len(a)} and {len(b)}")


def _reader(media_type: str, name: str, pixels: int) -> Callable[[bytes, bytes, Tolerance], Content] | None:
    suffix = name.rpartition(".")[2].lower()
    if media_type in ("image/png", "image/jpeg", "image/gif") or suffix in ("png", "jpg", "jpeg", "gif"):
        return lambda a, b, _: _pictures(a, b, pixels)
    if media_type == "application/json" or suffix == "json":
        return _json
    if suffix in ("npy", "npz"):
        return _arrays
    if media_type.startswith("text/") or suffix in ("csv", "svg", "txt", "tsv", "vtk"):
        return _texts
    return None


def _pictures(a: bytes, b: bytes, pixels: int) -> Content:
    from PIL import Image, ImageChops

    with Image.open(io.BytesIO(a)) as left, Image.open(io.BytesIO(b)) as right:
        if left.size != right.size:
            return Content(DIFFERS, note=f"{left.size[0]}x{left.size[1]} and {right.size[0]}x{right.size[1]} pixels")
        frames = getattr(left, "n_frames", 1)
        if frames != getattr(right, "n_frames", 1):
            return Content(DIFFERS, note="another number of frames")
        most = 0
        for frame in range(frames):
            left.seek(frame)
            right.seek(frame)
            apart = ImageChops.difference(left.convert("RGBA"), right.convert("RGBA"))
            ends: Any = apart.getextrema()
            most = max(most, *(int(high) for _, high in ends))
    verdict = EXACT if most == 0 else WITHIN if most <= pixels else DIFFERS
    return Content(verdict, most / 255, f"compared by pixels: at most {most} of 255 apart")


def _json(a: bytes, b: bytes, tolerance: Tolerance) -> Content:
    from physlab_mcp.bundles.compare import Rules, compare_values
    from physlab_mcp.bundles.shapes import Tolerances

    worst, off = EXACT, 0.0
    for one in compare_values("", json.loads(a), json.loads(b), Rules(Tolerances(default=tolerance))):
        if one.verdict == DIFFERS:
            return Content(
                DIFFERS, one.off, f"at {one.name.lstrip('.') or 'its top'}: {one.expected!r} and {one.got!r}"[:300]
            )
        if one.verdict == WITHIN:
            worst, off = WITHIN, max(off, one.off or 0.0)
    return Content(worst, off, "compared as JSON")


def _arrays(a: bytes, b: bytes, tolerance: Tolerance) -> Content:
    import numpy as np

    left, right = _loaded(np, a), _loaded(np, b)
    if left.keys() != right.keys():
        return Content(DIFFERS, note="other arrays inside")
    worst, off = EXACT, 0.0
    for name, one in left.items():
        other = right[name]
        if one.shape != other.shape or one.dtype.kind != other.dtype.kind:
            return Content(DIFFERS, note=f"{one.dtype}{one.shape} and {other.dtype}{other.shape}")
        if np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"):
            continue
        if one.dtype.kind not in "fciu":
            return Content(DIFFERS, note=f"other {one.dtype} values")
        with np.errstate(all="ignore"):
            most = np.maximum(np.abs(one), np.abs(other))
            apart = np.abs(other.astype(np.result_type(other, np.float64)) - one)
            good = apart <= np.maximum(tolerance.abs, tolerance.rel * most)
            good |= (one == other) | (np.isnan(one) & np.isnan(other) if one.dtype.kind in "fc" else False)
            relative = np.where(most > 0, apart / most, 0.0)
        off = max(off, float(np.nanmax(relative)))
        worst = WITHIN
        if not bool(np.all(good)):
            return Content(DIFFERS, off, f"{int(np.sum(~good))} of {one.size} numbers are too far off")
    return Content(worst, off, "compared number by number")


def _loaded(np: Any, data: bytes) -> dict[str, Any]:
    found = np.load(io.BytesIO(data), allow_pickle=False)
    return {name: found[name] for name in found.files} if hasattr(found, "files") else {"": found}


def _texts(a: bytes, b: bytes, tolerance: Tolerance) -> Content:
    """Text with numbers in it (CSV, SVG): the words must be equal, the numbers close."""
    left, right = a.decode(), b.decode()
    if _NUMBER.sub("#", left) != _NUMBER.sub("#", right):
        return Content(DIFFERS, note="other words")
    off = 0.0
    for one, other in zip(_NUMBER.findall(left), _NUMBER.findall(right), strict=True):
        if one == other:
            continue
        x, y = float(one), float(other)
        if abs(x - y) > max(tolerance.abs, tolerance.rel * max(abs(x), abs(y))) or math.isnan(x - y):
            return Content(DIFFERS, abs(x - y) / max(abs(x), abs(y)), f"{one} and {other}")
        off = max(off, abs(x - y) / max(abs(x), abs(y), 5e-324))
    return Content(WITHIN if off else EXACT, off, "compared number by number")
