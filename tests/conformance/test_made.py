"""Networks that are made for what an implementation says that it can do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance import Convention, run
from conformance.judge.abilities import Abilities, made
from conformance.judge.runner import run as run_on
from conformance.model.results import Results


class Naive:
    """softmax with its cross entropy; the maximum is not subtracted. Otherwise right."""

    name, activations, losses = "naive", ["tanh"], {"cross_entropy": "softmax"}

    def __init__(self, labels: bool, shift: bool) -> None:
        self.convention, self.shift = Convention(labels=labels), shift

    def run(self, p: Any) -> Any:
        Z = [p.X]
        for l, (W, b) in enumerate(zip(p.W, p.b, strict=True), 1):
            A = Z[-1] @ W + b
            Z.append(np.tanh(A) if l < len(p.W) else A)
        e = np.exp(A - A.max(axis=1, keepdims=True) * self.shift)
        Y = np.eye(A.shape[1], dtype=A.dtype)[p.Y] if p.Y.ndim == 1 else p.Y
        d, dW, db = (e / e.sum(axis=1, keepdims=True) - Y) / p.X.dtype.type(len(Y)), [], []
        for i in reversed(range(len(p.W))):
            dW.insert(0, Z[i].T @ d)
            db.insert(0, d.sum(axis=0))
            d = (d @ p.W[i].T) * (1 - Z[i] ** 2)
        return {"dW": dW, "db": db}


def overflows(right: Results, wrong: Results) -> None:
    assert right["summary"]["exit_code"] == 0, right["summary"]["message"]
    deviating = [r for r in wrong["results"] if r["verdict"] == "deviates"]
    assert {f"{r['case']}".partition("/")[0] for r in deviating} >= {"own"}
    (text,) = {r["diagnosis"][0]["text"].rpartition(": ")[2] for r in deviating[:1]}
    assert text.startswith("exp overflows, or is 0 throughout a row, in the softmax of layer")


@pytest.mark.parametrize("labels", [False, True])
def test_networks_are_made_on_which_a_naive_softmax_overflows(labels: bool) -> None:
    """With class numbers for targets it conformed: `logits` and `confident` have mixtures."""
    able = Abilities(
        ("tanh",), {"cross_entropy": ("softmax",)}, convention=Convention(labels=labels)
    )
    own = [c for c in made(able) if c.dtype == "float64" and c.depth == 2]
    assert len(own) > 1
    with np.errstate(all="ignore"):
        overflows(*(run_on(implementations=[Naive(labels, s)], own=own) for s in (True, False)))


@pytest.mark.slow
@pytest.mark.parametrize("labels", [False, True])
def test_they_are_among_all_that_are_judged(labels: bool) -> None:
    with np.errstate(all="ignore"):
        overflows(*(run(Naive(labels, s), profile="quick", jobs=0) for s in (True, False)))


def test_a_deeper_network_is_made_than_the_first_few_layers() -> None:
    able = Abilities(("tanh",), {"cross_entropy": ("softmax",)})
    assert max(c.depth for c in made(able)) == 5
