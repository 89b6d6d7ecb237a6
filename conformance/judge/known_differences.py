"""The rows of known_differences.toml: what an implementation is known to compute instead of the mathematics.

A known difference never widens a tolerance. It amends the mathematics (or the arithmetic, where
subnormals are flushed), and a result must meet the amended truth as tightly as any other.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import cast

import numpy as np
from flint import arb, fmpq

from conformance.cases.catalogue import Case
from conformance.truth.balls import Ball
from conformance.truth.definitions import (
    ACTIVATIONS,
    LOSSES,
    TERMS,
    Definition,
    Point,
    Taylor,
    lift,
    softplus,
)
from conformance.truth.network import Mathematics
from conformance.truth.rounding import Reals

__all__ = ["AS_BUILT", "TERMS_AS_BUILT", "Amended", "Difference", "amend", "known_differences"]


def _hardsigmoid_piece(x: Taylor) -> Taylor:
    """x/6 + 1/2, whose derivative is the float32 nearest to 1/6."""
    return lift(x, x[0] / 6 + fmpq(1, 2), arb(float(np.float32(1 / 6))), arb(0))


_BELOW, _, _ABOVE = ACTIVATIONS["hardsigmoid"].pieces
AS_BUILT: Mapping[str, Definition] = {
    "softplus_threshold_20": Definition((softplus, lambda x: x), (20,)),
    "hardsigmoid_float32_sixth": replace(
        ACTIVATIONS["hardsigmoid"], pieces=(_BELOW, _hardsigmoid_piece, _ABOVE)
    ),
}
"""Activations as a framework computes them, where that is not the mathematics."""


@dataclass(frozen=True, eq=False)
class Built:
    """A function as a framework computes it, whose derivative is not that of its value. It can take the place
    of a `Definition`."""

    value: Callable[[Ball], Ball]
    first: Callable[[Ball], Ball]
    second: Callable[[Ball], Ball]
    steeper: Callable[[Reals], Reals]
    poles: tuple[float, ...] = ()

    def __call__(self, a: Ball) -> Point:
        return Point(self.value(a), self.first(a), self.second(a))

    def jumps(self) -> Mapping[float, float]:
        """None: the slope that the framework uses is continuous."""
        return {}


LEAST = arb(float(np.float32(1e-12)))
"""The least z(1 − z) by which torch divides; it is a float32, in float64 too."""


def _clamped_log(z: Ball) -> Ball:
    """max(log z, −100)."""
    log = z.log()
    return log if log > -100 else arb(-100)


def _clamped(z: Ball) -> Ball:
    """max(z(1 − z), LEAST)."""
    product = z * (1 - z)
    return product if product > LEAST else LEAST


def _curved(z: Ball, t: Ball) -> Ball:
    """The slope of the first derivative: 1/t², or 1/LEAST where z(1 − z) is clamped."""
    return 1 / (t * t) if z * (1 - z) > LEAST else 1 / LEAST


TERMS_AS_BUILT: Mapping[str, Mapping[str, Definition | Built]] = {
    "binary_cross_entropy_clamped": {  # (z − y)/z(1 − z) = −y(1 − z)/z(1 − z) + (1 − y)z/z(1 − z)
        "minus_log": Built(
            lambda z: -_clamped_log(z),
            lambda z: (z - 1) / _clamped(z),
            lambda z: _curved(z, z),
            lambda a: np.where(a * (1 - a) < 1e-12, 1 / np.maximum(a, np.exp(-100)), 0.0),
            poles=(0,),
        ),
        "minus_log1m": Built(
            lambda z: -_clamped_log(1 - z),
            lambda z: z / _clamped(z),
            lambda z: _curved(z, 1 - z),
            lambda a: np.where(a * (1 - a) < 1e-12, 1 / np.maximum(1 - a, np.exp(-100)), 0.0),
            poles=(1,),
        ),
    },
}
"""Terms of losses as a framework computes them."""


@dataclass(frozen=True)
class Difference:
    """One row of the file."""

    id: str
    implementation: str  # its name, or the first word of several: "jax" is jax-cpu and jax-cuda-jit
    what: str
    reason: str
    source: str
    shows_in: str  # the family of cases in which it must show
    activation: str = ""  # "any" for all
    loss: str = ""
    dtype: str = ""  # "" for both
    takes: tuple[tuple[float, float], ...] = ()  # (a, σ'(a)) at single points
    computes: str = ""  # a name in AS_BUILT or TERMS_AS_BUILT
    flushes: bool = False  # subnormal numbers are 0

    def is_of(self, implementation: str) -> bool:
        """Whether it is a difference of this implementation."""
        return f"{implementation}-".startswith(f"{self.implementation}-")

    def concerns(self, implementation: str, case: Case) -> bool:
        """Whether it may show in this implementation's result on this case."""
        computed = self.loss == case.loss or self.activation in ("any", *case.sigma().values())
        return self.is_of(implementation) and self.dtype in ("", case.dtype) and computed

    def must_show(self, implementation: str, case: Case) -> bool:
        """Whether this is one of the results among which the difference must show."""
        return case.family == self.shows_in and self.concerns(implementation, case)


@dataclass(frozen=True)
class Amended:
    """The mathematics under some rows; `key` has their ids."""

    maths: Mathematics
    flushes: bool
    key: tuple[str, ...]


@cache
def known_differences() -> tuple[Difference, ...]:
    """The rows of the file, in its order."""
    text = files("conformance.judge").joinpath("known_differences.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)["difference"]
    return tuple(
        Difference(**{**row, "takes": tuple((a, d) for a, d in row.get("takes", []))})
        for row in rows
    )


def amend(rows: Iterable[Difference]) -> Amended:
    """The mathematics as amended by rows; without rows, as it is."""
    rows = tuple(rows)
    activations = dict(ACTIVATIONS)
    terms: dict[str, Definition | Built] = dict(TERMS)
    for row in rows:
        if row.computes and row.loss:
            terms.update(TERMS_AS_BUILT[row.computes])
        elif row.computes:
            activations[row.activation] = AS_BUILT[row.computes]
        elif row.takes and row.activation:
            activations[row.activation] = _taking(activations[row.activation], row.takes)
        elif row.takes:
            for f in (term.f for term in LOSSES[row.loss]):
                terms[f] = _taking(terms[f], row.takes)
    flushes = any(row.flushes for row in rows)
    # of a term, the tape uses only what Built has too
    maths = Mathematics(activations, cast("Mapping[str, Definition]", terms))
    return Amended(maths, flushes, tuple(row.id for row in rows))


def _taking(f: Definition | Built, takes: Iterable[tuple[float, float]]) -> Definition:
    """f with the given derivatives at single points."""
    assert isinstance(f, Definition)  # no row states points of a term as built
    return replace(f, kinks={**f.kinks, **dict(takes)})
