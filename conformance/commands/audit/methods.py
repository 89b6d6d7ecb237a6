"""The right values of what an equation may declare beside plain gradient descent, by definition.

`METHODS` has a row for each: weight decay, momentum, Adam, batch norm and their common variants. A row names
the numbers (λ, β, …) and the state (velocity, moments, γ and β of batch norm) that an equation may then read.
Gradients are complex steps, as in `right.py`; an optimizer's rule is written out as its paper has it.
"""

# mypy: disable-error-code="no-any-return"
# NumPy types the arithmetic of NDArray[Any] as Any.

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from conformance.commands.audit.right import Matrix, Right

__all__ = ["METHODS", "NUMBERS", "Method", "method_named", "offering"]

Matrices = dict[int, Matrix]


@dataclass(frozen=True)
class WeightDecay(Right):
    """J = L + λ/2 Σ_l ‖W_l‖², and its gradient descent."""

    lam: float

    def _penalty(self, M: Matrix) -> Matrix:
        return self.lam / 2 * (M * M).sum()

    @cached_property
    def J(self) -> Matrix:
        """L + λ/2 Σ_l ‖W_l‖², one number."""
        return np.asarray(self.loss + sum(self._penalty(M) for M in self.W.values()))

    @cached_property
    def dJ_dW(self) -> Matrices:
        """∂J/∂W_l, d_{l-1}×d_l."""

        def of(l: int, M: Matrix) -> Matrix:
            return np.asarray(self.after(l, self.activate(l, self.Z[l - 1] @ M))) + self._penalty(M)

        return self._gradient(of, self.W)

    @cached_property
    def W_new(self) -> Matrices:
        """W_l − α ∂J/∂W_l."""
        return {l: M - self.alpha * self.dJ_dW[l] for l, M in self.W.items()}


@dataclass(frozen=True)
class _WithVelocity(Right):
    """Base of the momentum methods: β, and the velocity v_l before the step."""

    beta: float
    v: Mapping[int, Matrix]


class Momentum(_WithVelocity):
    """v_l ← β v_l + ∂L/∂W_l, W_l ← W_l − α v_l: as PyTorch has it."""

    @cached_property
    def v_new(self) -> Matrices:
        """The velocity after the step, d_{l-1}×d_l."""
        return {l: self.beta * self.v[l] + g for l, g in self.dL_dW.items()}

    @cached_property
    def W_new(self) -> Matrices:
        """The weights after the step."""
        return {l: M - self.alpha * self.v_new[l] for l, M in self.W.items()}


class SteppedMomentum(_WithVelocity):
    """v_l ← β v_l − α ∂L/∂W_l, W_l ← W_l + v_l: Polyak's, as Keras has it."""

    @cached_property
    def v_new(self) -> Matrices:
        """The velocity after the step, d_{l-1}×d_l."""
        return {l: self.beta * self.v[l] - self.alpha * g for l, g in self.dL_dW.items()}

    @cached_property
    def W_new(self) -> Matrices:
        """The weights after the step."""
        return {l: M + self.v_new[l] for l, M in self.W.items()}


class AveragedMomentum(_WithVelocity):
    """v_l ← β v_l + (1 − β) ∂L/∂W_l, W_l ← W_l − α v_l: a moving average of gradients."""

    @cached_property
    def v_new(self) -> Matrices:
        """The velocity after the step, d_{l-1}×d_l."""
        return {l: self.beta * self.v[l] + (1 - self.beta) * g for l, g in self.dL_dW.items()}

    @cached_property
    def W_new(self) -> Matrices:
        """The weights after the step."""
        return {l: M - self.alpha * self.v_new[l] for l, M in self.W.items()}


class Nesterov(_WithVelocity):
    """v_l ← β v_l + ∂L/∂W_l, W_l ← W_l − α (∂L/∂W_l + β v_l): as PyTorch has it."""

    @cached_property
    def v_new(self) -> Matrices:
        """The velocity after the step, d_{l-1}×d_l."""
        return {l: self.beta * self.v[l] + g for l, g in self.dL_dW.items()}

    @cached_property
    def W_new(self) -> Matrices:
        """The weights after the step."""
        step = {l: g + self.beta * self.v_new[l] for l, g in self.dL_dW.items()}
        return {l: M - self.alpha * step[l] for l, M in self.W.items()}


