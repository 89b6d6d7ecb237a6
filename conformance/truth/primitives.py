"""The primitives of functions of any kind, besides those of networks (`rules.py`).

A function in array code is arithmetic, functions of one variable, comparisons, sums and products, and moving
numbers about; everything else is composed of these in `arrays.py`: a convolution is `take` and `matmul`.
First derivatives are written once, as the reverse rule. What an error of the operand does (`carry`) is exact
where that is as short to write; else it is of first order, and the second order counts as rounding.

**Kinks and ties.** A comparison is 1 or 0; in balls it is [0, 1] where its side is not known at the highest
precision. Where rounding may decide it, it may be off by 1. Its error is therefore 1 over `reach`, so that
the tolerance, `reach` times the root mean square, is the whole jump, and either side is accepted. Equal
operands are such a place: no mathematics says which side a tie is on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from flint import arb

from conformance.truth.balls import Ball
from conformance.truth.definitions import logistic
from conformance.truth.elementary import erf, erfc, sin_cos
from conformance.truth.nodes import Rule, Shape, Value, op, rules
from conformance.truth.pairs import Pairs
from conformance.truth.rounding import Model
from conformance.truth.rules import (
    IN_PAIRS,
    LEAF,
    Balls,
    balls_of,
    by,
    each,
    hypot,
    nothing,
    same,
    summed_to,
    times,
)

__all__ = ["SHARED", "UNARY", "WAYS", "inverse_of"]

ZERO, HALF, ONE = arb(0), arb(0.5), arb(1)
EITHER = ZERO.union(ONE)


# --- functions of one variable --------------------------------------------------------------------


class Unary(NamedTuple):
    """f: a ball of f, f' in floats from (a, y), the cotangent recorded from (g, y, a), and a bound of
    |f''|/2.

    `exact(e, a, y)` is f(a + e) − f(a), where that has a short form; else f'e is used, and `bend` bounds
    |f''|/2.
    """

    ball: Callable[[Ball], Ball]
    slope: Callable[[Any, Any], Any]
    reverse: Callable[[Value, Value, Value], Value]
    exact: Callable[[Any, Any, Any], Any] | None = None
    bend: float = 0.0


def _c(of: Value, x: float) -> Value:
    """A constant on the tape of `of`."""
    return of.tape.record(LEAF, numbers=float(x))


def _scaled(g: Value, c: float) -> Value:
    return op.multiply(g, _c(g, c))


def _one_minus(y: Value) -> Value:
    return op.subtract(_c(y, 1.0), y)


def _one_plus(y: Value) -> Value:
    return op.add(_c(y, 1.0), y)


_SQRT_PI = float(np.sqrt(np.pi))


def _angle(e: Any, a: Any) -> Any:
    """arcsin(a + e) − arcsin(a), by the sine and the cosine of the difference; a + e is held within ±1."""
    below, above = 1 + a, 1 - a
    e = np.clip(e, -below, above)
    s, t = np.sqrt(below * above), np.sqrt((below + e) * (above - e))
    sine = e * (s + a * (2 * a + e) / np.where(s + t, s + t, 1))
    return np.arctan2(sine, s * t + a * (a + e))


# fmt: off
UNARY: dict[str, Unary] = {
    # f: its ball, f'(a, y) in floats,
    #     its reverse, f(a + e) − f(a) or None, a bound of |f''|/2 where that is None
    "expm1": Unary(lambda a: a.expm1(),
        lambda a, y: np.exp(a),
        lambda g, y, a: op.multiply(g, op.exp(a)),
        lambda e, a, y: np.exp(a) * np.expm1(e)),
    "log": Unary(lambda a: a.log(),
        lambda a, y: 1 / a,
        lambda g, y, a: op.quotient(g, a),
        lambda e, a, y: np.log1p(e / a)),
    "log1p": Unary(lambda a: a.log1p(),
        lambda a, y: 1 / (1 + a),
        lambda g, y, a: op.quotient(g, _one_plus(a)),
        lambda e, a, y: np.log1p(e / (1 + a))),
    "sqrt": Unary(lambda a: a.sqrt(),
        lambda a, y: 0.5 / y,
        lambda g, y, a: op.quotient(_scaled(g, 0.5), y),
        lambda e, a, y: e / (np.sqrt(np.maximum(a + e, 0)) + y)),
    "rsqrt": Unary(lambda a: a.rsqrt(),
        lambda a, y: -0.5 * y**3,
        lambda g, y, a: op.multiply(op.multiply(_scaled(g, -0.5), y), op.square(y)),  lambda e, a, y: y *
        np.expm1(-0.5 * np.log1p(e / a))),
    "reciprocal": Unary(lambda a: 1 / a,
        lambda a, y: -y * y,
        lambda g, y, a: op.negative(op.multiply(g, op.square(y))),
        lambda e, a, y: -y * e / (a + e)),
    "square": Unary(lambda a: a * a,
        lambda a, y: 2 * a,
        lambda g, y, a: op.multiply(g, _scaled(a, 2.0)),
        lambda e, a, y: (2 * a + e) * e),
    "sin": Unary(lambda a: sin_cos(a)[0],
        lambda a, y: np.cos(a),
        lambda g, y, a: op.multiply(g, op.cos(a)),
        None, 0.5),
    "cos": Unary(lambda a: sin_cos(a)[1],
        lambda a, y: -np.sin(a),
        lambda g, y, a: op.negative(op.multiply(g, op.sin(a))),
        None, 0.5),
    "tan": Unary(lambda a: a.tan(),
        lambda a, y: 1 + y * y,
        lambda g, y, a: op.multiply(g, _one_plus(op.square(y))),
        lambda e, a, y: np.tan(e) * (1 + y * y) / (1 - y * np.tan(e))),
    "arctan": Unary(lambda a: a.atan(),
        lambda a, y: 1 / (1 + a * a),
        lambda g, y, a: op.quotient(g, _one_plus(op.square(a))),
        None, 0.33),
    "arcsin": Unary(lambda a: a.asin(),
        lambda a, y: 1 / np.sqrt(1 - a * a),
        lambda g, y, a: op.multiply(g, op.rsqrt(_one_minus(op.square(a)))),
        lambda e, a, y: _angle(e, a)),
    "arccos": Unary(lambda a: a.acos(),
        lambda a, y: -1 / np.sqrt(1 - a * a),
        lambda g, y, a: op.negative(op.multiply(g, op.rsqrt(_one_minus(op.square(a))))),
        lambda e, a, y: -_angle(e, a)),
    "sinh": Unary(lambda a: a.sinh(),
        lambda a, y: np.cosh(a),
        lambda g, y, a: op.multiply(g, op.cosh(a)),
        lambda e, a, y: np.cosh(a) * np.sinh(e) + y * 2 * np.sinh(e / 2) ** 2),
    "cosh": Unary(lambda a: a.cosh(),
        lambda a, y: np.sinh(a),
        lambda g, y, a: op.multiply(g, op.sinh(a)),
        lambda e, a, y: np.sinh(a) * np.sinh(e) + y * 2 * np.sinh(e / 2) ** 2),
    "arcsinh": Unary(lambda a: a.asinh(),
        lambda a, y: 1 / np.hypot(1, a),
        lambda g, y, a: op.multiply(g, op.rsqrt(_one_plus(op.square(a)))),
        None, 0.2),
    "arctanh": Unary(lambda a: a.atanh(),
        lambda a, y: 1 / ((1 - a) * (1 + a)),
        lambda g, y, a: op.quotient(g, _one_minus(op.square(a))),
        lambda e, a, y: (np.log1p(np.maximum(e / (1 + a), -1)) - np.log1p(np.maximum(-e / (1 - a), -1))) / 2),
    "tanh": Unary(lambda a: a.tanh(),
        lambda a, y: 1 / np.cosh(a) ** 2,
        lambda g, y, a: op.multiply(g, _one_minus(op.square(y))),
        None, 0.4),
    "sigmoid": Unary(logistic,
        lambda a, y: y / (1 + np.exp(a)),
        lambda g, y, a: op.multiply(g, op.multiply(y, _one_minus(y))),
        None, 0.05),
    "softplus": Unary(lambda a: a.exp().log1p(),
        lambda a, y: 1 / (1 + np.exp(-a)),
        lambda g, y, a: op.multiply(g, op.sigmoid(a)),
        None, 0.13),
    "erf": Unary(erf,
        lambda a, y: 2 / _SQRT_PI * np.exp(-a * a),
        lambda g, y, a: op.multiply(g, _bell(a, 1)),
        None, 0.5),
    "erfc": Unary(erfc,
        lambda a, y: -2 / _SQRT_PI * np.exp(-a * a),
        lambda g, y, a: op.multiply(g, _bell(a, -1)),
        None, 0.5),
}
# fmt: on


def _bell(a: Value, sign: int) -> Value:
    """±2/√π e^{−a²}, with the exact √π, not the float nearest to it."""
    return op.multiply(op.exp(op.negative(op.square(a))), op.two_over_root_pi(a, sign=sign))


def _root_pi(_: Any, a: Balls, sign: int) -> Balls:
    made = Pairs.of_balls if isinstance(a, Pairs) else balls_of
    return made([2 * sign / arb.pi().sqrt()], (1,) * a.ndim)


def _one_by_one(f: Callable[[Any], Any], _: Any, a: Balls) -> Balls:
    if isinstance(a, Pairs):
        return f(a)
    return balls_of(map(f, a.ravel().tolist()), a.shape)


def _unary_carried(of: Unary, m: Any, E: Any, y: Any, operands: Any) -> Any:
    a, e = operands[0], E[0]
    if of.exact is None or m is np.abs:  # a bound of first order
        return by(e, m(of.slope(a, y)))
    found = of.exact(e, a, y)
    return np.where(e == 0, 0.0, found) if np.isnan(found).any() else found


def _unary_rounding(name: str, of: Unary, model: Model, y: Any, operands: Any, s: Any) -> Any:
    """What the library may lose, and half the second derivative times the square of the operand's error."""
    u, size = model.u, s(0)
    lost = model.accuracy(name).c * u * np.abs(y) + model.arithmetic.normal
    return hypot(lost, of.bend * size * size) if of.bend else lost + 0 * np.abs(y)


