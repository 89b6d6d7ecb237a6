"""Branch points found with proof, and what happens at each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from conformance.commands.activation import branches as module
from conformance.commands.activation.branches import at_order, branches, local_branches, order

WHOLE = (-float(np.finfo(float).max), float(np.finfo(float).max))
ROOT2 = math.sqrt(2)


def found(f: Any, domain: tuple[float, float] = WHOLE) -> list[tuple[float, str]]:
    search = branches(f, domain)
    assert not search.unsearched
    return [(b.at, b.kind) for b in search.found]


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
    left, right = branches(lambda x: np.where(x * x > 2, x * x, 2 + 0 * x), WHOLE).found
    for b, sign in ((left, -1), (right, 1)):
        assert not b.exact
        assert b.reach > 0
        assert b.kind == "kink"
        assert b.at == pytest.approx(sign * ROOT2, rel=1e-15)
    assert (right.left.first, right.right.first) == (0, pytest.approx(2 * ROOT2))
    assert right.hull == (0, pytest.approx(2 * ROOT2))


def test_one_sided_values_and_derivatives() -> None:
    (b,) = branches(lambda x: np.where(x > 1, 3 * x, x * x), WHOLE).found
    assert (b.kind, b.exact, b.reach) == ("jump", True, 0)
    assert (b.left.value, b.right.value, b.value) == (1, 3, 1)
    assert (b.left.first, b.right.first) == (2, 3)


def test_a_vertical_tangent_is_a_kink() -> None:
    (b,) = branches(lambda x: np.sign(x) * np.sqrt(np.abs(x)), WHOLE).found
    assert b.kind == "kink"


def test_only_the_domain_is_searched() -> None:
    assert found(lambda x: np.clip(x, 0, 6), (1.0, 5.0)) == []
    assert found(lambda x: np.clip(x, 0, 6), (5.0, 7.0)) == [(6, "kink")]


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        # x + 2 is 2 in floats near 0, and in balls of few bits; as numbers they are equal at 0 alone
        (lambda x: 0.5 * x * np.clip(x + 2, 0, 2), [(-2, "kink"), (0, "smooth")]),
        (lambda x: np.clip(x + 2, 0, 2), [(-2, "kink"), (0, "kink")]),
        # e^x of all that may be 10 to 1e308 is no ball of positive numbers, but it rises
        (lambda x: np.minimum(0, np.expm1(x)), [(0, "kink")]),
        (lambda x: np.maximum(np.tanh(x), 0), [(0, "kink")]),
        # identically 0 on an interval: a tie all over it
        (lambda x: x - np.clip(x, -1, 1), [(-1, "kink"), (1, "kink")]),
        (lambda x: np.abs(x - np.clip(x, -1, 1)), [(-1, "kink"), (1, "kink")]),
        (lambda x: np.sign(x - np.clip(x, -1, 1)) + 0 * x, [(-1, "jump"), (1, "jump")]),
        (lambda x: np.maximum(x + x, 2 * x), []),
        # nearer than can ever be told, and to no effect
        (lambda x: np.clip(np.tanh(x), -1, 1), []),
        (lambda x: np.clip(expit(x), 0, 1), []),
        # a triple root, of a polynomial that cancels there
        (lambda x: np.maximum(x**3 - 3 * x * x + 3 * x - 1, 0), [(1, "smooth")]),
        (lambda x: np.maximum(np.log(np.abs(x) + 1), 0), [(0, "kink")]),
    ],
)  # fmt: skip
def test_what_looked_undecided_is_decided(f: Any, expected: list[tuple[float, str]]) -> None:
    assert found(f) == expected


@pytest.mark.zoo
@pytest.mark.parametrize("f", [np.floor, np.round, lambda x: np.where(np.sin(x) > 0, x, 0 * x)])
def test_branch_points_without_end(f: Any) -> None:
    """Those where values live are found, and what is left is named."""
    search = branches(f, WHOLE)
    assert len(search.found) > 6
    assert all(abs(b.at) < 100 for b in search.found)
    (low, first), *_, (last, high) = search.unsearched
    assert (low, high) == WHOLE
    assert first < -2 < 2 < last
    ends = [x for pair in search.unsearched for x in pair]
    assert ends == sorted(ends)
    assert not any(a < b.at < z for b in search.found for a, z in search.unsearched)


def test_a_lone_kink_is_found_beside_a_million(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Any) -> Any:
        return np.floor(np.maximum(x, 1e6)) + np.maximum(x, 3) + np.maximum(x, -1e-9)

    search = branches(f, WHOLE)
    assert {3.0, -1e-9} <= {b.at for b in search.found if b.kind == "kink"}
    assert all(x > 9e5 for pair in search.unsearched for x in pair)
    monkeypatch.setattr(module, "MOST_EVALUATIONS", 50)
    assert branches(f, WHOLE).unsearched


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.maximum(np.expm1(x) - np.sin(x), np.tanh(x) * (x - 3)),
        lambda x: np.where(x**3 - 3 * x * x + 3 * x - 1 > 0, x, np.abs(x * x - x)),
        lambda x: np.clip(x * expit(1.702 * x) - np.log1p(np.exp(x - 1)), -0.25, np.sqrt(np.abs(x))),
        lambda x: np.where(x - np.clip(x, -1, 2) == 0, np.sign(x / 3 - 0.1), np.exp(-x * x) - 0.5),
        lambda x: np.maximum(np.minimum(1 / (1 + x * x), 0.3), np.arctan(x) / 7),
    ],
)  # fmt: skip
def test_no_comparison_flips_on_an_interval_that_is_decided(
    f: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held against points within it."""
    decided, rng, whole = module._Points.decided, np.random.default_rng(3), []

    def kept(points: Any, low: int, high: int) -> bool:
        if answer := decided(points, low, high):
            whole.append((low, high))
        return answer

    monkeypatch.setattr(module._Points, "decided", kept)
    assert not branches(f, (-50, 60)).unsearched
    points = module._Points(f)
    for low, high in whole:
        within = [low + int(t * (high - low)) for t in rng.uniform(size=4)]
        assert len({tuple(points[n].decisions or ()) for n in (low, *within, high)}) == 1


def test_branch_points_among_points() -> None:
    at = [b.at for b in local_branches(np.floor, [0.5, 1.0, 1.5, 7.0, 1e300])]
    assert at == [1.0, 7.0, 1e300]


def test_the_order_of_the_floats() -> None:
    x = np.array([-np.inf, -1.7e308, -1.0, -5e-324, 0.0, 5e-324, 1.0, 1.7e308, np.inf])
    numbers = [order(float(v)) for v in x]
    assert numbers == sorted(numbers)
    assert [at_order(n) for n in numbers] == x.tolist()
    assert order(-0.0) == order(0.0) == 0
    assert order(5e-324) - order(-5e-324) == 2
