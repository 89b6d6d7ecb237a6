"""NumPy functions on Taylor balls: values and derivatives with a proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from conformance.commands.activation.lifted import UnsupportedError
from conformance.truth.taylor import FUNCTIONS, PREDICATES, Taylor, U, taylor

__all__ = ["BALLS", "Balls"]

LOGICAL = (
    "logical_and",
    "logical_or",
    "logical_xor",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "invert",
)


def _each(f: Callable[..., Any], inputs: Sequence[Any], of: Any) -> list[Any]:
    """f of each element, of what is broadcast, in order; `of` is the dtype that x is said to have."""
    arrays = np.broadcast_arrays(*(_taylors(x, of) for x in inputs))
    return [f(*args) for args in zip(*(a.ravel().tolist() for a in arrays), strict=True)]


def _taylors(x: Any, of: Any) -> Any:
    """An array of Taylors, of what a function was handed.

    A constant that was rounded to x's own dtype may be off by that rounding. In another dtype it is the
    number that it is: float32's 0.1 in float64 is a mistake.
    """
    if isinstance(x, Taylor):
        return _filled([x]).reshape(())
    a = np.asarray(x)
    u = float(np.finfo(a.dtype).eps) / 2 if a.dtype.kind == "f" and a.dtype == of else U
    return _filled([taylor(v, u) for v in a.ravel().tolist()]).reshape(a.shape)


def _filled(flat: list[Any]) -> Any:
    """A list of Taylors as an array of them: NumPy would ask a Taylor whether it is a sequence."""
    array = np.empty(len(flat), object)
    for i, t in enumerate(flat):
        array[i] = t
    return array


class Balls:
    """An array is an ndarray of Taylors; a mask is an ordinary one, since what is answered is certain."""

    name = "Taylor balls"

    def ufunc(self, name: str, inputs: Sequence[Any], shape: tuple[int, ...], dtype: Any) -> Any:
        """Elementwise, by FUNCTIONS and PREDICATES."""
        if name in FUNCTIONS:
            return _filled(_each(FUNCTIONS[name], inputs, dtype)).reshape(shape)
        if name in PREDICATES:
            return np.array(_each(PREDICATES[name], inputs, dtype), bool).reshape(shape)
        if name in LOGICAL:
            masks = [
                x if self.is_mask(x) else self.ufunc("not_equal", [x, 0.0], np.shape(x), dtype)
                for x in inputs
            ]
            return getattr(np, name)(*masks)
        raise UnsupportedError(
            f"np.{name} cannot be evaluated on Taylor balls. Write it with functions that can (there are "
            f"{len(FUNCTIONS)}: exp, log1p, tanh, where, …), or give a definition with --truth."
        )

    def where(self, mask: Any, one: Any, other: Any, dtype: Any) -> Any:
        """Elementwise choice."""
        mask, one, other = np.broadcast_arrays(
            np.asarray(mask, bool), _taylors(one, dtype), _taylors(other, dtype)
        )
        return np.where(mask, one, other)

    def full(self, shape: tuple[int, ...], value: Any, dtype: Any) -> Any:
        """Constants."""
        return np.broadcast_to(_taylors(value, dtype), shape).copy()

    def put(self, data: Any, key: Any, value: Any, dtype: Any) -> Any:
        """In place, as NumPy does it."""
        data[key] = _taylors(value, dtype)
        return data

    def reshape(self, data: Any, shape: Any) -> Any:
        """As NumPy's."""
        return data.reshape(shape)

    def is_mask(self, data: Any) -> bool:
        """Masks are ordinary arrays."""
        return isinstance(data, bool | np.bool_) or getattr(data, "dtype", None) == np.dtype(bool)

    def copy(self, data: Any) -> Any:
        """Taylors are never changed: the array alone is copied."""
        return np.array(data)

    def vectorized(self, function: Any) -> Any:
        """np.vectorize: its scalar function on each element."""
        from conformance.commands.activation.lifted import Lifted

        def each(x: Lifted) -> Any:
            flat = [taylor(function.pyfunc(t)) for t in x.data.ravel().tolist()]
            return x._like(_filled(flat).reshape(x.data.shape))

        return each


BALLS = Balls()
