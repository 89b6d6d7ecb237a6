"""How a notebook checks a student's answer. The lines below the mark are copied into it: they need NumPy
alone.

A student may write anything into a blank. The message says what was got, what was expected, and a hint such
as "transposed" or "a factor of n". It never says the right number, and nothing is raised.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any, TypeAlias

import numpy as np

from conformance.model.problem import Floats

__all__ = ["judged", "leads", "source"]

Numbers: TypeAlias = Mapping[str, Floats]
Factors: TypeAlias = Mapping[str, float]
MARK = "# --- what a notebook carries ---"


def source() -> str:
    """The lines below the mark, without annotations: a notebook has not the names in them."""
    whole = (files(__package__) / "checking.py").read_text(encoding="utf-8")
    text = whole.rpartition(f"\n{MARK}\n")[2].strip()
    lines = text.split("\n")
    for line, start, stop in sorted(_types(ast.parse(text)), reverse=True):
        lines[line - 1] = lines[line - 1][:start] + lines[line - 1][stop:]
    return re.sub(r"\(\n +(.*)\n\)(?=:)", r"(\1)", "\n".join(lines))


def _types(tree: ast.Module) -> Iterator[tuple[int, int, int]]:
    """Line, start and end of each annotation, with its : or ->; none goes over more than one line."""
    for f in ast.walk(tree):
        if isinstance(f, ast.FunctionDef):
            for a in f.args.args:
                assert a.annotation is not None
                yield a.lineno, a.col_offset + len(a.arg), a.annotation.end_col_offset or 0
            assert f.returns is not None
            yield (
                f.returns.lineno,
                f.returns.col_offset - len(" -> "),
                f.returns.end_col_offset or 0,
            )


# --- what a notebook carries ---


def judged(
    name: str, got: object, right: Numbers, digits: int, parts: Numbers, factors: Factors
) -> tuple[bool | None, str, object]:
    """Is it right (None: nothing there yet), what is said of it, and the same as an array.

    `parts` are what may be left out of a sum, or subtracted, and `factors` what may be left out of a product.
    """
    want = np.asarray(right[name], dtype=float)
    wanted = f"{_shape_of(want)} numbers" if want.ndim else "one number"
    if got is ...:
        return None, "not filled in yet.", got
    have, odd = _as_numbers(got)
    if odd:
        return False, f"got {odd}; expected {wanted}.", got
    if not want.ndim and have.size == 1:
        have = have.reshape(())
    if have.shape != want.shape:
        return False, f"got {_shape_of(have)}; expected {wanted}{_misshapen(have, want)}.", have
    if not np.isfinite(have).all():
        at = tuple(np.argwhere(~np.isfinite(have))[0])
        why = "a division by 0, or a logarithm of 0?"
        return False, f"got {have[at]}{_place(at)}; expected finite numbers: {why}", have
    if _close(have, want):
        return True, "as refbp computes it.", have[()]
    if _agrees(have, want, digits):
        return True, f"right, as far as {digits} digits go.", have[()]
    if _as_shown(have, want, digits):
        return True, "right, but for its last digits, as by a calculator.", have[()]
    looks = _hint(name, have, want, right, digits, parts, factors)
    return False, f"not what refbp computes: {looks}.", have[()]


def leads(first: str, name: str) -> bool:
    """Whether a later line reads it, or may: a gradient is read by its update alone, an update by the loss
    after it, and the loss by none."""
    kind, _, index = first.partition("[")
    if kind == "loss":
        return False
    if kind in ("dW", "db"):
        return name == "loss_after" or name == f"{kind[1:]}_new[{index}"
    return name == "loss_after" if kind.endswith("_new") else True


def _as_numbers(got: object) -> tuple[Any, str]:
    """The same as an array; or what is odd about it."""
    if got is None:
        return got, "None (does a function of yours return something?)"
    if isinstance(got, str):
        return got, f"the text {got[:20]!r}"
    if callable(got):
        return got, "a function, which is not called"
    try:
        array = np.asarray(got)
    except Exception:
        ragged = isinstance(got, (list, tuple))
        kind = f"something of the type {type(got).__name__}"
        return got, "rows of different lengths" if ragged else kind
    if array.dtype.kind in "biuf":
        return array.astype(float), ""
    inside = list(array.ravel())
    if any(x is ... for x in inside):
        return got, "a list in which something is not filled in yet"
    if any(x is None for x in inside):
        return got, "a list with None in it"
    if any(isinstance(x, str) for x in inside):
        return got, "texts instead of numbers"
    if array.dtype.kind == "c":
        return got, "complex numbers"
    listed = isinstance(got, (list, tuple, np.ndarray))
    kind = f"something of the type {type(inside[0] if listed else got).__name__}"
    return got, f"{kind}, in a list" if listed else kind


def _shape_of(array: Floats) -> str:
    """2×3; a flat list is said to be one."""
    if array.ndim == 1:
        return f"a flat list of {array.size}"
    return "×".join(str(k) for k in array.shape) or "one number"


def _misshapen(have: Floats, want: Floats) -> str:
    """Why the shape may be another."""
    if have.ndim == 1 and have.size == want.size and want.ndim == 2:
        if want.shape[0] == 1:
            return ", a row: [[1, 2]] and not [1, 2]; keepdims=True keeps the row of a sum"
        if want.shape[1] == 1:
            return ", a column: [[1], [2]] and not [1, 2]; keepdims=True keeps the column of a sum"
        return ", in rows and not one after the other"
    if have.shape == want.shape[::-1]:
        return ": it looks transposed" + ("" if _close(have.T, want) else ", and is not right yet")
    if want.ndim == have.ndim == 2:
        return ": look at the order of the product, and at what is transposed"
    return ""


def _place(at: tuple[int, ...]) -> str:
    """Where in a matrix; a single number has no place."""
    return f" in row {at[0] + 1}, column {at[1] + 1}" if len(at) == 2 else ""


def _close(have: Floats, want: Floats) -> bool:
    """But for rounding in another order."""
    least = 1e-14 * np.abs(want).max(initial=0.0)
    return have.shape == want.shape and np.allclose(have, want, rtol=1e-10, atol=least)


def _unit(want: Floats, digits: int) -> Floats:
    """One in the last digit shown; of a 0, that of the largest number."""
    size = np.where(want == 0, np.abs(want).max(initial=0.0), np.abs(want))
    return 10.0 ** (np.floor(np.log10(size)) - digits + 1)


def _agrees(have: Floats, want: Floats, digits: int) -> bool:
    """Rounded to so many digits, they are the same."""
    return bool((np.abs(have - want) <= 0.501 * _unit(want, digits)).all())


def _as_shown(have: Floats, want: Floats, digits: int) -> bool:
    """By a calculator, from the numbers as they are shown: the last digits may differ a little."""
    off = np.minimum(10 * _unit(want, digits), 5e-3 * np.abs(want))
    off = np.maximum(off, 0.501 * _unit(want, digits))
    return bool((np.abs(have - want) <= off).all())


def _hint(
    name: str,
    have: Floats,
    want: Floats,
    right: Numbers,
    digits: int,
    parts: Numbers,
    factors: Factors,
) -> str:
    """What it looks like, and not what it is."""
    if not have.any():
        return "it is 0 everywhere"
    if not want.any():
        return "something in it is to be 0 that is not"
    if _as_shown(have, -want, digits):
        return "its sign is the other one"
    if want.ndim == 2 and have.T.shape == want.shape and _as_shown(have.T, want, digits):
        return "it looks transposed"
    rounded = [k for k in range(2, 15) if _agrees(have, want, k)]
    if rounded:
        return f"it is right to {rounded[-1]} digits alone, and was rounded too much on the way"
    told = _of_sum(name, have, want, parts, factors)
    if told:
        return told
    for other, numbers in right.items():
        if other != name and _close(have, np.asarray(numbers, dtype=float)):
            return f"these are the numbers of {other}"
    known = want != 0
    ratio = have[known] / want[known]
    if not have[~known].any() and np.allclose(ratio, ratio[0], rtol=1e-4):
        told = _factor(float(ratio[0]), factors, ratio.size > 1)
        if told:
            return told
    if want.size > 1 and _close(np.sort(have, axis=None), np.sort(want, axis=None)):
        return "its numbers are right, and in another order"
    if want.size > 1 and _close(np.abs(have), np.abs(want)):
        return "some signs are the other ones"
    if (np.abs(have - want) <= 0.05 * np.abs(want)).all():
        return "it is near, and was perhaps rounded too much on the way"
    off = np.argwhere(np.abs(have - want) > 1e-6 * np.abs(want).max())
    if 0 < len(off) < want.size:
        many = f"{want.size - len(off)} of its {want.size} numbers are right"
        return f"{many}, and the one{_place(tuple(off[0]))} is not"
    return "look at the formula once more, factor by factor"


def _of_sum(name: str, have: Floats, want: Floats, parts: Numbers, factors: Factors) -> str:
    """What is wrong with one part of the sum that it is: left out, with its other sign, or a multiple."""
    for other, numbers in parts.items():
        if np.shape(numbers) not in (want.shape, (1, *want.shape[1:])):
            continue
        if _close(have + numbers, want):
            return f"it is what comes out without {other}"
        if _close(have + 2 * numbers, want):
            return f"it is what comes out with the other sign of {other}"
        if "_new" in name and name.replace("_new", "") in other and np.all(numbers):
            times = 1 + (have - want) / numbers
            first = float(times.flat[0])
            told = _factor(first, factors, True) if np.allclose(times, first, rtol=1e-4) else ""
            if told:
                return f"look at {other} in it: {told}"
    return ""


def _factor(ratio: float, factors: Factors, many: bool) -> str:
    """It is so many times as much; of a single number that is said of a factor with a name alone."""
    sign = ", and its sign is the other one" if ratio < 0 else ""
    for name, value in factors.items():
        if value not in (0, 1) and abs(abs(ratio) / value - 1) < 1e-4:
            return f"it is {name} times as much as it is to be{sign}"
        if value not in (0, 1) and abs(abs(ratio) * value - 1) < 1e-4:
            return f"it is to be {name} times as much{sign}"
    return f"it is off by one and the same factor everywhere{sign}" if many else ""
