"""The computation graph with its numbers: above each wire the value, below it ∂ℒ/∂ of that value."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from markupsafe import Markup

from conformance.commands.handout.example import Example
from conformance.commands.handout.graph import Figure, arrow, sub
from conformance.commands.handout.numbers import plain
from conformance.commands.handout.passes import Key, Numbers
from conformance.model.problem import Floats
from conformance.report import svg

__all__ = ["circuit"]

DIGITS, ROW, LETTER, WIDEST = 3, 13.0, 6.4, 1200.0
"""Digits of a number; the height of a row and the width of a letter; the width that a page scrolls to."""


@dataclass
class _Drawing:
    """Where the next thing goes, and what has been drawn."""

    e: Example
    by: Numbers
    hidden: Collection[Key]
    middle: float
    x: float = 14.0
    parts: list[Markup] = field(default_factory=list)

    def matrix(self, key: Key) -> Floats:
        """Its numbers as displayed; a loss is one number, and its own gradient 1."""
        M = self.by[key]
        return M if M.size == 1 else self.e.shaped(M)

    def width(self, *keys: Key) -> float:
        """How wide the widest of them is drawn."""
        return max(sum(_columns(self.matrix(k))) for k in keys if k in self.by) + 10

    def block(self, key: Key, x: float, top: float, class_: str) -> None:
        """A matrix around x, between brackets; boxes for what is to be filled in."""
        M = self.matrix(key)
        wide = _columns(M)
        left, y = x - sum(wide) / 2, top
        for row in M:
            at = left
            for value, w in zip(row, wide, strict=True):
                if key in self.hidden:
                    box = {"x": at + 2, "y": y + 1.5, "width": w - 4, "height": ROW - 3}
                    self.parts.append(svg.el("rect", **box, class_="node"))
                else:
                    label = plain(float(value), DIGITS)
                    self.parts.append(svg.text(at + w / 2, y + 10, label, f"middle {class_}"))
                at += w
            y += ROW
        for side, end in ((-1, left - 2), (1, left + sum(wide) + 2)):
            corner = end - 3 * side
            bracket = [(corner, top), (end, top), (end, y), (corner, y)]
            self.parts.append(svg.path(bracket, "edge"))

    def wire(self, name: str, value: Key, gradient: Key) -> None:
        """A line with its value above and its gradient below."""
        wide = self.width(value, gradient) + 12
        x, start = self.x + wide / 2, self.x
        self.parts.append(svg.path([(start, self.middle), (start + wide, self.middle)], "edge"))
        top = self.middle - 7 - ROW * len(self.matrix(value))
        self.parts.append(svg.text(x, top - 5, name, "middle heading"))
        self.block(value, x, top, "value")
        if gradient in self.by:
            self.block(gradient, x, self.middle + 7, "grad")
        self.x += wide

    def gate(self, label: str, l: int = 0) -> None:
        """A circle; the product of layer l takes W_l from above, and b_l from below."""
        wide = 40.0
        keys: list[tuple[str, Key, Key]] = []
        if l:
            keys = [(f"W{sub(l)}", ("W", l), ("dW", l))]
            if self.e.b:
                keys.append((f"b{sub(l)}", ("b", l), ("none" if self.e.fixed_biases else "db", l)))
            wide = max(wide, *(self.width(v, g) for _, v, g in keys))
        x = self.x + wide / 2
        for (name, value, gradient), side in zip(keys, (-1, 1), strict=False):
            rows = len(self.matrix(value))
            tall = 14 + ROW * rows * (2 if gradient in self.by else 1) + 3
            top = self.middle - 38 - tall if side < 0 else self.middle + 38
            self.parts.append(svg.text(x, top + 9, name, "middle heading"))
            self.block(value, x, top + 14, "value")
            if gradient in self.by:
                self.block(gradient, x, top + 17 + ROW * rows, "grad")
            start = self.middle + side * 34
            self.parts += arrow(x, start, x, self.middle + side * 13)
        self.parts += arrow(self.x, self.middle, x - 12, self.middle)
        self.parts.append(svg.path([(x + 12, self.middle), (self.x + wide, self.middle)], "edge"))
        self.parts.append(svg.el("circle", cx=x, cy=self.middle, r=12.0, class_="node"))
        self.parts.append(svg.text(x, self.middle + 4, label, "middle"))
        self.x += wide


def _columns(M: Floats) -> list[float]:
    """The width of each column."""
    return [max(len(plain(float(x), DIGITS)) for x in column) * LETTER + 9 for column in M.T]


def circuit(e: Example, by: Numbers, hidden: Collection[Key] = ()) -> Figure | None:
    """The graph, or None where it is wider than a page scrolls to. `hidden`: what is to be filled in."""
    rows = max(len(e.shaped(W)) for W in e.W.values())
    n = max(len(e.shaped(by["Z", l])) for l in range(e.L + 1))
    up = max(58 + 2 * ROW * rows, 28 + ROW * n)
    down = max(76.0 if e.b else 0.0, 12 + ROW * n) + (2 * ROW if e.b and not e.column else 0)
    if e.b and e.column:
        down = max(down, 58 + 2 * ROW * n)
    d = _Drawing(e, by, hidden, up + 8)
    a, z = ("a", "z") if e.column else ("A", "Z")
    d.wire(f"{'x' if e.column else 'X'} = {z}{sub(0)}", ("Z", 0), ("none", 0))
    for l in range(1, e.L + 1):
        d.gate("×", l)
        d.wire(f"{a}{sub(l)}", ("A", l), ("delta", l))
        d.gate(f"σ{sub(l)}")
        d.wire(f"{z}{sub(l)}", ("Z", l), ("G", l))
    d.gate("ℒ")
    d.wire("ℒ", ("loss", 0), ("none", 0))
    if d.x > WIDEST:
        return None
    words = ", ".join(f"{z}{sub(l)}" for l in range(e.L + 1))
    picture = svg.plot(
        "circuit", int(d.x + 14), int(up + down + 20), "The computation graph with its numbers",
        f"From left to right {words} and the loss; the gradients go back from right to left.", d.parts,
    )  # fmt: skip
    return Figure(picture, CAPTION)


CAPTION = (
    f"The computation graph with its numbers, to {DIGITS} digits. Above each line is its value, on the way "
    "forward; below it is ∂ℒ/∂ of that value, on the way back. Weights and biases have their gradients below "
    "their values."
)
