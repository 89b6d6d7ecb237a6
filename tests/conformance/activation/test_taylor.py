"""Every function on Taylor balls, against differences at a hundred digits, and against NumPy and SciPy."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.special
from flint import arb, arb_series

from conformance.truth.balls import interval, scalar, working_precision
from conformance.truth.definitions import ACTIVATIONS
from conformance.truth.taylor import (
    FUNCTIONS,
    PREDICATES,
    Taylor,
    UndecidedError,
    apart,
    branching,
    expand,
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


# --- what comparisons answer ----------------------------------------------------------------------


@pytest.mark.parametrize("sign", [-1, 0, 1])
def test_every_comparison_at_every_sign(sign: int) -> None:
    x, y, z = variable(scalar(0.5 + sign)), taylor(0.5), float(sign)
    answers = {
        "greater": z > 0, "less": z < 0, "greater_equal": z >= 0, "less_equal": z <= 0, "equal": z == 0,
        "not_equal": z != 0,
    }  # fmt: skip
    assert {name: PREDICATES[name](x, y) for name in answers} == answers
    assert [x > y, x < y, x >= y, x <= y, x == y, x != y] == list(answers.values())
    assert [x > 0.5, x < 0.5, x >= 0.5, x <= 0.5] == [z > 0, z < 0, z >= 0, z <= 0]
    assert bool(x - 0.5) == bool(sign)
    assert float(FUNCTIONS["sign"](x - 0.5).c0) == sign
    assert float(FUNCTIONS["heaviside"](x - 0.5, taylor(0.25)).c0) == (0, 0.25, 1)[sign + 1]
    assert float(FUNCTIONS["copysign"](taylor(3.0), x - 0.5).c0) == (-3 if sign < 0 else 3)
    assert float(FUNCTIONS["cbrt"](8 * (x - 0.5)).c0) == pytest.approx(2 * sign)


NAN = Taylor(arb("nan"))


def test_no_number_is_handed_on() -> None:
    """By what compares too; and at 0 a cube root has no derivative."""
    for name in ("maximum", "minimum", "fmax", "fmin"):
        for pair in ((NAN, taylor(1.0)), (taylor(1.0), NAN)):
            assert FUNCTIONS[name](*pair).nan
    assert FUNCTIONS["sign"](NAN).nan
    assert FUNCTIONS["heaviside"](NAN, taylor(1.0)).nan
    assert float(FUNCTIONS["nan_to_num"](NAN).c0) == 0
    assert PREDICATES["isnan"](NAN)
    assert not PREDICATES["isfinite"](NAN)
    at = FUNCTIONS["cbrt"](variable(scalar(0.0)))
    assert at.c0 == 0
    assert at.c1.is_nan()
    assert at.c2.is_nan()


def test_a_question_too_many_is_not_answered() -> None:
    """Whoever replays knows what was asked."""
    x = variable(scalar(1.5))
    for f in (FUNCTIONS["absolute"], PREDICATES["isnan"], FUNCTIONS["floor"]):
        with (
            branching(()),
            pytest.raises(UndecidedError, match=r"^more comparisons than there were$"),
        ):
            f(x)
    with branching((1,)), pytest.raises(UndecidedError, match="more comparisons"):
        FUNCTIONS["floor"](x)


def test_whether_it_is_a_number_is_answered_as_it_was() -> None:
    x = variable(scalar(1.5))
    with branching() as b:
        assert not PREDICATES["isnan"](x)
        assert PREDICATES["isnan"](NAN)
    assert b.decisions == [1, 2]
    with branching((2, 1)):
        assert PREDICATES["isnan"](x)
        assert not PREDICATES["isnan"](NAN)


def test_a_step_is_replayed_and_a_tie_is_counted() -> None:
    """What was decided of each: the whole number, and whether x was at a step."""
    f = FUNCTIONS["floor"]
    with branching() as b:
        assert float(f(variable(scalar(2.5))).c0) == 2
        assert float(f(variable(scalar(-3.0))).c0) == -3
    assert (b.decisions, b.ties) == ([2, 0, -3, 1], 1)
    with branching((7, 0, -1, 1)) as again:
        assert [float(f(variable(scalar(2.5))).c0) for _ in range(2)] == [7, -1]
    assert again.decisions == [7, 0, -1, 1]
    with branching() as b:
        f(Taylor(arb(2.75), arb(1), e=0.5))  # a quarter below 3
    assert b.margin == 0.5
    with branching() as b:
        FUNCTIONS["rint"](Taylor(arb(2.75), arb(1), e=0.5))  # a quarter above 2½
    assert b.margin == 0.5


def test_a_half_is_rounded_to_the_even_number() -> None:
    halves = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.25, -2.75]
    got = [float(FUNCTIONS["rint"](variable(scalar(x))).c0) for x in halves]
    assert got == np.rint(halves).tolist()


def test_one_of_two_that_no_float_tells_apart_need_not_be_chosen() -> None:
    """What is known of both is: the hull of their values, the larger of their errors."""
    wide, wider = arb(1, 1e-60), arb(1, 2e-60)
    for exact in (True, False):
        x = Taylor(wide, arb(2), arb(3), e=1, k=2, s=3, k1=4, exact=exact)
        y = Taylor(wider, arb(2, 1e-60), arb(5), e=4, k=3, s=2, k1=1)
        for name in ("maximum", "minimum"):
            with branching() as b:
                found = FUNCTIONS[name](x, y)
            assert b.decisions == [3]
            assert found.c0.contains(wider)
            assert found.c1.contains(arb(2, 1e-60))
            assert (found.e, found.k, found.s, found.k1, found.exact) == (4, 3, 3, 4, exact)
            if exact:
                assert found.c2.contains(arb(3))
                assert found.c2.contains(arb(5))
            else:
                assert found.c2.is_nan()  # σ' may jump on the way
    far = Taylor(arb(1, 1e-20), arb(2))
    with pytest.raises(UndecidedError):
        FUNCTIONS["maximum"](Taylor(wide, arb(2)), far)


# --- on an interval -------------------------------------------------------------------------------


RISING = (
    "exp", "exp2", "exp10", "expm1", "log", "log2", "log10", "log1p", "sqrt", "arcsin", "arctan", "sinh", "tanh",
    "arcsinh", "arctanh", "erf", "erfinv", "expit", "softplus",
)  # fmt: skip


@pytest.mark.parametrize("name", RISING)
def test_what_rises_does_so_however_wide_the_interval(name: str) -> None:
    """And where x falls, so does it: a ball of its derivative may hold 0."""
    low, high = {"arcsin": (-0.99, 0.99), "arctanh": (-0.99, 0.99), "erfinv": (-0.99, 0.99)}.get(
        name, (1e-3, 30.0) if name in ("log", "log2", "log10", "log1p", "sqrt") else (-30.0, 30.0)
    )
    x = variable(interval(low, high))
    assert FUNCTIONS[name](x).direction == 1
    assert FUNCTIONS[name](variable(interval(-high, -low)) * -1).direction == -1
    assert FUNCTIONS[name](x * 0 + low).direction == 0


def test_which_way_a_function_goes_all_over_an_interval() -> None:
    x, c = variable(interval(0.01, 100.0)), taylor(0.3)
    square = x * x
    known = {
        1: [
            x,
            x + 1,
            x * c,
            x / c,
            square,
            square * square,
            square * square + x,
            square - 1 / x,
            1 - 1 / x,
        ],
        -1: [-x, 1 - x, x * -c, x / -c, -square * square, 1 / x, -x - square],
        0: [x * 0, taylor(2.0), x * 0 + 3, 1 / (x * 0 + 2)],
    }
    for direction, of in known.items():
        assert [t.direction for t in of] == [direction] * len(of)
    short = variable(interval(1.0, 1.5))
    for falls in (
        FUNCTIONS["reciprocal"],
        FUNCTIONS["erfc"],
        FUNCTIONS["cos"],
        FUNCTIONS["arccos"],
    ):
        assert falls(short / 2).direction == -1
    wide = variable(interval(-1.0, 1.0))
    for unknown in (wide * wide, FUNCTIONS["cosh"](wide), square * square - square):
        assert unknown.direction is None


def test_a_comparison_goes_the_way_of_its_left_less_its_right() -> None:
    x = variable(interval(0.01, 100.0))
    quartic = (x * x) * (x * x)
    assert apart(quartic, 1.0).direction == 1
    assert apart(1.0, quartic).direction == -1
    assert apart(quartic, -quartic).direction == 1
    assert apart(quartic, quartic).direction is None
    rounded = x * 0.1  # of a constant nothing is lost, nor by the comparison
    assert apart(rounded, 0.1).e == rounded.e == apart(0.1, rounded).e > 0
    assert apart(taylor(0.1), 0.3).e == 0
    void = FUNCTIONS["log"](variable(interval(-2.0, -1.0)))
    assert apart(void, 0.0).nan
    assert apart(0.0, void).nan


def test_beyond_its_domain_a_function_is_no_number_anywhere() -> None:
    """And so is whatever is made of it; where a part is within, nobody knows."""
    beyond, across = variable(interval(-3.0, -2.0)), variable(interval(-2.0, 0.5))
    for name in ("log", "log2", "log10", "log1p", "sqrt", "arcsin", "arccosh", "arctanh"):
        found = FUNCTIONS[name](beyond)
        for t in (
            found,
            -found,
            found + 1,
            1 - found,
            found * beyond,
            beyond / found,
            2 / found,
            found**3,
        ):
            assert t.nan
        assert (found.e, found.k, found.s) == pytest.approx((found.e, 0, 1), nan_ok=True)
    for name in ("log", "log1p", "arcsin", "arctanh"):
        found = FUNCTIONS[name](across)
        assert found.c0.is_nan()
        assert not found.nan
        with pytest.raises(UndecidedError):
            PREDICATES["isnan"](found)
    assert (beyond**0.3).nan


def at_its_ends(f: Any, low: float, high: float) -> int:
    """The sign that f is decided to have all over an interval, knowing its two ends."""
    kept = []
    for at in (low, high):
        with branching() as b:
            FUNCTIONS["sign"](f(variable(scalar(at))))
        kept.append(b.compared)
    way = interval(0.0, high - low)
    with branching(ends=((kept[0], way), (kept[1], -way))) as b:
        FUNCTIONS["sign"](f(variable(interval(low, high))))
    return b.decisions[0]


def test_what_rises_lies_between_its_ends() -> None:
    """The ball of x² from 1 to 10¹⁶ holds 0, for its radius has 30 bits."""

    def square(x: Any) -> Any:
        return x * x - 1

    def minus(x: Any) -> Any:
        return 1 - x * x

    assert (square(variable(interval(1.01, 1e8))).c0 > 0) is False
    assert at_its_ends(square, 1.01, 1e8) == 1
    assert at_its_ends(minus, 1.01, 1e8) == -1
    assert at_its_ends(square, -1e8, -1.01) == 1
    assert at_its_ends(minus, -1e8, -1.01) == -1
    assert at_its_ends(lambda x: x * 0 + 0.1 - 0.3, 0.1, 10.0) == -1
    for f in (square, minus):
        with pytest.raises(UndecidedError):
            at_its_ends(f, 0.5, 1e8)


def test_between_its_ends_a_function_is_enclosed_by_its_derivatives() -> None:
    """x² − x + 0.26 is 0.01 at ½, and neither rises nor falls all over the interval."""
    assert at_its_ends(lambda x: x * x - x + 0.26, 0.45, 0.55) == 1
    assert at_its_ends(lambda x: x - x * x - 0.26, 0.45, 0.55) == -1
    with pytest.raises(UndecidedError):
        at_its_ends(lambda x: x * x - x + 0.249, 0.45, 0.55)


def test_an_end_that_is_no_number_shows_nothing() -> None:
    x = variable(interval(-1.0, 1.0))
    ends = (({0: NAN}, interval(0.0, 2.0)), ({0: taylor(1.0)}, interval(-2.0, 0.0)))
    with branching(ends=ends), pytest.raises(UndecidedError):
        FUNCTIONS["sign"](x)
    with branching(ends=ends[1:]), pytest.raises(UndecidedError):
        FUNCTIONS["sign"](x)


def test_0_all_over_an_interval_is_no_point() -> None:
    x = variable(interval(1.0, 2.0))
    for name in ("absolute", "cbrt"):
        assert not FUNCTIONS[name](x * 0).exact
        assert FUNCTIONS[name](variable(scalar(0.0))).exact
    assert not FUNCTIONS["logaddexp"](x, taylor(1.0)).exact
    assert not FUNCTIONS["logaddexp"](taylor(1.0), x).exact
    assert not FUNCTIONS["xlogy"](x * 0, x).exact
    assert FUNCTIONS["gammaln"](variable(scalar(0.7))).exact
    assert not FUNCTIONS["gammaln"](x).exact


@pytest.mark.parametrize(("low", "high"), [(-(2.0**-10), 2.0**-10), (-0.25, 0.5), (0.0, 0.125)])
def test_sinc_is_enclosed_about_0(low: float, high: float) -> None:
    """Its slope is no steeper than π²/3·|x|, and its curve bends no more than that."""
    sinc = FUNCTIONS["sinc"]
    whole = sinc(variable(interval(low, high)))
    for x in [*np.linspace(low, high, 9).tolist(), 0.0]:
        point = sinc(variable(scalar(x)))
        assert whole.c0.contains(point.c0)
        assert whole.c1.contains(point.c1)
        assert whole.c2.contains(point.c2)
    assert float(whole.c1.abs_upper()) <= 1.001 * np.pi**2 / 3 * max(-low, high)
    assert float(whole.c2.abs_upper()) <= 1.001 * np.pi**2 / 6


def test_sinc_at_0() -> None:
    assert _coefficients(FUNCTIONS["sinc"](variable(scalar(0.0)))) == (
        1,
        0,
        pytest.approx(-(np.pi**2) / 6),
    )


# --- what rounding may do -------------------------------------------------------------------------


def errors(t: Taylor) -> tuple[float, float, float, float]:
    return t.e, t.k, t.s, t.k1


def test_what_arithmetic_loses_by_hand() -> None:
    """x = 1½, off by 1; y = 2½, by 3: an error of either times the other, and a rounding of what comes."""
    x, y = (
        Taylor(arb(1.5), arb(1), e=1, k=2, s=3, k1=5),
        Taylor(arb(2.5), arb(4), e=3, k=7, s=11, k1=13),
    )
    assert errors(x + y) == (1 + 3 + 4, 9, 14, 18)
    assert errors(x - y) == (1 + 3 + 1, 9, 14, 18)
    assert errors(-x) == errors(x)
    assert errors(x * y) == (
        1.5 * 3 + 2.5 + 3.75,
        1.5 * 7 + 2.5 * 2,
        1.5 * 11 + 2.5 * 3 + 1,
        2.5 * 5 + 1 * 7 + 4 * 2 + 1.5 * 13,
    )
    q, r = 1.5 / 2.5, 1 / 2.5
    assert errors(x / y)[:3] == pytest.approx(
        (r + q * r * 3 + q, r * 2 + q * r * 7, r * 3 + q * r * 11 + 1)
    )
    # of 1/y: k is 7r², and k1 is 2r³·4·7 + r²·13
    k1 = r * 5 + 1 * 7 * r**2 + 4 * r**2 * 2 + 1.5 * (2 * r**3 * 4 * 7 + r**2 * 13)
    assert errors(x / y)[3] == pytest.approx(k1)


def test_what_a_function_loses_by_hand() -> None:
    x = Taylor(arb(0.5), arb(2), e=3, k=5, s=7, k1=11)
    v = float(np.exp(0.5))
    assert errors(FUNCTIONS["exp"](x)) == pytest.approx(
        (v * 3 + 4 * v, v * 5, v * 7 + 1, v * 2 * 5 + v * 11)
    )
    assert FUNCTIONS["logit"](variable(scalar(0.25))).e == pytest.approx(8 * np.log(3))
    assert FUNCTIONS["arccos"](variable(scalar(0.5))).e == pytest.approx(4 * np.pi / 3)
    assert FUNCTIONS["gammaln"](variable(scalar(0.5))).e == pytest.approx(8 * np.log(np.pi) / 2 + 4)
    assert FUNCTIONS["erfc"](variable(scalar(2.0))).e == pytest.approx(
        (4 + 4) * scipy.special.erfc(2)
    )
    assert FUNCTIONS["erfc"](variable(scalar(-2.0))).e == pytest.approx(4 * scipy.special.erfc(-2))
    assert FUNCTIONS["erfcx"](variable(scalar(-2.0))).e == pytest.approx(
        (8 + 8) * scipy.special.erfcx(-2)
    )
    assert FUNCTIONS["erfcx"](variable(scalar(2.0))).e == pytest.approx(8 * scipy.special.erfcx(2))


def test_a_bound_of_first_order_holds_where_the_second_is_small() -> None:
    """cos' is 0 at 0, of which an error makes nothing; next to 0 a root may be off by anything."""
    assert FUNCTIONS["cos"](Taylor(arb(0), arb(1), e=1)).e == 4
    assert FUNCTIONS["sqrt"](Taylor(arb(1e-10), arb(1), e=1)).e == np.inf
    assert FUNCTIONS["sqrt"](Taylor(arb(0.25), arb(1), e=1)).e == 1 + 0.5
    assert FUNCTIONS["sqrt"](Taylor(arb(0), arb(1))).e == 0


