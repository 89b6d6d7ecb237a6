"""conformance diff."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conformance.commands.command import hand_over, main, may_be_written, must_not_replace
from conformance.model.results_file import read
from conformance.tools.files import write_atomically, write_json
from conformance.tools.trouble import plain

if TYPE_CHECKING:
    from conformance.commands.diff.compare import Change, Diff

__all__: list[str] = []

WORSE, OTHERS = 12, 6
"""How many lines of each list the terminal shows: a screen. The page and the JSON have the others."""


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
    from conformance.commands.diff.compare import compare, render

    if threshold is not None and not math.isfinite(threshold):
        raise click.BadParameter(f"{threshold} is no factor; expected a number from 1 on.")
    must_not_replace((old, new), (html, json_path))
    may_be_written(html, json_path, "differences")
    found = compare(read(old), read(new), (_printable(old), _printable(new)), threshold)
    hand_over(
        lambda: click.echo("\n".join(_screen(found))),
        f"\n{'worse' if found['exit_code'] else 'not worse'}: {found['message']}",
        ("differences", json_path, lambda path: write_json(path, found)),
        ("page", html, lambda path: write_atomically(path, render(found))),
    )
    return found["exit_code"]


def _printable(path: Path) -> str:
    """As it is, but that bytes which are no UTF-8 are spelt out."""
    return str(path).encode("utf-8", "backslashreplace").decode()


# --- the screen -----------------------------------------------------------------------------------


def _screen(d: Diff) -> Iterator[str]:
    from conformance.commands.diff.compare import gathered

    for label, run in (("old", d["old"]), ("new", d["new"])):
        which = f"{run['profile']}: {run['select']}" if run["select"] else run["profile"]
        yield plain(
            f"{label}  {run['file']}  {run['verdict']}, {run['cases']:,} cases ({which}) {run['finished']}"
        )
    yield from _list("worse", [_change(*g) for g in gathered(d["changes"], "worse")], WORSE)
    yield from _list("better", [_change(*g) for g in gathered(d["changes"], "better")], OTHERS)
    yield from _list("largest error over tolerance", list(_ratios(d)), OTHERS)
    yield from _list("implementations", list(_presence(d)), OTHERS)
    yield from _list("cases", list(_cases(d)), OTHERS)
    yield from _list(
        "with", [_setting(s["what"], s["old"], s["new"]) for s in d["settings"]], OTHERS
    )
    yield from _list("known differences", list(_known(d)), OTHERS)


def _list(heading: str, lines: Sequence[str], most: int) -> Iterator[str]:
    if not lines:
        return
    yield ""
    yield heading
    yield from (f"  {plain(line)}" for line in lines[:most])
    if len(lines) > most:
        yield f"  and {len(lines) - most:,} more; --html and --json have them all"


def _setting(what: str, old: str, new: str) -> str:
    return f"{what}  {old} → {new}"


def _change(c: Change, cases: int) -> str:
    from conformance.report.numbers import short

    ratios = [short(r) for r in (c["old_ratio"], c["new_ratio"]) if r is not None]
    grew = f"  ratio {' → '.join(ratios)}" if ratios and cases == 1 else ""
    told = c["lost"] or c["new"] in ("error", "not-run", "absent")
    said = f"  {c['message'][: 60 if c['new'] == 'error' else 200]}" if told else ""
    which = c["case"] if cases == 1 else f"{cases:,} cases"
    return f"{c['implementation']}  {which}  {c['old']} → {c['new']}{grew}{said}"


def _ratios(d: Diff) -> Iterator[str]:
    from conformance.report.numbers import short

    for r in d["ratios"]:
        flag = "  worse" if r["worse"] else ""
        yield (
            f"{r['implementation']}  {r['gate']}  {short(r['old'])} → {short(r['new'])}  "
            f"×{short(r['factor'])}  {r['new_case']}{flag}"
        )


def _presence(d: Diff) -> Iterator[str]:
    for i in d["implementations"]:
        counts = d["counts"].get(i["name"])
        cases = f"  {counts['new'] or counts['gone']:,} cases" if counts else ""
        reason = f"  {i['reason'][:60]}" if i["new"] != "ran" and i["reason"] else ""
        yield f"{i['name']}  {i['old']} → {i['new']}{cases}{reason}"


def _cases(d: Diff) -> Iterator[str]:
    for word, ids in (("new", d["new_cases"]), ("gone", d["gone_cases"])):
        if ids:
            more = f" and {len(ids) - 2:,} more" if len(ids) > 2 else ""
            yield f"{len(ids):,} {word}: {', '.join(ids[:2])}{more}"


def _known(d: Diff) -> Iterator[str]:
    for k in d["known_differences"]:
        yield f"{k['id']}  {k['old']} → {k['new']}  seen {k['old_seen']:,} → {k['new_seen']:,}"
