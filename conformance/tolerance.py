"""How far from the truth an implementation may be: derived, per element, in every gate.

`step`  A rigorous bound for one step on exact operands: no error propagates into it.
`spread`  The root mean square error of every quantity when rounding errors are independent; what is
compared is λ of it. docs/tolerances.md derives both and shows the evidence for the constants.

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
from conformance.truth.network import Layer, Truth

__all__ = ["LAMBDA", "Accuracy", "Arithmetic", "accuracy", "inner", "spread"]

Reals = NDArray[np.float64]
Wide = NDArray[Any]  # longdouble: squares of numbers near 1e-300 need its exponent

LAMBDA = 8.0
"""How many root-mean-square errors the end-to-end gate allows: 3.6 was the most ever seen in
developing it, and the figure of each run is in its report."""

PROBABILISTIC = 9.3
"""λ of Higham & Mary (2019), √(2 ln(2Nk/p)), for N = 1e7 entries and failure probability p = 1e-9."""


ALGEBRAIC = ("identity", "relu", "leaky_relu", "hardtanh", "relu6", "hardsigmoid")
"""σ of sums, products and comparisons alone: no intermediate leaves the range before σ does."""


@dataclass(frozen=True)
class Accuracy:
    """What an implementation's σ and σ' may lose: u(c|σ| + e|a|) and u(c'|σ'| + d + f|a|)."""

    c: float
    e: float
    c1: float
    d: float
    f: float


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


@cache
def _table() -> Mapping[str, Any]:
    text = files("conformance").joinpath("accuracy.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@cache
def accuracy(implementation: str, dtype: str, activation: str) -> Accuracy:
    """The row of accuracy.toml for an implementation, or the default, which is for everybody else."""
    table = _table()
    for name in (f"{implementation}.{dtype}", "default"):
        rows = table.get(name, {})
        if activation in rows:
            return Accuracy(*rows[activation])
    return Accuracy(*table["default"]["any"])


def inner(k: int, u: float) -> float:
    """E_k: relative to Σ|x_i||y_i|, what an inner product of length k may lose, in any order.

    The smaller of k·u (Jeannerod & Rump 2013) and the probabilistic bound (Higham & Mary 2019).
    """
    return min(k * u, exp((PROBABILISTIC * sqrt(k) * u + k * u * u) / (1 - u)) - 1)


# ---- step by step ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class StepTolerance:
    """The bounds of the step gate, each for one equation of the notes on the operands it was given."""

    problem: Problem
    arithmetic: Arithmetic
    accuracies: Mapping[int, Accuracy]

    def product(self, P: Reals, Q: Reals) -> Reals:
        """E_k |P||Q| + k·tiny."""
        k, a = P.shape[1], self.arithmetic
        return inner(k, a.u) * (np.abs(P) @ np.abs(Q)) + k * a.tiny

    def pre_activation(self, l: int, Z: Reals) -> Reals:
        """A_l = Z̃_{l-1} W_l."""
        return self.product(self.problem.operand(Z), self.problem.W[l])

    def activation(self, l: int, A: Reals, exact: Layer) -> Reals:
        """Z_l = σ_l(A_l)."""
        u, lost, acc = self.arithmetic.u, self.arithmetic.normal, self.accuracies[l]
        if self.problem.sigma[l] in ROW_WISE:
            below = A.max(axis=1, keepdims=True) - A
            m = A.shape[1]
            if self.problem.sigma[l] == "softmax":
                return u * np.abs(exact.Z.hi) * (acc.c + below + m) + lost
            return u * (acc.c * np.abs(exact.Z.hi) + below + m + 2) + lost
        size = np.abs(A)
        return u * (acc.c * np.abs(exact.Z.hi) + acc.e * size) + self.lost(l) * (1 + size)

    def lost(self, l: int) -> float:
        """What σ_l may lose at the ends of the range: nothing where it is made of sums and products."""
        return (
            self.arithmetic.tiny if self.problem.sigma[l] in ALGEBRAIC else self.arithmetic.normal
        )

    def link(self, l: int, A: Reals, after: Reals, exact: Layer) -> Reals:
        """δ_l = G_l ⊙ σ'_l(A_l): both factors may be off, and the product is rounded."""
        u, tiny, acc = self.arithmetic.u, self.arithmetic.tiny, self.accuracies[l]
        p = self.problem
        if l == p.depth:
            G_off = 5 * u * loss_gradient_size(p, after) + tiny
        else:
            G_off = self.product(after, p.weights(l + 1).T)
        G = np.abs(exact.G.hi)
        if exact.D is None:
            return row_vjp_size(p.sigma[l], A, G, G_off, u) + tiny
        D = np.abs(exact.D.hi)
        D_off = u * (acc.c1 * D + acc.d + acc.f * np.abs(A)) + self.lost(l) * (1 + np.abs(A))
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
        return s * (r * G + G_off + 4 * u * G) + s * (
            parts.sum(axis=1, keepdims=True) + r * (G * s).sum(axis=1, keepdims=True)
        )
    total, off = G.sum(axis=1, keepdims=True), G_off.sum(axis=1, keepdims=True)
    return 4 * u * G + G_off + s * ((r + (m + 4) * u) * total + off)


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