# --- a quotient, a power --------------------------------------------------------------------------


def _quotient_carried(m: Any, E: Any, y: Any, operands: Any) -> Any:
    """(a + E)/(b + F) − a/b."""
    (_, b), (e, f) = operands, E
    if m is np.abs:
        return (e + by(f, np.abs(y))) / (np.abs(b) - f)
    return (e - by(f, y)) / (b + f)


def _power(a: Ball, b: Ball) -> Ball:
    """a^b; a may be negative where b is a whole number."""
    if b.is_integer() and b.is_exact():
        return a ** int(b.unique_fmpz())
    return ZERO if a.is_zero() and b > 0 else a**b


def _power_carried(m: Any, E: Any, y: Any, operands: Any) -> Any:
    """a^b(b E/a + log a F), to first order; at a = 0, E where b is 1 (`_power_rounding` adds its size for
    every b)."""
    (a, b), (e, f) = operands, E
    safe = np.where(a == 0, 1.0, a)
    slope = np.where(a == 0, np.where(b == 1, 1.0, 0.0), b * y / safe)
    growth = by(f, m(y * np.log(np.abs(safe)))) if not isinstance(f, float) else 0.0
    return by(e, m(slope)) + growth


def _power_reverse(g: Value, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
    lower = op.power(a, op.subtract(b, _c(b, 1.0)))
    positive = op.log(op.where(op.greater(a, _c(a, 0.0)), a, _c(a, 1.0)))
    return (
        summed_to(op.multiply(g, op.multiply(b, lower)), a),
        summed_to(op.multiply(g, op.multiply(y, positive)), b),
    )


def _power_rounding(model: Model, y: Any, operands: Any, s: Any) -> Any:
    (a, b), size = operands, s(0)
    safe = np.where(a == 0, 1.0, a)
    bend = np.abs(b * (b - 1) * y / (2 * safe * safe)) * size * size
    return hypot(4 * model.u * np.abs(y) + model.arithmetic.tiny, np.where(a == 0, size, bend))


# --- comparisons ----------------------------------------------------------------------------------


def _paired(f: Callable[[Any, Ball, Ball], Ball], context: Any, a: Balls, b: Balls) -> Balls:
    a, b = np.broadcast_arrays(a, b)
    pairs = zip(a.ravel().tolist(), b.ravel().tolist(), strict=True)
    return balls_of((f(context, x, z) for x, z in pairs), a.shape)


def _greater(context: Any, a: Balls, b: Balls) -> Balls:
    if isinstance(a, Pairs):
        return Pairs.exactly((a - b).positive())
    return _paired(_is_greater, context, a, b)


def _maximum(context: Any, a: Balls, b: Balls) -> Balls:
    if isinstance(a, Pairs):
        return Pairs.where((a - b).positive(), a, b)
    return _paired(lambda _, x, z: _greatest(x, z), context, a, b)


def _sides(context: Any, a: Balls, b: Balls, half: float) -> Balls:
    if isinstance(a, Pairs):
        greater, less = (a - b).positive(), (b - a).positive()
        return Pairs.exactly(np.where(greater, 1.0, np.where(less, 0.0, half)))
    return _paired(partial(_side, arb(half)), context, a, b)


def _is_greater(context: Any, a: Ball, b: Ball) -> Ball:
    if a > b:
        return ONE
    if a is b or a <= b:
        return ZERO
    return _undecided(context)


def _undecided(context: Any) -> Ball:
    context.decided = False
    return EITHER


def _same_ball(a: Ball, b: Ball) -> bool:
    """Whether two balls are certainly equal: the same computation, or the same number."""
    return a is b or (a == b) is True


def _is_equal(context: Any, a: Ball, b: Ball) -> Ball:
    return ONE if _same_ball(a, b) else ZERO if a != b else _undecided(context)


def _side(half: Ball, context: Any, a: Ball, b: Ball) -> Ball:
    """1 where a is greater, 0 where b is, `half` where they are equal."""
    if a > b:
        return ONE
    return half if _same_ball(a, b) else ZERO if a < b else _undecided(context)


def _side_rounding(model: Model, y: Any, operands: Any, s: Any, half: float) -> Any:
    free = _comparison_rounding(model, y, operands, s)
    return free if model.free else np.where((y > 0) & (y < 1), 0.0, free)


def _greatest(a: Ball, b: Ball) -> Ball:
    """The greater of two balls: one of them, where it is decided which."""
    return a if a is b or a >= b else b if b >= a else a.max(b)


def _near(a: Any, b: Any, s: Any, reach: float) -> Any:
    """Where rounding may decide which is greater, and where they are equal."""
    return np.abs(a - b) <= reach * np.hypot(s(0), s(1))


def _either(model: Model) -> float:
    """The error of a comparison that may go either way: λ times it is the whole difference, and some
    roundings for the other side."""
    return (1 + 16 * model.u) / model.reach if model.sides else 0.0


def _comparison_rounding(model: Model, y: Any, operands: Any, s: Any) -> Any:
    a, b = operands
    near = _near(a, b, s, model.reach) | (np.isinf(a) & (a == b))
    model.straddling += int(near.sum())
    return np.where(near, _either(model), 0.0)


def _sign(context: Any, a: Ball) -> Ball:
    if a > 0 or a < 0:
        return ONE if a > 0 else -ONE
    if a.is_zero():
        return ZERO
    context.decided = False
    return (-ONE).union(ONE)


def _signs(context: Any, a: Balls) -> Balls:
    if isinstance(a, Pairs):
        return Pairs.exactly(a.positive() * 1.0 - (-a).positive())
    return balls_of((_sign(context, x) for x in a.ravel().tolist()), a.shape)


def _sign_rounding(model: Model, y: Any, operands: Any, s: Any) -> Any:
    near = np.abs(operands[0]) <= model.reach * np.asarray(s(0))
    model.straddling += int(near.sum())
    return np.where(near, (1 + np.abs(y)) * _either(model), 0.0)


def _chosen(_: Any, m: Balls, a: Balls, b: Balls) -> Balls:
    if isinstance(m, Pairs):
        return Pairs.where(m.hi == 1, a, b)
    m, a, b = np.broadcast_arrays(m, a, b)
    of = zip(m.ravel().tolist(), a.ravel().tolist(), b.ravel().tolist(), strict=True)
    return balls_of(
        (x if c is ONE or c == 1 else z if c is ZERO or c == 0 else x.union(z) for c, x, z in of),
        m.shape,
    )


def _chosen_carried(m: Any, E: Any, y: Any, operands: Any) -> Any:
    c, a, b = operands
    flipped = 0.0 if isinstance(E[0], float) else by(E[0], m(np.where(a == b, 0.0, a - b)))
    return np.where(c > 0.5, E[1], E[2]) + flipped + np.zeros(y.shape)


def _chosen_reverse(g: Value, y: Value, m: Value, a: Value, b: Value) -> tuple[Any, Value, Value]:
    zero = _c(g, 0.0)
    return None, summed_to(op.where(m, g, zero), a), summed_to(op.where(m, zero, g), b)


def _maximum_carried(m: Any, E: Any, y: Any, operands: Any) -> Any:
    """max(a + E, b + F) − max(a, b)."""
    (a, b), (e, f) = operands, E
    if m is np.abs:
        return np.maximum(e, f) + np.zeros(y.shape)
    with np.errstate(invalid="ignore"):
        below, above = a - y, b - y
    return np.maximum(np.where(a == y, 0.0, below) + e, np.where(b == y, 0.0, above) + f)


def _maximum_reverse(half: float, g: Value, y: Value, a: Value, b: Value) -> tuple[Value, Value]:
    """The cotangent goes to the greater operand; where they are equal, the part `half` of it goes to a."""
    return (
        summed_to(op.multiply(g, op.side(a, b, half=half)), a),
        summed_to(op.multiply(g, op.side(b, a, half=1 - half)), b),
    )


def _absolute_carried(m: Any, E: Any, y: Any, operands: Any) -> Any:
    """|a + E| − |a|."""
    a, e = operands[0], E[0]
    if m is np.abs:
        return e
    return np.where(a == 0, np.abs(e), np.sign(a) * e)


# --- over axes, which are counted from the last and kept ------------------------------------------


def _over(a: Any, axes: tuple[int, ...]) -> Any:
    """a with those axes merged into one at the end."""
    kept = [i for i in range(a.ndim) if i - a.ndim not in axes]
    gone = [i for i in range(a.ndim) if i - a.ndim in axes]
    return np.transpose(a, (*kept, *gone)).reshape(*(a.shape[i] for i in kept), -1)


def _reduced_shape(a: Shape, axes: tuple[int, ...]) -> Shape:
    return tuple(1 if i - len(a) in axes else n for i, n in enumerate(a))


def _largest(_: Any, a: Balls, axes: tuple[int, ...]) -> Balls:
    rows = _over(a, axes)
    found = []
    for first, *others in rows.reshape(-1, rows.shape[-1]).tolist():
        for x in others:
            first = _greatest(first, x)
        found.append(first)
    return balls_of(found, _reduced_shape(a.shape, axes))


def _largest_carried(m: Any, E: Any, y: Any, operands: Any, axes: tuple[int, ...]) -> Any:
    e = E[0]
    below = 0.0 if m is np.abs else np.where(operands[0] == y, 0.0, operands[0] - y)
    return (below + e).max(axis=axes, keepdims=True)


def _largest_reverse(way: str, g: Value, y: Value, a: Value, axes: tuple[int, ...]) -> tuple[Value]:
    return (op.multiply(g, op.share(a, y, axes=axes, way=way)),)


WAYS = ("uneven", "first", "last")
SHARED: dict[str, dict[str, Callable[..., Any]]] = {
    "maximum": {
        way: partial(_maximum_reverse, half)
        for way, half in zip(WAYS, (0.25, 1.0, 0.0), strict=True)
    },
    "largest": {way: partial(_largest_reverse, way) for way in WAYS},
}
"""Reverse rules that are as right as those below: equal numbers get different parts of the gradient, or the
first or the last of them gets all of it."""


def _share(context: Any, a: Balls, y: Balls, axes: tuple[int, ...], way: str) -> Balls:
    """The shares of the elements that are the largest: 1/t for each of t, or by `way` another part; 0 for the
    others."""
    found: Any = np.empty(a.shape, object)
    rows, tops, places = (
        _over(a, axes),
        _over(y, axes),
        _over(np.arange(a.size).reshape(a.shape), axes),
    )
    n = rows.shape[-1]
    for row, top, at in zip(
        rows.reshape(-1, n), tops.reshape(-1), places.reshape(-1, n), strict=True
    ):
        equal = [_is_equal(context, x, top) for x in row.tolist()]
        decided = all(x is not EITHER for x in equal)
        if way == "uneven":
            equal = [x * (1 + k) if x is ONE else x for k, x in enumerate(equal)]
        elif way != "even" and decided:
            ones = [k for k, x in enumerate(equal) if x is ONE]
            alone = ones[0 if way == "first" else -1]
            equal = [ONE if k == alone else ZERO for k in range(n)]
        count = sum(equal, ZERO)
        if decided:
            found.reshape(-1)[at] = [x / count for x in equal]
        else:
            found.reshape(-1)[at] = [ZERO if x is ZERO else EITHER for x in equal]
    return found


def _share_rounding(
    model: Model, y: Any, operands: Any, s: Any, axes: tuple[int, ...], way: str
) -> Any:
    a, top = operands
    near = (a == top) | (np.abs(top - a) <= model.reach * np.hypot(s(0), s(1)))
    tied = near & (near.sum(axis=axes, keepdims=True) > 1)
    model.straddling += int(tied.sum())
    return np.where(tied & (model.free | (y == 0) | (y == 1)), _either(model), 0.0)


# --- whole numbers --------------------------------------------------------------------------------


def _floor_rounding(model: Model, y: Any, operands: Any, s: Any) -> Any:
    a, size = operands[0], np.asarray(s(0))
    near = (np.abs(a - np.rint(a)) <= model.reach * size) & (size > 0)
    return np.where(near, _either(model), 0.0)


# --- moving numbers about -------------------------------------------------------------------------


def _taken(_: Any, a: Any, index: Any) -> Any:
    """The elements of the flattened a at these indices; 0 for the index −1."""
    zero = ZERO if isinstance(a, np.ndarray) and a.dtype == object else 0.0
    return np.append(a.reshape(-1), [zero])[index]


def _taken_carried(m: Any, E: Any, y: Any, operands: Any, index: Any) -> Any:
    flat = E[0].reshape(len(E[0]), -1)
    if (index < 0).any():
        flat = np.concatenate([flat, np.zeros((len(flat), 1))], axis=1)
    return flat[:, index]


def inverse_of(index: Any, size: int) -> Any:
    """size×k: for each element, the positions in `index` where it occurs, filled up with −1. k is the largest
    number of occurrences."""
    flat = index.ravel()
    there = np.flatnonzero(flat >= 0)
    order = there[np.argsort(flat[there], kind="stable")]
    counts = np.bincount(flat[order], minlength=size)
    found = np.full((size, max(int(counts.max(initial=0)), 1)), -1, np.intp)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    found[flat[order], rank] = order
    return found


def _taken_reverse(g: Value, y: Value, a: Value, index: Any) -> tuple[Value]:
    """Each element gets the sum of the cotangents at the positions that it was taken to."""
    size = int(np.prod(a.shape))
    found = op.take(g, index=inverse_of(index, size))
    if found.shape[-1] > 1:
        found = op.sum(found, axes=(-1,))
    return (op.reshape(found, shape=a.shape),)


def _permuted_carried(m: Any, E: Any, y: Any, operands: Any, axes: tuple[int, ...]) -> Any:
    return np.transpose(E[0], (0, *(i + 1 for i in axes)))


def _joined_carried(m: Any, E: Any, y: Any, operands: Any, axis: int) -> Any:
    draws = next(len(e) for e in E if not isinstance(e, float))
    parts = [
        np.zeros((draws, *a.shape))
        if isinstance(e, float)
        else np.broadcast_to(e, (draws, *a.shape))
        for e, a in zip(E, operands, strict=True)
    ]
    return np.concatenate(parts, axis=axis)


def _joined_shape(*shapes: Shape, axis: int) -> Shape:
    first = list(shapes[0])
    first[axis] = sum(s[axis] for s in shapes)
    return tuple(first)


def _joined_reverse(g: Value, y: Value, *operands: Value, axis: int) -> tuple[Value, ...]:
    places, at, found = np.arange(int(np.prod(g.shape))).reshape(g.shape), 0, []
    for x in operands:
        n = x.shape[axis]
        index = np.take(places, range(at, at + n), axis=axis)
        found.append(op.take(g, index=index))
        at += n
    return tuple(found)


def _cast_back(g: Value, a: Value) -> Value:
    """The cotangent g in the dtype of its operand a."""
    before, g.tape.dtype = g.tape.dtype, a.tape.nodes[a.index].dtype
    found = op.cast(g)
    g.tape.dtype = before
    return found


def _no_reverse(count: int) -> Callable[..., tuple[None, ...]]:
    """A reverse rule without cotangents: the derivative is 0 wherever there is one."""
    return lambda g, y, *operands, **_: (None,) * count


# fmt: off
rules(
    # name, shape, ball,
    #     reverse,
    #     carry, rounding, keys
    *(Rule(name, same, partial(_one_by_one, f.ball),
           partial(lambda f, g, y, a: (f.reverse(g, y, a),), f),
           partial(_unary_carried, f), partial(_unary_rounding, name, f), each) for name, f in UNARY.items()),
    # as many axes as a: errors have one more
    Rule("two_over_root_pi", lambda a, sign: (1,) * len(a), _root_pi,
         _no_reverse(1),
         nothing, lambda model, y, o, s, sign: model.u * np.abs(y),
         lambda salt, y, o, sign: each(salt, y, [y])),
    Rule("quotient", same, lambda _, a, b: a / b,
         lambda g, y, a, b: (summed_to(op.quotient(g, b), a),
                             summed_to(op.negative(op.quotient(op.multiply(g, y), b)), b)),
         _quotient_carried, partial(times, 1), each),
    Rule("power", same, lambda c, a, b: _paired(lambda _, x, z: _power(x, z), c, a, b),
         _power_reverse,
         _power_carried, _power_rounding, each),
    Rule("greater", same, _greater,
         _no_reverse(2),
         nothing, _comparison_rounding, each),
    Rule("equal", same, partial(_paired, _is_equal),
         _no_reverse(2),
         nothing, _comparison_rounding, each),
    Rule("side", same, _sides,
         _no_reverse(2),
         nothing, _side_rounding, each),
    Rule("either_of", same, lambda _, a, b: a + b - a * b,  # of masks
         _no_reverse(2),
         lambda m, E, y, o: by(E[0], m(1 - o[1])) + by(E[1], m(1 - o[0])), None, None),
    Rule("both_of", same, lambda _, a, b: a * b,
         _no_reverse(2),
         lambda m, E, y, o: by(E[0], o[1]) + by(E[1], o[0]), None, None),
    Rule("none_of", same, lambda _, a: 1 - a,
         _no_reverse(1),
         lambda m, E, y, o: m(-1.0) * E[0], None, None),
    Rule("where", same, _chosen,
         _chosen_reverse,
         _chosen_carried, None, None),
    Rule("maximum", same, _maximum,
         partial(_maximum_reverse, 0.5),
         _maximum_carried, None, None),
    Rule("absolute", same, partial(_one_by_one, abs),
         lambda g, y, a: (op.multiply(g, op.sign(a)),),
         _absolute_carried, None, None),
    Rule("sign", same, _signs,
         _no_reverse(1),
         nothing, _sign_rounding, each),
    Rule("floor", same, lambda _, a: balls_of((x.floor() for x in a.ravel().tolist()), a.shape),
         _no_reverse(1),
         nothing, _floor_rounding, each),
    Rule("largest", _reduced_shape, _largest,
         partial(_largest_reverse, "even"),
         _largest_carried, None, None),
    Rule("share", lambda a, y, axes, way: a, _share,
         _no_reverse(2),
         nothing, _share_rounding, each),
    Rule("take", lambda a, index: index.shape, _taken,
         _taken_reverse,
         _taken_carried, None, None, moves=True),
    Rule("permute", lambda a, axes: tuple(a[i] for i in axes), lambda _, a, axes: np.transpose(a, axes),
         lambda g, y, a, axes: (op.permute(g, axes=tuple(np.argsort(axes).tolist())),),
         _permuted_carried, None, None, moves=True),
    Rule("join", _joined_shape,  # along an axis counted from the last
         lambda _, *of, axis: np.concatenate(of, axis=axis),
         _joined_reverse,
         _joined_carried, None, None, moves=True),
    Rule("stop", same, lambda _, a: a,  # its value, without a gradient: detach, stop_gradient
         _no_reverse(1),
         lambda m, E, y, o: E[0], None, None, moves=True),
    Rule("cast", same, lambda _, a: a,  # to a narrower dtype
         lambda g, y, a: (g,),
         lambda m, E, y, o: E[0], lambda model, y, o, s: model.u * np.abs(y) + model.arithmetic.tiny, each),
    Rule("widen", same, lambda _, a: a,  # to a wider dtype: exact, and its cotangent is cast back
         lambda g, y, a: (_cast_back(g, a),),
         lambda m, E, y, o: E[0], None, None, moves=True),
)
# fmt: on

IN_PAIRS.update(
    (
        "expm1",
        "log",
        "log1p",
        "sqrt",
        "rsqrt",
        "reciprocal",
        "square",
        "tanh",
        "sigmoid",
        "softplus",
        "erf",
        "erfc",
        "sin",
        "cos",
    ),
    ("erf", "erfc", "two_over_root_pi", "quotient", "cast"),
    ("greater", "where", "side", "maximum", "absolute", "sign"),
)
