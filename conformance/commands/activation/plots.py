"""The pictures of the report: σ and σ' where most values are, and how far each way is from the certified one.

Each mark is the worst point in a few pixels of x, so that a picture stays small and no error is hidden.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from markupsafe import Markup

from conformance.report import svg
from conformance.report.numbers import count, short, size
from conformance.report.view import in_order

if TYPE_CHECKING:
    from conformance.commands.activation.check import Check, Series

__all__ = ["STYLES", "Figure", "certified_values", "curves", "errors", "style"]

Line: TypeAlias = list[tuple[float, float]]
Worth: TypeAlias = tuple[bool, float, float]  # how much a point is worth showing, for comparison

WIDTH, LEFT, RIGHT = 470, 46, 462
ROW = 13  # height of a row above an error plot, which marks where a way is NaN or infinite
BODY = 10.0  # σ is drawn from −BODY to BODY
LARGEST = {"float64": 1.7976931348623157e308, "float32": 3.4028234663852886e38}
LEAST = {"float64": 5e-324, "float32": 1.4e-45}
FEWEST, MOST = -2, 18  # decades of ulps; where a number is off by more, no digit of it is right
SHOWN_BREAKS, SHOWN_SIDES = 60, 12  # branch points with a line, and with their one-sided values


class Style(NamedTuple):
    """How a way is drawn: shape and colour."""

    shape: str
    class_: str


STYLES = {
    "σ": Style("circle", "s0"),
    "σ'": Style("circle", "s0"),
    "torch": Style("triangle", "s1"),
    "jax": Style("square", "s2"),
}
ALARM = "bowtie"
SYMBOLS = {"value": "σ", "derivative": "σ'"}


def style(way: str) -> Style:
    """The style of a way; an unknown way has a style that is not in STYLES."""
    return STYLES.get(way, Style("diamond", "s3"))


class Figure(NamedTuple):
    """A picture with the words above it."""

    caption: str
    picture: Markup


@dataclass(frozen=True)
class Point:
    """One argument of one way: its result, how far off it is and how far it may be."""

    x: float
    y: float
    ulps: float
    allowed: float

    @property
    def alarm(self) -> bool:
        """Whether it is NaN or infinite, although the truth is a number."""
        return not math.isfinite(self.y)

    @property
    def badness(self) -> Worth:
        """Ranks points: those without a number are worst, then those beyond their tolerance, then those
        farther off."""
        return self.alarm, self.ulps > self.allowed > 0, size(self.ulps)


def _find(check: Check, way: str, dtype: str, of: str) -> Series | None:
    key = (way, dtype, of)
    return next((s for s in check["series"] if (s["way"], s["dtype"], s["of"]) == key), None)


def _theirs(check: Check, dtype: str, of: str) -> list[tuple[str, list[Point]]]:
    """The points of each way but the certified one, without those that are not judged."""
    asked, at_break = _asking(check, dtype, of), _at_break(check)
    return [
        (s["way"], [p for p in _points(s) if not at_break(p.x) and asked(p)])
        for s in check["series"]
        if (s["dtype"], s["of"]) == (dtype, of) and s["way"] != "certified"
    ]


def _points(s: Series) -> Iterator[Point]:
    for row in zip(s["x"], s["y"], s["ulps"], s["allowed"], strict=True):
        yield Point(*map(float, row))


def _asking(check: Check, dtype: str, of: str) -> Callable[[Point], bool]:
    """A function that says whether a point is judged: the truth near it must be known, and within the dtype's
    range."""
    s, largest = _find(check, "certified", dtype, of), LARGEST.get(dtype, math.inf)
    if s is None:
        return lambda p: True
    xs, ys = [float(x) for x in s["x"]], [float(y) for y in s["y"]]

    def asked(p: Point) -> bool:
        if math.isnan(p.ulps):
            return False
        i = bisect_left(xs, p.x)
        beside = ys[max(0, i - 1) : i + 1]
        return math.isfinite(p.y) or not any(abs(y) > largest for y in beside)

    return asked


def _breaks(check: Check) -> list[float]:
    """The branch points of the table that are not smooth."""
    return [float(k["at"]) for k in check["kinks"] if k["kind"] != "smooth"]


def _at_break(check: Check) -> Callable[[float], bool]:
    """A function that says whether an argument is a branch point, in any dtype: branch points have a table of
    their own."""
    breaks = _breaks(check)
    return lambda x: any(abs(x - b) <= 2e-6 * abs(b) + 1.2e-38 for b in breaks)


def _one_of_each(
    points: Iterable[Point],
    axis: Callable[[float], float],
    step: float,
    worth: Callable[[Point], Worth],
) -> list[Point]:
    """In every `step` pixels, the point that is most worth showing."""
    found: dict[int, Point] = {}
    for p in points:
        column = math.floor(axis(p.x) / step)
        if column not in found or worth(p) > worth(found[column]):
            found[column] = p
    return [found[column] for column in sorted(found)]


# --- σ and σ' where most values are -------------------------------------------------------------------


def _body(check: Check) -> tuple[float, float]:
    """The range of x for which σ and σ' are drawn: ±BODY, or the part of the domain that is nearest to it."""
    low, high = (float(d) for d in check["domain"])
    if low >= BODY:
        return low, min(high, low + 2 * BODY)
    if high <= -BODY:
        return max(low, high - 2 * BODY), high
    return max(low, -BODY), min(high, BODY)


