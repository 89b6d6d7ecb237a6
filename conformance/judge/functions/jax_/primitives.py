"""JAX's primitives on values of a tape.

A primitive is a row of `PRIMITIVES`: a function of its equation and its operands, which are `Value`s, or
arrays where they are constants; at least one is a `Value`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from conformance.judge.functions.recording import DTYPES
from conformance.truth import arrays as at
from conformance.truth.nodes import Value, op
from conformance.truth.primitives import inverse_of
from conformance.truth.rounding import Arithmetic
from conformance.truth.tape import Tape

__all__ = [
    "PRIMITIVES",
    "Rule",
    "UnknownError",
    "decided",
    "folded",
    "is_inexact",
    "is_whole",
    "numbers",
    "on_tape",
    "part",
    "tape_of",
]

Rule = Callable[..., Any]


class UnknownError(Exception):
    """Why an equation cannot be read, in a clause."""


def folded(e: Any, operands: Sequence[Any]) -> list[Any]:
    """What JAX computes from constants."""
    found = e.primitive.bind(*operands, **e.params)
    return [numbers(x) for x in (found if e.primitive.multiple_results else [found])]


def numbers(x: Any) -> Any:
    """x as a NumPy array, unless it is a random key."""
    return x if jnp.issubdtype(x.dtype, jax.dtypes.extended) else np.asarray(x)


def is_inexact(v: Any) -> bool:
    return bool(jnp.issubdtype(v.aval.dtype, jnp.inexact))


def is_whole(v: Any) -> bool:
    return bool(jnp.issubdtype(v.aval.dtype, jnp.integer))


def decided(mask: Value) -> Any:
    return at.decided(mask) != 0


def tape_of(operands: Sequence[Any]) -> Tape:
    found = at.tape_of(*operands)
    assert isinstance(found, Tape)
    return found


def on_tape(operands: Sequence[Any]) -> list[Value]:
    tape = tape_of(operands)
    return [x if isinstance(x, Value) else at.constant(tape, x) for x in operands]


def part(x: Any, key: Any) -> Any:
    return at.moved(x, lambda p: p[key]) if isinstance(x, Value) else x[key]


# --- elementwise ----------------------------------------------------------------------------------


def _named(name: str) -> Rule:
    return lambda e, *of: at.apply(name, *of)


def _of(f: Callable[..., Value]) -> Rule:
    """A rule for a function whose operands must all be on the tape."""
    return lambda e, *of: f(*on_tape(of))


def _not(m: Value) -> Value:
    return op.none_of(m)


def _and(a: Value, b: Value) -> Value:
    return at.apply("both_of", a, b)


def _or(a: Value, b: Value) -> Value:
    return at.apply("either_of", a, b)


def _xor(a: Value, b: Value) -> Value:
    return _or(_and(a, _not(b)), _and(_not(a), b))


def _greater(a: Value, b: Value) -> Value:
    return at.apply("greater", a, b)


def _compared(f: Callable[..., Value], of_itself: bool, of_masks: Callable[..., Value]) -> Rule:
    """The rule of a comparison. The comparison of a number with itself, which is a test for NaN, is known."""

    def rule(e: Any, a: Any, b: Any) -> Any:
        if a is b:
            return np.full(e.outvars[0].aval.shape, of_itself)
        of = f if is_inexact(e.invars[0]) else of_masks
        return of(*on_tape([a, b]))

    return rule


_LESS = _compared(lambda a, b: _greater(b, a), False, lambda a, b: _and(_not(a), b))
_AT_MOST = _compared(lambda a, b: _not(_greater(a, b)), True, lambda a, b: _or(_not(a), b))


def _minimum(a: Value, b: Value) -> Value:
    return op.negative(at.apply("maximum", op.negative(a), op.negative(b)))


def _clamp(low: Value, a: Value, high: Value) -> Value:
    return _minimum(at.apply("maximum", a, low), high)


def _ceil(a: Value) -> Value:
    return op.negative(op.floor(op.negative(a)))


def _truncated(a: Value) -> Value:
    return op.multiply(op.sign(a), op.floor(op.absolute(a)))


def _round(e: Any, a: Value) -> Value:
    """To the nearest whole number; ½ goes away from zero, or to the even one."""
    if int(e.params["rounding_method"]) == 0:
        return op.multiply(op.sign(a), op.floor(at.apply("add", op.absolute(a), 0.5)))
    below = op.floor(a)
    rest = op.subtract(a, below)
    half = at.apply("multiply", op.floor(at.apply("multiply", below, 0.5)), 2.0)
    odd = op.subtract(below, half)
    up = _or(at.apply("greater", rest, 0.5), _and(at.apply("equal", rest, 0.5), odd))
    return op.add(below, up)


def _remainder(a: Value, b: Value) -> Value:
    """The remainder of a truncated quotient, as C's fmod."""
    return at.apply("subtract", a, at.apply("multiply", b, _truncated(at.apply("quotient", a, b))))


