"""torch and JAX: the same σ through dispatch, and the user's own Function, module, custom_vjp, custom_jvp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import natives
import numpy as np
import pytest
from right import RIGHT
from under_test import silu, silu_prime

from conformance import check_activation

pytestmark = pytest.mark.zoo

DISPATCHED = [n for n in RIGHT if n not in ("vectorize", "log ndtr", "one minus cos")]


@pytest.mark.parametrize("name", DISPATCHED)
def test_the_same_numpy_function_in_torch_and_jax(name: str) -> None:
    """Autodiff of the same σ is right near 0; its overflows and lost digits are warnings of its own."""
    row = RIGHT[name]
    c = check_activation(row.sigma, row.prime, network=False, autodiff=True, domain=(-15.0, 15.0))
    assert c["verdict"] == row.verdict, c["message"]
    ran = {w["way"] for w in c["ways"]}
    assert ran | {n["way"] for n in c["not_run"]} == {"σ", "σ'", "torch", "jax", "networks"}
    assert ran >= ({"σ", "σ'", "jax"} if name == "step" else {"σ", "σ'", "torch", "jax"}), c[
        "not_run"
    ]
    for w in c["ways"]:
        assert w["points"] > 500
        few = 0.3 if name in ("selected", "sinc") else 0.03  # the where trap; πx near 0
        assert w["beyond"] <= few * w["points"], (w, c["findings"])


def test_sigma_alone_puts_autodiff_to_the_test() -> None:
    """x/(1 + e^{−x}) overflows in the backward pass of both: an error here, for nothing else was given."""
    c = check_activation(silu, autodiff=True, network=False)
    assert c["verdict"] == "wrong"
    errors = {(f["kind"], f["of"]) for f in c["findings"] if f["severity"] == "error"}
    assert errors == {("overflow-derivative", "torch"), ("overflow-derivative", "jax")}
    assert {w["way"] for w in c["ways"]} == {"σ", "torch", "jax"}
    assert (
        check_activation(silu, autodiff=True, network=False, domain=(-80.0, 80.0))["verdict"]
        == "right"
    )


def test_what_autodiff_loses_where_a_derivative_is_given_is_a_warning() -> None:
    row = RIGHT["entropy"]
    c = check_activation(row.sigma, row.prime, autodiff=True, network=False)
    found = {f["of"]: f["severity"] for f in c["findings"] if f["kind"] == "autodiff-off"}
    assert found == {"torch": "warning", "jax": "warning"}


def test_autodiff_at_a_smooth_branch_is_named() -> None:
    """symlog is smooth at 0 with derivative 1; as it is written, torch and JAX make 0 of it there."""
    row = RIGHT["symlog"]
    c = check_activation(row.sigma, row.prime, network=False, autodiff=True)
    found = [f for f in c["findings"] if f["kind"] == "autodiff-branch"]
    assert {(f["of"], f["x"], f["got"], f["expected"]) for f in found} == {
        ("torch", 0.0, "0", "1"),
        ("jax", 0.0, "0", "1"),
    }


def test_the_where_trap_is_named() -> None:
    def elu(x: Any) -> Any:
        return np.where(x > 0, x, np.expm1(x))

    c = check_activation(
        elu, lambda x: np.exp(np.minimum(x, 0)), autodiff=("torch",), network=False
    )
    assert c["verdict"] == "right"
    (f,) = (f for f in c["findings"] if f["kind"] == "autodiff-nan")
    assert (f["of"], f["got"], f["expected"]) == ("torch", "nan", "1")


@pytest.mark.parametrize("name", ["Fused", "Module"])
def test_a_right_torch_version(name: str) -> None:
    c = check_activation(silu, silu_prime, torch=getattr(natives, name))
    assert c["verdict"] == "right", c["message"]
    assert {n["implementation"] for n in c["networks"]} == {"refbp", "torch-cpu"}
    assert {n["verdict"] for n in c["networks"]} == {"conforms"}
    assert {w["dtype"] for w in c["ways"] if w["way"] == "torch"} == {
        "float64",
        "float32",
        "bfloat16",
    }


@pytest.mark.parametrize("name", ["jax_right", "jax_jvp"])
def test_a_right_jax_version(name: str) -> None:
    c = check_activation(silu, silu_prime, jax=getattr(natives, name))
    assert c["verdict"] == "right", c["message"]
    assert {n["verdict"] for n in c["networks"] if n["implementation"] == "jax-cpu"} == {"conforms"}


@pytest.mark.parametrize(
    ("way", "name", "finding", "like"),
    [
        ("torch", "Upstream", "ignores-upstream", ""),
        ("torch", "Averaged", "ignores-upstream", ""),
        ("torch", "Rectified", "ignores-upstream", ""),
        ("torch", "Slightly", "wrong-derivative", "times 1 + 1.0e-12"),
        ("torch", "Tail", "wrong-derivative", ""),
        ("torch", "other", "wrong-value", ""),
        ("torch", "cut", "no-gradient", ""),
        ("torch", "half", "demotes", ""),
        ("torch", "no_tensor", "not-an-array", ""),
        ("jax", "jax_sign", "wrong-derivative", "sign turned"),
        ("jax", "jax_slightly", "wrong-derivative", "times 1 + 1.0e-12"),
        ("jax", "jax_upstream", "ignores-upstream", ""),
        ("jax", "jax_averaged", "ignores-upstream", ""),
    ],
)
def test_a_wrong_version_is_named(way: str, name: str, finding: str, like: str) -> None:
    more: dict[str, Any] = {way: getattr(natives, name)}
    c = check_activation(silu, silu_prime, network=False, **more)
    assert c["verdict"] == "wrong"
    found = [f for f in c["findings"] if f["kind"] == finding]
    assert [f["of"] for f in found] == [way], [(f["kind"], f["of"]) for f in c["findings"]]
    assert like in found[0]["looks_like"]
    assert not [f for f in c["findings"] if f["severity"] == "error" and f["of"] in ("σ", "σ'")]


def test_a_wrong_version_is_wrong_in_networks() -> None:
    c = check_activation(silu, silu_prime, torch=natives.Slightly)
    assert {n["verdict"] for n in c["networks"] if n["implementation"] == "refbp"} == {"conforms"}
    assert "deviates" in {n["verdict"] for n in c["networks"] if n["implementation"] == "torch-cpu"}


def test_a_version_that_ends_its_process_loses_nothing_else() -> None:
    file = str(Path(__file__).with_name("natives.py"))
    c = check_activation(
        f"{file}:silu", f"{file}:silu_prime", torch=f"{file}:exits", network=False, timeout=60.0
    )
    assert (c["verdict"], c["exit_code"]) == ("not judged", 2)
    assert "torch version ended its process (exit code 7)" in c["message"]
    assert [w["verdict"] for w in c["ways"] if w["way"] == "σ'"] == ["right", "right"]
