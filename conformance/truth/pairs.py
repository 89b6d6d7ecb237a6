"""Real numbers with a proof, many at a time: two floats and a radius for each, in NumPy arrays.

The exact value lies within hi + lo ± rad, as in an `Enclosure`: a ball whose midpoint has 106 bits. The error
of each operation is known (`errorfree.py`), and is added to the radius. The radii are rounded as well:
`OUTWARD` makes up for it.

Whatever cannot be computed in this way raises `UnfitError`: numbers that are very large or very small, a
comparison that is not decided. FLINT's balls decide those. docs/tolerances.md has the derivation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import Any

import numpy as np
from flint import arb, fmpq
from numpy.typing import NDArray

from conformance.truth.balls import Ball, Enclosure, enclosure, working_precision
from conformance.truth.errorfree import (
    BLOCK,
    OUTWARD,
    SLICES,
    UNDERFLOW,
    fast_two_sum,
    frobenius,
    outward,
    sliced_product,
    spectral,
    split,
    split_product,
    two_product,
    two_sum,
)

__all__ = ["BITS", "Pairs", "Stack", "UnfitError", "in_parts", "pairs", "reduced"]

Reals = NDArray[np.float64]

LEAST, MOST = (
    2.0**-400,
    2.0**400,
)  # of midpoints other than 0: products and their errors are then normal numbers
LOWEST = 2.0**-500  # of lo
BITS = 128  # precision of FLINT for what is not evaluated here
PARTS = ("hi", "lo", "rad")


class UnfitError(ArithmeticError):
    """Two floats and a radius are not enough here."""


class Pairs:
    """Arrays hi, lo and rad of one shape; hi is hi + lo, rounded.

    `norm` is at least the Frobenius norm of the errors. Through many products of matrices it grows with the
    matrices' norms, as the errors do; `rad` grows with the sums of their entries' sizes, √k times as much
    each time.
    """

    __array_ufunc__ = None  # makes NumPy's arrays leave operators to this class
    __slots__ = ("_norm", "hi", "lo", "rad")

    def __init__(self, hi: Reals, lo: Reals, rad: Reals, norm: float | None = None) -> None:
        self.hi, self.lo, self.rad, self._norm = hi, lo, rad, norm

    @property
    def norm(self) -> float:
        if self._norm is None:
            self._norm = frobenius(self.rad)
        return self._norm

    # --- from and to ------------------------------------------------------------------------------

    @classmethod
    def exactly(cls, numbers: Any) -> Pairs:
        """Floats, without an error. Raises UnfitError where they are out of range."""
        hi = np.asarray(numbers, np.float64)
        return cls(hi, np.zeros(hi.shape), np.zeros(hi.shape)).fit()

    @classmethod
    def of_balls(cls, balls: Sequence[Ball], shape: tuple[int, ...]) -> Pairs:
        """Pairs that hold FLINT's balls, given in row-major order."""
        e = enclosure(balls, shape)
        # a radius so small may be 0 in e
        off = np.array([0.0 if b.is_exact() else 5e-324 for b in balls])
        return cls(e.hi, e.lo, outward(e.rad + off.reshape(shape))).fit()

    def balls(self) -> list[Ball]:
        """FLINT's balls that hold the same, in row-major order."""
        parts = (x.ravel().tolist() for x in (self.hi, self.lo, self.rad))
        return [
            (arb(h) + arb(l)) + arb(0, r) if r else arb(h) + arb(l)
            for h, l, r in zip(*parts, strict=True)
        ]

    @property
    def enclosure(self) -> Enclosure:
        return Enclosure(self.hi, self.lo, self.rad)

    def fit(self) -> Pairs:
        """The pairs as an operand: very small parts become 0, and their size is added to the radius. Raises
        UnfitError where a midpoint is very large, or where nothing is known."""
        size, left = np.abs(self.hi), np.abs(self.lo)
        if not ((size <= MOST) & (self.rad < MOST)).all():
            raise UnfitError("a number is too large.")
        gone, small = (size < LEAST) & (size > 0), (left < LOWEST) & (left > 0)
        if not (gone | small).any():
            return self
        hi, lo = np.where(gone, 0.0, self.hi), np.where(gone | small, 0.0, self.lo)
        rad = self.rad + np.where(gone, size, 0.0) + np.where(gone | small, left, 0.0)
        return Pairs(hi, lo, outward(rad))

    # --- as an array ------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self.hi.shape

    @property
    def ndim(self) -> int:
        return self.hi.ndim

    @property
    def size(self) -> int:
        return self.hi.size

    def moved(self, f: Callable[[Any], Any], once: bool = False) -> Pairs:
        """The pairs after f has moved their numbers about; `once`: no number occurs twice in the result."""
        return Pairs(f(self.hi), f(self.lo), f(self.rad), self._norm if once else None)

    def __getitem__(self, key: Any) -> Pairs:
        of = key if isinstance(key, tuple) else (key,)
        once = all(isinstance(k, int | slice | EllipsisType | None) for k in of) or (
            isinstance(key, np.ndarray) and key.dtype == bool
        )
        return self.moved(lambda x: np.asarray(x[key]), once)

    def __setitem__(self, key: Any, value: Pairs) -> None:
        self.hi[key], self.lo[key], self.rad[key] = value.hi, value.lo, value.rad
        self._norm = None

    def in_blocks(self, f: Callable[[Pairs], Sequence[Pairs]]) -> list[Pairs]:
        """f of every number, `BLOCK` at a time: they stay in the cache, which is faster."""
        if self.size <= BLOCK:
            return list(f(self))
        flat = self.reshape(-1)
        parts = [f(flat[at : at + BLOCK]) for at in range(0, self.size, BLOCK)]
        return [Pairs.joined(of).reshape(self.shape) for of in zip(*parts, strict=True)]

    @staticmethod
    def joined(of: Sequence[Pairs]) -> Pairs:
        """One after another along the first axis, as np.concatenate."""
        hi, lo, rad = (np.concatenate([getattr(x, part) for x in of]) for part in PARTS)
        return Pairs(hi, lo, rad)

    def reshape(self, *shape: Any) -> Pairs:
        return self.moved(lambda x: x.reshape(*shape), once=True)

    def of_shape(self, shape: tuple[int, ...]) -> Pairs:
        """As np.broadcast_to."""
        if self.shape == shape:
            return self
        return self.moved(lambda x: np.broadcast_to(x, shape))

    def __array_function__(self, f: Any, types: Any, args: Any, kwargs: Any) -> Pairs:
        """np.concatenate, np.transpose and the like, for each part."""
        hi, lo, rad = (f(*_parts(args, part), **kwargs) for part in PARTS)
        found = Pairs(hi, lo, rad)
        if f in (np.swapaxes, np.transpose):
            found._norm = self._norm
        return found

    @staticmethod
    def where(mask: Any, a: Pairs, b: Pairs) -> Pairs:
        """a where the mask is True, else b."""
        hi, lo, rad = (np.where(mask, getattr(a, part), getattr(b, part)) for part in PARTS)
        return Pairs(hi, lo, rad)

    def with_error(self, more: float, interval: Pairs) -> Pairs:
        """The pairs with one more error, of at most that norm; `interval` holds the exact values too."""
        same = (self.hi == interval.hi) & (self.lo == interval.lo)
        rad = outward(self.rad + more)
        rad = np.where(same, np.minimum(rad, interval.rad), rad)
        return Pairs(self.hi, self.lo, rad, (frobenius(self.rad) + more) * OUTWARD)

    # --- arithmetic -------------------------------------------------------------------------------

    def __neg__(self) -> Pairs:
        return Pairs(-self.hi, -self.lo, self.rad, self._norm)

    def __abs__(self) -> Pairs:
        """|a|, where a is 0 or its sign is known. Raises UnfitError elsewhere."""
        return Pairs.where(self.positive(), self, -self)

    def __add__(self, other: Any) -> Pairs:
        b = pairs(other)
        if b.factor == 0:
            return self
        s, e = two_sum(self.hi, b.hi)
        own = _NOTHING
        if b.lo.any() or self.lo.any():
            left, f = two_sum(self.lo, b.lo)
            e, g = two_sum(e, left)
            own = np.abs(f) + np.abs(g)
        found = Pairs(*two_sum(s, e), _rounded(own + self.rad + b.rad, s.shape))
        if self.shape == b.shape and not (self._norm is None and b._norm is None):
            found._norm = (self.norm + b.norm + frobenius(own)) * OUTWARD
        return found

    __radd__ = __add__

    def __sub__(self, other: Any) -> Pairs:
        return self + -pairs(other)

    def __rsub__(self, other: Any) -> Pairs:
        return pairs(other) - self

    def __mul__(self, other: Any) -> Pairs:
        b = pairs(other)
        if b.factor is not None:
            return self._times_a_power(b.factor)
        if self.factor is not None:
            return b._times_a_power(self.factor)
        p, e = two_product(self.hi, b.hi)
        own: Any = _NOTHING
        if self.lo.any() or b.lo.any():
            c, d = self.hi * b.lo, self.lo * b.hi
            # five roundings, and the product of what is left, each of 2^−53 of a part
            own = (np.abs(e) + np.abs(c) + np.abs(d)) * 2.0**-50
            e = e + (c + d)
        rad = own
        if self.rad.any() or b.rad.any():
            rad = own + (self.size_at_most * b.rad + self.rad * b.size_at_most)
        found = Pairs(*fast_two_sum(p, e), _rounded(rad, p.shape))
        if self._norm is not None or b._norm is not None:
            found._norm = self._norm_of_product(b, own)
        return found

    @property
    def factor(self) -> float | None:
        """The value of a single number without axes that is a power of two, or 0; of all others None."""
        if self.shape != () or self.lo != 0 or self.rad != 0:
            return None
        power = np.abs(np.frexp(self.hi)[0]) in (0, 0.5) and np.abs(self.hi) <= 2.0**300
        return float(self.hi) if power and (self.hi == 0 or np.abs(self.hi) >= 2.0**-300) else None

    def _times_a_power(self, c: float) -> Pairs:
        """Times a power of two, or 0, exactly."""
        if c == 1:
            return self
        norm = None if self._norm is None else abs(c) * self._norm * OUTWARD
        rad = self.rad * abs(c)
        if 0 < abs(c) < 1:
            rad, norm = np.where(self.rad > 0, rad + UNDERFLOW, 0.0), None
        return Pairs(self.hi * c, self.lo * c, rad, norm)

    def _norm_of_product(self, b: Pairs, own: Reals) -> float | None:
        if self.shape != b.shape and b.size != 1:
            return None
        most, other = (x.size_at_most.max(initial=0) for x in (self, b))
        times = 1.0 if self.shape == b.shape else np.sqrt(self.size)
        return float((most * b.norm * times + other * self.norm + frobenius(own)) * OUTWARD)

    __rmul__ = __mul__

    @property
    def size_at_most(self) -> Reals:
        """An upper bound of the size of the exact value."""
        return (np.abs(self.hi) + np.abs(self.lo) + self.rad) * OUTWARD

    @property
    def size_at_least(self) -> Reals:
        """A lower bound of the size of the exact value, or 0."""
        return np.maximum(np.abs(self.hi) * (1 - 2.0**-40) - self.rad * OUTWARD, 0.0)

    def __truediv__(self, other: Any) -> Pairs:
        """The quotient q of the floats, and what is left of the dividend by the divisor. hi − q b is a float
        (Sterbenz 1974); four more roundings are of 2^−53 of what is left, at most 3·2^−53 of the quotient."""
        b = pairs(other)
        least = b.size_at_least
        if not (least > 0).all():
            raise UnfitError("a divisor may be 0.")
        q = self.hi / b.hi
        p, e = two_product(b.hi, q)
        left = ((self.hi - p) - e) + (self.lo - b.lo * q)
        exact = (left == 0) & (self.lo == 0) & (b.lo == 0)
        own = np.where(exact, 0.0, np.abs(q) * 2.0**-101)
        hi, lo = fast_two_sum(q, left / b.hi)
        if self.rad.any() or b.rad.any():
            own = own + (self.rad + np.abs(hi) * OUTWARD * b.rad) / least
            off = (self.rad > 0) | ((b.rad > 0) & (hi != 0))
            own = own + np.where(off, UNDERFLOW, 0.0)  # the quotient of a radius may underflow
        return Pairs(hi, lo, _rounded(own, hi.shape))

    def __rtruediv__(self, other: Any) -> Pairs:
        return pairs(other) / self

    def positive(self) -> NDArray[np.bool_]:
        """Where the exact value is greater than 0; elsewhere it is 0 or less. Raises UnfitError where the
        sign is not known."""
        known = (np.abs(self.hi) * (1 - 2.0**-40) > self.rad) | ((self.hi == 0) & (self.rad == 0))
        if not known.all():
            raise UnfitError("a number may be on either side of another.")
        return np.asarray(self.hi > 0)

    def sum(self, axis: int) -> Pairs:
        """The sum over an axis, which is kept with length 1; terms are added by halves."""
        found = self.moved(lambda x: np.moveaxis(x, axis, 0))
        if not len(found.hi):
            found = found.moved(lambda x: np.zeros((1, *x.shape[1:])))
        while (n := len(found.hi)) > 1:
            half, odd = n // 2, found[n - 1 :]
            added = found[:half] + found[half : 2 * half]
            found = Pairs.joined([added, odd]) if n % 2 else added
        return found.moved(lambda x: np.moveaxis(x, 0, axis))

    def __matmul__(self, other: Pairs) -> Pairs:
        return self.product(other)

    def product(self, other: Pairs, slices: int = SLICES) -> Pairs:
        """The product of arrays with two axes or more."""
        hi, lo, rad = sliced_product((self.hi, self.lo), (other.hi, other.lo), slices)
        own, k = outward(rad), self.shape[-1]
        if not (self.rad.any() or other.rad.any()):
            return Pairs(hi, lo, own)
        rad = self.size_at_most @ other.rad + self.rad @ other.size_at_most
        found = Pairs(hi, lo, outward(own + rad * (1 + (k + 8) * 2.0**-52)))
        if hi.ndim > 2:
            return found
        more = self.spectral * other.norm + other.spectral * self.norm
        return Pairs(hi, lo, own).with_error(more, found)

    @property
    def spectral(self) -> float:
        """At least the spectral norm of the exact matrix."""
        return (spectral(self.hi) + frobenius(self.lo) + self.norm) * OUTWARD

    # --- functions of one variable ----------------------------------------------------------------

    def exp(self) -> Pairs:
        """e^a; a very small result is only bounded."""
        return self.exp_and_expm1()[0]

    def expm1(self) -> Pairs:
        """e^a − 1."""
        return self.exp_and_expm1()[1]

    def exp_and_expm1(self) -> tuple[Pairs, Pairs]:
        """2^k e^{j/2048 log 2} e^r, |r| at most log 2/4096, and the same less 1.

        docs/tolerances.md derives the errors: below 2^−103 of e^a, and 2^−90 of e^a − 1 where a is r.
        """
        n = np.rint(self.hi * (2048 / np.log(2.0)))
        if not (n < 2048 * 399).all():  # else the result may exceed MOST, 2^400
            raise UnfitError("an exponential is too large.")
        if not (self.rad < 2.0**-12).all():
            raise UnfitError("an exponent is not known.")
        if (gone := n < -2048 * 399).any():
            tiny = Pairs(np.zeros(()), np.zeros(()), np.full((), 4 * LEAST))
            kept = Pairs.where(gone, _ZERO, self).exp_and_expm1()
            found = zip((tiny, tiny - 1.0), kept, strict=True)
            return tuple(Pairs.where(gone, x, y) for x, y in found)  # type: ignore[return-value]
        q, r = _series(*reduced(self.hi, self.lo, n, _LOG2))
        whole = n.astype(np.intp)
        T, T1, T2, t = _POWERS[:, whole & 2047]
        p, e = split_product(T, (T1, T2), q, split(q))
        h, f = fast_two_sum(T, p)
        power = np.ldexp(1.0, whole >> 11)
        hi, lo = (x * power for x in fast_two_sum(h, f + (e + (t + (T * r + t * q)))))
        carried = self.rad * (1 + 2.0**-10)  # e^rad − 1
        value = Pairs(hi, lo, _rounded(hi * (2.0**-103 + carried), hi.shape))
        near = n == 0
        small = Pairs(q, r, _rounded(np.abs(q) * 2.0**-90 + 2 * carried, q.shape))
        return value, small if near.all() else Pairs.where(near, small, value - 1.0)

    def log1p(self) -> Pairs:
        """log(1 + a) = y + log((1 + a) e^−y), for any float y near it: the argument is then nearly 1."""
        return _log(self + 1.0, self)

    def log(self) -> Pairs:
        """The logarithm of positive numbers. Raises UnfitError elsewhere."""
        return _log(self, self - 1.0)

    def tanh(self) -> Pairs:
        """(1 − e^{−2|a|})/(1 + e^{−2|a|}), with the sign of a."""
        return self.tanh_and_slope()[0]

    def tanh_and_slope(self) -> tuple[Pairs, Pairs]:
        """tanh a and its derivative, 4e^{−2|a|}/(1 + e^{−2|a|})²."""
        positive = self.positive()
        e, e1 = (Pairs.where(positive, -self, self) * 2.0).exp_and_expm1()
        inverse = _ONE / (e1 + 2.0)
        size = -e1 * inverse
        return Pairs.where(positive, size, -size), e * 4.0 * inverse * inverse

    def logistics(self) -> tuple[Pairs, Pairs]:
        """1/(1 + e^−a) and 1/(1 + e^a)."""
        positive = self.positive()
        e = Pairs.where(positive, -self, self).exp()
        greater = _ONE / (e + 1.0)
        less = e * greater
        return Pairs.where(positive, greater, less), Pairs.where(positive, less, greater)

    def sqrt(self) -> Pairs:
        """(a/y + y)/2 from a float y; the remainder a − root², over y, is about twice the error."""
        if not (self.positive() | (self.hi == 0)).all():
            raise UnfitError("the root of a negative number.")
        zero = self.hi == 0
        a = Pairs.where(zero, _ONE, self)
        y = np.sqrt(a.hi)
        root = Pairs(*two_sum(y, (a - pairs(y) * y).hi / (2 * y)), np.zeros(y.shape))
        left = (a - root * root).size_at_most / (y * (1 - 2.0**-40))
        return Pairs.where(zero, self, Pairs(root.hi, root.lo, outward(left)))

    def rsqrt(self) -> Pairs:
        """1/√a."""
        return _ONE / self.sqrt()


