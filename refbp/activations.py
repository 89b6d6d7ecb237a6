"""The transition functions σ_l and their derivatives: one row each in `ACTIVATIONS`.

A σ takes A (n×d_l, float64 or float32) and returns σ(A), in A's shape and dtype; so does its σ'. No
input is mutated, NaN gives NaN, and nothing overflows or warns on the way to a finite result. Each
formula is good to a few units in the last place wherever its result is a normal number, in the
tails too; only where σ' passes through 0 is its error measured by the terms it is a difference of.
The tests assert a ceiling for each.

A new activation is one row of `ROWS`, or for one's own use

>>> cube = Elementwise("cube", lambda A: A**3, lambda A: 3 * A**2)
>>> cube.vjp(np.array([[2.0, -1.0]]), np.array([[1.0, 10.0]]))
array([[12., 30.]])
"""

# mypy: disable-error-code="no-any-return"
# NumPy types the arithmetic of NDArray[Any] as Any.

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from refbp.special import B, C, cubic, exp_minus, scaled_tail, square
from refbp.types import Array, InputError

__all__ = ["ACTIVATIONS", "ROWS", "Activation", "Elementwise", "RowWise", "activation"]

Function: TypeAlias = Callable[[Array], Array]


def _check_same_shape(name: str, A: Array, G: Array) -> None:
    if A.shape != G.shape:
        raise InputError(
            f"G has shape {G.shape} in {name}'s vjp(A, G); expected {A.shape}, the shape of A. "
            "Nothing is broadcast."
        )


@dataclass(frozen=True)
class Elementwise:
    """σ applied to every element: Z = σ(A), and ∂L/∂A = ∂L/∂Z ⊙ σ'(A).

    `sigma` and `sigma_prime` are σ and σ', functions of an array. `kinks` maps every place where the
    one-sided derivatives differ to the value taken for σ' there; the rows below take torch's values.
    """

    name: str
    sigma: Function
    sigma_prime: Function
    kinks: Mapping[float, float] = field(default_factory=dict, hash=False)

    def __call__(self, A: Array, /) -> Array:
        """σ(A), shaped like A."""
        return self.sigma(A)

    def derivative(self, A: Array, /) -> Array:
        """σ'(A), shaped like A."""
        return self.sigma_prime(A)

    def vjp(self, A: Array, G: Array, /) -> Array:
        """∂L/∂A = G ⊙ σ'(A) for G = ∂L/∂Z. Raises `InputError` if A and G differ in shape."""
        _check_same_shape(self.name, A, G)
        return G * self.sigma_prime(A)


@dataclass(frozen=True)
class RowWise:
    """σ applied to every row: Z_i = σ(A_i), and ∂L/∂A_i = ∂L/∂Z_i (∂Z_i/∂A_i).

    `row_vjp(A, G)` is the vector-Jacobian product, of each row of G with that row's Jacobian, for all rows at
    once.
    """

    name: str
    sigma: Function
    row_vjp: Callable[[Array, Array], Array]

    def __call__(self, A: Array, /) -> Array:
        """σ of each row of A, shaped like A."""
        return self.sigma(A)

    def derivative(self, A: Array, /) -> Array:
        """Raises `InputError`: a row-wise σ has no elementwise derivative."""
        raise InputError(
            f"{self.name} has no elementwise derivative: each output depends on the whole row, "
            f"so ∂L/∂A = ∂L/∂Z ⊙ σ'(A) does not hold. Use {self.name}'s vjp(A, G)."
        )

    def vjp(self, A: Array, G: Array, /) -> Array:
        """∂L/∂A for G = ∂L/∂Z. Raises `InputError` if A and G differ in shape."""
        _check_same_shape(self.name, A, G)
        return self.row_vjp(A, G)


Activation: TypeAlias = Elementwise | RowWise


def _in_double(f: Function) -> Function:
    """f computed in float64 whatever A's dtype, and rounded once."""

    @functools.wraps(f)
    def rounded(A: Array) -> Array:
        return f(A.astype(np.float64, copy=False)).astype(A.dtype, copy=False)

    return rounded


# --- no curvature: everything here is exact except for the constants ------------------------------

SLOPE = 0.01


def _identity(A: Array) -> Array:
    """σ(a) = a."""
    return A.copy()


def _identity_prime(A: Array) -> Array:
    """σ'(a) = 1."""
    return np.ones_like(A)


def _relu(A: Array) -> Array:
    """σ(a) = max(a, 0)."""
    return np.maximum(A, 0)


def _relu_prime(A: Array) -> Array:
    """σ'(a) = 1 where a > 0, else 0; from the sign, since a comparison would lose a NaN."""
    D = np.sign(A)
    return np.maximum(D, 0, out=D)


def _leaky_relu(A: Array) -> Array:
    """σ(a) = max(a, 0.01 a)."""
    return np.maximum(A, SLOPE * A)


