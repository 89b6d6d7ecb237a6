"""The report of an activation is one small, safe, readable and reproducible page, whatever the check holds."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from conformance.commands.activation import plots
from conformance.commands.activation.report import CARDS, PRINTED, SECTIONS, TAGS, render
from conformance.report.svg import LinearAxis, SymLogAxis, marks

HOSTILE = (
    "<script>alert(1)</script>",
    "</style></title><img src=x onerror=alert(2)>",
    "\"quotes\" and 'apostrophes' & ampersands",
    "abc \u202etxt.exe \u2066 right \u200f to left",
    "]]><!-- {{ 7*7 }} {% raw %} `x` \ud800 \x00 \x1b[31m",
)

# ---- a check that never was ----


def _finding(**more: Any) -> dict[str, Any]:
    return {
        "kind": "wrong-derivative", "severity": "error", "title": "wrong derivative", "of": "σ'",
        "dtype": "float64, float32", "x": 1.5103092783505154, "got": "1.0884539407364289",
        "expected": "1.0884539407353404", "digits": 12.0, "count": 1272, "points": 1469,
        "where": "-39.6478 ≤ x ≤ 2.0317e+291", "looks_like": "the derivative times 1 + 1.0e-12",
        "explanation": "It differs.", "remedy": "Derive it again.",
        "reproduce": "import numpy as np; print(np.array(['it', \"is\"]))",
    } | more  # fmt: skip


def _way(way: str, dtype: str, of: str, **more: Any) -> dict[str, Any]:
    return {
        "way": way, "dtype": dtype, "of": of, "verdict": "right", "points": 1469, "beyond": 0,
        "undecided": 0, "worst_x": 1.5, "got": 0.25, "expected": 0.2500000001, "ratio": 0.3,
        "ulps": 2.0, "digits": 15.1,
    } | more  # fmt: skip


def _kink(at: Any = 0.0, **more: Any) -> dict[str, Any]:
    return {
        "at": at, "exact": True, "kind": "kink", "of": "σ", "left": 0.0, "right": 1.0,
        "left_value": 0.0, "right_value": 0.0, "stated": None,
        "says": {"σ'": 0.5, "torch": 0.0, "jax": 2.0},
        "within": {"σ'": True, "torch": True, "jax": False},
    } | more  # fmt: skip


def _network(implementation: str, depth: int, **more: Any) -> dict[str, Any]:
    return {
        "case": f"typical/own/L{depth}/n7/float64", "implementation": implementation,
        "dtype": "float64", "depth": depth, "batch": 7, "verdict": "conforms", "message": "",
        "ratio": 0.6876, "gates": ["step"], "records": 39,
    } | more  # fmt: skip


XS = sorted(
    {s * 10.0**e for e in range(-300, 301, 10) for s in (1, -1)}
    | {i / 16 for i in range(-400, 401)}
)


def _series(way: str, dtype: str, of: str) -> dict[str, Any]:
    """relu, but σ' is 0.7 beyond 5, and torch's NaN beyond 100."""
    xs = [x for x in XS if dtype == "float64" or abs(x) < 3e38]
    truth = [max(x, 0.0) if of == "value" else float(x > 0) for x in xs]
    y: list[Any] = list(truth)
    ulps: list[Any] = [0.25 if t else 0.0 for t in truth]
    if way == "σ'":
        y = [0.7 if x > 5 else t for x, t in zip(xs, y, strict=True)]
        ulps = [1e15 if x > 5 else u for x, u in zip(xs, ulps, strict=True)]
    if way == "torch":
        y = ["nan" if x > 100 else t for x, t in zip(xs, y, strict=True)]
        ulps = ["inf" if x > 100 else u for x, u in zip(xs, ulps, strict=True)]
    allowed: list[Any] = [("inf" if x < -1e200 else 4.0) if way[0] == "σ" else 0.0 for x in xs]
    return {"way": way, "dtype": dtype, "of": of, "x": xs, "y": y, "ulps": ulps, "allowed": allowed}


def synthetic(**changes: Any) -> Any:
    """A check with everything in it: errors of each kind, kinks, networks, names that attack."""
    ways = {"value": ("certified", "σ", "torch"), "derivative": ("certified", "σ'", "torch")}
    return {
        "schema_version": 1, "name": "leaky", "verdict": "wrong", "exit_code": 1,
        "message": "σ': wrong derivative at x = 1.51.", "strict": False,
        "given": {"sigma": "act.py:leaky", "derivative": "act.py:prime", "jax": "act.py:of_jax"},
        "domain": [-1.7976931348623157e308, 1.7976931348623157e308],
        "kinks_stated": {"0": 0.5},
        "findings": [
            _finding(),
            _finding(kind="network", title="wrong in a network", x=None, digits=None, looks_like="",
                     got="δ_1[36, 2] is wrong", expected="a pass that conforms", where="typical/own",
                     count=8, points=16, reproduce=""),
            _finding(severity="warning", title="overflow", got="nan", expected="1", digits=0.0, x="-inf"),
            _finding(severity="note", title=HOSTILE[0], of=HOSTILE[3], dtype=HOSTILE[2], got=HOSTILE[4],
                     expected=HOSTILE[1], where=HOSTILE[0], looks_like=HOSTILE[1],
                     explanation=HOSTILE[2], remedy=HOSTILE[3], reproduce=HOSTILE[1]),
        ],
        "ways": [
            _way("σ", "float64", "value"),
            _way("σ'", "float64", "derivative", verdict="wrong", got=1.0884539407364289,
                 expected=1.0884539407353404, ratio=257.0, digits=12.0, beyond=1272),
            _way("torch", "float32", "derivative", verdict="overflows", worst_x="inf", got="nan",
                 expected="-inf", ratio="inf", digits=0.0, undecided=3),
            _way(HOSTILE[1], HOSTILE[0], "derivative", verdict=HOSTILE[2], worst_x=None, digits=None),
            _way("jax", "float64", "derivative", digits=17.0),
        ],
        "kinks": [_kink(), _kink(2.5, kind="jump", exact=False, left_value=-1.0, right_value="inf"),
                  _kink(7.0, of="σ'", kind="jump of σ'", left="nan", right="nan", says={}, within={})],
        "networks": [_network("refbp", 1), _network("refbp", 16, verdict="deviates", ratio="inf",
                     message=HOSTILE[0]), _network("jax-cpu", 2, verdict="undecided", ratio="nan")],
        "not_run": [{"way": "torch bfloat16", "why": HOSTILE[3]},
                    {"way": "numpy", "why": "networks in float32: they would mix dtypes."}],
        "unsupported": {"σ'": f"np.jv cannot be evaluated: {HOSTILE[0]}"},
        "points": {"float64": 1469, "float32": 1603, "bfloat16": 0},
        "series": [_series(way, d, of) for d in ("float64", "float32") for of, ws in ways.items()
                   for way in ws],
        "printed": {"numpy": "\n".join(HOSTILE), "torch": "x" * (PRINTED + 7)},
        "environment": {"python": "3.11.2", "nothing": None, "packages": {"numpy": HOSTILE[0]}},
    } | changes  # fmt: skip


def bare(**changes: Any) -> Any:
    """A check of which nothing came."""
    nothing: dict[str, Any] = {
        key: type(value)() for key, value in synthetic().items() if isinstance(value, list | dict)
    }
    nothing["domain"] = [-1.7976931348623157e308, 1.7976931348623157e308]
    return (
        synthetic(**nothing) | {"verdict": "not judged", "exit_code": 2, "message": "?"} | changes
    )


@pytest.fixture(scope="module")
def html() -> str:
    return render(synthetic())


# ---- what a reader sees ----

VOID = {"meta", "link", "br", "img", "input"}


class Page(HTMLParser):
    """The text of a page, its elements, and whether every element is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.within: dict[str, list[str]] = {}
        self.feed(html)
        self.close()
        self.wrong += [f"<{tag}> is not closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> closes something else, at {self.getpos()}")
        if tag in {"td", "th", "li", "dt", "dd"}:
            self.texts.append(" ")

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)
            for tag in set(self.open):
                self.within.setdefault(tag, []).append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_is_well_formed(page: Page) -> None:
    assert page.wrong == []
    ids = Counter(a["id"] for _, a in page.elements if "id" in a)
    assert [i for i, n in ids.items() if n > 1] == []
    for _, a in page.elements:
        if (a.get("href") or "").startswith("#"):
            assert (a["href"] or "")[1:] in ids
        assert set((a.get("aria-labelledby") or "").split()) <= set(ids)


