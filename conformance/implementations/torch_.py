"""PyTorch: a real nn.Sequential of nn.Linear and the native activation modules.

A_l and Z_l are taken by forward hooks, δ_l = ∂L/∂A_l by autograd, ∂L/∂W_l from `.grad`, and the update
is one step of torch.optim's SGD. Nothing here computes a derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.sgd import sgd

from conformance.implementations import NotRunError
from conformance.model.problem import Floats, Problem, Trace

if TYPE_CHECKING:
    from conformance.implementations import Row

__all__ = ["Torch"]


class Sin(nn.Module):
    """sin, for which torch has a function and no module."""

    def forward(self, a: torch.Tensor) -> torch.Tensor:
        return torch.sin(a)


class Gaussian(nn.Module):
    """exp(−a²), for which torch has no module or function."""

    def forward(self, a: torch.Tensor) -> torch.Tensor:
        return torch.exp(-a * a)


MODULES: Mapping[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "celu": nn.CELU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "mish": nn.Mish,
    "hardtanh": nn.Hardtanh,
    "relu6": nn.ReLU6,
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "logsigmoid": nn.LogSigmoid,
    "sin": Sin,
    "gaussian": Gaussian,
    "softmax": lambda: nn.Softmax(dim=1),
    "log_softmax": lambda: nn.LogSoftmax(dim=1),
}

LOSSES: Mapping[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "mean_squared_error": lambda Z, Y: F.mse_loss(Z, Y, reduction="sum"),
    "cross_entropy": lambda Z, Y: -torch.xlogy(Y, Z).sum(),
    "log_softmax_cross_entropy": lambda Z, Y: -(Y * Z).sum(),
    "binary_cross_entropy": lambda Z, Y: F.binary_cross_entropy(Z, Y, reduction="sum"),
    "mean_absolute_error": lambda Z, Y: F.l1_loss(Z, Y, reduction="sum"),
    "huber": lambda Z, Y: F.huber_loss(Z, Y, reduction="sum"),
}
"""Summed: torch's own "mean" divides by n·d_L where the notes divide by n (pytorch#3924)."""


class Torch:
    """PyTorch eager on one device."""

    def __init__(self, name: str, row: Row) -> None:
        self.name, self.description = name, row.description
        self.device = torch.device(row.device)
        self.own: dict[
            str, Callable[[torch.dtype], nn.Module]
        ] = {}  # σ for which torch has no module

    def start(self) -> tuple[Mapping[str, str], str]:
        """Switches TF32 off, and checks that a tensor really lands on the device."""
        torch.set_num_threads(1)  # gives the same bits in every run
        versions = {"torch": str(torch.__version__)}
        if self.device.type == "cpu":
            return versions, "cpu"
        if not torch.cuda.is_available():
            raise NotRunError("no CUDA device: torch.cuda.is_available() is False.")
        torch.backends.cuda.matmul.allow_tf32 = False
        where = torch.ones(1, device=self.device).device.type
        if where != "cuda":
            raise NotRunError(f"a tensor asked for on cuda landed on {where}.")
        versions["cuda"] = str(torch.version.cuda)
        return versions, torch.cuda.get_device_name()

    def run(self, problem: Problem) -> Trace:
        """Build the network, copy the weights into it, hook its layers, run forward and backward, step."""
        L = problem.depth
        linear = {l: self._linear(problem, l) for l in range(1, L + 1)}
        dtype = self._dtype(problem.X)
        sigma = {
            l: self.own[s](dtype) if s in self.own else MODULES[s]()
            for l, s in problem.sigma.items()
        }
        A: dict[int, torch.Tensor] = {}
        Z: dict[int, torch.Tensor] = {}
        for l in range(1, L + 1):
            linear[l].register_forward_hook(self._keep(A, l))
            sigma[l].register_forward_hook(self._keep(Z, l))
        net = nn.Sequential(*(m for l in range(1, L + 1) for m in (linear[l], sigma[l])))
        Y = self._tensor(problem.Y)
        loss = LOSSES[problem.loss](net(self._tensor(problem.X)), Y) / len(Y)
        torch.autograd.backward(loss)
        dW = {l: self._matrix(m, gradient=True) for l, m in linear.items()}
        self._update(list(net.parameters()), problem.alpha)
        return Trace(
            A={l: self._array(a) for l, a in A.items()},
            Z={l: self._array(z) for l, z in Z.items()},
            delta={l: self._array(a.grad) for l, a in A.items()},
            dW=dW,
            W_new={l: self._matrix(m) for l, m in linear.items()},
            loss=self._array(loss),
        )

    def _update(self, parameters: list[torch.Tensor], alpha: float) -> None:
        """One step of torch.optim.SGD, without the class itself, which would first import torch._dynamo (3
        s)."""
        gradients = {p: p.grad for p in parameters if p.grad is not None}
        with torch.no_grad():
            sgd(
                list(gradients),
                list(gradients.values()),
                [None] * len(gradients),
                weight_decay=0,
                momentum=0,
                lr=alpha,
                dampening=0,
                nesterov=False,
                maximize=False,
            )

    def _keep(self, where: dict[int, torch.Tensor], l: int) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
            if output.requires_grad:
                output.retain_grad()
            where[l] = output

        return hook

    def _linear(self, problem: Problem, l: int) -> nn.Linear:
        W = problem.weights(l)
        rows, columns = W.shape
        layer = nn.Linear(
            rows, columns, bias=problem.bias, device=self.device, dtype=self._dtype(W)
        )
        with torch.no_grad():
            layer.weight.copy_(self._tensor(W.T))
            if problem.bias:
                layer.bias.copy_(self._tensor(problem.W[l][-1]))
        return layer

    def _matrix(self, layer: nn.Linear, gradient: bool = False) -> Floats:
        """[W_l; b_l] of a layer, or of its gradients: nn.Linear keeps W_lᵀ."""
        rows = [
            self._array(p.grad if gradient else p)
            for p in (layer.weight, layer.bias)
            if p is not None
        ]
        return np.vstack([rows[0].T, *rows[1:]])

    def _dtype(self, M: Floats) -> torch.dtype:
        return {"float64": torch.float64, "float32": torch.float32}[M.dtype.name]

    def _tensor(self, M: Floats) -> torch.Tensor:
        return torch.tensor(M, device=self.device)

    def _array(self, t: torch.Tensor | None) -> Floats:
        """A copy in NumPy. None, a gradient that was not computed, raises AttributeError."""
        array: Floats = t.detach().cpu().numpy().copy()  # type: ignore[union-attr]
        return array
