"""The page of a diff."""

from __future__ import annotations

from conformance.commands.diff.compare import Diff, gathered
from conformance.report.html import environment, own_file

__all__ = ["render"]

ROWS = 2000  # changes that the page lists; the JSON has all


def render(diff: Diff) -> str:
    """One self-contained HTML file without a script, the same bytes for the same two runs."""
    html = (
        environment()
        .get_template("diff.html")
        .render(
            diff=diff,
            lists={way: gathered(diff["changes"], way) for way in ("worse", "better")},
            most=ROWS,
            answer=("conforms", "deviates")[diff["exit_code"]],
            css=own_file("report.css"),
        )
    )
    return html.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate has no UTF-8
