"""What rounding does: the arithmetic, what one rounding may lose, and which errors are alike.

u is the unit roundoff of the dtype, `tiny` its smallest positive number (gradual underflow loses at most half
of it in an operation), `normal` its smallest normal one. Rounding is a function of its operands: where
operands are the same, so are errors. `signed` therefore draws the sign of an error from the operands' bits,
and `alike` says how many terms of a sum err together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ALGEBRAIC",
    "DRAWS",
    "ENDS",
    "EXACT",
    "ROUNDED",
    "Accuracy",
    "Arithmetic",
    "Model",
    "Reals",
    "alike",
    "keys",
    "rms",
    "signed",
    "signs",
]

Reals = NDArray[np.float64]
Keys = NDArray[np.uint64]


def _bfloat16(x: Reals) -> Reals:
    """Rounded to eight bits, ties to even."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    # adds half a unit of the last bit that is kept, or just less if that bit is 0: ties go to even
    kept = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(
        0xFFFF0000
    )
    return np.where(np.isfinite(x), kept.view(np.float32), x).astype(np.float64)


ROUNDED: Mapping[str, Callable[[Reals], Reals]] = {
    "float64": lambda x: np.asarray(x, np.float64),
    "float32": lambda x: np.asarray(x, np.float32).astype(np.float64),
    "float16": lambda x: np.asarray(x, np.float16).astype(np.float64),
    "bfloat16": _bfloat16,
}
"""Every dtype that is judged: how it rounds, to nearest."""

ALGEBRAIC = (
    "identity", "relu", "leaky_relu", "softsign", "hardtanh", "relu6", "hardsigmoid",
    "square", "absolute", "huber", "minus", "minus_log", "minus_log1m",
)  # fmt: skip
"""Functions without exponentials: no intermediate leaves the range before the function does."""


FEW = 4
"""How many roundings of a function without exponentials may each lose to underflow: a few products."""


DRAWS = 32
"""How many sets of random rounding errors the root mean square is taken over."""


ENDS = 64.0
"""Where every activation in the table is flat or straight in double precision: e^−64 < u/10."""


@dataclass(frozen=True)
class Accuracy:
    """What one evaluation of f and f' may lose: u(c|f| + e|a| + h) and u(c'|f'| + g|f| + d + f|a|).

    The sizes |a|, and |f| in the bound for f', count up to `ends`: beyond it f is flat or a straight line to
    the last bit, and the losses are in proportion to f and f' themselves. Without an end a derivative of 1
    could pass for 2 where |a| is 1/u.
    """

    c: float
    e: float
    c1: float
    g: float
    d: float
    f: float
    h: float = 0.0  # 0 for every implementation in the table
    ends: float = np.inf

    def value(self, u: float, f: Any, a: Any) -> tuple[Any, ...]:
        """What f may lose at a, term by term, with signs as they are."""
        return u * self.c * f, u * self.e * self._within(a), u * self.h

    def slope(self, u: float, f: Any, f1: Any, a: Any) -> tuple[Any, ...]:
        """What f' may lose at a, term by term."""
        return (
            u * self.c1 * f1,
            u * self.g * self._within(f),
            u * self.d,
            u * self.f * self._within(a),
        )

    def _within(self, x: Any) -> Any:
        return np.clip(x, -self.ends, self.ends)


EXACT = Accuracy(0, 0, 0, 0, 0, 0)
"""The accuracy of a function that loses nothing."""


@dataclass(frozen=True)
class Arithmetic:
    """The floating-point arithmetic that the bounds are for."""

    u: float
    tiny: float  # what one sum or product may lose to underflow
    normal: float  # the smallest normal number: what an intermediate of f may lose at either end
    largest: float = field(default=np.inf, compare=False)  # a number beyond it may become infinite
    accumulator: float | None = (
        None  # the u in which sums and products are accumulated, if it is another
    )
    factors: float = 0.0  # the u that the factors of a matrix product are rounded to (TF32), or 0

    @classmethod
    def of(cls, dtype: np.dtype[Any], flushes: bool = False) -> Arithmetic:
        """IEEE 754 of that dtype; where subnormals are flushed to zero, an operation may lose a whole normal
        number."""
        f = np.finfo(dtype)
        normal = float(f.smallest_normal)
        least = normal if flushes else float(f.smallest_subnormal)
        return cls(float(f.eps) / 2, least, normal, float(f.max))

    @classmethod
    def named(cls, dtype: str, flushes: bool = False) -> Arithmetic:
        """The arithmetic of float64, float32, float16 or bfloat16.

        The two of 16 bits are computed in float32 and rounded: an intermediate loses no normal number.
        """
        if dtype == "bfloat16":
            return cls(2.0**-8, 2.0**-133, 2.0**-133, float(2 - 2.0**-7) * 2.0**127)
        found = cls.of(np.dtype(dtype), flushes)
        return replace(found, normal=found.tiny) if dtype == "float16" else found

    @property
    def sums(self) -> float:
        """The u in which sums are accumulated."""
        return self.u if self.accumulator is None else self.accumulator

    @property
    def flushed(self) -> float:
        """The error of an operand before any operation: none, unless subnormal numbers are read as 0."""
        return self.tiny if self.tiny == self.normal else 0.0

    def lost(self, name: str, a: Reals) -> Reals:
        """What f or f' may lose to underflow at a, times 1 + |a|.

        A whole normal number where an exponential may underflow, which it does not for |a| < 1; else what a
        few products may lose.
        """
        size = np.abs(a)
        ends = (size >= 1) & (name not in ALGEBRAIC)
        return np.asarray(np.where(ends, self.normal, FEW * self.tiny) * (1 + size))


