"""The bias absorbed into W changes no result, and can be taken out again exactly."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from refbp.activations import activation
from refbp.algorithm import backward_prop, forward_pass, update
from refbp.bias import absorb, split, with_constant_unit, with_constant_units, with_ones
from refbp.losses import loss
from refbp.types import Array, InputError, Layers

MSE = loss("mean_squared_error")
WIDTHS = [3, 4, 2, 5]


def network(L: int, dtype: Any = np.float64) -> tuple[Layers, Layers, Array, Array]:
    rng = np.random.default_rng(L)
    draw = lambda *shape: rng.normal(size=shape).astype(dtype)  # noqa: E731
    W = {l: draw(WIDTHS[l - 1], WIDTHS[l]) for l in range(1, L + 1)}
    b = {l: draw(WIDTHS[l]) for l in W}
    return W, b, draw(6, WIDTHS[0]), draw(6, WIDTHS[L])


def with_biases_by_hand(W: Layers, b: Layers, X: Array, Y: Array, sigma: Any) -> tuple[Layers, ...]:
    """A_l = Z_{l-1} W_l + b_l, and ∂L/∂b_l = Σ over the batch of δ_l."""
    L = len(W)
    A: Layers = {}
    Z = {0: X}
    for l in W:
        A[l] = Z[l - 1] @ W[l] + b[l]
        Z[l] = sigma[l](A[l])
    delta = {L: sigma[L].vjp(A[L], MSE.gradient(Z[L], Y))}
    for l in range(L - 1, 0, -1):
        delta[l] = sigma[l].vjp(A[l], delta[l + 1] @ W[l + 1].T)
    return A, Z, delta, {l: Z[l - 1].T @ delta[l] for l in W}, {l: delta[l].sum(axis=0) for l in W}


@pytest.mark.parametrize("L", [1, 2, 3])
def test_the_shapes_are_those_of_the_constant_unit(L: int) -> None:
    W, b, _, _ = network(L)
    shapes = {l: M.shape for l, M in absorb(W, b).items()}
    assert shapes == {l: (WIDTHS[l - 1] + 1, WIDTHS[l] + (l < L)) for l in W}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("L", [1, 2, 3])
def test_absorbed_is_the_network_with_biases(L: int, dtype: Any) -> None:
    W, b, X, Y = network(L, dtype)
    sigma = dict.fromkeys(W, activation("tanh"))
    A, Z, delta, dW, db = with_biases_by_hand(W, b, X, Y, sigma)

    W_tilde, tilde = absorb(W, b), with_constant_units(sigma)
    A_t, Z_t = forward_pass(W_tilde, with_ones(X), tilde)
    delta_t, dL_dW_t = backward_prop(W_tilde, A_t, Z_t, Y, tilde, MSE)
    dW_t, db_t = split(dL_dW_t)

    tolerance = 500 * np.finfo(dtype).eps
    for l in W:
        for got, expected in (
            (A_t[l][:, : WIDTHS[l]], A[l]),
            (Z_t[l][:, : WIDTHS[l]], Z[l]),
            (delta_t[l][:, : WIDTHS[l]], delta[l]),
            (dW_t[l], dW[l]),
            (db_t[l], db[l]),
        ):
            assert got.dtype == dtype
            np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def test_absorbed_is_the_network_with_biases_in_fractions() -> None:
    """No rounding, so nothing to tolerate; and objects are kept."""
    fraction = np.vectorize(lambda v: Fraction(round(4 * v), 4), otypes=[object])
    W, b, X, Y = network(3)
    W, b = {l: fraction(M) for l, M in W.items()}, {l: fraction(v) for l, v in b.items()}
    X, Y = fraction(X), fraction(Y)
    sigma = dict.fromkeys(W, Square())
    _, Z, delta, dW, db = with_biases_by_hand(W, b, X, Y, sigma)
    W_tilde, tilde = absorb(W, b), with_constant_units(sigma)
    A_t, Z_t = forward_pass(W_tilde, with_ones(X), tilde)
    delta_t, dL_dW_t = backward_prop(W_tilde, A_t, Z_t, Y, tilde, MSE)
    dW_t, db_t = split(dL_dW_t)
    for l in W:
        assert Z_t[l][:, : WIDTHS[l]].tolist() == Z[l].tolist()
        assert delta_t[l][:, : WIDTHS[l]].tolist() == delta[l].tolist()
        assert dW_t[l].tolist() == dW[l].tolist()
        assert db_t[l].tolist() == db[l].tolist()


class Square:
    """σ(a) = a²: fractions stay fractions."""

    def __call__(self, A: Array) -> Array:
        return A**2

    def vjp(self, A: Array, G: Array) -> Array:
        return G * (2 * A)


@pytest.mark.parametrize("L", [1, 2, 3])
def test_split_undoes_absorb_to_the_bit(L: int) -> None:
    W, b, _, _ = network(L)
    W[1][0, 0], b[1][0] = -0.0, 5e-324
    W_again, b_again = split(absorb(W, b))
    for l in W:
        assert W_again[l].tobytes() == W[l].tobytes()
        assert b_again[l].tobytes() == b[l].tobytes()
        assert b_again[l].shape == (WIDTHS[l],)
        assert W_again[l].flags.c_contiguous


@pytest.mark.parametrize("L", [1, 2, 3])
def test_absorb_undoes_split_to_the_bit(L: int) -> None:
    W, b, _, _ = network(L)
    W_tilde = absorb(W, b)
    again = absorb(*split(W_tilde))
    assert {l: M.tobytes() for l, M in again.items()} == {
        l: M.tobytes() for l, M in W_tilde.items()
    }


def test_the_constant_unit_survives_training() -> None:
    """Its column of ∂L/∂W̃_l is 0, so after any number of updates it is (0, …, 0, 1) to the bit."""
    W, b, X, Y = network(3)
    W_tilde = absorb(W, b)
    columns = {l: W_tilde[l][:, -1].tobytes() for l in (1, 2)}
    tilde = with_constant_units(dict.fromkeys(W, activation("tanh")))
    for _ in range(20):
        A, Z = forward_pass(W_tilde, with_ones(X), tilde)
        assert (Z[1][:, -1] == 1).all()
        _, dL_dW = backward_prop(W_tilde, A, Z, Y, tilde, MSE)
        assert not dL_dW[2][:, -1].any()
        W_tilde = update(W_tilde, dL_dW, 0.05)
    assert {l: W_tilde[l][:, -1].tobytes() for l in (1, 2)} == columns


def test_one_constant_unit() -> None:
    unit = with_constant_unit(activation("tanh"))
    A, G = np.array([[0.5, 7.0]]), np.array([[2.0, np.inf]])
    assert unit(A).tolist() == [[np.tanh(0.5), 1.0]]
    # An infinite G on the constant unit is no NaN: the derivative is set to 0.
    expected = activation("tanh").vjp(A[:, :1], G[:, :1])
    assert unit.vjp(A, G).tolist() == [[expected[0, 0], 0.0]]


def test_a_row_wise_sigma_sees_the_real_units_only() -> None:
    unit = with_constant_unit(activation("softmax"))
    Z = unit(np.array([[0.0, 0.0, 99.0]]))
    assert Z.tolist() == [[0.5, 0.5, 1.0]]


def test_the_last_layer_has_no_constant_unit() -> None:
    sigma = {1: activation("tanh"), 2: activation("identity")}
    assert with_constant_units(sigma)[2] is sigma[2]


def test_with_ones_keeps_the_dtype() -> None:
    X = with_ones(np.array([[2.0, 3.0]], dtype=np.float32))
    assert X.dtype == np.float32
    assert X.tolist() == [[2.0, 3.0, 1.0]]


W_OK, B_OK = {1: np.ones((2, 3)), 2: np.ones((3, 1))}, {1: np.ones(3), 2: np.ones(1)}


@pytest.mark.parametrize(
    ("W", "b", "message"),
    [
        pytest.param({}, {}, "W has the layers []; expected 1 to 1.", id="no layers"),
        pytest.param(
            {0: W_OK[1], 1: W_OK[2]}, B_OK, "W has the layers [0, 1]; expected 1 to 2.", id="from 0"
        ),
        pytest.param(
            W_OK, {1: B_OK[1]}, "b has the layers [1]; expected 1 to 2.", id="a b missing"
        ),
        pytest.param(
            {1: W_OK[1][0], 2: W_OK[2]},
            B_OK,
            "W[1] has shape (3,); expected two dimensions. "
            "Write W[1].reshape(-1, 1) for one column.",
            id="W_1 flat",
        ),
        pytest.param(
            W_OK,
            {1: np.ones((1, 3)), 2: B_OK[2]},
            "b[1] has shape (1, 3); expected shape (3,), the columns of W[1].",
            id="b_1 a row",
        ),
        pytest.param(
            W_OK,
            {1: np.ones(2), 2: B_OK[2]},
            "b[1] has shape (2,); expected shape (3,), the columns of W[1].",
            id="b_1 of the wrong length",
        ),
        pytest.param(
            W_OK,
            {1: B_OK[1], 2: [1.0]},
            "b[2] is [1.0]; expected shape (1,), the columns of W[2].",
            id="b_2 a list",
        ),
        pytest.param(
            W_OK,
            {1: B_OK[1].astype(np.float32), 2: B_OK[2]},
            "b[1] has dtype float32; expected W[1]'s, float64.",
            id="b_1 of another dtype",
        ),
    ],
)
def test_what_cannot_be_absorbed(W: Any, b: Any, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        absorb(W, b)
    assert refusal.value.args == (message,)


@pytest.mark.parametrize(
    ("W_tilde", "message"),
    [
        pytest.param({}, "W_tilde has the layers []; expected 1 to 1.", id="no layers"),
        pytest.param(
            {2: np.ones((2, 1))}, "W_tilde has the layers [2]; expected 1 to 1.", id="from 2"
        ),
        pytest.param(
            {1: np.ones(3)}, "W_tilde[1] has shape (3,); expected (2, 1) at least.", id="flat"
        ),
        pytest.param(
            {1: np.ones((1, 3))},
            "W_tilde[1] has shape (1, 3); expected (2, 1) at least.",
            id="no b",
        ),
        pytest.param(
            {1: np.ones((2, 1)), 2: np.ones((2, 1))},
            "W_tilde[1] has shape (2, 1); expected (2, 2) at least.",
            id="a hidden layer of the constant unit alone",
        ),
        pytest.param(
            {1: np.array([[5.0, 0.5], [6.0, 1.0]]), 2: np.ones((2, 1))},
            "W_tilde[1] has the last column [0.5, 1.0]; expected 0, …, 0 and then 1 "
            "(weights) or 0 (a gradient): the constant unit has been changed.",
            id="constant column changed above",
        ),
        pytest.param(
            {1: np.array([[5.0, 0.0], [6.0, 2.0]]), 2: np.ones((2, 1))},
            "W_tilde[1] has the last column [0.0, 2.0]; expected 0, …, 0 and then 1 "
            "(weights) or 0 (a gradient): the constant unit has been changed.",
            id="constant changed",
        ),
        pytest.param(
            {1: np.array([[5.0, 7.0, 0.0], [6.0, 8.0, 0.5], [9.0, 4.0, 1.0]]), 2: np.ones((3, 1))},
            "W_tilde[1] has the last column [0.0, 0.5, 1.0]; expected 0, …, 0 and then 1 "
            "(weights) or 0 (a gradient): the constant unit has been changed.",
            id="constant column changed in the middle",
        ),
        pytest.param(
            {1: np.array([[5.0, 7.0, 0.0], [6.0, 8.0, 0.0], [9.0, 4.0, 2.0]]), 2: np.ones((3, 1))},
            "W_tilde[1] has the last column [0.0, 0.0, 2.0]; expected 0, …, 0 and then 1 "
            "(weights) or 0 (a gradient): the constant unit has been changed.",
            id="constant of the last row changed",
        ),
    ],
)
def test_what_cannot_be_split(W_tilde: Any, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        split(W_tilde)
    assert refusal.value.args == (message,)
