"""Every example in every format: well-formed, the same bytes again, and nobody's text is markup."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fast import fast
from handed_out import ALL, ALL_STEPPED, FORMATS, NAMES, STEPPED, WIDE, shown, wide, worked

from conformance.commands.handout import md, text
from conformance.commands.handout.document import BOX, Wish, made
from conformance.commands.handout.example import Example, HandoutError, Published, read
from conformance.commands.handout.formats import rendered
from conformance.commands.handout.html import Entry, index
from conformance.commands.handout.layout import width
from conformance.report.formulas import math

ROOT = Path(__file__).parents[3]
BLANKS, KEY = Wish(blanks=True), Wish(blanks=True, key=True)
HOSTILE = (
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(2)>",
    r"\input{/etc/passwd} $x^2$ %& #1 ~^_{}",
    "[a](javascript:alert(3)) `code` *bold* ![i](x) {{ 7*7 }} {% raw %} | cell",
    "abc \u202etxt.exe \u200f right to left \x07",
    "$$ \\begin{aligned} --- ``` # heading",
)
VOID = {"meta", "link", "br", "img", "hr"}


class Page(HTMLParser):
    """A page, its elements closed in order, its ids, texts and MathML."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.math: list[str] = []
        self.texts: list[str] = []
        self.links: list[str] = []
        self.feed(html)
        self.wrong += self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        found = dict(attrs)
        self.ids += [found["id"] or ""] if "id" in found else []
        self.links += [found["href"] or ""] if tag == "a" else []
        if tag not in VOID:
            self.open.append(tag)
        self.wrong += [f"{tag} {k}" for k in found if k.startswith("on") or k == "src"]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if "math" in self.open:
            self.math.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


def hostile(of: str) -> Example:
    p = Published(of, "loss", Decimal("0.5"), why=of)
    e = read("two-layers")
    return replace(e, name="x", title=of, text=(of, of), credit=of, published=(p,))


# --- all of them --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ALL)
def test_every_example_in_every_format(name: str, form: str) -> None:
    told = shown(name, form)
    assert len(told) > 2000
    assert told.endswith("\n") or form == "html"
    assert "\r" not in told
    again = rendered(worked(name), form)
    assert again == told


def test_the_same_bytes_in_another_process() -> None:
    code = (
        "from conformance.commands.handout.document import made, Wish\n"
        "from conformance.commands.handout.formats import rendered\n"
        "from conformance.commands.handout.example import read\n"
        "import hashlib\n"
        "h = made(read('xor'), Wish(blanks=True), ('refbp',))\n"
        "for f in ('html', 'tex', 'md', 'ipynb'): print(hashlib.sha256(rendered(h, f).encode()).hexdigest())"
    )
    here = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    from hashlib import sha256

    expected = [sha256(shown("xor", f, BLANKS).encode()).hexdigest() for f in FORMATS]
    assert here.stdout.split() == expected


@pytest.mark.parametrize("name", ALL_STEPPED)
def test_all_formats_have_each_step_and_result(name: str) -> None:
    h = worked(name)
    for _, lines in h.sections:
        for line in lines:
            cells = json.loads(shown(name, "ipynb"))["cells"]
            texts = [
                shown(name, "tex"),
                shown(name, "md"),
                "".join("".join(c["source"]) for c in cells),
            ]
            for told in texts:
                assert line.result in told
                for piece in line.filled:
                    within = re.findall(r"\\begin\{bmatrix\}.*?\\end\{bmatrix\}", piece.latex)
                    assert all(part in told for part in within or [piece.latex])


# --- HTML ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wish", [Wish(), BLANKS, KEY, Wish(steps="backward"), Wish(digits=15)], ids=str
)
@pytest.mark.parametrize("name", ["softmax", "xor", "mazur"])
def test_a_page_is_well_formed_and_has_no_script(name: str, wish: Wish) -> None:
    page = Page(shown(name, "html", wish))
    assert page.wrong == []
    assert "script" not in page.tags
    assert len(page.ids) == len(set(page.ids))
    assert {"math", "svg", "title", "desc"} <= page.tags
    assert all(link[1:] in page.ids for link in page.links if link.startswith("#"))
    assert not any(link.startswith("http") for link in page.links)


