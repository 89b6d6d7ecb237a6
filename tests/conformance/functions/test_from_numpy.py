"""NumPy's front end: what each function of its tables records is what NumPy computes, and its gradient."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

from conformance.judge.functions.numpy_.elementwise import NAMED, UFUNCS
from conformance.judge.functions.numpy_.record import record
from conformance.judge.functions.numpy_.recorded import FUNCTIONS, Recorded
from conformance.judge.functions.recording import RecordingError
from conformance.truth.readings import in_balls

rng = np.random.default_rng(2)
X, Y = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
P = X * X + 0.5
T = np.tanh(X)
S = rng.normal(size=(3, 3))
MASK = X > 0
IDS = np.array([2, 0, 2])

F = Callable[..., Any]


def in_place(f: F) -> F:
    def run(x: Any, *rest: Any) -> Any:
        x = x.copy()
        f(x, *rest)
        return x

    return run


def assigned(x: Any, y: Any) -> Any:
    out = np.zeros_like(x)
    out[0] = y[1]
    out[1:, ::2] += x[1:, ::2] * 2
    out[MASK] -= 1.5
    row = out[2]
    row *= 3
    return out


def masked(x: Any) -> Any:
    x = x.copy()
    x[x > 0.5] = 0
    return x * x


def filled(x: Any) -> Any:
    out = np.empty(x.shape)
    for i in range(len(x)):
        for j, v in enumerate(x[i]):
            out[i, j] = v * v if v > 0 else np.exp(v)
    return out


def into(x: Any, y: Any) -> Any:
    out = np.empty_like(x)
    np.multiply(x, y, out=out)
    np.add(out, 1, out=out)
    return out


def accumulated(x: Any) -> Any:
    out = np.zeros((5, 4))
    np.add.at(out, IDS, x)
    return out


ONE: dict[str, tuple[F, Any]] = {
    **{
        f.__name__: (f, T if f.__name__ in ("arcsin", "arccos", "arctanh") else P)
        for f in UFUNCS
        if f.nin == 1 and f not in (np.sign, np.floor, np.ceil, np.rint, np.logical_not, np.invert)
    },
    **{n: (getattr(special, n), X) for n in NAMED if n != "xlogy"},
    "sign": (lambda x: np.sign(x) * x, X),
    "floor": (lambda x: np.floor(x) + x, X),
    "ceil": (lambda x: np.ceil(x) * x, X),
    "rint": (lambda x: np.rint(x) * x, X),
    "not": (lambda x: np.where(~(x > 0), x, 2 * x), X),
    "logical_not": (lambda x: np.where(np.logical_not(x > 0), x, 2 * x), X),
    "and, or": (lambda x: np.where(((x > 0) & (x < 1)) | (x <= -1), x, x * x), X),
    "and, or of given masks": (lambda x: np.where((x > 0) & MASK | (x >= 1), x, x * x), X),
    "equal": (lambda x: np.where(x == x, x, 0) + np.where(x != 0, 1, x), X),
    "operators": (lambda x: (2 - x) / (1 + x * x) - (-x) ** 3 + x**0.5 * x**-1 + x**-0.5 + x**1 + 2**x, P),
    "abs": (lambda x: abs(+x), X),
    "in place": (in_place(lambda x: x.__iadd__(x * 2).__imul__(x)), X),
    "sum": (lambda x: x.sum(0) + np.sum(x) + x.sum(axis=(0, 1), keepdims=True)[0, 0], X),
    "mean": (lambda x: x.mean(-1, keepdims=True) * np.mean(x, axis=0), X),
    "max, min": (lambda x: x.max(-1) + x.min(axis=1) * np.amax(x) - np.amin(x), X),
    "ptp by hand": (lambda x: np.max(x, 0) - np.min(x, 0), X),
    "prod": (lambda x: x.prod(axis=1) + np.prod(x), X),
    "var, std": (lambda x: x.var(-1) + np.std(x, axis=0).sum() + np.var(x, ddof=1), X),
    "any, all": (lambda x: np.where((x > 0).any(1), x.sum(1), 0) + (x > -9).all() * x[:, 0], X),
    "norm": (lambda x: np.linalg.norm(x) + np.linalg.norm(x, axis=-1), X),
    "cumsum": (lambda x: x.cumsum(0) + np.cumsum(x).reshape(3, 4) + np.cumsum(x, axis=1), X),
    "cumprod": (lambda x: np.cumprod(x, axis=-1), X),
    "accumulate": (lambda x: np.add.accumulate(x, axis=1) + np.multiply.accumulate(x, axis=1), X),
    "reduce": (lambda x: np.add.reduce(x, axis=0) + np.maximum.reduce(x, axis=0), X),
    "argmax": (lambda x: x[np.arange(3), x.argmax(-1)] + x[np.arange(3), np.argmin(x, axis=1)], X),
    "argsort, sort": (lambda x: np.sort(x, axis=-1) * x[:, np.argsort(x[0])], X),
    "take_along_axis": (lambda x: np.take_along_axis(x, IDS[:, None], axis=1) * x, X),
    "nonzero": (lambda x: x[np.nonzero(x > 0)] + x[np.where(x > 0)].sum(), X),
    "clip": (lambda x: np.clip(x, -0.5, 0.7) + x.clip(min=0) + np.clip(x, None, 1.0), X),
    "select": (lambda x: np.select([x > 1, x < 0], [x, -2 * x], default=0.5), X),
    "where out": (lambda x: np.exp(x, where=MASK, out=np.zeros_like(x)), X),
    "diag": (lambda x: np.diag(x) + np.diag(x[0]).sum(0) + np.trace(x), S),
    "tril, triu": (lambda x: np.tril(x) @ np.triu(x, 1), S),
    "pad": (lambda x: np.pad(x, ((1, 0), (0, 2))) ** 2, X),
    "pad with a number": (lambda x: np.pad(x, 1, constant_values=2.0) ** 2, X),
    "pad by its edge": (lambda x: np.pad(x, 1, mode="edge") ** 2, X),
    "shapes": (
        lambda x: np.expand_dims(x, 0).squeeze(0).T.swapaxes(0, 1).reshape(2, -1).ravel().flatten()[::-1], X,
    ),
    "moves": (lambda x: np.roll(np.flip(x, 1), 1, axis=0) + np.moveaxis(x.T, 0, 1) + np.transpose(x.T), X),
    "repeat, tile": (lambda x: np.repeat(x, 2, axis=0) * np.tile(x, (2, 1)), X),
    "split": (lambda x: np.split(x, 2, axis=1)[0] * np.array_split(x, 2, axis=1)[1], X),
    "broadcast": (lambda x: np.broadcast_to(x[0], (3, 4)) * x, X),
    "stack": (lambda x: np.stack([x, 2 * x], 1).sum(1) + np.array([x[0], x[1], x[2]]), X),
    "joins": (
        lambda x: np.hstack([x, x]).sum(1) + np.vstack([x, x[0]])[:3, 0] + np.column_stack([x[:, 0], x])[:, 1], X,
    ),
    "append": (lambda x: np.append(x, x[:1], axis=0) * np.concatenate([x, np.ones((1, 4))]), X),
    "index": (lambda x: x[0] * x[..., None, 0] + x[IDS].sum(0) + x[1:, [0, 2]].sum() + x[-1, 3], X),
    "iterates": (lambda x: sum(row * i for i, row in enumerate(x)), X),
    "a branch": (lambda x: x * 2 if x.sum() > 0 else x * 3, X),
    "a mask": (masked, X),
    "loops": (filled, X),
    "at": (accumulated, X),
    "sinc": (lambda x: np.sinc(x), X),
    "heaviside": (lambda x: np.heaviside(x, 0.5) * x, X),
    "average": (lambda x: np.average(x, axis=0, weights=[1.0, 2, 3]) + np.average(x), X),
    "made": (lambda x: np.zeros(4) + np.ones((3, 4)) * x + np.full((4,), 2.0) * np.asarray(x), X),
    "alike": (lambda x: np.ones_like(x) * x + np.full_like(x, 3) + np.zeros_like(x), X),
    "astype": (lambda x: x.astype(float) * (x > 0).astype(x.dtype), X),
    "what it is": (lambda x: x * x.shape[0] * x.ndim * x.size * len(x) + x.nbytes - x.itemsize, X),
    "a trace": (lambda x: np.trace(x.reshape(2, 2, 3)) + np.trace(x, 1), X),
    "an average of weights of its shape": (lambda x: np.average(x, axis=0, weights=P) + np.average(x, weights=P), X),
    "corrections": (lambda x: np.var(x, axis=0, correction=1) + np.std(x, axis=0, correction=1), X),
    "ufuncs reduce the first axis": (lambda x: np.add.reduce(x) + np.maximum.reduce(x) * np.minimum.reduce(x), X),
    "masks add up to masks": (lambda x: x * ((x > 0) + (x > -1)), X),
    "masks are numbers": (lambda x: x * (x > 0).astype(int) + x * (x > 1).astype(np.int8).sum(), X),
    "of a constant": (lambda x: np.hypot(x, 1.5) + special.xlogy(x, 2.0), X),
    "padded on either side": (lambda x: np.pad(x, 1, constant_values=(1, 2)) ** 2, X),
    "windows": (lambda x: np.lib.stride_tricks.sliding_window_view(x, 2, axis=1).sum(-1) ** 2, X),
    "norms of vectors": (lambda x: np.linalg.norm(x, 1, axis=1) + np.linalg.norm(x, np.inf, axis=1), X),
    "differences": (lambda x: np.diff(x, axis=0) ** 2 + np.ptp(x, axis=0) * np.vdot(x, x), X),
    "nothing is infinite": (lambda x: np.where(np.isfinite(x) & ~np.isnan(x), x * x, 0), X),
    "cut off": (lambda x: np.trunc(x) * x + np.fix(x) * x, X),
    "asked of it": (lambda x: x * np.shape(x)[0] * np.ndim(x) * np.size(x) + np.copy(x), X),
}  # fmt: skip
TWO: dict[str, F] = {
    **{f.__name__: f for f in UFUNCS if f.nin == 2 and f in (np.add, np.subtract, np.multiply, np.true_divide)},
    "maximum": lambda x, y: np.maximum(x, y) + np.minimum(x, 0) + np.fmax(x, y) * np.fmin(y, x),
    "power": lambda x, y: np.power(x * x + 1, y) + np.float_power(x * x + 1, 2),
    "hypot": lambda x, y: np.hypot(x, y) + np.logaddexp(x, y),
    "compared": lambda x, y: np.where(x > y, x, y * y) + np.where(x <= y, 1, y) + np.where(x < y, x, 0),
    "matmul": lambda x, y: x @ y.T + np.matmul(x, y.T) + x[0] @ y[1],
    "dot": lambda x, y: np.dot(x, y.T) + x.dot(y.T) + np.inner(x, y) + np.dot(2.0, x @ y.T),
    "outer": lambda x, y: np.outer(x[0], y[1]) + np.multiply.outer(x[1], y[2]),
    "tensordot": lambda x, y: np.tensordot(x, y, axes=([1], [1])) + np.tensordot(x, y.T, 1),
    "einsum": lambda x, y: np.einsum("ij,kj->ik", x, y) + np.einsum("ij,ij->i", x, y)[:, None] + np.einsum("ij->j", x)[:3],
    "einsum with an ellipsis": lambda x, y: np.einsum("...j,...j->...", x, y),
    "logical": lambda x, y: np.where(np.logical_and(x > 0, y > 0), x, y) + np.where(np.logical_or(x > 0, y > 1), x, 0),
    "xlogy": lambda x, y: special.xlogy(x, y * y + 1),
    "assigned": assigned,
    "out": into,
}  # fmt: skip


def checked(f: F, *of: Any) -> None:
    """Its value is NumPy's, and its gradient what central differences give."""
    names = ["x", "y"][: len(of)]
    with np.errstate(all="ignore"):
        right = np.asarray(f(*(M.copy() for M in of)))
    recording = record(f, dict(zip(names, of, strict=True)), "float64", {})
    tape, y = recording.tape, recording.outputs["y"]
    assert y.shape == right.shape
    c = np.random.default_rng(5).normal(size=right.shape)
    tape.mark(y, "value")
    tape.gradients([(y, tape.leaf(c))], [(recording.inputs[n], n) for n in names])
    found = in_balls(tape, enough=lambda reading: True).at
    np.testing.assert_allclose(found["value"].hi, right, rtol=1e-12, atol=1e-13)
    for k, M in enumerate(of):
        slope, h = np.zeros(M.shape), 1e-6
        for at in itertools.product(*map(range, M.shape)):
            ends = []
            for sign in (1, -1):
                moved = [N.copy() for N in of]
                moved[k][at] += sign * h
                ends.append(float((np.asarray(f(*moved)) * c).sum()))
            slope[at] = (ends[0] - ends[1]) / (2 * h)
        got = found[names[k]].hi if names[k] in found else np.zeros(M.shape)
        np.testing.assert_allclose(got, slope, rtol=1e-6, atol=1e-7)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ONE)