def _leaky_relu_prime(A: Array) -> Array:
    """σ'(a) = 1 where a > 0, else 0.01."""
    return np.maximum(np.sign(A), SLOPE)


def _hardtanh(A: Array) -> Array:
    """σ(a) = a, limited to between −1 and 1."""
    return np.clip(A, -1, 1)


def _hardtanh_prime(A: Array) -> Array:
    """σ'(a) = 1 where |a| < 1, else 0."""
    return np.maximum(np.sign(1 - np.abs(A)), 0)


def _relu6(A: Array) -> Array:
    """σ(a) = a, limited to between 0 and 6."""
    return np.clip(A, 0, 6)


def _relu6_prime(A: Array) -> Array:
    """σ'(a) = 1 where 0 < a < 6, else 0."""
    return np.maximum(np.minimum(np.sign(A), np.sign(6 - A)), 0)


def _hardsigmoid(A: Array) -> Array:
    """σ(a) = (a + 3)/6, limited to between 0 and 1."""
    return np.clip(A + 3, 0, 6) / 6


def _hardsigmoid_prime(A: Array) -> Array:
    """σ'(a) = 1/6 where |a| < 3, else 0."""
    return np.maximum(np.sign(3 - np.abs(A)), 0) / 6


def _hardswish(A: Array) -> Array:
    """σ(a) = a hardsigmoid(a). a is limited to −3, below which hardsigmoid is 0, so that −∞ gives 0."""
    return np.maximum(A, -3) * _hardsigmoid(A)


def _hardswish_prime(A: Array) -> Array:
    """σ'(a) = (2a + 3)/6 where |a| < 3, 0 below and 1 above."""
    D = (2 * np.clip(A, -3, 3) + 3) / 6
    D[A <= -3] = 0
    D[A >= 3] = 1
    return D


# --- logistic and hyperbolic ----------------------------------------------------------------------
# In place where a network spends its time: a fresh array costs more than the arithmetic in it.


@np.errstate(over="ignore")
def _sigmoid(A: Array) -> Array:
    """σ(a) = 1/(1 + e^{−a}). If e^{−a} overflows, the quotient is 0, as it should be."""
    Z = np.negative(A)
    np.exp(Z, out=Z)
    Z += 1
    return np.reciprocal(Z, out=Z)


@np.errstate(over="ignore")
def _sigmoid_prime(A: Array) -> Array:
    """σ'(a) = σ(a) σ(−a) = 1/2 / (1 + cosh a), accurate in the tails, where σ (1 − σ) is not."""
    D = np.cosh(A)
    D += 1
    return np.divide(0.5, D, out=D)


def _tanh(A: Array) -> Array:
    """σ(a) = tanh a."""
    return np.tanh(A)


@np.errstate(over="ignore")
def _tanh_prime(A: Array) -> Array:
    """σ'(a) = 1/cosh² a = 2 / (1 + cosh 2a), accurate in the tails, where 1 − tanh² is not."""
    D = 2 * A
    np.cosh(D, out=D)
    D += 1
    return np.divide(2, D, out=D)


def _softplus(A: Array) -> Array:
    """σ(a) = log(1 + e^a) = max(a, 0) + log(1 + e^{−|a|}); its σ' is the sigmoid."""
    return np.maximum(A, 0) + np.log1p(np.exp(-np.abs(A)))


def _logsigmoid(A: Array) -> Array:
    """σ(a) = log sigmoid(a) = min(a, 0) − log(1 + e^{−|a|})."""
    return np.minimum(A, 0) - np.log1p(np.exp(-np.abs(A)))


def _logsigmoid_prime(A: Array) -> Array:
    """σ'(a) = sigmoid(−a)."""
    return _sigmoid(-A)


# --- exponential and rational ---------------------------------------------------------------------

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946
SELU_FLOOR = SELU_SCALE * SELU_ALPHA


def _elu(A: Array) -> Array:
    """σ(a) = max(a, 0) + (e^{min(a, 0)} − 1): elu and celu with α = 1."""
    return np.maximum(A, 0) + np.expm1(np.minimum(A, 0))


def _elu_prime(A: Array) -> Array:
    """σ'(a) = e^{min(a, 0)}."""
    return np.exp(np.minimum(A, 0))


@np.errstate(over="ignore")
def _selu(A: Array) -> Array:
    """σ(a) = s (max(a, 0) + α (e^{min(a, 0)} − 1)); the largest floats round to ∞."""
    return SELU_SCALE * np.maximum(A, 0) + SELU_FLOOR * np.expm1(np.minimum(A, 0))


def _selu_prime(A: Array) -> Array:
    """σ'(a) = s where a > 0, else s α e^a."""
    D = SELU_FLOOR * np.exp(np.minimum(A, 0))
    D[A > 0] = SELU_SCALE
    return D


