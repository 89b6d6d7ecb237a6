"""Writes numbers with so many significant digits, and counts how many of these are certified."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from conformance.model.problem import Floats
from conformance.truth.balls import Enclosure

__all__ = ["certified", "latex", "plain", "rounded", "shown", "unit"]

_EXACT = Context(prec=1200)  # more digits than any float has
HELD = 15  # every decimal number of so many digits survives as a float


def _significant(d: Decimal) -> int:
    return len(d.normalize(_EXACT).as_tuple().digits)


def rounded(x: Decimal, digits: int) -> Decimal:
    """x to so many significant digits, half to even."""
    return Context(prec=digits, rounding=ROUND_HALF_EVEN).plus(x)


def unit(x: float, digits: int) -> float:
    """The size of x's last digit, where it is written with so many."""
    return 10.0 ** (Decimal(x).adjusted() - digits + 1) if x else 0.0


def shown(x: float, digits: int) -> str:
    """0.15 as it is; 0.5932699921 as 0.593270; 1.5e-7 and 2e9 by a power of ten ('e').

    A rounded number is not filled up with zeros before its point: they would pass for digits.
    """
    short = Decimal(repr(float(x)))
    if _significant(near := rounded(short, HELD)) <= digits:
        short = near  # 0.3925 for 0.39250000000000002: on paper the zeros are nothing
    d = short if _significant(short) <= digits else rounded(Decimal(float(x)), digits)
    if not d:
        return "0"
    e = d.adjusted()
    if -5 <= e < (max(digits, 7) if d is short else digits):
        full = format(d, "f")
        return full.rstrip("0").rstrip(".") if d is short and "." in full else full
    if d is short:
        d = d.normalize(_EXACT)
    mantissa = format(d.scaleb(-e, _EXACT), "f")
    return f"{mantissa}e{e}"


def latex(x: float, digits: int) -> str:
    """The same as LaTeX."""
    mantissa, e, power = shown(x, digits).partition("e")
    return rf"{mantissa} \times 10^{{{power}}}" if e else mantissa


def plain(x: float, digits: int) -> str:
    """The same for plain text, with a minus sign and × 10^."""
    mantissa, e, power = shown(x, digits).replace("-", "−").partition("e")
    return f"{mantissa} × 10^{power}" if e else mantissa


def _exactly(x: Fraction) -> Decimal:
    """The decimal number, exactly: it is finite, as the denominator is a power of two."""
    return _EXACT.divide(Decimal(x.numerator), Decimal(x.denominator))


def _ends(e: Enclosure, at: tuple[int, ...]) -> tuple[Decimal, Decimal]:
    """The two ends of the interval that encloses one number."""
    middle = Fraction(float(e.hi[at])) + Fraction(float(e.lo[at]))
    r = Fraction(float(e.rad[at]))
    return _exactly(middle - r), _exactly(middle + r)


def _count(x: float, low: Decimal, high: Decimal, digits: int) -> int:
    """The most digits to which x and both ends of its enclosure round alike."""
    if low == high == Decimal(x):
        return digits
    for k in range(digits, 0, -1):
        if rounded(low, k) == rounded(high, k) == rounded(Decimal(x), k):
            return k
    return 0


def certified(M: Floats, e: Enclosure, digits: int) -> NDArray[np.int64]:
    """For each entry, how many of its digits are those of the exact value."""
    counts = np.zeros(M.shape, np.int64)
    for at in np.ndindex(M.shape):
        x = float(M[at])
        known = np.isfinite(x) and np.isfinite(e.hi[at]) and np.isfinite(e.rad[at])
        counts[at] = _count(x, *_ends(e, at), digits) if known else 0
    return counts
