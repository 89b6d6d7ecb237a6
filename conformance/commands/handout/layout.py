"""Breaks formulas into lines, by an estimate of how wide LaTeX sets them.

A formula is a row of pieces. For LaTeX and Markdown they are packed into lines here; on a page the browser
wraps them. Widths are in em: those of Computer Modern at ten points, rounded up. A test measures them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

__all__ = ["Formula", "Piece", "balanced", "narrowed", "packed", "rows", "strut", "whole", "width"]


class Piece(NamedTuple):
    """A part of a formula that stays on one line. It has one whole matrix at most."""

    latex: str
    within: str = ""  # stands before it where it follows another piece on the same line
    begins: str = ""  # stands before it where it begins a line


Formula: TypeAlias = tuple[Piece, ...]
Matrix: TypeAlias = list[list[str]]

_MATRIX = re.compile(r"\\begin\{bmatrix\} (.*?) \\end\{bmatrix\}")
_ANY = re.compile(r"\\begin\{b?matrix\} (.*?) \\end\{b?matrix\}")


def whole(formula: Sequence[Piece]) -> str:
    """The formula on one line."""
    return "".join(p.within * bool(k) + p.latex for k, p in enumerate(formula))


def packed(formula: Formula, room: float, indent: str = r"\quad {}") -> list[str]:
    """The formula in as few lines as hold it, each at most `room` wide unless a piece alone is wider.

    The indent ends in {}, so that LaTeX sets a + or − after it with the space of a sum, not as a sign.
    """
    lines: list[str] = []
    line = ""
    for piece in formula:
        longer = line + piece.within + piece.latex
        if not line and not lines:
            line = piece.latex
        elif width(longer) <= room:
            line = longer
        else:
            lines.append(line)
            line = indent + piece.begins + piece.latex
    lines.append(line)
    tallest = max(map(rows, lines))
    return [balanced(x, strut(tallest)) for x in lines] if len(lines) > 1 else lines


def rows(latex: str) -> int:
    """How many rows the tallest matrix has; 1 without a matrix."""
    return max((m.count(r"\\") + 1 for m in _ANY.findall(latex)), default=1)


def strut(tall: int) -> str:
    """An invisible box as tall as a matrix of so many rows."""
    return r"\vphantom{\begin{matrix} " + r" \\ ".join("0" * tall) + r" \end{matrix}}"


_PARENTHESIS = re.compile(r"\\left\(|\\right\)")


def balanced(latex: str, strut: str) -> str:
    """Give each \\left( and \\right) whose partner is on another line an invisible one, as tall as `strut`.

    LaTeX requires both on one line, and would make each only as tall as its own line.
    """
    stack: list[re.Match[str]] = []
    alone: list[re.Match[str]] = []
    for m in _PARENTHESIS.finditer(latex):
        if m[0] == r"\left(":
            stack.append(m)
        elif stack:
            stack.pop()
        else:
            alone.append(m)
    for m in sorted([*alone, *stack], key=lambda m: -m.start()):
        pair = rf"\left( {strut} \right." if m[0] == r"\left(" else rf"\left. {strut} \right)"
        latex = latex[: m.start()] + pair + latex[m.end() :]
    return latex


# --- a matrix that is too wide ------------------------------------------------------------------------


def narrowed(formula: Formula, room: float) -> Formula:
    """The formula with every matrix that is wider than a line broken between its columns."""
    return tuple(part for piece in formula for part in _broken(piece, room))


def _broken(piece: Piece, room: float) -> list[Piece]:
    matrix = _MATRIX.search(piece.latex)
    if not matrix or width(piece.begins + piece.latex) <= room:
        return [piece]
    before, after = piece.latex[: matrix.start()], piece.latex[matrix.end() :]
    cells = [row.split(" & ") for row in matrix[1].split(r" \\ ")]
    ends = width(piece.begins + before + after) + 2 * _DOTS
    blocks = _blocks([max(width(r[k]) for r in cells) for k in range(len(cells[0]))], room - ends)
    parts = []
    for k, (a, b) in enumerate(blocks):
        first, last = k == 0, k == len(blocks) - 1
        dots = [r"\cdots"]
        part = [[*(dots * (not first)), *row[a:b], *(dots * (not last))] for row in cells]
        body = r"\begin{matrix} " + r" \\ ".join(map(" & ".join, part)) + r" \end{matrix}"
        left = r"\left[ " if first else r"\left. "
        right = r" \right]" if last else r" \right."
        latex = (before if first else "") + left + body + right + (after if last else "")
        parts.append(Piece(latex, piece.within, piece.begins) if first else Piece(latex))
    return parts


_GAP, _BRACKET, _DOTS = 1.0, 0.75, 2.3
"""Widths: the gap between two columns, a bracket, the dots where a row goes on, with their gap."""


def _blocks(columns: Sequence[float], room: float) -> list[tuple[int, int]]:
    """Split columns of these widths into runs (start, end) that fit; one column always counts as fitting."""
    blocks, start = [], 0
    while start < len(columns):
        end = start + 1
        while end < len(columns) and sum(columns[start : end + 1]) + _GAP * (end - start) <= room:
            end += 1
        blocks.append((start, end))
        start = end
    return blocks


# --- widths -------------------------------------------------------------------------------------------

_TOKEN = re.compile(r"\\begin\{\w+\}|\\end\{\w+\}|\\[A-Za-z]+|\\\\|\\.| [-+=>] |.")
_WIDTHS = {
    r"\quad": 1.0, r"\,": 0.17, r"\;": 0.28, r"\!": -0.17, r"\cdot": 0.73, r"\times": 1.23, r"\odot": 1.23,
    r"\oslash": 1.23, r"\to": 1.6, r"\dots": 1.6, r"\cdots": 1.2, r"\ln": 1.02, r"\tanh": 2.2, r"\max": 2.1,
    r"\min": 1.9, r"\cos": 1.6, r"\sin": 1.45, r"\sum": 1.65, r"\partial": 0.58, r"\delta": 0.48,
    r"\sigma": 0.6, r"\alpha": 0.65, r"\top": 0.8, r"\left": 0.3, r"\right": 0.3, r"\displaystyle": 0.0,
    "{": 0.0, "}": 0.0, " ": 0.0, ".": 0.28, ",": 0.45, "(": 0.39, ")": 0.39, "[": 0.28, "]": 0.28, "|": 0.28,
    "/": 0.5, "-": 0.78, "'": 0.2, "i": 0.36, "j": 0.42, "l": 0.31, "e": 0.47, "z": 0.48, "y": 0.5, "&": 1.0,
    " - ": 1.23, " + ": 1.23, " = ": 1.34, " > ": 1.34, "W": 1.2, "X": 0.9, "Y": 0.9, "A": 0.9, "Z": 0.72,
}  # fmt: skip
"""Any other letter is 0.6 wide, and any other token 0.5."""
_SMALL = 0.8
"""The size of an index or exponent."""


def width(latex: str) -> float:
    """The width of a formula in em: a little too much rather than too little."""
    return _Setter(latex).row()


class _Setter:
    """Measures LaTeX in one pass. It knows the commands that our own formulas are made of, and no others."""

    def __init__(self, latex: str) -> None:
        self.tokens = _TOKEN.findall(latex)
        self.at = 0
        self.scale = 1.0

    def row(self, *until: str) -> float:
        """The width up to and with one of the tokens `until`, or to the end."""
        total = 0.0
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            self.at += 1
            if token in until:
                break
            total += self.one(token)
        return total

    def group(self) -> float:
        """The width of an argument: what follows in braces, or one token."""
        while self.at < len(self.tokens) and self.tokens[self.at] == " ":
            self.at += 1
        token = self.tokens[self.at]
        self.at += 1
        return self.row("}") if token == "{" else self.one(token)

    def small(self) -> float:
        """The width of an argument that is an index or exponent."""
        self.scale *= _SMALL
        wide = self.group() * _SMALL
        self.scale /= _SMALL
        return wide

    def one(self, token: str) -> float:
        """The width of a token, with its arguments."""
        if token.startswith(r"\begin"):
            return self.matrix() + (2 * _BRACKET if token == r"\begin{bmatrix}" else 0.0)
        if token in (r"\frac", r"\tfrac"):
            inner = self.group if token == r"\frac" else self.small
            return max(inner(), inner()) + 0.25
        if token in "^_":
            return self.small() + 0.06
        if token in (r"\xrightarrow", r"\xleftarrow"):
            return self.small() + 1.8
        if token == r"\boxed":
            return (self.group() + 0.7) / self.scale  # \boxed is as large in an index as elsewhere
        if token == r"\vphantom":
            return 0.0 * self.group()
        if token in (r"\mathbf", r"\mathrm", r"\mathcal", r"\text", r"\phantom"):
            return self.group() * (1.1 if token == r"\mathbf" else 1.0)
        if token == "{":
            return self.row("}")
        return _WIDTHS.get(token, 0.6 if token.isalpha() else 0.5)

    def matrix(self) -> float:
        """The width of a matrix: of its columns, each as wide as its widest cell, and of the gaps."""
        columns: list[float] = []
        k, cell = 0, 0.0
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            self.at += 1
            end = token.startswith(r"\end")
            if end or token in ("&", r"\\"):
                columns += [0.0] * (k + 1 - len(columns))
                columns[k] = max(columns[k], cell)
                k, cell = (k + 1 if token == "&" else 0), 0.0
                if end:
                    break
            else:
                cell += self.one(token)
        return sum(columns) + _GAP * (len(columns) - 1)
