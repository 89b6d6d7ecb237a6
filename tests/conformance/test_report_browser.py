"""The report in a real browser, from file://, with the script and without."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import pytest
from fast import fast
from test_report import HOSTILE, _deviate, many, synthetic

from conformance.commands.diff.compare import compare
from conformance.commands.diff.page import render as render_diff
from conformance.model.results import Results
from conformance.report import render, render_files
from conformance.report.links import filtered

pytestmark = pytest.mark.browser
ONE = "typical-mish-4x10-float64-b7-82"  # refbp deviates in it


@pytest.fixture(scope="module")
def results() -> Results:
    return synthetic(300)


@pytest.fixture(scope="module")
def report(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(results), encoding="utf-8")
    return path


class Opened:
    """A page, what it asked for and what it said on the console."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.requests: list[str] = []
        self.console: list[str] = []
        page.on("request", lambda r: self.requests.append(r.url))
        page.on("console", lambda m: self.console.append(m.text))
        page.on("pageerror", lambda e: self.console.append(str(e)))

    def go(self, address: str, ready: str = "html.js") -> Opened:
        self.page.goto(address)
        self.page.wait_for_selector(ready)
        return self

    def filter(self, query: str) -> str:
        self.page.fill("input[type=search]", query)
        return self.status

    @property
    def status(self) -> str:
        return self.page.inner_text(".pages [role=status]")

    @property
    def shown(self) -> int:
        return int(self.status.partition(" of ")[0].replace(",", ""))

    @property
    def dialog(self) -> str:
        return " ".join(self.page.inner_text("dialog[open]").split())

    @property
    def hash(self) -> str:
        return self.page.evaluate("location.hash")


@pytest.fixture
def open_(chromium: Any, report: Path) -> Iterator[Any]:
    """Opens the report at a fragment, in a browser that knows nothing yet."""
    contexts = []

    def opening(
        fragment: str = "", path: Path = report, ready: str = "html.js", **how: Any
    ) -> Opened:
        contexts.append(chromium.new_context(viewport={"width": 1280, "height": 900}, **how))
        opened = Opened(contexts[-1].new_page())
        return opened.go(f"{path.as_uri()}{fragment}", ready)

    yield opening
    for context in contexts:
        context.close()


# ---- the list ----


def test_lists_a_page_of_cases_worst_first_and_asks_for_nothing(open_: Any, report: Path) -> None:
    o = open_()
    assert o.console == []
    assert o.requests == [report.as_uri()]
    assert o.status == "300 of 300 cases, page 1 of 6"
    assert o.page.locator(".list a.case").count() == 50
    assert "did not run here" not in o.page.inner_text("body")
    assert not o.page.locator("dialog[open]").count()
    first = o.page.locator(".list tbody tr").first.inner_text()
    assert "!" in first  # the one error
    assert "NaN" in o.page.locator(".list tbody tr").nth(1).inner_text()


def _found(results: Results, result: Any, case: Any = lambda c: True) -> int:
    """How many cases have a result for which this holds."""
    cases = {c["id"]: c for c in results["cases"]}
    return len({r["case"] for r in results["results"] if result(r) and case(cases[r["case"]])})


def _records(r: Any, holds: Any) -> bool:
    return any(holds(x) for x in r["records"])


def _over(x: Any, limit: float) -> bool:
    return x["ratio"] == "nan" or float(x["ratio"]) > limit


