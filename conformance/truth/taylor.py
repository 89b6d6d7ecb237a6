"""Numbers that carry their derivatives, with a proof: one function of x, at one x, to second order.

A `Taylor` is f(a + t) = c0 + c1 t + c2 t² + …, each coefficient a ball. Arithmetic and the functions of NumPy
and scipy.special on it give the value and the derivatives of whatever was computed; no derivative has to be
written down. A running error analysis (Wilkinson 1963) accompanies them: it bounds how far the same
operations, each rounded once, may be off.

Comparisons are the only operations without a Taylor expansion. Each goes through `decide`, which gives only
answers that are proved, and records them. An undecided comparison raises `UndecidedError`. The decisions at
one point can be replayed at another, which continues a function across its own branch.

On an interval the coefficients enclose all their values there. A comparison that they leave open is decided
by what was compared at the two ends: a number that rises throughout lies between its values at the ends, a
constant one equals its value at either end, and Taylor's theorem encloses the rest (Moore 1966).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from flint import arb, arb_series

from conformance.truth.balls import Ball

__all__ = [
    "CONSTANT",
    "FUNCTIONS",
    "PREDICATES",
    "Branching",
    "Taylor",
    "U",
    "UndecidedError",
    "branching",
    "decide",
    "expand",
    "taylor",
    "variable",
]

Function: TypeAlias = Callable[..., Any]  # of Taylors; returns a Taylor

LIBRARY = 4.0  # in u: the error of exp and its like; no library promises less on every processor
CONSTANT = 2.0  # in u: how far a constant may be from the number that is meant
U = 2.0**-53  # unit roundoff of float64
SHORT = 2**12  # a constant whose mantissa is a multiple of 1/SHORT is exact: 0.5, 3.0, 0.125

COARSE = 2.0**-24  # the largest u that the bounds are made for

ZERO, ONE = arb(0), arb(1)
EITHER = 3  # a decision: the answer makes no difference
# relative to a number; and less than a float can hold
ALIKE, NOTHING = arb(2) ** -128, arb(2) ** -1100


class UndecidedError(Exception):
    """A comparison whose answer is not proved at this precision, or differs within the ball."""


Ends: TypeAlias = "tuple[tuple[Mapping[int, Taylor], Ball], ...]"
"""For an interval: what was compared at its lower and at its upper end, and the distance from each end to all
of the interval."""


@dataclass
class Branching:
    """How comparisons are answered, and the answers so far."""

    replay: tuple[int, ...] | None = None
    ends: Ends = ()
    decisions: list[int] = field(default_factory=list)
    ties: int = 0  # how many comparisons were of equal numbers
    margin: float = math.inf  # the smallest |difference| over its own rounding error, in u
    # what was compared with 0, by its index in `decisions`
    compared: dict[int, Taylor] = field(default_factory=dict)


_now: list[Branching] = [Branching()]


@contextmanager
def branching(replay: tuple[int, ...] | None = None, ends: Ends = ()) -> Iterator[Branching]:
    """Comparisons within are recorded, and answered as in `replay` if that is given."""
    _now.append(Branching(replay, ends))
    try:
        yield _now[-1]
    finally:
        _now.pop()


def decide(d: Taylor) -> int:
    """The sign of d: −1, 0 or 1, or 2 where d is not a number. Raises UndecidedError."""
    b, c0 = _now[-1], d.c0
    b.compared[len(b.decisions)] = d
    if b.replay is not None:
        if len(b.decisions) >= len(b.replay):
            raise UndecidedError("more comparisons than there were")
        sign = b.replay[len(b.decisions)]
    elif d.nan:
        sign = 2
    elif (proved := _sign_of([c0])) is None and (proved := _by_the_ends(d, b)) is None:
        raise UndecidedError
    else:
        sign = proved
        b.ties += sign == 0
    b.decisions.append(sign)
    if d.e > 0:
        b.margin = min(b.margin, _size(c0) / d.e)
    return sign


def _sign_of(enclosures: Sequence[Ball]) -> int | None:
    """The sign of a number that lies in each enclosure, if one of them shows it."""
    for v in enclosures:
        if v > 0 or v < 0 or v.is_zero():
            return 1 if v > 0 else -1 if v < 0 else 0
    return None


def _by_the_ends(d: Taylor, b: Branching) -> int | None:
    """The sign of d all over the interval, if its ends and its derivatives show it."""
    place = len(b.decisions)
    ends = [(compared[place], way) for compared, way in b.ends if place in compared]
    if len(ends) < 2 or any(at.c0.is_nan() for at, _ in ends):
        return None
    (low, _), (high, _) = ends
    rises = d.direction
    if rises == 0:
        return _sign_of([low.c0])
    if rises is not None:
        least, most = (low, high) if rises > 0 else (high, low)
        return 1 if least.c0 > 0 else -1 if most.c0 < 0 else None
    return _sign_of([at.c0 + way * c1 for at, way in ends for c1 in (d.c1, at.c1 + way * d.c2)])


def _choice(x: Taylor, y: Taylor, d: Taylor) -> int:
    """The sign of d, which decides whether x or y is taken; EITHER if it is undecided and x and y are
    alike."""
    try:
        return decide(d)
    except UndecidedError:
        if not all(map(_alike, (x.c0, x.c1), (y.c0, y.c1))):
            raise
        _now[-1].decisions.append(EITHER)
        return EITHER


def _alike(x: Ball, y: Ball) -> bool:
    """Whether two balls differ by less than any float shows."""
    apart = (x - y).abs_upper()
    return bool(apart <= ALIKE * x.abs_lower() or apart <= NOTHING)


def _both(x: Taylor, y: Taylor) -> Taylor:
    """A Taylor that holds both x and y."""
    c2 = x.c2.union(y.c2) if x.exact and y.exact else arb("nan")  # σ' may jump on the way
    e, k, s, k1 = (max(getattr(x, name), getattr(y, name)) for name in ("e", "k", "s", "k1"))
    return Taylor(x.c0.union(y.c0), x.c1.union(y.c1), c2, e, k, s, x.exact and y.exact, k1=k1)


def apart(x: Any, y: Any) -> Taylor:
    """x − y for a comparison: without a rounding of its own, and with constants taken as exact."""
    x, y = taylor(x), taylor(y)
    e = sum(t.e for t in (x, y) if not (t.c1.is_zero() and t.c2.is_zero()))
    c1, c2 = x.c1 - y.c1, x.c2 - y.c2
    rises = _together(x.direction, _turned(y.direction, -1))
    void = x.void or y.void
    return Taylor(x.c0 - y.c0, c1, c2, e, exact=x.exact and y.exact, rises=rises, void=void)


def _size(x: Ball) -> float:
    return abs(float(x))


def _product(x: Ball, y: Ball) -> Ball:
    """x·y by their ends where neither holds 0. A product of wide balls, midpoint by midpoint, may hold 0
    where the product of the intervals does not, and a comparison would be undecided without need."""
    if x.contains(0) or y.contains(0):
        return x * y
    if (x > 0) == (y > 0):
        return (x.lower() * y.lower()).union(x.upper() * y.upper())
    return (x.lower() * y.upper()).union(x.upper() * y.lower())


def _product_k1(x: Taylor, a: Ball, y: Taylor, b: Ball) -> float:
    """What the errors of constants do to (xy)' = x'y + xy'."""
    return _times(b, x.k1) + _times(x.c1, y.k) + _times(y.c1, x.k) + _times(a, y.k1)


