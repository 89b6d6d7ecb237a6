"""The exact trace of a network, and each of its steps on operands that somebody else computed.

Both are the same few functions on balls. `trace` composes them from the inputs to the gradients, for
the end-to-end gate; `Steps` applies each alone to the floats an implementation returned, for the step
gate. Where the network has a bias, the rows of W_l are [W_l; b_l] and z̃ = [z | 1] multiplies them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from flint import arb, arb_mat
from numpy.typing import NDArray

from conformance.problem import Floats, Problem
from conformance.truth.balls import (
    Ball,
    Balls,
    Enclosure,
    certified,
    enclosure,
    matrix,
    midpoints,
    precision,
)
from conformance.truth.definitions import (
    ACTIVATIONS,
    LOSSES,
    ROW_WISE,
    Definition,
    LossDefinition,
    Point,
)

__all__ = ["Layer", "Mathematics", "Steps", "Truth", "trace"]


@dataclass(frozen=True)
class Mathematics:
    """What σ and L mean. The default is mathematics; a known difference amends a definition."""

    activations: Mapping[str, Definition] = field(default_factory=lambda: ACTIVATIONS)
    losses: Mapping[str, LossDefinition] = field(default_factory=lambda: LOSSES)


@dataclass(frozen=True)
class Truth:
    """Enclosures of every quantity; `decided[l]` is False where σ'_l's side of a kink is not known.

    D, D2 and G, which no implementation returns, are of use to the tolerances alone: midpoints.
    """

    A: dict[int, Enclosure]
    Z: dict[int, Enclosure]
    delta: dict[int, Enclosure]
    dW: dict[int, Enclosure]
    W_new: dict[int, Enclosure]
    loss: Enclosure
    D: dict[int, NDArray[np.float64]]  # σ'_l(A_l), for elementwise σ_l
    D2: dict[int, NDArray[np.float64]]  # σ''_l(A_l)
    G: dict[int, NDArray[np.float64]]  # ∂L/∂Z_l
    decided: dict[int, NDArray[np.bool_]]


Balled = dict[int, Any]  # of Balls, or None where σ_l has no elementwise derivative


def _rows(M: Balls) -> list[list[Ball]]:
    flat, m = M.entries(), M.ncols()
    return [flat[i : i + m] for i in range(0, len(flat), m)]


def _like(M: Balls, entries: list[Ball]) -> Balls:
    return arb_mat(M.nrows(), M.ncols(), entries)


def _enclose(M: Balls) -> Enclosure:
    return enclosure(M.entries(), (M.nrows(), M.ncols()))


def _midpoints(M: Balls) -> NDArray[np.float64]:
    return midpoints(M.entries(), (M.nrows(), M.ncols()))


def _with_ones(Z: Balls, bias: bool) -> Balls:
    """z̃ = [z | 1]: the unit that the bias is the weight of."""
    if not bias:
        return Z
    return arb_mat(Z.nrows(), Z.ncols() + 1, [e for r in _rows(Z) for e in (*r, arb(1))])


def _transposed(W: Balls, bias: bool) -> Balls:
    """W_lᵀ without the bias row: nothing flows back into the constant unit."""
    if not bias:
        return W.transpose()
    rows = _rows(W)[:-1]
    return arb_mat(len(rows), W.ncols(), [e for r in rows for e in r]).transpose()


Memo = dict[tuple[Definition, int], dict[float, Point]]
"""σ at floats already seen, a precision: implementations often agree on A_l to the last bit."""


def _activate(
    maths: Mathematics, name: str, A: Balls, floats: Floats | None = None, memo: Memo | None = None
) -> tuple[Balls, Balls | None, Balls | None, list[bool]]:
    """σ(A), and σ'(A) and σ''(A) where σ is elementwise. `floats` are A where that is exact."""
    if name in ROW_WISE:
        Z = [z for row in _rows(A) for z in ROW_WISE[name][0](row)]
        return _like(A, Z), None, None, [True] * len(Z)
    sigma = maths.activations[name]
    if floats is None or memo is None:
        points = [sigma(a) for a in A.entries()]
    else:
        points = []
        seen = memo.setdefault((sigma, precision()), {})
        for x, a in zip(floats.ravel().tolist(), A.entries(), strict=True):
            point = seen.get(x)
            if point is None:
                point = seen[x] = sigma(a)
            points.append(point)
    value, first, second, decided = map(list, zip(*points, strict=True))
    return _like(A, value), _like(A, first), _like(A, second), decided


def _hadamard(P: Balls, Q: Balls) -> Balls:
    return _like(P, [p * q for p, q in zip(P.entries(), Q.entries(), strict=True)])


def _row_vjp(name: str, A: Balls, G: Balls) -> Balls:
    pairs = zip(_rows(A), _rows(G), strict=True)
    return _like(A, [e for a, g in pairs for e in ROW_WISE[name][1](a, g)])


def _loss(maths: Mathematics, name: str, Z: Balls, Y: Balls) -> Ball:
    """(1/n) Σ term(z, y), over examples and outputs."""
    term = maths.losses[name].term
    pairs = zip(Z.entries(), Y.entries(), strict=True)
    return sum((term(z, y) for z, y in pairs), arb(0)) / Z.nrows()


