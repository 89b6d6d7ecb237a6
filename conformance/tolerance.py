"""How far from the truth an implementation may be: derived, per element.

Here is what the step gate allows: a rigorous bound for one step on exact operands, into which no
error propagates. What the end-to-end gate allows is in spread.py. docs/tolerances.md derives both and
shows the evidence for the constants.

u is the unit roundoff of the dtype, `tiny` its smallest positive number (gradual underflow loses at
most half of it an operation), `normal` its smallest normal one (1/(1 + e^−a) is 0 where e^−a
overflows, which is where it falls below `normal`), k the length of an inner product.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import exp, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conformance.problem import Problem
from conformance.truth.definitions import ROW_WISE
from conformance.truth.network import Layer

__all__ = [
    "ALGEBRAIC",
    "Accuracy",
    "Arithmetic",
    "Reals",
    "StepTolerance",
    "accuracy",
    "inner",
    "loss_curvature",
    "loss_gradient_size",
    "loss_terms",
]

Reals = NDArray[np.float64]

PROBABILISTIC = 9.3
"""λ of Higham & Mary (2019), √(2 ln(2Nk/p)), for N = 1e7 entries and failure probability p = 1e-9."""


ALGEBRAIC = ("identity", "relu", "leaky_relu", "softsign", "hardtanh", "relu6", "hardsigmoid")
"""σ of sums, products, quotients and comparisons alone: no intermediate leaves the range before σ does."""


FEW = 4
"""Roundings of σ that may each lose to underflow where no exponential does: a few products."""


@dataclass(frozen=True)
class Accuracy:
    """What an implementation's σ and σ' may lose: u(c|σ| + e|a| + h) and u(c'|σ'| + g|σ| + d + f|a|)."""

    c: float
    e: float
    c1: float
    g: float
    d: float
    f: float
    h: float = 0.0  # of no implementation in the table


@dataclass(frozen=True)
class Arithmetic:
    """The floating-point arithmetic that the bounds are about."""

    u: float
    tiny: float  # what one sum or product may lose to underflow
    normal: float  # the smallest normal number: what an intermediate of σ may lose at either end

    @classmethod
    def of(cls, dtype: np.dtype[Any], flushes: bool = False) -> Arithmetic:
        """IEEE 754 of that dtype; where subnormals are flushed to zero, a whole normal is lost."""
        f = np.finfo(dtype)
        normal = float(f.smallest_normal)
        return cls(float(f.eps) / 2, normal if flushes else float(f.smallest_subnormal), normal)

    def lost(self, sigma: str, A: Reals) -> Reals:
        """What σ or σ' may lose to underflow at A, times 1 + |a|.

        A whole normal number where an exponential may underflow, which it does not for |a| < 1; else
        what a few products may.
        """
        size = np.abs(A)
        ends = (size >= 1) & (sigma not in ALGEBRAIC)
        return np.asarray(np.where(ends, self.normal, FEW * self.tiny) * (1 + size))


@cache
def _table() -> Mapping[str, Any]:
    text = files("conformance").joinpath("accuracy.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def accuracy(implementation: str, dtype: str, activation: str) -> Accuracy:
    """The row of accuracy.toml for an implementation.

    Everybody else is held to the widest there is: of the default and of what each implementation of the
    table was measured to lose, number by number.
    """
    table = _table()
    own = table.get(f"{implementation}.{dtype}", {})
    if activation in own:
        return Accuracy(*own[activation])
    rows = [table["default"].get(activation, table["default"]["any"])]
    rows += [t[activation] for n, t in table.items() if n.endswith(f".{dtype}") and activation in t]
    return Accuracy(*map(max, zip(*rows, strict=True)))


def inner(k: int, u: float) -> float:
    """E_k: relative to Σ|x_i||y_i|, what an inner product of length k may lose, in any order.

    The smaller of k·u (Jeannerod & Rump 2013) and the probabilistic bound (Higham & Mary 2019).
    """
    return min(k * u, exp((PROBABILISTIC * sqrt(k) * u + k * u * u) / (1 - u)) - 1)


@dataclass(frozen=True)
class StepTolerance:
    """The bounds of the step gate, each for one equation of the notes on the operands it was given."""

    problem: Problem
    arithmetic: Arithmetic
    accuracies: Mapping[int, Accuracy]
    fused: bool = False  # a compiler may hand Z_L on to the loss before it is rounded (FMA)

    def product(self, P: Reals, Q: Reals) -> Reals:
        """E_k |P||Q| + k·tiny."""
        k, a = P.shape[1], self.arithmetic
        bound: Reals = inner(k, a.u) * (np.abs(P) @ np.abs(Q)) + k * a.tiny
        return bound

    def pre_activation(self, l: int, Z: Reals) -> Reals:
        """A_l = Z̃_{l-1} W_l."""
        return self.product(self.problem.operand(Z), self.problem.W[l])

    def activation(self, l: int, A: Reals, exact: Layer) -> Reals:
        """Z_l = σ_l(A_l)."""
        u, lost, acc = self.arithmetic.u, self.arithmetic.normal, self.accuracies[l]
        if self.problem.sigma[l] in ROW_WISE:
            below = A.max(axis=1, keepdims=True) - A
            m = A.shape[1]
            size = np.abs(exact.Z.hi)
            if self.problem.sigma[l] == "softmax":
                return np.asarray(u * size * (acc.c + below + m) + lost)
            return np.asarray(u * (acc.c * size + below + m + 2) + lost)
        under = self.arithmetic.lost(self.problem.sigma[l], A)
        return np.asarray(u * (acc.c * np.abs(exact.Z.hi) + acc.e * np.abs(A) + acc.h) + under)

    def link(self, l: int, A: Reals, after: Reals, exact: Layer) -> Reals:
        """δ_l = G_l ⊙ σ'_l(A_l): both factors may be off, and the product is rounded."""
        u, tiny, acc = self.arithmetic.u, self.arithmetic.tiny, self.accuracies[l]
        p = self.problem
        if l == p.depth:
            G_off = 5 * u * loss_gradient_size(p, after) + tiny
            if self.fused:
                curvature, jump = loss_curvature(p, after, 1.01 * u * np.abs(after))
                G_off = G_off + 1.01 * u * curvature * np.abs(after) + jump
        else:
            G_off = self.product(after, p.weights(l + 1).T)
        G = np.abs(exact.G)
        if exact.D is None:
            return row_vjp_size(p.sigma[l], A, G, G_off, u) + tiny
        D = np.abs(exact.D)
        size = np.abs(A)
        kept = u * (acc.c1 * D + acc.g * np.abs(exact.Z.hi) + acc.d + acc.f * size)
        D_off = kept + self.arithmetic.lost(p.sigma[l], A)
        return G * D_off + D * G_off + G_off * D_off + 2.02 * u * G * D + tiny

    def weight_gradient(self, Z: Reals, delta: Reals) -> Reals:
        """∂L/∂W_l = Z̃_{l-1}ᵀ δ_l."""
        return self.product(self.problem.operand(Z).T, delta)

    def updated(self, l: int, dW: Reals) -> Reals:
        """W_l − α ∂L/∂W_l: a product and a difference, each rounded once."""
        a, step = self.arithmetic, self.problem.alpha * np.abs(dW)
        return (
            2.02 * a.u * step
            + 1.01 * a.u * np.abs(self.problem.W[l] - step)
            + 2 * a.tiny
            + (1.01 * a.u * step)
        )

    def loss(self, Z: Reals) -> Reals:
        """L: a few roundings a term, then a sum of n·d_L terms and a division."""
        a, terms = self.arithmetic, loss_terms(self.problem, Z)
        return np.asarray(
            (inner(terms.size + 8, a.u) * terms.sum() + terms.size * a.tiny) / Z.shape[0] + a.tiny
        )


