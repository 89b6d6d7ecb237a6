"""A certificate: what is known without reading a tape again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from conformance import check_function
from conformance.judge.functions.certificate import Certificate, Precision
from conformance.judge.functions.numpy_.record import record
from conformance.truth.errors import errors
from conformance.truth.rounding import Accuracy

ACCURACY = lambda name: Accuracy(4.0, 0, 4.0, 0, 0, 0)  # noqa: E731
X = np.array([[0.0, 1.0, -2.0], [4.0, 4.0, 0.5]])


def of(f: Callable[[Any], Any], c: Any) -> Certificate:
    recording = record(f, {"x": X}, "float64", {})
    return Certificate(recording, {"y": c}, ("x",), Precision("float64"), ACCURACY)


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "tanh": np.tanh,
    "softmax": softmax,
    "ties": lambda x: x.max(-1, keepdims=True) * x,
    "relu": lambda x: np.maximum(x, 0),
    "an infinite slope": lambda x: np.sqrt(np.abs(x)),
}


@pytest.mark.parametrize("f", FUNCTIONS.values(), ids=FUNCTIONS)
def test_at_zero_is_what_a_tape_with_cotangents_of_zero_says(f: Callable[[Any], Any]) -> None:
    draw = np.random.default_rng(0).standard_normal((2, 3))
    known, read = of(f, draw).at_zero(), of(f, np.zeros((2, 3)))
    assert list(known.cotangents["y"].ravel()) == [0.0] * 6
    for q, e in read.truth.items():
        finite = np.isfinite(e.hi + e.rad)
        np.testing.assert_array_equal(
            np.where(finite, e.hi, 0), np.where(finite, known.truth[q].hi, 0)
        )
        assert (known.s[q] <= read.s[q]).all()


def test_what_is_not_0_at_a_cotangent_of_zero_deviates() -> None:
    def vjp(c: Any, x: Any) -> Any:
        return c * (1 - np.tanh(x) ** 2) + (0.0 if c.any() else 1e-3)

    found = check_function(np.tanh, vjp=vjp, inputs="x=2x3", families=["ordinary"])
    bad = {(j["quantity"], j["cotangent"]) for j in found["judged"] if j["verdict"] == "deviates"}
    assert bad == {("∂x", "zero")}


def test_errors_are_read_once_where_they_decide_what_is_known_enough() -> None:
    """x − x is 0, and never known to a unit in its own last place: s says that it is known enough."""
    certificate = of(lambda x: (x - x) * x, np.ones((2, 3)))
    s = certificate.s
    assert certificate._rounded is not None
    assert certificate._rounded[0] is certificate.read
    again = errors(certificate.recording.tape, certificate.read, certificate._model())
    np.testing.assert_array_equal(s["d", "x"], again["d", "x"])
