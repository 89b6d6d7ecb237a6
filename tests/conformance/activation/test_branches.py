"""Branch points found with proof, and what happens at each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from conformance.activation.branches import TooManyError, at_order, branches, order

WHOLE = (-float(np.finfo(float).max), float(np.finfo(float).max))
ROOT2 = math.sqrt(2)


def found(f: Any, domain: tuple[float, float] = WHOLE) -> list[tuple[float, str]]:
    return [(b.at, b.kind) for b in branches(f, domain)]


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (np.abs, [(0, "kink")]),
        (lambda x: np.maximum(x, 0), [(0, "kink")]),
        (lambda x: np.clip(x, 0, 6), [(0, "kink"), (6, "kink")]),
        (lambda x: x * np.clip(x + 3, 0, 6) / 6, [(-3, "kink"), (3, "kink")]),
        (lambda x: np.maximum(x, x**3), [(-1, "kink"), (0, "kink"), (1, "kink")]),
        (lambda x: np.where(x > 1e300, x, 2 * x), [(1e300, "jump")]),
        (lambda x: np.where(x > 5e-324, x, 2 * x), [(5e-324, "jump")]),
        (lambda x: np.where(x > 5e-324, x, 0 * x), [(5e-324, "jump")]),
        (lambda x: np.sign(x) * np.log1p(np.abs(x)), [(0, "smooth")]),
        (lambda x: np.heaviside(x, 0.5), [(0, "jump")]),
        (lambda x: np.select([x < -1, x < 1], [0 * x - 1, x], 1), [(-1, "kink"), (1, "kink")]),
        (lambda x: np.piecewise(x, [x < 0, x > 2], [0.0, lambda t: t - 2]), [(0, "smooth"), (2, "kink")]),
        (lambda x: np.where(np.isnan(x), 0, np.tanh(x)), []),
        (np.tanh, []),
    ],
)  # fmt: skip
def test_branch_points_that_are_floats(f: Any, expected: list[tuple[float, str]]) -> None:
    assert found(f) == expected


def test_a_branch_point_between_two_floats() -> None:
    left, right = branches(lambda x: np.where(x * x > 2, x * x, 2 + 0 * x), WHOLE)
    for b, sign in ((left, -1), (right, 1)):
        assert not b.exact
        assert b.shaky
        assert b.kind == "kink"
        assert b.at == pytest.approx(sign * ROOT2, rel=1e-15)
    assert (right.left.first, right.right.first) == (0, pytest.approx(2 * ROOT2))
    assert right.hull == (0, pytest.approx(2 * ROOT2))


def test_one_sided_values_and_derivatives() -> None:
    (b,) = branches(lambda x: np.where(x > 1, 3 * x, x * x), WHOLE)
    assert (b.kind, b.exact, b.shaky) == ("jump", True, False)
    assert (b.left.value, b.right.value, b.value) == (1, 3, 1)
    assert (b.left.first, b.right.first) == (2, 3)


def test_a_vertical_tangent_is_a_kink() -> None:
    (b,) = branches(lambda x: np.sign(x) * np.sqrt(np.abs(x)), WHOLE)
    assert b.kind == "kink"


def test_only_the_domain_is_searched() -> None:
    assert found(lambda x: np.clip(x, 0, 6), (1.0, 5.0)) == []
    assert found(lambda x: np.clip(x, 0, 6), (5.0, 7.0)) == [(6, "kink")]


@pytest.mark.parametrize("f", [np.floor, np.round, lambda x: np.where(np.sin(x) > 0, x, 0 * x)])
def test_branch_points_without_end(f: Any) -> None:
    with pytest.raises(TooManyError, match="branch points"):
        branches(f, WHOLE)


def test_the_order_of_the_floats() -> None:
    x = np.array([-np.inf, -1.7e308, -1.0, -5e-324, 0.0, 5e-324, 1.0, 1.7e308, np.inf])
    numbers = [order(float(v)) for v in x]
    assert numbers == sorted(numbers)
    assert [at_order(n) for n in numbers] == x.tolist()
    assert order(-0.0) == order(0.0) == 0
    assert order(5e-324) - order(-5e-324) == 2
