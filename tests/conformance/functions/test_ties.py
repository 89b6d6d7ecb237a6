"""Of equal numbers at a maximum each may get any part of the gradient; together they get it once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from conformance import check_function


def largest(x: Any) -> Any:
    return x.max(-1)


def of_all(g: Any, x: Any) -> Any:
    return (x == x.max(-1, keepdims=True)) * g[:, None]


def shared(g: Any, x: Any) -> Any:
    m = x == x.max(-1, keepdims=True)
    return m * (g[:, None] / m.sum(-1, keepdims=True))


def of_the_first(g: Any, x: Any) -> Any:
    found = np.zeros_like(x)
    found[np.arange(len(x)), x.argmax(-1)] = g
    return found


def of_the_last(g: Any, x: Any) -> Any:
    return of_the_first(g, x[:, ::-1])[:, ::-1]


def of_none(g: Any, x: Any) -> Any:
    m = x == x.max(-1, keepdims=True)
    return np.where(m.sum(-1, keepdims=True) > 1, 0, m * g[:, None])


def pool(x: Any) -> Any:
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).max((3, 5))


def wide(a: Any) -> Any:
    return a.repeat(2, 2).repeat(2, 3)


def pooled_to_all(g: Any, x: Any) -> Any:
    return (x == wide(pool(x))) * wide(g)


def pooled_shared(g: Any, x: Any) -> Any:
    m = x == wide(pool(x))
    n, c, h, w = x.shape
    return m * wide(g / m.reshape(n, c, h // 2, 2, w // 2, 2).sum((3, 5)))


def greater(x: Any, y: Any) -> Any:
    return np.maximum(x, y)


def to_both(g: Any, x: Any, y: Any) -> Any:
    return g * (x >= y), g * (y >= x)


def to_neither(g: Any, x: Any, y: Any) -> Any:
    return g * (x > y), g * (y > x)


def to_the_first(g: Any, x: Any, y: Any) -> Any:
    return g * (x >= y), g * (y > x)


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


def open_(g: Any, x: Any) -> Any:
    return g * (x > 0)


def closed(g: Any, x: Any) -> Any:
    return g * (x >= 0)


def hinge(x: Any, W: Any) -> Any:
    s = x @ W
    return np.maximum(0, 1 + s - s[:, :1]).sum(-1)


def hinge_vjp(g: Any, x: Any, W: Any) -> Any:
    s = x @ W
    d = (1 + s - s[:, :1] > 0) * g[:, None]
    d[:, 0] -= d.sum(1)
    return d @ W.T, x.T @ d


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_vjp(g: Any, x: Any) -> Any:
    y = softmax(x)
    return y * (g - (g * y).sum(-1, keepdims=True))


POOLED, TWO = "x=2x3x4x6", "x=4x5, y=4x5"

RIGHT = (
    (largest, shared, "x=8x10"),
    (largest, of_the_first, "x=8x10"),
    (largest, of_the_last, "x=8x10"),
    (pool, pooled_shared, POOLED),
    (greater, to_the_first, TWO),
    (relu, open_, "x=8x10"),
    (relu, closed, "x=8x10"),
    (hinge, hinge_vjp, "x=4x5, W=5x6"),
    (softmax, softmax_vjp, "x=8x10"),
)
WRONG = (
    (largest, of_all, "x=8x10"),
    (largest, of_none, "x=8x10"),
    (pool, pooled_to_all, POOLED),
    (greater, to_both, TWO),
    (greater, to_neither, TWO),
)

Given = Callable[..., Any]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("f", "vjp", "inputs"), RIGHT, ids=[v.__name__ for _, v, _ in RIGHT])
def test_any_choice_is_right(f: Given, vjp: Given, inputs: str, dtype: str) -> None:
    found = check_function(f, vjp=vjp, inputs=inputs, dtype=dtype)
    assert found["verdict"] == "conforms", found["message"]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize(("f", "vjp", "inputs"), WRONG, ids=[v.__name__ for _, v, _ in WRONG])
def test_all_and_none_are_wrong(f: Given, vjp: Given, inputs: str, dtype: str) -> None:
    found = check_function(f, vjp=vjp, inputs=inputs, dtype=dtype)
    assert found["verdict"] == "deviates"
    assert "together they get it once" in found["mistake"]
    families = {j["family"] for j in found["judged"] if j["verdict"] == "deviates"}
    assert families <= {"ties", "zeros", "one-hot", "repeated", "rows-of-one"}


def scaled(x: Any, y: Any) -> Any:
    return np.maximum(x, 3 * y)


def scaled_vjp(g: Any, x: Any, y: Any) -> Any:
    return g * (x >= 3 * y), 3 * g * (x < 3 * y)


def test_what_does_not_stay_tied_has_no_sum() -> None:
    """x and 3y part when both are moved: their sum depends on who gets what, and is not judged."""
    found = check_function(scaled, vjp=scaled_vjp, inputs=TWO)
    assert found["verdict"] == "conforms", found["message"]


def weighed(x: Any) -> Any:
    return (x * np.arange(1.0, 6.0)).max(-1)


def weighed_vjp(g: Any, x: Any) -> Any:
    return of_the_first(g, x * np.arange(1.0, 6.0)) * np.arange(1.0, 6.0)


def test_of_a_row_neither() -> None:
    """At 0 all are the largest, and each grows at its own speed."""
    families = ["ordinary", "zeros"]
    found = check_function(weighed, vjp=weighed_vjp, inputs="x=4x5", families=families)
    assert found["verdict"] == "conforms", found["message"]


def near(x: Any) -> Any:
    return np.maximum(x.sum(-1), x[:, ::-1].sum(-1))


def near_vjp(g: Any, x: Any) -> Any:
    return g[:, None] * np.ones_like(x)


def test_nearly_equal_numbers_may_be_anything() -> None:
    """Sums in another order: which is the greater is for rounding to say."""
    found = check_function(near, vjp=near_vjp, inputs="x=4x6")
    assert found["verdict"] in ("conforms", "undecided")
