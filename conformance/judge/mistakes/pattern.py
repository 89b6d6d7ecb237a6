"""Describes how an error is distributed over a matrix, if it is the outcome of no known mistake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from conformance.model.problem import Floats, Problem

__all__ = ["pattern"]

Mask = NDArray[np.bool_]


class Pattern(NamedTuple):
    """What the error looks like, and what to do about it."""

    text: str
    advice: str


DOMAIN = "Look for 0/0, ∞ − ∞ or log 0 in this step."
NEVER = "It was never computed, or never stored: look at the bounds of the loop."
SIGN = "Look for a minus that is missing or one too many."
CONSTANT = "Look for a constant that is missing or counted twice."
CAST = "Look for an array that was made without a dtype, or a cast."
BRANCH = "Look at what the code does differently there: a branch, a mask, the end of a loop."
BY_HAND = (
    "Compute this step by hand: `conformance show` prints its operands, and what it should give."
)


def pattern(
    value: Floats, right: Floats, tolerance: Floats, p: Problem, A: Floats | None, quantity: str
) -> tuple[str, str]:
    """(what the error looks like, what to do about it), by the first pattern that fits.

    `value` and `right` are the matrix as it is and as it should be, n×d or shaped like W_l, `A` is A_l, for
    patterns such as "only where A < 0"; None where there is none.
    """
    wrong: Mask = ~(np.abs(value - right) <= tolerance)  # so that NaN is wrong
    tests: list[Callable[[], Pattern | None]] = [
        lambda: _not_finite(value, right),
        lambda: _factor(value, right, tolerance, wrong, p),
        lambda: _precision(value, right, wrong, p),
        lambda: _place(wrong, quantity),
        lambda: _sides(wrong, A),
        lambda: _by_axis(value, right, wrong, quantity),
        lambda: _offset(value, right, tolerance, wrong),
    ]
    first = next((fitting for test in tests if (fitting := test())), None)
    size = f"{int(wrong.sum())} of {wrong.size} elements are wrong{_relative(value, right)}"
    if first is None:
        return f"{size}, in no simple pattern", BY_HAND
    return f"{first.text}; {size}", first.advice


def _relative(value: Floats, right: Floats) -> str:
    """The size of the largest error, in words, if it is finite."""
    largest, off = float(np.abs(right).max(initial=0)), float(np.abs(value - right).max(initial=0))
    if not np.isfinite(off):
        return ""
    return f", by up to {off / largest:.1e} of the largest" if largest else f", by up to {off:.1e}"


def _not_finite(value: Floats, right: Floats) -> Pattern | None:
    bad = ~np.isfinite(value) & np.isfinite(right)
    if not bad.any():
        return None
    kind, advice = ("NaN", DOMAIN) if np.isnan(value[bad]).all() else ("infinite or NaN", BY_HAND)
    return Pattern(f"its elements are {kind} in {int(bad.sum())} of {bad.size} places", advice)


def _factor(
    value: Floats, right: Floats, tolerance: Floats, wrong: Mask, p: Problem
) -> Pattern | None:
    """All elements are multiplied by one factor."""
    known = np.abs(right) > 0
    if not known.any() or not np.isfinite(value).all():
        return None
    i = np.unravel_index(np.argmax(np.abs(right)), right.shape)
    c = float(value[i] / right[i])
    u = float(np.finfo(p.dtype).eps)
    off = np.abs(value - c * right)
    if not (off <= 8 * tolerance * max(1, abs(c)) + 8 * u * np.abs(value)).all():
        return None
    if not wrong[known].all() and abs(c - 1) < 1e-6:
        return None
    if c == 0:
        return Pattern("it is 0 everywhere", NEVER)
    if abs(c + 1) < 1e-6:
        return Pattern("it has the other sign", SIGN)
    return Pattern(f"it is {_named_factor(c, p)} times what it should be", CONSTANT)


def _named_factor(c: float, p: Problem) -> str:
    n, d = len(p.X), p.Y.shape[1]
    names = {"n": n, "1/n": 1 / n, "d_L": d, "1/d_L": 1 / d, "n·d_L": n * d, "α": p.alpha}
    name = next((name for name, x in names.items() if x != 1 and abs(c - x) < 1e-5 * abs(x)), "")
    digits = f"{c:.6g}" if abs(c - 1) > 1e-5 else f"1 {'+' if c > 1 else '−'} {abs(c - 1):.1e}"
    return f"{digits} (= {name})" if name else digits


def _precision(value: Floats, right: Floats, wrong: Mask, p: Problem) -> Pattern | None:
    """Every number is a float of fewer bits, and only slightly off."""
    if np.abs(value - right).max(initial=0) > 0.01 * np.abs(right).max(initial=0):
        return None
    for name in ("float16", "float32"):
        narrow = np.dtype(name)
        if narrow.itemsize >= p.dtype.itemsize or not np.isfinite(value).all():
            continue
        with np.errstate(over="ignore"):
            if (value.astype(narrow).astype(float) == value).all():
                return Pattern(f"each of its numbers is a {name}", CAST)
    return None


def _place(wrong: Mask, quantity: str) -> Pattern | None:
    """Only one element, row or column is wrong."""
    if wrong.ndim != 2 or wrong.all():
        return None
    rows, columns = np.flatnonzero(wrong.any(axis=1)), np.flatnonzero(wrong.any(axis=0))
    if len(rows) == len(columns) == 1:
        return Pattern(f"only the element [{rows[0]}, {columns[0]}] is wrong", BRANCH)
    what = "input unit" if quantity in ("dW", "W_new") else "example"
    if len(rows) == 1 and wrong.shape[0] > 1:
        return Pattern(f"only row {rows[0]} is wrong, of one {what}", BRANCH)
    if len(columns) == 1 and wrong.shape[1] > 1:
        return Pattern(f"only column {columns[0]} is wrong, of one unit", BRANCH)
    return None


def _sides(wrong: Mask, A: Floats | None) -> Pattern | None:
    """Only elements are wrong at which A is negative, positive, zero or large."""
    if A is None or A.shape != wrong.shape or wrong.all():
        return None
    for words, mask in _regions(np.asarray(A, float)):
        some = mask.any() and not mask.all()
        if some and (wrong <= mask).all() and wrong.sum() >= mask.sum() / 2:
            return Pattern(f"only where {words}", BRANCH)
    return None


def _regions(A: Floats) -> Iterator[tuple[str, Mask]]:
    yield "A = 0", A == 0
    yield "A < 0", A < 0
    yield "A > 0", A > 0
    for c in (20, 10, 5, 3):
        yield f"|A| > {c}", np.abs(A) > c


def _by_axis(value: Floats, right: Floats, wrong: Mask, quantity: str) -> Pattern | None:
    """Each row or column has a factor of its own."""
    if value.ndim != 2 or min(value.shape) < 2 or (right == 0).any():
        return None
    r = value / right
    what = "input unit" if quantity in ("dW", "W_new") else "example"
    for axis, words in ((1, f"row ({what})"), (0, "column (unit)")):
        middle = np.median(r, axis=axis, keepdims=True)
        # relative to the error: where that is small, all factors are nearly 1 and look equal
        if (np.abs(r - middle) <= 1e-3 * np.abs(middle - 1)).all():
            return Pattern(f"each {words} has a factor of its own", BY_HAND)
    return None


def _offset(value: Floats, right: Floats, tolerance: Floats, wrong: Mask) -> Pattern | None:
    """One number is added to all elements."""
    off = value - right
    c = float(np.median(off))
    equal = (np.abs(off - c) <= 1e-6 * abs(c) + 4 * tolerance).all()
    if wrong.all() and value.size > 1 and c and equal:
        return Pattern(f"it is {c:.6g} more than it should be, in every element", BY_HAND)
    return None
