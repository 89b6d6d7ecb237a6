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

__all__ = ["LogAxis", "el", "mark", "name", "path", "plot", "text"]

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
    """Text from the results: cut to fit, and kept from turning its neighbours around."""
    cut = label if len(label) <= most else label[: most - 1] + "…"
    return text(x, y, isolate(cut), class_)


def path(points: Iterable[tuple[float, float]], class_: str, close: bool = False) -> Markup:
    d = "L".join(f"{_value(float(x))} {_value(float(y))}" for x, y in points)
    return el("path", d=f"M{d}{'z' if close else ''}", class_=class_)


def mark(shape: str, x: float, y: float, class_: str, r: float = 4) -> Markup:
    """A marker centred on (x, y). Shape and not only colour tells one series from another."""
    at = {"x": x, "y": y, "r": r, "d": 2 * r, "l": x - r, "right": x + r, "t": y - r, "b": y + r}
    d = _MARKS[shape].format(**{key: _value(float(value)) for key, value in at.items()})
    return el("path", d=d, class_=class_)


def plot(
    id_: str, width: int, height: int, title: str, desc: str, children: Sequence[Markup]
) -> Markup:
    """A whole picture, with a name and a description for those who do not see it."""
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
        """Room for all positive finite values, and for the decades `least` in any case."""
        exponents = [math.log10(v) for v in values if 0 < v < math.inf]
        low = math.floor(min(exponents, default=least[0]))
        high = math.ceil(max(exponents, default=least[1]))
        return cls(max(min(low, least[0]), least[0] - 3), max(high, least[1]), start, end)

    def __call__(self, value: float) -> float:
        """The pixel of a value. What lies beyond an end, 0 and ∞ too, is put on that end."""
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
