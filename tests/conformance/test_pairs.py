"""Two floats and a radius hold what they say: against FLINT's balls, on operands that are hard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from flint import arb, arb_mat
from numpy.typing import NDArray

from conformance.cases.profiles import cases
from conformance.judge.subject import Subject
from conformance.judge.tolerance import accuracy
from conformance.model.problem import QUANTITIES, Problem
from conformance.truth import readings
from conformance.truth.arrays import apply, decided, join, matmul, mean, permute, taken
from conformance.truth.balls import working_precision
from conformance.truth.definitions import ACTIVATIONS, LOSSES, ROW_WISE, TERMS
from conformance.truth.elementary import erf, erfc, sin_cos
from conformance.truth.errorfree import (
    _cut,
    exact_products,
    frobenius,
    spectral,
    two_product,
    two_sum,
)
from conformance.truth.network import Network
from conformance.truth.nodes import Value, op
from conformance.truth.pairs import Pairs, UnfitError, pairs
from conformance.truth.primitives import UNARY
from conformance.truth.readings import in_balls
from conformance.truth.rounding import Arithmetic
from conformance.truth.rules import IN_PAIRS, LEAF
from conformance.truth.series import Series
from conformance.truth.tape import Tape

Reals = NDArray[np.float64]
draw = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _precise() -> Iterator[None]:
    with working_precision(1200), np.errstate(all="ignore"):
        yield


def hard(n: int, scale: float = 1.0) -> Pairs:
    """Numbers, most of them with a second float and a radius; some whole, equal, or powers of two."""
    hi = draw.standard_normal(n) * scale
    hi[: n // 8] = np.rint(2 * hi[: n // 8] / scale) * scale
    hi[n // 8 : n // 4] = scale * 2.0 ** draw.integers(-3, 3, n // 4 - n // 8)
    lo = hi * 2.0**-53 * draw.uniform(-0.5, 0.5, n) * draw.integers(0, 2, n)
    rad = np.abs(hi) * 2.0 ** draw.uniform(-110, -70, n) * draw.integers(0, 2, n)
    return Pairs(*two_sum(hi, lo), rad)


def within(a: Pairs) -> list[arb]:
    """Of each a number that it holds: an end, the middle, or between."""
    at = draw.choice([-1.0, 0.0, 0.5, 1.0], a.size).tolist()
    parts = zip(*(x.ravel().tolist() for x in (a.hi, a.lo, a.rad)), at, strict=True)
    return [arb(h) + arb(l) + arb(r) * arb(t) for h, l, r, t in parts]


def holds(found: Pairs, exact: list[arb]) -> bool:
    parts = zip(*(x.ravel().tolist() for x in (found.hi, found.lo, found.rad)), exact, strict=True)
    return all(abs(y - arb(h) - arb(l)) <= arb(r) for h, l, r, y in parts)


def narrow(found: Pairs, bits: float, size: Any = None) -> bool:
    size = np.abs(found.hi) if size is None else size
    return bool((found.rad <= 2.0**-bits * size).all())


def bare(a: Pairs) -> Pairs:
    """The midpoints alone."""
    return Pairs(a.hi, a.lo, np.zeros(a.shape))


SCALES = (1.0, 1e-3, 30.0, 1e-15, 1e12)

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
}


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("scale", SCALES)
def test_arithmetic(name: str, scale: float) -> None:
    f, a, b = BINARY[name], hard(400, scale), hard(400)
    b = b if name != "divide" else Pairs.where(b.hi == 0, Pairs.exactly(np.ones(400)), b)
    b.hi[::7], b.lo[::7] = -a.hi[::7], a.lo[::7]  # what cancels
    b = b if name != "divide" else Pairs.where(b.hi == 0, Pairs.exactly(np.ones(400)), b)
    assert holds(f(a, b), [f(x, y) for x, y in zip(within(a), within(b), strict=True)])
    size = np.abs(a.hi) + np.abs(b.hi) if name in ("add", "subtract") else None
    assert narrow(f(bare(a), bare(b)), 99, size)


def test_whole_numbers_are_exact() -> None:
    a, b = Pairs.exactly(np.arange(-8.0, 8)), Pairs.exactly(np.full(16, 4.0))
    M = Pairs.exactly(draw.integers(-9, 9, (5, 16)).astype(float))
    for found in (a + b, a - b, a * b, a / b, a.sum(0), M @ a.reshape(16, 1), M.sum(-1)):
        assert not found.lo.any()
        assert not found.rad.any()
    assert (a / b).hi.tolist() == (np.arange(-8, 8) / 4).tolist()


def test_a_sum() -> None:
    for shape in ((1, 7), (5, 1), (3, 8), (4, 33), (2, 0)):
        a = hard(int(np.prod(shape))).reshape(*shape)
        rows = np.array(within(a), object).reshape(shape)
        assert holds(a.sum(-1), [sum(row.tolist(), arb(0)) for row in rows])


METHODS = ("exp", "expm1", "log1p", "log", "tanh", "sqrt", "rsqrt")


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("scale", SCALES)
def test_functions(name: str, scale: float) -> None:
    scale = 2.0 if scale > 20 and name not in ("log", "log1p", "sqrt", "rsqrt") else scale
    a = hard(600, scale)
    a = abs(a) if "log" in name or "sqrt" in name else a
    a = Pairs.where(a.hi == 0, Pairs.exactly(np.full(a.shape, 0.5)), a)
    a.rad = np.minimum(a.rad, np.abs(a.hi) * 2.0**-80)
    assert holds(getattr(a, name)(), [getattr(x, name)() for x in within(a)])
    assert narrow(getattr(bare(a), name)(), 80)


@pytest.mark.parametrize(
    "x", [0.0, 2.0**-20, 2.0**-7.5, -(2.0**-7.5), 1.0, 2.0**-19, np.log(2) / 128, 200.0]
)
@pytest.mark.parametrize("name", ["exp", "expm1", "log1p", "tanh", "sqrt"])
def test_functions_where_their_formulas_meet(name: str, x: float) -> None:
    beside = [x, np.nextafter(x, 1e9), np.nextafter(x, -1e9)]
    values = np.array([b for b in beside if b == 0 or abs(b) > 1e-100])
    values = np.abs(values) if name in ("sqrt", "log1p") else values
    found = getattr(Pairs.exactly(values), name)()
    assert holds(found, [getattr(arb(v), name)() for v in values.tolist()])


STEP = np.log(2) / 2048

EXPONENTS = {
    "between two steps": (np.arange(-3000, 3000) + 0.5) * STEP * (1 - 1e-12),
    "all over the range": draw.uniform(-270, 270, 4000),
    "within a step": draw.uniform(-0.5, 0.5, 4000) * STEP,
    "of all sizes": draw.choice([-1.0, 1.0], 4000) * 2.0 ** draw.uniform(-60, 3, 4000),
}


@pytest.mark.parametrize("where", EXPONENTS)
def test_exponentials_are_as_close_as_derived(where: str) -> None:
    """With a second float as large as there is: of exponents in the hundreds it is far above the error."""
    hi = EXPONENTS[where]
    a = Pairs(hi, hi * 2.0**-53 * draw.choice([-1.0, 0, 0.3, 1], hi.size), np.zeros(hi.shape))
    a = Pairs(*two_sum(a.hi, a.lo), a.rad)
    value, less_1 = a.exp_and_expm1()
    exact = within(a)
    assert holds(value, [x.exp() for x in exact])
    assert holds(less_1, [x.expm1() for x in exact])
    assert narrow(value, 102)
    assert narrow(less_1, 89)


def with_second_floats(hi: Reals, rad: float = 0.0) -> Pairs:
    lo = hi * 2.0**-53 * draw.choice([-1.0, 0, 0.3, 1], hi.size)
    return Pairs(*two_sum(hi, lo), np.abs(hi) * rad)


ARGUMENTS = {
    "between two places of a table": (np.arange(-1050, 1050) + 0.5) / 64 * (1 - 1e-13),
    "all over the range": draw.uniform(-16.4, 16.4, 2000),
    "near 0": draw.choice([-1.0, 1.0], 2000) * 2.0 ** draw.uniform(-60, 0, 2000),
}


@pytest.mark.parametrize("where", ARGUMENTS)
@pytest.mark.parametrize("rad", [0.0, 2.0**-70, 2.0**-30])
def test_erf_and_erfc(where: str, rad: float) -> None:
    a = with_second_floats(ARGUMENTS[where], rad)
    points = within(a)
    found = erfc(a)
    assert holds(found, [x.erfc() for x in points])
    assert rad or narrow(found, 92)
    found = erf(a)
    assert holds(found, [x.erf() for x in points])
    assert rad or narrow(found, 92)


ANGLES = {
    "between two places of a table": (np.arange(-2000, 2000) + 0.5) * 2 * np.pi / 512,
    "all over the range": draw.uniform(-12_000, 12_000, 2000),
    "near 0": ARGUMENTS["near 0"],
    "where one of them is nearly 0": np.arange(-2000, 2000) * (np.pi / 2),
}


@pytest.mark.parametrize("where", ANGLES)
@pytest.mark.parametrize("rad", [0.0, 2.0**-70, 2.0**-35])
def test_sine_and_cosine(where: str, rad: float) -> None:
    a = with_second_floats(ANGLES[where], rad)
    sine, cosine = sin_cos(a)
    points = within(a)
    assert holds(sine, [x.sin() for x in points])
    assert holds(cosine, [x.cos() for x in points])
    assert rad or narrow(sine, 95, 1.0)
    assert rad or narrow(cosine, 95, 1.0)


@pytest.mark.parametrize("name", ["multiply", "divide"])
def test_products_and_quotients_are_as_close_as_derived(name: str) -> None:
    n = 4000
    near_1 = 1 + 2.0 ** -draw.integers(20, 53, n).astype(float)
    below_2 = 2 - 2.0**-52 * draw.integers(1, 9, n)
    of = []
    for hi in (near_1, below_2):
        hi = hi * 2.0 ** draw.integers(-30, 30, n) * draw.choice([-1, 1], n)
        lo = hi * 2.0**-53 * draw.choice([-1, 1, 0.999, 0.5, 0, 1e-3], n)
        of.append(Pairs(*two_sum(hi, lo), np.zeros(n)))
    for a, b in (of, of[::-1]):
        found = BINARY[name](a, b)
        pairs = zip(within(a), within(b), strict=True)
        assert holds(found, [BINARY[name](x, y) for x, y in pairs])
        assert narrow(found, 100)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 30.0])
def test_a_function_with_its_derivative(scale: float) -> None:
    a = hard(600, scale)
    a = Pairs.where(a.hi == 0, Pairs.exactly(np.full(a.shape, 0.5)), a)
    points = within(a)
    value, slope = a.tanh_and_slope()
    assert holds(value, [x.tanh() for x in points])
    assert holds(slope, [x.sech() ** 2 for x in points])
    up, down = a.logistics()
    assert holds(up, [1 / (1 + (-x).exp()) for x in points])
    assert holds(down, [1 / (1 + x.exp()) for x in points])


def test_a_factor_that_is_a_power_of_two_is_exact() -> None:
    a = hard(100)
    for c in (1.0, -2.0, 0.0, 2.0**-30):
        for found in (a * c, c * a):
            assert (found.hi == a.hi * c).all()
            assert (found.lo == a.lo * c).all()
            assert (found.rad >= a.rad * abs(c)).all()
            assert (found.rad <= a.rad * abs(c) + 2.0**-499).all()
    assert (a + 0.0).rad is a.rad


def test_what_is_nearly_a_float_is_not_one() -> None:
    """2 − 1e-393: FLINT's radius is below the smallest float."""
    nearly_2 = Pairs.of_balls([arb(-30).erfc()], (1,))
    assert 0 < nearly_2.rad.item() < 2.0**-499
    tiny = Pairs.exactly([2.0**-390])
    for product in (nearly_2 * tiny, tiny * nearly_2, nearly_2[None] @ tiny[None]):
        assert product.rad.item() > 0  # however small: what underflows is not taken for exact


