"""Sums and products of floats without an error, or with a known one.

The error of a rounded sum of two floats is a float, and so is that of a product, if nothing overflows or
underflows and every operation is rounded to nearest. Matrices are multiplied in slices of so few bits that
every sum of products is exact, by any BLAS and in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "OUTWARD",
    "ROUNDING",
    "exact_products",
    "frobenius",
    "outward",
    "sliced_product",
    "spectral",
    "two_product",
    "two_sum",
]

Reals = NDArray[np.float64]

ROUNDING = 2.0**-53  # unit roundoff of float64
OUTWARD = 1 + 2.0**-40  # a bound takes fewer than 8,000 operations, each off by 2⁻⁵³
UNDERFLOW = 2.0**-500  # more than all that underflows; a radius that is not 0 is at least as large
SPLIT = 2.0**27 + 1  # Dekker's factor: it splits 53 bits into halves of 26
SLICES = 5
BLOCK = 2**14  # numbers at a time: they stay in the cache, which is faster


def two_sum(a: Reals, b: Reals) -> tuple[Reals, Reals]:
    """a + b, rounded, and its error, which is a float (Knuth 1969, theorem 4.2.2 B)."""
    s = a + b
    v = s - a
    return s, (a - (s - v)) + (b - v)


def two_product(a: Reals, b: Reals) -> tuple[Reals, Reals]:
    """a·b, rounded, and its error, which is a float (Dekker 1971; each factor in halves)."""
    p = a * b
    c = SPLIT * a
    a1 = c - (c - a)
    a2 = a - a1
    c = SPLIT * b
    b1 = c - (c - b)
    b2 = b - b1
    return p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2


def outward(rad: Reals) -> Reals:
    """A radius at least as large; 0 is exact, and stays 0."""
    return np.where(rad > 0, rad * OUTWARD + UNDERFLOW, 0.0)


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
    for k in (3, 64, 129):
        top = 2 ** ((53 - k.bit_length()) // 2)
        P, Q = draw(1 - top, top, (17, k)), draw(1 - top, top, (k, 19))
        if not np.array_equal(multiply(P.astype(float), Q.astype(float)), (P @ Q).astype(float)):
            return False
    return True


def _slices(hi: Reals, lo: Reals, axis: int, bits: int) -> tuple[list[Reals], Reals, bool]:
    """hi + lo in slices of so many bits, along an axis from its greatest number down; the size of that
    number, as a power of two; and whether a remainder is left.

    Adding 3·2^(m−1) to a number of less than 2^(m−1) and subtracting it again rounds the number to a multiple
    of 2^(m−52); the remainder is exact (Ozaki, Ogita, Oishi and Rump 2012).
    """
    size = np.abs(hi).max(axis=axis, keepdims=True, initial=0)
    top = np.ldexp(1.0, np.frexp(size)[1])
    grid = top * 2.0 ** (1 - bits)
    left, rest = hi, lo
    slices: list[Reals] = []
    more = bool(left.any())
    while more and len(slices) < SLICES:
        shift = 1.5 * 2.0**52 * grid
        slice_ = (left + shift) - shift  # rounds `left` to a multiple of `grid`
        slices.append(slice_)
        left, rest = two_sum(left - slice_, rest)
        grid = grid * 2.0**-bits
        more = bool(left.any())
    return slices, top, more


def sliced_product(P: tuple[Reals, Reals], Q: tuple[Reals, Reals]) -> tuple[Reals, Reals, Reals]:
    """hi, lo and rad of the product of two matrices, or stacks of them, each of which is hi + lo.

    Products of slices are sums of whole numbers below 2⁵³, in units of one power of two for each entry.
    Products that are too small to matter are left out, and bounded.
    """
    k = P[0].shape[-1]
    bits = (53 - max(k - 1, 1).bit_length()) // 2
    (left, p, more_p), (right, q, more_q) = _slices(*P, -1, bits), _slices(*Q, -2, bits)
    shape = (*np.broadcast_shapes(P[0].shape[:-2], Q[0].shape[:-2]), P[0].shape[-2], Q[0].shape[-1])
    kept = [
        (i, n - i)
        for n in range(SLICES)
        for i in range(n + 1)
        if i < len(left) and n - i < len(right)
    ]
    dropped = more_p or more_q or len(kept) < len(left) * len(right)
    hi, lo, rad = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    rows = max(1, BLOCK // max(1, shape[-1]))  # at a time: they stay in the cache, which is faster
    for at in range(0, shape[-2], rows):
        part = (..., slice(at, at + rows), slice(None))
        h, l, r = hi[part], lo[part], rad[part]
        for i, j in kept:
            h, e = two_sum(h, left[i][part] @ right[j])
            l, e = two_sum(l, e)
            r = r + np.abs(e)
        hi[part], lo[part], rad[part] = *two_sum(h, l), r
    if dropped:
        there = (P[0] != 0).astype(np.float64) @ (Q[0] != 0).astype(np.float64) > 0
        rad = rad + there * (p * q) * (k * (2 * SLICES + 4) * 2.0 ** (-bits * SLICES))
    return hi, lo, rad
