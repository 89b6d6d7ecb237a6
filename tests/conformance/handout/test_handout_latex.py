"""LaTeX as pdflatex sets it: everything compiles in a plain article, and no line is too long."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from fast import fast
from handed_out import ALL, NAMES, STEPPED, WIDE, shown, wide, worked

from conformance.commands.handout import layout, tex
from conformance.commands.handout.document import Wish, made
from conformance.commands.handout.example import read
from conformance.commands.handout.formats import rendered
from conformance.commands.handout.layout import (
    Piece,
    balanced,
    narrowed,
    packed,
    rows,
    strut,
    whole,
    width,
)
from conformance.commands.handout.paper import article, pdf, slides
from conformance.commands.handout.tikz import tikz

KEY = Wish(blanks=True, key=True)

LACKS = "no pdflatex on the PATH"
if shutil.which("pdflatex"):
    SETS = {"amsmath.sty", "beamer.cls", "tikz.sty"}
    has = subprocess.run(["kpsewhich", *SETS], capture_output=True, text=True).stdout.split()
    lacking = sorted(SETS - {Path(line).name for line in has})
    LACKS = f"pdflatex has no {', '.join(lacking)}" if lacking else ""
needs_latex = pytest.mark.skipif(bool(LACKS), reason=LACKS)
DIGITS = (2, 6, 12, 15)
KINDS = ((False, False), (True, False), (True, True))  # blanks, and the key
WISHES = [Wish(d, s, *k) for d, s, k in product(DIGITS, ("all", "forward", "backward"), KINDS)]
MOST = 5.0
"""Points that a line may be too long: less is not seen."""


def compiled(folder: Path, fragments: Sequence[str]) -> str:
    """The log of a plain article that inputs them all."""
    for k, fragment in enumerate(fragments):
        (folder / f"f{k}.tex").write_text(fragment, encoding="utf-8")
    inputs = "".join(
        rf"\message{{<fragment {k}>}}\input{{f{k}}}\clearpage " for k in range(len(fragments))
    )
    whole = rf"\documentclass{{article}}\usepackage{{amsmath}}\begin{{document}}{inputs}\end{{document}}"
    (folder / "a.tex").write_text(whole, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    return (folder / "a.log").read_text(encoding="utf-8", errors="replace")


def overfull(log: str) -> list[float]:
    """By how many points each box is too wide, or too high."""
    return [float(x) for x in re.findall(r"Overfull \\[hv]box \(([\d.]+)pt too", log)]


@pytest.mark.slow
@needs_latex
@pytest.mark.parametrize("name", ALL)
def test_every_example_is_set_within_its_lines(name: str, tmp_path: Path) -> None:
    """All digits, all steps, with blanks and without, one after the other in one article."""
    wishes = WISHES if name in STEPPED else [Wish(d) for d in DIGITS]
    log = compiled(tmp_path, [shown(name, "tex", w) for w in wishes])
    assert log.count("<fragment ") == len(wishes)
    assert max(overfull(log), default=0) <= MOST


@pytest.mark.slow
@needs_latex
@pytest.mark.parametrize("name", [*WIDE, "deep"])
def test_the_widest_and_the_deepest_too(name: str, tmp_path: Path) -> None:
    """Eight rows of six numbers of fifteen digits; a table of 64 rows; a name of 110 letters."""
    e = wide(name, tmp_path)
    some = [Wish(15), Wish(6), Wish(12, "backward", True, True)] if name != "deep" else [Wish(15)]
    log = compiled(tmp_path, [rendered(made(e, w, ("refbp",)), "tex") for w in some])
    assert max(overfull(log), default=0) <= MOST


@needs_latex
def test_a_number_that_is_a_line_by_itself_is_set_smaller(tmp_path: Path) -> None:
    """(z − y) / (z (1 − z)) with fifteen digits and a power of ten in each."""
    e = replace(read("xor"), b={**read("xor").b, 2: np.array([-250.3])})
    fragment = rendered(made(e, Wish(15), ("refbp",)), "tex")
    assert r"\scriptsize\arraycolsep" in fragment
    assert max(overfull(compiled(tmp_path, [fragment])), default=0) <= MOST


@pytest.mark.slow
@needs_latex
@pytest.mark.parametrize(
    ("attribute", "value"), [("LINE", 60.0), ("SIZES", (("", 1.0),)), ("TALL", 1e9), ("TALLEST", 99)]
)  # fmt: skip
def test_a_layout_that_forgets_something_is_seen(
    attribute: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that is not broken, a type that is never smaller, a display or a table that no page holds."""
    monkeypatch.setattr(tex, attribute, value)
    if attribute == "SIZES":
        monkeypatch.setattr(tex, "SMALLER", value)
    e = wide("deep" if attribute == "TALLEST" else "wide-binary", tmp_path)
    log = compiled(tmp_path, [rendered(made(e, Wish(15), ("refbp",)), "tex")])
    assert max(overfull(log)) > MOST


