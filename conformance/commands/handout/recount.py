"""What the steps' lines of NumPy give, and what a reader with a calculator gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from conformance.commands.handout.example import Example
from conformance.commands.handout.numbers import shown, unit
from conformance.commands.handout.passes import Numbers, environment
from conformance.commands.handout.step import Step
from conformance.model.problem import Floats

__all__ = ["Recount", "recomputed", "recount"]


def recomputed(step: Step, names: Mapping[str, object]) -> Floats:
    """The result of a step's own line of NumPy, from these numbers."""
    known = {k: dict(v) if isinstance(v, dict) else v for k, v in names.items()}
    exec(step.code, known)  # our own lines: nothing of a TOML file is in them
    return np.atleast_2d(np.asarray(eval(step.variable, known), dtype=float))


@dataclass(frozen=True)
class Recount:
    """How the steps come out, recomputed from rounded numbers."""

    numbers: int
    differ: int  # how many come out with another last digit
    worst: int  # the most that one of these is off, in units of its last digit
    lost: int = 0  # how many do not come out at all, as a number rounded to 0 is divided by


def recount(e: Example, by: Numbers, of: tuple[Step, ...], digits: int) -> Recount:
    """How the steps come out for a reader with a calculator, who carries no more digits than are shown."""
    rounded = {
        k: np.vectorize(lambda x: float(shown(x, digits)), otypes=[float])(M) for k, M in by.items()
    }
    names = environment(e, rounded)
    off: list[int] = []
    lost = 0
    for step in of:
        with np.errstate(all="ignore"):
            got = recomputed(step, names)
        for x, y in zip(step.result.ravel(), got.ravel(), strict=True):
            if not np.isfinite(y):
                lost += 1
                continue
            want, have = (float(shown(float(v), digits)) for v in (x, y))
            off.append(
                0 if want == have else max(1, round(abs(want - have) / (unit(want, digits) or 1)))
            )
    return Recount(len(off) + lost, sum(1 for k in off if k), max(off, default=0), lost)
