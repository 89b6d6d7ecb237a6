"""The frameworks' own activations: right as far as anybody has measured, and otherwise a known difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from scipy.special import erfc
from torch.nn import functional as F

from conformance import check_activation
from conformance.implementations.jax_ import ACTIVATIONS as JAX
from conformance.implementations.torch_ import MODULES
from conformance.judge.known_differences import known_differences
from conformance.truth.definitions import ACTIVATIONS

pytestmark = pytest.mark.zoo

OWN: dict[str, Any] = {
    **{f"torch {n}": MODULES[n]() for n in ACTIVATIONS},
    **{f"jax {n}": JAX[n] for n in ACTIVATIONS},
}
DIFFER = {
    "torch softplus": {"torch-softplus-threshold": ("value", "derivative")},
    "torch hardsigmoid": {"torch-hardsigmoid-derivative": ("derivative",)},
    "jax hardsigmoid": {"jax-hardsigmoid-below-3-float64": ("derivative",)},
    "jax hardswish": {"jax-hardswish-below-3-float64": ("derivative",)},
}


def of(name: str, f: Any = None, **more: Any) -> Any:
    """The check of a framework's σ and of what its autodiff makes of it."""
    way, activation = name.split()
    f = OWN[name] if f is None else f
    return check_activation(truth=activation, **{way: f}, **{"network": False, **more})


@pytest.mark.parametrize("name", OWN)
def test_a_framework_s_own_is_right(name: str) -> None:
    """In float64 and float32, value and derivative; what it is known to compute instead is told, with why."""
    c = of(name)
    assert c["verdict"] == "right", c["message"]
    known = [f for f in c["findings"] if f["kind"] == "known-difference"]
    rows = DIFFER.get(name, {})
    assert len(known) == len(rows)
    differ = {w["of"] for w in c["ways"] if w["verdict"] == "known-difference"}
    assert differ == {q for of in rows.values() for q in of}
    for f, row in zip(known, rows, strict=True):
        (d,) = (d for d in known_differences() if d.id == row)
        assert f["severity"] == "note"
        assert all(part in f["explanation"] for part in (d.what, d.reason, d.id))
        assert f["remedy"] == d.source
    assert {w["dtype"] for w in c["ways"]} == {"float64", "float32", "bfloat16"}


@pytest.mark.parametrize(
    "name", ["torch hardsigmoid", "torch gelu_tanh", "jax hardswish", "jax tanh", "torch softsign"],
)  # fmt: skip
def test_it_is_right_in_networks_too(name: str) -> None:
    c = of(name, network=True)
    assert c["verdict"] == "right", c["message"]
    assert {n["verdict"] for n in c["networks"]} <= {"conforms", "known-difference"}
    assert c["networks"]


def torch_times(f: Callable[[Any], Any], factor: float) -> Callable[[Any], Any]:
    """The same value, and the derivative times that."""

    def g(x: torch.Tensor) -> torch.Tensor:
        y = f(x)
        return y.detach() + factor * (y - y.detach())

    return g


def jax_times(f: Callable[[Any], Any], factor: float) -> Callable[[Any], Any]:
    """The same."""

    def g(x: Any) -> Any:
        y = f(x)
        return jax.lax.stop_gradient(y) + factor * (y - jax.lax.stop_gradient(y))

    return g


@pytest.mark.parametrize("factor", [1 + 1e-6, 1 + 1e-13])
@pytest.mark.parametrize(
    "name",
    ["torch gelu", "torch gelu_tanh", "torch sigmoid", "torch softplus", "torch hardsigmoid", "torch relu",
     "jax gelu_tanh", "jax tanh", "jax hardsigmoid", "jax mish", "jax elu"],
)  # fmt: skip
def test_a_mistake_is_no_known_difference(name: str, factor: float) -> None:
    times = torch_times if name.startswith("torch") else jax_times
    c = of(name, times(OWN[name], factor))
    assert c["verdict"] == "wrong", c["message"]
    assert "wrong-derivative" in {f["kind"] for f in c["findings"] if "float64" in f["dtype"]}