@pytest.mark.slow
@needs_latex
def test_a_matrix_that_is_not_broken_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tex, "narrowed", lambda formula, room: formula)
    h = made(wide("wide-huber", tmp_path), Wish(15), ("refbp",))
    assert max(overfull(compiled(tmp_path, [rendered(h, "tex")]))) > 50


@pytest.mark.slow
@needs_latex
def test_widths_are_those_of_latex(tmp_path: Path) -> None:
    """Of every piece of every example: at most six tenths of an em less, and a fifth more."""
    found = set()
    for name, wish in product(STEPPED, (Wish(), Wish(15), Wish(blanks=True))):
        for _, lines in worked(name, wish).sections:
            for line in lines:
                found |= {line.left, line.symbols, line.result}
                found |= {balanced(p.begins + p.latex, "") for p in line.filled}
    of = sorted(found)
    told = "".join(
        rf"\settowidth\w{{$\displaystyle {x}$}}\message{{<{k}:\the\w>}}" for k, x in enumerate(of)
    )
    log = compiled(tmp_path, [rf"\newlength\w{told}x"]).replace("\n", "")
    measured = {int(k): float(v) / 10 for k, v in re.findall(r"<(\d+):([\d.]+)pt>", log)}
    assert len(measured) == len(of) > 300
    off = [(measured[k] - width(x), x) for k, x in enumerate(of)]
    assert max(off)[0] < 0.6, max(off)
    over = [(width(x) / measured[k], x) for k, x in enumerate(of) if measured[k] > 10]
    assert max(over)[0] < 1.2, max(over)


# --- documents ----------------------------------------------------------------------------------------


