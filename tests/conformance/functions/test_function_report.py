"""The page of a function: one small, safe, readable file, whatever the results hold."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conformance import assert_function_conforms
from conformance.commands.function import check
from conformance.commands.function.report import SECTIONS, render
from conformance.commands.function.screen import describe
from conformance.commands.function.specified import command_of
from conformance.commands.main import main

HOSTILE = (
    "<script>alert(1)</script>",
    "</style></title><img src=x onerror=alert(2)>",
    "abc \u202etxt.exe \u2066 right \u200f to left",
    "]]><!-- {{ 7*7 }} {% raw %} \ud800 \x00 \x1b[31m",
)
NORMS = """import numpy as np


def rms_norm(x, g, eps=1e-5):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * g


def rms_norm_vjp(dy, x, g, eps=1e-5):
    k = 1 / np.sqrt((x**2).mean(-1, keepdims=True) + x.dtype.type(eps))
    h = dy * g
    return h * k, (dy * x * k).sum(0)
"""


def _judged(quantity: str, family: str, verdict: str = "conforms", **more: Any) -> dict[str, Any]:
    worst = {
        "index": [1, 2], "got": 0.25, "got_hex": (0.25).hex(), "expected": -0.125,
        "expected_hex": (-0.125).hex(), "error": 0.375, "tolerance": 1e-16,
        "ratio": 0.3 if verdict == "conforms" else 3.75e15, "ulps": 1.5,
    }  # fmt: skip
    return {
        "quantity": quantity, "kind": "output" if quantity == "y" else "gradient", "family": family,
        "cotangent": "random", "shape": [16, 32], "dtype": "float64", "verdict": verdict,
        "reason": "", "wrong": 512 if verdict == "deviates" else 0, "blind": 0, "worst": worst,
    } | more  # fmt: skip


def synthetic(**changes: Any) -> Any:
    """Results with everything in them, and names that attack."""
    return {
        "format": 1, "function": "norms.py:vjp", "reference": "norms.py:rms_norm",
        "dtype": "float32", "precision": {"storage": "float32", "accumulate": "float64"},
        "inputs": {"x": "16x32", "ids": "16:int<100"}, "wrt": [],
        "families": [
            {"name": "ordinary", "why": "normal numbers", "status": "judged", "reason": ""},
            {"name": "zeros", "why": "0/0", "status": "error", "reason": HOSTILE[0]},
            {"name": "batch-1", "why": "one row", "status": "not there", "reason": HOSTILE[1]},
        ],
        "judged": [
            _judged("y", "ordinary"), _judged("∂x", "ordinary", "deviates", reason=HOSTILE[2]),
            _judged("∂x", "ordinary", "inaccurate", cotangent="ones"),
            _judged("∂g", "ordinary", "not-run", dtype="", worst=None),
            _judged("∂h", "ordinary", "deviates", worst=None, reason="it has shape (3,)"),
            _judged("∂b", "large", "undecided", worst={
                "index": [], "got": "nan", "got_hex": "nan", "expected": "-inf", "expected_hex": "-inf",
                "error": "inf", "tolerance": 0.0, "ratio": "inf", "ulps": "inf"}),
            _judged(HOSTILE[3], HOSTILE[1], "error"),
        ],
        "findings": [{"kind": "note", "text": HOSTILE[0]}],
        "unseen": [{"quantity": "∂x", "mistakes": ["times 1.001", HOSTILE[1]]}],
        "sees": {"y": 1e-6, "∂x": "inf"}, "straddling": 1234, "mistake": HOSTILE[2],
        "advice": f"Look at what {HOSTILE[3]} hands back.", "verdict": "deviates", "exit_code": 1,
        "message": "∂x is wrong on 3 of 16 sets of data.", "allclose": "rtol=0.01, atol=0.001",
        "audit": [{"quantity": "∂x", "planted": 13, "through": ["zeros", HOSTILE[0]], "ours": [],
                   "accused": 3, "right": 32, "absolute": 1e-6, "relative": 4e-7}],
        "command": f"conformance function '{HOSTILE[1]}' --inputs x=16x32",
    } | changes  # fmt: skip


@pytest.fixture(scope="module")
def html() -> str:
    return render(synthetic())


def test_begins_with_the_finding_and_its_command(html: str) -> None:
    text = " ".join(re.sub(r"<[^>]+>", " ", html.partition("<main")[2]).split())
    assert text.index("∂x is wrong on 3 of 16 sets of data.") < 100
    assert text.index("See it again: conformance function") < 200


def test_has_every_section_that_there_is_something_for(html: str) -> None:
    assert re.findall(r'<section id="(\w+)"', html) == list(SECTIONS)
    right = synthetic(
        judged=[_judged("y", "ordinary")], findings=[], allclose="", audit=[], command="", mistake="",
        verdict="conforms", unseen=[], straddling=0,
    )  # fmt: skip
    page = render(right)
    assert re.findall(r'<section id="(\w+)"', page) == [
        "summary",
        "data",
        "sees",
        "nottried",
        "how",
    ]
    assert "See it again" not in page
    assert "no kink and no tie" in page
    assert "smaller than their tolerance" not in page
    few = render({**right, "judged": [_judged("y", "ordinary", blind=b) for b in (1, 7, 2)]})
    assert "7 elements of <bdi>y</bdi> on <bdi>ordinary</bdi> data are smaller" in few


def test_shows_the_worst_element_in_full(html: str) -> None:
    for part in (
        "0x1.0000000000000p-2",
        "-0x1.0000000000000p-3",
        "[1, 2]",
        "1.50 ulp",
        "512 are wrong",
    ):
        assert part in html


def test_nothing_is_fetched_and_nothing_runs(html: str) -> None:
    assert not re.search("<script|<img", html)
    assert "default-src 'none'; style-src 'unsafe-inline'" in html
    assert not re.search(r'(?:src|href)="(?!#|data:,)', html)
    for hidden in "\u202e\u2066\u200f\x00\x1b\ud800":
        assert hidden not in html


def test_the_same_results_make_the_same_bytes(html: str) -> None:
    assert render(json.loads(json.dumps(synthetic()))) == html


def test_the_screen_tells_the_audit() -> None:
    text = describe(synthetic())
    assert "allclose(rtol=0.01, atol=0.001) on the certified gradients, ordinary data:" in text
    assert "lets 2 of 13 planted mistakes through (ours 0), and fails 3 of 32 right" in text


def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results that any JSON parser reads, a page of them, and the command that asks again."""
    monkeypatch.chdir(tmp_path)
    Path("norms.py").write_text(NORMS, encoding="utf-8")
    words = [
        "norms.py:rms_norm", "--vjp", "norms.py:rms_norm_vjp", "--inputs", "x=16x32, g=32",
        "--families", "ordinary,zeros", "--allclose", "rtol=1e-2,atol=1e-3",
    ]  # fmt: skip
    done = CliRunner().invoke(main, ["function", *words, "--json", "f.json", "--report", "f.html"])
    assert done.exit_code == 1, done.output
    text = Path("f.json").read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert Path("f.html").read_text(encoding="utf-8") == render(found)
    assert found["command"] == (
        "conformance function norms.py:rms_norm --vjp norms.py:rms_norm_vjp --inputs 'x=16x32, g=32' "
        "--families ordinary,zeros --allclose rtol=1e-2,atol=1e-3"
    )
    assert found["message"].startswith("∂x is wrong on 3 of 5 sets of data: the term through")
    assert [a["quantity"] for a in found["audit"]] == ["∂g", "∂x"]
    assert "lets 3 of 13 planted mistakes through (ours 0)" in done.output


