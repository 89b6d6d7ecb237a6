"""A constant may be the nearest number of x's own dtype, and of no other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.special import erfc

from conformance import check_activation


def leaky(x: Any) -> Any:
    return np.where(x > 0, x, 0.1 * x)


ROUNDED = {
    "astype": lambda x: np.where(x > 0, 1.0, 0.1).astype(x.dtype),
    "asarray": lambda x: np.where(x > 0, np.asarray(1.0, x.dtype), np.asarray(0.1, x.dtype)),
    "a scalar of the dtype": lambda x: np.where(x > 0, x.dtype.type(1), x.dtype.type(0.1)),
    "in a product": lambda x: x.dtype.type(0.1) * np.where(x > 0, x.dtype.type(10), np.ones_like(x)),
    "in an array made": lambda x: np.full(x.shape, 0.1, x.dtype) + 0.9 * (x > 0).astype(x.dtype),
}  # fmt: skip


@pytest.mark.parametrize("how", ROUNDED)
def test_a_constant_rounded_to_the_dtype_of_x_is_right(how: str) -> None:
    c = check_activation(leaky, ROUNDED[how], network=False, strict=True)
    assert c["verdict"] == "right", c["message"]


def test_it_is_right_in_networks_too() -> None:
    c = check_activation(leaky, ROUNDED["astype"])
    assert {n["verdict"] for n in c["networks"]} == {"conforms"}


@pytest.mark.parametrize(
    "slope",
    [0.1 * (1 + 1e-7), 0.1 * (1 + 1e-13), np.float32(0.1), np.float16(0.1)],
    ids=["1 + 1e-7", "1 + 1e-13", "float32 in float64", "float16"],
)
def test_no_mistake_hides_behind_it(slope: Any) -> None:
    c = check_activation(
        leaky, lambda x: np.where(x > 0, 1.0, slope).astype(x.dtype), network=False
    )
    (f,) = (f for f in c["findings"] if f["kind"] == "wrong-derivative")
    assert f["dtype"].startswith("float64")


def test_nor_one_in_float32_alone() -> None:
    def prime(x: Any) -> Any:
        slope = 0.1 * (1 + 1e-5) if x.dtype == np.float32 else 0.1
        return np.where(x > 0, 1.0, slope).astype(x.dtype)

    c = check_activation(leaky, prime, network=False)
    assert (c["findings"][0]["kind"], c["findings"][0]["dtype"]) == ("wrong-derivative", "float32")


def test_what_a_library_loses_in_the_tail_of_erfc_is_rounding() -> None:
    """SciPy's erfc forms e^{−x²}, x² rounded: 474u at x = 26.5."""
    c = check_activation(erfc, lambda x: -2 / math.sqrt(math.pi) * np.exp(-np.square(x)))
    assert not [f for f in c["findings"] if f["of"] == "σ" and f["severity"] == "error"]
