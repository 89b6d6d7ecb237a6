"""An array that records on a tape what NumPy does to it."""

from __future__ import annotations

import functools
import linecache
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from conformance.judge.functions.numpy_.elementwise import MASKS, NAMED, UFUNCS
from conformance.judge.functions.recording import RecordingError
from conformance.truth import arrays as at
from conformance.truth.nodes import Nodes, Value, op
from conformance.truth.rounding import Arithmetic

__all__ = [
    "FUNCTIONS",
    "Constant",
    "Recorded",
    "array",
    "dtype_of",
    "flattened",
    "operand",
    "rounded_to",
    "shape_of",
    "stack",
]

FUNCTIONS: dict[Any, Callable[..., Any]] = {}
"""NumPy's functions of whole arrays, on recorded ones; `functions` has them."""
REDUCTIONS = {np.add: np.sum, np.multiply: np.prod, np.maximum: np.max, np.minimum: np.min,
              np.logical_or: np.any, np.logical_and: np.all}  # fmt: skip
_METHODS = {
    "sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min, "prod": np.prod, "var": np.var,
    "std": np.std, "any": np.any, "all": np.all, "cumsum": np.cumsum, "cumprod": np.cumprod, "dot": np.dot,
    "clip": np.clip, "argmax": np.argmax, "argmin": np.argmin, "argsort": np.argsort, "trace": np.trace,
    "round": np.round, "nonzero": np.nonzero,
}  # fmt: skip
_MOVING_METHODS = ("swapaxes", "squeeze", "ravel", "flatten", "repeat", "take", "diagonal", "view")


class Constant(NamedTuple):
    """Numbers that depend on no input; they are put on a tape when they meet numbers that do."""

    tape: Nodes
    numbers: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.numbers.shape


