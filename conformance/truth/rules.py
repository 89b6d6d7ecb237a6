"""The primitives of a tape, one row each: shape, ball, reverse, carried errors, rounding, keys.

In `carry(m, E, y, operands)` an error that is 0 everywhere is the number 0.0; other errors have one more axis
in front, for the draws (of length 1 for a bound). A formula is exact, not of first order, where that is as
short: m is the identity for errors with signs, and |·| for bounds (`nodes.Rule`).

docs/tolerances.md derives each rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from math import log, prod, sqrt
from typing import Any

import numpy as np
from flint import arb, arb_mat

from conformance.truth.balls import Ball
from conformance.truth.definitions import ROW_WISE, Definition
from conformance.truth.nodes import Rule, Shape, Value, op, rules
from conformance.truth.pairs import Pairs, Stack
from conformance.truth.rounding import Accuracy, Model, Reals, alike, along, keys

__all__ = [
    "IN_PAIRS",
    "LEAF",
    "OF_NETWORKS",
    "Balls",
    "added",
    "balls_of",
    "by",
    "each",
    "elementwise",
    "exactly",
    "hypot",
    "nothing",
    "one_by_one",
    "same",
    "summed_to",
    "times",
]

Balls = Any  # an array of dtype object whose elements are balls


def balls_of(entries: Iterable[Ball], shape: Shape) -> Balls:
    """Balls as an array."""
    of = list(entries)
    B = np.empty(len(of), object)
    B[:] = of
    return B.reshape(shape)


def exactly(numbers: Any) -> Balls:
    """Floats as balls of radius zero."""
    M = np.asarray(numbers, np.float64)
    return balls_of(map(arb, M.ravel().tolist()), M.shape)


# --- shared by several ----------------------------------------------------------------------------


def same(*shapes: Shape, **_: Any) -> Shape:
    return np.broadcast_shapes(*shapes)


def added(model: Model, y: Any, operands: Any, s: Any) -> Any:
    """The rounding of a sum. A sum of 0 is exact: an addition loses nothing to underflow, unless subnormals
    are flushed."""
    return np.where(y == 0, 0.0, model.u * np.abs(y) + model.arithmetic.tiny)


def _total_rounding(model: Model, y: Any, operands: Any, s: Any) -> Any:
    """The rounding of a sum of k terms that may be added in any order, as `_sum_rounding`."""
    u, k = model.u, len(operands)
    if model.worst:
        return (k - 1) * u * sum(np.abs(x) + s(i) for i, x in enumerate(operands))
    return hypot(u * sqrt((k - 1) / 2) * hypot(*operands), u * np.abs(y), model.arithmetic.tiny)


def _onto_rounding(model: Model, y: Any, operands: Any, s: Any, terms: int) -> Any:
    """The rounding of a sum of `terms` terms that may begin with b: it then rounds a number as large as b at
    each term."""
    first = added(model, y, operands, s)
    if model.worst:
        return first + terms * model.arithmetic.sums * (np.abs(operands[1]) + s(1))
    return hypot(first, model.arithmetic.sums * sqrt(terms / 2) * np.abs(operands[1]))


def by(e: Any, c: Any) -> Any:
    """e·c, and 0 where either is 0, even if the other is infinite."""
    found = e * c
    if np.isfinite(np.sum(found)):
        return found
    return np.where((np.asarray(e) == 0) | (np.asarray(c) == 0), 0.0, found)


def nothing(m: Any, E: Any, y: Any, operands: Any, **_: Any) -> float:
    return 0.0


def each(salt: int, y: Any, operands: Any, **_: Any) -> Any:
    """Keys for the rounding of an element, which depends on the elements that it is computed from."""
    found: Any = np.zeros(y.shape, np.uint64)
    with np.errstate(over="ignore"):
        for i, x in enumerate(operands):
            found = found + keys(x, salt + 131 * i)
    return found


def times(most: float, model: Model, y: Any, operands: Any, s: Any, **_: Any) -> Any:
    """The rounding of a value that is rounded once or, by some implementations, up to `most` times."""
    size = (most if model.worst else 1) * model.u * np.abs(y) + model.arithmetic.tiny
    if flushed := model.arithmetic.flushed:
        size = size + flushed * sum(np.abs(x) for x in operands)
    return size


def summed_to(g: Value, operand: Value) -> Value:
    """The cotangent of an operand that was broadcast, summed to its shape."""
    shape = operand.shape
    if g.shape == shape:
        return g
    more = len(g.shape) - len(shape)
    axes = tuple(
        i - len(g.shape)
        for i, n in enumerate(g.shape)
        if i < more or (shape[i - more] == 1 and n != 1)
    )
    summed = op.sum(g, axes=axes)
    return summed if summed.shape == shape else op.reshape(summed, shape=shape)


# --- products -------------------------------------------------------------------------------------


def _product_shape(a: Shape, b: Shape) -> Shape:
    return (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])


def _ball_product(context: Any, a: Balls, b: Balls) -> Balls:
    if isinstance(a, Pairs):
        return a.product(b, context.slices)
    shape = _product_shape(a.shape, b.shape)
    stacked = shape[:-2]
    P = np.broadcast_to(a, stacked + a.shape[-2:]).reshape(-1, *a.shape[-2:])
    Q = np.broadcast_to(b, stacked + b.shape[-2:]).reshape(-1, *b.shape[-2:])
    entries: list[Ball] = []
    made: Any = arb_mat
    for p, q in zip(P, Q, strict=True):
        entries += (
            made(*p.shape, p.ravel().tolist()) * made(*q.shape, q.ravel().tolist())
        ).entries()
    return balls_of(entries, shape)


def _carried_product(m: Any, E: Any, y: Any, operands: Any) -> Any:
    """(a + E)(b + F) − ab."""
    (a, b), (e, f) = operands, (_stacked(x, y.ndim) for x in E)
    if isinstance(e, float):
        return 0.0 if isinstance(f, float) else m(a) @ f
    left = e @ (m(b) + f)
    return left if isinstance(f, float) else _plus(left, m(a) @ f)


def _stacked(e: Any, ndim: int) -> Any:
    """Errors of an operand with fewer axes: the missing axes are inserted after that of the draws."""
    if isinstance(e, float) or e.ndim > ndim:
        return e
    return e.reshape(e.shape[0], *(1,) * (ndim + 1 - e.ndim), *e.shape[1:])


def _product_rounding(model: Model, y: Any, operands: Any, s: Any) -> Any:
    """In any order at most k·u |a||b| (Jeannerod and Rump 2013). On average √(k/2)·u √(a²b²); for terms of
    one sign, whose partial sums grow, √(1 + Σ n_v²/3)·u |ab|: k terms that differ err independently, n_v that
    are alike err together."""
    a, b = operands
    k, u, lost = a.shape[-1], model.arithmetic.sums, a.shape[-1] * model.arithmetic.tiny
    if flushed := model.arithmetic.flushed:
        sizes = np.abs(a).sum(axis=-1, keepdims=True) + np.abs(b).sum(axis=-2, keepdims=True)
        lost = lost + flushed * sizes
    if model.worst:
        return k * u * ((np.abs(a) + s(0)) @ (np.abs(b) + s(1))) + lost
    least = np.finfo(float).tiny
    p = np.maximum(np.abs(a).max(axis=-1, keepdims=True, initial=0), least)  # squares may underflow
    q = np.maximum(np.abs(b).max(axis=-2, keepdims=True, initial=0), least)
    scaled = np.sqrt(((a / p) ** 2) @ ((b / q) ** 2))
    apart = p * scaled * q
    lost = np.where((scaled > 0) | (y != 0), lost, 0.0)  # a sum of zeros is 0
    together = np.minimum(alike(a, u, -1), alike(b, u, -2))
    stored = model.u * np.abs(y) if u < model.u else 0.0
    rounded = model.arithmetic.factors * sqrt(2) * apart
    return hypot(
        u * sqrt(k / 2) * apart, u * np.sqrt(1 + together / 3) * np.abs(y), lost, stored, rounded
    )


def _product_keys(salt: int, y: Any, operands: Any) -> Any:
    """Keys from the row and the column that an element is the product of."""
    a, b = operands
    with np.errstate(over="ignore"):
        return along(a, salt, -1) + along(b, salt + 131, -2)


def hypot(*sizes: Any) -> Any:
    """√Σ size², without underflow."""
    squares: Any = np.square(sizes[0])
    for size in sizes[1:]:
        squares = squares + np.square(size)
    if ((squares > 2.0**-900) & (squares < np.inf)).all():
        return np.sqrt(squares)
    total: Any = np.abs(sizes[0])
    for size in sizes[1:]:
        total = np.hypot(total, size)
    return total


# --- sums -----------------------------------------------------------------------------------------


def _sum_shape(a: Shape, axes: tuple[int, ...]) -> Shape:
    return tuple(1 if i - len(a) in axes else n for i, n in enumerate(a))


def _last(x: Any, axes: tuple[int, ...]) -> Any:
    """x with those axes merged into one at the end; each keeps an axis of length 1 in its place."""
    kept = [i for i in range(x.ndim) if i - x.ndim not in axes]
    moved = np.transpose(x, (*kept, *(i for i in range(x.ndim) if i - x.ndim in axes)))
    return moved.reshape(*_sum_shape(x.shape, axes), prod(x.shape[a] for a in axes))


def _ball_sum(_: Any, a: Balls, axes: tuple[int, ...]) -> Balls:
    if isinstance(a, Pairs):
        return a.moved(lambda x: _last(x, axes)).sum(-1)[..., 0]
    rows = _last(a, axes)
    shape = rows.shape[:-1]
    rows = rows.reshape(prod(shape), rows.shape[-1])
    return balls_of((sum(row.tolist(), arb(0)) for row in rows), shape)


def _sum_rounding(model: Model, y: Any, operands: Any, s: Any, axes: tuple[int, ...]) -> Any:
    """The rounding of a product with a column of ones, without the roundings of the products."""
    a, u = operands[0], model.arithmetic.sums
    rows = _last(np.abs(a) + (s(0) if model.worst else 0.0), axes)
    k = rows.shape[-1]
    if model.worst:
        return (k - 1) * u * rows.sum(axis=-1) + k * model.arithmetic.tiny
    top = np.maximum(rows.max(axis=-1, keepdims=True, initial=0), np.finfo(float).tiny)
    apart = (top * np.sqrt(((rows / top) ** 2).sum(axis=-1, keepdims=True)))[..., 0]
    together = alike(_last(a, axes), u, -1)[..., 0]
    return hypot(
        u * sqrt(max(k - 1, 0) / 2) * apart,
        u * np.sqrt(together / 3) * np.abs(y),
        k * model.arithmetic.tiny,
        model.u * np.abs(y) if u < model.u else 0.0,
    )


def _sum_keys(salt: int, y: Any, operands: Any, axes: tuple[int, ...]) -> Any:
    return along(_last(operands[0], axes), salt, -1)[..., 0]


# --- functions of one variable --------------------------------------------------------------------


def one_by_one(name: str, _: Any, a: Balls) -> Balls:
    """A function of every element, by its name."""
    if isinstance(a, Pairs):
        return getattr(a, name)()
    return balls_of((getattr(x, name)() for x in a.ravel().tolist()), a.shape)


def _expanded(context: Any, a: Balls, sigma: Definition, name: str) -> Balls:
    """f, f' and f'' at every element, one after the other along a new first axis."""
    if isinstance(a, Pairs):
        return Stack(sigma.at_pairs(a))
    points = context.points(a, sigma)
    return balls_of((x for i in range(3) for x in (p[i] for p in points)), (3, *a.shape))