def test_a_function_of_one_array(name: str) -> None:
    f, x = ONE[name]
    checked(f, x)


@pytest.mark.parametrize("name", TWO)
def test_a_function_of_two_arrays(name: str) -> None:
    checked(TWO[name], X, Y)


def test_a_recorded_array_passes_for_an_array_and_is_shown_by_its_shape() -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        assert isinstance(x, np.ndarray)
        seen.append((repr(x), hash(x) == hash(x), x.real is x, x.mT.shape, 5.0 in x * 0 + 5))
        return x

    record(f, {"x": X}, "float64", {})
    assert seen == [("array of shape (3, 4), recorded", True, True, (4, 3), True)]
    assert len(FUNCTIONS) > 60


REFUSED: dict[str, tuple[F, str]] = {
    "float": (lambda x: float(x[0, 0]) * x, "float.. turns|turns a recorded array"),
    "int": (lambda x: x * int(x[0, 0]), "turns a recorded array"),
    "item": (lambda x: x * x[0, 0].item(), "item.. turns"),
    "tolist": (lambda x: np.array(x.tolist()), "tolist.. turns"),
    "whole numbers": (lambda x: x.astype(int) * x, r"astype\(int64\) turns"),
    "an unknown method": (lambda x: x.choose([1, 2]), "an array's .choose is not known"),
    "an unknown function": (lambda x: np.linalg.svd(x), "np.linalg.svd is not known|is not known"),
    "an unknown ufunc": (lambda x: np.arctan2(x, x), "np.arctan2 is not known"),
    "gradient": (lambda x: np.gradient(x), "np.gradient is not known"),
    "another norm": (lambda x: np.linalg.norm(x, 1), "of order 1 of a matrix is not known"),
    "an initial": (lambda x: np.sum(x, initial=3.0), "initial= and where="),
    "einsum of lists": (lambda x: np.einsum(x, [0, 1], [0]), "without a text of letters"),
    "out that is plain": (lambda x: np.add(x, 1, out=np.array([[0.0] * 4] * 3)), "out= is a plain array"),
    "a view after a change": (lambda x: (lambda z: (z.__setitem__(0, 1.0), z)[1])(x)[0] * 0 + stale(x), "a view of an array"),
    "an index that is computed": (lambda x: X[x], "turns a recorded array|whole numbers"),
    "nothing": (lambda x: None, "nothing that depends on its inputs"),
}  # fmt: skip