def _arccosh(a: Value) -> Value:
    """log(a + √(a² − 1)), accurate near 1 too."""
    more = at.apply("subtract", a, 1.0)
    return op.log1p(op.add(more, op.sqrt(op.multiply(more, at.apply("add", a, 1.0)))))


def _cbrt(a: Value) -> Value:
    """a^⅓ with the exact ⅓, not the float nearest to it."""
    one, three = (at.constant(a.tape, x) for x in (1.0, 3.0))
    return op.multiply(
        op.sign(a), at.apply("power", op.absolute(a), at.apply("quotient", one, three))
    )


def _arctan2(y: Value, x: Value) -> Value:
    """The arctangent of the smaller over the larger, plus a half turn or a quarter; π is exact."""
    root = op.square(op.two_over_root_pi(x, sign=1))
    pi, half = at.apply("quotient", 4.0, root), at.apply("quotient", 2.0, root)
    steep = at.apply("greater", op.absolute(y), op.absolute(x))
    left, up = at.apply("greater", 0.0, x), _not(at.apply("greater", 0.0, y))
    turned = at.where(up, pi, op.negative(pi))
    flat = op.arctan(at.apply("quotient", y, at.where(steep, 1.0, x)))
    upright = op.arctan(at.apply("quotient", x, at.where(steep, y, 1.0)))
    return at.where(
        steep,
        at.apply("subtract", at.where(up, half, op.negative(half)), upright),
        at.where(left, at.apply("add", flat, turned), flat),
    )


def _integer_pow(e: Any, a: Value) -> Any:
    """By squares and products, as JAX computes it."""
    n, found, square = abs(e.params["y"]), None, a
    while n:
        if n % 2:
            found = square if found is None else op.multiply(found, square)
        n //= 2
        square = op.square(square) if n else square
    if found is None:
        return np.ones(a.shape)
    return op.reciprocal(found) if e.params["y"] < 0 else found


def _select(e: Any, which: Any, *cases: Any) -> Any:
    if not isinstance(which, Value):
        chosen = np.unique(which)
        if len(chosen) == 1:
            return cases[int(chosen[0])]
    _, first, *others = on_tape([which, *cases])
    for i, x in enumerate(others, 1):
        first = at.where(which if isinstance(which, Value) else which == i, x, first)
    return first


def _converted(e: Any, a: Value) -> Any:
    """A cast to a narrower dtype rounds; a cast to whole numbers needs a decided value."""
    new, old = e.outvars[0].aval.dtype, e.invars[0].aval.dtype
    if new.kind == "b":
        return a if old.kind == "b" else _not(at.apply("equal", a, 0.0))
    if is_whole(e.outvars[0]):
        return at.decided(_truncated(a)).astype(new)
    if old.kind == "b" or new == old:
        return a
    return op.cast(a) if _unit(new.name) > _unit(old.name) else op.widen(a)


def _unit(dtype: str) -> float:
    return Arithmetic.named(dtype).u


_FORMATS = {(11, 52): "float64", (8, 23): "float32", (5, 10): "float16", (8, 7): "bfloat16"}


def _reduced_precision(e: Any, a: Value) -> Value:
    found = _FORMATS.get((e.params["exponent_bits"], e.params["mantissa_bits"]))
    if found is None:
        raise UnknownError(f"JAX's reduce_precision is known to {', '.join(DTYPES)} alone")
    if _unit(found) <= _unit(e.invars[0].aval.dtype.name):
        return a
    a.tape.dtype = found
    return op.cast(a)


