"""FORWARD-PASS, BACKWARDPROP and the update on numbers; that they are right is test_proofs.py's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from refbp.activations import activation
from refbp.algorithm import backward_prop, forward_pass, update
from refbp.losses import loss
from refbp.types import Array, InputError, Layers

MSE = loss("mean_squared_error")
SIGMA = {1: activation("relu"), 2: activation("identity")}


def small(dtype: Any = np.float64) -> tuple[Layers, Array, Array]:
    """n = 2, d = 2, d_1 = 3, d_2 = 1, all small integers: worked by hand below."""
    W = {
        1: np.array([[1, 0, -1], [2, 1, 0]], dtype=dtype),
        2: np.array([[1], [-2], [3]], dtype=dtype),
    }
    X = np.array([[1, 1], [-2, 1]], dtype=dtype)
    Y = np.array([[2], [1]], dtype=dtype)
    return W, X, Y


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_worked_by_hand(dtype: Any) -> None:
    W, X, Y = small(dtype)
    A, Z = forward_pass(W, X, SIGMA)
    np.testing.assert_array_equal(A[1], [[3, 1, -1], [0, 1, 2]])
    np.testing.assert_array_equal(Z[1], [[3, 1, 0], [0, 1, 2]])
    np.testing.assert_array_equal(A[2], [[1], [4]])
    np.testing.assert_array_equal(Z[2], [[1], [4]])
    assert MSE(Z[2], Y) == (1 + 9) / 2

    delta, dL_dW = backward_prop(W, A, Z, Y, SIGMA, MSE)
    np.testing.assert_array_equal(delta[2], [[-1], [3]])  # 2/2 (Z_2 − Y)
    np.testing.assert_array_equal(dL_dW[2], [[-3], [2], [6]])
    np.testing.assert_array_equal(delta[1], [[-1, 2, 0], [0, -6, 9]])
    np.testing.assert_array_equal(dL_dW[1], [[-1, 14, -18], [-1, -4, 9]])

    new = update(W, dL_dW, alpha=0.5)
    np.testing.assert_array_equal(new[1], [[1.5, -7, 8], [2.5, 3, -4.5]])
    np.testing.assert_array_equal(new[2], [[2.5], [-3], [0]])
    for layers in (A, Z, delta, dL_dW, new):
        assert {M.dtype for M in layers.values()} == {np.dtype(dtype)}


@pytest.mark.parametrize("L", [1, 2, 5])
def test_every_layer_is_there_once_and_shaped_as_the_notes_say(L: int) -> None:
    widths = [3, 4, 2, 5, 1, 2][: L + 1]
    n = 6
    rng = np.random.default_rng(0)
    W = {l: rng.normal(size=(widths[l - 1], widths[l])) for l in range(1, L + 1)}
    sigma = dict.fromkeys(W, activation("tanh"))
    X, Y = rng.normal(size=(n, 3)), rng.normal(size=(n, widths[-1]))
    A, Z = forward_pass(W, X, sigma)
    delta, dL_dW = backward_prop(W, A, Z, Y, sigma, MSE)
    expected = {l: (n, widths[l]) for l in range(L + 1)}
    assert {l: M.shape for l, M in Z.items()} == expected
    assert {l: M.shape for l, M in A.items()} == {l: expected[l] for l in W}
    assert {l: M.shape for l, M in delta.items()} == {l: expected[l] for l in W}
    assert {l: M.shape for l, M in dL_dW.items()} == {l: M.shape for l, M in W.items()}


def test_z_0_is_x_itself() -> None:
    W, X, _ = small()
    _, Z = forward_pass(W, X, SIGMA)
    assert Z[0] is X


def test_nothing_handed_in_is_changed() -> None:
    W, X, Y = small()
    A, Z = forward_pass(W, X, SIGMA)
    before = {name: {l: M.copy() for l, M in d.items()} for name, d in (("A", A), ("Z", Z))}
    _, dL_dW = backward_prop(W, A, Z, Y, SIGMA, MSE)
    new = update(W, dL_dW, 1.0)
    fresh, X_again, Y_again = small()
    for l in W:
        np.testing.assert_array_equal(W[l], fresh[l])
        np.testing.assert_array_equal(A[l], before["A"][l])
        np.testing.assert_array_equal(Z[l], before["Z"][l])
        assert not np.shares_memory(new[l], W[l])
    np.testing.assert_array_equal(X, X_again)
    np.testing.assert_array_equal(Y, Y_again)


def test_targets_of_shape_n_are_one_column() -> None:
    W, X, Y = small()
    A, Z = forward_pass(W, X, SIGMA)
    columns = backward_prop(W, A, Z, Y, SIGMA, MSE)
    flat = backward_prop(W, A, Z, Y[:, 0], SIGMA, MSE)
    for one, other in zip(columns, flat, strict=True):
        assert {l: M.tolist() for l, M in one.items()} == {l: M.tolist() for l, M in other.items()}


def test_softmax_goes_through_its_jacobian() -> None:
    """For a row z of softmax, ∂z_j/∂a_i = z_i([i = j] − z_j): δ_L is that matrix times ∂L/∂z."""
    W = {1: np.array([[1.0, -1.0, 0.5]])}
    sigma = {1: activation("softmax")}
    X, Y = np.array([[2.0], [-1.0]]), np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    A, Z = forward_pass(W, X, sigma)
    delta, _ = backward_prop(W, A, Z, Y, sigma, MSE)
    for i, z in enumerate(Z[1]):
        jacobian = np.diag(z) - np.outer(z, z)
        np.testing.assert_allclose(delta[1][i], jacobian @ (z - Y[i]), rtol=1e-14, atol=1e-16)


def test_the_update_moves_by_alpha_times_the_gradient() -> None:
    W, dL_dW = {1: np.array([[1.0, 2.0]])}, {1: np.array([[4.0, -8.0]])}
    np.testing.assert_array_equal(update(W, dL_dW, 0.0)[1], W[1])
    np.testing.assert_array_equal(update(W, dL_dW, 0.25)[1], [[0.0, 4.0]])
    np.testing.assert_array_equal(update(W, dL_dW, -0.25)[1], [[2.0, 0.0]])


def test_what_does_not_fit_is_refused_before_anything_is_computed() -> None:
    W, X, Y = small()
    with pytest.raises(InputError, match="the columns of X"):
        forward_pass(W, X[:, :1], SIGMA)
    A, Z = forward_pass(W, X, SIGMA)
    with pytest.raises(InputError, match="Z has the layers"):
        backward_prop(W, A, {2: Z[2]}, Y, SIGMA, MSE)
    with pytest.raises(InputError, match="the shape of Z_L"):
        backward_prop(W, A, Z, Y.T, SIGMA, MSE)