class Recorded:
    """An array of floats, or a mask of 1 and 0, whose numbers are on a tape."""

    __array_priority__ = 1e6

    def __init__(
        self,
        value: Value | Constant,
        dtype: np.dtype[Any],
        base: Recorded | None = None,
        places: Any = None,
    ) -> None:
        self._value, self.dtype, self._version = value, dtype, 0
        self._base, self._places, self._seen = (
            base,
            places,
            base._version if base is not None else 0,
        )

    __class__ = property(lambda self: np.ndarray)  # isinstance(x, np.ndarray) is true

    # --- what it is ---

    @property
    def value(self) -> Value:
        """Its value on the tape."""
        if self._base is not None and self._base._version != self._seen:
            raise RecordingError(
                "a view of an array is used after the array was changed; expected a copy: x[...].copy()."
            )
        return _on_tape(self._value)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._value.shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    @property
    def T(self) -> Recorded:
        return self._view(lambda p: p.T)

    mT = property(lambda self: self._view(lambda p: np.swapaxes(p, -1, -2)))
    real = property(lambda self: self)
    flat = property(lambda self: iter(self.reshape(-1)))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[Recorded]:
        return (self[i] for i in range(len(self)))

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"array of shape {self.shape}, recorded"

    @property
    def constant(self) -> NDArray[Any] | None:
        """The numbers, if they depend on no input."""
        return self._value.numbers if isinstance(self._value, Constant) else None

    # --- what it is not ---

    def _leaves(self, how: str, instead: str) -> NoReturn:
        raise RecordingError(
            f"{how} turns a recorded array into plain numbers, and what is done with them is not seen; "
            f"expected {instead}."
        )

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self._leaves("a call", "NumPy's own functions on it")

    def __float__(self) -> float:
        return self._leaves(
            "float(), or a function of math,", "the function of the same name in NumPy"
        )

    def __int__(self) -> int:
        return self._leaves("int()", "np.floor")

    __index__ = __complex__ = __int__

    def item(self, *_: Any) -> Any:
        return self._leaves(".item()", "x[i]")

    def tolist(self) -> Any:
        return self._leaves(".tolist()", "the array itself")

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                "The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()"
            )
        known = self.constant
        return bool((at.decided(self.value) if known is None else known).item())

    def __contains__(self, x: Any) -> bool:
        return bool((self == x).any())

    # --- how it changes ---

    def _made(self, value: Value | Constant, dtype: np.dtype[Any] | None = None) -> Recorded:
        return Recorded(value, dtype or self.dtype)

    def _view(self, f: Callable[[Any], Any]) -> Recorded:
        self._value.tape.line = _line()
        if isinstance(self._value, Constant):
            found = Constant(self._value.tape, f(self._value.numbers))
            return Recorded(found, self.dtype, self, f(np.arange(self.size).reshape(self.shape)))
        places = f(np.arange(self.size).reshape(self.shape))
        return Recorded(at.taken(self.value, places), self.dtype, self, places)

    def _become(self, value: Value | Constant) -> None:
        """Change in place: the array that it is a view of changes too, and other views of that array are
        outdated."""
        if self._base is not None:
            _ = self.value
            self._base._become(_put_flat(self._base.value, self._places, _on_tape(value)))
            self._seen = self._base._version
        self._value, self._version = value, self._version + 1

    def __getitem__(self, key: Any) -> Recorded:
        key = _key(key)
        parts = key if isinstance(key, tuple) else (key,)
        fancy = any(isinstance(k, np.ndarray | list) for k in parts)
        found = self._view(lambda p: np.asarray(p[key]))
        if fancy:
            found._base = None
        return found

    def __setitem__(self, key: Any, x: Any) -> None:
        self._value.tape.line = _line()
        known, new = self.constant, x.constant if isinstance(x, Recorded) else x
        if (
            known is not None
            and new is not None
            and self._base is None
            and not isinstance(key, Recorded)
        ):
            changed = known.copy()
            changed[_key(key)] = new
            self._become(Constant(self._value.tape, changed))
            return
        value = operand(x)
        if isinstance(key, Recorded) and key.dtype == bool and _size(value) == 1:
            self._become(at.where(key.value, value, self.value))
            return
        if not isinstance(x, Recorded):
            value = np.asarray(x, np.float64)
        self._become(at.put(self.value, _key(key), value))

    def fill(self, x: Any) -> None:
        self[...] = x

    def astype(self, dtype: Any, *_: Any, **__: Any) -> Recorded:
        self._value.tape.line = _line()
        new = np.dtype(dtype)
        # kept as the float dtype to which NumPy promotes it
        if self.dtype == bool and new.kind in "iu":
            new = np.result_type(new, np.float16)
        if np.issubdtype(new, np.integer):
            self._leaves(f".astype({new})", "np.floor")
        if new.kind == "b":
            mask: Recorded = self.__array_ufunc__(np.not_equal, "__call__", self, 0)
            return mask
        tape = self._value.tape
        if isinstance(self._value, Constant):
            return Recorded(Constant(tape, self._value.numbers.astype(new)), new)
        if self.dtype == bool:
            return self._made(self.value, new)
        before, tape.dtype = tape.dtype, new.name
        narrower = np.finfo(new).eps > np.finfo(self.dtype).eps
        cast: Value = op.cast(self.value) if narrower else op.mark(self.value)
        tape.dtype = before
        return Recorded(cast, new)

    def copy(self, *_: Any, **__: Any) -> Recorded:
        known = self.constant
        return self._made(self.value if known is None else Constant(self._value.tape, known.copy()))

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> Recorded:
        return self.copy()

    def reshape(self, *shape: Any, order: str = "C") -> Recorded:
        to = shape[0] if len(shape) == 1 and not isinstance(shape[0], int | np.integer) else shape
        return self._view(lambda p: p.reshape(to, order=order))

    def transpose(self, *axes: Any) -> Recorded:
        return self._view(lambda p: p.transpose(*axes))

    def __getattr__(self, name: str) -> Any:
        if name in _MOVING_METHODS:
            return lambda *args, **kw: self._view(lambda p: getattr(p, name)(*args, **kw))
        if name in _METHODS:
            self._value.tape.line = _line()
            return functools.partial(FUNCTIONS[_METHODS[name]], self)
        if name.startswith("__"):
            raise AttributeError(name)
        raise RecordingError(
            f"an array's .{name} is not known; expected one of "
            f"{', '.join(sorted((*_METHODS, *_MOVING_METHODS)))}."
        )

    # --- protocols ---

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kw: Any
    ) -> Any:
        self._value.tape.line = _line()
        plain = _all_constant((*inputs, *(out or ())))
        if plain is not None and out is None:
            return _constant(self, getattr(ufunc, method)(*(_numbers(x) for x in inputs), **kw))
        kw = {
            k: v
            for k, v in kw.items()
            if not (k in ("where", "dtype", "casting") and (v is True or v is None))
        }
        if method == "reduce" and ufunc in REDUCTIONS:
            if not isinstance(inputs[0], Recorded):
                return NotImplemented
            found = FUNCTIONS[REDUCTIONS[ufunc]](*inputs, **{"axis": 0, **kw})
        elif method == "accumulate" and ufunc in (np.add, np.multiply):
            name = "sum" if ufunc is np.add else "prod"
            found = FUNCTIONS[getattr(np, f"cum{name}")](inputs[0], axis=kw.get("axis", 0))
        elif method == "outer" and ufunc in UFUNCS:
            a, b = map(operand, inputs)
            column = at.reshape(_on(self, a), (*shape_of(a), *(1,) * len(shape_of(b))))
            found = _of(ufunc, column, inputs[1], like=inputs)
        elif method == "at" and ufunc is np.add:
            a, key, *v = inputs
            a._become(at.put(a.value, _key(key), operand(v[0]), add=True))
            return None
        elif method == "__call__" and ufunc in (np.isnan, np.isinf, np.isfinite):
            return ufunc(at.decided(self.value))
        elif method == "__call__" and (ufunc in UFUNCS or ufunc.__name__ in NAMED):
            where = kw.pop("where", None)
            if kw and set(kw) - {"dtype", "casting", "order", "subok"}:
                raise RecordingError(f"np.{ufunc.__name__}({next(iter(kw))}=…) is not known.")
            found = _of(ufunc, *inputs, like=inputs)
            if where is not None:
                before = out[0] if out else found
                found = Recorded(
                    at.where(operand(where), found.value, operand(before)), found.dtype
                )
        else:
            raise RecordingError(
                f"np.{ufunc.__name__}{'' if method == '__call__' else '.' + method} is not known to the tape."
            )
        return _into(out[0] if isinstance(out, tuple) else out, found)

    def __array_function__(self, f: Any, types: Any, args: Any, kw: Any) -> Any:
        self._value.tape.line = _line()
        if _all_constant(_leaves_of(args, kw)) is not None:
            return _constant(
                self, f(*map(_numbers, args), **{k: _numbers(v) for k, v in kw.items()})
            )
        known = FUNCTIONS.get(f)
        if known is None:
            module = f.__module__.removeprefix("numpy")
            raise RecordingError(f"np{module}.{f.__name__} is not known to the tape.")
        out = kw.pop("out", None)
        return _into(out, known(*args, **kw))