def test_constants_are_read_once() -> None:
    """Of the derivative they are a part where x is beside them: 0.1 is off by 0.2, in units of u."""
    x = variable(scalar(0.5))
    assert errors(taylor(0.1)) == pytest.approx((0.2, 0.2, 0, 0))
    assert errors(taylor(0.1, 2.0**-24)) == pytest.approx((0.2, 0.2 * 2.0**29, 0, 0))
    assert errors(x + 0.1)[3] == 0
    assert errors(x * 0.1) == pytest.approx((0.5 * 0.2 + 0.05, 0.1, 1, 0.2))
    assert errors(x * 0.1 + x * 0.3)[3] == pytest.approx(0.2 + 0.6)
    assert errors(FUNCTIONS["exp"](taylor(0.1)))[3] == 0


def test_what_pi_does_to_sinc() -> None:
    """At ½, where sin πx is 1 and cos πx is 0; π is off by 2π."""
    found = FUNCTIONS["sinc"](variable(scalar(0.5)))
    assert found.k == pytest.approx(4 / np.pi)
    assert found.k1 == pytest.approx(2 * np.pi + 24 / np.pi)


def test_what_an_exponent_does_to_a_power() -> None:
    """x^0.1 at 2: v log x of its error, and v/x (1 + 0.1 log x) in the derivative."""
    found, v, log = variable(scalar(2.0)) ** 0.1, 2.0**0.1, np.log(2.0)
    assert found.k == pytest.approx(v * log * 0.2)
    assert found.k1 == pytest.approx(v / 2 * (1 + 0.1 * log) * 0.2)
    assert found.e == pytest.approx(4 * v + v * log * 0.2)


