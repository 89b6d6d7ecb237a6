"""Implementations that are right, however oddly they round: the judge must call none of them wrong.

Each is the notes' two procedures with one thing done differently: the order of every sum, fused or
compensated additions, wider registers, derivatives from outputs, other formulas (`formulas`). The judge does
not know them, and gives them the tolerances of any unknown implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

import refbp
from conformance.commands.fuzz.formulas import LOSSES, SIGMAS, VARIANTS
from conformance.implementations import implementation
from conformance.model.problem import QUANTITIES, Floats, Problem, Trace
from refbp.activations import Activation
from refbp.losses import Loss

__all__ = ["LEGAL", "Legal", "variant"]

Product = Callable[[Floats, Floats], Floats]
Formulas = tuple[Callable[[str], Activation], Callable[[str], Loss]]
LARGEST = 2**21  # terms of a product that are held at once; a larger product is left to NumPy


def _terms(P: Floats, Q: Floats) -> Floats:
    """The terms of every sum of a matrix product: n×d×k, each rounded once."""
    return P[:, None, :] * Q.T[None]


def _one_by_one(terms: Floats) -> Floats:
    return np.asarray(np.add.accumulate(terms, axis=-1)[..., -1])


def _sorted(terms: Floats, way: int = 1) -> Floats:
    """Sums with the smallest terms first, or the largest if `way` is −1."""
    order = np.argsort(way * np.abs(terms), axis=-1)
    return _one_by_one(np.take_along_axis(terms, order, axis=-1))


def _pairwise(terms: Floats) -> Floats:
    while terms.shape[-1] > 1:
        if terms.shape[-1] % 2:
            terms = np.concatenate([terms, np.zeros_like(terms[..., :1])], axis=-1)
        terms = terms[..., ::2] + terms[..., 1::2]
    return terms[..., 0]


def _blocked(terms: Floats) -> Floats:
    """Sums of blocks of four, then the sum of these."""
    k = terms.shape[-1]
    blocks = [_one_by_one(terms[..., i : i + 4]) for i in range(0, k, 4)]
    return _one_by_one(np.stack(blocks, axis=-1))


def _compensated(terms: Floats) -> Floats:
    """Compensated summation (Kahan 1965)."""
    total, left = np.zeros_like(terms[..., 0]), np.zeros_like(terms[..., 0])
    for i in range(terms.shape[-1]):
        x = terms[..., i] - left
        more = total + x
        left = (more - total) - x
        total = more
    return total


def _by(total: Callable[[Floats], Floats]) -> Product:
    """A matrix product whose sums are taken by `total`, along the last axis."""

    def product(P: Floats, Q: Floats) -> Floats:
        if P.shape[0] * P.shape[1] * Q.shape[1] > LARGEST or P.shape[1] == 0:
            return P @ Q
        return total(_terms(P, Q)).astype(P.dtype)

    return product


def _fused(P: Floats, Q: Floats) -> Floats:
    """a·b + c rounded once: the product exact in a longer type, each partial sum rounded to the dtype."""
    total = np.zeros((P.shape[0], Q.shape[1]), P.dtype)
    longer = np.longdouble if P.dtype == np.float64 else np.float64
    for k in range(P.shape[1]):
        terms = np.multiply.outer(P[:, k].astype(longer), Q[k].astype(longer))
        total = (terms + total).astype(P.dtype)
    return total


PRODUCTS: Mapping[str, Product] = {
    "one-by-one": _by(_one_by_one),
    "reversed": _by(lambda terms: _one_by_one(terms[..., ::-1])),
    "sorted": _by(_sorted),
    "sorted-down": _by(lambda terms: _sorted(terms, -1)),
    "pairwise": _by(_pairwise),
    "blocked": _by(_blocked),
    "compensated": _by(_compensated),
    "fused": _fused,
}  # fmt: skip


def _from_outputs(name: str, A: Floats, Z: Floats, G: Floats) -> Floats | None:
    """δ_l from Z_l and G, if σ' is a short function of σ; else None."""
    one = Z.dtype.type(1)
    if name == "tanh":
        return np.asarray(G * (one - Z * Z))
    if name == "sigmoid":
        return np.asarray((G * (one - Z)) * Z)
    if name == "relu":
        return np.asarray(np.where(Z > 0, G, 0).astype(Z.dtype))
    if name == "softmax":
        return np.asarray(G * Z - Z * (G * Z).sum(axis=1, keepdims=True))
    return None


