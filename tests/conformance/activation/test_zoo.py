"""No right activation rejected, no wrong one accepted, every kink found, every finding named."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from right import RIGHT
from wrong import WRONG

import refbp
from conformance import check_activation
from conformance.commands.activation.judge import verdict

pytestmark = pytest.mark.zoo

BUILT_IN = [n for n, a in refbp.ACTIVATIONS.items() if isinstance(a, refbp.Elementwise)]
KINKS = {
    "relu": 1, "leaky_relu": 1, "selu": 1, "hardtanh": 2, "relu6": 2, "hardsigmoid": 2, "hardswish": 2,
}  # fmt: skip


def severities(c: Any, severity: str) -> set[str]:
    return {f["kind"] for f in c["findings"] if f["severity"] == severity}


def kinks(c: Any) -> int:
    return sum(k["kind"] == "kink" and k["of"] == "σ" for k in c["kinks"])


IN_NETWORKS = {"tanh", "relu", "silu", "selected", "two-sided", "hard shrink"}
"""Smooth and with a kink, by masks and branches, with a jump; the networks ask nothing else of the others."""


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_one_is_right(name: str) -> None:
    row = RIGHT[name]
    c = check_activation(row.sigma, row.prime, network=name in IN_NETWORKS)
    assert c["verdict"] == row.verdict, c["message"]
    assert c["exit_code"] == 0
    assert kinks(c) == row.kinks
    assert severities(c, "warning") | severities(c, "inaccurate") >= set(row.warnings)
    assert not c["unsupported"]
    assert bool(c["networks"]) == (name in IN_NETWORKS)
    assert {n["verdict"] for n in c["networks"]} <= {"conforms", "undecided"}
    assert sum(n["verdict"] == "conforms" for n in c["networks"]) >= len(c["networks"]) / 2


OTHERWISE = [n for n, row in RIGHT.items() if row.truth and (row.warnings or n != row.truth)]
"""Not as refbp has it, which is held to its definition below: naively, losing digits, or under another name."""


@pytest.mark.parametrize("name", [*OTHERWISE, "selu", "hardswish", "identity"])
def test_a_right_one_equals_its_definition(name: str) -> None:
    row = RIGHT[name]
    c = check_activation(row.sigma, row.prime, truth=row.truth, network=False)
    assert c["verdict"] == row.verdict, c["message"]
    assert kinks(c) == row.kinks


SPLIT = {"gelu", "gelu_tanh", "gaussian"}
"""Of which refbp splits the argument by a floor, every 64th: thousands of steps, more than are searched."""


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_as_refbp_has_it_is_right(name: str) -> None:
    a = refbp.ACTIVATIONS[name]
    c = check_activation(a.sigma, a.sigma_prime, truth=name, network=False)
    if name in SPLIT:
        assert c["verdict"] == "not judged", c["message"]
        assert "right at " in c["message"]
        assert "not judged between them" in c["message"]
        return
    assert c["verdict"] == "right", c["message"]
    assert kinks(c) == KINKS.get(name, 0)
    assert not severities(c, "warning") - {
        "overflow-value",
        "far-overflow-derivative",
        "tail",
        "odd-arrays",
    }


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_one_is_named(name: str) -> None:
    row = WRONG[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        c = check_activation(row.sigma, row.prime, kinks=row.kinks, network=False)
    found = [f for f in c["findings"] if f["kind"] == row.finding and f["of"] == row.of]
    assert found, (c["message"], [(f["kind"], f["of"]) for f in c["findings"]])
    assert c["verdict"] == row.verdict
    severity = {"wrong": "error", "right": "warning", "not judged": "note"}.get(
        row.verdict, row.verdict
    )
    assert found[0]["severity"] == severity
    assert found[0]["explanation"]
    assert found[0]["remedy"]
    assert row.like in found[0]["looks_like"]
    assert verdict(c["findings"], strict=True) != "right" or row.verdict == "not judged"


def test_the_worst_point_is_named_with_what_is_right_there() -> None:
    row = WRONG["x < −30"]
    c = check_activation(row.sigma, row.prime, network=False)
    (f,) = (f for f in c["findings"] if f["kind"] == "wrong-derivative")
    assert float(f["x"] or 0) == np.nextafter(-30, -31)
    assert float(f["got"]) == 0
    assert float(f["expected"]) == pytest.approx(-2.7137106609633829e-12, rel=1e-14)
    assert f["digits"] == 0
    assert f["where"].endswith("≤ x ≤ -30")


def test_a_wrong_derivative_is_wrong_in_a_network_too() -> None:
    row = WRONG["factor 1 + 1e-12"]
    c = check_activation(row.sigma, row.prime)
    (f,) = (f for f in c["findings"] if f["kind"] == "network")
    assert "δ_" in f["got"]


def test_a_derivative_alone_is_held_against_a_named_definition() -> None:
    from right import gelu_prime, silu_prime

    c = check_activation(None, gelu_prime, truth="gelu", network=False)
    assert c["verdict"] == "inaccurate"  # 1 + erf(x/√2) cancels
    c = check_activation(None, silu_prime, truth="gelu", network=False)
    assert c["verdict"] == "wrong"
    assert c["findings"][0]["looks_like"] == "the derivative of silu"


def test_a_value_is_held_against_its_definition() -> None:
    from right import silu_prime

    def wrong(x: Any) -> Any:
        return x / (1 + np.exp(-1.001 * x))

    c = check_activation(wrong, silu_prime, truth="silu", network=False)
    assert {f["kind"] for f in c["findings"] if f["severity"] == "error"} == {"wrong-value"}


def test_a_smooth_branch_is_no_kink_and_needs_no_declaration() -> None:
    row = RIGHT["symlog"]
    c = check_activation(row.sigma, row.prime, network=False)
    (k,) = c["kinks"]
    assert (k["at"], k["kind"], k["left"], k["right"]) == (0.0, "smooth", 1.0, 1.0)


def test_a_stated_convention_that_is_met() -> None:
    row = RIGHT["relu"]
    c = check_activation(row.sigma, row.prime, kinks={0.0: 0.0}, network=False, strict=True)
    assert c["verdict"] == "right"
    assert c["kinks"][0]["stated"] == 0.0
    assert c["kinks"][0]["within"] == {"σ'": True}


def test_a_domain_narrows_what_is_asked() -> None:
    from right import mish
    from wrong import old_mish_prime

    assert check_activation(mish, old_mish_prime, network=False)["verdict"] == "wrong"
    c = check_activation(mish, old_mish_prime, domain=(-20.0, 20.0))
    assert c["verdict"] == "right"
    assert {n["why"] for n in c["not_run"]} == {
        "networks: their arguments reach ±40, beyond --domain."
    }


def test_not_a_number_at_infinity_is_a_note() -> None:
    row = RIGHT["silu"]
    c = check_activation(row.sigma, row.prime, network=False, strict=True)
    found = [f for f in c["findings"] if f["kind"] == "nan-at-infinity"]
    assert {(f["of"], f["x"], f["severity"]) for f in found} >= {("σ", "-inf", "note")}


def test_the_same_check_twice_is_the_same() -> None:
    row = RIGHT["hardswish"]
    first, second = (check_activation(row.sigma, row.prime) for _ in range(2))
    for c in (first, second):
        c.pop("environment")  # type: ignore[misc]
    assert first == second