# --- over axes ------------------------------------------------------------------------------------


def _smallest(a: Value, axes: Any) -> Value:
    return op.negative(at.largest(op.negative(a), axes))


def _product(a: Value, axes: Any) -> Value:
    """The product over axes: halves are multiplied until one element is left."""
    kept = [i for i in range(len(a.shape)) if i not in axes]
    shape, n = tuple(a.shape[i] for i in kept), prod(a.shape[i] for i in axes)
    a = at.reshape(at.permute(a, [*axes, *kept]), (n, *shape))
    while (n := a.shape[0]) > 1:
        half = n // 2
        left, right, rest = (
            part(a, slice(*ends)) for ends in ((0, half), (half, 2 * half), (2 * half, n))
        )
        a = at.join([op.multiply(left, right), *([rest] if n % 2 else [])])
    return at.reshape(a, shape)


_BINARY: dict[str, tuple[Callable[..., Value], Callable[..., Value], float]] = {
    "add": (at.sum, partial(at.apply, "add"), 0.0),
    "mul": (_product, partial(at.apply, "multiply"), 1.0),
    "max": (at.largest, partial(at.apply, "maximum"), -np.inf),
    "min": (_smallest, _minimum, np.inf),
}
"""For each name: f over axes, f of two operands, and the neutral element of f."""


def _over_axes(f: Callable[..., Value]) -> Rule:
    return lambda e, a: f(a, tuple(map(int, e.params["axes"])))


def _of_two(e: Any) -> tuple[Callable[..., Value], Callable[..., Value], float]:
    """The row of the function that a reduction uses, if it is a known one."""
    inner = getattr(e.params["jaxpr"], "jaxpr", e.params["jaxpr"])
    known = len(inner.eqns) == 1 and set(inner.eqns[0].invars) == set(inner.invars)
    if not known or inner.eqns[0].primitive.name not in _BINARY:
        raise UnknownError(f"JAX's {e.primitive.name} is known with {', '.join(_BINARY)} alone")
    return _BINARY[inner.eqns[0].primitive.name]


def _reduce(e: Any, *operands: Any) -> list[Value]:
    over, both, _ = _of_two(e)
    if len(operands) != 2:
        raise UnknownError("JAX's reduce of several arrays is not known")
    a, start = on_tape(operands)
    return [both(over(a, e.params["dimensions"]), start)]


def _argument(f: Callable[..., Any]) -> Rule:
    return lambda e, a: f(at.decided(a), e.params["axes"][0]).astype(e.outvars[0].aval.dtype)


def _running(f: Callable[[Value, Value], Value]) -> Rule:
    """f of all the elements so far, along an axis."""

    def rule(e: Any, a: Value) -> Value:
        axis, n = e.params["axis"], a.shape[e.params["axis"]]
        columns = [part(a, (*[slice(None)] * axis, slice(i, i + 1))) for i in range(n)]
        columns = columns[::-1] if e.params["reverse"] else columns
        for i in range(1, n):
            columns[i] = f(columns[i - 1], columns[i])
        return at.join(columns[::-1] if e.params["reverse"] else columns, axis)

    return rule


def _logaddexp(a: Value, b: Value) -> Value:
    apart = op.negative(op.absolute(op.subtract(a, b)))
    return op.add(op.maximum(a, b), op.log1p(op.exp(apart)))


def _cumulative(name: str) -> Rule:
    return lambda e, a: at.cumulative(a, e.params["axis"], name, e.params["reverse"])


def _sort(e: Any, *operands: Any) -> list[Any]:
    """Sort by the first operands, which are decided."""
    axis = e.params["dimension"]
    keys = [at.decided(x) if isinstance(x, Value) else x for x in operands[: e.params["num_keys"]]]
    order = np.lexsort(keys[::-1], axis=axis)
    return [_along(x, order, axis) for x in operands]


def _top_k(e: Any, a: Value) -> list[Any]:
    axis = e.params.get("axis", -1)
    order = np.argsort(-at.decided(a), axis=axis, kind="stable")
    first = np.take(order, range(e.params["k"]), axis)
    return [_along(a, first, axis), first.astype(e.outvars[1].aval.dtype)]


