"""A function and its derivatives at many floats, certified; and what rounding may do to it there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conformance.commands.activation.balls import BALLS
from conformance.commands.activation.lifted import evaluate
from conformance.truth.balls import Enclosure, enclosure, scalar, working_precision
from conformance.truth.taylor import Taylor, UndecidedError, branching, variable

__all__ = ["Curve", "curve"]

Reals = NDArray[np.float64]
BITS = (128, 384, 1536)


@dataclass(frozen=True)
class Curve:
    """σ, σ', σ'' at points; where `known` is False no narrow enclosure was found, or there is no value.

    e, k, s: what the operations of the function itself may be off by, each rounded once: in units of u,
    of that through constants alone, and through underflow in units of the smallest normal number; k1: what
    constants do to σ'.
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


def _evaluated(f: Callable[[Any], Any], x: Sequence[float], dtype: str) -> list[Taylor | None]:
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


def curve(
    f: Callable[[Any], Any], x: Reals, derivative: bool = True, dtype: str = "float64"
) -> Curve:
    """f at every x, at the first precision at which it is known there far below a unit in the last place.

    `dtype` is what f is told that x is. Raises UnsupportedError for what cannot be evaluated, and whatever
    f raises.
    """
    x = np.asarray(x, np.float64)
    n = len(x)
    parts = {
        name: np.full(n, np.nan)
        for name in ("v", "vl", "vr", "d", "dl", "dr", "h", "e", "k", "s", "k1")
    }
    known = np.zeros(n, bool)
    left = np.arange(n)
    for bits in BITS:
        if not len(left):
            break
        with working_precision(bits):
            found = _evaluated(f, x[left].tolist(), dtype)
            value, first = _enclosed(found)
            second = [np.nan if t is None else 2 * float(t.c2) for t in found]
        for name, column in (
            ("v", value.hi), ("vl", value.lo), ("vr", value.rad),
            ("d", first.hi), ("dl", first.lo), ("dr", first.rad), ("h", second),
            ("e", [np.nan if t is None else t.e for t in found]),
            ("k", [np.nan if t is None else t.k for t in found]),
            ("s", [np.nan if t is None else t.s for t in found]),
            ("k1", [np.nan if t is None else t.k1 for t in found]),
        ):  # fmt: skip
            parts[name][left] = column
        good = value.narrow() & ~np.isnan(value.hi)
        if derivative:
            good &= first.narrow() & ~np.isnan(first.hi)
        known[left] = good
        left = left[~good]
    p = parts
    return Curve(
        Enclosure(p["v"], p["vl"], p["vr"]), Enclosure(p["d"], p["dl"], p["dr"]),
        p["h"], p["e"], p["k"], p["s"], p["k1"], known,
    )  # fmt: skip
