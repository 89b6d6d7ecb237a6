"""Measures what each implementation's σ and σ' lose, and writes the rows of accuracy.toml.

    python -m conformance.judge.measure [--write] [NAME ...]

One network serves: X = points, W_1 = W_2 = 1, σ_2 the identity, and mean absolute error with Y far below, so
that δ_2 is exactly 1/n and δ_1 is σ'(A_1)/n with n a power of two. What is measured is thus what the
implementation really does, autodiff included. Points spread over the line show where it loses most; the
floats around the worst points show how much, and are measured until no row grows any more. Without --write it
only prints.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Iterable, Sequence
from importlib.resources import files
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np

from conformance.implementations import IMPLEMENTATIONS, Implementation, NotRunError, implementation
from conformance.judge.known_differences import amend, known_differences
from conformance.model.problem import Floats, Problem
from conformance.tools.files import write_atomically
from conformance.tools.names import unknown
from conformance.truth.balls import Enclosure, certified, enclosure, scalar
from conformance.truth.definitions import ACTIVATIONS, Definition
from conformance.truth.rounding import ALGEBRAIC, ENDS, Reals

__all__ = ["fit", "main", "measured", "points"]

POINTS = 2**15  # a power of two, so that δ_1 = σ'(A_1)/n is exact
# measured in each round around the worst points of σ, and as many around those of σ'
NEIGHBOURS = 2**12
NEAR = 32  # worst points that are looked around
ROUNDS = 12  # at most so many
MARGIN = 1.5
LEAST = 4.0  # for σ with exp and its like: no library promises less than 2 ulp on every processor
RELATIVE = 12.0  # up to this factor, a loss counts as relative error alone
OF_VALUE = 32.0  # for σ': up to this factor, the rest counts as an error in proportion to |σ|,
ABSOLUTE = 4.0  # else up to this one as an absolute error, else as one in proportion to |a|


def points(dtype: str, count: int = POINTS) -> Floats:
    """Deterministic points: half over ±10, where most values are, a quarter over ±40, and a quarter
    log-spaced from 1e-12 to 1e4 in both signs."""
    quarter = count // 4
    rng = np.random.default_rng(count)
    spaced = np.geomspace(1e-12, 1e4, quarter // 2)
    body, wide = rng.uniform(-10, 10, 2 * quarter), rng.uniform(-40, 40, quarter)
    return np.concatenate([body, wide, spaced, -spaced]).astype(dtype)


def _exact(sigma: Definition, a: Floats) -> tuple[Enclosure, Enclosure]:
    """The exact σ and σ' at these points."""

    def compute() -> tuple[Enclosure, ...]:
        values = [sigma(scalar(x)) for x in a.ravel()]
        return tuple(enclosure([p[i] for p in values], a.shape) for i in range(2))

    value, first = certified(compute)
    return value, first


def _up(x: float) -> float:
    """x rounded up to a multiple of 1/2, unless it exceeds one only by its own rounding error."""
    return ceil(2 * x * (1 - 1e-12)) / 2


