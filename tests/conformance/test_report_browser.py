"""The report in a real browser, from file://, with the script and without."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from urllib.parse import quote

import pytest
from test_report import HOSTILE, synthetic

from conformance.report import render
from conformance.results import Results

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), ""
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium on the PATH"),
]
LIGHT, DARK = 1, 0


@pytest.fixture(scope="module")
def results() -> Results:
    return synthetic(300)


@pytest.fixture(scope="module")
def html(results: Results) -> str:
    return render(results)


class Browser:
    """Opens a page and gives the DOM that its scripts leave, and what went to the console."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, html: str, fragment: str = "", then: str = "", scheme: int = LIGHT) -> str:
        """The DOM of `html` at `fragment`, once `then` has run after a second."""
        page = self.folder / "report.html"
        late = f"<script>setTimeout(() => {{ {then} }}, 1000)</script>" if then else ""
        page.write_text(html.replace("</body>", f"{late}</body>"), encoding="utf-8")
        return self.open(f"{page.as_uri()}{fragment}", scheme)

    def open(self, address: str, scheme: int = LIGHT) -> str:
        options = [
            "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update",
            "--enable-logging=stderr", "--virtual-time-budget=5000", "--window-size=1280,900",
            f"--blink-settings=preferredColorScheme={scheme}",
            f"--user-data-dir={self.folder / 'profile'}", "--dump-dom", address,
        ]  # fmt: skip
        done = subprocess.run(
            [CHROMIUM, *options], capture_output=True, text=True, encoding="utf-8", timeout=120
        )
        self.console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        return done.stdout


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    return Browser(tmp_path)


