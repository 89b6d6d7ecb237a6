"""An error's pattern, in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance.cases.profiles import find
from conformance.judge.mistakes.pattern import pattern

P = find("typical/tanh/L3/n7/float64").problem()  # n = 7, d_L = 3
RNG = np.random.default_rng(1)
RIGHT = RNG.normal(size=(7, 3))
A = RNG.normal(size=(7, 3)) * 8
CONSTANT = "Look for a constant that is missing or counted twice."
THERE = "Look at what the code does differently there: a branch, a mask, the end of a loop."


def said(value: Any, right: Any = RIGHT, quantity: str = "delta", a: Any = A) -> tuple[str, str]:
    return pattern(np.asarray(value), right, np.full(np.shape(right), 1e-15), P, a, quantity)


def put(at: Any, value: float) -> Any:
    M = RIGHT.copy()
    M[at] = value
    return M


@pytest.mark.parametrize(
    ("value", "text", "advice"),
    [
        (put((2, 1), np.nan), "its elements are NaN in 1 of 21 places", "Look for 0/0, ∞ − ∞ or log 0 in this step."),
        (put((2, 1), np.inf), "its elements are infinite or NaN in 1 of 21 places", ""),
        (7 * RIGHT, "it is 7 (= n) times what it should be", CONSTANT),
        (RIGHT / 7, "it is 0.142857 (= 1/n) times what it should be", CONSTANT),
        (RIGHT / 3, "it is 0.333333 (= 1/d_L) times what it should be", CONSTANT),
        (-RIGHT, "it has the other sign", "Look for a minus that is missing or one too many."),
        (RIGHT * (1 + 1e-9), "it is 1 + 1.0e-09 times what it should be", CONSTANT),
        (0 * RIGHT, "it is 0 everywhere", "It was never computed, or never stored: look at the bounds of the loop."),
        (RIGHT.astype("float32").astype(float), "each of its numbers is a float32", ""),
        (RIGHT.astype("float16").astype(float), "each of its numbers is a float16", ""),
        (put((4, 2), 9.0), "only the element [4, 2] is wrong", THERE),
        (put((4, slice(None)), 9.0), "only row 4 is wrong, of one example", THERE),
        (put((slice(None), 1), 9.0), "only column 1 is wrong, of one unit", THERE),
        (np.where(A < 0, RIGHT + RIGHT**2 + 1, RIGHT), "only where A < 0", THERE),
        (np.where(A > 0, RIGHT + RIGHT**2 + 1, RIGHT), "only where A > 0", THERE),
        (np.where(np.abs(A) > 5, RIGHT + RIGHT**2 + 1, RIGHT), "only where |A| > 5", THERE),
        (RIGHT * np.arange(2, 9)[:, None], "each row (example) has a factor of its own", ""),
        (RIGHT * np.arange(2, 5), "each column (unit) has a factor of its own", ""),
        (RIGHT + 1e-8, "it is 1e-08 more than it should be, in every element", ""),
        (RIGHT + 0.25, "it is 0.25 more than it should be, in every element", ""),
        (RIGHT + RNG.normal(size=(7, 3)), "in no simple pattern", "Compute this step by hand: `conformance show` prints its operands"),
    ],
)  # fmt: skip
def test_a_pattern(value: Any, text: str, advice: str) -> None:
    found, suggestion = said(value)
    assert text in found
    assert (" elements are wrong, by up to " in found) == bool(np.isfinite(value).all())
    assert suggestion.startswith(advice)
    assert suggestion.endswith(".")


def test_the_rows_of_a_gradient_are_input_units() -> None:
    assert (
        "only row 4 is wrong, of one input unit"
        in said(put((4, slice(None)), 9.0), quantity="dW")[0]
    )


def test_a_number_alone() -> None:
    found, _ = said(np.asarray(2.0), np.asarray(1.0), "loss", None)
    assert found.startswith("it is 2 times what it should be; 1 of 1 elements")


def test_where_nothing_is_right_to_compare_with() -> None:
    found, _ = said(RIGHT, np.zeros((7, 3)))
    assert found.endswith("in no simple pattern")
