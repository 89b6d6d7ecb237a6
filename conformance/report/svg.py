"""Just enough SVG for the report's plots: colour comes from the page's CSS, text is escaped.

A coordinate is written with one decimal, so that the same results make the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from conformance.report.numbers import power, size
from conformance.report.view import isolate

__all__ = [
    "LinearAxis",
    "LogAxis",
    "SymLogAxis",
    "el",
    "mark",
    "marks",
    "name",
    "path",
    "plot",
    "text",
]

_MARKS = {
    "circle": "M{l} {y}a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0z",
    "diamond": "M{x} {t}L{right} {y}L{x} {b}L{l} {y}z",
    "triangle": "M{x} {t}L{right} {b}L{l} {b}z",
    "square": "M{l} {t}h{d}v{d}h-{d}z",
    "bowtie": "M{l} {t}L{right} {b}V{t}L{l} {b}z",
}
SHAPES = tuple(_MARKS)


def _value(x: object) -> str:
    return f"{round(x, 1):g}" if isinstance(x, float) else str(x)


def el(tag: str, *children: str, **attributes: object) -> Markup:
    """An element. `class_` is class, and an underscore within a name is a hyphen."""
    attrs = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _value(value))
        for key, value in attributes.items()
    )
    if not children:
        return Markup("<{}{}/>").format(Markup(tag), attrs)
    inner = Markup("").join(escape(child) for child in children)
    return Markup("<{}{}>{}</{}>").format(Markup(tag), attrs, inner, Markup(tag))


def text(x: float, y: float, label: str, class_: str = "") -> Markup:
    return el("text", label, x=float(x), y=float(y), **({"class_": class_} if class_ else {}))


def name(x: float, y: float, label: str, class_: str = "", most: int = 15) -> Markup:
    """Text from the results: cut to fit, and isolated so that it does not reverse the text beside it."""
    cut = label if len(label) <= most else label[: most - 1] + "…"
    return text(x, y, isolate(cut), class_)


def path(points: Iterable[tuple[float, float]], class_: str, close: bool = False) -> Markup:
    d = "L".join(f"{_value(float(x))} {_value(float(y))}" for x, y in points)
    return el("path", d=f"M{d}{'z' if close else ''}", class_=class_)


def _outline(shape: str, x: float, y: float, r: float) -> str:
    at = {"x": x, "y": y, "r": r, "d": 2 * r, "l": x - r, "right": x + r, "t": y - r, "b": y + r}
    return _MARKS[shape].format(**{key: _value(float(value)) for key, value in at.items()})


def mark(shape: str, x: float, y: float, class_: str, r: float = 4) -> Markup:
    """A marker centred on (x, y). Series differ in its shape, not only in colour."""
    return el("path", d=_outline(shape, x, y, r), class_=class_)


def marks(shape: str, at: Iterable[tuple[float, float]], class_: str, r: float = 4) -> Markup:
    """Many markers in one element, which keeps a page of hundreds small."""
    return el("path", d="".join(_outline(shape, x, y, r) for x, y in at), class_=class_)


def plot(
    id_: str, width: int, height: int, title: str, desc: str, children: Sequence[Markup]
) -> Markup:
    """A whole picture, with a name and a description for people who cannot see it."""
    return el(
        "svg",
        el("title", title, id=f"{id_}-title"),
        el("desc", desc, id=f"{id_}-desc"),
        *children,
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_labelledby=f"{id_}-title {id_}-desc",
    )


@dataclass(frozen=True)
class LogAxis:
    """Decades `low` … `high` (exponents of ten) along pixels `start` … `end`."""

    low: int
    high: int
    start: float
    end: float

    @classmethod
    def around(
        cls, values: Iterable[float], least: tuple[int, int], start: float, end: float
    ) -> LogAxis:
        """An axis with room for all positive finite values, and at least for the decades `least`."""
        exponents = [math.log10(v) for v in values if 0 < v < math.inf]
        low = math.floor(min(exponents, default=least[0]))
        high = math.ceil(max(exponents, default=least[1]))
        return cls(max(min(low, least[0]), least[0] - 3), max(high, least[1]), start, end)

    def __call__(self, value: float) -> float:
        """The pixel of a value. A value beyond an end, 0 and ∞ too, is put on that end."""
        v = size(value)
        if v <= 0:
            return self.start
        if math.isinf(v):
            return self.end
        share = (math.log10(v) - self.low) / (self.high - self.low)
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def ticks(self, most: int = 7) -> list[tuple[float, str]]:
        step = max(1, math.ceil((self.high - self.low) / most))
        exponents = [e for e in range(self.low, self.high + 1) if e % step == 0]
        return [(self(10.0**e), power(e)) for e in exponents]


@dataclass(frozen=True)
class LinearAxis:
    """Numbers `low` … `high` along pixels `start` … `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of a value. A value beyond an end is put on that end."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """Multiples of 1, 2 or 5 times a power of ten."""
        rough = (self.high - self.low) / most
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= rough * 0.999)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [(self(i * step), _signed(f"{i * step:.6g}")) for i in range(first, last + 1)]


def _signed(label: str) -> str:
    return label.replace("-", "−")


_SQUEEZED = 1.6  # decades of width for all that is nearer 0, and for all that is farther out


@dataclass(frozen=True)
class SymLogAxis:
    """All floats of both signs along pixels `start` … `end`: decades from 1e-3 to 1e4, where most values are;
    numbers nearer 0 or farther out are squeezed into a strip."""

    low: float
    high: float
    least: float  # the smallest positive number
    start: float
    end: float

    def _decades(self, x: float) -> float:
        m = min(abs(x), 1.8e308)
        if m <= 1e-3:
            share = math.log10(max(m, self.least) / 1e-3) / math.log10(self.least / 1e-3)
            d = _SQUEEZED * (1 - share) if m else 0.0
        elif m <= 1e4:
            d = _SQUEEZED + math.log10(m / 1e-3)
        else:
            reach = max(abs(self.low), abs(self.high), 1e5)
            d = _SQUEEZED * (1 + min(1.0, math.log10(m / 1e4) / math.log10(reach / 1e4))) + 7
        return math.copysign(d, x)

    def __call__(self, x: float) -> float:
        """The pixel of a number. A number beyond an end is put on that end."""
        low, high = self._decades(self.low), self._decades(self.high)
        share = (self._decades(x) - low) / (high - low) if low < high else 0.0
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def ticks(self, apart: float = 31) -> list[tuple[float, str]]:
        """As many ticks as fit: 0, 1 and the thousands first, then decades, then numbers between them."""
        found: dict[float, str] = {}
        for value, label in self._candidates():
            x = self(value)
            if self.low <= value <= self.high and all(abs(x - other) >= apart for other in found):
                found[x] = _signed(label)
        return sorted(found.items())

    def _candidates(self) -> Iterable[tuple[float, str]]:
        yield 0.0, "0"
        farthest = math.floor(math.log10(max(abs(self.low), abs(self.high))))
        for e in (0, 3, farthest, -3, 1, -1, 2, -2, *range(4, farthest)):
            yield from ((s * 10.0**e, f"{'-' * (s < 0)}{power(e)}") for s in (1, -1))
        for m in (5, 2):
            for e in (0, 1, -1, 2, -2, 3, -3):
                yield from ((s * m * 10.0**e, f"{s * m * 10.0**e:g}") for s in (1, -1))
        yield from ((end, f"{end:.4g}") for end in (self.low, self.high))
