"""Mistakes planted in right gradients: which ones a tolerance sees, and which pass it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from conformance.truth.rounding import ROUNDED, Arithmetic, Reals

__all__ = ["PLANTED", "Planted", "applied", "mistakes"]


class Planted(NamedTuple):
    """A mistake: its name, what it is, and what it makes of a right gradient."""

    name: str
    what: str
    make: Callable[[Reals], Reals]


def _without_row(g: Reals) -> Reals:
    found = g.copy()
    found[0 if g.ndim else ()] = 0.0
    return found


def _half(g: Reals) -> Reals:
    found = g.copy()
    if g.ndim:
        found[..., : (g.shape[-1] + 1) // 2] = 0.0
    return found


def _row_mean_twice(g: Reals) -> Reals:
    return g - g.mean(axis=-1, keepdims=True) if g.ndim else g


def _shifted(g: Reals) -> Reals:
    return np.roll(g, 1, axis=0) if g.ndim else g


def _transposed(g: Reals) -> Reals:
    return np.swapaxes(g, -1, -2) if g.ndim > 1 and g.shape[-1] == g.shape[-2] else g


def _low(dtype: str) -> Callable[[Reals], Reals]:
    return lambda g: np.asarray(ROUNDED[dtype](g))


PLANTED: tuple[Planted, ...] = (
    Planted("zeros", "0 everywhere", lambda g: 0 * g),
    Planted("negated", "the other sign", lambda g: -g),
    Planted("doubled", "2 times", lambda g: 2 * g),
    Planted("halved", "½ times", lambda g: g / 2),
    Planted("times 1.5", "1.5 times", lambda g: 1.5 * g),
    Planted("times 1.05", "1.05 times", lambda g: 1.05 * g),
    Planted("times 1.001", "1.001 times", lambda g: 1.001 * g),
    Planted("row lost", "0 in the first row", _without_row),
    Planted("half lost", "0 in the first half of each row", _half),
    Planted("mean subtracted", "the mean of each row subtracted once more", _row_mean_twice),
    Planted("rows shifted", "each row in the place of the next", _shifted),
    Planted("transposed", "rows for columns", _transposed),
    Planted("in bfloat16", "rounded to bfloat16", _low("bfloat16")),
    Planted("in float16", "rounded to float16", _low("float16")),
)


def applied(g: Reals) -> Mapping[str, Reals]:
    """For each mistake that changes this gradient, by more than a rounding of its largest number, the changed
    gradient."""
    with np.errstate(all="ignore"):
        made = {p.name: p.make(g) for p in PLANTED}
        least = 2.0**-40 * np.abs(g).max(initial=0.0)
        return {name: M for name, M in made.items() if bool((np.abs(M - g) > least).any())}


def mistakes(g: Reals, storage: str) -> Mapping[str, Reals]:
    """The mistakes of `applied` that are mistakes in this dtype: rounding to it, or to a wider dtype, is
    none."""
    u = Arithmetic.named(storage).u
    right = {f"in {d}" for d in ("bfloat16", "float16") if Arithmetic.named(d).u <= u}
    return {name: M for name, M in applied(g).items() if name not in right}
