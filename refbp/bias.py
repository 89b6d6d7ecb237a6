"""The bias b absorbed into W, as the notes assume, so that no line of the algorithm changes.

A constant unit, always 1, is appended to every layer but the last, as its LAST column: Z̃ = [Z | 1].
Then b_l is one more row of W_l, since `[Z_{l-1} | 1] [[W_l], [b_l]]` = Z_{l-1} W_l + b_l, and

    W̃_l = [[W_l, 0],      (d_{l-1}+1)×(d_l+1)  for l < L,      W̃_L = [[W_L],      (d_{L-1}+1)×d_L.
           [b_l, 1]]                                                   [b_L]]

The column (0, …, 0, 1) hands the constant on. σ_l alone would spoil it (tanh(1) is not 1), so the
hidden σ_l leave that unit at 1, with derivative 0. Hence the last column of ∂L/∂W̃_l is 0, and the
update leaves the constant alone.

>>> import numpy as np
>>> from refbp.activations import activation
>>> from refbp.algorithm import forward_pass
>>> W = {1: np.array([[1.0, 2.0]]), 2: np.array([[3.0], [4.0]])}
>>> b = {1: np.array([0.5, -1.0]), 2: np.array([10.0])}
>>> sigma = {1: activation("relu"), 2: activation("identity")}
>>> absorb(W, b)[1]
array([[ 1. ,  2. ,  0. ],
       [ 0.5, -1. ,  1. ]])
>>> A, Z = forward_pass(absorb(W, b), with_ones(np.array([[2.0]])), with_constant_units(sigma))
>>> Z[1], Z[2]  # relu(2·[1, 2] + b_1) beside the constant unit, and then · W_2 + b_2
(array([[2.5, 3. , 1. ]]), array([[29.5]]))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from refbp.checks import check_matrix
from refbp.types import Array, InputError, Layers, Transition

__all__ = [
    "ConstantUnit",
    "absorb",
    "split",
    "with_constant_unit",
    "with_constant_units",
    "with_ones",
]


@dataclass(frozen=True)
class ConstantUnit:
    """σ̃ = [σ | 1]: σ on every column but the last, which is exactly 1 and has derivative 0."""

    sigma: Transition

    def __call__(self, A: Array) -> Array:
        """[σ(A without its last column) | 1], n×(d_l+1)."""
        return with_ones(self.sigma(A[:, :-1]))

    def vjp(self, A: Array, G: Array) -> Array:
        """[σ's own ∂L/∂A | 0], n×(d_l+1)."""
        inner = self.sigma.vjp(A[:, :-1], G[:, :-1])
        # 0 is set, not multiplied by: an infinite G times 0 would be NaN.
        return np.hstack([inner, np.zeros_like(A[:, -1:])])


def with_ones(X: Array) -> Array:
    """X̃ = [X | 1], n×(d+1)."""
    return np.hstack([X, np.ones_like(X[:, -1:])])


def with_constant_unit(sigma: Transition) -> ConstantUnit:
    """σ̃ of one hidden layer."""
    return ConstantUnit(sigma)


def with_constant_units(sigma: Mapping[int, Transition]) -> dict[int, Transition]:
    """σ̃_l for every hidden layer. σ_L stays as it is, since the output has no constant unit."""
    L = len(sigma)
    return {l: with_constant_unit(sigma[l]) if l < L else sigma[l] for l in range(1, L + 1)}


def absorb(W: Mapping[int, Array], b: Mapping[int, Array]) -> Layers:
    """W̃_l from W_l (d_{l-1}×d_l) and b_l (d_l,), for l = 1, …, L; `split` undoes it exactly.

    Raises `InputError` if the layers, shapes or dtypes of W and b do not fit.
    """
    L = len(W)
    _check_layers("W", W, L)
    _check_layers("b", b, L)
    for l in W:
        _check_bias(l, W[l], b[l])
    rows = {l: np.vstack([W[l], b[l]]) for l in W}
    return {l: _with_constant_column(M) if l < L else M for l, M in rows.items()}


def split(W_tilde: Mapping[int, Array]) -> tuple[Layers, Layers]:
    """(W, b) from W̃, and (∂L/∂W, ∂L/∂b) from ∂L/∂W̃; for weights, `absorb` undoes it exactly.

    Raises `InputError` if a hidden layer's last column is neither (0, …, 0, 1), as in weights, nor 0, as in a
    gradient.
    """
    L = len(W_tilde)
    _check_layers("W_tilde", W_tilde, L)
    for l in W_tilde:
        _check_absorbed(l, W_tilde[l], hidden=l < L)
    rows = {l: M[:, :-1] if l < L else M for l, M in W_tilde.items()}
    return {l: M[:-1].copy() for l, M in rows.items()}, {l: M[-1].copy() for l, M in rows.items()}


def _with_constant_column(M: Array) -> Array:
    """[M | (0, …, 0, 1)ᵀ]."""
    column = np.zeros_like(M[:, -1:])
    column[-1] = 1
    return np.hstack([M, column])


def _check_layers(name: str, layers: Mapping[int, Array], L: int) -> None:
    if not L or set(layers) != set(range(1, L + 1)):
        raise InputError(f"{name} has the layers {sorted(layers)}; expected 1 to {max(L, 1)}.")


def _check_bias(l: int, W_l: Array, b_l: Array) -> None:
    """Raise InputError unless b_l has one number for each of the d_l units, in W_l's dtype."""
    check_matrix(f"W[{l}]", W_l)
    if not isinstance(b_l, np.ndarray) or b_l.shape != (W_l.shape[1],):
        got = f"has shape {b_l.shape}" if isinstance(b_l, np.ndarray) else f"is {b_l!r}"
        raise InputError(f"b[{l}] {got}; expected shape {(W_l.shape[1],)}, the columns of W[{l}].")
    if b_l.dtype != W_l.dtype:
        raise InputError(f"b[{l}] has dtype {b_l.dtype}; expected W[{l}]'s, {W_l.dtype}.")


def _check_absorbed(l: int, M: Array, hidden: bool) -> None:
    """Raise InputError unless M has room for W_l and b_l, and an unchanged constant column."""
    smallest = (2, 2) if hidden else (2, 1)
    if M.ndim != 2 or M.shape[0] < smallest[0] or M.shape[1] < smallest[1]:
        raise InputError(f"W_tilde[{l}] has shape {M.shape}; expected {smallest} at least.")
    if hidden and not (all(M[:-1, -1] == 0) and M[-1, -1] in (0, 1)):
        raise InputError(
            f"W_tilde[{l}] has the last column {M[:, -1].tolist()}; expected 0, …, 0 and then 1 "
            "(weights) or 0 (a gradient): the constant unit has been changed."
        )