@cache
def _jumps(sigma: Definition) -> tuple[tuple[float, float], ...]:
    return tuple(sigma.jumps().items())


def _expansion_carried(m: Any, E: Any, y: Any, operands: Any, sigma: Any, name: str) -> Any:
    """f'E and f''E; the error of f'' is never used."""
    e = E[0]
    return np.stack([by(e, m(y[1])), by(e, m(y[2]))], axis=1)


def _expansion_rounding(
    model: Model, y: Any, operands: Any, s: Any, sigma: Definition, name: str
) -> Any:
    """What evaluations of f and f' may lose (`Accuracy`), what underflows on the way, the second order of the
    operand's error, and the jump of f' where a kink is within reach."""
    a, u, of, size = operands[0], model.u, model.accuracy(name), s(0)
    reach = model.reach * size
    near = np.zeros_like(a)
    for b, jump in _jumps(sigma):
        # a number that is 0 is passed on as 0, unless it underflowed
        within = (np.abs(a - b) <= reach) & (np.asarray(size) > model.arithmetic.tiny)
        model.straddling += int(within.sum())
        near = np.where(within & model.sides, jump, near)
    for b in sigma.poles:  # the distance to it is not known, nor anything that depends on that
        near = np.where((np.abs(a - b) <= reach) & (np.asarray(size) > 0), np.inf, near)
    lost = model.arithmetic.lost(name, a)
    second = by(size, y[2] * size)
    if sigma.steeper is not None:
        second = np.abs(second) + size * sigma.steeper(a)
    value = (*of.value(u, y[0], a), lost, second, by(size, near))
    slope = (*of.slope(u, y[0], y[1], a), lost, near)
    added = _summed if model.worst else hypot
    return np.stack([added(*value) + 0 * a, added(*slope) + 0 * a])


