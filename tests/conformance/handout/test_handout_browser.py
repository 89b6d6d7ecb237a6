"""The pages in a real browser: on a phone, on a wide screen, light and dark, and on paper."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from fast import fast
from handed_out import NAMES, STEPPED, WIDE, shown, wide

from conformance.commands.handout.document import Wish, made
from conformance.commands.handout.example import read
from conformance.commands.handout.formats import rendered
from conformance.commands.handout.html import Entry, index

pytestmark = pytest.mark.browser
LONG, KEY = Wish(digits=15), Wish(blanks=True, key=True)


@pytest.fixture
def open_(chromium: Any, tmp_path: Path) -> Iterator[Any]:
    """Opens a page from a file, in a browser that knows nothing yet."""
    contexts = []

    def opening(html: str, width: int = 400, **how: Any) -> Any:
        path = tmp_path / f"page-{len(contexts)}.html"
        path.write_text(html, encoding="utf-8")
        contexts.append(chromium.new_context(viewport={"width": width, "height": 800}, **how))
        page = contexts[-1].new_page()
        page.said = []
        page.on("console", lambda m: page.said.append(m.text))
        page.on("request", lambda r: page.said.append(r.url) if r.url != path.as_uri() else None)
        page.goto(path.as_uri())
        return page

    yield opening
    for context in contexts:
        context.close()


CLIPPED = """() => {
  const out = [];
  for (const math of document.querySelectorAll("math")) {
    const r = math.getBoundingClientRect();
    if (!r.width) continue;
    for (let box = math.parentElement; box; box = box.parentElement) {
      const b = box.getBoundingClientRect(), style = getComputedStyle(box);
      const scrolls = style.overflowX === "auto";
      const right = scrolls ? b.left + box.scrollWidth : b.right;
      if (box.clientWidth && (r.right > right + 1 || r.left < b.left - 1 - box.scrollLeft))
        out.push(`${box.className || box.tagName}: ${math.textContent.slice(0, 60)}`);
      if (scrolls) {
        const shade = style.backgroundImage.includes("gradient");
        const reached = box.tabIndex === 0;
        if (box.scrollWidth > box.clientWidth + 1 && !(shade && reached))
          out.push(`${box.className} is not seen to scroll, or not by the keyboard`);
        break;
      }
    }
  }
  return out;
}"""
"""What of a formula is neither shown nor can be scrolled to, by the mouse and the keyboard, visibly."""

OVERLAPPING = """() => {
  const out = [];
  for (const row of document.querySelectorAll("mtr")) {
    let last = -Infinity;
    for (const cell of row.children) {
      const found = [...cell.querySelectorAll("mn, mo, mi, mspace, mtext")];
      const parts = found.map(x => x.getBoundingClientRect());
      const left = Math.min(...parts.map(r => r.left)), right = Math.max(...parts.map(r => r.right));
      if (left < last + 1) out.push(row.textContent.slice(0, 60));
      last = right;
    }
  }
  return out;
}"""
"""Rows of a matrix in which two numbers run into each other."""


def faults(page: Any, width: int) -> list[str]:
    """All that a demanding reader would see."""
    wide = page.evaluate("document.documentElement.scrollWidth")
    found = [f"the page is {wide} wide in {width}"] if wide > width else []
    return [*found, *page.evaluate(CLIPPED), *page.evaluate(OVERLAPPING), *page.said]


@pytest.mark.parametrize("name", fast(NAMES, "softmax"))
def test_no_formula_is_cut_off_at_any_width(open_: Any, name: str) -> None:
    for wish in (Wish(), LONG, KEY) if name in STEPPED else (Wish(), LONG):
        page = open_(shown(name, "html", wish), 1280)
        for width in (1280, 700, 400, 320):
            page.set_viewport_size({"width": width, "height": 800})
            assert faults(page, width) == [], (wish, width)


@pytest.mark.slow
@pytest.mark.parametrize("name", WIDE)
def test_nor_of_the_widest_networks(open_: Any, name: str, tmp_path: Path) -> None:
    for wish in (LONG, KEY):
        page = open_(rendered(made(wide(name, tmp_path), wish, ("refbp",)), "html"), 1280)
        for width in (1280, 400):
            page.set_viewport_size({"width": width, "height": 800})
            assert faults(page, width) == [], (wish, width)


def test_a_formula_wraps_before_it_scrolls(open_: Any) -> None:
    """On a phone a product goes on below, with its sign; on a wide screen it stands on a line."""
    page = open_(shown("softmax", "html"), 1280)
    product = page.locator(".step", has_text="The gradient of W").first.locator(".side").nth(1)
    times = product.locator(".times")
    assert not times.is_visible()
    tall = product.bounding_box()["height"]
    page.set_viewport_size({"width": 400, "height": 800})
    assert times.is_visible()
    assert product.bounding_box()["height"] > 1.5 * tall
    assert product.evaluate("e => e.scrollWidth <= e.clientWidth")


def test_a_matrix_too_wide_for_a_phone_scrolls_by_the_keyboard(open_: Any) -> None:
    page = open_(shown("softmax", "html", LONG), 400)
    wider = "e => e.scrollWidth > e.clientWidth + 20"
    box = next(x for x in page.locator(".side").all() if x.evaluate(wider))
    box.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("e => e.scrollLeft > 0", arg=box.element_handle())
    assert box.get_attribute("aria-label")


@pytest.mark.parametrize("what", ["wraps", "scrolls", "shrinks", "shade"])
def test_what_is_forgotten_is_seen(open_: Any, what: str) -> None:
    """Each rule of the style sheet that the pages need, left out."""
    told = shown("softmax", "html", LONG)
    whole_line = ".side { white-space: nowrap; overflow-x: visible !important; } .side math {"
    wrong = {
        "wraps": (r"\.side math \{", whole_line),
        "scrolls": (r"\.side \{ overflow-x: auto;", ".side { overflow-x: hidden;"),
        "shrinks": (r"mtable \{ min-width: max-content; \}|white-space: nowrap;", ""),
        "shade": (r"linear-gradient\(to", "url(none"),
    }
    planted = re.sub(*wrong[what], told)
    assert planted != told
    assert faults(open_(planted), 400) != []


# --- paper --------------------------------------------------------------------------------------------

A4 = 688
"""Pixels of a line on A4, between the margins of the style sheet."""


@pytest.mark.parametrize("name", fast([*NAMES, *WIDE], "softmax"))
def test_paper_shows_all_of_each_formula(open_: Any, name: str, tmp_path: Path) -> None:
    """It breaks or is set smaller; brackets, which are backgrounds, are printed too."""
    for wish in (Wish(), LONG, KEY) if name != "vanishing-gradients" else (LONG,):
        told = (
            rendered(made(wide(name, tmp_path), wish, ("refbp",)), "html")
            if name in WIDE
            else shown(name, "html", wish)
        )
        page = open_(told, A4, color_scheme="dark")
        page.emulate_media(media="print")
        assert faults(page, A4) == [], wish
        assert page.evaluate(
            "[...document.querySelectorAll('.side')].every(e => e.scrollWidth <= e.clientWidth + 1)"
        )
        style = "[...document.querySelectorAll('.bracketed')].map(e => getComputedStyle(e).printColorAdjust)"
        assert set(page.evaluate(style)) == {"exact"}
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == "rgb(255, 255, 255)"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdftotext"), reason="no pdftotext on the PATH")
@pytest.mark.parametrize("name", ["softmax", "wide-softmax"])
def test_every_number_is_on_the_printed_page(open_: Any, name: str, tmp_path: Path) -> None:
    """Of the PDF itself: each word lies within the margins, and each result is there."""
    h = made(wide(name, tmp_path) if name in WIDE else read(name), LONG, ("refbp",))
    page = open_(rendered(h, "html"), 1280)
    (tmp_path / "page.pdf").write_bytes(page.pdf(format="A4"))
    command = ["pdftotext", "-bbox", str(tmp_path / "page.pdf"), "-"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    wide_ = float(re.findall(r'<page width="([\d.]+)"', told)[0])
    ends = [float(x) for x in re.findall(r'xMax="([\d.]+)"', told)]
    margin = 14 / 25.4 * 72
    assert len(ends) > 300
    assert max(ends) <= wide_ - margin + 1
    words = {w.strip("[]()−-,") for w in re.findall(r">([^<]+)</word>", told)}
    whole = " ".join(words)
    results = {
        x for _, lines in h.sections for line in lines for x in re.findall(r"\d\.\d{9,}", line.result)
    }  # fmt: skip
    assert len(results) > 20
    assert {x for x in results if x not in whole} == set()


def test_the_answers_are_on_a_page_of_their_own(open_: Any) -> None:
    page = open_(shown("two-layers", "html", KEY), A4)
    page.emulate_media(media="print")
    style = "getComputedStyle(document.querySelector('#key')).breakBefore"
    assert page.evaluate(style) == "page"
    assert page.pdf().startswith(b"%PDF")


# --- looks --------------------------------------------------------------------------------------------


def _axe() -> str:
    spec = find_spec("axe_playwright_python")
    assert spec
    folder = next(iter(spec.submodule_search_locations or ()))
    return (Path(folder) / "axe.min.js").read_text(encoding="utf-8")


AXE = """axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    resultTypes: ["violations"],
}).then((r) => r.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join()}`))"""


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("axe_playwright_python"), reason="no axe: pip install '.[dev]'")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(open_: Any, scheme: str) -> None:
    entries = [Entry(read(n), [("html", f"{n}.html")]) for n in NAMES]
    for told in (shown("mazur", "html"), shown("xor", "html", KEY), index(entries)):
        for width in (400, 1280):
            page = open_(told, width, color_scheme=scheme)
            page.evaluate(_axe())
            assert page.evaluate(AXE) == []


@pytest.mark.parametrize(
    ("scheme", "paper"), [("light", "rgb(251, 250, 247)"), ("dark", "rgb(21, 23, 27)")]
)
def test_is_light_or_dark_as_the_system_is(open_: Any, scheme: str, paper: str) -> None:
    page = open_(shown("xor", "html"), color_scheme=scheme)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper


@pytest.mark.parametrize("width", fast([320, 400, 1280], 320))
def test_the_index_is_no_wider_than_its_window(open_: Any, width: int) -> None:
    entries = [
        Entry(read(n), [(f, f"{n}.{f}") for f in ("html", "tex", "md", "ipynb")]) for n in NAMES
    ]
    page = open_(index(entries), width)
    assert faults(page, width) == []
