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
from math import exp, prod, sqrt
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

DRAWS = 32
"""How many networks with random rounding errors the spread is taken over."""


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


def _rms(E: Reals) -> Reals:
    """Root mean square over the draws, scaled so that squares of tiny numbers do not underflow."""
    top = np.abs(E).max(axis=0)
    scale = np.where(top > 0, top, 1.0)
    return np.asarray(scale * np.sqrt(np.mean((E / scale) ** 2, axis=0)))


class _Draws:
    """Rounding errors of a given size and random sign; the same for examples that are the same."""

    def __init__(self, p: Problem) -> None:
        self.rng = np.random.default_rng(0)
        rows = np.hstack([p.X, p.Y])
        self.examples, self.same = np.unique(rows, axis=0, return_inverse=True)
        self.distinct = len(self.examples) == len(rows)

    def rows(self, *sizes: Reals) -> Reals:
        """Errors of an n×d quantity whose independent parts have these sizes."""
        n, d = sizes[0].shape
        noise = self._signs(DRAWS, len(self.examples), d)
        if not self.distinct:
            noise = noise[:, self.same.reshape(-1)]
        return np.asarray(noise * _hypot(*sizes))

    def matrix(self, *sizes: Reals) -> Reals:
        """Errors of a quantity that is not one row an example."""
        size = _hypot(*sizes)
        return np.asarray(self._signs(DRAWS, *size.shape) * size)

    def _signs(self, *shape: int) -> Reals:
        count = prod(shape)
        bits = np.frombuffer(self.rng.bytes(-(-count // 8)), np.uint8)
        return (np.unpackbits(bits, count=count) * 2.0 - 1.0).reshape(shape)


def _hypot(*sizes: Reals) -> Reals:
    """√Σ size², without underflow."""
    total = np.abs(sizes[0])
    for size in sizes[1:]:
        total = np.hypot(total, size)
    return np.asarray(total)


def _sum_rounding(P: Reals, Q: Reals, a: Arithmetic) -> tuple[Reals, ...]:
    """What rounding the k products of PQ and their sum adds: u√(k/2)|P∘Q| and u√(1 + k/3)|PQ|.

    The second is what a sum of numbers of one sign needs, whose partial sums grow.
    """
    k = P.shape[1]
    size = np.maximum(np.abs(P).max(axis=1, keepdims=True), np.finfo(float).tiny)
    each = size * np.sqrt(((P / size) ** 2) @ (Q * Q))
    return (
        a.u * sqrt(k / 2) * each,
        a.u * sqrt(1 + k / 3) * np.abs(P @ Q),
        np.full(each.shape, k * a.tiny),
    )


def spread(
    p: Problem, truth: Truth, a: Arithmetic, acc: Mapping[int, Accuracy], jumps: Mapping[int, Any]
) -> Spread:
    """The mean-square model: independent rounding errors, carried through the network to first order.

    Instead of one variance an element, which would forget that errors of one layer have common causes
    in the layers before it, DRAWS networks of random errors E are carried through together:

        E_A = E_Z̃ W + rounding              E_Z = σ'(A) E_A + ½σ''(A) s²_A + u(c σ, e A)
        E_G = E_δ Wᵀ + rounding             E_D = σ''(A) E_A + u(c' σ', d, f A) + jump where a kink is near
        E_δ = E_G D + G E_D + u G D         E_dW = E_Z̃ᵀ δ + Z̃ᵀ E_δ + rounding

    What is returned is their root mean square.
    """
    return _Carry(p, truth, a, acc, jumps).run()


@dataclass
class _Carry:
    p: Problem
    truth: Truth
    a: Arithmetic
    acc: Mapping[int, Accuracy]
    jumps: Mapping[int, Mapping[float, float]]

    def run(self) -> Spread:
        p, truth, L = self.p, self.truth, self.p.depth
        self.draws = _Draws(p)
        self.W = {l: M.astype(np.float64) for l, M in p.W.items()}
        self.Z = {0: p.X.astype(np.float64), **{l: e.hi for l, e in truth.Z.items()}}
        self.E_A: dict[int, Reals] = {}
        self.E_Z: dict[int, Reals] = {0: np.zeros((DRAWS, *p.X.shape))}
        self.E_D: dict[int, Reals] = {}
        self.s_A: dict[int, Reals] = {}
        self.straddling = 0
        for l in range(1, L + 1):
            self._forward(l)
        E_loss, E_G = self._loss()
        E_delta: dict[int, Reals] = {}
        E_dW: dict[int, Reals] = {}
        E_new: dict[int, Reals] = {}
        for l in range(L, 0, -1):
            if l < L:
                V, delta = p.weights(l + 1).astype(np.float64).T, truth.delta[l + 1].hi
                E_G = E_delta[l + 1] @ V + self.draws.rows(*_sum_rounding(delta, V, self.a))
            E_delta[l] = self._link(l, E_G)
            E_dW[l] = self._weight_gradient(l, E_delta[l])
            step, new = p.alpha * truth.dW[l].hi, truth.W_new[l].hi
            tiny = np.full(new.shape, self.a.tiny)
            E_new[l] = p.alpha * E_dW[l] + self.draws.matrix(self.a.u * step, self.a.u * new, tiny)
        parts = (
            self.s_A,
            *({l: _rms(E) for l, E in of.items() if l} for of in (self.E_Z, E_delta, E_dW, E_new)),
        )
        return Spread(*parts, loss=_rms(E_loss), straddling=self.straddling)

    def _operand(self, l: int) -> tuple[Reals, Reals]:
        """Z̃_{l−1} and its error: the constant unit has none."""
        Z, E = self.Z[l - 1], self.E_Z[l - 1]
        if not self.p.bias:
            return Z, E
        return self.p.operand(Z), np.concatenate([E, np.zeros((*E.shape[:-1], 1))], axis=-1)

    def _forward(self, l: int) -> None:
        """E_{A_l}, E_{Z_l} and E_{D_l}."""
        p, u, acc = self.p, self.a.u, self.acc[l]
        before, off = self._operand(l)
        A, Z = self.truth.A[l].hi, self.Z[l]
        E_A = off @ self.W[l] + self.draws.rows(*_sum_rounding(before, self.W[l], self.a))
        s_A = _rms(E_A)
        self.E_A[l], self.s_A[l] = E_A, s_A
        if p.sigma[l] in ROW_WISE:
            self.E_Z[l] = self._row_wise_value(l, A, E_A)
            return
        D, H = self.truth.D[l].hi, self.truth.D2[l].hi
        near = np.zeros_like(A)  # the jump of σ' where a kink is within reach
        for b, jump in self.jumps[l].items():
            within = (np.abs(A - b) <= LAMBDA * s_A) & (s_A > 0)
            self.straddling += int(within.sum())
            near = np.where(within, jump, near)
        lost = (self.a.tiny if p.sigma[l] in ALGEBRAIC else self.a.normal) * (1 + np.abs(A))
        self.E_Z[l] = D * E_A + self.draws.rows(
            H * s_A * s_A, u * acc.c * Z, u * acc.e * A, near * s_A, lost
        )
        self.E_D[l] = H * E_A + self.draws.rows(
            u * acc.c1 * D, np.full_like(A, u * acc.d), u * acc.f * A, near, lost
        )

    def _softmax(self, A: Reals) -> tuple[Reals, Reals]:
        """softmax(A) and the relative rounding error of it."""
        below = A.max(axis=1, keepdims=True) - A
        s = np.exp(-below)
        return s / s.sum(axis=1, keepdims=True), self.a.u * (4 + A.shape[1] + below)

    def _row_wise_value(self, l: int, A: Reals, E_A: Reals) -> Reals:
        """softmax: E_s = s (E_A − Σ s E_A); log_softmax: E_A − Σ s E_A; each with its own rounding."""
        s, r = self._softmax(A)
        relative = E_A - (s * E_A).sum(axis=-1, keepdims=True)
        self.E_D[l] = relative + self.draws.rows(
            r
        )  # of s, relatively: what the Jacobian is made of
        lost = np.full_like(A, self.a.normal)
        if self.p.sigma[l] == "softmax":
            return np.asarray(s * self.E_D[l] + self.draws.rows(lost))
        return relative + self.draws.rows(r, self.a.u * self.acc[l].c * self.Z[l], lost)

    def _loss(self) -> tuple[Reals, Reals]:
        """The errors of L and of G_L = ∂L/∂Z_L."""
        p, u, L = self.p, self.a.u, self.p.depth
        Z, E_Z, G = self.Z[L], self.E_Z[L], self.truth.G[L].hi
        n, s_Z = Z.shape[0], _rms(self.E_Z[L])
        h, jump = loss_curvature(p, Z, LAMBDA * s_Z)
        size, terms = loss_gradient_size(p, Z), loss_terms(p, Z)
        E_G = h * E_Z + self.draws.rows(3 * u * size, jump, np.full_like(Z, self.a.tiny))
        N = terms.size
        total = float(terms.sum())
        rounding = (
            u * sqrt(N / 2) * float(np.sqrt((terms**2).sum())),
            u * sqrt(2 + N / 3) * total,
            N * self.a.tiny,
        )
        second = float((np.abs(h) * s_Z**2).sum() + (jump * s_Z).sum())
        E_loss = (G * E_Z).sum(axis=(1, 2)) + self.draws.matrix(
            *(np.asarray(x / n) for x in rounding), np.asarray(second)
        )
        return E_loss, E_G

    def _link(self, l: int, E_G: Reals) -> Reals:
        """E_δ = E_G D + G E_D + E_G E_D + u G D, or its like for a row-wise σ_l."""
        u, name, G = self.a.u, self.p.sigma[l], self.truth.G[l].hi
        tiny = np.full_like(G, self.a.tiny)
        if name not in ROW_WISE:
            D, E_D = self.truth.D[l].hi, self.E_D[l]
            return E_G * D + G * E_D + E_G * E_D + self.draws.rows(u * G * D, tiny)
        s, _ = self._softmax(self.truth.A[l].hi)
        r, m = self.E_D[l], G.shape[1]  # r: the relative error of s
        if name == "softmax":  # δ = s (G − Σ G s)
            mean = (G * s).sum(axis=1, keepdims=True)
            off = E_G - ((E_G + G * r) * s).sum(axis=-1, keepdims=True)
            size = np.abs(G) + (np.abs(G) * s).sum(axis=1, keepdims=True)
            return s * (r * (G - mean) + off) + self.draws.rows(u * (2 + m) * s * size, tiny)
        total = G.sum(axis=1, keepdims=True)  # δ = G − s Σ G
        size = np.abs(G) + (2 + m) * s * np.abs(G).sum(axis=1, keepdims=True)
        return (
            E_G
            - s * (r * total + E_G.sum(axis=-1, keepdims=True))
            + self.draws.rows(u * size, tiny)
        )

    def _weight_gradient(self, l: int, E_delta: Reals) -> Reals:
        """E_dW = E_Z̃ᵀ δ + Z̃ᵀ E_δ + rounding."""
        before, off = self._operand(l)
        delta = self.truth.delta[l].hi
        carried = np.swapaxes(off, 1, 2) @ delta + before.T @ E_delta
        return carried + self.draws.matrix(*_sum_rounding(before.T, delta, self.a))


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
