"""A network with an activation of somebody's own, whose derivative is that of another form of it."""

import torch
from torch import nn


class GELU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return nn.functional.gelu(x, approximate="tanh")

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(1.702 * x)
        return g * (s + 1.702 * x * s * (1 - s))


class Block(nn.Module):
    def __init__(self, d=8):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(d), nn.Linear(d, 2 * d), nn.Linear(2 * d, d)

    def forward(self, x):
        return x + self.down(GELU.apply(self.up(self.norm(x))))


def net():
    return nn.Sequential(Block(), Block(), nn.Flatten(), nn.Linear(40, 3))
