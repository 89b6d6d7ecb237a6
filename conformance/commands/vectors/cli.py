"""The commands `conformance vectors export` and `check`: test vectors for other languages."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

import click

from conformance.cases.profiles import PROFILES
from conformance.commands.command import (
    echo,
    hand_over,
    main,
    may_be_written,
    outputs,
    progress_shown,
)
from conformance.commands.run import answer, exit_code, strict_option, write_report
from conformance.model.results import Results
from conformance.model.results_file import write_results
from conformance.report.explain import explained
from conformance.report.screen import screen

__all__: list[str] = []

SHOWN = 5  # how many sentences about what could not be used are shown


@main.group()
def vectors() -> None:
    """Test vectors: problems with their certified truth as files, and answers to them, judged."""


@vectors.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--profile", default="quick", metavar="P", help=f"{', '.join(PROFILES)} (default quick)."
)
@click.option("--select", "wanted", default="", metavar="F=V,…", help="Only these cases.")
def export(folder: Path, profile: str, wanted: str) -> None:
    """Write the vectors of a profile into DIR: index.json, problems.jsonl, schema/ and vectors/.

    DIR is new, empty, or has vectors already, which are then replaced.
    """
    from conformance.commands.vectors.export import export as export_vectors

    with progress_shown() as progress:
        index = export_vectors(folder, profile, wanted, progress)
    echo(f"{len(index['files']):,} vectors: {folder / 'index.json'}")


@vectors.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.argument("answers", type=click.Path(path_type=Path))
@click.option("--partial", is_flag=True, help="Vectors without an answer are not exit code 2.")
@strict_option
@outputs("results")
def check(
    folder: Path,
    answers: Path,
    partial: bool,
    strict: bool,
    report: Path | None,
    json_path: Path | None,
) -> int:
    """Judge ANSWERS, a file with an answer a line or a folder of *.json, to the vectors in DIR.

    Exit codes: 0, nothing is wrong; 1, something deviates; 2, an answer or a vector could not be used, or a
    vector has no answer.
    """
    from conformance.commands.vectors.check import check as check_vectors

    gc.disable()  # a million values without a cycle: collections would take time and find nothing
    may_be_written(report, json_path, "results")
    with progress_shown() as progress:
        results, troubles = check_vectors(folder, answers, partial, progress)
    hand_over(
        lambda: _show(results, troubles),
        answer(results),
        ("results", json_path, lambda path: write_results(path, results)),
        ("report", report, lambda path: write_report(path, results)),
    )
    return exit_code(results, strict)


def _show(results: Results, troubles: Sequence[str]) -> None:
    for trouble in troubles[:SHOWN]:
        echo(f"could not be used: {trouble}")
    if len(troubles) > SHOWN:
        echo(f"and {len(troubles) - SHOWN} more.")
    echo("\n".join(screen({**results, "results": []}, _explanation(results))))


def _explanation(results: Results) -> list[str]:
    """What deviates, and what it looks like; without `conformance show`, which cannot run an answer again."""
    return [
        line
        for row in results["implementations"]
        for line in explained(results, row["name"])
        if "conformance show " not in line
    ]
