"""The types in the signatures, and the exceptions."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "InputError", "Layers", "LossFunction", "Transition"]

Array: TypeAlias = NDArray[Any]
"""A matrix: float64 or float32 in use; objects (symbols, fractions) in the proofs."""

Layers: TypeAlias = dict[int, Array]
"""{1: …, …, L: …}: one matrix for each layer, numbered as in the notes."""


class InputError(ValueError):
    """An argument that does not fit: what was got, what was expected, where, and what to do."""


class AlphaError(InputError):
    """An α, the step size of gradient descent, that does not fit: not a number, or so large that the results
    are not finite."""


class Transition(Protocol):
    """σ_l, the notes' transition function, acting on each row of A (n×d_l)."""

    def __call__(self, A: Array, /) -> Array:
        """σ(A), n×d_l."""
        ...

    def vjp(self, A: Array, G: Array, /) -> Array:
        """∂L/∂A for G = ∂L/∂Z, where Z = σ(A); n×d_l. If σ is elementwise, it is G ⊙ σ'(A)."""
        ...


class LossFunction(Protocol):
    """L, the loss: one number for the whole batch."""

    def __call__(self, Z: Array, Y: Array, /) -> np.floating[Any]:
        """L(Z_L, Y)."""
        ...

    def gradient(self, Z: Array, Y: Array, /) -> Array:
        """∂L/∂Z_L, n×d_L."""
        ...
