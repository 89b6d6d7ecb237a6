"""What code that nobody here wrote showed: each was an accusation, or a failure, of the judge's own making."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance import check_function
from conformance.judge.functions.numpy_.record import record
from conformance.judge.functions.recording import RecordingError

Array = Any
SLOPE = 1.6732632423543772 * 1.0507009873554805


def selu(x: Array) -> Array:
    return 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * (np.exp(x) - 1))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_at_a_kink_the_other_side_is_right_with_its_own_roundings(dtype: str) -> None:
    """numpy-ml takes the other one-sided derivative at 0: it was off by the jump and one rounding more."""

    def selu_vjp(dy: Array, x: Array) -> Array:
        right = np.where(x >= 0, 1.0507009873554805, np.exp(np.minimum(x, 0)) * SLOPE)
        return dy * right.astype(x.dtype)

    found = check_function(
        selu, vjp=selu_vjp, inputs="x=16x8", dtype=dtype, families=["zeros", "ties"]
    )
    assert found["verdict"] == "conforms", found["message"]


def test_the_other_side_of_many_kinks_in_a_product() -> None:
    """relu(x) W at zeros: a row's gradient is then a sum with 0 on the one side, and no rounding at all."""

    def layer_vjp(dy: Array, x: Array, W: Array) -> Any:
        there = x >= 0
        return (dy @ W.T) * there * 0.3, (np.where(there, x, 0) * 0.3).T @ dy

    found = check_function(
        lambda x, W: (np.where(x > 0, x, 0.0) * 0.3) @ W,
        vjp=layer_vjp,
        inputs="x=12x7, W=7x9",
        families=["ties"],
    )
    assert found["verdict"] == "conforms", found["message"]


def test_beyond_both_sides_of_a_kink_is_still_wrong() -> None:
    def beyond(dy: Array, x: Array) -> Array:
        return dy * np.where(x == 0, 1.0507009873554805 * 0.999, 1.0507009873554805)

    found = check_function(selu, vjp=beyond, inputs="x=4x4", families=["zeros"])
    assert found["verdict"] == "deviates"


@pytest.mark.parametrize("raised", [RuntimeError, AssertionError, NotImplementedError])
def test_data_that_the_reference_does_not_take_end_nothing(raised: type[Exception]) -> None:
    """fvcore's giou_loss has boxes of four numbers, and PyTorch raises RuntimeError; jax.nn.glu asserts."""

    def pairs(x: Array) -> Array:
        if x.shape[-1] % 2:
            raise raised("the last axis must be even")
        return x[..., ::2] * x[..., 1::2]

    def pairs_vjp(dy: Array, x: Array) -> Array:
        dx = np.empty_like(x)
        dx[..., ::2], dx[..., 1::2] = dy * x[..., 1::2], dy * x[..., ::2]
        return dx

    found = check_function(pairs, vjp=pairs_vjp, inputs="x=3x4")
    assert found["verdict"] == "conforms"
    rows = {row["name"]: row for row in found["families"]}
    assert "must be even" in rows["rows-of-one"]["reason"]


def test_a_refusal_of_views_is_no_wrong_gradient() -> None:
    """thinc's compiled backward passes say that they take contiguous arrays alone."""

    def squared_vjp(dy: Array, x: Array) -> Array:
        if not x.flags["C_CONTIGUOUS"]:
            raise ValueError("expected a contiguous array")
        return 2 * dy * x

    found = check_function(lambda x: x * x, vjp=squared_vjp, inputs="x=3x4", families=["ordinary"])
    assert (found["verdict"], found["exit_code"]) == ("error", 2)
    assert "views with gaps it raises ValueError: expected a contiguous" in found["message"]


def test_numbers_too_small_to_tell_apart_are_not_in_other_places() -> None:
    def tail_vjp(dy: Array, x: Array) -> Array:
        y = 1 / (1 + np.exp(-x))
        return dy * y * (1 - y)

    found = check_function(
        lambda x: 1 / (1 + np.exp(-x)), vjp=tail_vjp, inputs="x=6x5", families=["large"]
    )
    assert "other places" not in found["message"]
    assert "order" not in found["message"]