def _summed(*sizes: Any) -> Any:
    return sum(np.abs(x) for x in sizes)


def _expansion_keys(salt: int, y: Any, operands: Any, **_: Any) -> Any:
    """Keys: the roundings of f and of f' are independent. For a number that is 0 only in floats, f' shows the
    side."""
    a = np.where(operands[0] == 0, y[1], operands[0])
    return np.stack([keys(a, salt + i) for i in range(2)])


# --- rows -----------------------------------------------------------------------------------------


def _rows(f: Callable[[Any], Any], _: Any, a: Balls) -> Balls:
    if isinstance(a, Pairs):
        return f(a)
    rows = a.reshape(-1, a.shape[-1])
    return balls_of((z for row in rows for z in f(row.tolist())), a.shape)


def _soft(a: Reals) -> tuple[Reals, Reals, Any]:
    """max a − a, softmax(a) and Σ s_k (max a − a_k), of each row."""
    below = a.max(axis=-1, keepdims=True) - a
    s = np.exp(-below)
    s = s / s.sum(axis=-1, keepdims=True)
    return below, s, (s * below).sum(axis=-1, keepdims=True)


def _compounded(x: Any) -> Any:
    """x/(1 − x): how far factors (1 + δ_i) with Σ|δ_i| ≤ x, in a numerator or a denominator, are from 1 at
    most."""
    return np.where(x < 1, x / np.maximum(1 - x, np.finfo(float).tiny), np.inf)