def test_what_saturates_is_known_to() -> None:
    for z in ([-30.0, 1, 2], [-16.5, 16.5, 17], [1000.0, -16.6, 3]):
        b = Pairs.exactly(z)
        assert holds(erfc(b), [x.erfc() for x in within(b)])
    a = Pairs.exactly([-1000.0, -280, 0.5, 280, 1000])
    assert holds(a.tanh(), [x.tanh() for x in within(a)])
    assert holds((-abs(a)).exp(), [(-abs(x)).exp() for x in within(a)])
    assert a.tanh().enclosure.narrow().all()


def of_matrix(M: Pairs) -> Any:
    made: Any = arb_mat
    return made(*M.shape, within(M))


@pytest.mark.parametrize(
    "shape", [(3, 4, 5), (6, 256, 7), (1, 1, 1), (4, 2, 3), (5, 1025, 2), (8, 3, 8)]
)
def test_a_product_of_matrices(shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    for scale in (1.0, 1e-9):
        P, Q = hard(m * k).reshape(m, k), hard(k * n, scale).reshape(k, n)
        P.hi[0], P.lo[0] = P.hi[0] * 2.0**40, P.lo[0] * 2.0**40  # rows of other sizes
        P.rad[0] *= 2.0**40
        assert holds(P @ Q, (of_matrix(P) * of_matrix(Q)).entries())
        assert narrow(bare(P) @ bare(Q), 92, np.abs(P.hi) @ np.abs(Q.hi))
        exact = Pairs.exactly(P.hi) @ Pairs.exactly(Q.hi)
        assert narrow(exact, 90, np.abs(P.hi) @ np.abs(Q.hi))


def test_a_product_of_numbers_of_one_sign_is_as_large_as_it_gets() -> None:
    """Sums of slices reach the most that they may: 2⁵³ units are not exceeded."""
    for k in (1, 2, 3, 4, 5, 128, 129, 4096):
        P = Pairs.exactly(np.full((1, k), 2 - 2.0**-52))
        Q = Pairs.exactly(np.full((k, 1), 2 - 2.0**-52))
        assert holds(P @ Q, (of_matrix(P) * of_matrix(Q)).entries())
        lo = np.full((1, k), (1 - 2.0**-30) * 2.0**-53)
        assert holds(
            Pairs(P.hi, lo, P.rad) @ Q, (of_matrix(Pairs(P.hi, lo, P.rad)) * of_matrix(Q)).entries()
        )


@pytest.mark.parametrize("slices", [1, 2, 3])
@pytest.mark.parametrize("k", [1, 3, 64, 257, 1025])
def test_a_product_in_few_slices_is_less_close(slices: int, k: int) -> None:
    for scale in (1.0, 1e-9):
        P, Q = bare(hard(5 * k).reshape(5, k)), bare(hard(k * 3, scale).reshape(k, 3))
        found = P.product(Q, slices)
        assert holds(found, (of_matrix(P) * of_matrix(Q)).entries())
        size = k * np.outer(np.abs(P.hi).max(axis=1), np.abs(Q.hi).max(axis=0))
        bits = (53 - (slices * k - 1).bit_length()) // 2  # of a slice
        terms = (slices + 1) * ((slices + 1) * k + 4)
        assert narrow(found, min(52 + slices * bits - np.log2(terms) - 2, 100), size)


def test_slices_are_as_long_as_said() -> None:
    """In a row whose second number is just below half of the first slice's last bit, the rest is long."""
    for bits in (8, 20):
        row = np.array(
            [[1.0, 0.49 * 2.0 ** (1 - bits), 0.49 * 2.0 ** (1 - bits), 2.0**-bits * 0.3]]
        )
        cut = _cut(row, np.zeros(row.shape), -1, bits, 3)
        for of in (cut.slices, cut.rests):
            for i, x in enumerate(of):
                assert np.linalg.norm(x) * 2.0 ** (bits * i) <= cut.norm.item()
        assert (sum(cut.slices) + cut.rests[-1] == row).all()


def test_a_radius_is_never_lost() -> None:
    one = Pairs.exactly([1.0])
    tiny = Pairs(np.array([2.0**294]), np.zeros(1), np.array([2.0**-490])).fit()
    assert (one / tiny).rad > 0
    a = one
    for c in [2.0**-300] * 4 + [2.0**300] * 2:
        a = (a * Pairs.exactly(c)).fit()
    assert a.rad > 2.0**99  # nothing is known of what was 2⁻¹²⁰⁰ and is 2⁻⁶⁰⁰
    end = np.nextafter(-(2048 * 399 + 0.5) * np.log(2) / 2048, -1e9)
    far = Pairs(np.array([end]), np.zeros(1), np.array([2.0**-12 * (1 - 1e-9)]))
    assert holds(far.exp(), [(arb(end) + arb(far.rad.item())).exp()])
    at = Pairs(np.array([1.0]), np.zeros(1), np.array([2.0**-12 * (1 - 1e-9)]))
    for sign in (-1, 1):
        assert holds(at.exp(), [(arb(1) + sign * arb(at.rad.item())).exp()])
    unknown = Pairs(np.zeros(1), np.zeros(1), np.array([np.inf]))
    with pytest.raises(UnfitError):
        (unknown * pairs(3.0)).fit()
    with pytest.raises(UnfitError):
        one.with_error(np.nan, one).fit()
    many = Pairs(np.ones(4), np.zeros(4), np.full(4, 1e-30))
    assert many.norm > 0
    for key in ([0] * 8, ([0] * 8,), np.zeros(8, int)):
        assert many[key].norm >= np.sqrt(8) * 1e-30 * 0.999


def test_the_norm_of_a_product_has_the_errors_of_both() -> None:
    exact, off = bare(hard(64)), hard(64)
    exact._norm = 0.0
    off.rad = np.full(64, 1e-20)
    for a, b in ((exact, off), (off, exact)):
        at_most = errors_of(
            a * b, [x * (y + arb(1e-20)) for x, y in zip(within(exact), of_ends(off), strict=True)]
        )
        assert 0 < at_most <= (a * b).norm
    for c in (2.0**10, 2.0**-10):
        assert (off * c).norm >= 0.999 * c * 1e-20 * 8


def of_ends(a: Pairs) -> list[arb]:
    """The middles, exactly."""
    return [arb(h) + arb(l) for h, l in zip(a.hi.tolist(), a.lo.tolist(), strict=True)]


def test_an_error_is_only_cut_where_the_middle_is_the_same() -> None:
    a = Pairs(np.ones(1), np.zeros(1), np.zeros(1))
    b = Pairs(np.ones(1), np.full(1, 2.0**-60), np.zeros(1))
    assert a.with_error(2.0**-50, a).rad == 0
    assert a.with_error(2.0**-50, b).rad >= 2.0**-50


def test_rows_of_zeros_are_known_to_be_zero() -> None:
    P, Q = hard(40).reshape(4, 10), hard(40).reshape(10, 4)
    P.hi[1], P.lo[1], P.rad[1] = 0, 0, 0
    found = P @ bare(Q)
    assert not found.hi[1].any()
    assert not found.rad[1].any()
    P.hi[2], P.lo[2], P.rad[2] = np.where(np.arange(10) < 5, 2.0**-90, 0), 0, 0
    P.hi[2, 0] = 1  # slices of this row are left out, beside numbers that are 0
    Q.hi[:5], Q.lo[:5], Q.rad[:5] = 0, 0, 0
    found = P @ bare(Q)
    assert not found.rad[2].any()


def test_stacks_of_matrices() -> None:
    P, Q = hard(2 * 3 * 4).reshape(2, 3, 4), hard(20).reshape(4, 5)
    found = P @ Q
    for i in range(2):
        assert holds(found[i], (of_matrix(bare(P)[i]) * of_matrix(bare(Q))).entries())


def test_norms_are_bounds() -> None:
    for shape in ((1, 1), (5, 3), (3, 50), (64, 64)):
        M = draw.standard_normal(shape) * 2.0 ** draw.uniform(-30, 30, shape)
        assert frobenius(M) >= np.linalg.norm(M)
        assert np.linalg.norm(M, 2) <= spectral(M) <= 1.001 * np.linalg.norm(M)
    assert spectral(np.zeros((2, 2))) == 0 == frobenius(np.zeros((0, 2)))
    M = draw.standard_normal((256, 256)) / 16
    assert spectral(M) < 4.5  # √k, the sum of a row's sizes, is 13


def errors_of(found: Pairs, exact: list[arb]) -> float:
    parts = zip(found.hi.ravel().tolist(), found.lo.ravel().tolist(), exact, strict=True)
    return float(sum((abs(y - arb(h) - arb(l)) ** 2 for h, l, y in parts), arb(0)).sqrt())


def test_the_norm_of_the_errors_is_carried_along() -> None:
    """Through products, sums, and an activation, from errors as large as the radii."""
    n = 12
    P, Q = (hard(n * n).reshape(n, n) for _ in range(2))
    P.rad, Q.rad = np.abs(P.hi) * 2.0**-60, np.abs(Q.hi) * 2.0**-70
    x, y = of_matrix(P), of_matrix(Q)
    exact = (x * y).entries()
    found = P @ Q
    assert 0 < errors_of(found, exact) <= found.norm
    for more in (found + P, P + found):
        assert (
            errors_of(more, [a + b for a, b in zip(exact, x.entries(), strict=True)]) <= more.norm
        )
    times = found * P
    assert errors_of(times, [a * b for a, b in zip(exact, x.entries(), strict=True)]) <= times.norm
    twice = found * 2.0
    assert errors_of(twice, [2 * a for a in exact]) <= twice.norm
    for name in ("tanh", "silu", "softplus"):
        value, slope, _ = ACTIVATIONS[name].at_pairs(found)
        points = [ACTIVATIONS[name](a) for a in exact]
        assert errors_of(value, [p.value for p in points]) <= value.norm
        assert errors_of(slope, [p.first for p in points]) <= slope.norm
        assert holds(value, [p.value for p in points])


def test_a_norm_is_of_what_stands_there_once() -> None:
    a = hard(8)
    a.rad = np.full(8, 1e-30)
    assert a[::2].norm <= a.norm == a.reshape(2, 4).norm
    assert a[np.zeros(8, int)].norm >= np.sqrt(8) * 1e-30 * 0.999
    a = bare(a)
    a.rad[0] = 1e-30
    assert a.norm > 0
    assert a[np.zeros(8, int)].norm >= np.sqrt(8) * 1e-30 * 0.999


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Pairs.exactly([1e300]),
        lambda: Pairs.exactly([np.nan]),
        lambda: Pairs.exactly([np.inf]),
        lambda: Pairs.exactly([1000.0]).exp(),
        lambda: Pairs.exactly([1e4]).exp(),
        lambda: Pairs(np.array([1.0]), np.zeros(1), np.array([0.1])).log(),
        lambda: Pairs(np.array([1e-6]), np.zeros(1), np.array([0.1])).log1p(),
        lambda: Pairs.exactly([1.0]) / Pairs.exactly([0.0]),
        lambda: Pairs.exactly([0.0]).log(),
        lambda: Pairs.exactly([-1.0]).log(),
        lambda: Pairs.exactly([-2.0]).log1p(),
        lambda: Pairs.exactly([-2.0]).sqrt(),
        lambda: abs(Pairs(np.array([1.0]), np.zeros(1), np.array([1.0]))),
        lambda: Pairs(np.array([1.0]), np.zeros(1), np.array([0.1])).exp(),
        lambda: erfc(Pairs(np.array([1.0]), np.zeros(1), np.array([0.1]))),
        lambda: sin_cos(Pairs.exactly([1e6]))[0],
        lambda: sin_cos(Pairs(np.array([1.0]), np.zeros(1), np.array([0.1])))[0],
    ],
)
def test_what_does_not_fit_is_left_to_balls(bad: Callable[[], Pairs]) -> None:
    with pytest.raises(UnfitError):
        bad().fit()


