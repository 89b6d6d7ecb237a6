"""Records NumPy code on a tape: the code runs as people write it, on arrays that record what is done to them.

NumPy passes its functions to such an array (`__array_ufunc__`, NEP 13; `__array_function__`, NEP 18).
Functions that create arrays (`np.zeros`, `np.asarray`) do not: while a function is recorded, they are
replaced by ones that create recording arrays. A branch (`if x.sum() > 0`) is taken by the certified value. No
number leaves the tape unnoticed: `float(x)` is refused, with the line.
"""

from __future__ import annotations

import functools
import linecache
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from conformance.judge.functions.recording import Recording, RecordingError, Table, is_float
from conformance.truth import arrays as at
from conformance.truth.nodes import Nodes, Value, op
from conformance.truth.rounding import Arithmetic
from conformance.truth.tape import Tape

__all__ = ["Recorded", "record"]


def record(
    f: Callable[..., Any], inputs: Table, dtype: str, params: Mapping[str, Any]
) -> Recording:
    """Record f(*inputs, **params) on a tape. Raises RecordingError, or whatever f raises."""
    recording = Recording.begun(inputs, dtype)
    kept = np.dtype("float32" if dtype == "bfloat16" else dtype)  # NumPy has no bfloat16
    given = [
        Recorded(recording.inputs[n], kept) if n in recording.inputs else M.copy()
        for n, M in inputs.items()
    ]
    try:
        with _making(recording.tape), np.errstate(all="ignore"):
            found = f(*given, **params)
    except SystemExit as e:
        raise RecordingError(f"the function ends the process: SystemExit({e.code!r}).") from e
    several = isinstance(found, tuple | list)
    outputs = [_value(y, recording.tape) for y in (found if several else [found])]
    return recording.end(outputs, several)


def _value(y: Any, tape: Tape) -> Any:
    if type(y) is Recorded:
        return y.value
    if isinstance(y, float | int) or (isinstance(y, np.ndarray | np.generic) and is_float(y)):
        return at.constant(tape, y)
    return y


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
        value = _operand(x)
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
            a, b = map(_operand, inputs)
            column = at.reshape(_on(self, a), (*_shape(a), *(1,) * len(_shape(b))))
            found = _of(ufunc, column, inputs[1], like=inputs)
        elif method == "at" and ufunc is np.add:
            a, key, *v = inputs
            a._become(at.put(a.value, _key(key), _operand(v[0]), add=True))
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
                    at.where(_operand(where), found.value, _operand(before)), found.dtype
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
    return list(_flattened([list(x) if isinstance(x, tuple) else x for x in (*args, *kw.values())]))


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


def _operand(x: Any) -> Any:
    """The operand as a Value, or as plain numbers."""
    if isinstance(x, Recorded):
        return x.value if x.constant is None else x.constant
    if isinstance(x, list | tuple) and any(isinstance(i, Recorded) for i in _flattened(x)):
        return _stack(x, 0).value
    return x


def _flattened(x: Any) -> Iterator[Any]:
    for i in x:
        if isinstance(i, list | tuple):
            yield from _flattened(i)
        else:
            yield i


def _shape(x: Any) -> tuple[int, ...]:
    return x.shape if isinstance(x, Value) else np.shape(x)


def _size(x: Any) -> int:
    return int(np.prod(_shape(x)))


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


def _dtype(*operands: Any) -> np.dtype[Any]:
    """The dtype that NumPy gives a result; Python's own numbers adapt to the arrays."""
    of = [x.dtype if isinstance(x, Recorded | np.ndarray | np.generic) else x for x in operands]
    plain = [0.0 if isinstance(x, float) else x for x in of if not isinstance(x, list | tuple)]
    found = np.result_type(*plain)
    return found if np.issubdtype(found, np.floating) else np.dtype(np.float64)