class Taylor:
    """c0 + c1 t + c2 t², and three bounds on what rounding may do to its value: `e` in units of the
    arithmetic's u; `k`, through constants alone, in units of the u of float64, in which they are read; `s`,
    through underflow, in units of the smallest normal number. `k1` is to c1 what k is to c0; it is k unless
    given. `void`: it is not a number anywhere on its interval, like the root of a negative number."""

    __slots__ = ("c0", "c1", "c2", "e", "exact", "k", "k1", "rises", "s", "void")

    def __init__(
        self,
        c0: Ball,
        c1: Ball = ZERO,
        c2: Ball = ZERO,
        e: float = 0.0,
        k: float = 0.0,
        s: float = 0.0,
        exact: bool = True,  # it comes from a point, not from an interval
        rises: int
        # the direction, where c1 does not show it: a wide ball of positive numbers holds 0
        | None = None,
        k1: float | None = None,
        void: bool = False,
    ) -> None:
        self.c0, self.c1, self.c2, self.e, self.k, self.s = c0, c1, c2, e, k, s
        self.exact, self.rises = exact, rises
        self.k1, self.void = k if k1 is None else k1, void

    @property
    def nan(self) -> bool:
        """Whether it certainly is not a number: at a point, or all over its interval."""
        return bool(self.c0.is_nan()) and (self.exact or self.void)

    @property
    def direction(self) -> int | None:
        """1 where it rises with x all over the interval, −1 where it falls, 0 where it is constant, None if
        unknown."""
        if self.c1.is_zero():
            return 0
        if self.rises is not None:
            return self.rises
        return 1 if self.c1 >= 0 else -1 if self.c1 <= 0 else None

    def lifted(
        self, f: Ball, f1: Ball, f2: Ball, ulps: float = LIBRARY, increasing: bool = False
    ) -> Taylor:
        """A function of self, from f, f' and f'' at c0, by the chain rule."""
        e = _times(f1, self.e)
        if _times(f2, self.e * self.e) * COARSE > e:  # the bound, of first order, does not hold
            e = math.inf if e else 0.0
        # a function of a constant is constant: √0 too
        constant = self.c1.is_zero() and self.c2.is_zero()
        return Taylor(
            f,
            ZERO if constant else f1 * self.c1,
            ZERO if constant else f1 * self.c2 + f2 * self.c1 * self.c1 / 2,
            e + ulps * _size(f),
            _times(f1, self.k),
            _times(f1, self.s) + 1,
            self.exact,
            _turned(self.direction, 1 if increasing or f1 >= 0 else -1 if f1 <= 0 else None),
            0.0 if constant else _times(f2 * self.c1, self.k) + _times(f1, self.k1),
            self.void,
        )

    def __neg__(self) -> Taylor:
        rises = _turned(self.direction, -1)
        return Taylor(
            -self.c0, -self.c1, -self.c2, self.e, self.k, self.s, self.exact, rises, self.k1, self.void
        )  # fmt: skip

    def __add__(self, other: Any) -> Taylor:
        o = taylor(other)
        v = self.c0 + o.c0
        return Taylor(
            v,
            self.c1 + o.c1,
            self.c2 + o.c2,
            self.e + o.e + _size(v),
            self.k + o.k,
            self.s + o.s,
            self.exact and o.exact,
            _together(self.direction, o.direction),
            self.k1 + o.k1,
            self.void or o.void,
        )

    def __sub__(self, other: Any) -> Taylor:
        return self + -taylor(other)

    def __mul__(self, other: Any) -> Taylor:
        o = taylor(other)
        v = self.c0 * o.c0 if self.exact or o.exact else _product(self.c0, o.c0)
        a, b = self.c0, o.c0
        return Taylor(
            v,
            self.c0 * o.c1 + self.c1 * o.c0,
            self.c0 * o.c2 + self.c1 * o.c1 + self.c2 * o.c0,
            _times(a, o.e) + _times(b, self.e) + _size(v),
            _times(a, o.k) + _times(b, self.k),
            _times(a, o.s) + _times(b, self.s) + 1,
            self.exact and o.exact,
            _together(
                _turned(self.direction, _sign_of([o.c0])), _turned(o.direction, _sign_of([self.c0]))
            ),
            _product_k1(self, a, o, b),
            self.void or o.void,
        )

    def __truediv__(self, other: Any) -> Taylor:
        o = taylor(other)
        if not (self.exact or o.exact):
            return self * reciprocal(o)
        v = self.c0 / o.c0
        c1 = (self.c1 - v * o.c1) / o.c0
        r = 1 / o.c0
        return Taylor(
            v,
            c1,
            (self.c2 - v * o.c2 - c1 * o.c1) / o.c0,
            _times(r, self.e) + _times(v * r, o.e) + _size(v),
            _times(r, self.k) + _times(v * r, o.k),
            _times(r, self.s) + _times(v * r, o.s) + 1,
            self.exact and o.exact,
            _turned(self.direction, _sign_of([o.c0])) if o.direction == 0 else None,
            _product_k1(self, self.c0, reciprocal(o), r),
            self.void or o.void,
        )

    def __radd__(self, other: Any) -> Taylor:
        return taylor(other) + self

    def __rsub__(self, other: Any) -> Taylor:
        return taylor(other) - self

    def __rmul__(self, other: Any) -> Taylor:
        return taylor(other) * self

    def __rtruediv__(self, other: Any) -> Taylor:
        return taylor(other) / self

    def __pow__(self, other: Any) -> Taylor:
        return power(self, taylor(other))

    def __rpow__(self, other: Any) -> Taylor:
        return power(taylor(other), self)

    def __abs__(self) -> Taylor:
        return absolute(self)

    # Scalar code (`np.vectorize`) compares elements one by one.
    def __gt__(self, other: Any) -> bool:
        return decide(apart(self, other)) == 1

    def __lt__(self, other: Any) -> bool:
        return decide(apart(self, other)) == -1

    def __ge__(self, other: Any) -> bool:
        return decide(apart(self, other)) in (0, 1)

    def __le__(self, other: Any) -> bool:
        return decide(apart(self, other)) in (0, -1)

    def __eq__(self, other: object) -> bool:
        return decide(apart(self, other)) == 0

    def __ne__(self, other: object) -> bool:
        return decide(apart(self, other)) != 0

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return decide(self) != 0

    def __getattr__(self, name: str) -> Any:
        """np.exp of a lone element, or of an array of dtype object, calls its method `exp`."""
        if name in FUNCTIONS:
            return lambda *others: FUNCTIONS[name](self, *map(taylor, others))
        raise AttributeError(name)


