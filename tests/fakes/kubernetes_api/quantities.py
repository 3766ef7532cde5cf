"""Quantities such as `500m`, `64Mi` or `1e3`, exact."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache

_FORM = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?[0-9]+)?")
_SCALES = {
    "": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal(10**3),
    "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15), "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}  # fmt: skip


@lru_cache(maxsize=4096)
def amount(text: str) -> Decimal:
    """The number a quantity stands for.

    Raises ValueError: not a quantity.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        )
    number, suffix = found.groups()
    suffix = suffix or ""
    if suffix in _SCALES:
        return Decimal(number) * _SCALES[suffix]
    return Decimal(number + suffix)
