"""Every σ and σ' against ball arithmetic, at its kinks, in its tails, and as a row of the table.

The truth is written here from each function's mathematical definition, on Taylor series of balls in
python-flint, so that σ' comes from differentiating σ and not from a second formula. Errors are counted
in units in the last place (ulp) of the exact result.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import pytest
from flint import arb, arb_mat, arb_series, ctx, fmpq

from refbp import special
from refbp.activations import ACTIVATIONS, ROWS, Elementwise, RowWise, activation
from refbp.types import Array, InputError

Float: TypeAlias = Any  # np.float64 or np.float32, the class
DTYPES = (np.float64, np.float32)
ELEMENTWISE = {row.name: row for row in ROWS if isinstance(row, Elementwise)}
NAMES = list(ELEMENTWISE)
ROW_WISE = [row.name for row in ROWS if isinstance(row, RowWise)]

# --- the truth ------------------------------------------------------------------------------------

Series = arb_series
SLOPE = fmpq(1, 100)
CUBIC = fmpq(44715, 1000000)
SELU_ALPHA = fmpq(16732632423543772848170429916717, 10**31)
SELU_SCALE = fmpq(10507009873554804934193349852946, 10**31)


def clamp(a: Series, low: int, high: int) -> Series:
    """a held between low and high; which side a[0] is on is exact, since a[0] is a float."""
    if low <= a[0] <= high:
        return a
    return Series([low if a[0] < low else high], 2)


def logistic(a: Series) -> Series:
    return 1 / (1 + (-a).exp())


def tanh(a: Series) -> Series:
    return 1 - 2 / (1 + (2 * a).exp())


def elu(a: Series) -> Series:
    return a if a[0] > 0 else a.exp() - 1


def gelu_tanh(a: Series) -> Series:
    """(a/2)(1 + tanh v) with (1 + tanh v)/2 = logistic(2v)."""
    return a * logistic((8 / arb.pi()).sqrt() * (a + CUBIC * a * a * a))


def log_one_plus_exp(a: Series) -> Series:
    return (1 + a.exp()).log()


DEFINITIONS: dict[str, Callable[[Series], Series]] = {
    "identity": lambda a: a,
    "sigmoid": logistic,
    "tanh": tanh,
    "relu": lambda a: a if a[0] > 0 else 0 * a,
    "leaky_relu": lambda a: a if a[0] > 0 else SLOPE * a,
    "elu": elu,
    "selu": lambda a: SELU_SCALE * (1 if a[0] > 0 else SELU_ALPHA) * elu(a),
    "celu": elu,
    "gelu": lambda a: a / 2 * (-a / arb(2).sqrt()).erfc(),
    "gelu_tanh": gelu_tanh,
    "silu": lambda a: a * logistic(a),
    "softplus": log_one_plus_exp,
    "softsign": lambda a: a / (1 + (a if a[0] > 0 else -a)),
    "mish": lambda a: a * tanh(log_one_plus_exp(a)),
    "hardtanh": lambda a: clamp(a, -1, 1),
    "relu6": lambda a: clamp(a, 0, 6),
    "hardsigmoid": lambda a: (clamp(a, -3, 3) + 3) / 6,
    "hardswish": lambda a: a * (clamp(a, -3, 3) + 3) / 6,
    "logsigmoid": lambda a: -log_one_plus_exp(-a),
    "sin": lambda a: a.sin(),
    "gaussian": lambda a: (-a * a).exp(),
}

INF = math.inf
SCALE, FLOOR = 1.0507009873554805, 1.7580993408473768600
# name: σ(−∞), σ'(−∞), σ(∞), σ'(∞). Beyond ±1000 all but softsign and sin are as at ±∞, or linear.
LIMITS = {
    "identity":    (-INF,   1,    INF, 1),
    "sigmoid":     (0,      0,    1,   0),
    "tanh":        (-1,     0,    1,   0),
    "relu":        (0,      0,    INF, 1),
    "leaky_relu":  (-INF,   0.01, INF, 1),
    "elu":         (-1,     0,    INF, 1),
    "selu":        (-FLOOR, 0,    INF, SCALE),
    "celu":        (-1,     0,    INF, 1),
    "gelu":        (0,      0,    INF, 1),
    "gelu_tanh":   (0,      0,    INF, 1),
    "silu":        (0,      0,    INF, 1),
    "softplus":    (0,      0,    INF, 1),
    "softsign":    (-1,     0,    1,   0),
    "mish":        (0,      0,    INF, 1),
    "hardtanh":    (-1,     0,    1,   0),
    "relu6":       (0,      0,    6,   0),
    "hardsigmoid": (0,      0,    1,   0),
    "hardswish":   (0,      0,    INF, 1),
    "logsigmoid":  (-INF,   1,    0,   0),
    "gaussian":    (0,      0,    0,   0),
}  # fmt: skip


def known(ball: arb) -> bool:
    return bool(ball == 0) or ball.rel_accuracy_bits() >= 64


def certified(name: str, x: float) -> tuple[arb, arb]:
    """(σ(x), σ'(x)) as balls of at least 64 bits: the precision is doubled until they are."""
    for bits in (128 << k for k in range(10)):
        with ctx.workprec(bits):
            z = DEFINITIONS[name](Series([x, 1], 2))
        if known(z[0]) and known(z[1]):
            return z[0], z[1]
    raise AssertionError(f"{name} at {x!r} is UNDECIDED")


def beyond(name: str, x: float) -> tuple[arb, arb]:
    """(σ(x), σ'(x)) from their limits, for |x| > 1000: what is left out is below e^{−1000}."""
    value, slope = LIMITS[name][2:] if x > 0 else LIMITS[name][:2]
    exact = {0.01: SLOPE, SCALE: SELU_SCALE, -FLOOR: -SELU_SCALE * SELU_ALPHA}
    with ctx.workprec(128):
        slant = arb(exact.get(slope, slope))
        return (slant * arb(x) if math.isinf(value) else arb(exact.get(value, value))), slant


POINTS = 1201


def spread(dtype: Float) -> Array:
    """Points over the whole float line by their logarithm, and denser where σ bends or dies out."""
    limits = np.finfo(dtype)
    exponents = np.linspace(math.log2(limits.smallest_subnormal), math.log2(limits.max), POINTS)
    size = np.exp2(exponents[:-1])
    dead = 760 if dtype is np.float64 else 110
    bends, dies = np.linspace(-6, 6, POINTS), np.linspace(-dead, dead, POINTS)
    middle = np.geomspace(1e-9, 45, POINTS)
    ends = np.array([limits.max, limits.tiny, 0, 1, 3, 6, 1000])
    beside = [np.nextafter(dtype(k), dtype(s * 9)) for k in (0, 1, -1, 3, -3, 6) for s in (1, -1)]
    X: list[Any] = [size, -size, middle, -middle, bends, dies, ends, -ends, beside]
    return np.unique(np.concatenate(X).astype(dtype))


@functools.cache
def truth(name: str, dtype: Float) -> tuple[Array, list[tuple[arb, arb]]]:
    """The points, and (σ, σ') at each of them."""
    X = spread(dtype)
    by_limit = name not in ("softsign", "sin")
    return X, [
        beyond(name, x) if abs(x) > 1000 and by_limit else certified(name, x) for x in X.tolist()
    ]


def ulps(got: float, exact: arb, dtype: Float, scale: float = 0.0) -> float:
    """|got − exact| in ulps of max(|exact|, scale); below the normal numbers, in normal numbers."""
    limits = np.finfo(dtype)
    size = max(abs(float(exact)), scale)
    error = abs(float(arb(got) - exact))
    if size < limits.tiny:
        return error / float(limits.tiny)
    return error / math.ldexp(float(limits.eps), math.frexp(size)[1] - 1)


GATED = ("gelu", "gelu_tanh", "silu", "mish")


def scale_of_prime(name: str, x: float, value: arb, slope: arb) -> float:
    """|S| + |a S'|, the terms of σ' where σ = a S: near its zero they cancel, and that is allowed."""
    if name not in GATED or x == 0 or x > 0:
        return 0.0
    S = value / arb(x)
    return abs(float(S)) + abs(float(slope - S))


def column(f: Callable[[Array], Array], X: Array) -> list[float]:
    return f(X.reshape(-1, 1)).ravel().tolist()


def worst(
    name: str, dtype: Float, sigma: Callable[[Array], Array], which: int
) -> tuple[float, str]:
    """The largest error of `sigma`, taken as σ (which = 0) or σ' (1), and where it is."""
    X, exact = truth(name, dtype)
    kinks = ELEMENTWISE[name].kinks if which else {}
    found = (0.0, "nowhere")
    for x, got, pair in zip(X.tolist(), column(sigma, X), exact, strict=True):
        if x in kinks or abs(float(pair[which])) > float(np.finfo(dtype).max):
            continue
        scale = scale_of_prime(name, x, *pair) if which else 0.0
        error = ulps(got, pair[which], dtype, scale)
        found = max(found, (error, f"at {x!r}: {got!r}, exactly {pair[which].str(20)}"))
    return found


# --- accuracy -------------------------------------------------------------------------------------

# ulp of σ and σ' in float64, then in float32. At most a fifth over the worst of 54,000 points each
# on NumPy 1.26 and 2.4, with AVX-512, with AVX2 and with neither, whose exp and cosh differ.
CEILINGS = {
    "identity":    (0,    0,    0,    0),
    "sigmoid":     (3.0,  3.5,  3.5,  3.5),
    "tanh":        (2.2,  3.5,  2.2,  3.5),
    "relu":        (0,    0,    0,    0),
    "leaky_relu":  (0.7,  0.15, 0.9,  0.25),
    "elu":         (1.6,  1.7,  2.4,  2.5),
    "selu":        (3.8,  3.5,  3.5,  2.9),
    "celu":        (1.6,  1.7,  2.4,  2.5),
    "gelu":        (5.0,  5.5,  0.51, 0.51),
    "gelu_tanh":   (4.6,  6.5,  0.51, 0.51),
    "silu":        (3.3,  3.5,  3.5,  4.0),
    "softplus":    (2.8,  3.0,  2.7,  3.5),
    "softsign":    (1.6,  3.6,  1.6,  3.5),
    "mish":        (3.5,  4.4,  4.4,  4.4),
    "hardtanh":    (0,    0,    0,    0),
    "relu6":       (0,    0,    0,    0),
    "hardsigmoid": (1.0,  0.34, 1.0,  0.34),
    "hardswish":   (1.9,  1.0,  1.9,  1.0),
    "logsigmoid":  (2.8,  3.0,  2.7,  3.5),
    "sin":         (0.6,  0.6,  1.5,  1.5),
    "gaussian":    (3.9,  4.4,  0.51, 0.51),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_sigma_and_its_derivative_are_the_certified_ones(name: str, dtype: Float) -> None:
    sigma = ACTIVATIONS[name]
    value, where = worst(name, dtype, sigma, 0)
    slope, where_prime = worst(name, dtype, sigma.derivative, 1)
    ceiling, ceiling_prime = CEILINGS[name][:2] if dtype is np.float64 else CEILINGS[name][2:]
    assert value <= ceiling, f"{name}: {value:.2f} ulp {where}"
    assert slope <= ceiling_prime, f"{name}': {slope:.2f} ulp {where_prime}"


WRONG = [
    ("tanh", 1, lambda A: 1 - np.tanh(A) ** 2),
    ("sigmoid", 1, lambda A: activation("sigmoid")(A) * (1 - activation("sigmoid")(A))),
    ("gelu", 0, lambda A: 0.5 * A * (1 + np.tanh(0.7978845608028654 * (A + 0.044715 * A**3)))),
    ("softplus", 0, lambda A: np.where(A > 20, A, activation("softplus")(A))),
    ("silu", 1, lambda A: activation("silu").derivative(A) * (1 + 2e-15)),
    ("relu", 1, lambda A: np.where(A > 0, 1, -1e-16)),
    ("elu", 0, lambda A: np.where(A > 0, A, np.exp(np.minimum(A, 0)) - 1)),
]


@pytest.mark.parametrize(("name", "which", "wrong"), WRONG)
@np.errstate(over="ignore")
def test_the_measure_of_accuracy_catches(
    name: str, which: int, wrong: Callable[[Array], Array]
) -> None:
    """Well-known forms that lose the tails, torch's softplus, and a derivative 2e-15 too large."""
    error, _ = worst(name, np.float64, wrong, which)
    assert error > 1.5 * CEILINGS[name][which]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_vjp_is_g_times_the_derivative(name: str, dtype: Float) -> None:
    sigma, A = ACTIVATIONS[name], np.linspace(-7, 7, 60, dtype=dtype).reshape(12, 5)
    G = np.cos(np.arange(60, dtype=dtype)).reshape(12, 5)
    np.testing.assert_array_equal(sigma.vjp(A, G), G * sigma.derivative(A), strict=True)


# --- kinks, extremes, and what every row promises -------------------------------------------------

KINKS: dict[str, dict[float, float]] = {
    "relu": {0: 0},
    "leaky_relu": {0: 0.01},
    "selu": {0: 1.7580993408473766},
    "hardtanh": {-1: 0, 1: 0},
    "relu6": {0: 0, 6: 0},
    "hardsigmoid": {-3: 0, 3: 0},
    "hardswish": {-3: 0, 3: 1},
}


def test_the_kinks_are_these() -> None:
    assert {row.name: row.kinks for row in ELEMENTWISE.values() if row.kinks} == KINKS


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "kink"), [(name, kink) for name in KINKS for kink in KINKS[name]])
def test_sigma_prime_at_a_kink_is_the_value_in_the_table(
    name: str, kink: int, dtype: Float
) -> None:
    beside = [np.nextafter(dtype(kink), dtype(to)) for to in (-10, 10)]
    A = np.array([[beside[0], kink, beside[1]]], dtype)
    before, at, after = ACTIVATIONS[name].derivative(A)[0]
    assert at == dtype(KINKS[name][kink])
    assert abs(before - after) > 0.1, "no kink: the one-sided derivatives agree"


