"""What is true of small networks and what is allowed them, pinned: tolerances change knowingly or not at all.

A bound that grows passes every test that it holds, and so would a slip that makes one too wide. The networks
have every σ at its kinks, poles and tails, every loss at its edges, batches that repeat themselves, in both
dtypes, with and without subnormal numbers. Of each quantity pinned.json has its truth, its root mean square
error, and its step's exact value and bounds, each as two numbers that move with the size of every element.

    python tests/conformance/test_pinned.py --write    # and say in the commit why they changed
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_rules import OPERANDS, expected

import refbp
from conformance.cases.catalogue import Case
from conformance.judge.subject import Subject
from conformance.judge.tolerance import LAMBDA, accuracy
from conformance.model.problem import QUANTITIES, Problem, Trace
from conformance.truth.definitions import ACTIVATIONS
from conformance.truth.network import Network, Truth
from conformance.truth.nodes import RULES
from conformance.truth.rounding import Accuracy, Arithmetic, Model

FILE = Path(__file__).with_name("pinned.json")
EDGES = [
    0.0,
    -0.0,
    0.75,
    -0.3,
    1.0,
    -1.0,
    3.0,
    -3.0,
    6.0,
    1e-5,
    -40.0,
    25.0,
    -2.5,
    1e-30,
    0.7,
    -9.0,
]
HEADS = {
    "softmax": "cross_entropy",
    "log_softmax": "log_softmax_cross_entropy",
    "sigmoid": "binary_cross_entropy",
}


def _alone(sigma: str, dtype: str) -> Problem:
    """One layer with A_1 = X, at the edges of σ."""
    X = np.array(EDGES, dtype).reshape(8, 2)
    Y = np.full((8, 2), 0.25, dtype)
    loss = HEADS.get(sigma, "mean_squared_error")
    return Problem({1: np.eye(2, dtype=dtype)}, X, Y, {1: sigma}, loss, False, 0.125)


def _under(loss: str, dtype: str) -> Problem:
    """The loss at its edges: targets 0 and 1, what equals its target, what is far from it."""
    Z = np.array([[0.25, 0.75], [0.5, 0.5], [0.999, 0.001], [1e-6, 0.25], [0.25, 0.25]], dtype)
    Y = np.array([[0, 1], [0.5, 0.5], [1, 0], [0.25, 0.75], [0.25, 1e-30]], dtype)
    if loss in ("mean_absolute_error", "huber"):
        Z, Y = Z * 4, Y * np.array(-2, dtype)
    return Problem({1: np.eye(2, dtype=dtype)}, Z, Y, {1: "identity"}, loss, False, 0.125)


def _deep(sigma: tuple[str, ...], loss: str, dtype: str, n: int = 6, d: int = 3) -> Problem:
    """Layers of equal width, with biases; the rows of the batch are three, repeated."""
    rng = np.random.default_rng(5)
    W = {l: rng.normal(size=(d + 1, d)).astype(dtype) for l in range(1, len(sigma) + 1)}
    X = np.repeat(rng.normal(size=(3, d)), n // 3, axis=0).astype(dtype)
    Y = np.eye(d, dtype=dtype)[rng.integers(0, d, n)]
    return Problem(W, X, Y, dict(enumerate(sigma, start=1)), loss, True, 0.1)


def _problems(dtype: str) -> Iterator[tuple[str, Problem]]:
    for sigma in refbp.ACTIVATIONS:
        yield sigma, _alone(sigma, dtype)
    for loss in refbp.LOSSES:
        yield loss, _under(loss, dtype)
    yield "deep", _deep(("tanh", "mish", "softmax"), "cross_entropy", dtype)
    yield "rows", _deep(("softmax", "log_softmax", "sigmoid"), "binary_cross_entropy", dtype)
    yield "kinks", _deep(("relu", "hardtanh", "identity"), "huber", dtype)
    yield "long", _deep(("tanh", "identity"), "mean_squared_error", dtype, n=300, d=9)


PINNED = {(name, d): p for d in ("float64", "float32") for name, p in _problems(d)}


def _digest(x: Any) -> list[float]:
    """How many are finite, and a sum that moves with the size and the sign of each of those."""
    flat = np.ravel(np.asarray(x, np.float64))
    fine = flat[np.isfinite(flat)]
    size = np.log2(np.abs(fine), where=fine != 0, out=np.full(fine.shape, -2000.0))
    weights = np.sqrt(np.arange(2, len(fine) + 2))
    total = weights @ (size + 7 * np.sign(fine)) / (weights.sum() or 1)
    return [len(fine), float(f"{total:.10g}")]


def _rounded(truth: Truth, dtype: np.dtype[Any]) -> Trace:
    """The truth as a perfect implementation returns it: the steps are read at numbers that no BLAS rounds."""
    with np.errstate(over="ignore"):  # infinite in float32
        layered = {
            q: {l: e.hi.astype(dtype) for l, e in truth.layers(q).items()} for q in QUANTITIES
        }
        return Trace(**layered, loss=truth.loss.hi.astype(dtype))


def found(name: str, dtype: str) -> dict[str, Any]:
    """Of one network: the truth, the spread and the steps, whole and flushed, rounded and not."""
    p = PINNED[name, dtype]
    network, of = Network(p), partial(accuracy, "", dtype)
    t = _rounded(network.truth, p.dtype)
    read: dict[str, Any] = {"decided": network.truth.decided}
    for q in (*QUANTITIES, "loss"):
        layers = {p.depth: network.truth.loss} if q == "loss" else network.truth.layers(q)
        read |= {f"truth {q} {l}": _digest(e.hi) for l, e in layers.items()}
    for flushes in (False, True):
        arithmetic = Arithmetic.of(p.dtype, flushes)
        spread = network.spread(arithmetic, of, LAMBDA)
        read[f"straddling {flushes}"] = spread.straddling
        for q in (*QUANTITIES, "loss"):
            sizes = {p.depth: spread.loss} if q == "loss" else spread.layers(q)
            read |= {f"spread {q} {l} {flushes}": _digest(s) for l, s in sizes.items()}
        for unrounded in (False, True):
            for (q, l), (exact, bound) in network.steps(t, arithmetic, of, unrounded).items():
                read[f"step {q} {l} {flushes} {unrounded}"] = _digest(exact.hi) + _digest(bound)
    return read


@pytest.mark.parametrize(("name", "dtype"), PINNED)
def test_the_truth_and_what_is_allowed_are_as_they_were(name: str, dtype: str) -> None:
    then: dict[str, Any] = json.loads(FILE.read_text("utf-8"))[f"{name} {dtype}"]
    now = found(name, dtype)
    assert now.keys() == then.keys()
    for key, value in now.items():
        assert value == pytest.approx(then[key], rel=1e-7, abs=1e-7), key


COARSE = 2.0**-10
ACCURACIES = {  # told apart by name, and each constant by its size
    "tanh": Accuracy(3, 5, 7, 11, 13, 17, 19),
    "softmax": Accuracy(23, 29, 31, 37, 41, 43, 47),
    "log_softmax": Accuracy(53, 59, 61, 67, 71, 73, 79),
}


def accuracy_of(name: str) -> Accuracy:
    """Of a function of one variable that nobody measured: the constants of tanh."""
    return ACCURACIES.get(name, ACCURACIES["tanh"])


def rounded(name: str) -> dict[str, Any]:
    """What a primitive's rounding and its carried errors are allowed, with nothing in its arithmetic 0."""
    rule, (two, three, params) = RULES[name], OPERANDS[name]
    read: dict[str, Any] = {}
    for k, x in enumerate((two, three)):
        draw = np.random.default_rng(k)
        y = expected(name, list(x))
        sizes = [COARSE * (1 + draw.random(np.shape(a))) for a in x]
        more = {**params, "shape": (-1,)} if name == "reshape" else params
        for worst in (False, True):
            if rule.rounding is None:
                continue
            for tiny in (
                COARSE**2,
                COARSE**3,
            ):  # the first is normal: subnormal numbers are flushed
                arithmetic = Arithmetic(COARSE, tiny, COARSE**2)
                model = Model(arithmetic, accuracy_of, worst, reach=2.0)
                lost = rule.rounding(model, y, list(x), sizes.__getitem__, **more)
                read[f"rounding {k} {worst} {tiny}"] = _digest(lost)
    return read