@dataclass(frozen=True)
class Adam(Right):
    """Adam (Kingma and Ba, algorithm 1), at step t; with λ not 0, AdamW (Loshchilov and Hutter)."""

    beta1: float
    beta2: float
    epsilon: float
    t: int
    m: Mapping[int, Matrix]
    v: Mapping[int, Matrix]
    lam: float = 0.0

    @cached_property
    def m_new(self) -> Matrices:
        """β_1 m_l + (1 − β_1) ∂L/∂W_l, d_{l-1}×d_l."""
        return {l: self.beta1 * self.m[l] + (1 - self.beta1) * g for l, g in self.dL_dW.items()}

    @cached_property
    def v_new(self) -> Matrices:
        """β_2 v_l + (1 − β_2) (∂L/∂W_l)², element by element."""
        return {l: self.beta2 * self.v[l] + (1 - self.beta2) * g**2 for l, g in self.dL_dW.items()}

    @cached_property
    def m_hat(self) -> Matrices:
        """The new m_l over 1 − β_1^t."""
        return {l: M / (1 - self.beta1**self.t) for l, M in self.m_new.items()}

    @cached_property
    def v_hat(self) -> Matrices:
        """The new v_l over 1 − β_2^t."""
        return {l: M / (1 - self.beta2**self.t) for l, M in self.v_new.items()}

    @cached_property
    def W_new(self) -> Matrices:
        """W_l − α (m̂_l / (√v̂_l + ε) + λ W_l)."""
        step = {l: M / (np.sqrt(self.v_hat[l]) + self.epsilon) for l, M in self.m_hat.items()}
        return {l: M - self.alpha * (step[l] + self.lam * M) for l, M in self.W.items()}


@dataclass(frozen=True)
class BatchNorm(Right):
    """Z_l = σ_l(N_l), N_l = γ_l ⊙ Â_l + β_l: batch norm between A_l and σ_l, in every layer.

    Mean and variance are those of the batch, the variance divided by n.
    """

    gamma: Mapping[int, Matrix]
    beta: Mapping[int, Matrix]
    epsilon: float

    def activate(self, l: int, A: Matrix) -> Matrix:
        """Z_l of A_l, n×d_l."""
        return self._after_norm(l, self._scaled(l, self._normal(A)))

    def _after_norm(self, l: int, N: Matrix) -> Matrix:
        return super().activate(l, N)

    def _scaled(self, l: int, A_hat: Matrix) -> Matrix:
        return self.gamma[l] * A_hat + self.beta[l]

    def _normal(self, A: Matrix, mu: Matrix | None = None, var: Matrix | None = None) -> Matrix:
        mu = A.mean(axis=0) if mu is None else mu
        var = ((A - mu) ** 2).mean(axis=0) if var is None else var
        return (A - mu) / np.sqrt(var + self.epsilon)

    @cached_property
    def mu(self) -> Matrices:
        """The mean of A_l over the batch, d_l."""
        return {l: A.mean(axis=0) for l, A in self.A.items()}

    @cached_property
    def var(self) -> Matrices:
        """The mean of (A_l − μ_l)² over the batch, d_l."""
        return {l: ((A - self.mu[l]) ** 2).mean(axis=0) for l, A in self.A.items()}

    @cached_property
    def A_hat(self) -> Matrices:
        """(A_l − μ_l) / √(var_l + ε), n×d_l."""
        return {l: self._normal(A) for l, A in self.A.items()}

    @cached_property
    def N(self) -> Matrices:
        """γ_l ⊙ Â_l + β_l, n×d_l."""
        return {l: self._scaled(l, A_hat) for l, A_hat in self.A_hat.items()}

    @cached_property
    def dL_dN(self) -> Matrices:
        """∂L/∂N_l, n×d_l."""
        return self._gradient(lambda l, N: self.after(l, self._after_norm(l, N)), self.N)

    def _by(self, N_of: Callable[[int, Matrix], Matrix], at: Mapping[int, Matrix]) -> Matrices:
        """∂L/∂M where N_l is a function of M."""
        return self._gradient(lambda l, M: self.after(l, self._after_norm(l, N_of(l, M))), at)

    @cached_property
    def dL_dA_hat(self) -> Matrices:
        """∂L/∂Â_l, n×d_l."""
        return self._by(self._scaled, self.A_hat)

    @cached_property
    def dL_dgamma(self) -> Matrices:
        """∂L/∂γ_l, d_l."""
        return self._by(lambda l, g: g * self.A_hat[l] + self.beta[l], self.gamma)

    @cached_property
    def dL_dbeta(self) -> Matrices:
        """∂L/∂β_l, d_l."""
        return self._by(lambda l, b: self.gamma[l] * self.A_hat[l] + b, self.beta)

    @cached_property
    def dL_dvar(self) -> Matrices:
        """∂L/∂var_l with A_l and μ_l fixed, d_l."""
        return self._by(
            lambda l, var: self._scaled(l, self._normal(self.A[l], self.mu[l], var)), self.var
        )

    @cached_property
    def dL_dmu(self) -> Matrices:
        """∂L/∂μ_l with A_l and var_l fixed, d_l; through var_l it depends on μ_l by 0."""
        return self._by(
            lambda l, mu: self._scaled(l, self._normal(self.A[l], mu, self.var[l])), self.mu
        )

    @cached_property
    def dL_db(self) -> Matrices:
        """None: the mean that is subtracted takes any b_l with it."""
        return {}


