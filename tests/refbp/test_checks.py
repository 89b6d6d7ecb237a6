"""Every refusal of refbp/checks.py, its whole message pinned."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from refbp.activations import activation
from refbp.algorithm import backward_prop, forward_pass, update
from refbp.checks import check_backward, check_forward, check_matrix, check_rate, targets
from refbp.losses import loss
from refbp.types import Array, InputError

X = np.ones((3, 2))
W = {1: np.ones((2, 4)), 2: np.ones((4, 1))}
SIGMA = {1: activation("tanh"), 2: activation("identity")}
A = {1: np.ones((3, 4)), 2: np.ones((3, 1))}
Z = {0: X, 1: np.ones((3, 4)), 2: np.ones((3, 1))}


def with_entry(M: Array, value: float) -> Array:
    M = M.copy()
    M[1, 0] = value
    return M


@pytest.mark.parametrize(
    ("M", "message"),
    [
        pytest.param(
            [[1.0, 2.0]], "M is a list; expected a NumPy array of two dimensions.", id="list"
        ),
        pytest.param(
            [[1.0, 2.0], [3.0]],
            "M is a list; expected a NumPy array of two dimensions.",
            id="ragged list",
        ),
        pytest.param(
            None, "M is a NoneType; expected a NumPy array of two dimensions.", id="nothing"
        ),
        pytest.param(
            np.float64(1), "M is a float64; expected a NumPy array of two dimensions.", id="number"
        ),
        pytest.param(
            np.ones(3),
            "M has shape (3,); expected two dimensions. Write M.reshape(-1, 1) for one column.",
            id="(n,) for (n, 1)",
        ),
        pytest.param(np.ones(()), "M has shape (); expected two dimensions.", id="no dimension"),
        pytest.param(
            np.ones((2, 3, 4)), "M has shape (2, 3, 4); expected two dimensions.", id="3 dimensions"
        ),
        pytest.param(
            np.ones((0, 2)),
            "M has shape (0, 2); expected no empty batch and no zero width.",
            id="empty batch",
        ),
        pytest.param(
            np.ones((2, 0)),
            "M has shape (2, 0); expected no empty batch and no zero width.",
            id="zero width",
        ),
        pytest.param(
            np.array([[1, 2]]),
            "M has dtype int64; expected float64 or float32: M.astype('float64').",
            id="ints",
        ),
        pytest.param(
            np.array([[True]]),
            "M has dtype bool; expected float64 or float32: M.astype('float64').",
            id="bools",
        ),
        pytest.param(
            np.ones((1, 1), dtype=np.float16),
            "M has dtype float16; expected float64 or float32: M.astype('float64').",
            id="half precision",
        ),
        pytest.param(
            np.ones((1, 1), dtype=complex),
            "M has dtype complex128; expected float64 or float32: M.astype('float64').",
            id="complex",
        ),
        pytest.param(
            with_entry(np.ones((3, 2)), np.nan),
            "M[1, 0] is nan; expected finite numbers.",
            id="NaN",
        ),
        pytest.param(
            with_entry(np.ones((3, 2)), np.inf),
            "M[1, 0] is inf; expected finite numbers.",
            id="inf",
        ),
        pytest.param(
            with_entry(np.ones((3, 2)), -np.inf),
            "M[1, 0] is -inf; expected finite numbers.",
            id="-inf",
        ),
    ],
)
def test_a_matrix_that_is_none(M: Any, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        check_matrix("M", M)
    assert refusal.value.args == (message,)


def test_mixed_dtypes() -> None:
    with pytest.raises(InputError) as refusal:
        check_matrix("W[1]", np.ones((1, 1), dtype=np.float32), like=np.ones((1, 1)))
    assert refusal.value.args == (
        "W[1] has dtype float32 where X = Z[0] has float64; expected one dtype throughout, "
        "so that nothing is promoted unseen.",
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float32, object])
def test_a_matrix_that_fits(dtype: Any) -> None:
    M = np.ones((3, 2), dtype=dtype)
    check_matrix("M", M)
    check_matrix("M", M, like=M)


def test_a_matrix_of_objects_among_floats_is_of_another_dtype() -> None:
    M = np.ones((3, 2))
    with pytest.raises(InputError, match=r"^M has dtype object where X = Z"):
        check_matrix("M", M.astype(object), like=M)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
def test_large_numbers_are_finite_and_what_is_among_them_is_found(dtype: Any, order: Any) -> None:
    """Though their squares are not; and without a warning."""
    M = np.full((3, 2), np.finfo(dtype).max, dtype, order)
    check_matrix("M", M)
    check_matrix("M", M[:, :1])
    for value in (np.nan, np.inf):
        with pytest.raises(InputError) as refusal:
            check_matrix("M", with_entry(M, value))
        assert refusal.value.args == (f"M[1, 0] is {value}; expected finite numbers.",)


def test_an_input_error_is_a_value_error() -> None:
    assert issubclass(InputError, ValueError)


@pytest.mark.parametrize(
    ("weights", "X", "sigma", "message"),
    [
        pytest.param(
            {}, X, {}, "W has no layers; expected a dict {1: W_1, …, L: W_L}.", id="no layers"
        ),
        pytest.param(
            [W[1]], X, {}, "W is a list; expected a dict {1: W_1, …, L: W_L}.", id="a list of W"
        ),
        pytest.param(
            {0: W[1], 1: W[2]},
            X,
            SIGMA,
            "W has the layers [0, 1]; expected a dict with the keys 1 to 2, "
            "numbered as the notes number the layers.",
            id="numbered from 0",
        ),
        pytest.param(
            W,
            X,
            {1: SIGMA[1]},
            "sigma has the layers [1]; expected a dict with the keys 1 to 2, "
            "numbered as the notes number the layers.",
            id="a σ missing",
        ),
        pytest.param(
            W,
            X,
            list(SIGMA.values()),
            "sigma is a list; expected a dict with the keys 1 to 2, "
            "numbered as the notes number the layers.",
            id="a list of σ",
        ),
        pytest.param(
            W,
            X[:, 0],
            SIGMA,
            "X has shape (3,); expected two dimensions. Write X.reshape(-1, 1) for one column.",
            id="X as (n,)",
        ),
        pytest.param(
            W,
            X[:0],
            SIGMA,
            "X has shape (0, 2); expected no empty batch and no zero width.",
            id="X empty",
        ),
        pytest.param(
            W,
            X.astype(np.float32),
            SIGMA,
            "W[1] has dtype float64 where X = Z[0] has float32; expected one dtype throughout, "
            "so that nothing is promoted unseen.",
            id="X of another dtype",
        ),
        pytest.param(
            {1: W[1], 2: with_entry(W[2], np.nan)},
            X,
            SIGMA,
            "W[2][1, 0] is nan; expected finite numbers.",
            id="NaN in W_2",
        ),
        pytest.param(
            {1: W[1].T, 2: W[2]},
            X,
            SIGMA,
            "W[1] has shape (4, 2); expected 2 rows, the columns of X.",
            id="W_1 transposed",
        ),
        pytest.param(
            {1: W[1], 2: W[2].T},
            X,
            SIGMA,
            "W[2] has shape (1, 4); expected 4 rows, the columns of W[1].",
            id="W_2 transposed",
        ),
    ],
)
def test_a_forward_pass_that_does_not_fit(weights: Any, X: Any, sigma: Any, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        check_forward(weights, X, sigma)
    assert refusal.value.args == (message,)


@pytest.mark.parametrize(
    ("weights", "A", "Z", "sigma", "message"),
    [
        pytest.param(
            {0: W[1], 1: W[2]},
            A,
            Z,
            SIGMA,
            "W has the layers [0, 1]; expected a dict with the keys 1 to 2, "
            "numbered as the notes number the layers.",
            id="W numbered from 0",
        ),
        pytest.param(
            W,
            A,
            Z,
            {},
            "sigma has the layers []; expected a dict with the keys 1 to 2, "
            "numbered as the notes number the layers.",
            id="no σ",
        ),
        pytest.param(
            W,
            {1: A[1]},
            Z,
            SIGMA,
            "A has the layers [1]; expected a dict with the keys 1 to 2, "
            "numbered as the notes number the layers.",
            id="A_2 missing",
        ),
        pytest.param(
            W,
            A,
            {1: Z[1], 2: Z[2]},
            SIGMA,
            "Z has the layers [1, 2]; expected a dict with the keys 0 to 2, "
            "numbered as the notes number the layers.",
            id="Z_0 missing",
        ),
        pytest.param(
            W,
            A,
            Z[2],
            SIGMA,
            "Z is a ndarray; expected a dict with the keys 0 to 2, "
            "numbered as the notes number the layers.",
            id="Z_L alone",
        ),
        pytest.param(
            W,
            {1: A[1].T, 2: A[2]},
            Z,
            SIGMA,
            "A[1] has shape (4, 3); expected shape (3, 4), as FORWARD-PASS returns it for W[1].",
            id="A_1 transposed",
        ),
        pytest.param(
            W,
            A,
            {**Z, 2: Z[2][:, 0]},
            SIGMA,
            "Z[2] has shape (3,); expected shape (3, 1), as FORWARD-PASS returns it for W[2].",
            id="Z_2 as (n,)",
        ),
        pytest.param(
            W,
            {1: A[1].tolist(), 2: A[2]},
            Z,
            SIGMA,
            "A[1] is a list; expected shape (3, 4), as FORWARD-PASS returns it for W[1].",
            id="A_1 as a list",
        ),
        pytest.param(
            W,
            A,
            {**Z, 1: None},
            SIGMA,
            "Z[1] is a NoneType; expected shape (3, 4), as FORWARD-PASS returns it for W[1].",
            id="no Z_1",
        ),
        pytest.param(
            W,
            A,
            {**Z, 0: X.astype(int)},
            SIGMA,
            "Z[0] has dtype int64; expected float64 or float32: Z[0].astype('float64').",
            id="Z_0 of ints",
        ),
        pytest.param(
            W,
            A,
            {**Z, 0: with_entry(X, np.inf)},
            SIGMA,
            "Z[0][1, 0] is inf; expected finite numbers.",
            id="inf in Z_0",
        ),
        pytest.param(
            W,
            A,
            {**Z, 0: X[:2]},
            SIGMA,
            "A[1] has shape (3, 4); expected shape (2, 4), as FORWARD-PASS returns it for W[1].",
            id="Z_0 of another batch",
        ),
        pytest.param(
            {1: W[1].T, 2: W[2]},
            A,
            Z,
            SIGMA,
            "W[1] has shape (4, 2); expected shape (2, 2), the columns of Z[0] first.",
            id="W_1 transposed",
        ),
        pytest.param(
            {1: W[1], 2: W[2].T},
            A,
            Z,
            SIGMA,
            "W[2] has shape (1, 4); expected shape (4, 4), the columns of Z[1] first.",
            id="W_2 transposed",
        ),
        pytest.param(
            {1: W[1], 2: with_entry(W[2], np.nan)},
            A,
            Z,
            SIGMA,
            "W[2][1, 0] is nan; expected finite numbers.",
            id="NaN in W_2",
        ),
        pytest.param(
            {1: W[1].astype(np.float32), 2: W[2]},
            A,
            Z,
            SIGMA,
            "W[1] has dtype float32 where X = Z[0] has float64; expected one dtype throughout, "
            "so that nothing is promoted unseen.",
            id="W_1 of another dtype",
        ),
        pytest.param(
            W,
            {1: A[1], 2: A[2].astype(np.float32)},
            Z,
            SIGMA,
            "A[2] has dtype float32 where X = Z[0] has float64; expected one dtype "
            "throughout, so that nothing is promoted unseen.",
            id="A_2 of another dtype",
        ),
        pytest.param(
            W,
            A,
            {**Z, 1: Z[1].astype(np.float32)},
            SIGMA,
            "Z[1] has dtype float32 where X = Z[0] has float64; expected one dtype "
            "throughout, so that nothing is promoted unseen.",
            id="Z_1 of another dtype",
        ),
        pytest.param(
            {1: W[1], 2: W[2].astype(np.float32)},
            A,
            Z,
            SIGMA,
            "W[2] has dtype float32 where X = Z[0] has float64; expected one dtype throughout, "
            "so that nothing is promoted unseen.",
            id="W_2 of another dtype",
        ),
        pytest.param(
            [W[1], W[2]],
            A,
            Z,
            SIGMA,
            "W is a list; expected a dict with the keys 1 to 2, "
            "numbered as the notes number the layers.",
            id="a list of W",
        ),
        pytest.param(
            W,
            {1: A[1], "two": A[2]},
            Z,
            SIGMA,
            "A has the layers [1, 'two']; expected a dict with the keys 1 to 2, "
            "numbered as the notes number the layers.",
            id="a layer by another name",
        ),
    ],
)
def test_a_backward_pass_that_does_not_fit(
    weights: Any, A: Any, Z: Any, sigma: Any, message: str
) -> None:
    with pytest.raises(InputError) as refusal:
        check_backward(weights, A, Z, sigma)
    assert refusal.value.args == (message,)


def test_passes_that_fit() -> None:
    check_forward(W, X, SIGMA)
    check_backward(W, A, Z, SIGMA)


def test_what_overflowed_on_the_way_is_not_refused() -> None:
    """A_l and Z_l are results, not data: a backward pass through inf is the caller's affair."""
    check_backward(W, {**A, 1: with_entry(A[1], np.inf)}, {**Z, 2: with_entry(Z[2], np.nan)}, SIGMA)


