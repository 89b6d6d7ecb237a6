"""The losses L(Z_L, Y) and their gradients ∂L/∂Z_L: one row each in `LOSSES`.

Z = Z_L and Y are n×d_L. Every loss is a sum over the outputs of every example, divided by n, the
size of the batch, as the notes divide their mean squared error (and not by n·d_L, as torch's 'mean'
does). Values and gradients have Z's dtype.

A new loss is one row of `ROWS`, or for one's own use

>>> quartic = Loss("quartic", lambda Z, Y: ((Z - Y) ** 4).sum(), lambda Z, Y: 4 * (Z - Y) ** 3)
>>> quartic.gradient(np.array([[2.0], [1.0]]), np.array([1.0, 3.0]))
array([[  4.],
       [-32.]])
"""

# mypy: disable-error-code="no-any-return"
# NumPy types the arithmetic of NDArray[Any] as Any.

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from refbp.checks import targets
from refbp.types import Array, InputError

__all__ = ["LOSSES", "ROWS", "Loss", "loss"]


@dataclass(frozen=True)
class Loss:
    """A loss by its two formulas: `value(Z, Y)` is L(Z, Y), and `dL_dZ(Z, Y)` is ∂L/∂Z, n×d_L.

    Both formulas receive Y shaped like Z. The methods below also accept a Y of shape (n,), which means (n,
    1).
    """

    name: str
    value: Callable[[Array, Array], np.floating[Any]]
    dL_dZ: Callable[[Array, Array], Array]

    def __call__(self, Z: Array, Y: Array, /) -> np.floating[Any]:
        """L(Z_L, Y), one number of Z's dtype. Raises `InputError` if Y does not fit Z."""
        return self.value(Z, targets(Z, Y))

    def gradient(self, Z: Array, Y: Array, /) -> Array:
        """∂L/∂Z_L, shaped like Z. Raises `InputError` if Y does not fit Z."""
        return self.dL_dZ(Z, targets(Z, Y))


def _over_batch(terms: Array) -> np.floating[Any]:
    """(1/n) Σ_i Σ_j t_ij. The sum stays an array, since NumPy 1.26 promotes a float32 scalar divided by n."""
    total = terms.sum(keepdims=True) / len(terms)
    return cast("np.floating[Any]", total[0, 0])


def _check_probabilities(Z: Array) -> None:
    outside = (Z < 0) | (Z > 1)
    if outside.any():
        i, j = (int(k) for k in np.argwhere(outside)[0])
        raise InputError(
            f"Z_L[{i}, {j}] is {Z[i, j]}; expected outputs between 0 and 1, as softmax or sigmoid "
            "gives them to a cross entropy."
        )


# --- of any numbers; fractions and symbols too ----------------------------------------------------


def _mean_squared_error(Z: Array, Y: Array) -> np.floating[Any]:
    """L = (1/n) Σ_i Σ_j (z_ij − y_ij)²: Step 1 of the notes, for one output or several."""
    return _over_batch((Z - Y) ** 2)


def _mean_squared_error_gradient(Z: Array, Y: Array) -> Array:
    """∂L/∂z = 2 (z − y)/n: Step 2a of the notes, and the 1/n of Step 1."""
    return 2 * (Z - Y) / len(Z)


def _mean_absolute_error(Z: Array, Y: Array) -> np.floating[Any]:
    """L = (1/n) Σ_i Σ_j |z_ij − y_ij|."""
    return _over_batch(np.abs(Z - Y))


def _mean_absolute_error_gradient(Z: Array, Y: Array) -> Array:
    """∂L/∂z = sign(z − y)/n, and 0 where z = y."""
    return np.sign(Z - Y) / len(Z)


def _huber(Z: Array, Y: Array) -> np.floating[Any]:
    """L = (1/n) Σ_i Σ_j h(|z_ij − y_ij|), h(e) = e²/2 up to e = 1, then e − 1/2."""
    E = np.abs(Z - Y)
    M = np.minimum(E, 1)
    return _over_batch(M * (E - M / 2))  # both branches in one


