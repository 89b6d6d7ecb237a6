"""No false alarm: other ways to compute the same thing, which are right, are not flagged.

Each variation replaces steps of refbp's lines by others that are as good. They are held to refbp's own
tolerances, the tightest there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from math import fsum
from typing import Any

import numpy as np
import pytest

from conformance.cases.profiles import find
from conformance.judge.gates import judge
from conformance.judge.mistakes.loop import STEPS, Loop, State
from conformance.judge.result import runs
from conformance.judge.subject import Subject
from conformance.model.problem import QUANTITIES

CASES = (
    "typical/tanh/L3/n7/float64",
    "typical/tanh/L3/n7/float32/bias",
    "typical/gelu/L3/n7/float64",
    "typical/relu/L5/n64/float32/bias",
    "typical/sigmoid/L2/n7/float64/bias",
    "typical/softplus/L8/n2/float64/bias",
    "typical/mish/L1/n1/float32/bias",
    "square/tanh/L3/n7/float64/w4-4",
    "heads/tanh>softmax+cross_entropy/L3/n7/float64",
    "heads/tanh>softmax+cross_entropy/L1/n7/float32/bias",
    "heads/tanh>sigmoid+binary_cross_entropy/L3/n7/float64",
    "heads/tanh>log_softmax+log_softmax_cross_entropy/L3/n7/float64/bias",
    "heads/tanh>identity+huber/L3/n7/float64/bias",
    "integers/relu/L2/n64/float32",
    "kinks/relu/L1/n7/float64",
    "repeated/tanh/L3/n64/float64",
    "large/tanh>identity+mean_squared_error/L2/n7/float64",
    "zero-weights/tanh>identity+mean_squared_error/L2/n2/float64",
)

Product = Callable[[Any, Any], Any]


def products(product: Product) -> Mapping[str, Any]:
    """That product in all three places."""
    return {
        "A": lambda s, l: product(s.before(l), s.p.W[l]),
        "G": lambda s, l: product(s.delta[l + 1], s.p.weights(l + 1).T),
        "dW": lambda s, l: product(s.before(l).T, s.delta[l]),
    }


def one_by_one(P: Any, Q: Any) -> Any:
    return np.add.accumulate(P[:, :, None] * Q, axis=1)[:, -1]


def exactly_rounded(P: Any, Q: Any) -> Any:
    """Each sum with one rounding; the products too are rounded once."""
    rows = [
        [fsum((float(x) * float(y)) for x, y in zip(p, q, strict=True)) for q in Q.T] for p in P
    ]
    return np.array(rows, P.dtype)


def in_long_double(P: Any, Q: Any) -> Any:
    return (P.astype(np.longdouble) @ Q.astype(np.longdouble)).astype(P.dtype)


def reversed_strides(P: Any, Q: Any) -> Any:
    """Views that run backwards through memory."""
    return np.ascontiguousarray(P[::-1])[::-1] @ np.ascontiguousarray(Q[:, ::-1])[:, ::-1]


def fortran(P: Any, Q: Any) -> Any:
    return np.asfortranarray(P) @ np.asfortranarray(Q)


def transposed(P: Any, Q: Any) -> Any:
    """Weights stored as d_l×d_{l−1}."""
    return (np.ascontiguousarray(Q.T) @ np.ascontiguousarray(P.T)).T


def einsum(P: Any, Q: Any) -> Any:
    return np.einsum("ij,jk->ik", P, Q)


def halves(P: Any, Q: Any) -> Any:
    k = P.shape[1] // 2
    return P[:, :k] @ Q[:k] + P[:, k:] @ Q[k:]


def bias_apart(s: State, l: int) -> Any:
    A = s.Z[l - 1] @ s.p.weights(l)
    return A + s.p.W[l][-1] if s.p.bias else A


def bias_gradient_apart(s: State, l: int) -> Any:
    dW = s.Z[l - 1].T @ s.delta[l]
    return np.vstack([dW, s.delta[l].sum(axis=0)]) if s.p.bias else dW


def example_by_example(s: State, l: int) -> Any:
    total = np.zeros_like(s.p.W[l])
    for z, d in zip(s.before(l), s.delta[l], strict=True):
        total = total + np.outer(z, d)
    return total


def in_two_batches(s: State, l: int) -> Any:
    k = s.n // 2
    Z, d = s.before(l), s.delta[l]
    return Z[:k].T @ d[:k] + Z[k:].T @ d[k:]


def fused(s: State, l: int, G: Any) -> Any:
    """(z − y)/n for softmax or sigmoid with its cross entropy."""
    pairs = {("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy")}
    if l == s.L and (s.p.sigma[l], s.p.loss) in pairs:
        return (s.Z[l] - s.p.Y) / s.p.dtype.type(s.n)
    return STEPS["delta"](s, l, G)


def tanh_by_sigmoids(s: State, l: int, G: Any) -> Any:
    """tanh'(a) = 4 σ(2a) σ(−2a)."""
    if s.p.sigma[l] != "tanh":
        return STEPS["delta"](s, l, G)
    sigmoid = s.named("sigmoid")
    two = s.p.dtype.type(2)
    return G * (4 * sigmoid(two * s.A[l]) * sigmoid(-two * s.A[l]))


