"""The same network with other numbers: one for each student, with short results where they can be short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from conformance.commands.handout.agreement import rounding_alone, truth
from conformance.commands.handout.example import Example, HandoutError
from conformance.commands.handout.numbers import shown
from conformance.commands.handout.passes import numbers
from conformance.commands.handout.steps import steps
from conformance.model.problem import Floats

__all__ = ["variant"]

DRAWS = 60
"""How many networks are drawn for each that is taken."""
WEIGHTS = (-1.0, -0.5, -0.4, -0.3, -0.2, -0.1, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0)
WHOLE = (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)
INPUTS = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0)
DIGITS = 6


def variant(e: Example, seed: int) -> Example:
    """The example with other weights, biases and inputs; the same for the same seed on every machine.

    Of `DRAWS` networks it is the one whose results have the fewest digits together, of those in which no
    gradient is 0 everywhere. Where a matrix has whole numbers, so has the new one. Its targets, its text and
    its α stay. Raises HandoutError if there is none.
    """
    if e.show != "steps":
        raise HandoutError(f"{e.name} shows a plot and no steps: there are no variants of it.")
    for _, new in sorted(_drawn(e, np.random.default_rng(seed)), key=lambda x: x[0]):
        by = numbers(new)
        try:
            rounding_alone(new, by, truth(new, by))
        except HandoutError:
            continue
        return replace(new, title=f"{e.title}, variant {seed}", published=())
    raise HandoutError(f"none of {DRAWS} variants of {e.name} with seed {seed} can be worked out.")


def _drawn(e: Example, rng: np.random.Generator) -> Iterator[tuple[int, Example]]:
    """Networks with finite numbers, each with how many digits its results have together."""

    def like(M: Floats, of: Sequence[float]) -> Floats:
        return rng.choice(WHOLE if not (M % 1).any() else of, M.shape)

    for _ in range(DRAWS):
        W = {l: like(M, WEIGHTS) for l, M in e.W.items()}
        b = {l: like(M, WEIGHTS) for l, M in e.b.items()}
        new = replace(e, W=W, b=b, X=like(e.X, INPUTS), reader=None)
        try:
            by = numbers(new)
        except HandoutError:
            continue
        if all(by["dW", l].any() for l in new.W):
            results = [x for s in steps(new, by) for x in s.result.ravel()]
            yield sum(_digits(float(x)) for x in results), new


def _digits(x: float) -> int:
    """How many digits of a number are written."""
    return len(shown(x, DIGITS).partition("e")[0].strip("-0.").replace(".", ""))
