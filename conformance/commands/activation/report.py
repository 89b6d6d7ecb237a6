"""A check of an activation as one page: no script, no network, the same bytes for the same check.

It needs nothing but the check, so that a check read from JSON makes the same page. Whatever user code named
or printed is escaped, and characters that could reorder or hide text are spelt out first.
"""

from __future__ import annotations

import math
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple, cast

from conformance.commands.activation import plots
from conformance.commands.function.report import parts_of, shown
from conformance.commands.function.report import render as render_function
from conformance.model.results import Number
from conformance.report.html import environment, own_file
from conformance.report.view import in_order
from conformance.tools.plain import plain_values

if TYPE_CHECKING:
    from conformance.commands.activation.check import Check
    from conformance.commands.activation.findings import Finding
    from conformance.commands.activation.messages import NetworkResult
    from conformance.commands.activation.trial import Way

__all__ = ["SECTIONS", "render"]

SECTIONS = {
    "summary": "Verdict",
    "findings": "Findings",
    "plots": "Plots",
    "ways": "Ways to the derivative",
    "kinks": "Branch points",
    "networks": "Networks",
    "gradients": "Gradients of parameters",
    "notrun": "Not run, not certified",
    "output": "What the code printed",
    "environment": "Environment",
}
"""The id of each section, in order, and its heading."""


class Tag(NamedTuple):
    """The sign and the CSS class of a word, so that nothing is shown by colour alone."""

    sign: str
    class_: str


TAGS = {
    "right": Tag("✓", "v-conforms"),
    "wrong": Tag("✗", "v-deviates"),
    "not judged": Tag("?", "v-undecided"),
    "error": Tag("✗", "v-deviates"),
    "warning": Tag("!", "v-undecided"),
    "note": Tag("·", "v-not-run"),
    "inaccurate": Tag("≈", "v-inaccurate"),
    "tail": Tag("!", "v-undecided"),
    "overflows": Tag("!", "v-undecided"),
    "conforms": Tag("✓", "v-conforms"),
    "deviates": Tag("✗", "v-deviates"),
    "known-difference": Tag("≠", "v-known-difference"),
    "undecided": Tag("?", "v-undecided"),
    "not-run": Tag("–", "v-not-run"),
}
GIVEN = {
    "sigma": "σ",
    "derivative": "σ'",
    "truth": "the definition",
    "torch": "torch version",
    "jax": "JAX version",
}
HOLDS = {"float64": 16, "float32": 7, "float16": 3, "bfloat16": 2}
"""About how many significant digits a dtype holds."""
AUTODIFF = "its autodiff of σ"
ALL = 17.0  # digits right: all that a float64 can show
CARDS, ROWS, PRINTED = 60, 200, 4000
"""How many findings, how many branch points, and how many characters of output are shown."""


def render(check: Check) -> str:
    """One self-contained HTML file, the same bytes for the same check. If σ is not a function of one number,
    it is the page of `conformance function`."""
    more = check.get("gradients")
    if more is not None and not check["ways"]:
        return render_function(more)
    plain = cast("Check", plain_values(check))
    env = environment()
    env.globals.update(
        at=_at, differing=_differing, digits=_digits, shown=shown, style=plots.style, tag=_tag
    )
    sections = {k: v for k, v in SECTIONS.items() if k != "gradients" or more}
    f = plain.get("gradients")
    return env.get_template("activation.html").render(
        check=plain,
        css=own_file("report.css"),
        sections=sections,
        f=f,
        **parts_of(f) if f else {},
        **_context(plain),
    )


def _context(c: Check) -> dict[str, object]:
    """The variables of the template."""
    return {
        "given": [(GIVEN.get(k, k), v) for k, v in c["given"].items()],
        "domain": _domain(c),
        "points": [(dtype, n) for dtype, n in c["points"].items() if n],
        "severities": _counted(c),
        "cards": c["findings"][:CARDS],
        "left_out": len(c["findings"]) - CARDS,
        "curves": plots.curves(c),
        "errors": plots.errors(c),
        "banded": any(float(a) > 0 for s in c["series"] for a in s["allowed"]),
        "drawn": _drawn(c),
        "values": plots.certified_values(c),
        "groups": _groups(c),
        "autodiff_warns": "derivative" in c["given"]
        and any(_origin(c, w["way"]) == AUTODIFF for w in c["ways"]),
        "branch_points": c["kinks"][:ROWS],
        "many": any(f["kind"] == "many-branches" for f in c["findings"]),
        "says": in_order((way for k in c["kinks"] for way in k["says"]), plots.STYLES),
        "jumps": any(k["kind"] in ("jump", "unknown") for k in c["kinks"]),
        "nets": _networks(c),
        "no_networks": [n for n in c["not_run"] if "network" in n["why"]],
        "not_run": [n for n in c["not_run"] if "network" not in n["why"]],
        "printed": _printed(c),
        "holds": HOLDS,
    }  # fmt: skip


