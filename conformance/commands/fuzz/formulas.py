"""Other formulas that are right: for every σ and σ', and for the losses and their gradients.

The i-th variant takes the i-th formula of each row, so that a few implementations try all of them. They are
written as people write them. Most are good to a few units in the last place; some lose digits where numbers
cancel (1 + tanh, exp − 1, a minus a logarithm of a sum): those may be called `inaccurate`, but never wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

__all__ = ["LOSSES", "SIGMAS", "VARIANTS"]

A: TypeAlias = Any  # a matrix, float32 or float64, or a number of NumPy's
Pair: TypeAlias = tuple[Callable[..., A], Callable[..., A]]


def _in_double(f: Callable[[float], float]) -> Callable[[A], A]:
    """A function of the C library on each element, since NumPy has no erf; rounded to the matrix's dtype."""

    def each(a: A) -> A:
        return np.array([f(x) for x in a.ravel().tolist()]).reshape(a.shape).astype(a.dtype)

    return each


_erf, _erfc = _in_double(math.erf), _in_double(math.erfc)
HALF, LEFT = math.sqrt(0.5), 1 / math.sqrt(2 * math.pi)
SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772
B, C = math.sqrt(2 / math.pi), 0.044715


# --- used more than once below --------------------------------------------------------------------


def _logistic(a: A) -> A:
    """The sigmoid, by the exponential that does not overflow."""
    e = np.exp(-np.abs(a))
    return np.where(a >= 0, 1 / (1 + e), e / (1 + e))


def _logistic_slope(a: A) -> A:
    e = np.exp(-np.abs(a))
    return e / ((1 + e) * (1 + e))


def _soft(a: A) -> A:
    return np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a)))


def _sech2(a: A) -> A:
    one = 1 / np.cosh(a)
    return one * one


def _tanh(a: A) -> A:
    t = np.expm1(-2 * np.abs(a))
    return np.copysign(t / (2 + t), a)


def _density(a: A) -> A:
    return LEFT * np.exp(-0.5 * a * a)


def _inner(a: A) -> A:
    return B * (a + C * a * a * a)


def _inner_slope(a: A) -> A:
    return B * (1 + 3 * C * a * a)


def _below_zero(f: Callable[[A], A], g: Callable[[A], A] = lambda a: a) -> Callable[[A], A]:
    """f for a ≤ 0, else g."""
    return lambda a: np.asarray(np.where(a > 0, g(a), f(np.minimum(a, 0))), a.dtype)


def _one(a: A) -> A:
    return np.ones_like(a)


def _expm1_by_tanh(a: A) -> A:
    t = np.tanh(a / 2)
    return 2 * t / (1 - t)


def _mish_by_exp(a: A) -> A:
    e = np.exp(np.minimum(a, 20))
    return np.where(a > 20, a, a * (e * (e + 2) / (e * (e + 2) + 2)))


def _mish_slope(a: A) -> A:
    t = np.tanh(_soft(a))
    return t + a * (1 - t * t) * _logistic(a)


def _mish_slope_by_exp(a: A) -> A:
    """e^a ω/δ², as in mish's paper."""
    e = np.exp(np.minimum(a, 20))
    omega = 4 * (a + 1) + 4 * e * e + e * e * e + e * (4 * a + 6)
    delta = 2 * e + e * e + 2
    return np.where(a > 20, 1, e * omega / (delta * delta)).astype(a.dtype)


def _hard(a: A, low: float, high: float, inside: A) -> A:
    return np.where((a > low) & (a < high), inside, 0).astype(a.dtype)


# --- rows -----------------------------------------------------------------------------------------


def _exps(a: A) -> A:
    return np.exp(a - a.max(axis=1, keepdims=True))


def _softmax(a: A) -> A:
    e = _exps(a)
    return e * (1 / e.sum(axis=1, keepdims=True))


def _logsumexp(a: A) -> A:
    m = a.max(axis=1, keepdims=True)
    return m + np.log(np.exp(a - m).sum(axis=1, keepdims=True))


def _log_softmax(a: A) -> A:
    b = a - a.max(axis=1, keepdims=True)
    return b - np.log(np.exp(b).sum(axis=1, keepdims=True))


def _jacobian(s: A, G: A) -> A:
    """The product of softmax's Jacobian, diag(s) − s sᵀ, with G, example by example."""
    return np.stack([(np.diag(x) - np.outer(x, x)) @ g for x, g in zip(s, G, strict=True)])


def _rows(soft: Callable[[A], A], product: Callable[[A, A], A]) -> Pair:
    """A formula of softmax, and its product with G, which takes s from the same formula."""
    return soft, lambda a, G: product(soft(a), G)