def text(dom: str) -> str:
    """The text that a DOM shows."""
    bare = re.sub(r"<(script|style)\b.*?</\1>", "", dom, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", "", bare)).split())


def dialog(dom: str) -> str:
    found = re.search(r"<dialog[^>]* open=.*?</dialog>", dom, re.S)
    assert found, "no case is open"
    return text(found[0])


def test_lists_a_page_of_cases_and_not_all(browser: Browser, html: str) -> None:
    dom = browser(html)
    assert browser.console == []
    assert "300 of 300 cases, page 1 of 6" in text(dom)
    assert dom.count('<a class="case" href="#case=') < 120
    assert "did not run here" not in dom
    assert "<dialog" in dom
    assert not re.search(r"<dialog[^>]* open", dom)


def test_a_deep_link_opens_the_layers_of_a_case(browser: Browser, html: str) -> None:
    dom = browser(html, f"#case={quote('typical-mish-4x10-float64-b7-82', safe='')}")
    assert browser.console == []
    shown = dialog(dom)
    assert "typical-mish-4x10-float64-b7-82" in shown
    assert "10 → 10 → 10 → 10 → 3, mish, last layer identity" in shown
    assert "refbp ✗ deviates" in shown
    assert "First deviation: δ of layer 2, step gate" in shown
    assert "0x1.764d4dc1f2d0bp-1" in shown
    assert "torch-cuda – not-run no CUDA device" in shown
    assert dom.count('<table class="layers">') == 9  # three gates of those three that ran
    assert "step layerAZδ∂L/∂Wnew Wloss1" in shown.replace("steplayer", "step layer")
    assert re.search(r"2\.26 ulp", shown)


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_case_is_shown_as_text(browser: Browser, html: str, case: str) -> None:
    case = case.replace("\ud800", "?")
    dom = browser(html, f"#case={quote(case, safe='')}")
    assert browser.console == []
    assert " ".join(case.split()) in dialog(dom)
    assert "<img" not in dom
    assert "<script>alert" not in dom


def test_an_unknown_case_is_searched_for(browser: Browser, html: str) -> None:
    dom = browser(html, "#case=no-such-case%zz")
    assert browser.console == []
    assert "0 of 300 cases, page 1 of 1" in text(dom)


def test_filters_sorts_and_turns_pages(browser: Browser, html: str, results: Results) -> None:
    dom = browser(
        html,
        then="""
        const [next] = [...document.querySelectorAll('.pages button')].slice(1);
        next.click();
        document.title = document.querySelector('[role=status]').textContent;
        const input = document.querySelector('input[type=search]');
        input.value = 'TYPICAL float32';
        input.dispatchEvent(new Event('input'));
        const [verdict, of] = document.querySelectorAll('.filters select');
        of.value = 'refbp'; verdict.value = 'deviates';
        verdict.dispatchEvent(new Event('change'));
        const buttons = [...document.querySelectorAll('.list th button')];
        buttons.find((b) => b.textContent === 'Ratio').click();
        """,
    )
    assert browser.console == []
    assert "<title>300 of 300 cases, page 2 of 6</title>" in dom
    float32 = {c["id"] for c in results["cases"] if c["dtype"] == "float32"}
    found = [
        r["case"]
        for r in results["results"]
        if (r["implementation"], r["verdict"]) == ("refbp", "deviates")
        and r["case"] in float32
        and r["case"].startswith("typical")
    ]
    assert found
    assert f"{len(found)} of 300 cases, page 1 of 1" in text(dom)
    assert 'aria-sort="ascending"' in dom


def test_j_steps_to_the_next_case_and_escape_closes(browser: Browser, html: str) -> None:
    press = "document.dispatchEvent(new KeyboardEvent('keydown', {key: 'j'}));"
    dom = browser(html, "#case=typical-relu-1x9-float64-b7-1", then=press)
    assert "typical-leaky_relu-1x10-float64-b32-2" in dialog(dom)
    close = "document.querySelector('dialog').close();"
    dom = browser(html, "#case=typical-relu-1x9-float64-b7-1", then=close)
    assert not re.search(r"<dialog[^>]* open", dom)
    assert browser.console == []


def test_reads_where_a_policy_stops_the_script(browser: Browser, html: str) -> None:
    policy = '<meta http-equiv="Content-Security-Policy" content="script-src \'none\'">'
    dom = browser(html.replace('<meta charset="utf-8">', f'<meta charset="utf-8">{policy}'))
    assert "<dialog" not in dom
    shown = text(dom)
    assert "The script that lists them did not run here" in shown
    assert "First deviation: δ of layer 2, step gate" in shown
    assert "leaky_relu'(0) is 1, not the slope" in shown


@pytest.mark.parametrize("width", [320, 400, 1280])
@pytest.mark.parametrize("fragment", ["", "#case=typical-mish-4x10-float64-b7-82"])
def test_no_page_is_wider_than_its_window(
    browser: Browser, html: str, width: int, fragment: str
) -> None:
    """Measured in a frame: a window of Chromium itself is never narrower than 500 pixels."""
    measure = """
    const e = document.documentElement, open = document.querySelector('dialog').open;
    parent.postMessage(`${e.scrollWidth} in ${e.clientWidth}, ${open}`, '*');
    """
    late = f"<script>setTimeout(() => {{ {measure} }}, 1000)</script>"
    (browser.folder / "framed.html").write_text(html.replace("</body>", late), encoding="utf-8")
    frame = browser.folder / "frame.html"
    frame.write_text(
        f'<iframe src="framed.html{fragment}" style="width: {width}px; height: 800px"></iframe>'
        "<p></p><script>onmessage = (e) => document.querySelector('p').append(e.data)</script>"
    )
    found = re.search(r"<p>(\d+) in (\d+), (\w+)</p>", browser.open(frame.as_uri()))
    assert found
    assert int(found[1]) <= int(found[2]) <= width
    assert found[3] == ("true" if fragment else "false")


def test_is_light_or_dark_as_the_system_is(browser: Browser, html: str) -> None:
    look = "document.title = getComputedStyle(document.body).backgroundColor;"
    assert "<title>rgb(251, 250, 247)</title>" in browser(html, then=look, scheme=LIGHT)
    assert "<title>rgb(21, 23, 27)</title>" in browser(html, then=look, scheme=DARK)
