"""A step as data, and a formula as LaTeX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from conformance.commands.handout.formulas import Break, Grid, Num, Parts
from conformance.commands.handout.layout import Formula, Piece
from conformance.commands.handout.numbers import latex
from conformance.commands.handout.passes import Key
from conformance.model.problem import Floats

__all__ = ["Given", "Step", "block", "pieces", "written"]


@dataclass(frozen=True)
class Step:
    """One equation: left = symbols = filled = result."""

    key: Key
    part: str
    says: str  # in words
    left: str
    symbols: str
    filled: Parts  # the symbols with numbers for them; empty if that would add nothing
    result: Floats  # as displayed
    code: str
    note: str = ""
    scalar: bool = False

    @property
    def variable(self) -> str:
        """What its line of NumPy assigns to."""
        return self.code.splitlines()[-1].partition(" = ")[0]


@dataclass(frozen=True)
class Given:
    """A matrix or vector that is given."""

    key: Key
    left: str
    value: Floats


def block(M: Floats, key: Key) -> Grid:
    """A matrix of numbers."""
    return Grid(tuple(tuple((Num(float(x), key),) for x in row) for row in M))


# --- as LaTeX -----------------------------------------------------------------------------------------

Blank = Callable[[Num], str | None]
"""What is shown instead of a number; None: the number itself."""


def _number(x: Num, digits: int, blank: Blank) -> str:
    box = blank(x)
    if box is not None:
        return f"-{box}" if x.minus else box
    value = -x.value if x.minus else x.value
    number = latex(value, digits)
    wrapped = x.wrapped and (number.startswith("-") or r"\times" in number)
    return f"({number})" if wrapped else number


def written(parts: Parts, digits: int, blank: Blank = lambda _: None) -> str:
    """A formula as LaTeX, its numbers to so many digits."""
    return "".join(_part(p, digits, blank) for p in parts)


def pieces(parts: Parts, digits: int, blank: Blank = lambda _: None) -> Formula:
    """The same as pieces, between which a line may end."""
    row = [Piece("")]
    for p in parts:
        if isinstance(p, Break):
            row.append(Piece("", p.within, p.begins))
        else:
            row[-1] = row[-1]._replace(latex=row[-1].latex + _part(p, digits, blank))
    return tuple(row) if parts else ()


def _part(p: str | Num | Grid | Break, digits: int, blank: Blank) -> str:
    if isinstance(p, str):
        return p
    if isinstance(p, Break):
        return p.within
    if isinstance(p, Num):
        return _number(p, digits, blank)
    rows = (" & ".join(written(cell, digits, blank) for cell in row) for row in p.rows)
    return r"\begin{bmatrix} " + r" \\ ".join(rows) + r" \end{bmatrix}"