def test_passes_of_objects_that_fit() -> None:
    """Symbols and fractions, as the proofs use them."""

    def objects(layers: dict[int, Array]) -> dict[int, Array]:
        return {l: M.astype(object) for l, M in layers.items()}

    check_forward(objects(W), X.astype(object), SIGMA)
    check_backward(objects(W), objects(A), objects(Z), SIGMA)


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        pytest.param(0.5, 0.5, id="float"),
        pytest.param(1, 1, id="int"),
        pytest.param(np.float64(0.1), 0.1, id="NumPy's float64"),
        pytest.param(np.float32(0.5), 0.5, id="NumPy's float32"),
        pytest.param(np.int64(2), 2, id="NumPy's int64"),
        pytest.param(Fraction(1, 3), Fraction(1, 3), id="a fraction"),
    ],
)
def test_a_rate_that_fits_is_a_plain_number(alpha: Any, expected: Any) -> None:
    rate = check_rate(alpha, exact=isinstance(alpha, Fraction))
    assert rate == expected
    assert type(rate) is type(expected)


@pytest.mark.parametrize("alpha", [np.nan, np.inf, -np.inf, np.float32(np.inf), np.float64(np.nan)])
def test_a_rate_that_is_not_finite(alpha: Any) -> None:
    with pytest.raises(InputError) as refusal:
        check_rate(alpha)
    assert refusal.value.args == (f"alpha is {float(alpha)}; expected a finite number.",)


