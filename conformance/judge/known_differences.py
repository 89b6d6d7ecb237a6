"""Rows of known_differences.toml: what an implementation computes instead, as an expectation.

A known difference never widens a tolerance. It amends the mathematics (or the arithmetic, where
subnormals are flushed), and a result must meet the amended truth as tightly as any other.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from flint import arb, fmpq

from conformance.cases.catalogue import Case
from conformance.truth.definitions import (
    ACTIVATIONS,
    LOSSES,
    TERMS,
    Definition,
    Point,
    lift,
    softplus,
)
from conformance.truth.network import Mathematics

__all__ = ["AS_BUILT", "TERMS_AS_BUILT", "Amended", "Difference", "amend", "known_differences"]


def _hardsigmoid_piece(x: Any) -> Any:
    return lift(x, x[0] / 6 + fmpq(1, 2), arb(float(np.float32(1 / 6))), arb(0))


AS_BUILT: Mapping[str, Definition] = {
    "softplus_threshold_20": Definition((softplus, lambda x: x), (20,)),
    "hardsigmoid_float32_sixth": replace(
        ACTIVATIONS["hardsigmoid"],
        pieces=(
            ACTIVATIONS["hardsigmoid"].pieces[0],
            _hardsigmoid_piece,
            ACTIVATIONS["hardsigmoid"].pieces[2],
        ),
    ),
}
"""Definitions that are not the mathematics, but what somebody's kernel computes."""


@dataclass(frozen=True, eq=False)
class Built:
    """A function as somebody built it, whose derivative is not that of its value."""

    value: Callable[[Any], Any]
    first: Callable[[Any], Any]
    second: Callable[[Any], Any]
    steeper: Callable[[Any], Any]
    poles: tuple[float, ...] = ()

    def __call__(self, a: Any) -> Point:
        return Point(self.value(a), self.first(a), self.second(a))

    def jumps(self) -> Mapping[float, float]:
        """None that rounding would have to be asked about."""
        return {}


def _least() -> Any:
    """1e-12, which torch keeps as a float32 in float64 too."""
    return arb(float(np.float32(1e-12)))


def _clamped_log(z: Any) -> Any:
    """max(log z, −100)."""
    log = z.log()
    return log if log > -100 else arb(-100)


def _clamped(z: Any) -> Any:
    """z(1 − z), no less than that."""
    product = z * (1 - z)
    return product if product > _least() else _least()


def _curved(z: Any, t: Any) -> Any:
    """1/t², and where z(1 − z) is clamped the slope of what is clamped."""
    return 1 / (t * t) if z * (1 - z) > _least() else 1 / _least()


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
"""Terms of losses as somebody's kernel computes them."""


@dataclass(frozen=True)
class Difference:
    """One row."""

    id: str
    implementation: str
    what: str
    reason: str
    source: str
    shows_in: str
    activation: str = ""
    loss: str = ""
    dtype: str = ""
    takes: tuple[tuple[float, float], ...] = ()
    computes: str = ""
    flushes: bool = False

    def concerns(self, implementation: str, case: Case) -> bool:
        """Whether it may show in this result."""
        named = implementation == self.implementation or implementation.startswith(
            self.implementation + "-"
        )
        dtype = self.dtype in ("", case.dtype)
        about = (
            self.loss == case.loss
            or self.activation == "any"
            or self.activation in case.sigma().values()
        )
        return named and dtype and about

    def must_show(self, implementation: str, case: Case) -> bool:
        """Whether this is one of the results among which the difference must show."""
        return case.family == self.shows_in and self.concerns(implementation, case)


@dataclass(frozen=True)
class Amended:
    """The expectation under some rows."""

    maths: Mathematics
    flushes: bool
    key: tuple[str, ...]


@cache
def known_differences() -> tuple[Difference, ...]:
    """The rows, in the file's order."""
    text = files("conformance.judge").joinpath("known_differences.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)["difference"]
    return tuple(
        Difference(**{**row, "takes": tuple((a, d) for a, d in row.get("takes", []))})
        for row in rows
    )


def amend(rows: Iterable[Difference]) -> Amended:
    """Mathematics as amended by rows: nothing, for no rows."""
    rows = tuple(rows)
    activations: dict[str, Any] = dict(ACTIVATIONS)
    terms: dict[str, Any] = dict(TERMS)
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
    return Amended(
        Mathematics(activations, terms), any(r.flushes for r in rows), tuple(r.id for r in rows)
    )


def _taking(f: Definition, takes: Iterable[tuple[float, float]]) -> Definition:
    """f with its derivative at single points as stated."""
    return replace(f, kinks={**f.kinks, **dict(takes)})
