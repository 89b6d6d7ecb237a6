"""Every point at which a function takes another branch, found with proof.

The function is evaluated on an interval instead of a point (interval arithmetic, Moore 1966). If every
comparison in it has one answer for the whole interval, no branch flips there. Otherwise the interval is
halved, in the order of the floats, down to neighbours. So nothing is sampled, and no branch point is missed.

A function may have more branch points than can be listed (floor). The work is bounded by a number of
evaluations, never by time, so that the answer is the same on every machine. The search goes first to where
few intervals are undecided, so that a few branch points are found beside a million. The intervals that are
left undecided are returned.

At a branch point the function is continued from both sides: comparisons are answered as they are just left of
it, then as just right of it, and the values and derivatives at the point are compared.
"""

from __future__ import annotations

import heapq
import itertools
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from conformance.commands.activation.balls import BALLS
from conformance.commands.activation.evaluate import evaluate
from conformance.commands.activation.lifted import Function
from conformance.truth.balls import Ball, interval, scalar, working_precision
from conformance.truth.taylor import Taylor, UndecidedError, branching, variable

__all__ = ["Branch", "Interval", "Search", "branches", "local_branches", "one"]

Interval = tuple[float, float]
Cell = tuple[int, int]  # two floats, by their numbers in order
BITS = (192, 2304)  # the second holds the sum of any two floats exactly
BINADE = 2**52  # floats in a binade
MOST_EVALUATIONS = 4_000  # on intervals: enough for thirty branch points
NEAR = 64.0  # a comparison is near its flip up to so many times what rounding may do to it
U = 2.0**-53  # unit roundoff of float64


@dataclass(frozen=True)
class Side:
    """A function continued to a branch point from one side."""

    value: float
    first: float  # the derivative
    second: float


@dataclass(frozen=True)
class Branch:
    """A point at which some comparison flips: `at` is that point, or the float nearest to it."""

    at: float
    exact: bool  # whether the point is a float
    # within so many u of it, rounding decides the comparison; 0 where x itself is compared
    reach: float
    kind: str  # smooth, kink, jump or unknown
    left: Side
    right: Side
    value: float  # the function at the point itself

    @property
    def hull(self) -> tuple[float, float]:
        """The derivatives that lie between the one-sided ones (Clarke 1983)."""
        return min(self.left.first, self.right.first), max(self.left.first, self.right.first)


class Search(NamedTuple):
    """The branch points that were found, and where more may be: intervals that could not be searched."""

    found: list[Branch]
    unsearched: list[Interval]


def order(x: float) -> int:
    """The number of a float in the order of all floats; −0 and 0 have one number."""
    n = int.from_bytes(struct.pack("<d", x), "little", signed=True)
    return n if n >= 0 else -(n + 2**63)


def at_order(n: int) -> float:
    """The float of that number."""
    (x,) = struct.unpack("<d", struct.pack("<Q", n if n >= 0 else 2**63 - n))
    return float(x)


def one(f: Function, x: Taylor, dtype: str = "float64") -> Taylor:
    """f at one Taylor, in an array that f sees as one of that dtype."""
    data = np.empty(1, object)
    data[0] = x
    found: Taylor = evaluate(f, BALLS, data, dtype).ravel()[0]
    return found


class _Point(NamedTuple):
    """A function at a float, at the first precision at which every comparison there is decided, or else at
    the last.

    The last four fields are those of `taylor.Branching`.
    """

    bits: int
    t: Taylor | None  # None where a comparison is not decided
    decisions: list[int] | None
    compared: Mapping[int, Taylor]
    margin: float
    ties: int

    @property
    def clear(self) -> bool:
        """Whether no comparison is near its flip: then both neighbours are on this branch."""
        return self.decisions is not None and self.ties == 0 and self.margin > NEAR


class _Points:
    """A function at floats, by their number in order; each is evaluated once."""

    def __init__(self, f: Function) -> None:
        self.f = f
        self.known: dict[int, _Point] = {}

    def __getitem__(self, n: int) -> _Point:
        if n not in self.known:
            self.known[n] = self._evaluated(scalar(at_order(n)))
        return self.known[n]

    def _evaluated(self, x: Ball) -> _Point:
        for bits in BITS:
            with working_precision(bits), branching() as b:
                try:
                    t, decisions = one(self.f, variable(x)), b.decisions
                except UndecidedError:
                    t, decisions = None, None
            # with few bits e^x is not yet a number at x = 1e100
            if t is not None and not any(d.c0.is_nan() for d in b.compared.values()):
                break
        return _Point(bits, t, decisions, b.compared, b.margin, b.ties)

    def decided(self, low: int, high: int) -> bool:
        """Whether every comparison has one answer on the whole interval."""
        ends, (a, b) = (self[low], self[high]), (at_order(low), at_order(high))
        with working_precision(max(end.bits for end in ends)):
            way = scalar(0).union(scalar(b) - scalar(a))
            compared = ((ends[0].compared, way), (ends[1].compared, -way))
            try:
                with branching(ends=compared):
                    one(self.f, variable(interval(a, b)))
            except UndecidedError:
                return False
        return True


def _undecided(points: _Points, domain: Interval) -> tuple[list[Cell], list[Cell]]:
    """Pairs of neighbouring floats between which, or at which, some comparison flips; and the intervals that
    are left undecided.

    Undecided intervals wait in groups, one for each binade. The next group is one with few intervals and near
    ±1: a lone branch point has two or three at any time, however many there are elsewhere.
    """
    cells: list[Cell] = []
    turn = itertools.count()
    waiting = [(0, next(turn), [(order(domain[0]), order(domain[1]))])]
    for _ in range(MOST_EVALUATIONS):
        if not waiting:
            break
        _, _, (first, *rest) = heapq.heappop(waiting)
        low, high = first
        halves: list[Cell] = []
        if not points.decided(low, high):
            if high - low <= 1:
                cells.append(first)
            else:
                middle = (low + high) // 2
                halves = [(low, middle), (middle, high)]
        groups = [[h] for h in halves] if high - low > BINADE else [rest + halves]
        for group in groups:
            if group:
                late = len(group) * (16 + _binades_from_one(*group[0]))
                heapq.heappush(waiting, (late, next(turn), group))
    return cells, [cell for _, _, group in waiting for cell in group]


