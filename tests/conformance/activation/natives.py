"""Versions of silu in torch and in JAX: right ones, and wrong ones of each kind."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import torch
from under_test import silu, silu_prime

__all__ = ["silu", "silu_prime"]


class Fused(torch.autograd.Function):
    """Right."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return g * (s + x * s * (1 - s))


class Upstream(Fused):
    """grad_output is ignored."""

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return s + x * s * (1 - s)


class Averaged(Fused):
    """Every element gets the mean of what comes in."""

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        return Fused.backward(ctx, g.mean().expand_as(g))


class Rectified(Fused):
    """Negative incoming gradients are dropped."""

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        return Fused.backward(ctx, g.clamp(min=0))


class Slightly(Fused):
    """Wrong by a factor 1 + 1e-12."""

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        return Fused.backward(ctx, g) * (1 + 1e-12)


class Tail(Fused):
    """Zero for x < −30."""

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return torch.where(x < -30, torch.zeros_like(x), Fused.backward(ctx, g))


class Module(torch.nn.Module):
    """Right, as a module."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.silu(x)


def other(x: torch.Tensor) -> torch.Tensor:
    """Another function."""
    return torch.nn.functional.gelu(x)


def cut(x: torch.Tensor) -> torch.Tensor:
    """No gradient."""
    return (x * torch.sigmoid(x)).detach()


def half(x: torch.Tensor) -> torch.Tensor:
    """Computed in float32."""
    return torch.nn.functional.silu(x.float())


def no_tensor(x: torch.Tensor) -> Any:
    return None


def exits(x: torch.Tensor) -> Any:
    import os

    os._exit(7)


def _fwd(x: Any) -> Any:
    return x * jax.nn.sigmoid(x), x


def _derivative(x: Any) -> Any:
    s = jax.nn.sigmoid(x)
    return s + x * s * (1 - s)


def _custom(backward: Any) -> Any:
    f = jax.custom_vjp(lambda x: x * jax.nn.sigmoid(x))
    f.defvjp(_fwd, backward)
    return f


jax_right = _custom(lambda x, g: (g * _derivative(x),))
jax_sign = _custom(lambda x, g: (-g * _derivative(x),))
jax_slightly = _custom(lambda x, g: (g * _derivative(x) * (1 + 1e-12),))
jax_averaged = _custom(lambda x, g: (jnp.mean(g) * _derivative(x),))
jax_upstream = _custom(lambda x, g: (_derivative(x) * jnp.ones_like(g),))


@jax.custom_jvp
def jax_jvp(x: Any) -> Any:
    return x * jax.nn.sigmoid(x)


@jax_jvp.defjvp
def _jvp(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    return jax_jvp(x), _derivative(x) * t