# ---- end to end -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spread:
    """The root mean square error of every quantity; `straddling` counts entries at a kink."""

    A: dict[int, Reals]
    Z: dict[int, Reals]
    delta: dict[int, Reals]
    dW: dict[int, Reals]
    W_new: dict[int, Reals]
    loss: Reals
    straddling: int

    def layers(self, quantity: str) -> dict[int, Reals]:
        """{1: …, …, L: …} of one quantity."""
        found: dict[int, Reals] = getattr(self, quantity)
        return found


def _wide(M: NDArray[Any]) -> Wide:
    return np.asarray(M, dtype=np.longdouble)


def _product2(P: Wide, P2: Wide, Q: Wide, Q2: Wide, u: float, tiny: float) -> Wide:
    """s²(PQ) from P, Q and their s²: errors of the factors, then of the k products and their sum."""
    k = P.shape[1]
    PP, QQ = P * P, Q * Q
    return np.asarray(
        P2 @ QQ
        + PP @ Q2
        + u * u * (k / 2 * (PP @ QQ) + (1 + k / 3) * (P @ Q) ** 2)
        + k * _wide(np.array(tiny)) ** 2
    )


def _multiplicity(p: Problem) -> Wide:
    """How often each example occurs: equal rows make equal errors, which do not average out."""
    rows = np.hstack([p.X, p.Y])
    _, inverse, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    return _wide(counts[inverse.reshape(-1)]).reshape(-1, 1)


def _curvature(p: Problem, Z: Wide, Z2: Wide) -> Wide:
    """s² that ∂L/∂Z_L takes over from Z_L: (∂²L/∂Z²)² s²_Z, or the jump where a kink is that near."""
    Y, n = _wide(p.Y), Z.shape[0]
    near = np.abs(Z - Y) <= LAMBDA * np.sqrt(Z2)
    with np.errstate(divide="ignore", invalid="ignore"):
        if p.loss == "mean_squared_error":
            return np.asarray((2.0 / n) ** 2 * Z2)
        if p.loss == "mean_absolute_error":
            return np.where(near & (Z2 > 0), _wide(np.array((2.0 / n) ** 2)), 0)
        if p.loss == "huber":
            return np.asarray((1.0 / n) ** 2 * Z2)
        if p.loss == "log_softmax_cross_entropy":
            return np.zeros_like(Z)
        h = np.where(Y == 0, 0, Y / Z**2)
        if p.loss == "binary_cross_entropy":
            h = h + np.where(Y == 1, 0, (1 - Y) / (1 - Z) ** 2)
        return np.asarray((h / n) ** 2 * Z2)


def _softmax2(A: Wide, A2: Wide, u: float) -> tuple[Wide, Wide]:
    """softmax(A), s, and its relative s²: Σ_j (δ_ij − s_j)² s²_{A_j}, and the rounding of exp."""
    m = A.shape[1]
    below = A.max(axis=1, keepdims=True) - A
    s = np.exp(-below)
    s = s / s.sum(axis=1, keepdims=True)
    shared = (s * s * A2).sum(axis=1, keepdims=True)
    own = (1 - 2 * s) * A2 + shared  # Σ_j (δ_ij − s_j)² s²_A
    return s, np.maximum(own, 0) + (u * (4 + m + below)) ** 2


