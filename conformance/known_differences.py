"""Rows of known_differences.toml: what an implementation computes instead, as an expectation.

A known difference never widens a tolerance. It amends the mathematics (or the arithmetic, where
subnormals are flushed), and a result must meet the amended truth as tightly as any other.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from flint import arb, fmpq

from conformance.cases import Case
from conformance.truth.definitions import (
    ACTIVATIONS,
    LOSSES,
    Definition,
    LossDefinition,
    lift,
    softplus,
)
from conformance.truth.network import Mathematics

__all__ = ["AS_BUILT", "LOSSES_AS_BUILT", "Amended", "Difference", "amend", "known_differences"]


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


def _clamped_entropy(y: Any, z: Any) -> Any:
    """−y max(log z, −100), which is 0 where y is."""
    log = z.log()
    return arb(0) if y.is_zero() else -y * (log if log > -100 else arb(-100))


def _clamped_gradient(z: Any, y: Any) -> Any:
    spread = z * (1 - z)
    return (z - y) / (spread if spread > _least() else _least())


def _least() -> Any:
    """1e-12, which torch keeps as a float32 in float64 too."""
    return arb(float(np.float32(1e-12)))


LOSSES_AS_BUILT: Mapping[str, LossDefinition] = {
    "binary_cross_entropy_clamped": LossDefinition(
        lambda z, y: _clamped_entropy(y, z) + _clamped_entropy(1 - y, 1 - z), _clamped_gradient
    ),
}


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
    text = files("conformance").joinpath("known_differences.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)["difference"]
    return tuple(
        Difference(**{**row, "takes": tuple((a, d) for a, d in row.get("takes", []))})
        for row in rows
    )


def amend(rows: Iterable[Difference]) -> Amended:
    """Mathematics as amended by rows: nothing, for no rows."""
    rows = tuple(rows)
    activations: dict[str, Definition] = dict(ACTIVATIONS)
    losses: dict[str, LossDefinition] = dict(LOSSES)
    for row in rows:
        if row.computes and row.loss:
            losses[row.loss] = LOSSES_AS_BUILT[row.computes]
        elif row.computes:
            activations[row.activation] = AS_BUILT[row.computes]
        elif row.takes and row.activation:
            taken = {**activations[row.activation].kinks, **dict(row.takes)}
            activations[row.activation] = replace(activations[row.activation], kinks=taken)
        elif row.takes:
            losses[row.loss] = _loss_taking(losses[row.loss], dict(row.takes))
    return Amended(
        Mathematics(activations, losses), any(r.flushes for r in rows), tuple(r.id for r in rows)
    )


def _loss_taking(loss: LossDefinition, takes: Mapping[float, float]) -> LossDefinition:
    """The loss with ∂term/∂z at z − y = a as stated."""

    def derivative(z: Any, y: Any) -> Any:
        d = z - y
        at = next((a for a in takes if d.is_exact() and d == a), None)
        return loss.derivative(z, y) if at is None else arb(takes[at])

    return loss._replace(derivative=derivative)