@pytest.mark.parametrize("dtype", DTYPES)
def test_where_there_is_no_kink_zero_takes_the_derivative_of_both_sides(dtype: Float) -> None:
    for name in ("elu", "celu", "softsign"):
        assert activation(name).derivative(np.zeros((1, 1), dtype)) == 1


def extremes(dtype: Float) -> Array:
    limits = np.finfo(dtype)
    sizes = [0, limits.smallest_subnormal, limits.tiny / 8, limits.tiny, 1, 1000, 1e30, limits.max]
    return np.array([sizes, np.negative(sizes)], dtype).T


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_extremes_give_finite_numbers_and_no_floating_point_error_but_underflow(
    name: str, dtype: Float
) -> None:
    sigma, A = ACTIVATIONS[name], extremes(dtype)
    with np.errstate(all="raise", under="ignore"):
        Z, V = sigma(A), sigma.vjp(A, np.ones_like(A))
    largest = np.abs(A) == np.finfo(dtype).max
    overflows = largest if name in ("selu", "log_softmax") else np.zeros_like(largest)
    assert np.isfinite(Z[~overflows]).all()
    assert np.isfinite(V).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LIMITS)
def test_infinity_gives_the_limit(name: str, dtype: Float) -> None:
    sigma, A = ACTIVATIONS[name], np.array([[-INF, INF]], dtype)
    left, left_prime, right, right_prime = LIMITS[name]
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(sigma(A), [[left, right]], rtol=2 * np.finfo(dtype).eps)
        primes = [[left_prime, right_prime]]
        np.testing.assert_allclose(sigma.derivative(A), primes, rtol=2 * np.finfo(dtype).eps)


