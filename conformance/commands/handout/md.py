"""MyST Markdown: steps in $$ … $$, pictures as data addresses. Text from a file is escaped, so that none of
it is markup. The notebook is made of the same pieces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from conformance.commands.handout.document import BOX, Handout, Line, answered, facts
from conformance.commands.handout.graph import Figure, data_uri
from conformance.commands.handout.layout import Formula, Piece, narrowed, packed, width
from conformance.commands.handout.numbers import plain
from conformance.commands.handout.text import md

__all__ = [
    "agreement",
    "answer",
    "compared",
    "conventions",
    "display",
    "figure",
    "given",
    "opening",
    "render",
    "step",
    "table",
]

LINE, WIDEST = 27.0, 34.0
"""In em: the width of a line of a display, and the width beyond which a matrix is broken."""
MACROS, LINED = 3000, r"\underline{\phantom{00.0000}}"
"""MathJax expands \\boxed as a macro and stops after many of them: a display of more characters has lines for
its blanks, which are no macro."""


def render(h: Handout) -> str:
    """The whole page."""
    return "\n\n".join(_blocks(h)) + "\n"


def _blocks(h: Handout) -> Iterable[str]:
    yield from opening(h)
    yield from (figure(f) for f in h.figures)
    yield "## Given"
    yield from (given(*pair) for pair in (*h.givens, *h.definitions))
    for title, lines in h.sections:
        yield f"## {md(title)}"
        yield from (step(line) for line in lines)
    if h.plots:
        yield "## What it shows"
    for f in h.plots:
        yield figure(f)
        yield table(f.table)
    if h.key:
        yield "## Answer key"
        yield from (answer(line) for _, lines in h.key for line in lines)
    yield from compared(h)
    yield from agreement(h)


def opening(h: Handout) -> Iterable[str]:
    """The title, the text, the network and the conventions."""
    e = h.example
    yield f"# {md(e.title)}"
    yield from map(md, e.text)
    if e.credit:
        yield f"*{md(e.credit)}*"
    yield "\n".join(f"- **{md(k)}:** {md(v)}" for k, v in facts(e))
    yield conventions(h)


def conventions(h: Handout) -> str:
    """One point each."""
    return "**How to read it.**\n\n" + "\n".join(f"- {md(n)}" for n in h.notes)


def display(left: str, *formulas: Formula) -> str:
    """left = formula = formula, aligned at the equals sign, each formula in as many lines as it takes."""
    body: list[str] = []
    for formula in filter(None, formulas):
        first, *more = packed(narrowed(formula, WIDEST - width(left)), LINE - width(left))
        body += [f"{'' if body else left}&= {first}", *(f"&{part}" for part in more)]
    rows = " \\\\\n".join(body)
    if len(rows) > MACROS:
        rows = rows.replace(BOX, LINED)
    return f"$$\n\\begin{{aligned}}\n{rows}\n\\end{{aligned}}\n$$"


def given(left: str, latex: str) -> str:
    """A given matrix or vector, or what σ is."""
    return display(left, (Piece(latex),))


def answer(line: Line) -> str:
    """A step's result, for the answer key."""
    return display(line.left, (Piece(line.result),))


def step(line: Line) -> str:
    """A step: in words, as equations, and its mark."""
    note = f" {md(line.step.note)}" if line.step.note else ""
    shown = display(line.left, (Piece(line.symbols),), line.filled, (Piece(line.result),))
    mark = f"\n\n*{md(line.mark)}*" if line.mark else ""
    return f"**{md(line.step.says)}.**{note}\n\n{shown}{mark}"


def figure(f: Figure) -> str:
    """The picture as data, with its caption as text."""
    return f"![{md(f.caption)}]({data_uri(f.picture)})\n\n*{md(f.caption)}*"


def table(rows: Sequence[Sequence[str]]) -> str:
    """A table, its first row a heading."""
    lines = ["| " + " | ".join(md(c) or " " for c in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def agreement(h: Handout) -> Iterable[str]:
    """Who agrees."""
    if h.answers:
        yield "## Who agrees"
        yield table([("implementation", "versions", "verdict"), *answered(h)])


def compared(h: Handout) -> Iterable[str]:
    """Printed numbers beside ours."""
    if not h.compared:
        return
    yield "## Published, and certified"
    rows = [
        (
            c.published.what,
            str(c.published.value),
            plain(c.ours, 12),
            "agrees" if c.agrees else "differs",
        )
        for c in h.compared
    ]
    yield table([("number", "published", "certified", ""), *rows])
    for c in h.compared:
        if not c.agrees:
            instead = f" ({plain(c.instead, 12)})" if c.instead is not None else ""
            yield md(f"{c.published.what}: {c.reason}{instead}")
