"""Activations that are right, as people write them: naively, stably, with masks, loops of NumPy and SciPy.

A row: name, σ, σ', how many kinks, and the warnings that are deserved. Every built-in is here twice: naively,
and as refbp has it (test_right.py takes those from refbp).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.special import erf, expit, log_ndtr, ndtr, xlogy

Array = NDArray[Any]


class Right(NamedTuple):
    sigma: Callable[[Array], Array]
    prime: Callable[[Array], Array]
    kinks: int = 0
    warnings: tuple[str, ...] = ()
    truth: str | None = None  # the known definition that it must equal too

    @property
    def verdict(self) -> str:
        """What it is called: right, or inaccurate where it loses digits."""
        return "inaccurate" if "cancellation" in self.warnings else "right"


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def sigmoid_prime(x: Array) -> Array:
    s = sigmoid(x)
    return s * (1 - s)


def tanh_prime(x: Array) -> Array:
    return 1 - np.tanh(x) ** 2


def relu_prime(x: Array) -> Array:
    return (x > 0).astype(x.dtype)


def leaky(x: Array, slope: float = 0.01) -> Array:
    return np.where(x > 0, x, slope * x)


def leaky_prime(x: Array, slope: float = 0.01) -> Array:
    d = np.ones_like(x)
    d[x <= 0] = slope
    return d


def elu(x: Array) -> Array:
    return np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)


def elu_prime(x: Array) -> Array:
    out = np.ones_like(x)
    out[x < 0] = np.exp(x[x < 0])
    return out


ALPHA, SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def selu(x: Array) -> Array:
    return SCALE * np.where(x > 0, x, ALPHA * np.expm1(np.minimum(x, 0)))


def selu_prime(x: Array) -> Array:
    return SCALE * np.where(x > 0, np.ones_like(x), ALPHA * np.exp(np.minimum(x, 0)))


def celu(x: Array, alpha: float = 1.0) -> Array:
    return np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(np.minimum(x, 0) / alpha))


def celu_prime(x: Array) -> Array:
    return np.exp(np.minimum(x, 0))


def gelu(x: Array) -> Array:
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def gelu_prime(x: Array) -> Array:
    return 0.5 * (1 + erf(x / math.sqrt(2))) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


C = math.sqrt(2 / math.pi)


def gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(C * (x + 0.044715 * x**3)))


def gelu_tanh_prime(x: Array) -> Array:
    x = np.clip(x, -1e6, 1e6)
    t = np.tanh(C * (x + 0.044715 * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * C * (1 + 3 * 0.044715 * x**2)


def silu_prime(x: Array) -> Array:
    s = expit(x)
    return s + x * s * (1 - s)


def softplus(x: Array) -> Array:
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


def softsign_prime(x: Array) -> Array:
    return 1 / (1 + np.abs(x)) ** 2


def mish(x: Array) -> Array:
    return x * np.tanh(np.logaddexp(0, x))


def mish_prime(x: Array) -> Array:
    t = np.tanh(np.logaddexp(0, x))
    return t + x * (1 - t * t) * expit(x)


def hardtanh_prime(x: Array) -> Array:
    return np.where((x > -1) & (x < 1), np.ones_like(x), np.zeros_like(x))


def relu6_prime(x: Array) -> Array:
    return np.logical_and(x > 0, x < 6).astype(x.dtype)


def hardsigmoid(x: Array) -> Array:
    return np.minimum(np.maximum(x + 3, 0), 6) / 6


def hardsigmoid_prime(x: Array) -> Array:
    d = np.zeros_like(x)
    d[np.abs(x) < 3] = 1 / 6
    return d


def hardswish(x: Array) -> Array:
    return x * np.clip(x + 3, 0, 6) / 6


def hardswish_prime(x: Array) -> Array:
    return np.piecewise(x, [x <= -3, x >= 3], [0.0, 1.0, lambda t: (2 * t + 3) / 6])


def gaussian_prime(x: Array) -> Array:
    return -2 * x * np.exp(-np.square(x))


# --- not among the built-ins --------------------------------------------------------------------------


def symlog(x: Array) -> Array:
    return np.sign(x) * np.log1p(np.abs(x))


def isrlu(x: Array, a: float = 1.0) -> Array:
    return np.where(x >= 0, x, x / np.sqrt(1 + a * np.square(x)))


def isrlu_prime(x: Array) -> Array:
    return np.where(x >= 0, np.ones_like(x), (1 + np.square(np.minimum(x, 0))) ** -1.5)


def snake(x: Array, a: float = 1.5) -> Array:
    return x + np.sin(a * x) ** 2 / a


def snake_prime(x: Array, a: float = 1.5) -> Array:
    return 1 + 2 * np.sin(a * x) * np.cos(a * x)


def squared_relu(x: Array) -> Array:
    y = np.maximum(x, 0)
    return y * y


def bent(x: Array) -> Array:
    return (np.hypot(x, 1) - 1) / 2 + x


def bent_prime(x: Array) -> Array:
    return x / (2 * np.hypot(x, 1)) + 1


def cubic_or_line(x: Array) -> Array:
    return np.maximum(x, x**3)


def cubic_or_line_prime(x: Array) -> Array:
    return np.where(x >= x**3, np.ones_like(x), 3 * x**2)


def masked(x: Array) -> Array:
    """ELU as masks on np.zeros, which has no dispatch."""
    x = np.asarray(x)
    out = np.zeros(x.shape, dtype=x.dtype)
    up = x > 0
    out[up] = x[up]
    out[~up] = np.expm1(x[~up])
    return out


def masked_prime(x: Array) -> Array:
    out = np.ones(x.shape, dtype=x.dtype)
    np.copyto(out, np.exp(np.minimum(x, 0)), where=x < 0)
    return out


def selected(x: Array) -> Array:
    return np.select(
        [x < -1, x < 1], [-0.5 - 0.5 * (x + 1) * 0, 0.5 * x], default=0.5 * np.sqrt(np.abs(x))
    )


def selected_prime(x: Array) -> Array:
    safe = np.where(x < 1, np.ones_like(x), x)
    return np.select(
        [x < -1, x < 1], [np.zeros_like(x), 0.5 * np.ones_like(x)], 0.25 / np.sqrt(safe)
    )


def swish_beta(x: Array, beta: float = 1.7) -> Array:
    return x * expit(beta * x)


def swish_beta_prime(x: Array, beta: float = 1.7) -> Array:
    s, t = expit(beta * x), expit(-beta * x)
    return s + beta * x * s * t


def serf(x: Array) -> Array:
    return x * erf(np.logaddexp(0, x))


def serf_prime(x: Array) -> Array:
    p = np.logaddexp(0, np.clip(x, -745, 80))
    return erf(p) + x * (2 / math.sqrt(math.pi)) * np.exp(-p * p) * expit(x)


def sinc_prime(x: Array) -> Array:
    """With a series near 0, where the closed form cancels."""
    t = np.where(np.abs(x) < 0.05, np.ones_like(x), x)
    u = math.pi * x
    v = u * u
    series = -math.pi * u / 3 * (1 - v / 10 * (1 - v / 28 * (1 - v / 54 * (1 - v / 88))))
    return np.where(
        np.abs(x) < 0.05, series, np.cos(math.pi * t) / t - np.sin(math.pi * t) / (math.pi * t * t)
    )


def in_place(x: Array) -> Array:
    z = np.negative(x)
    with np.errstate(over="ignore"):
        np.exp(z, out=z)
    z += 1
    return np.reciprocal(z, out=z)


def two_sided(x: Array) -> Array:
    """The sigmoid by whichever form does not overflow: symlog's like, smooth across the branch."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def two_sided_prime(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return e / np.square(1 + e)


