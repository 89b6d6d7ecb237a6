"""The words the signatures use."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "InputError", "Layers", "LossFunction", "Transition"]

Array: TypeAlias = NDArray[Any]
"""A matrix: float64 or float32 in use; objects (symbols, fractions) in the proofs."""

Layers: TypeAlias = dict[int, Array]
"""{1: …, …, L: …}: one matrix a layer, numbered as the notes number them."""


class InputError(ValueError):
    """Something handed to refbp does not fit: what was got, what was expected, where, what to do."""


class AlphaError(InputError):
    """The step of gradient descent does not fit: no number, or so large that nothing finite comes of it."""


class Transition(Protocol):
    """σ_l, the notes' transition function, acting on each row of A (n×d_l)."""

    def __call__(self, A: Array, /) -> Array:
        """σ(A), n×d_l."""
        ...

    def vjp(self, A: Array, G: Array, /) -> Array:
        """∂L/∂A for G = ∂L/∂Z, where Z = σ(A): G ⊙ σ'(A) where σ is elementwise; n×d_l."""
        ...


class LossFunction(Protocol):
    """L, the loss, a number for the whole batch."""

    def __call__(self, Z: Array, Y: Array, /) -> np.floating[Any]:
        """L(Z_L, Y)."""
        ...

    def gradient(self, Z: Array, Y: Array, /) -> Array:
        """∂L/∂Z_L, n×d_L."""
        ...
