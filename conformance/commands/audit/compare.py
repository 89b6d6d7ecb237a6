"""Compares what an equation returned in one network with the right value there.

Equal means: within 1e-9 of the largest entry, which is far above rounding and far below any slip. What is not
equal may be a multiple of the right value, its transpose, or the right value plus a multiple of W_l.
"""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import NamedTuple

import numpy as np

from conformance.commands.audit.named import Named
from conformance.commands.audit.net import OfLayers
from conformance.commands.audit.places import Place
from conformance.commands.audit.right import Matrix
from conformance.commands.audit.slips import Slip
from conformance.commands.audit.values import Value

__all__ = ["OUTCOMES", "Tried", "compare", "kind_of", "shape_of", "slipped"]

TOLERANCE = 1e-9

OUTCOMES = {
    "right": "right",
    "wrong": "silently wrong",
    "shapes": "shapes do not fit",
    "missing": "asks for what there is not",
    "incomplete": "leaves something out",
    "no-numbers": "gives no numbers",
    "raises": "raises",
}
"""The outcomes of one try, and how a verdict words them."""


class Tried(NamedTuple):
    """One equation tried in one place: what it returned (`got`), and the right value (`due`).

    Where it is wrong: got = `factor` · right; its step from W_l = `step` · the right step; got = right +
    `decay` · W_l; each None where there is no such number. `transposed`: whether got is right's transpose.
    """

    at: Place
    outcome: str
    got: object
    due: Value
    message: str = ""
    factor: float | None = None
    step: float | None = None
    decay: float | None = None
    transposed: bool = False
    read: Mapping[str, Matrix] = {}  # what the equation read, by symbol
    symbols: frozenset[str] = frozenset()  # the symbols of these, and of each σ_l


class _NoNumbersError(Exception):
    """An equation returned something else than real numbers: what, and what was expected."""


def compare(at: Place, got: object, due: Value) -> Tried:
    """The try of an equation that returned `got` where `due` is right."""
    right = due.right
    if isinstance(right, list):
        same = isinstance(got, (list, tuple, range)) and list(got) == right
        return Tried(at, "right" if same else "wrong", got, due)
    if isinstance(right, Mapping):
        return _compare_named(at, got, due, right)
    return _compare_matrix(at, got, due, right)


def _compare_named(
    at: Place, got: object, due: Value, right: Mapping[str, Matrix] | Mapping[int, Matrix]
) -> Tried:
    """Several matrices by their names or layers. The first that is wrong says how; else what is missing."""
    if not isinstance(got, dict):
        return Tried(at, "no-numbers", got, due, f"it returns {kind_of(got)}; expected a dict.")
    for name, M in right.items():
        if name in got:
            one = _compare_matrix(at, got[name], Value(str(name), M), M)
            if one.outcome != "right":
                return Tried(at, one.outcome, got, due, one.message)
    if absent := [str(name) for name in right if name not in got]:
        return Tried(at, "incomplete", got, due, f"it leaves out {', '.join(absent)}.")
    return Tried(at, "right", got, due)


def _compare_matrix(at: Place, got: object, due: Value, right: Matrix) -> Tried:
    """One matrix, vector or number."""
    try:
        M = _real(got)
    except _NoNumbersError as e:
        return Tried(at, "no-numbers", got, due, str(e))
    if not np.isfinite(M).all():
        text = "it gives NaN or infinity; expected finite numbers."
        return Tried(at, "no-numbers", got, due, text)
    if (
        right.ndim < 2
        and M.size == right.size
        and M.ndim <= 2
        and M.size == max(M.shape, default=1)
    ):
        M = M.reshape(right.shape)  # one number, or a vector written as a row or as a column
    transposed = M.shape == right.T.shape and _same(M, right.T)
    if M.shape != right.shape:
        text = f"it gives {shape_of(M.shape)}; expected {shape_of(right.shape)}."
        return Tried(at, "shapes", got, due, text, transposed=transposed)
    if _same(M, right):
        return Tried(at, "right", got, due, factor=1.0, step=1.0, transposed=transposed)
    return Tried(
        at, "wrong", got, due, factor=_multiple(M, right), transposed=transposed,
        step=None if due.old is None else _multiple(M - due.old, right - due.old),
        decay=_decay(at, M - right),
    )  # fmt: skip


def _same(M: Matrix, right: Matrix) -> bool:
    return bool(np.abs(M - right).max() <= TOLERANCE * np.abs(right).max())


def _multiple(M: Matrix, of: Matrix) -> float | None:
    """The factor with M = factor · of, which is not 0; None where there is none."""
    factor = float((M * of).sum() / (of * of).sum()) if np.abs(of).max() else 0.0
    return factor if factor and _same(factor * of, M) else None


def _decay(at: Place, extra: Matrix) -> float | None:
    """The factor with extra = factor · W_l, or factor · W_lᵀ for an equation about columns."""
    W = at.net.right.W.get(at.l)
    for M in () if W is None else (W, W.T):
        if M.shape == extra.shape and M.size > 1:
            return _multiple(extra, M)
    return None


def slipped(t: Tried, slip: Slip) -> bool:
    """Whether a try gave what a slip gives, shape and all."""
    value = np.asarray(slip(t.at.net.right, t.due.l))
    if t.due.columns:
        value = value.T
    return (
        np.isfinite(value).all()
        and not isinstance(t.got, dict)
        and _compare_matrix(t.at, t.got, Value("", value), value).outcome == "right"
    )


# ---- whether it is real numbers -------------------------------------------------------------------

KINDS_OF_NUMBER = {"c": "complex numbers", "U": "text", "S": "text", "M": "dates", "m": "times"}


def _real(got: object) -> Matrix:
    """What was returned as an array of floats. Raises `_NoNumbersError`."""
    if isinstance(got, OfLayers):
        raise _NoNumbersError(
            f"it returns {got.written}, a matrix for each layer; expected one, {got.written}[net.l]."
        )
    try:
        M = np.asarray(got)
        if M.dtype.kind == "O" and M.size and all(isinstance(x, Real) for x in M.flat):
            M = M.astype(float)
    except Exception:  # lists of different lengths, or an object whose conversion raises anything
        raise _NoNumbersError(f"it returns {kind_of(got)}; expected real numbers.") from None
    if M.dtype.kind == "f" and M.dtype.itemsize < 8:
        raise _NoNumbersError(
            f"it gives {M.dtype} numbers, too coarse to be judged; expected float64."
        )
    if M.dtype.kind in "biuf" and M.size:
        return M.astype(float)
    what = KINDS_OF_NUMBER.get(M.dtype.kind)
    if what is None or not isinstance(got, (np.ndarray, np.generic, complex, list, tuple)):
        what = kind_of(got)
    raise _NoNumbersError(f"it returns {what}; expected real numbers.")


def kind_of(got: object) -> str:
    """What a value of any type is, in words: None, a class, an empty array, a list."""
    if got is None:
        return "None"
    if isinstance(got, Named):
        return f"{got.called} itself"
    if isinstance(got, np.ndarray):
        return "an empty array" if not got.size else "an array of objects"
    if isinstance(got, type):
        return "a class"
    name = type(got).__name__
    return f"{'an' if name[0] in 'aeio' else 'a'} {name.replace('_', ' ')}"


def shape_of(shape: tuple[int, ...]) -> str:
    """2×3; one number; 3 numbers in a row."""
    if not shape:
        return "one number"
    return "×".join(map(str, shape)) if len(shape) > 1 else f"{shape[0]} numbers in a row"
