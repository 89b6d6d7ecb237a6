"""Random modules of PyTorch, all right: what no verdict may accuse."""

from __future__ import annotations

import random
from typing import NamedTuple

import torch
from torch import Tensor, nn

ACTIVATIONS = (
    nn.ReLU,
    nn.Tanh,
    nn.Sigmoid,
    nn.GELU,
    nn.SiLU,
    nn.ELU,
    nn.Softplus,
    nn.LeakyReLU,
    nn.Mish,
)


class Made(NamedTuple):
    net: nn.Module
    input: str
    loss: str


class Sum(nn.Module):
    """x + f(x), or x · f(x)."""

    def __init__(self, f: nn.Module, times: bool) -> None:
        super().__init__()
        self.f, self.times = f, times

    def forward(self, x: Tensor) -> Tensor:
        y = self.f(x)
        return x * y if self.times else x + y


class Attention(nn.Module):
    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(d, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        h = x[:, None, :] if x.ndim == 2 else x
        y = self.attention(h, h, h)[0]
        return y[:, 0] if x.ndim == 2 else y


def _layer(rng: random.Random, d: int, shared: list[nn.Module]) -> nn.Module:
    kind = rng.choice(
        ["linear", "act", "norm", "residual", "gated", "attention", "shared", "in place"]
    )
    if kind == "act":
        return rng.choice(ACTIVATIONS)()
    if kind == "in place":
        return nn.Sequential(nn.Linear(d, d), nn.ReLU(inplace=True))
    if kind == "norm":
        return rng.choice([nn.LayerNorm(d), nn.RMSNorm(d), nn.GroupNorm(1, d)])
    if kind in ("residual", "gated"):
        inner = nn.Sequential(nn.Linear(d, d), rng.choice(ACTIVATIONS)())
        return Sum(inner, kind == "gated")
    if kind == "attention" and d % 2 == 0:
        return Attention(d, 2)
    if kind == "shared" and shared:
        return rng.choice(shared)
    layer = nn.Linear(d, d, bias=rng.random() < 0.8)
    shared.append(layer)
    return layer


def _dense(rng: random.Random) -> Made:
    d = rng.choice([2, 3, 4, 6])
    shared: list[nn.Module] = []
    layers = [_layer(rng, d, shared) for _ in range(rng.randint(1, 5))]
    out = rng.choice([1, 2, 5])
    loss = rng.choice(["", "mse_loss", "cross_entropy" if out > 1 else "mse_loss", "huber_loss"])
    return Made(nn.Sequential(*layers, nn.Linear(d, out)), f"{rng.randint(2, 5)}x{d}", loss)


def _convolutional(rng: random.Random) -> Made:
    c = rng.choice([1, 2, 3])
    middle = rng.choice([2, 4])
    net = nn.Sequential(
        nn.Conv2d(c, middle, 3, padding=1, stride=rng.choice([1, 2])),
        rng.choice([nn.BatchNorm2d(middle), nn.GroupNorm(2, middle), nn.Identity()]),
        rng.choice(ACTIVATIONS)(),
        rng.choice([nn.AvgPool2d(2), nn.MaxPool2d(2), nn.Identity()]),
        nn.Flatten(),
        nn.LazyLinear(2),
    )
    net(torch.zeros(2, c, 6, 6))
    return Made(
        net.train(rng.random() < 0.5), f"{rng.randint(2, 3)}x{c}x6x6", rng.choice(["", "mse_loss"])
    )


def _recurrent(rng: random.Random) -> Made:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = rng.choice([nn.RNN, nn.GRU, nn.LSTM])(2, 3, batch_first=True)
            self.out = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(x)[0][:, -1])

    return Made(Last(), f"2x{rng.randint(1, 4)}x2", rng.choice(["", "mse_loss"]))


def made(seed: int) -> Made:
    """The module of that number."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    return rng.choice([_dense, _dense, _dense, _convolutional, _recurrent])(rng)
