"""Sums and products of floats without an error, or with a known one.

The error of a rounded sum of two floats is a float, and so is that of a product, if nothing overflows or
underflows and every operation is rounded to nearest. Matrices are multiplied in slices of so few bits that
every sum of products is exact, by any BLAS and in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from math import isqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "OUTWARD",
    "ROUNDING",
    "exact_products",
    "fast_two_sum",
    "frobenius",
    "outward",
    "sliced_product",
    "spectral",
    "split",
    "split_product",
    "two_product",
    "two_sum",
]

Reals = NDArray[np.float64]

ROUNDING = 2.0**-53  # unit roundoff of float64
OUTWARD = 1 + 2.0**-40  # a bound takes fewer than 8,000 operations, each off by 2⁻⁵³
UNDERFLOW = 2.0**-500  # more than all that underflows; a radius that is not 0 is at least as large
SPLIT = 2.0**27 + 1  # Dekker's factor: it splits 53 bits into halves of 26
SLICES = 3  # of each factor of a product of matrices
BLOCK = 2**13  # numbers at a time: they stay in the cache, which is faster


def two_sum(a: Reals, b: Reals) -> tuple[Reals, Reals]:
    """a + b, rounded, and its error, which is a float (Knuth 1969, theorem 4.2.2 B)."""
    s = a + b
    v = s - a
    return s, (a - (s - v)) + (b - v)


def fast_two_sum(a: Reals | float, b: Reals) -> tuple[Reals, Reals]:
    """a + b, rounded, and its error, where |a| ≥ |b|, or a is 0 (Dekker 1971)."""
    s = a + b
    return s, b - (s - a)


def split(a: Reals) -> tuple[Reals, Reals]:
    """a in two parts of 26 bits: the product of two such parts is a float (Dekker 1971)."""
    c = SPLIT * a
    a1 = c - (c - a)
    return a1, a - a1


def two_product(a: Reals, b: Reals) -> tuple[Reals, Reals]:
    """a·b, rounded, and its error, which is a float (Dekker 1971; each factor in halves)."""
    return split_product(a, split(a), b, split(b))


def split_product(
    a: Reals, a12: tuple[Reals, Reals], b: Reals, b12: tuple[Reals, Reals]
) -> tuple[Reals, Reals]:
    """The same, of factors that are split already."""
    p, (a1, a2), (b1, b2) = a * b, a12, b12
    return p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2


def outward(rad: Reals) -> Reals:
    """A radius at least as large; 0 is exact, and stays 0."""
    return np.where(rad == 0, 0.0, rad * OUTWARD + UNDERFLOW)


# --- norms ----------------------------------------------------------------------------------------


def frobenius(M: Reals) -> float:
    """At least the root of the sum of squares, whatever the order of the sum."""
    top = float(np.abs(M).max(initial=0))
    if top == 0:
        return 0.0
    squares = float(np.square(M / top).sum())  # at least 1: what underflows is negligible
    return top * float(np.sqrt(squares * (1 + M.size * 2.0**-52))) * OUTWARD


def spectral(M: Reals) -> float:
    """An upper bound of the spectral norm: ‖M‖₂⁴ = ‖(MᵀM)²‖₂ is at most ‖(MᵀM)²‖_F. The error of the two
    products is added: at most k·2⁻⁵³ of the same products of absolute values."""
    top = float(np.abs(M).max(initial=0))
    if top == 0:
        return 0.0
    H = M / top
    H = H if H.shape[0] >= H.shape[1] else H.T
    off = 1.1 * max(H.shape) * ROUNDING
    gram = H.T @ H
    size = np.sqrt(frobenius(gram.T @ gram) + off * frobenius(gram) ** 2)
    return top * float(np.sqrt(size + off * frobenius(H) ** 2)) * OUTWARD


# --- products of matrices -------------------------------------------------------------------------


@cache
def exact_products(multiply: Callable[[Reals, Reals], Reals] = np.matmul) -> bool:
    """Whether NumPy's library multiplies matrices of whole numbers exactly, where every sum is below 2⁵³. A
    library that uses fewer bits, or rounds otherwise, does not, and is not relied on."""
    draw = np.random.default_rng(0).integers
    for k in (3, 64, 127):
        top = isqrt(2**53 // k)  # so that sums of numbers of one sign come close to 2⁵³
        for low in (1 - top, top - 9):
            P, Q = draw(low, top, (17, k)), draw(low, top, (k, 19))
            found = multiply(P.astype(float), Q.astype(float))
            if not np.array_equal(found, (P @ Q).astype(float)):
                return False
    return True


class _Cut(NamedTuple):
    """A matrix in slices: `slices[i]` plus `rests[i + 1]` is `rests[i]`, and the last rest is only rounded.

    `norm` is, along the axis that was cut, at least 2^(bits·i) times the norm of `slices[i]`, and of
    `rests[i]`, for every i.
    """

    slices: list[Reals]
    rests: list[Reals]
    norm: Reals


def _cut(hi: Reals, lo: Reals, axis: int, bits: int, count: int) -> _Cut:
    """hi + lo in `count` slices of so many bits, along an axis from its greatest number down, and the rest.

    Adding 3·2^(m−1) to a number of less than 2^(m−1) and subtracting it again rounds the number to a multiple
    of 2^(m−52); the remainder is exact (Ozaki, Ogita, Oishi and Rump 2012).
    """
    size = np.abs(hi).max(axis=axis, keepdims=True, initial=0)
    top = np.ldexp(1.0, np.frexp(size)[1])  # no number exceeds it
    grid = top * 2.0 ** (1 - bits)
    rest, below = hi, lo
    slices: list[Reals] = []
    rests = [hi]
    while len(slices) < count and rest.any():
        shift = 1.5 * 2.0**52 * grid
        slice_ = (rest + shift) - shift  # rounds `rest` to a multiple of `grid`
        slices.append(slice_)
        rest, below = two_sum(rest - slice_, below)
        rests.append(rest)
        grid = grid * 2.0**-bits
    parts = [(x, i) for of in (slices, rests) for i, x in enumerate(of)]
    norms = [_norm(x / top * 2.0 ** (bits * i), axis) for x, i in parts]
    return _Cut(slices, rests, np.max(norms, axis=0) * top * OUTWARD)


def _norm(M: Reals, axis: int) -> Reals:
    """The norms along an axis, which is kept."""
    return np.asarray(np.sqrt(np.square(M).sum(axis=axis, keepdims=True)))


def sliced_product(
    P: tuple[Reals, Reals], Q: tuple[Reals, Reals], count: int = SLICES
) -> tuple[Reals, Reals, Reals]:
    """hi, lo and rad of the product of two matrices, or stacks of them, each of which is hi + lo.

    With P = ΣP_i + rest and Q = ΣQ_j + rest in `count` slices, the sum of P_i Q_j over i + j = n < count is
    of whole numbers below 2⁵³, in units of one power of two for each entry, and so has no error. What is
    left, P_i times what Q has beyond its first count − i slices, and the rest of P times Q, is computed in
    floats, and its error bounded: docs/tolerances.md.
    """
    k = P[0].shape[-1]
    bits = (53 - max(count * k - 1, 1).bit_length()) // 2
    left, right = _cut(*P, -1, bits, count), _cut(*Q, -2, bits, count)
    shape = (*np.broadcast_shapes(P[0].shape[:-2], Q[0].shape[:-2]), P[0].shape[-2], Q[0].shape[-1])
    orders = [
        [(left.slices[i], right.slices[n - i]) for i in range(n + 1)
         if i < len(left.slices) and n - i < len(right.slices)]
        for n in range(count)
    ]  # fmt: skip
    beyond = [
        (x, right.rests[count - i])
        for i, x in enumerate(left.slices)
        if count - i < len(right.rests)
    ]
    if len(left.rests) > count:
        beyond.append((left.rests[count], Q[0]))
    beyond = [(x, y) for x, y in beyond if x.any() and y.any()]
    sums = [_at_once(of, shape) for of in (*orders, beyond)]
    hi, lo, rad = _added(sums, shape)
    if beyond:
        terms = (count + 1) * k  # of each sum in floats, which may be made in any order
        size = (count + 1) * 2.0 ** (-bits * count) * left.norm * right.norm
        off = (terms + 4) * 2.0**-52 * size
        if (P[0] == 0).any() and (Q[0] == 0).any():
            off = np.where(_meet(P[0], Q[0]), off, 0.0)
        rad = rad + off
    return hi, lo, rad


def _at_once(of: Sequence[tuple[Reals, Reals]], shape: tuple[int, ...]) -> Reals:
    """The sum of the products of pairs of matrices, as one product."""
    if not of:
        return np.zeros(shape)
    if len(of) == 1:
        return np.asarray(of[0][0] @ of[0][1])
    left, right = (
        np.concatenate(x, axis) for x, axis in zip(zip(*of, strict=True), (-1, -2), strict=True)
    )
    return np.asarray(left @ right)


def _meet(P: Reals, Q: Reals) -> NDArray[np.bool_]:
    """Where some term of the product of two matrices is not 0."""
    there = (P != 0).astype(np.float32) @ (Q != 0).astype(np.float32)
    return np.asarray(there > 0)


def _added(sums: Sequence[Reals], shape: tuple[int, ...]) -> tuple[Reals, Reals, Reals]:
    """The sum of matrices, each much smaller than the one before, as hi + lo, and what that leaves."""
    hi, lo, rad = (np.empty(shape) for _ in range(3))
    rows = max(1, BLOCK // max(1, shape[-1]))  # at a time: they stay in the cache, which is faster
    for at in range(0, shape[-2], rows):
        part = (..., slice(at, at + rows), slice(None))
        h: Reals = sums[0][part]
        l = r = np.zeros(h.shape)
        for more in sums[1:]:
            h, e = two_sum(h, more[part])
            l, e = two_sum(l, e)
            r = r + np.abs(e)
        hi[part], lo[part], rad[part] = *two_sum(h, l), r
    return hi, lo, rad