REFUSED = {
    "digits": (lambda x: np.round(x, 2), r"np.round to 2 decimals"),
    "isclose": (lambda x: np.where(np.isclose(x, 0, atol=0.5), 0, x), "np.isclose is not known"),
    "a padding of means": (lambda x: np.pad(x, 1, mode="mean"), "np.pad with mode='mean'"),
    "an odd reflection": (
        lambda x: np.pad(x, 1, mode="reflect", reflect_type="odd"),
        "np.pad with reflect_type=",
    ),
    "a singular value": (lambda x: np.linalg.norm(x, 2), "of a matrix"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_numpy_means_by_it_is_recorded_or_refused(name: str) -> None:
    f, told = REFUSED[name]
    with pytest.raises(RecordingError, match=told):
        record(f, {"x": np.ones((3, 4))}, "float64", {})


def test_a_sum_is_recorded_in_the_dtype_that_it_is_asked_for() -> None:
    found = check_function(
        lambda x: np.sum(x, axis=0, dtype=np.float32),
        vjp=lambda dy, x: np.broadcast_to(dy, x.shape),
        inputs="x=3x4",
        families=["ordinary"],
    )
    assert found["verdict"] == "conforms", found["message"]


def test_a_loop_under_vmap_stops_for_each_by_itself() -> None:
    """jax.scipy.special.exp1 has such loops, whose condition is an array."""
    jax = pytest.importorskip("jax")
    from conformance.judge.functions.jax_.record import record as record_jax
    from conformance.truth.readings import in_balls

    def halved(x: Any) -> Any:
        return jax.lax.while_loop(lambda y: y > 1, lambda y: y * 0.5, x)

    x = np.array([0.75, 3.0, 20.0, 1.5])
    recording = record_jax(jax.vmap(halved), {"x": x}, "float64", {})
    recording.tape.mark(recording.outputs["y"], "value")
    assert in_balls(recording.tape).at["value"].hi.tolist() == [0.75, 0.75, 0.625, 0.75]


def test_the_judges_own_line_is_not_named_as_the_users() -> None:
    jax = pytest.importorskip("jax")
    from conformance.judge.functions.jax_.record import record as record_jax

    with pytest.raises(RecordingError, match="lgamma is not known") as e:
        record_jax(jax.scipy.special.gammaln, {"x": np.ones(3)}, "float64", {})
    assert "jax_/record" not in str(e.value)


def test_a_factor_that_depends_on_the_size_is_said_to_be_of_small_inputs() -> None:
    """thinc's L2Distance is off by half the number of rows: 2 at the four rows where it was looked at, of six."""
    found = check_function(
        lambda x: ((x / len(x)) ** 2).sum(),
        vjp=lambda dy, x: dy * x / len(x),
        inputs="x=6x5",
        families=["ordinary"],
    )
    assert "2 times what it should be" in found["mistake"]
    assert found["mistake"].endswith("at the smallest inputs that show it")


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def by_the_output(g: Any, x: Any) -> Any:
    y = sigmoid(x)
    return g * y * (1 - y)


def clipped(g: Any, x: Any) -> Any:
    y = sigmoid(x)
    return g * np.where(np.abs(x) > 10, 0, y * (1 - y))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_row_in_the_tail_loses_digits_and_a_clip_is_a_mistake(dtype: str) -> None:
    """y(1 − y) is 0 where 1 − y is, in rows that are tiny from end to end (MyGrad, on large data)."""
    asked = {"inputs": "x=6x5", "dtype": dtype}
    assert check_function(sigmoid, vjp=by_the_output, **asked)["verdict"] == "inaccurate"
    assert check_function(sigmoid, vjp=clipped, **asked)["verdict"] == "deviates"


def test_code_that_imports_its_framework_itself_is_of_that_framework() -> None:
    """Its file imports NumPy alone, above: the code was recorded as NumPy's, and could not be."""
    pytest.importorskip("torch")

    def layer(x: Array, W: Array) -> Array:
        import torch

        return torch.tanh(x @ W)

    for more in ({}, {"reference": layer}):
        found = check_function(layer, inputs="x=3x4, W=4x2", framework="torch", **more)
        assert found["verdict"] == "conforms", found["message"]
