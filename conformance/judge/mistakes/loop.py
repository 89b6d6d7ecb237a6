"""FORWARD-PASS, BACKWARDPROP and the update once more, each step a function that a fault may replace.

`STEPS` are refbp's own lines. A fault wraps some of them: it is given the right step and returns the
wrong one, so that two faults in one step are one inside the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

import refbp
from conformance.model.problem import Floats, Problem, Trace

__all__ = ["STEPS", "Loop", "State", "Step", "Wrap", "outcome", "planted", "state_of"]

Step = Callable[..., Any]
Wrap = Callable[[Step], Step]
"""From the right step to the wrong one."""


@dataclass
class State:
    """What has been computed so far, with Z_0 = X; and on the batch before, where that had its shapes."""

    p: Problem
    A: dict[int, Floats] = field(default_factory=dict)
    Z: dict[int, Floats] = field(default_factory=dict)
    delta: dict[int, Floats] = field(default_factory=dict)
    dW: dict[int, Floats] = field(default_factory=dict)
    W_new: dict[int, Floats] = field(default_factory=dict)
    past: State | None = None
    runs: int = 0  # how often the network has run

    @property
    def n(self) -> int:
        return len(self.p.X)

    @property
    def L(self) -> int:
        return self.p.depth

    def sigma(self, l: int) -> Any:
        """σ_l."""
        return refbp.activation(self.p.sigma[l])

    def named(self, activation: str) -> Any:
        """Another σ."""
        return refbp.activation(activation)

    def before(self, l: int) -> Floats:
        """Z̃_{l-1}: with the constant unit, where there is a bias."""
        return self.p.operand(self.Z[l - 1])

    def loss(self) -> Any:
        """L."""
        return refbp.loss(self.p.loss)

    def earlier(self) -> State:
        """The batch before; this one, where there was none."""
        return self.past or self

    def copy(self) -> State:
        """The same arrays in other dicts: a step may put others in their place."""
        A, Z, delta = dict(self.A), dict(self.Z), dict(self.delta)
        return replace(self, A=A, Z=Z, delta=delta, dW=dict(self.dW), W_new=dict(self.W_new))


def _number(s: State, x: float) -> Any:
    return s.p.dtype.type(x)


STEPS: Mapping[str, Step] = {
    "A": lambda s, l: s.before(l) @ s.p.W[l],
    "Z": lambda s, l: s.sigma(l)(s.A[l]),
    "loss": lambda s: np.asarray(s.loss()(s.Z[s.L], s.p.Y)),
    "G_L": lambda s: s.loss().gradient(s.Z[s.L], s.p.Y),
    "G": lambda s, l: s.delta[l + 1] @ s.p.weights(l + 1).T,
    "delta": lambda s, l, G: s.sigma(l).vjp(s.A[l], G),
    "dW": lambda s, l: s.before(l).T @ s.delta[l],
    "W_new": lambda s, l: s.p.W[l] - _number(s, s.p.alpha) * s.dW[l],
}
"""The lines of refbp.algorithm; G is ∂L/∂Z_l, what δ_l is made of."""


def planted(*wrong: Mapping[str, Wrap]) -> dict[str, Step]:
    """The steps with faults in them, a later one around an earlier."""
    steps = dict(STEPS)
    for fault in wrong:
        for name, wrap in fault.items():
            steps[name] = wrap(steps[name])
    return steps


class Loop:
    """The procedures with those steps: an implementation. It keeps what it computed before."""

    name, description, like = "planted", "refbp's procedures with a fault", "refbp"

    def __init__(self, steps: Mapping[str, Step] = STEPS) -> None:
        self.steps = steps
        self.past: dict[Any, State] = {}
        self.runs = 0

    def start(self) -> tuple[dict[str, str], str]:
        """NumPy alone."""
        return {}, "cpu"

    def run(self, p: Problem) -> Trace:
        """The trace of one problem."""
        shapes = (p.X.shape, p.Y.shape, tuple(M.shape for M in p.W.values()))
        s = State(p, past=self.past.get(shapes), runs=self.runs)
        self.runs += 1
        do, L = self.steps, p.depth
        s.Z[0] = p.X
        for l in range(1, L + 1):
            s.A[l] = do["A"](s, l)
            s.Z[l] = do["Z"](s, l)
        loss = do["loss"](s)
        for l in range(L, 0, -1):
            G = do["G_L"](s) if l == L else do["G"](s, l)
            s.delta[l] = do["delta"](s, l, G)
            s.dW[l] = do["dW"](s, l)
        for l in range(1, L + 1):
            s.W_new[l] = do["W_new"](s, l)
        self.past[shapes] = replace(s, past=None)
        Z = {l: s.Z[l] for l in range(1, L + 1)}
        return Trace(s.A, Z, s.delta, s.dW, s.W_new, loss)


def state_of(p: Problem, t: Trace, past: Trace | None = None, of: Problem | None = None) -> State:
    """What somebody's trace says was computed; `past` is their trace of the batch `of`, before it."""
    Z = {0: p.X, **t.Z}
    earlier = state_of(of, past) if past is not None and of is not None else None
    return State(p, dict(t.A), Z, dict(t.delta), dict(t.dW), dict(t.W_new), earlier)


def outcome(s: State, steps: Mapping[str, Step], quantity: str, l: int) -> Floats:
    """One step alone, on what the state holds. Raises KeyError where that is not enough."""
    s = s.copy()
    if quantity == "delta":
        G = steps["G_L"](s) if l == s.L else steps["G"](s, l)
        return np.asarray(steps["delta"](s, l, G))
    if quantity == "loss":
        return np.asarray(steps["loss"](s))
    return np.asarray(steps[quantity](s, l))
