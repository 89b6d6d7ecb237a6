"""HIPS autograd 1.8.0: functions of autograd.numpy, and its gradients of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import make_vjp

Array = Any


def _pulled_back(f: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
    return lambda dy, x: make_vjp(f)(x)[0](dy)


def tile(x: Array) -> Array:
    return np.tile(x, 2)


def sinc(x: Array) -> Array:
    return np.sinc(x)


def prod(x: Array) -> Array:
    return np.prod(x, axis=-1)


tile_vjp = _pulled_back(lambda x: anp.tile(x, 2))
sinc_vjp = _pulled_back(anp.sinc)
prod_vjp = _pulled_back(lambda x: anp.prod(x, axis=-1))
