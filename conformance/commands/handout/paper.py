"""Whole LaTeX documents: an article for paper, slides for a lecture; and the article as a PDF."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from conformance.commands.handout.document import Handout, Line
from conformance.commands.handout.layout import Piece
from conformance.commands.handout.tex import Setter
from conformance.commands.handout.text import tex
from conformance.commands.handout.tikz import tikz
from conformance.tools.trouble import RefusedError

__all__ = ["article", "pdf", "slides"]

A4, SLIDE = 48.0, 37.0
"""The width of a line in em at ten points: of A4 with margins of 2 cm, and of a slide of 16:9."""
PACKAGES = (
    r"\IfFileExists{cmap.sty}{\usepackage{cmap}}{}\usepackage[T1]{fontenc}\usepackage{amsmath}"
    r"\IfFileExists{tikz.sty}{\usepackage{tikz}}{}"
)
"""With cmap, what is copied from a PDF, or searched in it, has its ligatures."""
SAME = r"\pdfinfoomitdate1 \pdftrailerid{} \pdfsuppressptexinfo=-1 "
"""The same bytes for the same handout: no date, and no name of this machine's LaTeX."""
SECONDS = 120


def article(h: Handout) -> str:
    """A document of its own, with narrow margins."""
    return "\n".join(
        [
            SAME + r"\documentclass[a4paper]{article}\usepackage[margin=2cm]{geometry}" + PACKAGES,
            r"\begin{document}\pagestyle{plain}",
            *Setter(A4).lines(h),
            r"\end{document}" + "\n",
        ]
    )


def slides(h: Handout) -> str:
    """Beamer: one step a slide, its result on the second click; blanks stay blank."""
    return "\n".join(_frames(h)) + "\n"


def _frames(h: Handout) -> Iterator[str]:
    e, setter = h.example, Setter(SLIDE)
    yield r"\documentclass[aspectratio=169,10pt]{beamer}" + PACKAGES
    yield r"\setbeamertemplate{navigation symbols}{}\setbeamertemplate{footline}[frame number]"
    yield rf"\title{{{tex(e.title)}}}\date{{}}\begin{{document}}\frame{{\titlepage}}"
    yield from _frame(e.title, "\n\n".join(map(tex, e.text)))
    for figure in (*h.figures, *h.plots):
        title = re.split(r"[:.,]", figure.caption)[0]
        yield from _frame(title, tikz(figure.picture, 10 * SLIDE))  # beamer itself needs TikZ
    yield from _frame("Given", "\n".join([*setter.pairs(h.givens), *setter.pairs(h.definitions)]))
    for title, lines in h.sections:
        yield rf"\section{{{tex(title)}}}"
        for line in lines:
            yield from _frame(line.step.says, _shown(setter, line))
    for title, lines in h.key:
        results = [(line.left, line.result) for line in lines]
        yield from _frame(f"Answer key: {title}", "\n".join(setter.pairs(results)))
    yield r"\end{document}"


def _frame(title: str, body: str) -> Iterator[str]:
    """A slide. Its title is a command: braces after {frame} would be the subtitle."""
    if body:
        heading = rf"\frametitle{{{tex(title.rstrip('.'))}}}"
        yield rf"\begin{{frame}}[shrink]{heading}" + f"\n{body}\n" + r"\end{frame}"


def _shown(setter: Setter, line: Line) -> str:
    """A step as a question, and then with its answer in the same place."""
    why = tex(line.step.note) + "\n\n" if line.step.note else ""
    hidden = rf"\boxed{{\phantom{{{line.result}}}}}"
    shown = [line] if line.blank else [replace(line, result=hidden), line]
    displays = [
        setter.display(x.left, [(Piece(x.symbols),), x.filled, (Piece(x.result),)]) for x in shown
    ]
    if len(displays) == 1:
        return why + displays[0]
    return why + "".join(rf"\only<{k}>{{{d}" + "\n}\n" for k, d in enumerate(displays, 1))


def pdf(h: Handout) -> bytes:
    """The article, as pdflatex sets it. Raises RefusedError where it is not installed, or fails."""
    latex = shutil.which("pdflatex")
    if not latex:
        raise RefusedError(
            "there is no pdflatex on the PATH, which makes a PDF; expected TeX Live (on Debian "
            "texlive-latex-recommended and texlive-pictures), or --to tex for a file to compile elsewhere."
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "handout.tex").write_text(article(h), encoding="utf-8")
        command = [
            latex,
            "-interaction=batchmode",
            "-halt-on-error",
            "-no-shell-escape",
            "handout.tex",
        ]
        try:
            done = subprocess.run(command, cwd=path, capture_output=True, timeout=SECONDS)
        except subprocess.TimeoutExpired as e:
            raise RefusedError(f"pdflatex was not done after {SECONDS} s.") from e
        if done.returncode:
            log = (path / "handout.log").read_text(encoding="utf-8", errors="replace")
            why = next((x for x in log.splitlines() if x.startswith("! ")), "! it says no more")
            more = " Its packages are amsmath and tikz." if "not found" in why else ""
            raise RefusedError(f"pdflatex failed: {why[2:]}{more} Try --to tex, to see where.")
        return (path / "handout.pdf").read_bytes()
