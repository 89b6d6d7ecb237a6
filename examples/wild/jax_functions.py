"""JAX's own functions, and formulas that keep their digits."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.nn import elu
from jax.scipy.special import log_ndtr

__all__ = ["elu", "log_ndtr", "near_zero", "sinc", "sinc_series"]

Array = Any
sinc = jnp.sinc


def near_zero() -> dict[str, Array]:
    return {"x": np.array([1e-3, 3e-5, -1e-6, 1e-8, -1e-9])}


def sinc_series(x: Array) -> Array:
    """sin(πx)/(πx) to (πx)^8: for |x| below 0.01 the rest is less than a rounding."""
    t = (np.pi * x) ** 2
    return 1 - t / 6 * (1 - t / 20 * (1 - t / 42 * (1 - t / 72)))
