"""The report's file: its sections in their order."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from conformance.model.results import Results
from conformance.report.links import anchor, filtered
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
    trials,
)
from conformance.report.svg import mark
from conformance.report.view import View, isolate, symbol, where

__all__ = ["SECTIONS", "SIGNS", "Section", "environment", "own_file", "render", "render_files"]

SIGNS = {
    "error": "!",
    "deviates": "✗",
    "undecided": "?",
    "inaccurate": "≈",
    "known-difference": "≠",
    "not-run": "–",
    "conforms": "✓",
}
"""The sign of each verdict: none is shown by its colour alone."""


class Section(NamedTuple):
    """A section. Its id names its template and its link; `context` computes the template's variables."""

    id: str
    title: str
    context: Callable[[View], dict[str, object]]
    number: Callable[[View], int] | None = None  # shown beside its link


def _nothing(view: View) -> dict[str, object]:
    """No variables, for a template that reads the results as they are."""
    return {}


SECTIONS = (
    Section("summary", "Verdict", summary.context),
    Section("failures", "Failures", failures.context, failures.number),
    Section("compared", "What was compared", compared.context),
    Section("matrix", "Activation by depth", matrix.context),
    Section("growth", "Error by layer", growth.context),
    Section("distance", "Distance from the truth", distance.context),
    Section("trials", "Faults planted", trials.context, trials.number),
    Section("families", "Families of cases", _nothing, lambda v: len(v.results["families"])),
    Section("known", "Known differences", known.context, known.number),
    Section("notrun", "What did not run", notrun.context, notrun.number),
    Section("cases", "All cases", cases.context, lambda v: len(v.results["cases"])),
    Section("environment", "Environment", _nothing),
)


def environment() -> Environment:
    """The templates of this package, and what they may call; every value is escaped."""
    env = Environment(
        loader=PackageLoader("conformance.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    env.filters.update(
        anchor=anchor,
        count=count,
        filtered=filtered,
        isolate=isolate,
        level=level,
        short=short,
        symbol=symbol,
    )
    env.tests.update(over=over)
    env.globals.update(command=failures.command, mark=mark, signs=SIGNS, where=where)
    return env


def own_file(name: str) -> Markup:
    """A style sheet or script of this package, not escaped: it contains no data."""
    return Markup(files("conformance.report").joinpath(name).read_text(encoding="utf-8"))


def script() -> Markup:
    """The code for the filter's language, and for the list of cases."""
    return own_file("query.js") + own_file("report.js")


def render(results: Results) -> str:
    """One self-contained HTML file, the same bytes for the same results."""
    view = View(results)
    return _page(view, css=own_file("report.css"), js=script(), packed=cases.pack(view))


def render_files(results: Results) -> dict[str, str]:
    """The same report for servers that allow no inline script or style: name -> text. The page, which needs
    the other files, is the last."""
    view = View(results)
    return {
        "report.css": str(own_file("report.css")),
        "report.js": str(script()),
        "data.js": f'"use strict";\nglobalThis.packed = "{cases.pack(view)}";\n',
        "icon.svg": _icon(results),
        "index.html": _page(view, css=None, js=None, packed=None),
    }


def _page(view: View, **own: str | None) -> str:
    env, results = environment(), view.results
    bodies = {
        s.id: Markup(
            env.get_template(f"{s.id}.html").render(view=view, results=results, **s.context(view))
        )
        for s in SECTIONS
    }
    html = env.get_template("page.html").render(
        results=results,
        sections=[(s, bodies[s.id], s.number(view) if s.number else None) for s in SECTIONS],
        **own,
    )
    return html.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate has no UTF-8


def _icon(results: Results) -> str:
    sign = SIGNS[results["summary"]["verdict"]]
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">'
        f'<text x="8" y="13" text-anchor="middle">{sign}</text></svg>\n'
    )