def _softsign(A: Array) -> Array:
    """σ(a) = a/(1 + |a|). |a| is limited to 1e30, where σ is 1, so that ∞ gives 1."""
    A = np.clip(A, -1e30, 1e30)
    return A / (1 + np.abs(A))


@np.errstate(over="ignore")
def _softsign_prime(A: Array) -> Array:
    """σ'(a) = 1/(1 + |a|)². If the square overflows, the quotient is 0."""
    d = 1 + np.abs(A)
    return 1 / (d * d)


def _sin(A: Array) -> Array:
    """σ(a) = sin a."""
    return np.sin(A)


def _sin_prime(A: Array) -> Array:
    """σ'(a) = cos a."""
    return np.cos(A)


@_in_double
def _gaussian(A: Array) -> Array:
    """σ(a) = e^{−a²}."""
    p, q = exp_minus(*square(np.minimum(np.abs(A), 30)))  # e^{−30²} is 0 in float64
    return q * p


@_in_double
def _gaussian_prime(A: Array) -> Array:
    """σ'(a) = −2a e^{−a²}."""
    t = np.clip(A, -30, 30)
    p, q = exp_minus(*square(np.abs(t)))
    return -2 * t * q * p


# --- gated: σ(a) = a S(a) with S(a) + S(−a) = 1 ---------------------------------------------------
# With t = |a|, σ(a) = max(a, 0) − t S(−t): no cancellation on either side, and σ'(−t) + σ'(t) = 1.
# t is held where t S(−t) has long been 0, so that ∞ S(−∞) is 0. e^{−t} = q p is taken in that order
# from the left, as `exp_minus` asks.


def _by_reflection(A: Array, D: Array) -> Array:
    """σ'(a) from D = σ'(−|a|)."""
    return np.where(A < 0, D, 1 - D)


def _silu(A: Array) -> Array:
    """σ(a) = a/(1 + e^{−a})."""
    t = np.minimum(np.abs(A), 900)
    p, q = exp_minus(t)
    return np.maximum(A, 0) - t * q * p / (1 + q * p)


def _silu_prime(A: Array) -> Array:
    """σ'(−t) = e^{−t} (1 + e^{−t} − t)/(1 + e^{−t})²."""
    t = np.minimum(np.abs(A), 900)
    p, q = exp_minus(t)
    d = 1 + q * p
    return _by_reflection(A, (d - t) * q * p / (d * d))


@_in_double
def _gelu(A: Array) -> Array:
    """σ(a) = a Φ(a) = (a/2)(1 + erf(a/√2)), with Φ(−t) = R(t) e^{−t²/2}."""
    t = np.minimum(np.abs(A), 40)
    u, u_low = square(t)
    p, q = exp_minus(u / 2, u_low / 2)
    return np.maximum(A, 0) - t * scaled_tail(t) * q * p


@_in_double
def _gelu_prime(A: Array) -> Array:
    """σ'(−t) = Φ(−t) − t φ(t) = (R(t) − t/√(2π)) e^{−t²/2}."""
    t = np.minimum(np.abs(A), 40)
    u, u_low = square(t)
    p, q = exp_minus(u / 2, u_low / 2)
    return _by_reflection(A, (scaled_tail(t) - t / math.sqrt(2 * math.pi)) * q * p)


@_in_double
def _gelu_tanh(A: Array) -> Array:
    """σ(a) = (a/2)(1 + tanh(√(2/π)(a + 0.044715 a³))) = a/(1 + e^{−u}), u = B a + C a³."""
    t = np.minimum(np.abs(A), 24)
    p, q = exp_minus(*cubic(t))
    return np.maximum(A, 0) - t * q * p / (1 + q * p)


@_in_double
def _gelu_tanh_prime(A: Array) -> Array:
    """σ'(−t) = e^{−u} (1 + e^{−u} − t u')/(1 + e^{−u})² with u = u(t), u' = B + 3C t²."""
    t = np.minimum(np.abs(A), 24)
    p, q = exp_minus(*cubic(t))
    d = 1 + q * p
    return _by_reflection(A, (d - t * (B + 3 * C * t * t)) * q * p / (d * d))


def _mish(A: Array) -> Array:
    """σ(a) = a tanh(log(1 + e^a)) = a n/d, where e^a = x/y, n = x (x + 2y) and d = n + 2y²."""
    A = np.maximum(A, -900)
    p, q = exp_minus(np.maximum(-A, 0))
    x, y = q * p, np.exp(-np.maximum(A, 0))
    return A * q * p * ((x + 2 * y) / (x * (x + 2 * y) + 2 * y * y))