def _unshifted(of: Accuracy, a: Reals) -> Any:
    """What formulas with intermediates as large as the row lose; 0 for every implementation in the table."""
    return of.h + of.e * np.abs(a).max(axis=-1, keepdims=True)


def _softmax_carried(m: Any, E: Any, y: Any, operands: Any) -> Any:
    """s(E − Σ s E); as a bound, s(e^{2E} − 1): both numerator and denominator may be off."""
    e = E[0]
    if m is np.abs:
        return y * np.expm1(2 * e.max(axis=-1, keepdims=True))
    return y * (e - (y * e).sum(axis=-1, keepdims=True))


def _softmax_rounding(model: Model, y: Any, operands: Any, s: Any) -> Any:
    """s_j may be off by u s_j (2c + 2 below_j + Σ s_k below_k + m + c log m), below = max a − a.

    The quotient e^{b_j} / Σ e^{b_k}, b = a − max a, loses c + |b_j| in its numerator, c + Σ s_k |b_k| in its
    denominator, m − 1 in the sum and 1 in the division. e^{log_softmax} loses what log_softmax loses (below),
    and c + 1. The bound covers both.
    """
    below, _, mean = _soft(operands[0])
    of, m = model.accuracy("softmax"), y.shape[-1]
    c, more = of.c, _unshifted(of, operands[0])
    u, lost = model.u, model.arithmetic.normal
    if model.worst:
        within = _compounded(u * (2 * c + 2 * below + mean + m + c * log(m) + more))
        return by(within, np.abs(y)) + lost
    return u * (4 + m + below + more) * np.abs(y) + lost