QUERIES = {
    "verdict:deviates": (lambda r: r["verdict"] == "deviates", lambda c: True),
    "verdict:!conforms,not-run": (
        lambda r: r["verdict"] not in ("conforms", "not-run"),
        lambda c: True,
    ),
    "implementation:jax* verdict:known-difference depth:>=3 dtype:float64": (
        lambda r: r["implementation"].startswith("jax") and r["verdict"] == "known-difference",
        lambda c: c["depth"] >= 3 and c["dtype"] == "float64",
    ),
    "gate:step layer:>3 ratio:>0.5 implementation:torch-cpu": (
        lambda r: (
            r["implementation"] == "torch-cpu"
            and _records(r, lambda x: x["gate"] == "step" and x["layer"] > 3 and _over(x, 0.5))
        ),
        lambda c: True,
    ),
    "ratio:>1": (lambda r: _records(r, lambda x: _over(x, 1)), lambda c: True),
    "quantity:δ ratio:nan": (
        lambda r: _records(r, lambda x: x["quantity"] == "delta" and x["ratio"] == "nan"),
        lambda c: True,
    ),
    "fault:derivative-at-output blame:delta": (
        lambda r: any(f["fault"] == "derivative-at-output" for f in r["diagnosis"]),
        lambda c: True,
    ),
    "fault:unknown": (lambda r: any(not f["fault"] for f in r["diagnosis"]), lambda c: True),
    "activation:gelu* batch:>=7 !loss:mse": (
        lambda r: True,
        lambda c: c["activation"].startswith("gelu") and c["batch"] >= 7 and c["loss"] != "mse",
    ),
    "ACTIVATION:TANH depth:3,4 bias:yes": (
        lambda r: True,
        lambda c: c["activation"] == "tanh" and c["depth"] in (3, 4) and c["bias"],
    ),
    "width:3 depth:<2": (lambda r: True, lambda c: 3 in c["widths"] and c["depth"] < 2),
    '"out of memory"': (lambda r: "out of memory" in r["message"], lambda c: True),
    "float32 !typical": (
        lambda r: True,
        lambda c: "float32" in c["dtype"] and "typical" not in c["id"] + c["family"],
    ),
}


def test_the_filter_finds_what_its_terms_say(open_: Any, results: Results) -> None:
    o = open_()
    for query, (result, case) in QUERIES.items():
        o.filter(query)
        assert o.page.locator(".problems li").count() == 0, query
        assert o.shown == _found(results, result, case), query
    assert o.shown > 0
    assert o.console == []


@pytest.mark.parametrize(
    ("query", "said", "fix"),
    [
        ("activation:gleu", "no activation is “gleu” here. Nearest: activation:gelu", "activation:gelu"),
        ("verdit:deviates", "there is no key “verdit”", "verdict:deviates"),
        ("gate:!stp", "no gate is “stp” here", "gate:!step"),
        ("depth:many", "depth is a number, got “many”. Known: depth:3, depth:>=3", None),
        ("depth:", "depth is a number, got “”", None),
        ("dtype:>float32", "dtype has names and no order, got “>”. Known: float64, float32", None),
        ("known:", "known: and then a name. Known: jax-leaky-relu-0", None),
        ("zzzzzzz:1", "text with a colon goes in quotes. Known: implementation, verdict, fault", None),
    ],
)  # fmt: skip
def test_a_term_that_is_not_understood_is_said_and_left_out(
    open_: Any, query: str, said: str, fix: str | None
) -> None:
    o = open_()
    assert o.filter(f"{query} depth:1") == o.filter("depth:1")
    o.filter(f"depth:1 {query}")
    told = " ".join(o.page.inner_text(".problems").split())
    assert f"{query} is left out" in told
    assert said in told
    assert o.page.get_attribute("input[type=search]", "aria-invalid") == "true"
    buttons = o.page.locator(".problems button")
    assert buttons.count() == (fix is not None)
    if fix:
        buttons.click()
        assert o.page.input_value("input[type=search]") == f"depth:1 {fix}"
        assert o.page.locator(".problems li").count() == 0


def test_a_filter_is_a_link_and_the_back_button_takes_it_back(open_: Any) -> None:
    o = open_("#q=activation%3Atanh%20depth:3")
    assert o.page.input_value("input[type=search]") == "activation:tanh depth:3"
    first = o.status
    o.page.fill("input[type=search]", "verdict:deviates")
    assert o.hash == "#q=verdict%3Adeviates"
    o.page.keyboard.press("Enter")  # to the first case
    o.page.keyboard.press("Enter")  # into it
    o.page.wait_for_selector("dialog[open]")
    assert re.fullmatch(r"#case=typical[^&]*&q=verdict%3Adeviates", o.hash)
    o.page.go_back()
    o.page.wait_for_selector("dialog[open]", state="detached")
    assert (o.hash, o.shown) == ("#q=verdict%3Adeviates", 8)
    o.page.go_back()
    o.page.get_by_text(first, exact=True).wait_for()
    assert o.page.input_value("input[type=search]") == "activation:tanh depth:3"
    o.page.go_forward()
    o.page.get_by_text("8 of 300 cases, page 1 of 1", exact=True).wait_for()
    assert o.console == []


def test_a_case_and_a_filter_in_one_link(open_: Any) -> None:
    o = open_(f"#case={ONE}&q=verdict:deviates")
    assert "of 8 ← Previous Next → Close" in o.dialog
    o.page.get_by_role("button", name="Close").click()
    o.page.wait_for_url("**#q=verdict%3Adeviates")  # once the browser has said that it closed
    assert not o.page.locator("dialog[open]").count()


