"""The file as a whole: its sections in their order."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import NamedTuple
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from conformance.report.numbers import count, level, over, short
from conformance.report.sections import (
    cases,
    compared,
    distance,
    failures,
    growth,
    known,
    matrix,
    notrun,
    summary,
)
from conformance.report.svg import mark
from conformance.report.view import View, isolate, symbol, where
from conformance.results import Results

__all__ = ["SECTIONS", "SIGNS", "Section", "environment", "own_file", "render"]

SIGNS = {
    "error": "!",
    "deviates": "✗",
    "undecided": "?",
    "known-difference": "≠",
    "not-run": "–",
    "conforms": "✓",
}
"""The sign of each verdict: colour is never the only one."""


class Section(NamedTuple):
    """Its id names its template, its link and, through `context`, what the template is told."""

    id: str
    title: str
    context: Callable[[View], dict[str, object]]
    number: Callable[[View], int] | None = None  # shown beside its link


def _nothing(view: View) -> dict[str, object]:
    """For a template that reads the results as they are."""
    return {}


SECTIONS = (
    Section("summary", "Verdict", summary.context),
    Section("failures", "Failures", failures.context, failures.number),
    Section("compared", "What was compared", compared.context),
    Section("matrix", "Activation by depth", matrix.context),
    Section("growth", "Error by layer", growth.context),
    Section("distance", "Distance from the truth", distance.context),
    Section("families", "Families of cases", _nothing, lambda v: len(v.results["families"])),
    Section("known", "Known differences", known.context, known.number),
    Section("notrun", "What did not run", notrun.context, notrun.number),
    Section("cases", "All cases", cases.context, lambda v: len(v.results["cases"])),
    Section("environment", "Environment", _nothing),
)


def _anchor(case: str) -> str:
    """The link that opens a case, and the same for whoever writes down its id."""
    return "#case=" + quote(case, errors="replace")


def environment() -> Environment:
    """The templates of this package, and what they may call: every value is escaped."""
    env = Environment(
        loader=PackageLoader("conformance.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    env.filters.update(
        anchor=_anchor, count=count, isolate=isolate, level=level, short=short, symbol=symbol
    )
    env.tests.update(over=over)
    env.globals.update(command=failures.command, mark=mark, signs=SIGNS, where=where)
    return env


def own_file(name: str) -> Markup:
    """A style sheet or script of this package, as it stands: no data goes through it."""
    return Markup(files("conformance.report").joinpath(name).read_text(encoding="utf-8"))


def render(results: Results) -> str:
    """One self-contained HTML file, the same bytes for the same results."""
    env, view = environment(), View(results)
    bodies = {
        s.id: Markup(
            env.get_template(f"{s.id}.html").render(view=view, results=results, **s.context(view))
        )
        for s in SECTIONS
    }
    html = env.get_template("page.html").render(
        results=results,
        sections=[(s, bodies[s.id], s.number(view) if s.number else None) for s in SECTIONS],
        css=own_file("report.css"),
        js=own_file("report.js"),
    )
    return html.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate has no UTF-8