class Stack(Pairs):
    """Pairs of one shape, stacked along a new first axis."""

    __slots__ = ("_of",)

    def __init__(self, of: Sequence[Pairs]) -> None:
        hi, lo, rad = (np.stack([getattr(x, part) for x in of]) for part in PARTS)
        super().__init__(hi, lo, rad)
        self._of = of

    def __getitem__(self, key: Any) -> Pairs:
        return self._of[key] if isinstance(key, int) else super().__getitem__(key)


def _parts(x: Any, part: str) -> Any:
    """One part of each `Pairs` among some arguments."""
    if isinstance(x, list | tuple):
        return type(x)(_parts(each, part) for each in x)
    if isinstance(x, np.ndarray) and x.dtype.kind == "f":
        raise TypeError("floats among pairs; expected Pairs.exactly of them.")
    return getattr(x, part) if isinstance(x, Pairs) else x


def pairs(x: Any) -> Pairs:
    """A number as pairs: one of ours, a float, or a ball."""
    if isinstance(x, Pairs):
        return x
    if isinstance(x, arb | fmpq):
        with working_precision(BITS):
            return Pairs.of_balls([arb(x)], ())
    hi = np.asarray(x, np.float64)
    zero = np.zeros(())
    return Pairs(hi, np.broadcast_to(zero, hi.shape), np.broadcast_to(zero, hi.shape))


