"""The report is one small, safe, readable and reproducible file, whatever the results hold."""

from __future__ import annotations

import base64
import json
import math
import os
import random
import re
import struct
import subprocess
import sys
import zlib
from collections import Counter
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from conformance.commands.main import main
from conformance.judge.runner import run
from conformance.judge.summary import summary
from conformance.model.results import SCHEMA_VERSION, VERDICTS, Results, number
from conformance.model.results_file import read, write_results
from conformance.report import render, render_files
from conformance.report.common import explained
from conformance.report.formulas import FORMULAS, mathml
from conformance.report.html import SECTIONS, SIGNS, script
from conformance.report.links import anchor, filtered, term
from conformance.report.numbers import LEVELS, level, percentile, power, short
from conformance.report.screen import screen
from conformance.report.sections.cases import digits
from conformance.report.sections.failures import CARDS, command
from conformance.report.svg import LogAxis, name
from conformance.report.view import View, in_order, where
from conformance.tools.names import brief

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(2)>",
    "\"quotes\" and 'apostrophes' & ampersands",
    "abc \u202etxt.exe \u200f right to left",
    "]]><!-- {{ 7*7 }} {% raw %} ${1} `x` \ud800",
)

# ---- results of a run that never was ----

ACTIVATIONS = (
    "identity", "relu", "leaky_relu", "relu6", "hardtanh", "hardsigmoid", "hardswish", "elu",
    "celu", "selu", "softplus", "softsign", "sigmoid", "logsigmoid", "tanh", "silu", "mish",
    "gelu", "gelu_tanh", "abs", "sin", "square",
)  # fmt: skip
DEPTHS = (1, 2, 3, 4, 6, 8, 12, 16)
FAMILIES = {
    "typical": ("what people train", "the implementation is wrong for ordinary networks"),
    "exact": ("small integers: no step rounds, in any order", "an operation is missing or doubled"),
    "kink": ("an element of A lies on a kink", "the convention there is not the documented one"),
    "tail": ("saturated activations", "the derivative has no relative accuracy in the tail"),
    "shape": ("one row, one column, a batch of one", "a transpose or a broadcast is wrong"),
}
ABSENT = {
    "torch-cuda": "no CUDA device: torch.cuda.is_available() is False",
    "jax-cuda": "no CUDA device: jax.devices('cuda') raised RuntimeError",
    "jax-cuda-jit": "no CUDA device: jax.devices('cuda') raised RuntimeError",
}
RAN = ("refbp", "torch-cpu", "jax-cpu", "jax-cpu-jit")
UNIT = {"float64": 2.0**-53, "float32": 2.0**-24}