def _again_rounding(model: Model, y: Any, operands: Any, s: Any) -> Any:
    """The rounding of s in the backward pass. It is 0 if the pass uses the s of the forward pass: with G =
    −y/z its errors cancel. If it computes s again they do not cancel; two evaluations are off by √2 times
    what one is."""
    if not model.afresh:
        return np.zeros_like(y)
    return np.sqrt(2.0) * _softmax_rounding(model, y, operands[1:], s)


def _log_softmax_carried(m: Any, E: Any, y: Any, operands: Any) -> Any:
    """E − Σ s E."""
    e = E[0]
    if m is np.abs:
        return 2 * e.max(axis=-1, keepdims=True) + np.zeros_like(y)
    s = np.exp(y)
    return e - (s * e).sum(axis=-1, keepdims=True)


def _log_softmax_rounding(model: Model, y: Any, operands: Any, s: Any) -> Any:
    """z_j = b_j − log Σ e^{b_k} may be off by u((c + 1)|z_j| + below_j + Σ s_k below_k + m + 2c + c log m).

    b_j is rounded once; the logarithm's argument is off by c + Σ s_k |b_k| + m − 1 relative to itself, which
    is that much in the logarithm, whose own rounding is c of at most log m; the difference is rounded once.
    The logarithm of a softmax loses the relative error of the softmax, and c|z_j|.
    """
    below, _, mean = _soft(operands[0])
    of, m = model.accuracy("log_softmax"), y.shape[-1]
    c, more = of.c, _unshifted(of, operands[0])
    u, lost = model.u, model.arithmetic.normal
    if model.worst:
        inside = _compounded(u * (mean + 2 * c + m + c * log(m)))
        return u * (below + more) + inside + (c + 1) * u * np.abs(y) + lost
    return hypot(u * (4 + m + below + more), u * c * y, lost)


def _row_keys(salt: int, y: Any, operands: Any) -> Any:
    """Keys from the element and from its row."""
    a = operands[0]
    with np.errstate(over="ignore"):
        return keys(a, salt) + along(a, salt + 131, -1)


def _softmax_reverse(g: Value, y: Value, a: Value) -> tuple[Value]:
    """s ∘ G − s ΣGs, not factored, so that the bound covers s(G − ΣGs) too."""
    s = op.again(y, a)
    p = op.multiply(g, s)
    return (op.subtract(p, op.multiply(s, op.sum(p, axes=(-1,)))),)


def _log_softmax_reverse(g: Value, y: Value, a: Value) -> tuple[Value]:
    """G − s ΣG, s = e^z."""
    return (op.subtract(g, op.multiply(op.exp(y), op.sum(g, axes=(-1,)))),)


def _exp_rounding(model: Model, y: Any, operands: Any, s: Any) -> Any:
    return 4 * model.u * np.abs(y) + model.arithmetic.normal


# --- moving numbers about -------------------------------------------------------------------------


def _with_one(_: Any, a: Any) -> Any:
    """[a | 1]: the bias is the weight of the constant unit."""
    shape = (*a.shape[:-1], 1)
    if isinstance(a, Pairs):
        one: Any = Pairs.exactly(np.ones(shape))
    else:
        one = exactly(np.ones(shape)) if a.dtype == object else np.ones(shape, a.dtype)
    return np.concatenate([a, one], axis=-1)


def _one_has_no_error(m: Any, E: Any, y: Any, operands: Any) -> Any:
    e = E[0]
    return np.concatenate([e, np.zeros((*e.shape[:-1], 1), e.dtype)], axis=-1)