def test_what_logaddexp_loses() -> None:
    """4 of itself, and one rounding of the larger operand; of constants what x − y has."""
    add = FUNCTIONS["logaddexp"]
    assert add(variable(scalar(1.0)), taylor(1.0)).e == pytest.approx(4 * (1 + np.log(2)) + 1)
    found = add(Taylor(arb(0), arb(1), e=5, k=3, s=2, k1=0), taylor(0.0))
    assert errors(found) == pytest.approx((5 + 4 * np.log(2), 3, 3, 0.25 * 3))


def test_what_arctan2_loses() -> None:
    """At y/x = ½, off by ½: 4/5 of it, and in the derivative 2·½·(4/5)² of it times that of y/x."""
    found = FUNCTIONS["arctan2"](Taylor(arb(1), arb(1), k=1, k1=0), taylor(2.0))
    assert (found.k, found.k1) == pytest.approx((0.8 * 0.5, 0.64 * 0.5 * 0.5))


# --- values at special places ---------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 5, -1, -2, -3, 0.5, 2.5, -0.5, 1, 0])
def test_a_power_and_its_derivatives(n: float) -> None:
    x = 1.5
    expected = (x**n, n * x ** (n - 1), n * (n - 1) / 2 * x ** (n - 2))
    assert _coefficients(variable(scalar(x)) ** n) == pytest.approx(expected, rel=1e-14)
    if n == int(n):
        expected = (expected[0] * (-1) ** n, -expected[1] * (-1) ** n, expected[2] * (-1) ** n)
        assert _coefficients(variable(scalar(-x)) ** n) == pytest.approx(expected, rel=1e-14)