def test_what_is_left_of_a_midpoint_may_be_tiny() -> None:
    found = Pairs(np.array([1.0]), np.array([1e-200]), np.zeros(1)).fit()
    assert found.lo.tolist() == [0]
    assert 1e-200 <= found.rad.item() < 2.0**-499
    found = Pairs.exactly([1e-300, 1.0])
    assert found.hi.tolist() == [0, 1]
    assert 1e-300 <= found.rad[0] < 2.0**-499
    assert found.rad[1] == 0


def test_floats_among_pairs_are_refused() -> None:
    with pytest.raises(TypeError, match=r"expected Pairs\.exactly"):
        np.concatenate([Pairs.exactly([1.0]), np.ones(1)])


# --- definitions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*ACTIVATIONS, *TERMS])
def test_every_function_of_networks(name: str) -> None:
    """σ, σ' and σ'' hold what balls hold; at kinks too."""
    f = {**ACTIVATIONS, **TERMS}[name]
    a = hard(300, 2.0)
    a = abs(a) if name.startswith("minus_log") else a
    if name == "minus_log1m":
        a = 1.0 - (abs(a) + 1.0).log()
        a = Pairs.where(a.hi == 1, Pairs.exactly(np.full(a.shape, 0.5)), a)
    if name == "minus_log":
        a = Pairs.where(a.hi == 0, Pairs.exactly(np.full(a.shape, 0.5)), a)
    a = Pairs.where(np.abs(np.abs(a.hi) - 3) < 1e-9, Pairs.exactly(np.full(a.shape, 0.5)), a)
    for b in (*f.breaks, -3, 3, -1, 1, 0, 6):
        if not name.startswith("minus_log"):
            a.hi[draw.integers(300)] = b
            at = np.flatnonzero(a.hi == b)
            a.lo[at] = a.rad[at] = 0
    found = f.at_pairs(a)
    points = [f(x) for x in within(a)]
    for i in range(3):
        known: list[Any] = [p[i] for p in points]
        at_break = np.isin(a.hi, f.breaks) if i == 2 else np.zeros(a.shape, bool)
        keep = np.flatnonzero(~at_break)  # where σ'' jumps both hold an interval
        assert holds(found[i][keep], [known[k] for k in keep])
    smooth = [bare(found[i]) for i in range(2)]
    assert all(np.isfinite(s.hi).all() for s in smooth)