def test_the_filter_is_remembered_and_a_link_goes_before_it(open_: Any, report: Path) -> None:
    o = open_()
    o.filter("depth:3")
    for fragment in (f"#case={ONE}", "#q=depth:2", ""):  # a link neither needs nor changes it
        o.page.goto("about:blank")
        o.go(report.as_uri() + fragment)
    assert o.page.input_value("input[type=search]") == "depth:3"
    o.page.goto("about:blank")
    o.go(f"{report.as_uri()}#q=depth:2")
    assert o.page.input_value("input[type=search]") == "depth:2"


def test_without_storage_all_else_works(open_: Any, report: Path, chromium: Any) -> None:
    context = chromium.new_context()
    context.add_init_script(
        "for (const key of ['localStorage']) Object.defineProperty(window, key, "
        "{ get() { throw new DOMException('denied', 'SecurityError'); } });"
        "history.pushState = history.replaceState = () => { throw new Error('denied'); };"
    )
    o = Opened(context.new_page()).go(report.as_uri())
    o.filter("verdict:deviates")
    assert (o.shown, o.console) == (8, [])
    context.close()


def test_a_cell_of_the_matrix_and_a_button_narrow_the_list(open_: Any, results: Results) -> None:
    o = open_()
    o.page.click("a[href='#q=implementation:jax-cpu%20activation:leaky_relu%20depth:1']")
    o.page.wait_for_function("document.querySelector('input[type=search]').value")  # it followed
    assert o.page.input_value("input[type=search]").startswith("implementation:jax-cpu activation")
    cases = [c for c in results["cases"] if (c["activation"], c["depth"]) == ("leaky_relu", 1)]
    assert o.shown == len(cases) > 1
    assert o.page.evaluate("document.getElementById('cases').getBoundingClientRect().top < 200")
    batch = str(cases[0]["batch"])
    row = o.page.locator(".narrow dt:text-is('batch') + dd button").filter(has_text=batch).first
    row.click()
    assert o.page.input_value("input[type=search]").endswith(f" batch:{batch}")
    assert o.shown == len([c for c in cases if str(c["batch"]) == batch])


def test_a_heading_sorts_and_pages_turn(open_: Any) -> None:
    o = open_()
    o.page.get_by_role("button", name="Page →").click()
    assert o.status == "300 of 300 cases, page 2 of 6"
    o.page.get_by_role("button", name="Depth").click()
    assert o.page.get_attribute(".list th[aria-sort]", "aria-sort") == "ascending"
    depths = o.page.locator(".list tbody td:nth-child(3)").all_inner_texts()
    assert set(depths) <= {"1", "2"}


# ---- keys ----


def _focused(o: Opened) -> str:
    return o.page.evaluate("document.activeElement.textContent")


def test_the_keyboard_does_it_all(open_: Any) -> None:
    o = open_()
    press = o.page.keyboard.press
    press("/")
    assert o.page.evaluate("document.activeElement.type") == "search"
    o.page.keyboard.type("verdict:deviates jk")
    assert o.shown == 0  # in the filter, j and k are letters
    for _ in "jk ":
        press("Backspace")
    press("Escape")
    assert o.page.input_value("input[type=search]") == ""
    o.page.keyboard.type("verdict:deviates")
    press("ArrowDown")
    ids = o.page.locator(".list a.case").all_inner_texts()
    assert len(ids) == 8
    assert _focused(o) == ids[0]
    for key, at in (("j", 1), ("ArrowDown", 2), ("k", 1), ("End", 7), ("j", 7), ("Home", 0)):
        press(key)
        assert _focused(o) == ids[at], key
    assert o.page.locator(".list a.case[tabindex='0']").count() == 1  # one stop for Tab
    style = "getComputedStyle(document.activeElement).outlineStyle"
    assert o.page.evaluate(style) == "solid"
    press("j")
    press("Enter")
    o.page.wait_for_selector("dialog[open]")
    assert ids[1] in o.dialog
    press("j")
    assert ids[2] in o.dialog
    assert o.hash.startswith(f"#case={ids[2]}")
    press("Escape")
    o.page.locator(
        ".list a.case:focus", has_text=ids[2]
    ).wait_for()  # once it has said that it closed
    assert not o.page.locator("dialog[open]").count()
    assert o.console == []


