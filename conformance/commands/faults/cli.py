"""The command `conformance faults`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.commands.command import (
    echo,
    hand_over,
    main,
    may_be_written,
    outputs,
    progress_shown,
)
from conformance.model.results import GATES
from conformance.report.screen import columns
from conformance.tools.files import write_atomically, write_json

if TYPE_CHECKING:
    from conformance.commands.faults.trials import Trials

__all__: list[str] = []


@main.command()
@click.option("--profile", default="quick", metavar="P", help="The cases (default quick).")
@click.option("--select", "wanted", default="", metavar="F=V,…", help="Only these cases.")
@click.option("--fault", "names", multiple=True, metavar="NAME", help="Only this one (repeatable).")
@click.option("--dials/--no-dials", default=True, help="How small a mistake is seen (on).")
@click.option("--list", "listing", is_flag=True, help="What there is: nothing is planted.")
@outputs("results")
@click.option("--jobs", type=click.IntRange(0, 256), default=None, help="Worker processes.")
def faults(
    profile: str,
    wanted: str,
    names: tuple[str, ...],
    dials: bool,
    listing: bool,
    report: Path | None,
    json_path: Path | None,
    jobs: int | None,
) -> int:
    """Plant every known mistake and see that the gates catch it: fault × gate, with the smallest margin.

    Exit codes: 0, all caught; 1, one survives, or a false alarm; 2, one could not be tried.
    """
    from conformance.commands.faults.trials import trials

    if listing:
        _list()
        return 0
    may_be_written(report, json_path, "results")
    with progress_shown() as progress:
        found = trials(profile, wanted, names, dials and not names, jobs, progress)
    hand_over(
        lambda: _show(found),
        f"\n{found['message']}",
        ("results", json_path, lambda path: write_json(path, found)),
        ("report", report, lambda path: _write_report(path, found)),
    )
    return found["exit_code"]


def _write_report(path: Path, found: Trials) -> None:
    from conformance.report.faults import render

    write_atomically(path, render(found))


def _list() -> None:
    from conformance.judge.mistakes.table import FAULTS

    for f in FAULTS.values():
        echo(f"{f.name:34} {f.shows:6} {f.where:4} {f.gate:11} {f.what}")


def _show(found: Trials) -> None:
    echo(
        f"\n{len(found['faults'])} faults in {found['cases']} cases ({found['profile']}); a cell: the "
        "smallest margin (error over tolerance)\nwhere that gate catches it, and in how many cases; "
        "* the gate that must\n"
    )
    rows = [["fault", "changes", "caught", *GATES, "named", "verdict"]]
    for r in found["faults"]:
        cells = []
        for g in GATES:
            cell = r["gates"][g]
            text = f"{float(cell['smallest']):.0e} ({cell['caught']})" if cell["caught"] else "·"
            cells.append(f"{text}{'*' if g == r['gate'] else ' '}")
        right = f"{r['named'] + r['alike']}/{r['caught']}"
        rows.append([r["name"], str(r["changes"]), str(r["caught"]), *cells, right, r["verdict"]])
    echo("\n".join(columns(rows)))
    if found["dials"]:
        _show_dials(found)


def _show_dials(found: Trials) -> None:
    echo("\nthe smallest ε that is caught\n")
    gates = list(dict.fromkeys(d["gate"] for d in found["dials"]))
    rows = [["mistake", "case", *gates]]
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for d in found["dials"]:
        cells.setdefault((d["dial"], d["case"]), {})[d["gate"]] = f"{float(d['smallest']):.1e}"
    rows += [[dial, case, *(of.get(g, "·") for g in gates)] for (dial, case), of in cells.items()]
    echo("\n".join(columns(rows)))
