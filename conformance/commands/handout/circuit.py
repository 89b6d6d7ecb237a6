"""The computation graph with its numbers: above each wire the value, below it ∂ℒ/∂ of that value."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from markupsafe import Markup

from conformance.commands.handout.example import Example
from conformance.commands.handout.graph import Figure, arrow, sub
from conformance.commands.handout.numbers import plain
from conformance.commands.handout.passes import Key, Numbers
from conformance.report import svg

__all__ = ["circuit"]

DIGITS, ROW, LETTER, LETTERS, WIDEST = 3, 13.0, 6.4, 6, 1200.0
"""Digits of a number; height of a row, width of a letter, letters of a box; how far a page may scroll."""
GRADIENTS = ("delta", "G", "dW", "db")


@dataclass
class _Drawing:
    """Where the next thing goes, and what has been drawn. Without `numbers`, gradients are names."""

    e: Example
    by: Numbers
    hidden: Collection[Key]
    numbers: bool = True
    middle: float = 0.0
    x: float = 14.0
    low: float = 0.0  # how far down it goes
    parts: list[Markup] = field(default_factory=list)

    def cells(self, key: Key) -> list[list[str]]:
        """What stands in the entries of a matrix, as displayed; "" is a box to fill in."""
        if not self.numbers:
            letter = {"dW": "W", "db": "b", "G": "z" if self.e.column else "Z"}.get(key[0])
            name = f"∂ℒ/∂{letter}{sub(key[1])}" if letter else f"δ{sub(key[1])}"
            return [[name]] if key[0] in GRADIENTS else []
        M = self.by[key]
        shown = M if M.size == 1 else self.e.shaped(M)  # a loss is one number
        return [
            ["" if key in self.hidden else plain(float(x), DIGITS) for x in row] for row in shown
        ]

    def widths(self, key: Key) -> list[float]:
        """The width of each column."""
        columns = zip(*self.cells(key), strict=True)
        return [max(len(x) or LETTERS for x in c) * LETTER + 9 for c in columns]

    def tall(self, *keys: Key) -> float:
        return sum(ROW * len(self.cells(k)) for k in keys if k in self.by)

    def wide(self, *keys: Key) -> float:
        return max(sum(self.widths(k)) for k in keys if k in self.by) + 10

    def block(self, key: Key, x: float, top: float) -> float:
        """A matrix around x, between brackets; where it ends."""
        if key not in self.by or not (cells := self.cells(key)):
            return top
        widths, class_ = self.widths(key), "grad" if key[0] in GRADIENTS else "value"
        left, y = x - sum(widths) / 2, top
        for row in cells:
            at = left
            for label, w in zip(row, widths, strict=True):
                if label:
                    self.parts.append(svg.text(at + w / 2, y + 10, label, f"middle {class_}"))
                else:
                    box = {"x": at + 2, "y": y + 1.5, "width": w - 4, "height": ROW - 3}
                    self.parts.append(svg.el("rect", **box, class_="node"))
                at += w
            y += ROW
        for side in (-1, 1) if self.numbers else ():
            end = x + side * (sum(widths) / 2 + 2)
            corner = end - 3 * side
            self.parts.append(svg.path([(corner, top), (end, top), (end, y), (corner, y)], "edge"))
        self.low = max(self.low, y)
        return y

    def wire(self, name: str, value: Key, gradient: Key) -> None:
        """A line with its value above and its gradient below."""
        wide = max(self.wide(value, gradient), 7.0 * len(name)) + 12
        x, top = self.x + wide / 2, self.middle - 7 - self.tall(value)
        self.parts.append(svg.path([(self.x, self.middle), (self.x + wide, self.middle)], "edge"))
        self.parts.append(svg.text(x, top - 5, name, "middle heading"))
        self.block(value, x, top)
        self.block(gradient, x, self.middle + 7)
        self.x += wide

    def gate(self, label: str, l: int = 0) -> None:
        """A circle; the product of layer l takes W_l from above, and b_l from below."""
        no_gradient = "none" if self.e.fixed_biases else "db"
        sides = [(-1, "W", ("W", l), ("dW", l)), (1, "b", ("b", l), (no_gradient, l))][
            : 1 + bool(self.e.b)
        ]
        sides = sides if l else []
        wide = max([40.0, *(self.wide(v, g) for _, _, v, g in sides)])
        x = self.x + wide / 2
        for side, name, value, gradient in sides:
            top = self.middle + (38 if side > 0 else -55 - self.tall(value, gradient))
            self.parts.append(svg.text(x, top + 9, f"{name}{sub(l)}", "middle heading"))
            self.block(gradient, x, self.block(value, x, top + 14) + 3)
            self.parts += arrow(x, self.middle + side * 34, x, self.middle + side * 13)
        self.parts += arrow(self.x, self.middle, x - 12, self.middle)
        self.parts.append(svg.path([(x + 12, self.middle), (self.x + wide, self.middle)], "edge"))
        self.parts.append(svg.el("circle", cx=x, cy=self.middle, r=12.0, class_="node"))
        self.parts.append(svg.text(x, self.middle + 4, label, "middle"))
        self.x += wide


def circuit(e: Example, by: Numbers, hidden: Collection[Key] = ()) -> Figure:
    """The graph; with names for its numbers where these are wider than a page scrolls to. `hidden`: the
    quantities that are to be filled in."""
    d = _drawn(_Drawing(e, by, hidden))
    if d.x > WIDEST:
        d = _drawn(_Drawing(e, by, hidden, numbers=False))
    words = "From left to right the values, to the loss; the gradients go back from right to left."
    height = int(d.low + 12)
    picture = svg.plot("circuit", int(d.x + 14), height, "The computation graph", words, d.parts)
    return Figure(picture, CAPTION if d.numbers else CAPTION.replace(WITH, ""))


def _drawn(d: _Drawing) -> _Drawing:
    """The drawing of a whole network."""
    e = d.e
    up = max(d.tall(("W", l), ("dW", l)) + 55 for l in e.W)
    d.middle = max(up, *(28 + d.tall(("Z", l)) for l in range(e.L + 1))) + 8
    a, z = ("a", "z") if e.column else ("A", "Z")
    d.wire(f"{'x' if e.column else 'X'} = {z}{sub(0)}", ("Z", 0), ("none", 0))
    for l in range(1, e.L + 1):
        d.gate("×", l)
        d.wire(f"{a}{sub(l)}", ("A", l), ("delta", l))
        d.gate(f"σ{sub(l)}")
        d.wire(f"{z}{sub(l)}", ("Z", l), ("G", l))
    d.gate("ℒ")
    d.wire("ℒ", ("loss", 0), ("none", 0))
    return d


WITH = f" with its numbers, to {DIGITS} digits"
CAPTION = (
    f"The computation graph{WITH}. Above each line is its value, on the way forward; below it is ∂ℒ/∂ of "
    "that value, on the way back. Weights and biases have their gradients below their values."
)
