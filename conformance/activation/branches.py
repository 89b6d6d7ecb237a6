"""Every point where a function takes another branch, found with proof.

The function is evaluated on an interval instead of a point (interval arithmetic, Moore 1966): where every
comparison in it has one answer for the whole interval, no branch flips there. Where one has not, the
interval is halved, in the order of the floats, down to neighbours. So nothing is sampled and none is missed.

At a branch point the function is continued from both sides: the comparisons are answered as they are just
left of it, then as just right of it, and the values and derivatives at the point compared.
"""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.activation.balls import BALLS
from conformance.activation.lifted import evaluate
from conformance.truth.balls import interval, working_precision
from conformance.truth.taylor import Branching, Taylor, UndecidedError, branching, variable

__all__ = ["Branch", "TooManyError", "branches", "local_branches", "one"]

Function = Callable[[Any], Any]
BITS = 192
MOST_CELLS = 400  # undecided pairs of neighbours: more than 100 branch points
MOST_INTERVALS = 12_000
MOST_SECONDS = (
    2.0  # for a σ so slow, and so full of branches, that all of the above would take minutes
)
U = 2.0**-53


class TooManyError(Exception):
    """More branch points than can be listed. Carries those that were found."""

    def __init__(self, found: Sequence[float]) -> None:
        super().__init__(f"more than {len(found)} branch points")
        self.found = list(found)


@dataclass(frozen=True)
class Side:
    """A function continued to a branch point from one side."""

    value: float
    first: float  # the derivative
    second: float


@dataclass(frozen=True)
class Branch:
    """A point at which some comparison flips: `at` is it, or the float nearest to it."""

    at: float
    exact: bool  # whether the point is a float
    shaky: bool  # whether rounding decides the comparison near it
    kind: str  # smooth, kink, jump or unknown
    left: Side
    right: Side
    value: float  # the function at the point itself

    @property
    def hull(self) -> tuple[float, float]:
        """The derivatives that lie between the one-sided ones (Clarke 1983)."""
        return min(self.left.first, self.right.first), max(self.left.first, self.right.first)


def order(x: float) -> int:
    """The floats numbered in their order; −0 and 0 are one."""
    n = int.from_bytes(struct.pack("<d", x), "little", signed=True)
    return n if n >= 0 else -(n + 2**63)


def at_order(n: int) -> float:
    """The float of that number."""
    (x,) = struct.unpack("<d", struct.pack("<Q", n if n >= 0 else 2**63 - n))
    return float(x)


def one(f: Function, x: Taylor, dtype: str = "float64") -> Taylor:
    """f at one Taylor; `dtype` is what it is told that x is."""
    data = np.empty(1, object)
    data[0] = x
    found: Taylor = evaluate(f, BALLS, data, dtype).ravel()[0]
    return found


def _at(f: Function, x: float) -> tuple[Taylor, Branching]:
    """f at a float, with what was decided there."""
    with branching() as b:
        return one(f, variable(interval(x, x))), b


def _decided(f: Function, low: float, high: float) -> bool:
    """Whether every comparison has one answer on all of [low, high]."""
    try:
        with branching() as b:
            one(f, variable(interval(low, high)))
    except UndecidedError:
        return False
    return b.ties == 0 or low != high


def _undecided_cells(f: Function, domain: tuple[float, float]) -> list[tuple[int, int]]:
    """Pairs of neighbouring floats between which, or at which, some comparison flips."""
    cells: list[tuple[int, int]] = []
    waiting = [(order(domain[0]), order(domain[1]))]
    tried, until = 0, time.monotonic() + MOST_SECONDS
    while waiting:
        low, high = waiting.pop()
        tried += 1
        if _decided(f, at_order(low), at_order(high)):
            continue
        if high - low <= 1:
            cells.append((low, high))
            if len(cells) > MOST_CELLS:
                raise TooManyError([at_order(a) for a, _ in cells])
            continue
        if tried > MOST_INTERVALS or (tried > 500 and time.monotonic() > until):
            raise TooManyError([at_order(a) for a, _ in cells])
        middle = (low + high) // 2
        waiting += [(middle, high), (low, middle)]  # the left half first
    return cells