def test_a_report_does_not_replace_the_file_under_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("norms.py").write_text(NORMS, encoding="utf-8")
    words = ["function", "norms.py:rms_norm", "--vjp", "norms.py:rms_norm_vjp", "--inputs", "x=4x4"]
    done = CliRunner().invoke(main, [*words, "--json", "norms.py"])
    assert done.exit_code == 2
    assert "cannot write norms.py: it is the file under test." in done.output
    assert Path("norms.py").read_text(encoding="utf-8") == NORMS


def test_the_command_says_what_was_asked() -> None:
    spec = check.specification(
        framework="torch", function="k.py:Fused", reference="k.py:plain", inputs="x=4x4, s=scalar",
        params={"eps": 1e-6}, wrt=["x"], takes="saves", dtype="bfloat16", compute="float32", tf32=True,
    )  # fmt: skip
    assert command_of(spec) == (
        "conformance function --torch k.py:Fused --reference k.py:plain --inputs 'x=4x4, s=scalar' "
        "--param eps=1e-06 --wrt x --takes saves --dtype bfloat16 --compute float32 --tf32"
    )


def test_what_a_test_checked_is_kept_for_the_plugin() -> None:
    before = len(check.checked)
    assert_function_conforms(
        lambda x: x * x, vjp=lambda dy, x: 2 * x * dy, inputs="x=3x4", families=["ordinary"]
    )
    assert [c["verdict"] for c in check.checked[before:]] == ["conforms"]
    assert render(check.checked.pop()).count("<section") == 5


