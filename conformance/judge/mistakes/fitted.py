"""Faults with a number in them, of which the table has one: the number is found from what stands there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from conformance.judge.mistakes.loop import State, Wrap
from conformance.model.problem import Floats

__all__ = ["FITTED"]


class Seen(Protocol):
    """A quantity of one layer as it is, and as it should be."""

    @property
    def layer(self) -> int:
        """l."""
        ...

    @property
    def value(self) -> Floats:
        """As it is."""
        ...

    @property
    def right(self) -> Floats:
        """As it should be."""
        ...


Fit = Callable[[State, Seen], Iterator[Mapping[str, Wrap]]]


def _is(step: str, M: Floats) -> Mapping[str, Wrap]:
    """The step gives just that."""
    return {step: lambda right: lambda *of: M}


def _clipped(step: str) -> Fit:
    """Clipped to ±c, for c the largest there is: two or more are at ±c and as many below it, or c is a
    number that somebody would write down."""

    def fit(s: State, seen: Seen) -> Iterator[Mapping[str, Wrap]]:
        size = np.abs(seen.value)
        c = float(size.max())
        at, below = int((size == c).sum()), int(((size < c) & (size > 0)).sum())
        written = _round(c) and (below >= 2 or at == size.size > 1)
        if c > 0 and ((at >= 2 and below >= 1) or written):
            yield _is(step, np.clip(seen.right, -c, c))

    return fit


def _round(c: float) -> bool:
    """Whether somebody would have written that number down: three digits, or a power of two."""
    return abs(c - float(f"{c:.3g}")) <= 1e-6 * abs(c)


def _norm_clipped(s: State, seen: Seen) -> Iterator[Mapping[str, Wrap]]:
    """Scaled down to a norm that somebody would have written down."""
    norm, was = float(np.linalg.norm(seen.value)), float(np.linalg.norm(seen.right))
    if 0 < norm < was and _round(norm):
        yield _is("dW", seen.right * (norm / was))


def _decayed(s: State, seen: Seen) -> Iterator[Mapping[str, Wrap]]:
    """λ W or λ sign W added, to the bias too or not: λ by least squares."""
    W = s.p.W[seen.layer].astype(float)
    weights = W.copy()
    if s.p.bias:
        weights[-1] = 0
    for of in (W, weights, np.sign(W), np.sign(weights)):
        size = float((of * of).sum())
        if size:
            decay = float(((seen.value - seen.right) * of).sum()) / size
            yield _is("dW", seen.right + decay * of)


def _zeroed(step: str) -> Fit:
    """0 for everything up to the largest that is 0."""

    def fit(s: State, seen: Seen) -> Iterator[Mapping[str, Wrap]]:
        gone = np.abs(seen.right[seen.value == 0])
        if gone.size and 0 < gone.max() < np.abs(seen.right).max():
            yield _is(step, np.where(np.abs(seen.right) <= gone.max(), 0.0, seen.right))

    return fit


def _floored(s: State, seen: Seen) -> Iterator[Mapping[str, Wrap]]:
    """max(σ', c), for the smallest |δ|/|G| there is."""
    l = seen.layer
    G = s.loss().gradient(s.Z[s.L], s.p.Y) if l == s.L else s.delta[l + 1] @ s.p.weights(l + 1).T
    D = np.asarray(s.sigma(l).derivative(s.A[l]), float)
    used = (G != 0) & (seen.value != seen.right)
    if used.any():
        c = float(np.median(np.abs(seen.value[used] / G[used])))
        if c > 0.05:  # nobody keeps σ' from falling below that
            return
        yield _is("delta", np.where(np.abs(D) < c, G * c, seen.right))


def _limited(s: State, seen: Seen) -> Iterator[Mapping[str, Wrap]]:
    """σ at A clipped to ±c, for limits that people choose."""
    for c in (1, 3, 5, 6, 10, 15, 30, 50, 60, 88, 100, 500, 700, 709):
        yield _is("Z", s.sigma(seen.layer)(np.clip(s.A[seen.layer], -c, c)))


def _dropped(s: State, seen: Seen) -> Iterator[Mapping[str, Wrap]]:
    """0 where it is 0, and elsewhere one factor, more than 1."""
    kept = (seen.value != 0) & (seen.right != 0)
    if kept.any() and (seen.value[seen.right != 0] == 0).any():
        c = float(np.median(seen.value[kept] / seen.right[kept]))
        if c > 1.01:  # what is kept is scaled up; else it is no dropout
            yield _is("Z", np.where(seen.value == 0, 0.0, seen.right * c))


def _kept_off(s: State, seen: Seen) -> Iterator[Mapping[str, Wrap]]:
    """Clipped to [c, 1 − c], for the smallest output there is, if somebody would write that down."""
    c = float(seen.value.min())
    if 0 < c < 0.1 and _round(c) and (seen.value > c).any():
        yield _is("Z", np.clip(seen.right, c, 1 - c))


def _probabilities(s: State, seen: Seen) -> Iterator[Mapping[str, Wrap]]:
    """∂L/∂Z_L at outputs clipped to [c, 1 − c], for limits that people choose."""
    for c in (1e-5, 1e-6, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15, 1e-16):
        yield {"G_L": _at_clipped(c)}


def _at_clipped(c: float) -> Wrap:
    def step(s: State) -> Any:
        Z = np.clip(s.Z[s.L], c, 1 - c).astype(s.p.dtype)
        return s.loss().gradient(Z, s.p.Y)

    return lambda right: step


def _smoothing(s: State, seen: Seen) -> Iterator[Mapping[str, Wrap]]:
    """∂L/∂Z_L with smoothed targets, for the amounts that people choose."""
    for e in (0.2, 0.05, 0.01):
        yield {"G_L": _at_smoothed(e)}


def _at_smoothed(e: float) -> Wrap:
    def step(s: State) -> Any:
        Y = s.p.Y * s.p.dtype.type(1 - e) + s.p.dtype.type(e / s.p.Y.shape[1])
        return s.loss().gradient(s.Z[s.L], Y)

    return lambda right: step


FITTED: Mapping[str, Fit] = {
    "targets-smoothed": _smoothing,
    "dropout-left-on": _dropped,
    "delta-clipped": _clipped("delta"),
    "gradient-clipped": _clipped("dW"),
    "gradient-norm-clipped": _norm_clipped,
    "gradient-decayed": _decayed,
    "gradient-small-zeroed": _zeroed("dW"),
    "derivative-floored": _floored,
    "pre-activation-clipped": _limited,
    "output-clipped": _kept_off,
    "probabilities-clipped": _probabilities,
}