def variant(i: int) -> Formulas:
    """Functions that return σ, and a loss, by name, with the i-th formulas."""

    def sigma(name: str) -> Activation:
        value, slope = SIGMAS[name][i % len(SIGMAS[name])]
        return type(refbp.activation(name))(name, value, slope)

    return sigma, lambda name: Loss(name, *LOSSES[name][i % len(LOSSES[name])])


class Legal:
    """The notes' procedures, with one thing done differently."""

    description = "right, however it rounds"

    def __init__(
        self,
        name: str,
        product: Product = np.matmul,
        outputs: bool = False,
        formulas: Formulas = (refbp.activation, refbp.loss),
    ) -> None:
        self.name, self.product, self.outputs = f"legal:{name}", product, outputs
        self.activation, self.loss = formulas

    def start(self) -> tuple[dict[str, str], str]:
        """Nothing to start: it needs NumPy alone."""
        return {}, "cpu"

    def run(self, p: Problem) -> Trace:
        """FORWARD-PASS, BACKWARDPROP and the update."""
        L, loss = p.depth, self.loss(p.loss)
        sigma = {l: self.activation(s) for l, s in p.sigma.items()}
        A: dict[int, Floats] = {}
        Z: dict[int, Floats] = {0: p.X}
        delta: dict[int, Floats] = {}
        dW: dict[int, Floats] = {}
        for l in range(1, L + 1):
            A[l] = self.product(p.operand(Z[l - 1]), p.W[l])
            Z[l] = sigma[l](A[l])
        for l in range(L, 0, -1):
            last = l == L
            G = loss.gradient(Z[L], p.Y) if last else self.product(delta[l + 1], p.weights(l + 1).T)
            by_output = _from_outputs(p.sigma[l], A[l], Z[l], G) if self.outputs else None
            delta[l] = sigma[l].vjp(A[l], G) if by_output is None else by_output
            dW[l] = self.product(p.operand(Z[l - 1]).T, delta[l])
        alpha = p.dtype.type(p.alpha)
        new = {l: p.W[l] - alpha * dW[l] for l in dW}
        return Trace(A, {l: Z[l] for l in A}, delta, dW, new, np.asarray(loss(Z[L], p.Y)))


class Wide:
    """float32 computed in float64: every number is rounded once, when it is returned."""

    name, description = "legal:wide", "right, in wider registers"

    def start(self) -> tuple[dict[str, str], str]:
        """Nothing to start: it needs NumPy alone."""
        return {}, "cpu"

    def run(self, p: Problem) -> Trace:
        """refbp on the same numbers as float64."""
        if p.dtype == np.float64:
            return implementation("refbp").run(p)
        wide = {l: M.astype(np.float64) for l, M in p.W.items()}
        q = replace(p, W=wide, X=p.X.astype(np.float64), Y=p.Y.astype(np.float64))
        t = implementation("refbp").run(q)
        layered = {q: {l: _cast(M) for l, M in t.layers(q).items()} for q in QUANTITIES}
        return Trace(**layered, loss=_cast(t.loss))


def _cast(M: Floats | None) -> Floats:
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(M, np.float32)


LEGAL: tuple[Legal | Wide, ...] = (
    *(Legal(name, product) for name, product in PRODUCTS.items()),
    Legal("from-outputs", outputs=True),
    *(Legal(f"formulas-{i + 1}", formulas=variant(i)) for i in range(VARIANTS)),
    Wide(),
)
