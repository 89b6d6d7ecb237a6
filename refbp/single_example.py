"""Steps 0 to 2c of the course notes for ONE example, derived with column vectors as the notes do.

Here x is d×1, a_l and z_l are d_l×1, and W_l is d_l×d_{l-1}, so that a_l = W_l z_{l-1}. The batch
of `algorithm.py` has one example a ROW, and its W_l is the transpose of this one: with n = 1, the
A_l, Z_l, δ_l, W_l and ∂L/∂W_l there are the transposes of a_l, z_l, ∂L/∂a_l, W_l and ∂L/∂W_l here.

The notes' sample network, three hidden layers and so four weight matrices:

>>> import numpy as np
>>> from refbp.activations import activation
>>> W = {
...     1: np.array([[1.0, -1.0], [0.0, 2.0]]),  # W_1 is d_1×d, here 2×2
...     2: np.array([[1.0, 1.0], [2.0, -1.0], [0.0, 1.0]]),
...     3: np.array([[1.0, 0.0, -1.0], [1.0, 1.0, 1.0]]),
...     4: np.array([[3.0, -2.0]]),
... }
>>> relu, identity = activation("relu"), activation("identity")
>>> sigma = {1: relu, 2: relu, 3: relu, 4: identity}
>>> x, y = np.array([[3.0], [1.0]]), np.array([[-10.0]])

>>> a, z = propagate(W, x, sigma)  # Step 0
>>> z[1].T, z[2].T, z[3].T, z[4].T
(array([[2., 2.]]), array([[4., 2., 2.]]), array([[2., 8.]]), array([[-10.]]))
>>> y = np.array([[-11.0]])
>>> float(evaluate_loss(z[4], y))  # Step 1
1.0
>>> link, dL_dW = gradients(W, a, z, y, sigma)  # Steps 2a, 2b, 2c
>>> link[4], link[3].T
(array([[2.]]), array([[ 6., -4.]]))
>>> dL_dW[4], dL_dW[3]
(array([[ 4., 16.]]), array([[ 24.,  12.,  12.],
       [-16.,  -8.,  -8.]]))
>>> update(W, dL_dW, alpha=0.125)[4]
array([[ 2.5, -4. ]])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from refbp.activations import Activation, Elementwise
from refbp.algorithm import update
from refbp.checks import check_matrix
from refbp.types import Array, InputError, Layers

__all__ = [
    "evaluate_loss",
    "gradients",
    "last_link",
    "preceding_link",
    "propagate",
    "update",
    "weight_gradient",
]


def propagate(
    W: Mapping[int, Array], x: Array, sigma: Mapping[int, Activation]
) -> tuple[Layers, Layers]:
    """Step 0: z_0 = x, a_l = W_l z_{l-1}, z_l = σ_l(a_l); z_L is h(x).

    Returns (a, z), each a dict of columns d_l×1. Raises `InputError` for shapes, dtypes or values that do not
    fit, and for a σ_l that is not elementwise.
    """
    _check_network(W, x, sigma)
    a: Layers = {}
    z: Layers = {0: x}
    for l in range(1, len(W) + 1):
        a[l] = W[l] @ z[l - 1]
        z[l] = sigma[l](a[l])
    return a, z


def evaluate_loss(z_L: Array, y: Array) -> np.floating[Any]:
    """Step 1 for one example: L = Σ (z_L − y)², the sum over the d_L outputs."""
    _check_target(z_L, y)
    loss: np.floating[Any] = ((z_L - y) ** 2).sum()
    return loss


def last_link(z_L: Array, y: Array, a_L: Array, sigma_L: Activation) -> Array:
    """Step 2a: ∂L/∂a_L = 2(z_L − y) ⊙ σ'_L(a_L), d_L×1."""
    _check_target(z_L, y)
    return 2 * (z_L - y) * sigma_L.derivative(a_L)


def weight_gradient(link: Array, z_before: Array) -> Array:
    """Steps 2a and 2b: ∂L/∂W_l = ∂L/∂a_l z_{l-1}ᵀ, d_l×d_{l-1}."""
    return link @ z_before.T


def preceding_link(W_l: Array, link: Array, a_before: Array, sigma_before: Activation) -> Array:
    """Step 2b: ∂L/∂a_{l-1} = (W_lᵀ ∂L/∂a_l) ⊙ σ'_{l-1}(a_{l-1}), d_{l-1}×1.

    The notes print ∂L/∂a_l ⊙ W_l σ'_{l-1}(a_{l-1}), which is another quantity: see `errata.py`.
    """
    return (W_l.T @ link) * sigma_before.derivative(a_before)


def gradients(
    W: Mapping[int, Array],
    a: Mapping[int, Array],
    z: Mapping[int, Array],
    y: Array,
    sigma: Mapping[int, Activation],
) -> tuple[Layers, Layers]:
    """Steps 2a to 2c: every link ∂L/∂a_l and every ∂L/∂W_l, from the last layer to the first.

    Returns (link, dL_dW): link[l] is d_l×1, and dL_dW[l] is d_l×d_{l-1}, shaped like W_l. Raises `InputError`
    if y is not shaped like z_L.
    """
    L = len(W)
    # Step 2a: the last layer.
    link: Layers = {L: last_link(z[L], y, a[L], sigma[L])}
    dL_dW: Layers = {L: weight_gradient(link[L], z[L - 1])}
    # Step 2b for l = L, and Step 2c for the layers before it.
    for l in range(L, 1, -1):
        link[l - 1] = preceding_link(W[l], link[l], a[l - 1], sigma[l - 1])
        dL_dW[l - 1] = weight_gradient(link[l - 1], z[l - 2])
    return link, dL_dW


def _check_network(W: Mapping[int, Array], x: Array, sigma: Mapping[int, Activation]) -> None:
    """Raise InputError unless x is d×1, W_l is d_l×d_{l-1}, and σ_l is elementwise."""
    L = len(W)
    if not L or set(W) != set(range(1, L + 1)) or set(sigma) != set(W):
        raise InputError(
            f"W has the layers {sorted(W)} and sigma {sorted(sigma)}; expected 1, …, L for both."
        )
    check_matrix("x", x)
    if x.shape[1] != 1:
        raise InputError(f"x has shape {x.shape}; expected one example as one column, (d, 1).")
    height, source = x.shape[0], "x"
    for l in range(1, L + 1):
        check_matrix(f"W[{l}]", W[l], like=x)
        if W[l].shape[1] != height:
            raise InputError(
                f"W[{l}] has shape {W[l].shape}; expected {height} columns, the rows of {source}. "
                f"For one example W_l is d_l×d_(l-1), the transpose of the batch form."
            )
        if not isinstance(sigma[l], Elementwise):
            raise InputError(
                f"sigma[{l}] is not elementwise; expected an elementwise σ, for which the notes' "
                "⊙ σ' holds. Use forward_pass and backward_prop with n = 1."
            )
        height, source = W[l].shape[0], f"W[{l}]"


def _check_target(z_L: Array, y: Array) -> None:
    check_matrix("y", y, like=z_L)
    if y.shape != z_L.shape:
        raise InputError(f"y has shape {y.shape}; expected {z_L.shape}, the shape of z_L.")