def test_a_power_at_0() -> None:
    """x^1.5 has a slope there and no second derivative, x^2.5 has both, x^0.5 neither."""
    for n, known in ((0.5, 1), (1.5, 2), (2.5, 3)):
        t = variable(scalar(0.0)) ** n
        assert [c.is_nan() for c in (t.c0, t.c1, t.c2)] == [False] * known + [True] * (3 - known)
        assert all(c == 0 for c in (t.c0, t.c1, t.c2)[:known])
    assert FUNCTIONS["xlogy"](taylor(0.0), taylor(0.0)).c0 == 0
    assert FUNCTIONS["xlogy"](taylor(0.0), variable(scalar(2.0))).c1 == 0


def test_an_angle_where_the_abscissa_is_0() -> None:
    """Its slope is −y/(x² + y²), and it has its value on either side of it."""
    for y, x in ((2.0, 0.0), (-2.0, 0.0), (2.0, -1.0), (-2.0, -1.0), (2.0, 1.0)):
        t = FUNCTIONS["arctan2"](taylor(y), variable(scalar(x)))
        r = x * x + y * y
        assert _coefficients(t) == pytest.approx((np.arctan2(y, x), -y / r, x * y / r**2))


def test_an_element_has_numpys_functions_as_methods() -> None:
    x = np.array([variable(scalar(0.5)), variable(scalar(2.0))], object)
    assert [float(t.c0) for t in np.exp(x)] == pytest.approx([np.exp(0.5), np.exp(2.0)])
    assert float(x[0].hypot(1.0).c0) == pytest.approx(np.hypot(0.5, 1.0))
    assert float(x[0].arctan2(x[1]).c0) == pytest.approx(np.arctan2(0.5, 2.0))
    with pytest.raises(AttributeError, match=r"^nothing_of_numpys$"):
        x[0].nothing_of_numpys  # noqa: B018


