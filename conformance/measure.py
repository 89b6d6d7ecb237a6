"""Measures what each implementation's σ and σ' lose, and writes the rows of accuracy.toml.

    python -m conformance.measure [--write] [NAME ...]

One network serves: X = points, W_1 = W_2 = 1, σ_2 the identity, and mean absolute error with Y far
below, so that δ_2 is exactly 1/n and δ_1 is σ'(A_1)/n with n a power of two. What is measured is thus
what the implementation really does, autodiff included. Without --write it only prints.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from conformance.cases import unknown
from conformance.implementations import IMPLEMENTATIONS, Implementation, NotRunError, implementation
from conformance.known_differences import amend, known_differences
from conformance.problem import Problem
from conformance.results import write_atomically
from conformance.truth.balls import Enclosure, certified, enclosure, scalar
from conformance.truth.definitions import ACTIVATIONS, Definition
from conformance.truth.rounding import ALGEBRAIC

__all__ = ["fit", "main", "measured", "points"]

POINTS = 2**15  # a power of two, so that δ_1 = σ'(A_1)/n is exact
MARGIN = 1.5
LEAST = 4.0  # for σ with exp and its like: no library promises less than 2 ulp on every processor
RELATIVE = 12.0  # up to here a loss is put down to relative error alone
OF_VALUE = 32.0  # of σ', up to here the rest of it to an error in proportion to |σ|,
ABSOLUTE = 4.0  # else up to here to an absolute error, else to one in proportion to |a|


def points(dtype: str, count: int = POINTS) -> Any:
    """Deterministic points: half over ±10, where values live, a quarter over ±40, and a quarter
    log-spaced from 1e-12 to 1e4 in both signs."""
    quarter = count // 4
    rng = np.random.default_rng(count)
    spaced = np.geomspace(1e-12, 1e4, quarter // 2)
    body, wide = rng.uniform(-10, 10, 2 * quarter), rng.uniform(-40, 40, quarter)
    return np.concatenate([body, wide, spaced, -spaced]).astype(dtype)


def _exact(sigma: Definition, a: Any) -> tuple[Enclosure, Enclosure]:
    def compute() -> tuple[Enclosure, ...]:
        found = [sigma(scalar(x)) for x in a.ravel()]
        return tuple(enclosure([p[i] for p in found], a.shape) for i in range(2))

    value, first = certified(compute)
    return value, first


def _up(x: float) -> float:
    """With the margin, rounded up to a half."""
    return ceil(2 * MARGIN * x) / 2


def fit(
    error: Any,
    size: Any,
    others: Sequence[tuple[Any, float, float]],
    u: float,
    lost: Any,
    least: float,
) -> list[float]:
    """The smallest [c, …] with |error| ≤ u(c·size + …), with a margin.

    Relative error alone where that explains it; else 4·size and the first of `others`, (size, limit,
    least), that needs no more than its limit.
    """
    error = np.maximum(error - lost, 0) / u

    def most(of: Any, over: Any) -> float:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return float(np.max(np.where(of == 0, 0, of / over)))

    if (c := most(error, size)) * MARGIN <= RELATIVE:
        return [max(least, _up(c)), *(0.0 for _ in others)]
    rest = np.maximum(error - 4 * size, 0)
    row = [4.0]
    for other, limit, floor in others:
        if (x := most(rest, other)) * MARGIN <= limit:
            row.append(max(floor, _up(x)))
            break
        row.append(1.0)
        rest = np.maximum(rest - other, 0)
    return [*row, *(0.0 for _ in others[len(row) - 1 :])]


def measured(impl: Implementation, name: str, dtype: str, activation: str) -> list[float]:
    """[c, e, c', g, d, f] of one activation, under what the implementation is known to compute."""
    a = points(dtype)[:, None]
    one, n = np.ones((1, 1), dtype), len(a)
    Y = np.full(a.shape, -1e30, dtype)
    problem = Problem(
        {1: one, 2: one.copy()},
        a,
        Y,
        {1: activation, 2: "identity"},
        "mean_absolute_error",
        False,
        0.125,
    )
    trace = impl.run(problem)
    rows = [
        d
        for d in known_differences()
        if name.startswith(d.implementation)
        and d.activation == activation
        and d.dtype in ("", dtype)
    ]
    Z, D = _exact(amend(rows).maths.activations[activation], a)
    u = float(np.finfo(dtype).eps) / 2
    lost = float(np.finfo(dtype).smallest_normal) * (1 + np.abs(a.astype(float)))
    size = np.abs(a.astype(float))
    least = 1.0 if activation in ALGEBRAIC else LEAST
    value = fit(Z.distance(trace.Z[1]), np.abs(Z.hi), [(size, np.inf, 1.0)], u, lost, least)
    derivative = trace.delta[1].astype(float) * n  # n is a power of two
    first = fit(
        D.distance(derivative),
        np.abs(D.hi),
        [(np.abs(Z.hi), OF_VALUE, LEAST), (np.ones_like(size), ABSOLUTE, 1.0), (size, np.inf, 1.0)],
        u,
        2 * lost * n,
        least,
    )
    return value + first


def _rows(names: Iterable[str]) -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {}
    for name in names:
        impl = implementation(name)
        try:
            impl.start()
        except NotRunError as e:
            print(f"{name}: not run: {e}")
            continue
        for dtype in ("float64", "float32"):
            key = f"{name}.{dtype}"
            found[key] = {s: measured(impl, name, dtype, s) for s in ACTIVATIONS}
            print(key)
            for s, row in found[key].items():
                print(f"  {s:12} {row}", flush=True)
    return found


def _wider(
    said: Mapping[str, Mapping[str, list[float]]], found: Mapping[str, Mapping[str, list[float]]]
) -> dict[str, dict[str, list[float]]]:
    """What was said and what was found, the larger of each number: a row holds on every processor that
    it was measured on, and libm and SIMD paths differ."""
    rows = {key: dict(table) for key, table in said.items()}
    for key, table in found.items():
        for s, row in table.items():
            before = rows.setdefault(key, {}).get(s, row)
            rows[key][s] = [max(pair) for pair in zip(row, before, strict=True)]
    return rows


def _written(rows: Mapping[str, Mapping[str, list[float]]], before: str) -> str:
    """The file: its header as it stands, then a table an implementation and dtype."""
    header = before.split("\n[", 1)[0]
    parts = [header]
    for key, table in rows.items():
        lines = [f"{s} = [{', '.join(f'{x:g}' for x in row)}]" for s, row in table.items()]
        quoted = f'"{key}"' if "." in key else key
        parts.append("\n".join([f"[{quoted}]", *lines]))
    return "\n\n".join(p.strip() for p in parts) + "\n"


def main() -> None:
    """Measure the implementations named, or all that run here."""
    parser = argparse.ArgumentParser(
        description="Measure what σ and σ' of each implementation lose."
    )
    parser.add_argument("names", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--write", action="store_true", help="write the rows into accuracy.toml")
    args = parser.parse_args()
    for name in args.names:
        if name not in IMPLEMENTATIONS:
            parser.error(unknown("implementation", name, IMPLEMENTATIONS))
    found = _rows(args.names or IMPLEMENTATIONS)
    if args.write:
        path = Path(str(files("conformance").joinpath("accuracy.toml")))
        before = path.read_text(encoding="utf-8")
        write_atomically(path, _written(_wider(tomllib.loads(before), found), before))


if __name__ == "__main__":
    main()
