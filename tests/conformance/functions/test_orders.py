"""Right code that adds in another order than the tape is within what rounding may do."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from conformance import check_function

ROUND = {"A": np.full(4, 1.0), "B": np.full(4, -1.0), "C": np.full(4, 1.7e-16)}


def three(x: Any, A: Any, B: Any, C: Any) -> Any:
    return x * A + x * B + x * C


@pytest.mark.parametrize("order", list(permutations("ABC")))
def test_three_gradients_that_meet(order: tuple[str, ...]) -> None:
    """1 − 1 + 1.7e-16: exact in one order, off by a rounding of 1 in the others."""

    def backward(dy: Any, x: Any, **of: Any) -> Any:
        a, b, c = (dy * of[n] for n in order)
        return (a + b) + c

    x = np.linspace(1, 2, 4)
    found = check_function(
        lambda x: three(x, **ROUND), vjp=lambda dy, x: backward(dy, x, **ROUND), inputs={"x": x}
    )
    assert found["verdict"] != "deviates", found["message"]
    # and three roundings of 1 are all that it may be off by
    wrong = check_function(
        lambda x: three(x, **ROUND),
        vjp=lambda dy, x: backward(dy, x, **ROUND) + 40 * 2.0**-53,
        inputs={"x": x},
    )
    assert wrong["verdict"] == "deviates"


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
