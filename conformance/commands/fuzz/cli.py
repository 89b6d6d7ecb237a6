"""conformance fuzz."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.commands.command import echo, main
from conformance.report.screen import columns

if TYPE_CHECKING:
    from conformance.commands.fuzz.search import Found

__all__: list[str] = []


@main.command()
@click.option("--examples", type=click.IntRange(1), default=1000, help="How many networks (1,000).")
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    help="Begin no block of 250 after that long.",
)
@click.option(
    "--implementation", "names", multiple=True, metavar="NAME", help="As for run (repeatable)."
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Which networks (0).")
@click.option(
    "--database",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder for what failed: it is tried first the next time.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 256),
    default=None,
    help="Processes, one a core; changes nothing else.",
)
def fuzz(
    examples: int,
    minutes: float | None,
    names: tuple[str, ...],
    seed: int,
    database: Path | None,
    jobs: int | None,
) -> int:
    """Draw networks of any shape and judge them, until one deviates; then make that one small.

    Without --implementation: refbp, torch-cpu, jax-cpu and implementations that are right, however oddly they
    round. Exit codes: 0, none deviates; 1, one does; 2, it could not be tried.
    """
    from conformance.commands.fuzz.paste import pasted
    from conformance.commands.fuzz.search import search
    from conformance.tools.pool import processes

    def progress(done: int) -> None:
        echo(f"{done:,} networks", err=True)

    found = search(names, examples, seed, database, minutes, processes(jobs), progress)
    echo("\n".join(columns(_counts(found))))
    if found.result is None or found.problem is None:
        echo(f"\nconforms: none of {found.networks:,} networks deviates (seed {seed}).")
        return 0
    r = found.result
    echo(f"\n{pasted(found.problem, [r['implementation']])}\n")
    echo(f"{r['verdict']}: {r['implementation']}: {r['message']}")
    return 1 if r["verdict"] == "deviates" else 2


def _counts(found: Found) -> list[list[str]]:
    """Verdicts by implementation."""
    verdicts = sorted({v for c in found.verdicts.values() for v in c})
    rows = [["implementation", *verdicts]]
    return rows + [
        [n, *(f"{c[v]:,}" if c[v] else "·" for v in verdicts)] for n, c in found.verdicts.items()
    ]
