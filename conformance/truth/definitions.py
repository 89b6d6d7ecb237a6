"""What each activation and loss is, as mathematics: written from definitions, never from refbp.

An activation is one row: its pieces (one formula each, on Taylor balls) and the points between them.
Derivatives are not written down anywhere: the formula, evaluated at a + t to second order, gives
σ(a), σ'(a) and σ''(a)/2 with a proof, so that no slip in a derivative can hide here.
Where σ has a kink, no mathematics says what σ' is: the row states the convention (the frameworks'
subgradient choice), and an implementation documented to choose another is a known difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from flint import arb, arb_series, fmpq

from conformance.truth.balls import Ball, union

__all__ = ["ACTIVATIONS", "LOSSES", "ROW_WISE", "Definition", "LossDefinition", "Point"]

Taylor: TypeAlias = Any  # flint.arb_series to order 2: [σ, σ', σ''/2]
ORDER = 3


class Point(NamedTuple):
    """σ at one point: value, first and second derivative, and the jump of σ' if it is not known."""

    value: Ball
    first: Ball
    second: Ball
    decided: bool = True


@dataclass(frozen=True, eq=False)
class Definition:
    """An elementwise σ: `pieces[i]` holds between `breaks[i-1]` and `breaks[i]`.

    `kinks` gives σ' at single points, by convention: at the breaks where the one-sided derivatives
    differ.
    """

    pieces: tuple[Callable[[Taylor], Taylor], ...]
    breaks: tuple[float, ...] = ()
    kinks: Mapping[float, float | fmpq] = field(default_factory=dict)

    def __call__(self, a: Ball) -> Point:
        """σ, σ' and σ'' at the ball a; the hull of the pieces where a's side is undecided."""
        if not self.breaks and not self.kinks:
            return self._piece(0, a)
        return self._combine(a, [self._piece(i, a) for i in self._touched(a)])

    def _touched(self, a: Ball) -> Sequence[int]:
        """The pieces that a may lie in: one, or more where it touches a break."""
        first = sum(1 for b in self.breaks if a > b)
        last = sum(1 for b in self.breaks if not (a < b))
        return range(first, last + 1)

    def _piece(self, i: int, a: Ball) -> Point:
        s = self.pieces[i](arb_series([a, 1], ORDER))
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
        """How far σ' jumps at each break: what an entry nearby may be off if it took the other side."""
        found = {}
        for i, b in enumerate(self.breaks):
            left, right = (self._piece(j, arb(b)).first for j in (i, i + 1))
            found[b] = float(abs(right - left).abs_upper())
        return {b: jump for b, jump in found.items() if jump > 0}


def lift(x: Taylor, f: Ball, f1: Ball, f2: Ball) -> Taylor:
    """f(x) to second order from f, f' and f'' at x's constant term: the chain rule, once."""
    return arb_series([f, f1 * x[1], f1 * x[2] + f2 * x[1] * x[1] / 2], ORDER)


def logistic(a: Ball) -> Ball:
    """1/(1 + e^−a), by whichever of its two forms does not overflow."""
    e = (-abs(a)).exp()
    return 1 / (1 + e) if a.mid() > 0 else e / (1 + e) if a.mid() < 0 else 1 / (1 + (-a).exp())


def sigmoid(x: Taylor) -> Taylor:
    s, t = logistic(x[0]), logistic(-x[0])
    return lift(x, s, s * t, s * t * (t - s))


def tanh(x: Taylor) -> Taylor:
    v, s = x[0].tanh(), x[0].sech()
    return lift(x, v, s * s, -2 * v * s * s)


def expm1(x: Taylor) -> Taylor:
    e = x[0].exp()
    return lift(x, x[0].expm1(), e, e)


def softplus(x: Taylor) -> Taylor:
    """log(1 + e^x) = max(x, 0) + log(1 + e^−|x|), by whichever form does not overflow."""
    a, s, t = x[0], logistic(x[0]), logistic(-x[0])
    value = a + (-a).exp().log1p() if a.mid() > 0 else a.exp().log1p()
    return lift(x, value, s, s * t)


def normal_cdf(x: Taylor) -> Taylor:
    """Φ(x) = erfc(−x/√2)/2, which does not cancel in the tail."""
    density = (-x[0] * x[0] / 2).exp() / (2 * arb.pi()).sqrt()
    return lift(x, (-x[0] / arb(2).sqrt()).erfc() / 2, density, -x[0] * density)


