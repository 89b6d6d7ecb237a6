"""What each activation and loss is, as mathematics: written from definitions, never from refbp.

An activation is one row: its pieces (one formula each, on Taylor balls) and the points between them.
Derivatives are not written down anywhere: the formula, evaluated at a + t to second order, gives
σ(a), σ'(a) and σ''(a)/2 with a proof, so that no slip in a derivative can hide here. The same formula is
evaluated on one ball (`__call__`), or on many numbers at a time (`at_pairs`).
Where σ has a kink, no mathematics says what σ' is: the row states the convention (the frameworks'
subgradient choice), and an implementation documented to choose another is a known difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from flint import arb, arb_series, fmpq

from conformance.truth.balls import Ball, union
from conformance.truth.elementary import erfc, sin_cos
from conformance.truth.pairs import Pairs
from conformance.truth.series import Series

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "ROW_WISE",
    "TERMS",
    "Definition",
    "Point",
    "Term",
    "loss_at",
]

Taylor: TypeAlias = Any  # flint.arb_series, or Series of Pairs, to order 2: [σ, σ', σ''/2]
ORDER = 3  # number of coefficients


class Point(NamedTuple):
    """σ at one point: value, first and second derivative. `decided` is False where the point may lie on
    either side of a break."""

    value: Ball
    first: Ball
    second: Ball
    decided: bool = True


@dataclass(frozen=True, eq=False)
class Definition:
    """An elementwise σ: `pieces[i]` holds between `breaks[i-1]` and `breaks[i]`.

    `kinks` gives σ' at single points, by convention: at the breaks where the one-sided derivatives differ.
    `poles` are where σ is infinite. `steeper(a)` is how much σ may change beyond what σ' says, for a σ that
    an implementation built and whose derivative is that of another function.
    """

    pieces: tuple[Callable[[Taylor], Taylor], ...]
    breaks: tuple[float, ...] = ()
    kinks: Mapping[float, float | fmpq] = field(default_factory=dict)
    poles: tuple[float, ...] = ()
    steeper: Callable[[Any], Any] | None = None

    def __call__(self, a: Ball) -> Point:
        """σ, σ' and σ'' at the ball a; the hull of the pieces where a's side is undecided."""
        if a.is_nan():
            return Point(a, a, a)
        if not self.breaks and not self.kinks:
            return self._piece(0, a)
        return self._combine(a, [self._piece(i, a) for i in self._touched(a)])

    def at_pairs(self, a: Pairs) -> list[Pairs]:
        """σ, σ' and σ'' at many numbers. Raises UnfitError where the side of a break is not known.

        For σ and σ' the norm of the errors is bounded as well: the error at the midpoints, and what the error
        of a makes of it, by the mean value theorem.
        """
        whole = a.in_blocks(self._at_pairs)
        if a.rad.any():
            exact = Pairs(a.hi, a.lo, np.zeros(a.shape)).in_blocks(self._at_pairs)
            for i in range(2):
                slope = whole[i + 1].size_at_most.max(initial=0)
                whole[i] = exact[i].with_error(float(slope) * a.norm, whole[i])
        return whole

    def _at_pairs(self, a: Pairs) -> list[Pairs]:
        places = {*self.breaks, *map(float, self.kinks)}
        if not places:
            return self._on_piece(0, a)
        exact = (a.lo == 0) & (a.rad == 0)
        at_break = exact & np.isin(a.hi, list(places))
        passed = sum(
            ((a - b).positive().astype(np.intp) for b in self.breaks), np.zeros(a.shape, np.intp)
        )
        found = [Pairs.exactly(np.zeros(a.shape)) for _ in range(ORDER)]
        for i in range(len(self.pieces)):
            if (here := (passed == i) & ~at_break).any():
                for all_, part in zip(found, self._on_piece(i, a[here]), strict=True):
                    all_[here] = part
        for b in places:
            if (here := at_break & (a.hi == b)).any():
                for all_, ball in zip(found, self(arb(b))[:3], strict=True):
                    all_[here] = Pairs.of_balls([ball], ())
        return found

    def _on_piece(self, i: int, a: Pairs) -> list[Pairs]:
        s = self.pieces[i](Series.at(a))
        return [x.of_shape(a.shape) for x in (s[0], s[1], s[2] * 2.0)]

    def _touched(self, a: Ball) -> Sequence[int]:
        """The pieces that a may lie in: one, or more if it touches a break."""
        first = sum(1 for b in self.breaks if a > b)
        last = sum(1 for b in self.breaks if not (a < b))
        return range(first, last + 1)

    def _piece(self, i: int, a: Ball) -> Point:
        try:
            s = self.pieces[i](arb_series([a, 1], ORDER))
        except ValueError as e:
            if "denominator" not in str(e):
                raise
            # FLINT refuses to divide by a series that may begin with 0: nothing is known
            nan = arb("nan")
            return Point(nan, nan, nan)
        return Point(s[0], s[1], 2 * s[2])

    def _combine(self, a: Ball, sides: Sequence[Point]) -> Point:
        taken = next((d for b, d in self.kinks.items() if a.is_exact() and a == b), None)
        if len(sides) == 1 and taken is None:
            return sides[0]
        value, first, second = (union(s[i] for s in sides) for i in range(3))
        if taken is not None:
            return Point(sides[0].value, arb(taken), second)
        if a.is_exact():  # a break at which σ is smooth to first order
            return Point(sides[0].value, sides[0].first, second)
        return Point(value, first, second, decided=False)  # a ball across a break: either side

    def jumps(self) -> Mapping[float, float]:
        """How far σ' jumps at each break: how far an entry nearby may be off if it took the other side."""
        found = {}
        for i, b in enumerate(self.breaks):
            left, right = (self._piece(j, arb(b)).first for j in (i, i + 1))
            found[b] = float(abs(right - left).abs_upper())
        return {b: jump for b, jump in found.items() if jump > 0}