def test_a_teachers_own_texts_say_their_language() -> None:
    h = made(replace(hostile("Wie weit?"), lang="de"), Wish(), ("refbp",))
    assert (
        rendered(h, "html").count(' lang="de"><bdi>Wie weit?') == 4
    )  # title, two paragraphs, credit
    assert ' lang="de"' not in shown("two-layers", "html", Wish())


@pytest.mark.parametrize("name", ALL)
def test_no_latex_reaches_a_page(name: str) -> None:
    page = Page(shown(name, "html"))
    said = "".join(page.math)
    assert "\\" not in said
    assert not re.search(r"mathbf|frac|begin|odot|cdot|text|left|right|leftarrow|oslash", said)
    assert page.wrong == []


def test_leaked_latex_is_an_error() -> None:
    with pytest.raises(ValueError, match="does not know all"):
        math(r"\nosuchcommand{x} = 1")


def test_a_picture_has_a_name_a_description_and_no_colour_of_its_own() -> None:
    for f in (*worked("xor").figures, *worked("xor").plots, *worked("vanishing-gradients").plots):
        assert re.search(
            r"<title id=.[\w-]+.>[^<]+</title><desc id=.[\w-]+.>[^<]+</desc>", f.picture
        )
        assert 'fill="#' not in f.picture
        drawn = " ".join(re.findall(r' (?:d|x|y|cx|cy|width|height)="([^"]*)"', f.picture))
        assert max((len(n) for n in re.findall(r"\d\.(\d+)", drawn)), default=0) <= 1


def test_an_index_links_to_all() -> None:
    entries = [Entry(read(n), [(f, f"{n}.{f}") for f in FORMATS]) for n in NAMES]
    page = Page(index([*entries, Entry(hostile(HOSTILE[0]), [("html", "x.html")])]))
    assert page.wrong == []
    assert "script" not in page.tags
    assert all(f"{n}.{f}" in page.links for n in NAMES for f in FORMATS)
    assert HOSTILE[0] in page.text


# --- LaTeX --------------------------------------------------------------------------------------------

KNOWN = {
    "section", "subsection", "paragraph", "emph", "begin", "end", "noindent", "par", "medskip", "linewidth",
    "footnotesize", "clearpage", "input", "usepackage", "mathbf", "mathcal", "mathrm", "frac", "tfrac",
    "partial", "delta", "sigma", "alpha", "odot", "oslash", "cdot", "times", "top", "left", "right", "sum",
    "text", "ln", "tanh", "max", "min", "quad", "phantom", "boxed", "xrightarrow", "xleftarrow", "to",
    "textbackslash", "textasciicircum", "textasciitilde", "ldots", "texttt", "varphi", "surd", "infty", "le",
    "ge", "ne", "approx", "leftarrow", "Sigma", "in", "beta", "gamma", "varepsilon", "eta", "theta", "lambda",
    "mu", "pi", "rho", "tau", "omega", "Delta", "dots", "small", "scriptsize", "tiny", "cos", "begingroup",
    "endgroup", "emergencystretch", "allowdisplaybreaks", "postdisplaypenalty", "arraycolsep", "renewcommand",
    "arraystretch", "raggedright", "lineskip", "lineskiplimit", "displaystyle", "qquad", "hspace", "hline",
    "tabularnewline", "rule", "subsubsection", "vphantom", "cdots", "abovedisplayskip",
    "abovedisplayshortskip", "ifx", "else", "fi", "undefined", "tikzpicture", "node", "path", "sffamily",
    "fontsize", "selectfont", "bfseries", "resizebox",
}  # fmt: skip
"""Commands of LaTeX and amsmath that a fragment may use."""


def sound(fragment: str) -> None:
    """Balanced environments and braces, commands that there are, letters that pdflatex has."""
    stack = []
    for what, environment in re.findall(r"\\(begin|end)\{(\w+\*?)\}", fragment):
        if what == "begin":
            stack.append(environment)
        else:
            assert stack.pop() == environment
    assert stack == []
    bare = re.sub(r"\\[\\{}$&#%_]", "", fragment)
    assert bare.count("{") == bare.count("}")
    depth = 0
    for c in bare:
        depth += (c == "{") - (c == "}")
        assert depth >= 0
    assert bare.count("$") % 2 == 0
    assert not re.search(r"\\\\\s*[\[*]", fragment)  # a length, or a star, to LaTeX
    assert set(re.findall(r"\\([A-Za-z]+)", re.sub(r"\\\\", " ", fragment))) <= KNOWN
    assert all(ord(c) < 0x7F or 0xC0 <= ord(c) <= 0x17F or c in "¡¿" for c in fragment)
    for row in re.findall(r"\\begin\{flalign\*\}(.*?)\\end\{flalign\*\}", fragment, re.DOTALL):
        assert "\n\n" not in row
        assert "$" not in row


