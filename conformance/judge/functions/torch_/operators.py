"""ATen's operators in primitives: a row of `ATEN` is a function of a call, or of its operands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod as product
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from conformance.judge.functions.recording import RecordingError
from conformance.judge.functions.torch_.given import leaves_of, numbers_of
from conformance.truth import arrays as at
from conformance.truth.nodes import Value, op
from conformance.truth.tape import Tape

__all__ = [
    "ATEN",
    "Call",
    "Handler",
    "Later",
    "Recorded",
    "as_numbers",
    "by_name",
    "for_each",
    "indices_of",
]


class Recorded(NamedTuple):
    """A tensor that depends on an input: its value on the tape, and the tensor that PyTorch computes
    there."""

    value: Value
    tensor: Tensor


class Call(NamedTuple):
    """One operator at some operands, at least one of which is recorded."""

    tape: Tape
    func: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    out: Any  # what PyTorch computes for it

    def value(self, x: Any) -> Value:
        """An operand as a value on the tape."""
        return x.value if isinstance(x, Recorded) else at.constant(self.tape, as_numbers(x))


Handler = Callable[..., Any]
ATEN: dict[str, Handler] = {}
"""Operators in primitives, by their name without "aten.": with an overload, or for all overloads."""


# --- how rules are written ------------------------------------------------------------------------


def as_numbers(x: Any) -> Any:
    return numbers_of(x) if isinstance(x, Tensor) else x


def _operand(x: Any) -> Any:
    """The operand as a Value, or as plain numbers."""
    if isinstance(x, list):
        return [_operand(y) for y in x]
    return x.value if isinstance(x, Recorded) else as_numbers(x)


def aten(*names: str) -> Callable[[Handler], Handler]:
    """Registers f(call) as these operators."""

    def known(f: Handler) -> Handler:
        for name in names:
            ATEN[name] = f
        return f

    return known


def values(*names: str) -> Callable[[Handler], Handler]:
    """Registers f(*operands) as these operators; each operand is a Value or plain numbers."""

    def known(f: Handler) -> Handler:
        aten(*names)(
            lambda call: f(
                *map(_operand, call.args), **{k: _operand(v) for k, v in call.kwargs.items()}
            )
        )
        return f

    return known


def _binary(name: str, plain: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Value]:
    """A primitive, or its NumPy function if neither operand is on the tape."""
    return lambda a, b: (
        at.apply(name, a, b) if isinstance(a, Value) or isinstance(b, Value) else plain(a, b)
    )


_add, _sub = _binary("add", np.add), _binary("subtract", np.subtract)
_mul, _div = _binary("multiply", np.multiply), _binary("quotient", np.true_divide)
_maximum = _binary("maximum", np.maximum)
_greater, _equal = _binary("greater", np.greater), _binary("equal", np.equal)


def _neg(a: Any) -> Value:
    return at.apply("negative", a) if isinstance(a, Value) else np.negative(a)


def _not(m: Any) -> Value:
    return at.apply("none_of", m) if isinstance(m, Value) else np.logical_not(m)


def _minimum(a: Any, b: Any) -> Value:
    return _neg(_maximum(_neg(a), _neg(b)))


def _trunc(a: Value) -> Value:
    return at.where(_greater(a, 0.0), at.apply("floor", a), _neg(at.apply("floor", _neg(a))))


def _settled(call: Call, x: Any) -> Any:
    """Whole numbers or a mask that the program uses directly. Raises UndecidedBranchError unless they are
    known beyond rounding."""
    if not isinstance(x, Recorded):
        return x
    if not np.array_equal(at.decided(x.value), numbers_of(x.tensor)):
        raise at.UndecidedBranchError(_OTHER_SIDE.format(call.func))
    return x.tensor


_OTHER_SIDE = (
    "{} depends on numbers that rounding decides; expected inputs at which they are further apart."
)


# --- elementwise ----------------------------------------------------------------------------------

for _aten, _primitive in {
    "abs": "absolute", "acos": "arccos", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan",
    "atanh": "arctanh", "cos": "cos", "cosh": "cosh", "erf": "erf", "erfc": "erfc", "exp": "exp",
    "expm1": "expm1", "floor": "floor", "log": "log", "log1p": "log1p", "neg": "negative",
    "reciprocal": "reciprocal", "rsqrt": "rsqrt", "sigmoid": "sigmoid", "sign": "sign", "sin": "sin",
    "sinh": "sinh", "sqrt": "sqrt", "tan": "tan", "tanh": "tanh",
}.items():  # fmt: skip
    values(_aten)(partial(at.apply, _primitive))


def _log_of(a: Value, base: float) -> Value:
    """log a over log(base), which is exact, not the float nearest to it."""
    return _div(at.apply("log", a), at.apply("log", at.constant(a.tape, base)))


def _root_half(a: Value) -> Value:
    """√½, on the tape of a."""
    return op.rsqrt(at.constant(a.tape, 2.0))


def _round(a: Value, decimals: int = 0) -> Value:
    """To the nearest; for two equally near, rounding decides."""
    scale = 10.0**decimals
    return _div(at.apply("floor", _add(_mul(a, scale), 0.5)), scale)


def _arctan2(a: Any, b: Any) -> Value:
    """The angle by its tangent or its cotangent, whichever is at most 1."""
    tape = at.tape_of(a, b)
    quarter = op.arctan(at.constant(tape, 1.0))
    flat = _greater(_square(b), _square(a))
    over = _div(a, at.where(flat, b, 1.0))
    under = _div(b, at.where(flat, 1.0, a))
    side = _sub(_mul(_greater(a, 0.0), 2.0), 1.0)  # 1 or −1
    left = at.where(_greater(0.0, b), _mul(_mul(quarter, 4.0), side), 0.0)
    return at.where(
        flat,
        _add(at.apply("arctan", over), left),
        _sub(_mul(_mul(quarter, 2.0), side), at.apply("arctan", under)),
    )


def _square(a: Any) -> Value:
    return at.apply("square", a) if isinstance(a, Value) else np.square(a)


def _divided(a: Any, b: Any, rounding_mode: str | None = None) -> Value:
    quotient: Value = _div(a, b)
    if rounding_mode is None:
        return quotient
    return at.apply("floor", quotient) if rounding_mode == "floor" else _trunc(quotient)


def _gelu(a: Value, approximate: str = "none") -> Value:
    if approximate == "tanh":
        beta = _mul(op.two_over_root_pi(a, sign=1), _root_half(a))
        inner = _mul(beta, _add(a, _mul(0.044715, _mul(_square(a), a))))
        return _mul(_mul(a, 0.5), _add(1.0, at.apply("tanh", inner)))
    return _mul(_mul(a, 0.5), _add(1.0, at.apply("erf", _mul(a, _root_half(a)))))


def _softplus(a: Value, beta: float = 1, threshold: float = 20) -> Value:
    """As PyTorch computes it: a straight line beyond the threshold."""
    scaled = _mul(a, float(beta)) if beta != 1 else a
    beyond = _greater(scaled, float(threshold))
    soft = at.apply("softplus", scaled)
    return at.where(beyond, a, _div(soft, float(beta)) if beta != 1 else soft)


def _elu(a: Value, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Value:
    positive = _greater(a, 0.0)
    below = at.apply("expm1", _times(at.where(positive, 0.0, a), input_scale))
    return at.where(positive, _times(a, scale), _times(below, alpha * scale))


def _times(a: Value, c: float) -> Value:
    return a if c == 1 else _mul(a, float(c))


def _clamp(a: Any, min: Any = None, max: Any = None) -> Value:
    a = a if min is None else _maximum(a, min)
    return a if max is None else _minimum(a, max)


def _hard_sigmoid(a: Value) -> Value:
    return _div(_clamp(_add(a, 3.0), 0.0, 6.0), 6.0)


def _log_add_exp(a: Any, b: Any) -> Value:
    return _add(b, at.apply("softplus", _sub(a, b)))


_ELEMENTWISE: dict[str, Handler] = {
    "add": lambda a, b, alpha=1: _add(a, b if alpha == 1 else _mul(b, float(alpha))),
    "sub": lambda a, b, alpha=1: _sub(a, b if alpha == 1 else _mul(b, float(alpha))),
    "rsub": lambda a, b, alpha=1: _sub(b, a if alpha == 1 else _mul(a, float(alpha))),
    "mul": _mul,
    "div": _divided,
    "floor_divide": lambda a, b: at.apply("floor", _div(a, b)),
    "remainder": lambda a, b: _sub(a, _mul(b, at.apply("floor", _div(a, b)))),
    "fmod": lambda a, b: _sub(a, _mul(b, _trunc(_div(a, b)))),
    "pow": at.power,
    "atan2": _arctan2,
    "hypot": lambda a, b: at.apply("sqrt", _add(_square(a), _square(b))),
    "logaddexp": _log_add_exp,
    "maximum": _maximum,
    "fmax": _maximum,
    "minimum": _minimum,
    "fmin": _minimum,
    "clamp": _clamp,
    "clamp_min": _maximum,
    "clamp_max": _minimum,
    "hardtanh": lambda a, min_val=-1, max_val=1: _clamp(a, min_val, max_val),
    "acosh": lambda a: at.apply("log", _add(a, at.apply("sqrt", _mul(_sub(a, 1.0), _add(a, 1.0))))),
    "exp2": lambda a: at.apply("exp", _mul(a, at.apply("log", at.constant(a.tape, 2.0)))),
    "log2": lambda a: _log_of(a, 2.0),
    "log10": lambda a: _log_of(a, 10.0),
    "ceil": lambda a: _neg(at.apply("floor", _neg(a))),
    "trunc": _trunc,
    "round": _round,
    "relu": lambda a: _maximum(a, 0.0),
    "leaky_relu": lambda a, slope=0.01: at.where(_greater(a, 0.0), a, _mul(a, float(slope))),
    "_prelu_kernel": lambda a, w: at.where(_greater(a, 0.0), a, _mul(a, w)),
    "threshold": lambda a, threshold, value: at.where(_greater(a, float(threshold)), a, float(value)),
    "gelu": _gelu,
    "silu": lambda a: _mul(a, at.apply("sigmoid", a)),
    "mish": lambda a: _mul(a, at.apply("tanh", at.apply("softplus", a))),
    "softplus": _softplus,
    "log_sigmoid_forward": lambda a: (_neg(at.apply("softplus", _neg(a))), None),
    "elu": _elu,
    "hardsigmoid": _hard_sigmoid,
    "hardswish": lambda a: _mul(a, _hard_sigmoid(a)),
    "where": lambda mask, a, b: at.where(mask, a, b),
    "masked_fill": lambda a, mask, value: at.where(mask, value, a),
}  # fmt: skip
for _aten, _f in _ELEMENTWISE.items():
    values(_aten)(_f)


# --- comparisons and masks ------------------------------------------------------------------------

_COMPARISONS: dict[str, Callable[[Any, Any], Value]] = {
    "gt": _greater,
    "lt": lambda a, b: _greater(b, a),
    "ge": lambda a, b: _not(_greater(b, a)),
    "le": lambda a, b: _not(_greater(a, b)),
    "eq": _equal,
    "ne": lambda a, b: _not(_equal(a, b)),
}
_OF_MASKS: dict[str, Handler] = {
    "logical_not": _not,
    "bitwise_not": _not,
    "logical_and": _binary("both_of", np.logical_and),
    "bitwise_and": _binary("both_of", np.logical_and),
    "logical_or": _binary("either_of", np.logical_or),
    "bitwise_or": _binary("either_of", np.logical_or),
    "logical_xor": lambda a, b: _not(_equal(a, b)),
    "bitwise_xor": lambda a, b: _not(_equal(a, b)),
}


def _compared(f: Callable[[Any, Any], Value], call: Call) -> Any:
    """A comparison with an infinite number is not decided by rounding: PyTorch's answer is taken."""
    a, b = map(_operand, call.args)
    infinite = any(np.isinf(x).all() for x in (a, b) if not isinstance(x, Value))
    return None if infinite else f(a, b)


