"""One page without script, made of the report's style sheet; and the index of a course."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from conformance.handout import text
from conformance.handout.document import BOX, FORMATS, Handout, answered, facts
from conformance.handout.example import Example
from conformance.handout.numbers import plain
from conformance.handout.text import visible
from conformance.report.formulas import math
from conformance.report.html import environment, own_file

__all__ = ["Entry", "index", "render"]

_BLANK = Markup('<mspace class="blank" width="4.6em" height="1.05em" depth=".45em"/>')
_SIGN = re.compile(r"(<mo[^>]*>(?:&#x00028;|&#x0002C;|&#x022C5;|&#x0002F;)</mo>)<mo>&#x02212;</mo>")
"""A minus that is a sign, after ( , · or /: it stands close to its number."""


def _math(latex: str) -> Markup:
    """MathML; what is left blank is a box, and a matrix has its brackets from the style sheet: not every
    browser has a font with brackets that grow."""
    found = str(math(latex.replace(BOX, r"\text{BLANK}"))).replace(
        "<mtext>BLANK</mtext>", str(_BLANK)
    )
    found = found.replace("<mo>&#x0005B;</mo><mtable>", '<mtable class="bracketed">')
    found = found.replace("</mtable><mo>&#x0005D;</mo>", "</mtable>")
    found = found.replace(
        '<mn mathvariant="bold">1</mn>', "<mn>𝟏</mn>"
    )  # MathML Core has no bold digits
    return Markup(_SIGN.sub(r'\1<mo form="prefix">&#x02212;</mo>', found))


def render(h: Handout) -> str:
    """One self-contained file, the same bytes for the same handout."""
    env = environment()
    env.globals.update(math=_math, plain=plain, t=text.html, visible=visible)
    return env.get_template("handout.html").render(
        h=h,
        e=h.example,
        facts=facts(h.example),
        answered=list(zip(answered(h), (a.verdict for a in h.answers), strict=True)),
        agree=sum(1 for c in h.compared if c.agrees),
        css=own_file("report.css"),
    )


class Entry(NamedTuple):
    """An example of the index, and the files that there are of it."""

    example: Example
    files: Sequence[tuple[str, str]]  # format and name


def index(entries: Sequence[Entry]) -> str:
    """The page that links to them all."""
    env = environment()
    env.globals.update(t=text.html, visible=visible)
    names = {"html": "page", "tex": "LaTeX", "md": "Markdown", "ipynb": "notebook"}
    assert set(names) == set(FORMATS)
    return env.get_template("handout-index.html").render(
        entries=entries, names=names, css=own_file("report.css")
    )
