"""(Stochastic) gradient descent: W_l ← W_l − α ∂L/∂W_l, mini-batch by mini-batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from numbers import Integral, Real

import numpy as np
from numpy.typing import NDArray

from refbp.algorithm import update
from refbp.checks import check_matrix
from refbp.network import Network
from refbp.types import AlphaError, Array, InputError

__all__ = ["History", "sgd"]


@dataclass(frozen=True)
class History:
    """The losses of one training.

    epoch_loss[0] is L on all the data before training, epoch_loss[e] after epoch e.
    batch_loss[e - 1] are epoch e's mini-batch losses in the order taken, each before its update.
    """

    epoch_loss: tuple[float, ...]
    batch_loss: tuple[tuple[float, ...], ...]


def sgd(
    network: Network,
    X: Array,
    Y: Array,
    alpha: float,
    batch_size: int,
    epochs: int,
    seed: int,
) -> tuple[Network, History]:
    """Train by mini-batches, shuffled anew each epoch; the same arguments give the same result.

    The last mini-batch of an epoch has the remaining examples, and its L divides by its own size. `network`
    is not changed. Raises `InputError` for arguments that do not fit, and if α is so large that the loss or a
    weight is no longer finite.
    """
    _check_arguments(alpha, batch_size, epochs, seed)
    alpha = float(alpha)  # a NumPy float64 would promote float32 weights
    generator = np.random.default_rng(seed)
    epoch_loss = [_full_loss(network, X, Y)]
    batch_loss = []
    for epoch in range(1, epochs + 1):
        order = generator.permutation(len(X))
        # Overflow is reported by `_check_finite`, in one sentence that names α.
        with np.errstate(over="ignore", invalid="ignore"):
            network, losses = _one_epoch(network, X, Y, alpha, _batches(order, batch_size), epoch)
            epoch_loss.append(_full_loss(network, X, Y))
        _check_finite(network, epoch_loss[-1], alpha, f"after epoch {epoch}")
        batch_loss.append(losses)
    return network, History(tuple(epoch_loss), tuple(batch_loss))


def _one_epoch(
    network: Network,
    X: Array,
    Y: Array,
    alpha: float,
    batches: Iterator[NDArray[np.int64]],
    epoch: int,
) -> tuple[Network, tuple[float, ...]]:
    """One update for each mini-batch; the losses are those before the updates."""
    losses = []
    for rows in batches:
        trace = network.trace(X[rows], Y[rows])
        network = replace(network, W=update(network.W, trace.dL_dW, alpha))
        losses.append(float(trace.loss))
        _check_finite(network, losses[-1], alpha, f"in epoch {epoch}, mini-batch {len(losses)}")
    return network, tuple(losses)


def _full_loss(network: Network, X: Array, Y: Array) -> float:
    _, Z = network.forward(X)
    return float(network.loss(Z[len(network.W)], Y))


def _batches(order: NDArray[np.int64], batch_size: int) -> Iterator[NDArray[np.int64]]:
    """The rows of each mini-batch: a permutation of 0, …, n − 1, cut into pieces."""
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _check_arguments(alpha: float, batch_size: int, epochs: int, seed: int) -> None:
    if not isinstance(alpha, Real) or not math.isfinite(alpha):
        raise AlphaError(f"alpha is {alpha!r}; expected a finite number.")
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("epochs", epochs, 0),
        ("seed", seed, 0),
    ):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
            raise InputError(f"{name} is {value!r}; expected a whole number, {least} at least.")


def _check_finite(network: Network, loss: float, alpha: float, where: str) -> None:
    """Raise AlphaError in the step in which training diverges, and not only in the next forward pass."""
    try:
        if not math.isfinite(loss):
            raise InputError(f"the loss is {loss}; expected finite numbers.")
        for l, W_l in network.W.items():
            check_matrix(f"W[{l}]", W_l)
    except InputError as error:
        raise AlphaError(
            f"alpha is {alpha}, too large here: {where}, {error} Take a smaller alpha."
        ) from error
