"""Right code that adds in another order than the tape is within what rounding may do."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from conformance import check_function
from conformance.judge.functions.candidate import Array, Ran
from conformance.judge.functions.certificate import Certificate, Precision
from conformance.judge.functions.judged import judged
from conformance.judge.functions.numpy_.record import record
from conformance.truth.rounding import Accuracy

ACCURACY = lambda name: Accuracy(4.0, 0, 4.0, 0, 0, 0)  # noqa: E731

CLOSE = {"y[0]": 1.0, "y[1]": -1.0, "y[2]": 1.7e-16}
"""Cotangents that cancel: added up they are exact in one order, and off by a rounding of 1 in others."""


@pytest.mark.parametrize("order", list(permutations(CLOSE)))
def test_three_gradients_that_meet(order: tuple[str, ...]) -> None:
    x = np.linspace(1, 2, 4)
    recording = record(lambda x: (x, x, x), {"x": x}, "float64", {})
    cotangents = {n: np.full(4, c) for n, c in CLOSE.items()}
    certificate = Certificate(recording, cotangents, ("x",), Precision("float64"), ACCURACY)
    a, b, c = (cotangents[n] for n in order)

    def verdict(g: Any) -> str:
        ran = Ran({}, {"x": Array(g, "float64")})
        return judged(certificate, ran, "", "")[0]["verdict"]

    assert verdict((a + b) + c) != "deviates"
    assert verdict((a + b) + c + 10 * 2.0**-53) == "deviates"


class BiasFirst(torch.autograd.Function):
    """x Wᵀ + b, added up from b on; the gradients are right."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, W: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(x, W)
        y = b.expand(len(x), -1).clone()
        for k in range(x.shape[1]):
            y = y + x[:, k : k + 1] * W[:, k]
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, ...]:
        x, W = ctx.saved_tensors
        return g @ W, g.T @ x, g.sum(0)


def test_a_sum_that_begins_with_its_bias() -> None:
    rng = np.random.default_rng(0)
    inputs = {
        "x": 1e-4 * rng.standard_normal((8, 300)),
        "W": rng.standard_normal((5, 300)),
        "b": 3 + rng.standard_normal(5),
    }
    options: dict[str, Any] = {"framework": "torch", "reference": torch.nn.functional.linear}
    found = check_function(BiasFirst, inputs=inputs, **options)
    assert found["verdict"] == "conforms", found["message"]
