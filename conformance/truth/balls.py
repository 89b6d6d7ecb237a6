"""Real numbers with a proof: balls, and NumPy arrays that carry what balls enclose.

A ball is a midpoint and a radius (python-flint's `arb`, Johansson 2017): the exact value lies within. A float
is a ball of radius zero, so that a computation with floats encloses the exact result for those floats.
Working precision is global in FLINT, and only this module sets it; `certified` raises it until every value is
known far more closely than a unit in the last place of float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import flint
import numpy as np
from flint import arb, arb_mat
from numpy.typing import NDArray

__all__ = [
    "Ball",
    "Balls",
    "Enclosure",
    "certified",
    "enclosure",
    "interval",
    "matrix",
    "midpoints",
    "precision",
    "scalar",
    "union",
    "working_precision",
]

Ball: TypeAlias = Any  # flint.arb: python-flint ships no types
Balls: TypeAlias = Any  # flint.arb_mat

# bits, tried in this order until the value is known closely enough
PRECISIONS = (128, 256, 512, 1024, 2048, 4096)
NARROW = 2.0**-20  # in units in the last place of float64: how closely a value must be known


@dataclass(frozen=True)
class Enclosure:
    """The exact values lie within hi + lo ± rad, elementwise; float64 arrays of one shape.

    hi is the midpoint rounded to float64, lo what that rounding left over. Where the midpoint exceeds the
    range of float64, hi is ±inf; a radius below 5e-324, the smallest number, may be 0.
    """

    hi: NDArray[np.float64]
    lo: NDArray[np.float64]
    rad: NDArray[np.float64]

    def narrow(self) -> NDArray[np.bool_]:
        """Where the value is known to `NARROW` of a unit in the last place (of float64)."""
        with np.errstate(invalid="ignore", over="ignore"):
            ulp = np.spacing(np.abs(self.hi))
            return np.asarray(self.rad <= NARROW * ulp) | np.isinf(self.hi) | (self.rad <= 5e-324)

    def distance(self, value: NDArray[Any]) -> NDArray[np.float64]:
        """|value − midpoint|, elementwise; infinite where the value is NaN or infinite."""
        v = np.asarray(value, dtype=np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            d = np.abs((v - self.hi) - self.lo)
        return np.where(np.isnan(d), np.where(v == self.hi, 0.0, np.inf), d)

    def __getitem__(self, key: Any) -> Enclosure:
        return Enclosure(self.hi[key], self.lo[key], self.rad[key])


@contextmanager
def working_precision(bits: int) -> Any:
    """Set the working precision to that many bits in a `with` block."""
    before = flint.ctx.prec
    flint.ctx.prec = bits
    try:
        yield
    finally:
        flint.ctx.prec = before


def precision() -> int:
    """The working precision now, in bits."""
    return int(flint.ctx.prec)


def certified(
    compute: Callable[[], tuple[Enclosure, ...]],
    finite: bool = True,
    enough: Callable[[], bool] | None = None,
) -> tuple[Enclosure, ...]:
    """`compute` at the first precision at which all that it returns is narrow, or at which `enough()` holds;
    else at the last.

    What is not narrow even then is not guessed: `Enclosure.narrow` says where, and the judge calls it
    undecided. If what `compute` starts from is not `finite`, a NaN counts as narrow.
    """
    for bits in PRECISIONS:
        with working_precision(bits):
            found = compute()
        if all(bool((e.narrow() | (not finite and np.isnan(e.hi))).all()) for e in found):
            break
        if enough is not None and enough():
            break
    return found


def scalar(x: float) -> Ball:
    """The float x as a ball of radius zero. `arb` refuses np.float32: hence float()."""
    return arb(float(x))


def interval(low: float, high: float) -> Ball:
    """A ball that holds [low, high]; of radius zero where that is one float."""
    return arb(low) if low == high else arb(low).union(arb(high))


def matrix(M: NDArray[Any]) -> Balls:
    """A matrix of floats as balls of radius zero. A vector becomes one row."""
    M = np.atleast_2d(M)
    return arb_mat(M.shape[0], M.shape[1], M.astype(np.float64).ravel().tolist())


def union(balls: Iterable[Ball]) -> Ball:
    """The smallest ball that holds them all."""
    first, *rest = balls
    for other in rest:
        first = first.union(other)
    return first


def enclosure(balls: Sequence[Ball], shape: tuple[int, ...]) -> Enclosure:
    """Balls, in row-major order, as an Enclosure of that shape. The rounding of lo is added to rad."""
    hi = midpoints(balls, (len(balls),))
    finite = np.isfinite(hi)  # else beyond the range of float64, or not a number at all
    left = _row(balls) - _row(np.where(finite, hi, 0.0).tolist())
    balls = left.entries()
    lo = midpoints(balls, hi.shape)
    rad = np.array([float(b.rad()) for b in balls]) + np.abs(lo) * 2.0**-52
    rad += np.where(lo != 0, 5e-324, 0.0)
    for i in np.flatnonzero(lo == 0).tolist():
        if balls[i].mid() != 0:  # too small for a float
            rad[i] += 5e-324
    lo = np.where(finite, lo, 0.0)
    rad = np.where(finite, rad, np.where(np.isnan(hi), np.inf, 0.0))
    return Enclosure(hi.reshape(shape), lo.reshape(shape), rad.reshape(shape))


def midpoints(balls: Sequence[Ball], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The midpoints of balls, rounded to float64, for tolerances, which need no proof."""
    return np.array(list(map(float, balls)), np.float64).reshape(shape)


def _row(entries: Sequence[Any]) -> Balls:
    return arb_mat(1, len(entries), entries)