def _weighed(_: Any, w: Balls, x: Balls) -> Balls:
    if isinstance(w, Pairs):
        return w * x
    w, x = np.broadcast_arrays(w, x)
    pairs = zip(w.ravel().tolist(), x.ravel().tolist(), strict=True)
    return balls_of((arb(0) if a.is_zero() else a * b for a, b in pairs), x.shape)


def _weighed_carried(m: Any, E: Any, y: Any, operands: Any) -> Any:
    w = operands[0]
    return np.where(w == 0, 0.0, _multiplied(m, E, y, operands))


def _multiplied(m: Any, E: Any, y: Any, operands: Any) -> Any:
    """(a + E)(b + F) − ab."""
    (a, b), (e, f) = operands, E
    if isinstance(e, float) or isinstance(f, float):
        return by(f, m(a)) if isinstance(e, float) else by(e, m(b))
    found = _plus(_plus(np.asarray(e * m(b)), f * m(a)), e * f)
    if np.isfinite(np.sum(found)):
        return found
    return by(e, m(b)) + by(f, m(a)) + by(e, f)


def _plus(total: Any, more: Any) -> Any:
    """total + more, in place where the shapes agree: arrays of draws are large."""
    if total.shape != np.shape(more):
        return total + more
    total += more
    return total


def _divided(m: Any, E: Any, y: Any, operands: Any) -> Any:
    """(a + E)/(b + F) − a/b, except for the sign of F in the denominator."""
    (_, b), (e, f) = operands, E
    return (e + by(f, m(-y))) / (m(b) - f)


def _broadcast_carried(m: Any, E: Any, y: Any, operands: Any, shape: Shape) -> Any:
    e = E[0]
    e = e.reshape(e.shape[0], *(1,) * (len(shape) - (e.ndim - 1)), *e.shape[1:])
    return np.broadcast_to(e, (e.shape[0], *shape))


# fmt: off
LEAF = Rule("leaf", lambda numbers: np.shape(numbers), lambda _, numbers: exactly(numbers),
            None, nothing, None, None)