def _loss_gradient(maths: Mathematics, name: str, Z: Balls, Y: Balls) -> Balls:
    derivative, n = maths.losses[name].derivative, Z.nrows()
    pairs = zip(Z.entries(), Y.entries(), strict=True)
    return _like(Z, [derivative(z, y) / n for z, y in pairs])


def trace(p: Problem, maths: Mathematics) -> Truth:
    """Every quantity of the network, from its floats, with nothing rounded."""
    L = len(p.W)
    values: dict[str, dict[int, NDArray[np.float64]]] = {"D": {}, "D2": {}, "G": {}}
    decided: dict[int, NDArray[np.bool_]] = {}

    def compute() -> tuple[Enclosure, ...]:
        W = {l: matrix(M) for l, M in p.W.items()}
        Y = matrix(p.Y)
        A, Z, D, D2, G, delta, dW, W_new = (Balled() for _ in range(8))
        Z[0] = matrix(p.X)
        for l in range(1, L + 1):
            A[l] = _with_ones(Z[l - 1], p.bias) * W[l]
            Z[l], D[l], D2[l], sure = _activate(maths, p.sigma[l], A[l])
            decided[l] = np.array(sure).reshape(A[l].nrows(), A[l].ncols())
        for l in range(L, 0, -1):
            G[l] = (
                _loss_gradient(maths, p.loss, Z[L], Y)
                if l == L
                else delta[l + 1] * _transposed(W[l + 1], p.bias)
            )
            delta[l] = _row_vjp(p.sigma[l], A[l], G[l]) if D[l] is None else _hadamard(G[l], D[l])
            dW[l] = _with_ones(Z[l - 1], p.bias).transpose() * delta[l]
            W_new[l] = W[l] - dW[l] * arb(p.alpha)
        loss = _loss(maths, p.loss, Z[L], Y)
        for l in range(1, L + 1):
            values["G"][l] = _midpoints(G[l])
            if D[l] is not None:
                values["D"][l], values["D2"][l] = _midpoints(D[l]), _midpoints(D2[l])
        exact = [_enclose(of[l]) for of in (A, Z, delta, dW, W_new) for l in range(1, L + 1)]
        return (*exact, enclosure([loss], ()))

    *found, loss = certified(compute)
    each = iter(found)
    A, Z, delta, dW, W_new = ({l: next(each) for l in range(1, L + 1)} for _ in range(5))
    return Truth(A, Z, delta, dW, W_new, loss, **values, decided=decided)


class Layer(NamedTuple):
    """The steps of one layer that depend on its Â_l."""

    Z: Enclosure
    delta: Enclosure
    G: NDArray[np.float64]
    D: NDArray[np.float64] | None  # for elementwise σ_l


@dataclass(frozen=True)
class Steps:
    """Each equation of the notes, alone, on operands that are floats and therefore exact."""

    problem: Problem
    maths: Mathematics
    memo: Memo = field(default_factory=dict)

    def pre_activation(self, l: int, Z: Floats) -> Enclosure:
        """A_l = Z̃_{l-1} W_l."""
        p = self.problem
        return certified(lambda: (_enclose(_with_ones(matrix(Z), p.bias) * matrix(p.W[l])),))[0]

    def loss(self, Z: Floats) -> Enclosure:
        """L(Z_L, Y)."""
        p = self.problem
        return certified(
            lambda: (enclosure([_loss(self.maths, p.loss, matrix(Z), matrix(p.Y))], ()),)
        )[0]

    def layer(self, l: int, A: Floats, after: Floats | None) -> Layer:
        """What depends on Â_l. `after` is Z_L for l = L, else δ_{l+1}; without it, G_l stands as 0.

        Z_l = σ_l(A_l); G_L = ∂L/∂Z_L, else G_l = δ_{l+1} W_{l+1}ᵀ; δ_l = G_l ⊙ σ'_l(A_l), or the
        vector–Jacobian product of each row.
        """
        p, name, L = self.problem, self.problem.sigma[l], self.problem.depth

        found: dict[str, Any] = {}

        def compute() -> tuple[Enclosure, ...]:
            M = matrix(A)
            Z, D, _, _ = _activate(self.maths, name, M, A, self.memo)
            if after is None:
                G = arb_mat(M.nrows(), M.ncols())
            elif l == L:
                G = _loss_gradient(self.maths, p.loss, matrix(after), matrix(p.Y))
            else:
                G = matrix(after) * _transposed(matrix(p.W[l + 1]), p.bias)
            found.update(G=_midpoints(G), D=None if D is None else _midpoints(D))
            delta = _row_vjp(name, M, G) if D is None else _hadamard(G, D)
            return _enclose(Z), _enclose(delta)

        exact, delta = certified(compute)
        return Layer(exact, delta, **found)

    def weight_gradient(self, Z: Floats, delta: Floats) -> Enclosure:
        """∂L/∂W_l = Z̃_{l-1}ᵀ δ_l."""
        bias = self.problem.bias
        return certified(
            lambda: (_enclose(_with_ones(matrix(Z), bias).transpose() * matrix(delta)),)
        )[0]

    def updated(self, l: int, dW: Floats) -> Enclosure:
        """W_l − α ∂L/∂W_l."""
        p = self.problem
        return certified(lambda: (_enclose(matrix(p.W[l]) - matrix(dW) * arb(p.alpha)),))[0]