def spread(
    p: Problem, truth: Truth, a: Arithmetic, acc: Mapping[int, Accuracy], jumps: Mapping[int, Any]
) -> Spread:
    """The mean-square model: every rounding independent, carried through to first order.

    product:    s²(PQ) = s²_P Q² + P² s²_Q + u²[(k/2) P²Q² + (1 + k/3)(PQ)²]
    activation: s²_Z = σ'² s²_A + σ''² s⁴_A + u²((c σ)² + (e A)²)
    derivative: s²_D = σ''² s²_A + u²((c' σ')² + d² + (f A)²) + jump² where a kink is within λ s_A
    link:       s²_δ = s²_G D² + G² s²_D + s²_G s²_D + (u G D)²
    """
    u, L = a.u, p.depth
    tiny2, normal2 = (_wide(np.array(x)) ** 2 for x in (a.tiny, a.normal))
    W = {l: _wide(M) for l, M in p.W.items()}
    zero = {l: np.zeros_like(M) for l, M in W.items()}
    A, Z = ({l: _wide(e.hi) for l, e in t.items()} for t in (truth.A, truth.Z))
    Z[0] = _wide(p.X)
    A2: dict[int, Wide] = {}
    Z2: dict[int, Wide] = {0: np.zeros_like(Z[0])}
    D2: dict[int, Wide] = {}
    straddling = 0
    for l in range(1, L + 1):
        before, off = p.operand(Z[l - 1]), Z2[l - 1]
        off = np.hstack([off, np.zeros_like(off[:, :1])]) if p.bias else off
        A2[l] = _product2(before, off, W[l], zero[l], u, a.tiny)
        if p.sigma[l] in ROW_WISE:
            s, r2 = _softmax2(A[l], A2[l], u)
            of_log = r2 + (u * acc[l].c * Z[l]) ** 2
            Z2[l] = (s * s * r2 if p.sigma[l] == "softmax" else of_log) + tiny2
            continue
        D, H = _wide(truth.D[l].hi), _wide(truth.D2[l].hi)
        Z2[l] = (
            D * D * A2[l]
            + (H * A2[l]) ** 2
            + u * u * ((acc[l].c * Z[l]) ** 2 + (acc[l].e * A[l]) ** 2)
        )
        lost2 = (tiny2 if p.sigma[l] in ALGEBRAIC else normal2) * (1 + A[l] ** 2)
        D2[l] = (
            H * H * A2[l]
            + u * u * ((acc[l].c1 * D) ** 2 + acc[l].d ** 2 + (acc[l].f * A[l]) ** 2)
            + lost2
        )
        Z2[l] = Z2[l] + lost2
        for b, jump in jumps[l].items():
            near = (np.abs(A[l] - b) <= LAMBDA * np.sqrt(A2[l])) & (A2[l] > 0)
            straddling += int(near.sum())
            D2[l] = D2[l] + near * jump**2
            # beyond the kink σ is off by at most jump·|A − b|, which is s_A at λ
            Z2[l] = Z2[l] + near * jump**2 * A2[l]
    mu = _multiplicity(p)
    delta2: dict[int, Wide] = {}
    dW2: dict[int, Wide] = {}
    new2: dict[int, Wide] = {}
    for l in range(L, 0, -1):
        G = _wide(truth.G[l].hi)
        if l == L:
            size = _wide(loss_gradient_size(p, truth.Z[L].hi))
            G2 = _curvature(p, Z[L], Z2[L]) + (3 * u * size) ** 2 + tiny2
        else:
            next2, delta = delta2[l + 1], _wide(truth.delta[l + 1].hi)
            V = _wide(p.weights(l + 1)).T
            G2 = _product2(delta, next2, V, np.zeros_like(V), u, a.tiny)
        if p.sigma[l] in ROW_WISE:
            delta2[l] = _row_wise_link2(p.sigma[l], A[l], A2[l], G, G2, u) + tiny2
        else:
            D = _wide(truth.D[l].hi)
            delta2[l] = G2 * D * D + G * G * D2[l] + G2 * D2[l] + (u * G * D) ** 2 + tiny2
        before, off = p.operand(Z[l - 1]), Z2[l - 1]
        off = np.hstack([off, np.zeros_like(off[:, :1])]) if p.bias else off
        dW2[l] = _product2(
            before.T, (mu * off).T, _wide(truth.delta[l].hi), mu * delta2[l], u, a.tiny
        )
        step = p.alpha * _wide(truth.dW[l].hi)
        new2[l] = p.alpha**2 * dW2[l] + u * u * (step**2 + _wide(truth.W_new[l].hi) ** 2) + tiny2
    terms, G = _wide(loss_terms(p, truth.Z[L].hi)), _wide(truth.G[L].hi)
    N, n = terms.size, p.X.shape[0]
    loss2 = (mu * G * G * Z2[L]).sum() + (_curvature(p, Z[L], Z2[L]) * Z2[L]).sum()
    loss2 = loss2 + (u / n) ** 2 * (N / 2 * (mu * terms**2).sum() + (2 + N / 3) * terms.sum() ** 2)
    root = [
        {l: np.sqrt(M).astype(np.float64) for l, M in of.items() if l > 0}
        for of in (A2, Z2, delta2, dW2, new2)
    ]
    loss_spread = np.asarray(np.sqrt(loss2 + N * tiny2), dtype=np.float64)
    return Spread(*root, loss=loss_spread, straddling=straddling)


def _row_wise_link2(name: str, A: Wide, A2: Wide, G: Wide, G2: Wide, u: float) -> Wide:
    """s² of the vector–Jacobian product of softmax or log_softmax."""
    m = A.shape[1]
    s, r2 = _softmax2(A, A2, u)
    s2 = s * s * r2
    absG = np.abs(G)
    if name == "softmax":
        mean = (G * s).sum(axis=1, keepdims=True)
        total2 = (G2 * s * s + G * G * s2).sum(axis=1, keepdims=True)
        size = absG + (absG * s).sum(axis=1, keepdims=True)
        return np.asarray(s2 * (G - mean) ** 2 + s * s * (G2 + total2 + (u * (2 + m) * size) ** 2))
    total = absG.sum(axis=1, keepdims=True)
    return np.asarray(
        G2
        + s2 * G.sum(axis=1, keepdims=True) ** 2
        + s * s * G2.sum(axis=1, keepdims=True)
        + (u * (absG + (2 + m) * s * total)) ** 2
    )