def _certified(check: Check, of: str) -> Line:
    """The certified curve over the body."""
    s = _find(check, "certified", "float64", of)
    low, high = _body(check)
    return [(p.x, p.y) for p in _points(s) if low <= p.x <= high] if s else []


def curves(check: Check) -> list[Figure]:
    """The pictures of σ and σ'; none if nothing is certified."""
    found = ((of, _certified(check, of)) for of in SYMBOLS)
    return [_curve(check, of, line) for of, line in found if len(line) > 1]


def _curve(check: Check, of: str, line: Line) -> Figure:
    low, high = _body(check)
    x = svg.LinearAxis(low, high, LEFT + 6, RIGHT - 6)
    ways = [
        (way, [p for p in points if low <= p.x <= high])
        for way, points in _theirs(check, "float64", of)
    ]
    y = _height([v for _, v in line], [p.y for _, points in ways for p in points])
    parts = [*_grid(x.ticks(8), y.ticks(5), 30, 214), *_break_lines(check, x, 30, 214)]
    parts += [
        svg.path([(x(a), y(b)) for a, b in piece], "curve") for piece in _pieces(check, of, line)
    ]
    for n, (way, points) in enumerate(ways):
        parts += _curve_marks(way, _along(line, points, x, y, 6.0 * n), x, y)
    parts += _sides(check, of, x, y)
    names = ", ".join(way for way, _ in ways) or "nothing else"
    heights = [v for _, v in line if math.isfinite(v)] or [math.nan]
    picture = svg.plot(
        f"curve-{of}",
        WIDTH,
        244,
        f"{SYMBOLS[of]} against x, from {short(low)} to {short(high)}",
        f"A line for the certified one, between {short(min(heights))} and {short(max(heights))},"
        f" and marks for {names}.",
        parts,
    )
    return Figure(f"{SYMBOLS[of]}, the {of}", picture)


def _height(certified: Sequence[float], theirs: Sequence[float]) -> svg.LinearAxis:
    """The vertical axis: room for all of the certified curve, and for other points that are at most its
    height away."""
    finite = [v for v in certified if abs(v) < 1e300] or [0.0]
    low, high = min(finite), max(finite)
    room = high - low if high - low > 1e-290 else max(abs(high), 1.0)
    near = [min(max(v, low - room), high + room) for v in theirs if math.isfinite(v)]
    low, high = min([low, *near]), max([high, *near])
    margin = 0.06 * max(high - low, room)
    return svg.LinearAxis(low - margin, high + margin, 210.0, 34.0)


def _pieces(check: Check, of: str, line: Line) -> Iterator[Line]:
    """The curve cut into pieces: no line is drawn across a jump, nor, for σ', across a kink."""
    at_break = _at_break(check)
    apart = {"jump", "unknown"} | ({"kink"} if of == "derivative" else set())
    cuts = sorted(float(k["at"]) for k in check["kinks"] if k["of"] == "σ" and k["kind"] in apart)
    pieces: dict[int, Line] = {}
    for x, y in line:
        piece = bisect_left(cuts, x)
        if math.isfinite(y) and not (cuts and at_break(x)):
            pieces.setdefault(piece, []).append((x, y))
    return (piece for piece in pieces.values() if len(piece) > 1)


