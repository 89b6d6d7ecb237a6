"""Networks at weights that refbp's own stochastic gradient descent reached on real data."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
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
    data = _table("digits")
    X, Y = data[:, :-1] / 16, np.eye(10)[data[:, -1].astype(int)]
    return Training(X, Y, (64, 16, 10), "softmax", "cross_entropy", 0.3)


def _diabetes() -> Training:
    data, y = _table("diabetes_data_raw"), _table("diabetes_target")
    X = _standardised(data) * 20 / np.sqrt(len(data))
    y = _standardised(y).reshape(-1, 1)
    return Training(X, y, (10, 4, 1), "identity", "mean_squared_error", 0.05)


def _standardised(columns: Floats) -> Floats:
    standardised: Floats = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    return standardised


def _table(name: str) -> Floats:
    """A data set from scikit-learn's files. The package is not imported, which would take longer than the
    training. Raises ModuleNotFoundError if it is not installed."""
    found = find_spec("sklearn")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")
    file = Path(found.origin).parent / "datasets" / "data" / f"{name}.csv.gz"
    # The numbers of diabetes are separated by spaces.
    table: Floats = np.loadtxt(file, delimiter="," if name == "digits" else None)
    return table
