"""Every implementation's distance from the truth in ulps, and how much of the tolerance it used."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup

from conformance.report import svg
from conformance.report.numbers import count, over, percentile, short, size
from conformance.report.view import DTYPES, GATES, QUANTITIES, View, in_order, isolate, symbol
from conformance.tools.names import brief

__all__ = ["context"]

WIDTH, LEFT, RIGHT, ROW = 420, 112, 344, 15
BINS = [e / 4 for e in range(-16, 9)]  # quarter decades of error over tolerance, 1e-4 … 1e2


class Spread(NamedTuple):
    """The distances of one quantity, by one implementation, in one dtype."""

    records: int
    median: float
    high: float  # the 95th percentile
    largest: float
    case: str  # the case of the largest


Ulps = dict[str, dict[str, dict[str, Spread]]]  # dtype -> quantity -> implementation


def context(view: View) -> dict[str, object]:
    ulps = _ulps(view)
    return {
        "ranges": {dtype: _ranges(n, dtype, by) for n, (dtype, by) in enumerate(ulps.items())},
        "rows": [
            (dtype, quantity, name, spread)
            for dtype, by in ulps.items()
            for quantity, own in by.items()
            for name, spread in own.items()
        ],
        **_ratios(view),
    }


def _ulps(view: View) -> Ulps:
    found: dict[tuple[str, str, str], list[tuple[float, str]]] = defaultdict(list)
    for j, record in view.records("end-to-end"):
        key = j.case["dtype"], record["quantity"], j.result["implementation"]
        found[key].append((size(record["ulps"]), j.result["case"]))
    names = [i["name"] for i in view.results["implementations"]]
    return {
        dtype: {
            quantity: {
                name: _spread(found[dtype, quantity, name])
                for name in names
                if (dtype, quantity, name) in found
            }
            for quantity in in_order((q for d, q, _ in found if d == dtype), QUANTITIES)
        }
        for dtype in in_order((d for d, _, _ in found), DTYPES)
    }


def _spread(found: list[tuple[float, str]]) -> Spread:
    ulps = sorted(u for u, _ in found)
    _, case = max(found, key=lambda pair: pair[0])
    return Spread(len(ulps), percentile(ulps, 50), percentile(ulps, 95), ulps[-1], case)


def _ranges(n: int, dtype: str, by: dict[str, dict[str, Spread]]) -> Markup:
    """One line an implementation: a dot at the median, a bar to the 95th percentile, a line on to
    the largest. The axis has room for ten times the bars; a line that leaves it ends in an arrow."""
    highest = [10 * spread.high for own in by.values() for spread in own.values()]
    axis = svg.LogAxis.around(highest, (-1, 2), LEFT, RIGHT)
    called = brief(dict.fromkeys(name for own in by.values() for name in own))
    parts: list[Markup] = []
    y = 20.0
    for quantity, own in by.items():
        parts.append(svg.text(0, y + 4, symbol(quantity), "heading"))
        for name, spread in own.items():
            middle, high, top = axis(spread.median), axis(spread.high), axis(spread.largest)
            beyond = spread.largest > 10.0**axis.high
            tip = top - 5 if beyond else top
            end = [(tip, y - 3), (top, y), (tip, y + 3)]
            parts += [
                svg.name(LEFT - 8, y + 4, called[name], "label end", 12),
                svg.path([(middle, y), (top, y)], "whisker"),
                svg.path(end, "whisker"),
                svg.path([(middle, y), (high, y)], "bar"),
                svg.mark("circle", middle, y, "mark", 3),
                svg.text(RIGHT + 10, y + 4, short(spread.largest), "tick"),
            ]
            y += ROW
        y += 8
    grid = []
    for x, label in axis.ticks():
        grid += [svg.path([(x, 10), (x, y - 8)], "grid"), svg.text(x, y + 5, label, "tick middle")]
    return svg.plot(
        f"distance-{n}",
        WIDTH,
        int(y) + 12,
        f"Distance from the truth in ulps of {isolate(dtype)}",
        "By quantity and implementation: median, 95th percentile and largest, on a logarithmic"
        " axis. The table below has the numbers.",
        grid + parts,
    )


def _ratios(view: View) -> dict[str, object]:
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for j, record in view.records():
        found[record["gate"]][j.result["implementation"]].append(size(record["ratio"]))
    names = [i["name"] for i in view.results["implementations"]]
    gates = {
        gate: {name: sorted(found[gate][name]) for name in in_order(found[gate], names)}
        for gate in in_order(found, GATES)
    }
    graded = {g: by for g, by in gates.items() if any(map(_uneven, by.values()))}
    return {
        "histograms": {g: _histogram(n, g, by) for n, (g, by) in enumerate(graded.items())},
        "ratios": [
            (gate, name, len(rs), rs.count(0), percentile(rs, 50), percentile(rs, 95), rs[-1],
             sum(map(over, rs)))
            for gate, by in gates.items()
            for name, rs in by.items()
        ],
    }  # fmt: skip


def _uneven(ratios: list[float]) -> bool:
    """Whether any ratio is neither 0 nor infinite."""
    return any(0 < r < math.inf for r in ratios)


def _histogram(n: int, gate: str, by: dict[str, list[float]]) -> Markup:
    """A row an implementation: how many records used how much of their tolerance."""
    axis = svg.LogAxis(-4, 2, LEFT + 34, RIGHT)
    width = (axis.end - axis.start) / (len(BINS) - 1)
    called, height, parts = brief(by), 30, []
    bottom = 14.0 + height * len(by)
    for x, label in axis.ticks(4):
        parts += [
            svg.path([(x, 10), (x, bottom)], "grid"),
            svg.text(x, bottom + 14, label, "tick middle"),
        ]
    parts.append(svg.text(LEFT + 6, bottom + 14, "0", "tick middle"))
    for row, (name, rs) in enumerate(by.items()):
        base = 10.0 + height * (row + 1)
        counts = _bins(rs)
        most = max(counts.values())
        bars: dict[str, list[str]] = {"bars": [], "bars over": []}
        for i, c in sorted(counts.items()):
            x = LEFT if i < 0 else axis.start + i * width
            h = max(1.0, (height - 6) * c / most)
            over = i >= 0 and BINS[i] >= 0
            bars["bars over" if over else "bars"].append(
                f"M{x:.1f} {base:.1f}v{-h:.1f}h{(12 if i < 0 else width - 1):.1f}v{h:.1f}z"
            )
        parts += [svg.el("path", d="".join(d), class_=class_) for class_, d in bars.items() if d]
        parts += [
            svg.path([(LEFT, base), (RIGHT, base)], "axis"),
            svg.name(LEFT - 8, base - 4, called[name], "label end"),
            svg.text(RIGHT + 8, base - 4, short(rs[-1]), "tick"),
        ]
    parts.append(svg.path([(axis(1), 8), (axis(1), bottom)], "limit"))
    total = sum(len(rs) for rs in by.values())
    return svg.plot(
        f"ratios-{n}",
        WIDTH,
        int(bottom) + 20,
        f"Error over tolerance at the {isolate(gate)} gate",
        f"How {count(total)} records spread between 0 and the limit 1, by implementation, on a"
        " logarithmic axis; the number at the end of a row is the largest.",
        parts,
    )


def _bins(ratios: list[float]) -> dict[int, int]:
    """How many of the ordered ratios are in each bin; bin −1 is for 0, and the outer bins take what is beyond
    them. A ratio of 1 still conforms, so it is left of the limit."""
    inner = [
        bisect_right(ratios, 1) if b == 0 else bisect_left(ratios, 10.0**b) for b in BINS[1:-1]
    ]
    edges = [0, bisect_right(ratios, 0), *inner, len(ratios)]
    return {i - 1: high - low for i, (low, high) in enumerate(pairwise(edges)) if high > low}
