"""The page of `conformance faults`, on its own."""

from __future__ import annotations

from conformance.model.results import Trials
from conformance.report.html import environment, own_file
from conformance.report.sections.trials import shown

__all__ = ["render"]


def render(trials: Trials) -> str:
    """One self-contained HTML file without a script, the same bytes for the same results."""
    answer = {0: "conforms", 1: "deviates"}.get(trials["exit_code"], "undecided")
    template = environment().get_template("faults.html")
    html = template.render(answer=answer, css=own_file("report.css"), **shown(trials))
    return html.encode("utf-8", "replace").decode("utf-8")