def _of_masks(f: Handler, call: Call) -> Any:
    return f(*(_mask(call, x) for x in call.args))


for _aten, _f in _COMPARISONS.items():
    aten(_aten)(partial(_compared, _f))
for _aten, _f in _OF_MASKS.items():
    aten(_aten)(partial(_of_masks, _f))


def _mask(call: Call, x: Any) -> Any:
    """A mask of the numbers that are not 0."""
    if isinstance(x, Recorded):
        return x.value if x.tensor.dtype == torch.bool else _not(_equal(x.value, 0.0))
    return as_numbers(x).astype(bool) if isinstance(x, Tensor) else x


@aten("isnan", "isinf")
def _is_finite(call: Call) -> Any:
    """No rounding makes a number infinite: PyTorch's answer is taken."""
    return None


# --- a dtype, a copy, a branch --------------------------------------------------------------------


@aten("_to_copy", "prims.convert_element_type")
def _to(call: Call) -> Any:
    x, to = call.args[0], call.out.dtype
    if to == torch.bool:
        return _mask(call, x)
    if to.is_floating_point or x.tensor.dtype == torch.bool or not x.tensor.is_floating_point():
        return x.value
    if not np.array_equal(at.decided(_trunc(x.value)), numbers_of(call.out)):
        raise at.UndecidedBranchError(_OTHER_SIDE.format(call.func))
    return call.out


