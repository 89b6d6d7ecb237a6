"""A fragment for a LaTeX article: \\input it. amsmath is all that it needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from conformance.handout.document import Handout, Line, answered, facts
from conformance.handout.numbers import plain
from conformance.handout.steps import Given
from conformance.handout.text import tex

__all__ = ["render"]


def render(h: Handout) -> str:
    """The whole fragment."""
    return "\n".join(_lines(h)) + "\n"


def _lines(h: Handout) -> Iterable[str]:
    e = h.example
    yield "% A fragment: \\input it in an article with \\usepackage{amsmath}."
    yield rf"\section*{{{tex(e.title)}}}"
    for paragraph in e.text:
        yield f"{tex(paragraph)}\n"
    if e.credit:
        yield rf"\emph{{{tex(e.credit)}}}" + "\n"
    yield _table([(tex(k), tex(v)) for k, v in facts(e)], "lp{0.7\\linewidth}")
    yield _paragraph("Conventions") + "\n\n".join(map(tex, h.notes)) + "\n"
    if e.show == "steps":
        yield _chain(h)
    yield from _givens(h.givens)
    for title, lines in h.sections:
        yield rf"\subsection*{{{tex(title)}}}"
        for line in lines:
            yield from _step(line)
    for figure in h.plots:
        yield rf"\par\medskip\noindent\emph{{{tex(figure.caption)}}}"
        rows = [[tex(c) for c in row] for row in figure.table]
        yield _table(rows, "r" * len(figure.table[0]))
    if h.key:
        yield r"\clearpage"
        yield r"\section*{Answer key}"
        for _, lines in h.key:
            yield _align([(line.left, line.result) for line in lines])
    yield from _compared(h)
    yield from _answers(h)


def _paragraph(title: str) -> str:
    return rf"\paragraph{{{title}}} "


def _table(rows: Sequence[Sequence[str]], columns: str) -> str:
    # {}: after \\ a [ would be a length
    body = "\n".join("{}" + " & ".join(row) + r" \\" for row in rows)
    begin = rf"\par\medskip\noindent\begin{{tabular}}{{@{{}}{columns}@{{}}}}"
    return f"{begin}\n{body}\n\\end{{tabular}}\\par\\medskip\n"


def _align(pairs: Sequence[tuple[str, str]]) -> str:
    body = " \\\\\n".join(f"{left} &= {right}" for left, right in pairs)
    return f"\\begin{{align*}}\n{body}\n\\end{{align*}}"


def _chain(h: Handout) -> str:
    """The computation graph in two lines."""
    e = h.example
    a, z = (r"\mathbf{a}", r"\mathbf{z}") if e.column else (r"\mathbf{A}", r"\mathbf{Z}")
    forward, backward = f"{z}_0", ""
    for l in range(1, e.L + 1):
        forward += rf" \xrightarrow{{\mathbf{{W}}_{l}}} {a}_{l} \xrightarrow{{\sigma_{l}}} {z}_{l}"
        if l < e.L:
            backward += rf"\delta_{l} \xleftarrow{{\mathbf{{W}}_{l + 1}^\top\!,\;\sigma'_{l}}} "
    backward += (
        rf"\delta_{e.L} \xleftarrow{{\sigma'_{e.L}}} \partial\mathcal{{L}}/\partial {z}_{e.L}"
    )
    return f"\\begin{{gather*}}\n{forward} \\to \\mathcal{{L}} \\\\\n{backward}\n\\end{{gather*}}"


def _givens(givens: Sequence[tuple[Given, str]]) -> Iterable[str]:
    yield r"\subsection*{Given}"
    yield _align([(g.left, told) for g, told in givens])


def _step(line: Line) -> Iterable[str]:
    yield _paragraph(tex(line.step.says) + ".") + tex(line.step.note)
    rows = [line.symbols, *line.filled, line.result]
    front = [
        f"{line.left} &= ",
        *(["&= "] + ["&\\phantom{=} "] * (len(line.filled) - 1) if line.filled else []),
        "&= ",
    ]
    body = " \\\\\n".join(f"{f}{r}" for f, r in zip(front, rows, strict=True))
    widest = max(map(_width, rows)) + _width(line.left)
    size = next((s for most, s in _SIZES if widest <= most), r"\scriptsize")
    shown = f"\\begin{{align*}}\n{body}\n\\end{{align*}}"
    yield f"{{{size}\n{shown}}}" if size else shown
    if line.mark:
        yield rf"{{\footnotesize {tex(line.mark)}.}}" + "\n"


_SIZES = ((60, ""), (66, r"\small"), (73, r"\footnotesize"))


def _width(row: str) -> int:
    """About how many characters wide it is set: of a matrix, its widest row."""

    def widest(matrix: re.Match[str]) -> str:
        rows = [_bare(r) for r in matrix[1].split(r"\\")]
        return "x" * (max(map(len, rows)) + 2)

    return len(_bare(re.sub(r"\\begin\{bmatrix\}(.*?)\\end\{bmatrix\}", widest, row)))


def _bare(row: str) -> str:
    found = re.sub(
        r"\\(?:ln|tanh|max|cos|sin|odot|oslash|cdot)| [-+=] ", "xxx", row.replace(" & ", "xx")
    )
    found = found.replace(r"\boxed{\phantom{00.0000}}", "x" * 9)
    return re.sub(r"\\[A-Za-z]+|[{}_^\s\\]", "", found)


def _compared(h: Handout) -> Iterable[str]:
    if not h.compared:
        return
    yield r"\subsection*{Published, and certified}"
    rows = [["Number", "Published", "Certified", "Agrees"]]
    rows += [
        [
            tex(c.published.what),
            tex(str(c.published.value)),
            tex(plain(c.ours, 12)),
            "yes" if c.agrees else "no",
        ]
        for c in h.compared
    ]
    yield _table(rows, "lrrl")
    for c in h.compared:
        if not c.agrees:
            instead = f" ({plain(c.instead, 12)})" if c.instead is not None else ""
            yield tex(f"{c.published.what}: {c.reason}{instead}") + "\n"


def _answers(h: Handout) -> Iterable[str]:
    yield r"\subsection*{Who agrees}"
    rows = [
        [tex(x) for x in row] for row in [("Implementation", "Versions", "Verdict"), *answered(h)]
    ]
    yield _table(rows, "lp{0.4\\linewidth}p{0.3\\linewidth}")
