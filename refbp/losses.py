"""The losses L(Z_L, Y) and their gradients ∂L/∂Z_L: one row each in `LOSSES`.

Z = Z_L and Y are n×d_L; every loss is a sum over the outputs, divided by n, the size of the batch
(not by n·d_L). Values and gradients keep the dtype of Z.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from refbp.checks import targets
from refbp.types import Array, InputError

__all__ = ["LOSSES", "Loss", "loss"]


@dataclass(frozen=True)
class Loss:
    """A loss by its two formulas: `value(Z, Y)` is L and `gradient_formula(Z, Y)` is ∂L/∂Z_L.

    Both are called with Y already shaped like Z.
    """

    name: str
    value: Callable[[Array, Array], np.floating[Any]]
    gradient_formula: Callable[[Array, Array], Array]

    def __call__(self, Z: Array, Y: Array, /) -> np.floating[Any]:
        """L(Z_L, Y), a number of Z's dtype. Raises `InputError` where Y does not fit Z."""
        return self.value(Z, targets(Z, Y))

    def gradient(self, Z: Array, Y: Array, /) -> Array:
        """∂L/∂Z_L, n×d_L. Raises `InputError` where Y does not fit Z."""
        return self.gradient_formula(Z, targets(Z, Y))


def _mean_over_batch(terms: Array) -> np.floating[Any]:
    """(1/n) Σ_i Σ_outputs terms; divided as an array, since NumPy 1.26 promotes a float32 scalar."""
    return cast("np.floating[Any]", (terms.sum(keepdims=True) / len(terms))[0, 0])


def _squared(Z: Array, Y: Array) -> np.floating[Any]:
    return _mean_over_batch((Z - Y) ** 2)


def _squared_gradient(Z: Array, Y: Array) -> Array:
    return 2 * (Z - Y) / len(Z)


def _weighted_log(Y: Array, Z: Array) -> Array:
    """y log z, with y = 0 contributing 0 even where z = 0."""
    with np.errstate(divide="ignore"):
        return Y * np.log(Z, where=Y != 0, out=np.zeros_like(Z))


def _weighted_log1m(Y: Array, Z: Array) -> Array:
    """(1 − y) log(1 − z), with y = 1 contributing 0 even where z = 1."""
    with np.errstate(divide="ignore"):
        return (1 - Y) * np.log1p(-Z, where=Y != 1, out=np.zeros_like(Z))


def _cross_entropy(Z: Array, Y: Array) -> np.floating[Any]:
    return -_mean_over_batch(_weighted_log(Y, Z))


def _cross_entropy_gradient(Z: Array, Y: Array) -> Array:
    with np.errstate(divide="ignore"):
        return -np.divide(Y, Z, where=Y != 0, out=np.zeros_like(Z)) / len(Z)


def _log_softmax_cross_entropy(Z: Array, Y: Array) -> np.floating[Any]:
    return -_mean_over_batch(Y * Z)


def _log_softmax_cross_entropy_gradient(Z: Array, Y: Array) -> Array:
    return -Y / len(Z)


def _binary_cross_entropy(Z: Array, Y: Array) -> np.floating[Any]:
    return -_mean_over_batch(_weighted_log(Y, Z) + _weighted_log1m(Y, Z))


def _binary_cross_entropy_gradient(Z: Array, Y: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        D = (Z - Y) / Z / (1 - Z)
    settled = (Z == Y) & ((Z == 0) | (Z == 1))
    D[settled] = (1 - 2 * Y)[settled]
    return D / len(Z)


def _absolute(Z: Array, Y: Array) -> np.floating[Any]:
    return _mean_over_batch(np.abs(Z - Y))


def _absolute_gradient(Z: Array, Y: Array) -> Array:
    return np.sign(Z - Y) / len(Z)


def _huber(Z: Array, Y: Array) -> np.floating[Any]:
    D = np.abs(Z - Y)
    m = np.minimum(D, 1)
    return _mean_over_batch(m * (D - m / 2))


def _huber_gradient(Z: Array, Y: Array) -> Array:
    return np.clip(Z - Y, -1, 1) / len(Z)


ROWS = (
    Loss("mean_squared_error",        _squared,                   _squared_gradient),
    Loss("cross_entropy",             _cross_entropy,             _cross_entropy_gradient),
    Loss("log_softmax_cross_entropy", _log_softmax_cross_entropy, _log_softmax_cross_entropy_gradient),
    Loss("binary_cross_entropy",      _binary_cross_entropy,      _binary_cross_entropy_gradient),
    Loss("mean_absolute_error",       _absolute,                  _absolute_gradient),
    Loss("huber",                     _huber,                     _huber_gradient),
)  # fmt: skip

LOSSES: dict[str, Loss] = {row.name: row for row in ROWS}


def loss(name: str) -> Loss:
    """The row of `LOSSES` called `name`. Raises `InputError` for a name that is not there."""
    if name in LOSSES:
        return LOSSES[name]
    nearest = difflib.get_close_matches(name, LOSSES, n=1, cutoff=0)[0]
    raise InputError(
        f"There is no loss {name!r}; the nearest name is {nearest!r}. "
        f"There are: {', '.join(LOSSES)}."
    )