_ZERO, _ONE = Pairs.exactly(0.0), Pairs.exactly(1.0)
_NOTHING, _ONE_SIXTH = np.zeros(()), np.full((), 1 / 6)


def _rounded(rad: Any, shape: tuple[int, ...]) -> Reals:
    """A radius that is at least as large, for numbers of that shape."""
    if np.ndim(rad) == 0 and rad == 0:
        return np.broadcast_to(_NOTHING, shape)
    return np.broadcast_to(outward(rad), shape)


def in_parts(step: Ball, bits: int) -> tuple[float, ...]:
    """A number in three floats: a multiple of 2^−bits, one of 2^−(bits + 32), and the rest. Products of the
    first two with whole numbers of 20 bits have no error."""
    parts: list[float] = []
    for grid in (2.0**-bits, 2.0 ** -(bits + 32)):
        parts.append(float(np.rint(float(step) / grid) * grid))
        step = step - parts[-1]
    return (*parts, float(step))


def _constants() -> tuple[tuple[float, ...], Reals, float]:
    """log 2/2048 in three parts, of which the first two have 32 bits; the powers e^{j/2048 log 2}, rounded,
    that in two halves, and what rounding left; what rounding left of 1/6."""
    with working_precision(BITS):
        parts = in_parts(arb(2).log() / 2048, 43)
        powers = [((arb(2).log() / 2048) * j).exp() for j in range(2048)]
        hi = np.array([float(x) for x in powers])
        lo = np.array([float(x - float(x)) for x in powers])
        sixth = float(arb(1) / 6 - 1 / 6)
        return parts, np.stack([hi, *split(hi), lo]), sixth