def set_alone(folder: Path, document: str) -> str:
    """The log of a whole document."""
    (folder / "d.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "d.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    return (folder / "d.log").read_text(encoding="utf-8", errors="replace")


def pages(log: str) -> int:
    return int(re.findall(r"\((\d+) pages?,", log)[-1])


SCALAR = Wish(scalar="W_1[0,1]")


@needs_latex
@pytest.mark.parametrize("name", fast(NAMES, "softmax", "vanishing-gradients"))
def test_a_pdf_has_its_pictures_and_few_pages(name: str, tmp_path: Path) -> None:
    h = worked(name, SCALAR if name in STEPPED else Wish())
    document = article(h)
    assert document.count(r"\begin{tikzpicture}") == len(h.plots) + len(h.figures)
    log = set_alone(tmp_path, document)
    assert max(overfull(log), default=0) <= MOST
    assert pages(log) <= (6 if name in ("three-hidden-layers", "xor") else 5)
    if name == "softmax":  # 2–2–3
        assert pages(set_alone(tmp_path, article(worked(name)))) <= 4


@needs_latex
@pytest.mark.skipif(not shutil.which("pdftotext"), reason="no pdftotext on the PATH")
def test_what_is_copied_from_a_pdf_is_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf(worked("two-layers")))
    command = ["pdftotext", str(tmp_path / "a.pdf"), "-"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "2–2–1" in told
    assert "certified" in told


@needs_latex
def test_a_pdf_is_the_same_bytes_again() -> None:
    assert pdf(worked("two-layers")) == pdf(worked("two-layers"))


@needs_latex
@pytest.mark.parametrize("name", fast(NAMES, "two-layers", "vanishing-gradients"))
@pytest.mark.parametrize("wish", fast([Wish(), KEY], KEY), ids=str)
def test_slides_have_a_step_each(name: str, wish: Wish, tmp_path: Path) -> None:
    if name not in STEPPED:
        wish = Wish()
    h = worked(name, wish)
    document = slides(h)
    lines = [line for _, of in h.sections for line in of]
    shown = [line for line in lines if not line.blank]
    log = set_alone(tmp_path, document)
    assert document.count(r"\begin{frame}") >= len(lines) + len(h.figures) + 2
    assert pages(log) == document.count(r"\begin{frame}") + 1 + len(shown)  # asked, then answered
    assert max(overfull(log), default=0) <= MOST


@needs_latex
def test_a_fragment_has_pictures_where_tikz_is_loaded(tmp_path: Path) -> None:
    fragment = shown("xor", "tex")
    body = rf"\begin{{document}}{fragment}\end{{document}}"
    plain = r"\documentclass{article}\usepackage{amsmath}"
    without = set_alone(tmp_path, plain + body)
    with_tikz = set_alone(tmp_path, plain + r"\usepackage{tikz}" + body)
    assert pages(with_tikz) > pages(without)
    assert max(overfull(with_tikz), default=0) <= MOST


def test_every_mark_of_a_picture_becomes_tikz() -> None:
    """Lines, boxes, circles, squares and cells, with the text; and nothing is left of the SVG's own words."""
    for f in (*worked("xor").figures, *worked("xor").plots, *worked("vanishing-gradients").plots):
        drawn = tikz(f.picture, 345)
        round_ = f.picture.count("<circle") + len(re.findall(r"0 1 0 \d+ 0a", f.picture))
        assert drawn.count("circle (") + drawn.count("arc[") == round_
        assert drawn.count("rectangle (") == f.picture.count("<rect")
        assert drawn.count("\\node[") == f.picture.count("<text")
        assert drawn.count("\\path[") == len(re.findall("<(?:circle|rect|path)", f.picture))
        assert not re.search(r"[a-z]\d+ \d|svg|<", drawn.replace("text", ""))


# --- the layout ---------------------------------------------------------------------------------------

A, B = (r"\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}", r"\begin{bmatrix} 5 \\ 6 \end{bmatrix}")
PRODUCT = (Piece(A), Piece(B, r"\,", r"\times "), Piece("b", " + ", "+ "))


def test_a_formula_is_packed_into_as_few_lines_as_hold_it() -> None:
    assert whole(PRODUCT) == rf"{A}\,{B} + b"
    assert packed(PRODUCT, 99) == [whole(PRODUCT)]
    assert packed(PRODUCT, 5) == [A, rf"\quad {{}}\times {B}", r"\quad {}+ b"]
    assert packed(PRODUCT, width(whole(PRODUCT[:2])) + 0.01) == [rf"{A}\,{B}", r"\quad {}+ b"]
    for room in range(3, 30):
        lines = packed(PRODUCT, room)
        assert all(width(line) <= room or line.count("matrix") <= 2 for line in lines)


def test_a_parenthesis_that_is_broken_is_as_tall_on_both_lines() -> None:
    formula = (Piece(r"\left(" + A), Piece(B + r"\right)", r"\,", r"\times "))
    assert packed(formula, 99) == [rf"\left({A}\,{B}\right)"]
    first, second = packed(formula, 5)
    empty = strut(2)
    assert first == rf"\left( {empty} \right.{A}"
    assert second == rf"\quad {{}}\times {B}\left. {empty} \right)"
    assert rows(empty) == rows(A) == 2
    assert balanced(r"\left(x\right)", empty) == r"\left(x\right)"
    for line in (first, second):
        assert line.count(r"\left") == line.count(r"\right")


def test_a_wide_matrix_is_broken_between_its_columns() -> None:
    many = " & ".join(["0.123456789"] * 5)
    matrix = rf"\begin{{bmatrix}} {many} \\ {many} \end{{bmatrix}}"
    formula = (Piece(matrix), Piece(rf"0.5 \cdot {matrix}", " - ", "- "))
    parts = narrowed(formula, 20)
    assert all(width(p.begins + p.latex) <= 20 for p in parts)
    assert "".join(p.latex for p in parts).count("0.123456789") == 20
    assert [p.begins for p in parts].count("- ") == 1
    assert narrowed(formula, 40) == formula
    assert all(p.latex.count(r"\left") == p.latex.count(r"\right") == 1 for p in parts)
    alone = narrowed((Piece(matrix),), 1)  # a column is never broken
    assert [p.latex.count("0.123456789") for p in alone] == [2] * 5


def test_a_width_knows_what_it_is_made_of() -> None:
    assert width("12") == 1.0
    assert width(r"\frac{1}{123}") == 1.75
    assert width("x^{12}") < width("x12")
    assert width(A) == 2 * 0.5 + layout._GAP + 2 * layout._BRACKET
    raised = width(r"e^{\boxed{\phantom{00}}}") - width("e") - 0.06
    assert raised == pytest.approx(width(r"\boxed{\phantom{00}}"))
    assert width(r"\vphantom{1234}") == 0
