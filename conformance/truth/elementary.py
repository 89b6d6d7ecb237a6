"""erf, erfc, sine and cosine of many numbers at a time, in pairs, with a proof (docs/tolerances.md).

Each is a table, whose entries FLINT made, and a short series around the nearest of them: its first terms in
pairs, the others in floats. What is rounded there, and what is left out, is added to the radius.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from flint import arb, fmpq
from numpy.typing import NDArray

from conformance.truth.balls import working_precision
from conformance.truth.errorfree import outward
from conformance.truth.pairs import BITS, Pairs, UnfitError, in_parts, pairs, reduced

__all__ = ["erf", "erfc", "sin_cos"]

Reals = NDArray[np.float64]


def _tail(t: Reals, coefficients: Sequence[Reals | float]) -> Reals:
    """c + c' t + c'' t² + …, in floats: off by less than 2⁻⁵⁰ of the sum of the terms' sizes, where t is
    below 2⁻⁶ and no coefficient much larger than the first."""
    found = np.asarray(coefficients[-1])
    for c in coefficients[-2::-1]:
        found = found * t + c
    return found


# --- error functions ------------------------------------------------------------------------------

PLACES = 64  # of a table, in a unit
FURTHEST = 16.5  # beyond it erfc is less than 2⁻³⁹⁶
PAIRED, TERMS = 7, 14  # of the series: terms in pairs, and all

Table = tuple[list[Pairs], Reals]


def _table(end: float, coefficients: Callable[[arb], list[arb]]) -> Table:
    """The coefficients around each place: the first in pairs, the others in floats."""
    with working_precision(4 * BITS):
        rows = [coefficients(arb(j) / PLACES) for j in range(int(end * PLACES) + 2)]
        columns = [*zip(*rows, strict=True)]
        first = [Pairs.of_balls(column, (len(rows),)) for column in columns[:PAIRED]]
    return first, np.array([[*map(float, column)] for column in columns[PAIRED:]])


@cache
def _scaled_erfc() -> Table:
    """Of f(z) = e^{z²} erfc z, by f' = 2z f − 2/√π."""

    def coefficients(z: arb) -> list[arb]:
        a = [(z * z).exp() * z.erfc()]
        a.append(2 * z * a[0] - 2 / arb.pi().sqrt())
        while (n := len(a)) < TERMS:
            a.append(2 * (z * a[-1] + a[-2]) / n)
        return a

    return _table(FURTHEST, coefficients)


@cache
def _erf() -> Table:
    """Of f = erf, by f'' = −2z f'."""

    def coefficients(z: arb) -> list[arb]:
        a = [z.erf(), 2 / arb.pi().sqrt() * (-z * z).exp()]
        while (n := len(a)) < TERMS:
            a.append(-2 * (z * (n - 1) * a[-1] + (n - 2) * a[-2]) / (n * (n - 1)))
        return a

    return _table(1.0, coefficients)


def _around(z: Pairs, table: Table, left_out: float) -> Pairs:
    """The series of z around the nearest place; what is left out is at most so much of t¹⁴."""
    j = np.rint(z.hi * PLACES).astype(np.intp)
    t = z - j * (1 / PLACES)
    first, others = table[0], table[1][:, j]
    tail = _tail(t.hi, [*others])
    size = t.size_at_most
    # coefficients may be 0: so the sum of the terms' sizes, and its slope, in place of the tail's
    sizes = _tail(size, [*np.abs(others)])
    slope = _tail(size, [n * np.abs(c) for n, c in enumerate(others)][1:])
    off = 2.0**-49 * sizes + 1.01 * slope * (t.rad + np.abs(t.lo)) + size**7 * left_out
    found = Pairs(tail, np.zeros(tail.shape), outward(off))
    for column in reversed(first):
        found = found * t + column[j]
    return found


