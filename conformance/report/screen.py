"""A run in the terminal: a row an implementation, and what deviates."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from conformance.model.results import VERDICTS, Results
from conformance.report.explain import explained
from conformance.tools.names import brief

__all__ = ["columns", "screen"]

EXPLAINED = 2
"""The number of implementations whose errors are explained, which fills a screen. The report has all."""
WIDTH = 110


def screen(results: Results, more: Sequence[str] = ()) -> Iterator[str]:
    """The lines: counts and largest ratios, what was left out, what is wrong, then `more`."""
    p = results["profile"]
    which = f"{p['name']}: {p['select']}" if p["select"] else p["name"]
    yield f"\n{p['cases']:,} cases ({which}); worst: error over tolerance\n"
    rows = list(_rows(results))
    if len(rows) > 1:
        yield from columns(rows)
    yield from _left_out(results)
    yield from _wrong(results)
    if more:
        yield ""
        yield from more
    for d in results["known_differences"]:
        if d["status"] == "stale":
            yield f"\nstale: the known difference {d['id']} did not show; remove its row, or find out why."


def _rows(results: Results) -> Iterator[list[str]]:
    """A heading, and a row for each implementation that ran."""
    summary = results["summary"]
    worst = {(w["implementation"], w["gate"]): w["ratio"] for w in summary["worst"]}
    gates = sorted({w["gate"] for w in summary["worst"]} - {"repeat"})
    shown = list(reversed(VERDICTS))
    yield ["implementation", *shown, *(f"worst {g}" for g in gates)]
    ran = brief(i["name"] for i in results["implementations"] if i["status"] == "ran")
    for name, called in ran.items():
        counts = summary["verdicts"][name]
        ratios = (worst.get((name, g)) for g in gates)
        told = ["" if ratio is None else f"{float(ratio):.4g}" for ratio in ratios]
        yield [called, *(str(counts[v] or "·") for v in shown), *told]


def _left_out(results: Results) -> Iterator[str]:
    """What did not run, or was not judged, and why."""
    for impl in results["implementations"]:
        how = f"{impl['status']}: " if impl["status"] != "ran" else ""
        if how or impl["reason"]:
            text = " ".join(f"{impl['name']}: {how}{impl['reason']}".splitlines())
            yield textwrap.fill(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _wrong(results: Results) -> Iterator[str]:
    """What is wrong with the first few implementations that fail, and the names of the others."""
    each = ((i["name"], explained(results, i["name"])) for i in results["implementations"])
    told = [(name, lines) for name, lines in each if lines]
    for _, lines in told[:EXPLAINED]:
        yield ""
        yield from lines
    if len(told) > EXPLAINED:
        yield f"\nand of {', '.join(name for name, _ in told[EXPLAINED:])}: see the report."


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows in columns as wide as needed; all columns but the first are right-aligned."""
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    for r in rows:
        cells = (
            c.ljust(w) if i == 0 else c.rjust(w)
            for i, (c, w) in enumerate(zip(r, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()