@aten("clone", "alias")
def _same(call: Call) -> Value:
    """PyTorch's own copies and detaches are transparent; a detach in the user's function is
    `conformance.stop`."""
    return call.value(call.args[0])


@aten("copy")
def _copied(call: Call) -> Value:
    return at.broadcast(call.value(call.args[1]), tuple(call.out.shape))


@aten("fill")
def _filled(call: Call) -> Any:
    if not isinstance(call.args[1], Recorded):
        return call.out
    return at.broadcast(call.args[1].value, tuple(call.out.shape))


@aten("conformance.stop")
def _stopped(call: Call) -> Value:
    return op.stop(call.args[0].value)


@aten("conformance.unseen")
def _hidden(call: Call) -> Value:
    raise RecordingError(
        "a tensor that depends on an input is changed in place under torch.no_grad(), and autograd is not "
        "told; expected the change outside of it, or a new tensor."
    )


@aten(
    "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full", "empty_like", "new_empty",
    "new_empty_strided",
)  # fmt: skip
def _like(call: Call) -> Tensor:
    """A new tensor that PyTorch fills; an empty one gets zeros."""
    return torch.zeros_like(call.out) if "empty" in str(call.func) else call.out


@aten("_local_scalar_dense")
def _item(call: Call) -> Any:
    x = call.args[0]
    if x.tensor.dtype != torch.bool:
        raise RecordingError(
            "a number computed from the inputs is turned into a plain one (.item(), float(), int()), and "
            "what is done with it is not seen; expected tensors."
        )
    _settled(call, x)
    return call.out


# --- moving numbers about -------------------------------------------------------------------------


def _moves(data: Sequence[int], *names: str) -> None:
    """Register operators that only move numbers about: those of the operands at the positions `data`."""
    aten(*names)(lambda call: _moved(call, data))


def _moved(call: Call, data: Sequence[int]) -> Any:
    """Run the operator on the positions of the numbers, counted from 1; 0 is what the operator fills with."""
    parts: list[Value] = []

    def places(x: Any) -> Any:
        if isinstance(x, list):
            return [places(y) for y in x]
        start = 1 + sum(product(p.shape) for p in parts)
        parts.append(call.value(x))
        n = product(parts[-1].shape)
        return torch.arange(start, start + n, dtype=torch.float64).reshape(parts[-1].shape)

    args = [places(x) if i in data else _index(call, x) for i, x in enumerate(call.args)]
    found = call.func(*args, **{k: _index(call, v) for k, v in call.kwargs.items()})
    flat = [at.reshape(p, (product(p.shape),)) for p in parts]
    return for_each(lambda to: _taken(at.join(flat), numbers_of(to).astype(np.intp) - 1), found)