def _turned(direction: int | None, by: int | None) -> int | None:
    """The direction of a product with a factor of the sign `by`."""
    if direction == 0:
        return 0
    return None if direction is None or by is None else direction * by


def _together(one: int | None, other: int | None) -> int | None:
    """The direction of a sum."""
    if one is None or other is None:
        return None
    return one or other if one * other >= 0 else None


def _times(x: Ball, y: float) -> float:
    """|x|·y; 0 where y is 0, even if |x| is infinite. Computed in balls where a float would not hold |x|."""
    if y == 0:
        return 0.0
    size = _size(x)
    if 1e-290 < size < 1e290 or math.isinf(y):
        return size * y if size else 0.0
    return abs(float(x * arb(y)))


def taylor(x: Any, u: float = U) -> Taylor:
    """A constant as a Taylor: a float stands for itself, and may be off by its rounding unless it is short.

    `u` is that of the dtype it was rounded to: the nearest float32 stands for the number that was rounded.
    """
    if isinstance(x, Taylor):
        return x
    value = float(x)
    off = 0.0 if _short(value) else CONSTANT * abs(value)
    return Taylor(arb(value), e=off, k=off * (u / U), k1=0.0)


def _short(x: float) -> bool:
    if not math.isfinite(x):
        return True
    mantissa, _ = math.frexp(x)
    return (mantissa * SHORT).is_integer()