def test_a_fraction_is_no_rate_for_floats() -> None:
    with pytest.raises(InputError, match=r"^alpha is Fraction\(1, 2\); expected a finite number"):
        check_rate(Fraction(1, 2))


@pytest.mark.parametrize("alpha", [np.float64(0.5), 0.5, np.float32(0.5)])
def test_an_update_promotes_nothing(alpha: Any) -> None:
    weights = {l: M.astype(np.float32) for l, M in W.items()}
    after = update(weights, {l: np.ones_like(M) for l, M in weights.items()}, alpha)
    assert {M.dtype for M in after.values()} == {np.dtype(np.float32)}
    assert all((M == 0.5).all() for M in after.values())
    assert all((M == 1).all() for M in weights.values())


def test_a_transition_function_that_is_none() -> None:
    one = {1: np.ones((1, 1))}
    for given, message in (
        ("tanh", "sigma[1] is 'tanh'; expected a transition function: refbp.activation('tanh')."),
        (None, "sigma[1] is None; expected a transition function."),
    ):
        with pytest.raises(InputError) as refusal:
            check_forward(one, np.ones((1, 1)), {1: given})
        assert refusal.value.args == (message,)
    with pytest.raises(InputError) as refusal:
        check_backward(one, one, {0: np.ones((1, 1)), **one}, {1: np.tanh})
    assert refusal.value.args == (
        "sigma[1] is <ufunc 'tanh'>, which has no vjp; expected an activation of refbp, or one's own "
        "refbp.Elementwise(name, sigma, sigma_prime).",
    )


