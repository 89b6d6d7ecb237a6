"""Every loss and its gradient: against exact arithmetic, where it is degenerate, as a table row.

The truth is written here from each loss's definition for one output: ball arithmetic in
python-flint, where a float is exact, differentiated as a Taylor series. A batch is a sum over n.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import pytest
import sympy
from flint import arb, arb_series, ctx

from refbp.losses import LOSSES, ROWS, Loss, loss
from refbp.types import Array, InputError

Float: TypeAlias = Any  # np.float64 or np.float32, the class
DTYPES = (np.float64, np.float32)
NAMES = [row.name for row in ROWS]

# --- the truth ------------------------------------------------------------------------------------

Series = arb_series


def absolute(e: Series) -> Series:
    return e if e[0] > 0 else -e if e[0] < 0 else 0 * e


def huber(e: Series) -> Series:
    return e * e / 2 if abs(e[0]) <= 1 else absolute(e) - arb(1) / 2


def plogp(y: arb, z: Series) -> Series:
    return y * z.log() if y != 0 else 0 * z


DEFINITIONS: dict[str, Callable[[Series, arb], Series]] = {
    "mean_squared_error": lambda z, y: (z - y) * (z - y),
    "cross_entropy": lambda z, y: -plogp(y, z),
    "log_softmax_cross_entropy": lambda z, y: -y * z,
    "binary_cross_entropy": lambda z, y: -(plogp(y, z) + plogp(1 - y, 1 - z)),
    "mean_absolute_error": lambda z, y: absolute(z - y),
    "huber": lambda z, y: huber(z - y),
}


def certified(name: str, z: float, y: float, n: int = 1) -> tuple[arb, arb]:
    """(ℓ/n, ∂ℓ/∂z/n) of one output in a batch of n."""
    with ctx.workprec(2400):
        l = DEFINITIONS[name](Series([z, 1], 2), arb(y)) / n
        return l[0], l[1]


PROBABILITIES = ("cross_entropy", "binary_cross_entropy")


def batch(name: str, dtype: Float, n: int = 40, width: int = 7) -> tuple[Array, Array]:
    """Z and Y with differences of every size, or probabilities down to 1e-30."""
    rng = np.random.default_rng(20240229)
    if name in PROBABILITIES:
        Z = 1 / (1 + np.exp(rng.uniform(-30, 30, (n, width))))
        Z[::3] = 10.0 ** rng.uniform(-30, -1, Z[::3].shape)
        Y = rng.choice([0.0, 1.0, 0.25, 0.5], Z.shape)
        Z[1::5] = Y[1::5] * (1 + rng.uniform(-1e-3, 0, Y[1::5].shape)) + 1e-9
    else:
        Z = rng.standard_normal((n, width)) * 10.0 ** rng.uniform(-3, 3, (n, width))
        Y = Z + rng.standard_normal(Z.shape) * 10.0 ** rng.uniform(-6, 2, Z.shape)
    return np.minimum(Z, 1 - 2.0**-20 if name in PROBABILITIES else np.inf).astype(dtype), Y.astype(
        dtype
    )


def ulp(x: float, dtype: Float) -> float:
    return math.ldexp(float(np.finfo(dtype).eps), math.frexp(x)[1] - 1)


# The worst error of an entry of the gradient, in ulp, for float64 and float32 alike.
CEILINGS = {
    "mean_squared_error": 1.5,
    "cross_entropy": 1.5,
    "log_softmax_cross_entropy": 0.5,
    "binary_cross_entropy": 3.0,
    "mean_absolute_error": 0.5,
    "huber": 1.5,
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_every_entry_of_the_gradient(name: str, dtype: Float) -> None:
    Z, Y = batch(name, dtype)
    G = loss(name).gradient(Z, Y)
    for z, y, g in zip(Z.ravel().tolist(), Y.ravel().tolist(), G.ravel().tolist(), strict=True):
        exact = certified(name, z, y, len(Z))[1]
        error = abs(float(arb(g) - exact))
        allowed = CEILINGS[name] * ulp(float(exact), dtype)
        assert error <= allowed, f"{name} at z = {z!r}, y = {y!r}: {g!r}, exactly {exact.str(20)}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_the_value_is_the_sum_over_the_batch_and_the_outputs_over_n(
    name: str, dtype: Float
) -> None:
    """To a few ulp of the sum of the absolute terms: 280 terms are summed pairwise."""
    Z, Y = batch(name, dtype)
    got = loss(name)(Z, Y)
    with ctx.workprec(2400):
        pairs = zip(Z.ravel().tolist(), Y.ravel().tolist(), strict=True)
        terms = [certified(name, z, y, len(Z))[0] for z, y in pairs]
        error, size = abs(sum(terms, -arb(float(got)))), sum(map(abs, terms), arb(0))
    assert float(error) <= 4 * ulp(float(size), dtype)


def test_the_gradient_of_bce_as_it_is_usually_split_would_be_caught() -> None:
    """(1 − y)/(1 − z) − y/z cancels where z is near y."""
    Z, Y = np.array([[0.25 + 1e-12]]), np.array([[0.25]])
    exact = float(certified("binary_cross_entropy", Z[0, 0].item(), 0.25)[1])
    split = ((1 - Y) / (1 - Z) - Y / Z).item()
    assert abs(split - exact) > 1000 * ulp(exact, np.float64)
    assert abs(loss("binary_cross_entropy").gradient(Z, Y).item() - exact) <= 3 * ulp(
        exact, np.float64
    )


# --- by hand, and exactly -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "gradient"),
    [
        ("mean_squared_error", 7.0, [[2.0, 0.0], [1.0, 3.0]]),
        ("mean_absolute_error", 3.0, [[0.5, 0.0], [0.5, 0.5]]),
        ("huber", 2.25, [[0.5, 0.0], [0.5, 0.5]]),
        ("log_softmax_cross_entropy", -3.5, [[-0.5, 0.0], [-1.0, 0.5]]),
    ],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_worked_by_hand(name: str, value: float, gradient: list[list[float]], dtype: Float) -> None:
    """n = 2 and two outputs: it is n that divides, not n·d_L."""
    Z, Y = np.array([[3, 0], [3, 2]], dtype), np.array([[1, 0], [2, -1]], dtype)
    assert loss(name)(Z, Y) == value
    np.testing.assert_array_equal(loss(name).gradient(Z, Y), np.array(gradient, dtype), strict=True)


def test_mean_squared_error_of_fractions_is_exact() -> None:
    Z = np.array([[Fraction(1, 3)], [Fraction(2, 7)], [Fraction(0)]], dtype=object)
    Y = np.array([[Fraction(1, 2)], [Fraction(0)], [Fraction(1)]], dtype=object)
    row = loss("mean_squared_error")
    assert row(Z, Y) == (Fraction(1, 36) + Fraction(4, 49) + 1) / 3
    assert row.gradient(Z, Y).tolist() == [[Fraction(-1, 9)], [Fraction(4, 21)], [Fraction(-2, 3)]]


def test_mean_squared_error_of_symbols_is_the_formula_of_the_notes() -> None:
    z, y = sympy.symbols("z1:4"), sympy.symbols("y1:4")
    Z, Y = (np.array(s, dtype=object).reshape(3, 1) for s in (z, y))
    row = loss("mean_squared_error")
    L = sum((a - b) ** 2 for a, b in zip(z, y, strict=True)) / sympy.Integer(3)
    assert sympy.expand(row(Z, Y) - L) == 0
    for symbol, entry in zip(z, row.gradient(Z, Y).ravel(), strict=True):
        assert sympy.expand(entry - sympy.diff(L, symbol)) == 0


# --- degenerate ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "z", "y", "value", "gradient"),
    [
        ("mean_absolute_error", 2, 2, 0, 0),
        ("huber", 1, 0, 0.5, 1),
        ("huber", -1, 0, 0.5, -1),
        ("huber", 1e30, 0, 1e30, 1),
        ("cross_entropy", 0, 0, 0, 0),
        ("cross_entropy", 0, 1, math.inf, -math.inf),
        ("cross_entropy", 1, 1, 0, -1),
        ("binary_cross_entropy", 0, 0, 0, 1),
        ("binary_cross_entropy", 1, 1, 0, -1),
        ("binary_cross_entropy", 0, 1, math.inf, -math.inf),
        ("binary_cross_entropy", 1, 0, math.inf, math.inf),
        ("binary_cross_entropy", 0, 0.5, math.inf, -math.inf),
        ("binary_cross_entropy", 0.5, 0.5, math.log(2), 0),
    ],
)
def test_where_it_is_degenerate(
    name: str, z: float, y: float, value: float, gradient: float, dtype: Float
) -> None:
    Z, Y = np.array([[z]], dtype), np.array([[y]], dtype)
    with np.errstate(all="raise", under="ignore"):
        assert loss(name)(Z, Y) == dtype(value)
        assert loss(name).gradient(Z, Y) == dtype(gradient)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_nan_gives_nan(name: str, dtype: Float) -> None:
    """A diverged network must show in its loss; it is not taken for a probability out of range."""
    Z, Y = np.array([[math.nan], [0.5]], dtype), np.array([[0.25], [0.25]], dtype)
    assert np.isnan(loss(name)(Z, Y))
    if name != "log_softmax_cross_entropy":
        assert np.isnan(loss(name).gradient(Z, Y)).tolist() == [[True], [False]]


@pytest.mark.parametrize("name", PROBABILITIES)
@pytest.mark.parametrize("z", [-0.25, 1.5])
def test_what_is_no_probability_is_refused(name: str, z: float) -> None:
    Z, Y = np.array([[0.5, 0.5], [0.5, z]]), np.zeros((2, 2))
    for f in (loss(name), loss(name).gradient):
        with pytest.raises(InputError) as e:
            f(Z, Y)
        assert e.value.args == (
            f"Z_L[1, 1] is {z}; expected outputs between 0 and 1, as softmax or sigmoid gives them "
            "to a cross entropy.",
        )


# --- what every row promises, and the table -------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_dtype_and_shape_are_kept_and_the_inputs_are_not_written(name: str, dtype: Float) -> None:
    Z, Y = batch(name, dtype)
    Z.flags.writeable = Y.flags.writeable = False
    value, gradient = loss(name)(Z, Y), loss(name).gradient(Z, Y)
    assert type(value) is dtype
    assert (gradient.shape, gradient.dtype) == (Z.shape, Z.dtype)
    assert not np.shares_memory(gradient, Z)
    assert not np.shares_memory(gradient, Y)


@pytest.mark.parametrize("name", NAMES)
def test_targets_as_a_vector_stand_for_one_column(name: str) -> None:
    Z, Y = batch(name, np.float64, width=1)
    assert loss(name)(Z, Y[:, 0]) == loss(name)(Z, Y)
    np.testing.assert_array_equal(loss(name).gradient(Z, Y[:, 0]), loss(name).gradient(Z, Y))


@pytest.mark.parametrize("name", NAMES)
def test_targets_are_not_broadcast(name: str) -> None:
    for f in (loss(name), loss(name).gradient):
        with pytest.raises(InputError) as e:
            f(np.full((3, 2), 0.5), np.ones((3, 1)))
        assert e.value.args == (
            "Y has shape (3, 1); expected (3, 2), the shape of Z_L. Nothing is broadcast.",
        )


def test_the_names_are_these() -> None:
    assert list(LOSSES) == NAMES == list(DEFINITIONS)
    assert NAMES == [
        "mean_squared_error",
        "cross_entropy",
        "log_softmax_cross_entropy",
        "binary_cross_entropy",
        "mean_absolute_error",
        "huber",
    ]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("Huber", "huber"),
        ("mean_square_error", "mean_squared_error"),
        ("qqqq", "mean_squared_error"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(InputError) as e:
        loss(name)
    assert e.value.args == (
        f"There is no loss {name!r}; the nearest name is {nearest!r}. There are: "
        "mean_squared_error, cross_entropy, log_softmax_cross_entropy, binary_cross_entropy, "
        "mean_absolute_error, huber.",
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy"])
def test_a_gradient_beyond_the_range_is_infinite_without_a_warning(name: str, dtype: Float) -> None:
    Z, Y = np.full((1, 1), np.finfo(dtype).smallest_subnormal), np.ones((1, 1), dtype)
    assert loss(name).gradient(Z, Y).tolist() == [[-math.inf]]


def test_one_of_your_own() -> None:
    quartic = Loss("quartic", lambda Z, Y: ((Z - Y) ** 4).sum(), lambda Z, Y: 4 * (Z - Y) ** 3)
    Z, Y = np.array([[2.0], [1.0]]), np.array([1.0, 3.0])
    assert quartic(Z, Y) == 17
    assert quartic.gradient(Z, Y).tolist() == [[4], [-32]]
