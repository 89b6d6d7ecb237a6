"""Compares one array of numbers with the certified one: errors, the worst of them, a row of the table."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypedDict, Unpack

import numpy as np

from conformance.commands.activation.bounds import Mask, Precision
from conformance.commands.activation.findings import NAMES, Finding, Wording, digits, finding
from conformance.commands.activation.spec import Spec
from conformance.judge.inaccuracy import STABLE
from conformance.model.results import Number, number
from conformance.truth.balls import Enclosure
from conformance.truth.rounding import Reals

__all__ = ["FAR", "Trial", "Way"]

LOST = 2.0**10  # u: an error of more counts as lost digits
FAR = 1000.0  # ordinary arguments are at most so large: mistakes beyond it count less


class Way(TypedDict):
    """One way to a value or a derivative, in one dtype, compared with the certified one."""

    way: str
    dtype: str
    of: str  # value or derivative
    verdict: str
    points: int
    beyond: int
    undecided: int
    worst_x: Number | None
    got: Number | None
    expected: Number | None
    ratio: Number
    ulps: Number
    digits: float | None


@dataclass(frozen=True)
class Trial:
    """`got` at x, which must be in [low, high]: this is the number `exact`, except at kinks and jumps
    (`touched`)."""

    spec: Spec
    of: str  # sigma, derivative, torch, jax
    what: str  # value or derivative
    p: Precision
    x: Reals
    got: Reals
    exact: Enclosure
    low: Reals
    high: Reals
    touched: Mask
    allowed: Reals
    scale: float  # the scale on which an error is small
    argument: Reals  # what a few roundings of x and of the result do, in any formula
    skipped: Mask | None = None  # where nothing is compared

    @cached_property
    def known(self) -> Mask:
        """Where the truth is known, or at least its two sides."""
        return np.asarray(~np.isnan(self.exact.hi) | self.touched)

    @cached_property
    def error(self) -> Reals:
        """How far each number is from the allowed ones, to the last digit; infinite where it is NaN or ±∞."""
        with np.errstate(invalid="ignore"):
            outside = np.maximum(np.maximum(self.low - self.got, self.got - self.high), 0.0)
        infinite = np.isinf(self.got) & (self.got != self.low)
        outside = np.where(np.isnan(self.got) | infinite, np.inf, outside)
        one = (self.low == self.high) & ~self.touched
        return np.asarray(np.where(one, self.exact.distance(self.got), outside))

    @cached_property
    def room(self) -> Reals:
        """The error that is allowed: what rounding may do, plus the radius to which the truth is known."""
        return np.asarray(self.allowed + self.exact.rad)

    @cached_property
    def overflows(self) -> Mask:
        """Where the truth is a number of the dtype and what was got is NaN or infinite."""
        within = (np.abs(self.low) <= self.p.largest) & (np.abs(self.high) <= self.p.largest)
        over = self.known & within & ~np.isfinite(self.got)
        return np.asarray(over if self.skipped is None else over & ~self.skipped)

    @cached_property
    def asked(self) -> Mask:
        """Where a finite result can be compared: not where the truth itself leaves the dtype."""
        return np.asarray(self.comparable & ~self.overflows)

    @cached_property
    def comparable(self) -> Mask:
        """Where anything is compared: not where the truth itself leaves the dtype."""
        asked = self.known & ~(np.abs(self.low) > self.p.largest)
        return np.asarray(asked if self.skipped is None else asked & ~self.skipped)

    @cached_property
    def off(self) -> Mask:
        """Where the error is more than is allowed."""
        return np.asarray(self.asked & (self.error > self.room))

    @cached_property
    def size(self) -> Reals:
        """What errors are divided by, to compare them: |truth|, but not less than 1e-3 of the scale."""
        truth = np.where(np.isfinite(self.exact.hi), np.abs(self.exact.hi), 0.0)
        return np.asarray(truth + 1e-3 * self.scale)

    @cached_property
    def lost(self) -> Mask:
        """Where most digits are wrong, though by no more than is allowed, of a number far from subnormal.

        An error that rounding x alone would cause does not count: no formula avoids it, for example e^{−x²/2}
        at −30.
        """
        truth = np.where(
            self.low == self.high, np.abs(self.low), np.fmax(np.abs(self.low), np.abs(self.high))
        )
        with np.errstate(all="ignore"):
            least = np.fmax(LOST * self.p.u * truth, self.argument)
            many = self.error - self.exact.rad > least
            return np.asarray(self.asked & many & (truth > self.p.normal / self.p.u))

    @cached_property
    def holes(self) -> Mask:
        """Where NaN was got and the truth is not known, between neighbours that are known: 0/0 at one
        point."""
        hole = ~self.known & np.isnan(self.got) & (np.abs(self.x) <= FAR)
        hole[[0, -1]] = False
        fine = self.known & np.isfinite(self.got)
        hole[1:-1] &= fine[:-2] & fine[2:]
        return hole

    def filled(self) -> Trial:
        """The same trial, in which a hole is expected to have the value of the next point."""
        low, high = self.low.copy(), self.high.copy()
        at = np.flatnonzero(self.holes)
        low[at] = high[at] = self.low[at + 1]
        return replace(self, low=low, high=high)

    def expected(self, i: int) -> float:
        """The right number that is nearest to what was got at a point."""
        got = float(self.got[i])
        return (
            float(self.low[i])
            if not math.isfinite(got)
            else float(np.clip(got, self.low[i], self.high[i]))
        )

    @cached_property
    def nothing_right(self) -> Mask:
        """Where no digit is right, though by no more than is allowed: usually a tail that is lost.

        Not where the truth is nearly subnormal, nor far out, nor beside a kink.
        """
        with np.errstate(all="ignore"):
            none = self.error >= np.abs(self.low) / 2
            there = (self.low == self.high) & (np.abs(self.low) > self.p.normal / self.p.u)
            within = ~self.touched & (np.abs(self.x) <= FAR)
            return np.asarray(self.asked & ~self.off & none & there & within)

    @property
    def above_rounding(self) -> Mask:
        """Where the truth is larger than what a few roundings of numbers of its scale may hide."""
        return np.asarray(np.abs(self.low) > 4 * self.p.u * self.scale)

    def worst(
        self, kind: str, mask: Mask, begins: bool = False, **wording: Unpack[Wording]
    ) -> Finding:
        """A finding at the points of the mask, shown at the worst; of equally bad ones at the one nearest 0.

        `begins`: shown at the point nearest 0.
        """
        at = np.flatnonzero(mask)
        badness = (self.error / self.size)[at]
        i = np.argmin(np.abs(self.x[at])) if begins else _first_of_worst(badness, self.x[at])
        return self._finding(kind, mask, int(at[i]), **wording)

    def loses_most(self, mask: Mask, name: str) -> Finding:
        """A finding that digits are lost, shown where most are lost; of such points at the one nearest ±1.

        Its remedy is a stable formula, if the activation `name` has one. It is a note if all points are far
        out.
        """
        near = mask & (np.abs(self.x) <= FAR)
        at = np.flatnonzero(near if near.any() else mask)
        with np.errstate(all="ignore"):
            part = np.minimum(self.error[at] / np.abs(self.exact.hi[at]), 1)
            far = np.abs(np.log(np.abs(self.x[at])))
        i = int(at[np.argmin(np.where(part >= 0.999 * part.max(), far, np.inf))])
        stable = STABLE["Z" if self.what == "value" else "delta"].get(name, "")
        remedy = f"Stable, where a is x and z is σ(x): {stable}." if stable else ""
        severity = "" if near.any() else "note"
        return self._finding("cancellation", mask, i, remedy=remedy, severity=severity)

    def _finding(self, kind: str, mask: Mask, i: int, **wording: Unpack[Wording]) -> Finding:
        """A finding that holds at the points of the mask, with the numbers of point i."""
        at = np.flatnonzero(mask)
        low, high = float(self.low[i]), float(self.high[i])
        shown = f"{low:.17g}" if low == high else f"between {low:.17g} and {high:.17g}"
        return finding(
            self.spec,
            kind,
            self.of,
            dtype=self.p.name,
            x=number(float(self.x[i]), 17),
            got=f"{float(self.got[i]):.17g}",
            expected=shown,
            digits=digits(float(self.got[i]), self.expected(i)),
            count=int(mask.sum()),
            points=int(self.known.sum()),
            where=_range(self.x[at]),
            **wording,
        )

    @cached_property
    def ulps(self) -> Reals:
        """The error in units in the last place of the truth; NaN where nothing is compared."""
        with np.errstate(all="ignore"):
            return np.asarray(np.where(self.comparable, self.error / self._ulp, np.nan))

    @cached_property
    def room_in_ulps(self) -> Reals:
        """What is allowed, in units in the last place."""
        with np.errstate(all="ignore"):
            return np.asarray(np.where(self.comparable, self.room / self._ulp, np.nan))

    @cached_property
    def _ulp(self) -> Reals:
        truth = np.where(np.isnan(self.exact.hi), 0.0, np.abs(self.exact.hi))
        return self.p.ulp(np.maximum(truth, self.p.normal))

    def way(self, verdict: str, wrong: Mask, few: Mask | None = None) -> Way:
        """The row of the table, with the worst point that is wrong, else that loses digits (`few`), else of
        all.

        Points that lose digits are within their tolerance: they are shown, but not counted as beyond it.
        """
        asked = self.comparable
        with np.errstate(all="ignore"):
            ratio = np.where(asked, self.error / self.room, 0.0)
        ratio = np.where(np.isnan(ratio), np.where(self.error == 0, 0.0, np.inf), ratio)
        i = int(np.argmax(ratio))
        shown = wrong if wrong.any() or few is None else few
        if shown.any():
            at = np.flatnonzero(shown)
            i = int(at[_first_of_worst((self.error / self.size)[at], self.x[at])])
        return Way(
            way=NAMES[self.of],
            dtype=self.p.name,
            of=self.what,
            verdict=verdict,
            points=int(asked.sum()),
            beyond=int(wrong.sum()),
            undecided=int((~self.known).sum()),
            worst_x=number(float(self.x[i]), 17),
            got=number(float(self.got[i]), 17),
            expected=number(self.expected(i), 17),
            ratio=number(float(ratio[i])),
            ulps=number(float(np.where(np.isfinite(self.ulps), self.ulps, 0.0).max(initial=0.0))),
            digits=digits(float(self.got[i]), self.expected(i)),
        )


def _first_of_worst(badness: Reals, x: Reals) -> int:
    """The index of the worst finite one; of those nearly as bad, of the one nearest 0, which is the easiest
    to look at."""
    finite = np.where(np.isfinite(badness), badness, -1.0)
    nearly = finite >= 0.999 * finite.max() if finite.max() > 0 else np.ones(len(x), bool)
    return int(np.argmin(np.where(nearly, np.abs(x), np.inf)))


def _range(x: Reals) -> str:
    """Where the points lie, in words."""
    low, high = float(x.min()), float(x.max())
    return f"x = {low:.6g}" if low == high else f"{low:.6g} ≤ x ≤ {high:.6g}"
