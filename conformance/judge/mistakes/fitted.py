"""Faults that have a number in them (a limit, a rate): the number is found from the value that deviates.

The row of such a fault in `table` has one number; a user's code may have another. Each function here yields
the faults, with their numbers, whose outcome the value may be; `diagnosis` compares the value with each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from conformance.judge.mistakes.loop import State, Step, Wrap
from conformance.judge.mistakes.suspect import Suspect
from conformance.judge.mistakes.table import at_clipped_outputs, smoothed
from conformance.truth.rounding import Reals

__all__ = ["FITTED"]

Fit = Callable[[State, Suspect], Iterator[Mapping[str, Wrap]]]


def _instead(name: str, step: Step) -> Mapping[str, Wrap]:
    """A fault that replaces the right step."""
    return {name: lambda right: step}


def _gives(name: str, M: Reals) -> Mapping[str, Wrap]:
    """A fault whose step returns this matrix."""
    return _instead(name, lambda *operands: M)


def _written(c: float) -> bool:
    """Whether a person would write this number in code: three digits are enough for it."""
    return abs(c - float(f"{c:.3g}")) <= 1e-6 * abs(c)


def _clipped(step: str) -> Fit:
    """Clipped to ±c, where c is the largest absolute value: if two or more elements are at ±c and one or more
    below it, or if c is a number that a person would write."""

    def fit(s: State, suspect: Suspect) -> Iterator[Mapping[str, Wrap]]:
        size = np.abs(suspect.value)
        c = float(size.max())
        at, below = int((size == c).sum()), int(((size < c) & (size > 0)).sum())
        written = _written(c) and (below >= 2 or at == size.size > 1)
        if c > 0 and ((at >= 2 and below >= 1) or written):
            yield _gives(step, np.clip(suspect.right, -c, c))

    return fit


def _norm_clipped(s: State, suspect: Suspect) -> Iterator[Mapping[str, Wrap]]:
    """Scaled down to a norm that a person would write."""
    norm, right = float(np.linalg.norm(suspect.value)), float(np.linalg.norm(suspect.right))
    if 0 < norm < right and _written(norm):
        yield _gives("dW", suspect.right * (norm / right))


def _decayed(s: State, suspect: Suspect) -> Iterator[Mapping[str, Wrap]]:
    """λ W or λ sign W added, to the bias too or not: λ by least squares."""
    W = s.p.W[suspect.layer].astype(float)
    weights = W.copy()
    if s.p.bias:
        weights[-1] = 0
    for term in (W, weights, np.sign(W), np.sign(weights)):
        size = float((term * term).sum())
        if size:
            decay = float(((suspect.value - suspect.right) * term).sum()) / size
            yield _gives("dW", suspect.right + decay * term)


def _zeroed(step: str) -> Fit:
    """0 for everything up to the largest element that became 0."""

    def fit(s: State, suspect: Suspect) -> Iterator[Mapping[str, Wrap]]:
        size = np.abs(suspect.right)
        zeroed = size[suspect.value == 0]
        if zeroed.size and 0 < zeroed.max() < size.max():
            yield _gives(step, np.where(size <= zeroed.max(), 0.0, suspect.right))

    return fit


def _floored(s: State, suspect: Suspect) -> Iterator[Mapping[str, Wrap]]:
    """max(σ', c), for the median of |δ/G| where δ is wrong."""
    l = suspect.layer
    G = s.loss().gradient(s.Z[s.L], s.p.Y) if l == s.L else s.delta[l + 1] @ s.p.weights(l + 1).T
    D = np.asarray(s.sigma(l).derivative(s.A[l]), float)
    wrong = (G != 0) & (suspect.value != suspect.right)
    if wrong.any():
        c = float(np.median(np.abs(suspect.value[wrong] / G[wrong])))
        if c <= 0.05:  # nobody sets a larger floor
            yield _gives("delta", np.where(np.abs(D) < c, G * c, suspect.right))


def _limited(s: State, suspect: Suspect) -> Iterator[Mapping[str, Wrap]]:
    """σ at A clipped to ±c, for limits that people choose."""
    for c in (1, 3, 5, 6, 10, 15, 30, 50, 60, 88, 100, 500, 700, 709):
        yield _gives("Z", s.sigma(suspect.layer)(np.clip(s.A[suspect.layer], -c, c)))


def _dropped(s: State, suspect: Suspect) -> Iterator[Mapping[str, Wrap]]:
    """0 where the value is 0, and elsewhere multiplied by one factor, more than 1."""
    value, right = suspect.value, suspect.right
    kept = (value != 0) & (right != 0)
    if kept.any() and (value[right != 0] == 0).any():
        c = float(np.median(value[kept] / right[kept]))
        if c > 1.01:  # dropout scales up what it keeps
            yield _gives("Z", np.where(value == 0, 0.0, right * c))


def _kept_off(s: State, suspect: Suspect) -> Iterator[Mapping[str, Wrap]]:
    """Clipped to [c, 1 − c], where c is the smallest output, if a person would write that number."""
    c = float(suspect.value.min())
    if 0 < c < 0.1 and _written(c) and (suspect.value > c).any():
        yield _gives("Z", np.clip(suspect.right, c, 1 - c))


def _probabilities(s: State, suspect: Suspect) -> Iterator[Mapping[str, Wrap]]:
    """∂L/∂Z_L at outputs clipped to [c, 1 − c], for limits that people choose."""
    for c in (1e-5, 1e-6, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15, 1e-16):
        yield _instead("G_L", lambda s, c=c: at_clipped_outputs(s, c))


def _smoothing(s: State, suspect: Suspect) -> Iterator[Mapping[str, Wrap]]:
    """∂L/∂Z_L with smoothed targets, for the amounts that people choose."""
    for e in (0.2, 0.05, 0.01):
        yield _instead("G_L", lambda s, e=e: smoothed(s, e))


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
