"""No false alarm: whoever computes the same in another order, or stores it otherwise, conforms.

refbp itself runs, on arrays whose products and sums are taken in an order of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance.cases import FAMILIES, Case
from conformance.implementations import implementation
from conformance.judge import Subject, judge
from conformance.problem import Problem, Trace
from conformance.truth.definitions import ACTIVATIONS

NETWORKS, GROUPS = 300, 10


def pairwise(P: Any, Q: Any) -> Any:
    """The two halves of every sum apart, all the way down."""
    k = P.shape[1]
    if k == 1:
        return P * Q
    return pairwise(P[:, : k // 2], Q[: k // 2]) + pairwise(P[:, k // 2 :], Q[k // 2 :])


def in_blocks(P: Any, Q: Any) -> Any:
    return sum(P[:, i : i + 3] @ Q[i : i + 3] for i in range(0, P.shape[1], 3))


ORDERS: Mapping[str, Callable[[Any, Any], Any]] = {
    "as it is": np.matmul,
    "last to first": lambda P, Q: np.ascontiguousarray(P[:, ::-1]) @ np.ascontiguousarray(Q[::-1]),
    "one by one": lambda P, Q: np.add.accumulate(P[:, :, None] * Q, axis=1)[:, -1],
    "pairwise": pairwise,
    "einsum": lambda P, Q: np.einsum("ij,jk->ik", P, Q),
    "in blocks of three": in_blocks,
    "transposed": lambda P, Q: (np.ascontiguousarray(Q.T) @ np.ascontiguousarray(P.T)).T,
    "column-major": lambda P, Q: np.asfortranarray(P) @ np.asfortranarray(Q),
}


class Ordered(np.ndarray):
    """An array whose matrix products, and those of all that is computed from it, are `product`."""

    product: Callable[[Any, Any], Any]
    products = 0

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **more: Any) -> Any:
        plain = [np.asarray(x) if isinstance(x, Ordered) else x for x in inputs]
        if "out" in more:
            more["out"] = tuple(np.asarray(x) for x in more["out"])
        if ufunc is np.matmul:
            type(self).products += 1
            found = type(self).product(*plain)
        elif ufunc is np.add and method == "reduce":
            found = np.add.reduce(np.flip(plain[0]), *plain[1:], **more)
            found = np.flip(found) if np.ndim(found) else found
        else:
            found = getattr(ufunc, method)(*plain, **more)
        if "out" in more:
            return more["out"][0].view(type(self))
        return found.view(type(self)) if isinstance(found, np.ndarray) else found


def ordered(p: Problem, order: str) -> tuple[Problem, type[Ordered]]:
    kind = type("Kind", (Ordered,), {"product": staticmethod(ORDERS[order])})

    def of(M: Any) -> Any:
        return (np.asfortranarray(M) if order == "column-major" else M.copy()).view(kind)

    return replace(p, W={l: of(M) for l, M in p.W.items()}, X=of(p.X), Y=of(p.Y)), kind


def run(p: Problem, order: str) -> Trace:
    """refbp's trace in that order, as plain arrays again."""
    p, kind = ordered(p, order)
    t = implementation("refbp").run(p)
    assert kind.products == 3 * p.depth - 1  # L forward, L − 1 back, L gradients
    layers = {
        q: {l: np.asarray(M) for l, M in t.layers(q).items()}
        for q in ("A", "Z", "delta", "dW", "W_new")
    }
    return Trace(**layers, loss=np.asarray(t.loss))


HEADS = (
    ("", "mean_squared_error"),
    ("identity", "mean_squared_error"),
    ("softmax", "cross_entropy"),
    ("log_softmax", "log_softmax_cross_entropy"),
    ("softmax", "mean_squared_error"),
    ("sigmoid", "binary_cross_entropy"),
    ("identity", "huber"),
    ("tanh", "mean_absolute_error"),
)


def network(i: int) -> Case:
    """A network whose every choice is drawn."""
    rng = np.random.default_rng([300, i])
    L = int(rng.integers(1, 13))
    output, loss = HEADS[rng.integers(len(HEADS))]
    return Case(
        family="typical",
        activation=list(ACTIVATIONS)[i % len(ACTIVATIONS)],
        depth=L,
        batch=int(rng.integers(1, 71)),
        dtype=("float64", "float32")[rng.integers(2)],
        widths=tuple(int(d) for d in rng.integers(1, 10, size=L + 1)),
        output=output,
        loss=loss,
        bias=bool(rng.integers(2)),
        seed=1000 + i,
    )


def complaint(case: Case, order: str) -> str:
    subject = Subject(case)
    alone = run(subject.alone.problem, order) if subject.alone else None
    result = judge(subject, "refbp", run(subject.problem, order), None, alone)
    return "" if result["verdict"] == "conforms" else f"{case.id}, {order}: {result['message']}"


@pytest.mark.slow
@pytest.mark.parametrize("group", range(GROUPS))
def test_random_networks_conform_in_every_order(group: int) -> None:
    orders = list(ORDERS)
    of = range(group, NETWORKS, GROUPS)
    found = [complaint(network(i), orders[i % len(orders)]) for i in of]
    assert [c for c in found if c] == []


EVERY_KIND = [
    next(c for c in f.members(name) if c.dtype == dtype and c.depth > 1 and c.batch > 1)
    for name, f in FAMILIES.items()
    for dtype in ("float64", "float32")
    if name not in ("big", "seeds")
]


@pytest.mark.parametrize("order", ["last to first", "pairwise", "column-major"])
def test_every_family_conforms_in_another_order(order: str) -> None:
    """The family `integers` to the last bit."""
    assert {c.exact for c in EVERY_KIND} == {True, False}
    assert [x for c in EVERY_KIND if (x := complaint(c, order))] == []


def test_the_orders_are_orders_of_their_own() -> None:
    """Each gives other bits than NumPy's, on numbers where that can be seen."""
    rng = np.random.default_rng(3)
    P, Q = rng.normal(size=(7, 50)), rng.normal(size=(50, 9))
    exact = P.astype(np.longdouble) @ Q.astype(np.longdouble)
    for name, order in ORDERS.items():
        found = order(P, Q)
        assert np.abs(found - exact).max() < 1e-14, name
        if name not in ("as it is", "column-major", "transposed"):  # the same sums by BLAS
            assert (found != P @ Q).any(), name


def test_the_random_networks_are_as_various_as_they_should_be() -> None:
    drawn = [network(i) for i in range(NETWORKS)]
    assert {c.activation for c in drawn} == set(ACTIVATIONS)
    assert {c.depth for c in drawn} == set(range(1, 13))
    assert {d for c in drawn for d in c.widths} == set(range(1, 10))
    assert {c.batch for c in drawn} >= {1, 7, 64, 70}
    assert len({(c.output, c.loss) for c in drawn}) == len(HEADS)
    assert len({(c.dtype, c.bias) for c in drawn}) == 4