@pytest.mark.parametrize(
    ("alpha", "shown"),
    [("0.1", "'0.1'"), (None, "None"), (True, "True"), (1j, "1j"), (Fraction(1, 3), "Fraction(1, 3)"),
     (np.array([0.1, 0.2]), "array([0.1, 0.2])"), (10**400, "1" + 59 * "0")],
)  # fmt: skip
def test_a_rate_that_is_no_number(alpha: Any, shown: str) -> None:
    with pytest.raises(InputError) as refusal:
        update({1: np.ones((2, 2))}, {1: np.ones((2, 2))}, alpha)
    assert refusal.value.args == (f"alpha is {shown}; expected a finite number.",)


@pytest.mark.parametrize(
    ("W", "dW", "message"),
    [
        ({1: np.ones((2, 2))}, {1: np.ones((1, 2))}, "dL_dW[1] is float64 of shape (1, 2); expected "
         "float64 of shape (2, 2), as W[1] is. Nothing is broadcast or promoted."),
        ({1: np.ones((2, 1), np.float32)}, {1: np.ones((2, 1))}, "dL_dW[1] is float64 of shape (2, 1); "
         "expected float32 of shape (2, 1), as W[1] is. Nothing is broadcast or promoted."),
        ({}, {}, "W has the layers []; expected a dict with the keys 1 to 1, numbered as the notes number "
         "the layers."),
        ({1: np.ones((2, 2))}, {1: 0.5}, "dL_dW[1] is a float; expected a NumPy array of two dimensions."),
        ({1: [[1.0]]}, {1: np.ones((1, 1))}, "W[1] is a list; expected a NumPy array of two dimensions."),
        ({1: np.ones((2, 2))}, {}, "dL_dW has the layers []; expected a dict with the keys 1 to 1, numbered "
         "as the notes number the layers."),
        ([np.ones((2, 2))] * 2, {1: np.ones((2, 2))}, "W is a list; expected a dict with the keys 1 to 1, "
         "numbered as the notes number the layers."),
    ],
)  # fmt: skip
def test_an_update_that_does_not_fit(W: Any, dW: Any, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        update(W, dW, 0.5)
    assert refusal.value.args == (message,)


@pytest.mark.parametrize("of", [np.ma.masked_less, lambda M, x: np.ma.array(M)])
def test_what_computes_otherwise_than_an_array_is_refused(of: Any) -> None:
    with pytest.raises(InputError) as refusal:
        check_matrix("X", of(np.ones((2, 2)), 0))
    assert refusal.value.args == ("X is a MaskedArray; expected a NumPy array of two dimensions.",)


@pytest.mark.parametrize(
    ("Y", "message"),
    [
        pytest.param(
            np.ones((1, 3)),
            "Y has shape (1, 3); expected (3, 1), the shape of Z_L. Nothing is broadcast.",
            id="a row",
        ),
        pytest.param(
            np.ones(4),
            "Y has shape (4, 1); expected (3, 1), the shape of Z_L. Nothing is broadcast.",
            id="too many",
        ),
        pytest.param(
            np.ones((3, 1), dtype=np.float32),
            "Y has dtype float32; expected float64, the dtype of Z_L.",
            id="another dtype",
        ),
        pytest.param(
            np.ones(3, dtype=int),
            "Y has dtype int64; expected float64 or float32: Y.astype('float64').",
            id="class numbers",
        ),
        pytest.param(
            [1.0, 2.0, 3.0], "Y is a list; expected a NumPy array of two dimensions.", id="a list"
        ),
        pytest.param(
            np.array([1.0, np.nan, 1.0]), "Y[1, 0] is nan; expected finite numbers.", id="NaN"
        ),
    ],
)
def test_targets_that_do_not_fit(Y: Any, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        targets(np.ones((3, 1)), Y)
    assert refusal.value.args == (message,)


def test_targets_of_shape_n_are_n_times_1() -> None:
    y = np.array([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(targets(np.ones((3, 1)), y), y.reshape(3, 1))


def test_targets_of_shape_n_are_refused_for_more_outputs() -> None:
    with pytest.raises(InputError) as refusal:
        targets(np.ones((3, 2)), np.ones(3))
    assert refusal.value.args == (
        "Y has shape (3,); expected two dimensions. Write Y.reshape(-1, 1) for one column.",
    )


def test_targets_that_fit_are_returned_as_they_are() -> None:
    Y = np.ones((3, 2))
    assert targets(np.ones((3, 2)), Y) is Y


def test_the_procedures_refuse_before_they_compute() -> None:
    """The two procedures and the update run the checks above, each its own."""
    with pytest.raises(InputError, match=r"^W\[1\] has shape \(4, 2\); expected 2 rows"):
        forward_pass({1: W[1].T, 2: W[2]}, X, SIGMA)
    with pytest.raises(InputError, match=r"^A has the layers \[1\]"):
        backward_prop(W, {1: A[1]}, Z, Z[2], SIGMA, loss("mean_squared_error"))
    with pytest.raises(InputError, match=r"^alpha is nan"):
        update(W, W, np.nan)


def test_the_procedures_compute_what_fits() -> None:
    passed = forward_pass(W, X, SIGMA)
    assert [sorted(layers) for layers in passed] == [[1, 2], [0, 1, 2]]
    np.testing.assert_array_equal(passed[0][2], np.tanh(X @ W[1]) @ W[2])
    delta, dL_dW = backward_prop(W, *passed, np.zeros((3, 1)), SIGMA, loss("mean_squared_error"))
    assert {l: M.shape for l, M in delta.items()} == {1: (3, 4), 2: (3, 1)}
    assert {l: M.shape for l, M in dL_dW.items()} == {l: M.shape for l, M in W.items()}
    np.testing.assert_array_equal(delta[2], 2 * passed[1][2] / 3)