def lift(x: Taylor, f: Ball, f1: Ball, f2: Ball) -> Taylor:
    """f(x) to second order from f, f' and f'' at x's constant term: the chain rule, once."""
    return _series(x, f, f1 * x[1], f1 * x[2] + f2 * x[1] * x[1] / 2)


def _series(x: Taylor, *coefficients: Any) -> Taylor:
    """A series of the same type as x."""
    if isinstance(x, Series):
        return x.with_coefficients(*coefficients)
    return arb_series(list(coefficients), ORDER)


def logistic(a: Ball) -> Ball:
    """1/(1 + e^−a), by whichever of its two forms does not overflow."""
    if isinstance(a, Pairs):
        return a.logistics()[0]
    e = (-abs(a)).exp()
    return 1 / (1 + e) if a.mid() > 0 else e / (1 + e) if a.mid() < 0 else 1 / (1 + (-a).exp())


def _logistics(a: Ball) -> tuple[Ball, Ball]:
    """1/(1 + e^−a) and 1/(1 + e^a)."""
    return a.logistics() if isinstance(a, Pairs) else (logistic(a), logistic(-a))


def sigmoid(x: Taylor) -> Taylor:
    s, t = _logistics(x[0])
    return lift(x, s, s * t, s * t * (t - s))


def tanh(x: Taylor) -> Taylor:
    v, s = _tanh_and_slope(x[0])
    return lift(x, v, s, -2 * v * s)


def _tanh_and_slope(a: Ball) -> tuple[Ball, Ball]:
    if isinstance(a, Pairs):
        return a.tanh_and_slope()
    s = a.sech()
    return a.tanh(), s * s


def expm1(x: Taylor) -> Taylor:
    a = x[0]
    e, e1 = a.exp_and_expm1() if isinstance(a, Pairs) else (a.exp(), a.expm1())
    return lift(x, e1, e, e)


def softplus(x: Taylor) -> Taylor:
    """log(1 + e^x) = max(x, 0) + log(1 + e^−|x|), by whichever form does not overflow."""
    a, (s, t) = x[0], _logistics(x[0])
    return lift(x, _softplus(a), s, s * t)


