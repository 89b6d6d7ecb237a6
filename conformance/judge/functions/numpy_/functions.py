"""NumPy's functions of whole arrays, on recorded ones."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from conformance.judge.functions.numpy_.elementwise import negative
from conformance.judge.functions.numpy_.recorded import (
    FUNCTIONS,
    Constant,
    Recorded,
    array,
    dtype_of,
    operand,
    rounded_to,
    shape_of,
    stack,
)
from conformance.judge.functions.recording import RecordingError
from conformance.truth import arrays as at
from conformance.truth.nodes import Value

__all__: list[str] = []


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
        a = array(a) if dtype is None else array(a).astype(dtype)
        keep = keepdims is True or keepdims is np.True_
        with rounded_to([a]):
            return Recorded(
                f(a.value, axis, keep, **{k: v for k, v in kw.items() if v is not np._NoValue}),
                a.dtype,
            )

    return reduce


def _variance(
    a: Value, axis: Any, keepdims: bool, ddof: float = 0, correction: float | None = None
) -> Value:
    apart = at.apply("subtract", a, at.mean(a, axis, True))
    total = at.sum(at.apply("square", apart), axis, keepdims)
    over = range(len(a.shape)) if axis is None else np.atleast_1d(axis).tolist()
    count = float(np.prod([a.shape[i] for i in over]))
    return at.apply("quotient", total, count - float(ddof if correction is None else correction))


def _smallest(a: Value, axis: Any, keepdims: bool) -> Value:
    found: Value = negative(at.largest(negative(a), axis, keepdims))
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
    with rounded_to(of):
        return Recorded(at.where(*map(operand, (mask, *of))), dtype_of(*of))


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
    a_, b_ = operand(a), operand(b)
    with rounded_to((a, b)):
        k = max(len(shape_of(b_)) - 2, 0)
        return Recorded(at.contract(a_, b_, ([len(shape_of(a_)) - 1], [k])), dtype_of(a, b))


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
    with rounded_to((a, b)):
        return Recorded(at.contract(operand(a), operand(b), (left, right)), dtype_of(a, b))


@_as(np.einsum)
def _einsum(spec: Any, *operands: Any, **_: Any) -> Any:
    if not isinstance(spec, str):
        raise RecordingError(
            "np.einsum without a text of letters is not known; expected 'ij,jk->ik'."
        )
    with rounded_to(operands):
        return Recorded(at.einsum(spec, *map(operand, operands)), dtype_of(*operands))


@_as(np.concatenate)
def _concatenate(parts: Any, axis: Any = 0, out: Any = None, **_: Any) -> Any:
    if axis is None:
        parts, axis = [np.ravel(p) for p in parts], 0
    like = next(p for p in parts if isinstance(p, Recorded))
    return Recorded(at.join([operand(p) for p in parts], axis % like.ndim), dtype_of(*parts))


FUNCTIONS[np.stack] = lambda parts, axis=0, **_: stack(parts, axis)
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