rules(
    # name, shape, ball,
    #     reverse,
    #     carry, rounding, keys
    Rule("add", same, lambda _, a, b: a + b,
         lambda g, y, a, b: (summed_to(g, a), summed_to(g, b)),
         lambda m, E, y, o: E[0] + E[1], added, each),
    Rule("onto", same, lambda _, a, b, terms: a + b,  # a sum of so many terms, which may begin with b
         lambda g, y, a, b, terms: (summed_to(g, a), summed_to(g, b)),
         lambda m, E, y, o, terms: E[0] + E[1], _onto_rounding, each),
    Rule("total", same, lambda _, *of: sum(of),  # in any order
         lambda g, y, *of: tuple(summed_to(g, x) for x in of),
         lambda m, E, y, o: sum(E), _total_rounding, each),
    Rule("subtract", same, lambda _, a, b: a - b,
         lambda g, y, a, b: (summed_to(g, a), op.negative(summed_to(g, b))),
         lambda m, E, y, o: E[0] + m(-1.0) * E[1], added, each),
    Rule("multiply", same, lambda _, a, b: a * b,
         lambda g, y, a, b: (summed_to(op.multiply(g, b), a), summed_to(op.multiply(g, a), b)),
         _multiplied, partial(times, 1), each),
    # a product that some round twice; 0 where a is 0, as for weigh
    Rule("hadamard", same, _weighed,
         None,
         _multiplied, partial(times, 2), each),
    Rule("weigh", same, _weighed,  # w x, and 0 where w is 0, whatever x is
         lambda g, y, w, x: (None, op.weigh(w, g)),
         _weighed_carried, partial(times, 1), each),
    Rule("divide", same, lambda _, a, b: a / b,  # by a constant
         lambda g, y, a, b: (summed_to(op.divide(g, b), a), None),
         _divided, partial(times, 1), each),
    Rule("negative", same, lambda _, a: -a,
         lambda g, y, a: (op.negative(g),),
         lambda m, E, y, o: m(-1.0) * E[0], None, None),
    Rule("exp", same, partial(one_by_one, "exp"),
         lambda g, y, a: (op.multiply(g, y),),
         lambda m, E, y, o: by(np.expm1(E[0]), y), _exp_rounding, each),
    Rule("matmul", _product_shape, _ball_product,
         lambda g, y, a, b: (summed_to(op.matmul(g, op.transpose(b)), a),
                             summed_to(op.matmul(op.transpose(a), g), b)),
         _carried_product, _product_rounding, _product_keys),
    Rule("sum", _sum_shape, _ball_sum,  # over axes counted from the last, which are kept
         lambda g, y, a, axes: (op.broadcast(g, shape=a.shape),),
         lambda m, E, y, o, axes: E[0].sum(axis=axes, keepdims=True), _sum_rounding, _sum_keys),
    Rule("expand", lambda a, **_: (3, *a), _expanded,  # f, f' and f'' at a
         None,
         _expansion_carried, _expansion_rounding, _expansion_keys),
    Rule("value", lambda e, a: a, lambda _, e, a: e[0],  # f of an expansion at a
         lambda g, y, e, a: (None, op.hadamard(g, op.slope(e))),
         lambda m, E, y, o: E[0][:, 0], None, None, moves=True),
    Rule("slope", lambda e: e[1:], lambda _, e: e[1],  # f' of an expansion
         None,
         lambda m, E, y, o: E[0][:, 1], None, None, moves=True),
    Rule("softmax", same, partial(_rows, ROW_WISE["softmax"]),
         _softmax_reverse,
         _softmax_carried, _softmax_rounding, _row_keys),
    Rule("again", lambda s, a: s, lambda _, s, a: s,  # softmax of a, as a backward pass uses it
         None,
         lambda m, E, y, o: E[0], _again_rounding, lambda salt, y, o: _row_keys(salt, y, o[1:])),
    Rule("log_softmax", same, partial(_rows, ROW_WISE["log_softmax"]),
         _log_softmax_reverse,
         _log_softmax_carried, _log_softmax_rounding, _row_keys),
    Rule("mark", same, lambda _, a: a,
         lambda g, y, a: (g,),
         lambda m, E, y, o: E[0], None, None, moves=True),
    Rule("transpose", lambda a: (*a[:-2], a[-1], a[-2]), lambda _, a: np.swapaxes(a, -1, -2),
         lambda g, y, a: (op.transpose(g),),
         lambda m, E, y, o: np.swapaxes(E[0], -1, -2), None, None, moves=True),
    Rule("with_one", lambda a: (*a[:-1], a[-1] + 1), _with_one,
         lambda g, y, a: (op.without_last(g),),
         _one_has_no_error, None, None, moves=True),
    Rule("without_last", lambda a: (*a[:-1], a[-1] - 1), lambda _, a: a[..., :-1],
         None,
         lambda m, E, y, o: E[0][..., :-1], None, None, moves=True),
    Rule("broadcast", lambda a, shape: shape, lambda _, a, shape: np.broadcast_to(a, shape),
         lambda g, y, a, shape: (summed_to(g, a),),
         _broadcast_carried, None, None, moves=True),
    Rule("reshape", lambda a, shape: shape, lambda _, a, shape: a.reshape(shape),
         lambda g, y, a, shape: (op.reshape(g, shape=a.shape),),
         lambda m, E, y, o, shape: E[0].reshape(-1, *shape), None, None, moves=True),
)
# fmt: on


OF_NETWORKS = frozenset({
    "add", "onto", "total", "subtract", "multiply", "hadamard", "weigh", "divide", "negative", "exp",
    "matmul", "sum", "expand", "softmax", "again", "log_softmax",
})  # fmt: skip
"""The primitives of networks, besides those that only move numbers about."""


IN_PAIRS = set(OF_NETWORKS)
"""Primitives whose `ball` takes `Pairs` as well, besides those that only move numbers about."""


def elementwise(a: Value, sigma: Definition, name: str) -> Value:
    """f(a), elementwise; its accuracy is looked up by `name`."""
    return op.value(op.expand(a, sigma=sigma, name=name), a)