def _case(n: int) -> dict:
    family = list(FAMILIES)[0 if n % 3 else n // 3 % 5]
    activation, depth = ACTIVATIONS[n % 22], DEPTHS[n // 22 % 8]
    dtype, batch = ("float64", "float32")[n // 176 % 2], (1, 7, 32)[n % 3]
    loss = ("mse", "cross_entropy")[n % 2]
    return {
        "id": f"{family}-{activation}-{depth}x{8 + n % 5}-{dtype}-b{batch}-{n}",
        "why": FAMILIES[family][0],
        "activation": activation,
        "others": [],
        "output": "softmax" if loss == "cross_entropy" else "identity",
        "depth": depth,
        "batch": batch,
        "widths": [8 + n % 5] * depth + [3],
        "dtype": dtype,
        "loss": loss,
        "bias": n % 4 == 0,
        "family": family,
        "seed": n,
    }


def _record(case: dict, gate: str, quantity: str, layer: int, rng: random.Random) -> dict:
    backwards = quantity in ("delta", "dW", "W_new")
    steps = 2 * case["depth"] - layer if backwards else layer
    spread = math.exp(rng.gauss(0, 0.8))
    none = gate in ("exact", "repeat") or case["family"] == "exact"
    ulps = 0.0 if none else 0.4 * spread * (steps**0.7 if gate == "end-to-end" else 1)
    ratio = 0.0 if none else min(0.9, 0.08 * spread)
    error = ulps * UNIT[case["dtype"]] * rng.uniform(0.3, 1)
    return {
        "quantity": quantity,
        "layer": layer,
        "gate": gate,
        "error": number(error),
        "tolerance": number(error / ratio) if ratio else 0.0,
        "ratio": number(ratio),
        "ulps": number(ulps),
        "index": [] if quantity in ("loss", "all") else [rng.randrange(8), rng.randrange(8)],
    }


def _records(case: dict, rng: random.Random) -> list[dict]:
    L, exact = case["depth"], case["family"] == "exact"
    keys = [(q, l) for l in range(1, L + 1) for q in ("A", "Z")] + [("loss", L)]
    keys += [(q, l) for l in range(L, 0, -1) for q in ("delta", "dW")]
    keys += [("W_new", l) for l in range(1, L + 1)]
    gates = ("step", "end-to-end", "exact") if exact else ("step", "end-to-end")
    records = [_record(case, gate, *key, rng) for gate in gates for key in keys]
    if case["batch"] == 7:
        worst = dict(keys)  # the gate `row` keeps one layer of each quantity
        records += [_record(case, "row", *key, rng) for key in worst.items()]
    return [*records, _record(case, "repeat", "all", 0, rng)]


def _deviate(result: dict, at: int, ratio: float | str) -> None:
    r = result["records"][at]
    r["ratio"], r["ulps"] = ratio, ratio
    result["verdict"] = "deviates"
    result["message"] = (
        f"{r['quantity']} of layer {r['layer']} is off by {ratio} times its tolerance at the"
        f" {r['gate']} gate. This looks like σ' of the layer before."
    )
    result["first_deviation"] = {
        **{key: r[key] for key in ("quantity", "layer", "gate", "index", "error", "tolerance")},
        "got": 0.7310585786300049,
        "got_hex": "0x1.764d4f5d5a2bdp-1",
        "expected": 0.7310585786300048,
        "expected_hex": "0x1.764d4f5d5a2bcp-1",
        "ratio": ratio,
    }
    result["blame"] = [{"quantity": r["quantity"], "layer": r["layer"]}]
    known = r["quantity"] == "delta"
    result["diagnosis"] = [
        {
            "fault": "derivative-at-output" if known else "",
            "steps": result["blame"],
            "text": f"layer {r['layer']}: δ equals (δ_3 W_3ᵀ) ⊙ σ'(Z): the derivative is taken at Z"
            if known
            else f"layer {r['layer']}: every entry is {ratio}",
            "suggestion": "Take σ'_l at A_l; Z_l is σ_l(A_l)." if known else "Look at the scale.",
        }
    ]
    result["worst"] = _worst_of(result["records"])


def _worst_of(records: list[dict]) -> dict:
    worst = max(records, key=lambda r: math.inf if r["ratio"] == "nan" else float(r["ratio"]))
    kept = ("quantity", "layer", "gate", "index", "error", "tolerance", "ratio")
    value = 0.5 + worst["layer"] / 64
    return {
        **{key: worst[key] for key in kept},
        **{"got": value + 2**-52, "got_hex": (value + 2**-52).hex()},
        **{"expected": value, "expected_hex": value.hex()},
    }


def many(cases: int) -> Results:
    """As many cases, for their size: the records of one in eight, eight times."""
    one = synthetic(cases // 8)
    rows, results = [], []
    for n in range(8):
        rows += [{**row, "id": f"{row['id']}/{n}"} for row in one["cases"]]
        results += [{**r, "case": f"{r['case']}/{n}"} for r in one["results"]]
    return _assemble(rows, results)


def synthetic(cases: int = 1200, hostile: bool = True) -> Results:
    """A run of the standard profile: all seven verdicts, some failures, names that attack."""
    rng = random.Random(0)
    rows = [_case(n) for n in range(cases)]
    if hostile:
        for row, text in zip(rows[5::7], HOSTILE, strict=False):
            row["id"], row["why"], row["activation"], row["family"] = text, text, text, text
    results = []
    for name_ in (*RAN, "torch-cuda"):  # the others that did not run have no results at all
        for n, case in enumerate(rows):
            result = {
                "case": case["id"],
                "implementation": name_,
                "verdict": "conforms",
                "message": "",
                "first_deviation": None,
                "known_differences": [],
                "straddling": 0,
                "records": [],
                "worst": None,
                "not_returned": [],
                "blame": [],
                "diagnosis": [],
            }
            results.append(result)
            if name_ in ABSENT:
                result |= {"verdict": "not-run", "message": ABSENT[name_]}
                continue
            if name_ == "jax-cpu-jit" and n % 3:
                result |= {"verdict": "not-run", "message": "not in the sample of the jitted cases"}
                continue
            if name_ == "torch-cpu" and n % 311 == 17:
                message = f"RuntimeError: out of memory\n{HOSTILE[0]}"
                result |= {"verdict": "error", "message": message}
                continue
            result["records"] = _records(case, rng)
            if case["activation"] == "leaky_relu" and name_.startswith("jax"):
                result |= {"verdict": "known-difference", "known_differences": ["jax-leaky-relu-0"]}
            if name_ == "jax-cpu" and n % 157 == 3:
                result |= {
                    "verdict": "undecided",
                    "message": "the truth of delta, layer 2, is wider than half its tolerance",
                }
            if name_ == "refbp" and n == 41:
                message = "Z_1[0, 0] loses digits: got 0.0. Stable: np.expm1(a)."
                result |= {"verdict": "inaccurate", "message": message}
            if name_ == "refbp" and case["activation"] == "mish" and case["depth"] > 3:
                keys = [(r["quantity"], r["layer"]) for r in result["records"]]
                _deviate(result, keys.index(("delta", 2)), number(10 ** rng.uniform(0.2, 7)))
            if name_ == "jax-cpu" and n % 400 == 77:
                _deviate(result, 0, ("nan", "inf")[n // 400 % 2])
            result["straddling"] = 3 * (case["family"] == "kink")
            result["worst"] = _worst_of(result["records"])
    return _assemble(rows, results)


def _assemble(rows: list[dict], results: list[dict]) -> Results:
    verdicts: dict[str, Counter] = {}
    worst: dict[tuple[str, str], tuple[float, dict]] = {}
    for result in results:
        verdicts.setdefault(result["implementation"], Counter())[result["verdict"]] += 1
        for r in result["records"]:
            key = r["gate"], result["implementation"]
            ratio = math.inf if r["ratio"] == "nan" else float(r["ratio"])
            if key not in worst or ratio > worst[key][0]:
                worst[key] = ratio, {**r, "case": result["case"], "implementation": key[1]}
    families = Counter(row["family"] for row in rows)
    return {
        "schema_version": SCHEMA_VERSION,
        "environment": {
            "finished": "2026-01-02T03:04:05+00:00",
            "seconds": 61.5,
            "nothing": None,
            "machine": {"processor": "x86_64", "cores": 2, "name": HOSTILE[0]},
            "command": ["conformance", "run", "--profile", "standard"],
        },
        "profile": {
            "name": "standard",
            "description": "what a release is judged by",
            "select": "",
            "cases": len(rows),
        },
        "implementations": [
            {
                "name": name_,
                "description": f"{name_}, layer by layer",
                "status": "not-run" if name_ in ABSENT else "ran",
                "reason": ABSENT.get(name_, "one case in three" if name_.endswith("jit") else ""),
                "versions": {} if name_ in ABSENT else {"python": "3.11.2", "numpy": "2.4.6"},
                "device": "" if name_ in ABSENT else "x86_64 CPU",
                "dtypes": list(UNIT),
                "cases": sum(bool(r["records"]) for r in results if r["implementation"] == name_),
                "probes": {} if name_ in ABSENT else {"tf32": "no", "subnormals": "kept"},
            }
            for name_ in (*RAN, *ABSENT)
        ],
        "families": [
            {"name": f, "why": why, "failing_means": means, "cases": families[f]}
            for f, (why, means) in {**FAMILIES, HOSTILE[0]: (HOSTILE[1], HOSTILE[2])}.items()
        ],
        "cases": rows,
        "results": results,
        "known_differences": [
            {
                "id": "jax-leaky-relu-0",
                "implementation": "jax-cpu",
                "activation": "leaky_relu",
                "what": "leaky_relu'(0) is 1, not the slope",
                "reason": "jax/_src/nn/functions.py selects the identity by >= 0",
                "source": "https://github.com/jax-ml/jax/blob/main/jax/_src/nn/functions.py",
                "status": "differs",
                "seen": 75,
            },
            {
                "id": "torch-softplus-20",
                "implementation": "torch-cpu",
                "activation": "softplus",
                "what": "linear above 20",
                "reason": HOSTILE[1],
                "source": "the documentation of threshold",
                "status": "stale",
                "seen": 0,
            },
            {
                "id": "jax-cuda-tf32",
                "implementation": "jax-cuda",
                "activation": "",
                "what": "float32 products in TF32",
                "reason": "the default precision",
                "source": "jax#12008",
                "status": "not-run",
                "seen": 0,
            },
        ],
        "summary": {
            "verdict": min((r["verdict"] for r in results), key=VERDICTS.index, default="not-run"),
            "exit_code": 1,
            "message": "4 error; 36 deviates; 8 undecided.",
            "verdicts": {name_: dict(c) for name_, c in verdicts.items()},
            "worst": [
                {key: r[key] for key in r if key not in ("error", "tolerance", "index")}
                for _, r in worst.values()
            ],
        },
    }  # fmt: skip


def nothing(**changes: object) -> Results:
    """Results of a run in which nothing happened."""
    empty = _assemble([], [])
    empty["implementations"] = []
    empty["families"] = []
    empty["known_differences"] = []
    return {**empty, **changes}


@pytest.fixture(scope="module")
def results() -> Results:
    return synthetic()


@pytest.fixture(scope="module")
def html(results: Results) -> str:
    return render(results)


# ---- what a reader without script sees ----

VOID = {"meta", "link", "br", "img", "input", "path", "rect"}


class Page(HTMLParser):
    """The text of a page, its elements, and whether every element is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.within: dict[str, list[str]] = {}  # element -> its texts
        self.feed(html)
        self.close()
        self.wrong += [f"<{tag}> is not closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if len(dict(attrs)) != len(attrs):
            self.wrong.append(f"<{tag}> has an attribute twice")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> closes something else, at {self.getpos()}")
        if tag in {"td", "th", "li"}:
            self.texts.append(" ")

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
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


def test_every_reference_within_the_page_leads_somewhere(page: Page) -> None:
    ids = {a["id"] for _, a in page.elements if "id" in a}
    for tag, a in page.elements:
        for attribute in ("aria-labelledby", "aria-describedby"):
            assert set((a.get(attribute) or "").split()) <= ids, tag
        href = a.get("href") or ""
        if href.startswith("#") and not href.startswith(("#case=", "#q=")):
            assert href[1:] in ids


def test_has_every_section_with_its_heading(page: Page) -> None:
    sections = [a["id"] for tag, a in page.elements if tag == "section"]
    assert sections == [s.id for s in SECTIONS]
    headings = [" ".join(t.split()) for t in page.within["h2"]]
    for section in SECTIONS[1:]:
        assert section.title in headings
    assert "".join(page.within["h1"]).split() == ["!", "Error"]


def test_no_heading_skips_a_level(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize(
    "said",
    [
        "4 error; 36 deviates; 8 undecided.",
        "refbp 1,200 cases on x86_64 CPU",
        "torch-cuda no CUDA device: torch.cuda.is_available() is False",
        "How close to the limit",
        "The largest that conforms: 0.900",
        "0.7310585786300048 0x1.764d4f5d5a2bcp-1",  # the first deviation, bit by bit
        "conformance show typical-gelu-1x10-float64-b32-17 --implementation torch-cpu",
        "First deviation: δ of layer 2, step gate, entry [",
        "an element of A lies on a kink the convention there is not the documented one",
        "leaky_relu'(0) is 1, not the slope",
        "! stale",
        "jax-cuda-jit – not-run no CUDA device: jax.devices('cuda') raised RuntimeError",
        "not in the sample of the jitted cases",
        "float64, 16 layers, 48 cases",
        "The script that lists them did not run here",
        "conformance run --profile standard".replace(" ", ", "),
    ],
)
def test_reads_without_script(page: Page, said: str) -> None:
    assert said in page.text


def test_each_implementation_that_ran_has_its_matrix(results: Results, page: Page) -> None:
    matrices = [a for tag, a in page.elements if tag == "table" and a.get("class") == "matrix"]
    assert len(matrices) == len(RAN)
    cells = [a["class"] for tag, a in page.elements if tag == "td" and a.get("class")]
    assert {"r3", "r5", "r9", "none v-error", "none v-not-run"} <= set(cells)


def test_a_matrix_has_a_row_an_activation_and_a_column_a_depth() -> None:
    page = Page(render(synthetic(352, hostile=False)))
    for activation in ACTIVATIONS:
        assert page.texts.count(activation) >= len(RAN)


def test_counts_each_verdict_by_itself(results: Results, page: Page) -> None:
    counts = Counter(r["verdict"] for r in results["results"])
    assert set(counts) == set(VERDICTS)
    for verdict in VERDICTS:
        assert f"{SIGNS[verdict]} {counts[verdict]:,} {verdict}" in page.text


def test_the_seven_verdicts_differ_in_sign_and_word_and_not_run_is_neutral(page: Page) -> None:
    assert set(SIGNS) == set(VERDICTS)
    assert len(set(SIGNS.values())) == 7
    css = files("conformance.report").joinpath("report.css").read_text(encoding="utf-8")
    for theme in (css, css[css.index("prefers-color-scheme: dark") :]):
        colour = dict(reversed(re.findall(r"--([\w-]+): (#\w{6});", theme)))
        assert colour["notrun"] == colour["muted"] != colour["conforms"]


def test_tables_have_captions_and_headers_their_scope(page: Page) -> None:
    tags = Counter(tag for tag, _ in page.elements)
    assert tags["caption"] == tags["table"] > 12
    assert all(a.get("scope") for tag, a in page.elements if tag == "th")


def test_plots_have_a_name_and_a_description(page: Page) -> None:
    plots = [a for tag, a in page.elements if tag == "svg" and a.get("aria-hidden") != "true"]
    assert len(plots) > 20
    for a in plots:
        assert a["role"] == "img"
        assert len((a["aria-labelledby"] or "").split()) == 2
    assert len([tag for tag, _ in page.elements if tag == "desc"]) == len(plots)


def test_page_has_language_title_skip_link_and_landmarks(page: Page) -> None:
    elements = page.elements
    assert ("html", {"lang": "en"}) in elements
    assert "".join(page.within["title"][:1]).startswith("! error")
    assert ("a", {"class": "skip", "href": "#main"}) in elements
    tags = {tag for tag, _ in elements}
    assert {"header", "nav", "main", "footer", "h1"} <= tags
    scrolls = [a for _, a in elements if a.get("class") == "scroll"]
    assert all(a["tabindex"] == "0" and a["role"] == "region" for a in scrolls)


# ---- one file, small, safe, the same every time ----


def test_is_small(html: str) -> None:
    assert len(html.encode()) < 3_000_000


def test_is_self_contained(page: Page, html: str) -> None:
    for tag, a in page.elements:
        assert tag not in {"iframe", "object", "embed", "base", "form", "audio", "video"}
        assert not {"src", "srcset", "data", "action", "poster"} & set(a)
        if tag == "link":
            assert a == {"rel": "icon", "href": "data:,"}
        assert not [k for k in a if k.startswith("on") or k == "style"]
    css = files("conformance.report").joinpath("report.css").read_text(encoding="utf-8")
    assert "url(" not in css
    assert "@import" not in css
    js = str(script())
    assert js in html
    for word in ("fetch(", "XMLHttpRequest", "import(", "innerHTML", "eval(", "http", "</script"):
        assert word not in js, word
    assert "</style" not in css
    assert (
        """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; """
        """style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">"""
    ) in html


def test_has_our_scripts_only(page: Page, html: str) -> None:
    scripts = [a for tag, a in page.elements if tag == "script"]
    assert scripts == [{"type": "text/plain", "id": "packed"}, {}]
    assert not [tag for tag, _ in page.elements if tag == "img"]
    assert "49" not in [t.strip() for t in page.texts if "7*7" in t]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_as_text(page: Page, html: str, text: str) -> None:
    shown = text.replace("\ud800", "?")
    assert any(shown in t for t in page.within["bdi"])
    assert "<script>alert" not in html
    assert "<img" not in html


def test_text_of_the_results_stands_in_isolation(page: Page, html: str) -> None:
    """A right-to-left override outside <bdi> has marks around it that end its reach."""
    override = "\u202e"
    inside = sum(t.count(override) for t in page.within["bdi"])
    isolated = len(re.findall("\u2068[^\u2069]*\u202e[^\u2069]*\u2069", html))
    attributes = sum((v or "").count(override) for _, a in page.elements for v in a.values())
    assert inside > 3
    assert sum(t.count(override) for t in page.texts) + attributes <= inside + isolated


@pytest.mark.slow
def test_is_the_same_every_time(results: Results, html: str, tmp_path: Path) -> None:
    assert render(results) == html
    small, code = tmp_path / "r.json", (
        "import json, sys; from conformance.report import render; "
        "sys.stdout.buffer.write(render(json.load(open(sys.argv[1]))).encode())"
    )  # fmt: skip
    small.write_text(json.dumps(synthetic(60)))
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code, str(small)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {render(synthetic(60)).encode()}


def test_needs_no_framework() -> None:
    code = (
        "import sys, conformance.report; "
        "print(sorted({'torch', 'jax', 'flint', 'refbp', 'numpy'} & set(sys.modules)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert out.stdout == "[]\n"


def test_its_files_stand_beside_it() -> None:
    package = files("conformance.report")
    for section in SECTIONS:
        assert package.joinpath("templates", f"{section.id}.html").is_file()
    assert package.joinpath("report.css").is_file()
    assert package.joinpath("report.js").is_file()


# ---- contrast: WCAG AA, in both themes ----


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def _contrast(a: str, b: str) -> float:
    low, high = sorted((_luminance(a), _luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_contrast(dark: bool) -> None:
    css = files("conformance.report").joinpath("report.css").read_text(encoding="utf-8")
    start = css.index("prefers-color-scheme: dark") if dark else 0
    colour: dict[str, str] = {}
    for key, value in re.findall(r"--([\w-]+): (#\w{6});", css[start:]):
        colour.setdefault(key, value)
    words = (
        "ink",
        "muted",
        "link",
        "conforms",
        "known",
        "deviates",
        "undecided",
        "inaccurate",
        "notrun",
    )
    pairs = [(w, on) for w in words for on in ("paper", "panel")]
    pairs += [("on-error", "error"), ("error", "paper"), ("error", "panel")]
    pairs += [(f"t{i}", f"r{i}") for i in range(len(LEVELS))]
    for a, b in pairs:
        assert _contrast(colour[a], colour[b]) >= 4.5, (a, b)
    for series in ("s0", "s1", "s2", "s3"):  # lines and marks
        assert _contrast(colour[series], colour["paper"]) >= 3, series


# ---- formulas ----

READ = {
    "A": "𝐀l=𝐙l−1𝐖l",
    "Z": "𝐙l=σl(𝐀l)",
    "delta_L": "δL=∂ℒ∂𝐙L⊙σL′(𝐀L)",
    "delta_l": "δl=(δl+1𝐖l+1⊤)⊙σl′(𝐀l)",
    "dW": "∂ℒ∂𝐖l=𝐙l−1⊤δl",
    "W_new": "𝐖l←𝐖l−α∂ℒ∂𝐖l",
    "input": "𝐙0=𝐗∈ℝn×d",
    "link": "δl=∂ℒ∂𝐀l",
    "ratio": "ratio=|value−truth|tolerance",
    "sigma": "σl′",
    "W": "𝐖l+1",
}


@pytest.mark.parametrize("key", FORMULAS)
def test_formula(key: str, page: Page) -> None:
    """Nothing of LaTeX is left over, nothing is lost."""
    math_page = Page(str(mathml(key)))
    assert math_page.wrong == []
    assert "".join("".join(math_page.texts).split()) == READ[key]
    assert {tag for tag, _ in math_page.elements} <= {
        "math", "mrow", "mi", "mo", "mn", "mtext", "msub", "msup", "msubsup", "mfrac",
    }  # fmt: skip
    assert "".join(math_page.texts) in "".join(page.within["math"])


def test_no_latex_reaches_the_page(page: Page) -> None:
    words = set(re.findall(r"\\(\w+)", "".join(FORMULAS.values())))
    assert words
    assert "\\" not in "".join(page.within["math"])
    assert not words & set("".join(page.within["math"]).split()) - {"text"}


# ---- the packed cases ----


def _unpack(html: str) -> tuple[dict, list[bytes]]:
    packed = re.search(r'id="packed">([^<]*)</script>', html)
    assert packed
    raw = zlib.decompress(base64.b64decode(packed[1]))
    (length,) = struct.unpack(">I", raw[:4])
    data, planes = json.loads(raw[4 : 4 + length]), raw[4 + length :]
    number = 2 * (1 + math.ceil(data["digits"] / 2)) + 2
    n = len(planes) // number
    return data, [planes[i * n : i * n + n] for i in range(number)]


def test_packs_every_record(results: Results, html: str) -> None:
    data, planes = _unpack(html)
    records = [r for result in results["results"] for r in result["records"]]
    assert len(records) > 250_000
    assert [len(p) for p in planes] == [len(records)] * 8
    assert all(row[12] for row in data["results"])
    assert sum(len(data["shapes"][row[3]]) for row in data["results"]) == len(records)
    for i in range(0, len(records), 997):
        for first, key in ((0, "ratio"), (3, "ulps")):
            e, high, low = (planes[first + k][i] for k in range(3))
            value = float(records[i][key])
            if e > 2:
                assert (high * 10 + low) * 10.0 ** (e - 130) == pytest.approx(value, rel=0.0095)
            else:
                assert (0.0, math.nan, math.inf)[e] == pytest.approx(value, nan_ok=True)
        index = [p[i] - 1 for p in planes[6:] if p[i]]
        assert index == records[i]["index"]


def test_packs_less_of_a_large_run_but_all_of_its_failures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results = synthetic(300)
    monkeypatch.setattr("conformance.report.sections.cases.PRECISE", 1000)
    data, planes = _unpack(render(results))
    assert (data["digits"], len(planes)) == (2, 6)
    at = 0
    for row, result in zip(data["results"], results["results"], strict=True):
        failing = result["verdict"] in ("error", "deviates", "undecided")
        for r in result["records"][:3]:
            kept = planes[2][at], [p[at] - 1 for p in planes[4:] if p[at]]
            assert (kept[1] == r["index"]) if failing else kept == (0, [])
            at += 1
        at += len(result["records"][3:])
        if result["worst"]:
            assert len(row[8]) == (6 if failing else 4)  # got and expected are the last two
        assert row[12] == failing


def test_an_index_beyond_a_byte_is_said_to_be_beyond() -> None:
    results = synthetic(1, hostile=False)
    results["results"][0]["records"][0]["index"] = [253, 1000]
    _, planes = _unpack(render(results))
    assert [planes[6][0], planes[7][0]] == [254, 255]


def test_of_thousands_of_failures_the_first_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conformance.report.sections.cases.WHOLE", 5)
    data, _ = _unpack(render(synthetic(300)))
    failing = [row for row in data["results"] if row[2] < 3]
    whole = [row for row in failing if row[5] or data["verdicts"][row[2]] == "error"]
    assert len(whole) == 5
    assert all(len(f) == 1 for row in failing if row not in whole for f in row[10] or [])


def test_packs_each_result_with_its_case(results: Results, html: str) -> None:
    data, _ = _unpack(html)
    assert len(data["cases"]) == 1200
    row, result = data["results"][1234], results["results"][1234]
    case = dict(zip(data["fields"], data["cases"][row[0]], strict=True))
    assert case == results["cases"][34]
    assert data["implementations"][row[1]] == result["implementation"]
    assert data["verdicts"][row[2]] == result["verdict"]
    shape = [(r["quantity"], r["layer"], r["gate"]) for r in result["records"]]
    assert [tuple(key) for key in data["shapes"][row[3]]] == shape


@pytest.mark.parametrize(
    ("value", "packed"),
    [
        (0.0, (0, 0, 0)),
        ("nan", (1, 0, 0)),
        ("inf", (2, 0, 0)),
        (1.0, (128, 10, 0)),
        (0.9996, (128, 10, 0)),
        (1.0004, (128, 10, 1)),  # over the limit, and stays so
        (12345, (132, 12, 3)),
        (6.78e-5, (123, 67, 8)),
        (1e-300, (3, 10, 0)),
        (1e300, (255, 99, 9)),
    ],
)
def test_digits(value: float | str, packed: tuple[int, int, int]) -> None:
    assert digits(value) == packed


def test_two_digits() -> None:
    assert [digits(v, 2) for v in (0, 0.0447, 1.02, 1, 99.6)] == [
        (0, 0), (126, 45), (128, 11), (128, 10), (130, 10),
    ]  # fmt: skip


# ---- numbers ----


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (1, "1.00"),
        (0.5, "0.500"),
        (0.01234, "0.0123"),
        (0.001, "0.00100"),
        (0.00012, "1.2e−4"),
        (9.87, "9.87"),
        (98.76, "98.8"),
        (1234.5, "1,234"),
        (1.5e6, "1.5e6"),
        (-2.5, "−2.50"),
        ("nan", "NaN"),
        ("inf", "∞"),
        ("-inf", "−∞"),
    ],
)
def test_short(value: float | str, shown: str) -> None:
    assert short(value) == shown


@pytest.mark.parametrize(
    ("value", "step"),
    [(0, 0), (1e-9, 1), (0.1, 1), (0.3, 3), (1, 5), (1.001, 6), (1000, 7), (1e9, 8), ("nan", 9)],
)
def test_level(value: float | str, step: int) -> None:
    assert level(value) == f"r{step}"
    assert step < len(LEVELS)


def test_percentile_is_a_value_that_occurred() -> None:
    assert [percentile([1, 2, 3, 4], p) for p in (0, 50, 95, 100)] == [1, 2, 4, 4]
    assert percentile([7], 50) == 7


def test_axis_keeps_what_it_cannot_place_on_its_ends() -> None:
    axis = LogAxis.around([1e-3, 1e3, 0.0, math.inf], (-1, 1), 0.0, 60.0)
    assert (axis.low, axis.high) == (-3, 3)
    assert [axis(v) for v in (0.0, 1e-9, 1.0, 1e9, math.inf, math.nan)] == [0, 0, 30, 60, 60, 60]
    assert [power(e) for e in (-2, 0, 2, 3)] == ["10⁻²", "1", "100", "10³"]


def test_names_in_plots_are_cut_and_isolated() -> None:
    drawn = name(0, 0, "<b>\u202e" + "x" * 40)
    assert drawn == '<text x="0" y="0">\u2068&lt;b&gt;\u202e' + "x" * 10 + "…\u2069</text>"


def test_order_and_words() -> None:
    assert in_order(["b", "x", "a", "b", "y"], "abc") == ["a", "b", "x", "y"]
    assert where("delta", 3) == "δ of layer 3"
    assert where("loss", 3) == "the loss"
    assert where("all", 0) == "the whole trace"


# ---- failures ----


def test_a_command_can_be_pasted() -> None:
    results = synthetic(12)
    results["results"][5]["implementation"] = "it's; rm -rf ."
    (judged,) = (j for j in View(results).judged if j.result["implementation"].startswith("it's"))
    assert command(judged, results) == (
        "conformance show '<script>alert(1)</script>' --implementation 'it'\"'\"'s; rm -rf .'"
    )


@pytest.mark.slow
def test_where_everything_fails_the_page_stays_small_and_shows_each_kind() -> None:
    results = synthetic(600, hostile=False)
    for result in results["results"]:
        if result["records"]:
            _deviate(result, 0, 12.5)
    page = Page(render(results))
    cards = [a for tag, a in page.elements if tag == "article"]
    assert 6 <= len(cards) <= CARDS
    assert "more, in the list of all cases" in page.text
    assert len(render(results)) < 2_000_000


def test_no_failures_is_said() -> None:
    results = synthetic(20, hostile=False)
    for result in results["results"]:
        result |= {"verdict": "conforms", "first_deviation": None}
    assert "None: nothing deviates, nothing broke" in Page(render(results)).text


def test_says_what_is_to_blame_what_it_looks_like_and_the_smallest_case(
    results: Results, page: Page
) -> None:
    told = {e.name: e for e in explained(View(results))}
    assert list(told) == ["refbp", "torch-cpu", "jax-cpu"]
    (looks,) = told["refbp"].looks
    assert (looks[0]["fault"], looks[1]) == ("derivative-at-output", told["refbp"].verdicts[0][1])
    assert told["refbp"].blame == [("delta", looks[1])]
    depths = [
        next(c["depth"] for c in results["cases"] if c["id"] == r["case"])
        for r in results["results"]
        if (r["implementation"], r["verdict"]) == ("refbp", "deviates")
    ]
    assert told["refbp"].smallest.case["depth"] == min(depths)
    assert told["jax-cpu"].smallest.result["verdict"] == "deviates"  # though more are undecided
    assert f"derivative-at-output, {looks[1]} cases, for example: layer 2: δ equals" in page.text
    assert "→ Take σ'_l at A_l" in page.text
    links = [a["href"] for tag, a in page.elements if tag == "a"]
    assert "#q=implementation:refbp%20fault:derivative-at-output" in links
    assert "#q=implementation:refbp%20blame:delta" in links
    assert "#q=implementation:jax-cpu%20fault:unknown" in links


def test_the_frequent_come_first_and_a_name_for_a_few_cases_is_none() -> None:
    results = synthetic(12, hostile=False)
    faults = [["b"], ["b", "b"], ["a"], [""], [""], [""]]
    for result, names in zip(results["results"], faults, strict=False):
        finding = {"steps": [], "text": "t", "suggestion": "s"}
        result |= {"verdict": "deviates", "diagnosis": [{"fault": f, **finding} for f in names]}
    e = explained(View(results))[0]
    assert [(f["fault"], n) for f, n in e.looks] == [("", 3), ("b", 2)]


def test_where_several_names_fit_the_one_is_told_that_fits_most() -> None:
    """Half of the gradient is a mean taken twice at n = 2, and nowhere else."""
    results = synthetic(12, hostile=False)
    faults = [("twice", ["half"]), ("half", []), ("half", ["other"]), ("half", [])]
    for result, (fault, also) in zip(results["results"], faults, strict=False):
        finding = {"fault": fault, "steps": [], "text": "t", "suggestion": "s", "also": also}
        result |= {"verdict": "deviates", "diagnosis": [finding]}
    e = explained(View(results))[0]
    assert [(f["fault"], n) for f, n in e.looks] == [("half", 4)]


def test_a_name_that_other_cases_of_the_same_kind_refute_is_none() -> None:
    """It fits two, and in three of the same σ and loss the same quantity is off by something else."""
    results = synthetic(12, hostile=False)
    rows = {c["id"]: c for c in results["cases"]}
    steps = [{"quantity": "delta", "layer": 1}]
    for result, fault in zip(results["results"], ["mean", "mean", "", "", ""], strict=False):
        rows[result["case"]] |= {"activation": "tanh", "output": "tanh", "loss": "huber"}
        finding = {"fault": fault, "steps": steps, "text": "t", "suggestion": "s"}
        result |= {"verdict": "deviates", "diagnosis": [finding], "blame": steps}
    looks = [(f["fault"], n) for f, n in explained(View(results))[0].looks]
    assert looks == [("", 3)]
    for result in results["results"][2:5]:
        rows[result["case"]]["loss"] = (
            "mean_squared_error"  # of another kind: it may be another mistake
        )
    looks = [(f["fault"], n) for f, n in explained(View(results))[0].looks]
    assert looks == [("", 3), ("mean", 2)]


# ---- links ----


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("torch-cpu", "torch-cpu"),
        ("typical/tanh/L3", "typical/tanh/L3"),
        (3, "3"),
        ("two words", '"two words"'),
        ("a,b*", '"a,b*"'),
        ('say "\\"', '"say \\"\\\\\\""'),
        ("a\nb\r", '"a\\nb\\r"'),
        ("", '""'),
        ("!x", '"!x"'),
    ],
)
def test_a_term_stands_in_quotes_where_it_must(value: object, written: str) -> None:
    assert term("case", value) == f"case:{written}"


def test_links_hold_no_character_that_ends_them() -> None:
    for text in HOSTILE:
        for href in (anchor(text), filtered({"activation": text, "depth": 3})):
            assert re.fullmatch(r"#[\w%=:/.~-]+", href), href
    assert filtered({"activation": "tanh", "depth": 3}) == "#q=activation:tanh%20depth:3"


def test_a_cell_of_the_matrix_leads_to_its_cases(page: Page) -> None:
    links = {a["href"] for tag, a in page.elements if tag == "a"}
    assert "#q=implementation:jax-cpu%20activation:tanh%20depth:3" in links
    assert "#q=verdict:known-difference" in links


# ---- a folder instead of a file ----


def test_a_folder_has_the_same_in_files_without_inline_script_or_style() -> None:
    small = synthetic(30)
    written = render_files(small)
    assert list(written) == ["report.css", "report.js", "data.js", "icon.svg", "index.html"]
    index = written["index.html"]
    page, one = Page(index), Page(render(small))
    assert page.wrong == []
    assert "content=\"default-src 'self'\"" in index
    for tag, a in page.elements:
        assert not [k for k in a if k.startswith("on") or k == "style"]
        assert tag != "style"
        if tag == "script":
            assert a["src"] in written
        if tag == "link":
            assert a["href"] in written
    assert "".join(page.within.get("script", [])).strip() == ""
    assert written["report.js"] in render(small)
    assert written["data.js"].split('"')[3] in render(small)
    assert page.text.partition("Five files")[0] == one.text.partition("One file, no")[0]


def test_the_first_screen_says_which_cases_did_not_run() -> None:
    found = synthetic(12, hostile=False)
    page = render(found)
    left = Counter(r["implementation"] for r in found["results"] if r["verdict"] == "not-run")
    ran = {i["name"] for i in found["implementations"] if i["status"] == "ran"}
    (name_,) = [name_ for name_ in left if name_ in ran]
    assert f"{left[name_]} cases</a> of <bdi>{name_}</bdi>" in page
    assert "Everything asked for ran." not in page
    whole = {**found, "implementations": [], "results": []}
    assert "Everything asked for ran." in render(
        {**whole, "summary": {**found["summary"], "verdicts": {}, "worst": []}}
    )


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "results.json"
    found = synthetic(12, hostile=False)
    rows = found["implementations"], found["results"], found["known_differences"]
    write_results(path, {**found, "summary": summary(*rows, required=())})
    return path


def _report(*arguments: object) -> Any:
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


def test_the_command_line_writes_a_file_a_folder_or_both(written: Path, tmp_path: Path) -> None:
    html, folder = tmp_path / "r.html", tmp_path / "folder"
    done = _report(written, "--html", html, "--html-dir", folder)
    assert (done.exit_code, done.output) == (0, f"report: {html}\nreport: {folder}\n")
    names = {p.name: p.read_text(encoding="utf-8") for p in folder.iterdir()}
    assert names == render_files(read(written))
    again = _report(written, "--html-dir", folder)  # a folder that is there is written to again
    assert again.exit_code == 0
    assert _report(written).exit_code == 2


@pytest.mark.parametrize("where", ["results.json", "no/such/folder"])
def test_a_folder_that_cannot_be_is_refused(written: Path, tmp_path: Path, where: str) -> None:
    done = _report(written, "--html-dir", tmp_path / where)
    assert done.exit_code == 2
    assert "cannot write to the folder" in done.output


def test_a_run_writes_the_folder_too(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    options = "run --profile quick --select activation=tanh,depth=1 --implementation refbp --jobs 0"
    done = CliRunner().invoke(main, [*options.split(), "--html-dir", str(folder)])
    assert done.exit_code == 0, done.output
    assert f"report: {folder}" in done.output
    assert "✓ Conforms" in Page((folder / "index.html").read_text(encoding="utf-8")).text


# ---- results with nothing in them ----


def test_no_cases_at_all() -> None:
    page = Page(render(nothing()))
    assert page.wrong == []
    assert "– Not-run" in page.text
    for said in ("Nothing ran.", "Nothing was compared", "No cases were asked for.", "None."):
        assert said in page.text
    assert not [tag for tag, a in page.elements if tag == "svg"]


def test_cases_but_nothing_ran() -> None:
    full = synthetic(30)
    absent = [i for i in full["implementations"] if i["status"] == "not-run"]
    page = Page(render(nothing(cases=full["cases"], implementations=absent)))
    assert page.wrong == []
    assert "jax-cuda no CUDA device" in page.text
    assert "Nothing ran, so there is nothing to map." in page.text
    assert "None, but nothing was compared either." in page.text


def test_one_case_of_one_layer() -> None:
    page = Page(render(synthetic(1, hostile=False)))
    assert page.wrong == []
    assert "No implementation has end-to-end records of a network with more than one" in page.text


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(synthetic(int((sys.argv[2:] or ["1200"])[0]))))


def test_a_file_is_shown_by_its_name_and_its_path_once() -> None:
    found: Any = run("standard", ["refbp"], "activation=tanh,family=square", jobs=0)
    path = "/somewhere/that/is/long/net.py:Net"

    def renamed(x: Any) -> Any:
        if isinstance(x, dict):
            return {renamed(k): renamed(v) for k, v in x.items()}
        return [renamed(v) for v in x] if isinstance(x, list) else path if x == "refbp" else x

    found = renamed(found)
    table = "\n".join(screen(found)).partition("\n\n")[2]
    assert table.splitlines()[1].startswith("net.py:Net ")
    page = render(found)
    verdicts = Page(
        page.partition("<caption>Results by implementation")[2].partition("</table>")[0]
    )
    assert "net.py:Net" in "".join(verdicts.texts)
    assert path not in "".join(verdicts.texts)
    assert path in "".join(Page(page).texts)


def test_two_files_of_one_name_keep_their_folders() -> None:
    assert brief(["a/net.py", "b/net.py", "c/mine.py", "refbp"]) == {
        "a/net.py": "a/net.py", "b/net.py": "b/net.py", "c/mine.py": "mine.py", "refbp": "refbp",
    }  # fmt: skip
