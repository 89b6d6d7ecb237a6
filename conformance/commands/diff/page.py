"""The HTML page of a diff."""

from __future__ import annotations

from conformance.commands.diff.compare import Diff, gathered
from conformance.report.html import environment, own_file

__all__ = ["render"]

ROWS = 2000  # the most changes that the page lists; the JSON has all


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
    # a lone surrogate cannot be encoded in UTF-8
    return html.encode("utf-8", "replace").decode("utf-8")