def _index(call: Call, x: Any) -> Any:
    if isinstance(x, list):
        return [_index(call, y) for y in x]
    return _settled(call, x)


def _taken(flat: Value, index: NDArray[np.intp]) -> Value:
    n = product(flat.shape)
    if index.size == n and np.array_equal(index.ravel(), np.arange(n)):
        return at.reshape(flat, index.shape)
    return at.taken(flat, index)


_moves(
    (0,), "view", "_unsafe_view", "permute", "transpose", "t", "squeeze", "unsqueeze", "slice", "select",
    "split", "split_with_sizes", "unbind", "repeat", "flip", "roll", "gather", "index", "index_select",
    "take",
    "diagonal", "diag_embed", "tril", "triu", "unfold", "im2col", "reflection_pad1d", "reflection_pad2d",
    "reflection_pad3d", "replication_pad1d", "replication_pad2d", "replication_pad3d", "pixel_shuffle",
    "pixel_unshuffle", "masked_select", "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d",
    "_unsafe_index", "rot90",
)  # fmt: skip
_moves((0, 1), "slice_scatter", "select_scatter", "diagonal_scatter")
_moves((0, 2), "masked_scatter")
_moves((0, 3), "scatter.src", "index_copy")


@aten("cat", "stack")
def _joined(call: Call) -> Any:
    return _moved(
        call._replace(args=([x for x in call.args[0] if x is not None], *call.args[1:])), (0,)
    )


@aten("expand")
def _expanded(call: Call) -> Value:
    return at.broadcast(call.args[0].value, tuple(call.out.shape))


@aten("as_strided")
def _strided(call: Call) -> Any:
    x = call.args[0].tensor
    if (
        not x.is_contiguous()
        or x.storage_offset()
        or x.untyped_storage().nbytes() != x.numel() * x.itemsize
    ):
        raise RecordingError(
            "torch.as_strided of a tensor that is not contiguous is not known to the tape."
        )
    return _moved(call, (0,))


@values("constant_pad_nd")
def _padded(a: Value, pad: Sequence[int], value: float = 0) -> Value:
    places = torch.arange(1, product(a.shape) + 1, dtype=torch.float64).reshape(a.shape)
    index = numbers_of(torch.constant_pad_nd(places, list(pad), 0)).astype(np.intp) - 1
    found = at.taken(a, index)
    return found if value == 0 else at.where(index < 0, float(value), found)


@aten("embedding")
def _embedded(call: Call) -> Value:
    """Rows of the weight; the row of `padding_idx` has no gradient."""
    weight, indices, padding = (*call.args, -1)[:3]
    at_ = numbers_of(_settled(call, indices))
    rows = at.moved(call.value(weight), lambda p: p[at_])
    if padding < 0 or not (at_ == padding).any():
        return rows
    return at.where((at_ == padding)[..., None], op.stop(rows), rows)


@aten("_embedding_bag", "_embedding_bag_forward_only")
def _bags(call: Call) -> Any:
    """The sum, or the mean, of the rows of each bag, except those of `padding_idx`."""
    of = by_name(call.func, call.args, call.kwargs)
    if of["mode"] == 2:
        raise RecordingError(
            "an EmbeddingBag's max is not known to the tape; expected sum or mean."
        )
    indices, starts = (numbers_of(_settled(call, of[n])) for n in ("indices", "offsets"))
    bags = len(call.out[0])
    bag = np.searchsorted(starts[:bags], np.arange(len(indices)), side="right") - 1
    kept = indices != of["padding_idx"]
    rows = at.moved(call.value(of["weight"]), lambda p: p[indices[kept].astype(np.intp)])
    if of["per_sample_weights"] is not None:
        each = at.moved(call.value(of["per_sample_weights"]), lambda p: p[kept][:, None])
        rows = _mul(rows, each)
    zeros = at.constant(call.tape, np.zeros(call.out[0].shape))
    found = _added_at(zeros, _places_of(call.out[0])[torch.from_numpy(bag[kept])], rows)
    if of["mode"] == 1:
        counts = np.bincount(bag[kept], minlength=bags)
        found = _div(found, np.maximum(counts, 1.0)[:, None])
    return (found, *call.out[1:])


def _added_at(a: Value, targets: Tensor, values: Value) -> Value:
    """a with each value added at its target, an index into the flattened a."""
    flat = at.reshape(a, (product(a.shape),))
    return at.reshape(at.put(flat, numbers_of(targets).astype(np.intp), values, add=True), a.shape)


def _places_of(x: Any) -> Tensor:
    shape = tuple(x.tensor.shape if isinstance(x, Recorded) else x.shape)
    return torch.arange(product(shape)).reshape(shape)


@aten("index_put", "_unsafe_index_put")
def _index_put(call: Call) -> Any:
    x, indices, new, accumulate = (*call.args, *call.kwargs.values(), False)[:4]
    if not accumulate:
        return _moved(call, (0, 2))
    indices = [None if i is None else _settled(call, i) for i in indices]
    targets = torch.ops.aten.index(_places_of(x), indices)
    return _added_at(call.value(x), targets, at.broadcast(call.value(new), tuple(targets.shape)))


@aten("scatter.value")
def _scattered(call: Call) -> Any:
    x, dim, index, value = call.args
    new = torch.full(index.shape, float(value), dtype=x.tensor.dtype)
    return _moved(call._replace(func=torch.ops.aten.scatter.src, args=(x, dim, index, new)), (0, 3))