def entropy(x: Array) -> Array:
    """−p log p of p = sigmoid(x)."""
    p = expit(x)
    return -xlogy(p, p)


def entropy_prime(x: Array) -> Array:
    p = expit(x)
    return -(special.log_expit(x) + 1) * p * expit(-x)


def hard_shrink(x: Array) -> Array:
    return np.where(np.abs(x) > 0.5, x, np.zeros_like(x))


def hard_shrink_prime(x: Array) -> Array:
    return np.where(np.abs(x) > 0.5, np.ones_like(x), np.zeros_like(x))


def soft_shrink(x: Array) -> Array:
    return np.sign(x) * np.maximum(np.abs(x) - 0.5, 0)


def arctan_prime(x: Array) -> Array:
    return 1 / (1 + np.square(x))


def cube_root(x: Array) -> Array:
    return np.cbrt(1 + np.abs(x))


def cube_root_prime(x: Array) -> Array:
    return np.sign(x) / (3 * np.cbrt(1 + np.abs(x)) ** 2)


def one_minus_cos(x: Array) -> Array:
    """(1 − cos x)/(1 + x²) without cancellation."""
    return 2 * np.sin(x / 2) ** 2 / (1 + x**2)


def one_minus_cos_prime(x: Array) -> Array:
    q = 1 + x**2
    return np.sin(x) / q - 4 * x * np.sin(x / 2) ** 2 / (q * q)