@pytest.mark.parametrize("wish", [Wish(), KEY, Wish(steps="backward", blanks=True)], ids=str)
@pytest.mark.parametrize("name", ALL_STEPPED)
def test_a_fragment_is_sound(name: str, wish: Wish) -> None:
    sound(shown(name, "tex", wish))
    assert "U+" not in shown(name, "tex", wish)  # there is LaTeX for all that is ours


def test_a_deep_network_is_a_sound_fragment() -> None:
    sound(shown("vanishing-gradients", "tex"))


@pytest.mark.parametrize(
    "of", [*HOSTILE, "".join(text.TEX_LETTERS), "Zürich, œuvre, Łódź, 中文 🙂"]
)
def test_hostile_text_is_sound_latex(of: str) -> None:
    h = made(hostile(of), Wish(), ("refbp",))
    fragment = rendered(h, "tex")
    sound(fragment)
    assert not re.search(r"\\input\{/", fragment)


# --- Markdown -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_a_markdown_page_has_its_displays(name: str) -> None:
    page = shown(name, "md")
    marks = [i for i, line in enumerate(page.splitlines()) if line == "$$"]
    assert len(marks) % 2 == 0
    lines = page.splitlines()
    for a, b in zip(marks[::2], marks[1::2], strict=True):
        assert lines[a + 1] == r"\begin{aligned}"
        assert lines[b - 1] == r"\end{aligned}"
        assert "" not in lines[a:b]
    assert page.count("](data:image/svg+xml;base64,") == len(
        worked(name).figures + worked(name).plots
    )


@pytest.mark.parametrize("name", [*STEPPED, *WIDE])
@pytest.mark.parametrize("wish", fast([Wish(digits=15), KEY], KEY), ids=str)
def test_a_markdown_display_is_as_wide_as_a_column_of_text(
    name: str, wish: Wish, tmp_path: Path
) -> None:
    """Products go on below, matrices between their columns; and MathJax has no more boxes than it takes."""
    e = wide(name, tmp_path) if name in WIDE else read(name)
    page = rendered(made(e, wish, ("refbp",)), "md")
    for display in page.split("$$\n")[1::2]:
        lines = display.strip().splitlines()[1:-1]
        left = max(width(line.partition("&")[0]) for line in lines)
        assert max(width(line.partition("&")[2]) for line in lines) + left <= md.WIDEST + 8
        assert len(display) < 5000 or BOX not in display
        assert not any(line.startswith(("&+", "&-")) for line in lines)


