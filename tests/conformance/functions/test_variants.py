"""The same code asked in other ways: what is right only as it is usually called is found."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import conformance


class Contiguous(torch.autograd.Function):
    """Right for contiguous tensors: its backward reads memory in the order in which it lies."""

    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, dy):  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        as_it_lies = torch.as_strided(x, x.shape, (x.shape[1], 1))
        return 2 * as_it_lies * dy


@jax.custom_vjp
def traced(x):  # type: ignore[no-untyped-def]
    return jnp.sin(x)


def forward(x):  # type: ignore[no-untyped-def]
    return jnp.sin(x), x


def backward(x, dy):  # type: ignore[no-untyped-def]
    """Right where it sees numbers, and wrong by 1 + 1e-9 where it is traced."""
    wrong = isinstance(x, jax.core.Tracer)
    return (dy * jnp.cos(x) * (1 + 1e-9 * wrong),)


traced.defvjp(forward, backward)


def square(x):  # type: ignore[no-untyped-def]
    return x * x


def square_vjp(c, x):  # type: ignore[no-untyped-def]
    """Reads the buffer and not the array."""
    buffer = x.base if x.base is not None else x
    return 2 * buffer.reshape(-1)[: x.size].reshape(x.shape) * c


@pytest.mark.parametrize(
    ("framework", "f", "more", "how"),
    [
        ("torch", Contiguous, {}, "tensors that are not contiguous"),
        ("jax", traced, {}, "jax.jit"),
        ("numpy", square, {"vjp": square_vjp}, "views with gaps"),
    ],
)
def test_what_is_right_only_as_it_is_usually_called(framework, f, more, how) -> None:  # type: ignore[no-untyped-def]
    found = conformance.check_function(
        f, framework=framework, inputs="x=3x4", families=["ordinary"], **more
    )
    assert found["exit_code"] == 1
    assert {j["verdict"] for j in found["judged"]} == {"conforms"}
    assert any(how in finding["text"] for finding in found["findings"]), found["findings"]
    assert np.isfinite(found["straddling"])


def in_numpy(x, g):  # type: ignore[no-untyped-def]
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * g


def in_torch(x, g):  # type: ignore[no-untyped-def]
    return torch.nn.functional.rms_norm(x, x.shape[-1:], g, 1e-5)


def in_jax(x, g):  # type: ignore[no-untyped-def]
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-5) * g


@pytest.mark.parametrize(("framework", "f"), [("torch", in_torch), ("jax", in_jax)])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_plain_numpy_is_a_reference_for_a_frameworks_code(framework, f, dtype) -> None:  # type: ignore[no-untyped-def]
    """Though both stand in one file, and NumPy has no bfloat16. A factor of 1.1 is seen in each dtype."""
    asked = {
        "framework": framework,
        "inputs": "x=4x6, g=6",
        "dtype": dtype,
        "families": ["ordinary"],
    }
    assert conformance.check_function(f, reference=in_numpy, **asked)["verdict"] == "conforms"
    found = conformance.check_function(
        f, reference=lambda x, g: np.multiply(1.1, in_numpy(x, g)), **asked
    )
    assert found["exit_code"] == 1