def test_the_plugin_writes_a_page_for_each(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "import pytest\nfrom conformance import assert_function_conforms\n\n\n"
        "@pytest.mark.conformance\n@pytest.mark.parametrize('factor', [2, 3])\n"
        "def test_square(factor):\n"
        "    assert_function_conforms(lambda x: x * x, vjp=lambda dy, x: factor * x * dy,\n"
        "                             inputs='x=3x4', families=['ordinary'])\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers"]
    done = subprocess.run(
        [*command, "--conformance-report", "out", "--rootdir", "."],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 1 passed" in done.stdout
    assert "E       AssertionError: deviates: " in done.stdout
    written = sorted((tmp_path / "out").iterdir())
    assert [p.suffix for p in written] == [".html", ".json"] * 2
    assert [json.loads(p.read_text())["verdict"] for p in written[1::2]] == ["conforms", "deviates"]


# ---- in a browser ----

AXE = """axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]})
.then((r) => r.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join()}`))"""


@pytest.fixture
def page(chromium: Any, html: str, tmp_path: Path) -> Iterator[Any]:
    """Opens the page so wide and so light; what it says on the console fails the test."""
    path = tmp_path / "function.html"
    path.write_text(html, encoding="utf-8")
    said: list[str] = []
    pages: list[Any] = []

    def opening(width: int, scheme: str) -> Any:
        pages.append(
            chromium.new_page(viewport={"width": width, "height": 4000}, color_scheme=scheme)
        )
        pages[-1].on("console", lambda m: said.append(m.text))
        pages[-1].on("pageerror", lambda e: said.append(str(e)))
        pages[-1].on("request", lambda r: said.append(r.url) if r.url != path.as_uri() else None)
        pages[-1].goto(path.as_uri())
        return pages[-1]

    yield opening
    for opened in pages:
        opened.close()
    assert [s for s in said if not s.startswith("data:")] == []


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_fits_its_window_and_axe_finds_nothing(page: Any, width: int, scheme: str) -> None:
    p = page(width, scheme)
    assert p.evaluate("document.documentElement.scrollWidth") <= width
    paper = p.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(251, 250, 247)", "dark": "rgb(21, 23, 27)"}[scheme]
    spec = find_spec("axe_playwright_python")
    if spec is None:
        pytest.skip("no axe: pip install '.[dev]'")
    folder = next(iter(spec.submodule_search_locations or ()))
    p.evaluate((Path(folder) / "axe.min.js").read_text(encoding="utf-8"))
    assert p.evaluate(AXE) == []


@pytest.mark.browser
def test_paper_has_no_list_of_sections(page: Any) -> None:
    p = page(1280, "light")
    p.emulate_media(media="print")
    assert not p.locator("nav").is_visible()
    assert p.locator("#data table").first.is_visible()