def variable(a: Ball) -> Taylor:
    """x itself, at a: a + t."""
    return Taylor(a, ONE, exact=bool(a.is_exact()), rises=1)


# --- functions ------------------------------------------------------------------------------------


def reciprocal(x: Taylor) -> Taylor:
    r = 1 / x.c0
    return x.lifted(r, -r * r, 2 * r * r * r, 1)


def absolute(x: Taylor) -> Taylor:
    sign = _choice(x, -x, x)
    if sign == EITHER:
        return _both(x, -x)
    return -x if sign < 0 else x if sign > 0 else Taylor(ZERO, exact=x.exact)


def _sign(x: Taylor) -> Taylor:
    sign = decide(x)
    return Taylor(arb("nan") if sign == 2 else arb(sign))


def _larger(x: Taylor, y: Taylor) -> Taylor:
    sign = _choice(x, y, apart(x, y))
    if sign == EITHER:
        return _both(x, y)
    return (x + y) if sign == 2 else x if sign >= 0 else y


def _smaller(x: Taylor, y: Taylor) -> Taylor:
    sign = _choice(x, y, apart(x, y))
    if sign == EITHER:
        return _both(x, y)
    return (x + y) if sign == 2 else x if sign <= 0 else y


def _whole(y: Taylor) -> int | None:
    """A constant as an int, if it is a whole number of at most 64 in size; else None."""
    if not (y.c1.is_zero() and y.c2.is_zero() and y.c0.is_exact() and y.c0.is_integer()):
        return None
    n = int(float(y.c0))
    return n if abs(n) <= 64 else None


def power(x: Taylor, y: Taylor) -> Taylor:
    n = _whole(y)
    if n is not None:
        if n < 0:
            return reciprocal(power(x, Taylor(arb(-n))))
        if not x.exact and n > 1:
            return x * power(x, Taylor(arb(n - 1)))
        v, v1, v2 = (x.c0 ** (n - i) if n >= i else ZERO for i in range(3))
        return x.lifted(v, n * v1, n * (n - 1) * v2, max(1, n - 1))
    if y.c1.is_zero() and y.c2.is_zero():
        b = y.c0
        decide(x)  # decides whether there is a power: a root may have a kink, or an end, at x = 0
        if x.c0.is_zero() and b > 0:
            ends = [ZERO if b > i else arb("nan") for i in (1, 2)]
            return x.lifted(ZERO, ends[0], ends[1])
        v, v1 = x.c0**b, x.c0 ** (b - 1)
        found = _ended(x, x.c0 < 0).lifted(v, b * v1, b * (b - 1) * x.c0 ** (b - 2))
        log = x.c0.log() if x.c0 > 0 else ZERO
        through, steeper = v * log, v1 * (1 + b * log) * x.c1
        return _more(found, _times(through, y.e), _times(through, y.k), _times(steeper, y.k))
    general: Taylor = FUNCTIONS["exp"](y * FUNCTIONS["log"](x))
    return general