def gelu_tanh(x: Taylor) -> Taylor:
    """x(1 + tanh u)/2 = x · sigmoid(2u), u = √(2/π)(x + 0.044715 x³)."""
    return x * sigmoid(2 * (2 / arb.pi()).sqrt() * (x + _decimal("0.044715") * x * x * x))


def sin(x: Taylor) -> Taylor:
    s, c = x[0].sin_cos()
    return lift(x, s, c, -s)


def _decimal(text: str) -> fmpq:
    """The decimal fraction itself, not the float nearest to it."""
    whole, _, digits = text.partition(".")
    return fmpq(int(whole + digits), 10 ** len(digits))


def _constant(c: float) -> Callable[[Taylor], Taylor]:
    return lambda x: arb_series([arb(c)], ORDER)


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


def softmax(row: Sequence[Ball]) -> list[Ball]:
    """s_j = exp(a_j) / Σ_k exp(a_k): each e^{a_k − a_j} is at most huge, and balls do not overflow."""
    return [1 / sum((a - b).exp() for a in row) for b in row]


def _softmax(row: Sequence[Ball]) -> list[Ball]:
    return softmax(row)


def _softmax_vjp(row: Sequence[Ball], G: Sequence[Ball]) -> list[Ball]:
    """∂z_j/∂a_i = s_j(δ_ij − s_i), summed against G: written out, not factored."""
    s = softmax(row)
    m = range(len(row))
    return [sum(G[j] * s[j] * ((1 if i == j else 0) - s[i]) for j in m) for i in m]


def _log_softmax(row: Sequence[Ball]) -> list[Ball]:
    return [-sum((a - b).exp() for a in row).log() for b in row]


def _log_softmax_vjp(row: Sequence[Ball], G: Sequence[Ball]) -> list[Ball]:
    """∂z_j/∂a_i = δ_ij − s_i, summed against G."""
    s = softmax(row)
    m = range(len(row))
    return [sum(G[j] * ((1 if i == j else 0) - s[i]) for j in m) for i in m]


ROW_WISE: Mapping[str, tuple[Callable[..., list[Ball]], Callable[..., list[Ball]]]] = {
    "softmax": (_softmax, _softmax_vjp),
    "log_softmax": (_log_softmax, _log_softmax_vjp),
}


class LossDefinition(NamedTuple):
    """A loss as a sum over entries, divided by the batch: term(z, y), and its derivative in z."""

    term: Callable[[Ball, Ball], Ball]
    derivative: Callable[[Ball, Ball], Ball]


def _sign(d: Ball) -> Ball:
    """sign(d), by convention 0 at 0; all of [−1, 1] where d's sign is undecided."""
    if d > 0:
        return arb(1)
    if d < 0:
        return arb(-1)
    return arb(0) if d.is_zero() else arb(0, 1)


def _huber(z: Ball, y: Ball) -> Ball:
    d = abs(z - y)
    inner, outer = d * d / 2, d - fmpq(1, 2)
    return inner if d <= 1 else outer if d > 1 else inner.union(outer)


def _huber_derivative(z: Ball, y: Ball) -> Ball:
    d = z - y
    if abs(d) <= 1:
        return d
    return _sign(d) if abs(d) > 1 else d.union(_sign(d))


def _entropy(y: Ball, z: Ball) -> Ball:
    """−y log z, which is 0 where y is."""
    return arb(0) if y.is_zero() else -y * z.log()


def _odds(y: Ball, z: Ball) -> Ball:
    """−y/z, which is 0 where y is."""
    return arb(0) if y.is_zero() else -y / z


# fmt: off
LOSSES: Mapping[str, LossDefinition] = {
    # name                                     term                                      ∂term/∂z
    "mean_squared_error":        LossDefinition(lambda z, y: (z - y) * (z - y),           lambda z, y: 2 * (z - y)),
    "cross_entropy":             LossDefinition(lambda z, y: _entropy(y, z),              lambda z, y: _odds(y, z)),
    "log_softmax_cross_entropy": LossDefinition(lambda z, y: -y * z,                      lambda z, y: -y),
    "binary_cross_entropy":      LossDefinition(lambda z, y: _entropy(y, z) + _entropy(1 - y, 1 - z),
                                                                                          lambda z, y: _odds(y, z) - _odds(1 - y, 1 - z)),
    "mean_absolute_error":       LossDefinition(lambda z, y: abs(z - y),                  lambda z, y: _sign(z - y)),
    "huber":                     LossDefinition(_huber,                                   _huber_derivative),
}
# fmt: on
