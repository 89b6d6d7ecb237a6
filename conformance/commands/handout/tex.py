"""A fragment for a LaTeX article: \\input it. It needs amsmath, and has its pictures where TikZ is loaded.

It is set for the lines of a plain `article`. A longer formula goes on in the next line; a matrix that is
wider than a line is broken between its columns, and its step is in smaller type.

Lines are broken by `layout`, not by LaTeX packages. On the softmax example with 12 digits, breqn leaves two
matrices up to 82 points too wide, as it breaks sums but no matrix, and adjustbox shrinks the sums until they
cannot be read. They would add a download of 136 MB to Debian's texlive-latex-base, and Markdown
needs `layout` anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from conformance.commands.handout.document import BOX, Handout, Line, answered, facts
from conformance.commands.handout.graph import Figure
from conformance.commands.handout.layout import Formula, Piece, narrowed, packed, rows, width
from conformance.commands.handout.numbers import plain
from conformance.commands.handout.text import tex
from conformance.commands.handout.tikz import tikz

__all__ = ["LINE", "Setter", "render"]

LINE = 34.5
"""The width of a line of a plain article, in em at ten points."""
SIZES = (
    ("", 1.0),
    (r"\small\arraycolsep=4.5pt ", 0.925),
    (r"\footnotesize\arraycolsep=4pt ", 0.86),
)
"""Type sizes, each with its width relative to the first: small type is a little wider for its size."""
SMALLER = (
    SIZES[-1],
    (r"\scriptsize\arraycolsep=4pt ", 0.79),
    (r"\tiny\arraycolsep=3pt ", 0.64),
)
"""For a matrix that is broken; the last two only where one of its numbers is a line by itself."""
AROUND = 2.6
"""The width that an aligned display itself takes: its margins, and the space around its = sign."""
TALL = 25
"""A display of more lines may be broken over two pages."""
TALLEST = 24
"""A table of more rows is set in several runs beside each other."""


def render(h: Handout) -> str:
    """A fragment, for the lines of a plain article."""
    return "\n".join(Setter(LINE).lines(h)) + "\n"


class Setter:
    """Sets a handout in lines of so many em."""

    def __init__(self, line: float) -> None:
        self.line = line

    def lines(self, h: Handout) -> Iterable[str]:
        e = h.example
        yield "% \\input it in an article with \\usepackage{amsmath}, and \\usepackage{tikz} for pictures."
        yield r"\begingroup\emergencystretch=3em\abovedisplayskip=3pt\abovedisplayshortskip=3pt"
        yield rf"\section*{{{tex(e.title)}}}"
        for paragraph in e.text:
            yield f"{tex(paragraph)}\n"
        if e.credit:
            yield rf"\emph{{{tex(e.credit)}}}" + "\n"
        yield _table(
            [(tex(k), _ragged(v)) for k, v in facts(e)], r"lp{0.7\linewidth}", headed=False
        )
        yield _paragraph("Conventions") + "\n\n".join(map(tex, h.notes)) + "\n"
        for figure in h.figures:
            yield rf"\par\medskip\noindent {self.picture(figure)}"
            yield rf"\par\noindent{{\small {tex(figure.caption)}}}\par"
        yield r"\subsection*{Given}"
        yield from self.pairs(h.givens)
        yield from self.pairs(h.definitions)
        for title, lines in h.sections:
            yield rf"\subsection*{{{tex(title)}}}"
            for line in lines:
                yield from self.step(line)
        for figure in h.plots:
            yield rf"\par\medskip\noindent {self.picture(figure)}\par\noindent\emph{{{tex(figure.caption)}}}"
            yield self.numbers(figure.table)
        if h.key:
            yield r"\clearpage"
            yield r"\section*{Answer key}"
            for title, lines in h.key:
                yield rf"\subsubsection*{{{tex(title)}}}"
                yield from self.pairs([(line.left, line.result) for line in lines])
        yield from self.compared(h)
        yield from _answers(h)
        yield r"\endgroup"

    def step(self, line: Line) -> Iterable[str]:
        yield _paragraph(tex(line.step.says) + ".") + tex(line.step.note)
        formulas = [(Piece(line.symbols),), line.filled, (Piece(line.result),)]
        yield self.display(line.left, formulas, marked=bool(line.mark))
        if line.mark:
            yield rf"{{\footnotesize {tex(line.mark)}.}}" + "\n"

    def display(self, left: str, formulas: Sequence[Formula], marked: bool = False) -> str:
        """left = formula = formula, flush left, each formula in as many lines as it takes.

        `marked`: a mark follows, and no page ends between the two.
        """
        shown = [f for f in formulas if f]
        how, room = self.fitting(left, shown)
        lines: list[str] = []
        for formula in shown:
            first, *more = packed(narrowed(formula, room - 1), room)
            joined = f"{lines[-1]} = {first}" if lines and not more else ""
            if joined and joined.startswith("=") and width(joined) <= room:
                lines[-1] = joined
            else:
                lines += [f"= {first}", *more]
        body = [f"{'' if k else left} &{line} &&".strip() for k, line in enumerate(lines)]
        display = "\\begin{flalign*}\n" + " \\\\\n".join(body) + "\n\\end{flalign*}"
        boxes = BOX in display
        if boxes:
            how += r"\renewcommand{\arraystretch}{1.6}"
        if marked:
            how += r"\postdisplaypenalty=10000 "
        if sum(rows(x) + 0.5 for x in body) * (1.6 if boxes else 1) > TALL:
            how += r"\allowdisplaybreaks"
        return f"{{{how}%\n{display}}}%" if how else display

    def fitting(self, left: str, formulas: Sequence[Formula]) -> tuple[str, float]:
        """The largest type in which each piece fits in a line, and the width of a line in that type.

        If no size of `SIZES` fits, matrices will be broken, and the widest part of one must fit instead.
        """
        widest = max(width(p.begins + p.latex) for f in formulas for p in f) + 1
        least = max(width(p.begins + p.latex) for f in formulas for p in narrowed(f, 0)) + 1
        for sizes, needed in ((SIZES, widest), (SMALLER, least)):
            for size, scale in sizes:
                room = (self.line - AROUND) / scale - width(left)
                if needed <= room:
                    return size, room
        return size, room

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> Iterable[str]:
        """left = right for each pair, several in a line; a pair that is wider than a line is a display."""
        run: list[str] = []
        for left, right in pairs:
            if width(f"{left} = {right}") <= self.line:
                run.append(rf"$\displaystyle {left} = {right}$")
                continue
            yield from _run(run)
            run = []
            yield self.display(left, [(Piece(right),)])
        yield from _run(run)

    def picture(self, figure: Figure) -> str:
        """A picture as wide as a line at most; nothing, where TikZ is not loaded."""
        drawn = tikz(figure.picture, 10 * self.line)
        return "\\ifx\\tikzpicture\\undefined\\else%\n" + f"{drawn}\n" + r"\fi"

    def numbers(self, table: Sequence[Sequence[str]]) -> str:
        """A table of numbers, its first row a heading, in as many runs as its height takes."""
        head, *rows = [[tex(c) for c in row] for row in table]
        beside = -(-len(rows) // TALLEST) or 1
        tall = -(-len(rows) // beside)
        runs = [rows[k : k + tall] for k in range(0, len(rows), tall)]
        empty = [""] * len(head)
        lines = [head * len(runs)]
        lines += [
            [c for run in runs for c in (run[i] if i < len(run) else empty)] for i in range(tall)
        ]
        columns = r"@{\hspace{3em}}".join(["r" * len(head)] * len(runs))
        wide = sum(max(map(len, column)) / 2 + 1.2 for column in zip(*table, strict=True)) * len(
            runs
        )
        return _table(lines, columns, self.small(wide + 3 * (len(runs) - 1)))

    def small(self, wide: float) -> str:
        """The largest type in which so many em fit in a line."""
        sizes = (("", 1.0), (r"\small ", 0.93), (r"\footnotesize ", 0.86), (r"\scriptsize ", 0.8))
        return next((size for size, scale in sizes if wide * scale <= self.line), sizes[-1][0])

    def compared(self, h: Handout) -> Iterable[str]:
        if not h.compared:
            return
        yield r"\subsection*{Published, and certified}"
        numbers = [
            (
                c.published.what,
                str(c.published.value),
                plain(c.ours, 12),
                "yes" if c.agrees else "no",
            )
            for c in h.compared
        ]
        wide = max(len(row[1]) + len(row[2]) for row in numbers) / 2 + 9
        lines = [("Number", "Published", "Certified", "Agrees"), *numbers]
        column = rf"p{{{0.35 if wide < 22 else 0.2}\linewidth}}"
        size = self.small(wide + self.line * (0.35 if wide < 22 else 0.2))
        shown = [(_ragged(name), *map(tex, rest)) for name, *rest in lines]
        yield _table(shown, rf"{column}rrl", size)
        for c in h.compared:
            if not c.agrees:
                instead = f" ({plain(c.instead, 12)})" if c.instead is not None else ""
                yield tex(f"{c.published.what}: {c.reason}{instead}") + "\n"


def _paragraph(title: str) -> str:
    return rf"\paragraph{{{title}}} "


def _run(formulas: Sequence[str]) -> Iterable[str]:
    if formulas:
        body = "\\qquad\n".join(formulas)
        yield rf"{{\raggedright\noindent\lineskip=8pt\lineskiplimit=6pt{'%'}"
        yield f"{body}\\par}}\n"


def _table(rows: Sequence[Sequence[str]], columns: str, size: str = "", headed: bool = True) -> str:
    """A tabular; `headed`: its first row is a heading, with a rule below it."""
    # {}, as a [ at the beginning of a row would be read as the optional length of the \\ before it
    lines = ["{}" + " & ".join(row) + r" \tabularnewline" for row in rows]
    if headed:
        lines[0] += r" \hline"
        lines[1:2] = [r"\rule{0pt}{2.6ex}" + x for x in lines[1:2]]
    begin = rf"\par\medskip\noindent{{{size}\begin{{tabular}}{{@{{}}{columns}@{{}}}}"
    return "\n".join([begin, *lines, r"\end{tabular}}\par\medskip", ""])


def _answers(h: Handout) -> Iterable[str]:
    if not h.answers:
        return
    yield r"\subsection*{Who agrees}"
    rows = [("Implementation", "Versions", "Verdict"), *answered(h)]
    shown = [(tex(name), *map(_ragged, rest)) for name, *rest in rows]
    yield _table(shown, r"lp{0.36\linewidth}p{0.33\linewidth}")


def _ragged(text: str) -> str:
    """A cell of text, broken into lines."""
    return rf"\raggedright {tex(text)}"
