"""Runs a NumPy function on a backend's arrays.

NumPy's functions that create arrays and take none (np.zeros, and np.asarray, which would unwrap a `Lifted`)
have no dispatch. So while the function under test runs, `numpy_for` replaces the name `np` in its own module,
and in the modules beside it, by a substitute that creates the backend's arrays.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from conformance.commands.activation.lifted import (
    Arg,
    Array,
    Backend,
    Function,
    Lifted,
    plain_data,
    shape_of,
    unsupported,
)
from conformance.commands.activation.numbers import STAND_INS

__all__ = ["evaluate", "numpy_for"]

Maker = Callable[..., Arg]  # a function that creates arrays: np.zeros, np.full, np.asarray


class _Numpy(types.ModuleType):
    """The module numpy, except for the functions that would create an ordinary array."""

    def __init__(self, backend: Backend, dtype: DTypeLike) -> None:
        super().__init__("numpy")
        self._made = _makers(backend, np.dtype(dtype))

    def __getattr__(self, name: str) -> Arg:
        made = self.__dict__.get("_made", {})
        return made[name] if name in made else getattr(np, name)


def _makers(backend: Backend, default: np.dtype[np.generic]) -> dict[str, Maker]:
    """NumPy's functions that create arrays; `default` is the dtype of the arrays that they create here."""

    def array(a: Arg, dtype: Arg = None, *_: Arg, copy: object = True, **__: Arg) -> Arg:
        if not isinstance(a, Lifted):
            return np.array(a, dtype) if copy is None else np.array(a, dtype, copy=bool(copy))
        a = a.copy() if copy else a
        return a if dtype is None else a.astype(dtype)

    def asarray(a: Arg, dtype: Arg = None, *_: Arg, **__: Arg) -> Arg:
        if not isinstance(a, Lifted):
            return np.asarray(a, dtype)
        return a if dtype is None or np.dtype(dtype).kind == "f" else a.astype(dtype)

    def full(shape: Arg, value: Arg, dtype: Arg = None, **_: Arg) -> Arg:
        value = plain_data(value)
        if dtype is not None and np.dtype(dtype).kind != "f":
            return np.full(shape, value, dtype)
        shape = (shape,) if np.ndim(shape) == 0 else tuple(shape)
        return Lifted(backend, backend.full(shape, value, default), default)

    def filled(value: float) -> Maker:
        return lambda shape, dtype=None, *_, **__: full(shape, value, dtype)

    return {
        "asarray": asarray,
        "asanyarray": asarray,
        "ascontiguousarray": asarray,
        "asfarray": asarray,
        "array": array,
        "zeros": filled(0.0),
        "empty": filled(0.0),
        "ones": filled(1.0),
        "full": full,
    }


def _code(f: Arg) -> Arg:
    """The function that is run when f is called: f itself, what it wraps, or its class's __call__."""
    f = getattr(f, "pyfunc", f)  # np.vectorize
    while hasattr(f, "__wrapped__") or hasattr(f, "func"):
        f = getattr(f, "__wrapped__", None) or f.func
    f = getattr(f, "__func__", f)
    return f if hasattr(f, "__globals__") else type(f).__call__


@functools.lru_cache(maxsize=64)
def _scopes(where: str) -> tuple[dict[str, object], ...]:
    """The names in each module beside a file: helpers of the function under test may be there."""
    folder = Path(where).parent
    return tuple(
        vars(m)
        for m in list(sys.modules.values())
        if (file := getattr(m, "__file__", None)) and Path(file).parent == folder
    )


@contextmanager
def numpy_for(backend: Backend, function: Function, dtype: DTypeLike) -> Iterator[None]:
    """Replaces `np` in the function's own module and those beside it, so that arrays are created by the
    backend."""
    scope = getattr(_code(function), "__globals__", None)
    if not isinstance(scope, dict):
        yield
        return
    file = scope.get("__file__")
    beside = Path(file).parent if isinstance(file, str) else None
    if beside == Path(__file__).parent:  # our own definitions create their arrays themselves
        yield
        return
    others = _scopes(file) if isinstance(file, str) else ()
    with ExitStack() as stack:
        stand_in = _Numpy(backend, dtype)
        for names in {id(s): s for s in (scope, *others)}.values():
            stack.enter_context(_standing_in(stand_in, names))
        yield


@contextmanager
def _standing_in(stand_in: _Numpy, scope: dict[str, object]) -> Iterator[None]:
    """Replaces `np` and `math` among these names, and what is imported from them by name, by stand-ins."""
    instead: dict[int, object] = {
        **STAND_INS,
        id(np): stand_in,
        **{id(getattr(np, name)): f for name, f in stand_in._made.items() if hasattr(np, name)},
    }
    changed = {
        name: found
        for name, value in list(scope.items())
        if (found := instead.get(id(value))) is not None and not isinstance(value, type)
    }
    before = {name: scope[name] for name in changed}
    scope.update(changed)
    try:
        yield
    finally:
        scope.update(before)


def evaluate(function: Function, backend: Backend, data: Array, dtype: DTypeLike) -> Array:
    """function(x) for x of the backend's data; the result is the backend's data again.

    Raises UnsupportedError for what cannot be evaluated, and whatever the function raises.
    """
    x = Lifted(backend, data, dtype)
    called = backend.vectorized(function) if isinstance(function, np.vectorize) else function
    with numpy_for(backend, function, dtype):
        y = called(x)
    if isinstance(y, Lifted):
        if backend.is_mask(y.data):
            return backend.where(y.data, 1.0, 0.0, dtype)
        return y.data
    if isinstance(y, bool | int | float | np.number | np.ndarray):
        return backend.full(shape_of(data), y, dtype)
    raise unsupported(f"a function that returns {type(y).__name__}")