def erfc(a: Any) -> Any:
    """Of pairs e^{−z²} times a series, z = |a|, and 2 − erfc z where a is negative; a very small result is
    only bounded. Of a ball by FLINT.

    e^{z²} erfc z = 2/√π ∫ e^{−s²−2zs} ds, s from 0 to ∞, is completely monotone: its derivatives alternate in
    sign, and shrink as z grows. The n-th is n!/Γ(n/2 + 1) at 0: what is left out is at most t¹⁴/7!.
    """
    if not isinstance(a, Pairs):
        return a.erfc()
    positive, z = _sized(a)
    if (far := z.hi >= FURTHEST).any():
        near = erfc(Pairs.where(far, pairs(0.0), z))
        found = Pairs.where(far, Pairs(np.zeros(()), np.zeros(()), np.full((), 2.0**-395)), near)
    else:
        found = _around(z, _scaled_erfc(), 1 / 5040) * (-(z * z)).exp()
    return Pairs.where(positive, found, 2.0 - found)


def erf(a: Any) -> Any:
    """Of pairs a series up to 1, and 1 − erfc beyond; of a ball by FLINT.

    f⁽¹⁴⁾ = 2/√π H₁₃(z) e^{−z²}, with Hermite's polynomial, is at most 1.1·2/√π 2^{13/2} √13! (Cramér's
    bound), and over 14! less than 2⁻¹³.
    """
    if not isinstance(a, Pairs):
        return a.erf()
    positive, z = _sized(a)
    far = z.hi >= 1
    found = _around(Pairs.where(far, pairs(0.0), z), _erf(), 2.0**-13)
    if far.any():
        found = Pairs.where(far, 1.0 - erfc(Pairs.where(far, z, pairs(1.0))), found)
    return Pairs.where(positive, found, -found)


def _sized(a: Pairs) -> tuple[NDArray[np.bool_], Pairs]:
    """Where a is positive, and |a|."""
    if not (a.rad < 2.0**-20).all():
        raise UnfitError("a number is not known.")
    positive = a.positive()
    return positive, Pairs.where(positive, a, -a)


# --- sine and cosine ------------------------------------------------------------------------------

AROUND = 512  # places of the table, in 2π


@cache
def _circle() -> tuple[tuple[float, ...], Pairs, Pairs]:
    """2π/512 in three parts, of which the first two have 32 bits; the sine and the cosine at each place."""
    with working_precision(BITS):
        step = 2 * arb.pi() / AROUND
        at = [(arb(2 * j) / AROUND).sin_cos_pi() for j in range(AROUND)]
        sine, cosine = (Pairs.of_balls([x[i] for x in at], (AROUND,)) for i in range(2))
        parts = in_parts(step, 38)
    return parts, sine, cosine


def sin_cos(a: Any) -> tuple[Any, Any]:
    """Of pairs sin(p + r) and cos(p + r), p the nearest place of a table; of a ball by FLINT."""
    if not isinstance(a, Pairs):
        return a.sin(), a.cos()
    step, sine, cosine = _circle()
    n = np.rint(a.hi * (AROUND / (2 * np.pi)))
    if not ((np.abs(n) < 2.0**20) & (a.rad < 2.0**-20)).all():
        raise UnfitError("an angle is too large, or not known.")
    hi, lo = reduced(a.hi, a.lo, n, step)
    # n·step[2] and the sums after it are rounded, by 2⁻⁵³ of at most n·2⁻⁷⁰ and of what is left of r
    off = np.abs(n) * 2.0**-120 + np.abs(hi) * 2.0**-103
    x = Pairs(hi, lo, outward(a.rad + off))
    s = x * x
    ends = s.size_at_most**3

    def series(c: Sequence[fmpq], tail: Sequence[float], left_out: float) -> Pairs:
        end = _tail(s.hi, tail)
        known = outward(2.0**-50 * np.abs(end) + 2 * s.rad * abs(tail[1]) + ends * left_out)
        return (Pairs(end, np.zeros(end.shape), known) * s + pairs(c[1])) * s + pairs(c[0])

    odd = series((fmpq(-1, 6), fmpq(1, 120)), (-1 / 5040, 1 / 362880, -1 / 39916800), 2.0**-32)
    even = series((fmpq(-1, 2), fmpq(1, 24)), (-1 / 720, 1 / 40320, -1 / 3628800), 2.0**-28)
    sin_r, cos_r = odd * s * x + x, even * s + 1.0
    j = n.astype(np.intp) % AROUND
    p, q = sine[j], cosine[j]
    return p * cos_r + q * sin_r, q * cos_r - p * sin_r