def _along(
    line: Line,
    points: list[Point],
    x: svg.LinearAxis,
    y: svg.LinearAxis,
    shift: float,
) -> list[Point]:
    """In every 18 pixels one point: one that is visibly off the curve, else one in the middle."""
    xs = [a for a, _ in line]

    def worth(p: Point) -> Worth:
        i = bisect_left(xs, p.x)
        beside = [y(b) for _, b in line[max(0, i - 1) : i + 1] if math.isfinite(b)]
        off = min((abs(y(p.y) - b) for b in beside), default=0.0) if math.isfinite(p.y) else 0.0
        return p.alarm, round(off / 3), -abs((x(p.x) + shift) % 18 - 9)

    return _one_of_each(points, lambda v: x(v) + shift, 18, worth)


def _curve_marks(
    way: str, points: list[Point], x: svg.LinearAxis, y: svg.LinearAxis
) -> Iterator[Markup]:
    shape, class_ = style(way)
    inside = [(x(p.x), y(p.y)) for p in points if y.low <= p.y <= y.high]
    outside = [(x(p.x), y(p.y)) for p in points if not y.low <= p.y <= y.high and p.y == p.y]
    nowhere = [(x(p.x), y.end - 8) for p in points if math.isnan(p.y)]
    for at, name, what in (
        (inside, shape, class_),
        (outside, shape, "over"),
        (nowhere, ALARM, "over"),
    ):
        if at:
            yield svg.marks(name, at, f"mark {what}", 3.2)


def _break_lines(
    check: Check, x: svg.LinearAxis | svg.SymLogAxis, top: float, bottom: float
) -> Iterator[Markup]:
    for b in [b for b in _breaks(check) if x.low <= b <= x.high][:SHOWN_BREAKS]:
        yield svg.path([(x(b), top), (x(b), bottom)], "branch")


def _sides(check: Check, of: str, x: svg.LinearAxis, y: svg.LinearAxis) -> Iterator[Markup]:
    """At a branch point: the one-sided values as rings, and each way's derivative there as its mark."""
    kinds = {"jump"} if of == "value" else {"kink", "jump"}
    found = [k for k in check["kinks"] if k["kind"] in kinds and x.low <= float(k["at"]) <= x.high]
    for k in found[:SHOWN_SIDES]:
        at = x(float(k["at"]))
        sides = k["left_value"], k["right_value"]
        if of == "derivative":
            sides = k["left"], k["right"]
        rings = [(at, y(float(v))) for v in sides if math.isfinite(float(v))]
        if rings:
            yield svg.marks("circle", rings, "ring", 4.2)
        says = {w: float(v) for w, v in k["says"].items() if math.isfinite(float(v))}
        for n, (way, d) in enumerate(says.items() if of == "derivative" else ()):
            beside = at + 7 * (n - (len(says) - 1) / 2)
            yield svg.mark(style(way).shape, beside, y(d), f"mark {style(way).class_}", 3.2)


def _grid(
    across: Iterable[tuple[float, str]], up: Iterable[tuple[float, str]], top: float, bottom: float
) -> Iterator[Markup]:
    for x, label in across:
        yield svg.path([(x, top), (x, bottom)], "grid")
        yield svg.text(x, bottom + 15, label, "tick middle")
    for y, label in up:
        yield svg.path([(LEFT, y), (RIGHT, y)], "grid")
        yield svg.text(LEFT - 6, y + 4, label, "tick end")
    yield svg.text(RIGHT, bottom + 28, "x", "tick end")


def certified_values(check: Check) -> list[tuple[float, float, float]]:
    """x, σ(x) and σ'(x) at some twenty points where most values are, for the reader to copy."""
    low, high = _body(check)
    value, first = (dict(_certified(check, of)) for of in SYMBOLS)
    both = [x for x in value if x in first]
    wanted = [low + i * (high - low) / 20 for i in range(21)] if both else []
    nearest = dict.fromkeys(min(both, key=lambda x, w=w: abs(x - w)) for w in wanted)  # type: ignore[misc]
    return [(x, value[x], first[x]) for x in nearest]


# --- errors -------------------------------------------------------------------------------------------


def errors(check: Check) -> list[Figure]:
    """For each dtype and quantity, a picture of the error in ulps against all of x."""
    dtypes = in_order((s["dtype"] for s in check["series"]), LARGEST)
    found = ((d, of, _theirs(check, d, of)) for d in dtypes for of in ("derivative", "value"))
    return [_errors(check, d, of, ways) for d, of, ways in found if any(p for _, p in ways)]


