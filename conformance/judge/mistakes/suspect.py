"""One quantity of one layer that may be wrong: its value, and what it should be given its operands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from conformance.judge.comparison import Judged, Key
from conformance.truth.rounding import Reals

__all__ = ["Suspect"]


@dataclass(frozen=True)
class Suspect:
    """A quantity of one layer, as it is and as it should be."""

    quantity: str
    layer: int
    value: Reals
    right: Reals
    tolerance: Reals

    @property
    def key(self) -> Key:
        return self.quantity, self.layer

    @classmethod
    def of(cls, j: Judged) -> Suspect:
        """The suspect that a judged comparison is about."""
        c = j.comparison
        return cls(c.quantity, c.layer, np.asarray(c.value, float), c.truth.hi, c.tolerance)

    def would_differ(self, outcome: Reals) -> bool:
        """Whether a fault's outcome differs from the right one by more than rounding."""
        off = np.abs(outcome - self.right) > self.tolerance
        return bool(off.any() or np.isnan(outcome).any())

    def equals(self, outcome: Reals, u: float) -> bool:
        """Whether the value is a fault's outcome, and much nearer to it than to the right one."""
        if outcome.shape != self.value.shape:
            return False
        same = np.isnan(outcome) & np.isnan(self.value) | (outcome == self.value)
        off = np.where(same, 0, np.abs(self.value - outcome))
        size = np.where(np.isfinite(outcome), np.abs(outcome), 0)
        allowed = 8 * self.tolerance + 64 * u * size.max(initial=0)
        if not bool((off <= allowed).all()):  # a NaN in `off` is not allowed either
            return False
        wrong = np.nan_to_num(np.abs(self.value - self.right), posinf=np.inf)
        near = float(off.max()) <= float(wrong.max(initial=0)) / 8
        return near or bool(np.isnan(outcome).any())

    def is_explained_by(self, outcome: Reals | None, u: float) -> bool:
        """Whether a fault with this outcome explains the value. None: the fault has no outcome here."""
        return outcome is not None and self.would_differ(outcome) and self.equals(outcome, u)
