"""A check as text for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from conformance.commands.activation.check import Check
from conformance.commands.activation.findings import Finding
from conformance.commands.function.screen import describe as gradients

__all__ = ["describe"]

SIGN = {"error": "✗", "inaccurate": "≈", "warning": "!", "note": "·"}


def describe(c: Check) -> str:
    """The verdict, the ways as a table, the kinks, and every finding with how to see it again."""
    parts = [f"{c['verdict']}: {c['message']}"]
    if c["ways"]:
        parts.append("\n".join(_table(_ways(c))))
    if c["kinks"]:
        parts.append("\n".join(_table(_kinks(c))))
    parts += ["\n".join(_finding(f)) for f in c["findings"]]
    parts += [f"not run: {n['way']}: {n['why']}" for n in c["not_run"]]
    parts += [f"not certified: {of}: {why}" for of, why in c["unsupported"].items()]
    if more := c.get("gradients"):
        again = f"again: {more['command']}" if more["command"] else ""
        parts += [gradients(more), *filter(None, [again])]
    return "\n\n".join(parts)


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    for r in rows:
        yield "  ".join(cell.ljust(w) for cell, w in zip(r, widths, strict=True)).rstrip()


def _ways(c: Check) -> list[list[str]]:
    rows = [["", "dtype", "of", "verdict", "worst x", "got", "expected", "digits right", "points"]]
    for w in c["ways"]:
        beyond = f"{w['beyond']} of {w['points']} off" if w["beyond"] else f"{w['points']}"
        digits = "all" if w["digits"] is not None and w["digits"] >= 17 else f"{w['digits']}"
        names = [w["way"], w["dtype"], w["of"], w["verdict"]]
        rows.append([*names, f"{w['worst_x']}", f"{w['got']}", f"{w['expected']}", digits, beyond])
    return rows


def _kinks(c: Check) -> list[list[str]]:
    ways = sorted({way for k in c["kinks"] for way in k["says"]})
    rows = [["branch point", "what", "from the left", "from the right", *ways]]
    for k in c["kinks"]:
        at = f"{k['at']}" if k["exact"] else f"near {k['at']}"
        says = [f"{k['says'].get(way, '')}" for way in ways]
        rows.append([at, k["kind"], f"{k['left']}", f"{k['right']}", *says])
    return rows


def _finding(f: Finding) -> Iterator[str]:
    dtype = f" ({f['dtype']})" if f["dtype"] else ""
    at = f" at x = {f['x']}" if f["x"] is not None else ""
    yield f"{SIGN[f['severity']]} {f['severity']}: {f['of']}: {f['title']}{at}{dtype} [{f['kind']}]"
    if f["got"]:
        digits = f", {f['digits']} digits right" if f["digits"] is not None else ""
        yield f"    got {f['got']}, expected {f['expected']}{digits}"
    if f["where"]:
        counted = f" ({f['count']} of {f['points']} points)" if f["points"] else ""
        yield f"    where: {f['where']}{counted}"
    if f["looks_like"]:
        yield f"    looks like: {f['looks_like']}"
    yield f"    {f['explanation']}"
    yield f"    {f['remedy']}"
    if f["reproduce"]:
        yield f"    again: {f['reproduce']}"