def test_has_every_section_in_order(page: Page) -> None:
    sections = {id: title for id, title in SECTIONS.items() if id != "gradients"}  # of parameters
    assert [a["id"] for tag, a in page.elements if tag == "section"] == list(sections)
    headings = [" ".join(t.split()) for t in page.within["h2"]]
    assert headings == list(sections.values())[1:]
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize(
    "said",
    [
        "✗ Wrong σ': wrong derivative at x = 1.51.",
        "σ act.py:leaky σ' act.py:prime JAX version act.py:of_jax Judged on the whole line of floats",
        "Kinks stated σ'(0) = 0.5 Points 1,469 of float64, 1,603 of float32 Warnings leave the verdict",
        "Certified means",
        "Digits right counts",
        "✗ error σ': wrong derivative float64, float32 at x 1.5103092783505154 got 1.0884539407364289",
        "digits right 12 of about 16 where 1,272 of 1,469 points, -39.6478 ≤ x ≤ 2.0317e+291",
        "looks like the derivative times 1 + 1.0e-12 It differs. What to do: Derive it again.",
        "in Python: import numpy as np; print(np.array(['it', \"is\"]))",
        "where 8 of 16 networks, typical/own",
        "! warning σ': overflow float64, float32 at x −∞ got NaN expected 1 digits right 0 of about 16",
        "units in the last place",
        "The band is what rounding",
        "σ'hand-written float64 ✗ wrong 1.5 1.08845394073642891.0884539407353404 257 12 1,272 of 1,469",
        "torchits autodiff of σ float32 ! overflows ∞ NaN−∞ ∞ 0 0 of 1,4693 uncertified",
        "jaxyour own version float64 ✓ right",
        "0.0exactly kink 0 1.00 0 0 0.500 ✓ 0 ✓ 2.00 ✗ –",
        "2.5between two floats jump 0 1.00 −1.00 ∞",
        "refbp float64 0.688 · ∞ ✗",
        "jax-cpu float64 · NaN ? ·",
        "2 of 3 do not conform: what each says",
        "Not run: numpy: networks in float32: they would mix dtypes.",
        "torch bfloat16 – not run",
        "Cut here: 7 more characters.",
        "python 3.11.2",
    ],
)
def test_reads(page: Page, said: str) -> None:
    assert said in page.text