# fmt: off
SIGMAS: Mapping[str, tuple[Pair, ...]] = {
    "identity": ((lambda a: a * 1, _one),),
    "sigmoid": (
        (_logistic, _logistic_slope),
        (lambda a: (1 + np.tanh(a / 2)) / 2, lambda a: _logistic(a) * _logistic(-a)),
        (lambda a: np.exp(-np.logaddexp(0, -a).astype(a.dtype)), lambda a: _sech2(a / 2) / 4),
        (lambda a: 1 / (1 + np.exp(-a)), lambda a: _logistic(a) * (1 - _logistic(a))),
    ),
    "tanh": (
        (lambda a: 2 * _logistic(2 * a) - 1, _sech2),
        (_tanh, lambda a: 1 - np.tanh(a) ** 2),
        (lambda a: _logistic(2 * a) - _logistic(-2 * a), lambda a: 4 * _logistic_slope(2 * a)),
        (lambda a: np.sinh(np.clip(a, -20, 20)) / np.cosh(np.clip(a, -20, 20)),
         lambda a: (1 - np.tanh(a)) * (1 + np.tanh(a))),
    ),
    "relu": (
        (lambda a: a * (a > 0), lambda a: (a > 0).astype(a.dtype)),
        (lambda a: (a + np.abs(a)) / 2, lambda a: np.heaviside(a, 0).astype(a.dtype)),
    ),
    "leaky_relu": (
        (lambda a: np.where(a > 0, a, 0.01 * a), lambda a: np.where(a > 0, 1, 0.01).astype(a.dtype)),
        (lambda a: np.maximum(a, 0) + 0.01 * np.minimum(a, 0),
         lambda a: 0.01 + 0.99 * (a > 0).astype(a.dtype)),
        (lambda a: np.where(a > 0, a, a / 100), lambda a: np.where(a > 0, 1, 0.01).astype(a.dtype)),
    ),
    "elu": (
        (_below_zero(np.expm1), _below_zero(np.exp, _one)),
        (_below_zero(_expm1_by_tanh), _below_zero(lambda a: np.expm1(a) + 1, _one)),
        (_below_zero(lambda a: np.exp(a) - 1), _below_zero(lambda a: np.exp(a / 2) * np.exp(a / 2), _one)),
    ),
    "selu": (
        (lambda a: SCALE * _below_zero(lambda x: ALPHA * np.expm1(x))(a),
         lambda a: SCALE * _below_zero(lambda x: ALPHA * np.exp(x), _one)(a)),
        (_below_zero(lambda x: SCALE * (ALPHA * np.exp(x) - ALPHA), lambda x: SCALE * x),
         _below_zero(lambda x: SCALE * ALPHA * np.expm1(x) + SCALE * ALPHA, lambda x: SCALE * _one(x))),
    ),
    "celu": (
        (lambda a: np.maximum(a, 0) + np.minimum(0, np.expm1(a)), lambda a: np.exp(np.minimum(a, 0))),
        (lambda a: np.maximum(a, 0) + np.expm1(np.minimum(a, 0)), lambda a: 1 + np.expm1(np.minimum(a, 0))),
    ),
    "gelu": (
        (lambda a: a / 2 * _erfc(-a * HALF), lambda a: _erfc(-a * HALF) / 2 + a * _density(a)),
        (lambda a: 0.5 * a * (1 + _erf(a * HALF)), lambda a: 0.5 * (1 + _erf(a * HALF)) + a * _density(a)),
        (lambda a: np.maximum(a, 0) - np.abs(a) * _erfc(np.abs(a) * HALF) / 2,
         lambda a: _erfc(-a / math.sqrt(2)) / 2 + a * (np.exp(-(a * a) / 2) / math.sqrt(2 * math.pi))),
    ),
    "gelu_tanh": (
        (lambda a: a * _logistic(2 * _inner(a)),
         lambda a: _logistic(2 * _inner(a)) + 2 * a * _logistic_slope(2 * _inner(a)) * _inner_slope(a)),
        (lambda a: 0.5 * a * (1 + np.tanh(_inner(a))),
         lambda a: 0.5 * (1 + np.tanh(_inner(a)))
         + 0.5 * a * (1 - np.tanh(_inner(a)) ** 2) * _inner_slope(a)),
        (lambda a: a / (1 + np.exp(-2 * _inner(a))),
         lambda a: 0.5 * (1 + np.tanh(_inner(a)) + a * _sech2(_inner(a)) * _inner_slope(a))),
    ),
    "silu": (
        (lambda a: a * _logistic(a), lambda a: _logistic(a) * (1 + a * _logistic(-a))),
        (lambda a: a / (1 + np.exp(-a)),
         lambda a: a * _logistic(a) + _logistic(a) * (1 - a * _logistic(a))),
        (lambda a: a / 2 * (1 + np.tanh(a / 2)), lambda a: _logistic(a) + a * _logistic_slope(a)),
        (lambda a: a * np.exp(-_soft(-a)), lambda a: _logistic(a) * (1 + a * (1 - _logistic(a)))),
    ),
    "softplus": (
        (_soft, _logistic),
        (lambda a: np.logaddexp(0, a).astype(a.dtype), lambda a: -np.expm1(-_soft(a))),
        (lambda a: np.where(a > 40, a, np.log1p(np.exp(np.minimum(a, 40)))), lambda a: 1 / (1 + np.exp(-a))),
        (_soft, lambda a: np.exp(a - _soft(a))),
    ),
    "softsign": (
        (lambda a: a / (1 + np.abs(a)), lambda a: 1 / (1 + np.abs(a)) ** 2),
        (lambda a: a * (1 / (1 + np.abs(a))), lambda a: (1 / (1 + np.abs(a))) ** 2),
        (lambda a: a / (1 + np.abs(a)), lambda a: (1 - np.abs(a / (1 + np.abs(a)))) ** 2),
    ),
    "mish": (
        (lambda a: a * np.tanh(_soft(a)), _mish_slope),
        (_mish_by_exp, lambda a: np.tanh(_soft(a)) + a * _sech2(_soft(a)) * _logistic(a)),
        (lambda a: a * np.tanh(np.logaddexp(0, a)).astype(a.dtype), _mish_slope_by_exp),
    ),
    "hardtanh": (
        (lambda a: np.maximum(-1, np.minimum(1, a)), lambda a: _hard(a, -1, 1, 1)),
        (lambda a: (np.abs(a + 1) - np.abs(a - 1)) / 2, lambda a: _hard(a, -1, 1, 1)),
    ),
    "relu6": (
        (lambda a: np.minimum(6, a * (a > 0)), lambda a: _hard(a, 0, 6, 1)),
        (lambda a: np.maximum(a, 0) - np.maximum(a - 6, 0), lambda a: ((a > 0) & (a < 6)).astype(a.dtype)),
    ),
    "hardsigmoid": (
        (lambda a: np.clip((a + 3) / 6, 0, 1), lambda a: _hard(a, -3, 3, 1 / 6)),
        (lambda a: np.clip(a / 6 + 0.5, 0, 1), lambda a: _hard(a, -3, 3, 1) / 6),
        (lambda a: np.maximum(0, np.minimum(1, (a + 3) * (1 / 6))), lambda a: _hard(a, -3, 3, 1 / 6)),
    ),
    "hardswish": (
        (lambda a: a * np.clip(a + 3, 0, 6) / 6,
         lambda a: np.where(a >= 3, 1, _hard(a, -3, 3, (2 * a + 3) / 6))),
        (lambda a: a * (np.clip(a + 3, 0, 6) / 6),
         lambda a: np.where(a >= 3, 1, _hard(a, -3, 3, a / 3 + 0.5))),
        (lambda a: a * np.clip(a / 6 + 0.5, 0, 1),
         lambda a: np.clip((a + 3) / 6, 0, 1) + a * _hard(a, -3, 3, 1 / 6)),
    ),
    "logsigmoid": (
        (lambda a: np.minimum(a, 0) - np.log1p(np.exp(-np.abs(a))), lambda a: _logistic(-a)),
        (lambda a: -np.logaddexp(0, -a).astype(a.dtype), lambda a: 1 / (1 + np.exp(a))),
        (lambda a: -_soft(-a), lambda a: 1 - _logistic(a)),
        (lambda a: -_soft(-a), lambda a: -np.expm1(-_soft(-a))),
    ),
    "sin": (
        (np.sin, np.cos),
        (lambda a: 2 * np.sin(a / 2) * np.cos(a / 2), lambda a: np.cos(a / 2) ** 2 - np.sin(a / 2) ** 2),
    ),
    "gaussian": (
        (lambda a: np.exp(-(a * a)), lambda a: -2 * a * np.exp(-(a * a))),
        (lambda a: 1 / np.exp(a * a), lambda a: -2 * np.exp(-(a**2)) * a),
    ),
    "softmax": (
        _rows(_softmax, lambda s, G: s * G - s * (s * G).sum(axis=1, keepdims=True)),
        _rows(lambda a: np.exp(_log_softmax(a)), _jacobian),
        _rows(lambda a: _exps(a) / _exps(a).sum(axis=1, keepdims=True),
              lambda s, G: s * (G - (s * G).sum(axis=1, keepdims=True))),
        (_softmax, lambda a, G: _jacobian(np.exp(_log_softmax(a)), G)),  # computes s again
    ),
    "log_softmax": (
        (_log_softmax, lambda a, G: G - np.exp(_log_softmax(a)) * G.sum(axis=1, keepdims=True)),
        (lambda a: a - _logsumexp(a), lambda a, G: G - _softmax(a) * G.sum(axis=1, keepdims=True)),
        (lambda a: a - a.max(axis=1, keepdims=True) - np.log(_exps(a).sum(axis=1, keepdims=True)),
         lambda a, G: G - _softmax(a) * G.sum(axis=1, keepdims=True)),
    ),
}
# fmt: on