def test_sine_has_no_limit() -> None:
    with np.errstate(invalid="ignore"):
        assert np.isnan(activation("sin")(np.array([[-INF, INF]]))).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_gives_nan(name: str, dtype: Float) -> None:
    sigma, A = ACTIVATIONS[name], np.array([[math.nan], [0.5]], dtype)
    Z, V = sigma(A), sigma.vjp(A, np.ones_like(A))
    derivative_is_constant = name == "identity"
    assert np.isnan(Z[0, 0])
    assert np.isnan(V[0, 0]) != derivative_is_constant
    assert np.isfinite(Z[1, 0])
    assert np.isfinite(V[1, 0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_shape_and_dtype_are_kept_and_the_input_is_neither_written_nor_returned(
    name: str, dtype: Float
) -> None:
    sigma, A = ACTIVATIONS[name], np.linspace(-4, 4, 30, dtype=dtype).reshape(6, 5)
    G = np.ones_like(A)
    A.flags.writeable = G.flags.writeable = False
    for rows, columns in ((slice(None), slice(None)), (slice(4, None, -2), slice(1, None, 3))):
        a, g = A[rows, columns], G[rows, columns]
        for got in (sigma(a), sigma.vjp(a, g)):
            assert (got.shape, got.dtype) == (a.shape, a.dtype)
            assert not np.shares_memory(got, A)
            assert not np.shares_memory(got, G)
            assert got.flags.writeable


@pytest.mark.parametrize("name", ["identity", "relu"])
def test_fractions_stay_exact(name: str) -> None:
    A = np.array([[Fraction(1, 3), Fraction(-2, 7)]], dtype=object)
    expected = {"identity": A.tolist(), "relu": [[Fraction(1, 3), 0]]}[name]
    slopes = {"identity": [[1, 1]], "relu": [[1, 0]]}[name]
    assert activation(name)(A).tolist() == expected
    assert (activation(name).vjp(A, A) == A * np.array(slopes)).all()


# --- row-wise -------------------------------------------------------------------------------------

LOGITS = np.array(
    [
        [0.1, -2.5, 1.75, 0.3, 7.0],
        [700.25, -3.7, 0.6, 1e-3, -8.125],
        [-0.3, -700.7, -1e-9, -40.2, -80.6],
        [3.0, 3.0, 3.0, 3.0, 3.0],
        [1e8, 1e8 + 1, 1e8 - 30, -1e8, 0.0],
        [-36.0, 1.0, -36.5, -37.0, -38.0],
    ]
)


def exact_softmax(a: list[float]) -> list[arb]:
    e = [(arb(x) - max(a)).exp() for x in a]
    total = sum(e, arb(0))
    return [x / total for x in e]


def exact_vjp(name: str, a: list[float], g: list[float]) -> list[arb]:
    """g times the Jacobian, entry by entry: s_k ([j = k] − s_j), or [j = k] − s_j for the logarithm."""
    s, n = exact_softmax(a), len(a)
    weight = s if name == "softmax" else [arb(1)] * n
    return [
        sum((arb(g[k]) * weight[k] * ((1 if j == k else 0) - s[j]) for k in range(n)), arb(0))
        for j in range(n)
    ]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "ceiling"), [("softmax", 5.0), ("log_softmax", 4.0)])
