"""One NumPy function, run on something that is not NumPy's: Taylor balls, torch tensors, JAX arrays.

A `Lifted` array is handed to the function in place of an ndarray. NumPy's own dispatch protocols (NEP 13,
`__array_ufunc__`, and NEP 18, `__array_function__`) bring every ufunc and every function called on it here,
and its `Backend` answers. Functions that make arrays and take none (np.zeros, and np.asarray, which would
unwrap one) have no dispatch: `numpy_for` stands in for the name `np` in the function's own module while it
runs, and for nothing else.

What cannot be answered raises `UnsupportedError`, which says what and, where there is one, what to write
instead.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

__all__ = ["Backend", "Lifted", "UnsupportedError", "evaluate", "numpy_for"]


class UnsupportedError(Exception):
    """A function that a backend cannot evaluate: its name, and what to supply instead."""


class Backend(Protocol):
    """What arrays are made of, and how NumPy's functions act on them."""

    name: str

    def ufunc(self, name: str, inputs: Sequence[Any], shape: tuple[int, ...], dtype: Any) -> Any:
        """NumPy's or scipy.special's ufunc of that name, elementwise. Raises UnsupportedError."""
        ...

    def where(self, mask: Any, one: Any, other: Any, dtype: Any) -> Any:
        """Elementwise choice."""
        ...

    def full(self, shape: tuple[int, ...], value: Any, dtype: Any) -> Any:
        """An array of constants."""
        ...

    def put(self, data: Any, key: Any, value: Any, dtype: Any) -> Any:
        """data with data[key] = value: the same, or a new one."""
        ...

    def reshape(self, data: Any, shape: Any) -> Any:
        """The same elements in another shape."""
        ...

    def is_mask(self, data: Any) -> bool:
        """Whether the elements are truth values."""
        ...

    def copy(self, data: Any) -> Any:
        """Other memory, the same numbers."""
        ...


INSTEAD = {
    "sum": "an activation acts on each element alone",
    "max": "an activation acts on each element alone: np.maximum takes the larger of two arrays",
    "min": "an activation acts on each element alone: np.minimum takes the smaller of two arrays",
    "mean": "an activation acts on each element alone",
    "dot": "an activation acts on each element alone",
    "matmul": "an activation acts on each element alone",
}


def _unsupported(what: str, hint: str = "") -> UnsupportedError:
    hint = hint or INSTEAD.get(what.removeprefix("np."), "")
    return UnsupportedError(f"{what} cannot be evaluated{f': {hint}' if hint else ''}.")