def sigmoid_by_two(s: State, l: int, G: Any) -> Any:
    """σ'(a) = σ(a) σ(−a)."""
    if s.p.sigma[l] != "sigmoid":
        return STEPS["delta"](s, l, G)
    return G * (s.sigma(l)(s.A[l]) * s.sigma(l)(-s.A[l]))


def factors_swapped(s: State, l: int, G: Any) -> Any:
    sigma = s.sigma(l)
    if s.p.sigma[l] in ("softmax", "log_softmax"):
        return STEPS["delta"](s, l, G)
    return sigma.derivative(s.A[l]) * G


def two_over_n(s: State) -> Any:
    if s.p.loss != "mean_squared_error":
        return STEPS["G_L"](s)
    return (s.Z[s.L] - s.p.Y) * s.p.dtype.type(2 / s.n)


def row_by_row_loss(s: State) -> Any:
    """The mean over examples of each one's loss."""
    loss, Z = s.loss(), s.Z[s.L]
    each = [loss(Z[i : i + 1], s.p.Y[i : i + 1]) for i in range(s.n)]
    return np.asarray(np.mean(np.array(each, s.p.dtype), dtype=s.p.dtype))


def descended(s: State, l: int) -> Any:
    """In place, on a copy."""
    W = s.p.W[l].copy()
    W -= s.p.dtype.type(s.p.alpha) * s.dW[l]
    return W


VARIATIONS: Mapping[str, Mapping[str, Any]] = {
    "sums one by one": products(one_by_one),
    "sums rounded once": products(exactly_rounded),
    "long double": products(in_long_double),
    "views that run backwards": products(reversed_strides),
    "column-major": products(fortran),
    "weights stored transposed": products(transposed),
    "einsum": products(einsum),
    "sums in two halves": products(halves),
    "the bias added": {"A": bias_apart, "dW": bias_gradient_apart},
    "gradients example by example": {"dW": example_by_example},
    "gradients in two mini-batches": {"dW": in_two_batches},
    "output and loss fused": {"delta": fused},
    "tanh' by sigmoids": {"delta": tanh_by_sigmoids},
    "sigmoid' by two sigmoids": {"delta": sigmoid_by_two},
    "σ' before G": {"delta": factors_swapped},
    "2/n first": {"G_L": two_over_n},
    "the loss row by row": {"loss": row_by_row_loss},
    "the update in place": {"W_new": descended},
}


@cache
def subject(case: str) -> Subject:
    return Subject(find(case))


def test_there_are_enough_of_them() -> None:
    assert len(VARIATIONS) * len(CASES) >= 200


@pytest.mark.parametrize("variation", VARIATIONS)
def test_a_variation_is_not_flagged(variation: str) -> None:
    complaints = []
    with np.errstate(all="ignore"):
        for case in CASES:
            ran = runs(subject(case), Loop({**STEPS, **VARIATIONS[variation]}))
            result = judge(subject(case), "refbp", ran.first, ran.again, ran.alone)
            if result["verdict"] != "conforms":
                complaints.append(f"{case}: {result['message']}")
    assert complaints == []


def test_they_are_variations() -> None:
    """Each gives other bits than refbp's lines, somewhere; but for those that only copy or view."""
    same = set()
    with np.errstate(all="ignore"):
        for name, steps in VARIATIONS.items():
            if not any(differs(case, steps) for case in CASES):
                same.add(name)
    assert same <= {
        "the update in place",
        "the bias added",
        "σ' before G",
        "column-major",
        "views that run backwards",
    }


def differs(case: str, steps: Mapping[str, Any]) -> bool:
    p = subject(case).problem
    one, other = Loop().run(p), Loop({**STEPS, **steps}).run(p)
    return one.loss.tobytes() != other.loss.tobytes() or any(  # type: ignore[union-attr]
        M.tobytes() != other.layers(q)[l].tobytes()
        for q in QUANTITIES
        for l, M in one.layers(q).items()
    )