_scalar = np.vectorize(lambda x: x if x > 0 else 0.5 * x, otypes=[float])
_scalar_prime = np.vectorize(lambda x: 1.0 if x > 0 else 0.5, otypes=[float])

CANCELS, WARNS = ("cancellation",), ("warns",)

# fmt: off
RIGHT: dict[str, Right] = {
    # the built-ins, naively
    "identity":      Right(lambda x: 1.0 * x, np.ones_like, 0, (), "identity"),
    "sigmoid":       Right(sigmoid, sigmoid_prime, 0, CANCELS + WARNS, "sigmoid"),
    "tanh":          Right(np.tanh, tanh_prime, 0, CANCELS, "tanh"),
    "relu":          Right(lambda x: np.maximum(x, 0), relu_prime, 1, (), "relu"),
    "leaky_relu":    Right(leaky, leaky_prime, 1, (), "leaky_relu"),
    "elu":           Right(elu, elu_prime, 0, CANCELS, "elu"),
    "selu":          Right(selu, selu_prime, 1, (), "selu"),
    "celu":          Right(celu, celu_prime, 0, (), "celu"),
    "gelu":          Right(gelu, gelu_prime, 0, CANCELS, "gelu"),
    "gelu_tanh":     Right(gelu_tanh, gelu_tanh_prime, 0, CANCELS, "gelu_tanh"),
    "silu":          Right(lambda x: x * expit(x), silu_prime, 0, (), "silu"),
    "softplus":      Right(softplus, sigmoid, 0, WARNS, "softplus"),
    "softsign":      Right(lambda x: x / (1 + np.abs(x)), softsign_prime, 0, (), "softsign"),
    "mish":          Right(mish, mish_prime, 0, (), "mish"),
    "hardtanh":      Right(lambda x: np.clip(x, -1, 1), hardtanh_prime, 2, (), "hardtanh"),
    "relu6":         Right(lambda x: np.minimum(np.maximum(x, 0), 6), relu6_prime, 2, (), "relu6"),
    "hardsigmoid":   Right(hardsigmoid, hardsigmoid_prime, 2, (), "hardsigmoid"),
    "hardswish":     Right(hardswish, hardswish_prime, 2, (), "hardswish"),
    "logsigmoid":    Right(lambda x: -np.logaddexp(0, -x), lambda x: expit(-x), 0, (), "logsigmoid"),
    "sin":           Right(np.sin, np.cos, 0, (), "sin"),
    "gaussian":      Right(lambda x: np.exp(-x**2), gaussian_prime, 0, (), "gaussian"),
    # others
    "symlog":        Right(symlog, lambda x: 1 / (1 + np.abs(x))),
    "isrlu":         Right(isrlu, isrlu_prime),
    "snake":         Right(snake, snake_prime, 0, CANCELS),
    "snake, a = 3":  Right(partial(snake, a=3.0), partial(snake_prime, a=3.0)),
    "squared relu":  Right(squared_relu, lambda x: 2 * np.maximum(x, 0)),
    "bent identity": Right(bent, bent_prime, 0, CANCELS),
    "cubic or line": Right(cubic_or_line, cubic_or_line_prime, 3),
    "masked elu":    Right(masked, masked_prime),
    "selected":      Right(selected, selected_prime, 2),
    "swish, β":      Right(swish_beta, swish_beta_prime),
    "serf":          Right(serf, serf_prime),
    "ndtr":          Right(lambda x: x * ndtr(x), gelu_prime, 0, CANCELS, "gelu"),
    "log ndtr":      Right(log_ndtr, lambda x: math.sqrt(2 / math.pi) / special.erfcx(-x / math.sqrt(2))),
    "sinc":          Right(np.sinc, sinc_prime),
    "in place":      Right(in_place, lambda x: in_place(x) * in_place(-x), truth="sigmoid"),
    "two-sided":     Right(two_sided, two_sided_prime, truth="sigmoid"),
    "entropy":       Right(entropy, entropy_prime, 0, CANCELS),
    "hard shrink":   Right(hard_shrink, hard_shrink_prime, 0, ("jump",)),
    "soft shrink":   Right(soft_shrink, hard_shrink_prime, 2),
    "arctan":        Right(np.arctan, arctan_prime),
    "absolute":      Right(np.abs, np.sign, 1),
    "step":          Right(lambda x: np.heaviside(x, 0.5), np.zeros_like, 0, ("jump",)),
    "cube root":     Right(cube_root, cube_root_prime, 1),
    "one minus cos": Right(one_minus_cos, one_minus_cos_prime),
    "vectorize":     Right(_scalar, _scalar_prime, 1, ("slow",)),
}
# fmt: on