def test_the_question_mark_shows_the_keys_and_they_can_be_turned_off(open_: Any) -> None:
    o = open_()
    o.page.keyboard.press("?")
    assert "the next and the previous case" in o.dialog
    o.page.uncheck("#single-keys")
    o.page.keyboard.press("Escape")
    o.page.keyboard.press("/")
    assert o.page.evaluate("document.activeElement.tagName") != "INPUT"
    o.page.get_by_role("button", name="Keys and terms").click()
    o.page.get_by_role("button", name="verdict:!conforms", exact=True).click()
    assert o.page.input_value("input[type=search]") == "verdict:!conforms"
    assert o.shown == 300  # torch-cuda did not run


def test_j_turns_the_page(open_: Any) -> None:
    o = open_()
    o.page.keyboard.press("j")
    o.page.keyboard.press("End")
    o.page.keyboard.press("j")
    assert "page 2 of 6" in o.status
    assert o.page.evaluate("document.activeElement.className") == "case"


# ---- one case ----


def test_a_deep_link_opens_the_layers_of_a_case(open_: Any) -> None:
    o = open_(f"#case={quote(ONE, safe='')}")
    shown = o.dialog
    assert "10 → 10 → 10 → 10 → 3, mish, last layer identity" in shown
    assert "refbp ✗ deviates" in shown
    assert "Looks like derivative-at-output: layer 2: δ equals" in shown
    assert "To blame, given their own operands: δ of layer 2." in shown
    assert "First deviation: δ of layer 2, step gate" in shown
    assert "0x1.764d4f5d5a2bdp-1" in shown
    assert "torch-cuda – not-run no CUDA device" in shown
    assert f"conformance show {ONE} --implementation refbp" in shown
    tables = o.page.locator("dialog table.layers")
    assert tables.count() == 3  # of the one that is open: the others are built when asked for
    assert re.search(r"2\.26 ulp \[\d, \d\]", shown)
    o.page.locator("dialog summary", has_text="torch-cpu").click()
    tables.nth(5).wait_for()  # a browser says that it opened in a task of its own
    assert tables.count() == 6
    own = o.page.locator("dialog details", has_text="torch-cpu").first.inner_text()
    value = re.search(r"got\s+(\S+)\s+(\S+)", own)
    assert value
    assert float(value[1]).hex() == value[2]  # the worst element, in decimal and in hex
    assert o.console == []


def test_an_unknown_case_is_searched_for(open_: Any) -> None:
    o = open_("#case=no-such-case%zz")
    assert o.console == []
    assert o.status == "0 of 300 cases, page 1 of 1"
    assert o.page.input_value("input[type=search]") == '"no-such-case%zz"'


@pytest.mark.parametrize("case", fast([*HOSTILE, 'line\nbreak \\ and "both"'], HOSTILE[0]))
def test_hostile_names_stay_text_in_links_filter_and_list(
    open_: Any, results: Results, tmp_path: Path, case: str
) -> None:
    path = tmp_path / "hostile.html"
    few = synthetic(8, hostile=False)
    few["cases"][3] |= {"id": case, "activation": case, "family": case, "why": case}
    for r in few["results"]:
        if r["case"].endswith("-3"):
            r["case"] = case
    for w in few["summary"]["worst"]:
        w["case"] = case if w["case"].endswith("-3") else w["case"]
    path.write_text(render(few), encoding="utf-8")
    shown = " ".join(case.replace("\ud800", "?").split())
    o = open_(f"#case={quote(case, safe='', errors='replace')}", path)
    assert shown in o.dialog
    o.page.keyboard.press("Escape")
    o.go(f"{path.as_uri()}?{filtered({'activation': case})}")
    assert o.page.locator(".problems li").count() == 0
    assert o.shown == 1
    assert o.page.locator(".list td[title]").first.get_attribute("title").split() == shown.split()
    o.filter(f"activation:{case}")
    assert not o.page.locator("img, .problems script").count()
    assert o.console == []


# ---- looks ----


def test_reads_without_the_script(open_: Any) -> None:
    o = open_(ready="main", java_script_enabled=False)
    shown = " ".join(o.page.inner_text("body").split())
    assert "The script that lists them did not run here" in shown
    assert "First deviation: δ of layer 2, step gate" in shown
    assert "leaky_relu'(0) is 1, not the slope" in shown
    assert not o.page.locator("dialog").count()