@contextmanager
def _rounded_to(like: Sequence[Any]) -> Iterator[None]:
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
    with _rounded_to(like):
        found = f(*map(_operand, operands))
    mask = ufunc in MASKS
    return Recorded(found, np.dtype(bool) if mask else _dtype(*like))


# --- elementwise ----------------------------------------------------------------------------------


def _named(name: str) -> Callable[..., Value]:
    return lambda *of: at.apply(name, *of)


def _not(m: Value) -> Value:
    return at.apply("none_of", m)


def _minimum(a: Any, b: Any) -> Value:
    return at.apply("negative", at.apply("maximum", _negative(a), _negative(b)))


def _negative(a: Any) -> Any:
    return at.apply("negative", a) if isinstance(a, Value) else np.negative(a)


def _all_on_tape(of: Sequence[Any]) -> list[Value]:
    tape = at.tape_of(*of)
    return [x if isinstance(x, Value) else at.constant(tape, x) for x in of]


def _hypot(*of: Any) -> Value:
    a, b = (at.apply("square", x) for x in _all_on_tape(of))
    return at.apply("sqrt", at.apply("add", a, b))


def _xlogy(*of: Any) -> Value:
    a, b = _all_on_tape(of)
    return at.apply("multiply", a, at.apply("log", b))


def _rint(a: Value) -> Value:
    """To the nearest whole number; ½ goes to the even one."""
    below = at.apply("floor", a)
    rest = at.apply("subtract", a, below)
    half = at.apply("multiply", at.apply("floor", at.apply("multiply", below, 0.5)), 2.0)
    odd = at.apply("subtract", below, half)
    tied = at.apply("both_of", at.apply("equal", rest, 0.5), odd)
    return at.apply("add", below, at.apply("either_of", at.apply("greater", rest, 0.5), tied))


def _truncated(a: Value) -> Value:
    return at.apply("multiply", at.apply("sign", a), at.apply("floor", at.apply("absolute", a)))


def _scaled(name: str, by: float) -> Callable[[Any], Value]:
    """log2, log10, …: a function divided by a constant."""
    return lambda a: at.apply("quotient", at.apply(name, a), by)


def _logaddexp(a: Any, b: Any) -> Value:
    top = at.apply("maximum", a, b)
    apart = at.apply("negative", at.apply("absolute", at.apply("subtract", a, b)))
    return at.apply("add", top, at.apply("log1p", at.apply("exp", apart)))


UFUNCS: dict[Any, Callable[..., Value]] = {
    np.add: _named("add"),
    np.subtract: _named("subtract"),
    np.multiply: _named("multiply"),
    np.true_divide: _named("quotient"),
    np.power: at.power,
    np.float_power: at.power,
    np.matmul: at.matmul,
    np.negative: _named("negative"),
    np.positive: lambda a: a,
    np.conjugate: lambda a: a,
    np.absolute: _named("absolute"),
    np.fabs: _named("absolute"),
    np.sign: _named("sign"),
    np.floor: _named("floor"),
    np.ceil: lambda a: _negative(at.apply("floor", _negative(a))),
    np.rint: _rint,
    np.trunc: _truncated,
    np.exp2: lambda a: at.apply("exp", at.apply("multiply", a, float(np.log(2)))),
    np.log2: _scaled("log", float(np.log(2))),
    np.log10: _scaled("log", float(np.log(10))),
    np.maximum: _named("maximum"),
    np.fmax: _named("maximum"),
    np.minimum: _minimum,
    np.fmin: _minimum,
    np.hypot: _hypot,
    np.logaddexp: _logaddexp,
    np.greater: _named("greater"),
    np.less: lambda a, b: at.apply("greater", b, a),
    np.greater_equal: lambda a, b: _not(at.apply("greater", b, a)),
    np.less_equal: lambda a, b: _not(at.apply("greater", a, b)),
    np.equal: _named("equal"),
    np.not_equal: lambda a, b: _not(at.apply("equal", a, b)),
    np.logical_not: _not,
    np.invert: _not,
    np.logical_and: _named("both_of"),
    np.bitwise_and: _named("both_of"),
    np.logical_or: _named("either_of"),
    np.bitwise_or: _named("either_of"),
    np.heaviside: lambda a, h: at.where(at.apply("equal", a, 0.0), h, at.apply("greater", a, 0.0)),
    **{
        getattr(np, name): _named(name)
        for name in (
            "exp", "expm1", "log", "log1p", "sqrt", "reciprocal", "square", "sin", "cos", "tan", "arctan",
            "arcsin", "arccos", "sinh", "cosh", "tanh", "arcsinh", "arctanh",
        )
    },
}  # fmt: skip
NAMED: dict[str, Callable[..., Value]] = {
    "erf": _named("erf"),
    "erfc": _named("erfc"),
    "expit": _named("sigmoid"),
    "log_expit": lambda a: _negative(_logaddexp(0.0, _negative(a))),
    "ndtr": lambda a: at.apply(
        "multiply", at.apply("erfc", at.apply("multiply", a, -np.sqrt(0.5))), 0.5
    ),
    "xlogy": _xlogy,
}
"""scipy.special's ufuncs, by name."""
MASKS = {
    np.greater, np.less, np.greater_equal, np.less_equal, np.equal, np.not_equal, np.logical_not, np.invert,
    np.logical_and, np.bitwise_and, np.logical_or, np.bitwise_or,
}  # fmt: skip

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


