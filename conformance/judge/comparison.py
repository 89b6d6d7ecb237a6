"""Compares values with their exact values: error over tolerance, element by element, and a verdict on each
matrix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from conformance.model.problem import Floats
from conformance.model.results import Element, Record, Verdict, number
from conformance.truth.balls import Enclosure
from conformance.truth.rounding import Reals

__all__ = ["Comparison", "Judged", "Key", "judge_all"]

Key = tuple[str, int]
"""A quantity and its layer."""

_LARGEST = {name: float(np.finfo(name).max) for name in ("float64", "float32")}


class Comparison(NamedTuple):
    """One quantity of one layer at one gate: its elements, with their exact values and their tolerances."""

    quantity: str
    layer: int
    gate: str
    value: Floats
    truth: Enclosure
    tolerance: Reals
    hull: bool = False  # part of the truth is an interval between one-sided derivatives


class Judged(NamedTuple):
    """The record of a comparison, its verdict, and the comparison itself."""

    record: Record
    verdict: Verdict
    comparison: Comparison

    @property
    def key(self) -> Key:
        return self.comparison.quantity, self.comparison.layer

    @property
    def element(self) -> Element:
        """The worst element, with its values."""
        c, r = self.comparison, self.record
        at = tuple(r["index"])
        got, expected = float(c.value[at]), float(c.truth.hi[at])
        return Element(
            quantity=c.quantity, layer=c.layer, gate=c.gate, index=r["index"],
            got=number(got, 17), got_hex=got.hex(),
            expected=number(expected, 17), expected_hex=expected.hex(),
            error=r["error"], tolerance=r["tolerance"], ratio=r["ratio"],
        )  # fmt: skip


def _ratio(error: Reals, tolerance: Reals) -> Reals:
    """error/tolerance; 0/0 is 0: no error where none is allowed."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        r = error / tolerance
    return np.where(error == 0, 0.0, np.where(np.isnan(r), np.inf, r))


def _joined(matrices: Iterable[Floats]) -> Reals:
    return np.concatenate([np.ravel(M) for M in matrices]).astype(np.float64)


def judge_all(comparisons: Sequence[Comparison]) -> list[Judged]:
    """Each comparison's worst element and verdict. The arithmetic is done for all at once, which is fast.

    The exact value lies in hi + lo ± rad. An element conforms if it is within the tolerance of every number
    in there, deviates if it is within the tolerance of none, and is undecided otherwise. At a kink (`hull`)
    the interval lies between the two one-sided derivatives, and every number in it is accepted: only the
    distance beyond its ends counts.
    """
    if not comparisons:
        return []
    hi = _joined(c.truth.hi for c in comparisons)
    lo = _joined(c.truth.lo for c in comparisons)
    rad = _joined(c.truth.rad for c in comparisons)
    error = Enclosure(hi, lo, rad).distance(_joined(c.value for c in comparisons))
    tolerance = _joined(c.tolerance for c in comparisons)
    sizes = [np.size(c.value) for c in comparisons]
    hull = np.repeat([c.hull for c in comparisons], sizes)
    at_most = _ratio(np.where(hull, error, error + rad), tolerance)
    at_least = _ratio(np.maximum(error - rad, 0.0), tolerance)
    # without a bound nothing can be decided
    unbounded = (error > 0) & ~(np.isfinite(rad) & np.isfinite(tolerance))
    at_most = np.where(unbounded, np.inf, at_most)
    at_least = np.where(unbounded, 0.0, at_least)
    starts = np.cumsum([0, *sizes[:-1]])
    exceeds, surely_exceeds = (np.maximum.reduceat(r, starts) > 1 for r in (at_most, at_least))
    some_unbounded = np.logical_or.reduceat(unbounded, starts)
    largest, largest_error = (np.maximum.reduceat(x, starts) for x in (np.abs(hi), error))
    judged = []
    for i, c in enumerate(comparisons):
        part = slice(starts[i], starts[i] + sizes[i])
        verdict: Verdict = "conforms"
        if surely_exceeds[i]:
            verdict = "deviates"
        elif exceeds[i] and (some_unbounded[i] or not c.hull):
            verdict = "undecided"
        ratios = at_least[part] if exceeds[i] and verdict != "undecided" else at_most[part]
        worst = int(ratios.argmax())
        dtype = c.value.dtype
        ulp = float(np.spacing(dtype.type(min(largest[i], _LARGEST[dtype.name]))))
        record = Record(
            quantity=c.quantity,
            layer=c.layer,
            gate=c.gate,
            error=number(float(error[part][worst])),
            tolerance=number(float(tolerance[part][worst])),
            ratio=number(float(ratios[worst])),
            ulps=number(float(largest_error[i]) / ulp),
            index=list(divmod(worst, c.value.shape[1])) if c.value.ndim == 2 else [],
        )
        judged.append(Judged(record, verdict, c))
    return judged
