"""Activations that are wrong, each in one way: what must be found, and what it must be said to look like.

A row: σ, σ', the finding, the verdict (`wrong`, unless only --strict makes it so), and a part of `looks_like`.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from right import RIGHT, gelu, gelu_prime, mish, mish_prime, sigmoid, silu_prime
from scipy.special import expit

Array = NDArray[Any]


class Wrong(NamedTuple):
    sigma: Callable[[Array], Any] | None
    prime: Callable[[Array], Any] | None
    finding: str
    verdict: str = "wrong"
    like: str = ""
    of: str = "σ'"
    kinks: dict[float, float] | None = None


def silu(x: Array) -> Array:
    return x * expit(x)


def selu_prime_wrong_side(x: Array) -> Array:
    """α e^x taken as e^x + α."""
    return np.where(
        x > 0, 1.0507009873554805 * np.ones_like(x), 1.7580993408473766 + np.exp(np.minimum(x, 0))
    )


def old_mish_prime(x: Array) -> Array:
    """The formula of the paper: e^{3x} overflows at 237, and in float32 at 30."""
    e = np.exp(x)
    omega = 4 * (x + 1) + 4 * e**2 + e**3 + e * (4 * x + 6)
    return e * omega / (2 * e + e**2 + 2) ** 2


def naive_silu(x: Array) -> Array:
    return x * np.exp(x) / (1 + np.exp(x))


def quotient(x: Array) -> Array:
    return (mish(x + 1e-6) - mish(x)) / 1e-6


def central(x: Array) -> Array:
    return (gelu(x + 1e-3) - gelu(x - 1e-3)) / 2e-3


def cosine_prime(x: Array) -> Array:
    """((1 − cos x)/x)' where it cancels."""
    t = np.where(x == 0, 1e-30, x)
    return (t * np.sin(t) - (1 - np.cos(t))) / (t * t)


def cosine(x: Array) -> Array:
    t = np.where(x == 0, 1e-30, x)
    return 2 * np.sin(t / 2) ** 2 / t


def bump(x: Array) -> Array:
    """Wrong on a thousandth of a unit alone."""
    return np.where((x > 3.0012) & (x < 3.0013), silu_prime(x) + 1e-3, silu_prime(x))


def centred(x: Array) -> Array:
    return x - np.mean(x)


def softmax(x: Array) -> Array:
    e = np.exp(x - np.max(x))
    return e / np.sum(e)


def mutating(x: Array) -> Array:
    x[x < 0] = 0
    return x + 0.0


_count = itertools.count()


def drifting(x: Array) -> Array:
    return np.tanh(x) * (1 + 1e-9 * next(_count))


def summed(x: Array) -> Any:
    return np.sum(np.tanh(x))


def flat(x: Array) -> Array:
    return np.tanh(np.ravel(x))


def raising(x: Array) -> Array:
    raise ValueError("no luck today")


def scalar_only(x: Any) -> Any:
    return x if x > 0 else 0.0


one_by_one = np.vectorize(lambda v: np.tanh(v), otypes=[float])


def warning(x: Array) -> Array:
    warnings.warn("tanh is deprecated", UserWarning, stacklevel=1)
    return np.tanh(x)


def half_inside(x: Array) -> Array:
    """Part of it in float32."""
    return (np.tanh(x.astype(np.float32))).astype(x.dtype) if x.dtype == np.float64 else np.tanh(x)


def in_memory_order(x: Array) -> Array:
    return np.tanh(x.ravel(order="K")).reshape(x.shape)


def transposing(x: Array) -> Array:
    return np.tanh(x.T if x.ndim == 2 and x.shape[0] == x.shape[1] else x)


_buffers: dict[Any, Array] = {}


def buffered(x: Array) -> Array:
    out = _buffers.setdefault((x.shape, x.dtype), np.empty_like(x))
    out[...] = np.tanh(x)
    return out


def never_empty(x: Array) -> Array:
    if x.size == 0:
        raise ValueError("nothing to do")
    return np.tanh(x)


def assigning(x: Array) -> Array:
    """np.tanh of a 0-d array is a scalar, which takes no assignment."""
    y = np.tanh(x)
    y[np.isnan(x)] = np.nan
    return y


class _Table:
    """tanh from a table, interpolated."""

    grid = np.linspace(-10, 10, 2001)
    values = np.tanh(grid)

    def __call__(self, x: Array) -> Array:
        return np.interp(x, self.grid, self.values).astype(x.dtype)