def _huber_gradient(Z: Array, Y: Array) -> Array:
    """∂L/∂z = (z − y)/n, with z − y limited to between −1 and 1."""
    return np.clip(Z - Y, -1, 1) / len(Z)


# --- of probabilities -----------------------------------------------------------------------------


def _times_log(Y: Array, Z: Array) -> Array:
    """y log z; 0 if y = 0, even if z is 0 too; −∞ without a warning if z = 0 and y > 0."""
    with np.errstate(divide="ignore"):
        return Y * np.log(np.where(Y != 0, Z, 1))


def _times_log1m(Y: Array, Z: Array) -> Array:
    """(1 − y) log(1 − z); 0 if y = 1, even if z is 1 too."""
    with np.errstate(divide="ignore"):
        return (1 - Y) * np.log1p(np.where(Y != 1, -Z, 0))


def _cross_entropy(Z: Array, Y: Array) -> np.floating[Any]:
    """L = −(1/n) Σ_i Σ_j y_ij log z_ij, for the outputs of softmax; ∞ where z = 0 and y > 0."""
    _check_probabilities(Z)
    return -_over_batch(_times_log(Y, Z))


def _cross_entropy_gradient(Z: Array, Y: Array) -> Array:
    """∂L/∂z = −(y/z)/n; 0 where y = 0, and −∞ where z = 0 and y > 0."""
    _check_probabilities(Z)
    with np.errstate(divide="ignore", over="ignore"):
        return -(Y / np.where(Y != 0, Z, 1)) / len(Z)


def _binary_cross_entropy(Z: Array, Y: Array) -> np.floating[Any]:
    """L = −(1/n) Σ_i Σ_j [y_ij log z_ij + (1 − y_ij) log(1 − z_ij)], for the outputs of sigmoid."""
    _check_probabilities(Z)
    return -_over_batch(_times_log(Y, Z) + _times_log1m(Y, Z))


def _binary_cross_entropy_gradient(Z: Array, Y: Array) -> Array:
    """∂L/∂z = (z − y)/(z (1 − z))/n; if z = y = 0 or 1, its one-sided value, 1/n or −1/n.

    It is not computed as (1 − y)/(1 − z) − y/z, whose terms cancel if z is near y.
    """
    _check_probabilities(Z)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        D = (Z - Y) / Z / (1 - Z)
    certain = (Z == Y) & ((Z == 0) | (Z == 1))
    D[certain] = (1 - 2 * Y)[certain]
    return D / len(Z)


def _fused(Z: Array, Y: Array) -> np.floating[Any]:
    """L = −(1/n) Σ_i Σ_j y_ij z_ij: the cross entropy, for the outputs of log_softmax."""
    return -_over_batch(Y * Z)


def _fused_gradient(Z: Array, Y: Array) -> Array:
    """∂L/∂z = −y/n."""
    return -Y / len(Z)


ROWS = (
    Loss("mean_squared_error",        _mean_squared_error,   _mean_squared_error_gradient),
    Loss("cross_entropy",             _cross_entropy,        _cross_entropy_gradient),
    Loss("log_softmax_cross_entropy", _fused,                _fused_gradient),
    Loss("binary_cross_entropy",      _binary_cross_entropy, _binary_cross_entropy_gradient),
    Loss("mean_absolute_error",       _mean_absolute_error,  _mean_absolute_error_gradient),
    Loss("huber",                     _huber,                _huber_gradient),
)  # fmt: skip

LOSSES: dict[str, Loss] = {row.name: row for row in ROWS}


def loss(name: str) -> Loss:
    """The row of `LOSSES` called `name`. Raises `InputError` if there is none."""
    if name in LOSSES:
        return LOSSES[name]
    nearest = difflib.get_close_matches(str(name).lower(), LOSSES, cutoff=0)[0]
    raise InputError(
        f"There is no loss {name!r}; the nearest name is {nearest!r}. "
        f"There are: {', '.join(LOSSES)}."
    )
