"""The transition functions σ_l and their derivatives: one row each in `ACTIVATIONS`.

Every σ takes A (n×d_l) and returns σ(A) in A's shape and dtype; so does every σ'. No input is
mutated. A new one is one row, or for one's own use `Elementwise("mine", f, f_prime)`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from refbp.special import upper_tail
from refbp.types import Array, InputError

__all__ = ["ACTIVATIONS", "Activation", "Elementwise", "RowWise", "activation"]


@dataclass(frozen=True)
class Elementwise:
    """σ applied to every element: Z = σ(A), and ∂L/∂A = ∂L/∂Z ⊙ σ'(A).

    `kinks` maps each place where the one-sided derivatives differ to the value taken for σ' there.
    """

    name: str
    sigma: Callable[[Array], Array]
    sigma_prime: Callable[[Array], Array]
    kinks: Mapping[float, float] = field(default_factory=dict, hash=False)

    def __call__(self, A: Array, /) -> Array:
        """σ(A), shaped like A."""
        return self.sigma(A)

    def derivative(self, A: Array, /) -> Array:
        """σ'(A), shaped like A."""
        return self.sigma_prime(A)

    def vjp(self, A: Array, G: Array, /) -> Array:
        """∂L/∂A = G ⊙ σ'(A) for G = ∂L/∂Z."""
        return G * self.sigma_prime(A)


@dataclass(frozen=True)
class RowWise:
    """σ applied to every row: Z_i = σ(A_i), and ∂L/∂A_i = (∂Z_i/∂A_i)ᵀ ∂L/∂Z_i."""

    name: str
    sigma: Callable[[Array], Array]
    row_vjp: Callable[[Array, Array], Array]

    def __call__(self, A: Array, /) -> Array:
        """σ of each row of A, shaped like A."""
        return self.sigma(A)

    def derivative(self, A: Array, /) -> Array:
        """There is none to return: raises `InputError`."""
        raise InputError(
            f"{self.name} has no elementwise derivative: each output depends on its whole row, "
            f"so ∂L/∂A = ∂L/∂Z ⊙ σ'(A) does not hold; use {self.name}'s vjp(A, G)."
        )

    def vjp(self, A: Array, G: Array, /) -> Array:
        """∂L/∂A for G = ∂L/∂Z: each row of G times the Jacobian of that row."""
        return self.row_vjp(A, G)


Activation: TypeAlias = Elementwise | RowWise

SLOPE = 0.01
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def _one_where(condition: Array, A: Array) -> Array:
    return condition.astype(A.dtype)


def _identity(A: Array) -> Array:
    return A.copy()


def _identity_prime(A: Array) -> Array:
    return np.ones_like(A)


def _sigmoid(A: Array) -> Array:
    e = np.exp(-np.abs(A))
    return np.where(A < 0, e, A.dtype.type(1)) / (1 + e)


def _sigmoid_prime(A: Array) -> Array:
    e = np.exp(-np.abs(A))
    return e / (1 + e) ** 2


def _tanh_prime(A: Array) -> Array:
    e = np.exp(-2 * np.minimum(np.abs(A), 400))
    return 4 * e / (1 + e) ** 2


def _relu(A: Array) -> Array:
    return np.maximum(A, 0)


def _relu_prime(A: Array) -> Array:
    return _one_where(A > 0, A)


def _leaky_relu(A: Array) -> Array:
    return np.maximum(A, SLOPE * A)


def _leaky_relu_prime(A: Array) -> Array:
    return np.maximum(_one_where(A > 0, A), SLOPE)


def _elu(A: Array) -> Array:
    return np.maximum(A, 0) + np.expm1(np.minimum(A, 0))


def _elu_prime(A: Array) -> Array:
    return np.exp(np.minimum(A, 0))


@np.errstate(over="ignore")
def _selu(A: Array) -> Array:
    return SELU_SCALE * np.maximum(A, 0) + (SELU_SCALE * SELU_ALPHA) * np.expm1(np.minimum(A, 0))


def _selu_prime(A: Array) -> Array:
    D = (SELU_SCALE * SELU_ALPHA) * np.exp(np.minimum(A, 0))
    D[A > 0] = SELU_SCALE
    return D


def _gelu(A: Array) -> Array:
    t = np.minimum(np.abs(A), 40)
    return np.maximum(A, 0) - t * upper_tail(t).astype(A.dtype)


def _gelu_prime(A: Array) -> Array:
    t = np.minimum(np.abs(A), 40)
    density = np.exp(-t * t / 2) / math.sqrt(2 * math.pi)
    D = upper_tail(t).astype(A.dtype) - t * density
    return np.where(A < 0, D, 1 - D)


def _gelu_tanh_exponent(t: Array) -> Array:
    return math.sqrt(8 / math.pi) * (t + 0.044715 * t**3)


def _gelu_tanh(A: Array) -> Array:
    t = np.minimum(np.abs(A), 24)
    e = np.exp(-_gelu_tanh_exponent(t))
    return np.maximum(A, 0) - t * e / (1 + e)


def _gelu_tanh_prime(A: Array) -> Array:
    t = np.minimum(np.abs(A), 24)
    e = np.exp(-_gelu_tanh_exponent(t))
    slope = math.sqrt(8 / math.pi) * (1 + 3 * 0.044715 * t**2)
    D = e / (1 + e) * (1 - t * slope / (1 + e))
    return np.where(A < 0, D, 1 - D)