# --- losses ---------------------------------------------------------------------------------------


def _where(y: A, f: Callable[[A], A], z: A) -> A:
    """y f(z), and 0 where y is 0, even if f(z) is infinite."""
    return np.where(y == 0, 0, y * f(z)).astype(z.dtype)


def _log1m(z: A) -> A:
    return np.log1p(-z)


def _over_terms(z: A, y: A) -> A:
    """−y/z + (1 − y)/(1 − z)."""
    return _where(1 - y, lambda z: 1 / (1 - z), z) - np.where(y == 0, 0, y / z).astype(z.dtype)


def _over_product(z: A, y: A) -> A:
    """(z − y)/(z(1 − z)), and its limit where both are 0 or 1."""
    certain = (z == y) & ((z == 0) | (z == 1))
    return np.where(certain, 1 - 2 * y, (z - y) / (z * (1 - z))).astype(z.dtype)


def _huber(e: A) -> A:
    return np.where(np.abs(e) <= 1, e * e / 2, np.abs(e) - 0.5).astype(e.dtype)


def _rest(z: A, y: A) -> A:
    return -(_where(y, np.log, z) + _where(1 - y, _log1m, z))


# fmt: off
LOSSES: Mapping[str, tuple[Pair, ...]] = {
    # value, gradient
    "mean_squared_error": (
        (lambda z, y: ((z - y) * (z - y) / len(z)).sum(), lambda z, y: (z - y) * z.dtype.type(2 / len(z))),
        (lambda z, y: ((z - y) ** 2).sum(axis=1).mean(), lambda z, y: ((z - y) + (z - y)) / len(z)),
        (lambda z, y: np.vdot(z - y, z - y) / z.dtype.type(len(z)), lambda z, y: 2 / len(z) * (z - y)),
    ),
    "mean_absolute_error": (
        (lambda z, y: np.abs(z - y).sum(axis=1).mean(),
         lambda z, y: ((z > y).astype(z.dtype) - (z < y).astype(z.dtype)) / len(z)),
        (lambda z, y: (np.maximum(z, y) - np.minimum(z, y)).sum() / z.dtype.type(len(z)),
         lambda z, y: np.sign(z - y) * (1 / len(z))),
    ),
    "huber": (
        (lambda z, y: (_huber(z - y) / len(z)).sum(),
         lambda z, y: np.maximum(-1, np.minimum(1, z - y)) / len(z)),
        (lambda z, y: _huber(z - y).sum(axis=1).mean(),
         lambda z, y: np.where(np.abs(z - y) < 1, (z - y) / len(z), np.sign(z - y) / len(z))),
    ),
    "cross_entropy": (
        (lambda z, y: -(_where(y, np.log, z) / len(z)).sum(),
         lambda z, y: -np.where(y == 0, 0, y / len(z) / z).astype(z.dtype)),
        (lambda z, y: -_where(y, np.log, z).sum(axis=1).mean(),
         lambda z, y: -np.where(y == 0, 0, y / z).astype(z.dtype) * (1 / len(z))),
    ),
    "log_softmax_cross_entropy": (
        (lambda z, y: (-y * z).sum(axis=1).mean(), lambda z, y: -y * (1 / len(z))),
        (lambda z, y: np.vdot(-y, z) / z.dtype.type(len(z)), lambda z, y: -(y / len(z))),
    ),
    "binary_cross_entropy": (
        (lambda z, y: (_rest(z, y) / len(z)).sum(), lambda z, y: _over_terms(z, y) / len(z)),
        (lambda z, y: _rest(z, y).sum(axis=1).mean(), lambda z, y: _over_product(z, y) / len(z)),
        (lambda z, y: -_where(y, np.log, z).sum() / z.dtype.type(len(z))
         - _where(1 - y, _log1m, z).sum() / z.dtype.type(len(z)),
         lambda z, y: _over_product(z, y) * (1 / len(z))),
    ),
}
# fmt: on

VARIANTS = 4
"""The length of the longest row; a shorter row starts again from its first formula."""