def test_a_kink_within_reach_is_left_to_balls() -> None:
    near = Pairs(np.array([1e-40]), np.zeros(1), np.array([1e-39]))
    with pytest.raises(UnfitError):
        ACTIVATIONS["relu"].at_pairs(near)


@pytest.mark.parametrize("name", ROW_WISE)
def test_functions_of_rows(name: str) -> None:
    a = hard(60, 9.0).reshape(10, 6)
    found = ROW_WISE[name](a)
    rows = np.array(within(a), object).reshape(10, 6)
    assert holds(found, [y for row in rows for y in ROW_WISE[name](row.tolist())])


def test_quotients_and_constants_of_series() -> None:
    a = hard(50)
    x, t = Series.at(a), 3.0 - Series.at(a) / 2.0
    found = (x - 1.0) / (x * x + t + 5.0)
    exact: list[Any] = within(a)
    value: list[Any] = [(b - 1) / (b * b + 3 - b / 2 + 5) for b in exact]
    assert holds(found[0], value)
    slope = [
        (1 - v * (2 * b - arb(0.5))) / (b * b + 3 - b / 2 + 5)
        for v, b in zip(value, exact, strict=True)
    ]
    assert holds(found[1], slope)


# --- readings -------------------------------------------------------------------------------------


def test_every_primitive_of_networks_is_read_in_pairs() -> None:
    for loss in LOSSES:
        for node in Network(problem(loss, "tanh")).tape.nodes:
            assert node.rule.moves or node.rule is LEAF or node.rule.name in IN_PAIRS


