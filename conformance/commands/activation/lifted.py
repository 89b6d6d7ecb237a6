"""One NumPy function, run on arrays that are not NumPy's: Taylor balls, torch tensors, JAX arrays.

A `Lifted` array is passed to the function in place of an ndarray. NumPy's own dispatch protocols (NEP 13,
`__array_ufunc__`, and NEP 18, `__array_function__`) bring every ufunc and every function called on it here,
and its `Backend` computes them. `evaluate.py` runs a function on such an array.

Anything else raises `UnsupportedError`, which says what cannot be computed and, if possible, what to write
instead.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import DTypeLike

__all__ = [
    "Arg", "Array", "Backend", "Function", "Lifted", "Shape", "UnsupportedError", "plain_data",
    "shape_of", "unsupported",
]  # fmt: skip

Array: TypeAlias = Any
"""An array of a backend: an ndarray of Taylors, a tensor, a JAX array; or a value that it turns into one."""
Arg: TypeAlias = Any
"""Whatever a function under test passes to NumPy or gets from it: numbers, ndarrays, Lifted arrays, keys."""
Function: TypeAlias = Callable[[Any], Any]
"""A user's function of one array: NumPy's, a framework's or `Lifted`."""
Shape: TypeAlias = tuple[int, ...]


class UnsupportedError(Exception):
    """A function that a backend cannot evaluate: its name, and what to supply instead."""


class Backend(ABC):
    """What the elements of arrays are, and how NumPy's functions act on them. `dtype` is that of the argument
    x."""

    name: str

    @abstractmethod
    def ufunc(self, name: str, inputs: Sequence[Array], shape: Shape, dtype: DTypeLike) -> Array:
        """NumPy's or scipy.special's ufunc of that name, elementwise. Raises UnsupportedError."""

    @abstractmethod
    def where(self, mask: Array, one: Array, other: Array, dtype: DTypeLike) -> Array:
        """Elementwise choice."""

    @abstractmethod
    def full(self, shape: Shape, value: Array, dtype: DTypeLike) -> Array:
        """An array of constants."""

    @abstractmethod
    def put(self, data: Array, key: Arg, value: Array, dtype: DTypeLike) -> Array:
        """data with data[key] = value: the same, or a new one."""

    @abstractmethod
    def reshape(self, data: Array, shape: Arg) -> Array:
        """The same elements in another shape."""

    @abstractmethod
    def is_mask(self, data: Array) -> bool:
        """Whether the elements are truth values."""

    @abstractmethod
    def copy(self, data: Array) -> Array:
        """Other memory, the same numbers."""

    def vectorized(self, function: np.vectorize) -> Function:
        """A function made by np.vectorize, as a function of a Lifted array. Raises UnsupportedError."""
        raise unsupported("np.vectorize", "it calls a scalar function; write it on arrays")


INSTEAD = {
    "sum": "an activation acts on each element alone",
    "max": "an activation acts on each element alone: np.maximum takes the larger of two arrays",
    "min": "an activation acts on each element alone: np.minimum takes the smaller of two arrays",
    "mean": "an activation acts on each element alone",
    "dot": "an activation acts on each element alone",
    "matmul": "an activation acts on each element alone",
}


def unsupported(what: str, hint: str = "") -> UnsupportedError:
    """The exception for something that no backend computes; `hint` is what to write instead."""
    hint = hint or INSTEAD.get(what.removeprefix("np."), "")
    return UnsupportedError(f"{what} cannot be evaluated{f': {hint}' if hint else ''}.")


