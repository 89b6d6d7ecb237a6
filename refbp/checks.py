"""Checks of the arguments: what does not fit is refused in one sentence, which says what was got, what was
expected, where, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, NoReturn

import numpy as np

from refbp.types import AlphaError, Array, InputError

__all__ = [
    "check_backward",
    "check_forward",
    "check_matrix",
    "check_rate",
    "check_update",
    "targets",
]

FLOATS = (np.dtype(np.float64), np.dtype(np.float32))


def _finite(M: Array) -> bool:
    """Whether every element of M is finite. M·M takes one pass; if it is not finite (it may overflow), each
    element is looked at."""
    return isfinite(np.vdot(M, M)) or bool(np.isfinite(M).all())


def _plain(M: Any) -> bool:
    """Whether M computes as an array does; np.matrix and masked arrays do not."""
    return type(M) is np.ndarray or isinstance(M, np.memmap)


def check_matrix(name: str, M: Any, like: Array | None = None) -> None:
    """Raise InputError unless M is a finite two-dimensional array with no empty side, and of `like`'s dtype
    if `like` is given."""
    if not (
        _plain(M)
        and M.ndim == 2
        and M.size
        and (M.dtype in FLOATS or M.dtype == object)
        and (like is None or M.dtype == like.dtype)
        and (M.dtype == object or _finite(M))
    ):
        _refuse_matrix(name, M, like)


def _refuse_matrix(name: str, M: Any, like: Array | None) -> NoReturn:
    """Raise InputError for the first condition of `check_matrix` that M does not meet."""
    if not _plain(M):
        raise InputError(
            f"{name} is a {type(M).__name__}; expected a NumPy array of two dimensions."
        )
    if M.ndim != 2:
        hint = f" Write {name}.reshape(-1, 1) for one column." if M.ndim == 1 else ""
        raise InputError(f"{name} has shape {M.shape}; expected two dimensions.{hint}")
    if not M.size:
        raise InputError(f"{name} has shape {M.shape}; expected no empty batch and no zero width.")
    if M.dtype not in (*FLOATS, np.dtype(object)):
        raise InputError(
            f"{name} has dtype {M.dtype}; expected float64 or float32: {name}.astype('float64')."
        )
    if like is not None and M.dtype != like.dtype:
        _refuse_dtype(name, M, like)
    i, j = (int(k) for k in np.argwhere(~np.isfinite(M))[0])
    raise InputError(f"{name}[{i}, {j}] is {M[i, j]}; expected finite numbers.")


def _check_layers(what: str, got: Mapping[int, Any], first: int, L: int) -> None:
    if isinstance(got, Mapping) and set(got) == set(range(first, L + 1)):
        return
    found = (
        f"has the layers {sorted(got, key=str)}"
        if isinstance(got, Mapping)
        else f"is a {type(got).__name__}"
    )
    raise InputError(
        f"{what} {found}; expected a dict with the keys {first} to {L}, "
        "numbered as the notes number the layers."
    )


def _check_like(name: str, M: Any, shape: tuple[int, int], X: Array, why: str) -> None:
    """Raise InputError unless M is an array of that shape and of X's dtype. FORWARD-PASS has checked the
    rest."""
    if not _plain(M):
        raise InputError(f"{name} is a {type(M).__name__}; expected shape {shape}, {why}.")
    if M.shape != shape:
        raise InputError(f"{name} has shape {M.shape}; expected shape {shape}, {why}.")
    if M.dtype != X.dtype:
        _refuse_dtype(name, M, X)


def _refuse_dtype(name: str, M: Array, X: Array) -> NoReturn:
    raise InputError(
        f"{name} has dtype {M.dtype} where X = Z[0] has {X.dtype}; expected one dtype "
        "throughout, so that nothing is promoted unseen."
    )


def check_forward(W: Mapping[int, Array], X: Array, sigma: Mapping[int, Any]) -> None:
    """Raise InputError unless X is n×d, W_l is d_{l-1}×d_l, and there is a σ_l for every W_l."""
    if not isinstance(W, Mapping):
        raise InputError(f"W is a {type(W).__name__}; expected a dict {{1: W_1, …, L: W_L}}.")
    if not W:
        raise InputError("W has no layers; expected a dict {1: W_1, …, L: W_L}.")
    _check_layers("W", W, 1, len(W))
    _check_layers("sigma", sigma, 1, len(W))
    for l in sigma:
        if not callable(sigma[l]):
            hint = f": refbp.activation({sigma[l]!r})" if isinstance(sigma[l], str) else ""
            raise InputError(
                f"sigma[{l}] is {sigma[l]!r:.60}; expected a transition function{hint}."
            )
    check_matrix("X", X)
    width, source = X.shape[1], "X"
    for l in range(1, len(W) + 1):
        check_matrix(f"W[{l}]", W[l], like=X)
        if W[l].shape[0] != width:
            raise InputError(
                f"W[{l}] has shape {W[l].shape}; expected {width} rows, the columns of {source}."
            )
        width, source = W[l].shape[1], f"W[{l}]"


def check_backward(
    W: Mapping[int, Array], A: Mapping[int, Array], Z: Mapping[int, Array], sigma: Mapping[int, Any]
) -> None:
    """Raise InputError unless A_1 … A_L and Z_0 … Z_L can be what FORWARD-PASS returned for these weights."""
    L = len(W)
    _check_layers("W", W, 1, L)
    _check_layers("sigma", sigma, 1, L)
    for l in sigma:
        if not hasattr(sigma[l], "vjp"):
            raise InputError(
                f"sigma[{l}] is {sigma[l]!r:.60}, which has no vjp; expected an activation of refbp, or "
                "one's own refbp.Elementwise(name, sigma, sigma_prime)."
            )
    _check_layers("A", A, 1, L)
    _check_layers("Z", Z, 0, L)
    check_matrix("Z[0]", Z[0])
    n, width = Z[0].shape
    for l in range(1, L + 1):
        check_matrix(f"W[{l}]", W[l], like=Z[0])
        columns = W[l].shape[1]
        _check_like(f"W[{l}]", W[l], (width, columns), Z[0], f"the columns of Z[{l - 1}] first")
        width = columns
        why = f"as FORWARD-PASS returns it for W[{l}]"
        _check_like(f"A[{l}]", A[l], (n, width), Z[0], why)
        _check_like(f"Z[{l}]", Z[l], (n, width), Z[0], why)


def check_update(W: Mapping[int, Array], dL_dW: Mapping[int, Array], alpha: Any) -> Any:
    """Raise InputError unless every ∂L/∂W_l has the shape and dtype of W_l. Returns α as a plain number,
    which promotes no float32."""
    _check_layers("W", W, 1, max(1, len(W)) if isinstance(W, Mapping) else 1)
    _check_layers("dL_dW", dL_dW, 1, len(W))
    for l in W:
        for name, M in ((f"W[{l}]", W[l]), (f"dL_dW[{l}]", dL_dW[l])):
            if not _plain(M):
                _refuse_matrix(name, M, None)
        like = (W[l].shape, W[l].dtype)
        if (dL_dW[l].shape, dL_dW[l].dtype) != like:
            raise InputError(
                f"dL_dW[{l}] is {dL_dW[l].dtype} of shape {dL_dW[l].shape}; expected {like[1]} of "
                f"shape {like[0]}, as W[{l}] is. Nothing is broadcast or promoted."
            )
    return check_rate(alpha, exact=W[1].dtype == object)


def check_rate(alpha: Any, exact: bool = False) -> Any:
    """α as a plain number, since a NumPy float64 would promote float32 weights. Raises AlphaError if it is
    not finite."""
    alpha = (
        alpha.item() if isinstance(alpha, np.generic | np.ndarray) and alpha.ndim == 0 else alpha
    )
    number = isinstance(alpha, int | float) and not isinstance(alpha, bool)
    try:
        if (number and isfinite(alpha)) or (exact and not isinstance(alpha, float)):
            return alpha
    except OverflowError:  # a whole number beyond the range of floats
        pass
    raise AlphaError(f"alpha is {alpha!r:.60}; expected a finite number.")


def targets(Z: Array, Y: Array) -> Array:
    """Y as a matrix shaped like Z_L: (n,) means (n, 1). Raises InputError for any other mismatch."""
    if isinstance(Y, np.ndarray) and Y.ndim == 1 and Z.ndim == 2 and Z.shape[1] == 1:
        Y = Y.reshape(-1, 1)
    check_matrix("Y", Y)
    if Y.shape != Z.shape:
        raise InputError(
            f"Y has shape {Y.shape}; expected {Z.shape}, the shape of Z_L. Nothing is broadcast."
        )
    if Y.dtype != Z.dtype:
        raise InputError(f"Y has dtype {Y.dtype}; expected {Z.dtype}, the dtype of Z_L.")
    return Y
