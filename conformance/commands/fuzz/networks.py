"""Draws a network: any shape, every σ and loss, and the numbers that break implementations.

`choose(k)` returns a whole number from 0 to k − 1, and the network depends only on what it returned. The
simplest choice is always 0: Hypothesis makes the choices smaller, and so the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from conformance.implementations import implementation
from conformance.model.problem import Floats, Problem
from conformance.truth.definitions import ACTIVATIONS, LOSSES, ROW_WISE

__all__ = ["SHARED", "Network", "network", "shared"]

Choose = Callable[[int], int]
Drawn = TypeVar("Drawn")

SHARED = {"batch": (1, 5), "width": (2,)}
"""JAX compiles once for each shape: networks of these few shapes share the compiled code."""

# fmt: off
SHAPES = {      # how often
    "shared": 12,  # widths and batch of SHARED, to depth 3
    "small":  12,  # widths to 6, batches to 9, to depth 5
    "deep":    1,  # to depth 60
    "wide":    1,  # every other layer to 300
    "long":    1,  # batches to 4,096
}
MATRICES = {
    "few values": 1,  # −1, −½, 0, ½, 1
    "normal": 8,
    "identity": 2,    # A_1 is X
    "zero": 1,
    "large": 2,       # units saturate
    "ill": 1,  # of rank one, except for 1e-3 to 1e-12
    "scaled": 1,      # each column at a scale of its own
    "cancelling": 1,  # what one row adds, the next subtracts
}
INPUTS = {"few values": 1, "normal": 6, "special": 3, "one-hot": 1, "zero": 1, "tiny": 1}
ROWS = {"distinct": 8, "equal": 2, "two": 1, "nearly equal": 2}
TARGETS = {"few values": 1, "normal": 4, "at Z": 2, "beside Z": 2, "one away": 1}
PROBABILITIES = {"one-hot": 3, "soft": 3, "edges": 2, "any": 1}
# fmt: on

SPECIAL = (
    0.0, -0.0, 1.0, -1.0, 3.0, -3.0, 6.0, 0.5, 20.0, -20.0, 37.0, -37.0, 88.0, -88.0, 103.5, -103.5,
    708.0, -708.0, 745.5, -745.5, 1e-3, 1e-8, 1e-30, -1e-38, 5e-324, 1e4, 2.0**-126,
)  # fmt: skip
"""Kinks, numbers where exp overflows or underflows or where a tail ends, and the smallest numbers."""
ALPHAS = (0.125, 0.1, 1.0, 1e-3)
LOG_HEADS = ("softmax", "sigmoid", "softmax", "sigmoid", "softmax", "hardsigmoid", "gaussian")
LARGEST = {"float64": 1e250, "float32": 1e30}
FEW = np.array([-1, -0.5, 0, 0.5, 1])


@dataclass(frozen=True)
class Network:
    """A drawn network, and how it is to be judged."""

    problem: Problem
    close: bool  # also judged in `row` and `repeat`
    turn: int  # chooses which of the legal implementations runs it


def network(choose: Choose) -> Network | None:
    """A network; None if its numbers might leave its dtype."""
    d, n = _shape(choose)
    L = len(d) - 1
    sigma = _sigmas(choose, L)
    loss, sigma[L] = _head(choose, sigma[L])
    dtype = ("float64", "float32")[choose(2)]
    bias, alpha = bool(choose(2)), float(np.dtype(dtype).type(_one_of(choose, ALPHAS)))
    rng = np.random.default_rng(choose(1 << 16))
    W = {l: _weights(choose, rng, d[l - 1], d[l], bias) for l in range(1, L + 1)}
    X = _rows(choose, rng, _inputs(choose, rng, n, d[0]))
    bits = _picked(choose, {"2": 1, "8": 1, "all": 4})
    W, X = {l: _cast(M, dtype, bits) for l, M in W.items()}, _cast(X, dtype, bits)
    Y = np.zeros((n, d[L]), dtype)
    p = Problem(W, X, Y, sigma, loss, bias, alpha)
    if not _fits(p):
        return None
    Y = _cast(_targets(choose, rng, p), dtype, bits)
    close, turn = choose(4) == 3, choose(1 << 16)
    return Network(Problem(W, X, Y, sigma, loss, bias, alpha), close, turn)


def shared(p: Problem) -> bool:
    """Whether its shapes are all in SHARED."""
    widths = {p.X.shape[1], *(M.shape[1] for M in p.W.values())}
    return len(p.X) in SHARED["batch"] and widths <= {*SHARED["width"]} and p.depth <= 3


def _one_of(choose: Choose, of: Sequence[Drawn]) -> Drawn:
    return of[choose(len(of))]


def _picked(choose: Choose, weights: Mapping[str, int]) -> str:
    """A key, drawn as often as its weight says."""
    return _one_of(choose, [key for key, weight in weights.items() for _ in range(weight)])


# --- shapes and names -----------------------------------------------------------------------------


def _shape(choose: Choose) -> tuple[list[int], int]:
    """The widths d_0 … d_L and the batch n; few enough numbers that they are judged in a fraction of a
    second."""
    kind = _picked(choose, SHAPES)
    if kind == "shared":
        L, n = 1 + choose(3), _one_of(choose, SHARED["batch"])
        return [_one_of(choose, SHARED["width"]) for _ in range(L + 1)], n
    if kind == "small":
        L, n = 1 + choose(5), 1 + choose(9)
        return [1 + choose(6) for _ in range(L + 1)], n
    if kind == "deep":
        L, n = min(60, _doubled(choose, 6)), 1 + choose(2)
        return [1 + choose(2) for _ in range(L + 1)], n
    if kind == "wide":
        L, n = 1 + choose(3), 1 + choose(2)
        first = choose(2)
        return [1 + choose(300 if (l + first) % 2 else 2) for l in range(L + 1)], n
    return [1 + choose(3), 1 + choose(2)], min(4096, _doubled(choose, 13))


def _doubled(choose: Choose, times: int) -> int:
    """A number from 1 to 2^times − 1; each range between two powers of two is drawn equally often."""
    power = 1 << choose(times)
    return power + choose(power)


def _sigmas(choose: Choose, L: int) -> dict[int, str]:
    """One σ for all layers, or one for each."""
    every = (*ACTIVATIONS, *ROW_WISE)
    one = _one_of(choose, every)
    if choose(2) == 0:
        return dict.fromkeys(range(1, L + 1), one)
    return {l: _one_of(choose, every) for l in range(1, L + 1)}


def _head(choose: Choose, last: str) -> tuple[str, str]:
    """The loss, and a σ_L whose values it accepts."""
    loss = _one_of(choose, tuple(LOSSES))
    if loss in ("cross_entropy", "binary_cross_entropy"):
        return loss, _one_of(choose, LOG_HEADS)
    return loss, last if choose(4) or "log" not in loss else "log_softmax"


# --- numbers --------------------------------------------------------------------------------------


def _weights(
    choose: Choose, rng: np.random.Generator, rows: int, columns: int, bias: bool
) -> Floats:
    kind = _picked(choose, MATRICES)
    W = _matrix(choose, rng, kind, rows, columns)
    if not bias:
        return W
    b = _picked(choose, {"zero": 1, "normal": 4, "dead": 1})  # "dead": no unit of relu is on
    if b == "dead":
        return np.vstack([W, -1e3 * np.ones((1, columns))])
    return np.vstack([W, 0.3 * rng.normal(size=(1, columns)) * (b == "normal")])


def _matrix(choose: Choose, rng: np.random.Generator, kind: str, rows: int, columns: int) -> Floats:
    W: Floats = rng.normal(size=(rows, columns)) * 1.2 / np.sqrt(rows)
    if kind == "few values":
        return rng.choice(FEW, size=W.shape)
    if kind == "identity":
        return np.eye(rows, columns)
    if kind == "zero":
        return np.zeros_like(W)
    if kind == "large":
        return W * _one_of(choose, (5, 30, 200))
    if kind == "ill":
        return rng.normal(size=(rows, 1)) @ rng.normal(size=(1, columns)) + W * 10.0 ** -(
            3 + choose(10)
        )
    if kind == "scaled":
        W *= 10.0 ** rng.integers(-6, 5, size=(1, columns))
    if kind == "cancelling":
        W[1::2] = -W[: 2 * (rows // 2) : 2] * (1 + rng.normal(size=(rows // 2, columns)) * 1e-6)
    return W


def _inputs(choose: Choose, rng: np.random.Generator, n: int, width: int) -> Floats:
    kind = _picked(choose, INPUTS)
    if kind == "few values":
        return rng.choice(FEW, size=(n, width))
    if kind == "special":
        X: Floats = rng.choice(SPECIAL, size=(n, width))
        X *= rng.choice([1, 1, -1], size=(n, width))
        return X
    if kind == "one-hot":
        return np.eye(width)[rng.integers(0, width, size=n)]
    if kind == "zero":
        return np.zeros((n, width))
    X = rng.normal(size=(n, width)) * 10.0 ** (choose(7) - 3)
    return X * 1e-40 if kind == "tiny" else X


def _rows(choose: Choose, rng: np.random.Generator, X: Floats) -> Floats:
    """The examples; some or all may become equal, or nearly equal."""
    kind = _picked(choose, ROWS)
    if kind == "equal":
        return np.repeat(X[:1], len(X), axis=0)
    if kind == "two":
        return X[rng.integers(0, min(2, len(X)), size=len(X))]
    if kind == "nearly equal":
        return X[:1] * (1 + rng.normal(size=X.shape) * 10.0 ** -(2 + choose(14)))
    return X


def _cast(M: Floats, dtype: str, bits: str) -> Floats:
    """M in the dtype, with `bits` significant bits unless that is "all": short numbers are easier to read."""
    if bits != "all":
        fraction, exponent = np.frexp(M)
        M = np.ldexp(np.round(np.ldexp(fraction, int(bits))), exponent - int(bits))
    with np.errstate(over="ignore", under="ignore"):
        return np.ascontiguousarray(M, dtype)


def _fits(p: Problem) -> bool:
    """Whether every A_l and δ_l is certainly within the range of the dtype, by bounds on absolute values."""
    largest = LARGEST[p.dtype.name]
    size, G = np.abs(p.X).astype(np.float64), 2.0
    for l in range(1, p.depth + 1):
        W = np.abs(p.W[l]).astype(np.float64)
        size = p.operand(size) @ W
        if not size.max() < largest:
            return False
        if p.sigma[l] in ROW_WISE or p.sigma[l] in BOUNDED:
            size = np.minimum(size + 2, 6 if p.sigma[l] in BOUNDED else np.inf)
        size = 1.2 * size + 1
    G *= float(size.max()) + 10
    for l in range(p.depth, 0, -1):
        G *= 1.3 * float(np.abs(p.weights(l)).astype(np.float64).sum(axis=1).max()) + 1e-300
    return G * float(np.abs(p.X).max() + 1) * len(p.X) < largest


BOUNDED = (
    "sigmoid", "tanh", "softsign", "hardtanh", "hardsigmoid", "relu6", "sin", "gaussian", "softmax",
)  # fmt: skip
"""Functions whose values are within ±6."""


def _targets(choose: Choose, rng: np.random.Generator, p: Problem) -> Floats:
    """Targets that the loss accepts, many of them at the edges of its domain."""
    shape = p.Y.shape
    if "cross_entropy" in p.loss:
        Y = _probabilities(choose, rng, shape)
    else:
        kind = _picked(choose, TARGETS)
        Y = rng.choice(FEW, size=shape) if kind == "few values" else rng.normal(size=shape)
        if kind in ("at Z", "beside Z", "one away"):
            with np.errstate(all="ignore"):
                Z = implementation("refbp").run(p).Z[p.depth].astype(np.float64)
            u = float(np.finfo(p.dtype).eps)
            step = {
                "at Z": np.zeros_like(Z),
                "beside Z": u * np.abs(Z),
                "one away": np.ones_like(Z),
            }
            Y = np.where(np.isfinite(Z), Z + step[kind] * rng.integers(-1, 2, size=shape), Y)
        elif kind == "normal":
            Y = Y * 10.0 ** (choose(5) - 2)
    same = (p.X[:1] == p.X).all() and choose(2) == 0
    return np.repeat(Y[:1], len(Y), axis=0) if same else Y


def _probabilities(choose: Choose, rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    kind = _picked(choose, PROBABILITIES)
    if kind == "one-hot":
        return np.eye(shape[1])[rng.integers(0, shape[1], size=shape[0])]
    if kind == "edges":
        return rng.choice([0, 1, 1e-12, 1e-30, 0.5, 1 - 2.0**-24, 2.0**-20], size=shape)
    Y = rng.uniform(0.01, 1, size=shape)
    return Y if kind == "any" else Y / Y.sum(axis=1, keepdims=True)
