"""A function and its derivatives at many floats, certified; and what rounding may do to it there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conformance.commands.activation.balls import BALLS
from conformance.commands.activation.evaluate import evaluate
from conformance.commands.activation.lifted import Function
from conformance.truth.balls import Enclosure, enclosure, scalar, working_precision
from conformance.truth.rounding import Reals
from conformance.truth.taylor import Taylor, UndecidedError, branching, variable

__all__ = ["Curve", "curve"]

BITS = (128, 384, 1536)  # precisions, tried in this order


@dataclass(frozen=True)
class Curve:
    """A function, and its first two derivatives, at points; `known` is False where no narrow enclosure was
    found, or where there is no value.

    e, k, s and k1 bound the error of the function's operations, each rounded once: e in units of u; k is the
    part of e that constants cause; s is the part through underflow, in units of the smallest normal number.
    k1 is what constants cause in the first derivative, in units of u.
    """

    value: Enclosure
    first: Enclosure
    second: Reals
    e: Reals
    k: Reals
    s: Reals
    k1: Reals
    known: NDArray[np.bool_]

    def tolerance(self, u: float, normal: float) -> Reals:
        """Twice the first-order bound of the running error analysis: what rounding explains."""
        with np.errstate(invalid="ignore", over="ignore"):
            t = 2 * (self.e * u + self.s * normal) + u * np.abs(self.value.hi)
        return np.asarray(np.where(np.isnan(t), np.inf, t))


def _evaluated(f: Function, x: Sequence[float], dtype: str) -> list[Taylor | None]:
    """f at floats; None where a comparison could not be decided."""
    data = np.empty(len(x), object)
    for i, v in enumerate(x):
        data[i] = variable(scalar(v))
    try:
        with branching():
            return list(evaluate(f, BALLS, data, dtype).ravel())
    except UndecidedError:
        if len(x) == 1:
            return [None]
        half = len(x) // 2
        return _evaluated(f, x[:half], dtype) + _evaluated(f, x[half:], dtype)


_NOTHING = scalar(float("nan"))


def _enclosed(found: Sequence[Taylor | None]) -> tuple[Enclosure, Enclosure]:
    shape = (len(found),)
    value = enclosure([_NOTHING if t is None else t.c0 for t in found], shape)
    first = enclosure([_NOTHING if t is None else t.c1 for t in found], shape)
    return value, first


def curve(f: Function, x: Reals, derivative: bool = True, dtype: str = "float64") -> Curve:
    """f at every x, at the first precision at which it is known there far more closely than a unit in the
    last place.

    `derivative`: its derivative must be known as closely. `dtype` is that of the array that f sees. Raises
    UnsupportedError for what cannot be evaluated, and whatever f raises.
    """
    x = np.asarray(x, np.float64)
    n = len(x)
    columns = np.full((11, n), np.nan)  # in the order of Curve's fields
    known = np.zeros(n, bool)
    left = np.arange(n)  # the points at which f is not known yet
    for bits in BITS:
        if not len(left):
            break
        with working_precision(bits):
            found = _evaluated(f, x[left].tolist(), dtype)
            value, first = _enclosed(found)
            others = [
                [np.nan] * 5 if t is None else [2 * float(t.c2), t.e, t.k, t.s, t.k1] for t in found
            ]
        enclosures = (value.hi, value.lo, value.rad, first.hi, first.lo, first.rad)
        columns[:, left] = [*enclosures, *np.transpose(others)]
        good = value.narrow() & ~np.isnan(value.hi)
        if derivative:
            good &= first.narrow() & ~np.isnan(first.hi)
        known[left] = good
        left = left[~good]
    second, e, k, s, k1 = columns[6:]
    value, first = Enclosure(*columns[:3]), Enclosure(*columns[3:6])
    return Curve(value, first, second, e, k, s, k1, known)