def test_softmax_and_its_logarithm_are_good_in_every_entry(
    name: str, ceiling: float, dtype: Float
) -> None:
    A = LOGITS.astype(dtype)
    Z = activation(name)(A)
    with ctx.workprec(2500):
        for a, z in zip(A.tolist(), Z.tolist(), strict=True):
            exact = exact_softmax(a)
            for got, s in zip(z, exact, strict=True):
                error = ulps(got, s if name == "softmax" else s.log(), dtype)
                assert error <= ceiling, f"{name} of {a}: {got!r}, {error:.2f} ulp"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ROW_WISE)
def test_vjp_of_softmax_is_g_times_the_explicit_jacobian(name: str, dtype: Float) -> None:
    A = LOGITS.astype(dtype)
    G = np.sin(np.arange(1, A.size + 1)).reshape(A.shape).astype(dtype)
    V = activation(name).vjp(A, G)
    with ctx.workprec(2500):
        for a, g, v in zip(A.tolist(), G.tolist(), V.tolist(), strict=True):
            s = [float(x) for x in exact_softmax(a)]
            for j, (got, exact) in enumerate(zip(v, exact_vjp(name, a, g), strict=True)):
                terms = sum(map(abs, g)) * s[j] + (abs(g[j]) if name == "log_softmax" else 0)
                assert ulps(got, exact, dtype, terms) <= 6