# --- functions of whole arrays --------------------------------------------------------------------

FUNCTIONS: dict[Any, Callable[..., Any]] = {}


def _as(f: Any) -> Callable[[Any], Any]:
    def known(g: Any) -> Any:
        FUNCTIONS[f] = g
        return g

    return known


def _reducing(f: Callable[..., Value]) -> Callable[..., Any]:
    def reduce(
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        keepdims: Any = False,
        **kw: Any,
    ) -> Any:
        where = kw.pop("where", None)
        if kw.pop("initial", None) is not None or (
            where is not None and where is not np._NoValue and where is not True
        ):
            raise RecordingError(
                "initial= and where= of a reduction are not known; expected np.where before it."
            )
        a = _array(a) if dtype is None else _array(a).astype(dtype)
        keep = keepdims is True or keepdims is np.True_
        with _rounded_to([a]):
            return Recorded(
                f(a.value, axis, keep, **{k: v for k, v in kw.items() if v is not np._NoValue}),
                a.dtype,
            )

    return reduce


def _array(x: Any) -> Recorded:
    if isinstance(x, Recorded):
        return x
    return _stack(x, 0)


def _stack(parts: Any, axis: int) -> Recorded:
    of = [_array(p) if isinstance(p, list | tuple) else p for p in parts]
    like = next(p for p in of if isinstance(p, Recorded))
    n = axis % (like.ndim + 1)
    values = [_on(like, _operand(p)) for p in of]
    expanded = [at.reshape(v, (*v.shape[:n], 1, *v.shape[n:])) for v in values]
    return Recorded(at.join(expanded, n), like.dtype)


def _variance(
    a: Value, axis: Any, keepdims: bool, ddof: float = 0, correction: float | None = None
) -> Value:
    apart = at.apply("subtract", a, at.mean(a, axis, True))
    total = at.sum(at.apply("square", apart), axis, keepdims)
    over = range(len(a.shape)) if axis is None else np.atleast_1d(axis).tolist()
    count = float(np.prod([a.shape[i] for i in over]))
    return at.apply("quotient", total, count - float(ddof if correction is None else correction))


def _smallest(a: Value, axis: Any, keepdims: bool) -> Value:
    found: Value = _negative(at.largest(_negative(a), axis, keepdims))
    return found


