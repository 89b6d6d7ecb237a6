"""Networks as people write them in PyTorch, right and with one wrong torch.autograd.Function in them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class GELU(torch.autograd.Function):
    """With the derivative of another form of it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return F.gelu(x, approximate="tanh")

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(1.702 * x)
        return g * (s + x * 1.702 * s * (1 - s))


class Right(torch.autograd.Function):
    """SiLU, right."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return g * (s + x * s * (1 - s))


class Forgets(torch.autograd.Function):
    """A linear layer whose bias gets the gradient of the first example alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, W: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(x, W)
        return x @ W.T + b

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, ...]:
        x, W = ctx.saved_tensors
        return g @ W, g.T @ x, g[0]


class ByHand(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return Forgets.apply(x, self.weight, self.bias)


class Act(nn.Module):
    def __init__(self, f: Any = Right) -> None:
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        return self.f.apply(x)


class Residual(nn.Module):
    """As in a ResNet: convolutions, normalisation, a shortcut, an activation in place."""

    def __init__(self, channels: int = 3, f: Any = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.act = Act(f) if f else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.relu(self.bn1(self.conv1(x))))
        out = self.conv2(h)
        out += x
        return self.relu(out)


class Block(nn.Module):
    def __init__(self, d: int, f: Any) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attention = nn.MultiheadAttention(d, 2, batch_first=True)
        self.up, self.act, self.down = nn.Linear(d, 2 * d), Act(f), nn.Linear(2 * d, d)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        return x + self.down(self.act(self.up(self.norm2(x))))


class GPT(nn.Module):
    """Two blocks, and a head that shares its weights with the embedding."""

    def __init__(self, f: Any = Right, words: int = 9, d: int = 4, length: int = 5) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, d)
        self.places = nn.Parameter(torch.randn(length, d))
        self.blocks = nn.ModuleList([Block(d, Right), Block(d, f)])
        self.norm = nn.LayerNorm(d)
        self.head = nn.Linear(d, words, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids) + self.places
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Twice(nn.Module):
    """One layer that is called twice, and a checkpoint."""

    def __init__(self, reentrant: bool = False) -> None:
        super().__init__()
        self.layer, self.reentrant = nn.Linear(4, 4), reentrant

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.layer(x))
        return checkpoint(self.layer, h, use_reentrant=self.reentrant) + x


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        h, (_, c) = self.lstm(x)
        return self.out(h[:, -1] + c[0])


class InPlace(nn.Module):
    """Uses what an activation writes, and not what it returns."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.relu = nn.Linear(3, 3), nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        self.relu(y)
        return y


def sequential() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(inplace=True), nn.Linear(16, 4))


def with_dropout() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 2))


def two_outputs() -> nn.Module:
    return Pair()


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, x: Tensor, mask: Tensor | None = None, scale: Tensor | None = None) -> Any:
        y = self.a(x)
        if mask is not None:
            y = y.masked_fill(mask, 0.0)
        return {"y": y, "z": self.b(x) if scale is None else self.b(x) * scale}


def of_words(y: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(y.flatten(0, 1), target.flatten())