def _counted(c: Check) -> list[tuple[str, int]]:
    severities = [f["severity"] for f in c["findings"]]
    gradients = c.get("gradients")
    severities += ["error"] * (gradients is not None and gradients["exit_code"] == 1)
    return [(s, severities.count(s)) for s in ("error", "inaccurate", "warning", "note")]


def _domain(c: Check) -> str:
    """Where σ was judged, in words."""
    low, high = (float(d) for d in c["domain"])
    ends = low < -1e308, high > 1e308
    if all(ends):
        return "the whole line of floats"
    if ends[0]:
        return f"x ≤ {high:.17g}"
    return f"x ≥ {low:.17g}" if ends[1] else f"{low:.17g} ≤ x ≤ {high:.17g}"


def _drawn(c: Check) -> list[tuple[str, str]]:
    """The legend: each way that a picture shows, and what it is."""
    ways = dict.fromkeys(s["way"] for s in c["series"] if s["way"] != "certified")
    hand = [w for w in ways if w in ("σ", "σ'")]
    rest = [(w, f"{w}, {_origin(c, w)}") for w in ways if w not in hand]
    return [(hand[0], f"{' and '.join(hand)} as written"), *rest] if hand else rest


def _origin(c: Check, way: str) -> str:
    """Where a way to the derivative comes from."""
    if way in ("σ", "σ'"):
        return "hand-written"
    return "your own version" if way in c["given"] else AUTODIFF


def _groups(c: Check) -> list[tuple[str, list[tuple[Way, str]]]]:
    """The ways by quantity, the derivative first, each with where it comes from."""
    named = {"derivative": "The derivative", "value": "The value"}
    found = [
        (title, [(w, _origin(c, w["way"])) for w in c["ways"] if w["of"] == of])
        for of, title in named.items()
    ]
    return [(title, rows) for title, rows in found if rows]


def _networks(c: Check) -> dict[str, object]:
    """A table of the networks: rows by implementation and dtype, columns by depth and batch."""
    shapes = sorted({(n["depth"], n["batch"]) for n in c["networks"]})
    rows: dict[tuple[str, str], dict[tuple[int, int], NetworkResult]] = {}
    for n in c["networks"]:
        rows.setdefault((n["implementation"], n["dtype"]), {})[n["depth"], n["batch"]] = n
    return {
        "shapes": shapes,
        "rows": rows,
        "amiss": [n for n in c["networks"] if n["verdict"] not in ("conforms", "known-difference")],
    }


def _printed(c: Check) -> list[tuple[str, str, int]]:
    """Which processes printed a text, the text, and how many characters are cut. A text that several
    processes printed is shown once."""
    by: dict[str, list[str]] = {}
    for way, text in c["printed"].items():
        by.setdefault(text, []).append(way)
    return [(", ".join(ways), text[:PRINTED], len(text) - PRINTED) for text, ways in by.items()]


# --- functions for the template -----------------------------------------------------------------------


def _tag(word: str) -> Tag:
    return TAGS.get(word, Tag("?", "v-undecided"))


def _digits(digits: float | None) -> str:
    return "–" if digits is None else "all" if digits >= ALL else f"{digits:g}"


def _differing(got: Number | str, expected: Number | str) -> tuple[str, str, str]:
    """The digits that two numbers begin with in common, then the rest of each."""
    a, b = shown(got), shown(expected)
    try:
        close = math.isfinite(float(got)) and math.isfinite(float(expected))
    except ValueError:
        close = False
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)) if close else ()
    same = len(list(alike))
    return a[:same], a[same:], b[same:]


def _at(f: Finding) -> str:
    """At how many points it was found, and where, in words."""
    if f["points"]:
        n = f"{f['count']:,} of {f['points']:,} {'networks' if f['kind'].startswith('network') else 'points'}"
        return f"{n}, {f['where']}" if f["where"] else n
    return f["where"]