R = {name: (row.sigma, row.prime) for name, row in RIGHT.items()}
tanh, tanh_prime = R["tanh"]
relu, relu_prime = R["relu"]
D = "wrong-derivative"


def sech2(x: Array) -> Array:
    """tanh', by a form that loses no digits: the verdict is then that of what else is wrong."""
    e = np.exp(-2 * np.abs(x))
    return 4 * e / np.square(1 + e)


# fmt: off
WRONG: dict[str, Wrong] = {
    # the derivative itself
    "factor 2":             Wrong(np.tanh, lambda x: 2 * tanh_prime(x), D, like="twice the derivative"),
    "half":                 Wrong(lambda x: x * x * expit(x), lambda x: x * expit(x) + 0.5 * x * x * expit(x) * expit(-x), D, like="half the derivative"),
    "sign":                 Wrong(np.cos, np.sin, D, like="sign turned"),
    "σ itself":             Wrong(sigmoid, sigmoid, D, like="σ itself"),
    "of the output":        Wrong(np.tanh, lambda z: 1 - z * z, D, like="in terms of the output"),
    "σ'(σ(x))":             Wrong(gelu, lambda x: gelu_prime(gelu(x)), D, like="taken at the output"),
    "mirrored":             Wrong(silu, lambda x: silu_prime(-x), D, like="σ'(−x)"),
    "without σ(x)/x":       Wrong(silu, lambda x: x * expit(x) * expit(-x), D, like="without the term σ(x)/x"),
    "σ(x)/x alone":         Wrong(silu, expit, D, like="σ(x)/x alone"),
    "of another":           Wrong(mish, silu_prime, D, like="the derivative of silu"),
    "of gelu's tanh form":  Wrong(gelu, R["gelu_tanh"][1], D, like="the derivative of gelu_tanh"),
    "squared":              Wrong(np.tanh, lambda x: tanh_prime(x) ** 2, D, like="σ'(x)²"),
    "second":               Wrong(np.sin, lambda x: -np.sin(x), D, like="second derivative"),
    "1 − σ":                Wrong(sigmoid, lambda x: 1 - sigmoid(x), D, like="1 − σ(x)"),
    "plus a constant":      Wrong(gelu, lambda x: gelu_prime(x) + 0.01, D, like="plus 0.01"),
    "factor 1 + 1e-12":     Wrong(mish, lambda x: mish_prime(x) * (1 + 1e-12), D, like="times 1 + 1.0e-12"),
    "factor 1 + 1e-14":     Wrong(mish, lambda x: mish_prime(x) * (1 + 1e-14), D),
    "x < −30":              Wrong(mish, lambda x: np.where(x < -30, 0 * x, mish_prime(x)), D, like="zero"),
    "x > 0 only":           Wrong(silu, lambda x: np.where(x > 0, 1.1 * silu_prime(x), silu_prime(x)), D, like="times 1.1 (only for x > 0)"),
    "a narrow bump":        Wrong(silu, bump, D),
    "forward difference":   Wrong(mish, quotient, D, like="difference quotient"),
    "central difference":   Wrong(gelu, central, D),
    "rounded constant":     Wrong(R["gelu_tanh"][0], lambda x: R["gelu_tanh"][1](x) + (0.79788 - math.sqrt(2 / math.pi)) * x / np.cosh(x) ** 2, D),
    "wrong branch":         Wrong(R["selu"][0], selu_prime_wrong_side, D),
    "symlog without |x|":   Wrong(RIGHT["symlog"].sigma, lambda x: 1 / (1 + x * x), D),
    "zero everywhere":      Wrong(np.tanh, np.zeros_like, D, like="zero"),
    "reciprocal":           Wrong(np.exp, lambda x: np.exp(-x), D),
    "beyond the kink":      Wrong(R["relu6"][0], relu_prime, D),
    "off by one ulp of slope": Wrong(R["leaky_relu"][0], lambda x: np.where(x > 0, np.ones_like(x), 0.010000001 * np.ones_like(x)), D),
    # kinks
    "outside Clarke":       Wrong(relu, lambda x: np.where(x == 0, -1.0 + 0 * x, np.where(x > 0, 1.0 + 0 * x, 0 * x)), "outside-clarke"),
    "another convention":   Wrong(relu, relu_prime, "convention", kinks={0.0: 0.5}),
    "undeclared kink":      Wrong(R["relu6"][0], R["relu6"][1], "undeclared-kink", "right", of="σ", kinks={0.0: 0.0}),
    "no such kink":         Wrong(np.tanh, sech2, "no-such-kink", "right", of="σ", kinks={1.0: 0.0}),
    "a jump":               Wrong(lambda x: np.where(x > 1, x + 1, x), np.ones_like, "jump", "right", of="σ"),
    "kinks without end":    Wrong(lambda x: x - np.floor(x), np.ones_like, "many-branches", "not judged", of="σ"),
    # range and rounding
    "overflow in σ'":       Wrong(mish, old_mish_prime, "overflow-derivative"),
    "overflow in σ":        Wrong(naive_silu, silu_prime, "overflow-value", "right", of="σ"),
    "0/0":                  Wrong(lambda x: np.sin(x) / x, lambda x: np.where(x == 0, 0 * x, np.cos(x) / np.where(x == 0, 1 + 0 * x, x) - np.sin(x) / np.where(x == 0, 1 + 0 * x, x) ** 2), "nan-value", of="σ"),
    "cancellation in σ":    Wrong(lambda x: np.log(1 + np.exp(-np.abs(x))) + np.maximum(x, 0), expit, "cancellation", "inaccurate", of="σ"),
    "cancellation in σ'":   Wrong(cosine, cosine_prime, "cancellation-derivative"),
    "float32 inside":       Wrong(half_inside, tanh_prime, "inaccurate-value", of="σ"),
    "float32 inside σ'":    Wrong(np.tanh, lambda x: tanh_prime(x.astype(np.float32)).astype(x.dtype), "inaccurate-derivative"),
    # form
    "promotes":             Wrong(np.tanh, lambda x: 1 / np.cosh(np.clip(x, -300, 300)) ** 2 * np.float64(1), "promotes", "right"),
    "demotes":              Wrong(np.tanh, lambda x: tanh_prime(x).astype(np.float32), "demotes"),
    "not elementwise":      Wrong(centred, np.ones_like, "not-elementwise", of="σ"),
    "softmax":              Wrong(softmax, lambda x: softmax(x) * (1 - softmax(x)), "not-elementwise", of="σ"),
    "mutates":              Wrong(mutating, relu_prime, "mutates", of="σ"),
    "aliases":              Wrong(lambda x: x, np.ones_like, "aliases", "right", of="σ"),
    "not deterministic":    Wrong(drifting, tanh_prime, "not-deterministic", of="σ"),
    "a sum":                Wrong(summed, tanh_prime, "not-an-array", of="σ"),
    "flattened":            Wrong(flat, tanh_prime, "wrong-shape", of="σ"),
    "complex":              Wrong(lambda x: np.tanh(x + 0j), tanh_prime, "wrong-dtype", of="σ"),
    "truth values":         Wrong(relu, lambda x: x > 0, "wrong-dtype"),
    "objects":              Wrong(lambda x: np.tanh(x).astype(object), tanh_prime, "wrong-dtype", of="σ"),
    "a list":               Wrong(lambda x: list(np.tanh(x)), tanh_prime, "not-an-array", of="σ"),
    "nothing":              Wrong(lambda x: None, tanh_prime, "not-an-array", of="σ"),
    "raises":               Wrong(raising, tanh_prime, "raises", of="σ"),
    "scalar code":          Wrong(scalar_only, relu_prime, "raises", of="σ"),
    "slow":                 Wrong(one_by_one, sech2, "slow", "right", of="σ"),
    "warns":                Wrong(warning, sech2, "warns", "right", of="σ"),
    "hides NaN":            Wrong(lambda x: np.where(x > 0, x, 0.0 * np.ones_like(x)), relu_prime, "hides-nan", "right", of="σ"),
    "twice in 3 dimensions": Wrong(lambda x: np.tanh(x) * (2 if x.ndim >= 3 else 1), tanh_prime, "not-elementwise", of="σ"),
    "twice when long":      Wrong(np.tanh, lambda x: tanh_prime(x) * (2 if x.size > 5000 else 1), "not-elementwise"),
    "in memory's order":    Wrong(in_memory_order, tanh_prime, "not-elementwise", of="σ"),
    "transposes squares":   Wrong(transposing, tanh_prime, "not-elementwise", of="σ"),
    "one NaN for all":      Wrong(lambda x: np.tanh(x) + 0 * np.sum(x), tanh_prime, "not-elementwise", of="σ"),
    "one buffer":           Wrong(buffered, tanh_prime, "reuses-buffer", of="σ"),
    "raises on empty":      Wrong(never_empty, sech2, "odd-arrays", "right", of="σ"),
    "no 0-d arrays":        Wrong(assigning, sech2, "odd-arrays", "right", of="σ"),
}
# fmt: on
