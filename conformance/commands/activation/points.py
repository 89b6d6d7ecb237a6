"""The points at which a function is evaluated: on the whole line of floats, and the same every time.

They are dense where most values are, log-spaced to the ends of the range in both signs, and include the
special numbers. Around every branch point there are its neighbours, and points closing in on it from both
sides. Between two branch points that are found with proof (branches.py) a function of NumPy's is analytic; so
agreement on many points of a piece is agreement on the piece, except for a function made to deceive.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from conformance.model.problem import Floats
from conformance.truth.rounding import Reals

__all__ = ["domain_of", "points", "special"]

Domain = tuple[float, float]


def domain_of(dtype: str) -> Domain:
    """All finite numbers of the dtype."""
    largest = float(np.finfo(dtype).max)
    return -largest, largest


def special(dtype: str) -> Floats:
    """+0, −0, ∞, −∞, NaN."""
    return np.array([0.0, -0.0, np.inf, -np.inf, np.nan], dtype)


def _body() -> Reals:
    """Where most values are: every 1/32 off the grid over ±8, coarser to ±50, and whole and half numbers."""
    fine = np.arange(-8, 8, 1 / 32) + 1 / 97
    wide = np.arange(-50, 50, 1 / 3) + 1 / 53
    halves = np.arange(-20, 20.5, 0.5)
    return np.concatenate([fine, wide, halves])


def _tails(dtype: str) -> Reals:
    """Log-spaced over the whole range: every binade near 1, every eighth far out, and the ends."""
    f = np.finfo(dtype)
    low, high = int(f.minexp) - int(f.nmant), int(f.maxexp)
    step = max(1, (high - low) // 160)
    exponents = np.unique(np.concatenate([np.arange(low, high, step), np.arange(-40, 12)]))
    rng = np.random.default_rng(20)
    with np.errstate(under="ignore"):
        spaced = np.ldexp(rng.uniform(1, 2, exponents.size), exponents)
    hundreds = np.geomspace(50, 2000, 60)
    ends = [float(f.max), float(f.smallest_subnormal), float(f.smallest_normal)]
    return np.concatenate([spaced, hundreds, ends])


@np.errstate(all="ignore")
def _around(at: float, dtype: str) -> Reals:
    """A point, three neighbours on each side, and points closing in on it from both."""
    number = np.dtype(dtype).type
    found = [number(at)]
    for way in (np.inf, -np.inf):
        x = number(at)
        for _ in range(3):
            x = np.nextafter(x, number(way))
            found.append(x)
    size = max(abs(at), 1e-3)
    closing_in = [at + sign * size * 2.0**-k for k in range(2, 40, 3) for sign in (1, -1)]
    return np.array([*map(float, found), *closing_in])


def points(dtype: str, domain: Domain, branches: Iterable[float] = ()) -> Floats:
    """Finite points of the dtype within the domain, in order, each once; there is no −0."""
    tails = _tails(dtype)
    found = [_body(), tails, -tails, np.array([0.0])]
    ends = [b for b in sorted(branches) if np.isfinite(b)]
    found += [_around(b, dtype) for b in ends]
    cuts = [max(domain[0], -1e4), *ends, min(domain[1], 1e4)]
    found += [np.linspace(a, b, 34)[1:-1] for a, b in pairwise(cuts) if b > a]
    finite = [d for d in domain if np.isfinite(d)]
    found.append(np.array(finite))
    with np.errstate(over="ignore", under="ignore"):
        x = np.unique(np.concatenate(found).astype(dtype))
    wide = x.astype(np.float64)
    x = x[np.isfinite(x) & (wide >= domain[0]) & (wide <= domain[1])]
    return np.asarray(x + np.dtype(dtype).type(0))  # no −0