class Lifted(NDArrayOperatorsMixin):
    """An array of a backend's elements that NumPy's functions accept."""

    __array_priority__ = 1000

    def __init__(self, backend: Backend, data: Any, dtype: Any) -> None:
        self.backend, self.data, self.dtype = backend, data, np.dtype(dtype)

    # --- what an ndarray has

    @property
    def shape(self) -> tuple[int, ...]:
        """As NumPy has it."""
        return _shape(self.data)

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
    def T(self) -> Any:
        """Itself where it has one dimension."""
        if self.ndim > 1:
            raise _unsupported(".T", INSTEAD["dot"])
        return self

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def copy(self, order: str = "C") -> Any:
        """As NumPy's."""
        return self._like(self.backend.copy(self.data))

    __copy__ = copy

    def astype(self, dtype: Any, **_: Any) -> Any:
        """To a floating dtype: itself; to bool: whether it is not 0. To whole numbers: refused."""
        kind = np.dtype(dtype).kind
        if kind == "b":
            return self if self.backend.is_mask(self.data) else self != 0
        if kind != "f":
            raise _unsupported(
                f".astype({np.dtype(dtype).name})", "whole numbers have no derivative"
            )
        if self.backend.is_mask(self.data):
            return self._like(self.backend.where(self.data, 1.0, 0.0, dtype))
        return Lifted(self.backend, self.backend.copy(self.data), dtype)

    def reshape(self, *shape: Any, **_: Any) -> Any:
        """As NumPy's."""
        return self._like(self.backend.reshape(self.data, shape[0] if len(shape) == 1 else shape))

    def ravel(self, *_: Any) -> Any:
        """As NumPy's."""
        return self.reshape(-1)

    flatten = ravel

    def squeeze(self) -> Any:
        """As NumPy's."""
        return self.reshape(tuple(n for n in self.shape if n != 1))

    def clip(self, min: Any = None, max: Any = None, out: Any = None, **_: Any) -> Any:
        """As NumPy's."""
        found: Any = self if min is None else np.maximum(self, min)
        found = found if max is None else np.minimum(found, max)
        return found if out is None else _into(out, found)

    def item(self) -> Any:
        """Refused: a number that leaves has no derivative."""
        raise _unsupported(".item()", "keep to arrays")

    def any(self) -> bool:
        """Of a mask."""
        return any(bool(m) for m in self._elements())

    def all(self) -> bool:
        """Of a mask."""
        return all(bool(m) for m in self._elements())

    def _elements(self) -> Iterator[Any]:
        flat = self.backend.reshape(self.data, (-1,))
        return (flat[i] for i in range(self.size))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # which NumPy asks for, to go on without
            raise AttributeError(name)
        raise _unsupported(f".{name}", INSTEAD.get(name, ""))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError("The truth value of an array with more than one element is ambiguous.")
        if not self.backend.is_mask(self.data):
            return bool(self != 0)
        return bool(self.data)

    def __float__(self) -> float:
        raise _unsupported(
            "float(x)", "it takes the number and leaves the derivative; keep to arrays"
        )

    __int__ = __index__ = __complex__ = __float__

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise _unsupported(
            "a conversion to an ordinary array",
            "write np.zeros_like(x), not an array of another module's making, and functions of NumPy "
            "or scipy.special, not of math",
        )

    def __getitem__(self, key: Any) -> Any:
        return self._like(self.data[_plain(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.data = self.backend.put(self.data, _plain(key), _plain(value), self.dtype)

    def _like(self, data: Any) -> Any:
        return Lifted(self.backend, data, self.dtype)

    # --- NumPy's protocols

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, out: Any = None, where: Any = True, **_: Any
    ) -> Any:
        if method != "__call__":
            raise _unsupported(f"np.{ufunc.__name__}.{method}", INSTEAD["sum"])
        lifted = next(x for x in (*inputs, *(out or ())) if isinstance(x, Lifted))
        shape = np.broadcast_shapes(*(np.shape(x) for x in inputs))
        data = self.backend.ufunc(ufunc.__name__, [_plain(x) for x in inputs], shape, lifted.dtype)
        found = data if isinstance(data, np.ndarray) and data.dtype == bool else lifted._like(data)
        if where is not True:
            kept = out[0] if out else np.zeros_like(lifted)
            found = np.where(where, found, kept)
        return found if out is None else _into(out[0], found)

    def __array_function__(
        self, func: Any, types: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        if func.__name__ not in _FUNCTIONS:
            raise _unsupported(f"np.{func.__name__}")
        return _FUNCTIONS[func.__name__](self, *args, **kwargs)


def _shape(data: Any) -> tuple[int, ...]:
    """Of any backend's arrays; a lone element has none."""
    return tuple(getattr(data, "shape", ()))


def _plain(x: Any) -> Any:
    """The backend's data, of what is Lifted, in tuples too."""
    if isinstance(x, tuple):
        return tuple(_plain(k) for k in x)
    return x.data if isinstance(x, Lifted) else x


def _into(out: Any, found: Any) -> Any:
    """out[...] = found."""
    if not isinstance(out, Lifted):
        raise _unsupported("out= of an ordinary array", "write out=np.empty_like(x)")
    if isinstance(found, np.ndarray):  # a mask, which an array of numbers takes as 0 and 1
        found = out._like(out.backend.where(np.broadcast_to(found, out.shape), 1.0, 0.0, out.dtype))
    data = _plain(found)
    if isinstance(out.data, np.ndarray) and _shape(data) == out.shape:
        out.data[...] = data  # what it is a view of is written to as well
    else:
        out.data = data
    return out


# --- functions of NumPy that are no ufuncs -----------------------------------------------------------


def _where(x: Lifted, condition: Any, *branches: Any) -> Any:
    if len(branches) != 2:
        raise _unsupported("np.where with one argument", "give both values, or use a mask")
    if isinstance(condition, Lifted) and not x.backend.is_mask(condition.data):
        condition = condition != 0
    one, other = map(_plain, branches)
    return x._like(x.backend.where(_plain(condition), one, other, x.dtype))


def _full_like(x: Lifted, like: Any, value: Any, dtype: Any = None, **_: Any) -> Any:
    if np.dtype(dtype or np.float64).kind != "f":
        return np.full(np.shape(like), value, dtype)
    return x._like(x.backend.full(np.shape(like), _plain(value), x.dtype))


def _select(x: Lifted, conditions: Any, choices: Any, default: Any = 0) -> Any:
    found = default
    for condition, choice in reversed(list(zip(conditions, choices, strict=True))):
        found = _where(x, condition, choice, found)
    return found


def _piecewise(
    x: Lifted, at: Any, conditions: Any, functions: Any, *args: Any, **kwargs: Any
) -> Any:
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
    x: Lifted, a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, **more: Any
) -> Any:
    low, high = more.get("min", a_min), more.get("max", a_max)
    found = a if low is None else np.maximum(a, low)
    found = found if high is None else np.minimum(found, high)
    return found if out is None else _into(out, found)


def _same(x: Lifted, a: Any, *_: Any, **__: Any) -> Any:
    return a


def _copy(x: Lifted, a: Any, *_: Any, **__: Any) -> Any:
    return a.copy()


def _nan_to_num(
    x: Lifted, a: Any, copy: Any = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Any:
    """Another number for what is none. No number is infinite here."""
    if posinf is not None or neginf is not None:
        raise _unsupported("np.nan_to_num with posinf or neginf", "use np.where")
    found = x._like(x.backend.ufunc("nan_to_num", [_plain(a)], np.shape(a), x.dtype))
    found = (
        found if isinstance(nan, int | float) and nan == 0 else np.where(np.isnan(a), nan, found)
    )
    return found if copy else _into(a, found)


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "where": _where,
    "select": _select,
    "piecewise": _piecewise,
    "clip": _clip,
    "full_like": _full_like,
    "zeros_like": lambda x, like, dtype=None, **_: _full_like(x, like, 0.0, dtype),
    "empty_like": lambda x, like, dtype=None, **_: _full_like(x, like, 0.0, dtype),
    "ones_like": lambda x, like, dtype=None, **_: _full_like(x, like, 1.0, dtype),
    "round": lambda x, a, decimals=0, **_: np.rint(a * 10.0**decimals) / 10.0**decimals,
    "sinc": lambda x, a: x._like(x.backend.ufunc("sinc", [_plain(a)], np.shape(a), x.dtype)),
    "copy": _copy,
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


# --- NumPy without dispatch --------------------------------------------------------------------------


class _Numpy(types.ModuleType):
    """The module numpy, but for those functions that would make an ordinary array."""

    def __init__(self, backend: Backend, dtype: Any) -> None:
        super().__init__("numpy")
        self._made = _makers(backend, np.dtype(dtype))

    def __getattr__(self, name: str) -> Any:
        made = self.__dict__.get("_made", {})
        return made[name] if name in made else getattr(np, name)


def _makers(backend: Backend, default: np.dtype[Any]) -> dict[str, Callable[..., Any]]:
    def floating(dtype: Any) -> bool:
        return dtype is None or np.dtype(dtype).kind == "f"

    def array(a: Any, dtype: Any = None, *args: Any, copy: Any = None, **kwargs: Any) -> Any:
        if not isinstance(a, Lifted):
            return np.array(a, dtype, **({} if copy is None else {"copy": copy}))
        a = a.copy() if copy else a
        return a if dtype is None else a.astype(dtype)

    def asarray(a: Any, dtype: Any = None, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(a, Lifted):
            return np.asarray(a, dtype)
        return a if dtype is None or np.dtype(dtype).kind == "f" else a.astype(dtype)

    def made(value: float) -> Callable[..., Any]:
        def make(shape: Any, dtype: Any = None, *args: Any, **kwargs: Any) -> Any:
            if not floating(dtype):
                return np.full(shape, value, dtype)
            shape = (shape,) if np.ndim(shape) == 0 else tuple(shape)
            return Lifted(backend, backend.full(shape, value, default), default)

        return make

    def full(shape: Any, value: Any, dtype: Any = None, **_: Any) -> Any:
        return made(_plain(value))(shape, dtype)

    return {
        "asarray": asarray,
        "asanyarray": asarray,
        "ascontiguousarray": asarray,
        "asfarray": asarray,
        "array": lambda a, dtype=None, *args, copy=True, **kw: array(a, dtype, copy=copy),
        "zeros": made(0.0),
        "empty": made(0.0),
        "ones": made(1.0),
        "full": full,
    }


def _code(f: Any) -> Any:
    """The function that is run when f is called: f itself, what it wraps, or its class's __call__."""
    f = getattr(f, "pyfunc", f)  # np.vectorize
    while hasattr(f, "__wrapped__") or hasattr(f, "func"):
        f = getattr(f, "__wrapped__", None) or f.func
    f = getattr(f, "__func__", f)
    return f if hasattr(f, "__globals__") else type(f).__call__


@functools.lru_cache(maxsize=64)
def _scopes(where: str) -> tuple[dict[str, Any], ...]:
    """The names of the modules beside a file: helpers of the function under test live there."""
    folder = Path(where).parent
    return tuple(
        vars(m)
        for m in list(sys.modules.values())
        if (file := getattr(m, "__file__", None)) and Path(file).parent == folder
    )


@contextmanager
def numpy_for(backend: Backend, function: Any, dtype: Any) -> Iterator[None]:
    """`np` in the function's own module and those beside it, with arrays made as the backend has them."""
    code = _code(function)
    scope = getattr(code, "__globals__", None)
    file = scope.get("__file__") if isinstance(scope, dict) else None
    if not isinstance(scope, dict) or (
        isinstance(file, str) and Path(file).parent == Path(__file__).parent
    ):
        yield
        return
    others = _scopes(file) if isinstance(file, str) else ()
    with ExitStack() as stack:
        stand_in = _Numpy(backend, dtype)
        for names in {id(s): s for s in (scope, *others)}.values():
            stack.enter_context(_standing_in(stand_in, names))
        yield


@contextmanager
def _standing_in(stand_in: _Numpy, scope: dict[str, Any]) -> Iterator[None]:
    makers = {id(getattr(np, name)): f for name, f in stand_in._made.items() if hasattr(np, name)}
    changed = {
        name: stand_in if value is np else makers[id(value)]
        for name, value in list(scope.items())
        if value is np or (id(value) in makers and not isinstance(value, type))
    }
    before = {name: scope[name] for name in changed}
    scope.update(changed)
    try:
        yield
    finally:
        scope.update(before)


def evaluate(function: Callable[[Any], Any], backend: Backend, data: Any, dtype: Any) -> Any:
    """function(x) for x of the backend's data: the backend's data again.

    Raises UnsupportedError for what cannot be evaluated, and whatever the function raises.
    """
    x = Lifted(backend, data, dtype)
    called = function
    if isinstance(function, np.vectorize):
        called = getattr(backend, "vectorized", _no_vectorize)(function)
    with numpy_for(backend, function, dtype):
        y = called(x)
    if isinstance(y, Lifted):
        if backend.is_mask(y.data):
            return backend.where(y.data, 1.0, 0.0, dtype)
        return y.data
    if isinstance(y, bool | int | float | np.number | np.ndarray):
        return backend.full(_shape(data), y, dtype)
    raise _unsupported(f"a function that returns {type(y).__name__}")


def _no_vectorize(function: Any) -> Any:
    raise _unsupported("np.vectorize", "it calls a scalar function; write it on arrays")