def _silu(A: Array) -> Array:
    t = np.minimum(np.abs(A), 1000)
    e = np.exp(-t)
    return np.maximum(A, 0) - t * e / (1 + e)


def _silu_prime(A: Array) -> Array:
    t = np.minimum(np.abs(A), 1000)
    e = np.exp(-t)
    D = e * (1 + e - t) / (1 + e) ** 2
    return np.where(A < 0, D, 1 - D)


def _softplus(A: Array) -> Array:
    return np.maximum(A, 0) + np.log1p(np.exp(-np.abs(A)))


def _softsign(A: Array) -> Array:
    A = np.clip(A, -1e30, 1e30)
    return A / (1 + np.abs(A))


def _softsign_prime(A: Array) -> Array:
    return (1 / (1 + np.abs(A))) ** 2


def _mish(A: Array) -> Array:
    A = np.maximum(A, -1000)
    p, q = np.exp(np.minimum(A, 0)), np.exp(-np.maximum(A, 0))
    n = p * (p + 2 * q)
    return A * (n / (n + 2 * q * q))


def _mish_prime(A: Array) -> Array:
    A = np.clip(A, -1000, 1000)
    p, q = np.exp(np.minimum(A, 0)), np.exp(-np.maximum(A, 0))
    n = p * (p + 2 * q)
    d = n + 2 * q * q
    return n / d + 4 * A * (p * q * q * (p + q)) / (d * d)


def _hardtanh(A: Array) -> Array:
    return np.clip(A, -1, 1)


def _hardtanh_prime(A: Array) -> Array:
    return _one_where(np.abs(A) < 1, A)


def _relu6(A: Array) -> Array:
    return np.clip(A, 0, 6)


def _relu6_prime(A: Array) -> Array:
    return _one_where((A > 0) & (A < 6), A)


def _hardsigmoid(A: Array) -> Array:
    return np.clip(A + 3, 0, 6) / 6


def _hardsigmoid_prime(A: Array) -> Array:
    return _one_where(np.abs(A) < 3, A) / 6


def _hardswish(A: Array) -> Array:
    return np.maximum(A, -3) * (np.clip(A + 3, 0, 6) / 6)


def _hardswish_prime(A: Array) -> Array:
    t = np.clip(A, -3, 3)
    D = (2 * t + 3) / 6
    D[A <= -3] = 0
    D[A >= 3] = 1
    return D


def _logsigmoid(A: Array) -> Array:
    return np.minimum(A, 0) - np.log1p(np.exp(-np.abs(A)))


def _logsigmoid_prime(A: Array) -> Array:
    return _sigmoid(-A)


def _gaussian(A: Array) -> Array:
    t = np.minimum(np.abs(A), 40)
    return np.exp(-t * t)


def _gaussian_prime(A: Array) -> Array:
    t = np.clip(A, -40, 40)
    return -2 * t * np.exp(-t * t)


def _softmax(A: Array) -> Array:
    E = np.exp(A - A.max(axis=-1, keepdims=True))
    return E / E.sum(axis=-1, keepdims=True)


def _softmax_vjp(A: Array, G: Array) -> Array:
    S = _softmax(A)
    return S * (G - (G * S).sum(axis=-1, keepdims=True))


def _log_softmax(A: Array) -> Array:
    S = A - A.max(axis=-1, keepdims=True)
    return S - np.log(np.exp(S).sum(axis=-1, keepdims=True))


def _log_softmax_vjp(A: Array, G: Array) -> Array:
    return G - _softmax(A) * G.sum(axis=-1, keepdims=True)


ROWS: tuple[Activation, ...] = (
    Elementwise("identity",    _identity,    _identity_prime),
    Elementwise("sigmoid",     _sigmoid,     _sigmoid_prime),
    Elementwise("tanh",        np.tanh,      _tanh_prime),
    Elementwise("relu",        _relu,        _relu_prime,        {0: 0}),
    Elementwise("leaky_relu",  _leaky_relu,  _leaky_relu_prime,  {0: SLOPE}),
    Elementwise("elu",         _elu,         _elu_prime),
    Elementwise("selu",        _selu,        _selu_prime,        {0: SELU_SCALE * SELU_ALPHA}),
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
    Elementwise("sin",         np.sin,       np.cos),
    Elementwise("gaussian",    _gaussian,    _gaussian_prime),
    RowWise("softmax",     _softmax,     _softmax_vjp),
    RowWise("log_softmax", _log_softmax, _log_softmax_vjp),
)  # fmt: skip

ACTIVATIONS: dict[str, Activation] = {row.name: row for row in ROWS}


def activation(name: str) -> Activation:
    """The row of `ACTIVATIONS` called `name`. Raises `InputError` for a name that is not there."""
    if name in ACTIVATIONS:
        return ACTIVATIONS[name]
    nearest = difflib.get_close_matches(name, ACTIVATIONS, n=1, cutoff=0)[0]
    raise InputError(
        f"There is no activation {name!r}; the nearest name is {nearest!r}. "
        f"There are: {', '.join(ACTIVATIONS)}."
    )
