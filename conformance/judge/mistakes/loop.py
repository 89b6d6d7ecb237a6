"""FORWARD-PASS, BACKWARDPROP and the update once more, each step a function that a fault may replace.

`STEPS` are refbp's own lines. A fault has, for each step that it changes, a function from the right step to a
wrong one. So of two faults in one step, one wraps the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

import refbp
from conformance.model.problem import Floats, Problem, Trace
from refbp.activations import Activation
from refbp.losses import Loss

__all__ = ["STEPS", "Loop", "State", "Step", "Wrap", "outcome", "planted", "state_of"]

Step = Callable[..., Floats]
"""A step: a function of a State and, as in STEPS, of l, or of l and G."""
Wrap = Callable[[Step], Step]
"""A function from the right step to the wrong one."""


@dataclass
class State:
    """What has been computed so far, with Z_0 = X. `past` is the state after the previous batch, if that had
    the same shapes."""

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

    def sigma(self, l: int) -> Activation:
        """σ_l."""
        return refbp.activation(self.p.sigma[l])

    def named(self, activation: str) -> Activation:
        """Another σ."""
        return refbp.activation(activation)

    def before(self, l: int) -> Floats:
        """Z̃_{l-1}: with the constant unit, where there is a bias."""
        return self.p.operand(self.Z[l - 1])

    def loss(self) -> Loss:
        """L, and its gradient as δ_L starts from it."""
        loss, n, (before, after) = refbp.loss(self.p.loss), self.n, self.p.divisors
        if (before, after) == (n, 1):
            return loss
        number = self.p.dtype.type
        return Loss(
            loss.name,
            lambda Z, Y: loss.value(Z, Y) * number(n / (before * after)),
            lambda Z, Y: loss.dL_dZ(Z, Y) * number(n / before),
        )

    def earlier(self) -> State:
        """The state after the previous batch; this state, if there was none."""
        return self.past or self

    def copy(self) -> State:
        """The same arrays in other dicts, whose entries a step may replace."""
        A, Z, delta = dict(self.A), dict(self.Z), dict(self.delta)
        return replace(self, A=A, Z=Z, delta=delta, dW=dict(self.dW), W_new=dict(self.W_new))


STEPS: Mapping[str, Step] = {
    "A": lambda s, l: s.before(l) @ s.p.W[l],
    "Z": lambda s, l: s.sigma(l)(s.A[l]),
    "loss": lambda s: np.asarray(s.loss()(s.Z[s.L], s.p.Y)),
    "G_L": lambda s: s.loss().gradient(s.Z[s.L], s.p.Y),
    "G": lambda s, l: s.delta[l + 1] @ s.p.weights(l + 1).T,
    "delta": lambda s, l, G: s.sigma(l).vjp(s.A[l], G),
    "dW": lambda s, l: s.before(l).T @ s.delta[l] / s.p.dtype.type(s.p.divisors[1]),
    "W_new": lambda s, l: s.p.W[l] - s.p.dtype.type(s.p.alpha) * s.dW[l],
}
"""The lines of refbp.algorithm; G is ∂L/∂Z_l, from which δ_l is computed."""


def planted(*faults: Mapping[str, Wrap]) -> dict[str, Step]:
    """The steps with faults in them; a later fault wraps an earlier one."""
    steps = dict(STEPS)
    for fault in faults:
        for name, wrap in fault.items():
            steps[name] = wrap(steps[name])
    return steps


class Loop:
    """An implementation: the two procedures and the update, made of these steps. It keeps the state of the
    last batch of each shape, which a fault may use by mistake."""

    name, description, like = "planted", "refbp's procedures with a fault", "refbp"

    def __init__(self, steps: Mapping[str, Step] = STEPS) -> None:
        self.steps = steps
        self.past: dict[tuple[tuple[int, ...], ...], State] = {}
        self.runs = 0

    def start(self) -> tuple[dict[str, str], str]:
        """Nothing to start: it needs NumPy alone."""
        return {}, "cpu"

    def run(self, p: Problem) -> Trace:
        """The trace of one problem."""
        shapes = tuple(M.shape for M in (p.X, p.Y, *p.W.values()))
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


def state_of(p: Problem, t: Trace, past: State | None = None) -> State:
    """The state of an implementation that returned this trace; `past` is that of the previous batch."""
    Z = {0: p.X, **t.Z}
    return State(p, dict(t.A), Z, dict(t.delta), dict(t.dW), dict(t.W_new), past)


def outcome(s: State, steps: Mapping[str, Step], quantity: str, l: int) -> Floats:
    """What one step gives on the operands in the state. Raises KeyError if an operand is missing."""
    s = s.copy()  # a step may overwrite what was computed before it
    if quantity == "delta":
        G = steps["G_L"](s) if l == s.L else steps["G"](s, l)
        return np.asarray(steps["delta"](s, l, G))
    if quantity == "loss":
        return np.asarray(steps["loss"](s))
    return np.asarray(steps[quantity](s, l))