_LOG2, _POWERS, _SIXTH = _constants()


def reduced(hi: Reals, lo: Reals, n: Reals, step: tuple[float, ...]) -> tuple[Reals, Reals]:
    """r = a − n·step as two floats, n the nearest whole number, of at most 20 bits, and step `in_parts`: the
    first difference has no error either."""
    r, e = two_sum(hi - n * step[0], -n * step[1])
    r, f = two_sum(r, lo)
    return fast_two_sum(r, e + f - n * step[2])


def _series(r: Reals, e: Reals) -> tuple[Reals, Reals]:
    """e^r − 1 = r + r²(1/2 + r/6 + r²/24 + …), for r + e of at most 2^−12.5; from r⁴/24 to r⁷/5040 in
    floats."""
    halves = split(r)
    s, f = split_product(r, halves, r, halves)
    f = f + 2 * r * e
    v, g = split_product(r, halves, _ONE_SIXTH, split(_ONE_SIXTH))
    g = (
        g
        + (r * _SIXTH + e * (1 / 6))
        + s * (1 / 24 + r * (1 / 120 + r * (1 / 720 + r * (1 / 5040))))
    )
    w, h = fast_two_sum(0.5, v)
    h = h + g
    p, o = two_product(s, w)
    o = o + (s * h + f * w)
    q, c = fast_two_sum(r, p)
    return fast_two_sum(q, c + (e + o))


def _log_series(t: Pairs) -> Pairs:
    """log(1 + t) = t − t²/2 + … + t⁵/5 − …; the terms that are left out are less than t⁶. Raises UnfitError
    unless t is small."""
    size = t.size_at_most
    if not (size < NEAR_1).all():
        raise UnfitError("a logarithm is not known.")
    found = t * _FIFTH
    for c in (-0.25, _THIRD, -0.5, 1.0):
        found = (found + c) * t
    return Pairs(found.hi, found.lo, outward(found.rad + size**6))


NEAR_1 = 2.0**-19
_THIRD, _FIFTH = pairs(fmpq(1, 3)), pairs(fmpq(1, 5))


def _log(a: Pairs, t: Pairs) -> Pairs:
    """log a for a = 1 + t: from t where that is small; else y + log(1 + (a e^−y − 1)), for any y near it."""
    near = np.abs(t.hi) < NEAR_1 / 2
    far = Pairs.where(near, _ONE, a)
    if not far.positive().all():
        raise UnfitError("the logarithm of what is not positive.")
    y = np.log(far.hi)
    rest = far * pairs(-y).exp() - 1.0
    return _log_series(Pairs.where(near, t, rest)) + y