ROUNDED = [name for name, rule in RULES.items() if rule.rounding is not None]


@pytest.mark.parametrize("name", ROUNDED)
def test_what_a_primitive_may_lose_is_as_it_was(name: str) -> None:
    then: dict[str, Any] = json.loads(FILE.read_text("utf-8"))[f"rule {name}"]
    assert rounded(name) == {key: pytest.approx(v, rel=1e-7, abs=1e-7) for key, v in then.items()}


def test_every_activation_is_pinned() -> None:
    assert {name for name, _ in PINNED} > set(ACTIVATIONS)


def test_a_subject_reads_the_same() -> None:
    """The judge's own way to both."""
    p = PINNED["deep", "float64"]
    subject, network = Subject(Case.of(p, close=False)), Network(p)
    plain = subject.amend(())
    spread = network.spread(Arithmetic.of(p.dtype), partial(accuracy, "refbp", "float64"), LAMBDA)
    assert _digest(subject.spread("refbp", plain).dW[1]) == _digest(spread.dW[1])
    assert _digest(subject.truth(plain).dW[1].hi) == _digest(network.truth.dW[1].hi)


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    everything = {f"{name} {dtype}": found(name, dtype) for name, dtype in PINNED}
    everything |= {f"rule {name}": rounded(name) for name in ROUNDED}
    lines = [f" {json.dumps(k)}: {json.dumps(v)}" for k, v in everything.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