# ---- the table ---------------------------------------------------------------------------------------


class Method(NamedTuple):
    """One row of `METHODS`.

    `rule`: what is right, in a line. `kind`: the class that has it. `numbers` and `state`: what its
    constructor takes, and how each is written; `gives`: what it has besides, which an equation may equal or
    read.
    """

    rule: str
    kind: type[Right]
    numbers: Mapping[str, str] = {}
    state: Mapping[str, str] = {}
    gives: Mapping[str, str] = {}

    @property
    def symbols(self) -> dict[str, str]:
        """Everything that an equation may read of it, and how that is written."""
        return {**self.numbers, **self.state, **self.gives}


_VELOCITY = {"v": "v"}
_NEW_VELOCITY = {"v_new": "new v"}
_MOMENTS = {"m": "m", "v": "v"}
_NEW_MOMENTS = {"m_new": "new m", "v_new": "new v", "m_hat": "m̂", "v_hat": "v̂"}
_ADAM = {"beta1": "β_1", "beta2": "β_2", "epsilon": "ε", "t": "t"}
_NORM = {
    "mu": "μ", "var": "var", "A_hat": "Â", "N": "N", "dL_dN": "∂L/∂N", "dL_dA_hat": "∂L/∂Â",
    "dL_dgamma": "∂L/∂γ", "dL_dbeta": "∂L/∂β", "dL_dvar": "∂L/∂var", "dL_dmu": "∂L/∂μ",
}  # fmt: skip

# fmt: off
METHODS: dict[str, Method] = {
    "": Method("W ← W − α ∂L/∂W", Right),
    "weight decay": Method("J = L + λ/2 Σ_l ‖W_l‖², W ← W − α ∂J/∂W", WeightDecay,
        {"lam": "λ"}, {}, {"J": "J", "dJ_dW": "∂J/∂W"}),
    "momentum": Method("v ← β v + ∂L/∂W, W ← W − α v", Momentum,
        {"beta": "β"}, _VELOCITY, _NEW_VELOCITY),
    "momentum, α in the velocity": Method("v ← β v − α ∂L/∂W, W ← W + v", SteppedMomentum,
        {"beta": "β"}, _VELOCITY, _NEW_VELOCITY),
    "momentum, averaged": Method("v ← β v + (1 − β) ∂L/∂W, W ← W − α v", AveragedMomentum,
        {"beta": "β"}, _VELOCITY, _NEW_VELOCITY),
    "Nesterov": Method("v ← β v + ∂L/∂W, W ← W − α (∂L/∂W + β v)", Nesterov,
        {"beta": "β"}, _VELOCITY, _NEW_VELOCITY),
    "Adam": Method("m ← β_1 m + (1 − β_1) ∂L/∂W, v ← β_2 v + (1 − β_2) (∂L/∂W)², m̂ = m/(1 − β_1^t), "
        "v̂ = v/(1 − β_2^t), W ← W − α m̂/(√v̂ + ε)", Adam, _ADAM, _MOMENTS, _NEW_MOMENTS),
    "AdamW": Method("as Adam, W ← W − α (m̂/(√v̂ + ε) + λ W)", Adam,
        {**_ADAM, "lam": "λ"}, _MOMENTS, _NEW_MOMENTS),
    "batch norm": Method("Z_l = σ_l(N_l), N_l = γ_l ⊙ Â_l + β_l, Â_l = (A_l − μ_l)/√(var_l + ε)",
        BatchNorm, {"epsilon": "ε"}, {"gamma": "γ", "beta": "β"}, _NORM),
}
# fmt: on
"""What an equation may declare as `method`; "" is what it is without."""

NUMBERS: dict[str, tuple[float, ...]] = {
    "lam": (0.15, 0.4, 0.65),
    "beta": (0.55, 0.7, 0.9),
    "beta1": (0.6, 0.75, 0.9),
    "beta2": (0.8, 0.85, 0.95),
    "epsilon": (0.05, 0.1, 0.2),
    "t": (2, 3, 5),
}
"""The values of λ, β, …, one of which a network takes: ε is large enough that leaving it out shows."""


def method_named(name: str) -> str | None:
    """The method of that name, however its capitals are written; None where there is none."""
    plain = " ".join(name.casefold().split())
    return next((known for known in METHODS if known.casefold() == plain), None)


def offering(attribute: str) -> list[str]:
    """The methods with such a number, state or right value."""
    return [name for name, method in METHODS.items() if attribute in method.symbols]
