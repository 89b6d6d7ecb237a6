"""Steps 0 to 2c for one example are the batch form with n = 1, transposed."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from refbp import single_example
from refbp.activations import Elementwise, activation
from refbp.algorithm import backward_prop, forward_pass
from refbp.losses import loss
from refbp.types import Array, InputError, Layers

MSE = loss("mean_squared_error")
DEPTHS = [1, 2, 3, 4, 5]
WIDTHS = [3, 4, 2, 5, 3, 2]


def entrywise(function: Any) -> Any:
    return np.vectorize(function, otypes=[object])


CUBIC = Elementwise("cubic", entrywise(lambda a: a**3 - a), entrywise(lambda a: 3 * a**2 - 1))


def integers(L: int, dtype: Any) -> tuple[Layers, Array, Array]:
    """W_l d_l×d_{l-1}, x and y of integers between −2 and 2."""
    rng = np.random.default_rng(L)
    draw = lambda *shape: rng.integers(-2, 3, shape).astype(dtype)  # noqa: E731
    W = {l: draw(WIDTHS[l], WIDTHS[l - 1]) for l in range(1, L + 1)}
    return W, draw(WIDTHS[0], 1), draw(WIDTHS[L], 1)


Four = tuple[Layers, Layers, Layers, Layers]


def one(W: Layers, x: Array, y: Array, sigma: Any) -> Four:
    a, z = single_example.propagate(W, x, sigma)
    link, dL_dW = single_example.gradients(W, a, z, y, sigma)
    return a, z, link, dL_dW


def batch(W: Layers, x: Array, y: Array, sigma: Any) -> Four:
    """The batch form with n = 1, its results transposed back to columns."""
    rows = {l: M.T for l, M in W.items()}
    A, Z = forward_pass(rows, x.T, sigma)
    delta, dL_dW = backward_prop(rows, A, Z, y.T, sigma, MSE)
    a, z, link, gradient = ({l: M.T for l, M in d.items()} for d in (A, Z, delta, dL_dW))
    return a, z, link, gradient


def assert_equal(left: Four, right: Four) -> None:
    for one_dict, other in zip(left, right, strict=True):
        assert one_dict.keys() == other.keys()
        for l in one_dict:
            assert one_dict[l].dtype == other[l].dtype
            assert one_dict[l].tolist() == other[l].tolist()


@pytest.mark.parametrize("L", DEPTHS)
def test_equal_to_the_batch_form_in_fractions(L: int) -> None:
    """No rounding: the two derivations are one and the same."""
    W, x, y = integers(L, int)
    quarter = entrywise(lambda k: Fraction(int(k), 4))
    W, x, y = {l: quarter(M) for l, M in W.items()}, quarter(x), quarter(y)
    sigma = dict.fromkeys(W, CUBIC)
    assert_equal(one(W, x, y, sigma), batch(W, x, y, sigma))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("L", DEPTHS)
def test_bit_for_bit_on_small_integers(L: int, dtype: Any) -> None:
    """Every partial sum is an integer below 2^24, so no order of summation can show."""
    W, x, y = integers(L, dtype)
    sigma = {l: activation("relu" if l < L else "identity") for l in W}
    assert_equal(one(W, x, y, sigma), batch(W, x, y, sigma))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("L", DEPTHS)
def test_step_by_step_within_the_order_of_summation(L: int, dtype: Any) -> None:
    """Given the same operands, the two forms differ by the order of a sum at most.

    In any order a product P Q with inner dimension k is within k·u |P||Q| of the exact one
    (Jeannerod & Rump 2013), so two are within twice that. One term has no order: bit for bit.
    """
    rng = np.random.default_rng(L)
    draw = lambda *shape: rng.normal(size=shape).astype(dtype)  # noqa: E731
    W = {l: draw(WIDTHS[l], WIDTHS[l - 1]) for l in range(1, L + 1)}
    x, y = draw(WIDTHS[0], 1), draw(WIDTHS[L], 1)
    sigma = dict.fromkeys(W, activation("tanh"))
    a, z, link, dL_dW = one(W, x, y, sigma)
    u = np.finfo(dtype).eps / 2
    for l in W:
        bound = 2 * WIDTHS[l - 1] * u * (abs(W[l]) @ abs(z[l - 1]))
        assert (abs(a[l] - (z[l - 1].T @ W[l].T).T) <= bound).all()
        assert dL_dW[l].T.tolist() == (z[l - 1] @ link[l].T).tolist()
    for l in range(1, L):
        in_rows = sigma[l].vjp(a[l].T, link[l + 1].T @ W[l + 1]).T
        slope = abs(sigma[l].derivative(a[l]))
        # One more rounding on each side, for ⊙ σ', and 1% for the products of roundings.
        bound = 2.02 * (WIDTHS[l + 1] + 1) * u * (abs(W[l + 1].T) @ abs(link[l + 1])) * slope
        assert (abs(link[l] - in_rows) <= bound).all()


def test_the_loss_is_the_batch_loss_for_one_example() -> None:
    z, y = np.array([[1.0], [4.0]]), np.array([[3.0], [1.0]])
    assert single_example.evaluate_loss(z, y) == 13.0 == MSE(z.T, y.T)


def test_the_steps_of_the_notes_by_name() -> None:
    """Step 2a, then 2b, by hand on a network whose layers differ in width."""
    z_L, y, a_L = np.array([[3.0]]), np.array([[1.0]]), np.array([[3.0]])
    link = single_example.last_link(z_L, y, a_L, activation("identity"))
    assert link.tolist() == [[4.0]]
    z_before, W_L = np.array([[5.0], [0.0]]), np.array([[0.5, 7.0]])
    assert single_example.weight_gradient(link, z_before).tolist() == [[20.0, 0.0]]
    a_before = np.array([[5.0], [-2.0]])
    preceding = single_example.preceding_link(W_L, link, a_before, activation("relu"))
    assert preceding.tolist() == [[2.0], [0.0]]


X_COLUMN = np.ones((2, 1))
W_OK = {1: np.ones((3, 2)), 2: np.ones((1, 3))}
TANH = activation("tanh")


@pytest.mark.parametrize(
    ("W", "x", "sigma", "message"),
    [
        pytest.param(
            {},
            X_COLUMN,
            {},
            "W has the layers [] and sigma []; expected 1, …, L for both.",
            id="none",
        ),
        pytest.param(
            {0: W_OK[1], 1: W_OK[2]},
            X_COLUMN,
            {1: TANH, 2: TANH},
            "W has the layers [0, 1] and sigma [1, 2]; expected 1, …, L for both.",
            id="numbered from 0",
        ),
        pytest.param(
            W_OK,
            X_COLUMN,
            {1: TANH},
            "W has the layers [1, 2] and sigma [1]; expected 1, …, L for both.",
            id="a σ missing",
        ),
        pytest.param(
            W_OK,
            X_COLUMN.T,
            {1: TANH, 2: TANH},
            "x has shape (1, 2); expected one example as one column, (d, 1).",
            id="x a row",
        ),
        pytest.param(
            {1: W_OK[1].T, 2: W_OK[2]},
            X_COLUMN,
            {1: TANH, 2: TANH},
            "W[1] has shape (2, 3); expected 2 columns, the rows of x. "
            "For one example W_l is d_l×d_(l-1), the transpose of the batch form.",
            id="W_1 of the batch form",
        ),
        pytest.param(
            {1: W_OK[1], 2: W_OK[2].T},
            X_COLUMN,
            {1: TANH, 2: TANH},
            "W[2] has shape (3, 1); expected 3 columns, the rows of W[1]. "
            "For one example W_l is d_l×d_(l-1), the transpose of the batch form.",
            id="W_2 of the batch form",
        ),
        pytest.param(
            W_OK,
            X_COLUMN,
            {1: TANH, 2: activation("softmax")},
            "sigma[2] is not elementwise; expected an elementwise σ, for which the notes' "
            "⊙ σ' holds. Use forward_pass and backward_prop with n = 1.",
            id="softmax",
        ),
    ],
)
def test_what_does_not_fit_is_refused(W: Any, x: Any, sigma: Any, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        single_example.propagate(W, x, sigma)
    assert refusal.value.args == (message,)


def test_a_target_shaped_otherwise_is_refused() -> None:
    a, z = single_example.propagate(W_OK, X_COLUMN, {1: TANH, 2: TANH})
    message = "y has shape (2, 1); expected (1, 1), the shape of z_L."
    for step in (
        lambda: single_example.evaluate_loss(z[2], X_COLUMN),
        lambda: single_example.gradients(W_OK, a, z, X_COLUMN, {1: TANH, 2: TANH}),
    ):
        with pytest.raises(InputError) as refusal:
            step()
        assert refusal.value.args == (message,)


def test_what_is_wrong_with_x_and_y_names_them() -> None:
    """One dtype throughout; a dtype is compared with the other operand's."""
    narrow = np.ones((1, 1), np.float32)
    with pytest.raises(InputError, match=r"^x is a list; expected a NumPy array"):
        single_example.propagate(W_OK, [[1.0]], {1: TANH, 2: TANH})
    with pytest.raises(InputError, match=r"^y is a list; expected a NumPy array"):
        single_example.evaluate_loss(np.ones((1, 1)), [[1.0]])
    with pytest.raises(InputError, match=r"^y has dtype float32"):
        single_example.evaluate_loss(np.ones((1, 1)), narrow)