def test_a_long_row_of_markdown_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where lines were not broken, or too many boxes stood in a display."""
    h = made(wide("wide-softmax", tmp_path), KEY, ("refbp",))
    monkeypatch.setattr(md, "MACROS", 10**6)
    assert any(len(d) > 5000 and BOX in d for d in rendered(h, "md").split("$$\n")[1::2])
    monkeypatch.setattr(md, "LINE", 99.0)
    lines = [line for d in rendered(h, "md").split("$$\n")[1::2] for line in d.splitlines()]
    assert max(map(width, lines)) > md.WIDEST + 8


def unescaped(of: str) -> str:
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", re.sub(r"</?sub>", "", of))


@pytest.mark.parametrize("of", HOSTILE)
def test_hostile_text_is_text(of: str) -> None:
    h = made(hostile(of), Wish(), ("refbp",))
    seen = " ".join(text.visible(of).split())
    page = Page(rendered(h, "html"))
    assert page.wrong == []
    assert not page.tags & {"script", "img"}
    assert " ".join(page.text.split()).count(re.sub(r"_\{?(\w)\}?", r"_\1", seen)[:12]) >= 4
    told = rendered(h, "md")
    title = told.splitlines()[0]
    assert unescaped(title) == f"# {seen}"
    assert not re.search(r"(?<!\\)[<`*\[|$!{]", re.sub(r"</?sub>", "", title[2:]))
    cells = json.loads(rendered(h, "ipynb"))["cells"]
    assert "".join(cells[0]["source"]).startswith(title)
    assert not any(of[:8] in "".join(c["source"]) for c in cells if c["cell_type"] == "code")
    for form in FORMATS:
        assert not re.search("[\u202e\u200f\x07]", rendered(h, form))


def test_an_index_is_set_below_the_line_and_nothing_else_is() -> None:
    assert text.html("W_1 z_{l-1} <b>") == "W<sub>1</sub> z<sub>l-1</sub> &lt;b&gt;"
    assert text.md("δ_l, a_file_name") == r"δ<sub>l</sub>, a\_file\_name"
    assert text.tex("-- ''") == "-{}- '{}'"
    assert text.tex("W_1 & 50%") == r"W$_{1}$ \& 50\%"


# --- blanks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL_STEPPED)
def test_a_blank_gives_nothing_away(name: str) -> None:
    """No computed number stands anywhere in the student's copy; with the key, each stands once more."""
    told = shown(name, "tex", BLANKS)
    key = shown(name, "tex", KEY)
    results = {
        x for s in worked(name).steps for x in re.findall(r"\d\.\d{5,}", _result(name, s.key))
    }
    middle = told.partition(r"\subsection*{Given}")[2].partition(r"\subsection*{Who")[0]
    shown_in = {x for x in results if x in middle}
    plotted = {x for f in worked(name).plots for row in f.table for x in row}
    assert shown_in <= plotted
    assert all(x in key for x in results)
    assert BOX in told
    assert "Answer key" in key
    assert "Answer key" not in told
    assert "certified ·" not in told


@pytest.mark.parametrize("name", ["softmax", "mazur"])
def test_a_blank_graph_has_boxes_for_its_numbers(name: str) -> None:
    plain_, blank = (worked(name, w).figures[-1].picture for w in (Wish(), BLANKS))
    assert plain_.count("<text") - blank.count("<text") == blank.count("<rect")
    results = [s for s in worked(name).steps if s.part != "update"]
    boxes = sum(s.result.size for s in results if s.key[0] not in ("D", "S", "T"))
    assert blank.count("<rect") == boxes + worked(name).example.n * 2  # ∂ℒ/∂z of the hidden layer


def _result(name: str, key: tuple[str, int]) -> str:
    return next(x.result for _, lines in worked(name).sections for x in lines if x.step.key == key)


def test_published_numbers_are_answers() -> None:
    for form in FORMATS:
        assert "0.75136507" in shown("mazur", form)
        assert "0.75136507" not in shown("mazur", form, BLANKS)
        assert "0.75136507" in shown("mazur", form, KEY)


def test_the_backward_steps_alone_are_given_the_forward_ones() -> None:
    h = worked("two-layers", Wish(steps="backward", blanks=True))
    assert h.sections[0][0].startswith("Step 2a")
    assert {left for left, _ in h.givens} >= {
        rf"\mathbf{{{c}}}_{{{l}}}" for c in "az" for l in (1, 2)
    }
    slope = h.sections[0][1][0]
    assert BOX not in slope.filled[0].latex  # z_L is handed out
    assert slope.result.count(BOX) == 1


def test_a_plot_has_nothing_to_leave_blank() -> None:
    with pytest.raises(HandoutError, match="shows a plot and no steps"):
        made(read("vanishing-gradients"), BLANKS, ("refbp",))


def test_fewer_digits_and_more() -> None:
    assert "0.59" in shown("mazur", "tex", Wish(digits=2))
    marks = {x.mark for _, lines in worked("mazur", Wish(digits=15)).sections for x in lines}
    assert any(re.fullmatch(r"at least 14 of 15 digits certified.*", m) for m in marks)


def test_the_teachers_example_works() -> None:
    e = read(str(ROOT / "examples" / "handout.toml"))
    h = made(e, Wish(), ("refbp",))
    for form in FORMATS:
        assert len(rendered(h, form)) > 2000
    assert "<b>" in Page(rendered(h, "html")).text
