"""NumPy functions on Taylor balls: values and derivatives with a proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import DTypeLike

from conformance.commands.activation.lifted import (
    Arg,
    Array,
    Backend,
    Function,
    Lifted,
    Shape,
    UnsupportedError,
)
from conformance.truth.taylor import FUNCTIONS, PREDICATES, Taylor, U, taylor

__all__ = ["BALLS", "Balls"]

LOGICAL = (
    "logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor", "invert",
)  # fmt: skip


def _each(
    f: Callable[..., Taylor | bool], inputs: Sequence[Arg], dtype: DTypeLike
) -> list[Taylor | bool]:
    """f of each element of the broadcast inputs, in order; `dtype` is that of the argument x."""
    arrays = np.broadcast_arrays(*(_taylors(x, dtype) for x in inputs))
    return [f(*args) for args in zip(*(a.ravel().tolist() for a in arrays), strict=True)]


def _taylors(x: Arg, dtype: DTypeLike) -> Array:
    """The argument of a function as an array of Taylors.

    A constant in x's own dtype may be off by its rounding to that dtype. In another dtype it counts as exact:
    float32's 0.1 in a float64 formula is a mistake.
    """
    if isinstance(x, Taylor):
        return _filled([x]).reshape(())
    a = np.asarray(x)
    u = float(np.finfo(a.dtype).eps) / 2 if a.dtype.kind == "f" and a.dtype == dtype else U
    return _filled([taylor(v, u) for v in a.ravel().tolist()]).reshape(a.shape)


def _filled(flat: Sequence[object]) -> Array:
    """A list of Taylors as an array. np.array would ask each Taylor whether it is a sequence."""
    array = np.empty(len(flat), object)
    for i, t in enumerate(flat):
        array[i] = t
    return array


class Balls(Backend):
    """An array is an ndarray of Taylors; a mask is an ordinary ndarray, since every answer in it is
    proved."""

    name = "Taylor balls"

    def ufunc(self, name: str, inputs: Sequence[Array], shape: Shape, dtype: DTypeLike) -> Array:
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

    def where(self, mask: Array, one: Array, other: Array, dtype: DTypeLike) -> Array:
        mask, one, other = np.broadcast_arrays(
            np.asarray(mask, bool), _taylors(one, dtype), _taylors(other, dtype)
        )
        return np.where(mask, one, other)

    def full(self, shape: Shape, value: Array, dtype: DTypeLike) -> Array:
        return np.broadcast_to(_taylors(value, dtype), shape).copy()

    def put(self, data: Array, key: Arg, value: Array, dtype: DTypeLike) -> Array:
        data[key] = _taylors(value, dtype)
        return data

    def reshape(self, data: Array, shape: Arg) -> Array:
        return data.reshape(shape)

    def is_mask(self, data: Array) -> bool:
        return isinstance(data, bool | np.bool_) or getattr(data, "dtype", None) == np.dtype(bool)

    def copy(self, data: Array) -> Array:
        return np.array(data)  # the same Taylors: none is ever changed

    def vectorized(self, function: np.vectorize) -> Function:

        def each(x: Lifted) -> Lifted:
            flat = [taylor(function.pyfunc(t)) for t in x.data.ravel().tolist()]
            return x._like(_filled(flat).reshape(x.data.shape))

        return each


BALLS = Balls()