def _product(a: Value, axis: Any, keepdims: bool) -> Value:
    if axis is None:
        a, axis = at.reshape(a, (int(np.prod(a.shape)),)), 0
    last = at.moved(at.cumulative(a, axis, "prod"), lambda p: np.take(p, [-1], axis=axis))
    return last if keepdims else at.moved(last, lambda p: p.squeeze(axis))


def _all(a: Value, axis: Any, keepdims: bool) -> Value:
    return _smallest(a, axis, keepdims)


for _f, _g in (
    (np.sum, at.sum), (np.mean, at.mean), (np.max, at.largest), (np.amax, at.largest), (np.min, _smallest),
    (np.amin, _smallest), (np.prod, _product), (np.var, _variance), (np.nansum, at.sum),
    (np.std, lambda *a, **kw: at.apply("sqrt", _variance(*a, **kw))), (np.any, at.largest),
    (np.all, _smallest),
):  # fmt: skip
    FUNCTIONS[_f] = _reducing(_g)
REDUCTIONS = {np.add: np.sum, np.multiply: np.prod, np.maximum: np.max, np.minimum: np.min,
              np.logical_or: np.any, np.logical_and: np.all}  # fmt: skip


@_as(np.linalg.norm)
def _norm(a: Recorded, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    matrix = np.ndim(axis) == 1 or (axis is None and a.ndim == 2)
    if ord == 1 and not matrix:
        return np.sum(np.abs(a), axis=axis, keepdims=keepdims)
    if ord == np.inf and not matrix:
        return np.max(np.abs(a), axis=axis, keepdims=keepdims)
    if ord not in (None, "fro") and (matrix or ord != 2):
        raise RecordingError(
            f"np.linalg.norm of order {ord!r}{' of a matrix' if matrix else ''} is not known; expected "
            "None, or 1, 2 or np.inf of vectors."
        )
    return np.sqrt(np.sum(np.square(a), axis=axis, keepdims=keepdims))


@_as(np.cumsum)
def _cumsum(
    a: Recorded, axis: Any = None, dtype: Any = None, out: Any = None, name: str = "sum"
) -> Recorded:
    a = a if dtype is None else a.astype(dtype)
    a = a.reshape(-1) if axis is None else a
    return Recorded(at.cumulative(a.value, 0 if axis is None else axis, name), a.dtype)


FUNCTIONS[np.cumprod] = functools.partial(_cumsum, name="prod")


@_as(np.argmax)
def _argmax(
    a: Recorded, axis: Any = None, out: Any = None, keepdims: bool = False, sign: float = 1.0
) -> Any:
    known = at.decided(a.value)
    return np.argmax(sign * known, axis=axis, keepdims=keepdims)


FUNCTIONS[np.argmin] = functools.partial(_argmax, sign=-1.0)


@_as(np.argsort)
def _argsort(a: Recorded, axis: int = -1, **_: Any) -> Any:
    return np.argsort(at.decided(a.value), axis=axis, kind="stable")


@_as(np.sort)
def _sort(a: Recorded, axis: int = -1, **_: Any) -> Any:
    return np.take_along_axis(a, _argsort(a, axis), axis=axis)


@_as(np.take_along_axis)
def _take_along(a: Recorded, indices: Any, axis: Any = -1) -> Recorded:
    return Recorded(at.moved(a.value, lambda p: np.take_along_axis(p, indices, axis)), a.dtype)


@_as(np.where)
def _where(mask: Any, *of: Any) -> Any:
    if not of:
        return np.nonzero(at.decided(mask.value))
    with _rounded_to(of):
        return Recorded(at.where(*map(_operand, (mask, *of))), _dtype(*of))


@_as(np.clip)
def _clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, **kw: Any) -> Any:
    low, high = kw.get("min", a_min), kw.get("max", a_max)
    if low is not None and low is not np._NoValue:
        a = np.maximum(a, low)
    return a if high is None or high is np._NoValue else np.minimum(a, high)