def _along(x: Any, order: Any, axis: int) -> Any:
    def take(p: Any) -> Any:
        return np.take_along_axis(p, order, axis)

    return at.moved(x, take) if isinstance(x, Value) else take(x)


# --- moving numbers about -------------------------------------------------------------------------


def _by_places(e: Any, *operands: Any) -> Value:
    """Apply JAX's own primitive to the positions of the operands; operands of another dtype are indices."""
    kind, where, flat, n = e.outvars[0].aval.dtype, [], [], 0
    for x, v in zip(operands, e.invars, strict=True):
        if v.aval.dtype != kind:
            where.append(x)
            continue
        size = prod(v.aval.shape)
        where.append(np.arange(n, n + size, dtype=np.int32).reshape(v.aval.shape))
        flat.append(at.reshape(x, (size,)) if isinstance(x, Value) else np.reshape(x, size))
        n += size
    return at.taken(at.join(flat), folded(e, where)[0])


def _moving(f: Callable[..., Any]) -> Rule:
    """A rule that applies a NumPy function to the positions of its one operand."""
    return lambda e, a: at.moved(a, lambda p: f(p, e.params))


def _parts(f: Callable[..., Any]) -> Rule:
    def rule(e: Any, a: Value) -> list[Value]:
        places = np.arange(prod(a.shape)).reshape(a.shape)
        return [at.taken(a, p) for p in f(places, e.params)]

    return rule


def _sliced(p: Any, params: Mapping[str, Any]) -> Any:
    steps = params["strides"] or (1,) * p.ndim
    return p[tuple(map(slice, params["start_indices"], params["limit_indices"], steps))]


def _shaped(e: Any, a: Value) -> Value:
    if e.params.get("dimensions") is not None and e.primitive.name == "reshape":
        a = at.permute(a, e.params["dimensions"])
    return at.reshape(a, e.outvars[0].aval.shape)


def _broadcast(e: Any, a: Value, *_: Any) -> Value:
    shape = e.outvars[0].aval.shape
    there = dict(zip(map(int, e.params["broadcast_dimensions"]), a.shape, strict=True))
    return at.broadcast(at.reshape(a, tuple(there.get(i, 1) for i in range(len(shape)))), shape)


def _stacked(e: Any, *operands: Any) -> Value:
    axis = e.params["axis"]
    parts = [at.reshape(x, (*x.shape[:axis], 1, *x.shape[axis:])) for x in on_tape(operands)]
    return at.join(parts, axis)


def _gather(e: Any, a: Value, where: Any) -> Value:
    places = np.arange(prod(a.shape), dtype=np.int32).reshape(a.shape)
    names = ("dimension_numbers", "slice_sizes", "mode")
    found = np.asarray(lax.gather(places, where, **{k: e.params[k] for k in names}, fill_value=-1))
    taken = at.taken(a, found)
    if not (found < 0).any():
        return taken
    if e.params["fill_value"] is None or np.isnan(e.params["fill_value"]):
        raise UnknownError("JAX's gather takes what is outside of an array, which is NaN")
    return at.where(found < 0, float(e.params["fill_value"]), taken)


def _same(e: Any, *operands: Any) -> Any:
    return operands if e.primitive.multiple_results else operands[0]


def _targets(e: Any, shape: Sequence[int], where: Any, updates: Sequence[int]) -> Any:
    """The position that each update goes to; −1 for an update that is dropped."""
    of = e.params["dimension_numbers"]
    batch = getattr(of, "operand_batching_dims", ())
    more = {
        "operand_batching_dims": batch,
        "start_indices_batching_dims": of.scatter_indices_batching_dims,
    } if batch else {}  # fmt: skip
    numbers = lax.GatherDimensionNumbers(
        offset_dims=of.update_window_dims, collapsed_slice_dims=of.inserted_window_dims,
        start_index_map=of.scatter_dims_to_operand_dims, **more,
    )  # fmt: skip
    window = iter(of.update_window_dims)
    sizes = [
        1 if i in (*of.inserted_window_dims, *batch) else updates[next(window)]
        for i in range(len(shape))
    ]
    places = np.arange(prod(shape), dtype=np.int32).reshape(shape)
    mode = e.params["mode"]
    return np.asarray(lax.gather(places, where, numbers, sizes, mode=mode, fill_value=-1))