@aten("scatter_add", "scatter_reduce.two")
def _scatter_add(call: Call) -> Value:
    x, dim, index, new, *more = call.args
    if (more or ["sum"])[0] != "sum" or not call.kwargs.get("include_self", True):
        raise RecordingError(
            f"{call.func} with reduce={more[0]!r} is not known to the tape; "
            "expected 'sum', with include_self=True."
        )
    index = _settled(call, index)
    targets = torch.gather(_places_of(x), dim, index)
    part = tuple(slice(n) for n in index.shape)
    return _added_at(call.value(x), targets, at.moved(call.value(new), lambda p: p[part]))


@aten("index_add")
def _index_add(call: Call) -> Value:
    x, dim, index, new = call.args
    alpha = call.kwargs.get("alpha", 1)
    targets = torch.index_select(_places_of(x), dim, _settled(call, index))
    return _added_at(call.value(x), targets, _times(call.value(new), alpha))


# --- operators that depend on the order of numbers ------------------------------------------------


def indices_of(call: Call) -> Any:
    """PyTorch's results, if the order of the numbers is known beyond rounding. Raises UndecidedBranchError
    otherwise."""

    def exact(x: Any) -> Any:
        return torch.from_numpy(at.decided(x.value).copy()) if isinstance(x, Recorded) else x

    again = call.func(*map(exact, call.args), **call.kwargs)
    for a, b in zip(leaves_of(again), leaves_of(call.out), strict=True):
        if not b.is_floating_point() and not torch.equal(a, b):
            raise at.UndecidedBranchError(_OTHER_SIDE.format(call.func))
    return call.out


aten("argmax", "argmin", "nonzero", "bucketize", "searchsorted")(indices_of)


@aten("sort", "topk", "kthvalue", "median.dim", "cummax", "cummin", "mode")
def _picked(call: Call) -> Any:
    """The values at the indices that the operator returns, along one axis."""
    _, indices = indices_of(call)
    x = call.args[0]
    dim = by_name(call.func, call.args, call.kwargs)["dim"]
    along = indices.unsqueeze(dim) if indices.ndim < x.tensor.ndim else indices
    index = numbers_of(torch.gather(_places_of(x), dim, along) if x.tensor.ndim else _places_of(x))
    return at.taken(x.value, index.reshape(indices.shape)), indices


# --- over axes ------------------------------------------------------------------------------------


def _over(axes: Any) -> Any:
    """None, which means all axes, for an empty list."""
    return None if axes is None or (isinstance(axes, list) and not axes) else axes


