"""Every function on Taylor balls, against differences at a hundred digits, and against NumPy and SciPy."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.special
from flint import arb

from conformance.truth.balls import interval, scalar, working_precision
from conformance.truth.taylor import (
    FUNCTIONS,
    PREDICATES,
    Taylor,
    UndecidedError,
    branching,
    taylor,
    variable,
)

AT = {"arccosh": 1.7, "log_ndtr": -1.3, "erfinv": 0.4}
BINARY = (
    "add", "subtract", "multiply", "divide", "power", "float_power", "heaviside", "maximum", "minimum", "fmax",
    "fmin", "copysign", "logaddexp", "logaddexp2", "hypot", "arctan2", "xlogy", "xlog1py",
)  # fmt: skip
STEPS = ("floor", "ceil", "trunc", "rint")


@pytest.fixture(autouse=True)
def _digits() -> Iterator[None]:
    with working_precision(400):
        yield


def _differences(f: Any) -> tuple[float, float, float]:
    """f, f' and f''/2 at 0 by central differences with a step of 1e-30."""
    h = arb(10) ** -30
    plus, here, minus = f(h), f(arb(0)), f(-h)
    return (
        float(here),
        float((plus - minus) / (2 * h)),
        float((plus - 2 * here + minus) / (h * h) / 2),
    )


def _coefficients(t: Taylor) -> tuple[float, float, float]:
    return float(t.c0), float(t.c1), float(t.c2)


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in BINARY])
def test_one_argument(name: str) -> None:
    f, a = FUNCTIONS[name], scalar(AT.get(name, 0.7))
    expected = _differences(lambda h: f(Taylor(a + h)).c0)
    assert _coefficients(f(variable(a))) == pytest.approx(expected, rel=1e-13, abs=1e-25)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("swapped", [False, True])
def test_two_arguments(name: str, swapped: bool) -> None:
    f = FUNCTIONS[name]

    def both(t: Any) -> tuple[Taylor, Taylor]:
        x = Taylor(scalar(0.7) + t, arb(1) if t == 0 else arb(0))
        y = Taylor(
            scalar(1.3) + t / 4 + t * t / 8,
            *((arb(0.25), arb(0.125)) if t == 0 else ()),
        )
        return (y, x) if swapped else (x, y)

    expected = _differences(lambda h: f(*both(h)).c0 if h != 0 else f(*both(arb(0))).c0)
    assert _coefficients(f(*both(arb(0)))) == pytest.approx(expected, rel=1e-13, abs=1e-25)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_values_are_numpys_and_scipys(name: str) -> None:
    ufunc = getattr(np, name, None) or getattr(scipy.special, name, None)
    if ufunc is None:
        pytest.skip(f"this NumPy and SciPy have no {name}")
    x = np.array([AT.get(name, 0.7), AT.get(name, 0.7) + 0.2])
    arguments = (x, np.full(2, 1.3)) if name in BINARY else (x,)
    expected = ufunc(*arguments)
    got = [float(FUNCTIONS[name](*(taylor(float(a[i])) for a in arguments)).c0) for i in range(2)]
    assert got == pytest.approx(expected.tolist(), rel=1e-13)


def test_the_names_are_real() -> None:
    known = {n for n in FUNCTIONS if hasattr(np, n) or hasattr(scipy.special, n)}
    assert set(FUNCTIONS) - known <= {"softplus"}  # of newer SciPy
    assert all(hasattr(np, n) for n in PREDICATES)
    for name in BINARY:
        assert name in FUNCTIONS
    assert all(inspect.isroutine(f) or callable(f) for f in FUNCTIONS.values())


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in (*BINARY, *STEPS)])
def test_an_interval_holds_its_points(name: str) -> None:
    """Interval evaluation, on which the proof of branch points rests, encloses every point's value."""
    low = AT.get(name, 0.7)
    whole = FUNCTIONS[name](variable(interval(low, low + 0.125)))
    for x in np.linspace(low, low + 0.125, 9):
        point = FUNCTIONS[name](variable(scalar(float(x))))
        assert whole.c0.contains(point.c0)
        assert whole.c1.contains(point.c1)


def test_wide_products_hold_their_points_and_not_0() -> None:
    x = variable(interval(0.5, 50.0))
    for f in (lambda t: t * t, lambda t: t**3, lambda t: t * (0 - t)):
        whole = f(x)
        assert not whole.c0.contains(0)
        for v in np.geomspace(0.5, 50, 25):
            assert whole.c0.contains(f(variable(scalar(float(v)))).c0)


def test_a_comparison_that_is_not_decided_is_not_guessed() -> None:
    x = variable(interval(-1.0, 2.0))
    for f in (
        lambda t: t > 0,
        lambda t: t == 0,
        abs,
        lambda t: FUNCTIONS["maximum"](t, taylor(0.5)),
    ):
        with pytest.raises(UndecidedError):
            f(x)
    assert variable(scalar(1.0)) > 0
    with branching() as b:
        assert not variable(scalar(0.0)) > 0
    assert b.ties == 1


def test_what_was_decided_is_replayed() -> None:
    with branching() as b:
        assert float(abs(variable(scalar(-1.0))).c1) == -1
    with branching(tuple(b.decisions)):
        assert float(abs(variable(scalar(0.0))).c1) == -1
    with branching(()), pytest.raises(UndecidedError):
        abs(variable(scalar(1.0)))


def test_not_a_number_compares_as_numpys_does() -> None:
    nan = Taylor(arb("nan"))
    assert not nan > 0
    assert not nan <= 0
    assert nan != 0
    assert not nan == 0  # noqa: SIM201
    assert np.isnan(float(FUNCTIONS["maximum"](nan, taylor(1.0)).c0))


def test_the_running_error_bounds_what_numpy_does() -> None:
    """In float64 and float32, on a formula that loses digits, everywhere."""
    from conformance.commands.activation.curve import curve
    from conformance.commands.activation.points import points

    for dtype in ("float64", "float32"):
        f = np.finfo(dtype)
        x = points(dtype, (-60.0, 60.0))
        for g in (lambda x: np.log(1 + np.exp(x)), lambda x: (1 - np.cos(x)) * np.exp(-x * x)):
            c = curve(g, x.astype(np.float64))
            within = c.tolerance(float(f.eps) / 2, float(f.smallest_normal)) + c.value.rad
            assert (c.value.distance(g(x)) <= within).all()
            assert np.median(within / np.maximum(np.abs(c.value.hi), 1e-30)) < 1e3 * f.eps


def test_a_short_constant_is_exact_and_a_long_one_is_not() -> None:
    assert taylor(0.5).e == taylor(3).e == taylor(-0.125).e == taylor(np.inf).e == 0
    assert taylor(0.1).e == taylor(0.1).k == pytest.approx(0.2)