def test_another_slope_is_wrong() -> None:
    c = of("torch leaky_relu", lambda x: F.leaky_relu(x, 0.0100001))
    assert c["verdict"] == "wrong"
    assert of("jax leaky_relu", lambda x: jax.nn.leaky_relu(x, 0.0100001))["verdict"] == "wrong"


def test_a_row_holds_in_its_framework_and_at_its_point_alone() -> None:
    """float32's sixth is torch's, and the kink that is early by one float is JAX's."""
    sixth = float(np.float32(1 / 6))
    c = of("jax hardsigmoid", jax_times(OWN["jax hardsigmoid"], 6 * sixth))
    assert c["verdict"] == "wrong"

    @jax.custom_jvp
    def early(x: Any) -> Any:
        return jax.nn.hard_sigmoid(x)

    @early.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        return early(x), t * jnp.where(jnp.abs(x) < 3 - 1e-12, 1 / 6, 0.0).astype(x.dtype)

    assert of("jax hardsigmoid", early)["verdict"] == "wrong"


def test_at_its_point_a_row_allows_what_it_says_and_nothing_else() -> None:
    """One float below 3 JAX's hardsigmoid' is 0; 0.05 is nobody's."""

    @jax.custom_jvp
    def other(x: Any) -> Any:
        return jax.nn.hard_sigmoid(x)

    @other.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        last = (x < 3) & (x > 3 - 1e-15)
        return other(x), t * jnp.where(jnp.abs(x) < 3, jnp.where(last, 0.05, 1 / 6), 0.0).astype(
            x.dtype
        )

    c = of("jax hardsigmoid", other)
    assert c["verdict"] == "wrong"
    (f,) = (f for f in c["findings"] if f["kind"] == "wrong-derivative")
    assert (f["x"], f["dtype"]) == (np.nextafter(3, 0), "float64")


def test_it_is_no_excuse_for_numpy_code_that_can_be_read() -> None:
    def prime(x: Any) -> Any:
        return np.where(np.abs(x) < 3, float(np.float32(1 / 6)), 0.0).astype(x.dtype)

    c = check_activation(
        lambda x: np.clip(x + 3, 0, 6) / 6, prime, truth="hardsigmoid", network=False
    )
    assert c["verdict"] == "wrong"


def in_numpy(f: Callable[[Any], Any]) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """A torch function and its autodiff behind NumPy arrays: black boxes."""

    def sigma(x: Any) -> Any:
        return f(torch.tensor(x)).numpy()

    def prime(x: Any) -> Any:
        t = torch.tensor(x, requires_grad=True)
        return torch.autograd.grad(f(t), t, torch.ones_like(t))[0].numpy()

    return sigma, prime


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "hardsigmoid", "softplus", "sigmoid"])
def test_behind_numpy_it_is_right_as_well(name: str) -> None:
    sigma, prime = in_numpy(MODULES[name]())
    c = check_activation(sigma, prime, truth=name, network=False)
    assert c["verdict"] == "right", c["message"]
    _, wrong = in_numpy(torch_times(MODULES[name](), 1 + 1e-6))
    assert check_activation(sigma, wrong, truth=name, network=False)["verdict"] == "wrong"


def test_the_erfc_form_of_gelu_is_right_and_known_by_what_it_computes() -> None:
    """No name was given: σ is known for gelu by its certified values, and F.gelu is held to gelu's row."""

    def gelu(x: Any) -> Any:
        return 0.5 * x * erfc(-x / np.sqrt(2, dtype=x.dtype))

    def prime(x: Any) -> Any:
        density = np.exp(-np.square(np.clip(x, -60, 60)) / 2) * float(1 / np.sqrt(2 * np.pi))
        return erfc(-x / np.sqrt(2, dtype=x.dtype)) / 2 + x * density

    c = check_activation(gelu, prime, torch=F.gelu, autodiff=("jax",), network=False)
    assert c["verdict"] == "right", c["message"]
    said = [(f["of"], f["kind"]) for f in c["findings"] if f["severity"] != "note"]
    assert said in ([], [("torch", "overflow-value")])  # with AVX-512 torch's is inf from 2.7e38 on