@_as(np.select)
def _select(conditions: Any, choices: Any, default: Any = 0) -> Any:
    found = default
    for mask, x in reversed(list(zip(conditions, choices, strict=True))):
        found = np.where(mask, x, found)
    return found


@_as(np.dot)
def _dot(a: Any, b: Any, out: Any = None) -> Any:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return np.multiply(a, b)
    a_, b_ = _operand(a), _operand(b)
    with _rounded_to((a, b)):
        k = max(len(_shape(b_)) - 2, 0)
        return Recorded(at.contract(a_, b_, ([len(_shape(a_)) - 1], [k])), _dtype(a, b))


@_as(np.inner)
def _inner(a: Any, b: Any) -> Any:
    return np.dot(a, np.swapaxes(b, -1, -2) if np.ndim(b) > 1 else b)


@_as(np.outer)
def _outer(a: Any, b: Any, out: Any = None) -> Any:
    return np.multiply(np.reshape(a, (-1, 1)), np.reshape(b, (1, -1)))


@_as(np.tensordot)
def _tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    if isinstance(axes, int):
        axes = (list(range(np.ndim(a) - axes, np.ndim(a))), list(range(axes)))
    left, right = ([int(i) for i in np.atleast_1d(x)] for x in axes)
    with _rounded_to((a, b)):
        return Recorded(at.contract(_operand(a), _operand(b), (left, right)), _dtype(a, b))


@_as(np.einsum)
def _einsum(spec: Any, *operands: Any, **_: Any) -> Any:
    if not isinstance(spec, str):
        raise RecordingError(
            "np.einsum without a text of letters is not known; expected 'ij,jk->ik'."
        )
    with _rounded_to(operands):
        return Recorded(at.einsum(spec, *map(_operand, operands)), _dtype(*operands))


@_as(np.concatenate)
def _concatenate(parts: Any, axis: Any = 0, out: Any = None, **_: Any) -> Any:
    if axis is None:
        parts, axis = [np.ravel(p) for p in parts], 0
    like = next(p for p in parts if isinstance(p, Recorded))
    return Recorded(at.join([_operand(p) for p in parts], axis % like.ndim), _dtype(*parts))


FUNCTIONS[np.stack] = lambda parts, axis=0, **_: _stack(parts, axis)
FUNCTIONS[np.hstack] = lambda parts, **_: np.concatenate(
    list(parts), axis=0 if np.ndim(parts[0]) == 1 else 1
)
FUNCTIONS[np.vstack] = lambda parts, **_: np.concatenate([np.atleast_2d(p) for p in parts], axis=0)
FUNCTIONS[np.append] = lambda a, v, axis=None: np.concatenate([a, v], axis=axis)
FUNCTIONS[np.column_stack] = lambda parts: np.concatenate(
    [p if np.ndim(p) > 1 else np.reshape(p, (-1, 1)) for p in parts], axis=1
)


@_as(np.pad)
def _pad(
    a: Recorded, width: Any, mode: Any = "constant", constant_values: Any = 0, **more: Any
) -> Any:
    known = ("constant", "edge", "wrap", "reflect", "symmetric")
    if mode not in known:
        raise RecordingError(
            f"np.pad with mode={mode!r} is not known; expected one of {', '.join(known)}."
        )
    if more:
        name = next(iter(more))
        raise RecordingError(f"np.pad with {name}= is not known; expected it without.")
    if mode != "constant":
        return Recorded(at.moved(a.value, lambda p: np.pad(p, width, mode=mode)), a.dtype)
    places = np.pad(np.arange(a.size).reshape(a.shape), width, constant_values=-1)
    found = Recorded(at.taken(a.value, places), a.dtype)
    if not np.any(constant_values):
        return found
    beyond = np.pad(np.zeros(a.shape), width, constant_values=constant_values)
    return np.where(places < 0, beyond, found)


@_as(np.gradient)
def _gradient(*_: Any, **__: Any) -> Any:
    raise RecordingError("np.gradient is not known to the tape.")


