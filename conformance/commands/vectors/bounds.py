"""The numbers of a truth that are published: two floats that enclose it, and the float nearest to it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from conformance.truth.balls import Enclosure
from conformance.truth.rounding import Reals

__all__ = ["Bounds", "bounds"]

LEAST = 5e-324
"""The smallest float. What an `Enclosure` may have lost of its radius to underflow is less than this."""

SMALL = 2.0**-1020
"""Below this number, half a unit in the last place is not a float, or is near the smallest."""


class Bounds(NamedTuple):
    """lower ≤ exact ≤ upper; if `sure`, `rounded` is the float nearest to the exact value."""

    lower: Reals
    upper: Reals
    rounded: Reals
    sure: np.typing.NDArray[np.bool_]


def bounds(e: Enclosure, exact: bool) -> Bounds:
    """The floats around hi + lo ± rad. `exact`: every ball has radius zero, so that nothing was lost.

    A value beyond the range of float64 has the bounds -inf and inf.
    """
    lost = 0.0 if exact else LEAST
    with np.errstate(invalid="ignore", over="ignore"):
        off = _up(e.rad, np.full_like(e.rad, lost))
        known = np.isfinite(e.hi) & np.isfinite(off)
        lower = np.where(known, _down(e.hi, _down(e.lo, -off)), -np.inf)
        upper = np.where(known, _up(e.hi, _up(e.lo, off)), np.inf)
        sure = known & _nearest(e, off)
    return Bounds(lower + 0.0, upper + 0.0, e.hi + 0.0, sure)  # + 0.0: no −0


def _nearest(e: Enclosure, off: Reals) -> np.typing.NDArray[np.bool_]:
    """The elements whose hi is the float nearest to every number within hi + lo ± off.

    If hi is subnormal and is the midpoint itself, the exact value differs from it by at most half of `LEAST`:
    at worst that is a tie, which rounds to the even float.
    """
    size = np.abs(e.hi)
    half = np.minimum(np.nextafter(size, np.inf) - size, size - np.nextafter(size, 0.0)) / 2
    midpoint = (e.lo == 0) & (e.rad == 0)
    even = (e.hi / 2) * 2 == e.hi
    small = midpoint & (even | (off == 0))
    return np.asarray(np.where(size < SMALL, small, _up(np.abs(e.lo), off) < half), bool)


def _down(x: Reals, y: Reals) -> Reals:
    """x + y, rounded downward: the error of the sum is a float (Knuth's two-sum)."""
    s = x + y
    v = s - x
    error = (x - (s - v)) + (y - v)
    return np.where(error < 0, np.nextafter(s, -np.inf), s)


def _up(x: Reals, y: Reals) -> Reals:
    """x + y, rounded upward."""
    return -_down(-x, -y)
