"""How the report orders, shortens and colours numbers. `report.js` shortens and colours them alike."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

from conformance.model.results import Number, size

__all__ = ["LEVELS", "count", "level", "over", "percentile", "power", "short", "size"]

_BOUNDS = (0, 0.1, 0.25, 0.5, 0.75, 1, 10, 1000)
LEVELS = ("0", "≤ 0.1", "≤ 0.25", "≤ 0.5", "≤ 0.75", "≤ 1", "≤ 10", "≤ 1,000", "> 1,000", "∞, NaN")
"""The steps of the colour scale of error over tolerance; the CSS class of step i is r<i>."""

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def over(x: Number) -> bool:
    """Whether the error is more than the tolerance; a NaN is."""
    return not float(x) <= 1


def level(x: Number) -> str:
    """The CSS class of the step of the colour scale for this error over tolerance."""
    v = size(x)
    return f"r{len(_BOUNDS) + 1 if math.isinf(v) else bisect_left(_BOUNDS, v)}"


def short(x: Number) -> str:
    """A number in about three significant digits, and never more than eight characters."""
    v = float(x)
    m = abs(v)
    sign = "−" if v < 0 else ""
    if math.isnan(v):
        return "NaN"
    if math.isinf(v):
        return f"{sign}∞"
    if m == 0:
        return "0"
    if not 1e-3 <= m < 1e5:
        mantissa, exponent = f"{m:.1e}".split("e")
        return f"{sign}{mantissa}e{int(exponent)}".replace("e-", "e−")
    if m >= 100:
        return f"{sign}{m:,.0f}"
    return f"{sign}{m:.1f}" if m >= 10 else f"{sign}{m:.2f}" if m >= 1 else f"{sign}{m:#.3g}"


def count(n: int) -> str:
    return f"{n:,}"


def power(exponent: int) -> str:
    """A label for 10 to the exponent."""
    return str(10**exponent) if 0 <= exponent <= 2 else f"10{str(exponent).translate(_SUPERSCRIPT)}"


def percentile(ordered: Sequence[float], p: float) -> float:
    """The p-th percentile by nearest rank: a value that really occurred."""
    return ordered[max(0, math.ceil(p / 100 * len(ordered)) - 1)]