def _more(x: Taylor, e: float, k: float, k1: float) -> Taylor:
    return Taylor(
        x.c0, x.c1, x.c2, x.e + e, x.k + k, x.s, x.exact, k1=x.k1 + k1, void=x.void
    )  # fmt: skip


def _ended(x: Taylor, beyond: bool) -> Taylor:
    """x, void if it lies outside the domain of the function that takes it."""
    if not beyond:
        return x
    return Taylor(x.c0, x.c1, x.c2, x.e, x.k, x.s, x.exact, x.rises, x.k1, True)


def _rooted(x: Taylor) -> Taylor:
    """√x, which may have a kink at 0, and ends there: x is compared with 0, as by code that branches."""
    decide(x)
    return _ended(x, x.c0 < 0).lifted(*_sqrt(x.c0), 1, True)


def _within(of: Any, beyond: Callable[[Ball], Any]) -> Any:
    """A function with a domain: void where `beyond` is true."""
    return lambda x: of(_ended(x, bool(beyond(x.c0))))


def _function(
    ulps: float, of: Callable[[Ball], tuple[Ball, Ball, Ball]], increasing: bool = False
) -> Any:
    return lambda x: x.lifted(*of(x.c0), ulps, increasing)


def _rising(ulps: float, of: Callable[[Ball], tuple[Ball, Ball, Ball]]) -> Any:
    """An increasing function."""
    return _function(ulps, of, increasing=True)


def _composed(of: Callable[[Taylor], Taylor], ulps: float = 8.0) -> Any:
    """A library's function, from an expression for it: the derivatives are the expression's, the rounding is
    its own."""

    def function(x: Taylor) -> Taylor:
        t = of(Taylor(x.c0, ONE, exact=x.exact))
        return x.lifted(t.c0, t.c1, 2 * t.c2, ulps)

    return function


def _exp(a: Ball, base: Ball = ONE) -> tuple[Ball, Ball, Ball]:
    v = (a * base).exp()
    return v, base * v, base * base * v


def _log(a: Ball, base: Ball = ONE) -> tuple[Ball, Ball, Ball]:
    r = 1 / a
    return a.log() / base, r / base, -r * r / base


def _expm1(a: Ball) -> tuple[Ball, Ball, Ball]:
    e = a.exp()
    return a.expm1(), e, e


def _log1p(a: Ball) -> tuple[Ball, Ball, Ball]:
    r = 1 / (1 + a)
    return a.log1p(), r, -r * r


def _sqrt(a: Ball) -> tuple[Ball, Ball, Ball]:
    v = a.sqrt()
    return v, 1 / (2 * v), -1 / (4 * v * a)


def _cbrt(x: Taylor) -> Taylor:
    sign = decide(x)
    if sign == 0:
        return Taylor(ZERO, arb("nan"), arb("nan"), exact=x.exact)
    a = x.c0 * sign
    v = a.root(3)
    return x.lifted(sign * v, v / (3 * a), -2 * sign * v / (9 * a * a))


def _sin(a: Ball) -> tuple[Ball, Ball, Ball]:
    s, c = a.sin_cos()
    return s, c, -s


def _cos(a: Ball) -> tuple[Ball, Ball, Ball]:
    s, c = a.sin_cos()
    return c, -s, -c


def _tan(a: Ball) -> tuple[Ball, Ball, Ball]:
    t = a.tan()
    return t, 1 + t * t, 2 * t * (1 + t * t)


def _sinh(a: Ball) -> tuple[Ball, Ball, Ball]:
    s, c = a.sinh_cosh()
    return s, c, s


def _cosh(a: Ball) -> tuple[Ball, Ball, Ball]:
    s, c = a.sinh_cosh()
    return c, s, c


def _tanh(a: Ball) -> tuple[Ball, Ball, Ball]:
    v, s = a.tanh(), a.sech()
    return v, s * s, -2 * v * s * s


def _arcsin(a: Ball) -> tuple[Ball, Ball, Ball]:
    r = 1 / (1 - a * a).sqrt()
    return a.asin(), r, a * r * r * r


def _arctan(a: Ball) -> tuple[Ball, Ball, Ball]:
    r = 1 / (1 + a * a)
    return a.atan(), r, -2 * a * r * r


def _arcsinh(a: Ball) -> tuple[Ball, Ball, Ball]:
    r = 1 / (1 + a * a).sqrt()
    return a.asinh(), r, -a * r * r * r


