"""A network (W, σ, L) as one value, and the trace of one forward and backward pass through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refbp.activations import activation
from refbp.algorithm import backward_prop, forward_pass, update
from refbp.losses import loss as loss_named
from refbp.notebook import network_table, trace_table
from refbp.types import Array, InputError, Layers, LossFunction, Transition

__all__ = ["Network", "Trace"]


@dataclass(frozen=True, eq=False)
class Trace:
    """The results of one pass: A_l, Z_l, δ_l and ∂L/∂W_l by layer, and the loss."""

    A: Layers
    Z: Layers
    delta: Layers
    dL_dW: Layers
    loss: np.floating[Any]

    def _repr_html_(self) -> str:
        """For a notebook: the shape and range of each quantity."""
        of = {"A": self.A, "Z": self.Z, "delta": self.delta, "dL_dW": self.dL_dW}
        return trace_table(of, self.loss)


@dataclass(frozen=True, eq=False)
class Network:
    """h(X) = σ_L(… σ_2(σ_1(X W_1) W_2) … W_L), and the loss it is trained with.

    >>> from refbp import Network
    >>> W1, W2 = np.array([[1.0, -1.0]]), np.array([[2.0], [3.0]])
    >>> network = Network.from_lists([W1, W2], ["relu", "identity"], "mean_squared_error")
    >>> X, Y = np.array([[2.0], [-1.0]]), np.array([[3.0], [1.0]])
    >>> trace = network.trace(X, Y)
    >>> trace.Z[2].T, float(trace.loss)
    (array([[4., 3.]]), 2.5)
    >>> network.step(X, Y, alpha=0.25).W[2].T
    array([[1.5, 2.5]])
    """

    W: Mapping[int, Array]
    sigma: Mapping[int, Transition]
    loss: LossFunction

    @classmethod
    def from_lists(
        cls,
        W: Sequence[Array],
        sigma: Sequence[str | Transition],
        loss: str | LossFunction,
    ) -> Network:
        """A network from [W_1, …, W_L] and [σ_1, …, σ_L]; a σ_l and the loss may be given by name.

        Raises `InputError` if the lists differ in length or a name is unknown.
        """
        if len(W) != len(sigma):
            raise InputError(f"W has {len(W)} layers, sigma has {len(sigma)}; expected as many.")
        transitions = [activation(s) if isinstance(s, str) else s for s in sigma]
        return cls(
            W=dict(enumerate(W, start=1)),
            sigma=dict(enumerate(transitions, start=1)),
            loss=loss_named(loss) if isinstance(loss, str) else loss,
        )

    def forward(self, X: Array) -> tuple[Layers, Layers]:
        """FORWARD-PASS: (A, Z), where Z[L] is h(X)."""
        return forward_pass(self.W, X, self.sigma)

    def trace(self, X: Array, Y: Array) -> Trace:
        """FORWARD-PASS, the loss, BACKWARDPROP."""
        A, Z = self.forward(X)
        loss = self.loss(Z[len(self.W)], Y)
        delta, dL_dW = backward_prop(self.W, A, Z, Y, self.sigma, self.loss)
        return Trace(A, Z, delta, dL_dW, loss)

    def step(self, X: Array, Y: Array, alpha: float) -> Network:
        """The network after one W_l ← W_l − α ∂L/∂W_l for every l; this one is not changed."""
        return replace(self, W=update(self.W, self.trace(X, Y).dL_dW, alpha))

    def _repr_html_(self) -> str:
        """For a notebook: one row for each layer."""
        return network_table(self.W, self.sigma, self.loss)