def _moving(f: Any) -> Callable[..., Any]:
    def move(a: Any, *args: Any, **kw: Any) -> Any:
        places = f(np.arange(a.size).reshape(a.shape), *args, **kw)
        if isinstance(places, list | tuple):
            return type(places)(Recorded(at.taken(a.value, p), a.dtype) for p in places)
        return a._view(lambda _: places)

    return move


_MOVERS: tuple[Any, ...] = (
    np.reshape, np.transpose, np.swapaxes, np.moveaxis, np.rollaxis, np.squeeze, np.expand_dims, np.ravel,
    np.broadcast_to, np.flip, np.fliplr, np.flipud, np.roll, np.repeat, np.tile, np.diagonal, np.split,
    np.array_split, np.hsplit, np.vsplit, np.rot90, np.atleast_1d, np.atleast_2d, np.atleast_3d, np.take,
    np.delete, np.resize, np.lib.stride_tricks.sliding_window_view,
    np.unstack if hasattr(np, "unstack") else np.split, np.matrix_transpose
    if hasattr(np, "matrix_transpose") else np.transpose,
)  # fmt: skip
for _mover in _MOVERS:
    FUNCTIONS[_mover] = _moving(_mover)


def _triangle(f: Any) -> Callable[..., Any]:
    def keep(a: Any, k: int = 0) -> Any:
        return Recorded(
            at.taken(a.value, f(np.arange(a.size).reshape(a.shape) + 1, k) - 1), a.dtype
        )

    return keep


FUNCTIONS[np.tril], FUNCTIONS[np.triu] = _triangle(np.tril), _triangle(np.triu)
FUNCTIONS[np.diag] = lambda a, k=0: (
    Recorded(at.moved(a.value, lambda p: np.diag(p, k)), a.dtype)
    if a.ndim == 2
    else Recorded(at.taken(a.value, np.diag(np.arange(a.size) + 1, k) - 1), a.dtype)
)
FUNCTIONS[np.trace] = lambda a, *args, **kw: np.sum(np.diagonal(a, *args, **kw), axis=-1)
FUNCTIONS[np.shape] = lambda a: a.shape
FUNCTIONS[np.ndim] = lambda a: a.ndim
FUNCTIONS[np.size] = lambda a, axis=None: a.size if axis is None else a.shape[axis]
FUNCTIONS[np.copy] = lambda a, *_, **__: a.copy()
FUNCTIONS[np.nonzero] = lambda a: np.nonzero(at.decided(a.value))
FUNCTIONS[np.result_type] = lambda *of: np.result_type(
    *(x.dtype if isinstance(x, Recorded) else x for x in of)
)
FUNCTIONS[np.broadcast_arrays] = lambda *of, **_: tuple(
    np.broadcast_to(x, np.broadcast_shapes(*map(np.shape, of))) for x in of
)
FUNCTIONS[np.sinc] = lambda a: _sinc(np.multiply(a, np.pi))
FUNCTIONS[np.fix] = lambda a, out=None: np.trunc(a)
FUNCTIONS[np.ptp] = lambda a, axis=None, out=None, keepdims=False: (
    np.max(a, axis=axis, keepdims=keepdims) - np.min(a, axis=axis, keepdims=keepdims)
)
FUNCTIONS[np.vdot] = lambda a, b: np.sum(np.ravel(a) * np.ravel(b))


@_as(np.round)
def _round(a: Any, decimals: int = 0, out: Any = None) -> Any:
    if decimals:
        raise RecordingError(
            f"np.round to {decimals} decimals is not known; expected whole numbers."
        )
    return np.rint(a)


FUNCTIONS[np.around] = _round


@_as(np.diff)
def _diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    for _ in range(n):
        ends = np.moveaxis(a, axis, 0)
        a = np.moveaxis(ends[1:] - ends[:-1], 0, axis)
    return a