def _line() -> str:
    """The line of the user's code that is running, as "ops.py:12: m = x.mean(-1)"."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(
        ("conformance.", "numpy")
    ):
        frame = frame.f_back
    file, n = frame.f_code.co_filename, frame.f_lineno
    return f"{Path(file).name}:{n}: {linecache.getline(file, n).strip()}"


def _on_tape(value: Value | Constant) -> Value:
    return at.constant(value.tape, value.numbers) if isinstance(value, Constant) else value


def _leaves_of(args: Any, kw: Any) -> list[Any]:
    return list(flattened([list(x) if isinstance(x, tuple) else x for x in (*args, *kw.values())]))


def _all_constant(of: Any) -> bool | None:
    """True if no array among them depends on an input; else None."""
    return True if all(x.constant is not None for x in of if isinstance(x, Recorded)) else None


def _numbers(x: Any) -> Any:
    if isinstance(x, list | tuple):
        return type(x)(map(_numbers, x))
    return x.constant if isinstance(x, Recorded) else x


def _constant(like: Recorded, found: Any) -> Any:
    """What NumPy computed from constants, as arrays that are recorded when they meet recorded ones."""
    if isinstance(found, tuple | list):
        return type(found)(_constant(like, x) for x in found)
    if isinstance(found, np.ndarray) and np.issubdtype(found.dtype, np.floating):
        return Recorded(Constant(like._value.tape, found), found.dtype)
    return found


def _put_flat(base: Value, places: Any, value: Value) -> Value:
    flat = at.put(at.reshape(base, (int(np.prod(base.shape)),)), places.ravel(),
                  at.reshape(value, (places.size,)))  # fmt: skip
    return at.reshape(flat, base.shape)


def _into(out: Any, found: Any) -> Any:
    if out is None:
        return found
    if not isinstance(out, Recorded):
        raise RecordingError(
            "out= is a plain array; expected none, or one made from the inputs: np.empty_like(x)."
        )
    out._become(at.broadcast(found.value, out.shape))
    return out


# --- operands -------------------------------------------------------------------------------------


def operand(x: Any) -> Any:
    """The operand as a Value, or as plain numbers."""
    if isinstance(x, Recorded):
        return x.value if x.constant is None else x.constant
    if isinstance(x, list | tuple) and any(isinstance(i, Recorded) for i in flattened(x)):
        return stack(x, 0).value
    return x


def flattened(x: Any) -> Iterator[Any]:
    for i in x:
        if isinstance(i, list | tuple):
            yield from flattened(i)
        else:
            yield i


def shape_of(x: Any) -> tuple[int, ...]:
    return x.shape if isinstance(x, Value) else np.shape(x)


def _size(x: Any) -> int:
    return int(np.prod(shape_of(x)))


def _on(like: Recorded, x: Any) -> Value:
    return x if isinstance(x, Value) else at.constant(like._value.tape, x)


def _key(key: Any) -> Any:
    """An index without recorded masks: they are decided, since the shape of the result depends on them."""
    if isinstance(key, tuple):
        return tuple(map(_key, key))
    if isinstance(key, Recorded):
        if key.dtype != bool:
            raise RecordingError(
                "an index is computed from the inputs; expected whole numbers that are given."
            )
        return at.decided(key.value).astype(bool)
    return key


def dtype_of(*operands: Any) -> np.dtype[Any]:
    """The dtype that NumPy gives a result; Python's own numbers adapt to the arrays."""
    of = [x.dtype if isinstance(x, Recorded | np.ndarray | np.generic) else x for x in operands]
    plain = [0.0 if isinstance(x, float) else x for x in of if not isinstance(x, list | tuple)]
    found = np.result_type(*plain)
    return found if np.issubdtype(found, np.floating) else np.dtype(np.float64)


