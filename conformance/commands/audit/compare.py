"""What an equation gave in one network, beside what is right there: equal, or how it differs.

Equal means: to 1e-9 of the largest entry, which is far above rounding and far below any slip. What is not
equal may be a multiple of what is right, its transpose, or too much by a multiple of W_l.
"""

from __future__ import annotations

from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from conformance.commands.audit.named import Named
from conformance.commands.audit.net import OfLayers
from conformance.commands.audit.places import Place
from conformance.commands.audit.values import Value

__all__ = ["OUTCOMES", "Tried", "compare", "kind_of", "shape_of"]

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
"""What one try can be."""


class Tried(NamedTuple):
    """One equation in one place: what came out, beside what is right.

    `factor`: how many times what is right it is; `step`: how many times the right step from W_l its own is;
    `decay`: how many times W_l it is too much; `transposed`: whether it is the transpose of what is right.
    """

    at: Place
    outcome: str
    got: Any
    due: Value
    message: str = ""
    factor: float | None = None
    step: float | None = None
    decay: float | None = None
    transposed: bool = False
    read: dict[str, Any] = {}  # noqa: RUF012   what the equation read, by symbol


def compare(at: Place, got: Any, due: Value) -> Tried:
    """What was returned beside what is right."""
    if isinstance(due.right, list):
        same = _listed(got) == due.right
        return Tried(at, "right" if same else "wrong", got, due)
    if isinstance(due.right, dict):
        return _compare_named(at, got, due)
    return _compare_matrix(at, got, due)


def _listed(got: Any) -> Any:
    return list(got) if isinstance(got, (list, tuple, range)) else got


def _compare_named(at: Place, got: Any, due: Value) -> Tried:
    """Several matrices by their names or layers."""
    if not isinstance(got, dict):
        return Tried(at, "no-numbers", got, due, f"it returns {kind_of(got)}; expected a dict.")
    absent = [name for name in due.right if name not in got]
    for name, M in due.right.items():
        if name in got:
            one = _compare_matrix(at, got[name], Value(str(name), M))
            if one.outcome != "right":
                return Tried(at, one.outcome, got, due, one.message)
    if absent:
        names = ", ".join(str(name) for name in absent)
        return Tried(at, "incomplete", got, due, f"it leaves out {names}.")
    return Tried(at, "right", got, due)


def _compare_matrix(at: Place, got: Any, due: Value) -> Tried:
    """One matrix, vector or number."""
    right = due.right
    M, trouble = _real(got)
    if M is None:
        return Tried(at, "no-numbers", got, due, trouble)
    if not np.isfinite(M).all():
        text = "it gives NaN or infinity; expected finite numbers."
        return Tried(at, "no-numbers", got, due, text)
    if (
        right.ndim < 2
        and M.size == right.size
        and M.ndim <= 2
        and M.size == max(M.shape, default=1)
    ):
        M = M.reshape(right.shape)  # a number, or a vector that lies or stands
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


def _same(M: Any, right: Any) -> bool:
    return bool(np.abs(M - right).max() <= TOLERANCE * np.abs(right).max())


def _multiple(M: Any, of: Any) -> float | None:
    """The number that it is a multiple by; None where it is none."""
    factor = float((M * of).sum() / (of * of).sum()) if np.abs(of).max() else 0.0
    return factor if factor and _same(factor * of, M) else None


def _decay(at: Place, extra: Any) -> float | None:
    """How many times W_l, as either convention has it."""
    W = at.net.right.W.get(at.l)
    for M in () if W is None else (W, W.T):
        if M.shape == extra.shape and M.size > 1:
            return _multiple(extra, M)
    return None


# ---- real numbers, or what else --------------------------------------------------------------------

KINDS_OF_NUMBER = {"c": "complex numbers", "U": "text", "S": "text", "M": "dates", "m": "times"}


def _real(got: Any) -> tuple[Any, str]:
    """(an array of floats, ""), or (None, what it is instead)."""
    if isinstance(got, OfLayers):
        text = f"it returns {got.written}, a matrix for each layer; expected one, {got.written}[net.l]."
        return None, text
    try:
        M = np.asarray(got)
        if M.dtype.kind == "O" and M.size and all(isinstance(x, Real) for x in M.flat):
            M = M.astype(float)
    except Exception:
        return None, f"it returns {kind_of(got)}; expected real numbers."
    if M.dtype.kind == "f" and M.dtype.itemsize < 8:
        return None, f"it gives {M.dtype} numbers, too coarse to be judged; expected float64."
    if M.dtype.kind in "biuf" and M.size:
        return M.astype(float), ""
    what = KINDS_OF_NUMBER.get(M.dtype.kind)
    if what is None or not isinstance(got, (np.ndarray, np.generic, complex, list, tuple)):
        what = kind_of(got)
    return None, f"it returns {what}; expected real numbers."


def kind_of(got: Any) -> str:
    """What it is, in words."""
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
    """2×3, or words where there are no two sides."""
    if not shape:
        return "one number"
    return "×".join(map(str, shape)) if len(shape) > 1 else f"{shape[0]} numbers in a row"