@pytest.mark.parametrize(("verdict", "sign"), [("right", "✓"), ("wrong", "✗"), ("not judged", "?")])
def test_the_verdict_is_a_word_and_a_sign(verdict: str, sign: str) -> None:
    for check in (synthetic(verdict=verdict), bare(verdict=verdict)):
        page = Page(render(check))
        assert page.wrong == []
        assert "".join(page.within["h1"]).split() == [sign, *verdict.capitalize().split()]
        assert any(t.startswith(f"{sign} {verdict}") for t in page.within["title"])


def test_signs_tell_severities_and_verdicts_apart() -> None:
    for words in (
        ("error", "inaccurate", "warning", "note"),
        ("right", "inaccurate", "wrong", "tail", "not judged"),
    ):
        assert len({TAGS[word].sign for word in words}) == len(words)


def test_digits_that_differ_are_marked(html: str) -> None:
    assert "1.08845394073<b>64289</b>" in html
    assert "1.08845394073<b>53404</b>" in html


def test_tables_have_captions_and_headers_their_scope(page: Page) -> None:
    tags = Counter(tag for tag, _ in page.elements)
    assert tags["caption"] == tags["table"] == 6
    assert all(a.get("scope") for tag, a in page.elements if tag == "th")


def test_too_many_findings_and_branch_points_are_counted() -> None:
    check = synthetic(
        findings=[_finding()] * (CARDS + 3), kinks=[_kink(float(i)) for i in range(240)]
    )
    page = Page(render(check))
    assert "And 3 more, in the JSON file" in page.text
    assert "And 40 more, in the JSON file" in page.text


@pytest.mark.parametrize(
    ("domain", "said"),
    [
        ([0.5, 4.0], "0.5 ≤ x ≤ 4"),
        ([0.0, 1.7976931348623157e308], "x ≥ 0"),
        ([-1.79e308, 2.0], "x ≤ 2"),
    ],
)
def test_the_domain_in_words(domain: list[float], said: str) -> None:
    assert f"Judged on {said}" in Page(render(synthetic(domain=domain))).text


def test_strict_is_said() -> None:
    assert "make the verdict wrong (--strict)" in Page(render(synthetic(strict=True))).text


# ---- a check with nothing in it ----


def test_nothing_at_all() -> None:
    page = Page(render(bare()))
    assert page.wrong == []
    for said in (
        "None: nothing is wrong, and there is nothing to warn of as far as it was judged.",
        "Nothing was certified, so there is nothing to draw.",
        "No way was compared.",
        "None ran. Networks need σ and σ'",
        "Everything that was asked for ran",
        "What the code printed Nothing.",
        "Points none",
    ):
        assert said in page.text, said
    assert not [tag for tag, a in page.elements if tag == "svg"]


def test_no_kinks() -> None:
    assert "σ is differentiable on all of its domain" in Page(render(synthetic(kinks=[]))).text
    many = synthetic(kinks=[], findings=[_finding(kind="many-branches")])
    assert "Too many to examine" in Page(render(many)).text