def _arccosh(a: Ball) -> tuple[Ball, Ball, Ball]:
    r = 1 / (a * a - 1).sqrt()
    return a.acosh(), r, -a * r * r * r


def _arctanh(a: Ball) -> tuple[Ball, Ball, Ball]:
    r = 1 / (1 - a * a)
    return a.atanh(), r, 2 * a * r * r


def _erf(a: Ball, complement: bool = False) -> tuple[Ball, Ball, Ball]:
    density = 2 / arb.pi().sqrt() * (-a * a).exp() * (-1 if complement else 1)
    return a.erfc() if complement else a.erf(), density, -2 * a * density


def _erfinv(a: Ball) -> tuple[Ball, Ball, Ball]:
    v = a.erfinv()
    d = arb.pi().sqrt() / 2 * (v * v).exp()
    return v, d, 2 * v * d * d


def _expit(a: Ball) -> tuple[Ball, Ball, Ball]:
    s, t = _logistic(a), _logistic(-a)
    return s, s * t, s * t * (t - s)


def _logistic(a: Ball) -> Ball:
    """1/(1 + e^{−a}), which is increasing, without overflow."""
    if not a.is_exact():
        return _logistic(a.lower()).union(_logistic(a.upper()))
    e = (-abs(a)).exp()
    return (1 if a >= 0 else e) / (1 + e)


def _gammaln(x: Taylor) -> Taylor:
    """log|Γ(x)|: near its zeros at 1 and 2 the error of libraries is in proportion to 1, not to the value
    (SciPy: 2,800u)."""
    a = x.c0
    return _more(x.lifted(a.lgamma(), a.digamma(), arb(2).zeta(a), 8), 4, 0, 0)


def _erfcx(x: Taylor) -> Taylor:
    """e^{x²} erfc(x); for x < 0 a library computes 2e^{x²}, with x² rounded."""
    square = _size(x.c0) * _size(x.c0) if x.c0 < 0 else 0.0
    of = _composed(lambda t: _function(0, _exp)(t * t) * erfc(t), 8 + 2 * square)
    found: Taylor = of(x)
    return found


def _meant(c: Ball) -> Taylor:
    """A constant that a library rounds."""
    off = CONSTANT * _size(c)
    return Taylor(c, e=off, k=off, k1=0.0)


def _ndtr(x: Taylor) -> Taylor:
    """Φ(x) = erfc(−x/√2)/2, with the rounding of that argument, as scipy computes it."""
    found: Taylor = erfc(-x / _meant(arb(2).sqrt())) / 2
    return found


def _sinc(x: Taylor) -> Taylor:
    """sin(πx)/(πx), and 1 at 0; on an interval that holds 0, by the bounds of its derivatives."""
    pi = arb.pi()
    if not x.c0.contains(0):
        u = x * _meant(pi)
        t: Taylor = _function(LIBRARY, _sin)(u) / u
        return t
    if x.c0.is_zero():
        return x.lifted(ONE, ZERO, -pi * pi / 3)
    reach = float(x.c0.abs_upper())
    slope = arb(0, float((pi * pi / 3).abs_upper()) * reach)
    return x.lifted(1 + slope * arb(0, reach), slope, arb(0, float((pi * pi / 3).abs_upper())))


def _xlogy(x: Taylor, y: Taylor, log: str = "log") -> Taylor:
    """x log y, and 0 where x is 0. No branch: it is continuous there."""
    return Taylor(ZERO, exact=x.exact) if x.c0.is_zero() else x * FUNCTIONS[log](y)