def _scatter(e: Any, a: Any, where: Any, updates: Any) -> Value:
    """Of several updates to one place, the last one counts."""
    a, updates = on_tape([a, updates])
    n, m = prod(a.shape), prod(updates.shape)
    to = _targets(e, a.shape, where, updates.shape).ravel()
    source = np.arange(n)
    source[to[to >= 0]] = n + np.flatnonzero(to >= 0)
    both = at.join([at.reshape(a, (n,)), at.reshape(updates, (m,))])
    return at.taken(both, source.reshape(a.shape))


def _scatter_with(name: str, sign: float = 1.0) -> Rule:
    over, both, neutral = _BINARY[name]

    def rule(e: Any, a: Any, where: Any, updates: Any) -> Value:
        a, updates = on_tape([a, updates])
        n, m = prod(a.shape), prod(updates.shape)
        index = inverse_of(_targets(e, a.shape, where, updates.shape), n)
        filled = at.join([at.reshape(updates, (m,)), np.array([neutral])])
        each = at.reshape(over(at.taken(filled, np.where(index < 0, m, index)), (1,)), a.shape)
        return both(a, op.negative(each) if sign < 0 else each)

    return rule


# --- products, windows ----------------------------------------------------------------------------


def _dot_general(e: Any, a: Any, b: Any) -> Value:
    (p, q), (s, t) = (
        [[int(i) for i in axes] for axes in of] for of in e.params["dimension_numbers"]
    )
    return at.contract(a, b, (p, q), (s, t))


