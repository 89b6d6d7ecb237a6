"""The numbers of a case: weights, inputs and targets, one maker a family, from the case alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from conformance.cases.trained import trained_network
from conformance.model.problem import Floats
from conformance.truth.definitions import ACTIVATIONS

Data = tuple[dict[int, Floats], Floats, Floats]


class Wanted(Protocol):
    """The part of a `catalogue.Case` that a maker reads. (The catalogue imports this module.)"""

    @property
    def family(self) -> str: ...
    @property
    def activation(self) -> str: ...
    @property
    def depth(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def dtype(self) -> str: ...
    @property
    def widths(self) -> tuple[int, ...]: ...
    @property
    def loss(self) -> str: ...
    @property
    def bias(self) -> bool: ...
    def sigma(self) -> dict[int, str]: ...


Maker = Callable[[Wanted, np.random.Generator], Data]


def weights(case: Wanted, rng: np.random.Generator, gain: float = 1.2) -> dict[int, Floats]:
    """Normal numbers, scaled by gain/√d_{l−1}; the bias row, if there is one, is the last."""
    d, made = case.widths, {}
    for l in range(1, case.depth + 1):
        W = rng.normal(size=(d[l - 1], d[l])) * gain / np.sqrt(d[l - 1])
        b = rng.normal(size=(1, d[l])) * 0.3
        made[l] = np.vstack([W, b]) if case.bias else W
    return made


def targets(case: Wanted, rng: np.random.Generator) -> Floats:
    """Targets that the loss is defined for: classes, probabilities, or any numbers."""
    shape = (case.batch, case.widths[-1])
    if "cross_entropy" not in case.loss:
        return rng.normal(size=shape)
    if case.loss == "binary_cross_entropy":
        sharp = rng.integers(0, 2, size=shape).astype(float)
        return np.where(rng.random(shape) < 0.5, sharp, rng.uniform(0.1, 0.9, size=shape))
    soft = rng.uniform(1, 9, size=shape)
    one_hot = np.eye(shape[1])[rng.integers(0, shape[1], size=shape[0])]
    smooth = soft / soft.sum(axis=1, keepdims=True)
    return np.where(rng.random((shape[0], 1)) < 0.5, one_hot, smooth)


def _inputs(case: Wanted, rng: np.random.Generator) -> Floats:
    return rng.normal(size=(case.batch, case.widths[0]))


def typical(case: Wanted, rng: np.random.Generator) -> Data:
    return weights(case, rng), _inputs(case, rng), targets(case, rng)


def _selecting(case: Wanted, rng: np.random.Generator, values: Sequence[float]) -> Data:
    """X such that A_1 = X W_1 has exactly these values, repeated: W_1 picks columns of X."""
    W, Y = weights(case, rng), targets(case, rng)
    shape = (case.batch, case.widths[1])
    A = np.resize(np.array(values, dtype=case.dtype), shape)
    W[1] = np.eye(case.widths[0], shape[1])
    X = np.zeros((case.batch, case.widths[0]))
    X[:, : shape[1]] = A
    return W, X, Y


EXTREMES = tuple(
    s * v for v in (1000, 745.5, 103.5, 50, 37, 21, 19, 12.5, 9, 7, 5) for s in (1, -1)
)


def saturating(case: Wanted, rng: np.random.Generator) -> Data:
    return _selecting(case, rng, EXTREMES[: case.batch * case.widths[1]])


def confident(case: Wanted, rng: np.random.Generator) -> Data:
    if case.loss == "cross_entropy":
        return _confident_rows(case, rng)
    least = -120 if case.dtype == "float64" else -34  # z = σ(a) is then still a normal number
    W, X, _ = _selecting(case, rng, tuple(np.linspace(-12, least, 21)))
    return W, X, rng.integers(0, 4, size=(case.batch, case.widths[-1])) / 3


def _confident_rows(case: Wanted, rng: np.random.Generator) -> Data:
    """Logits 0, −g/2 and −g in any order, for g up to where 1/z² = e^{2g} is still a number.

    In turn the target is the least likely class, for which the output is surely wrong, the most likely one,
    and a mixture.
    """
    most = 340 if case.dtype == "float64" else 80
    g = np.geomspace(12, most, case.batch)
    logits = np.stack([0 * g, -g / 2, -g], axis=1)
    Y = np.array([[0, 0, 1], [1, 0, 0], [0, 1 / 4, 3 / 4]])[np.arange(case.batch) % 3]
    order = rng.permuted(np.tile(np.arange(3), (case.batch, 1)), axis=1)
    logits, Y = (np.take_along_axis(M, order, axis=1) for M in (logits, Y))
    W, X, _ = _selecting(case, rng, tuple(logits.ravel()))
    return W, X, Y


def near_one(case: Wanted, rng: np.random.Generator) -> Data:
    most = 30 if case.dtype == "float64" else 10  # 1 − z is then far above the rounding of z
    W, X, _ = _selecting(case, rng, tuple(np.linspace(2, most, 21)))
    return W, X, rng.integers(0, 4, size=(case.batch, case.widths[-1])) / 4


SHIFTS = (1000, -1000, 710, -746, 89, -104)  # where exp overflows or is 0, in either dtype


def logits(case: Wanted, rng: np.random.Generator) -> Data:
    """Rows of ordinary spread, each shifted as a whole; in the last one all but the first underflow, unless
    their logarithm is taken."""
    width, far = case.widths[1], 40 if case.loss == "cross_entropy" else 1000
    rows = np.array(SHIFTS)[:, None] + rng.integers(-12, 13, size=(len(SHIFTS), width)) / 4
    rows = np.vstack([rows, 1000.0 - far * np.arange(width)])
    return _selecting(case, rng, tuple(rows.ravel()))


def classes(case: Wanted, rng: np.random.Generator) -> Data:
    """One-hot targets; 0 and 1 if there is one output."""
    W, X, _ = typical(case, rng)
    m = case.widths[-1]
    of = rng.integers(0, max(2, m), size=case.batch)
    return W, X, np.eye(m)[of] if m > 1 else of[:, None].astype(float)


def kinks(case: Wanted, rng: np.random.Generator) -> Data:
    if case.loss == "mean_absolute_error":  # its kink is at z = y: half the entries lie there
        W, X, Y = _selecting(case, rng, tuple(np.arange(-9, 9) / 4))
        Z = X[:, : case.widths[1]]
        return W, X, np.where(rng.random(Z.shape) < 0.5, Z, Y)
    at = np.array(ACTIVATIONS[case.activation].breaks, dtype=case.dtype)
    least = np.finfo(case.dtype).smallest_normal  # beside 0, so that this is not about subnormals
    around = [
        np.where(at == 0, s * least, np.nextafter(at, np.array(s * np.inf, case.dtype)))
        for s in (-1, 1)
    ]
    return _selecting(
        case, rng, tuple(np.concatenate([at, *around, at]))
    )  # at the kink twice as often


def underflow(case: Wanted, rng: np.random.Generator) -> Data:
    f = np.finfo(case.dtype)
    W, X, Y = typical(case, rng)
    exponents = rng.integers(f.minexp - f.nmant, f.minexp + f.nmant // 2, size=(len(X), 1))
    return W, np.ldexp(1 + np.abs(X) / 8, exponents), Y


def large(case: Wanted, rng: np.random.Generator) -> Data:
    W, X, Y = typical(case, rng)
    scale = 2.0**200 if case.dtype == "float64" else 2.0**40
    return W, X * scale, Y * scale


def integers(case: Wanted, rng: np.random.Generator) -> Data:
    """Weights −1, 0, 1 and inputs of 13 bits; Y lies near Z_L, so that ∂L/∂W_l fits as well."""
    W = {l: np.sign(M) * (rng.random(M.shape) < 0.7) for l, M in weights(case, rng).items()}
    X = rng.integers(2**12, 2**13, size=(case.batch, case.widths[0])).astype(float)
    X *= rng.choice([-1, 1], size=X.shape)
    Z = X
    for l in range(1, case.depth + 1):
        A = (np.hstack([Z, np.ones((case.batch, 1))]) if case.bias else Z) @ W[l]
        Z = {"relu": np.maximum(A, 0), "relu6": np.clip(A, 0, 6), "identity": A}[case.sigma()[l]]
    return W, X, Z + rng.integers(-4, 5, size=Z.shape)


def repeated(case: Wanted, rng: np.random.Generator) -> Data:
    W, X, Y = typical(case, rng)
    return W, np.repeat(X[:1], case.batch, axis=0), np.repeat(Y[:1], case.batch, axis=0)


def one_hot(case: Wanted, rng: np.random.Generator) -> Data:
    W, _, Y = typical(case, rng)
    return W, np.eye(case.widths[0])[rng.integers(0, case.widths[0], size=case.batch)], Y


def zero_weights(case: Wanted, rng: np.random.Generator) -> Data:
    W, X, Y = typical(case, rng)
    return {l: np.zeros_like(M) for l, M in W.items()}, X, Y


def trained(case: Wanted, rng: np.random.Generator) -> Data:
    W, X, Y = trained_network(case.family.removeprefix("trained-"), case.activation)
    chosen = rng.choice(len(X), size=case.batch, replace=False)
    return dict(W), X[chosen], Y[chosen]