def row_vjp_size(name: str, A: Reals, G: Reals, G_off: Reals, u: float) -> Reals:
    """What the vector–Jacobian product of softmax or log_softmax may lose, from |G| and its own loss.

    softmax: δ_i = s_i (G_i − Σ_j G_j s_j); log_softmax: δ_i = G_i − s_i Σ_j G_j; s_j carries a
    relative error of u(8 + m + (max a − a_j)).
    """
    m = A.shape[1]
    below = A.max(axis=1, keepdims=True) - A
    s = np.exp(-below)
    s = s / s.sum(axis=1, keepdims=True)
    r = u * (8 + m + below)  # of s
    if name == "softmax":
        parts = G * s * (2 * r + (m + 4) * u) + G_off * s
        shared = (parts + r * G * s).sum(axis=1, keepdims=True)
        return np.asarray(s * (r * G + G_off + 4 * u * G + shared))
    total, off = G.sum(axis=1, keepdims=True), G_off.sum(axis=1, keepdims=True)
    return np.asarray(4 * u * G + G_off + s * ((r + (m + 4) * u) * total + off))


def loss_terms(p: Problem, Z: Reals) -> Reals:
    """|term(z, y)|, with what cancels in it added up instead."""
    Y = p.Y.astype(np.float64)
    d = np.abs(Z - Y)
    with np.errstate(divide="ignore", invalid="ignore"):
        if p.loss == "mean_squared_error":
            return np.asarray(d * d)
        if p.loss == "mean_absolute_error":
            return np.asarray(d)
        if p.loss == "huber":
            return np.asarray(np.where(d <= 1, d * d / 2, d + 0.5))
        if p.loss == "log_softmax_cross_entropy":
            return np.asarray(np.abs(Y * Z))
        first = np.where(Y == 0, 0, np.abs(Y * np.log(Z)))
        if p.loss == "cross_entropy":
            return np.asarray(first)
        return np.asarray(first + np.where(Y == 1, 0, np.abs((1 - Y) * np.log1p(-Z))))