def _convolution(e: Any, x: Any, w: Any) -> Value:
    """A convolution, permuted to batch, channels, space and back."""
    x, w = on_tape([x, w])
    p = e.params
    of, groups, batches = (
        p["dimension_numbers"],
        p["feature_group_count"],
        p["batch_group_count"],
    )
    x, w = at.permute(x, of.lhs_spec), at.permute(w, of.rhs_spec)
    if batches > 1:  # each group of the batch is convolved with its own kernels
        n, channels, *space = x.shape
        x = at.reshape(x, (batches, n // batches, channels, *space))
        x = at.permute(x, (1, 0, *range(2, len(x.shape))))
        x, groups = at.reshape(x, (n // batches, batches * channels, *space)), batches
    found = at.convolve(
        x, w, p["window_strides"], p["padding"], p["rhs_dilation"], groups, p["lhs_dilation"]
    )
    return at.permute(found, np.argsort(of.out_spec).tolist())


def _windows(e: Any, a: Value, name: str) -> Value:
    """A reduction of each window. Places beyond the array get the neutral element."""
    over, _, neutral = _BINARY[name]
    p, n = e.params, prod(a.shape)
    index = at.windows(
        a.shape, p["window_dimensions"], p["window_strides"], p["padding"], p["window_dilation"],
        p["base_dilation"],
    )  # fmt: skip
    shape = e.outvars[0].aval.shape
    index = index.reshape(*shape, prod(p["window_dimensions"]))
    if neutral and (index < 0).any():
        a = at.join([at.reshape(a, (n,)), np.array([neutral])])
        index = np.where(index < 0, n, index)
    return over(at.taken(a, index), (len(shape),))


def _reduce_window(e: Any, *operands: Any) -> list[Value]:
    """A reduction of the windows of one array, started from the neutral element."""
    row = _of_two(e)
    name = next(k for k, v in _BINARY.items() if v is row)
    if len(operands) != 2 or isinstance(operands[1], Value) or operands[1] != row[2]:
        raise UnknownError(f"JAX's reduce_window is known of one array, from {row[2]} alone")
    return [_windows(e, operands[0], name)]


def _windowed(name: str) -> Rule:
    return lambda e, a: _windows(e, a, name)


# --- the table ------------------------------------------------------------------------------------

# fmt: off
PRIMITIVES: dict[str, Rule] = {
    # functions of one variable
    **{
        name: _named(known)
        for name, known in {
            "neg": "negative", "abs": "absolute", "sign": "sign", "floor": "floor", "square": "square",
            "exp": "exp", "expm1": "expm1", "log": "log", "log1p": "log1p", "sqrt": "sqrt", "rsqrt": "rsqrt",
            "sin": "sin", "cos": "cos", "tan": "tan", "asin": "arcsin", "acos": "arccos", "atan": "arctan",
            "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "asinh": "arcsinh", "atanh": "arctanh",
            "logistic": "sigmoid", "erf": "erf", "erfc": "erfc", "not": "none_of", "stop_gradient": "stop",
        }.items()
    },
    "exp2": lambda e, a: at.apply("power", 2.0, a),
    "cbrt": _of(_cbrt),
    "acosh": _of(_arccosh),
    "ceil": _of(_ceil),
    "round": _round,
    "integer_pow": _integer_pow,
    "is_finite": lambda e, a: np.isfinite(at.decided(a)),
    "convert_element_type": _converted,
    "reduce_precision": _reduced_precision,
    # functions of two operands, and of three
    "add": _named("add"),
    "add_any": _named("add"),
    "sub": _named("subtract"),
    "mul": _named("multiply"),
    "div": _named("quotient"),
    "rem": _of(_remainder),
    "max": _named("maximum"),
    "min": _of(_minimum),
    "pow": _named("power"),
    "atan2": _of(_arctan2),
    "clamp": _of(_clamp),
    "select_n": _select,
    "and": _named("both_of"),
    "or": _named("either_of"),
    "xor": _of(_xor),
    "gt": _compared(_greater, False, lambda a, b: _and(a, _not(b))),
    "lt": _LESS,
    "lt_to": _LESS,
    "ge": _compared(lambda a, b: _not(_greater(b, a)), True, lambda a, b: _or(a, _not(b))),
    "le": _AT_MOST,
    "le_to": _AT_MOST,
    "eq": _compared(partial(at.apply, "equal"), True, lambda a, b: _not(_xor(a, b))),
    "ne": _compared(lambda a, b: _not(at.apply("equal", a, b)), False, _xor),
    # over axes
    "reduce_sum": _over_axes(at.sum),
    "reduce_prod": _over_axes(_product),
    "reduce_max": _over_axes(at.largest),
    "reduce_min": _over_axes(_smallest),
    "reduce_or": _over_axes(at.largest),
    "reduce_and": _over_axes(_smallest),
    "reduce": _reduce,
    "argmax": _argument(np.argmax),
    "argmin": _argument(np.argmin),
    "cumsum": _cumulative("sum"),
    "cumprod": _cumulative("prod"),
    "cummax": _running(op.maximum),
    "cummin": _running(_minimum),
    "cumlogsumexp": _running(_logaddexp),
    "sort": _sort,
    "top_k": _top_k,
    # moving numbers about
    "reshape": _shaped,
    "squeeze": _shaped,
    "transpose": lambda e, a: at.permute(a, e.params["permutation"]),
    "broadcast_in_dim": _broadcast,
    "concatenate": lambda e, *of: at.join(of, e.params["dimension"]),
    "stack": _stacked,
    "unstack": _parts(lambda p, k: np.moveaxis(p, k["axis"], 0)),
    "split": _parts(lambda p, k: np.split(p, np.cumsum(k["sizes"])[:-1], k["axis"])),
    "tile": _moving(lambda p, k: np.tile(p, k["reps"])),
    "rev": _moving(lambda p, k: np.flip(p, k["dimensions"])),
    "slice": _moving(_sliced),
    "pad": _by_places,
    "dynamic_slice": _by_places,
    "dynamic_update_slice": _by_places,
    "gather": _gather,
    "scatter": _scatter,
    "scatter-add": _scatter_with("add"),
    "scatter-sub": _scatter_with("add", -1.0),
    "scatter-mul": _scatter_with("mul"),
    "scatter-max": _scatter_with("max"),
    "scatter-min": _scatter_with("min"),
    "copy": _same,
    "name": _same,
    "device_put": _same,
    "optimization_barrier": _same,
    # products, windows
    "dot_general": _dot_general,
    "conv_general_dilated": _convolution,
    "reduce_window": _reduce_window,
    "reduce_window_sum": _windowed("add"),
    "reduce_window_max": _windowed("max"),
    "reduce_window_min": _windowed("min"),
}
# fmt: on
"""The rules, by the names of JAX's primitives."""