@pytest.mark.parametrize("width", fast([320, 400, 1280], 320))
def test_no_page_is_wider_than_its_window(open_: Any, width: int) -> None:
    o = open_()
    o.page.set_viewport_size({"width": width, "height": 800})
    for step in ("", "filter", "case", "help"):
        if step == "filter":
            o.filter("verdict:deviats implementation:torch-cp depth:>=2 " + "long" * 40)
        if step == "case":
            o.go(f"{o.page.url.partition('#')[0]}?#case={ONE}")
        if step == "help":
            o.page.keyboard.press("Escape")
            o.page.get_by_role("button", name="Keys and terms").click()
        wide = o.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, step


@pytest.mark.parametrize(
    ("scheme", "paper"), [("light", "rgb(251, 250, 247)"), ("dark", "rgb(21, 23, 27)")]
)
def test_is_light_or_dark_as_the_system_is(open_: Any, scheme: str, paper: str) -> None:
    o = open_(color_scheme=scheme)
    assert o.page.evaluate("getComputedStyle(document.body).backgroundColor") == paper


@pytest.mark.parametrize(
    "query", fast(["fault:sign-flipped", "known:gone", "fault:nosuch*"], "known:gone")
)
def test_what_another_run_may_have_finds_nothing_here(open_: Any, query: str) -> None:
    o = open_()
    o.filter(query)
    assert o.status.startswith("0 of 300 cases")
    assert f"{query} finds nothing: " in o.page.locator(".problems").inner_text()


def test_a_link_to_a_case_that_is_not_there_says_so(open_: Any) -> None:
    o = open_("#case=typical/no/L9")
    assert (
        "There is no case typical/no/L9 in this report" in o.page.locator(".problems").inner_text()
    )
    o = open_("#case=")
    assert o.status.startswith("300 of 300 cases")


@pytest.mark.slow
def test_paper_has_every_case_of_the_list(open_: Any) -> None:
    o = open_()
    rows = o.page.locator(".list tbody tr")
    assert rows.count() == 50
    o.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert rows.count() == 300
    o.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert rows.count() == 50
    o.page.pdf()  # a browser says so itself
    rows.nth(50).wait_for(state="detached")
    assert rows.count() == 50


def test_a_table_with_more_at_its_right_shows_a_shadow(open_: Any) -> None:
    o = open_()
    o.page.set_viewport_size({"width": 400, "height": 800})
    box = o.page.locator("#summary .scroll", has=o.page.locator("table.numbers")).first
    assert box.evaluate("e => e.scrollWidth > e.clientWidth")

    def edge() -> Any:
        """The pixels of its right edge."""
        png = box.screenshot()
        return o.page.evaluate(
            """async (bytes) => { const b = await createImageBitmap(new Blob([new Uint8Array(bytes)]));
            const c = new OffscreenCanvas(b.width, b.height).getContext("2d"); c.drawImage(b, 0, 0);
            return [...c.getImageData(b.width - 2, 3, 1, 1).data.slice(0, 3)]; }""",
            list(png),
        )

    more = edge()
    box.evaluate("e => e.scrollTo(e.scrollWidth, 0)")
    assert sum(more) < sum(edge()) - 60


def test_paper_shows_what_is_folded_and_the_open_case_alone(open_: Any) -> None:
    o = open_(f"#case={ONE}", color_scheme="dark")
    pdf = o.page.pdf()
    assert pdf.startswith(b"%PDF")
    assert o.page.locator("dialog table.layers").count() == 9  # filled for paper
    o.page.emulate_media(media="print")
    assert not o.page.locator("main").is_visible()
    assert o.page.locator("#case-heading").is_visible()
    o.page.evaluate("document.querySelector('dialog').close()")
    assert o.page.locator("main").is_visible()
    assert not o.page.locator("nav").is_visible()
    assert not o.page.get_by_role("button", name="Clear").is_visible()
    folded = o.page.locator("#summary details table")
    assert folded.bounding_box()["height"] > 20
    assert (
        o.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    )


AXE = """axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    resultTypes: ["violations"],
}).then((r) => r.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join()}`))"""


