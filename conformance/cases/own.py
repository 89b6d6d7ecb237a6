"""A user's own networks, from a line of text or from a file of arrays.

    4-3-1: relu, sigmoid + binary_cross_entropy
    784-30-10: sigmoid + mean_squared_error; no bias; n=10

A line has the widths d_0 … d_L; σ of each layer, or one for all layers, or one for the hidden layers and one
for the last; and the loss (if none is named, the mean squared error). It may also say whether there is a
bias, how many examples, and which dtype; otherwise these are varied. Each line becomes networks with numbers
of several kinds.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from conformance.cases import data
from conformance.cases.catalogue import ALPHA, DTYPES, CaseError
from conformance.model.problem import Floats, Problem
from conformance.tools.trouble import reason
from conformance.truth.definitions import ROW_WISE

__all__ = ["KINDS", "Network", "from_arrays", "problems", "read_arrays", "read_network"]

BATCHES = (1, 2, 7, 33)
KINDS: Mapping[str, str] = {
    "typical": "normal numbers",
    "classes": "one-hot targets, or 0 and 1 of one output",
    "repeated": "all examples the same",
    "large": "inputs ten times as large, or twice before a logarithm: saturated units",
    "small": "inputs near 0.001",
    "zeros": "weights of 0, and so outputs that do not depend on X",
    "logits": "one-hot targets, and rows that a softmax takes near ±1000, where exp overflows and is 0",
}
"""The kinds of numbers that each network is given."""
FAR = 1000.0
"""Added to, or subtracted from, all weights of a unit before the last layer: softmax does not change."""
LOGARITHMIC = ("cross_entropy", "binary_cross_entropy")


@dataclass(frozen=True)
class Network:
    """A network without its numbers. Fields that are None are varied."""

    text: str
    widths: tuple[int, ...]
    sigma: tuple[str, ...]
    loss: str = "mean_squared_error"
    bias: bool | None = None
    batch: int | None = None
    dtype: str | None = None


def read_network(text: str) -> Network:
    """The network of a line. Raises CaseError; names are checked when its problems are checked."""
    shape, _, rest = text.partition(":")
    if not re.fullmatch(r"\s*\d+(-\d+)+\s*", shape) or not rest.strip():
        raise CaseError(
            f"cannot read the network {text!r}; expected widths, activations and a loss, such as "
            "'4-3-1: relu, sigmoid + binary_cross_entropy'."
        )
    widths = tuple(map(int, shape.split("-")))
    functions, *options = (part.strip() for part in rest.split(";"))
    names, _, loss = functions.partition("+")
    sigma = _each(text, [n.strip() for n in names.split(",")], len(widths) - 1)
    return Network(
        text, widths, sigma, loss.strip() or "mean_squared_error", **_options(text, options)
    )


def _each(text: str, names: list[str], L: int) -> tuple[str, ...]:
    """The names of σ_1 … σ_L. Raises CaseError."""
    if len(names) == 1:
        return tuple(names * L)
    if len(names) == 2 < L:
        return (*names[:1] * (L - 1), names[1])
    if len(names) != L:
        raise CaseError(
            f"the network {text!r} has {L} layers and {len(names)} activations; expected {L}, or one for "
            "all, or two: of the hidden layers and of the last."
        )
    return tuple(names)


def _options(text: str, options: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for option in filter(None, options):
        if option in ("bias", "no bias"):
            found["bias"] = option == "bias"
        elif option in DTYPES:
            found["dtype"] = option
        elif number := re.fullmatch(r"n\s*=\s*([1-9]\d*)", option):
            found["batch"] = int(number[1])
        else:
            raise CaseError(
                f"cannot read {option!r} in the network {text!r}; expected 'bias', 'no bias', 'n=10' or one "
                f"of {', '.join(DTYPES)}."
            )
    return found


def problems(network: Network) -> Iterator[Problem]:
    """The network with its numbers: each kind, with each batch, bias and dtype that the line leaves open."""
    of = product(
        [k for k in KINDS if k != "logits" or network.sigma[-1] in ROW_WISE],
        BATCHES if network.batch is None else (network.batch,),
        (False, True) if network.bias is None else (network.bias,),
        DTYPES if network.dtype is None else (network.dtype,),
    )
    for kind, batch, bias, dtype in of:
        yield _problem(network, kind, _Wanted(network, batch, bias, dtype))


@dataclass(frozen=True)
class _Wanted:
    """The part of a case that `data` reads."""

    network: Network
    batch: int
    bias: bool
    dtype: str
    family: str = "own"

    @property
    def widths(self) -> tuple[int, ...]:
        return self.network.widths

    @property
    def loss(self) -> str:
        return self.network.loss

    @property
    def activation(self) -> str:
        return self.network.sigma[0]

    @property
    def depth(self) -> int:
        return len(self.network.sigma)

    def sigma(self) -> dict[int, str]:
        return dict(enumerate(self.network.sigma, start=1))


def _problem(network: Network, kind: str, wanted: _Wanted) -> Problem:
    seed = [crc32(network.text.encode()), wanted.batch, wanted.bias, crc32(kind.encode())]
    rng = np.random.default_rng(seed)
    make = data.classes if kind in ("classes", "logits") else data.typical
    W, X, Y = make(wanted, rng)
    if kind == "logits":
        last = W[len(W)]
        W = {**W, len(W): last + FAR * rng.choice([-1, 1], size=(len(last), 1))}
    if kind == "repeated":
        X, Y = np.repeat(X[:1], wanted.batch, axis=0), np.repeat(Y[:1], wanted.batch, axis=0)
    far = 2.0 if network.loss in LOGARITHMIC else 10.0  # an output of 0 has no logarithm
    X = X * {"large": far, "small": 1e-3}.get(kind, 1.0)
    W = {l: 0.0 * M for l, M in W.items()} if kind == "zeros" else W
    return _made(network, W, X, Y, wanted.bias, wanted.dtype)


def _made(
    network: Network, W: Mapping[int, Floats], X: Floats, Y: Floats, bias: bool, dtype: str
) -> Problem:
    def cast(M: Floats) -> Floats:
        return np.ascontiguousarray(M, np.dtype(dtype))

    return Problem(
        W={l: cast(M) for l, M in W.items()},
        X=cast(X),
        Y=cast(Y),
        sigma=dict(enumerate(network.sigma, start=1)),
        loss=network.loss,
        bias=bias,
        alpha=float(np.dtype(dtype).type(ALPHA)),
    )


# --- a user's own arrays --------------------------------------------------------------------------


def read_arrays(path: Path) -> dict[str, Any]:
    """X and Y of an .npz, and W1, W2, … if it has them. Nothing is unpickled. Raises CaseError."""
    if not path.is_file():
        raise CaseError(f"cannot read {path}: there is no such file.")
    if not zipfile.is_zipfile(path):
        raise CaseError(f"cannot read {path}: it is no .npz, as numpy.savez writes it.")
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except Exception as e:  # a damaged archive raises zipfile's and zlib's own
        raise CaseError(f"cannot read {path} as an .npz of arrays: {reason(e)}.") from e
    if missing := {"X", "Y"} - found.keys():
        raise CaseError(
            f"{path} has {', '.join(found) or 'no arrays'}; expected {' and '.join(sorted(missing))} too."
        )
    return found


def from_arrays(network: Network, arrays: Mapping[str, Any]) -> Iterator[Problem]:
    """The network on these examples. A Y of whole numbers holds classes, or 0 and 1 for one output; weights
    that are not given are drawn. Raises CaseError."""
    X, Y = np.asarray(arrays["X"]), np.asarray(arrays["Y"])
    for name, M in arrays.items():
        if M.dtype.kind not in "fiub":
            raise CaseError(f"{name} is an array of {M.dtype}; expected numbers.")
    if X.ndim != 2 or X.shape[1] != network.widths[0] or not len(X):
        raise CaseError(
            f"X has shape {X.shape}; expected n×{network.widths[0]}, as the network begins with "
            f"{network.widths[0]}."
        )
    Y = _targets(Y, len(X), network.widths[-1])
    biases = (False, True) if network.bias is None else (network.bias,)
    own = {
        l: np.asarray(arrays[f"W{l}"])
        for l in range(1, len(network.sigma) + 1)
        if f"W{l}" in arrays
    }
    if own:  # their rows say whether there is a bias
        biases = (len(own[min(own)]) > network.widths[min(own) - 1],)
    for bias, dtype in product(biases, DTYPES if network.dtype is None else (network.dtype,)):
        wanted = _Wanted(network, len(X), bias, dtype)
        rng = np.random.default_rng([crc32(network.text.encode()), bias])
        yield _made(network, {**data.weights(wanted, rng), **own}, X, Y, bias, dtype)


def _targets(Y: Any, n: int, width: int) -> Floats:
    """Y as n×d_L numbers. Raises CaseError."""
    if Y.ndim == 1 and np.issubdtype(Y.dtype, np.integer) and len(Y) == n:
        if width == 1:
            Y = Y[:, None]
        elif Y.min(initial=0) < 0 or Y.max(initial=0) >= width:
            raise CaseError(
                f"Y has the classes {Y.min()} to {Y.max()}; expected 0 to {width - 1}, as the network has "
                f"{width} outputs."
            )
        else:
            Y = np.eye(width)[Y]
    if Y.shape != (n, width):
        raise CaseError(
            f"Y has shape {Y.shape}; expected {(n, width)}, or {n} classes as whole numbers."
        )
    return np.asarray(Y, np.float64)