def _errors(check: Check, dtype: str, of: str, ways: list[tuple[str, list[Point]]]) -> Figure:
    top = 12.0 + ROW * len(ways)
    bottom = top + 180
    largest = LARGEST.get(dtype, LARGEST["float64"])
    low, high = (min(max(float(d), -largest), largest) for d in check["domain"])
    x = svg.SymLogAxis(low, high, LEAST.get(dtype, 5e-324), LEFT + 6, RIGHT - 6)
    known = [p.ulps for _, points in ways for p in points if p.ulps < 10.0**MOST]
    highest = max([2, *(math.ceil(math.log10(u)) for u in known if u > 0)])
    y = svg.LogAxis(FEWEST, highest, bottom - 12, top + 8)
    parts: list[Markup] = []
    shown = [(way, _one_of_each(points, x, 3.2, lambda p: p.badness)) for way, points in ways]
    for _, points in shown:
        if any(p.allowed > 0 for p in points):
            parts += [_band(points, x, y, bottom)]
    up = [(bottom, "≈ 0"), *y.ticks(6)]
    parts += [*_grid(x.ticks(), up, top, bottom), *_break_lines(check, x, top, bottom)]
    for n, (way, points) in enumerate(shown):
        parts += _error_marks(way, points, x, y, bottom)
        parts += _no_numbers(way, points, x, 12.0 + ROW * n)
    title = f"{SYMBOLS[of]} in {dtype}: error in ulps against x"
    text = "; ".join(f"{way}: {_in_words(points)}" for way, points in ways)
    picture = svg.plot(f"errors-{dtype}-{of}", WIDTH, int(bottom) + 34, title, f"{text}.", parts)
    return Figure(f"{SYMBOLS[of]} in {dtype}", picture)


def _band(points: list[Point], x: svg.SymLogAxis, y: svg.LogAxis, bottom: float) -> Markup:
    """The area of errors that rounding allows."""
    edge = [(x(p.x), y(p.allowed) if p.allowed > 10.0**FEWEST else bottom) for p in points]
    return svg.path([(edge[0][0], bottom), *edge, (edge[-1][0], bottom)], "allowed", close=True)


def _error_marks(
    way: str, points: list[Point], x: svg.SymLogAxis, y: svg.LogAxis, bottom: float
) -> Iterator[Markup]:
    shape, class_ = style(way)
    judged = any(p.allowed > 0 for p in points)
    drawn = [
        (p, (x(p.x), y(p.ulps) if p.ulps >= 10.0**FEWEST else bottom))
        for p in points
        if not p.alarm
    ]
    over = [at for p, at in drawn if judged and p.ulps > p.allowed]
    within = [at for p, at in drawn if not (judged and p.ulps > p.allowed)]
    if within:
        yield svg.marks(shape, within, f"mark {class_}", 2.4)
    if over:
        yield svg.marks("diamond", over, "mark over", 3.6)


def _no_numbers(way: str, points: list[Point], x: svg.SymLogAxis, top: float) -> Iterator[Markup]:
    """The row of a way above the plot, with a mark wherever the way is NaN or infinite."""
    middle = top + ROW / 2 - 2
    at = [(x(p.x), middle) for p in points if p.alarm]
    yield svg.name(LEFT - 6, middle + 4, way, "tick end", 7)
    yield svg.path([(LEFT, middle), (RIGHT, middle)], "grid")
    if at:
        yield svg.marks(ALARM, at, "alarm", 3.4)


def _in_words(points: list[Point]) -> str:
    """One way's errors in words, for readers who cannot see the picture."""
    finite = [p for p in points if not p.alarm]
    worst = max(finite, key=lambda p: p.ulps, default=None)
    text = f"largest {short(worst.ulps)} ulp, at x = {short(worst.x)}" if worst else "no number"
    judged = any(p.allowed > 0 for p in points)
    over = sum(p.ulps > p.allowed for p in finite) if judged else 0
    text += (
        f", {count(over)} of {count(len(points))} points beyond what rounding allows"
        if over
        else ""
    )
    none = len(points) - len(finite)
    return text + (f", {count(none)} NaN or infinite" if none else "")
