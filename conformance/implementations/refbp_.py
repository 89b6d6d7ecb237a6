"""refbp: the course notes' FORWARD-PASS and BACKWARDPROP. The one file here that imports them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

import refbp
from conformance.model.problem import QUANTITIES, Problem, Trace
from refbp.activations import Function
from refbp.types import Array, LossFunction, Transition

if TYPE_CHECKING:
    from conformance.implementations import Row

__all__ = ["Refbp", "elementwise"]


def elementwise(name: str, sigma: Function, sigma_prime: Function) -> refbp.Elementwise:
    """A user's own σ, as refbp takes one."""
    return refbp.Elementwise(name, sigma, sigma_prime)


class Refbp:
    """The two procedures, with the bias absorbed into W as the notes assume."""

    def __init__(self, name: str, row: Row) -> None:
        self.name, self.description = name, row.description
        self.own: dict[str, refbp.Elementwise] = {}  # σ that refbp has no row for

    def start(self) -> tuple[Mapping[str, str], str]:
        """NumPy alone, always on the CPU."""
        return {"refbp": refbp.__version__, "numpy": np.__version__}, "cpu"

    def run(self, problem: Problem) -> Trace:
        """Forward, backward and update; with a bias, the columns of the constant unit are then left out."""
        sigma = {l: self.own.get(s) or refbp.activation(s) for l, s in problem.sigma.items()}
        loss = refbp.loss(problem.loss)
        if not problem.bias:
            return self._trace(problem, problem.W, problem.X, sigma, loss)
        W, b = ({l: M[s] for l, M in problem.W.items()} for s in (slice(-1), -1))
        absorbed = self._trace(
            problem,
            refbp.absorb(W, b),
            refbp.with_ones(problem.X),
            refbp.with_constant_units(sigma),
            loss,
        )
        L = problem.depth

        def units(M: Mapping[int, Array]) -> dict[int, Array]:
            return {l: M[l] if l == L else M[l][:, :-1] for l in range(1, L + 1)}

        return Trace(**{q: units(absorbed.layers(q)) for q in QUANTITIES}, loss=absorbed.loss)

    def _trace(
        self,
        problem: Problem,
        W: Mapping[int, Array],
        X: Array,
        sigma: Mapping[int, Transition],
        loss: LossFunction,
    ) -> Trace:
        A, Z = refbp.forward_pass(W, X, sigma)
        delta, dW = refbp.backward_prop(W, A, Z, problem.Y, sigma, loss)
        W_new = refbp.update(W, dW, problem.alpha)
        return Trace(
            A, {l: Z[l] for l in A}, delta, dW, W_new, np.asarray(loss(Z[max(Z)], problem.Y))
        )