def problem(loss: str, sigma: str, width: int = 7, n: int = 5, depth: int = 3) -> Problem:
    normal = np.random.default_rng(len(loss) + len(sigma)).standard_normal
    W = {l: normal((width + 1, width)) / np.sqrt(width) for l in range(1, depth + 1)}
    Y = np.abs(normal((n, width))) / 4
    of = dict.fromkeys(W, sigma)
    last = {"cross_entropy": "softmax", "log_softmax_cross_entropy": "log_softmax"}
    of[depth] = last.get(loss, "sigmoid" if loss == "binary_cross_entropy" else sigma)
    if loss in last:
        Y = np.eye(width)[np.arange(n) % width]
    return Problem(W=W, X=normal((n, width)), Y=Y, sigma=of, loss=loss, bias=True, alpha=0.125)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Tapes of any size are read in pairs; whether each reading was in them."""
    found: list[bool] = []
    monkeypatch.setattr(readings, "PAIRED", 0)
    real = readings._enclosed

    def enclosed(B: Any) -> Any:
        found.append(isinstance(B, Pairs))
        return real(B)

    monkeypatch.setattr(readings, "_enclosed", enclosed)
    return found


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("sigma", ["tanh", "relu", "gelu"])
def test_a_network_in_pairs_is_what_it_is_in_balls(
    loss: str, sigma: str, counted: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    p = problem(loss, sigma)
    found = in_balls(Network(p).tape)
    assert all(counted)
    monkeypatch.setattr(readings, "PAIRED", 10**9)
    exact = in_balls(Network(p).tape)
    assert found.at.keys() == exact.at.keys()
    for key, e in exact.at.items():
        apart = np.abs((found.at[key].hi - e.hi) + (found.at[key].lo - e.lo))
        assert (apart <= found.at[key].rad * (1 + 1e-9) + e.rad).all()
    for x, y in zip(found.values, exact.values, strict=True):
        assert np.array_equal(x, y, equal_nan=True) if x is not None else y is None


FUNCTIONS: dict[str, Callable[[Value, Value], Value]] = {
    **{n: partial(apply, n) for n in ("quotient", "maximum", "greater", "add", "multiply")},
    **{n: partial(lambda n, a, b: apply(n, a), n) for n in UNARY if n in IN_PAIRS},
    "absolute": lambda a, b: apply("absolute", apply("subtract", a, b)),
    "side": lambda a, b: op.side(a, b, half=0.25),
    "where": lambda a, b: apply("where", apply("greater", a, b), apply("square", a), b),
    "norm": lambda a, b: apply("divide", a, apply("sqrt", mean(apply("square", b), -1, True))),
    "gelu": lambda a, b: apply("multiply", b, apply("erfc", apply("negative", a))),
    "moved": lambda a, b: taken(a, [[0, -1, 3], [3, 3, 5]]),
    "joined": lambda a, b: permute(join([a, b], -1), (1, 0)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_and_its_gradients_in_pairs(
    name: str, counted: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    a = np.abs(draw.standard_normal((4, 6))) + 0.1
    b = np.abs(draw.standard_normal((4, 6))) + 0.1
    b[0] = a[0]  # ties

    def tape() -> Tape:
        t = Tape()
        x, z = t.leaf(a), t.leaf(b)
        y = t.mark(FUNCTIONS[name](x, z), "y")
        t.gradients([(y, t.leaf(draw.standard_normal(y.shape)))], [(x, "x"), (z, "z")])
        return t

    t = tape()
    found = in_balls(t)
    assert all(counted)
    monkeypatch.setattr(readings, "PAIRED", 10**9)
    exact = in_balls(t)
    for key, e in exact.at.items():
        apart = np.abs((found.at[key].hi - e.hi) + (found.at[key].lo - e.lo))
        assert (apart <= found.at[key].rad * (1 + 1e-9) + e.rad).all()


def test_what_code_branches_on_is_read_in_balls(counted: list[bool]) -> None:
    """All of it must be known to the last digit, not only as tolerances need it."""
    t = Tape()
    x = apply("multiply", t.leaf(draw.standard_normal((20, 20))), t.leaf(0.1))
    difference = apply("subtract", matmul(x, x), 0.3)
    assert decided(apply("greater", difference, 0.0)).shape == (20, 20)
    assert decided(difference).shape == (20, 20)
    assert not any(counted)


def test_a_network_out_of_range_is_read_in_balls(counted: list[bool]) -> None:
    p = problem("mean_squared_error", "tanh")
    p = replace(p, X=p.X * np.where(np.arange(7) == 1, 1e-200, 1.0))
    found = in_balls(Network(p).tape)
    assert not counted[-1]
    assert all(e.narrow().all() for e in found.at.values())


def test_what_is_not_known_well_enough_is_read_in_balls(
    counted: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Pairs.product

    def loose(a: Pairs, b: Pairs, slices: int) -> Pairs:
        found = real(a, b, slices)
        return Pairs(found.hi, found.lo, found.rad + 1e-12)

    monkeypatch.setattr(Pairs, "product", loose)
    in_balls(Network(problem("mean_squared_error", "tanh")).tape)
    assert not counted[-1]


def test_a_library_that_multiplies_inexactly_is_not_relied_on(
    counted: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert exact_products()
    assert not exact_products(lambda P, Q: P.astype(np.float32) @ Q.astype(np.float32))
    tape = Network(problem("mean_squared_error", "tanh")).tape
    assert readings._in_pairs(tape)
    monkeypatch.setattr(readings, "exact_products", lambda: False)
    assert not readings._in_pairs(tape)
    in_balls(tape)
    assert not any(counted)


@pytest.mark.slow
def test_verdicts_are_the_same_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each case of quick, its step gate and its truth, in both arithmetics: the same floats but for what the
    radii are apart."""
    from conformance.judge.start import started_now

    ready = started_now("refbp").ready
    assert ready is not None
    for case in cases("quick")[::4]:
        p = case.problem()
        with np.errstate(under="ignore"):
            t = ready.run(p)
        of = partial(accuracy, "refbp", p.dtype.name)
        for cut in (False, True):
            read = []
            for paired in (0, 10**9):
                monkeypatch.setattr(readings, "PAIRED", paired)
                s = Subject(case)
                amended = s.amend(())
                if cut:
                    steps = s.network(amended).steps(t, Arithmetic.of(p.dtype), of, False)
                    read.append({k: (e, np.asarray(b)) for k, (e, b) in steps.items()})
                else:
                    truth, spread = s.truth(amended), s.spread("refbp", amended)
                    layers = [(q, l) for q in QUANTITIES for l in truth.layers(q)]
                    whole = {(q, l): (truth.layers(q)[l], spread.layers(q)[l]) for q, l in layers}
                    read.append({**whole, ("loss", 0): (truth.loss, np.asarray(spread.loss))})
            for key, (e, bound) in read[1].items():
                other, same = read[0][key]
                assert np.array_equal(bound, same, equal_nan=True)
                apart = np.abs((other.hi - e.hi) + (other.lo - e.lo))
                known = ~np.isfinite(e.hi) | (apart <= other.rad * (1 + 1e-9) + e.rad)
                assert known.all(), (case.id, key)


def test_products_of_floats_and_their_errors() -> None:
    a, b = (draw.standard_normal(500) * 2.0 ** draw.integers(-100, 100, 500) for _ in range(2))
    for (x, e), f in ((two_sum(a, b), "__add__"), (two_product(a, b), "__mul__")):
        for s, t, p, q in zip(x.tolist(), e.tolist(), a.tolist(), b.tolist(), strict=True):
            assert getattr(arb(p), f)(arb(q)) == arb(s) + arb(t)