class Lifted(NDArrayOperatorsMixin):
    """An array of a backend's elements that NumPy's functions accept."""

    __array_priority__ = 1000
    __class__ = property(lambda self: np.ndarray)  # isinstance(x, np.ndarray) is true

    def __init__(self, backend: Backend, data: Array, dtype: DTypeLike) -> None:
        self.backend, self.data, self.dtype = backend, data, np.dtype(dtype)

    # --- what an ndarray has

    @property
    def shape(self) -> Shape:
        """The shape, as in NumPy."""
        return shape_of(self.data)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape))

    @property
    def real(self) -> Lifted:
        """Itself: every number here is real."""
        return self

    @property
    def T(self) -> Lifted:
        """Itself, if it has one dimension."""
        if self.ndim > 1:
            raise unsupported(".T", INSTEAD["dot"])
        return self

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Arg]:
        return (self[i] for i in range(len(self)))

    def copy(self, order: str = "C") -> Lifted:
        """As NumPy's."""
        return self._like(self.backend.copy(self.data))

    __copy__ = copy

    def astype(self, dtype: DTypeLike, **_: Arg) -> Lifted:
        """To a floating dtype: itself; to bool: whether it is not 0. To whole numbers: refused."""
        kind = np.dtype(dtype).kind
        if kind == "b":
            return self if self.backend.is_mask(self.data) else self != 0
        if kind != "f":
            raise unsupported(
                f".astype({np.dtype(dtype).name})", "whole numbers have no derivative"
            )
        if self.backend.is_mask(self.data):
            return self._like(self.backend.where(self.data, 1.0, 0.0, dtype))
        return Lifted(self.backend, self.backend.copy(self.data), dtype)

    def reshape(self, *shape: Arg, **_: Arg) -> Lifted:
        """As NumPy's."""
        return self._like(self.backend.reshape(self.data, shape[0] if len(shape) == 1 else shape))

    def ravel(self, *_: Arg) -> Lifted:
        """As NumPy's."""
        return self.reshape(-1)

    flatten = ravel

    def squeeze(self) -> Lifted:
        """As NumPy's."""
        return self.reshape(tuple(n for n in self.shape if n != 1))

    def clip(self, min: Arg = None, max: Arg = None, out: Arg = None, **_: Arg) -> Arg:
        """As NumPy's."""
        return _clip(self, self, min, max, out)

    def item(self) -> Arg:
        """Refused: a plain number has no derivative."""
        raise unsupported(".item()", "keep to arrays")

    def any(self) -> bool:
        """Whether any element of a mask is true."""
        return any(bool(m) for m in self._elements())

    def all(self) -> bool:
        """Whether all elements of a mask are true."""
        return all(bool(m) for m in self._elements())

    def _elements(self) -> Iterator[Arg]:
        flat = self.backend.reshape(self.data, (-1,))
        return (flat[i] for i in range(self.size))

    def __getattr__(self, name: str) -> Arg:
        if name.startswith("__"):  # NumPy looks for these, and does without them
            raise AttributeError(name)
        raise unsupported(f".{name}", INSTEAD.get(name, ""))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError("The truth value of an array with more than one element is ambiguous.")
        if not self.backend.is_mask(self.data):
            return bool(self != 0)
        return bool(self.data)

    def __float__(self) -> float:
        raise unsupported(
            "float(x)", "it takes the number and leaves the derivative; keep to arrays"
        )

    __int__ = __index__ = __complex__ = __float__

    def __array__(self, *_: Arg, **__: Arg) -> Arg:
        raise unsupported(
            "a conversion to an ordinary array",
            "write np.zeros_like(x), not an array of another module's making, and functions of NumPy "
            "or scipy.special, not of math",
        )

    def __getitem__(self, key: Arg) -> Arg:
        return self._like(self.data[plain_data(key)])

    def __setitem__(self, key: Arg, value: Arg) -> None:
        self.data = self.backend.put(self.data, plain_data(key), plain_data(value), self.dtype)

    def _like(self, data: Array) -> Lifted:
        return Lifted(self.backend, data, self.dtype)

    # --- NumPy's protocols

    def __array_ufunc__(
        self, ufunc: Arg, method: str, *inputs: Arg, out: Arg = None, where: Arg = True, **_: Arg
    ) -> Arg:
        if method != "__call__":
            raise unsupported(f"np.{ufunc.__name__}.{method}", INSTEAD["sum"])
        lifted = next(x for x in (*inputs, *(out or ())) if isinstance(x, Lifted))
        shape = np.broadcast_shapes(*(np.shape(x) for x in inputs))
        data = self.backend.ufunc(
            ufunc.__name__, [plain_data(x) for x in inputs], shape, lifted.dtype
        )
        found = data if isinstance(data, np.ndarray) and data.dtype == bool else lifted._like(data)
        if where is not True:
            kept = out[0] if out else np.zeros_like(lifted)
            found = np.where(where, found, kept)
        return found if out is None else _into(out[0], found)

    def __array_function__(
        self, func: Arg, types: Arg, args: Sequence[Arg], kwargs: Mapping[str, Arg]
    ) -> Arg:
        if func.__name__ not in _FUNCTIONS:
            raise unsupported(f"np.{func.__name__}")
        return _FUNCTIONS[func.__name__](self, *args, **kwargs)


def shape_of(data: Arg) -> Shape:
    """The shape of any backend's array; () for a single element."""
    return tuple(getattr(data, "shape", ()))


def plain_data(x: Arg) -> Array:
    """Lifted arrays as the backend's data, in tuples too; anything else as it is."""
    if isinstance(x, tuple):
        return tuple(plain_data(k) for k in x)
    return x.data if isinstance(x, Lifted) else x


def _into(out: Arg, found: Arg) -> Arg:
    """out[...] = found."""
    if not isinstance(out, Lifted):
        raise unsupported("out= of an ordinary array", "write out=np.empty_like(x)")
    if not isinstance(found, Lifted) and isinstance(
        found, np.ndarray
    ):  # a mask: an array of numbers takes it as 0 and 1
        found = out._like(out.backend.where(np.broadcast_to(found, out.shape), 1.0, 0.0, out.dtype))
    data = plain_data(found)
    if isinstance(out.data, np.ndarray) and shape_of(data) == out.shape:
        out.data[...] = data  # in place: an array that it is a view of changes too
    else:
        out.data = data
    return out