def _binades_from_one(low: int, high: int) -> int:
    """The number of binades between the interval and 1 or −1, whichever is nearer."""
    one = order(1.0)
    return min(max(low - n, n - high, 0) for n in (one, -one)) // BINADE


def _runs(cells: Iterable[Cell]) -> list[Cell]:
    """The cells, with those that touch joined."""
    runs: list[Cell] = []
    for low, high in sorted(cells):
        if runs and low <= runs[-1][1]:
            runs[-1] = (runs[-1][0], max(high, runs[-1][1]))
        else:
            runs.append((low, high))
    return runs


def branches(f: Function, domain: Interval) -> Search:
    """The branch points of f within the domain, in order, and where more may be."""
    points = _Points(f)
    cells, left = _undecided(points, domain)
    found = [_branch(points, low, high) for low, high in _runs(cells)]
    return Search(found, [(at_order(a), at_order(b)) for a, b in _runs(left)])


def local_branches(f: Function, at: Iterable[float]) -> list[Branch]:
    """Those of the floats `at` that are branch points: for functions with too many to list them all.

    A float is a branch point if some comparison has another answer there than at one of its neighbours.
    """
    points = _Points(f)
    found = []
    for n in map(order, at):
        if points[n].clear:
            continue
        left, here, right = (points[m].decisions for m in (n - 1, n, n + 1))
        if here is None or not left == here == right:
            found.append(_branch(points, n - 1, n + 1))
    return found


def _branch(points: _Points, low: int, high: int) -> Branch:
    """The branch point between two floats that are on different branches."""
    own = _own_points(points, low, high)
    n = own[len(own) // 2] if own else (low + high) // 2
    sides = (n - 1, n + 1) if own else (low, high)
    where = interval(at_order(n), at_order(n)) if own else interval(*map(at_order, sides))
    beside = [points[m] for m in sides]
    left, right = (_continued(points.f, p, where) for p in beside)
    here = points[n].t
    value = math.nan if here is None else float(here.c0)
    reach = _reach([*beside, points[n]])
    return Branch(
        at_order(n), bool(own), reach, _kind((left, right)),
        _side(left, beside[0]), _side(right, beside[1]), value,
    )  # fmt: skip


def _reach(at: Sequence[_Point]) -> float:
    """How far from a branch point, in u, rounding decides the comparison.

    The number that is compared with 0 is c1·(x − point), and its error is e·u: rounding decides where the
    number is no larger than its error. If several comparisons flip, the farthest counts.
    """
    answers = [p.decisions for p in at if p.decisions is not None]
    flips = [i for i, each in enumerate(zip(*answers, strict=False)) if len(set(each)) > 1]
    compared = [p.compared[i] for p in at for i in flips if i in p.compared]
    steep = [(d.e, float(d.c1.abs_lower())) for d in compared]
    return max((e / c1 for e, c1 in steep if e > 0 and c1 > 0), default=0.0)


def _continued(f: Function, beside: _Point, to: Ball) -> Taylor | None:
    """The function on the branch that it takes at the point `beside`, evaluated at `to`; None if that is
    undecided."""
    if beside.decisions is None:
        return None
    with working_precision(beside.bits), branching(tuple(beside.decisions)):
        try:
            return one(f, variable(to))
        except UndecidedError:
            return None


def _own_points(points: _Points, low: int, high: int) -> list[int]:
    """The floats between two others at which comparisons have other answers than at either of the two."""
    if not 1 < high - low < 64:
        return []
    sides = (points[low].decisions, points[high].decisions)
    return [n for n in range(low + 1, high) if points[n].decisions not in sides]


def _side(t: Taylor | None, beside: _Point) -> Side:
    """The function continued to the point from one side. If the continuation has no derivative there, as
    √(x²) has none at 0, the derivative is that at the neighbouring float."""
    if t is None:
        return Side(math.nan, math.nan, math.nan)
    first, second = float(t.c1), 2 * float(t.c2)
    if math.isnan(first) and beside.t is not None:
        first, second = float(beside.t.c1), 2 * float(beside.t.c2)
    return Side(float(t.c0), first, second)


def _kind(sides: Sequence[Taylor | None]) -> str:
    """Whether value and derivative are the same on both sides, within the rounding of the code's
    constants."""
    left, right = sides
    if left is None or right is None:
        return "unknown"
    k, k1 = 4 * (left.k + right.k), 4 * (left.k1 + right.k1)
    size = max(abs(float(left.c0)), abs(float(right.c0)))
    steep = max(abs(float(left.c1)), abs(float(right.c1)))
    jump, kink = left.c0 - right.c0, left.c1 - right.c1
    if not (jump.is_finite() and math.isfinite(size)):
        return "unknown"
    if _surely(jump, U * (k + 16 * size)):
        return "jump"
    if not (kink.is_finite() and math.isfinite(steep)):
        return "kink"  # a vertical tangent, or none
    return "kink" if _surely(kink, U * (k1 + 16 * steep)) else "smooth"


def _surely(difference: Ball, within: float) -> bool:
    """Whether the difference is proved to be larger than that."""
    return float(difference.abs_lower()) > within
