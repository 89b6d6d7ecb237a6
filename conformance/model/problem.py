"""What every implementation is given, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["QUANTITIES", "SCALES", "Floats", "Problem", "Runs", "Trace", "with_ones"]

Floats = NDArray[Any]

QUANTITIES = ("A", "Z", "delta", "dW", "W_new")
"""The layered quantities of a trace: A_l, Z_l, δ_l, ∂L/∂W_l and W_l − α ∂L/∂W_l."""

SCALES = ("mean", "half", "sum", "half-sum", "mean-over-all", "half-over-all")
"""The divisors of the sum of a loss's n×d_L terms: n (the notes), 2n, 1, 2, n·d_L, 2n·d_L."""


def with_ones(Z: Floats) -> Floats:
    """z̃ = [z | 1]: the bias is the weight of the constant unit."""
    return np.hstack([Z, np.ones((Z.shape[0], 1), Z.dtype)])


def _read_only(M: Any) -> Any:
    """A read-only view of an array. Anything else is returned as it is: `check_problem` refuses it."""
    if not isinstance(M, np.ndarray):
        return M
    view = M.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True)
class Problem:
    """A network with its data, as floats of one dtype. Its arrays are read-only views; those that they were
    made from stay writable.

    `W` is {1: W_1, …, L: W_L}; where the network has a bias, the rows of W_l are `[W_l; b_l]`, as the notes
    absorb it. `sigma` is {1: "tanh", …}, the names of σ_1 … σ_L. `loss` is the name of a loss, and `alpha`
    the rate of the update W_l − α ∂L/∂W_l.

    `scale` and `each` are for a `Convention` to set: what the loss is divided by (`SCALES`), and whether δ_l
    is of each example's own loss, so that 1/n enters with ∂L/∂W_l.
    """

    W: Mapping[int, Floats]  # (d_{l-1} + bias)×d_l
    X: Floats  # n×d_0
    Y: Floats  # n×d_L
    sigma: Mapping[int, str]
    loss: str
    bias: bool
    alpha: float
    scale: str = "mean"
    each: bool = False

    def __post_init__(self) -> None:
        made: dict[str, Any] = {"X": _read_only(self.X), "Y": _read_only(self.Y)}
        if isinstance(self.W, Mapping):
            made["W"] = {l: _read_only(M) for l, M in self.W.items()}
        for name, value in made.items():
            object.__setattr__(self, name, value)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.X.dtype

    @property
    def depth(self) -> int:
        """L, the number of layers."""
        return len(self.W)

    @property
    def divisors(self) -> tuple[int, int]:
        """The two divisors of the sum of the loss's terms: one that enters before the backward pass, and one
        that enters in the loss and ∂L/∂W_l alone."""
        n, width = self.Y.shape
        by = {"mean": n, "half": 2 * n, "sum": 1, "half-sum": 2}
        by |= {"mean-over-all": n * width, "half-over-all": 2 * n * width}
        whole = by[self.scale]
        return (
            (whole // n, n) if self.each and self.scale not in ("sum", "half-sum") else (whole, 1)
        )

    def operand(self, Z: Floats) -> Floats:
        """The left operand of W_l: Z_{l-1}, with the constant unit where there is a bias."""
        return with_ones(Z) if self.bias else Z

    def weights(self, l: int) -> Floats:
        """W_l without the bias row."""
        return self.W[l][:-1] if self.bias else self.W[l]

    def copy(self) -> Problem:
        """The same numbers in other memory, which an implementation may overwrite."""
        W = {l: M.copy() for l, M in self.W.items()}
        return replace(self, W=W, X=self.X.copy(), Y=self.Y.copy(), sigma=dict(self.sigma))

    def changed(self, since: Problem) -> str:
        """The first of X, Y, W_l and σ that has changed; "" if none has."""
        now, was = (
            {"X": p.X, "Y": p.Y, **{f"W_{l}": M for l, M in p.W.items()}} for p in (self, since)
        )
        if list(now) != list(was):
            return "W"
        different = (k for k, M in now.items() if M.tobytes() != was[k].tobytes())
        return next(different, "" if self.sigma == since.sigma else "σ")

    def another_batch(self) -> Problem:
        """The same network with other numbers: X/2, and the rows of X and Y each moved on by one example."""
        X, Y = (np.roll(M, 1, axis=0) for M in (self.X, self.Y))
        return replace(self, X=X / 2, Y=Y)

    def row(self, i: int) -> Problem:
        """The same network for example i alone."""
        return replace(self, X=self.X[i : i + 1].copy(), Y=self.Y[i : i + 1].copy())


@dataclass(frozen=True)
class Trace:
    """What one implementation computed: n×d_l each, except dW and W_new, which are shaped like `Problem.W`.

    All are of `Problem.dtype`, keyed by the layer, 1 to L. A quantity that an implementation does not return
    is left out in all layers, and is not judged.
    """

    A: Mapping[int, Floats] = field(default_factory=dict)
    Z: Mapping[int, Floats] = field(default_factory=dict)
    delta: Mapping[int, Floats] = field(default_factory=dict)
    dW: Mapping[int, Floats] = field(default_factory=dict)
    W_new: Mapping[int, Floats] = field(default_factory=dict)
    loss: Floats | None = None  # of shape ()

    @property
    def missing(self) -> tuple[str, ...]:
        """The quantities that were not returned."""
        of_layers = tuple(q for q in QUANTITIES if not self.layers(q))
        return of_layers if self.loss is not None else (*of_layers, "loss")

    def copy(self) -> Trace:
        """The same numbers in other memory, since an implementation may reuse its buffers."""
        layered = {q: {l: M.copy() for l, M in self.layers(q).items()} for q in QUANTITIES}
        return Trace(**layered, loss=None if self.loss is None else np.array(self.loss))

    def layers(self, quantity: str) -> Mapping[int, Floats]:
        """{1: …, …, L: …} of one quantity."""
        found: Mapping[int, Floats] = getattr(self, quantity)
        return found


@dataclass(frozen=True)
class Runs:
    """What one implementation computed for one case, in this order.

    `first`: the batch; `between`: another batch; `again`: the first batch once more; `alone`: one example of
    it.
    """

    first: Trace
    between: Trace | None = None
    again: Trace | None = None
    alone: Trace | None = None