def around(a: Floats, ratio: Reals) -> Floats:
    """The floats around the worst points: the worst of each octave and sign, NEAR of them at most.

    They are from one float to an eighth of an octave away: an error that depends on how a single point rounds
    changes from float to float, an error that depends on a formula changes over a wider range.
    """
    octave = np.where(a < 0, -1, 1) * (np.frexp(np.abs(a))[1] + 10_000)
    order = np.argsort(-ratio, kind="stable")
    _, first = np.unique(octave[order], return_index=True)
    worst = np.resize(a[order[np.sort(first)[:NEAR]]], NEAR)
    nmant = np.finfo(a.dtype).nmant
    far = np.rint(np.geomspace(1, 2.0 ** (nmant - 3), NEIGHBOURS // NEAR // 2)).astype(np.int64)
    integers = np.abs(worst).view(np.int64 if nmant > 23 else np.int32)  # neighbours differ by one
    beside = integers[:, None] + np.concatenate([far, -far]).astype(integers.dtype)
    near: Floats = np.copysign(np.maximum(beside, 0).view(a.dtype), worst[:, None]).ravel()
    return near


Other = tuple[Reals, float, float]
"""A further term of an error: the sizes to which it is proportional, and the largest and the least of its
factor."""


def fit(
    error: Reals,
    size: Reals,
    others: Sequence[Other],
    u: float,
    lost: Reals,
    least: float,
) -> list[float]:
    """The smallest [c, …] with MARGIN·|error| ≤ u(c·size + …), one number for each of `others` after c.

    The error counts as c·size alone if a c of at most RELATIVE explains it. Otherwise c is 4 or 4·MARGIN,
    whichever needs fewer and smaller numbers of `others` to explain the rest. `lost` is what underflow may
    lose.
    """
    error = MARGIN * np.maximum(error - lost, 0) / u
    if (c := _most(error, size)) <= RELATIVE * (1 + 1e-12):  # the quotient itself was rounded
        return [max(least, _up(c)), *(0.0 for _ in others)]
    rows = [[c, *_rest(error - c * size, others)] for c in (4.0, 4 * MARGIN)]
    return min(rows, key=lambda row: (np.count_nonzero(row), sum(row)))


def _most(numerator: Reals, denominator: Reals) -> float:
    """The largest quotient; 0/0 is 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return float(np.max(np.where(numerator == 0, 0, numerator / denominator)))


def _rest(rest: Reals, others: Sequence[Other]) -> list[float]:
    """A factor for each of the others: 1 until one of them explains all that is left, and 0 after that
    one."""
    row: list[float] = []
    for size, limit, least in others:
        rest = np.maximum(rest, 0)
        if (x := _most(rest, size)) <= limit:
            row.append(max(least, _up(x)))
            break
        row.append(1.0)
        rest = rest - size
    return [*row, *(0.0 for _ in others[len(row) :])]


class Losses(NamedTuple):
    """What σ and σ' lost at some points, and the sizes that a row multiplies."""

    a: Floats
    Z: Reals  # |σ|
    D: Reals  # |σ'|
    Z_off: Reals
    D_off: Reals
    Z_lost: Reals  # what underflow may lose
    D_lost: Reals

    def joined(self, more: Losses) -> Losses:
        """These points and more."""
        return Losses(*map(np.concatenate, zip(self, more, strict=True)))

    def row(self, u: float, least: float) -> list[float]:
        """The row [c, e, c', g, d, f] that fits these losses."""
        size = np.minimum(np.abs(self.a.astype(float)), ENDS)
        in_proportion: Other = (size, np.inf, 1.0)
        others = [
            (np.minimum(self.Z, ENDS), OF_VALUE, LEAST),
            (np.ones_like(size), ABSOLUTE, 1.0),
            in_proportion,
        ]
        value = fit(self.Z_off, self.Z, [in_proportion], u, self.Z_lost, least)
        return value + fit(self.D_off, self.D, others, u, self.D_lost, least)

    def ratios(self, row: Sequence[float], u: float) -> tuple[Reals, Reals]:
        """The errors of σ and σ' over what the row allows."""
        c, e, c1, g, d, f = row
        size = np.minimum(np.abs(self.a.astype(float)), ENDS)
        value = u * (c * self.Z + e * size) + self.Z_lost
        first = u * (c1 * self.D + g * np.minimum(self.Z, ENDS) + d + f * size) + self.D_lost
        return self.Z_off / value, self.D_off / first


def _losses(
    impl: Implementation, dtype: str, activation: str, sigma: Definition, a: Floats
) -> Losses:
    """What an implementation loses at these points, whose number is a power of two."""
    one, n = np.ones((1, 1), dtype), len(a)
    trace = impl.run(
        Problem(
            {1: one, 2: one.copy()},
            a[:, None].copy(),
            np.full((n, 1), -1e30, dtype),
            {1: activation, 2: "identity"},
            "mean_absolute_error",
            False,
            0.125,
        )
    )
    Z, D = _exact(sigma, a)
    lost = float(np.finfo(dtype).smallest_normal) * (1 + np.abs(a.astype(float)))
    Z_off = Z.distance(trace.Z[1][:, 0])
    D_off = D.distance(trace.delta[1].astype(float)[:, 0] * n)  # n is a power of two
    return Losses(a, np.abs(Z.hi), np.abs(D.hi), Z_off, D_off, lost, 2 * n * lost)


def measured(impl: Implementation, name: str, dtype: str, activation: str) -> list[float]:
    """[c, e, c', g, d, f] of one activation, under what the implementation is known to compute."""
    rows = [
        d
        for d in known_differences()
        if d.is_of(name) and d.activation == activation and d.dtype in ("", dtype)
    ]
    sigma = amend(rows).maths.activations[activation]
    u = float(np.finfo(dtype).eps) / 2
    least = 1.0 if activation in ALGEBRAIC else LEAST
    seen = _losses(impl, dtype, activation, sigma, points(dtype))
    row = seen.row(u, least)
    for _ in range(ROUNDS):
        near = np.concatenate([around(seen.a, ratio) for ratio in seen.ratios(row, u)])
        seen = seen.joined(_losses(impl, dtype, activation, sigma, near))
        before, row = row, seen.row(u, least)
        if row == before:
            break
    return row


Tables = dict[str, dict[str, list[float]]]
"""accuracy.toml: {"NAME.DTYPE": {σ: row}}."""


def _rows(names: Iterable[str]) -> Tables:
    """The rows of accuracy.toml: a table for each implementation that runs here and each dtype."""
    tables: Tables = {}
    for name in names:
        impl = implementation(name)
        try:
            impl.start()
        except NotRunError as e:
            print(f"{name}: not run: {e}")
            continue
        for dtype in ("float64", "float32"):
            key = f"{name}.{dtype}"
            tables[key] = {s: measured(impl, name, dtype, s) for s in ACTIVATIONS}
            print(key)
            for s, row in tables[key].items():
                print(f"  {s:12} {row}", flush=True)
    return tables


def _wider(before: Tables, measured_now: Tables) -> Tables:
    """The larger of each number in the file and the one just measured: a row must hold on every processor
    that it was measured on, and their libm and SIMD paths differ."""
    rows = {key: dict(table) for key, table in before.items()}
    for key, table in measured_now.items():
        for s, row in table.items():
            old = rows.setdefault(key, {}).get(s, row)
            rows[key][s] = [max(pair) for pair in zip(row, old, strict=True)]
    return rows


def _written(tables: Tables, before: str) -> str:
    """The text of the file: its header as it was, then the tables."""
    parts = [before.split("\n[", 1)[0]]
    for key, table in tables.items():
        lines = [f"{s} = [{', '.join(f'{x:g}' for x in row)}]" for s, row in table.items()]
        quoted = f'"{key}"' if "." in key else key
        parts.append("\n".join([f"[{quoted}]", *lines]))
    return "\n\n".join(p.strip() for p in parts) + "\n"


def main() -> None:
    """Measure the named implementations, or all that run here."""
    parser = argparse.ArgumentParser(
        description="Measure what σ and σ' of each implementation lose."
    )
    parser.add_argument("names", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--write", action="store_true", help="write the rows into accuracy.toml")
    args = parser.parse_args()
    for name in args.names:
        if name not in IMPLEMENTATIONS:
            parser.error(unknown("implementation", name, IMPLEMENTATIONS))
    tables = _rows(args.names or IMPLEMENTATIONS)
    if args.write:
        path = Path(str(files("conformance.judge").joinpath("accuracy.toml")))
        before = path.read_text(encoding="utf-8")
        write_atomically(path, _written(_wider(tomllib.loads(before), tables), before))


if __name__ == "__main__":
    main()
