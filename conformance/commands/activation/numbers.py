"""Functions of one number at a time, such as those made of math's: on arrays, and on Taylor balls."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from conformance.model.problem import Floats
from conformance.truth.taylor import FUNCTIONS, PREDICATES, Taylor, taylor

__all__ = ["STAND_INS", "PerNumber", "takes_numbers"]

RENAMED = {
    "acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan",
    "atan2": "arctan2", "atanh": "arctanh", "lgamma": "gammaln", "pow": "power",
}  # fmt: skip
"""NumPy's or scipy.special's names for math's functions, where they differ."""


class PerNumber(np.vectorize):
    """A function of one number, called for each element; the result has the dtype of x."""

    def __call__(self, x: Any) -> Floats:
        """Raises what math raises, with x in the message."""
        each: Floats = np.vectorize(self._one, otypes=[np.asarray(x).dtype.char])(x)
        return each

    def _one(self, v: float) -> float:
        try:
            return float(self.pyfunc(v))
        except (OverflowError, ValueError) as e:
            if not math.isfinite(v):
                return math.nan
            raise type(e)(f"{e} at x = {v:.6g}") from e


def takes_numbers(e: Exception) -> bool:
    """Whether this is what a function of math raises on an array."""
    return isinstance(e, TypeError) and "Python scalar" in str(e)


def _on_taylors(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
    known = FUNCTIONS | PREDICATES  # type: ignore[operator]
    of = known.get(RENAMED.get(name, name), plain)

    def function(*args: Any) -> Any:
        return of(*map(taylor, args)) if any(isinstance(a, Taylor) for a in args) else plain(*args)

    return function


MATH = types.ModuleType("math")
"""math, with functions that take Taylors too. Made once, since it replaces math at every evaluation."""
vars(MATH).update(
    {n: _on_taylors(n, f) if callable(f) else f for n, f in vars(math).items() if n[0] != "_"}
)

STAND_INS: dict[int, object] = {
    id(math): MATH,
    **{id(f): getattr(MATH, n) for n, f in vars(math).items() if n[0] != "_" and callable(f)},
}
"""The replacements for math and for each of its functions, by the id of what they replace."""