@pytest.mark.parametrize("name", ROW_WISE)
def test_a_row_acts_alone(name: str) -> None:
    A, sigma = LOGITS, activation(name)
    np.testing.assert_array_equal(np.vstack([sigma(A[i : i + 1]) for i in range(len(A))]), sigma(A))


@pytest.mark.parametrize("name", ROW_WISE)
def test_a_derivative_of_a_row_wise_activation_is_refused(name: str) -> None:
    with pytest.raises(InputError) as e:
        activation(name).derivative(LOGITS)
    assert e.value.args == (
        f"{name} has no elementwise derivative: each output depends on the whole row, "
        f"so ∂L/∂A = ∂L/∂Z ⊙ σ'(A) does not hold. Use {name}'s vjp(A, G).",
    )


# --- the table ------------------------------------------------------------------------------------


def test_the_names_are_these() -> None:
    assert list(ACTIVATIONS) == [
        *("identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "celu", "gelu"),
        *("gelu_tanh", "silu", "softplus", "softsign", "mish", "hardtanh", "relu6", "hardsigmoid"),
        *("hardswish", "logsigmoid", "sin", "gaussian", "softmax", "log_softmax"),
    ]


def test_a_name_is_looked_up() -> None:
    assert activation("tanh") is ACTIVATIONS["tanh"]
    assert activation("tanh").name == "tanh"


@pytest.mark.parametrize(
    ("name", "nearest"), [("Relu", "relu"), ("swish", "hardswish"), ("tanhh", "tanh"), (7, "tanh")]
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(InputError) as e:
        activation(name)
    assert e.value.args == (
        f"There is no activation {name!r}; the nearest name is {nearest!r}. There are: identity, "
        "sigmoid, tanh, relu, leaky_relu, elu, selu, celu, gelu, gelu_tanh, silu, softplus, "
        "softsign, mish, hardtanh, relu6, hardsigmoid, hardswish, logsigmoid, sin, gaussian, "
        "softmax, log_softmax.",
    )


def test_one_of_your_own() -> None:
    cube = Elementwise("cube", lambda A: A**3, lambda A: 3 * A**2)
    A, G = np.array([[2.0, -1.0]]), np.array([[1.0, 10.0]])
    assert cube(A).tolist() == [[8, -1]]
    assert cube.vjp(A, G).tolist() == [[12, 30]]
    assert cube.kinks == {}
    assert hash(cube) == hash(cube)


@pytest.mark.parametrize("name", ["tanh", "softmax"])
def test_nothing_is_broadcast(name: str) -> None:
    with pytest.raises(InputError) as e:
        activation(name).vjp(np.ones((3, 2)), np.ones((3, 1)))
    assert e.value.args == (
        f"G has shape (3, 1) in {name}'s vjp(A, G); expected (3, 2), the shape of A. "
        "Nothing is broadcast.",
    )


# --- special --------------------------------------------------------------------------------------


def exact_tail(t: arb) -> arb:
    """Φ(−t) e^{t²/2}."""
    return (t / arb(2).sqrt()).erfc() / 2 * (t * t / 2).exp()


def test_the_coefficients_of_the_tail_are_what_its_docstring_says() -> None:
    n = len(special.TAIL)
    with ctx.workprec(400):
        top = arb(fmpq(34, 46))
        cosines = [(arb.pi() * fmpq(2 * j + 1, 2 * n)).cos() for j in range(n)]
        nodes = [(top - 1) / 2 + (top + 1) / 2 * c for c in cosines]
        ts = [6 * (1 + s) / (1 - s) for s in nodes]
        powers = arb_mat([[s**i for i in range(n)] for s in nodes])
        solved = powers.solve(arb_mat([[(1 + t) * exact_tail(t)] for t in ts]))
        bounds = [(float(c.lower()), float(c.upper())) for c in solved.entries()]
    assert [low for low, _ in bounds] == [high for _, high in bounds] == list(special.TAIL)


def test_the_tail_is_good_to_a_few_ulp() -> None:
    t = np.linspace(0, 40, 4001)
    with ctx.workprec(3000):
        exact = [exact_tail(arb(x)) for x in t.tolist()]
    got = special.scaled_tail(t).tolist()
    assert max(ulps(g, e, np.float64) for g, e in zip(got, exact, strict=True)) < 2.7


def test_the_constants_of_the_cubic_are_exact_in_two_parts() -> None:
    with ctx.workprec(200):
        B = (8 / arb.pi()).sqrt()
        for exact, whole, high, low in (
            (B, special.B, special.B_HIGH, special.B_LOW),
            (B * CUBIC, special.C, special.C_HIGH, special.C_LOW),
        ):
            assert float(exact) == whole
            assert float(exact - high) == low


def test_square_and_cubic_lose_nothing_before_their_low_part() -> None:
    t = np.linspace(0, 24, 5003)
    with ctx.workprec(200):
        B = (8 / arb.pi()).sqrt()
        for x, u, low, v, v_low in zip(
            *(M.tolist() for M in (t, *special.square(t), *special.cubic(t))), strict=True
        ):
            a = arb(x)
            assert abs(float(a * a - u - low)) <= 2**-52
            assert abs(float(B * (a + CUBIC * a * a * a) - v - v_low)) <= 2**-50


def test_two_factors_keep_the_digits_that_one_subnormal_exponential_loses() -> None:
    u = np.array([709.0, 712.0])
    p, q = special.exp_minus(u)
    with ctx.workprec(200):
        exact = [arb(x) * (-arb(x)).exp() for x in u.tolist()]
    kept = (u * q * p).tolist()
    lost = (u * np.exp(-u)).tolist()
    assert max(ulps(g, e, np.float64) for g, e in zip(kept, exact, strict=True)) < 3
    assert max(ulps(g, e, np.float64) for g, e in zip(lost, exact, strict=True)) > 3


def test_every_row_is_tested() -> None:
    assert [*NAMES, *ROW_WISE] == list(ACTIVATIONS)
    assert list(DEFINITIONS) == list(CEILINGS) == NAMES


def test_log_softmax_adds_what_its_subtraction_lost() -> None:
    """a − max a is rounded, and its error carried on: far below the maximum about one roundoff of the
    result is left, where the error with the wrong sign leaves up to three."""
    A = np.random.default_rng(3).normal(scale=5, size=(2000, 4)).astype(np.float32)
    of = activation("log_softmax")
    Z, S = of(A.astype(np.float64)), A - A.max(axis=1, keepdims=True).astype(np.float64)
    far = 4 * np.abs(Z - S) < -S
    assert far.sum() > 1000
    assert (np.abs(of(A) - Z) / np.abs(Z))[far].max() < 1.5 * 2.0**-24