def _softplus(a: Ball) -> Ball:
    if isinstance(a, Pairs):
        size = abs(a)
        value = (-size).exp().log1p()
        return Pairs.where(a.positive(), size + value, value)
    return a + (-a).exp().log1p() if a.mid() > 0 else a.exp().log1p()


def normal_cdf(x: Taylor) -> Taylor:
    """Φ(x) = erfc(−x/√2)/2, which does not cancel in the tail."""
    density = (-x[0] * x[0] / 2).exp() / (2 * arb.pi()).sqrt()
    return lift(x, erfc(-x[0] / arb(2).sqrt()) / 2, density, -x[0] * density)


def gelu_tanh(x: Taylor) -> Taylor:
    """x(1 + tanh u)/2 = x · sigmoid(2u), u = √(2/π)(x + 0.044715 x³)."""
    return x * sigmoid(2 * (2 / arb.pi()).sqrt() * (x + _decimal("0.044715") * x * x * x))


def sin(x: Taylor) -> Taylor:
    s, c = sin_cos(x[0])
    return lift(x, s, c, -s)


def _decimal(text: str) -> fmpq:
    """The decimal fraction itself, not the float nearest to it."""
    whole, _, digits = text.partition(".")
    return fmpq(int(whole + digits), 10 ** len(digits))


def _constant(c: float) -> Callable[[Taylor], Taylor]:
    return lambda x: _series(x, arb(c))


def _linear(slope: fmpq | int, at_zero: fmpq | int = 0) -> Callable[[Taylor], Taylor]:
    return lambda x: x * arb(slope) + arb(at_zero)


def _identity(x: Taylor) -> Taylor:
    return x


SLOPE = _decimal("0.01")
SELU_ALPHA = _decimal("1.6732632423543772848170429916717")
SELU_SCALE = _decimal("1.0507009873554804934193349852946")

# fmt: off
ACTIVATIONS: Mapping[str, Definition] = {
    # name                    pieces                                             breaks   σ' at kinks
    "identity":    Definition((_identity,)),
    "sigmoid":     Definition((sigmoid,)),
    "tanh":        Definition((tanh,)),
    "relu":        Definition((_constant(0), _identity),                         (0,),    {0: 0}),
    "leaky_relu":  Definition((_linear(SLOPE), _identity),                       (0,),    {0: SLOPE}),
    "elu":         Definition((expm1, _identity),                                (0,)),
    "selu":        Definition((lambda x: expm1(x) * arb(SELU_SCALE * SELU_ALPHA),
                               _linear(SELU_SCALE)),                             (0,),    {0: SELU_SCALE * SELU_ALPHA}),
    "celu":        Definition((expm1, _identity),                                (0,)),
    "gelu":        Definition((lambda x: x * normal_cdf(x),)),
    "gelu_tanh":   Definition((gelu_tanh,)),
    "silu":        Definition((lambda x: x * sigmoid(x),)),
    "softplus":    Definition((softplus,)),
    "softsign":    Definition((lambda x: x / (1 - x), lambda x: x / (1 + x)),    (0,)),
    "mish":        Definition((lambda x: x * tanh(softplus(x)),)),
    "hardtanh":    Definition((_constant(-1), _identity, _constant(1)),          (-1, 1), {-1: 0, 1: 0}),
    "relu6":       Definition((_constant(0), _identity, _constant(6)),           (0, 6),  {0: 0, 6: 0}),
    "hardsigmoid": Definition((_constant(0), _linear(fmpq(1, 6), fmpq(1, 2)),
                               _constant(1)),                                    (-3, 3), {-3: 0, 3: 0}),
    "hardswish":   Definition((_constant(0), lambda x: x * (x + 3) / 6,
                               _identity),                                       (-3, 3), {-3: 0, 3: 1}),
    "logsigmoid":  Definition((lambda x: -softplus(-x),)),
    "sin":         Definition((sin,)),
    "gaussian":    Definition((lambda x: (-x * x).exp(),)),
}
# fmt: on


