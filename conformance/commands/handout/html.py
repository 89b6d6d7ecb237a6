"""One page without scripts, in the report's style and its own; and the index of a course."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

from jinja2 import ChoiceLoader, Environment, PackageLoader
from markupsafe import Markup

from conformance.commands.handout import text
from conformance.commands.handout.document import BOX, FORMATS, Handout, answered, facts
from conformance.commands.handout.example import Example
from conformance.commands.handout.graph import Figure
from conformance.commands.handout.layout import Formula, Piece, balanced, rows, strut, width
from conformance.commands.handout.numbers import plain
from conformance.commands.handout.text import visible
from conformance.report.formulas import math
from conformance.report.html import environment, own_file

__all__ = ["Entry", "index", "render"]

PHONE, LINE = 16.0, 48.0
"""In em: a formula that is wider than `PHONE` may be scrolled; one that is wider than `LINE` wraps."""

_BLANK = Markup('<mspace class="blank" width="4.6em" height="1.05em" depth=".45em"/>')
_SIGN = re.compile(r"(<mo[^>]*>(?:&#x00028;|&#x0002C;|&#x022C5;|&#x0002F;)</mo>)<mo>&#x02212;</mo>")
"""A minus that is a sign, as it follows ( , · or /, and so has no space after it."""
_NOTHING = re.compile(r'<mo stretchy="true" fence="true" form="\w+" />')
"""The invisible partner of a parenthesis that is closed in another piece: removed, it takes no space."""


def _math(latex: str) -> Markup:
    """MathML. A blank is a box; a matrix has its brackets from the style sheet, as not every browser has a
    font with brackets that grow."""
    mathml = str(math(latex.replace(BOX, r"\text{BLANK}"))).replace(
        "<mtext>BLANK</mtext>", str(_BLANK)
    )
    mathml = _NOTHING.sub("", mathml)
    mathml = mathml.replace("<mo>&#x0005B;</mo><mtable>", '<mtable class="bracketed">')
    mathml = mathml.replace("</mtable><mo>&#x0005D;</mo>", "</mtable>")
    # MathML Core has no bold digits
    mathml = mathml.replace('<mn mathvariant="bold">1</mn>', "<mn>𝟏</mn>")
    return Markup(_SIGN.sub(r'\1<mo form="prefix">&#x02212;</mo>', mathml))


class Shown(NamedTuple):
    """A piece of a formula, and about how wide it is in em."""

    math: Markup
    wide: float


def _piece(latex: str, joined: bool = False) -> Shown:
    """A piece; `joined`: it begins with the sign between it and the piece before."""
    wide = round(1.12 * width(latex) + 0.6, 1)
    mathml = str(_math(latex)).replace("<math ", f'<math style="--w: {wide}" ', 1)
    if joined:
        mathml = mathml.replace("<mrow><mo>", '<mrow><mo form="infix">', 1)
        # the style sheet shows this × only where the matrices of a product stand below each other
        times = '<mo form="infix" class="times">&#x000D7;'
        mathml = mathml.replace('<mo form="infix">&#x000D7;', times, 1)
    return Shown(Markup(mathml), wide)


def _shown(formula: Formula) -> list[Shown]:
    """The pieces of a formula, each by itself, so that a browser wraps between them."""
    empty = strut(max(rows(p.latex) for p in formula))
    return [
        _piece(p.begins + balanced(p.latex, empty), joined=k > 0) for k, p in enumerate(formula)
    ]


def _pair(left: str, right: str) -> list[Shown]:
    return [_piece(f"{left} = {right}")]


def _alone(latex: str) -> list[Shown]:
    return _shown((Piece(latex),))


def _pixels(figure: Figure) -> str:
    """The width of a picture, in pixels."""
    width = re.search(r'<svg [^>]*?\bwidth="(\d+)"', figure.picture)
    assert width
    return width[1]


def _environment() -> Environment:
    """Our own templates, and the report's, of which they are made."""
    env = environment()
    assert env.loader is not None
    env.loader = ChoiceLoader([PackageLoader("conformance.commands.handout"), env.loader])
    env.globals.update(t=text.html, visible=visible)
    return env


def _style() -> Markup:
    own = (files(__package__) / "handout.css").read_text(encoding="utf-8")
    return own_file("report.css") + Markup(own)


def render(h: Handout) -> str:
    """One self-contained file, the same bytes for the same handout."""
    env = _environment()
    env.globals.update(
        alone=_alone,
        line=LINE,
        math=_math,
        pair=_pair,
        phone=PHONE,
        pixels=_pixels,
        plain=plain,
        shown=_shown,
    )
    return env.get_template("example.html").render(
        h=h,
        e=h.example,
        facts=facts(h.example),
        answered=list(zip(answered(h), (a.verdict for a in h.answers), strict=True)),
        agree=sum(1 for c in h.compared if c.agrees),
        css=_style(),
    )


class Entry(NamedTuple):
    """An example in the index, with its files."""

    example: Example
    files: Sequence[tuple[str, str]]  # format and name


def index(entries: Sequence[Entry]) -> str:
    """The page that links to them all."""
    names = {"html": "page", "tex": "LaTeX", "md": "Markdown", "ipynb": "notebook"}
    assert set(names) == set(FORMATS)
    return (
        _environment()
        .get_template("course.html")
        .render(entries=entries, names=names, css=_style())
    )