def _axe() -> str:
    spec = find_spec("axe_playwright_python")
    assert spec
    folder = next(iter(spec.submodule_search_locations or ()))
    return (Path(folder) / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("axe_playwright_python"), reason="no axe: pip install '.[dev]'")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(open_: Any, tmp_path: Path, scheme: str) -> None:
    path, few = tmp_path / "few.html", synthetic(40)
    for at, ratio in enumerate((2.5, 70.0, 2e4, "nan")):
        _deviate(few["results"][at + 2], at, ratio)
    path.write_text(render(few), encoding="utf-8")
    o = open_("", path, color_scheme=scheme)
    o.page.set_viewport_size(
        {"width": 1280, "height": 4000}
    )  # of what is cut off it sees no colour
    o.page.evaluate(_axe())
    o.filter("verdict:deviats")
    assert o.page.evaluate(AXE) == []
    o.filter("verdict:deviates")
    o.page.keyboard.press("Enter")
    o.page.keyboard.press("Enter")
    o.page.wait_for_selector("dialog[open]")
    assert o.page.evaluate(AXE) == []
    if scheme == "light":
        o.page.keyboard.press("Escape")
        o.page.get_by_role("button", name="Keys and terms").click()
        assert o.page.evaluate(AXE) == []


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("axe_playwright_python"), reason="no axe: pip install '.[dev]'")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_a_diff(open_: Any, tmp_path: Path, scheme: str) -> None:
    old, new = synthetic(12), synthetic(12)
    for r in new["results"][2:9]:
        r |= {"verdict": "deviates", "message": HOSTILE[0] * 20}
    new["implementations"][0]["device"] = "another"
    new["known_differences"].pop()
    del new["cases"][-1], new["results"][-1]
    path = tmp_path / "diff.html"
    path.write_text(render_diff(compare(old, new)), encoding="utf-8")
    o = open_("", path, ready="main", color_scheme=scheme)
    assert o.requests == [path.as_uri()]
    o.page.evaluate(_axe())
    assert o.page.evaluate(AXE) == []
    o.page.set_viewport_size({"width": 400, "height": 800})
    assert o.page.evaluate("document.documentElement.scrollWidth") <= 400
    assert o.console == []


# ---- large, and in a folder ----

BUDGET = {"bytes": 5_000_000, "list": 3.0, "filter": 1.0}
"""Seconds that the page's thread works, whatever the clock says: the machine may be busy. The list takes
0.9, a filter 0.2."""


@pytest.mark.slow
@pytest.mark.zoo  # without coverage
def test_ten_thousand_cases_open_at_once(open_: Any, tmp_path: Path) -> None:
    """And the first screen does not wait for the list."""
    path = tmp_path / "many.html"
    path.write_text(render(many(10_000)), encoding="utf-8")
    assert path.stat().st_size <= BUDGET["bytes"]
    o = open_()
    session = o.page.context.new_cdp_session(o.page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def worked() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return float(next(m["value"] for m in metrics if m["name"] == "TaskDuration"))

    def after(mark: str) -> float:
        at = o.page.evaluate(f"performance.getEntriesByName('{mark}')[0].startTime")
        return float(at) / 1000

    o.go(path.as_uri())
    listing = worked()
    first, listed = after("first-contentful-paint"), after("conformance-listed")
    o.filter("gate:step layer:>3 ratio:>0.5")
    filtering = worked() - listing
    print(
        f"\n{path.stat().st_size:,} bytes; first screen after {first:.2f} s, list after {listed:.2f} s "
        f"({listing:.2f} s of work); a filter takes {filtering:.2f} s of work"
    )
    assert first < listed
    assert 0 < listing <= BUDGET["list"]
    assert 0 < filtering <= BUDGET["filter"]
    assert 0 < o.shown < 10_000
    o.page.keyboard.press("Enter")
    o.page.keyboard.press("Enter")
    o.page.wait_for_selector("dialog[open]")
    assert o.console == []


class Strict(SimpleHTTPRequestHandler):
    """A server that forbids inline script and style."""

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", "default-src 'self'")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_a_folder_works_under_a_strict_policy(open_: Any, tmp_path: Path, scheme: str) -> None:
    for name, text in render_files(synthetic(30)).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    index = tmp_path / "index.html"
    o = open_("#q=verdict:conforms", index)
    if scheme == "http":
        with ThreadingHTTPServer(("127.0.0.1", 0), partial(Strict, directory=tmp_path)) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            o.go(f"http://127.0.0.1:{server.server_port}/#q=verdict:conforms")
            server.shutdown()
    assert (
        o.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(251, 250, 247)"
    )
    assert o.shown == 30
    assert o.console == []
    assert all(r.startswith(("file:", "http://127.0.0.1")) for r in o.requests)