@contextmanager
def rounded_to(like: Sequence[Any]) -> Iterator[None]:
    """Record in the widest dtype among recorded arrays: a constant of a wider one makes nothing exact."""
    of = [x for x in like if isinstance(x, Recorded) and x.dtype != bool and x.constant is None]
    if not of:
        yield
        return
    tape = of[0]._value.tape
    before, tape.dtype = tape.dtype, min(map(_precision, of), key=lambda d: Arithmetic.named(d).u)
    try:
        yield
    finally:
        tape.dtype = before


def _precision(x: Recorded) -> str:
    return x.value.tape.nodes[x.value.index].dtype or x.dtype.name


def _of(ufunc: Any, *operands: Any, like: Sequence[Any]) -> Recorded:
    if all(np.dtype(getattr(x, "dtype", type(x))).kind == "b" for x in operands):
        ufunc = {np.add: np.logical_or, np.multiply: np.logical_and}.get(ufunc, ufunc)
    f = UFUNCS.get(ufunc) or NAMED[ufunc.__name__]
    with rounded_to(like):
        found = f(*map(operand, operands))
    mask = ufunc in MASKS
    return Recorded(found, np.dtype(bool) if mask else dtype_of(*like))


def array(x: Any) -> Recorded:
    if isinstance(x, Recorded):
        return x
    return stack(x, 0)


def stack(parts: Any, axis: int) -> Recorded:
    of = [array(p) if isinstance(p, list | tuple) else p for p in parts]
    like = next(p for p in of if isinstance(p, Recorded))
    n = axis % (like.ndim + 1)
    values = [_on(like, operand(p)) for p in of]
    expanded = [at.reshape(v, (*v.shape[:n], 1, *v.shape[n:])) for v in values]
    return Recorded(at.join(expanded, n), like.dtype)


# --- operators ----------------------------------------------------------------------------------------

_OPERATORS = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide, "pow": np.power,
    "matmul": np.matmul, "and": np.logical_and, "or": np.logical_or,
}  # fmt: skip
_COMPARED = {
    "gt": np.greater, "lt": np.less, "ge": np.greater_equal, "le": np.less_equal, "eq": np.equal,
    "ne": np.not_equal,
}  # fmt: skip


def _operators() -> None:
    def binary(f: Any) -> Any:
        return lambda self, x: self.__array_ufunc__(f, "__call__", self, x)

    def swapped(f: Any) -> Any:
        return lambda self, x: self.__array_ufunc__(f, "__call__", x, self)

    def in_place(f: Any) -> Any:
        def change(self: Recorded, x: Any) -> Recorded:
            found = self.__array_ufunc__(f, "__call__", self, x)
            self._become(found.value)
            return self

        return change

    for name, f in (_OPERATORS | _COMPARED).items():
        setattr(Recorded, f"__{name}__", binary(f))
        if name in _OPERATORS:
            setattr(Recorded, f"__r{name}__", swapped(f))
            setattr(Recorded, f"__i{name}__", in_place(f))
    for name, f in (
        ("neg", np.negative),
        ("abs", np.absolute),
        ("invert", np.logical_not),
        ("pos", np.positive),
    ):
        setattr(
            Recorded, f"__{name}__", lambda self, f=f: self.__array_ufunc__(f, "__call__", self)
        )


_operators()