@pytest.mark.parametrize("name", ["relu", "hardswish", "elu", "softsign"])
def test_a_definition_by_pieces_is_expanded_where_a_comparison_puts_it(name: str) -> None:
    sigma = ACTIVATIONS[name]
    for a in (-4.0, -0.75, 0.5, 3.5):
        with branching() as b:
            t = expand(sigma.pieces, sigma.breaks, Taylor(scalar(a), arb(2), arb(3), e=1))
        assert b.decisions == [1 if a > x else -1 for x in sigma.breaks]
        f, f1, f2, _ = (float(x) for x in sigma(scalar(a)))
        assert _coefficients(t) == pytest.approx((f, 2 * f1, 3 * f1 + 2 * f2))
        assert t.e == pytest.approx(abs(f1) + 4 * abs(f))
    with branching() as b:
        t = expand(sigma.pieces, sigma.breaks, variable(scalar(float(sigma.breaks[-1]))))
    assert b.decisions[-1] == 0
    assert (b.ties, float(t.c1)) == (
        1,
        float(sigma.pieces[-2](arb_series([arb(sigma.breaks[-1]), 1], 3))[1]),
    )
    wide = expand(ACTIVATIONS["softsign"].pieces, (), variable(interval(-2.0, 2.0)))
    assert wide.c0.is_nan()


