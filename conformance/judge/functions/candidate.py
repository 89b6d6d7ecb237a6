"""What is judged: a function's outputs and gradients, as a user's code computes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from conformance.judge.functions.recording import Table

__all__ = ["Array", "Candidate", "Ran", "Request"]


class Array(NamedTuple):
    """Numbers, converted to float64, and the dtype that they had."""

    numbers: NDArray[np.float64]
    dtype: str


@dataclass(frozen=True)
class Request:
    """At which inputs a function is evaluated, and what is wanted.

    inputs      by name; floats are float64 arrays of numbers that `dtype` can represent; whole numbers and
                masks are as they are
    dtype       in which the floats are passed: float64, float32, float16 or bfloat16
    cotangents  of the outputs, by the names that `Recording` gives them: "y", or "y[0]", "y[1]", …
    wrt         the inputs whose gradients are wanted
    """

    inputs: Table
    dtype: str
    cotangents: Mapping[str, NDArray[np.float64]]
    wrt: tuple[str, ...]


@dataclass(frozen=True)
class Ran:
    """What a candidate returned. A gradient that is None was not returned."""

    outputs: Mapping[str, Array]
    gradients: Mapping[str, Array | None]
    notes: tuple[str, ...] = field(default=())  # "writes to its input x": sentences for a reader


class Candidate(Protocol):
    """A user's code, as a function of a Request."""

    def __call__(self, request: Request) -> Ran:
        """Outputs and gradients. Raises whatever the code raises."""
