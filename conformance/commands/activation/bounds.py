"""How far a value or a derivative may be from the certified one, by rounding alone.

Where the code is NumPy's, what rounding explains follows from the code itself (`Curve.tolerance`). For code
that cannot be evaluated on balls (autograd, a fused kernel), the bound is made of the sizes of the parts that
any formula for σ' has: σ', σ, the argument's own rounding through σ'', and terms of σ's scale that cancel.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from conformance.commands.activation.branches import Branch
from conformance.commands.activation.curve import Curve
from conformance.truth.balls import Enclosure
from conformance.truth.rounding import Reals

__all__ = [
    "Mask",
    "Precision",
    "continued",
    "hulls",
    "reach",
    "rounded_argument",
    "scale",
    "unseen_derivative",
    "unseen_value",
]

Mask: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Precision:
    """A dtype's arithmetic: unit roundoff, smallest normal, smallest and largest positive numbers."""

    name: str
    u: float
    normal: float
    tiny: float
    largest: float

    @classmethod
    def of(cls, dtype: str) -> Precision:
        """IEEE 754's float64 and float32, and bfloat16, which NumPy does not have."""
        if dtype == "bfloat16":
            return cls(dtype, 2.0**-8, 2.0**-126, 2.0**-133, (2 - 2.0**-7) * 2.0**127)
        f = np.finfo(dtype)
        numbers = (f.eps / 2, f.smallest_normal, f.smallest_subnormal, f.max)
        return cls(dtype, *map(float, numbers))

    def ulp(self, x: Reals) -> Reals:
        """One unit in the last place at x, of this dtype."""
        with np.errstate(all="ignore"):
            exponent = np.frexp(np.minimum(np.abs(x), self.largest))[1]
            return np.asarray(np.maximum(np.ldexp(2 * self.u, exponent - 1), self.tiny))


def continued(c: Curve, of: Iterable[Branch], x: Reals) -> Curve:
    """The curve with the values of the left side at branch points where the function itself has no value.

    At a smooth branch point, σ' is the number that both sides agree on; elsewhere only unknown numbers are
    filled in.
    """
    value, first, second = _writable(c.value), _writable(c.first), c.second.copy()
    for b in of:
        at = x == b.at
        agreed = at & (b.exact and b.kind == "smooth") | (at & np.isnan(first.hi))
        if agreed.any() and np.isfinite(b.left.first):
            first.hi[agreed], first.lo[agreed] = b.left.first, 0.0
            first.rad[agreed] = np.spacing(abs(b.left.first))
            second[agreed] = max(abs(b.left.second), abs(b.right.second))
        lost = at & np.isnan(value.hi)
        if lost.any() and np.isfinite(b.left.value):
            value.hi[lost], value.lo[lost] = b.left.value, 0.0
            value.rad[lost] = np.spacing(abs(b.left.value))
    return replace(c, value=value, first=first, second=second)


def _writable(e: Enclosure) -> Enclosure:
    return Enclosure(e.hi.copy(), e.lo.copy(), e.rad.copy())


def scale(c: Curve, x: Reals) -> float:
    """The size of σ' where most values are, at most 1: a far smaller error makes no difference to a
    network."""
    body = (np.abs(x) <= 10) & np.isfinite(c.first.hi)
    most = float(np.abs(c.first.hi[body]).max(initial=0.0))
    return min(1.0, most) or 1.0


def rounded_argument(f: Reals, slope: Reals, x: Reals, p: Precision) -> Reals:
    """16u(|f| + |x f'|), what a few roundings of x and of f(x) do to any formula of f."""
    with np.errstate(all="ignore"):
        return np.asarray(16 * p.u * (np.abs(f) + np.abs(x * slope)))


def unseen_value(c: Curve, x: Reals, p: Precision) -> Reals:
    """16u(|σ| + |x σ'|) + 8u·scale, and a few smallest normal numbers."""
    with np.errstate(all="ignore"):
        t = 16 * p.u * (np.abs(c.value.hi) + np.abs(x * c.first.hi)) + 8 * p.u * scale(c, x)
        t += 4 * p.normal * (1 + np.abs(x))
    return np.asarray(np.where(np.isnan(t), np.inf, t))


LOOSE = 16.0
"""In u: what JAX's float64 tanh loses near saturation (6.4 measured; its own terms x(1 − t²) double that)."""


def unseen_derivative(c: Curve, x: Reals, p: Precision, way: str = "") -> Reals:
    """u(16|σ'| + 16|x σ''| + 8|σ| + 18·scale), and a few smallest normal numbers.

    For JAX also 16u|x|·scale up to |x| = 40: its tanh does not saturate to the last bit, and x times that
    error is a term of every gated σ'.
    """
    with np.errstate(all="ignore"):
        t = p.u * (16 * np.abs(c.first.hi) + 16 * np.abs(x * c.second) + 18 * scale(c, x))
        t += 8 * p.u * np.minimum(np.abs(c.value.hi), 1 / p.u)
        if way == "jax":
            t += LOOSE * p.u * scale(c, x) * np.where(np.abs(x) <= 40, np.abs(x), 0)
        t += 4 * p.normal * (1 + np.abs(x))
    return np.asarray(np.where(np.isnan(t), np.inf, t))


def reach(b: Branch, p: Precision) -> float:
    """How far from a branch point rounding may decide the side; 0 if x is compared with a number of the
    dtype.

    It is a few units in the last place if the point is not a number of the dtype, and twice the distance that
    the error of the comparison amounts to: x + 2 < 2 is decided by rounding for |x| below 2u.
    """
    given = float(np.float32(b.at)) if p.name == "float32" else b.at
    if b.exact and not b.reach and given == b.at:
        return 0.0
    ulps = 16 * float(p.ulp(np.array([max(abs(b.at), p.normal)]))[0])
    return max(ulps, 2 * p.u * b.reach)


def hulls(of: Iterable[Branch], x: Reals, first: Reals, p: Precision) -> tuple[Reals, Reals, Mask]:
    """The least and the greatest derivative allowed at each x, and where that is more than σ'(x): at kinks,
    where every number between the one-sided derivatives is allowed.

    Beside a kink the side is known, unless rounding decides it (`reach`): then both sides are allowed.
    """
    low, high = first.copy(), first.copy()  # `first` is from a curve that is `continued`
    touched = np.zeros(len(x), bool)
    for b in of:
        if b.kind == "smooth":
            continue
        far = reach(b, p)
        at = np.abs(x - b.at) <= far
        sides = [s for s in b.hull if np.isfinite(s)]
        if not sides:
            touched |= at
            low[at], high[at] = -np.inf, np.inf
            continue
        low[at] = np.fmin(low[at], min(sides)) if far else min(sides)
        high[at] = np.fmax(high[at], max(sides)) if far else max(sides)
        touched |= at
    return low, high, touched