def loss_gradient_size(p: Problem, Z: Reals) -> Reals:
    """|∂L/∂Z_L|, with what cancels in it added up instead."""
    Y, n = p.Y.astype(np.float64), Z.shape[0]
    d = np.abs(Z - Y)
    with np.errstate(divide="ignore", invalid="ignore"):
        if p.loss == "mean_squared_error":
            return np.asarray(2 * d / n)
        if p.loss == "mean_absolute_error":
            return np.full_like(Z, 1 / n)
        if p.loss == "huber":
            return np.asarray(np.minimum(d, 1) / n)
        if p.loss == "log_softmax_cross_entropy":
            return np.asarray(np.abs(Y) / n)
        first = np.where(Y == 0, 0, np.abs(Y / Z))
        if p.loss == "cross_entropy":
            return np.asarray(first / n)
        return np.asarray((first + np.where(Y == 1, 0, np.abs((1 - Y) / (1 - Z)))) / n)


def loss_curvature(p: Problem, Z: Reals, reach: Reals) -> tuple[Reals, Reals]:
    """∂²L/∂Z_L², and the jump of ∂L/∂Z_L where a kink is within reach."""
    Y, n = p.Y.astype(np.float64), Z.shape[0]
    none = np.zeros_like(Z)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if p.loss == "mean_squared_error":
            return none + 2 / n, none
        if p.loss == "mean_absolute_error":
            return none, np.where((np.abs(Z - Y) <= reach) & (reach > 0), 2 / n, 0.0)
        if p.loss == "huber":
            return np.where(np.abs(Z - Y) <= 1 + reach, 1 / n, 0.0), none
        if p.loss == "log_softmax_cross_entropy":
            return none, none
        h = np.where(Y == 0, 0, Y / Z**2)
        if p.loss == "binary_cross_entropy":
            h = h + np.where(Y == 1, 0, (1 - Y) / (1 - Z) ** 2)
        return np.asarray(h / n), none
