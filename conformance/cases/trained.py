"""Networks at weights that refbp's own stochastic gradient descent reached on real data."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from conformance.model.problem import Floats

__all__ = ["trained_network"]


class Training(NamedTuple):
    """What a network is trained on, and how."""

    X: Floats
    Y: Floats
    widths: tuple[int, ...]
    output: str
    loss: str
    alpha: float


@cache
def trained_network(data: str, activation: str) -> tuple[dict[int, Floats], Floats, Floats]:
    """(W with the bias row last, X, Y) after training on scikit-learn's bundled `data`."""
    import refbp

    t = _digits() if data == "digits" else _diabetes()
    rng = np.random.default_rng(20)
    shapes = pairwise(t.widths)
    W = {l: rng.normal(size=s) / np.sqrt(s[0]) for l, s in enumerate(shapes, start=1)}
    b = {l: np.zeros(M.shape[1]) for l, M in W.items()}
    sigma = {l: refbp.activation(activation if l < len(W) else t.output) for l in W}
    network = refbp.Network(
        refbp.absorb(W, b), refbp.with_constant_units(sigma), refbp.loss(t.loss)
    )
    X = refbp.with_ones(t.X)
    network, _ = refbp.sgd(network, X, t.Y, t.alpha, batch_size=32, epochs=5, seed=20)
    W, b = refbp.split(network.W)
    return {l: np.vstack([W[l], b[l]]) for l in W}, t.X, t.Y


def _digits() -> Training:
    from sklearn.datasets import load_digits

    digits = load_digits()
    X = digits.data / 16
    Y = np.eye(10)[digits.target]
    return Training(X, Y, (64, 16, 10), "softmax", "cross_entropy", 0.3)


def _diabetes() -> Training:
    from sklearn.datasets import load_diabetes

    X, y = load_diabetes(return_X_y=True)
    y = ((y - y.mean()) / y.std()).reshape(-1, 1)
    return Training(X * 20, y, (10, 4, 1), "identity", "mean_squared_error", 0.05)