# --- functions of NumPy that are not ufuncs ----------------------------------------------------------


def _where(x: Lifted, condition: Arg, *branches: Arg) -> Arg:
    if len(branches) != 2:
        raise unsupported("np.where with one argument", "give both values, or use a mask")
    if isinstance(condition, Lifted) and not x.backend.is_mask(condition.data):
        condition = condition != 0
    one, other = map(plain_data, branches)
    return x._like(x.backend.where(plain_data(condition), one, other, x.dtype))


def _full_like(x: Lifted, like: Arg, value: Arg, dtype: Arg = None, **_: Arg) -> Arg:
    if np.dtype(dtype or np.float64).kind != "f":
        return np.full(np.shape(like), value, dtype)
    return x._like(x.backend.full(np.shape(like), plain_data(value), x.dtype))


def _select(x: Lifted, conditions: Arg, choices: Arg, default: Arg = 0) -> Arg:
    found = default
    for condition, choice in reversed(list(zip(conditions, choices, strict=True))):
        found = _where(x, condition, choice, found)
    return found


def _piecewise(
    x: Lifted, at: Arg, conditions: Arg, functions: Arg, *args: Arg, **kwargs: Arg
) -> Arg:
    conditions = list(conditions) if isinstance(conditions, list | tuple) else [conditions]
    functions = list(functions)
    found = np.zeros_like(at)
    conditions = [c if isinstance(c, Lifted) else np.asarray(c, bool) for c in conditions]
    if len(functions) == len(conditions) + 1:
        rest = functions.pop()
        none = np.logical_not(functools.reduce(np.logical_or, conditions))
        conditions, functions = [*conditions, none], [*functions, rest]
    for condition, f in zip(conditions, functions, strict=True):
        found[condition] = f(at[condition], *args, **kwargs) if callable(f) else f
    return found


def _clip(
    x: Lifted, a: Arg, a_min: Arg = None, a_max: Arg = None, out: Arg = None, **more: Arg
) -> Arg:
    low, high = more.get("min", a_min), more.get("max", a_max)
    found = a if low is None else np.maximum(a, low)
    found = found if high is None else np.minimum(found, high)
    return found if out is None else _into(out, found)


def _same(x: Lifted, a: Arg, *_: Arg, **__: Arg) -> Arg:
    return a


def _nan_to_num(
    x: Lifted, a: Arg, copy: Arg = True, nan: Arg = 0.0, posinf: Arg = None, neginf: Arg = None
) -> Arg:
    """Replaces NaN by another number. No number is infinite here."""
    if posinf is not None or neginf is not None:
        raise unsupported("np.nan_to_num with posinf or neginf", "use np.where")
    found: Arg = x._like(x.backend.ufunc("nan_to_num", [plain_data(a)], np.shape(a), x.dtype))
    found = (
        found if isinstance(nan, int | float) and nan == 0 else np.where(np.isnan(a), nan, found)
    )
    return found if copy else _into(a, found)


_FUNCTIONS: Mapping[str, Callable[..., Arg]] = {
    "where": _where,
    "select": _select,
    "piecewise": _piecewise,
    "clip": _clip,
    "full_like": _full_like,
    "zeros_like": lambda x, like, dtype=None, **_: _full_like(x, like, 0.0, dtype),
    "empty_like": lambda x, like, dtype=None, **_: _full_like(x, like, 0.0, dtype),
    "ones_like": lambda x, like, dtype=None, **_: _full_like(x, like, 1.0, dtype),
    "round": lambda x, a, decimals=0, **_: np.rint(a * 10.0**decimals) / 10.0**decimals,
    "sinc": lambda x, a: x._like(x.backend.ufunc("sinc", [plain_data(a)], np.shape(a), x.dtype)),
    "copy": lambda x, a, *_, **__: a.copy(),
    "real": _same,
    "real_if_close": _same,
    "nan_to_num": _nan_to_num,
    "atleast_1d": _same,
    "asarray": _same,
    "ravel": lambda x, a, *_, **__: a.ravel(),
    "reshape": lambda x, a, shape, *_, **__: a.reshape(shape),
    "squeeze": lambda x, a, *_: a.squeeze(),
    "shape": lambda x, a: a.shape,
    "ndim": lambda x, a: a.ndim,
    "size": lambda x, a, *_: a.size,
    "any": lambda x, a, *_, **__: a.any(),
    "all": lambda x, a, *_, **__: a.all(),
    "iscomplexobj": lambda x, a: False,
    "isrealobj": lambda x, a: True,
    "result_type": lambda x, *_: x.dtype,
    "common_type": lambda x, *_: x.dtype,
    "copyto": lambda x, to, value, where=True, **_: _into(to, np.where(where, value, to)),
    "putmask": lambda x, to, mask, value: _into(to, np.where(mask, value, to)),
    "broadcast_arrays": lambda x, *arrays, **_: [np.broadcast_to(a, x.shape) for a in arrays],
    "broadcast_to": lambda x, a, shape, **_: a,
}
