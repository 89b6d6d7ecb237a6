"""A σ that is in the tables: its name, what an implementation may lose of it, and where a framework
differs."""

from __future__ import annotations

import numpy as np

from conformance.commands.activation.bounds import Mask, Precision
from conformance.commands.activation.curve import Curve
from conformance.judge.known_differences import Difference, amend, known_differences
from conformance.judge.tolerance import accuracy
from conformance.truth.balls import scalar, working_precision
from conformance.truth.definitions import ACTIVATIONS
from conformance.truth.rounding import Reals

__all__ = ["concerning", "measured", "recognised", "says"]

CLOSE = 2.0**-44  # a few roundings of constants: another function differs by far more
POINTS = 48  # of the curve, which are compared


def recognised(c: Curve, x: Reals, named: str = "") -> str:
    """The name of the known activation that a certified σ is, on all of its domain; "" if it is none."""
    if named in ACTIVATIONS:
        return named
    body = np.flatnonzero((np.abs(x) <= 30) & ~np.isnan(c.value.hi) & np.isfinite(c.first.hi))
    if len(body) < POINTS:
        return ""
    at = body[np.linspace(0, len(body) - 1, POINTS).astype(int)]
    value, first = c.value.hi[at], c.first.hi[at]
    room = CLOSE * (np.abs(value) + np.abs(x[at] * first)) + np.finfo(float).smallest_normal
    for name in ACTIVATIONS:
        if (np.abs(_values(name, x[at]) - value) <= room).all():
            return name
    return ""


def _values(name: str, x: Reals) -> Reals:
    with working_precision(96):
        return np.array([float(ACTIVATIONS[name](scalar(v)).value) for v in x.tolist()])


def measured(name: str, c: Curve, x: Reals, p: Precision) -> tuple[Reals, Reals]:
    """What the loosest row of accuracy.toml allows σ and σ' of this activation to lose at the points, since
    it is not known which implementation computes them; 0 if `name` is ""."""
    if not name:
        return np.zeros(len(x)), np.zeros(len(x))
    of = accuracy("", p.name, name)
    value, first, size = np.abs(c.value.hi), np.abs(c.first.hi), np.abs(x)
    with np.errstate(all="ignore"):
        lost = p.normal * (1 + size)
        of_value = sum(of.value(p.u, value, size)) + lost
        of_first = sum(of.slope(p.u, value, first, size)) + lost
    return np.nan_to_num(of_value, posinf=0), np.nan_to_num(of_first, posinf=0)


def concerning(name: str, way: str, dtype: str) -> list[Difference]:
    """The known differences of an activation in a framework; in any, if `way` is "" (code of an unknown
    framework)."""
    of = "float32" if dtype == "bfloat16" else dtype
    return [
        d
        for d in known_differences()
        if name
        and d.activation == name
        and d.dtype in ("", of)
        and d.implementation.startswith(way)
    ]


def says(d: Difference, what: str, x: Reals, got: Reals, room: Reals, p: Precision) -> Mask:
    """Where the difference d explains what was got, to within `room`, as for any right number.

    A difference that `takes` other derivatives at some points is compared at those alone, in bfloat16 at the
    number nearest to each; one that `computes` another function is compared everywhere.
    """
    found = np.zeros(len(x), bool)
    if d.computes:
        with working_precision(96):
            f = amend([d]).maths.activations[d.activation]
            points = [f(scalar(v)) for v in x.tolist()]
        exact = np.array([float(t.value if what == "value" else t.first) for t in points])
        return np.asarray(np.abs(got - exact) <= room)
    for at, first in d.takes if what == "derivative" else ():
        reach = float(p.ulp(np.array([at]))[0]) if p.name == "bfloat16" else 0.0
        found |= (np.abs(x - at) <= reach) & (np.abs(got - first) <= room)
    return found