def _shifted(row: Sequence[Ball]) -> list[Ball]:
    """e^{a_j − M}, where M is the midpoint of the largest: quotients and differences are the same for every
    M."""
    top = max(row, key=float).mid()
    return [(a - top).exp() for a in row]


def _tops(rows: Pairs) -> Any:
    return rows.hi.max(axis=-1, keepdims=True)


def _softmax(row: Any) -> Any:
    """s_j = exp(a_j) / Σ_k exp(a_k), for a list of balls or for the rows of pairs."""
    if isinstance(row, Pairs):
        powers = (row - _tops(row)).exp()
        return powers / powers.sum(-1)
    e = _shifted(row)
    total = sum(e, arb(0))
    return [x / total for x in e]


def _log_softmax(row: Any) -> Any:
    """a_j − log Σ_k exp(a_k)."""
    if isinstance(row, Pairs):
        below = row - _tops(row)
        return below - below.exp().sum(-1).log()
    top = max(row, key=float).mid()
    log = sum(_shifted(row), arb(0)).log()
    return [a - top - log for a in row]


ROW_WISE: Mapping[str, Callable[[Any], Any]] = {
    "softmax": _softmax,
    "log_softmax": _log_softmax,
}


def _minus_log(x: Taylor) -> Taylor:
    """−log z, which is +∞ at 0."""
    z = x[0]
    if not isinstance(z, Pairs) and z.is_zero():
        return arb_series([arb("inf"), arb("-inf"), arb("inf")], ORDER)
    return lift(x, -z.log(), -1 / z, 1 / (z * z))


def _minus_log1m(x: Taylor) -> Taylor:
    """−log(1 − z)."""
    z, t = x[0], 1 - x[0]
    if not isinstance(t, Pairs) and t.is_zero():
        return arb_series([arb("inf"), arb("inf"), arb("inf")], ORDER)
    return lift(x, -(-z).log1p(), 1 / t, 1 / (t * t))


HALF = fmpq(1, 2)

# fmt: off
TERMS: Mapping[str, Definition] = {
    # name           pieces                                                                     breaks   f' at kinks
    "square":      Definition((lambda x: x * x,)),
    "absolute":    Definition((_linear(-1), _identity),                                         (0,),    {0: 0}),
    "huber":       Definition((_linear(-1, -HALF), lambda x: x * x / 2, _linear(1, -HALF)),     (-1, 1)),
    "minus":       Definition((_linear(-1),)),
    "minus_log":   Definition((_minus_log,), poles=(0,)),
    "minus_log1m": Definition((_minus_log1m,), poles=(1,)),
}
"""The functions that losses are sums of."""


class Term(NamedTuple):
    """A part of a loss at one entry, made from f: f(z − y), or y f(z), or (1 − y) f(z)."""

    f: str
    of: str  # "difference", "target" or "rest"


LOSSES: Mapping[str, tuple[Term, ...]] = {
    "mean_squared_error":        (Term("square", "difference"),),
    "cross_entropy":             (Term("minus_log", "target"),),
    "log_softmax_cross_entropy": (Term("minus", "target"),),
    "binary_cross_entropy":      (Term("minus_log", "target"), Term("minus_log1m", "rest")),
    "mean_absolute_error":       (Term("absolute", "difference"),),
    "huber":                     (Term("huber", "difference"),),
}
"""A loss is the sum of its terms over all entries, divided by the batch."""
# fmt: on


def loss_at(
    name: str, z: Ball, y: Ball, terms: Mapping[str, Callable[[Ball], Point]] = TERMS
) -> Point:
    """A loss's terms at one entry, and their derivatives in z. A term whose weight is 0 is left out, even if
    f is infinite: 0·∞ is 0."""
    total, decided = [arb(0)] * 3, True
    for term in LOSSES[name]:
        difference = term.of == "difference"
        w = arb(1) if difference else y if term.of == "target" else 1 - y
        if not w.is_zero():
            at = terms[term.f](z - y if difference else z)
            total = [t + w * x for t, x in zip(total, at[:3], strict=True)]
            decided = decided and at.decided
    return Point(total[0], total[1], total[2], decided)