def _heaviside(x: Taylor, at_zero: Taylor) -> Taylor:
    sign = decide(x)
    return at_zero if sign == 0 else Taylor(arb("nan") if sign == 2 else arb((1 + sign) // 2))


def _logaddexp(x: Taylor, y: Taylor, base: Ball = ONE) -> Taylor:
    """y + log(1 + e^{x−y}), in logarithms of any base, without overflow; rounded as a library does it."""
    k, k1 = x.k + y.k, x.k1 + y.k1
    d = Taylor(x.c0 - y.c0, x.c1 - y.c1, x.c2 - y.c2, x.e + y.e, k, x.s + y.s, x.exact, k1=k1)
    f, f1, f2 = _softplus(d.c0 * base)
    soft = d.lifted(f / base, f1, f2 * base, 0)
    v = y.c0 + soft.c0
    e = x.e + y.e + LIBRARY * _size(v) + max(_size(x.c0), _size(y.c0))  # the sum that may cancel
    c1, c2 = y.c1 + soft.c1, y.c2 + soft.c2
    return Taylor(v, c1, c2, e, k, x.s + y.s + 1, x.exact and y.exact, k1=y.k1 + soft.k1)


def _softplus(a: Ball) -> tuple[Ball, Ball, Ball]:
    s, s1, _ = _expit(a)
    value = a + (-a).exp().log1p() if a.mid() > 0 else a.exp().log1p()
    return value, s, s1


def _arctan2(y: Taylor, x: Taylor) -> Taylor:
    """The angle of (x, y): its derivatives are those of arctan(y/x), or of arctan(−x/y) where x may be 0."""
    if decide(x) < 0:
        decide(y)  # for x < 0 the angle jumps by 2π at y = 0
    turn = _function(LIBRARY, _arctan)
    t = turn(-x / y) if x.c0.contains(0) else turn(y / x)
    return Taylor(arb.atan2(y.c0, x.c0), t.c1, t.c2, t.e + 2 * LIBRARY, t.k, t.s, t.exact, k1=t.k1)


def _hypot(x: Taylor, y: Taylor) -> Taylor:
    return _rooted(x * x + y * y)


def _copysign(x: Taylor, y: Taylor) -> Taylor:
    size = absolute(x)
    return -size if decide(y) < 0 else size


def _steps(to: Callable[[Ball], Ball], at: float = 0.0) -> Function:
    """floor and its like: constant between steps (whole numbers and `at`), undecided if a step may lie
    within."""

    def function(x: Taylor) -> Taylor:
        b = _now[-1]
        i = len(b.decisions)
        if b.replay is not None:
            if i + 2 > len(b.replay):
                raise UndecidedError("more comparisons than there were")
            b.decisions += b.replay[i : i + 2]
            return Taylor(arb(b.replay[i]), exact=x.exact)
        value = to(x.c0)
        if not (x.c0.is_finite() and value.is_exact()):
            raise UndecidedError
        tie = bool((x.c0 - at).is_exact() and (x.c0 - at).is_integer())
        b.ties += tie
        b.decisions += [int(value.unique_fmpz()), int(tie)]
        if x.e > 0:
            step = x.c0 - at
            b.margin = min(b.margin, _size(step - (step + arb(0.5)).floor()) / x.e)
        return Taylor(value, exact=x.exact)

    return function


def _half_even(b: Ball) -> Ball:
    """The nearest whole number; of two equally near, the even one."""
    up = (b + arb(0.5)).floor()
    tie = (b - arb(0.5)).is_exact() and (b - arb(0.5)).is_integer()
    return 2 * (up / 2).floor() if tie else up


def _nan_to_num(x: Taylor) -> Taylor:
    """x, or 0 where it is not a number."""
    if x.c0.is_finite():
        return x
    if _is_nan(x):
        return Taylor(ZERO)
    raise UndecidedError


def _is_nan(x: Taylor) -> bool:
    """Whether x is not a number, recorded like a comparison; undecided where only part of an interval is
    not."""
    b = _now[-1]
    if b.replay is not None:
        if len(b.decisions) >= len(b.replay):
            raise UndecidedError("more comparisons than there were")
        answer = b.replay[len(b.decisions)]
    elif x.c0.is_nan() and not x.nan:
        raise UndecidedError
    else:
        answer = 2 if x.nan else 1
    b.decisions.append(answer)
    return answer == 2


def _unknown() -> bool:
    """Raises UndecidedError: what is not a real number is ∞ or NaN, and it is not known which."""
    raise UndecidedError


def _identity(x: Taylor) -> Taylor:
    return x


def _ln(base: int) -> Ball:
    return arb(base).log()


def erfc(x: Taylor) -> Taylor:
    """1 − erf(x); for x > 0 libraries compute e^{−x²}, with x² rounded (SciPy: 474u at x = 26.5)."""
    square = min(_size(x.c0), 40.0) ** 2 if x.c0 > 0 else 0.0
    return x.lifted(*_erf(x.c0, complement=True), LIBRARY + square)


def _degrees() -> Taylor:
    return Taylor(180 / arb.pi())


# fmt: off
FUNCTIONS: Mapping[str, Function] = {
    # arithmetic
    "add": lambda x, y: x + y, "subtract": lambda x, y: x - y, "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y, "negative": lambda x: -x, "positive": _identity,
    "power": power, "float_power": power, "square": lambda x: x * x, "reciprocal": reciprocal,
    "conjugate": _identity,
    # functions that branch
    "absolute": absolute, "fabs": absolute, "sign": _sign, "heaviside": _heaviside,
    "maximum": _larger, "minimum": _smaller, "fmax": _larger, "fmin": _smaller, "copysign": _copysign,
    "floor": _steps(lambda b: b.floor()), "ceil": _steps(lambda b: b.ceil()),
    "trunc": _steps(lambda b: b.floor() if b > 0 else b.ceil()), "rint": _steps(_half_even, 0.5),
    "nan_to_num": _nan_to_num,
    # exponentials and logarithms
    "exp": _rising(LIBRARY, _exp), "exp2": _rising(LIBRARY, lambda a: _exp(a, _ln(2))),
    "exp10": _rising(LIBRARY, lambda a: _exp(a, _ln(10))), "expm1": _rising(LIBRARY, _expm1),
    "log": _within(_rising(LIBRARY, _log), lambda a: a < 0),
    "log2": _within(_rising(LIBRARY, lambda a: _log(a, _ln(2))), lambda a: a < 0),
    "log10": _within(_rising(LIBRARY, lambda a: _log(a, _ln(10))), lambda a: a < 0),
    "log1p": _within(_rising(LIBRARY, _log1p), lambda a: a < -1),
    "logaddexp": _logaddexp, "logaddexp2": lambda x, y: _logaddexp(x, y, _ln(2)),
    "sqrt": _rooted, "cbrt": _cbrt, "hypot": _hypot,
    # circular and hyperbolic
    "sin": _function(LIBRARY, _sin), "cos": _function(LIBRARY, _cos), "tan": _function(LIBRARY, _tan),
    "arcsin": _within(_rising(LIBRARY, _arcsin), lambda a: abs(a) > 1), "arctan": _rising(LIBRARY, _arctan), "arctan2": _arctan2,
    "arccos": _composed(lambda x: Taylor(arb.pi() / 2) - _function(0, _arcsin)(x), LIBRARY),
    "sinh": _rising(LIBRARY, _sinh), "cosh": _function(LIBRARY, _cosh), "tanh": _rising(LIBRARY, _tanh),
    "arcsinh": _rising(LIBRARY, _arcsinh), "arccosh": _within(_rising(LIBRARY, _arccosh), lambda a: a < 1),
    "arctanh": _within(_rising(LIBRARY, _arctanh), lambda a: abs(a) > 1), "sinc": _sinc,
    "deg2rad": lambda x: x / _degrees(), "radians": lambda x: x / _degrees(),
    "rad2deg": lambda x: x * _degrees(), "degrees": lambda x: x * _degrees(),
    # scipy.special
    "erf": _rising(LIBRARY, _erf), "erfc": erfc, "erfinv": _rising(8, _erfinv),
    "erfcx": _erfcx,
    "expit": _rising(LIBRARY, _expit),
    "logit": _composed(lambda x: _function(0, _log)(x / (1 - x))),
    "log_expit": _composed(lambda x: -(-x).lifted(*_softplus(-x.c0))),
    "ndtr": _ndtr, "log_ndtr": lambda x: _function(LIBRARY, _log)(_ndtr(x)),
    "gammaln": _gammaln, "xlogy": _xlogy, "xlog1py": lambda x, y: _xlogy(x, y, "log1p"),
    "softplus": _rising(LIBRARY, _softplus), "sindg": _composed(lambda x: _function(0, _sin)(x / _degrees())),
    "exprel": _composed(lambda x: _function(0, _expm1)(x) / x),
}
"""What NumPy's and scipy.special's ufuncs do to Taylor balls, by the ufunc's name."""

PREDICATES: Mapping[str, Callable[..., bool]] = {
    "greater": lambda x, y: decide(apart(x, y)) == 1, "less": lambda x, y: decide(apart(x, y)) == -1,
    "greater_equal": lambda x, y: decide(apart(x, y)) in (0, 1), "less_equal": lambda x, y: decide(apart(x, y)) in (0, -1),
    "equal": lambda x, y: decide(apart(x, y)) == 0, "not_equal": lambda x, y: decide(apart(x, y)) != 0,
    "signbit": lambda x: decide(x) == -1, "logical_not": lambda x: decide(x) == 0,
    "isnan": _is_nan, "isinf": lambda x: _is_nan(x) and _unknown(), "isfinite": lambda x: not _is_nan(x),
}
"""The ufuncs that return True or False."""
# fmt: on


def expand(pieces: Any, breaks: Any, x: Taylor) -> Taylor:
    """A definition by pieces (definitions.py) at a Taylor: comparisons choose the piece, as in code."""
    i = sum(1 for b in breaks if decide(apart(x, float(b))) > 0)
    try:
        s = pieces[i](arb_series([x.c0, ONE], 3))
    except ValueError:  # a ball so wide that a denominator may be 0
        s = [arb("nan")] * 3
    return x.lifted(s[0], s[1], 2 * s[2])
