"""Which quantity of which network an array is, by its numbers, up to a factor and its layout.

A user's code computes one small network with random numbers. Each array that results is compared with A, Z,
δ, ∂L/∂W, b's part of it, the loss and the new W of the same network with every σ and every loss: it is that
quantity if the two are proportional. The factor is the scale.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from conformance.cases.checked import SIGMAS, ProblemError, checked
from conformance.commands.wire.leaves import Leaf
from conformance.judge.mistakes.loop import Loop
from conformance.model.problem import SCALES, Floats, Problem, Trace
from conformance.truth.definitions import LOSSES

__all__ = ["WEIGHTS", "Fit", "Network", "fits", "times"]

CLOSE: Mapping[str, float] = {"float64": 1e-7, "float32": 1e-4}
"""How far two arrays may be from proportional, relative to their size: a formula that loses digits is not
another function."""
WEIGHTS = ("dW", "absorbed", "W_new")
"""Quantities of W_l; "absorbed" is ∂L/∂W_l with that of b_l in it."""
FIRST = ("sigmoid", "tanh", "relu", "identity", "softmax")
"""The σ that people use most, which are tried before the others."""


class Network(NamedTuple):
    """σ of the hidden layers, σ_L and the loss."""

    hidden: str
    last: str
    loss: str


@dataclass(frozen=True)
class Fit:
    """What the leaves are, in one network: {path: (quantity, layer, factor)}."""

    network: Network
    found: Mapping[tuple[Any, ...], tuple[str, int, float]]

    @property
    def score(self) -> tuple[int, int]:
        """How many leaves are explained, gradients first."""
        gradients = sum(q in (*WEIGHTS, "db", "b_new") for q, _, _ in self.found.values())
        return gradients, len(self.found)

    def layers(self, *quantities: str) -> set[int]:
        """The layers for which one of these quantities was found."""
        return {l for q, l, _ in self.found.values() if q in quantities}


def fits(p: Problem, leaves: Sequence[Leaf], networks: Sequence[Network] = ()) -> Iterator[Fit]:
    """Each network, of all or of these, with what the leaves are in it."""
    for network in networks or _every():
        named = dict.fromkeys(range(1, p.depth), network.hidden) | {p.depth: network.last}
        try:
            other = checked(replace(p, sigma=named, loss=network.loss))
        except ProblemError:  # the loss does not fit this σ_L or these targets
            continue
        with np.errstate(all="ignore"):
            expected = _expected(other, Loop().run(other))
        found = {}
        for leaf in leaves:
            if (what := _what(leaf, expected, other)) is not None:
                found[leaf.path] = what
        if found:
            yield Fit(network, found)


def _every() -> Iterator[Network]:
    names = dict.fromkeys((*FIRST, *SIGMAS))
    hidden = [s for s in names if s not in ("softmax", "log_softmax")]
    return (Network(*of) for of in product(hidden, names, LOSSES))


def _expected(p: Problem, t: Trace) -> dict[tuple[str, int], Floats]:
    """Each quantity in the notes' layout; biases are separate."""
    found: dict[tuple[str, int], Floats] = {}
    for l in range(1, p.depth + 1):
        above = slice(0, len(p.weights(l)))  # the bias's row is below
        found["dW", l] = t.dW[l][above]
        if p.bias:  # before δ, which is the same for one example
            found["db", l] = t.dW[l][-1:]
        found["delta", l], found["Z", l], found["A", l] = t.delta[l], t.Z[l], t.A[l]
        found["W_new", l] = t.W_new[l][above] - p.weights(l)
        if p.bias:
            found["b_new", l] = t.W_new[l][-1:] - p.W[l][-1:]
            found["absorbed", l] = t.dW[l]
    found["loss", p.depth] = np.asarray(t.loss).reshape(1, 1)
    return found


def _what(
    leaf: Leaf, expected: Mapping[tuple[str, int], Floats], p: Problem
) -> tuple[str, int, float] | None:
    given = {("W_new", l): p.weights(l) for l in p.W}
    given |= {("b_new", l): M[-1:] for l, M in p.W.items()}
    close = CLOSE.get(leaf.dtype, CLOSE["float64"])
    for (q, l), E in expected.items():
        for V in _laid(leaf.value, E.shape):
            factor = _factor(V - given.get((q, l), 0), E, close)  # new weights differ by αc ∂L/∂W
            if factor is not None and _may_be(q, factor, p, close):
                return q, l, factor
    return None


def _may_be(q: str, factor: float, p: Problem, close: float) -> bool:
    """Whether a factor is possible. A and Z have no scale. Any two numbers are proportional: one counts as
    the loss only by the factor of a scale."""
    if q in ("A", "Z"):
        return abs(factor - 1) < close
    return q != "loss" or any(abs(factor / times(p, s) - 1) < close for s in SCALES)


def _laid(V: Floats, shape: tuple[int, ...]) -> Iterator[Floats]:
    """The array in each layout that has that shape."""
    if V.ndim < 2 and V.size == shape[0] * shape[1] and 1 in shape:
        yield V.reshape(shape)
    if V.ndim == 2:
        for M in (V, V.T):
            if M.shape == shape:
                yield M
                if shape[0] > 1:
                    yield np.roll(M, -1, axis=0)  # the bias's row first


def _factor(V: Floats, E: Floats, close: float) -> float | None:
    """c, if V = cE; else None."""
    size = float((E * E).sum())
    if not size or not np.isfinite(V).all() or not np.isfinite(size):
        return None
    c = float((V * E).sum()) / size
    return c if c and np.abs(V - c * E).max() <= close * np.abs(V).max() else None


def times(p: Problem, scale: str) -> float:
    """How many times the gradient of the mean the gradient of that scale is."""
    before, after = replace(p, scale=scale).divisors
    return len(p.X) / (before * after)
