"""RMSNorm with a gradient that somebody derived in a hurry: the mean square was taken for a constant."""

import numpy as np


def rms_norm(x, g, eps=1e-5):
    """Rows of x over their root mean square, times g."""
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * g


def rms_norm_vjp(dy, x, g, eps=1e-5):
    """(∂x, ∂g), the first of them wrong."""
    k = 1 / np.sqrt((x**2).mean(-1, keepdims=True) + x.dtype.type(eps))
    return dy * g * k, (dy * x * k).sum(0)
