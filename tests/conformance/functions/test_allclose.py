"""An audit of somebody's allclose: too wide, too narrow, and right, beside the derived tolerance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance import check_function
from conformance.judge.functions.allclose import Allclose, read_allclose
from conformance.judge.functions.planted import PLANTED, mistakes
from conformance.tools.trouble import RefusedError


def cubed(x: Any) -> Any:
    return x * x * x


def cubed_vjp(dy: Any, x: Any) -> Any:
    return dy * 3 * x * x


def audit(allclose: str, dtype: str = "float32") -> Any:
    found = check_function(
        cubed, vjp=cubed_vjp, inputs="x=6x4", families=["ordinary"], dtype=dtype, allclose=allclose
    )
    assert found["exit_code"] == 0
    (row,) = found["audit"]
    return row


def test_a_wide_one_lets_everything_through() -> None:
    row = audit("atol=1e4")
    assert (row["quantity"], row["accused"], row["right"]) == ("∂x", 0, 32)
    assert len(row["through"]) == row["planted"] > 10
    assert {"zeros", "negated", "row lost", "half lost"} <= set(row["through"])
    assert row["ours"] == []


def test_a_narrow_one_accuses_right_code() -> None:
    row = audit("rtol=1e-9")
    assert row["accused"] == row["right"] == 32
    assert row["through"] == []


def test_the_derived_tolerance_accuses_nobody() -> None:
    """Put into an allclose, the largest of its elements lets right code through."""
    row = audit("rtol=1e-2,atol=1e-3")
    again = audit(f"atol={row['absolute']}")
    assert again["accused"] == 0
    assert 2e-7 < row["relative"] < 5e-6
    assert row["through"] == ["times 1.001", "in bfloat16", "in float16"]


def test_a_rounding_to_its_own_dtype_is_no_mistake() -> None:
    g = np.linspace(0.1, 3.0, 12).reshape(3, 4)
    assert {p.name for p in PLANTED} > set(mistakes(g, "float32")) >= {"in bfloat16", "in float16"}
    assert "in float16" not in mistakes(g, "float16")
    assert {"in bfloat16", "in float16"}.isdisjoint(mistakes(g, "bfloat16"))


def test_what_overflows_is_not_audited() -> None:
    """exp(x) leaves float16 in some elements: nothing is said of them."""
    with np.errstate(over="ignore", under="ignore"):
        found = check_function(
            lambda x: np.exp(8 * x),
            vjp=lambda dy, x: dy * 8 * np.exp(8 * x),
            inputs="x=6x4", families=["ordinary"], dtype="float16", allclose="rtol=0.1",
        )  # fmt: skip
    (row,) = found["audit"]
    assert np.isfinite(row["absolute"])
    assert row["accused"] == 0


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", None),
        ("rtol=1e-2", Allclose(0.01, 0.0)),
        (" atol = 1e-3 , rtol=0 ", Allclose(0.0, 0.001)),
    ],
)
def test_reads(text: str, read: Any) -> None:
    assert read_allclose(text) == read


@pytest.mark.parametrize(
    "text", ["1e-2", "rtol", "rtol=x", "rtol=-1", "rtol=inf", "tol=1", "rtol=1,rtol=2"]
)
def test_does_not_read(text: str) -> None:
    with pytest.raises(RefusedError) as e:
        read_allclose(text)
    assert str(e.value) == (
        f"cannot read --allclose {text!r}; expected rtol=1e-2,atol=1e-3, or one of the two."
    )
