"""The networks trained on real data: really trained, by refbp, and the same every time."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest

import refbp
from conformance.cases.catalogue import Case
from conformance.cases.profiles import cases
from conformance.cases.trained import trained_network
from conformance.judge.result import judged
from conformance.model.problem import Floats

DATA = [(d, s) for d in ("digits", "diabetes") for s in ("tanh", "relu")]


def output(W: dict[int, Floats], X: Floats, hidden: str, last: str) -> Floats:
    Z = X
    for l in W:
        A = Z @ W[l][:-1] + W[l][-1]
        Z = refbp.activation(hidden if l < len(W) else last)(A)
    return Z


@pytest.mark.parametrize(("data", "activation"), DATA)
def test_the_network_has_learned(data: str, activation: str) -> None:
    W, X, Y = trained_network(data, activation)
    shapes = {l: M.shape for l, M in W.items()}
    if data == "digits":
        first, last = X.shape[1], Y.shape[1]
        assert (X.shape, Y.shape) == ((1797, 64), (1797, 10))
        assert (Y.sum(axis=1) == 1).all()
        assert X.min() == 0
        assert X.max() == 1
        guesses = output(W, X, activation, "softmax").argmax(axis=1)
        assert (guesses == Y.argmax(axis=1)).mean() > 0.8
    else:
        first, last = 10, 1
        assert (X.shape, Y.shape) == ((442, 10), (442, 1))
        error = ((output(W, X, activation, "identity") - Y) ** 2).mean()
        assert error < 0.75 * Y.var()
    assert shapes[1][0] == first + 1
    assert shapes[len(W)][1] == last
    for l in range(2, len(W) + 1):
        assert shapes[l][0] == shapes[l - 1][1] + 1  # the row of the bias
    assert all(M[-1].any() for M in W.values())  # which has been trained as well


def test_it_is_the_same_every_time() -> None:
    first = trained_network("diabetes", "tanh")
    trained_network.cache_clear()
    again = trained_network("diabetes", "tanh")
    for l, M in first[0].items():
        assert M.tobytes() == again[0][l].tobytes()


def test_it_is_refbps_own_gradient_descent(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = refbp.sgd

    def recording(*args: object, **more: object) -> object:
        calls.append(more)
        return real(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(refbp, "sgd", recording)
    trained_network.cache_clear()
    trained_network("diabetes", "relu")
    assert len(calls) == 1
    assert int(str(calls[0]["epochs"])) > 1
    trained_network("diabetes", "relu")
    assert len(calls) == 1  # once for all its cases


@pytest.fixture
def no_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("sklearn", "sklearn.datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    trained_network.cache_clear()
    yield
    trained_network.cache_clear()


@pytest.mark.usefixtures("no_scikit_learn")
def test_without_scikit_learn_its_cases_do_not_run() -> None:
    for case in (_trained()[0], _trained()[-1]):
        (result,) = judged(case, ["refbp"])
        assert result["verdict"] == "not-run"
        assert result["message"].startswith("not run: ")
        assert "sklearn" in result["message"]


def _trained() -> list[Case]:
    return [c for c in cases("standard") if c.family.startswith("trained-")]


def test_a_batch_of_it_is_of_different_examples() -> None:
    for case in _trained():
        assert len(np.unique(case.problem().X, axis=0)) == case.batch