@_as(np.average)
def _average(a: Recorded, axis: Any = None, weights: Any = None, keepdims: Any = False) -> Any:
    if weights is None:
        return np.mean(a, axis=axis, keepdims=keepdims is True)
    w = np.asarray(weights, np.float64) if not isinstance(weights, Recorded) else weights
    if w.ndim == 1 and a.ndim > 1:
        shape = [1] * a.ndim
        shape[axis] = -1
        w = np.broadcast_to(np.reshape(w, shape), a.shape)
    over = {"axis": axis, "keepdims": keepdims is True}
    return np.sum(np.multiply(a, w), **over) / np.sum(w, **over)


def _sinc(a: Recorded) -> Any:
    zero = np.equal(a, 0)
    return np.where(zero, 1.0, np.sin(a) / np.where(zero, 1.0, a))


def _like(number: float) -> Callable[..., Recorded]:
    def make(
        a: Any, fill: Any = number, dtype: Any = None, *_: Any, shape: Any = None, **__: Any
    ) -> Recorded:
        shape = a.shape if shape is None else shape
        dtype = np.dtype(dtype or a.dtype)
        return Recorded(Constant(a._value.tape, np.full(shape, fill, dtype)), dtype)

    return make


FUNCTIONS[np.zeros_like] = lambda a, dtype=None, **kw: _like(0.0)(a, dtype=dtype, **kw)
FUNCTIONS[np.empty_like] = FUNCTIONS[np.zeros_like]
FUNCTIONS[np.ones_like] = lambda a, dtype=None, **kw: _like(1.0)(a, dtype=dtype, **kw)
FUNCTIONS[np.full_like] = lambda a, fill, dtype=None, **kw: _like(0.0)(a, fill, dtype, **kw)

_METHODS = {
    "sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min, "prod": np.prod, "var": np.var,
    "std": np.std, "any": np.any, "all": np.all, "cumsum": np.cumsum, "cumprod": np.cumprod, "dot": np.dot,
    "clip": np.clip, "argmax": np.argmax, "argmin": np.argmin, "argsort": np.argsort, "trace": np.trace,
    "round": np.round, "nonzero": np.nonzero,
}  # fmt: skip
_MOVING_METHODS = ("swapaxes", "squeeze", "ravel", "flatten", "repeat", "take", "diagonal", "view")


# --- making arrays --------------------------------------------------------------------------------


@contextmanager
def _making(tape: Tape) -> Iterator[None]:
    """Within, NumPy's functions that create arrays of floats create recorded ones, so that they can be
    written to."""

    def maker(f: Any, copied: bool) -> Any:
        @functools.wraps(f)
        def make(*args: Any, **kw: Any) -> Any:
            first = args[0] if args else None
            if (
                sys._getframe(1)
                .f_globals.get("__name__", "")
                .startswith(("conformance", "numpy", "flint"))
            ):
                return f(*args, **kw)
            if copied and isinstance(first, Recorded):
                return first.astype(
                    kw.get("dtype") or (args[1] if len(args) > 1 else None) or first.dtype
                )
            if (
                copied
                and isinstance(first, list | tuple)
                and any(isinstance(x, Recorded) for x in _flattened(first))
            ):
                return _stack(first, 0)
            made = f(*args, **kw)
            if copied or not np.issubdtype(made.dtype, np.floating):
                return made
            if f is np_empty:
                made[...] = 0
            return Recorded(Constant(tape, made), made.dtype)

        return make

    np_empty = np.empty
    before = {name: getattr(np, name) for name in ("zeros", "empty", "ones", "full")}
    copying = {
        name: getattr(np, name) for name in ("asarray", "array", "asanyarray", "ascontiguousarray")
    }
    try:
        for name, f in before.items():
            setattr(np, name, maker(f, copied=False))
        for name, f in copying.items():
            setattr(np, name, maker(f, copied=True))
        yield
    finally:
        for name, f in (before | copying).items():
            setattr(np, name, f)
