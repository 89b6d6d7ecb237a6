"""How far the whole may be from the truth: the tolerance of the end-to-end gate.

`spread` is the root mean square error of every quantity when rounding errors are independent; what is
compared is λ of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np

from conformance.problem import Problem
from conformance.tolerance import (
    Accuracy,
    Arithmetic,
    Reals,
    loss_curvature,
    loss_gradient_size,
    loss_terms,
)
from conformance.truth.definitions import ROW_WISE
from conformance.truth.network import Truth

__all__ = ["LAMBDA", "Spread", "spread"]

LAMBDA = 5.0
"""How many root-mean-square errors the end-to-end gate allows. docs/tolerances.md has the evidence; the
most that a run has seen is in its report."""


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
        noise = self._signs(DRAWS, len(self.examples), sizes[0].shape[1])
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
        return np.asarray((np.unpackbits(bits, count=count) * 2.0 - 1.0).reshape(shape))


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
    k, least = P.shape[1], np.finfo(float).tiny
    p = np.maximum(np.abs(P).max(axis=1, keepdims=True), least)  # scaled: squares may underflow
    q = np.maximum(np.abs(Q).max(axis=0, keepdims=True), least)
    each = p * np.sqrt(((P / p) ** 2) @ ((Q / q) ** 2)) * q
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
        s_Z, s_delta, s_dW, s_new = (
            {l: _rms(E) for l, E in of.items() if l} for of in (self.E_Z, E_delta, E_dW, E_new)
        )
        return Spread(self.s_A, s_Z, s_delta, s_dW, s_new, _rms(E_loss), self.straddling)

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
        D, H = self.truth.D[l], self.truth.D2[l]
        near = np.zeros_like(A)  # the jump of σ' where a kink is within reach
        for b, jump in self.jumps[l].items():
            within = (np.abs(A - b) <= LAMBDA * s_A) & (s_A > 0)
            self.straddling += int(within.sum())
            near = np.where(within, jump, near)
        lost = self.a.lost(p.sigma[l], A)
        self.E_Z[l] = D * E_A + self.draws.rows(
            H * s_A * s_A,
            u * acc.c * Z,
            u * acc.e * A,
            near * s_A,
            lost,
            np.full_like(A, u * acc.h),
        )
        self.E_D[l] = H * E_A + self.draws.rows(
            u * acc.c1 * D, u * acc.g * Z, np.full_like(A, u * acc.d), u * acc.f * A, near, lost
        )

    def _softmax(self, A: Reals) -> tuple[Reals, Reals]:
        """softmax(A) and the relative rounding error of it."""
        below = A.max(axis=1, keepdims=True) - A
        s = np.exp(-below)
        relative: Reals = self.a.u * (4 + A.shape[1] + below)
        return s / s.sum(axis=1, keepdims=True), relative

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
        return np.asarray(relative + self.draws.rows(r, self.a.u * self.acc[l].c * self.Z[l], lost))

    def _loss(self) -> tuple[Reals, Reals]:
        """The errors of L and of G_L = ∂L/∂Z_L."""
        p, u, L = self.p, self.a.u, self.p.depth
        Z, E_Z, G = self.Z[L], self.E_Z[L], self.truth.G[L]
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
        return np.asarray(E_loss), np.asarray(E_G)

    def _link(self, l: int, E_G: Reals) -> Reals:
        """E_δ = E_G D + G E_D + E_G E_D + u G D, or its like for a row-wise σ_l."""
        u, name, G = self.a.u, self.p.sigma[l], self.truth.G[l]
        tiny = np.full_like(G, self.a.tiny)
        if name not in ROW_WISE:
            D, E_D = self.truth.D[l], self.E_D[l]
            return E_G * D + G * E_D + E_G * E_D + self.draws.rows(u * G * D, tiny)
        s, _ = self._softmax(self.truth.A[l].hi)
        r, m = self.E_D[l], G.shape[1]  # r: the relative error of s
        if name == "softmax":  # δ = s (G − Σ G s)
            mean = (G * s).sum(axis=1, keepdims=True)
            off = E_G - ((E_G + G * r) * s).sum(axis=-1, keepdims=True)
            size = np.abs(G) + (np.abs(G) * s).sum(axis=1, keepdims=True)
            rounding = self.draws.rows(u * (2 + m) * s * size, tiny)
            return np.asarray(s * (r * (G - mean) + off) + rounding)
        total = G.sum(axis=1, keepdims=True)  # δ = G − s Σ G
        size = np.abs(G) + (2 + m) * s * np.abs(G).sum(axis=1, keepdims=True)
        carried = E_G - s * (r * total + E_G.sum(axis=-1, keepdims=True))
        return np.asarray(carried + self.draws.rows(u * size, tiny))

    def _weight_gradient(self, l: int, E_delta: Reals) -> Reals:
        """E_dW = E_Z̃ᵀ δ + Z̃ᵀ E_δ + E_Z̃ᵀ E_δ + rounding."""
        before, off = self._operand(l)
        delta = self.truth.delta[l].hi
        carried = np.swapaxes(off, 1, 2) @ (delta + E_delta) + before.T @ E_delta
        return carried + self.draws.matrix(*_sum_rounding(before.T, delta, self.a))
