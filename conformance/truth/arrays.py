"""Array code on a tape: the operations that people write, composed of primitives.

Operands are `Value`s, or numbers and NumPy arrays, which are constants. An operation that only moves numbers
about is described by what it does to their positions: `moved(a, np.flip)` moves the elements of a as np.flip
moves positions. So indexing, padding, pooling and convolution need no rule of their own. Axes are counted as
NumPy counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod as product
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from conformance.truth import primitives as primitives  # the import registers its rules
from conformance.truth.nodes import Nodes, Shape, Value, op
from conformance.truth.readings import in_balls
from conformance.truth.rounding import ROUNDED
from conformance.truth.rules import LEAF
from conformance.truth.tape import Tape

__all__ = [
    "Operand",
    "UndecidedBranchError",
    "apply",
    "broadcast",
    "constant",
    "contract",
    "convolve",
    "cumulative",
    "decided",
    "einsum",
    "join",
    "largest",
    "matmul",
    "mean",
    "moved",
    "permute",
    "power",
    "put",
    "reshape",
    "sum",
    "taken",
    "where",
    "windows",
]

Operand: TypeAlias = "Value | ArrayLike"
Axis: TypeAlias = "int | Sequence[int] | None"


class UndecidedBranchError(ValueError):
    """The code branches on a number whose side is not known, at any precision."""


def tape_of(*operands: Any) -> Nodes:
    """The tape of the first recorded operand."""
    return next(x.tape for x in operands if isinstance(x, Value))


def constant(tape: Nodes, numbers: ArrayLike) -> Value:
    """A constant of the code. If the current dtype rounds it, a cast is recorded: code that keeps more digits
    differs by that rounding."""
    M = np.asarray(numbers, np.float64)
    leaf = tape.record(LEAF, numbers=M)
    rounded = ROUNDED.get(tape.dtype or "")
    if rounded is not None and not np.array_equal(rounded(M), M, equal_nan=True):
        return op.cast(leaf)
    return leaf


def _recorded(tape: Nodes, x: Any) -> Value:
    return x if isinstance(x, Value) else constant(tape, x)


def apply(name: str, *operands: Operand, **params: Any) -> Value:
    """An elementwise primitive, its operands broadcast against each other."""
    tape = tape_of(*operands)
    of = [_recorded(tape, x) for x in operands]
    ndim = max(len(x.shape) for x in of)
    of = [reshape(x, (1,) * (ndim - len(x.shape)) + x.shape) for x in of]
    found: Value = getattr(op, name)(*of, **params)
    return found


def power(a: Operand, b: Operand) -> Value:
    """a^b; a square, a root or a reciprocal is recorded as such."""
    if isinstance(a, Value) and not isinstance(b, Value) and np.ndim(b) == 0:
        exponent = float(np.asarray(b))
        simple = {2.0: "square", 0.5: "sqrt", -0.5: "rsqrt", -1.0: "reciprocal"}.get(exponent)
        if simple:
            return apply(simple, a)
        if exponent == 1:
            return a
    return apply("power", a, b)


def where(mask: Operand, a: Operand, b: Operand) -> Value:
    """a where the mask is 1, b where it is 0."""
    return apply("where", mask, a, b)


def decided(x: Value) -> NDArray[np.float64]:
    """The numbers on which the code branches, where they are known exactly.

    Raises UndecidedBranchError where they are not, or where a comparison in them is not decided.
    """
    tape = Tape(nodes=x.tape.nodes[: x.index + 1], marks={"asked": x.index})
    reading = in_balls(tape, pairs=False)  # balls are exact to the last digit
    found = reading.at["asked"]
    if not reading.decided or not bool(found.narrow().all()):
        raise UndecidedBranchError(
            "the code branches on a comparison of numbers that are equal, or differ by less than can "
            "be told; "
            "expected other inputs, or np.where in place of the branch."
        )
    return found.hi


# --- moving numbers about -------------------------------------------------------------------------


def moved(a: Value, f: Callable[[Any], Any]) -> Value:
    """a with its elements moved as f moves those of an array of that shape."""
    return taken(a, f(np.arange(product(a.shape)).reshape(a.shape)))


def taken(a: Value, index: Any) -> Value:
    """The elements of the flattened a at these indices; 0 for the index −1."""
    index = np.asarray(index, np.intp)
    if index.shape == a.shape and np.array_equal(index.ravel(), np.arange(index.size)):
        return a
    return op.take(a, index=index)


def reshape(a: Value, shape: Shape) -> Value:
    """The same numbers in another shape, in row-major order."""
    return a if a.shape == shape else op.reshape(a, shape=shape)


def permute(a: Value, axes: Sequence[int]) -> Value:
    """a with permuted axes: axis i of the result is axis axes[i] of a."""
    n = len(a.shape)
    order = tuple(i % n for i in axes)
    return a if order == tuple(range(n)) else op.permute(a, axes=order)


def broadcast(a: Value, shape: Shape) -> Value:
    """a, repeated to a shape."""
    return a if a.shape == shape else op.broadcast(a, shape=np.broadcast_shapes(a.shape, shape))


def join(operands: Sequence[Operand], axis: int = 0) -> Value:
    """The operands, one after another along an existing axis."""
    tape = tape_of(*operands)
    of = [_recorded(tape, x) for x in operands]
    ndim = len(of[0].shape)
    return of[0] if len(of) == 1 else op.join(*of, axis=axis % ndim - ndim)


def put(a: Operand, key: Any, value: Operand, add: bool = False) -> Value:
    """a with a[key] = value; with `add`, a[key] += value, where the same element may occur more than once."""
    tape = tape_of(a, value)
    a, value = _recorded(tape, a), _recorded(tape, value)
    places = np.arange(product(a.shape)).reshape(a.shape)
    at = places[key]
    value = broadcast(value, at.shape)
    n = product(at.shape)
    if add:
        gathered = op.take(value, index=primitives.inverse_of(at, product(a.shape)))
        if gathered.shape[-1] > 1:
            gathered = op.sum(gathered, axes=(-1,))
        return op.add(a, reshape(gathered, a.shape))
    index = places.copy()
    index[key] = product(a.shape) + np.arange(n).reshape(at.shape)
    both = join([reshape(a, (product(a.shape),)), reshape(value, (n,))])
    return taken(both, index)


# --- sums, products, extremes ---------------------------------------------------------------------


def _axes(a: Value, axis: Axis) -> tuple[int, ...]:
    """Axes counted from the last, so that more axes in front do not matter."""
    n = len(a.shape)
    chosen = range(n) if axis is None else (axis,) if isinstance(axis, int | np.integer) else axis
    for i in chosen:
        if not -n <= int(i) < n:
            raise ValueError(f"axis {i} is out of bounds for an array of {n} axes.")
    return tuple(sorted(int(i) % n - n for i in chosen))


def _reduced(name: str, a: Value, axis: Axis, keepdims: bool) -> Value:
    axes = _axes(a, axis)
    if not axes:
        return a
    kept: Value = getattr(op, name)(a, axes=axes)
    return kept if keepdims else _dropped(kept, axes)


def _dropped(kept: Value, axes: Sequence[int]) -> Value:
    n = len(kept.shape)
    return reshape(kept, tuple(k for i, k in enumerate(kept.shape) if i - n not in axes))


def sum(a: Value, axis: Axis = None, keepdims: bool = False) -> Value:
    """The sum over some axes, or all."""
    return _reduced("sum", a, axis, keepdims)


def mean(a: Value, axis: Axis = None, keepdims: bool = False) -> Value:
    """The sum divided by the number of terms."""
    n = product(a.shape[i] for i in _axes(a, axis))
    return apply("quotient", sum(a, axis, keepdims), float(n))


def largest(a: Value, axis: Axis = None, keepdims: bool = False) -> Value:
    """The greatest element; equal ones share the cotangent."""
    return _reduced("largest", a, axis, keepdims)


def cumulative(a: Value, axis: int, name: str = "sum", reverse: bool = False) -> Value:
    """Cumulative sums or products along an axis."""
    n = a.shape[axis]
    rows = permute(a, [*[i for i in range(len(a.shape)) if i != axis % len(a.shape)], axis])
    if name == "sum":
        seen = np.tri(n) if reverse else np.tri(n).T
        found = matmul(rows, seen)
    else:
        places = np.arange(product(rows.shape)).reshape(rows.shape)
        columns = [taken(rows, places[..., i : i + 1]) for i in range(n)]
        for i in range(n - 2, -1, -1) if reverse else range(1, n):
            columns[i] = apply("multiply", columns[i + 1 if reverse else i - 1], columns[i])
        found = join(columns, -1)
    order = list(range(len(a.shape) - 1))
    order.insert(axis % len(a.shape), len(a.shape) - 1)
    return permute(found, order)


def matmul(a: Operand, b: Operand) -> Value:
    """As `@`: matrices are in the last two axes; a vector is a row at the left and a column at the right."""
    tape = tape_of(a, b)
    a, b = _recorded(tape, a), _recorded(tape, b)
    row, column = len(a.shape) == 1, len(b.shape) == 1
    a = reshape(a, (1, *a.shape)) if row else a
    b = reshape(b, (*b.shape, 1)) if column else b
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(
            f"cannot multiply {a.shape} by {b.shape}: {a.shape[-1]} is not {b.shape[-2]}."
        )
    found = op.matmul(a, b)
    shape = (
        found.shape[:-2]
        + (() if row else found.shape[-2:-1])
        + (() if column else found.shape[-1:])
    )
    return reshape(found, shape)


def contract(
    a: Operand,
    b: Operand,
    over: tuple[Sequence[int], Sequence[int]],
    batch: tuple[Sequence[int], Sequence[int]] = ((), ()),
) -> Value:
    """The sum over pairs of axes. The axes of the result are batch, the others of a, the others of b."""
    tape = tape_of(a, b)
    a, b = _recorded(tape, a), _recorded(tape, b)
    stacks, free_a, free_b = (
        [x.shape[i] for i in axes]
        for x, axes in (
            (a, batch[0]),
            (a, _rest(a, over[0], batch[0])),
            (b, _rest(b, over[1], batch[1])),
        )
    )
    k = product(a.shape[i] for i in over[0])
    left = permute(a, [*batch[0], *_rest(a, over[0], batch[0]), *over[0]])
    right = permute(b, [*batch[1], *over[1], *_rest(b, over[1], batch[1])])
    found = op.matmul(
        reshape(left, (*stacks, product(free_a), k)), reshape(right, (*stacks, k, product(free_b)))
    )
    return reshape(found, (*stacks, *free_a, *free_b))


def _rest(x: Value, *used: Sequence[int]) -> list[int]:
    gone = {i % len(x.shape) for axes in used for i in axes}
    return [i for i in range(len(x.shape)) if i not in gone]


def einsum(spec: str, *operands: Operand) -> Value:
    """np.einsum, two operands at a time from the left. An ellipsis means further axes in front."""
    tape = tape_of(*operands)
    of = [_recorded(tape, x) for x in operands]
    inputs, output = _spelt_out(spec, of)
    while True:
        needed = set(output).union(*inputs[2:])
        if len(of) == 1:
            a, letters = _diagonal(of[0], inputs[0])
            gone = [i for i, c in enumerate(letters) if c not in output]
            a = sum(a, gone) if gone else a
            letters = "".join(c for c in letters if c in output)
            return permute(a, [letters.index(c) for c in output])
        (a, p), (b, q) = (
            _diagonal(x, letters) for x, letters in zip(of[:2], inputs[:2], strict=True)
        )
        a, p = _summed_away(a, p, needed | set(q))
        b, q = _summed_away(b, q, needed | set(p))
        both = [c for c in p if c in q]
        batch, over = [c for c in both if c in needed], [c for c in both if c not in needed]
        found = contract(
            a, b, ([p.index(c) for c in over], [q.index(c) for c in over]),
            ([p.index(c) for c in batch], [q.index(c) for c in batch]),
        )  # fmt: skip
        letters = "".join(
            (*batch, *(c for c in p if c not in both), *(c for c in q if c not in both))
        )
        of, inputs = [found, *of[2:]], [letters, *inputs[2:]]


def _spelt_out(spec: str, of: Sequence[Value]) -> tuple[list[str], str]:
    left, arrow, right = spec.replace(" ", "").partition("->")
    inputs = left.split(",")
    if len(inputs) != len(of):
        raise ValueError(f"einsum {spec!r} is of {len(inputs)} operands, and {len(of)} are given.")
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in spec]
    more = [len(x.shape) - len(s.replace("...", "")) for x, s in zip(of, inputs, strict=True)]
    top = max((m for m, s in zip(more, inputs, strict=True) if "..." in s), default=0)
    inputs = [
        s.replace("...", "".join(free[top - m : top])) for m, s in zip(more, inputs, strict=True)
    ]
    once = sorted(
        c for c in set("".join(inputs)) if "".join(inputs).count(c) == 1 and c not in free
    )
    output = right.replace("...", "".join(free[:top])) if arrow else "".join((*free[:top], *once))
    return inputs, output


def _diagonal(a: Value, letters: str) -> tuple[Value, str]:
    """The diagonal for each letter that occurs twice."""
    unique = "".join(dict.fromkeys(letters))
    if unique == letters:
        return a, letters
    return moved(a, lambda p: np.einsum(f"{letters}->{unique}", p)), unique


def _summed_away(a: Value, letters: str, needed: set[str]) -> tuple[Value, str]:
    gone = [i for i, c in enumerate(letters) if c not in needed]
    return (sum(a, gone) if gone else a), "".join(c for c in letters if c in needed)


# --- windows --------------------------------------------------------------------------------------


def windows(
    shape: Sequence[int], size: Sequence[int], stride: Sequence[int], pads: Sequence[tuple[int, int]],
    dilation: Sequence[int], spread: Sequence[int] | None = None,
) -> NDArray[np.intp]:  # fmt: skip
    """out×size: the index of each element of each window in the flattened array of that shape; −1 in the
    padding, and in the gaps of an array whose elements are `spread` apart."""
    apart = spread or (1,) * len(shape)
    found: Any = np.zeros((), np.intp)
    inside: Any = np.ones((), np.bool_)
    n = len(shape)
    for d in range(n):
        long = (shape[d] - 1) * apart[d] + 1
        out = (long + pads[d][0] + pads[d][1] - dilation[d] * (size[d] - 1) - 1) // stride[d] + 1
        at = (
            np.arange(out)[:, None] * stride[d]
            + np.arange(size[d])[None, :] * dilation[d]
            - pads[d][0]
        )
        there = (at >= 0) & (at < long) & (at % apart[d] == 0)
        like = [1] * (2 * n)
        like[d], like[n + d] = out, size[d]
        found = found * shape[d] + np.where(there, at // apart[d], 0).reshape(like)
        inside = inside & there.reshape(like)
    return np.where(inside, found, -1)


def convolve(
    x: Value, w: Operand, stride: Sequence[int], pads: Sequence[tuple[int, int]], dilation: Sequence[int],
    groups: int = 1, spread: Sequence[int] | None = None,
) -> Value:  # fmt: skip
    """The convolution of a batch×channels×… array with an out×(channels/groups)×… kernel, which is not
    flipped."""
    kernel = _recorded(x.tape, w)
    n, channels, *space = x.shape
    out, _, *size = kernel.shape
    at = windows(space, size, stride, pads, dilation, spread)
    places = np.arange(n * channels).reshape(n, channels, *(1,) * at.ndim) * product(space)
    index = np.where(at < 0, -1, places + at)  # n, channels, *out, *size
    d = len(space)
    there = at.shape[:d]
    columns = taken(x, index.reshape(n, groups, channels // groups, product(there), product(size)))
    columns = permute(columns, (0, 1, 3, 2, 4))
    columns = reshape(columns, (n, groups, product(there), channels // groups * product(size)))
    rows = permute(
        reshape(kernel, (groups, out // groups, channels // groups * product(size))), (0, 2, 1)
    )
    found = op.matmul(columns, rows)  # n, groups, there, out/groups
    return reshape(permute(found, (0, 1, 3, 2)), (n, out, *there))