@values("sum")
def _sum(a: Value, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Value:
    return at.sum(a, _over(dim), keepdim)


@values("mean")
def _mean(a: Value, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Value:
    return at.mean(a, _over(dim), keepdim)


def _count(a: Value, axes: Any) -> int:
    chosen = range(len(a.shape)) if axes is None else [axes] if isinstance(axes, int) else axes
    return product(a.shape[i] for i in chosen)


def _moments(a: Value, axes: Any, correction: float = 0) -> tuple[Value, Value]:
    """Mean and variance over some axes, which are kept."""
    mean = at.mean(a, axes, True)
    total = at.sum(_square(_sub(a, mean)), axes, True)
    return mean, _div(total, float(max(_count(a, axes) - correction, 0)))


def _dropped(a: Value, axes: Any, keepdim: bool) -> Value:
    """a without the axes of length 1 that a sum has kept."""
    if keepdim:
        return a
    n = len(a.shape)
    gone = (
        range(n) if axes is None else [i % n for i in ([axes] if isinstance(axes, int) else axes)]
    )
    return at.reshape(a, tuple(k for i, k in enumerate(a.shape) if i not in gone))


@values("var.correction", "var_mean.correction")
def _variance(
    a: Value, dim: Any = None, correction: float | None = None, keepdim: bool = False
) -> Any:
    axes = _over(dim)
    mean, variance = _moments(a, axes, 1 if correction is None else correction)
    return _dropped(variance, axes, keepdim), _dropped(mean, axes, keepdim)


_both = ATEN["var_mean.correction"]
ATEN["var.correction"] = lambda call: _both(call)[0]


@values("amax", "max.default")
def _amax(a: Value, dim: Any = None, keepdim: bool = False) -> Value:
    return at.largest(a, _over(dim), keepdim)


def _smallest(a: Value, axes: Any, keepdim: bool) -> Value:
    return _neg(at.largest(_neg(a), axes, keepdim))


@values("amin", "min.default")
def _amin(a: Value, dim: Any = None, keepdim: bool = False) -> Value:
    return _smallest(a, _over(dim), keepdim)


@aten("max.dim", "min.dim")
def _extreme(call: Call) -> Any:
    """Of equal numbers each gets its share of the gradient; the indices are decided if they are used."""
    f = _amax if "max" in str(call.func) else _amin
    return f(call.args[0].value, *call.args[1:]), Later(call)


class Later(NamedTuple):
    """Indices that are decided only if they are used."""

    call: Call


@values("prod")
def _prod(a: Value, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Value:
    if dim is None:
        a, dim = at.reshape(a, (product(a.shape),)), 0
    last = at.moved(at.cumulative(a, dim, "prod"), lambda p: np.take(p, [-1], axis=dim))
    return _dropped(last, dim, keepdim)


@aten("any", "all")
def _some(call: Call) -> Value:
    axes, keepdim = (*call.args[1:], None, False)[:2]
    mask = _mask(call, call.args[0])
    f = at.largest if "any" in str(call.func) else _smallest
    return f(mask, axes, keepdim)


@values("logsumexp")
def _logsumexp(a: Value, dim: Any, keepdim: bool = False) -> Value:
    axes = _over([dim] if isinstance(dim, int) else dim)
    top = op.stop(at.largest(a, axes, True))
    return _dropped(
        _add(top, at.apply("log", at.sum(at.apply("exp", _sub(a, top)), axes, True))), axes, keepdim
    )


@values("linalg_vector_norm")
def _norm(
    a: Value, ord: float = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> Value:
    axes, size = _over(dim), partial(at.apply, "absolute")
    if ord == 2:
        return at.apply("sqrt", at.sum(_square(a), axes, keepdim))
    if ord == 1:
        return at.sum(size(a), axes, keepdim)
    if np.isinf(ord):
        return (at.largest if ord > 0 else _smallest)(size(a), axes, keepdim)
    if ord == 0:
        return at.sum(_not(_equal(a, 0.0)), axes, keepdim)
    return at.apply("power", at.sum(at.apply("power", size(a), float(ord)), axes, keepdim), 1 / ord)


@values("cumsum")
def _cumsum(a: Value, dim: int, dtype: Any = None) -> Value:
    return at.cumulative(a, dim) if a.shape else a


@values("cumprod")
def _cumprod(a: Value, dim: int, dtype: Any = None) -> Value:
    return at.cumulative(a, dim, "prod") if a.shape else a


@values("logcumsumexp")
def _logcumsumexp(a: Value, dim: int) -> Value:
    top = op.stop(at.largest(a, dim, True))
    return _add(top, at.apply("log", at.cumulative(at.apply("exp", _sub(a, top)), dim)))


@values("_softmax")
def _softmax(a: Value, dim: int, half_to_float: bool = False) -> Value:
    e = at.apply("exp", _shifted(a, dim))
    return _div(e, at.sum(e, dim, True))


@values("_log_softmax")
def _log_softmax(a: Value, dim: int, half_to_float: bool = False) -> Value:
    below = _shifted(a, dim)
    return _sub(below, at.apply("log", at.sum(at.apply("exp", below), dim, True)))


def _shifted(a: Value, dim: int) -> Value:
    """a minus its maximum, which changes no result and has no gradient."""
    return _sub(a, op.stop(at.largest(a, dim, True)))


# --- products -------------------------------------------------------------------------------------


def _product(a: Any, b: Any) -> Value:
    """A product; rows of a softmax are divided by their sum after it, as in fused attention.

    The backward pass of fused attention has Σ dO∘O where the plain form has Σ P∘dP. They are equal but have
    other errors, and errors are all that is left in a row with only one number that is not masked.
    """
    parts = _numerators(a) if isinstance(a, Value) else None
    if parts is None:
        return at.matmul(a, b)
    return _div(at.matmul(parts[0], b), parts[1])


def _numerators(a: Value) -> tuple[Value, Value] | None:
    """(e, Σe), if a is e/Σe along its rows."""
    nodes = a.tape.nodes
    node = nodes[a.index]
    if node.rule.name == "reshape":
        inner = Value(a.tape, node.operands[0])
        if inner.shape[-1:] != a.shape[-1:] or (parts := _numerators(inner)) is None:
            return None
        return at.reshape(parts[0], a.shape), at.reshape(parts[1], (*a.shape[:-1], 1))
    if node.rule.name != "quotient" or len(a.shape) < 2:
        return None
    e, total = node.operands
    over = nodes[total]
    if over.rule.name != "sum" or over.params["axes"] != (-1,) or over.operands != (e,):
        return None
    return Value(a.tape, e), Value(a.tape, total)


values("mm", "bmm")(_product)
values("mv", "dot")(at.matmul)


@aten("_scaled_dot_product_flash_attention_for_cpu")
def _attention(call: Call) -> Any:
    of = by_name(call.func, call.args, call.kwargs)
    q, k, v = (call.value(of[n]) for n in ("query", "key", "value"))
    scale = q.shape[-1] ** -0.5 if of["scale"] is None else of["scale"]
    scores = _mul(at.matmul(q, op.transpose(k)), float(scale))
    if of["is_causal"]:
        scores = at.where(np.tri(scores.shape[-2], scores.shape[-1]), scores, -np.inf)
    if of["attn_mask"] is not None:
        scores = _add(scores, _operand(of["attn_mask"]))
    return _product(_softmax(scores, -1), v), None


@values("addmm", "baddbmm", "addmv")
def _addmm(a: Any, b: Any, c: Any, beta: float = 1, alpha: float = 1) -> Value:
    found = at.matmul(b, c) if isinstance(b, Value) or isinstance(c, Value) else np.matmul(b, c)
    found = found if alpha == 1 else _mul(found, float(alpha))
    if not beta:
        return found
    start = a if beta == 1 else _mul(a, float(beta))
    return _onto(found, start, b.shape[-1])


@values("_trilinear")
def _trilinear(
    a: Any, b: Any, c: Any, ones_in_a: Sequence[int], ones_in_b: Sequence[int], ones_in_c: Sequence[int],
    dim: Sequence[int], unroll_dim: int = 1,
) -> Value:  # fmt: skip
    """Σ abc over some axes; each operand lacks axes that the others have: `nn.Bilinear`."""
    ab = _mul(_with_axes(a, ones_in_a), _with_axes(b, ones_in_b))
    found: Value = _sum(_mul(ab, _with_axes(c, ones_in_c)), dim)
    return found


def _with_axes(x: Any, axes: Sequence[int]) -> Any:
    """x with more axes of length 1, at these places of the result."""
    if isinstance(x, Value):
        return at.moved(x, lambda p: np.expand_dims(p, tuple(axes)))
    return np.expand_dims(x, tuple(axes))


def _onto(found: Any, start: Any, terms: int) -> Value:
    """A sum of products that may begin with `start`: a bias."""
    if not isinstance(found, Value) or not isinstance(start, Value):
        return _add(start, found)
    return at.apply("onto", found, start, terms=terms)


@values("_cdist_forward")
def _distances(a: Any, b: Any, p: float, mode: int | None = None) -> Value:
    """‖aᵢ − bⱼ‖_p."""
    found: Value = _norm(_sub(_with_axes(a, [-2]), _with_axes(b, [-3])), p, -1)
    return found


@aten("convolution")
def _convolution(call: Call) -> Value:
    x, w, bias, stride, padding, dilation, transposed, output_padding, groups = call.args
    a, kernel = call.value(x), call.value(w)
    n = len(a.shape) - 2
    stride, padding, dilation, more = (
        list(v) * (n if len(v) == 1 else 1) for v in (stride, padding, dilation, output_padding)
    )
    if transposed:
        size = kernel.shape[2:]
        kernel = _turned(kernel, groups)
        reach = [d * (k - 1) for d, k in zip(dilation, size, strict=True)]
        pads = [(r - p, r - p + m) for r, p, m in zip(reach, padding, more, strict=True)]
        found = at.convolve(a, kernel, [1] * n, pads, dilation, groups, spread=stride)
    else:
        found = at.convolve(a, kernel, stride, [(p, p) for p in padding], dilation, groups)
    if bias is None:
        return found
    b = call.value(bias)
    return _onto(found, at.reshape(b, (*b.shape, *(1,) * n)), product(kernel.shape[1:]))


def _turned(kernel: Value, groups: int) -> Value:
    """A kernel of shape in×(out/groups)×… as out×(in/groups)×…, reversed along its other axes."""
    many, out, *size = kernel.shape
    grouped = at.reshape(kernel, (groups, many // groups, out, *size))
    swapped = at.permute(grouped, (0, 2, 1, *range(3, 3 + len(size))))
    turned = at.moved(swapped, lambda p: np.flip(p, tuple(range(3, 3 + len(size)))))
    return at.reshape(turned, (groups * out, many // groups, *size))


# --- windows --------------------------------------------------------------------------------------

Spans = list[NDArray[np.intp]]
"""For each axis: out×size, the elements that each window has; −1 for none."""


def _spans(
    shape: Sequence[int], size: Any, stride: Any, padding: Any, dilation: Any, ceil: bool
) -> Spans:
    found = []
    for n, k, s, p, d in zip(shape, size, stride, padding, dilation, strict=True):
        room = n + 2 * p - d * (k - 1) - 1
        out = (room + s - 1 if ceil else room) // s + 1
        if ceil and (out - 1) * s >= n + p:
            out -= 1  # no window begins in the padding at the end
        index = np.arange(out)[:, None] * s + np.arange(k)[None, :] * d - p
        found.append(np.where((index >= 0) & (index < n), index, -1))
    return found


def _adaptive(shape: Sequence[int], to: Sequence[int]) -> Spans:
    found = []
    for n, out in zip(shape, to, strict=True):
        start = np.arange(out) * n // out
        end = -(-(np.arange(1, out + 1) * n) // out)
        index = start[:, None] + np.arange(int((end - start).max()))[None, :]
        found.append(np.where(index < end[:, None], index, -1))
    return found


def _windows(a: Value, spans: Spans, empty: float) -> Value:
    """…×out×size: the elements of each window of the last axes, in one axis; `empty` beyond the array."""
    n = len(spans)
    places: Any = np.zeros((), np.intp)
    there: Any = np.ones((), np.bool_)
    for d, span in enumerate(spans):
        like = [1] * (2 * n)
        like[d], like[n + d] = span.shape
        places = places * a.shape[len(a.shape) - n + d] + np.maximum(span, 0).reshape(like)
        there = there & (span >= 0).reshape(like)
    outer, inner = a.shape[: len(a.shape) - n], product(a.shape[len(a.shape) - n :])
    stacked = np.arange(product(outer)).reshape(*outer, *(1,) * (2 * n)) * inner + places
    stacked = np.where(there, stacked, product(a.shape))
    index = stacked.reshape(*stacked.shape[: len(outer) + n], -1)
    flat = at.join([at.reshape(a, (product(a.shape),)), np.array([empty])])
    return at.taken(flat, index)


def _lists(n: int, *of: Any) -> list[list[int]]:
    """Each of these as a list with one number for each axis."""
    return [
        list(v) * (n if len(v) == 1 else 1) if isinstance(v, list | tuple) else [v] * n for v in of
    ]


@aten("max_pool2d_with_indices", "max_pool3d_with_indices")
def _max_pool(call: Call) -> Any:
    n = 2 if "2d" in str(call.func) else 3
    of = by_name(call.func, call.args, call.kwargs)
    a, size = call.value(call.args[0]), of["kernel_size"]
    size, stride, padding, dilation = _lists(
        n, size, of["stride"] or size, of["padding"], of["dilation"]
    )
    spans = _spans(a.shape[-n:], size, stride, padding, dilation, of["ceil_mode"])
    return at.largest(_windows(a, spans, -np.inf), -1), Later(call)


@aten("avg_pool2d", "avg_pool3d")
def _avg_pool(call: Call) -> Value:
    n = int(str(call.func).partition("avg_pool")[2][0])
    of = by_name(call.func, call.args, call.kwargs)
    a, size = call.value(call.args[0]), of["kernel_size"]
    size, stride, padding = _lists(n, size, of["stride"] or size, of["padding"])
    padded, divisor = of["count_include_pad"], of["divisor_override"]
    spans = _spans(a.shape[-n:], size, stride, padding, [1] * n, of["ceil_mode"])
    counts: Any = np.ones(())
    for long, span, k, s, p in zip(a.shape[-n:], spans, size, stride, padding, strict=True):
        start = np.arange(len(span)) * s - p
        within = np.minimum(start + k, long + p) - start if padded else (span >= 0).sum(axis=-1)
        counts = np.multiply.outer(counts, within)
    return _div(at.sum(_windows(a, spans, 0.0), -1), float(divisor) if divisor else counts)


@aten("_adaptive_avg_pool2d", "_adaptive_avg_pool3d")
def _adaptive_avg_pool(call: Call) -> Value:
    a = call.args[0].value
    spans = _adaptive(a.shape[-len(call.args[1]) :], call.args[1])
    counts: Any = np.ones(())
    for span in spans:
        counts = np.multiply.outer(counts, (span >= 0).sum(axis=-1))
    return _div(at.sum(_windows(a, spans, 0.0), -1), counts)


@aten("adaptive_max_pool2d", "adaptive_max_pool3d")
def _adaptive_max_pool(call: Call) -> Any:
    a = call.args[0].value
    spans = _adaptive(a.shape[-len(call.args[1]) :], call.args[1])
    return at.largest(_windows(a, spans, -np.inf), -1), Later(call)


# --- norms ----------------------------------------------------------------------------------------


def _scaled(y: Value, weight: Any, bias: Any, shape: Sequence[int]) -> Value:
    for f, of in ((_mul, weight), (_add, bias)):
        if of is not None:
            y = f(
                y, at.reshape(of, tuple(shape)) if isinstance(of, Value) else np.reshape(of, shape)
            )
    return y


def _normalised(a: Value, axes: Any, eps: float) -> tuple[Value, Value, Value]:
    mean, variance = _moments(a, axes)
    scale = at.apply("rsqrt", _add(variance, float(eps)))
    return _mul(_sub(a, mean), scale), mean, scale


@values("native_layer_norm")
def _layer_norm(a: Value, shape: Sequence[int], weight: Any, bias: Any, eps: float) -> Any:
    y, mean, scale = _normalised(a, list(range(-len(shape), 0)), eps)
    return _scaled(y, weight, bias, shape), mean, scale


@values("native_group_norm")
def _group_norm(
    a: Value, weight: Any, bias: Any, N: int, C: int, HxW: int, group: int, eps: float
) -> Any:
    rows = at.reshape(a, (N, group, C // group * HxW))
    y, mean, scale = _normalised(rows, [-1], eps)
    y = _scaled(at.reshape(y, a.shape), weight, bias, (C, *(1,) * (len(a.shape) - 2)))
    return y, at.reshape(mean, (N, group)), at.reshape(scale, (N, group))


def _batch_norm(
    a: Any, weight: Any, bias: Any, stats: Any, eps: float
) -> tuple[Value, Value | None, Value | None]:
    """y, and the mean and scale of the batch if no statistics are given."""
    shape = (a.shape[1], *(1,) * (len(a.shape) - 2))
    if stats is None:
        y, mean, scale = _normalised(a, [i for i in range(len(a.shape)) if i != 1], eps)
        return (
            _scaled(y, weight, bias, shape),
            at.reshape(mean, shape[:1]),
            at.reshape(scale, shape[:1]),
        )
    mean, variance = (at.reshape(s, shape) for s in stats)
    y = _mul(_sub(a, mean), at.apply("rsqrt", _add(variance, float(eps))))
    return _scaled(y, weight, bias, shape), None, None


@aten(
    "native_batch_norm", "_native_batch_norm_legit.no_stats", "_native_batch_norm_legit_no_training",
    "_native_batch_norm_legit_functional",
)  # fmt: skip
def _batch_norm_of(call: Call) -> Any:
    """Batch normalisation. The update of the running statistics is not part of the function."""
    x, weight, bias, *stats = call.args[:-1]
    name = str(call.func)
    training = "no_training" not in name and stats[0 if "no_stats" in name else 2]
    if not training and not isinstance(stats[0], Recorded | Tensor):
        training = True
    given = None if training else [call.value(s) for s in stats[:2]]
    found = _batch_norm(call.value(x), _operand(weight), _operand(bias), given, call.args[-1])
    return (*found, *(None,) * (len(call.out) - 3))


def by_name(func: Any, args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The operands by the names that the operator gives them."""
    arguments = func._schema.arguments
    named = dict(zip((a.name for a in arguments), args, strict=False))
    return {a.name: a.default_value for a in arguments} | named | dict(kwargs)


def for_each(f: Callable[[Any], Any], x: Any) -> Any:
    return [f(y) for y in x] if isinstance(x, tuple | list) else f(x)
