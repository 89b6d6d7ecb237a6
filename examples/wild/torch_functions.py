"""PyTorch's own functions, to be held to their formulas."""

from torch.nn.functional import hardsigmoid

__all__ = ["hardsigmoid"]
