"""NumPy functions on Taylor balls: values and derivatives with a proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from conformance.activation.lifted import UnsupportedError
from conformance.truth.taylor import FUNCTIONS, PREDICATES, Taylor, taylor

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


def _loop(f: Callable[..., Any], inputs: Sequence[Any], shape: tuple[int, ...], dtype: Any) -> Any:
    found = np.empty(shape, dtype)
    arrays = np.broadcast_arrays(*(_objects(x) for x in inputs))
    flat = [
        f(*map(taylor, args)) for args in zip(*(a.ravel().tolist() for a in arrays), strict=True)
    ]
    found.ravel()[:] = flat if dtype == "bool" else _filled(flat)
    return found


def _filled(flat: list[Any]) -> Any:
    """A list of Taylors as an array of them: NumPy would ask a Taylor whether it is a sequence."""
    array = np.empty(len(flat), object)
    for i, t in enumerate(flat):
        array[i] = t
    return array


def _objects(x: Any) -> Any:
    return (
        x
        if isinstance(x, np.ndarray)
        else _filled([x]).reshape(())
        if isinstance(x, Taylor)
        else np.asarray(x)
    )


class Balls:
    """An array is an ndarray of Taylors; a mask is an ordinary one, since what is answered is certain."""

    name = "Taylor balls"

    def ufunc(self, name: str, inputs: Sequence[Any], shape: tuple[int, ...], dtype: Any) -> Any:
        """Elementwise, by FUNCTIONS and PREDICATES."""
        if name in FUNCTIONS:
            return _loop(FUNCTIONS[name], inputs, shape, "object")
        if name in PREDICATES:
            return _loop(PREDICATES[name], inputs, shape, "bool")
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
            np.asarray(mask, bool), _objects(one), _objects(other)
        )
        pairs = zip(
            mask.ravel().tolist(), one.ravel().tolist(), other.ravel().tolist(), strict=True
        )
        return _filled([taylor(a if m else b) for m, a, b in pairs]).reshape(mask.shape)

    def full(self, shape: tuple[int, ...], value: Any, dtype: Any) -> Any:
        """Constants."""
        values = np.broadcast_to(_objects(value), shape).ravel().tolist()
        return _filled([taylor(v) for v in values]).reshape(shape)

    def put(self, data: Any, key: Any, value: Any, dtype: Any) -> Any:
        """In place, as NumPy does it."""
        value = _objects(value)
        data[key] = value if value.dtype == object else self.full(value.shape, value, dtype)
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
        from conformance.activation.lifted import Lifted

        def each(x: Lifted) -> Any:
            flat = [taylor(function.pyfunc(t)) for t in x.data.ravel().tolist()]
            return x._like(_filled(flat).reshape(x.data.shape))

        return each


BALLS = Balls()
