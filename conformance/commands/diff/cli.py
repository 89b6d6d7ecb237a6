"""The command `conformance diff`."""

from __future__ import annotations

import math
from pathlib import Path

import click

from conformance.commands.command import echo, hand_over, main, may_be_written, must_not_replace
from conformance.model.results_file import read
from conformance.tools.files import write_atomically, write_json
from conformance.tools.plain import plain

__all__: list[str] = []


@main.command("diff")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--html", type=click.Path(path_type=Path), metavar="F.html", help="Write a page.")
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), metavar="F.json", help="Write it all."
)
@click.option(
    "--threshold",
    type=click.FloatRange(min=1),
    metavar="R",
    help="A largest ratio of a gate that grew to more than R times what it was is worse too.",
)
def diff(
    old: Path, new: Path, html: Path | None, json_path: Path | None, threshold: float | None
) -> int:
    """What got better, worse, new and gone between two results files.

    Exit codes: 0, nothing is worse; 1, a verdict is worse, or something no longer runs; 2, a file cannot
    be read, or the two cannot be compared.
    """
    from conformance.commands.diff.compare import compare
    from conformance.commands.diff.page import render
    from conformance.commands.diff.screen import screen

    if threshold is not None and not math.isfinite(threshold):
        raise click.BadParameter(f"{threshold} is no factor; expected a number from 1 on.")
    must_not_replace((old, new), (html, json_path))
    may_be_written(html, json_path, "differences")
    found = compare(read(old), read(new), (plain(str(old)), plain(str(new))), threshold)
    hand_over(
        lambda: echo("\n".join(screen(found))),
        f"\n{'worse' if found['exit_code'] else 'not worse'}: {found['message']}",
        ("differences", json_path, lambda path: write_json(path, found)),
        ("page", html, lambda path: write_atomically(path, render(found))),
    )
    return found["exit_code"]