def _runs(cells: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Cells that touch, as one."""
    runs: list[tuple[int, int]] = []
    for low, high in sorted(cells):
        if runs and low <= runs[-1][1]:
            runs[-1] = (runs[-1][0], max(high, runs[-1][1]))
        else:
            runs.append((low, high))
    return runs


def branches(f: Function, domain: tuple[float, float]) -> list[Branch]:
    """The branch points of f within the domain, in order. Raises TooManyError."""
    with working_precision(BITS):
        return [_branch(f, low, high) for low, high in _runs(_undecided_cells(f, domain))]


def local_branches(f: Function, points: Sequence[float]) -> tuple[list[Branch], list[float]]:
    """Those among the points that are branch points, where there are too many to list them all.

    A point is one where comparisons do not come out as at both its neighbours. Returns them, and the points
    that were looked at before time was up.
    """
    found, looked, until = [], [], time.monotonic() + MOST_SECONDS
    with working_precision(BITS):
        for x in points:
            if time.monotonic() > until:
                break
            n = order(x)
            here = _decisions(f, n)
            if here is None or not here == _decisions(f, n - 1) == _decisions(f, n + 1):
                found.append(_branch(f, n - 1, n + 1))
            looked.append(x)
    return found, looked


def _branch(f: Function, low: int, high: int) -> Branch:
    """What happens between two floats that are not on one branch."""
    own = _own_points(f, low, high)
    n = own[len(own) // 2] if own else (low + high) // 2
    at = at_order(n)
    before, after = (at_order(n - 1), at_order(n + 1)) if own else (at_order(low), at_order(high))
    where = interval(at, at) if own else interval(before, after)
    shaky = False
    sides: list[Taylor | None] = []
    for beside in (before, after):
        try:
            _, b = _at(f, beside)
            shaky |= math.isfinite(b.margin) or not own
            with branching(tuple(b.decisions)):
                sides.append(one(f, variable(where)))
        except UndecidedError:
            sides.append(None)
    try:
        value = float(_at(f, at)[0].c0)
    except UndecidedError:
        value = math.nan
    left, right = (_side(t) for t in sides)
    return Branch(at, bool(own), shaky, _kind(sides), left, right, value)


def _own_points(f: Function, low: int, high: int) -> list[int]:
    """The floats between two where comparisons come out as on neither side of them."""
    if not 1 < high - low < 64:
        return []
    sides = (_decisions(f, low), _decisions(f, high))
    return [n for n in range(low + 1, high) if _decisions(f, n) not in sides]


def _decisions(f: Function, n: int) -> list[int] | None:
    try:
        return _at(f, at_order(n))[1].decisions
    except UndecidedError:
        return None  # a tie that is not proved


def _side(t: Taylor | None) -> Side:
    if t is None:
        return Side(math.nan, math.nan, math.nan)
    return Side(float(t.c0), float(t.c1), 2 * float(t.c2))


def _kind(sides: Sequence[Taylor | None]) -> str:
    """Whether value and derivative go on across the point, as far as constants are known."""
    left, right = sides
    if left is None or right is None:
        return "unknown"
    k = 4 * (left.k + right.k)
    size = max(abs(float(left.c0)), abs(float(right.c0)))
    steep = max(abs(float(left.c1)), abs(float(right.c1)))
    jump, kink = left.c0 - right.c0, left.c1 - right.c1
    if not (jump.is_finite() and math.isfinite(size)):
        return "unknown"
    if _surely(jump, U * (k + 16 * size)):
        return "jump"
    if not (kink.is_finite() and math.isfinite(steep)):
        return "kink"  # a vertical tangent, or none
    return "kink" if _surely(kink, U * (k + 16 * steep)) else "smooth"


def _surely(difference: Any, within: float) -> bool:
    return float(difference.abs_lower()) > within
