"""Stochastic gradient descent: it learns, it is deterministic, it refuses what makes no sense."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from refbp import History, InputError, Network, sgd
from refbp.algorithm import update
from refbp.types import Array


def problem(dtype: Any = np.float64) -> tuple[Network, Array, Array]:
    rng = np.random.default_rng(2)
    X = rng.uniform(-1, 1, size=(10, 2)).astype(dtype)
    Y = (X[:, :1] - 2 * X[:, 1:]).astype(dtype)
    W = [rng.normal(size=(2, 4)).astype(dtype), rng.normal(size=(4, 1)).astype(dtype)]
    return Network.from_lists(W, ["tanh", "identity"], "mean_squared_error"), X, Y


def weights(network: Network) -> dict[int, bytes]:
    return {l: M.tobytes() for l, M in network.W.items()}


def test_it_learns() -> None:
    network, X, Y = problem()
    _, history = sgd(network, X, Y, alpha=0.1, batch_size=5, epochs=200, seed=0)
    assert history.epoch_loss[-1] < 0.01 < 1 < history.epoch_loss[0]


def test_the_history_has_every_loss() -> None:
    network, X, Y = problem()
    trained, history = sgd(network, X, Y, alpha=0.1, batch_size=4, epochs=3, seed=0)
    assert history.epoch_loss[0] == network.trace(X, Y).loss
    assert history.epoch_loss[-1] == trained.trace(X, Y).loss
    assert len(history.epoch_loss) == 4
    assert [len(losses) for losses in history.batch_loss] == [3, 3, 3]  # 4 + 4 + 2 examples
    assert {type(value) for value in history.epoch_loss + history.batch_loss[0]} == {float}


def test_a_batch_of_everything_is_gradient_descent() -> None:
    """One mini-batch an epoch: W_l ← W_l − α ∂L/∂W_l on the shuffled data, so up to rounding."""
    network, X, Y = problem()
    trained, history = sgd(network, X, Y, alpha=0.1, batch_size=10, epochs=2, seed=0)
    by_hand = network.step(X, Y, 0.1).step(X, Y, 0.1)
    for l in network.W:
        np.testing.assert_allclose(trained.W[l], by_hand.W[l], rtol=1e-13)
    np.testing.assert_allclose(
        history.batch_loss, [[v] for v in history.epoch_loss[:-1]], rtol=1e-13
    )
    larger, _ = sgd(network, X, Y, alpha=0.1, batch_size=99, epochs=2, seed=0)
    assert weights(larger) == weights(trained)


def test_each_epoch_takes_every_example_once_in_a_new_order() -> None:
    """By hand, with the same generator: the updates are these, in this order, and no others."""
    network, X, Y = problem()
    trained, history = sgd(network, X, Y, alpha=0.1, batch_size=3, epochs=2, seed=7)
    generator, W = np.random.default_rng(7), dict(network.W)
    losses: list[list[float]] = []
    for _ in range(2):
        order = generator.permutation(10)
        losses.append([])
        for rows in (order[:3], order[3:6], order[6:9], order[9:]):
            trace = Network(W, network.sigma, network.loss).trace(X[rows], Y[rows])
            W = update(W, trace.dL_dW, 0.1)
            losses[-1].append(float(trace.loss))
    assert weights(trained) == {l: M.tobytes() for l, M in W.items()}
    assert history.batch_loss == tuple(map(tuple, losses))


def test_the_same_arguments_give_the_same_result() -> None:
    network, X, Y = problem()
    arguments: dict[str, Any] = {"alpha": 0.1, "batch_size": 3, "epochs": 4}
    one, history = sgd(network, X, Y, **arguments, seed=5)
    again, history_again = sgd(network, X, Y, **arguments, seed=5)
    other, _ = sgd(network, X, Y, **arguments, seed=6)
    assert weights(one) == weights(again) != weights(other)
    assert history == history_again


def test_nothing_handed_in_is_changed() -> None:
    network, X, Y = problem()
    before = weights(network), X.tobytes(), Y.tobytes()
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    sgd(network, X, Y, alpha=0.1, batch_size=3, epochs=2, seed=0)
    assert (weights(network), X.tobytes(), Y.tobytes()) == before
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002


@pytest.mark.parametrize("alpha", [0.1, np.float64(0.1), np.float32(0.1)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_dtype_is_kept(dtype: Any, alpha: Any) -> None:
    network, X, Y = problem(dtype)
    trained, _ = sgd(network, X, Y, alpha=alpha, batch_size=3, epochs=2, seed=0)
    assert {M.dtype for M in trained.W.values()} == {np.dtype(dtype)}


def test_no_epoch_is_no_training() -> None:
    network, X, Y = problem()
    trained, history = sgd(network, X, Y, alpha=0.1, batch_size=3, epochs=0, seed=0)
    assert weights(trained) == weights(network)
    assert history == History((float(network.trace(X, Y).loss),), ())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param({"alpha": np.nan}, "alpha is nan; expected a finite number.", id="alpha NaN"),
        pytest.param(
            {"alpha": -np.inf}, "alpha is -inf; expected a finite number.", id="alpha -inf"
        ),
        pytest.param({"alpha": "1"}, "alpha is '1'; expected a finite number.", id="alpha text"),
        pytest.param(
            {"batch_size": 0}, "batch_size is 0; expected a whole number, 1 at least.", id="batch 0"
        ),
        pytest.param(
            {"batch_size": 2.0},
            "batch_size is 2.0; expected a whole number, 1 at least.",
            id="batch 2.0",
        ),
        pytest.param(
            {"batch_size": True},
            "batch_size is True; expected a whole number, 1 at least.",
            id="batch True",
        ),
        pytest.param(
            {"epochs": -1}, "epochs is -1; expected a whole number, 0 at least.", id="epochs -1"
        ),
        pytest.param(
            {"seed": None}, "seed is None; expected a whole number, 0 at least.", id="no seed"
        ),
    ],
)
def test_arguments_that_make_no_sense(changed: dict[str, Any], message: str) -> None:
    network, X, Y = problem()
    arguments = {"alpha": 0.1, "batch_size": 3, "epochs": 1, "seed": 0, **changed}
    with pytest.raises(InputError) as refusal:
        sgd(network, X, Y, **arguments)
    assert refusal.value.args == (message,)


def test_more_targets_than_examples_are_refused_though_no_index_would_fail() -> None:
    network, X, Y = problem()
    with pytest.raises(InputError, match="Nothing is broadcast"):
        sgd(network, X[:8], Y, alpha=0.1, batch_size=3, epochs=1, seed=0)


def linear(x: float) -> tuple[Network, Array, Array]:
    """h(x) = 0.5 x, to be 0: L = x²/4 and ∂L/∂W_1 = x²."""
    network = Network.from_lists([np.array([[0.5]])], ["identity"], "mean_squared_error")
    return network, np.array([[x]]), np.array([[0.0]])


@pytest.mark.parametrize(
    ("x", "alpha", "epochs", "message"),
    [
        pytest.param(
            1e10,
            1e300,
            1,
            "alpha is 1e+300, too large here: in epoch 1, mini-batch 1, "
            "W[1][0, 0] is -inf; expected finite numbers. Take a smaller alpha.",
            id="a weight",
        ),
        pytest.param(
            1e10,
            1e150,
            1,
            "alpha is 1e+150, too large here: after epoch 1, "
            "the loss is inf; expected finite numbers. Take a smaller alpha.",
            id="the loss",
        ),
        pytest.param(
            1.0,
            1e100,
            3,
            "alpha is 1e+100, too large here: after epoch 2, "
            "the loss is inf; expected finite numbers. Take a smaller alpha.",
            id="the loss of a later epoch",
        ),
    ],
)
def test_a_training_that_diverges_says_where(
    x: float, alpha: float, epochs: int, message: str
) -> None:
    network, X, Y = linear(x)
    with pytest.raises(InputError) as refusal:
        sgd(network, X, Y, alpha=alpha, batch_size=1, epochs=epochs, seed=0)
    assert refusal.value.args == (message,)


def test_what_is_no_number_in_an_update_is_reported_and_warns_of_nothing() -> None:
    """∂L/∂W_1 overflows, and α = 0 times infinity is NaN."""
    network = Network.from_lists(
        [np.array([[1e-300]]), np.array([[1e200]])], ["identity"] * 2, "huber"
    )
    with pytest.raises(InputError, match=r"in epoch 1, mini-batch 1, W\[1\]\[0, 0\] is nan"):
        sgd(network, np.array([[1e200]]), np.array([[0.0]]), 0.0, 1, 1, 0)