def stale(x: Any) -> Any:
    x = x.copy()
    row = x[0]
    x[1] = 2.0
    return row


@pytest.mark.parametrize("name", REFUSED)
def test_what_leaves_the_tape_is_refused(name: str) -> None:
    f, told = REFUSED[name]
    with pytest.raises(RecordingError, match=told):
        record(f, {"x": X}, "float64", {})


def test_a_precision_of_its_own_is_kept_where_the_code_widens() -> None:
    def f(x: Any) -> Any:
        wide = x.astype(np.float32)
        return (wide * wide).astype(np.float16)

    tape = record(f, {"x": X.astype(np.float16).astype(float)}, "float16", {}).tape
    assert [(n.rule.name, n.dtype) for n in tape.nodes if n.rule.name in ("multiply", "cast")] == [
        ("multiply", "float32"),
        ("cast", "float16"),
    ]


def test_a_truth_value_of_many_is_numpys_error() -> None:
    with pytest.raises(ValueError, match="ambiguous"):
        record(lambda x: x if x > 0 else -x, {"x": X}, "float64", {})
    with pytest.raises(TypeError, match="unsized"):
        record(lambda x: len(x.sum()) * x, {"x": X}, "float64", {})
    assert Recorded.__array_priority__ > 0


def test_a_half_is_rounded_to_the_even_number() -> None:
    halves = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    for f in (np.rint, np.round):
        recording = record(lambda x, f=f: f(x) + x, {"x": halves}, "float64", {})
        recording.tape.mark(recording.outputs["y"], "value")
        assert (in_balls(recording.tape).at["value"].hi == f(halves) + halves).all()