@dataclass
class Model:
    """What decides how the errors of a tape are read.

    `worst`: bounds that hold for any order of a sum and any sign of a rounding; else root mean squares over
    random signs. `unrounded`: a marked value may be passed on before it is rounded. `reach` is how many
    errors from a kink still count as at it; `straddling` counts the entries there. `free`: of equal numbers,
    each may be the greatest; else they share a gradient as the tape says. Without `sides`, every number stays
    on its own side of a kink. `afresh`: a backward pass may evaluate a softmax again, by another formula.
    """

    arithmetic: Arithmetic
    accuracy: Callable[[str], Accuracy]
    worst: bool = False
    unrounded: bool = False
    reach: float = 1.0
    free: bool = True
    sides: bool = True
    afresh: bool = False
    straddling: int = field(default=0, init=False)
    dtypes: Mapping[str, Arithmetic] = field(
        default_factory=dict
    )  # of a tape that has more than one
    _others: dict[str, Model] = field(default_factory=dict, init=False)

    def of(self, dtype: str | None) -> Model:
        """The same model for what is rounded to another dtype."""
        if dtype is None or dtype not in self.dtypes:
            return self
        if dtype not in self._others:
            self._others[dtype] = replace(self, arithmetic=self.dtypes[dtype], dtypes={})
        return self._others[dtype]

    @property
    def straddled(self) -> int:
        """Entries within reach of a kink, of all dtypes."""
        return self.straddling + sum(m.straddling for m in self._others.values())

    @property
    def u(self) -> float:
        return self.arithmetic.u


# --- which errors are alike -----------------------------------------------------------------------


def alike(terms: Reals, u: float, axis: int) -> Reals:
    """Σ n_v² over the groups of like numbers along an axis, kept as an axis of length 1.

    It is k if all k differ, and k² if all are the same; zeros, which add nothing and round nothing, are not
    counted. Numbers are alike if they are within about 4·k·u of one another: next to a partial sum of k such
    terms they differ by less than a few units in its last place, so that every addition of one errs like the
    last.
    """
    x = np.moveaxis(np.asarray(terms, np.float64), axis, -1)
    k = x.shape[-1]
    if k < 2:
        there = (x != 0).sum(axis=-1, keepdims=True)  # 0 for no terms, and for a zero
        return np.moveaxis(there.astype(np.float64), -1, axis)
    mantissa, exponent = np.frexp(np.where(np.isfinite(x), x, 0.0))
    steps = 2.0 ** np.floor(-np.log2(2 * k * u))  # bins of 2ku of a mantissa in [½, 1)
    bins = np.sort(np.ldexp(np.rint(mantissa * steps), exponent), axis=-1)
    place = np.arange(k)
    first = np.ones(bins.shape, np.bool_)
    first[..., 1:] = bins[..., 1:] != bins[..., :-1]
    start = np.maximum.accumulate(np.where(first, place, 0), axis=-1)
    rank = place - start + 1.0  # Σ over a group of (2·rank − 1) is its size squared
    total = np.where(bins == 0, 0.0, 2 * rank - 1).sum(axis=-1, keepdims=True)
    return np.moveaxis(total, -1, axis)


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2⁶⁴ over the golden ratio: the increment of splitmix64


def _mixed(x: Keys) -> Keys:
    """splitmix64's finaliser (Steele, Lea, Flood 2014): every bit of x flips half of the result's bits."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def keys(x: Any, salt: int) -> Keys:
    """A hash of every number's bits; −0 is 0."""
    bits = (np.asarray(x, np.float64) + 0.0).view(np.uint64)
    with np.errstate(over="ignore"):
        return _mixed(bits + np.uint64(salt + 1) * _GOLDEN)


def along(x: Any, salt: int, axis: int) -> Keys:
    """A hash of all the numbers along an axis, in their order; the axis is kept, of length 1."""
    x = np.moveaxis(np.asarray(x, np.float64), axis, -1)
    place = _mixed(np.arange(x.shape[-1], dtype=np.uint64) * _GOLDEN + np.uint64(salt))
    with np.errstate(over="ignore"):
        total = (keys(x, salt) * (place | np.uint64(1))).sum(
            axis=-1, keepdims=True, dtype=np.uint64
        )
        return np.moveaxis(_mixed(total), -1, axis)


def signs(of: Keys, salt: int) -> NDArray[np.uint32]:
    """Random bits, equal where the keys are equal: bit k is of set k."""
    with np.errstate(over="ignore"):
        return ~_mixed(of + np.uint64(salt + 1) * _GOLDEN).astype(np.uint32)


def signed(size: Any, bits: NDArray[np.uint32], sets: slice = slice(0, DRAWS)) -> Any:
    """Sizes with the signs that the bits give them in some sets: floats as `size` is, with one more axis in
    front, for the sets."""
    size = np.asarray(size)
    whole = np.dtype(f"u{size.itemsize}")
    sign = 8 * size.itemsize - 1  # the place of the sign bit
    to_the_sign = np.array([sign - k for k in range(DRAWS)[sets]], whole)
    found = bits.astype(whole, copy=False) << to_the_sign.reshape(-1, *(1,) * bits.ndim)
    found &= whole.type(1 << sign)
    found ^= size.view(whole)
    return found.view(size.dtype)


def rms(E: Reals) -> Reals:
    """Root mean square over the draws, scaled so that squares of tiny numbers do not underflow."""
    top = np.maximum(E.max(axis=0), -E.min(axis=0))
    scale = np.where(top > 0, top, 1.0)
    scaled = E / scale
    return np.asarray(scale * np.sqrt(np.einsum("d...,d...->...", scaled, scaled) / len(E)))
