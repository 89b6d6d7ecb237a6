"""conformance audit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.commands.command import deliver, form_of, main, must_be_writable

if TYPE_CHECKING:
    from conformance.commands.audit.document import Document

__all__: list[str] = []

FORMATS = ("text", "html", "md", "json")


@main.command()
@click.argument("notes", required=False, type=click.Path(path_type=Path), metavar="[FILE.py]")
@click.option(
    "--to",
    type=click.Choice(FORMATS),
    help="How it is written (text, or as the ending of --output).",
)
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="F", help="Write it there, not here."
)
def audit(notes: Path | None, to: str | None, output: Path | None) -> int:
    """Run every equation of the course notes, or of FILE.py, and say where it holds and where not.

    FILE.py marks its equations with @equation from conformance, which may declare weight decay, momentum,
    Adam or batch norm; it is run in a process of its own.

    Exit codes: 0, the audit is done; 1, an equation of FILE.py is wrong where it says it holds; 2, it could
    not be judged.
    """
    from conformance.commands.audit.apart import audit_file
    from conformance.commands.audit.run import audit_notes

    form = form_of(output, to, {"txt": "text", "html": "html", "md": "md", "json": "json"}, "text")
    must_be_writable(output)
    result = audit_file(notes) if notes else audit_notes()
    deliver("audit", _writers()[form](result), output, document=form != "text")
    return result["exit_code"]


def _writers() -> dict[str, Callable[[Document], str]]:
    from conformance.commands.audit.formats import as_json, as_markdown, as_text
    from conformance.report.audit import render

    return {"text": as_text, "html": render, "md": as_markdown, "json": as_json}
