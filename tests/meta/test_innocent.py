"""No false alarm: whoever computes the same in another order, or stores it otherwise, conforms.

refbp's own source runs, with its matrix products taken in orders of their own.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fast import fast

import refbp
from conformance.cases.catalogue import FAMILIES, Case
from conformance.implementations import implementation
from conformance.judge.gates import judge
from conformance.judge.subject import Subject
from conformance.model.problem import Problem, Trace
from conformance.truth.definitions import ACTIVATIONS
from refbp import algorithm

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


class Ordered(ast.NodeTransformer):
    """P @ Q becomes product(P, Q)."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.op, ast.MatMult):
            return node
        called = ast.Call(ast.Name("product", ast.Load()), [node.left, node.right], [])
        return ast.copy_location(called, node)


@cache
def procedures(order: str) -> tuple[Any, Any]:
    """FORWARD-PASS and BACKWARDPROP as they are written in refbp, but for the order of their sums."""
    tree = Ordered().visit(ast.parse(Path(algorithm.__file__).read_text(encoding="utf-8")))
    names: dict[str, Any] = {"__name__": "refbp.ordered", "product": ORDERS[order]}
    exec(compile(ast.fix_missing_locations(tree), "algorithm.py", "exec"), names)
    return names["forward_pass"], names["backward_prop"]


def run(p: Problem, order: str) -> Trace:
    """refbp's trace in that order."""
    if order == "column-major":
        W = {l: np.asfortranarray(M) for l, M in p.W.items()}
        p = replace(p, W=W, X=np.asfortranarray(p.X), Y=np.asfortranarray(p.Y))
    forward_pass, backward_prop = procedures(order)
    with pytest.MonkeyPatch.context() as m:
        m.setattr(refbp, "forward_pass", forward_pass)
        m.setattr(refbp, "backward_prop", backward_prop)
        return implementation("refbp").run(p)


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
    next(
        c
        for c in f.members(name)
        if c.dtype == dtype and c.batch > 1 and (c.depth > 1 or name in ("confident", "near-one"))
    )
    for name, f in FAMILIES.items()
    for dtype in ("float64", "float32")
    if name not in ("big", "seeds")
]


@pytest.mark.parametrize("order", fast(["last to first", "pairwise", "column-major"], "pairwise"))
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


def test_the_procedures_really_use_the_order() -> None:
    """Every one of the 3L − 1 products of a network."""
    seen = []
    with pytest.MonkeyPatch.context() as m:
        m.setitem(ORDERS, "counted", lambda P, Q: seen.append(P.shape) or P @ Q)  # type: ignore
        run(network(0).problem(), "counted")
    assert len(seen) == 3 * network(0).depth - 1


def test_the_random_networks_are_as_various_as_they_should_be() -> None:
    drawn = [network(i) for i in range(NETWORKS)]
    assert {c.activation for c in drawn} == set(ACTIVATIONS)
    assert {c.depth for c in drawn} == set(range(1, 13))
    assert {d for c in drawn for d in c.widths} == set(range(1, 10))
    assert {c.batch for c in drawn} >= {1, 7, 64, 70}
    assert len({(c.output, c.loss) for c in drawn}) == len(HEADS)
    assert len({(c.dtype, c.bias) for c in drawn}) == 4
