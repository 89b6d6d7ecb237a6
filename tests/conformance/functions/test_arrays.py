"""Array code on a tape: each function's numbers are NumPy's, or those of a plain loop."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from conformance.truth import arrays
from conformance.truth.arrays import UndecidedBranchError, convolve, windows
from conformance.truth.readings import in_balls
from conformance.truth.tape import Tape

rng = np.random.default_rng(4)
X, Y = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4))


def value(f: Callable[..., Any], *of: Any) -> Any:
    """What f makes of recorded arrays."""
    tape = Tape()
    found = f(*(tape.leaf(np.asarray(x, float)) for x in of))
    tape.mark(found, "y")
    return in_balls(tape, enough=lambda reading: True).at["y"].hi


def same(got: Any, right: Any) -> None:
    assert got.shape == np.shape(right)
    np.testing.assert_allclose(got, right, rtol=1e-13, atol=1e-14)


def test_a_constant_that_its_dtype_rounds_is_cast() -> None:
    for dtype, rounded in (("float32", True), ("float64", False), (None, False)):
        tape = Tape()
        tape.dtype = dtype
        arrays.constant(tape, [0.1, np.nan])
        assert [n.rule.name for n in tape.nodes] == ["leaf"] + ["cast"] * rounded
        arrays.constant(tape, [0.5, np.nan, -np.inf])
        assert tape.nodes[-1].rule.name == "leaf"


@pytest.mark.parametrize(
    ("b", "names"),
    [(2, ["square"]), (0.5, ["sqrt"]), (-0.5, ["rsqrt"]), (-1, ["reciprocal"]), (1, []), (3, ["power"])],
)  # fmt: skip
def test_a_power_is_recorded_as_what_it_is(b: float, names: list[str]) -> None:
    tape = Tape()
    y = arrays.power(tape.leaf(np.array([4.0])), b)
    assert [n.rule.name for n in tape.nodes if n.rule.name not in ("leaf", "reshape")] == names
    tape.mark(y, "y")
    assert in_balls(tape).at["y"].hi.tolist() == [4.0**b]


def test_a_branch_is_decided_by_numbers_that_are_known() -> None:
    tape = Tape()
    x = tape.leaf(np.array([0.25, 3.0]))
    assert arrays.decided(arrays.apply("greater", x, 1.0)).tolist() == [0, 1]
    roots = arrays.apply("sqrt", arrays.apply("square", arrays.apply("exp", x)))
    with pytest.raises(UndecidedBranchError, match=r"expected other inputs, or np\.where"):
        arrays.decided(arrays.apply("greater", roots, arrays.apply("exp", x)))


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
@pytest.mark.parametrize("reverse", [False, True])
def test_sums_and_products_so_far(axis: int, reverse: bool) -> None:
    """From either end."""
    turned = (lambda M: np.flip(M, axis)) if reverse else (lambda M: M)
    for name, f in (("sum", np.cumsum), ("product", np.cumprod)):
        got = value(lambda a, name=name: arrays.cumulative(a, axis, name, reverse), X)
        same(got, turned(f(turned(X), axis=axis)))


def test_a_product_with_a_constant_at_either_side() -> None:
    M, v, w = rng.normal(size=(4, 2)), rng.normal(size=4), rng.normal(size=3)
    same(value(lambda a: arrays.matmul(a, M), X), X @ M)
    same(value(lambda a: arrays.matmul(M.T, a), np.swapaxes(X, 1, 2)), M.T @ np.swapaxes(X, 1, 2))
    same(value(lambda a: arrays.matmul(a, v), X), X @ v)
    same(value(lambda a: arrays.matmul(w, a), X), w @ X)
    same(value(lambda a: arrays.matmul(a, a), v), v @ v)
    with pytest.raises(ValueError, match=r"cannot multiply \(2, 3, 4\) by \(3,\s*1\): 4 is not 3"):
        value(lambda a: arrays.matmul(a, w), X)


def test_a_contraction_has_the_axes_that_it_says() -> None:
    """Batch, what is left of a, what is left of b."""
    over, batch = ((-1,), (2,)), ((0,), (0,))
    same(
        value(lambda a, b: arrays.contract(a, b, over, batch), X, Y),
        np.einsum("bik,bjk->bij", X, Y),
    )
    same(
        value(lambda a: arrays.contract(X, a, ((0, 2), (0, 2))), Y), np.einsum("bik,bjk->ij", X, Y)
    )
    same(
        value(lambda a: arrays.contract(a, Y, ((0, 2), (0, 2))), X), np.einsum("bik,bjk->ij", X, Y)
    )


S, C = rng.normal(size=(3, 3)), rng.normal(size=(3, 3, 2))
EINSUMS: list[tuple[str, tuple[Any, ...]]] = [
    ("ij->ji", (S,)), ("ijk->ki", (C,)), ("ii", (S,)), ("ii->i", (S,)), ("iij->ji", (C,)), ("ijk->", (C,)),
    ("ij,jk->ik", (S, S)), ("iij,jk->ik", (C, C[0].T)), ("ijl,jk->ki", (C, S)), ("ij,jkl->ik", (S, C)),
    ("ij,jk,kl->il", (S, S, S)), ("ij,ij,ij->j", (S, S, S)), ("i,j,k->kji", (S[0], S[1], S[2])),
    ("...ij,...jk->...ik", (X, np.swapaxes(Y, 1, 2))), ("...i,...i->...", (X, Y)), ("...i,i", (X, S[0][[0, 1, 2, 0]])),
    ("...->...", (X,)), ("i...->...i", (X,)), ("i...,i...->...", (X, Y)), ("ji", (S,)), ("ba,cb", (S, S)),
    ("Ai...,A...->i...", (X, Y[:, 0])),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "of"), EINSUMS, ids=[spec for spec, _ in EINSUMS])
def test_einsum(spec: str, of: tuple[Any, ...]) -> None:
    same(value(lambda *a: arrays.einsum(spec, *a), *of), np.einsum(spec, *of))


def test_einsum_of_more_or_fewer_than_it_says() -> None:
    with pytest.raises(ValueError, match="is of 2 operands, and 1 are given"):
        value(lambda a: arrays.einsum("ij,jk", a), S)


# --- windows --------------------------------------------------------------------------------------


def spread_apart(x: Any, spread: Sequence[int]) -> Any:
    """Zeros between its elements, along the last axes."""
    front = x.ndim - len(spread)
    shape = [
        *x.shape[:front],
        *((n - 1) * s + 1 for n, s in zip(x.shape[front:], spread, strict=True)),
    ]
    found = np.zeros(shape)
    found[(..., *(slice(None, None, s) for s in spread))] = x
    return found


def by_loops(
    x: Any, w: Any, stride: Any, pads: Any, dilation: Any, groups: int, spread: Any
) -> Any:
    """A convolution, one number at a time."""
    x = np.pad(spread_apart(x, spread), [(0, 0), (0, 0), *pads])
    out, per = len(w), len(w) // groups
    size = w.shape[2:]
    lengths = [
        (x.shape[2 + d] - dilation[d] * (size[d] - 1) - 1) // stride[d] + 1
        for d in range(len(size))
    ]
    found = np.zeros((len(x), out, *lengths))
    for n, o, *at in itertools.product(range(len(x)), range(out), *map(range, lengths)):
        for c, *k in itertools.product(range(w.shape[1]), *map(range, size)):
            place = [a * s + j * d for a, s, j, d in zip(at, stride, k, dilation, strict=True)]
            found[(n, o, *at)] += w[(o, c, *k)] * x[(n, o // per * w.shape[1] + c, *place)]
    return found


CONVOLUTIONS = {  # x, kernel, stride, pads, dilation, groups, spread
    "a line": ((2, 3, 7), (4, 3, 2), (1,), [(0, 0)], (1,), 1, (1,)),
    "steps of two, more at the end": ((1, 2, 6), (2, 2, 3), (2,), [(1, 2)], (1,), 1, (1,)),
    "a plane": ((2, 2, 5, 4), (3, 2, 3, 2), (1, 1), [(1, 0), (0, 2)], (1, 1), 1, (1, 1)),
    "each axis its own way": ((1, 2, 7, 6), (2, 2, 2, 3), (3, 1), [(2, 1), (1, 1)], (2, 1), 1, (1, 1)),
    "dilated": ((1, 1, 6, 7), (2, 1, 2, 3), (1, 2), [(0, 0), (2, 1)], (3, 2), 1, (1, 1)),
    "groups": ((2, 4, 5), (6, 2, 2), (1,), [(0, 1)], (1,), 2, (1,)),
    "each channel alone": ((1, 3, 4, 4), (3, 1, 2, 2), (1, 1), [(0, 0), (0, 0)], (1, 1), 3, (1, 1)),
    "spread apart": ((1, 2, 3, 4), (2, 2, 3, 2), (1, 1), [(2, 2), (1, 1)], (1, 1), 1, (2, 3)),
    "a space": ((1, 1, 3, 2, 4), (2, 1, 2, 2, 3), (1, 1, 2), [(0, 0), (1, 0), (1, 1)], (1, 1, 1), 1, (1, 1, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_is_a_sum_over_windows(name: str) -> None:
    shape, kernel, stride, pads, dilation, groups, spread = CONVOLUTIONS[name]
    x, w = rng.normal(size=shape), rng.normal(size=kernel)
    right = by_loops(x, w, stride, pads, dilation, groups, spread)
    apart = None if set(spread) == {1} else spread
    same(value(lambda a, b: convolve(a, b, stride, pads, dilation, groups, apart), x, w), right)
    same(value(lambda a: convolve(a, w, stride, pads, dilation, groups, apart), x), right)


def test_where_the_elements_of_windows_stand() -> None:
    assert windows([4], [2], [1], [(0, 0)], [1]).tolist() == [[0, 1], [1, 2], [2, 3]]
    assert windows([4], [2], [3], [(1, 1)], [2]).tolist() == [[-1, 1], [2, -1]]
    assert windows([2], [3], [1], [(0, 0)], [1], [2]).tolist() == [[0, -1, 1]]
    of = windows([2, 3], [2, 2], [1, 1], [(0, 0), (0, 0)], [1, 1])
    assert of.shape == (1, 2, 2, 2)
    assert of.reshape(2, 4).tolist() == [[0, 1, 3, 4], [1, 2, 4, 5]]
    assert of.dtype == np.intp


# --- moving numbers about -------------------------------------------------------------------------


def test_what_is_in_its_place_is_not_moved() -> None:
    """Nothing is recorded for it; what is moved has the numbers that NumPy has."""
    tape = Tape()
    a = tape.leaf(X)
    for same_again in (
        arrays.broadcast(a, X.shape), arrays.reshape(a, X.shape), arrays.permute(a, (0, -2, 2)),
        arrays.join([a], 1), arrays.taken(a, np.arange(X.size).reshape(X.shape)), arrays.moved(a, lambda p: p),
        arrays.sum(a, ()),
    ):  # fmt: skip
        assert same_again is a
    same(value(lambda a: arrays.broadcast(a, (5, 2, 3, 4)), X), np.broadcast_to(X, (5, 2, 3, 4)))
    same(
        value(lambda a: arrays.taken(a, [[3, -1], [0, 23]]), X),
        [[X.flat[3], 0], [X.flat[0], X.flat[23]]],
    )
    same(
        value(lambda a: arrays.join([a, np.ones((2, 1, 4))], 1), X),
        np.hstack([X, np.ones((2, 1, 4))]),
    )
    same(value(lambda a: arrays.einsum("ij,ijk->k", [[1, 2, 3], [4, 5, 6]], a), X), np.einsum(
        "ij,ijk->k", [[1, 2, 3], [4, 5, 6]], X))  # fmt: skip


def test_an_axis_that_there_is_not() -> None:
    for axis in (3, -4):
        with pytest.raises(
            ValueError, match=rf"^axis {axis} is out of bounds for an array of 3 axes\.$"
        ):
            value(lambda a, axis=axis: arrays.sum(a, axis), X)
    same(value(lambda a: arrays.mean(a, (0, -1)), X), X.mean((0, -1)))
    same(value(lambda a: arrays.largest(a, -3, keepdims=True), X), X.max(0, keepdims=True))