def test_which_way_what_is_made_of_a_function_goes() -> None:
    """A slope below 1 is a slope, and a constant over a number is the constant's way."""
    x = variable(interval(0.5, 1.0))
    assert FUNCTIONS["sin"](x).direction == 1
    assert FUNCTIONS["sqrt"](variable(interval(1e-3, 1e3))).direction == 1
    assert (-(x * 0)).direction == (1 - x * 0).direction == 0
    wide = variable(interval(0.01, 100.0))
    quartic = (wide * wide) * (wide * wide)
    assert (quartic / 2).direction == 1
    assert (quartic / -2).direction == -1
    with pytest.raises(UndecidedError):
        FUNCTIONS["sign"](variable(arb(1, 1).nonnegative_part()))  # it may be 0
    assert float((2.0 ** variable(scalar(3.0))).c1) == pytest.approx(8 * np.log(2))
    assert [float(FUNCTIONS["minimum"](taylor(a), taylor(3.0 - a)).c0) for a in (1, 2)] == [1, 1]


def test_more_of_what_functions_lose_by_hand() -> None:
    """A cube is two products, and an angle two library functions; a constant stays one."""
    x = Taylor(arb(0.5), arb(2), e=3, k=5, s=7, k1=11)
    assert errors(x**3)[:3] == pytest.approx((0.75 * 3 + 2 * 0.125, 0.75 * 5, 0.75 * 7 + 1))
    assert FUNCTIONS["gammaln"](x).k == pytest.approx(5 * abs(scipy.special.digamma(0.5)))
    for a in (0.5, 1.0, 2.0):
        assert FUNCTIONS["erfc"](variable(scalar(a))).e == pytest.approx(
            (4 + a * a) * scipy.special.erfc(a)
        )
    two = FUNCTIONS["logaddexp"](x, Taylor(arb(0.5), arb(4), k1=13))
    assert two.k == 5
    assert two.k1 == pytest.approx(13 + 0.25 * 2 * 5 + 0.5 * (11 + 13))
    angle = FUNCTIONS["arctan2"](Taylor(arb(1), arb(1), e=1, s=3), taylor(2.0))
    v = np.arctan(0.5)
    assert angle.e == pytest.approx(0.8 * (0.5 + 0.5) + 4 * v + 8)
    assert angle.s == pytest.approx(0.8 * (0.5 * 3 + 1) + 1)
    root = FUNCTIONS["sqrt"](taylor(0.0))
    assert root.c1.is_zero()
    assert root.c2.is_zero()
    steep = Taylor(arb(2) ** 1200, arb(1), e=2)
    assert (steep * 0.0).e == 0
    assert (steep * Taylor(arb(2) ** -1100)).e == 2.0**100


def test_the_side_of_an_angle_is_asked_for_where_it_jumps() -> None:
    for x, asked in ((-1.0, [-1, 1]), (0.0, [0]), (1.0, [1])):
        with branching() as b:
            FUNCTIONS["arctan2"](taylor(2.0), variable(scalar(x)))
        assert b.decisions == asked
