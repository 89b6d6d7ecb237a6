"""σ that is more than a function of one NumPy array: right ones, and wrong ones beside them."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

# --- PyTorch alone --------------------------------------------------------------------------------


class Swish(torch.autograd.Function):
    """As timm has it."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x.mul(torch.sigmoid(x))

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return g * (s * (1 + x * (1 - s)))


class WrongSwish(Swish):
    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return g * (s * (1 + x * s))


class HardMish(torch.autograd.Function):
    """x/2 · clamp(x + 2, 0, 2), with kinks at −2 and 0."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return 0.5 * x * (x + 2).clamp(min=0, max=2)

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        (x,) = ctx.saved_tensors
        inner = torch.where(x >= -2, x + 1, torch.zeros_like(x))
        return g * torch.where(x >= 0, torch.ones_like(x), inner)


class WrongHardMish(HardMish):
    """timm's threshold, forgotten."""

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return g * torch.where(x >= 0, torch.ones_like(x), x + 1)


class Snake(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.sin(self.a * x) ** 2 / self.a


class Channels(nn.Module):
    """A Snake with its parameter for each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.full((1, 4, 1), 0.7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.sin(self.a * x) ** 2 / self.a


class _Leaky(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, w)
        return torch.where(x > 0, x, w * x)

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        x, w = ctx.saved_tensors
        of_w = torch.where(x > 0, 0, g)  # x is forgotten
        return torch.where(x > 0, g, w * g), of_w.sum().reshape(1)


class WrongPReLU(nn.Module):
    """σ' is right, the gradient of its parameter is not."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.25]))

    def forward(self, x: torch.Tensor) -> Any:
        return _Leaky.apply(x, self.weight)


class SwishBeta(torch.autograd.Function):
    """One β for all: it has no gradient for each element."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, beta: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, beta)
        return x * torch.sigmoid(beta * x)

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        x, beta = ctx.saved_tensors
        s = torch.sigmoid(beta * x)
        return g * (s + beta * x * s * (1 - s)), (g * x * x * s * (1 - s)).sum()


class WrongSwishBeta(SwishBeta):
    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        x, beta = ctx.saved_tensors
        s = torch.sigmoid(beta * x)
        return g * (s + beta * x * s * (1 - s)), (g * x * s * (1 - s)).sum()


class GLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(a, b)
        return a * torch.sigmoid(b)

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        a, b = ctx.saved_tensors
        s = torch.sigmoid(b)
        return g * s, g * a * s * (1 - s)


class WrongGLU(GLU):
    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        a, b = ctx.saved_tensors
        s = torch.sigmoid(b)
        return g * s, g * a * s


class Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        y = torch.softmax(x, -1)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return y * (g - (g * y).sum(-1, keepdim=True))


class WrongSoftmax(Softmax):
    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return g * y * (1 - y)


def straight_through(x: torch.Tensor) -> torch.Tensor:
    """Its value is that of round, its gradient 1: no derivative of either."""
    return x + (torch.round(x) - x).detach()


def branching(x: torch.Tensor) -> torch.Tensor:
    if x.sum() > 0:
        return x
    return 0.1 * x


# --- JAX alone ------------------------------------------------------------------------------------


@jax.custom_vjp
def jax_silu(x: Any) -> Any:
    return x * jax.nn.sigmoid(x)


def _silu_back(x: Any, g: Any) -> Any:
    s = jax.nn.sigmoid(x)
    return (g * (s + x * s * (1 - s)),)


jax_silu.defvjp(lambda x: (jax_silu(x), x), _silu_back)


@jax.custom_vjp
def wrong_jax_silu(x: Any) -> Any:
    return x * jax.nn.sigmoid(x)


wrong_jax_silu.defvjp(
    lambda x: (wrong_jax_silu(x), x), lambda x, g: (g * (jax.nn.sigmoid(x) * (1 + x)),)
)


@jax.custom_vjp
def jax_geglu(a: Any, b: Any) -> Any:
    return a * jnp.tanh(b)


jax_geglu.defvjp(
    lambda a, b: (jax_geglu(a, b), (a, b)),
    lambda saved, g: (g * jnp.tanh(saved[1]), g * saved[0] / jnp.cosh(saved[1]) ** 2),
)


def jax_branching(x: Any) -> Any:
    return x if x.sum() > 0 else 0.1 * x


# --- NumPy ----------------------------------------------------------------------------------------


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_prime(x: Any) -> Any:
    """Of the diagonal alone."""
    y = softmax(x)
    return y * (1 - y)


def softmax_vjp(dy: Any, x: Any) -> Any:
    return softmax_of_output(dy, softmax(x))


def softmax_of_output(dy: Any, y: Any) -> Any:
    return y * (dy - (dy * y).sum(-1, keepdims=True))


def wrong_softmax_vjp(dy: Any, x: Any) -> Any:
    return dy * softmax_prime(x)


def bilinear(a: Any, b: Any) -> Any:
    return np.tanh(a) * b


def bilinear_vjp(dy: Any, a: Any, b: Any) -> Any:
    return dy * b / np.cosh(a) ** 2, dy * np.tanh(a)


def wrong_bilinear_vjp(dy: Any, a: Any, b: Any) -> Any:
    return dy * b / np.cosh(a) ** 2, dy * a


class Cubed:
    def forward(self, x: Any) -> Any:
        return x**3

    def derivative(self, x: Any) -> Any:
        return 3 * x**2

    def wrong(self, x: Any) -> Any:
        return 2 * x**2


def asserting(x: Any) -> Any:
    assert isinstance(x, np.ndarray)
    return x / (1 + np.abs(x))


def asserting_prime(x: Any) -> Any:
    assert isinstance(x, np.ndarray)
    return 1 / (1 + np.abs(x)) ** 2


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


def whole_step(x: Any) -> Any:
    return np.where(x > 0, 1, 0)


def wrong_whole_step(x: Any) -> Any:
    return np.where(x > 0, 2, 0)


def of_math(x: Any) -> Any:
    return 1 / (1 + math.exp(-x))


def of_math_prime(x: Any) -> Any:
    return of_math(x) * of_math(-x)


def wrong_of_math(x: Any) -> Any:
    return of_math(x)


def looped(x: Any) -> Any:
    return np.array([math.tanh(v) for v in x.ravel()]).reshape(x.shape)


def in_float32(x: Any) -> Any:
    assert x.dtype == np.float32
    return np.arctan(x)


def in_float32_prime(x: Any) -> Any:
    assert x.dtype == np.float32
    return 1 / (1 + x**2)


def wrong_in_float32(x: Any) -> Any:
    return np.float32(1.001) / (1 + x**2)