# ---- safe, alone, the same every time ----


@pytest.mark.parametrize("key", ["name", "message", "verdict"])
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_escaped(key: str, text: str) -> None:
    html = render(synthetic(**{key: text}))
    page = Page(html)
    assert page.wrong == []
    assert "<script" not in html
    assert "<img" not in html
    assert not [tag for tag, _ in page.elements if tag in {"img", "script"}]
    shown = re.sub(
        r"[\u202e\u2066\u200f\ud800\x00\x1b]",
        lambda c: c[0].encode("unicode_escape").decode(),
        text,
    )
    assert shown.lower() in "".join(page.texts).lower()


def test_everything_hostile_is_escaped(html: str, page: Page) -> None:
    for text in ("<script", "<img", "</style></title>", "<!-- {{"):
        assert text not in html
    assert "{{ 7*7 }}" in html
    assert "<script>alert(1)</script>" in page.text
    for _, a in page.elements:
        assert not [k for k in a if k.startswith("on") or k == "style"]


def test_no_character_turns_others_around_or_hides(html: str) -> None:
    """But the isolates that the report itself puts around names, always in pairs."""
    assert not re.search(
        r"[\u202a-\u202e\u2066\u2067\u200e\u200f\u061c\x00-\x08\x0b-\x1f\ud800-\udfff]", html
    )
    assert html.count("\u2068") == html.count("\u2069")
    assert "\\u202etxt.exe" in html
    assert "\\x1b[31m" in html
    html.encode()


def test_is_self_contained(page: Page, html: str) -> None:
    for tag, a in page.elements:
        assert tag not in {"script", "iframe", "object", "embed", "base", "form", "audio", "img"}
        assert not {"src", "srcset", "data", "action", "poster"} & set(a)
        if tag == "link":
            assert a == {"rel": "icon", "href": "data:,"}
        assert not re.match("[a-z]+:", a.get("href") or "") or tag == "link"
    assert "http:" not in html
    assert "https:" not in html
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in html


def test_is_small(html: str) -> None:
    assert len(html.encode()) < 300_000
    long = [dict(s, x=s["x"] * 4, y=s["y"] * 4, ulps=s["ulps"] * 4, allowed=s["allowed"] * 4)
            for s in synthetic()["series"]]  # fmt: skip
    assert len(render(synthetic(series=long)).encode()) < 1_000_000


def test_is_the_same_every_time(html: str, tmp_path: Path) -> None:
    assert render(synthetic()) == html
    check, code = tmp_path / "c.json", (
        "import json, sys; from conformance.commands.activation.report import render; "
        "sys.stdout.buffer.write(render(json.load(open(sys.argv[1]))).encode())"
    )  # fmt: skip
    check.write_text(json.dumps(synthetic()))
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code, str(check)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {html.encode()}


