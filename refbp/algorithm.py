"""FORWARD-PASS and BACKWARDPROP of the course notes, line by line.

Notation, used throughout: a batch is X ∈ R^{n×d}, one example a row; the weights are
W = {W_1, …, W_L} with W_l ∈ R^{d_{l-1}×d_l} and d_0 = d. Every {…_1, …, …_L} is a dict keyed by the
layer, so that W[1] is W_1 and Z[0] is X. Then

    A_l = Z_{l-1} W_l,    Z_l = σ_l(A_l),    δ_l = ∂L/∂A_l    (all n×d_l),

and dL_dW[l] is ∂L/∂W_l, shaped like W_l. The notes' δ_l reads W_l where it needs W_{l+1}, and ⊙ σ'
where σ is elementwise: what is implemented here is right, what is printed is kept in `errata.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from refbp.checks import check_backward, check_forward, check_update
from refbp.types import Array, Layers, LossFunction, Transition

__all__ = ["backward_prop", "forward_pass", "update"]


def forward_pass(
    W: Mapping[int, Array], X: Array, sigma: Mapping[int, Transition]
) -> tuple[Layers, Layers]:
    """FORWARD-PASS(W = {W_1, …, W_L}, X ∈ R^{n×d}), which keeps what BACKWARDPROP needs.

    Returns (A, Z): A[l] and Z[l] are n×d_l, Z[0] is X and Z[L] is h(X). All arguments have one dtype, and so
    has the result. Raises `refbp.InputError` for shapes, dtypes or values that do not fit.
    """
    check_forward(W, X, sigma)
    L = len(W)
    A: Layers = {}
    Z: Layers = {0: X}
    for l in range(1, L + 1):
        A[l] = Z[l - 1] @ W[l]
        Z[l] = sigma[l](A[l])
    return A, Z


def backward_prop(
    W: Mapping[int, Array],
    A: Mapping[int, Array],
    Z: Mapping[int, Array],
    Y: Array,
    sigma: Mapping[int, Transition],
    loss: LossFunction,
) -> tuple[Layers, Layers]:
    """BACKWARDPROP(W, {A_1, …, A_L}, {Z_0, …, Z_L}, Y), with its links δ_l = ∂L/∂A_l.

    `sigma[l].vjp(A, G)` is G ⊙ σ'_l(A) if σ_l is elementwise; if not (softmax), it is each row of G times
    that row's Jacobian. `loss.gradient(Z[L], Y)` is ∂L/∂Z_L.

    Returns (delta, dL_dW): delta[l] is n×d_l, dL_dW[l] is d_{l-1}×d_l. Raises `refbp.InputError` for shapes,
    dtypes or values that do not fit.
    """
    check_backward(W, A, Z, sigma)
    L = len(W)
    delta: Layers = {}
    dL_dW: Layers = {}
    delta[L] = sigma[L].vjp(A[L], loss.gradient(Z[L], Y))
    for l in range(L - 1, 0, -1):
        dL_dW[l + 1] = Z[l].T @ delta[l + 1]
        delta[l] = sigma[l].vjp(A[l], delta[l + 1] @ W[l + 1].T)
    dL_dW[1] = Z[0].T @ delta[1]
    return delta, dL_dW


def update(W: Mapping[int, Array], dL_dW: Mapping[int, Array], alpha: float) -> Layers:
    """W_l ← W_l − α ∂L/∂W_l for every l, as new matrices: W itself is not changed.

    Raises `refbp.InputError` if a gradient does not have the shape and dtype of its W_l, or if α is not a
    finite number.
    """
    alpha = check_update(W, dL_dW, alpha)
    return {l: W[l] - alpha * dL_dW[l] for l in W}