def _mish_prime(A: Array) -> Array:
    """σ'(a) = n/d + 4a x y² (x + y)/d² in the same terms."""
    A = np.clip(A, -900, 900)
    p, q = exp_minus(np.maximum(-A, 0))
    x, y = q * p, np.exp(-np.maximum(A, 0))
    d = x * (x + 2 * y) + 2 * y * y
    return ((x + 2 * y) / d + 4 * A * (y * y * (x + y) / (d * d))) * q * p


# --- row-wise -------------------------------------------------------------------------------------


@np.errstate(over="ignore", invalid="ignore")
def _below_maximum(A: Array) -> tuple[Array, Array, Array]:
    """S = a − max a by row, rounded; the rounding error of S (Knuth's two-sum); and e^{a − max a}."""
    m: Array = A.max(axis=-1, keepdims=True)
    S = A - m
    back = S - A
    lost = (A - (S - back)) - (m + back)
    lost[~np.isfinite(lost)] = 0
    E = np.exp(S)
    E += E * lost
    return S, lost, E


def _softmax(A: Array) -> Array:
    """σ(a)_j = e^{a_j} / Σ_k e^{a_k}; the row's maximum is subtracted from every a first."""
    _, _, E = _below_maximum(A)
    E /= E.sum(axis=-1, keepdims=True)
    return E


def _softmax_vjp(A: Array, G: Array) -> Array:
    """g (∂z/∂a) with ∂z_k/∂a_j = z_k ([j = k] − z_j): z_j (g_j − Σ_k g_k z_k)."""
    Z = _softmax(A)
    return Z * (G - (G * Z).sum(axis=-1, keepdims=True))


def _log_softmax(A: Array) -> Array:
    """σ(a)_j = a_j − log Σ_k e^{a_k} = a_j − a_m − log(1 + Σ_{k≠m} e^{a_k − a_m}), a_m = max a."""
    S, lost, E = _below_maximum(A)
    np.put_along_axis(E, A.argmax(axis=-1, keepdims=True), 0, axis=-1)
    return S - (np.log1p(E.sum(axis=-1, keepdims=True)) - lost)


def _log_softmax_vjp(A: Array, G: Array) -> Array:
    """g (∂z/∂a) with ∂z_k/∂a_j = [j = k] − softmax(a)_j: g_j − softmax(a)_j Σ_k g_k."""
    return G - _softmax(A) * G.sum(axis=-1, keepdims=True)


ROWS: tuple[Activation, ...] = (
    Elementwise("identity",    _identity,    _identity_prime),
    Elementwise("sigmoid",     _sigmoid,     _sigmoid_prime),
    Elementwise("tanh",        _tanh,        _tanh_prime),
    Elementwise("relu",        _relu,        _relu_prime,        {0: 0}),
    Elementwise("leaky_relu",  _leaky_relu,  _leaky_relu_prime,  {0: SLOPE}),
    Elementwise("elu",         _elu,         _elu_prime),
    Elementwise("selu",        _selu,        _selu_prime,        {0: SELU_FLOOR}),
    Elementwise("celu",        _elu,         _elu_prime),
    Elementwise("gelu",        _gelu,        _gelu_prime),
    Elementwise("gelu_tanh",   _gelu_tanh,   _gelu_tanh_prime),
    Elementwise("silu",        _silu,        _silu_prime),
    Elementwise("softplus",    _softplus,    _sigmoid),
    Elementwise("softsign",    _softsign,    _softsign_prime),
    Elementwise("mish",        _mish,        _mish_prime),
    Elementwise("hardtanh",    _hardtanh,    _hardtanh_prime,    {-1: 0, 1: 0}),
    Elementwise("relu6",       _relu6,       _relu6_prime,       {0: 0, 6: 0}),
    Elementwise("hardsigmoid", _hardsigmoid, _hardsigmoid_prime, {-3: 0, 3: 0}),
    Elementwise("hardswish",   _hardswish,   _hardswish_prime,   {-3: 0, 3: 1}),
    Elementwise("logsigmoid",  _logsigmoid,  _logsigmoid_prime),
    Elementwise("sin",         _sin,         _sin_prime),
    Elementwise("gaussian",    _gaussian,    _gaussian_prime),
    RowWise("softmax",     _softmax,     _softmax_vjp),
    RowWise("log_softmax", _log_softmax, _log_softmax_vjp),
)  # fmt: skip

ACTIVATIONS: dict[str, Activation] = {row.name: row for row in ROWS}


def activation(name: str) -> Activation:
    """The row of `ACTIVATIONS` called `name`. Raises `InputError` if there is none."""
    if name in ACTIVATIONS:
        return ACTIVATIONS[name]
    nearest = difflib.get_close_matches(str(name).lower(), ACTIVATIONS, cutoff=0)[0]
    raise InputError(
        f"There is no activation {name!r}; the nearest name is {nearest!r}. "
        f"There are: {', '.join(ACTIVATIONS)}."
    )