def test_needs_no_framework() -> None:
    code = (
        "import sys, conformance.commands.activation.report; "
        "print(sorted({'torch', 'jax', 'flint', 'refbp', 'numpy'} & set(sys.modules)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert out.stdout == "[]\n"
    assert files("conformance.report").joinpath("templates", "activation.html").is_file()


def test_reports_a_real_check(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import numpy as np\ndef relu(x): return np.maximum(x, 0)\ndef prime(x): return 1.0 * (x > 1)\n"
    )
    report, found = tmp_path / "r.html", tmp_path / "r.json"
    options = ["--no-autodiff", "--no-network", "--report", str(report), "--json", str(found)]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "conformance",
            "activation",
            "own.py:relu",
            "own.py:prime",
            *options,
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    html = report.read_text(encoding="utf-8")
    assert html == render(json.loads(found.read_text()))
    page = Page(html)
    assert page.wrong == []
    assert "✗ Wrong" in page.text
    assert sum(tag == "svg" and a.get("role") == "img" for tag, a in page.elements) == 6


# ---- pictures ----


def test_pictures_have_a_name_and_a_description(page: Page) -> None:
    drawn = [a for tag, a in page.elements if tag == "svg" and a.get("aria-hidden") != "true"]
    assert len(drawn) == 6
    for a in drawn:
        assert a["role"] == "img"
        assert len((a["aria-labelledby"] or "").split()) == 2
    told = "".join(page.within["desc"])
    assert "σ': largest 1.0e15 ulp" in told
    assert "NaN or infinite" in told


def test_a_picture_has_few_marks() -> None:
    for f in plots.curves(synthetic()) + plots.errors(synthetic()):
        assert 5 < f.picture.count("z") <= 400


def test_what_is_beyond_the_band_and_what_is_no_number_stand_out() -> None:
    derivative, value, *_ = plots.errors(synthetic())
    assert 'class="mark over"' in derivative.picture
    assert 'class="alarm"' in derivative.picture
    assert 'class="allowed"' in derivative.picture
    assert 'class="mark over"' not in value.picture


def test_what_is_not_asked_is_no_alarm() -> None:
    """Neither at a branch point, nor where the truth is no number of the dtype or is not known."""
    xs = [-1.0, 0.0, 1.0, 1e30, 1e31]
    of = {"dtype": "float32", "of": "value", "x": xs}
    certified = {
        "way": "certified",
        "y": [1.0, 0.0, 1.0, 1e60, 1e62],
        "ulps": [0.0] * 5,
        "allowed": [0.0] * 5,
    }
    theirs = {"way": "σ", "y": [1.0, "nan", "nan", "inf", "inf"], "ulps": [0.5, "inf", "nan", "inf", "inf"],
              "allowed": [1.0] * 5}  # fmt: skip
    (figure,) = plots.errors(synthetic(series=[of | certified, of | theirs], kinks=[_kink()]))
    assert "alarm" not in figure.picture
    assert "over" not in figure.picture


def test_the_curve_breaks_at_a_kink_of_the_derivative_and_not_of_the_value() -> None:
    value, derivative = plots.curves(synthetic(kinks=[_kink()]))
    assert value.picture.count('class="curve"') == 1
    assert derivative.picture.count('class="curve"') == 2


@pytest.mark.parametrize("domain", [[20.0, 1e300], [-1e300, -30.0], [0.5, 0.75], [-1e-320, 1e-320]])
def test_any_domain_can_be_drawn(domain: list[float]) -> None:
    inside = []
    for s in synthetic()["series"]:
        keep = [i for i, x in enumerate(s["x"]) if domain[0] <= x <= domain[1]]
        inside.append(s | {k: [s[k][i] for i in keep] for k in ("x", "y", "ulps", "allowed")})
    assert Page(render(synthetic(domain=domain, series=inside))).wrong == []


@pytest.mark.parametrize("y", ["nan", "inf", -1e308, 1e308, 0.0, 5e-324])
def test_any_certified_curve_can_be_drawn(y: Any) -> None:
    series = [s | {"y": [y] * len(s["x"])} for s in synthetic()["series"]]
    assert Page(render(synthetic(series=series))).wrong == []


def test_certified_values_are_among_the_points() -> None:
    values = plots.certified_values(synthetic())
    assert len(values) == 21
    assert (5.0, 5.0, 1.0) in values
    assert plots.certified_values(bare()) == []


# ---- axes ----


def test_linear_axis() -> None:
    axis = LinearAxis(-10.0, 10.0, 0.0, 200.0)
    assert [axis(v) for v in (-10, 0, 10, -1e9, math.inf)] == [0, 100, 200, 0, 200]
    assert axis.ticks(4) == [(0, "−10"), (50, "−5"), (100, "0"), (150, "5"), (200, "10")]


def test_symmetric_logarithmic_axis() -> None:
    axis = SymLogAxis(-1.7e308, 1.7e308, 5e-324, 0.0, 400.0)
    xs = [-1.7e308, -1e9, -1e4, -1.0, -1e-3, -1e-300, 0.0, 5e-324, 1e-3, 1e4, 1.7e308]
    at = [axis(x) for x in xs]
    assert at == sorted(at)
    assert (at[0], axis(0.0), at[-1]) == (0, 200, 400)
    assert axis(1.0) - 200 == pytest.approx(200 - axis(-1.0))
    ticks = axis.ticks()
    assert {"0", "1", "−1", "10³", "−10³", "10³⁰⁸", "10⁻³"} <= {label for _, label in ticks}
    assert all(b - a >= 31 for (a, _), (b, _) in pairwise(ticks))
    assert [label for _, label in SymLogAxis(0.5, 4.0, 5e-324, 0, 400).ticks()] == [
        "0.5",
        "1",
        "2",
        "4",
    ]
    assert SymLogAxis(3.0, 3.0, 5e-324, 7.0, 400.0)(3.0) == 7


def test_many_marks_are_one_element() -> None:
    assert marks("square", [(1.0, 1.0), (5.0, 5.0)], "mark", 1) == (
        '<path d="M0 0h2v2h-2zM4 4h2v2h-2z" class="mark"/>'
    )


# ---- in a browser ----


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_no_page_is_wider_than_its_window(
    chromium: Any, tmp_path: Path, html: str, width: int
) -> None:
    path = tmp_path / "page.html"
    path.write_text(html, encoding="utf-8")
    context = chromium.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()
