"""thinc 9.1.1: activations as its NumPy code has them, and its own backward passes."""

from __future__ import annotations

from typing import Any

import numpy as np
from thinc.api import L2Distance, NumpyOps
from thinc.backends.ops import Ops

Array = Any
compiled = NumpyOps()


class Plain(Ops):
    """The same operations in NumPy."""

    xp = np


plain = Plain()


def mish(x: Array) -> Array:
    return plain.mish(x)


def mish_vjp(dy: Array, x: Array) -> Array:
    return compiled.backprop_mish(dy, x)


def gelu_approx(x: Array) -> Array:
    return plain.gelu_approx(x)


def gelu_approx_vjp(dy: Array, x: Array) -> Array:
    return compiled.backprop_gelu_approx(dy, x)


def sigmoid(x: Array) -> Array:
    return plain.sigmoid(x)


def sigmoid_vjp(dy: Array, y: Array) -> Array:
    return compiled.backprop_sigmoid(dy, y)


def distance(guesses: Array, truths: Array) -> Array:
    return L2Distance(normalize=True).get_loss(guesses, truths)


def distance_vjp(dy: Array, guesses: Array, truths: Array) -> dict[str, Array]:
    return {"guesses": dy * L2Distance(normalize=True).get_grad(guesses, truths)}
