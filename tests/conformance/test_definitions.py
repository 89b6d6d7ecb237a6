"""What each activation and loss is, against textbook formulas in mpmath, differentiated numerically."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import flint
import mpmath as mp
import numpy as np
import pytest
from flint import arb

import refbp
from conformance.truth.definitions import (
    ACTIVATIONS,
    LOSSES,
    ROW_WISE,
    TERMS,
    Definition,
    Point,
    loss_at,
)
from conformance.truth.nodes import op
from conformance.truth.readings import in_balls
from conformance.truth.tape import Tape

# --- textbook formulas ----------------------------------------------------------------------------

SELU_ALPHA = "1.6732632423543772848170429916717"
SELU_SCALE = "1.0507009873554804934193349852946"


def logistic(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def log1pexp(x: Any) -> Any:
    return mp.log(1 + mp.exp(x))


def cubic(x: Any) -> Any:
    return mp.sqrt(8 / mp.pi) * (x + mp.mpf("0.044715") * x**3)


TEXTBOOK: Mapping[str, Callable[[Any], Any]] = {
    "identity": lambda x: x,
    "sigmoid": logistic,
    "tanh": lambda x: (mp.exp(2 * x) - 1) / (mp.exp(2 * x) + 1),
    "relu": lambda x: max(x, mp.mpf(0)),
    "leaky_relu": lambda x: x if x > 0 else x / 100,
    "elu": lambda x: x if x > 0 else mp.exp(x) - 1,
    "selu": lambda x: mp.mpf(SELU_SCALE) * (x if x > 0 else mp.mpf(SELU_ALPHA) * (mp.exp(x) - 1)),
    "celu": lambda x: max(mp.mpf(0), x) + min(mp.mpf(0), mp.exp(x) - 1),
    "gelu": lambda x: x * mp.erfc(-x / mp.sqrt(2)) / 2,
    "gelu_tanh": lambda x: x * logistic(cubic(x)),
    "silu": lambda x: x * logistic(x),
    "softplus": log1pexp,
    "softsign": lambda x: x / (1 + abs(x)),
    "mish": lambda x: x * mp.tanh(log1pexp(x)),
    "hardtanh": lambda x: min(max(x, mp.mpf(-1)), mp.mpf(1)),
    "relu6": lambda x: min(max(x, mp.mpf(0)), mp.mpf(6)),
    "hardsigmoid": lambda x: min(max(x + 3, mp.mpf(0)), mp.mpf(6)) / 6,
    "hardswish": lambda x: x * min(max(x + 3, mp.mpf(0)), mp.mpf(6)) / 6,
    "logsigmoid": lambda x: mp.log(logistic(x)),
    "sin": mp.sin,
    "gaussian": lambda x: mp.exp(-(x**2)),
}

POINTS = [s * a for a in (2.0**-30, 0.1, 0.7584042064306394, 1.25, 2.75, 5.5, 12.5, 37.0, 103.5,
                          745.25, 1000.0) for s in (1, -1)]  # fmt: skip
ASYMPTOTIC = ("gelu", "gaussian", "gelu_tanh")  # of e^(−a²) and steeper: no sum with 1 to hold it


@contextmanager
def bits(n: int) -> Iterator[None]:
    before = flint.ctx.prec
    flint.ctx.prec = n
    try:
        yield
    finally:
        flint.ctx.prec = before


def exactly(b: Any) -> Any:
    """The midpoint of a ball in mpmath, without rounding."""
    man, exp = b.mid().man_exp()
    return mp.ldexp(mp.mpf(int(man)), int(exp))


def radius(b: Any) -> Any:
    return exactly(b.rad())


def agree(ball: Any, reference: Any, relative: Any) -> None:
    off = abs(exactly(ball) - reference)
    assert off <= radius(ball) + relative * abs(reference), mp.nstr(off, 5)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_definition_is_the_textbooks(name: str) -> None:
    f = TEXTBOOK[name]
    for a in POINTS:
        digits = 80 if name in ASYMPTOTIC else 80 + int(0.9 * abs(a))
        with mp.workdps(digits), bits(300):
            point = ACTIVATIONS[name](arb(a))
            assert point.decided
            agree(point.value, f(mp.mpf(a)), mp.mpf(10) ** -60)
            for n, derivative in ((1, point.first), (2, point.second)):
                # mpmath works with (n + 1)·digits here: what is left is of the order of the step
                reference = mp.diff(f, mp.mpf(a), n, h=mp.mpf(10) ** -digits)
                size = abs(f(mp.mpf(a))) * mp.mpf(10) ** (40 - digits)
                allowed = abs(reference) * mp.mpf(10) ** -30 + size
                off = abs(exactly(derivative) - reference)
                assert off <= radius(derivative) + allowed, (name, a, n)


def test_every_definition_has_a_textbook() -> None:
    assert list(TEXTBOOK) == list(ACTIVATIONS)
    elementwise = [row.name for row in refbp.ACTIVATIONS.values() if row.name not in ROW_WISE]
    assert list(ACTIVATIONS) == elementwise
    assert set(ROW_WISE) == {"softmax", "log_softmax"}
    assert set(LOSSES) == set(refbp.LOSSES) == set(OF_LOSSES)


# --- kinks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_kinks_and_their_conventions_are_refbps(name: str) -> None:
    row = refbp.activation(name)
    assert isinstance(row, refbp.Elementwise)
    with bits(200):
        ours = {float(a): float(arb(d).mid()) for a, d in ACTIVATIONS[name].kinks.items()}
        taken = {a: float(ACTIVATIONS[name](arb(a)).first.mid()) for a in ours}
    assert taken == ours
    assert ours == pytest.approx(row.kinks, rel=2.0**-52)  # selu's is a product, rounded once there
    for a, d in row.kinks.items():
        assert row.derivative(np.array([[float(a)]])).item() == d


JUMPS = {
    "relu": {0: 1},
    "leaky_relu": {0: 0.99},
    "selu": {0: 1.0507009873554805 * 0.6732632423543773},
    "hardtanh": {-1: 1, 1: 1},
    "relu6": {0: 1, 6: 1},
    "hardsigmoid": {-3: 1 / 6, 3: 1 / 6},
    "hardswish": {-3: 0.5, 3: 0.5},
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_kink_is_where_the_derivative_jumps(name: str) -> None:
    """By how much, and nowhere else: elu, celu and softsign join smoothly."""
    with bits(128):
        found = ACTIVATIONS[name].jumps()
    assert found == pytest.approx(JUMPS.get(name, {}), rel=1e-14)
    assert set(found) == set(ACTIVATIONS[name].kinks)


def test_a_break_that_is_no_kink_belongs_to_both_sides() -> None:
    for name, second in (("elu", (0, 1)), ("celu", (0, 1)), ("softsign", (-2, 2))):
        point = ACTIVATIONS[name](arb(0))
        assert point.decided
        assert point.value == 0
        assert point.first == 1
        assert all(point.second.contains(arb(s)) for s in second)


def test_a_ball_across_a_break_gives_the_hull_of_both_sides() -> None:
    wide = arb(0, 1e-10)
    for name, slopes in (("relu", (0, 1)), ("leaky_relu", (0.01, 1)), ("elu", (1,))):
        point = ACTIVATIONS[name](wide)
        assert not point.decided
        assert all(point.first.contains(arb(s).mid()) for s in slopes)
        assert float(point.first.rad()) < 0.51
        assert all(point.value.contains(arb(v)) for v in (0, 1e-10))
    assert ACTIVATIONS["relu"](arb(0.5, 0.25)).decided
    assert ACTIVATIONS["relu"](arb(0.5, 0.25)).first == 1
    assert not ACTIVATIONS["hardtanh"](arb(1, 1e-30)).decided


def test_a_ball_across_two_breaks_gives_the_hull_of_all_three() -> None:
    point = ACTIVATIONS["hardtanh"](arb(0, 2))
    assert not point.decided
    assert all(point.value.contains(arb(v)) for v in (-1, 0, 1))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_wide_ball_encloses_what_its_points_give(name: str) -> None:
    with bits(128):
        for mid in (-3.0, -1.0, 0.0, 0.3, 1.0, 6.0):
            hull = ACTIVATIONS[name](arb(mid, 0.125))
            for a in np.linspace(mid - 0.125, mid + 0.125, 9):
                point = ACTIVATIONS[name](arb(float(a)))
                for of_hull, of_point in zip(hull[:3], point[:3], strict=True):
                    assert of_hull.overlaps(of_point)
                    assert abs(of_point - of_hull.mid()).lower() <= of_hull.rad()


def test_the_logistic_of_a_ball_about_0_is_no_wider_than_it_is_steep() -> None:
    """It rises by a quarter there."""
    with bits(128):
        for name in ("sigmoid", "silu"):
            r = 2.0**-20
            value = ACTIVATIONS[name](arb(0, r)).value
            steep = 0.25 if name == "sigmoid" else 0.5
            assert value.contains(ACTIVATIONS[name](arb(r)).value)
            assert value.contains(ACTIVATIONS[name](arb(-r)).value)
            assert float(value.rad()) <= 1.01 * steep * r


def test_a_convention_may_stand_where_there_is_no_break() -> None:
    """As a known difference has it: the float next to a kink."""
    sigma = Definition((lambda x: 2 * x,), kinks={0.5: 7})
    assert sigma(arb(0.5)).first == 7
    assert sigma(arb(0.25)).first == 2
    assert sigma(arb(0.5, 0.125)).first == 2


# --- row-wise -------------------------------------------------------------------------------------


def mp_softmax(row: list[Any]) -> list[Any]:
    total = sum(mp.exp(a) for a in row)
    return [mp.exp(a) / total for a in row]


def mp_log_softmax(row: list[Any]) -> list[Any]:
    return [mp.log(z) for z in mp_softmax(row)]


@pytest.mark.parametrize(("name", "f"), [("softmax", mp_softmax), ("log_softmax", mp_log_softmax)])
@pytest.mark.parametrize(
    "row",
    [[0.5], [0.25, -1.5, 2.0], [1000.0, -1000.0, 999.0], [0.0, 0.0, 0.0, 0.0], [700.0, -45.0]],
)
def test_a_row_wise_definition_is_the_textbooks(name: str, f: Any, row: list[float]) -> None:
    m = len(row)
    G = [(-1) ** j * (j + 0.75) for j in range(m)]
    tape = Tape()
    x = tape.leaf(np.array([row]))
    tape.gradients([(getattr(op, name)(x), tape.leaf(np.array([G])))], [(x, "x")])
    vjp = in_balls(tape).at["x"]
    assert vjp.narrow().all()
    with mp.workdps(2000), bits(300):
        value = ROW_WISE[name]([arb(x) for x in row])
        for found, expected in zip(value, f([mp.mpf(x) for x in row]), strict=True):
            agree(found, expected, mp.mpf(10) ** -60)
        for i in range(m):

            def along(t: Any, i: int = i) -> Any:
                moved = [mp.mpf(x) + (t if j == i else 0) for j, x in enumerate(row)]
                return sum(mp.mpf(y) * z for y, z in zip(G, f(moved), strict=True))

            expected = mp.diff(along, 0, h=mp.mpf(10) ** -900)
            middle, rad = (mp.mpf(float(x[0, i])) for x in (vjp.hi, vjp.rad))
            off = abs(middle + mp.mpf(float(vjp.lo[0, i])) - expected)
            assert off <= rad + abs(expected) * mp.mpf(10) ** -400


# --- losses ---------------------------------------------------------------------------------------

OF_LOSSES: Mapping[str, Callable[[Any, Any], Any]] = {
    "mean_squared_error": lambda z, y: (z - y) ** 2,
    "cross_entropy": lambda z, y: -y * mp.log(z),
    "log_softmax_cross_entropy": lambda z, y: -y * z,
    "binary_cross_entropy": lambda z, y: -y * mp.log(z) - (1 - y) * mp.log(1 - z),
    "mean_absolute_error": lambda z, y: abs(z - y),
    "huber": lambda z, y: (z - y) ** 2 / 2 if abs(z - y) <= 1 else abs(z - y) - mp.mpf(1) / 2,
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_the_textbooks(name: str) -> None:
    for z, y in ((0.25, 0.5), (0.75, 0.125), (2.0**-40, 0.5), (1 - 2.0**-40, 0.5), (0.5, 0.25)):
        for by in (0, 0 if "entropy" in name else 3, 0 if "entropy" in name else -3):
            with mp.workdps(100), bits(300):
                ball, at = arb(z + by), mp.mpf(z + by)
                agree(
                    loss_at(name, ball, arb(y)).value,
                    OF_LOSSES[name](at, mp.mpf(y)),
                    mp.mpf(10) ** -80,
                )
                expected = mp.diff(
                    lambda t, y=y: OF_LOSSES[name](t, mp.mpf(y)), at, h=mp.mpf(10) ** -45
                )
                agree(loss_at(name, ball, arb(y)).first, expected, mp.mpf(10) ** -25)


def test_the_conventions_of_the_losses() -> None:
    def absolute(z: Any) -> Point:
        return loss_at("mean_absolute_error", z, arb(2))

    def huber(z: Any) -> Point:
        return loss_at("huber", z, arb(2))

    assert absolute(arb(2)).first == 0
    undecided = absolute(arb(2, 1e-9))
    assert all(undecided.first.contains(arb(s)) for s in (-1, 0, 1))
    assert not undecided.decided
    assert absolute(arb(3, 1e-9)).decided
    assert (huber(arb(3)).first, huber(arb(1)).first) == (1, -1)
    assert huber(arb(3)).value == 0.5
    across = huber(arb(3, 0.125))
    assert all(across.value.contains(arb(t)) for t in (0.875**2 / 2, 0.625))
    assert across.first.contains(arb(0.875))
    assert across.first.contains(arb(1))
    assert huber(arb(-3)).first == -1


def test_a_class_of_no_probability_costs_nothing() -> None:
    """0 log 0 is 0, and so is its derivative: one-hot targets of saturated outputs."""
    for name in ("cross_entropy", "binary_cross_entropy"):
        at = loss_at(name, arb(0), arb(0))
        assert (at.value, at.first) == (0, 0 if name == "cross_entropy" else 1)
    at = loss_at("binary_cross_entropy", arb(1), arb(1))
    assert (at.value, at.first) == (0, -1)


def test_a_loss_is_infinite_where_it_is() -> None:
    for name, z, y in (
        ("cross_entropy", 0, 1),
        ("binary_cross_entropy", 1, 0),
        ("binary_cross_entropy", 0, 0.5),
    ):
        at = loss_at(name, arb(z), arb(y))
        assert float(at.value) == math.inf
        assert float(at.first) == (math.inf if z else -math.inf)


def test_the_decimal_constants_are_decimal() -> None:
    """0.01 is a hundredth, not the float nearest to it; and so are the constants of selu."""
    with mp.workdps(60), bits(200):
        slope = ACTIVATIONS["leaky_relu"](arb(-1)).first
        assert slope.contains(flint.fmpq(1, 100))
        assert not slope.contains(arb(0.01))
        agree(ACTIVATIONS["selu"](arb(1)).first, mp.mpf(SELU_SCALE), mp.mpf(10) ** -50)


@pytest.mark.parametrize("name", [*ACTIVATIONS, *TERMS])
def test_of_nothing_known_nothing_is_known(name: str) -> None:
    """A NaN that an implementation returned is no reason to stop judging."""
    for a in (arb("nan"), arb("inf"), arb("-inf"), arb(0, "inf")):
        point = {**ACTIVATIONS, **TERMS}[name](a)
        assert not a.is_nan() or all(point[i].is_nan() for i in range(3))
